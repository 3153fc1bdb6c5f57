"""Lettering: names of others in figures, which are not read as mathematics."""

from __future__ import annotations

import re

from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter

from bayescale.core.escapes import printable

_OURS = re.compile(r"\$(?:\\mathdefault\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}|[\d.]+\\times10\^\{-?\d+\})\$")
"""Powers of ten, as this package and matplotlib's axes write them."""


def make_plain(figure: Figure) -> None:
    """Show every text of a figure as it is: dollars start no mathematics, and control characters are escaped.

    Parameters
    ----------
    figure : Figure
        Changed in place, before it is drawn.
    """
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            formatter = axis.get_major_formatter()
            if isinstance(formatter, FixedFormatter):
                formatter.seq = [_plain(str(label)) for label in formatter.seq]
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_text(_plain(text.get_text()))


def _plain(text: str) -> str:
    if _OURS.fullmatch(text):
        return text
    return re.sub(r"(?<!\\)\$", r"\\$", printable(text))
