"""Excel: the rows of sheets, wherever a stray cell or a style lies, and formulas that were never computed."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bayescale.runs.limits import MOST_CELLS, MOST_COLUMNS, check_shape

Rows = list[tuple[int, list[Any]]]
"""Cells of each row after its number; an empty cell is an empty text."""

_LAST_ROW = 1 << 20  # of a sheet; a file may claim any
_LONGEST = 32_767  # characters of a cell, by Excel's own limit


def sheets(content: bytes, most: int) -> dict[str, Rows]:
    """Return the rows of each sheet that has content.

    Parameters
    ----------
    content : bytes
    most : int
        Bytes that the file may take once it is unpacked, and characters that the texts of a sheet may have.

    Returns
    -------
    dict of list
        By the name of the sheet.

    Raises
    ------
    Exception
        ImportError without openpyxl; ValueError if the sheets are too large, and whatever the parser raises on a
        damaged file.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(part.file_size for part in archive.infolist()) > most:
            raise ValueError(f"more than {most} bytes")
    with _opened(content) as book:
        found = {sheet.title: _rows(sheet, most) for sheet in book.worksheets}
    return {name: rows for name, rows in found.items() if rows}


def uncomputed(content: bytes, name: str) -> str:
    """Return the place of a formula whose value the file does not hold, such as ``C2``.

    Programs that write formulas without computing them leave such cells, and they look empty.

    Parameters
    ----------
    content : bytes
    name : str
        Of the sheet.

    Returns
    -------
    str
        Empty if there is none.
    """
    with _opened(content) as book, _opened(content, computed=False) as written:
        rows = zip(*(_unsized(one[name]).iter_rows() for one in (book, written)), strict=True)
        cells = (pair for row in rows for pair in zip(*row, strict=True))
        for value, formula in cells:  # a value of type str is a text that was computed, and is empty
            if value.value is None and value.data_type != "str" and formula.value is not None:
                return str(formula.coordinate)
    return ""


@contextmanager
def _opened(content: bytes, *, computed: bool = True) -> Iterator[Any]:
    from openpyxl import load_workbook

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of styles and of validation, which hold no data
        yield load_workbook(io.BytesIO(content), read_only=True, data_only=computed, keep_links=False)


def _unsized(sheet: Any) -> Any:
    """Return a sheet whose rows end at their last cells: what it says of its size pads every row to a stray cell."""
    sheet.reset_dimensions()
    return sheet


def _rows(sheet: Any, most: int) -> Rows:
    """Return the rows up to the last one with content; all but the first may end early, and are filled up to it."""
    rows, width, seen, letters = Rows(), 0, 0, 0
    for at, cells in enumerate(_unsized(sheet).iter_rows(values_only=True), start=1):
        seen += len(cells)  # cells with a style and without content take their time, too
        if at > _LAST_ROW or seen > MOST_CELLS:
            raise ValueError(f"more than {_LAST_ROW:,} rows or {MOST_CELLS:,} cells with a style; save it as CSV")
        row = _trimmed(cells)
        lengths = [len(cell) for cell in row if isinstance(cell, str)]
        letters += sum(lengths)  # cells may refer to one text, which takes room in each of them later
        if max(lengths, default=0) > _LONGEST or letters > most:
            raise ValueError(f"a text of more than {_LONGEST:,} characters, or texts of more than {most:,} in all")
        width = width or len(row)
        if len(row) > MOST_COLUMNS:
            raise ValueError(f"content in column {len(row):,} of row {at}, beyond column {MOST_COLUMNS:,}; clear it")
        rows.append((at, row))
    while rows and not rows[-1][1]:
        rows.pop()
    check_shape(sum(bool(row) for _, row in rows), width)
    return [(at, row + [""] * (width - len(row)) if row else row) for at, row in rows]


def _trimmed(cells: tuple[Any, ...]) -> list[Any]:
    """Return the cells of a row up to the last one with content; 2.0 becomes 2, as a sheet shows it."""
    last = max((place for place, cell in enumerate(cells, start=1) if cell not in (None, "")), default=0)
    return [
        "" if cell is None else int(cell) if isinstance(cell, float) and cell.is_integer() else cell
        for cell in cells[:last]
    ]
