"""Ranks of true values among draws: are they uniform, as for exact draws?"""

from __future__ import annotations

import numpy as np
from scipy.optimize import bisect
from scipy.stats import binom, chisquare, poisson

_BINS = 10  # of the chi-square: 20 ranks each at 200 simulations
_LEAST = -60.0  # ln of a tail probability below which all are taken as zero
_SAME = 1 + 1e-9  # tail probabilities within rounding of one another are equal: the two tails mirror each other


def rank_of(truth: float, draws: np.ndarray, rng: np.random.Generator) -> int:
    """Count the draws below the truth; ties are broken at random.

    Parameters
    ----------
    truth : float
    draws : ndarray, shape (draw,)
    rng : Generator
        Breaks ties.

    Returns
    -------
    int
        From 0 to the number of draws.
    """
    ties = int((draws == truth).sum())
    return int((draws < truth).sum()) + int(rng.integers(ties + 1))


def band_p(ranks: np.ndarray, draws: int) -> float:
    """Exact p-value of the farthest excursion of the ranks' empirical distribution from the uniform one.

    Under uniformity, the count of ranks up to each point is Binomial. The statistic is the smallest tail
    probability over all points (Säilynoja, Bürkner, Vehtari 2022, arXiv:2103.10522). The p-value is one minus the
    level of the simultaneous band whose edge the empirical distribution touches.

    Parameters
    ----------
    ranks : ndarray of int, shape (simulation,)
        Each from 0 to `draws`.
    draws : int
        Number of draws among which each was ranked.

    Returns
    -------
    float
    """
    size, points = len(ranks), _points(draws)
    counts = np.cumsum(np.bincount(ranks, minlength=draws + 1))[:-1]
    tail = min(binom.cdf(counts, size, points).min(), binom.sf(counts - 1, size, points).min())
    return max(0.0, 1 - _probability_inside(tail, size, draws))


def band(size: int, draws: int, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Simultaneous band that contains the empirical distribution of a uniform sample.

    Parameters
    ----------
    size, draws : int
        Number of ranks, and of draws among which each was ranked.
    level : float
        Probability of lying inside at all points together.

    Returns
    -------
    points, low, high : ndarray, shape (draws,)
        The points, and the edges of the band there.
    """
    points = _points(draws)
    log_tail = bisect(lambda x: _probability_inside(np.exp(x), size, draws) - level, _LEAST, np.log(0.5))
    tail = np.exp(log_tail)
    return points, binom.ppf(tail, size, points) / size, binom.isf(tail, size, points) / size


def distribution(ranks: np.ndarray, draws: int) -> np.ndarray:
    """Share of the ranks up to each of the band's points.

    Parameters
    ----------
    ranks : ndarray of int, shape (simulation,)
    draws : int
        Number of draws among which each was ranked.

    Returns
    -------
    ndarray, shape (draws,)
    """
    return np.cumsum(np.bincount(ranks, minlength=draws + 1))[:-1] / len(ranks)


def chi_square_p(ranks: np.ndarray, draws: int) -> float:
    """P-value of Pearson's chi-square over ten bins: a second test, of the density.

    Parameters
    ----------
    ranks : ndarray of int, shape (simulation,)
    draws : int
        Number of draws among which each was ranked.

    Returns
    -------
    float
    """
    bins = (ranks * _BINS) // (draws + 1)
    return float(chisquare(np.bincount(bins, minlength=_BINS)).pvalue)


def coverage(ranks: np.ndarray, draws: int, level: float) -> float:
    """Share of the truths inside the central interval of the draws with probability `level`.

    Parameters
    ----------
    ranks : ndarray of int, shape (simulation,)
    draws : int
        Number of draws among which each was ranked.
    level : float
        Nominal probability, between 0 and 1.

    Returns
    -------
    float
    """
    cells = draws + 1
    outside = cells * (1 - level) / 2
    return float(np.mean((ranks + 0.5 > outside) & (ranks + 0.5 < cells - outside)))


def _points(draws: int) -> np.ndarray:
    """Probability that a uniform rank is at most 0, 1, … draws - 1."""
    return np.arange(1, draws + 1) / (draws + 1)


def _probability_inside(tail: float, size: int, draws: int) -> float:
    """Probability that at every point both Binomial tails of a uniform sample's count exceed `tail`.

    Counts in equal cells are independent Poisson counts, given their sum. The running sum is followed through the
    points. arviz_stats' ``simulate_confidence_bands`` estimates the same by simulation, which cannot resolve the small
    probabilities that a test of many quantities needs.
    """
    counts, points = np.arange(size + 1)[:, None], _points(draws)
    edge = tail * _SAME
    inside = (binom.cdf(counts, size, points) > edge) & (binom.sf(counts - 1, size, points) > edge)
    step = poisson.pmf(counts[:, 0], size / (draws + 1))
    at = np.zeros(size + 1)
    at[0] = 1.0
    for allowed in inside.T:
        at = np.convolve(at, step)[: size + 1] * allowed
    return float(at @ step[::-1] / poisson.pmf(size, size))
