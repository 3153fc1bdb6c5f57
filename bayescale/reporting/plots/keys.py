"""Keys of figures: legends that cover no data, and colours and markers that tell models and families apart."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.transforms import ScaledTranslation

from bayescale.core.quantities import counted
from bayescale.reporting.lettering import make_plain

# Colours that colour-blind readers can distinguish, as a test simulates; the first three differ in grey as well;
# line and marker distinguish models without colour.
STYLES = tuple(
    {"color": color, "ls": line, "marker": marker}
    for color, line, marker in (
        ("#2a6f97", "-", "o"),
        ("#e07a2f", "--", "s"),
        ("#3b3b3b", "-.", "^"),
        ("#7f3b08", ":", "D"),
        ("#009e73", (0, (6, 1, 1, 1, 1, 1)), "v"),
        ("#17becf", (0, (1, 3)), "P"),
    )
)
GREY = "#5a5f66"
FEW = 2000
"""Points of a scatter that a vector figure can hold."""
_MARKERS = "os^Dv<P>Xp*"  # of families: each has its own, so that colours may repeat
_MUTED = 0.7  # opacity of a run
_MOST_COLUMNS = 4
_PAD = 0.08  # inches from what is below the axes to the legend


def legend_below(ax: Axes, *, handles: Sequence[Artist] | None = None, title: str = "") -> Legend:
    """Put a legend below the axes and their labels, where it covers nothing, in as many columns as fit.

    Call it last: the place is below what is drawn then. A second legend goes below the first one if that was added as
    an artist.

    Parameters
    ----------
    ax : Axes
    handles : sequence of Artist, optional
        What is named; by default, everything in the axes that has a label.
    title : str

    Returns
    -------
    Legend
    """
    figure = ax.get_figure(root=True)
    assert isinstance(figure, Figure)
    make_plain(figure)  # texts are measured as they will be written
    taken = ax.get_tightbbox()
    assert taken is not None
    down = ScaledTranslation(0, (taken.y0 - ax.bbox.y0) / figure.dpi - _PAD, figure.dpi_scale_trans)
    entries = max(len(handles or ax.get_legend_handles_labels()[0]), 1)
    for rows in range(-(-entries // _MOST_COLUMNS), entries + 1):
        found = ax.legend(
            handles=handles, title=title, fontsize="small", title_fontsize="small", frameon=False, borderaxespad=0,
            columnspacing=1.4, handlelength=1.7, loc="upper center", ncols=-(-entries // rows),
            bbox_to_anchor=(0.5, 0), bbox_transform=ax.transAxes + down,
        )  # fmt: skip
        if found.get_window_extent().width <= taken.width:
            break
    return found


def legends_below(ax: Axes, families: Sequence[Artist], whose: str) -> None:
    """Put a legend below the axes, and below it one of the families whose runs are shown, if there are several.

    Parameters
    ----------
    ax : Axes
    families : sequence of Artist
        Handles of families, as :func:`scatter_families` returns them.
    whose : str
        Title of the legend of families.
    """
    if len(families) == 1:
        families[0].set_label(whose)
    if len(families) < 2:
        legend_below(ax)
        return
    others = [handle for handle in ax.get_legend_handles_labels()[0] if handle not in families]
    ax.add_artist(legend_below(ax, handles=others)).set_clip_on(False)  # what is clipped has no place in the layout
    legend_below(ax, handles=families, title=whose)


def runs_of(families: Collection[str]) -> str:
    """Return whose runs a figure shows, in words.

    Parameters
    ----------
    families : collection of str

    Returns
    -------
    str
    """
    return f"runs of {next(iter(families)) if len(families) == 1 else counted(len(families), 'family')}"


def scatter_families(ax: Axes, runs: pd.DataFrame, x: str, y: str, taken: Collection[str]) -> list[Artist]:
    """Draw the runs of several families, each with a marker of its own, those with the fewest runs on top.

    Parameters
    ----------
    ax : Axes
    runs : DataFrame
        With ``family``, `x` and `y`.
    x, y : str
        Columns that are drawn.
    taken : collection of str
        Colours that have another meaning in the figure.

    Returns
    -------
    list of Artist
        Handles of a legend, the family with the most runs first. Families for which there is no marker are one.
    """
    order = list(runs["family"].value_counts().index)
    named = order if len(order) <= len(_MARKERS) else order[: len(_MARKERS) - 1]
    rest = order[len(named) :]
    groups = [(f"{counted(len(rest), 'family')} more", rest, ".")] if rest else []
    groups += [(name, [name], marker) for name, marker in zip(named, _MARKERS, strict=False)]
    free = [str(style["color"]) for style in STYLES if style["color"] not in taken] or [GREY]
    handles: list[Artist] = []
    for i, (label, names, marker) in enumerate(groups):
        mine = runs[runs["family"].isin(names)]
        color = GREY if names is rest else free[i % len(free)]
        handles.append(ax.scatter(mine[x], mine[y], s=15, marker=marker, color=color, alpha=_MUTED, lw=0, zorder=3,
                                  label=label, rasterized=len(runs) > FEW))  # fmt: skip
    return [*handles[bool(rest) :], *handles[: bool(rest)]]
