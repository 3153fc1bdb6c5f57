"""Observations of runs: convert between a long table and columns of the table of runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayescale.core.errors import RunsError, nearest
from bayescale.runs.columns import NUMBERS, RUN_KEY, TEXTS, is_empty, missing_column, number, text

_NEEDED = ("run_id", "response", "value")
_KEYS = (*RUN_KEY, "response", "item")
_SHOWN = 5
_DATE = "date"
"""Column with the day of an observation; the table holds it as a year with decimals."""


class Wide(NamedTuple):
    """Observations as columns, one run per row in the order of the runs; and the names of the responses."""

    frame: pd.DataFrame
    responses: tuple[str, ...]


class Melted(NamedTuple):
    """Runs with columns that are observations, the names of the responses, and every column that belongs to these."""

    frame: pd.DataFrame
    responses: tuple[str, ...]
    columns: tuple[str, ...]


def wide_table(long: pd.DataFrame, runs: pd.DataFrame, name: str) -> Wide:
    """Convert a long table of observations into columns for a table of runs.

    Parameters
    ----------
    long : DataFrame
        One observation per row: ``run_id``, ``response``, ``value``; optionally ``family``, ``item``, ``date``, and
        further columns of numbers about the observation.
    runs : DataFrame
        The runs as read, with ``run_id``.
    name : str
        Name of the runs, for messages.

    Returns
    -------
    Wide
        Columns ``RESPONSE`` (or ``RESPONSE_ITEM``) and ``RESPONSE_COLUMN``; NaN if a run has no such observation.

    Raises
    ------
    RunsError
        If a column is missing, a cell is not a number, a run is not in the table, an observation is repeated, or the
        runs already have a column of its name.
    """
    long = long.rename(columns=lambda column: str(column).strip())
    for column in _NEEDED:
        if column not in long:
            raise missing_column(column, long.columns, f"the observations of {name}")
    if "run_id" not in runs:
        raise missing_column("run_id", runs.columns, name)
    keys = [key for key in RUN_KEY if key in long and key in runs]
    place = _places(long, runs, keys, name)
    names = [_named(row, cells) for row, cells in long.iterrows()]
    _check_once(long, place, names)
    more = [column for column in long if column not in {*_KEYS, "value"}]
    responses = tuple(dict.fromkeys(names))
    found = {}
    for response in responses:
        mine = np.flatnonzero(np.array(names) == response)
        for column in ("value", *more):
            values = np.full(len(runs), np.nan)
            values[place[mine]] = [_cell(long, int(row), column) for row in mine]
            if column == "value" or np.isfinite(values).any():
                called = _called(response, column)
                if called in found or (column != "value" and called in responses):
                    raise RunsError(f"two columns of the observations of {name!r} would be called {called!r}",
                                    hint=f"rename the response {response!r} or the column {column!r}")  # fmt: skip
                found[called] = values
    if taken := sorted(set(found) & set(map(str, runs.columns))):
        raise RunsError(f"{name!r} has {', '.join(taken)} both in its runs and in their observations",
                        hint="keep one of the two")  # fmt: skip
    return Wide(pd.DataFrame(found, index=runs.index), responses)


def melted(frame: pd.DataFrame, melt: Mapping[str, Mapping[str, float]], name: str) -> Melted:
    """Read columns of a table of runs as observations, as if these had come from a long table.

    Parameters
    ----------
    frame : DataFrame
        The runs as read, with ``run_id``.
    melt : mapping of str to mapping of str to float
        For each column that is a response, numbers that are the same in all runs, such as ``{"chance": 0.25}``.
    name : str
        Name of the runs, for messages.

    Returns
    -------
    Melted
        The runs, with a column ``RESPONSE_COLUMN`` for each number that is the same in all runs.

    Raises
    ------
    RunsError
        If the table lacks a column, has one that is also given, or the column cannot be a response.
    """
    given = {f"{response}_{column}": value for response, of in melt.items() for column, value in of.items()}
    for response in melt:
        for column in (response, "run_id"):
            if column not in frame:
                raise missing_column(column, frame.columns, name)
        if not _names_a_column(response) or response in {*NUMBERS, *TEXTS, *RUN_KEY}:
            raise RunsError(f"column {response!r} of {name!r} cannot be melted",
                            expected="a benchmark, or another response, with letters, digits and underscores",
                            hint="rename it: columns={'NEW': 'OLD'}, or --columns NEW=OLD")  # fmt: skip
    if taken := sorted(set(given) & set(map(str, frame.columns))):
        raise RunsError(f"{name!r} has {', '.join(taken)} as a column, and a value for all runs is given too",
                        hint="keep one of the two")  # fmt: skip
    frame = frame.assign(**given)
    return Melted(frame, tuple(melt), tuple(one for of in melt for one in (of, *_more(of, frame.columns, melt))))


def long_table(frame: pd.DataFrame, responses: Iterable[str]) -> pd.DataFrame:
    """Convert columns of observations into a long table.

    Parameters
    ----------
    frame : DataFrame
        The runs, with the columns ``RESPONSE`` and ``RESPONSE_COLUMN``.
    responses : iterable of str
        Names of the responses.

    Returns
    -------
    DataFrame
        One observation per row: ``family``, ``run_id``, ``response``, ``value``, and further columns.
    """
    pieces, names_of = [], tuple(responses)
    for response in names_of:
        more = _more(response, frame.columns, names_of)
        piece = frame[[*RUN_KEY, response, *more]].dropna(subset=response)
        names = {column: column.removeprefix(f"{response}_") for column in more} | {response: "value"}
        pieces.append(piece.rename(columns=names).assign(response=response))
    columns = [*RUN_KEY, "response", "value"]
    table = pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame(columns=columns)
    return table[[*columns, *(column for column in table if column not in columns)]]


def _places(long: pd.DataFrame, runs: pd.DataFrame, keys: list[str], name: str) -> np.ndarray:
    """Return the position in the table of the run that each observation belongs to."""
    known: dict[tuple[str, ...], int] = {}
    for at, cells in enumerate(zip(*(runs[key] for key in keys), strict=True)):
        if known.setdefault(tuple(map(text, cells)), at) != at:
            raise RunsError(
                f"{name!r} has several runs called {' of '.join(map(text, reversed(cells)))}: their observations "
                "cannot be assigned to a run",
                hint="give each run its own run_id, or name the family in the observations",
            )
    found = []
    for row, cells in zip(long.index, zip(*(long[key] for key in keys), strict=True), strict=True):
        key = tuple(map(text, cells))
        if key not in known:
            raise RunsError(f"row {row} of the observations of {name!r} belongs to no run of the table",
                            expected="a run_id of the table", got=" ".join(key),
                            hint=nearest(key[-1], [one[-1] for one in known]))  # fmt: skip
        found.append(known[key])
    return np.array(found, int)


def _more(response: str, columns: Iterable[str], responses: Iterable[str]) -> list[str]:
    """Return the columns that say more about a response: their names start with its own, and with no longer one."""
    longer = tuple(f"{other}_" for other in responses if other.startswith(f"{response}_"))
    return [column for column in map(str, columns) if column.startswith(f"{response}_")
            and column not in responses and not column.startswith(longer)]  # fmt: skip


def _names_a_column(name: str) -> bool:
    return name.isascii() and name.isidentifier()


def _named(row: object, cells: pd.Series) -> str:
    """Return the name of an observation's response; it includes the item, if the table names items."""
    parts = [text(cells["response"]), text(cells.get("item", ""))]
    name = "_".join(part for part in parts if part)
    if not _names_a_column(name):
        raise RunsError(f"row {row} of the observations has a response that cannot name a column",
                        expected="letters, digits and underscores", got=repr(name), hint="rename it")  # fmt: skip
    return name


def _check_once(long: pd.DataFrame, place: np.ndarray, names: list[str]) -> None:
    repeated = pd.Series(list(zip(place, names, strict=True)), long.index).duplicated()
    if repeated.any():
        rows = ", ".join(map(str, long.index[repeated][:_SHOWN]))
        raise RunsError(
            f"rows {rows} of the observations repeat an earlier observation",
            expected="one value per run and response",
            hint="name what distinguishes them in a column 'item', or keep one",
        )


def _cell(long: pd.DataFrame, row: int, column: str) -> float:
    cell = long[column].iloc[row]
    if column != "value" and is_empty(cell):
        return np.nan
    try:
        return _year(cell) if column == _DATE else number(cell)
    except ValueError as error:
        raise RunsError(f"row {long.index[row]} of the observations, {column}: {error}") from None


def _year(cell: Any) -> float:
    """Return a date, such as 2024-07-01, as a calendar year with decimals; a year stays what it is."""
    try:
        day = date.fromisoformat(cell.strip()) if isinstance(cell, str) else cell
    except ValueError:
        day = cell
    if not isinstance(day, date):
        try:
            return number(day)
        except ValueError:
            raise ValueError(f"expected a date such as 2024-07-01, or a year such as 2024.5, got {cell!r}") from None
    first, last = (date(year, 1, 1).toordinal() for year in (day.year, day.year + 1))
    return day.year + (day.toordinal() - first) / (last - first)


def _called(response: str, column: str) -> str:
    """Return the name that a column of the observations of a response has in the table of runs."""
    if column == "value":
        return response
    return column if column.startswith(f"{response}_") else f"{response}_{column}"
