"""One function per figure. Each takes and returns matplotlib Axes and changes no global setting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import FigureBase
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from scipy.stats import binomtest

from bayescale.core.dims import FAMILY
from bayescale.core.errors import QueryError, why_unwritten
from bayescale.core.files import atomic_write
from bayescale.core.quantities import count, counted
from bayescale.decisions.choice import Choice
from bayescale.evaluation import uniformity
from bayescale.evaluation.backtest import Backtest
from bayescale.evaluation.sbc import RANKED, Calibration
from bayescale.inference.average import AbstractFit
from bayescale.parts.base import Kind
from bayescale.prediction.predict import predict
from bayescale.prediction.queries import resolve_family
from bayescale.reporting.front import budget_words
from bayescale.reporting.lettering import make_plain
from bayescale.reporting.plots.keys import GREY, legend_below, legends_below, runs_of, scatter_families
from bayescale.reporting.words import number
from bayescale.runs.approaches import budgets as budgets_of
from bayescale.runs.columns import DATE, FLOPS_PER_PARAM_TOKEN, size_column

_GRID = 60  # points of a curve
_LINES = 5  # IsoFLOP curves, if the runs have no budgets of their own
_MOST_BUDGETS = 8  # IsoFLOP curves with distinguishable colours
_NEAR = np.log(1.3)  # of compute from a budget, up to which runs are shown with it
_LEAST_SHOWN, _TIMES_LEAST, _MOST_SHOWN = 0.2, 3.0, 2.0  # of waste: heights, as on a report's first page
_EDGE = 1.05  # times the outermost sizes: ends of an axis of params
_AROUND = 20.0  # times the chosen params, on either side
_CLOSE, _AWAY = np.log(1.5), np.log(3.0)  # e-folds of params from the best size of a run's compute
_ONE_SE = 0.6827  # of a Normal within one standard error
_FAINT = 0.3  # opacity of a bin with one forecast
_COLUMNS, _MANY, _MOST_COLUMNS = 3, 12, 5  # of panels: up to so many families, and of more
_FEW_DRAWS = 400  # enough to locate a median's minimum on a coarse grid
_BLUE, _ORANGE, _GREY = "#2a6f97", "#e07a2f", GREY


def plot_loss(
    fit: AbstractFit, *, family: str | None = None, flops: list[float] | None = None, ax: Axes | None = None
) -> Axes:
    """Loss against params at fixed budgets: runs, and the law's median with its 90% band.

    Parameters
    ----------
    fit : Fit
    family : str, optional
        As in :func:`forecast`.
    flops : list of float, optional
        Budgets in FLOP; by default, where the runs' compute clusters, at most eight; without clusters, the five with
        the most runs near them.
    ax : Axes, optional

    Notes
    -----
    Runs within a factor of 1.3 of a budget are moved to the nearest budget, along the median curve of their own family
    at their own params. A run's distance from the curve is then its residual only.

    Returns
    -------
    Axes
    """
    ax = _axes(ax)
    _check_law(fit, "loss against params")
    family = resolve_family(fit, family)
    runs = fit.design_frame
    runs = runs[runs["family"] == family] if family in fit.families else runs
    budgets = np.asarray(flops or _budgets(runs["flops"].to_numpy()))
    away = np.abs(np.log(runs["flops"].to_numpy()[:, None] / budgets))
    whose = np.where(away.min(axis=1) < _NEAR, away.argmin(axis=1), -1)
    for i, (budget, color) in enumerate(zip(budgets, in_order(len(budgets)), strict=True)):
        near = runs[whose == i]
        low, high = (near["params"].min(), near["params"].max()) if len(near) else (np.nan, np.nan)
        if not low < high:
            low, high = runs["params"].min(), runs["params"].max()
        params = np.geomspace(low / 1.5, high * 1.5, _GRID)
        curve = _curve(fit, family, params, budget / (FLOPS_PER_PARAM_TOKEN * params))
        banded(ax, params, curve[0], curve[2], color, alpha=0.25)
        ax.plot(params, curve[1], color=color, label=f"{number(budget, 2)} FLOP")
        if len(near):
            ax.scatter(near["params"], _brought(fit, near, float(budget)), color=color, s=14, edgecolor="white",
                       linewidth=0.4, zorder=3)  # fmt: skip
    _log_axis(ax, "x", "params")
    of = "runs" if family in fit.families else runs_of(runs["family"].unique())
    shown = f"{(whose >= 0).sum()} of {len(runs)} {of}, moved to the nearest budget"
    title = f"{family}: loss at fixed compute, 90% band of the curve\n{shown}"
    ax.set(ylabel="loss (nats/token)", title=_title(fit, title))
    legend_below(ax, title="compute")
    return ax


def plot_forecast(fit: AbstractFit, *, family: str | None = None, decades: float = 2.0, ax: Axes | None = None) -> Axes:
    """Loss of the compute-optimal run against compute, `decades` beyond the runs, with 50% and 90% intervals.

    Parameters
    ----------
    fit : Fit or Average
    family : str, optional
        A fitted family or ``"new"``; by default the only family, else ``"new"``.
    decades : float
        Powers of ten of compute shown beyond the largest run.
    ax : Axes, optional
        Axes to draw on; by default, those of a new figure.

    Returns
    -------
    Axes
    """
    ax = _axes(ax)
    family = resolve_family(fit, family)
    runs = fit.design_frame
    runs = runs[runs["family"] == family] if family in fit.families else runs
    of = fit.response("loss" if "loss" in fit.responses else None)
    shown, held = _comparable(runs, of)
    sized = size_column(runs)
    most = runs[sized].max()
    if sized == DATE:  # as far again as the runs are apart
        sizes = np.linspace(runs[sized].min(), 2 * most - runs[sized].min(), _GRID)
    else:
        sizes = np.geomspace(runs[sized].min(), most * 10**decades, _GRID)
    table = _along(fit, shown, family, sized, sizes)
    draws = predict(fit, table, only=of.site, seed=fit.meta["seed"])
    q = np.quantile(draws, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)
    banded(ax, sizes, q[0], q[4], _BLUE, label="90%")
    banded(ax, sizes, q[1], q[3], _BLUE, alpha=0.35, label="50%")
    split = ", near-optimal split" if "tokens" in table else ""
    ax.plot(sizes, q[2], color=_BLUE, label=f"median{split}")
    families = [] if family in fit.families else scatter_families(ax, shown, sized, of.site, [_BLUE])
    if not families:
        _scattered(ax, shown, sized, of.site, table)
    ax.axvline(most, color=_GREY, ls=":", lw=1)
    ax.annotate("beyond the runs →", (most, 0.97), xycoords=("data", "axes fraction"), fontsize="small",
                xytext=(4, 0), textcoords="offset points", va="top", color=_GREY)  # fmt: skip
    # A few outlying runs, or the wide upper tail of a new family, would flatten all others.
    top = 1.1 * max(q[3].max(), min(q[4].max(), shown[of.site].max()))
    above = int((shown[of.site] > top).sum())
    if above:
        draw_above(ax, above)
    ax.set_ylim(top=top)
    ax.set_xscale("linear" if sized == DATE else "log")
    ax.set(
        xlabel="compute (FLOP)" if sized == "flops" else sized,
        ylabel=f"{of.name} of a run ({of.response.unit})",
        title=_title(fit, f"{family}: forecast{held}"),
    )
    legends_below(ax, families, runs_of(shown["family"].unique()))
    return ax


def in_order(number: int) -> np.ndarray:
    """Return colours of lines that have an order, from dark to light.

    Parameters
    ----------
    number : int

    Returns
    -------
    ndarray, shape (number, 4)
    """
    return plt.get_cmap("viridis")(np.linspace(0.05, 0.85, number))


def draw_above(ax: Axes, runs: int) -> None:
    """Say how many runs lie above the axes.

    Parameters
    ----------
    ax : Axes
    runs : int
    """
    ax.annotate(f"{counted(runs, 'run')} above", (0.02, 0.97), xycoords="axes fraction", fontsize="small", va="top")


def _scattered(ax: Axes, runs: pd.DataFrame, sized: str, site: str, best: pd.DataFrame) -> None:
    """Draw runs; where a best split is known, by how far their params are from those of their compute."""
    if not {"params", "tokens"} <= set(best) or "params" not in runs:
        ax.scatter(runs[sized], runs[site], s=9, color=_GREY, label="runs", zorder=3)
        return
    ln_best = np.interp(np.log(runs[sized]), np.log(best[sized]), np.log(best["params"]))
    away = np.abs(np.log(runs["params"]) - ln_best)
    kinds = (("runs within 1.5× of the best size", away < _CLOSE, _GREY, 1.0),
             ("within 3×", (away >= _CLOSE) & (away < _AWAY), _GREY, 0.4),
             ("farther", away >= _AWAY, "none", 1.0))  # fmt: skip
    for label, of, colour, alpha in kinds:
        if of.any():
            ax.scatter(runs[sized][of], runs[site][of], s=11, facecolor=colour, edgecolor=_GREY, lw=0.6, alpha=alpha,
                       label=label, zorder=3)  # fmt: skip


def plot_allocation(choice: Choice, *, ax: Axes | None = None) -> Axes:
    """Compute wasted against params at the budget: mean, 50% and 90% interval over draws, with the safe range.

    If the runs do not settle the split, no choice is marked and the figure says why.

    Parameters
    ----------
    choice : Choice
        Of an :class:`Allocation`.
    ax : Axes, optional
        Axes to draw on; by default, those of a new figure.

    Returns
    -------
    Axes
    """
    ln_params, ax = _of(choice, "ln_params", "an allocation"), _axes(ax)
    order = np.argsort(ln_params)  # the sizes of a menu follow the grid
    params, waste = np.exp(ln_params)[order], choice.waste[:, order]
    mean = waste.mean(axis=0)
    most = max(_LEAST_SHOWN, _TIMES_LEAST * float(mean.min()))
    near = mean <= most
    if choice.settled:
        near &= (params > choice.params / _AROUND) & (params < choice.params * _AROUND)
    x, q = params[near], 100 * np.quantile(waste[:, near], [0.05, 0.25, 0.75, 0.95], axis=0)
    if np.isfinite(choice.band[0]):
        ax.axvspan(*choice.band, color=_ORANGE, alpha=0.15, lw=0, label="safe range: under 1% waste")
    banded(ax, x, q[0], q[3], _BLUE, label="90% of draws")
    banded(ax, x, q[1], q[2], _BLUE, alpha=0.35, label="50%")
    ax.plot(x, 100 * mean[near], color=_BLUE, label="expected waste")
    if choice.settled:
        ax.axvline(choice.params, color=_ORANGE, label=f"chosen: {count(choice.params)} params")
    ax.set_xlim(x.min() / _EDGE, x.max() * _EDGE)
    if mean.min() > _MOST_SHOWN:
        ax.set(yscale="log", ylim=(max(1.0, 0.8 * q.min()), None))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    else:
        ax.set_ylim(0, 100 * min(most, _MOST_SHOWN))
    ax.set_ylabel("compute wasted (%)" + ", counted up to 9,900" * bool(mean.min() > _MOST_SHOWN))
    _log_axis(ax, "x", "params")
    _tokens_axis(ax, choice.flops)
    title = f"{choice.family}: {budget_words(choice)}"
    title += "" if choice.settled else f"\nnot settled: {choice.unsettled.replace(' and ', '\nand ')}"
    ax.set_title(_title(choice.fit, title))
    legend_below(ax)
    return ax


def _tokens_axis(ax: Axes, flops: float) -> None:
    """Add an axis above one of params: the tokens that a budget leaves to each size."""

    def other(count: Any) -> Any:
        with np.errstate(divide="ignore"):  # matplotlib tries 0
            return flops / (FLOPS_PER_PARAM_TOKEN * np.asarray(count, float))

    above = ax.secondary_xaxis("top", functions=(other, other))
    _count_ticks(above.xaxis, *sorted(other(ax.get_xlim())))
    above.set_xlabel("tokens (fewer for larger sizes)")


def plot_prior_posterior(
    fit: AbstractFit, name: str | None = None, *, family: str | None = None, ax: Axes | None = None
) -> Axes:
    """Prior density of a parameter over the histogram of its posterior, each as high as the other.

    Parameters
    ----------
    fit : Fit or Average
        For an average, its first member is drawn.
    name : str, optional
        The parameter; by default, the law's first exponent. If it is partially pooled, the shared centre is drawn.
    family : str, optional
        The family, for a parameter that families do not share; by default the only family.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    QueryError
        If each family has its own parameter and no fitted family is named.
    """
    ax, one = _axes(ax), next(iter(fit.members.values()))
    if not one.spec.law:
        raise QueryError(
            f"cannot draw a prior of {fit.name!r}: its priors are in its code",
            hint="plot its posterior with ArviZ",
        )
    name = name or next(n for n, row in one.spec.table.items() if row.kind is Kind.EXPONENT)
    setting, row = one.spec.at(one.meta["anchor"]).parameters[name], one.spec.table[name]
    site = one.ways[name].population(name).name
    values, title = one.posterior[site], row.meaning
    if FAMILY in values.dims:
        family = _fitted(one, name, family)
        values = values.sel({FAMILY: family})
        title = f"{family}: {title}"
    draws = values.to_numpy().ravel()
    low, high = np.quantile(draws, [0.005, 0.995])  # a heavy tail would flatten the rest
    least, most = setting.prior.interval()
    grid = np.linspace(min(least, low), max(most, high), 400)
    counts, edges = np.histogram(draws, bins=40, range=(low, high))
    ax.bar(edges[:-1], counts / counts.max(), np.diff(edges), align="edge", color=_BLUE, alpha=0.5, label="posterior")
    density = np.exp(np.asarray(setting.prior.distribution().log_prob(grid)))
    ax.plot(grid, density / density.max(), color=_ORANGE, label="prior")
    ax.set(xlabel=site if row.unit == "1" else f"{site} ({row.unit})", title=_title(one, title))
    ax.set(ylabel="density, relative to its peak", yticks=[], ylim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    legend_below(ax)
    return ax


def _comparable(runs: pd.DataFrame, of: Any) -> tuple[pd.DataFrame, str]:
    """Return the runs in which what a response needs is as in the last one, and what it is if it differs elsewhere."""
    needed = [column for name, column in of.requires.items() if name != "loss_error" and column in runs]
    last = {column: runs[column].dropna().iloc[-1] for column in needed}
    held = {column: value for column, value in last.items() if runs[column].nunique() > 1}
    kept = runs[np.all([runs[column] == value for column, value in held.items()], axis=0)] if held else runs
    return kept, f", {', '.join(f'{column} {value:g}' for column, value in held.items())}" * bool(held)


def _along(fit: AbstractFit, runs: pd.DataFrame, family: str, sized: str, sizes: np.ndarray) -> pd.DataFrame:
    """Return queries along compute: at the near-optimal split of a law, or for a model that reads only run sizes.

    Other columns that responses need have the last known value of the runs.
    """
    needed = {column: runs[column].dropna().iloc[-1] for name in fit.responses
              for column in fit.response(name).requires.values() if column in runs}  # fmt: skip
    table = pd.DataFrame({sized: sizes, "family": family}).assign(**needed)
    if sized != "flops" or any(not one.spec.law for one in fit.members.values()):
        if set(fit.inputs) != {sized}:
            raise QueryError(
                f"{fit.name!r} cannot be drawn along compute",
                expected=f"a law, or a model that reads only {sized}",
                got=f"a model of {', '.join(fit.inputs)}",
                hint="forecast its queries, and plot them",
            )
        return table
    params, tokens = near_optimal(fit, family, sizes)
    return table.assign(params=params, tokens=tokens, unique_tokens=tokens)


def _check_law(fit: AbstractFit, what: str) -> None:
    """Refuse to draw a law's loss for a fit without a law or without a loss."""
    if any(not one.spec.law for one in fit.members.values()) or "loss" not in fit.responses:
        raise QueryError(f"cannot draw {what}: {fit.name!r} has no law of the loss", hint="plot forecast or residuals")


def plot_backtest(result: Backtest, *, ax: Axes | None = None) -> Axes:
    """Coverage of the 90% interval by cut, against its nominal level, with that of all families.

    Bars are one standard error, as in :func:`plot_horizons`. A cut with one forecast is faint.

    Parameters
    ----------
    result : Backtest
    ax : Axes, optional
        Axes to draw on; by default, those of a new figure.

    Returns
    -------
    Axes
    """
    by_family = result.families.groupby("family")["coverage_90"].mean()
    table = result.families.assign(mean=result.families["family"].map(by_family), cut=result.families.get("cut", ""))
    table = table.sort_values(["mean", "family", "reach_decades"])
    labels = [f"{f'{r.family} {r.cut}'.strip()}: {counted(r.n_test, 'run')}, up to {10**r.reach_decades:.2g}×"
              for r in table.itertuples()]  # fmt: skip
    if ax is None:
        ax = plt.subplots(figsize=(6.4, 1.6 + 0.3 * len(table)), layout="constrained")[1]
    draw_coverage(ax, np.arange(len(table)), table, 90, across=True, color=_BLUE, marker="o", ms=5)
    if len(by_family) > 1:
        mean = pd.DataFrame({"coverage_90": [by_family.mean()], "n_test": [table["n_test"].sum()],
                             "coverage_90_se": [by_family.sem()]})  # fmt: skip
        draw_coverage(ax, np.array([len(table)]), mean, 90, across=True, color=_ORANGE, marker="s", ms=6)
        labels.append(f"mean of {counted(len(by_family), 'family')}")
    ax.axvline(90, color=_GREY, ls=":", lw=1)
    ax.set_yticks(range(len(labels)), labels)
    ax.set(xlabel="runs inside the 90% interval (%)\n± one SE; dotted: nominal", xlim=(-3, 103),
           ylim=(-0.6, len(labels) - 0.4), title=_backtested(result, "coverage by cut"))  # fmt: skip
    return ax


def plot_horizons(result: Backtest, *, ax: Axes | None = None) -> Axes:
    """Coverage of the 50, 80 and 90% intervals by compute beyond the fitted runs, against their nominal levels.

    Bars are one standard error over families, or binomial (Wilson's interval) if that is wider or a bin has one
    family. A bin with one forecast is faint.

    Parameters
    ----------
    result : Backtest
    ax : Axes, optional
        Axes to draw on; by default, those of a new figure.

    Returns
    -------
    Axes
    """
    ax = _axes(ax)
    table = result.horizons
    for i, (level, color) in enumerate(((50, _GREY), (80, _ORANGE), (90, _BLUE))):
        ax.axhline(level, color=color, ls=":", lw=1)
        draw_coverage(ax, np.arange(len(table)) + (i - 1) * 0.12, table, level, color=color, marker="o", ms=5,
                      label=f"{level}%, ± one SE")  # fmt: skip
    labels = [f"{r.horizon}\n{counted(r.n_test, 'forecast')}\n{counted(r.families, 'family')}"
              for r in table.itertuples()]  # fmt: skip
    ax.set_xticks(range(len(table)), labels)
    ax.set_yticks(range(0, 101, 20))
    ax.set(xlabel="compute over that of the largest fitted run", xlim=(-0.5, len(table) - 0.5), ylim=(-3, 103),
           ylabel="inside the interval (%); dotted: nominal",
           title=_backtested(result, "coverage beyond the runs"))  # fmt: skip
    legend_below(ax)
    return ax


def draw_coverage(
    ax: Axes, at: np.ndarray, table: pd.DataFrame, level: int, *, label: str = "_", across: bool = False, **style: Any
) -> None:
    """Draw the coverage of one interval by bin, one row of `table` each, with one standard error.

    Parameters
    ----------
    ax : Axes
    at : ndarray, shape (bin,)
        Where each bin lies on the axis of bins.
    table : DataFrame
        With ``n_test``, ``coverage_LEVEL`` and, optionally, ``coverage_LEVEL_se``.
    level : int
        Of the interval, in percent.
    label : str
        In the legend; none by default.
    across : bool
        Whether coverage is on the horizontal axis.
    **style
        As in :meth:`matplotlib.axes.Axes.errorbar`.
    """
    for i, (place, row) in enumerate(zip(at, table.to_dict("records"), strict=True)):
        share, error = row[f"coverage_{level}"], row.get(f"coverage_{level}_se", np.nan)
        likely = binomtest(round(share * row["n_test"]), int(row["n_test"])).proportion_ci(_ONE_SE, "wilson")
        low, high = np.nanmin([likely.low, share - error]), np.nanmax([likely.high, share + error])
        bar = 100 * np.array([[share - low], [high - share]])
        where = {"x": 100 * share, "y": place, "xerr": bar} if across else {"x": place, "y": 100 * share, "yerr": bar}
        ax.errorbar(**where, capsize=3, lw=1, ls="", alpha=_FAINT if row["n_test"] < 2 else 1.0,
                    label="_" if i else label, **style)  # fmt: skip


def plot_calibration(result: Calibration, *, ax: Axes | None = None) -> Axes:
    """Rank distribution of every quantity minus the uniform one, with the band that each must stay in.

    Parameters
    ----------
    result : Calibration
    ax : Axes, optional
        Axes to draw on; by default, those of a new figure.

    Returns
    -------
    Axes
    """
    ax = _axes(ax)
    points, low, high = uniformity.band(len(result.ranks), RANKED, 1 - result.alpha)
    banded(ax, points, low - points, high - points, _GREY, label=f"{1 - result.alpha:.2%} band of each")
    table = result.table.sort_values("p", ascending=False)
    label = f"{int(table['passed'].sum())} quantities inside"
    for row in table.itertuples():
        away = uniformity.distribution(result.ranks[row.quantity].to_numpy(), RANKED) - points
        ax.plot(points, away, color=_BLUE if row.passed else _ORANGE, lw=1, alpha=0.6 if row.passed else 1.0,
                label=label if row.passed else f"{row.quantity}, p = {row.p:.1g}")  # fmt: skip
        label = "_" if row.passed else label
    ax.axhline(0, color=_GREY, lw=1)
    ax.set(xlabel="rank of the truth among posterior draws, as a share", ylabel="share of truths up to it, minus it",
           xlim=(0, 1), title=f"{result.spec.name}: {len(result.ranks)} simulations")  # fmt: skip
    legend_below(ax)
    return ax


def _backtested(result: Backtest, what: str) -> str:
    """Return a title with the model's name, and the verdict if a fit has not converged."""
    return f"{result.meta['spec']}: {what}" + "\nNOT ALL CONVERGED" * (not result.converged)


def _budgets(flops: np.ndarray) -> list[float]:
    """Return the budgets whose curves are drawn."""
    return budgets_of(flops, most=_MOST_BUDGETS, otherwise=_LINES)


def _brought(fit: AbstractFit, runs: pd.DataFrame, budget: float) -> np.ndarray:
    """Return losses of runs moved to a budget along the median curve of their own family."""
    there = runs.assign(tokens=budget / (FLOPS_PER_PARAM_TOKEN * runs["params"]), flops=budget)
    if "unique_tokens" in runs:
        there["unique_tokens"] = runs["unique_tokens"] / runs["tokens"] * there["tokens"]
    here, at = (np.median(predict(fit, table, only="log_loss"), axis=0) for table in (runs, there))
    return np.exp(np.log(runs["loss"].to_numpy()) + at - here)


def _fitted(fit: AbstractFit, name: str, family: str | None) -> str:
    """Return the family whose parameter is drawn."""
    if family is None and len(fit.families) == 1:
        return fit.families[0]
    if family not in fit.families:
        raise QueryError(f"families do not share {name!r}: name a fitted one", expected=", ".join(fit.families),
                         got=repr(family), hint=f"plot_prior_posterior(fit, {name!r}, family=…)")  # fmt: skip
    return family


def _of(choice: Choice, name: str, whose: str) -> Any:
    """Return what the details of a choice hold, or say whose choice has it, before any figure is opened."""
    if not hasattr(choice, name):
        raise QueryError(f"this figure is of {whose}", got=f"a choice of {choice.decision.name}")
    return getattr(choice, name)


def _axes(ax: Axes | None) -> Axes:
    return ax if ax is not None else plt.subplots(figsize=(6.4, 4.8), layout="constrained")[1]


def panelled(ax: Axes | None, names: Sequence[str], *, x: str, y: str, title: str, sharey: bool = False) -> list[Axes]:
    """Return one panel a name, in the place of `ax` if it is given, with labels and a title that all of them share.

    Parameters
    ----------
    ax : Axes, optional
        Axes whose place the panels take; by default, they fill a new figure.
    names : sequence of str
        Titles of the panels.
    x, y, title : str
        Labels of the axes, and the title above all panels.
    sharey : bool
        Whether all panels have the same vertical axis.

    Returns
    -------
    list of Axes
    """
    if len(names) == 1:
        ax = _axes(ax)
        ax.set(xlabel=x, ylabel=y, title=title)
        return [ax]
    columns = min(len(names), _COLUMNS if len(names) <= _MANY else _MOST_COLUMNS)
    rows = -(-len(names) // columns)
    place: FigureBase
    if ax is None:
        place = plt.figure(figsize=(3.2 * columns, max(2.6 * rows, 4.2)), layout="constrained")
    else:
        figure = ax.get_figure(root=True)
        assert figure is not None
        place = figure.add_subfigure(ax.get_subplotspec() or figure.add_gridspec()[0])
        ax.remove()
    panels = place.subplots(rows, columns, squeeze=False, sharex=True, sharey=sharey).ravel()
    for panel, name in zip(panels, names, strict=False):
        panel.set_title(name, fontsize="small")
    for above, spare in zip(panels[len(names) - columns :], panels[len(names) :], strict=False):
        above.tick_params(labelbottom=True)  # the panel below it had the labels
        spare.remove()
    place.suptitle(title, fontsize="medium")
    place.supxlabel(x, fontsize="small")
    place.supylabel(y, fontsize="small")
    return list(panels[: len(names)])


def banded(
    ax: Axes, x: Any, low: Any, high: Any, color: Any, *, alpha: float = 0.2, label: str = "", **style: Any
) -> None:
    """Fill the area between two lines and draw both, so that it is seen where bands overlap, in print and in grey.

    Parameters
    ----------
    ax : Axes
    x, low, high : array-like, shape (point,)
    color : color
    alpha : float
        Opacity of the area.
    label : str
        In the legend; none by default.
    **style
        Of the lines.
    """
    ax.fill_between(x, low, high, color=color, alpha=alpha, lw=0, label=label or None)
    for edge in (low, high):
        ax.plot(x, edge, color=color, **{"lw": 0.7} | style)


def _x_axis(ax: Axes, column: str, values: Any) -> None:
    """Label the axis of a column: linear for dates and for columns with values that have no log, else logarithmic."""
    if column == "flops":
        ax.set(xscale="log", xlabel="compute (FLOP)")
    elif column != DATE and np.min(values) > 0:
        _log_axis(ax, "x", column)
    else:
        ax.set_xlabel(column)


def _log_axis(ax: Axes, axis: str, label: str) -> None:
    """Set a log axis with ticks written as counts: 70M, 7B."""
    ax.set(**{f"{axis}scale": "log", f"{axis}label": label})
    _count_ticks(getattr(ax, f"{axis}axis"), *getattr(ax, f"get_{axis}lim")())


def _count_ticks(chosen: Axis, low: float, high: float) -> None:
    """Write the ticks of a log axis as counts, in steps that fit its range."""
    subs = (1.0,) if high / low > 30 else (1.0, 2.0, 5.0) if high / low > 6 else (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
    chosen.set_major_locator(LogLocator(subs=subs))
    chosen.set_major_formatter(FuncFormatter(lambda value, _: count(value, 1)))
    chosen.set_minor_formatter(NullFormatter())


def plain_ticks(axis: Axis) -> None:
    """Write the ticks of a log axis of losses or of ratios as plain numbers: 1.5, 2, 3.

    Parameters
    ----------
    axis : Axis
    """
    axis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _curve(fit: AbstractFit, family: str, params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Return the 5%, 50% and 95% quantiles of the law's loss; shape (3, point)."""
    table = pd.DataFrame({"params": params, "tokens": tokens, "family": family})
    table = table.assign(flops=FLOPS_PER_PARAM_TOKEN * table["params"] * table["tokens"], unique_tokens=tokens)
    return np.exp(np.quantile(predict(fit, table, only="log_loss"), [0.05, 0.5, 0.95], axis=0))


def near_optimal(fit: AbstractFit, family: str, flops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return params and tokens of lowest median loss, on a coarse grid around equal growth from the anchor.

    Parameters
    ----------
    fit : Fit or Average
    family : str
    flops : ndarray, shape (budget,)
        Budgets in FLOP.

    Returns
    -------
    params, tokens : ndarray, shape (budget,)
    """
    anchor = fit.meta["anchor"]
    ratio = anchor["tokens"] / anchor["params"] * np.geomspace(1 / 30, 30, 61)
    params = np.sqrt(flops[:, None] / (FLOPS_PER_PARAM_TOKEN * ratio))
    tokens = params * ratio
    table = pd.DataFrame({"params": params.ravel(), "tokens": tokens.ravel(), "family": family})
    table = table.assign(flops=np.repeat(flops, len(ratio)), unique_tokens=table["tokens"])
    median = np.median(predict(fit, table, only="log_loss", most=_FEW_DRAWS), axis=0).reshape(params.shape)
    best = (np.arange(len(flops)), median.argmin(axis=1))
    return params[best], tokens[best]


def _title(fit: AbstractFit, text: str) -> str:
    """Add the verdict to a title if the fit has not converged, so that no figure lacks it."""
    return text if fit.converged else f"{text}\nNOT CONVERGED"


def save(ax: Axes, path: Any) -> None:
    """Write the figure of `ax` as PNG (or by the path's suffix), 160 dots an inch.

    Parameters
    ----------
    ax : Axes
    path : path
        File to write.

    Raises
    ------
    QueryError
        If the file cannot be written.
    """
    figure, path = ax.get_figure(root=True), Path(path)
    if figure is not None:
        make_plain(figure)
        try:
            with atomic_write(path) as temporary:
                figure.savefig(temporary, format=path.suffix[1:] or "png", dpi=160)
        except OSError as error:
            raise QueryError(f"cannot write {path}", **why_unwritten(error)) from None
