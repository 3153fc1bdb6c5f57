"""Noise on counts of correct answers: Binomial, Beta-Binomial."""

import jax.numpy as jnp
from numpyro import distributions as dist

from bayescale.parts.base import AbstractNoise, Parameter
from bayescale.parts.priors import LogNormal

ROUNDING = 1e-6
"""By how much a probability may leave 0 to 1 in single precision."""


class Binomial(AbstractNoise):
    """Independent items, each correct with the same probability."""

    name = "binomial"
    source = "sampling of items only"
    kind = "count"

    @staticmethod
    def distribution(location, columns):
        share = jnp.clip(location, 0.0, 1.0)
        share = jnp.where(jnp.abs(location - share) <= ROUNDING, share, jnp.nan)
        return Items(share, total_count=_items(columns), validate_args=False)


class Items(dist.BinomialProbs):
    """A Binomial distribution that draws NaN where its probability is NaN; the one that is inherited draws 0.

    A response of a user's own may exceed 1. The sampler that is inherited would then never end.
    """

    def sample(self, key, sample_shape=()):
        """Return counts, or NaN."""
        return jnp.where(jnp.isnan(self.probs), jnp.nan, super().sample(key, sample_shape))


class BetaBinomial(AbstractNoise):
    """Binomial whose probability varies between runs: runs of equal loss differ in accuracy."""

    name = "beta-binomial"
    source = "over-dispersion of benchmark scores"
    runs = ("gadre2024",)
    kind = "count"
    parameters = {
        "concentration": Parameter(LogNormal(200.0, 1.0), "items", "larger is closer to Binomial", spread=0.5),
    }

    @staticmethod
    def distribution(location, columns, *, concentration):
        return dist.BetaBinomial(location * concentration, (1 - location) * concentration, _items(columns))


def _items(columns):
    return columns["n_items"].astype(int)
