"""Figures of a comparison: several models on one Axes, distinguished by colour, line and marker."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from bayescale.core.quantities import count, counted
from bayescale.evaluation.comparison import Comparison
from bayescale.evaluation.comparison_tables import EXPONENTS, OPTIMUM, POPULATION
from bayescale.prediction.predict import predict
from bayescale.prediction.queries import NEW, resolve_family
from bayescale.prediction.records import HORIZONS
from bayescale.reporting.plots.figures import (
    _GREY,
    _GRID,
    _axes,
    _log_axis,
    banded,
    draw_above,
    draw_coverage,
    near_optimal,
)
from bayescale.reporting.plots.keys import FEW, STYLES, legend_below, legends_below, runs_of, scatter_families
from bayescale.reporting.words import number

_WHOSE = {NEW: "a new family", POPULATION: "its population", "all": "shared by all families"}
_DECADES = 0.5  # beyond the budget, so that it lies inside the figure
_MOST_WASTE = 0.15  # of compute: a split that wastes more is no candidate,
_MOST_TIMES = 2.0  # unless the best one wastes half of that


def plot_losses(comparison: Comparison, *, beyond: bool = False, ax: Axes | None = None) -> Axes:
    """Loss of a run at each model's near-optimal split against compute, past the budget: median and 90% interval.

    `beyond` shows only the largest runs and the region beyond them, where laws differ.

    Parameters
    ----------
    comparison : Comparison
    beyond : bool
        Show only the largest runs and the region beyond them.
    ax : Axes, optional
        Axes to draw on; by default, those of a new figure.

    Returns
    -------
    Axes
    """
    ax = _axes(ax)
    family, budget = _family(comparison), comparison.settings["flops"]
    runs = next(iter(comparison.fits.values())).design_frame
    known = family in set(runs["family"])
    runs = runs[runs["family"] == family] if known else runs
    most = runs["flops"].max()
    least = most * 10**-_DECADES if beyond else runs["flops"].min()
    flops = np.geomspace(least, max(most, budget) * 10**_DECADES, _GRID)
    runs = runs[runs["flops"] >= least]
    top = 0.0
    for name, style in _styled(comparison.choices):
        fit = comparison.fits[name]
        params, tokens = near_optimal(fit, family, flops)
        table = pd.DataFrame({"params": params, "tokens": tokens, "flops": flops, "family": family})
        draws = predict(fit, table.assign(unique_tokens=tokens), only="loss", seed=fit.meta["seed"])
        low, middle, high = np.quantile(draws, [0.05, 0.5, 0.95], axis=0)
        banded(ax, flops, low, high, style["color"], ls=style["ls"])
        ax.plot(flops, middle, color=style["color"], ls=style["ls"], lw=1.8, label=_label(comparison, name))
        top = max(top, 1.1 * float(high.max()))
    whose, taken = runs_of(runs["family"].unique()), [style["color"] for _, style in _styled(comparison.choices)]
    families = [] if known else scatter_families(ax, runs, "flops", "loss", taken)
    if known:
        ax.scatter(runs["flops"], runs["loss"], s=7, color=_GREY, alpha=0.7, label=whose, zorder=3,
                   rasterized=len(runs) > FEW)  # fmt: skip
    ax.axvline(most, color=_GREY, ls=":", lw=1)
    ax.axvline(budget, color="black", lw=0.8)
    for at, text in ((most, "largest run"), (budget, "budget")):
        ax.annotate(text, (at, 0.98), xycoords=("data", "axes fraction"), fontsize="small", rotation=90, va="top",
                    ha="right", xytext=(-2, 0), textcoords="offset points", color=_GREY)  # fmt: skip
    above = int((runs["loss"] > top).sum())
    if above:
        draw_above(ax, above)
    where = "beyond the runs" if beyond else "against compute"
    ax.set(xscale="log", xlabel="compute (FLOP)", ylabel="loss of a run (nats/token)", title=f"{family}: loss {where}")
    ax.set_ylim(top=top)
    legends_below(ax, families, whose)
    return ax


def plot_coverage(comparison: Comparison, *, ax: Axes | None = None) -> Axes:
    """Coverage of the 90 and 50% intervals of leave-future-out, by compute beyond the fitted runs, ± one SE.

    Standard errors as in :func:`plot_horizons`; a bin of one run is faint.

    Parameters
    ----------
    comparison : Comparison
    ax : Axes, optional
        Axes to draw on; by default, those of a new figure.

    Returns
    -------
    Axes
    """
    ax = _axes(ax)
    table = comparison.horizons
    bins = [name for name in HORIZONS if name in set(table["horizon"])]
    counts = table.groupby("horizon")["n_test"].max()
    middle = len(comparison.backtests) - 0.5
    apart = min(0.09, 0.4 / len(comparison.backtests))  # bins stay apart, however many models there are
    for i, (name, style) in enumerate(_styled(comparison.backtests)):
        mine = table[table["model"] == name]
        at = np.asarray([bins.index(h) for h in mine["horizon"]]) + apart * (2 * i - middle)
        style = {"color": style["color"], "marker": style["marker"], "ms": 6}
        draw_coverage(ax, at, mine, 90, label=f"{_label(comparison, name)}, 90%", **style)
        draw_coverage(ax, at + apart, mine, 50, label=f"{name}, 50%", mfc="white", **style)
    for level in (90, 50):
        ax.axhline(level, color=_GREY, lw=0.8)
    ax.set_xticks(range(len(bins)), [f"{h}\n{counted(counts[h], 'run')}" for h in bins])
    ax.set(xlim=(-0.5, len(bins) - 0.5), ylim=(-3, 103), xlabel="compute over that of the largest fitted run",
           ylabel="runs in the interval (%), ± one SE",
           title="coverage beyond the fitted runs; grey: nominal")  # fmt: skip
    legend_below(ax)
    return ax


def plot_exponents(comparison: Comparison, *, ax: Axes | None = None) -> Axes:
    """Exponents of every model with 90% intervals, for the family of the budget.

    For a new family: exponents of the population it is drawn from, or exponents that all families share.

    Parameters
    ----------
    comparison : Comparison
    ax : Axes, optional
        Axes to draw on; by default, those of a new figure.

    Returns
    -------
    Axes
    """
    table = comparison.coefficients
    order = _family_order(comparison)
    shown = table["kind"].isin(EXPONENTS) & table["family"].isin(order)
    table = table[shown].sort_values("family", key=lambda family: family.map(order.index), kind="stable")
    table = table.drop_duplicates(["model", "name"]).sort_index()
    rows = list(dict.fromkeys(_row_label(r) for r in table.itertuples()))
    if ax is None:
        ax = plt.subplots(figsize=(6.4, 1.4 + 0.42 * len(rows)), layout="constrained")[1]
    models = list(comparison.fits)
    for i, (name, style) in enumerate(_styled(comparison.fits)):
        mine = table[table["model"] == name]
        at = [rows.index(_row_label(r)) + 0.22 * (i - (len(models) - 1) / 2) for r in mine.itertuples()]
        ax.hlines(at, mine["q05"], mine["q95"], color=style["color"], ls=style["ls"], lw=1.6)
        ax.plot(mine["q50"], at, ls="", marker=style["marker"], color=style["color"], label=_label(comparison, name))
    ax.set_yticks(range(len(rows)), rows)
    ax.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    ax.grid(axis="x", lw=0.4, color=_GREY, alpha=0.3)
    shown = sorted(set(table["family"]), key=order.index)
    title = f"exponents: {', '.join(_WHOSE.get(family, family) for family in shown) or 'none'}"
    if order[0] == NEW and POPULATION not in shown and "all" not in shown:
        title += "\nno fitted run informs the exponents of its law"
    ax.set(xlabel="exponent (median and 90% interval)", title=title)
    if len(table):
        legend_below(ax)
    return ax


def plot_splits(comparison: Comparison, *, ax: Axes | None = None) -> Axes:
    """Expected compute wasted against params at the budget, under each model; settled choices are marked.

    Parameters
    ----------
    comparison : Comparison
    ax : Axes, optional
        Axes to draw on; by default, those of a new figure.

    Returns
    -------
    Axes
    """
    ax = _axes(ax)
    spans = []
    for name, style in _styled(comparison.choices):
        choice = comparison.choices[name]
        params, mean = np.exp(choice.ln_params), choice.waste.mean(axis=0)
        near = mean < max(_MOST_WASTE, _MOST_TIMES * mean.min())
        spans += list(params[near][[0, -1]]) if near.any() else [choice.params]
        ax.plot(params[near], 100 * mean[near], color=style["color"], ls=style["ls"], label=_label(comparison, name))
        if choice.settled:
            ax.plot(choice.params, 100 * choice.waste_fraction, marker=style["marker"], color=style["color"], ms=8,
                    ls="", label=f"its choice, {count(choice.params)}")  # fmt: skip
    if spans:
        ax.set_xlim(min(spans), max(spans))
    _log_axis(ax, "x", "params")
    ax.set(ylabel="expected compute wasted (%)", ylim=(0, None),
           title=f"{_family(comparison)}: splits of {number(comparison.settings['flops'])} FLOP")  # fmt: skip
    legend_below(ax)
    return ax


def _styled(names: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(name, STYLES[i % len(STYLES)]) for i, name in enumerate(names)]


def _label(comparison: Comparison, name: str) -> str:
    """Return a model's name, with the verdict if its fit has not converged."""
    return name if comparison.fits[name].converged else f"{name} (NOT CONVERGED)"


def _family(comparison: Comparison) -> str:
    """Return the family of the budget."""
    return resolve_family(next(iter(comparison.fits.values())), comparison.settings["family"])


def _family_order(comparison: Comparison) -> list[str]:
    """Families whose exponents a figure shows: the budget's, shared ones, and for a new family the population's."""
    family = _family(comparison)
    return [family, *([POPULATION] if family == NEW else []), "all"]


def _row_label(row: Any) -> str:
    return str(row.name) if row.kind != OPTIMUM else "optimal params, per ln FLOP"
