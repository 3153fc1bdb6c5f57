"""Knots: a Gaussian process of many places, seen through its values at some of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Correlation = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Correlation (n, m) of a process at places (n, dim) with that at places (m, dim)."""


def through_knots(at: np.ndarray, fitted: np.ndarray, correlation: Correlation, most: int) -> np.ndarray:
    """Basis (row, most + 1) of a process of variance one at places `at`, on standard Normal coordinates.

    At most `most` of the `fitted` places are knots, at which the process is what its correlation says. What they do
    not tell of a place, as of one far away, is the last coordinate, which such places share.
    """
    knots = _spread_out(fitted, correlation, most)
    root = np.linalg.cholesky(correlation(knots, knots))
    basis = np.zeros((len(at), most + 1))
    basis[:, : len(knots)] = np.linalg.solve(root, correlation(at, knots).T).T
    basis[:, most] = np.sqrt(np.maximum(1.0 - np.sum(basis**2, axis=1), 0.0))
    return basis


def _spread_out(places: np.ndarray, correlation: Correlation, most: int) -> np.ndarray:
    """Different places, each the one that those before it say least of."""
    places = np.unique(places.round(6), axis=0)
    chosen = [int(np.argmin(np.abs(places - places.mean(axis=0)).sum(axis=1)))]
    nearest = correlation(places, places[chosen]).max(axis=1)
    while len(chosen) < min(most, len(places)):
        chosen.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, correlation(places, places[chosen[-1:]])[:, 0])
    return places[chosen]
