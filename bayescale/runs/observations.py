"""Observations of runs: convert between a long table and columns of the table of runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from bayescale.core.errors import RunsError, nearest
from bayescale.runs.columns import RUN_KEY, is_empty, missing_column, number, text

_NEEDED = ("run_id", "response", "value")
_KEYS = (*RUN_KEY, "response", "item")
_SHOWN = 5


class Wide(NamedTuple):
    """Observations as columns, one run per row in the order of the runs; and the names of the responses."""

    frame: pd.DataFrame
    responses: tuple[str, ...]


def wide_table(long: pd.DataFrame, runs: pd.DataFrame, name: str) -> Wide:
    """Convert a long table of observations into columns for a table of runs.

    Parameters
    ----------
    long : DataFrame
        One observation per row: ``run_id``, ``response``, ``value``; optionally ``family``, ``item``, and further
        columns of numbers about the observation.
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
        longer = tuple(f"{other}_" for other in names_of if other.startswith(f"{response}_"))
        more = [column for column in frame if str(column).startswith(f"{response}_")
                and column not in names_of and not str(column).startswith(longer)]  # fmt: skip
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


def _named(row: object, cells: pd.Series) -> str:
    """Return the name of an observation's response; it includes the item, if the table names items."""
    parts = [text(cells["response"]), text(cells.get("item", ""))]
    name = "_".join(part for part in parts if part)
    if not (name.isascii() and name.isidentifier()):
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
        return number(cell)
    except ValueError as error:
        raise RunsError(f"row {long.index[row]} of the observations, {column}: {error}") from None


def _called(response: str, column: str) -> str:
    """Return the name that a column of the observations of a response has in the table of runs."""
    if column == "value":
        return response
    return column if column.startswith(f"{response}_") else f"{response}_{column}"
