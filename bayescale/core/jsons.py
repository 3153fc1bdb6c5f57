"""Reading JSON that others wrote, with a limit on its depth."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

_DEEPEST = 40  # levels of lists and objects; trackers of experiments nest settings about five deep
_MOST_DIGITS = 400  # a double has 309 digits before its point
_MARKS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


def loads(text: str) -> Any:
    """Parse JSON, after a check of its depth: a parser that calls itself for each level is never given a deep text.

    An object with the same name twice is refused: one of its values would be lost.

    Parameters
    ----------
    text : str

    Returns
    -------
    object

    Raises
    ------
    ValueError
        If the text is not JSON, is nested too deeply, names a value twice, or has an integer that no double holds.

    Examples
    --------
    >>> loads('{"params": [1e9]}')
    {'params': [1000000000.0]}
    """
    depth = 0
    for mark in _MARKS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(mark[0], 0)
        if depth > _DEEPEST:
            raise ValueError(f"lists and objects are nested more than {_DEEPEST} deep")
    return json.loads(text, object_pairs_hook=_object, parse_int=_integer)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"an object names {twice!r} twice; keep one of the two")
    return found


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"{digits[:20]}… has {len(digits)} digits, more than a number can have here; is it one?")
    return int(digits)
