"""Counts as people write them, such as ``"70B"``, ``"1.4T"`` and ``"5.76e23"``: reading and writing."""

from __future__ import annotations

import math
import re

LEAST, MOST = 1.0, 1e40
"""Bounds of every count of params, tokens or FLOP. MOST is far more compute than the energy on Earth allows."""

LONGEST = 400
"""Characters of a number as text: a double has 309 digits before its point."""

_SUFFIX = {"": 0, "k": 3, "m": 6, "b": 9, "g": 9, "t": 12, "p": 15}  # powers of ten
_INTEGER = r"(?:\d{1,3}(?:[,_]\d{3})+|\d+)"  # commas separate thousands only: many countries read 1,4T as 1.4T
_PATTERN = re.compile(rf"\s*([-+]?(?:{_INTEGER}(?:\.\d+)?|\.\d+))(?:e([-+]?\d+))?\s*([a-z]?)\s*", re.IGNORECASE)
_TWO = 2.0  # below, two digits of a factor would say 1 of 1.04
_TENTH = 0.1
_HUNDRED = 1.99  # decades: from here on two digits need a power of ten
_NAMES = (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3))


class NotFinite(ValueError):
    """A number is larger than the largest double."""


def quantity(text: str | float) -> float:
    """Parse a count with an optional suffix k, M, B (or G), T or P, in any case.

    Every number that a user writes passes through here, so that none is larger than a double.

    Parameters
    ----------
    text : str or float
        A number is returned as a float, NaN and infinity included.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the text is not a number; NotFinite if the number is too large.

    Examples
    --------
    >>> quantity("70B"), quantity("1.4T"), quantity("5.76e23")
    (70000000000.0, 1400000000000.0, 5.76e+23)
    """
    if not isinstance(text, str):
        try:
            return float(text)
        except OverflowError:
            raise NotFinite("an integer of more than 308 digits is not a finite number") from None
    match = _PATTERN.fullmatch(text) if len(text) <= LONGEST else None
    if match is None or match[3].lower() not in _SUFFIX:
        shown = text if len(text) <= LONGEST else f"{text[:20]}…"
        raise ValueError(f"{shown!r} is not a number: write 70B, 1.4T, 5.76e23 or 70000000000")
    # The suffix moves the decimal point, which is exact: 1.1 * 1e9 is 1100000000.0000002.
    value = float(f"{re.sub('[_,]', '', match[1])}e{int(match[2] or 0) + _SUFFIX[match[3].lower()]}")
    if not math.isfinite(value):
        raise NotFinite(f"{text!r} is not a finite number")
    return value


def count(value: float, digits: int = 3) -> str:
    """Format a count for people to read.

    Parameters
    ----------
    value : float
    digits : int
        Significant digits.

    Returns
    -------
    str

    Examples
    --------
    >>> count(70e9), count(1.4e12), count(5.76e23), count(345, 2)
    ('70.0B', '1.40T', '5.76e+23', '345')
    """
    if not math.isfinite(value):
        return str(value)
    for name, size in _NAMES:
        if size <= float(f"{abs(value):.{digits}g}") < 1000 * size:
            return f"{_significant(value / size, digits)}{name}"
    if 10**digits <= float(f"{abs(value):.{digits}g}") < _NAMES[-1][1]:
        return _significant(value, digits)  # 345 rather than 3.4e+02
    return f"{value:.{digits}g}"


def factor(decades: float) -> str:
    """Write a factor to two digits, or three below 2; with a suffix where it is large.

    Parameters
    ----------
    decades : float
        Its log10.

    Returns
    -------
    str

    Examples
    --------
    >>> factor(0.02), factor(1.65), factor(3.4)
    ('1.05', '45', '2.5k')
    """
    times = 10**decades
    return f"{times:.{3 if times < _TWO else 2}g}" if decades < _HUNDRED else count(times, 2)


def nats(value: float) -> str:
    """Write a loss to a thousandth, or to three significant digits if it is small.

    Parameters
    ----------
    value : float

    Returns
    -------
    str

    Examples
    --------
    >>> nats(2.03412), nats(0.0123), nats(1.234e-6)
    ('2.034', '0.0123', '1.23e-06')
    """
    return f"{value:#.3g}" if 0 < abs(value) < _TENTH else f"{value:.3f}"


def counted(n: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is one.

    Parameters
    ----------
    n : int
    noun : str
        In the singular.

    Returns
    -------
    str

    Examples
    --------
    >>> counted(1, "family"), counted(3, "family"), counted(245, "run")
    ('1 family', '3 families', '245 runs')
    """
    if n == 1:
        return f"{n} {noun}"
    return f"{n} {noun.removesuffix('y')}ies" if noun.endswith("y") else f"{n} {noun}s"


def _significant(value: float, digits: int) -> str:
    before_point = len(str(int(abs(float(f"{value:.{digits}g}")))))
    return f"{value:.{max(digits - before_point, 0)}f}"
