"""Noise on a share whose number of items is not known: a Normal with binomial variance."""

import jax.numpy as jnp
from numpyro import distributions as dist

from bayescale.parts.base import AbstractNoise, Parameter
from bayescale.parts.priors import LogNormal

_LEAST = 1e-3  # of a share: at a location of 0 the variance of items alone would vanish


class Average(AbstractNoise):
    r"""A share that scatters as one of `items` independent items would, at least by 0.001.

    .. math:: s \sim \mathrm{Normal}\!\left(\mu, \frac{\mu (1 - \mu)}{n} + 0.001^2\right)

    The number `n` is a parameter, so that averages over subjects and differences between runs of equal loss need no
    count of items. A draw near 0 or 1 may lie slightly outside.
    """

    name = "average"
    source = "a mean of items has binomial variance; averages of subjects and over-dispersion lower the number of items"
    use = "Averages and published accuracies without a number of items. Scores of exactly 0 and 1 are possible."
    avoid = "Counts with a known number of items: use beta-binomial."
    runs = ("gadre2024-benchmarks",)
    kind = "share"
    parameters = {
        "items": Parameter(LogNormal(1000.0, 1.5), "items", "independent items that would scatter as much", spread=0.5),
    }

    @staticmethod
    def distribution(location, columns, *, items):
        return dist.Normal(location, jnp.sqrt(location * (1 - location) / items + _LEAST**2))
