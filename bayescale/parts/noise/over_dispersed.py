"""Beta-Binomial noise in elementary functions, which compiles and differentiates fast for dozens of benchmarks."""

import math

import jax
import jax.numpy as jnp
from numpyro import distributions as dist

from bayescale.parts.base import AbstractNoise
from bayescale.parts.noise.count import BetaBinomial

_SHIFT = 8  # Stirling's series is used at 8 and beyond, where its first omitted term is below 1e-11
_SERIES = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680)
_LEAST = 1e-12  # of a probability: at 0 or 1 the other outcome would have no density


class OverDispersed(AbstractNoise):
    r"""Binomial whose probability varies between runs by a Beta distribution, as `beta-binomial`.

    .. math:: k \sim \mathrm{BetaBinomial}(n, p\,\varphi, (1 - p)\,\varphi)

    The density is the same. Its log-gammas are written as Stirling's series, because their exact derivatives take
    minutes to compile for a battery of benchmarks.
    """

    name = "over-dispersed"
    source = "over-dispersion of benchmark scores; Stirling's series of the log-gamma function"
    use = "Batteries of benchmarks, and any accuracy whose runs scatter by more than their items explain."
    avoid = "Items that are the only source of scatter: binomial has no parameter to learn."
    runs = ("gadre2024", "gadre2024-benchmarks", "pythia")
    kind = "count"
    parameters = BetaBinomial.parameters

    @staticmethod
    def distribution(location, columns, *, concentration):
        location = jnp.clip(location, _LEAST, 1 - _LEAST)
        return Counts(location * concentration, (1 - location) * concentration, columns["n_items"].astype(int))


class Counts(dist.BetaBinomial):
    """A Beta-Binomial distribution with a density in elementary functions.

    Parameters
    ----------
    concentration1, concentration0 : Array
        Of correct and of wrong answers.
    total_count : Array
        Number of items.
    """

    def sample(self, key, sample_shape=()):
        """Return counts, by JAX's own sampler: it compiles faster than the one that is inherited."""
        first, second = jax.random.split(key)
        shape = (*sample_shape, *self.batch_shape)
        chance = jax.random.beta(first, self.concentration1, self.concentration0, shape)
        chance = jnp.clip(chance, _LEAST, 1 - _LEAST)
        return jax.random.binomial(second, self.total_count.astype(chance.dtype), chance, shape, chance.dtype)

    def log_prob(self, value):
        """Return the log density of counts."""
        a, b, n = self.concentration1, self.concentration0, self.total_count
        chosen = _log_beta(value + 1.0, n - value + 1.0) + jnp.log(n + 1.0)
        return _log_beta(value + a, n - value + b) - _log_beta(a, b) - chosen


def _log_beta(a, b):
    return log_gamma(a) + log_gamma(b) - log_gamma(a + b)


def log_gamma(x):
    r"""Return the log of the Gamma function of positive numbers, to about 1e-11.

    .. math:: \ln \Gamma(x) = \ln \Gamma(x + 8) - \sum_{i=0}^{7} \ln (x + i)

    with Stirling's series at x + 8. The sum is the log of one product, of the pairs x + i and x + 7 - i.
    """
    z = x + _SHIFT
    inverse = 1 / z
    square = inverse * inverse
    ends = x * (x + 7)
    below = math.prod([(ends + more) * square for more in (0.0, 6.0, 10.0, 12.0)])
    series = inverse * (_SERIES[0] + square * (_SERIES[1] + square * (_SERIES[2] + square * _SERIES[3])))
    return (z - 0.5 - _SHIFT) * jnp.log(z) - z + 0.5 * math.log(2 * math.pi) + series - jnp.log(below)
