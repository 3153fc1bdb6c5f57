"""Validation: all failures of a table, each with its row and column."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayescale.core.errors import RunsError, nearest
from bayescale.core.quantities import counted
from bayescale.core.units import LOSS_UNITS, LossUnit
from bayescale.runs.columns import (
    AMOUNTS,
    DATE,
    FLOPS_FACTOR,
    FLOPS_PER_PARAM_TOKEN,
    LARGEST,
    NUMBERS,
    OPTIONAL,
    RELEASED,
    REQUIRED,
    ROW_KEYS,
    RULES_OF_SCORES,
    RUN_KEY,
    SIZES,
    SPANS,
    TEXTS,
    Rule,
    is_empty,
    missing_column,
    number,
    text,
)
from bayescale.runs.names import candidates
from bayescale.runs.table import Runs
from bayescale.runs.units import check_nats, factors, likely_flops, loss_factor, scaled

NO_FAMILY = "where there is none"
"""What is understood of runs without a family in a table that names families."""

_SHOWN = 5

_SMALLEST_PARAMS, _SMALLEST_TOKENS = 1e4, 1e5  # smaller than any published run, and far above "70" for 70 billion

_LARGEST_LOSS = 15.0  # nats/token: ln of a vocabulary of three million, more than the loss of an untrained model

RULES: tuple[Rule, ...] = (
    *((name, lambda x: x <= 0, "a positive number", "fix or remove the row")
      for name in (*AMOUNTS, "loss", "error_rate")),
    ("params", lambda x: (x > 0) & (x < _SMALLEST_PARAMS), f"a count of at least {_SMALLEST_PARAMS:.0e}",
     "if they are millions or billions, say so: units={'params': 'billions'} (--unit params=billions), or write 70B"),
    ("tokens", lambda x: (x > 0) & (x < _SMALLEST_TOKENS), f"a count of at least {_SMALLEST_TOKENS:.0e}",
     "if they are millions or billions, say so: units={'tokens': 'billions'} (--unit tokens=billions), or write 1.4T"),
    ("params", lambda x: x > 1e16, "a count of at most 1e16", "are these FLOP? params is the number of weights"),
    ("tokens", lambda x: x > 1e18, "a count of at most 1e18", "are these FLOP? tokens is a count"),
    ("loss", lambda x: x > _LARGEST_LOSS, f"nats/token, at most {_LARGEST_LOSS:g}",
     "if it is a perplexity, set loss_unit='perplexity' (--loss-unit), or take its logarithm"),
    ("error_rate", lambda x: x > 1, "a share of at most 1", "write 25% as 0.25"),
    ("loss_error", lambda x: x < 0, "a standard error in nats/token, at least 0", "fix or remove the row"),
    *RULES_OF_SCORES,
)  # fmt: skip


def _expected_flops(frame: pd.DataFrame) -> pd.Series:
    params = frame["active_params"] if "active_params" in frame else frame["params"]
    return FLOPS_PER_PARAM_TOKEN * params * frame["tokens"]


def _far_from_expected(frame: pd.DataFrame) -> pd.Series:
    ratio = frame["flops"] / _expected_flops(frame)
    return (ratio > FLOPS_FACTOR) | (ratio < 1 / FLOPS_FACTOR)


# A rule between columns, applied if every single cell is valid: column, other columns, which rows fail, as above.
PAIRS: tuple[tuple[str, tuple[str, ...], Callable[[pd.DataFrame], pd.Series], str, str], ...] = (
    ("flops", ("params", "tokens"), _far_from_expected, f"within a factor of {FLOPS_FACTOR:g} of 6·params·tokens",
     "check the units of flops, params and tokens (or remove the column)"),
    ("n_correct", ("n_items",), lambda f: f["n_correct"] > f["n_items"], "at most n_items", "fix or remove the row"),
    ("unique_tokens", ("tokens",), lambda f: f["unique_tokens"] > f["tokens"], "at most tokens",
     "unique_tokens counts each token that the run has seen once"),
)  # fmt: skip


class Declared(NamedTuple):
    """Declarations about a table: the unit of its losses, what distinguishes the rows of a run, its responses.

    `responses` come from a table of observations, or are columns that are melted; each has the names of its further
    columns. `optional` are the columns of all of them, which hold numbers and may have empty cells. `units` are units
    of other columns, and `notes` say what was understood of the table until now.
    """

    loss_unit: str | None = None
    rows_by: tuple[str, ...] = ()
    responses: tuple[tuple[str, tuple[str, ...]], ...] = ()
    optional: tuple[str, ...] = ()
    units: tuple[tuple[str, str], ...] = ()
    bytes_per_token: float | None = None
    notes: tuple[str, ...] = ()

    def with_names(self, units: Mapping[str, str]) -> Declared:
        """Return the declaration with the units that names of columns state; a declared unit is kept."""
        units = {**units, **dict(self.units)}
        loss = units.pop("loss", None)
        known = next((name for name, unit in LOSS_UNITS.items() if loss in (name, unit.words)), loss)
        return self._replace(loss_unit=self.loss_unit or known, units=tuple(units.items()))

    def with_card(self, card: Mapping[str, Any]) -> Declared:
        """Return the declaration with what the card adds.

        Raises
        ------
        RunsError
            If the card is not valid, or contradicts the declaration.
        """
        words, by = card.get("loss_unit"), card.get("rows_by", [])
        unit = next((name for name, unit in LOSS_UNITS.items() if unit.words == words), words)
        if not (isinstance(by, list) and all(isinstance(column, str) for column in by)):
            raise RunsError(
                "rows_by in the card is not a list of columns", expected='rows_by = ["benchmark"]', got=repr(by)
            )
        if unit is not None and self.loss_unit is not None and unit != self.loss_unit:
            raise RunsError(
                "the card states another unit of loss",
                expected=str(words),
                got=self.loss_unit,
                hint="leave loss_unit out",
            )
        return self._replace(loss_unit=unit or self.loss_unit, rows_by=self.rows_by or tuple(by))

    def check(self, frame: pd.DataFrame, name: str) -> None:
        """Raise RunsError for an unknown unit or a missing column."""
        if self.loss_unit not in (None, *LOSS_UNITS):
            raise RunsError(
                f"{name!r} has an unknown unit of loss",
                expected=f"one of: {', '.join(LOSS_UNITS)}",
                got=repr(self.loss_unit),
                hint=nearest(str(self.loss_unit), LOSS_UNITS),
            )
        needed = (*RUN_KEY[1:], *self.rows_by) if self.rows_by else ()
        for column in (*needed, *(column for column, _ in self.units)):
            if column not in frame:
                raise missing_column(column, frame.columns, name)


def validated_runs(frame: pd.DataFrame, name: str, card: dict[str, Any], said: Declared) -> Runs:
    """Validate a table and return its runs.

    Parameters
    ----------
    frame : DataFrame
        Its index holds the number of each row for messages.
    name : str
    card : dict
    said : Declared

    Returns
    -------
    Runs

    Raises
    ------
    RunsError
        If the table is not valid.
    """
    _check_columns(frame, name)
    said.check(frame, name)
    own = _of_own_scores(frame)
    said = said._replace(optional=(*said.optional, *(column for column, *_ in own)))
    sizes = factors(dict(said.units), name)
    unit = LOSS_UNITS[said.loss_unit or "nats"]
    frame, failures, notes = _parsed(frame, name, said, sizes)
    if "loss" in frame and said.loss_unit not in (None, "nats"):
        failures += _in_nats(frame, unit, loss_factor(unit, frame, said.bytes_per_token, name))
    for column, fails, wanted, do in (*RULES, *own):
        if column in frame:
            failures += _failures(frame[column], fails(frame[column]), wanted, do)
    frame, failed, dated = _with_year(frame)
    failures += failed
    frame, assumed, derived = _with_third(frame)
    if not failures:
        failures = _across(frame, name, said)
    if failures:
        raise _refused(name, failures)
    unstated = said.loss_unit is None and "loss" in frame
    if unstated and {*REQUIRED} <= set(frame):
        check_nats(frame, name)
    if "loss" in frame and said.loss_unit not in (None, "nats"):
        notes += [f"loss converted from {unit.words} to nats/token"]
    return Runs(
        frame.reset_index(drop=True), name, card, assumed, said.rows_by, said.loss_unit or "nats", unstated,
        dict(said.responses), (*said.notes, *notes, *dated, *derived),
    )  # fmt: skip


def _of_own_scores(columns: Iterable[str]) -> list[Rule]:
    """Return the rules of what is known of scores with names of their own: hellaswag_n_items of hellaswag."""
    names = set(columns)
    return [(own, fails, wanted, do) for column, fails, wanted, do in RULES_OF_SCORES for of in sorted(map(str, names))
            if (own := f"{of}_{column}") in names]  # fmt: skip


def _refused(name: str, failures: list[str]) -> RunsError:
    shown = "\n".join(f"  {line}" for line in failures[:_SHOWN])
    more = f"\n  … and {len(failures) - _SHOWN} more" if len(failures) > _SHOWN else ""
    return RunsError(f"{name!r} cannot be read as runs: {counted(len(failures), 'failure')}\n{shown}{more}")


def _across(frame: pd.DataFrame, name: str, said: Declared) -> list[str]:
    """Return the failures of rules between columns and between rows."""
    failures = []
    for column, other, breaks, wanted, do in PAIRS:
        if {column, *other} <= set(frame):
            bad = breaks(frame)
            advice = likely_flops(_expected_flops(frame) / frame["flops"]) if column == "flops" and bad.any() else ""
            failures += _failures(frame[column], bad, wanted, advice or do)
    _check_rows(frame, name, said.rows_by)
    return failures + _duplicates(frame, said.rows_by)


def _with_year(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Return the table with years if only dates of release say how runs are ordered, the failures, and this in words.

    Public models of which only scores are known are such runs.
    """
    if not _only_dated(frame):
        return frame, [], []
    year = pd.to_numeric(frame[RELEASED], errors="coerce")
    failures = _failures(frame[RELEASED], ~np.isfinite(year), "a year with decimals, such as 2024.5", "fix the cell")
    return frame.assign(**{DATE: year}), failures, [f"{DATE} = {RELEASED}"]


def _only_dated(frame: pd.DataFrame) -> bool:
    """Whether a table has dates of release, and no column of resources."""
    return RELEASED in frame and not {*SPANS} & set(frame)


def _with_third(frame: pd.DataFrame) -> tuple[pd.DataFrame, bool, list[str]]:
    """Return the table with what follows from 6·params·tokens, whether this is the FLOP, and other columns in words."""
    known = {*REQUIRED, "flops"} & set(frame)
    if known == {*REQUIRED}:
        return frame.assign(flops=_expected_flops(frame)), True, []
    if len(known) != 2 or {*SIZES[1:]} & set(frame) or ("params" not in known and "active_params" in frame):
        return frame, False, []  # examples and steps are not tokens; active params are not all params
    (column,) = {*REQUIRED} - known
    if candidates(column, frame) or nearest(column, map(str, frame), otherwise="none") != "none":
        return frame, False, []  # a column of the table may be meant
    other = next(name for name in ("active_params", *REQUIRED) if name in frame)
    values = frame["flops"] / (FLOPS_PER_PARAM_TOKEN * frame[other])
    return frame.assign(**{column: values}), False, [f"{column} = flops / (6·{other})"]


def _parsed(
    frame: pd.DataFrame, name: str, said: Declared, sizes: Mapping[str, float]
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Return the table with every cell parsed, in base units; the failures; and what was understood.

    A table without a column ``family`` is one family with the name of the table. So are its runs without a family.
    """
    failures, notes, parsed = list[str](), list[str](), {}
    optional = {*OPTIONAL, *said.optional}
    numeric = {*NUMBERS, *optional, "bytes_per_token"}
    for column in frame:
        cells = frame[column]
        if column in numeric:
            parsed[column] = _numbers(cells, failures, optional, own=column not in sizes)
            notes += _small_suffix(cells, parsed[column])
        elif column in TEXTS or not pd.api.types.is_numeric_dtype(cells):
            parsed[column] = _texts(cells, failures)
        else:
            parsed[column] = cells
    for column, size in sizes.items():
        parsed[column] = scaled(parsed[column], size)
        notes.append(f"{column} × {size:g} ({dict(said.units)[column]})")
    unnamed = parsed["family"] == "" if "family" in parsed else pd.Series(True, index=frame.index)
    if "family" in parsed and unnamed.any():
        notes.append(f"family {name!r} {NO_FAMILY} ({int(unnamed.sum())} of {len(frame)} rows)")
    family = parsed.get("family", unnamed.astype(object)).where(~unnamed, name)
    return pd.DataFrame({**parsed, "family": family}), failures, notes


def _in_nats(frame: pd.DataFrame, unit: LossUnit, factor: pd.Series | float) -> list[str]:
    """Convert losses and their errors to nats/token in place. An impossible loss is a failure and becomes NaN."""
    wanted, loss = f"{unit.words} above {unit.above:g}", frame["loss"]
    failures = _failures(loss, loss <= unit.above, wanted, "fix or remove the row")
    loss = loss.where(loss > unit.above)
    if "loss_error" in frame:
        frame["loss_error"] *= loss.map(unit.slope) * factor
    frame["loss"] = loss.map(unit.nats) * factor
    return failures


def _check_rows(frame: pd.DataFrame, name: str, rows_by: tuple[str, ...]) -> None:
    """Raise RunsError if a run has several rows that a known column distinguishes: they are not repeated runs."""
    named = "run_id" in frame
    run = list(RUN_KEY) if named else ["family", *(column for column in (*SPANS, "loss") if column in frame)]
    groups = frame.groupby([*run, *rows_by])
    apart = [c for c in (ROW_KEYS if named else ROW_KEYS[:1]) if c in frame and c not in rows_by]
    by = [c for c in apart if groups[c].nunique().max() > 1]
    if not by:
        return
    raise RunsError(
        f"{name!r} has several rows per run",
        expected="one row per run, or the names of the columns that distinguish the rows of a run",
        got=f"{len(frame):,} rows for {len(frame.drop_duplicates(run)):,} runs, which differ in {' and '.join(by)}",
        hint=f"keep one row per run; or {'' if named else 'give each run a run_id, and '}name the columns: "
        f"load_runs(…, rows_by={[*rows_by, *by]}), or rows_by = … in a card.toml",
    )


def _check_columns(frame: pd.DataFrame, name: str) -> None:
    for column in () if {*SIZES} & set(frame) or _only_dated(frame) else REQUIRED:
        if column not in frame:
            raise missing_column(column, frame.columns, name)
    for column in frame.columns:
        if not str(column).isprintable():
            raise RunsError(f"{name!r} has a column whose name is not text", got=repr(column), hint="rename it")
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise RunsError(f"{name!r} has two columns called {twice!r}", hint="rename or remove one")
    if not len(frame):
        raise RunsError(f"{name!r} has no runs", expected="one run per row")


def _texts(cells: pd.Series, failures: list[str]) -> pd.Series:
    """Return cells as text. What is no text is a failure, and becomes empty."""
    values = []
    for row, cell in cells.items():
        try:
            values.append(text(cell))
        except ValueError as error:
            failures.append(f"row {row}, {cells.name}: {error}")
            values.append("")
    return pd.Series(values, index=cells.index, dtype=object)


def _numbers(cells: pd.Series, failures: list[str], optional: Collection[str], *, own: bool) -> pd.Series:
    """Parse cells as numbers. Any other cell is a failure and becomes NaN, which no rule reports again.

    `own` says whether cells may have suffixes of their own, such as 70B; in a column with a declared unit they may not.
    """
    values = []
    for row, cell in cells.items():
        try:
            values.append(np.nan if is_empty(cell) and cells.name in optional else _one(cell, own))
        except ValueError as error:
            failures.append(f"row {row}, {cells.name}: {error}")
            values.append(np.nan)
    return pd.Series(values, index=cells.index, dtype=float)


def _small_suffix(cells: pd.Series, values: pd.Series) -> list[str]:
    """Say how a suffix in lower case was read, by the first cell that has one: elsewhere, m is a thousandth."""
    read = zip(cells, values, strict=True)
    return [f"{cells.name}: {cell.strip()!r} is {value:g}" for cell, value in read
            if isinstance(cell, str) and cell.strip()[-1:].islower()][:1]  # fmt: skip


def _one(cell: Any, own: bool) -> float:
    value = number(cell, LARGEST)
    if not own and isinstance(cell, str) and cell.strip()[-1:].isalpha():
        raise ValueError(f"expected a number in the declared unit, got {cell!r}; leave out the suffix or the unit")
    return value


def _failures(cells: pd.Series, bad: pd.Series, expected: str, hint: str) -> list[str]:
    shown = [(row, f"{cell:g}" if isinstance(cell, float) else repr(cell)) for row, cell in cells[bad].items()]
    return [f"row {row}, {cells.name}: expected {expected}, got {got}; {hint}" for row, got in shown]


def _duplicates(frame: pd.DataFrame, rows_by: tuple[str, ...]) -> list[str]:
    """Return a failure for each row that repeats an earlier run: same key, or same cells if there is no ``run_id``."""
    columns = [*RUN_KEY, *rows_by] if "run_id" in frame else list(frame.columns)
    repeated = frame.duplicated(subset=columns, keep="first")
    return [
        f"row {row}, {', '.join(columns)}: expected one row per run, got a repeat of an earlier row; "
        "remove it, or give repeats a run_id each; rows_by of load_runs names columns that distinguish rows of one run"
        for row in frame.index[repeated]
    ]
