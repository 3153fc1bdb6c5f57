"""What a law says of one variable at a time: effects, slopes per doubling, its components, and its prior."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from bayescale.core.errors import QueryError
from bayescale.core.quantities import count
from bayescale.decisions.surface import losses, others_of
from bayescale.inference.average import AbstractFit
from bayescale.prediction.predictive import predictive
from bayescale.prediction.queries import resolve_family
from bayescale.reporting.plots.figures import (
    _BLUE,
    _GREY,
    _ORANGE,
    _axes,
    _check_law,
    _log_axis,
    _title,
    near_optimal,
    panelled,
)
from bayescale.runs.columns import FLOPS_PER_PARAM_TOKEN, size_column

PALETTE = ("#0b5394", "#c2620b", "#4d4d4d", "#4aa3df")
"""Colours of lines that stay apart for people with any usual colour blindness, in order of use."""
_POINTS = 40
_LEVELS = (0.1, 0.5, 0.9)  # quantiles of the runs at which the other variable is held
_PRIOR_DRAWS = 200
_BINS = 24
_OTHER = {"params": "tokens", "tokens": "params"}


def plot_effects(
    fit: AbstractFit, column: str = "tokens", *, family: str | None = None, ax: Axes | None = None
) -> Axes:  # fmt: skip
    """Loss of the law against tokens (or params), with the other held at three values: median and 90% interval.

    Parameters
    ----------
    fit : Fit or Average
    column : {"tokens", "params"}
    family : str, optional
        A fitted family or ``"new"``; by default the only family, else ``"new"``.
    ax : Axes, optional
        Axes to draw on; by default, those of a new figure.

    Returns
    -------
    Axes
    """
    ax = _by_level(_conditional(fit, column, family), column, ax)
    ax.set(ylabel="loss of the law (nats/token)", title=_title(fit, f"loss by {column}, 90% intervals"))
    return ax


def plot_slopes(
    fit: AbstractFit, column: str = "tokens", *, family: str | None = None, ax: Axes | None = None
) -> Axes:  # fmt: skip
    """Loss that a doubling of tokens (or params) saves, with the other held at three values: median and 90% interval.

    Parameters
    ----------
    fit : Fit or Average
    column : {"tokens", "params"}
    family : str, optional
        A fitted family or ``"new"``; by default the only family, else ``"new"``.
    ax : Axes, optional
        Axes to draw on; by default, those of a new figure.

    Returns
    -------
    Axes
    """
    (x, levels, once), (_, _, twice) = (_conditional(fit, column, family, times) for times in (1.0, 2.0))
    ax = _by_level((x, levels, once - twice), column, ax)
    ax.set(yscale="log", ylabel="nats/token saved", title=_title(fit, f"loss that a doubling of {column} saves"))
    return ax


def plot_components(fit: AbstractFit, *, family: str | None = None, ax: Axes | None = None) -> Axes:
    """Median loss at the best split by compute, in parts: the floor, what more params and what more tokens would save.

    The floor is the loss without limits on params and tokens. Finite params add to it, and finite tokens to both.

    Parameters
    ----------
    fit : Fit or Average
    family : str, optional
        A fitted family or ``"new"``; by default the only family, else ``"new"``.
    ax : Axes, optional
        Axes to draw on; by default, those of a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    QueryError
        If the law has no floor.
    """
    _check_law(fit, "components")
    family = resolve_family(fit, family)
    runs = _runs(fit, family)
    flops = np.geomspace(runs[size_column(runs)].min(), 100 * runs[size_column(runs)].max(), _POINTS)
    params, tokens = near_optimal(fit, family, flops)
    endless = np.full(_POINTS, np.inf)
    floor, sized, full = (np.median(_law(fit, family, n, d), axis=0)
                          for n, d in ((endless, endless), (params, endless), (params, tokens)))  # fmt: skip
    if not np.isfinite(floor).all() or not np.isfinite(sized).all():
        raise QueryError("cannot draw components: the law has no floor", hint="plot effects")
    ax = _axes(ax)
    for low, high, colour, name in ((0 * floor, floor, _GREY, "floor"), (floor, sized, _BLUE, "finite params"),
                                    (sized, full, _ORANGE, "finite tokens")):  # fmt: skip
        ax.fill_between(flops, low, high, color=colour, alpha=0.45, lw=0, label=name)
        ax.plot(flops, high, color=colour, lw=1.2)
    ax.set(xscale="log", ylim=(0.9 * float(floor.min()), None), xlabel="compute (FLOP)",
           ylabel="loss of the law (nats/token)")  # fmt: skip
    ax.set_title(_title(fit, f"{family}: components at the best split"))
    ax.legend(fontsize="small", frameon=False)
    return ax


def plot_prior_predictive(fit: AbstractFit, *, ax: Axes | None = None) -> Axes:
    """Losses that the prior expects at the fitted runs, before any is seen: 50% and 90% of its draws, with the runs.

    Parameters
    ----------
    fit : Fit or Average
        For an average, its first member is drawn.
    ax : Axes, optional
        Axes to draw on; by default, those of a new figure.

    Returns
    -------
    Axes
    """
    _check_law(fit, "a prior predictive")
    one = next(iter(fit.members.values()))
    runs = one.design_frame
    drawn = predictive(one, prior_draws=_PRIOR_DRAWS)["prior_predictive"]["loss"].to_numpy()[0]
    size = runs[size_column(runs)].to_numpy(float)
    order = np.argsort(size, kind="stable")
    bins = [rows for rows in np.array_split(order, min(_BINS, len(order))) if len(rows)]
    x = [float(np.exp(np.log(size[rows]).mean())) for rows in bins]
    q = np.array([np.quantile(drawn[:, rows], [0.05, 0.25, 0.5, 0.75, 0.95]) for rows in bins]).T
    ax = _axes(ax)
    for i, j, alpha, name in ((0, 4, 0.2, "90% of the prior"), (1, 3, 0.35, "50%")):
        ax.fill_between(x, q[i], q[j], color=_BLUE, alpha=alpha, lw=0, label=name)
    for row in (q[0], q[1], q[3], q[4]):
        ax.plot(x, row, color=_BLUE, lw=0.7)
    ax.scatter(size, runs["loss"], s=9, color=_GREY, label="runs", zorder=3)
    ax.set(xscale="log", yscale="log", xlabel="compute (FLOP)", ylabel="loss (nats/token)",
           title="what the prior expects at the fitted runs")  # fmt: skip
    ax.legend(fontsize="small", frameon=False)
    return ax


def plot_families(fit: AbstractFit, *, ax: Axes | None = None) -> Axes:
    """Loss of each family's runs by compute, one panel a family, with the law's 90% interval at their own splits.

    Parameters
    ----------
    fit : Fit or Average
    ax : Axes, optional
        Axes to draw on, or whose place the panels of several families take; by default, those of a new figure.

    Returns
    -------
    Axes
        Of the first panel.
    """
    _check_law(fit, "families")
    runs = fit.design_frame
    panels = panelled(ax, fit.families, x="compute (FLOP)", y="loss of a run (nats/token), 90%",
                      title=_title(fit, f"{fit.name}: runs, and 90% of what the model expects of each"))  # fmt: skip
    for panel, family in zip(panels, fit.families, strict=True):
        mine = runs[runs["family"] == family].sort_values(size_column(runs))
        x, draws = mine[size_column(runs)].to_numpy(float), losses(fit, mine, "run")
        low, high = np.quantile(draws, [0.05, 0.95], axis=0)
        panel.vlines(x, low, high, color=_BLUE, alpha=0.35, lw=1.5)
        panel.scatter(x, mine["loss"], s=7, color=_GREY, zorder=3)
        panel.set_xscale("log")
    return panels[0]


def _runs(fit: AbstractFit, family: str) -> pd.DataFrame:
    runs = fit.design_frame
    return runs[runs["family"] == family] if family in fit.families else runs


def _law(fit: AbstractFit, family: str, params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Return losses under the law, shape (draw, point)."""
    with np.errstate(invalid="ignore", over="ignore"):  # positions at infinity, which the law alone does not read
        table = pd.DataFrame({"params": params, "tokens": tokens, "unique_tokens": tokens})
        table["flops"] = FLOPS_PER_PARAM_TOKEN * table["params"] * table["tokens"]
        return losses(fit, table.assign(**others_of(fit, family)))


def _conditional(
    fit: AbstractFit, column: str, family: str | None, times: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Return values of a column, levels of the other, and losses of shape (level, draw, value)."""
    _check_law(fit, "effects")
    if column not in _OTHER:
        raise QueryError(f"cannot draw effects of {column!r}", expected=" or ".join(_OTHER))
    family = resolve_family(fit, family)
    runs = _runs(fit, family)
    x = np.geomspace(runs[column].min() / 2, 10 * runs[column].max(), _POINTS)
    levels = np.quantile(runs[_OTHER[column]], _LEVELS)
    at = {column: np.tile(times * x, len(levels)), _OTHER[column]: np.repeat(levels, _POINTS)}
    found = _law(fit, family, at["params"], at["tokens"])
    return x, levels, np.moveaxis(found.reshape(len(found), len(levels), _POINTS), 1, 0)


def _by_level(found: tuple[np.ndarray, np.ndarray, np.ndarray], column: str, ax: Axes | None) -> Axes:
    """Draw what :func:`_conditional` returns: a median with its band for each level of the other variable."""
    x, levels, of_levels = found
    ax = _axes(ax)
    for level, draws, colour in zip(levels, of_levels, PALETTE, strict=False):
        _banded(ax, x, draws, colour, f"{count(level, 2)} {_OTHER[column]}")
    _log_axis(ax, "x", column)
    ax.legend(fontsize="small", frameon=False)
    return ax


def _banded(ax: Axes, x: np.ndarray, draws: np.ndarray, colour: str, label: str) -> None:
    """Draw the median of draws with a band and its edges."""
    low, middle, high = np.quantile(draws, [0.05, 0.5, 0.95], axis=0)
    ax.fill_between(x, low, high, color=colour, alpha=0.25, lw=0)
    for edge in (low, high):
        ax.plot(x, edge, color=colour, lw=0.7)
    ax.plot(x, middle, color=colour, label=label)
