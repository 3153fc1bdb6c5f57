"""Waste: the compute that a split costs beyond each draw's best one, the sizes that waste little, and what is known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bayescale.core.quantities import count

BELOW = (-2.0, -1.0, -0.5, -0.25, -0.1, -0.03, -0.01, 0.0)
"""Decades below the budget at which each draw's least loss is known, finest where small wastes are read."""
FEW = 0.01
"""Largest waste inside the safe range, as a share of compute."""
MOST_WASTE = 0.5
"""Largest expected waste of a settled split, relative to its compute: above it a third of the budget buys nothing."""
# GPT-3 (1.7) and Chinchilla (20) differ twelvefold. An interval two and a half times as wide contains advice that far
# apart on either side of its middle.
WIDEST = 30.0
"""Largest ratio of the 95% to the 5% quantile of tokens per param of a settled split."""
# A ratio that is wrong by a factor r wastes (alpha + beta) / 8 · ln² r: with exponents that sum to 0.7, 5% is a factor
# of 2.1. If 95% of draws lie within it, a posterior SD is a factor of 1.5: a few runs that move the ratio by more than
# that move it by more than an SD too, and are found by the rule of influence.
TOLERANCE = 0.05
"""Largest waste, on average and in 95% of draws, of a split that needs no care: its ratio is known to a factor of two.
"""
WIDE = (
    "the best ratio is {low} to {high} tokens per param (90% interval), and the choice may waste {most}% of compute, "
    "over the tolerance of {tolerance}%"
)
"""Why a split needs care that is settled, but not to within the tolerance."""


def wasted(losses: np.ndarray, least: np.ndarray, ln_budget: np.ndarray) -> np.ndarray:
    """Return C / C_least - 1, where C_least is what the draw's best split needs for the same loss.

    Between budgets, log compute is interpolated in the lowest loss. If even the smallest budget reaches a lower loss,
    the waste is that budget's, 99-fold: a lower bound, far from any sensible action.

    Parameters
    ----------
    losses : ndarray, shape (draw, action)
    least : ndarray, shape (draw, budget)
        Lowest loss of each draw, in descending order.
    ln_budget : ndarray, shape (budget,)
        Log of the budgets over the one that is spent, in ascending order.

    Returns
    -------
    ndarray, shape (draw, action)
    """
    waste = np.empty_like(losses)
    for s, (row, frontier) in enumerate(zip(losses, least, strict=True)):
        needed = np.interp(row, frontier[::-1], ln_budget[::-1])
        waste[s] = np.expm1(-needed)
    return waste


def safe_range(ln_params: np.ndarray, waste: np.ndarray) -> tuple[float, float]:
    """Return the smallest and largest params that waste under 1% of compute with probability at least 1/2.

    So do all sizes between them: of several such ranges, the one with the largest probability is returned.

    Parameters
    ----------
    ln_params : ndarray, shape (action,)
        In ascending order.
    waste : ndarray, shape (draw, action)

    Returns
    -------
    low, high : float
        Both are NaN if there are none.
    """
    good = (waste < FEW).mean(axis=0)
    best = int(good.argmax())
    if good[best] < 0.5:
        return float("nan"), float("nan")
    poor = np.flatnonzero(np.concatenate([[0.0], good, [0.0]]) < 0.5) - 1  # with a place beyond either end
    low, high = poor[poor < best].max() + 1, poor[poor > best].min() - 1
    return float(np.exp(ln_params[low])), float(np.exp(ln_params[high]))


def why_care(ratio: Mapping[str, float], waste: np.ndarray) -> str:
    """Return why a split needs care for its waste; empty if that is within the tolerance.

    Parameters
    ----------
    ratio : mapping of str to float
        As in :func:`why_unsettled`.
    waste : ndarray, shape (draw,)
        Of the split.

    Returns
    -------
    str
    """
    most = float(max(waste.mean(), np.quantile(waste, 0.95)))
    said = WIDE.format(low=count(ratio["q05"]), high=count(ratio["q95"]), most=count(100 * most, 2),
                       tolerance=count(100 * TOLERANCE, 1))  # fmt: skip
    return said * (most > TOLERANCE)


def why_unsettled(ratio: Mapping[str, float], waste: float) -> str:
    """Return why runs do not settle a split; empty if they do.

    Parameters
    ----------
    ratio : mapping of str to float
        The 5% and 95% quantiles, ``q05`` and ``q95``, of the best tokens per param.
    waste : float
        Expected waste of the split.

    Returns
    -------
    str
    """
    reasons = [f"expected waste is {waste:.0%} of compute"] * (waste > MOST_WASTE)
    if not ratio["q95"] <= WIDEST * ratio["q05"]:
        times = ratio["q95"] / ratio["q05"]
        reasons.append(f"the 90% interval of tokens per param spans a factor of {count(times, 2)}")
    return " and ".join(reasons)
