"""Words of a choice: numbers with their units, and lines that fit a page."""

from __future__ import annotations

import textwrap
from typing import Any

from bayescale.core.quantities import count

DOLLARS = "$"
"""Unit of a utility in US dollars."""
_WIDTH = 100  # columns of the text of a choice


def labelled(name: str, value: Any) -> str:
    """Write a number of an action with its name.

    Parameters
    ----------
    name : str
        Column of the actions.
    value : number or str

    Returns
    -------
    str

    Examples
    --------
    >>> labelled("params", 7e9), labelled("weights_gb", 14)
    ('7.00B params', 'weights gb 14')
    """
    written = count(value) if isinstance(value, int | float) else str(value)
    return f"{name.replace('_', ' ')} {written}" if name not in ("params", "tokens") else f"{written} {name}"


def wrapped(line: str, indent: int) -> str:
    """Wrap a line of text between words, so that it fits a page.

    Parameters
    ----------
    line : str
    indent : int
        Spaces before the second row and those after it.

    Returns
    -------
    str
    """
    return textwrap.fill(line, _WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def most_saved(unknown: str, worth: str | None = None) -> str:
    """Return what a regret is, in words that follow it; of the law alone, experiments tell all that is unknown.

    Parameters
    ----------
    unknown : str
        What is uncertain, such as ``"the law and its form"``.
    worth : str, optional
        The value of perfect information, where the regret is another: that of an action with less expected utility.

    Returns
    -------
    str
    """
    right = "if one of its laws is right" if "its form" in unknown else "if the model is right"
    known = "more experiments" if unknown == "the law" else f"knowing {unknown}"
    if worth is None:
        return f": {right}, the most that {known} could save"
    return f"; {right}, {known} could save {worth} at most"


def measured(value: float, unit: str, digits: int = 2) -> str:
    """Write a number with its unit.

    Parameters
    ----------
    value : float
    unit : str
    digits : int
        Significant digits.

    Returns
    -------
    str

    Examples
    --------
    >>> measured(8210.0, "$"), measured(1.4e22, "FLOP")
    ('$8.2k', '1.4e+22 FLOP')
    """
    written = count(value, digits)
    return f"${written}" if unit == DOLLARS else f"{written} {unit}"
