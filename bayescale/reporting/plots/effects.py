"""What a law says of one variable at a time: effects, slopes per doubling, its components, and its prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from pandas.api.types import is_numeric_dtype

from bayescale.core.errors import QueryError, nearest
from bayescale.core.quantities import count
from bayescale.decisions.surface import losses, others_of
from bayescale.inference.average import AbstractFit
from bayescale.prediction.predictive import predictive, swept
from bayescale.prediction.queries import flops_of, resolve_family
from bayescale.reporting.plots.figures import (
    _BLUE,
    _GREY,
    _ORANGE,
    _axes,
    _check_law,
    _title,
    _x_axis,
    banded,
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
_COUNTED = 1e4  # from here on, a number is written as a count
_DERIVED = ("unique_tokens", "flops")  # columns that follow from params and tokens


@dataclass(frozen=True, eq=False)
class _Effect:
    """Losses of the law by one column, at levels of another, with all others held."""

    column: str
    by: str | None
    x: np.ndarray
    levels: np.ndarray
    losses: np.ndarray
    """Of shape (multiple, level, draw, value): at each multiple of the column's values."""
    held: str
    """In words, at what values the other columns are held; empty if there are none."""


def plot_effects(
    fit: AbstractFit, column: str | None = None, *, by: str | None = None, family: str | None = None,
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Loss of the law against one column, at three values of another: median and 90% interval.

    Parameters
    ----------
    fit : Fit or Average
    column : str, optional
        A column of numbers that the law reads, such as ``"params"``, ``"unique_tokens"`` or ``"experts"``; by default
        tokens, or the law's first.
    by : str, optional
        Another such column, drawn at the 10%, 50% and 90% quantile of the runs; by default params, or the law's first.
        All others are held at their median, as the title says, and no token is repeated unless it is asked for.
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
        If the law does not read a column, or reads it as a share or as text.
    """
    found = _conditional(fit, column, by, family)
    ax = _by_level(found, found.losses[0], ax)
    ax.set(ylabel="loss of the law (nats/token)",
           title=_title(fit, f"loss by {found.column}, 90% intervals{found.held}"))  # fmt: skip
    return ax


def plot_slopes(
    fit: AbstractFit, column: str | None = None, *, by: str | None = None, family: str | None = None,
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Loss that a doubling of one column saves, at three values of another: median and 90% interval.

    Parameters
    ----------
    fit : Fit or Average
    column, by : str, optional
        As in :func:`plot_effects`; `column` is positive.
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
        If the law does not read a column, or it has values that cannot be doubled.
    """
    found = _conditional(fit, column, by, family, (1.0, 2.0))
    saved = found.losses[0] - found.losses[1]
    ax = _by_level(found, saved, ax)
    if (np.quantile(saved, 0.05, axis=1) > 0).all():
        ax.set_yscale("log")
    ax.set(ylabel="nats/token saved",
           title=_title(fit, f"loss that a doubling of {found.column} saves{found.held}"))  # fmt: skip
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
    runs = one.design_frame.dropna(subset="loss")
    drawn = predictive(one, prior_draws=_PRIOR_DRAWS)["prior_predictive"]["loss"].to_numpy()[0]
    size = runs[size_column(runs)].to_numpy(float)
    order = np.argsort(size, kind="stable")
    bins = [rows for rows in np.array_split(order, min(_BINS, len(order))) if len(rows)]
    x = [float(np.exp(np.log(size[rows]).mean())) for rows in bins]
    q = np.array([np.quantile(drawn[:, rows], [0.05, 0.25, 0.5, 0.75, 0.95]) for rows in bins]).T
    ax = _axes(ax)
    for i, j, alpha, name in ((0, 4, 0.2, "90% of the prior"), (1, 3, 0.35, "50%")):
        banded(ax, x, q[i], q[j], _BLUE, alpha=alpha, label=name)
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
    fit: AbstractFit, column: str | None, by: str | None, family: str | None, multiples: tuple[float, ...] = (1.0,)
) -> _Effect:  # fmt: skip
    """Evaluate the law along a column, and along each multiple of its values, at levels of another column."""
    _check_law(fit, "effects")
    known = _known(fit)
    if not known:
        raise QueryError(f"cannot draw effects: {fit.name!r} reads shares alone, and none changes without another")
    column = column or ("tokens" if "tokens" in known else known[0])
    by = by or next((name for name in known if name != column), None)
    for name in (column, by):
        if name is not None and (name not in known or column == by):
            raise QueryError(f"cannot draw effects of {name!r}", hint=nearest(name, known),
                             expected=f"{' or '.join(known)}, and another of these for `by`")  # fmt: skip
    family = resolve_family(fit, family)
    runs = _runs(fit, family)
    x = _values(fit, column, runs, multiples[-1])
    levels = np.unique(np.quantile(runs[by].dropna(), _LEVELS)) if by else np.ones(1)
    grid = {column: np.outer(multiples, np.tile(x, len(levels))).ravel()}
    grid |= {by: np.tile(np.repeat(levels, len(x)), len(multiples))} if by else {}
    table, held = _filled(fit, pd.DataFrame(grid).assign(family=family), runs)
    found = losses(fit, table).reshape(-1, len(multiples), len(levels), len(x))
    return _Effect(column, by, x, levels, np.moveaxis(found, 0, 2), held)


def _known(fit: AbstractFit) -> list[str]:
    """Return the columns of numbers that a law reads, without shares, of which none can change alone."""
    read = dict.fromkeys(name for one in fit.members.values() for name in swept(one.spec))
    return [name for name in read if not (name in fit.declared and fit.declared[name].share_of)]


def _values(fit: AbstractFit, column: str, runs: pd.DataFrame, most: float) -> np.ndarray:
    """Return values of a column from half the runs' smallest to ten times their largest, if it has a log and no limit.

    `most` times the largest is a valid value, too.
    """
    low, high = float(runs[column].min()), float(runs[column].max())
    declared = fit.declared.get(column)
    least, top = (declared.low, declared.high / most) if declared else (-np.inf, np.inf)
    if low > 0:
        return np.geomspace(max(low / 2, least), min(10 * high, top), _POINTS)
    if most > 1:
        raise QueryError(f"{column!r} cannot be doubled", expected="a column of positive values", got=f"{low:g}",
                         hint="plot effects")  # fmt: skip
    return np.linspace(low, high, _POINTS) if low < high or declared is None else declared.spanned(_POINTS)


def _filled(fit: AbstractFit, table: pd.DataFrame, runs: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Add the other columns that a fit reads, at the usual value of its runs, and say those that change the law."""
    shares = [name for name, of in fit.declared.items() if of.share_of]
    held: dict[str, Any] = runs[shares].mean().to_dict()  # means of shares add up to 1
    known, named = {*table, *fit.observed, *_DERIVED, *held}, {*_known(fit), *fit.covariates}
    for name in [name for name in fit.columns if name in runs and name not in known]:
        held[name] = float(runs[name].median()) if is_numeric_dtype(runs[name]) else runs[name].mode().iloc[0]
    table = table.assign(**held)
    said = [f"{name} {_written(value)}" for name, value in held.items() if name in named or isinstance(value, str)]
    said += ["mean shares"] * bool(shares)
    if "tokens" in table:
        said += ["no token repeated"] * ("unique_tokens" in named and "unique_tokens" not in table)
        table["unique_tokens"] = np.minimum(table.get("unique_tokens", table["tokens"]), table["tokens"])
        if {"params", "active_params"} & set(table):
            table["flops"] = flops_of(table)
    return table, f"\nat {', '.join(said)}" * bool(said)


def _written(value: float | str) -> str:
    """Write a value of a column: 12B, 2024, 0.5."""
    return value if isinstance(value, str) else count(value, 2) if value >= _COUNTED else f"{value:.4g}"


def _by_level(found: _Effect, draws: np.ndarray, ax: Axes | None) -> Axes:
    """Draw a median with its band for each level of the other column; draws have the shape (level, draw, value)."""
    ax = _axes(ax)
    for level, of_level, colour in zip(found.levels, draws, PALETTE, strict=False):
        low, middle, high = np.quantile(of_level, [0.05, 0.5, 0.95], axis=0)
        banded(ax, found.x, low, high, colour, alpha=0.25)
        ax.plot(found.x, middle, color=colour, label=f"{_written(level)} {found.by}" if found.by else "median")
    _x_axis(ax, found.column, found.x)
    ax.legend(fontsize="small", frameon=False)
    return ax
