"""Figures of priors: what a spec expects before any run is seen."""

from __future__ import annotations

import pandas as pd
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
    ax = _bands(prior_curve(spec, column), column, figures._axes(ax))
    ax.axhline(1.0, color=figures._GREY, lw=0.8, ls=":")
    ax.set(yscale="log", ylabel="loss / loss of the usual run", title=f"{spec.name}: before any run is seen")
    figures.plain_ticks(ax.yaxis)
    return ax


def plot_prior_response(
    spec: Spec, response: str | None = None, column: str | None = None, *, ax: Axes | None = None
) -> Axes:
    """Prior of what is expected of a response along one column: median, 50% and 90%.

    Parameters
    ----------
    spec : Spec
    response : str, optional
        Name of the response; by default the first one of the spec.
    column : str, optional
        A column that the response or the law reads; by default the first that the response reads itself, such as the
        number of samples, or the first input of the law.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    QueryError
        If the spec does not read the column, has no such response, or reads text.
    """
    response = response or spec.instances[0].name
    column = column or swept(spec, response)[0]
    ax = _bands(prior_curve(spec, column, response=response), column, figures._axes(ax))
    (of,) = (one.response for one in spec.instances if one.name == response)
    unit = f"share of {of.unit}" if of.kind == "count" else of.unit
    ax.set(ylabel=f"{response} ({unit})", title=f"{spec.name}: before any run is seen")
    if of.kind == "log":
        ax.set_yscale("log")
        figures.plain_ticks(ax.yaxis)
    return ax


def _bands(curve: pd.DataFrame, column: str, ax: Axes) -> Axes:
    """Draw the median and the bands of a prior along a column."""
    x = curve[column]
    for low, high, alpha, label in (("q05", "q95", 0.2, "90%"), ("q25", "q75", 0.35, "50%")):
        figures.banded(ax, x, curve[low], curve[high], figures._BLUE, alpha=alpha, label=label)
    ax.plot(x, curve["q50"], color=figures._BLUE, label="median")
    figures._x_axis(ax, column, x)
    legend_below(ax)
    return ax
