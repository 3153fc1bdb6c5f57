"""Counts as people write them: ``"70B"``, ``"1.4T"``, ``"5.76e23"``, and back."""

from __future__ import annotations

import math
import re

LEAST, MOST = 1.0, 1e40
"""Between them lies every count of params, tokens or FLOP: MOST is far beyond what Earth's energy could pay."""

_SUFFIX = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12, "p": 1e15}
_WHOLE = r"(?:\d{1,3}(?:[,_]\d{3})+|\d+)"  # a comma parts thousands only: 1,4T is 1.4T to half of the world
_PATTERN = re.compile(rf"\s*([-+]?(?:{_WHOLE}(?:\.\d+)?|\.\d+)(?:e[-+]?\d+)?)\s*([a-z]?)\s*", re.IGNORECASE)
_NAMES = (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3))


def quantity(text: str | float) -> float:
    """Parse a count with an optional suffix k, M, B (or G), T, P; a number passes through.

    Raises
    ------
    ValueError
        If the text is no number.

    Examples
    --------
    >>> quantity("70B"), quantity("1.4T"), quantity("5.76e23")
    (70000000000.0, 1400000000000.0, 5.76e+23)
    """
    if not isinstance(text, str):
        return float(text)
    match = _PATTERN.fullmatch(text)
    if match is None or match[2].lower() not in _SUFFIX:
        raise ValueError(f"{text!r} is no number: write 70B, 1.4T, 5.76e23 or 70000000000")
    # Rounding to an integer takes back what binary fractions add (1.1B is 1100000000.0000002).
    value = float(re.sub(r"[_,]", "", match[1])) * _SUFFIX[match[2].lower()]
    return float(round(value)) if match[2] and value < 2**53 else value


def count(value: float, digits: int = 3) -> str:
    """Write a count for people.

    Examples
    --------
    >>> count(70e9), count(1.4e12), count(5.76e23)
    ('70.0B', '1.40T', '5.76e+23')
    """
    if not math.isfinite(value):
        return str(value)
    for name, size in _NAMES:
        if size <= float(f"{abs(value):.{digits}g}") < 1000 * size:
            return f"{_significant(value / size, digits)}{name}"
    return f"{value:.{digits}g}"


def _significant(value: float, digits: int) -> str:
    whole = len(str(int(abs(float(f"{value:.{digits}g}")))))
    return f"{value:.{max(digits - whole, 0)}f}"
