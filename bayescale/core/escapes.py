"""Escapes: text of others, made safe to print."""

from __future__ import annotations

import unicodedata

_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Categories of Unicode without a visible form: they move the cursor, turn the direction, or are no characters."""


def printable(text: str, *, newlines: bool = True) -> str:
    r"""Return a text with escapes, such as ``\x1b``, in place of characters that control a terminal.

    Parameters
    ----------
    text : str
    newlines : bool
        Whether newlines are kept.

    Returns
    -------
    str

    Examples
    --------
    >>> printable("\x1b[31mred")
    '\\x1b[31mred'
    """
    if text.isprintable():
        return text
    kept = "\n" if newlines else ""
    return "".join(repr(c)[1:-1] if unicodedata.category(c) in _UNSAFE and c not in kept else c for c in text)
