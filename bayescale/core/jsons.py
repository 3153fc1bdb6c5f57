"""Reading JSON that others wrote, with a limit on its depth."""

from __future__ import annotations

import json
import re
from typing import Any

_DEEPEST = 40  # levels of lists and objects; trackers of experiments nest settings about five deep
_MARKS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


def loads(text: str) -> Any:
    """Parse JSON, after a check of its depth: a parser that calls itself for each level is never given a deep text.

    Parameters
    ----------
    text : str

    Returns
    -------
    object

    Raises
    ------
    ValueError
        If the text is not JSON, or is nested too deeply.

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
    return json.loads(text)
