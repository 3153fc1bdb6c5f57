"""Noise on a share whose number of items is not known: a Normal with binomial variance, between 0 and 1."""

import jax.numpy as jnp
import numpy as np
from jax import random
from jax.lax import erf, erf_inv
from numpyro import distributions as dist
from numpyro.distributions import constraints
from numpyro.distributions.util import promote_shapes

from bayescale.parts.base import AbstractNoise, Parameter
from bayescale.parts.priors import LogNormal

_LEAST = 1e-3  # of a share: at a location of 0 the variance of items alone would vanish


class Average(AbstractNoise):
    r"""A share that scatters as one of `items` independent items would, at least by 0.001.

    .. math:: s \sim \mathrm{Normal}_{[0, 1]}\!\left(\mu, \frac{\mu (1 - \mu)}{n} + 0.001^2\right)

    The Normal is truncated to 0 and 1. The number `n` is a parameter, so that averages over subjects and differences
    between runs of equal loss need no count of items.
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
        return UnitNormal(location, jnp.sqrt(location * (1 - location) / items + _LEAST**2))


class UnitNormal(dist.Distribution):
    """Normal distribution truncated to 0 and 1, with its centre between them.

    Because the centre is inside, its mass there is never small, and plain error functions are accurate: NumPyro's
    truncated Normal, which holds in the tails too, takes several times as long.
    """

    arg_constraints = {"center": constraints.unit_interval, "spread": constraints.positive}
    support = constraints.unit_interval
    reparametrized_params = ["center", "spread"]

    def __init__(self, center, spread, *, validate_args=None):
        self.center, self.spread = promote_shapes(center, spread)
        shape = jnp.broadcast_shapes(jnp.shape(center), jnp.shape(spread))
        super().__init__(batch_shape=shape, validate_args=validate_args)

    def _sides(self):
        """Return the mass of the untruncated Normal between 0 and the centre, and between the centre and 1, doubled.

        Their sum keeps its digits however wide the Normal is. The difference of its cumulative probabilities at 0 and
        1 would be 0 where the spread is large, and the density infinite.
        """
        unit = np.sqrt(2) * self.spread
        return erf(self.center / unit), erf((1 - self.center) / unit)

    def log_prob(self, value):
        """Return the log density."""
        below, above = self._sides()
        return dist.Normal(self.center, self.spread).log_prob(value) - jnp.log((below + above) / 2)

    def sample(self, key, sample_shape=()):
        """Draw shares."""
        below, above = self._sides()
        uniform = random.uniform(key, self.shape(sample_shape), minval=-below, maxval=above)
        return jnp.clip(self.center + self.spread * np.sqrt(2) * erf_inv(uniform), 0.0, 1.0)
