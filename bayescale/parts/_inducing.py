"""Inducing points: a Gaussian process at many places, represented by its values at some of them, the knots."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Correlation = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Correlation, shape (n, m), between a process at places of shape (n, dim) and at places of shape (m, dim)."""

_DIGITS = 6  # decimals of a place, in correlation lengths: closer places are the same


def through_knots(at: np.ndarray, fitted: np.ndarray, correlation: Correlation, most: int) -> np.ndarray:
    """Return the basis of a Gaussian process of unit variance on standard Normal coordinates.

    At the knots the process has exactly its correlation. Elsewhere, for example far from the knots, they explain a part
    of its variance. At other places than the fitted ones the rest goes into the last coordinate, which no fitted place
    informs. At fitted places it is left to the noise, which is the deterministic training conditional of
    Quiñonero-Candela and Rasmussen (2005): in a coordinate of their own, fitted places would have an error that all of
    them share, and forecasts would inherit it.

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
    basis[:, most] = np.sqrt(np.maximum(1.0 - np.sum(basis**2, axis=1), 0.0)) * ~_among(at, fitted)
    return basis


def _among(at: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Return which rows are fitted places."""
    _, which = np.unique(np.vstack([at, fitted]).round(_DIGITS), axis=0, return_inverse=True)
    return np.isin(which[: len(at)], which[len(at) :])


def _spread_out(places: np.ndarray, correlation: Correlation, most: int) -> np.ndarray:
    """Return distinct places, each the one least correlated with those chosen before it."""
    places = np.unique(places.round(_DIGITS), axis=0)
    chosen = [int(np.argmin(np.abs(places - places.mean(axis=0)).sum(axis=1)))]
    nearest = correlation(places, places[chosen]).max(axis=1)
    while len(chosen) < min(most, len(places)):
        chosen.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, correlation(places, places[chosen[-1:]])[:, 0])
    return places[chosen]
