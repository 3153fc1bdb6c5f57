"""Accuracy by a direct law: the law gives the log of accuracy above chance, without a loss between."""

import jax.numpy as jnp

from bayescale.parts.base import AbstractResponse
from bayescale.parts.responses.benchmark import FLOOR_ODDS, floor_of


class DirectAccuracy(AbstractResponse):
    r"""Number of correct answers by a direct law of params and tokens.

    .. math:: p = f + (1 - f)\,e^{-Q(N, D)}, \qquad \frac{f}{1 - f} = o\,\frac{c}{1 - c}

    The law of the spec is :math:`Q`, minus the log of accuracy above the floor, rescaled to lie between 0 and 1. Its
    irreducible term is the ceiling: :math:`e^{-E}`. The spec must not observe a loss, and its `level` is the value of
    :math:`Q` at the anchor relative to the anchor's loss.
    """

    name = "direct-accuracy"
    source = "Krajewski et al. 2025, arXiv:2512.08894: the log of accuracy follows a power law in compute"
    use = "A second opinion next to a law of the loss with a response of accuracy: errors of two steps do not compound."
    avoid = "Benchmarks near their floor in every run: a power law in the log of accuracy above it is then all prior."
    runs = ("gadre2024",)
    observed = "n_correct"
    requires = ("n_items", "chance")
    ranges = {"chance": (0.0, 0.99)}
    of_one = "benchmark"
    kind = "count"
    unit = "items"
    parameters = {"floor_odds": FLOOR_ODDS}

    @staticmethod
    def location(log_loss, columns, *, floor_odds):
        floor = floor_of(columns["chance"], floor_odds)
        return floor + (1 - floor) * jnp.exp(-jnp.exp(log_loss))
