"""Plans: what it takes to train a size to a quality, and the size that takes the least compute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bayescale.core.quantities import count
from bayescale.decisions.base import quantiles
from bayescale.decisions.surface import Surface, interpolate, losses, minimise
from bayescale.inference.average import AbstractFit
from bayescale.prediction.extrapolation import reach, reach_words
from bayescale.runs.columns import FLOPS_PER_PARAM_TOKEN

_SPAN = 17.0  # e-folds of tokens below the most: 100T down to 4M, the tokens of the smallest models
_LENGTH = 80  # steps of 0.22 e-folds: interpolation is exact to 1e-8
_STEP = 0.02  # e-folds between the runs of equal compute that give a slope, exact to 1e-8
_SHIFT = 1e-3  # in log loss, for the slope of log tokens
SLOPE = {-2: 1 / 12, -1: -8 / 12, 1: 8 / 12, 2: -1 / 12}
"""Weights, by step, of values in a first derivative of order 4."""


def token_grid(most: float) -> np.ndarray:
    """Return log tokens with even steps, from very few up to the most.

    Parameters
    ----------
    most : float
        Tokens.

    Returns
    -------
    ndarray, shape (length,)
    """
    return np.log(most) + np.linspace(-_SPAN, 0.0, _LENGTH)


def balanced(
    fit: AbstractFit, params: float, ln_tokens: np.ndarray, fixed: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens for which a size is compute-optimal under the law, and the loss that it then has.

    There, neither more params nor more tokens at the same compute lower the loss.

    Parameters
    ----------
    fit : Fit or Average
    params : float
    ln_tokens : ndarray, shape (length,)
        Grid of log tokens, with even steps.
    fixed : mapping
        Other columns of the queries, such as the family.

    Returns
    -------
    ln_tokens : ndarray, shape (draw,)
        An end of the grid if the balance lies beyond it.
    log_loss : ndarray, shape (draw,)
    """
    shift = _STEP * np.array([0, *SLOPE])[:, None]
    queries = pd.DataFrame({"params": (params * np.exp(shift + 0 * ln_tokens)).ravel(),
                            "tokens": np.exp(ln_tokens - shift).ravel()})  # fmt: skip
    queries = queries.assign(unique_tokens=queries["tokens"], **fixed)
    log_loss, *around = np.moveaxis(np.log(losses(fit, queries)).reshape(-1, len(shift), len(ln_tokens)), 1, 0)
    return balance(ln_tokens, log_loss, np.tensordot(list(SLOPE.values()), around, axes=1) / _STEP)


def balance(ln_tokens: np.ndarray, log_loss: np.ndarray, slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where more params at the same compute neither raise nor lower the loss, and the loss there.

    Parameters
    ----------
    ln_tokens : ndarray, shape (length,)
        With even steps.
    log_loss, slopes : ndarray, shape (draw, length)
        Of one size; slopes are those of log loss in log params at constant compute.

    Returns
    -------
    ln_tokens, log_loss : ndarray, shape (draw,)
        An end of the grid if the balance lies beyond it.
    """
    low, high = np.full(len(slopes), ln_tokens[0]), np.full(len(slopes), ln_tokens[-1])
    for _ in range(50):  # with too few tokens, more params raise the loss: the slope falls in tokens
        middle = 0.5 * (low + high)
        few = interpolate(ln_tokens, slopes, middle) > 0
        low, high = np.where(few, middle, low), np.where(few, high, middle)
    return low, interpolate(ln_tokens, log_loss, low)


def slope(of: Surface, log_loss: np.ndarray) -> np.ndarray:
    """Return how log tokens change with the log loss that they reach.

    Parameters
    ----------
    of : Surface
    log_loss : ndarray, broadcast to shape (draw, size)

    Returns
    -------
    ndarray, shape (draw, size)
        Log tokens per unit of log loss, negative; NaN near the ends of the grid.
    """
    with np.errstate(invalid="ignore"):
        found = sum(w * of.tokens_for(log_loss + k * _SHIFT) for k, w in SLOPE.items()) / _SHIFT
    return np.where(np.isfinite(found), found, np.nan)


def least_training(ln_params: np.ndarray, ln_tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the size of each draw that reaches a loss with the least training compute, and its compute.

    Parameters
    ----------
    ln_params : ndarray, shape (size,)
        With even steps.
    ln_tokens : ndarray, shape (draw, size)
        With which each size reaches the loss; infinite if it does not.

    Returns
    -------
    ln_params : ndarray, shape (draw,)
    ln_flops : ndarray, shape (draw,)
        Infinite if no size reaches the loss.
    """
    return least(ln_params, ln_params + ln_tokens + np.log(FLOPS_PER_PARAM_TOKEN))


def least(x: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where each function on a grid is smallest, as :func:`minimise` does, if some of it is infinite.

    Parameters
    ----------
    x : ndarray, shape (length,)
        With even steps.
    values : ndarray, shape (draw, length)

    Returns
    -------
    at, smallest : ndarray, shape (draw,)
        A point of the grid where the function is infinite nearby, or where the grid ends.
    """
    i = values.argmin(axis=-1)
    near = np.clip(i, 2, len(x) - 3)[:, None] + np.arange(-2, 3)
    smooth = np.isfinite(np.take_along_axis(values, near, axis=-1)).all(axis=-1) & (i > 0) & (i < len(x) - 1)
    at, smallest = x[i], np.take_along_axis(values, i[:, None], axis=-1)[:, 0]
    if smooth.any():
        at[smooth], smallest[smooth] = minimise(x, values[smooth])
    return at, smallest


def beyond(fit: AbstractFit, plans: pd.DataFrame) -> tuple[str, np.ndarray]:
    """Return how far plans lie beyond the fitted runs.

    Parameters
    ----------
    fit : Fit or Average
    plans : DataFrame
        ``params tokens family``, one plan per row; other columns are left out.

    Returns
    -------
    words : str
        Of all plans together.
    decades : ndarray, shape (plan,)
        log10 of a plan's compute over that of the largest run of its family; 0 inside.
    """
    table = plans[["params", "tokens", "family"]].assign(unique_tokens=plans["tokens"])
    table = table.assign(flops=FLOPS_PER_PARAM_TOKEN * table["params"] * table["tokens"])
    return reach_words(fit, table), reach(fit, table)["reach_decades"].to_numpy(float)


def interval(x: np.ndarray) -> str:
    """Write the median of draws and their 90% interval.

    Parameters
    ----------
    x : ndarray, shape (draw,)

    Returns
    -------
    str
    """
    low, middle, high = (count(value) for value in quantiles(x).values())
    return f"{middle} (90% interval {low} to {high})"
