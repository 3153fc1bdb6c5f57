"""Simplex: shares of one budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from math import comb

import numpy as np

LEAST_SHARE = 0.01
"""Smallest share of a budget that one of two parts gets; of more parts it is the step of their :func:`lattice`."""
MOST_PARTS = 12
"""Largest number of parts of which a lattice has enough points to choose from."""
_MOST_SPLITS = 2000  # bounds draws × actions
_SAME = 1e-9
_STEPS = 150  # of a descent
_SHORTEST, _LONGEST = 1e-6, 4.0  # powers of an advantage, at which a descent ends and which it does not exceed
_SLACK, _TINY = 0.5, 1e-30  # the worst part loses at most a factor of three in a step of power 1
_FARTHEST, _HALVINGS = 60.0, 60  # e-folds of the factor that makes shares add up to 1, and bisections


def lattice(parts: int) -> np.ndarray:
    """Return the finest lattice of shares that has at most 2,000 points.

    Parameters
    ----------
    parts : int
        At most :data:`MOST_PARTS`.

    Returns
    -------
    ndarray, shape (split, part)
        Positive shares that add up to 1, each a multiple of one step.

    Examples
    --------
    >>> lattice(2)[:2]
    array([[0.01, 0.99],
           [0.02, 0.98]])
    """
    fine = range(parts, round(1 / LEAST_SHARE) + 1)
    steps = max(n for n in fine if comb(n - 1, parts - 1) <= _MOST_SPLITS)
    ends = np.array(list(combinations(range(1, steps), parts - 1)))
    edges = np.column_stack([np.zeros(len(ends)), ends, np.full(len(ends), steps)])
    return np.diff(edges, axis=1) / steps


def ends_reached(shares: Mapping[str, float]) -> tuple[str, ...]:
    """Return a note if a share is the least or the largest that the lattice has: a better one may lie beyond it.

    Parameters
    ----------
    shares : mapping of str to float
        A point of the lattice of so many parts.

    Returns
    -------
    tuple of str
    """
    points = lattice(len(shares))
    least, most = points.min(), points.max()
    at = [name for name, share in shares.items() if min(share - least, most - share) < _SAME]
    if not at:
        return ()
    return (f"shares of {len(shares)} parts are looked for from {least:.1%} to {most:.1%} in steps of {least:.1%}: "
            f"better ones may lie beyond for {', '.join(at)}",)  # fmt: skip


def bounded(low: np.ndarray, high: np.ndarray, count: int) -> np.ndarray:
    """Return the mixture that is nearest to equal shares within limits, repeated.

    Parameters
    ----------
    low, high : ndarray, shape (part,)
        Least and largest share of each part.
    count : int

    Returns
    -------
    ndarray, shape (count, part)
    """
    return np.repeat(_within(np.full((1, len(low)), 1.0 / len(low)), low, high), count, axis=0)


def descended(
    slopes: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], start: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Minimise functions of shares, each from a start of its own, by multiplicative steps on the simplex.

    A step multiplies each share by a power of its advantage: how much less than the worst the function rises with it.
    A step that would not lower a function is not taken, and the next one is shorter. The minimum is a local one; it is
    the only one if the function is convex.

    Parameters
    ----------
    slopes : callable
        Returns values, shape (function,), and derivatives by the shares, shape (function, part).
    start : ndarray, shape (function, part)
    low, high : ndarray, shape (part,)
        Least and largest share of each part.

    Returns
    -------
    shares : ndarray, shape (function, part)
    values : ndarray, shape (function,)

    Examples
    --------
    >>> squares = lambda h: ((h**2).sum(axis=1), 2 * h)
    >>> shares, _ = descended(squares, np.array([[0.2, 0.8]]), np.zeros(2), np.ones(2))
    >>> shares.round(6)
    array([[0.5, 0.5]])
    """
    at, power = start, np.ones(len(start))
    value, slope = slopes(at)
    for _ in range(_STEPS):
        if (power < _SHORTEST).all():
            break
        worst, best = slope.max(axis=1, keepdims=True), slope.min(axis=1, keepdims=True)
        edge = np.maximum(worst + _SLACK * (worst - best), 0.0) + _TINY
        there = _within(at * (edge - slope) ** power[:, None], low, high)
        new, turned = slopes(there)
        better = new < value
        at, value, slope = (np.where(better.reshape(-1, *(1,) * (x.ndim - 1)), y, x)
                            for x, y in ((at, there), (value, new), (slope, turned)))  # fmt: skip
        power = np.where(better, np.minimum(power * 1.3, _LONGEST), power * 0.4)
    return at, value


def _within(shares: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Scale rows of positive numbers by one factor each, so that they add up to 1 once the limits hold."""
    shares = shares / shares.sum(axis=1, keepdims=True)
    if not low.any() and (high >= 1).all():
        return shares
    least, most = np.full(len(shares), -_FARTHEST), np.full(len(shares), _FARTHEST)
    for _ in range(_HALVINGS):  # of the log of the factor
        middle = 0.5 * (least + most)
        over = np.clip(shares * np.exp(middle)[:, None], low, high).sum(axis=1) > 1
        least, most = np.where(over, least, middle), np.where(over, middle, most)
    return np.clip(shares * np.exp(0.5 * (least + most))[:, None], low, high)
