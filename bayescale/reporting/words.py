"""Numbers as readers expect them, and tables and pictures in the form that a page needs."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayescale.core.quantities import count, nats
from bayescale.reporting.lettering import make_plain

SILENT = "not stated on the card"
NOTHING = "–"
NO_BREAK = "\N{NO-BREAK SPACE}"
PERCENT = "%"
_RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_POWER = re.compile(r"--[a-z-]+ \S+|(?<![\w.=])(-?\d+(?:\.\d+)?)e([+-]?\d+)\b")  # not in what a reader copies
_PLAIN = 1e-4, 1e6  # between them a number is written without an exponent
_DPI = 160
_FONTS = ["DejaVu Sans", "Verdana"]  # of equal widths; every text of a figure repeats the list
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))
_BETWEEN = re.compile(rb"(?<=>)(?:\s|<!--.*?-->)+(?=<)", re.DOTALL)  # elements: spaces, and comments that repeat texts
_PLACES, _DECIMAL = re.compile(rb' (?:d|x|y)="[^"]+"'), re.compile(rb"-?\d+\.\d+")  # to 0.1 of a point
_GAPS = re.compile(rb"(?<=[MLCQ]) | ?\n")  # that a path does not need
_MOVES, _FINE = re.compile(rb' transform="[^"]+"'), re.compile(rb"(\.\d\d)\d+")  # to 0.01, as they also scale
_UNUSED = re.compile(rb' id="(?:line2d|text|xtick|ytick|matplotlib\.axis)_\d+"')  # names that nothing refers to
_LEAST_HUNDREDTH = 0.005  # that two decimals show
_WORDS = ("text", "unit")  # writers of text; all others write numbers
_UNSEEN = ("svg", "explorer", "figures", "command", "address", "name", "id", "tex", "state")
"""Fields of what a page is made of that are no text of a reader."""


@dataclass(frozen=True)
class Table:
    """A table of words: header cells (name, unit), rows of cells, and which columns are numbers."""

    caption: str
    header: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    id: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure as a data URL, with a description in words."""

    address: str
    alt: str
    caption: str
    wide: bool = False
    tex: str = ""
    """A formula, where the picture is of one."""


@dataclass(frozen=True)
class Section:
    """A section of the page: sentences, then tables, then lists by title, then pictures."""

    id: str
    title: str
    sentences: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    lists: tuple[tuple[str, tuple[str, ...]], ...] = ()
    pictures: tuple[Picture, ...] = ()
    pairs: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = field(default=())
    """Questions and their answers, by title of the group."""


def number(value: float, digits: int = 3) -> str:
    """A number with a few significant digits: 0.00738, 1.95, 1×10²⁴."""
    if value is None or pd.isna(value):
        return NOTHING
    value = float(value)
    if value == 0 or _PLAIN[0] <= abs(value) < _PLAIN[1]:
        rounded = f"{value:#.{digits}g}" if abs(value) < 10 ** (digits - 1) else f"{value:,.0f}"
        return (f"{value:.0f}" if value == 0 else rounded).replace("-", "−")
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return raised(f"{mantissa}e{exponent}").replace("-", "−")


def raised(words: str) -> str:
    """Text whose powers of ten are raised, except those in options: 5.76e+23 becomes 5.76×10²³."""
    return _POWER.sub(
        lambda found: f"{found[1]}×10{str(int(found[2])).translate(_RAISED)}" if found[1] else found[0], words
    )


def rewritten(thing: Any, write: Callable[[str], str]) -> Any:
    """A value of dataclasses, tuples and texts, with every text that a reader sees written by a function."""
    if isinstance(thing, str):
        return write(thing)
    if isinstance(thing, tuple):
        return tuple(rewritten(one, write) for one in thing)
    if is_dataclass(thing) and not isinstance(thing, type):
        seen = (of.name for of in fields(thing) if of.name not in _UNSEEN)
        return replace(thing, **{name: rewritten(getattr(thing, name), write) for name in seen})
    return thing


def counted(value: float) -> str:
    """A count as people write it: 70.0B, 1.40T."""
    return NOTHING if value is None or pd.isna(value) else count(float(value))


def percent(value: float, digits: int = 2) -> str:
    """A share in percent."""
    if value is None or pd.isna(value):
        return NOTHING
    share = 100 * float(value)
    return (f"{share:.{digits}g}" if abs(value) < 1 else f"{share:.0f}").replace("-", "−") + PERCENT


def integer(value: float) -> str:
    """A number without decimals, with commas between thousands."""
    return NOTHING if value is None or pd.isna(value) else f"{float(value):,.0f}"


def signed(value: float) -> str:
    """A number with its sign."""
    return number(value) if value is None or pd.isna(value) or value <= 0 else f"+{number(value)}"


def loss(value: float) -> str:
    """A loss, to a thousandth; a small one to three significant digits."""
    return NOTHING if value is None or pd.isna(value) else nats(value)


def tenth(value: float) -> str:
    """A number in the hundreds, to one decimal."""
    return NOTHING if pd.isna(value) else f"{value:.1f}".replace("-", "−")


def hundredth(value: float | None) -> str:
    """A weight or its error, to two decimals; what would round to zero is said to be less."""
    if value is None or pd.isna(value):
        return NOTHING
    return "< 0.01" if 0 < value < _LEAST_HUNDREDTH else f"{value:.2f}"


def written(value: str) -> str:
    """Text that is already written."""
    return value


def unit(value: str) -> str:
    """A unit; a dash if it is 1."""
    return NOTHING if value == "1" else value


def sentence(words: str) -> str:
    """Text with a capital first letter, on one line."""
    return "; ".join((words[:1].upper() + words[1:]).splitlines())


def text(value: Any) -> str:
    """Text as it is."""
    return NOTHING if value is None or value == "" else str(value)


def interval(low: float, high: float, write: Callable[[float], str] = number) -> str:
    """Two ends of an interval."""
    return NOTHING if pd.isna(low) or pd.isna(high) else f"{write(low)} to {write(high)}"


Column = tuple[str, str, Callable[[Any], str], Callable[[Any], Any]]
"""Header, unit, function that writes a cell, and function that reads it from a row (a named tuple)."""

MODEL: Column = ("model", "", text, lambda r: r.model)
VERDICT: Column = ("fit", "", text, lambda r: r.verdict)


def tabled(caption: str, frame: pd.DataFrame, columns: Iterable[Column]) -> Table:
    """Write a frame's rows with the given columns."""
    columns = tuple(columns)
    rows = tuple(tuple(write(read(row)) for _, _, write, read in columns) for row in frame.itertuples())
    numeric = tuple(write.__name__ not in _WORDS for _, _, write, _ in columns)
    return Table(caption, tuple((name, unit) for name, unit, _, _ in columns), rows, numeric)


def drawn(ax: Axes, alt: str, caption: str, wide: bool = False) -> Picture:
    """A figure as inline SVG; the figure is closed."""
    figure = ax.get_figure(root=True)
    if not isinstance(figure, Figure):
        raise TypeError("the Axes belong to no figure")
    make_plain(figure)
    return Picture(svg(figure), alt, caption, wide)


def svg(figure: Figure, **settings: Any) -> str:
    """Data URL of a figure as SVG, on no background; the same figure gives the same bytes."""
    import matplotlib.pyplot as plt

    file = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "bayescale", "svg.fonttype": "none", "font.sans-serif": _FONTS}):
        figure.savefig(file, format="svg", dpi=_DPI, metadata=_NO_METADATA, transparent=True, **settings)
    plt.close(figure)
    short = _UNUSED.sub(b"", _BETWEEN.sub(b"", file.getvalue()))
    short = _MOVES.sub(lambda found: _FINE.sub(rb"\1", found[0]), _PLACES.sub(_placed, short))
    return "data:image/svg+xml;base64," + base64.b64encode(short).decode("ascii")


def _placed(found: re.Match[bytes]) -> bytes:
    """Coordinates without digits that nobody can see."""
    return _GAPS.sub(b"", _DECIMAL.sub(lambda at: b"%g" % round(float(at[0]), 1), found[0]))
