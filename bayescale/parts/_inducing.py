"""Inducing points: a Gaussian process at many places, represented by its values at some of them, the knots."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Correlation = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Correlation, shape (n, m), between a process at places of shape (n, dim) and at places of shape (m, dim)."""


def through_knots(at: np.ndarray, fitted: np.ndarray, correlation: Correlation, most: int) -> np.ndarray:
    """Return the basis of a Gaussian process of unit variance on standard Normal coordinates.

    At the knots the process has exactly its correlation. The variance at a place that the knots do not explain, for
    example far from them, goes into the last coordinate, which all such places share.

    Parameters
    ----------
    at : ndarray, shape (row, dim)
        Places at which the basis is computed.
    fitted : ndarray, shape (place, dim)
        Places from which the knots are chosen.
    correlation : callable
    most : int
        Maximum number of knots.

    Returns
    -------
    ndarray, shape (row, most + 1)
    """
    knots = _spread_out(fitted, correlation, most)
    root = np.linalg.cholesky(correlation(knots, knots))
    basis = np.zeros((len(at), most + 1))
    basis[:, : len(knots)] = np.linalg.solve(root, correlation(at, knots).T).T
    basis[:, most] = np.sqrt(np.maximum(1.0 - np.sum(basis**2, axis=1), 0.0))
    return basis


def _spread_out(places: np.ndarray, correlation: Correlation, most: int) -> np.ndarray:
    """Return distinct places, each the one least correlated with those chosen before it."""
    places = np.unique(places.round(6), axis=0)
    chosen = [int(np.argmin(np.abs(places - places.mean(axis=0)).sum(axis=1)))]
    nearest = correlation(places, places[chosen]).max(axis=1)
    while len(chosen) < min(most, len(places)):
        chosen.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, correlation(places, places[chosen[-1:]])[:, 0])
    return places[chosen]
