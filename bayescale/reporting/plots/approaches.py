"""The compute-optimal size by the posterior of the law, with what two older approaches read off the runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from bayescale.core.errors import RunsError
from bayescale.core.quantities import counted
from bayescale.decisions.derived import frontier
from bayescale.inference.average import AbstractFit
from bayescale.prediction.queries import resolve_family
from bayescale.reporting.plots.figures import _BLUE, _GREY, _ORANGE, _axes, _log_axis, _title, banded
from bayescale.reporting.plots.keys import legend_below, runs_of
from bayescale.runs.approaches import Approach, envelope_of, parabolas_of
from bayescale.runs.columns import size_column

_BUDGETS = 12  # of the posterior's band


def plot_approaches(fit: AbstractFit, *, family: str | None = None, ax: Axes | None = None) -> Axes:
    """Optimal params by compute: posterior of the law, and Hoffmann's approaches 1 and 2 over the same runs.

    Approach 1 is a line through the lower envelope of the runs, and approach 2 through the vertices of a parabola for
    each budget. Both are biased, even without noise (arXiv:2603.22339). An approach that the runs cannot show is left
    out, and the legend says so.

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
    """
    family = resolve_family(fit, family)
    runs = fit.design_frame
    runs = runs[runs["family"] == family] if family in fit.families else runs
    sizes = runs[size_column(runs)]  # FLOP; of a table without it, no law has a frontier
    flops = np.geomspace(sizes.min(), 10 * sizes.max(), _BUDGETS)
    best = frontier(fit, flops, family=family)
    ax = _axes(ax)
    low, middle, high = np.quantile(best.draws["params"], [0.05, 0.5, 0.95], axis=0)
    slopes = np.quantile(best.draws["params_exponent"][:, _BUDGETS // 2], [0.05, 0.95])
    ax.plot(flops, middle, color=_BLUE, label=f"3: the law, exponent {slopes[0]:.2f} to {slopes[1]:.2f} (90%)")
    banded(ax, flops, low, high, _BLUE, alpha=0.25)
    _overlay(ax, "1: envelope", envelope_of, runs, flops, color=_GREY, marker=".")
    _overlay(ax, "2: parabolas", parabolas_of, runs, flops, color=_ORANGE, marker="o")
    ax.axvline(runs["flops"].max(), color=_GREY, ls=":", lw=1)
    title = f"{family}: optimal size by three approaches\n1 and 2 are biased, even without noise"
    title += "" if family in fit.families else f"\n{runs_of(runs['family'].unique())}"
    ax.set(xscale="log", xlabel="compute (FLOP)", title=_title(fit, title))
    _log_axis(ax, "y", "optimal params")
    legend_below(ax, title="approach")
    return ax


def _overlay(
    ax: Axes, name: str, make: Callable[[pd.DataFrame], Approach], runs: pd.DataFrame, flops: np.ndarray, *, color: str,
    marker: str,
) -> None:  # fmt: skip
    """Draw the optima of an approach and the line through them."""
    try:
        found = make(runs)
    except RunsError:
        ax.plot([], [], ls="none", label=f"{name}: the runs show none")
        return
    points, left_out = found.points, ""
    if found.left_out:
        left_out = f", {counted(found.left_out, 'budget')} left out"
    style: dict[str, Any] = {"color": color, "marker": marker, "ms": 4}
    ax.plot(points["flops"], points["params"], ls="none", **style, zorder=3)
    ax.plot(flops, found.params_at(flops), color=color, ls="--", lw=1)
    ax.plot([], [], ls="--", lw=1, **style, label=f"{name}, exponent {found.exponent:.2f}{left_out}")
