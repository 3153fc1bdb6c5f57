"""Difficulty: how the probability of solving a problem varies between problems, a Beta distribution, in closed form."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array
from jax.scipy.special import betaln, gammaln

from bayescale.parts.base import Kind, Parameter
from bayescale.parts.priors import LogNormal, Normal

_REFERENCE = math.log(0.01 / 0.99)  # log odds of a mean of 1%, at which the tail is a parameter
_LOWEST = -25.0  # log odds: a mean of 1e-11, below which differences of log-beta functions lose their digits
_LARGE = 1e3  # shape: log-gamma functions lose digits above, and the series of JAX's `betaln` below
_LEAST = 1e-12  # probability: a share of zero has no log, and no gradient

TAIL = Parameter(
    LogNormal(0.25, 0.7),
    "1",
    "first shape of the Beta where one sample solves 1% of tries: failures fall as this power of samples",
    0.3,
    "slopes of -0.19 to -0.37 on mathematics, of Pythia from 70 million to 12 billion params (Schaeffer et al. 2025, "
    "arXiv:2502.17578)",
    kind=Kind.EXPONENT,
)
RISE = Parameter(
    Normal(0.3, 0.3),
    "e-folds per e-fold of odds",
    "how the first shape grows with the odds that one sample is right",
    0.1,
    "weak: from no change to a shape in proportion to the odds, where easier problems are the same ones for all models",
)


def shapes(log_odds: Array, tail: Array, rise: Array) -> tuple[Array, Array]:
    """Return the shapes of the Beta distribution of the probability that one sample solves a problem.

    Parameters
    ----------
    log_odds : Array
        Log odds of the mean over problems.
    tail, rise : Array
        Values of :data:`TAIL` and :data:`RISE`.

    Returns
    -------
    a, b : Array
        Their mean ``a / (a + b)`` has the given odds.
    """
    odds = jnp.maximum(log_odds, _LOWEST)
    a = tail * jnp.exp(rise * (odds - _REFERENCE))
    return a, a * jnp.exp(-odds)


def log_unsolved(a: Array, b: Array, samples: Array) -> Array:
    r"""Return the log of the probability that no sample solves a problem: :math:`B(a, b + k) / B(a, b)`.

    Parameters
    ----------
    a, b : Array
        Shapes of the Beta distribution over problems.
    samples : Array
        Samples of each problem.

    Returns
    -------
    Array
        At many samples it falls as ``-a`` times their log.
    """
    exact = gammaln(b + samples) - gammaln(b) + gammaln(a + b) - gammaln(a + b + samples)
    return jnp.where(b < _LARGE, exact, betaln(a, b + samples) - betaln(a, b))


def probability(share: Array) -> Array:
    """Return a share of problems as a probability that has a log, and so has its complement.

    Parameters
    ----------
    share : Array

    Returns
    -------
    Array
        Between 1e-12 and the largest number below 1.
    """
    return jnp.clip(share, _LEAST, 1.0 - jnp.finfo(share.dtype).epsneg)
