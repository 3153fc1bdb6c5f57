"""Nested: frames of JSON and of JSON Lines, as trackers and data frames write them."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pandas as pd

from bayescale.core import jsons
from bayescale.core.quantities import counted
from bayescale.runs.limits import check_cells, check_shape

EXPECTED = 'a list of runs, such as [{"params": 1e9, "tokens": 2e10, "loss": 2.8}], or JSON Lines'

_SHOWN = 5  # columns in a message


def from_json(text: str) -> tuple[pd.DataFrame, str]:
    """Return the table of JSON, or of JSON Lines if more follows the first value; and which of them it was.

    Parameters
    ----------
    text : str

    Returns
    -------
    frame : DataFrame
        Rows of JSON Lines are numbered as lines, other rows from 0.
    note : str

    Raises
    ------
    ValueError
        If it is not JSON or not a table, if it is too large, or if a value would be lost.
    """
    check_cells(sum(map(text.count, ",[{")))  # each value follows one of them
    try:
        content = jsons.loads(text)
    except ValueError as error:
        if getattr(error, "msg", "") == "Extra data":
            return _lines(text), "JSON Lines"
        raise
    if not isinstance(content, dict):
        return _normalized(content), "JSON"
    # Pandas writes {column: {row: value}}, {"columns": [...], "data": [...]} and {"schema": ..., "data": [...]}.
    columns, data = content.get("columns"), content.get("data")
    if isinstance(columns, list) and isinstance(data, list) and all(isinstance(row, list) for row in data):
        return _split(columns, data), "JSON"
    lists = [value for value in content.values() if isinstance(value, list) and value and isinstance(value[0], dict)]
    if len(lists) == 1:
        return _normalized(lists[0]), "JSON"
    if content and all(isinstance(value, list | dict) for value in content.values()):
        return _by_columns(content), "JSON, one list per column"
    return _normalized([content]), "JSON"


def _lines(text: str) -> pd.DataFrame:
    records, lines = [], []
    for at, line in enumerate(io.StringIO(text), start=1):
        if line.strip():
            try:
                records.append(jsons.loads(line))
            except ValueError as error:
                raise ValueError(f"on line {at}: {error}") from None
            lines.append(at)
    return _normalized(records).set_axis(lines, axis=0)


def _split(columns: list[Any], data: list[list[Any]]) -> pd.DataFrame:
    check_shape(len(data), len(columns))
    for at, row in enumerate(data):
        if len(row) != len(columns):
            raise ValueError(f"row {at} of data has {counted(len(row), 'cell')}, and there are {len(columns)} columns")
    return pd.DataFrame(data, columns=[str(name) for name in columns])


def _by_columns(content: dict[str, Any]) -> pd.DataFrame:
    """Return a table of one list, or one object with a value for each row, per column."""
    sizes = {name: len(cells) for name, cells in content.items() if isinstance(cells, list)}
    if len(set(sizes.values())) > 1:
        said = ", ".join(f"{name} has {size}" for name, size in list(sizes.items())[:_SHOWN])
        raise ValueError(f"columns of different lengths: {said}; give every run a value, or null")
    rows = {row for cells in content.values() for row in (cells if isinstance(cells, dict) else range(len(cells)))}
    check_shape(len(rows), len(content))
    return pd.DataFrame(content).reset_index(drop=True)


def _normalized(records: Any) -> pd.DataFrame:
    """Return one row per record; the names of nested values are joined with points."""
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ValueError("other JSON")
    columns = set[str]()
    for at, record in enumerate(records):
        names = list(_names(record))
        if twice := next((name for name, times in Counter(names).items() if times > 1), None):
            raise ValueError(f"run {at} names {twice!r} twice, once as a name and once as nested names; keep one")
        columns.update(names)
        check_shape(len(records), len(columns))
    return pd.json_normalize(records)


def _names(record: dict[str, Any], before: str = "") -> Iterator[str]:
    for name, value in record.items():
        if isinstance(value, dict) and value:
            yield from _names(value, f"{before}{name}.")
        else:
            yield f"{before}{name}"
