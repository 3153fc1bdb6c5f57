"""Benchmark accuracy: a sigmoid of the loss between chance and a ceiling."""

import jax
import jax.numpy as jnp

from bayescale.parts.base import AbstractResponse, Parameter
from bayescale.parts.priors import LogitNormal, LogNormal


class Accuracy(AbstractResponse):
    r"""Number of correct answers to a benchmark's items.

    .. math:: p = c + (d - c)\,\sigma\!\left(\frac{\ln m - \ln L}{w}\right)

    with the benchmark's chance floor `c`, ceiling `d`, midpoint loss `m` and width `w`.
    """

    name = "accuracy"
    source = "two-step downstream prediction, as in the Llama 3 report, arXiv:2407.21783"
    runs = ("gadre2024",)
    observed = "n_correct"
    requires = ("n_items", "chance")
    ranges = {"chance": (0.0, 0.99)}
    of_one = "benchmark"
    kind = "count"
    unit = "items"
    parameters = {
        "midpoint": Parameter(
            LogNormal(2.7, 0.3), "nats/token", "loss at which accuracy is halfway from chance to ceiling", 0.1
        ),
        "width": Parameter(LogNormal(0.15, 0.7), "e-folds of loss", "how gradually accuracy rises", 0.3),
        "ceiling": Parameter(LogitNormal(0.96, 1.0), "1", "accuracy at vanishing loss (label noise)", 0.3),
    }

    @staticmethod
    def location(log_loss, columns, *, midpoint, width, ceiling):
        chance = columns["chance"]
        rise = jax.nn.sigmoid((jnp.log(midpoint) - log_loss) / width)
        return chance + (ceiling - chance) * rise
