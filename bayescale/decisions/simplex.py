"""Simplex: shares of one budget."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np

LEAST_SHARE = 0.01
"""Smallest share of a budget that a part gets."""
MOST_PARTS = 12
"""Largest number of parts of which a lattice has enough points to choose from."""
_MOST_SPLITS = 2000  # bounds draws × actions


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
