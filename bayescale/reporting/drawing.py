"""Drawings: pictures as SVG whose colours are those of the page, in light and in dark."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape

import numpy as np

WIDTH, HEIGHT = 440, 330
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 34, 44
_MOST_TICKS = 7
_LETTER = 8  # width of a letter of a tick's text, on a phone
_NEAR_EDGE = 12  # about half of the width of a tick's text, less the margin
_NEAR_AXIS = 18  # from here on a text above the axis does not touch those on its left
_EDGE = WIDTH - RIGHT - _NEAR_EDGE
_STEPS = (1.0, 2.0, 5.0)


class Drawing:
    """A picture with two axes; every method adds to it.

    Parameters
    ----------
    x, y : (float, float)
        Ends of the axes.
    log : bool
        Whether the horizontal axis is logarithmic.
    """

    def __init__(self, x: tuple[float, float], y: tuple[float, float], *, log: bool = True) -> None:
        self.x, self.y, self.log = x, y, log
        self.parts: list[str] = []

    def across(self, x: float) -> float:
        """Return the horizontal position of a value."""
        low, high, at = np.log([*self.x, x]) if self.log else (*self.x, x)
        return float(LEFT + (at - low) / (high - low) * (WIDTH - LEFT - RIGHT))

    def up(self, y: float) -> float:
        """Return the vertical position of a value, at most the picture's ends."""
        share = (y - self.y[0]) / (self.y[1] - self.y[0])
        return float(HEIGHT - BOTTOM - min(max(share, 0.0), 1.0) * (HEIGHT - BOTTOM - TOP))

    def line(self, kind: str, x: Iterable[float], y: Iterable[float]) -> Drawing:
        """Draw a line."""
        points = " ".join(f"{self.across(a):.1f},{self.up(b):.1f}" for a, b in zip(x, y, strict=True))
        self.parts.append(f'<polyline class="{kind}" points="{points}"/>')
        return self

    def band(self, kind: str, x: Sequence[float], low: Sequence[float], high: Sequence[float]) -> Drawing:
        """Fill the area between two lines."""
        ends = [*zip(x, high, strict=True), *reversed([*zip(x, low, strict=True)])]
        points = " ".join(f"{self.across(a):.1f},{self.up(b):.1f}" for a, b in ends)
        self.parts.append(f'<polygon class="{kind}" points="{points}"/>')
        return self

    def span(self, kind: str, low: float, high: float) -> Drawing:
        """Shade a range of the horizontal axis."""
        a, b = (min(max(self.across(x), LEFT), WIDTH - RIGHT) for x in (low, high))
        self.parts.append(f'<rect class="{kind}" x="{a:.1f}" y="{TOP}" width="{b - a:.1f}" '
                          f'height="{HEIGHT - BOTTOM - TOP}"/>')  # fmt: skip
        return self

    def upright(self, kind: str, x: float, label: str, row: int = 0) -> Drawing:
        """Draw an upright line with a label in a row at its upper end, if it is inside."""
        at = self.across(x)
        if LEFT <= at <= WIDTH - RIGHT:
            right = at > 0.6 * WIDTH
            self.parts.append(f'<line class="{kind}" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
            self.parts.append(f'<text class="label" x="{at + (-4 if right else 4):.1f}" y="{TOP + 12 + 14 * row}" '
                              f'text-anchor="{"end" if right else "start"}">{escape(label)}</text>')  # fmt: skip
        return self

    def level(self, kind: str, y: float) -> Drawing:
        """Draw a level line."""
        at = self.up(y)
        self.parts.append(f'<line class="{kind}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        return self

    def points(self, kinds: Iterable[str], x: Iterable[float], y: Iterable[float], size: float = 3.0) -> Drawing:
        """Draw a point for each value inside the picture."""
        for kind, a, b in zip(kinds, x, y, strict=True):
            at = self.across(a)
            if self.y[0] <= b <= self.y[1] and LEFT <= at <= WIDTH - RIGHT:
                self.parts.append(f'<circle class="{kind}" cx="{at:.1f}" cy="{self.up(b):.1f}" r="{size:g}"/>')
        return self

    def error(self, kind: str, x: float, low: float, high: float) -> Drawing:
        """Draw an upright error bar."""
        at = self.across(x)
        self.parts.append(
            f'<line class="{kind}" x1="{at:.1f}" x2="{at:.1f}" y1="{self.up(low):.1f}" y2="{self.up(high):.1f}"/>'
        )
        return self

    def row(self, kind: str, y: float, label: str, low: float, middle: float, high: float) -> Drawing:
        """Draw a labelled row: a level error bar with a point, at a height of the picture."""
        a, b, c = (min(max(self.across(x), LEFT), WIDTH - RIGHT) for x in (low, middle, high))
        self.parts.append(f'<text class="tick" x="{LEFT}" y="{y - 9:.1f}">{escape(label)}</text>'
                          f'<line class="bar" x1="{a:.1f}" x2="{c:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
                          f'<circle class="{kind}" cx="{b:.1f}" cy="{y:.1f}" r="4"/>')  # fmt: skip
        return self

    def below(self, x: str, write_x: Callable[[float], str]) -> Drawing:
        """Draw the horizontal axis with its ticks and their upright lines, under all that is drawn already."""
        bottom, ticks = HEIGHT - BOTTOM, [(self.across(t), write_x(t)) for t in even_ticks(*self.x)]
        parts = [f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{bottom}"/>' for at, _ in ticks]
        parts += [_tick(at, bottom + 16, word) for at, word in apart(ticks)]
        parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>')
        self.parts = [*parts, _text(0.5 * (LEFT + WIDTH - RIGHT), HEIGHT - 8, x), *self.parts]
        return self

    def axes(
        self, x: str, y: str, write_x: Callable[[float], str], write_y: Callable[[float], str],
        named: Sequence[tuple[float, str]] | None = None,
    ) -> Drawing:  # fmt: skip
        """Draw both axes with their ticks, under all that is drawn already."""
        bottom, parts = HEIGHT - BOTTOM, []
        for tick in even_ticks(*self.y):
            at = self.up(tick)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
            parts.append(_text(LEFT - 6, at + 4, write_y(tick), "end"))
        found = (log_ticks if self.log else even_ticks)(*self.x)
        ticks = named if named is not None else [(t, write_x(t)) for t in found]
        parts += [_tick(at, bottom + 16, word) for at, word in apart([(self.across(t), word) for t, word in ticks])]
        parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>')
        parts.append(_text(0.5 * (LEFT + WIDTH - RIGHT), HEIGHT - 8, x))
        middle = 0.5 * (TOP + bottom)
        parts.append(f'<text class="tick" transform="translate(13 {middle:g}) rotate(-90)" '
                     f'text-anchor="middle">{escape(y)}</text>')  # fmt: skip
        self.parts = [*parts, *self.parts]
        return self

    def top(self, x: str, ticks: Iterable[tuple[float, str]]) -> Drawing:
        """Draw a second axis at the top."""
        # A text over the first tick of the other axis would touch it.
        placed = [(self.across(tick), word) for tick, word in ticks if self.across(tick) > LEFT + _NEAR_AXIS]
        self.parts += [_tick(at, TOP - 6, word) for at, word in apart(placed)]
        self.parts.append(_text(0.5 * (LEFT + WIDTH - RIGHT), 11, x))
        return self

    def svg(self, name: str, alt: str) -> str:
        """Return the picture as an element of a page.

        Parameters
        ----------
        name : str
            Its id.
        alt : str
            What it shows, in words.

        Returns
        -------
        str
        """
        ends = f'data-x="{self.x[0]} {self.x[1]}" data-y="{self.y[0]} {self.y[1]}"'
        return (f'<svg id="{name}" class="drawing" viewBox="0 0 {WIDTH} {HEIGHT}" {ends} role="img" '
                f'aria-label="{escape(alt, quote=True)}">{"".join(self.parts)}</svg>')  # fmt: skip


def apart(ticks: Iterable[tuple[float, str]]) -> list[tuple[float, str]]:
    """Return the ticks whose texts do not run into the text before.

    Parameters
    ----------
    ticks : iterable of (float, str)
        Places from left to right, or from right to left, in the picture's unit, and texts.

    Returns
    -------
    list of (float, str)
    """
    kept: list[tuple[float, str]] = []
    last = width = 0.0
    for at, word in ticks:
        wide = _LETTER * (len(word) + word.count("×"))  # this letter is twice as wide
        middle = at - 0.5 * wide if at > _EDGE else at
        if not kept or abs(middle - last) >= 0.5 * (wide + width):
            kept.append((at, word))
            last, width = middle, wide
    return kept


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two ends of a logarithmic axis.

    Parameters
    ----------
    low, high : float

    Returns
    -------
    list of float
        At most seven.
    """
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for steps in ((1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0), _STEPS, (1.0, 3.0), (1.0,)):
        found = [s * 10.0**d for d in decades for s in steps if low <= s * 10.0**d <= high]
        if len(found) <= _MOST_TICKS:
            return found
    return found[:: -(-len(found) // _MOST_TICKS)]


def even_ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two ends of an axis, in even steps.

    Parameters
    ----------
    low, high : float

    Returns
    -------
    list of float
        At most seven.
    """
    power = 10.0 ** np.floor(np.log10((high - low) / _MOST_TICKS))
    step = next(s * power for s in (*_STEPS, 10.0, 20.0) if (high - low) / (s * power) <= _MOST_TICKS - 1)
    first = int(np.ceil(low / step - 1e-9))
    return [k * step for k in range(first, int(np.floor(high / step + 1e-9)) + 1)]


def _tick(x: float, y: float, words: str) -> str:
    """Text of a tick, which ends at it where the picture's edge would cut it."""
    return _text(x, y, words, "end" if x > _EDGE else "middle")


def _text(x: float, y: float, words: str, anchor: str = "middle") -> str:
    return f'<text class="tick" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
