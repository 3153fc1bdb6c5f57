"""Figures of priors: what a spec expects before any run is seen."""

from __future__ import annotations

from matplotlib.axes import Axes

from bayescale.modelling.spec import Spec
from bayescale.prediction.predictive import prior_curve, swept
from bayescale.reporting.plots import figures
from bayescale.reporting.plots.keys import legend_below


def plot_prior_loss(spec: Spec, column: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Prior of the loss along one column, relative to a usual run: median, 50% and 90%.

    Parameters
    ----------
    spec : Spec
    column : str, optional
        A column that the spec reads; by default the first input of its law.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    QueryError
        If the spec does not read the column, or reads text.
    """
    column = column or swept(spec)[0]
    curve, ax = prior_curve(spec, column), figures._axes(ax)
    x = curve[column]
    for low, high, alpha, label in (("q05", "q95", 0.2, "90%"), ("q25", "q75", 0.35, "50%")):
        figures.banded(ax, x, curve[low], curve[high], figures._BLUE, alpha=alpha, label=label)
    ax.plot(x, curve["q50"], color=figures._BLUE, label="median")
    ax.axhline(1.0, color=figures._GREY, lw=0.8, ls=":")
    ax.set(yscale="log", ylabel="loss / loss of the usual run", title=f"{spec.name}: before any run is seen")
    figures.plain_ticks(ax.yaxis)
    figures._x_axis(ax, column, x)
    legend_below(ax)
    return ax
