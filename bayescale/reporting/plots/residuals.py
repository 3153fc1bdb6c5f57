"""Residuals of the fitted runs, one panel a family, with the noise that the model expects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from bayescale.core.quantities import counted
from bayescale.inference.average import AbstractFit
from bayescale.modelling.sites import location_of
from bayescale.prediction.predict import predict
from bayescale.reporting.plots.figures import _BLUE, _GREY, _ORANGE, _title, _x_axis, banded, panelled
from bayescale.runs.columns import DATE, size_column

_TIMES = 4.0  # the 90% quantile of absolute residuals: half the height, so that outliers do not flatten the rest
_ROOM = 1.2  # half the height over the usual width of the band
_FEWEST, _BINS = 8, 6  # runs of a bin of the band at least, and bins at most
_MARGIN = 0.04  # of the axis, by which the band reaches beyond the outermost runs


def plot_residuals(
    fit: AbstractFit, column: str | None = None, *, response: str | None = None, ax: Axes | None = None
) -> Axes:
    """Residuals of a response from the posterior median, one panel a family, with 90% of the expected noise.

    Outliers that would flatten all others are drawn at the edge of their panel, which says how many they are.

    Parameters
    ----------
    fit : Fit or Average
    column : str, optional
        ``"params"``, ``"tokens"``, ``"flops"`` or another column that the model reads; by default tokens, or the
        model's first input.
    response : str, optional
        By default, the first response.
    ax : Axes, optional
        Axes to draw on, or whose place the panels of several families take; by default, those of a new figure.

    Returns
    -------
    Axes
        Of the first panel.
    """
    runs, of = fit.design_frame, fit.response(response)
    column = column or ("tokens" if "tokens" in runs else next(iter(fit.inputs), size_column(runs)))
    left, noise = _left(fit, of, runs)
    x, known = runs[column].to_numpy(float), np.isfinite(left)
    usual = np.median(np.abs(np.quantile(noise, [0.05, 0.95], axis=0)))
    limit = max(_TIMES * float(np.quantile(np.abs(left[known]), 0.9)), _ROOM * float(usual))
    families = [family for family in fit.families if known[runs["family"] == family].any()]
    unit = {"log": "%", "real": of.response.unit}.get(of.response.kind, "% of items")
    panels = panelled(ax, families, x="compute (FLOP)" if column == "flops" else column,
                      y=f"observed minus predicted {of.name} ({unit})",
                      title=_title(fit, f"{fit.name}: residuals, with 90% of the noise"), sharey=True)  # fmt: skip
    for panel, family in zip(panels, families, strict=True):
        mine = (runs["family"] == family).to_numpy() & known
        _panel(panel, x[mine], left[mine], noise[:, mine], limit, column != DATE and bool(x[known].min() > 0))
    for panel in panels:  # ticks depend on what all panels show
        label = panel.get_xlabel()
        _x_axis(panel, column, x[known])
        panel.set_xlabel(label)
    return panels[0]


def _left(fit: AbstractFit, of: Any, runs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return residuals, shape (run,), and draws of the noise, shape (draw, run), of a loss in percent of it."""
    needed = {name: runs[other].to_numpy(float) for name, other in of.requires.items() if other in runs}
    located = predict(fit, runs, only=location_of(of.name))
    drawn = of.scored(predict(fit, runs, only=of.site, seed=fit.meta["seed"]), runs)
    middle = of.scored(of.scale.expected(np.quantile(located, 0.5, axis=0), needed), runs)
    away = of.scored(runs[of.site].to_numpy(float), runs) - middle
    noise = drawn - of.scored(of.scale.expected(located, needed), runs)
    if of.response.kind == "log":
        return 100 * np.expm1(away), 100 * np.expm1(noise)
    times = 1 if of.response.kind == "real" else 100
    return times * away, times * noise


def _panel(ax: Axes, x: np.ndarray, left: np.ndarray, noise: np.ndarray, limit: float, log: bool) -> None:
    """Draw the residuals of a family over the band of its noise, in bins of equally many runs."""
    order = np.argsort(x, kind="stable")
    bins = np.array_split(order, int(np.clip(len(x) // _FEWEST, 1, _BINS)))
    low, high = np.array([np.quantile(noise[:, rows], [0.05, 0.95]) for rows in bins]).T
    at = np.log(x) if log else x
    margin = _MARGIN * max(float(np.ptp(at)), 1.0)
    edges = [at.min() - margin, *(at[rows[0]] for rows in bins[1:]), at.max() + margin]
    ends = np.repeat(np.exp(edges) if log else edges, 2)[1:-1]
    banded(ax, ends, np.repeat(low, 2), np.repeat(high, 2), _BLUE)
    outside = np.abs(left) > limit
    ax.scatter(x[~outside], left[~outside], s=11, color=_GREY, alpha=0.7, zorder=3)
    ax.axhline(0, color=_GREY, lw=0.8)
    ax.set_ylim(-1.06 * limit, 1.06 * limit)
    if outside.any():
        ax.scatter(x[outside], np.clip(left[outside], -limit, limit), s=22, marker="D", facecolor="white",
                   edgecolor=_ORANGE, zorder=3)  # fmt: skip
        said = f"{counted(int(outside.sum()), 'run')} outside, at the edge"
        ax.set_title(f"{ax.get_title()}\n{said}", fontsize=ax.title.get_fontsize())
