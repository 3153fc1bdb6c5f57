"""Observations of runs: convert between a long table and columns of the table of runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayescale.core.arguments import check_kind
from bayescale.core.errors import RunsError, nearest
from bayescale.runs.columns import (
    LARGEST,
    NUMBERS,
    RULES_OF_SCORES,
    RUN_KEY,
    SIZES,
    STEP,
    TEXTS,
    is_empty,
    missing_column,
    number,
    text,
)
from bayescale.runs.limits import check_cells
from bayescale.runs.resolution import resolution

_KEYS = (*RUN_KEY, "response", "item")
_COUNT = "n_correct"
"""Column with the number of right answers: the value of an observation that is a count."""
_TRIES, _TRIES_TOO = "samples", "k"
"""Column with the number of samples of a pass@k, and its other name."""
_SHOWN = 5
_COARSEST = 0.01  # to which a share is given: a per cent
_ROUNDING = 1e-9  # of a share that was computed
_DATE = "date"
"""Column with the day of an observation; the table holds it as a year with decimals."""


_OWN_TEXTS = {*TEXTS, *RUN_KEY, "exclusion"}
_OWN = {*NUMBERS, *SIZES, *_OWN_TEXTS, "bytes_per_token"} - {"loss_error"}
"""Columns with a meaning of their own, whatever their names begin with: active_params belong to no response active."""


class Wide(NamedTuple):
    """Columns of observations, one run per row in the order of the runs; and what else is known of each response.

    `columns` holds, for each response, the names of its further columns.
    """

    frame: pd.DataFrame
    columns: dict[str, tuple[str, ...]]


def wide_table(long: pd.DataFrame, runs: pd.DataFrame, name: str) -> Wide:
    """Convert a long table of observations into columns for a table of runs.

    Parameters
    ----------
    long : DataFrame
        One observation per row: ``run_id``, ``response``, and ``value`` or ``n_correct``; optionally ``family``,
        ``item``, ``date``, and further columns of numbers about the observation. A column ``k`` is read as ``samples``.
        If the runs have a column ``step`` too, it says to which checkpoint of a run the observation belongs.
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
        If a column is missing, a cell is not a number or not a valid one, a run is not in the table, an observation is
        repeated, its value is not that of its count, or the runs already have a column of its name.
    """
    long = _renamed(long, name)
    if "run_id" not in runs:
        raise missing_column("run_id", runs.columns, name)
    keys = [key for key in (*RUN_KEY, STEP) if key in long and key in runs]
    place = _places(long, runs, keys, name)
    names = _names(long)
    _check_once(long, place, names)
    numbers = _numbers(long, [column for column in long if column not in {*_KEYS, *keys}])
    of, responses = pd.factorize(np.array(names, object))
    try:
        check_cells(len(responses) * len(runs) * numbers.shape[1])
    except ValueError as error:
        raise RunsError(f"the observations of {name!r} make too large a table", got=str(error)) from None
    values = {column: np.full((len(responses), len(runs)), np.nan) for column in numbers}
    for column, cells in values.items():
        cells[of, place] = numbers[column]
    found, columns = dict[str, np.ndarray](), {response: tuple[str, ...]() for response in responses}
    for at, response in enumerate(responses):
        for column, cells in values.items():
            if column == "value" or np.isfinite(cells[at]).any():
                called = _called(response, column)
                if called in (_OWN if column != "value" else _OWN_TEXTS):
                    raise _taken(response, column, f"{called!r} of the observations of {name!r} is another column")
                if called in found or (column != "value" and called in columns):
                    two = f"two columns of the observations of {name!r}"
                    raise _taken(response, column, f"{two} would be called {called!r}")
                found[called] = cells[at]
                columns[response] += (called,) if column != "value" else ()
    if taken := sorted(set(found) & set(map(str, runs.columns))):
        raise RunsError(f"{name!r} has {', '.join(taken)} both in its runs and in their observations",
                        hint="keep one of the two")  # fmt: skip
    return Wide(pd.DataFrame(found, index=runs.index), columns)


def melted(frame: pd.DataFrame, melt: Mapping[str, Mapping[str, float]], name: str) -> Wide:
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
    Wide
        The runs, with a column ``RESPONSE_COLUMN`` for each number that is the same in all runs.

    Raises
    ------
    RunsError
        If the table lacks a column, has one that is also given, or the column cannot be a response.
    """
    for of in melt.values():
        check_kind(of, Mapping, RunsError, "for each melted column, a mapping such as {'chance': 0.25}")
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
    return Wide(frame, {response: _more(response, frame.columns, melt) for response in melt})


def long_table(frame: pd.DataFrame, responses: Mapping[str, tuple[str, ...]]) -> pd.DataFrame:
    """Convert columns of observations into a long table.

    Parameters
    ----------
    frame : DataFrame
        The runs, with the columns of the responses.
    responses : mapping of str to tuple of str
        For each response, its further columns, whose names here lose its own name at their start.

    Returns
    -------
    DataFrame
        One observation per row: ``family``, ``run_id``, ``step`` if runs have several rows, ``response``, ``value``,
        and further columns.
    """
    several = responses and STEP in frame and frame.duplicated(list(RUN_KEY)).any()
    keys = [*RUN_KEY, *([STEP] if several else [])]
    columns, names = [*keys, "response", "value"], list(responses)
    values = frame[names].to_numpy(float).T
    of, run = np.nonzero(~np.isnan(values))
    found = dict[str, np.ndarray]()
    for at, (response, more) in enumerate(responses.items()):
        for column in more:
            short = column.removeprefix(f"{response}_")
            cells = found.setdefault(column if short in columns else short, np.full(values.shape, np.nan))
            cells[at] = frame[column]
    table = frame[keys].iloc[run].reset_index(drop=True)
    known = {name: cells[of, run] for name, cells in found.items()}
    return table.assign(response=np.array(names, object)[of], value=values[of, run], **known)


def _renamed(long: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return a long table with its columns under the names that they have here, or raise RunsError if it lacks one."""
    long = long.rename(columns=lambda column: str(column).strip())
    for column in ("run_id", "response", *(() if _COUNT in long else ("value",))):
        if column not in long:
            raise missing_column(column, long.columns, f"the observations of {name}")
    if {_TRIES, _TRIES_TOO} <= set(long):
        raise RunsError(f"the observations of {name!r} have two columns of one meaning, {_TRIES_TOO} and {_TRIES}",
                        expected="the number of samples of a pass@k in one of them", hint="keep one")  # fmt: skip
    return long.rename(columns={_TRIES_TOO: _TRIES})


def _places(long: pd.DataFrame, runs: pd.DataFrame, keys: list[str], name: str) -> np.ndarray:
    """Return the position in the table of the run that each observation belongs to."""
    known: dict[tuple[str, ...], int] = {}
    for at, cells in enumerate(zip(*(runs[key] for key in keys), strict=True)):
        if known.setdefault(_key(keys, cells, f"row {runs.index[at]} of {name!r}"), at) != at:
            raise RunsError(
                f"{name!r} has several rows called {_called_run(keys, cells)}: their observations cannot be assigned "
                "to one of them",
                hint="give each run its own run_id, or add to the observations what both tables tell runs apart by: "
                "the columns family and step",
            )
    found = []
    for row, cells in zip(long.index, zip(*(long[key] for key in keys), strict=True), strict=True):
        key = _key(keys, cells, f"row {row} of the observations")
        if key not in known:
            run = keys.index("run_id")
            raise RunsError(f"row {row} of the observations of {name!r} belongs to no run of the table",
                            expected=f"a {' and '.join(keys[run:])} of the table", got=_called_run(keys, cells),
                            hint=nearest(key[run], [one[run] for one in known]))  # fmt: skip
        found.append(known[key])
    return np.array(found, int)


def _key(keys: list[str], cells: Iterable[Any], where: str = "") -> tuple[str, ...]:
    return tuple(_step(cell, where) if key == STEP else _text(cell, where)
                 for key, cell in zip(keys, cells, strict=True))  # fmt: skip


def _step(cell: Any, where: str) -> str:
    """Return a step as text that does not depend on how it is written: 1000, 1000.0 and 1k are one step."""
    try:
        return f"{number(cell):.15g}"
    except ValueError:
        return _text(cell, where)


def _called_run(keys: list[str], cells: Iterable[Any]) -> str:
    """Return the name of a run for a message: that of its family only where this says which run it is."""
    named = dict(zip(keys, _key(keys, cells), strict=True))
    return named["run_id"] + "".join(f", {key} {named[key]}" for key in keys if key != "run_id")


def _more(response: str, columns: Iterable[str], responses: Iterable[str]) -> tuple[str, ...]:
    """Return the columns of a wide table that say more about a response: their names start with its own.

    They start with no longer one, and have no meaning of their own.
    """
    longer = tuple(f"{other}_" for other in responses if other.startswith(f"{response}_"))
    return tuple(column for column in map(str, columns) if column.startswith(f"{response}_")
                 and column not in {*responses, *_OWN} and not column.startswith(longer))  # fmt: skip


def _taken(response: str, column: str, what: str) -> RunsError:
    return RunsError(what, expected="a name of its own for each column",
                     hint=f"rename the response {response!r} or the column {column!r}")  # fmt: skip


def _names_a_column(name: str) -> bool:
    return name.isascii() and name.isidentifier()


def _names(long: pd.DataFrame) -> list[str]:
    """Return the name of each observation's response; it includes the item, if the table names items."""
    parts = [[_text(cell, f"row {row} of the observations") for row, cell in long[column].items()]
             for column in ("response", "item") if column in long]  # fmt: skip
    names = ["_".join(filter(None, part)) for part in zip(*parts, strict=True)]
    for row, name in zip(long.index, names, strict=True):
        if not _names_a_column(name):
            raise RunsError(f"row {row} of the observations has a response that cannot name a column",
                            expected="letters, digits and underscores", got=repr(name), hint="rename it")  # fmt: skip
    return names


def _text(cell: Any, where: str) -> str:
    try:
        return text(cell)
    except ValueError as error:
        raise RunsError(f"{where}: {error}") from None


def _check_once(long: pd.DataFrame, place: np.ndarray, names: list[str]) -> None:
    of = pd.Series(list(zip(place, names, strict=True)), long.index)
    if not of.duplicated().any():
        return
    rows = ", ".join(map(str, long.index[of.duplicated()][:_SHOWN]))
    for column, what, do in (
        (_TRIES, "number of samples (k)", "name each in a column 'item', such as k1 and k10, or keep one"),
        (STEP, STEP, "give the table of runs a column step, with one row per run and step, and rows_by='step'"),
    ):
        if column in long and long[column].groupby(of).nunique().max() > 1:
            raise RunsError(f"rows {rows} of the observations are of a run and response that an earlier row has with "
                            f"another {what}", expected=f"one {what} per run and response", hint=do)  # fmt: skip
    raise RunsError(
        f"rows {rows} of the observations repeat an earlier observation",
        expected="one value per run and response",
        hint="name what distinguishes them in a column 'item', or keep one",
    )


def _numbers(long: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Return the values of observations, and what else is known of each, as valid numbers."""
    found = {column: pd.Series([_cell(cell, row, column) for row, cell in long[column].items()], long.index, float)
             for column in columns}  # fmt: skip
    for column, fails, wanted, do in RULES_OF_SCORES:
        if column in found and (bad := fails(found[column])).any():
            row = bad.idxmax()
            raise RunsError(f"row {row} of the observations, {column}: expected {wanted}, "
                            f"got {found[column][row]:g}", hint=do)  # fmt: skip
    value = found.pop("value", pd.Series(np.nan, long.index))
    if _COUNT in found:
        value = _counted(value, found.pop(_COUNT), found.get("n_items", pd.Series(np.nan, long.index)))
    if (empty := value.isna()).any():
        raise RunsError(f"row {empty.idxmax()} of the observations, value: expected a number, got an empty cell",
                        hint="fill it in or remove the row")  # fmt: skip
    return pd.DataFrame({"value": value, **found})


def _counted(value: pd.Series, correct: pd.Series, items: pd.Series) -> pd.Series:
    """Return counts of right answers as values; what is said as the value must be the count, or its share of items."""
    if (over := correct > items).any():
        row = over.idxmax()
        raise RunsError(f"row {row} of the observations, {_COUNT}: expected at most n_items, {items[row]:g}, "
                        f"got {correct[row]:g}", hint="fix or remove the row")  # fmt: skip
    other = value.notna() & correct.notna() & (value != correct)
    digits = min(resolution(value[other].to_numpy()), _COARSEST) / 2 + _ROUNDING
    if (wrong := other & ~((value - correct / items).abs() <= digits)).any():
        row = wrong.idxmax()
        share = f", or their share of n_items, {correct[row] / items[row]:.4g}" if items[row] > 0 else ""
        raise RunsError(f"row {row} of the observations, value: expected the {correct[row]:g} right answers of "
                        f"{_COUNT}{share}, got {value[row]:g}",
                        hint=f"leave the column {_COUNT} out if the value is something else")  # fmt: skip
    return correct.fillna(value)


def _cell(cell: Any, row: object, column: str) -> float:
    if is_empty(cell):
        return np.nan
    try:
        return _year(cell) if column == _DATE else number(cell, LARGEST)
    except ValueError as error:
        raise RunsError(f"row {row} of the observations, {column}: {error}") from None


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
