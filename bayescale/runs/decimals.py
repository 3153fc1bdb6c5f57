"""Decimals: whether a point or a comma separates them in the cells of a table."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from bayescale.core.errors import RunsError
from bayescale.core.quantities import LONGEST

_REST = r"(?:[eE][-+]?\d+)?\s*[A-Za-z]{0,2}"
_WORDS = {".": "decimal points", ",": "decimal commas"}


def _pattern(decimal: str, thousands: str) -> re.Pattern[str]:
    """Numbers with these marks. The first group of thousands is not 0: 0.558 is a decimal."""
    d, t = re.escape(decimal), re.escape(thousands)
    return re.compile(rf"\s*[-+]?(?:[1-9]\d{{0,2}}(?:{t}\d{{3}})+(?:{d}\d+)?|\d+(?:{d}\d+)?|{d}\d+){_REST}\s*")


_NUMBERS = {".": _pattern(".", ","), ",": _pattern(",", ".")}


def with_points(
    frame: pd.DataFrame, decimal: str | None = None, *, doubtful: str = ""
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return a table of text with decimal points, and in words what was understood.

    Only columns whose cells are all numbers are read. A mark that every one of these columns allows is taken. If the
    cells allow both, such as 1.234, the point separates decimals, unless a mark in them is doubtful in such a file.

    Parameters
    ----------
    frame : DataFrame
    decimal : {".", ","}, optional
        The mark, if it is known.
    doubtful : str
        Marks that separate decimals in some files of this kind and thousands in others.

    Returns
    -------
    tuple of DataFrame and tuple of str

    Raises
    ------
    RunsError
        If the cells can be read with either mark as different numbers.
    """
    if decimal not in (None, *_NUMBERS):
        raise RunsError("unknown mark of decimals", expected="'.' or ','", got=repr(decimal))
    places = [i for i in range(frame.shape[1]) if _is_text_of_numbers(frame.iloc[:, i])]
    cells = [cell for i in places for cell in frame.iloc[:, i] if "." in cell or "," in cell]
    fit = [mark for mark, pattern in _NUMBERS.items() if all(pattern.fullmatch(cell) for cell in cells)]
    if decimal is None and len(fit) != 1:
        if len(fit) > 1:
            _ask(next((cell for cell in cells if set(doubtful) & set(cell)), None))
        return frame, ()
    mark = decimal or fit[0]
    notes = (_WORDS[mark],) if cells and (mark == "," or "." in doubtful) else ()
    return (_rewritten(frame, places) if mark == "," else frame), notes


def is_number(cell: str) -> bool:
    """Whether a cell of text is a number with either mark, such as 70B, 1.4e12 or 3,5."""
    return len(cell) <= LONGEST and any(pattern.fullmatch(cell) for pattern in _NUMBERS.values())


def _is_text_of_numbers(cells: pd.Series) -> bool:
    filled = [cell for cell in cells if cell != ""]
    return bool(filled) and all(isinstance(cell, str) and is_number(cell) for cell in filled)


def _ask(cell: str | None) -> None:
    if cell is None:
        return
    as_point, as_comma = cell.replace(",", ""), cell.replace(".", "").replace(",", ".")
    raise RunsError(
        f"{cell!r} can be read as {as_point} and as {as_comma}",
        expected="one number that shows which mark separates decimals, such as 3.5 or 3,5",
        got="only numbers that can be read either way",
        hint="say which: decimal=',' or decimal='.' (--decimal in a shell)",
    )


def _rewritten(frame: pd.DataFrame, places: list[int]) -> pd.DataFrame:
    def pointed(cell: Any) -> Any:
        return str(cell).replace(".", "").replace(",", ".") if _NUMBERS[","].fullmatch(str(cell)) else cell

    columns = [frame.iloc[:, i].map(pointed) if i in places else frame.iloc[:, i] for i in range(frame.shape[1])]
    return pd.concat(columns, axis=1)
