"""Validation: all failures of a table, each with its row and column."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayescale.core.errors import RunsError
from bayescale.core.units import LOSS_UNITS, LossUnit, excess, too_high
from bayescale.runs.columns import (
    AMOUNTS,
    FLOPS_PER_PARAM_TOKEN,
    NUMBERS,
    OPTIONAL,
    REQUIRED,
    ROW_KEYS,
    RUN_KEY,
    SIZES,
    SPANS,
    TEXTS,
    is_empty,
    missing_column,
    number,
    text,
)
from bayescale.runs.table import Runs

_SHOWN = 5

# A rule: column, which cells fail, what is expected, and what to do.
Rule = tuple[str, Callable[[pd.Series], pd.Series], str, str]

_SMALLEST_PARAMS, _SMALLEST_TOKENS = 1e4, 1e5  # smaller than any published run, and far above "70" for 70 billion

_LARGEST_LOSS = 15.0  # nats/token: ln of a vocabulary of three million, more than the loss of an untrained model

_FLOPS_FACTOR = 4.0  # attention, heads and embeddings change FLOP by less; a missing factor of 6 is larger

RULES: tuple[Rule, ...] = (
    *((name, lambda x: x <= 0, "a positive number", "fix or remove the row")
      for name in (*AMOUNTS, "loss", "error_rate")),
    ("params", lambda x: (x > 0) & (x < _SMALLEST_PARAMS), f"a count of at least {_SMALLEST_PARAMS:.0e}",
     "if they are billions, multiply by 1e9 or write 70B"),
    ("tokens", lambda x: (x > 0) & (x < _SMALLEST_TOKENS), f"a count of at least {_SMALLEST_TOKENS:.0e}",
     "if they are billions, multiply by 1e9 or write 1.4T"),
    ("params", lambda x: x > 1e16, "a count of at most 1e16", "are these FLOP? params is the number of weights"),
    ("tokens", lambda x: x > 1e18, "a count of at most 1e18", "are these FLOP? tokens is a count"),
    ("loss", lambda x: x > _LARGEST_LOSS, f"nats/token, at most {_LARGEST_LOSS:g}",
     "if it is a perplexity, set loss_unit='perplexity' (--loss-unit), or take its logarithm"),
    ("error_rate", lambda x: x > 1, "a share of at most 1", "write 25% as 0.25"),
    ("loss_error", lambda x: x < 0, "a standard error in nats/token, at least 0", "fix or remove the row"),
    ("chance", lambda x: (x < 0) | (x >= 1), "a share from 0 to below 1", "write 25% as 0.25"),
    ("n_items", lambda x: x < 1, "a count of items", "fix or remove the row"),
    ("n_correct", lambda x: x < 0, "a count", "fix or remove the row"),
    ("family", lambda x: x == "", "a name", "fill it in"),
)  # fmt: skip


def _expected_flops(frame: pd.DataFrame) -> pd.Series:
    params = frame["active_params"] if "active_params" in frame else frame["params"]
    return FLOPS_PER_PARAM_TOKEN * params * frame["tokens"]


def _far_from_expected(frame: pd.DataFrame) -> pd.Series:
    ratio = frame["flops"] / _expected_flops(frame)
    return (ratio > _FLOPS_FACTOR) | (ratio < 1 / _FLOPS_FACTOR)


# A rule between columns, applied if every single cell is valid: column, other columns, which rows fail, as above.
PAIRS: tuple[tuple[str, tuple[str, ...], Callable[[pd.DataFrame], pd.Series], str, str], ...] = (
    ("flops", ("params", "tokens"), _far_from_expected, f"within a factor of {_FLOPS_FACTOR:g} of 6·params·tokens",
     "check the units of flops, params and tokens (or remove the column)"),
    ("n_correct", ("n_items",), lambda f: f["n_correct"] > f["n_items"], "at most n_items", "fix or remove the row"),
    ("unique_tokens", ("tokens",), lambda f: f["unique_tokens"] > f["tokens"], "at most tokens",
     "unique_tokens counts each token that the run has seen once"),
)  # fmt: skip


class Declared(NamedTuple):
    """Declarations about a table: the unit of its losses, what distinguishes the rows of a run, its responses.

    `responses` come from a table of observations; `optional` are columns from it, whose cells may be empty.
    """

    loss_unit: str | None = None
    rows_by: tuple[str, ...] = ()
    responses: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

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
                hint="convert bits per byte to nats per token: multiply by ln 2 and the tokenizer's bytes per token",
            )
        for column in (*RUN_KEY[1:], *self.rows_by) if self.rows_by else ():
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
    frame = frame.rename(columns=lambda column: str(column).strip())
    _check_columns(frame, name)
    said.check(frame, name)
    assumed, unit = "flops" not in frame and {*REQUIRED} <= set(frame), said.loss_unit or "nats"
    failures = _parse(frame, name, {*OPTIONAL, *said.optional})
    if unit != "nats" and "loss" in frame:
        failures += _in_nats(frame, LOSS_UNITS[unit])
    for column, fails, wanted, do in RULES:
        if column in frame:
            failures += _failures(frame[column], fails(frame[column]), wanted, do)
    if assumed:
        frame["flops"] = _expected_flops(frame)
    if not failures:
        for column, other, breaks, wanted, do in PAIRS:
            if {column, *other} <= set(frame):
                failures += _failures(frame[column], breaks(frame), wanted, do)
        _check_rows(frame, name, said.rows_by)
        failures += _duplicates(frame, said.rows_by)
    if failures:
        shown = "\n".join(f"  {line}" for line in failures[:_SHOWN])
        more = f"\n  … and {len(failures) - _SHOWN} more" if len(failures) > _SHOWN else ""
        raise RunsError(f"{name!r} cannot be read as runs: {len(failures)} failure(s)\n{shown}{more}")
    unstated = said.loss_unit is None and "loss" in frame
    if unstated and {*REQUIRED} <= set(frame):
        _check_nats(frame, name)
    return Runs(frame.reset_index(drop=True), name, card, assumed, said.rows_by, unit, unstated, said.responses)


def _parse(frame: pd.DataFrame, name: str, optional: Collection[str]) -> list[str]:
    """Parse every cell in place. A table without a column ``family`` is one family with the name of the table."""
    failures: list[str] = []
    if "family" not in frame:
        frame["family"] = name
    for column in frame:
        if column in NUMBERS:
            frame[column] = _numbers(frame[column], failures, optional)
        elif column in TEXTS or not pd.api.types.is_numeric_dtype(frame[column]):
            frame[column] = [text(cell) for cell in frame[column]]
    return failures


def _in_nats(frame: pd.DataFrame, unit: LossUnit) -> list[str]:
    """Convert losses and their errors to nats/token in place. An impossible loss is a failure and becomes NaN."""
    wanted, loss = f"{unit.words} above {unit.above:g}", frame["loss"]
    failures = _failures(loss, loss <= unit.above, wanted, "fix or remove the row")
    loss = loss.where(loss > unit.above)
    if "loss_error" in frame:
        frame["loss_error"] *= loss.map(unit.slope)
    frame["loss"] = loss.map(unit.nats)
    return failures


def _check_nats(frame: pd.DataFrame, name: str) -> None:
    """Raise RunsError if the losses have no stated unit and are too high for nats/token."""
    ratio = excess(frame)
    if too_high(ratio):
        raise RunsError(
            f"are the losses of {name!r} perplexities? Nothing states their unit, and for nats/token they are too high",
            expected="losses in nats/token, or their unit",
            got=f"losses at least {ratio:.1f} times those of typical models with these params and tokens",
            hint="set loss_unit='perplexity', or loss_unit='nats' if that is their unit (--loss-unit in a shell)",
        )


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
    for column in () if {*SIZES} & set(frame) else REQUIRED:
        if column not in frame:
            raise missing_column(column, frame.columns, name)
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise RunsError(f"{name!r} has two columns called {twice!r}", hint="rename or remove one")
    if not len(frame):
        raise RunsError(f"{name!r} has no runs", expected="one run per row")


def _numbers(cells: pd.Series, failures: list[str], optional: Collection[str]) -> pd.Series:
    """Parse cells as numbers. Any other cell is a failure and becomes NaN, which no rule reports again."""
    values = []
    for row, cell in cells.items():
        try:
            values.append(np.nan if is_empty(cell) and cells.name in optional else number(cell))
        except ValueError as error:
            failures.append(f"row {row}, {cells.name}: {error}")
            values.append(np.nan)
    return pd.Series(values, index=cells.index, dtype=float)


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
