"""Runs: a tidy, validated, frozen table of training runs."""

from __future__ import annotations

import csv
import hashlib
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayescale import shipped
from bayescale.errors import BayescaleError, RunsError, nearest
from bayescale.quantities import count, quantity
from bayescale.units import LOSS_UNITS, LossUnit, excess, too_high

FLOPS_PER_PARAM_TOKEN = 6.0
"""FLOP of one training step for each param and token: 2 forward, 4 backward (Kaplan et al. 2020)."""

REQUIRED = ("params", "tokens", "loss")
_COUNTS = ("params", "tokens", "flops", "unique_tokens", "active_params", "step", "epochs")
NUMBERS = (*_COUNTS, "loss", "loss_error", "score", "n_items", "n_correct", "chance")
"""Columns of numbers that have a meaning."""
_OPTIONAL = ("n_items", "n_correct", "score", "chance", "step", "epochs")
LABELS = ("group", "suite", "eval_set", "tokenizer")
"""Columns of text that tell what runs share; an empty cell shares nothing."""
_TEXT = ("family", *LABELS)
_RUN = ("family", "run_id")
_APART = ("benchmark", "eval_set", "step")  # what commonly tells several rows of one run apart
_SHOWN = 5
_COMMAS = "separate the columns with commas"

# A rule: column, what fails, what was wanted, what to do.
Rule = tuple[str, Callable[[pd.Series], pd.Series], str, str]
_SMALLEST_PARAMS, _SMALLEST_TOKENS = 1e4, 1e5  # below any published run; well above "70" for 70 billion
_LARGEST_LOSS = 15.0  # nats/token: ln of a vocabulary of three million, more than an untrained model scores
_FLOPS_FACTOR = 4.0  # attention, heads and embeddings stay within it; a forgotten 6 does not

RULES: tuple[Rule, ...] = (
    *((name, lambda x: x <= 0, "a positive number", "mend or drop the row") for name in (*_COUNTS[:5], "loss")),
    ("params", lambda x: (x > 0) & (x < _SMALLEST_PARAMS), f"a count of at least {_SMALLEST_PARAMS:.0e}",
     "if they are billions, multiply by 1e9 or write 70B"),
    ("tokens", lambda x: (x > 0) & (x < _SMALLEST_TOKENS), f"a count of at least {_SMALLEST_TOKENS:.0e}",
     "if they are billions, multiply by 1e9 or write 1.4T"),
    ("params", lambda x: x > 1e16, "a count of at most 1e16", "are these FLOP? params are a count of weights"),
    ("tokens", lambda x: x > 1e18, "a count of at most 1e18", "are these FLOP? tokens are a count"),
    ("loss", lambda x: x > _LARGEST_LOSS, f"nats/token, at most {_LARGEST_LOSS:g}",
     "if it is a perplexity, say loss_unit='perplexity' (--loss-unit), or take its logarithm"),
    ("loss_error", lambda x: x < 0, "a standard error in nats/token, at least 0", "mend or drop the row"),
    ("chance", lambda x: (x < 0) | (x >= 1), "a share from 0 to below 1", "25 % is 0.25"),
    ("n_items", lambda x: x < 1, "a count of items", "mend or drop the row"),
    ("n_correct", lambda x: x < 0, "a count", "mend or drop the row"),
    ("family", lambda x: x == "", "a name", "fill it in"),
)  # fmt: skip


def _expected_flops(frame: pd.DataFrame) -> pd.Series:
    return FLOPS_PER_PARAM_TOKEN * frame.get("active_params", frame["params"]) * frame["tokens"]


def _far_from_expected(frame: pd.DataFrame) -> pd.Series:
    ratio = frame["flops"] / _expected_flops(frame)
    return (ratio > _FLOPS_FACTOR) | (ratio < 1 / _FLOPS_FACTOR)


# A rule between columns, asked where every cell by itself is as wanted: column, the other, what breaks it, as above.
PAIRS: tuple[tuple[str, str, Callable[[pd.DataFrame], pd.Series], str, str], ...] = (
    ("flops", "params", _far_from_expected, f"within a factor of {_FLOPS_FACTOR:g} of 6·params·tokens",
     "check units of flops, params and tokens (or drop the column)"),
    ("n_correct", "n_items", lambda f: f["n_correct"] > f["n_items"], "at most n_items", "mend or drop the row"),
    ("unique_tokens", "tokens", lambda f: f["unique_tokens"] > f["tokens"], "at most tokens",
     "unique_tokens are those that the run has seen, once each"),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Runs:
    """A frozen table of runs; make one with :func:`load_runs`.

    Tables are equal if their content, name and card are, and may be keys of a dict.

    Attributes
    ----------
    name : str
        Name of the table.
    card : dict
        Source, licence, units and faults, as the card says them; empty without a card.
    flops_assumed : bool
        Whether FLOP are 6·params·tokens because the table had none.
    rows_by : tuple of str
        Columns that distinguish the rows of one run; empty where the table has one row a run.
    loss_unit : str
        Unit that the losses were in when they were read, a key of :data:`bayescale.units.LOSS_UNITS`; in
        :attr:`frame` they are in nats/token.
    loss_unit_assumed : bool
        Whether the losses were taken as nats/token because nothing stated their unit.
    """

    _frame: pd.DataFrame = field(repr=False)
    name: str = "runs"
    card: dict[str, Any] = field(default_factory=dict, repr=False)
    flops_assumed: bool = False
    rows_by: tuple[str, ...] = ()
    loss_unit: str = "nats"
    loss_unit_assumed: bool = False

    @property
    def frame(self) -> pd.DataFrame:
        """A copy of the table: one run a row (several, where `rows_by` says so), base units."""
        return self._frame.copy()

    @property
    def n_runs(self) -> int:
        """Count of runs; ``len`` counts rows, of which a run has several where `rows_by` says so."""
        return len(self._frame.drop_duplicates(list(_RUN))) if self.rows_by else len(self._frame)

    @property
    def families(self) -> list[str]:
        """Names of the families, sorted."""
        return sorted(self._frame["family"].unique())

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the table's content, whatever the order of its columns."""
        text = self._frame[sorted(self._frame.columns)].to_csv(index=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Runs):
            return NotImplemented
        return self._identity == other._identity and self.card == other.card

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[str, str, bool]:
        return self.digest, self.name, self.flops_assumed

    @property
    def excluded(self) -> dict[str, int]:
        """Count of the runs that the table itself marks as excluded, by reason: the text in column ``exclusion``."""
        reasons = [text(cell) for cell in self._frame.get("exclusion", ())]
        return dict(Counter(reason for reason in reasons if reason))

    def __len__(self) -> int:
        return len(self._frame)

    def __getitem__(self, column: str) -> np.ndarray:
        if column not in self._frame:
            raise _missing(column, self._frame.columns, self.name)
        return self._frame[column].to_numpy()

    def __repr__(self) -> str:
        f = self._frame
        spans = ", ".join(f"{c} {count(f[c].min())}-{count(f[c].max())}" for c in ("params", "tokens", "flops"))
        rows = f" in {len(f)} rows" if self.n_runs < len(f) else ""
        return f"Runs({self.name!r}: {self.n_runs} runs{rows}, {len(self.families)} families, {spans})"

    def where(self, **conditions: Any) -> Runs:
        """Runs that meet every condition.

        Parameters
        ----------
        **conditions
            ``COLUMN_below=x`` and ``COLUMN_above=x`` (strict; x may be ``"70B"``), or ``COLUMN=value``,
            where a list means any of its values and ``""`` an empty cell.

        Raises
        ------
        RunsError
            If a column does not exist or no run is left.

        Examples
        --------
        >>> len(load_runs("hoffmann2022").where(exclusion=""))
        240
        """
        keep = pd.Series(True, index=self._frame.index)
        for key, value in conditions.items():
            column, _, way = key.rpartition("_")
            if key in self._frame or way not in ("below", "above"):
                column, way = key, "equal"
            if column not in self._frame:
                raise _missing(column, self._frame.columns, self.name)
            keep &= _meets(self._frame[column], way, value, key)
        if not keep.any():
            raise RunsError(f"no run of {self.name!r} meets {conditions}", do="loosen a condition")
        return self.take(keep.to_numpy())

    def take(self, keep: np.ndarray) -> Runs:
        """Runs at the positions, or where the mask is true."""
        frame = self._frame[keep] if keep.dtype == bool else self._frame.iloc[keep]
        return replace(self, _frame=frame.reset_index(drop=True))


def load_runs(
    source: str | Path | pd.DataFrame,
    *,
    name: str | None = None,
    loss_unit: str | None = None,
    rows_by: str | Iterable[str] | None = None,
) -> Runs:
    """Read and validate a table of runs.

    Parameters
    ----------
    source : str, Path or DataFrame
        The name of a shipped table, the path of a CSV or Parquet file (or of a folder with ``runs.csv``
        and ``card.toml``), or a frame. Columns ``params``, ``tokens`` (counts; ``"70B"`` is read) and
        ``loss`` (nats/token) are needed, ``family`` for more than one; ``flops`` default to
        6·params·tokens.
    name : str, optional
        Name of the table; by default the file's.
    loss_unit : {"nats", "bits", "perplexity"}, optional
        Unit of ``loss`` (and ``loss_error``), each per token; losses become nats/token. By default the card's
        ``loss_unit``. Where nothing states it, losses are taken as nats/token (``loss_unit_assumed`` of the
        runs says so), and refused if they are far too high for that.
    rows_by : str or iterable of str, optional
        Columns that distinguish the rows of one run, ``"benchmark"`` for example, where the table has several rows
        for each ``run_id``; by default the card's ``rows_by``. A fit takes one row a run: choose it by
        :meth:`Runs.where`.

    Returns
    -------
    Runs

    Raises
    ------
    UnknownName
        If there is neither such a file nor such a name.
    RunsError
        If anything in the table is not as wanted: every failure is named by row and column (rows of a
        CSV by their line in the file, those of a Parquet file or a frame from 0). If a run has several rows
        and nothing names what distinguishes them, or the losses look like perplexities.

    Examples
    --------
    >>> load_runs("hoffmann2022").families
    ['Chinchilla']
    """
    said = _Said(loss_unit, (rows_by,) if isinstance(rows_by, str) else tuple(rows_by or ()))
    if isinstance(source, pd.DataFrame):
        return _validated(source.reset_index(drop=True), name or "runs", {}, said)
    path, card = Path(source), {}
    if str(source) == "" or (not path.exists() and path.suffix not in (".csv", ".parquet")):
        path = shipped.locate("data", str(source))
    if path.is_dir():
        card = _card(path / "card.toml")
        path, name = path / "runs.csv", name or str(card.get("name", path.resolve().name))
    return _validated(_read(path), name or path.stem.split(".")[0], card, said.with_card(card))


def read_csv(path: Path, refuse: Callable[..., BayescaleError]) -> pd.DataFrame:
    """Read a CSV file, every cell as text; the frame's index holds each row's line in the file.

    Raises
    ------
    BayescaleError
        What `refuse` returns, given ``wanted``, ``came`` and ``do``: if the file is no CSV, or a row has
        more or fewer cells than the header.
    """
    lines, rows, line = [], [], 1
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, skipinitialspace=True, strict=True)
            for row in reader:
                if any(cell.strip() for cell in row) or len(row) > 1:
                    lines.append(line)
                    rows.append([cell.strip() for cell in row])
                line = reader.line_num + 1
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise refuse(came=str(error)) from None
    if not rows or not all(cell.isprintable() for cell in rows[0]):
        raise refuse(came="a header that is no text" if rows else "an empty file")
    for at, row in zip(lines, rows, strict=True):
        if len(row) != len(rows[0]):
            raise refuse(
                wanted=f"{len(rows[0])} cells a row, as the header has",
                came=f"{len(row)} on line {at}",
                do="mend the line; quote a cell that holds a comma" if len(rows[0]) > 1 else _COMMAS,
            )
    return pd.DataFrame(rows[1:], index=lines[1:], columns=rows[0], dtype=str)


def number(cell: Any) -> float:
    """Parse a cell as a finite number; raise ValueError saying what was wanted and came."""
    if is_empty(cell):
        raise ValueError("wanted a number, came an empty cell; fill it in or drop the row")
    try:
        value = quantity(cell)
    except (TypeError, ValueError):
        raise ValueError(f"wanted a number, came {cell!r}; write 70B or 7e10") from None
    if not np.isfinite(value):
        raise ValueError(f"wanted a finite number, came {cell!r}; mend or drop the row")
    return value


def is_empty(cell: Any) -> bool:
    """Whether a cell of a table holds nothing."""
    return not cell.strip() if isinstance(cell, str) else pd.api.types.is_scalar(cell) and bool(pd.isna(cell))


def text(cell: Any) -> str:
    """Text of a cell of a table, without spaces around it."""
    return "" if is_empty(cell) else str(cell).strip()


def _read(path: Path) -> pd.DataFrame:
    refuse = partial(RunsError, f"{path} is not a table of runs")
    if not path.exists():
        raise RunsError(f"no file at {path}", wanted="a CSV or Parquet file, or a shipped name")
    if path.suffix != ".parquet":
        return read_csv(path, refuse)
    try:
        return pd.read_parquet(path).reset_index(drop=True)
    except (OSError, ValueError) as error:
        raise refuse(came=str(error).splitlines()[0]) from None
    except ImportError:
        raise RunsError("reading Parquet needs pyarrow", do="pip install 'bayescale[parquet]'") from None


def _card(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunsError(f"no file at {path}", wanted="a folder with runs.csv and card.toml") from None
    except (OSError, ValueError) as error:
        raise RunsError(f"{path} is no card", wanted='TOML: name = "mine", say', came=str(error)) from None


class _Said(NamedTuple):
    """What is said of a table beside it: the unit of its losses, and what distinguishes the rows of a run."""

    loss_unit: str | None = None
    rows_by: tuple[str, ...] = ()

    def with_card(self, card: Mapping[str, Any]) -> _Said:
        """Return it with what the card adds."""
        words, by = card.get("loss_unit"), card.get("rows_by", [])
        unit = next((name for name, unit in LOSS_UNITS.items() if unit.words == words), words)
        if not (isinstance(by, list) and all(isinstance(column, str) for column in by)):
            raise RunsError("the card's rows_by is no list of columns", wanted='rows_by = ["benchmark"]', came=repr(by))
        if unit is not None and self.loss_unit is not None and unit != self.loss_unit:
            raise RunsError(
                "the card states another unit of loss", wanted=str(words), came=self.loss_unit, do="leave loss_unit out"
            )
        return _Said(unit or self.loss_unit, self.rows_by or tuple(by))

    def check(self, frame: pd.DataFrame, name: str) -> None:
        """Refuse an unknown unit, and columns that are not there."""
        if self.loss_unit not in (None, *LOSS_UNITS):
            raise RunsError(
                f"{name!r} has an unknown unit of loss",
                wanted=f"one of: {', '.join(LOSS_UNITS)}",
                came=repr(self.loss_unit),
                do="bits per byte become nats per token by the tokenizer's bytes per token and ln 2",
            )
        for column in (*_RUN[1:], *self.rows_by) if self.rows_by else ():
            if column not in frame:
                raise _missing(column, frame.columns, name)


def _validated(frame: pd.DataFrame, name: str, card: dict[str, Any], said: _Said) -> Runs:
    """Runs of a table, whose index numbers its rows as messages shall."""
    frame = frame.rename(columns=lambda column: str(column).strip())
    _check_columns(frame, name)
    said.check(frame, name)
    assumed, unit = "flops" not in frame, said.loss_unit or "nats"
    failures = _parse(frame, name)
    if unit != "nats":
        failures += _in_nats(frame, LOSS_UNITS[unit])
    for column, fails, wanted, do in RULES:
        if column in frame:
            failures += _failures(frame[column], fails(frame[column]), wanted, do)
    if assumed:
        frame["flops"] = _expected_flops(frame)
    if not failures:
        for column, other, breaks, wanted, do in PAIRS:
            if {column, other} <= set(frame):
                failures += _failures(frame[column], breaks(frame), wanted, do)
        _check_rows(frame, name, said.rows_by)
        failures += _duplicates(frame, said.rows_by)
    if failures:
        shown = "\n".join(f"  {line}" for line in failures[:_SHOWN])
        more = f"\n  … and {len(failures) - _SHOWN} more" if len(failures) > _SHOWN else ""
        raise RunsError(f"{name!r} cannot be read as runs: {len(failures)} failure(s)\n{shown}{more}")
    if said.loss_unit is None:
        _check_nats(frame, name)
    return Runs(frame.reset_index(drop=True), name, card, assumed, said.rows_by, unit, said.loss_unit is None)


def _parse(frame: pd.DataFrame, name: str) -> list[str]:
    """Parse every cell in place; without a column of families the table is one, called as the table."""
    failures: list[str] = []
    if "family" not in frame:
        frame["family"] = name
    for column in frame:
        if column in NUMBERS:
            frame[column] = _numbers(frame[column], failures)
        elif column in _TEXT or not pd.api.types.is_numeric_dtype(frame[column]):
            frame[column] = [text(cell) for cell in frame[column]]
    return failures


def _in_nats(frame: pd.DataFrame, unit: LossUnit) -> list[str]:
    """Turn losses and their errors into nats/token in place; what no loss can be is a failure and becomes NaN."""
    wanted, loss = f"{unit.words} above {unit.above:g}", frame["loss"]
    failures = _failures(loss, loss <= unit.above, wanted, "mend or drop the row")
    loss = loss.where(loss > unit.above)
    if "loss_error" in frame:
        frame["loss_error"] *= loss.map(unit.slope)
    frame["loss"] = loss.map(unit.nats)
    return failures


def _check_nats(frame: pd.DataFrame, name: str) -> None:
    """Refuse losses of no stated unit that are too high for nats/token."""
    ratio = excess(frame)
    if too_high(ratio):
        raise RunsError(
            f"are the losses of {name!r} perplexities? Nothing states their unit, and for nats/token they are too high",
            wanted="losses in nats/token, or their unit",
            came=f"losses at least {ratio:.1f} times those of usual models of these params and tokens",
            do="say loss_unit='perplexity', or loss_unit='nats' if they are (--loss-unit on the command line)",
        )


def _check_rows(frame: pd.DataFrame, name: str, rows_by: tuple[str, ...]) -> None:
    """Refuse several rows a run, which a known column tells apart: they are no repeats, and no runs either."""
    named = "run_id" in frame
    run = list(_RUN) if named else ["family", *REQUIRED]
    groups = frame.groupby([*run, *rows_by])
    apart = [c for c in (_APART if named else _APART[:1]) if c in frame and c not in rows_by]
    by = [c for c in apart if groups[c].nunique().max() > 1]
    if not by:
        return
    raise RunsError(
        f"{name!r} has several rows a run",
        wanted="one row a run, or the names of the columns that distinguish the rows of one",
        came=f"{len(frame):,} rows for {len(frame.drop_duplicates(run)):,} runs, which differ in {' and '.join(by)}",
        do=f"keep one row a run; or {'' if named else 'give each run a run_id, and '}name the columns: "
        f"load_runs(…, rows_by={[*rows_by, *by]}), or rows_by = … in a card.toml",
    )


def _check_columns(frame: pd.DataFrame, name: str) -> None:
    for column in REQUIRED:
        if column not in frame:
            raise _missing(column, frame.columns, name)
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise RunsError(f"{name!r} has two columns called {twice!r}", do="rename or drop one")
    if not len(frame):
        raise RunsError(f"{name!r} holds no runs", wanted="one run a row")


def _numbers(cells: pd.Series, failures: list[str]) -> pd.Series:
    """Parse cells as numbers; what is none is a failure and NaN, which no rule names again."""
    values = []
    for row, cell in cells.items():
        try:
            values.append(np.nan if is_empty(cell) and cells.name in _OPTIONAL else number(cell))
        except ValueError as error:
            failures.append(f"row {row}, {cells.name}: {error}")
            values.append(np.nan)
    return pd.Series(values, index=cells.index, dtype=float)


def _failures(cells: pd.Series, bad: pd.Series, wanted: str, do: str) -> list[str]:
    return [
        f"row {row}, {cells.name}: wanted {wanted}, came {f'{cell:g}' if isinstance(cell, float) else repr(cell)}; {do}"
        for row, cell in cells[bad].items()
    ]


def _duplicates(frame: pd.DataFrame, rows_by: tuple[str, ...]) -> list[str]:
    """Rows that repeat another run: the same identity, or the same everything."""
    columns = [*_RUN, *rows_by] if "run_id" in frame else list(frame.columns)
    repeated = frame.duplicated(subset=columns, keep="first")
    return [
        f"row {row}, {', '.join(columns)}: wanted one row a run, came a repeat of an earlier row; "
        "drop it, or give repeats a run_id each; rows_by of load_runs names what distinguishes several rows of one run"
        for row in frame.index[repeated]
    ]


def _meets(cells: pd.Series, way: str, value: Any, condition: str) -> pd.Series:
    if way == "equal":
        values = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]
        return cells.isin([_bound(v, condition) for v in values] if pd.api.types.is_numeric_dtype(cells) else values)
    if not pd.api.types.is_numeric_dtype(cells):
        raise RunsError(f"column {cells.name!r} holds text, which is neither below nor above",
                        came=condition, do=f"where({cells.name}=…) takes a value or a list of them")  # fmt: skip
    bound = _bound(value, condition)
    return cells < bound if way == "below" else cells > bound


def _bound(value: Any, condition: str) -> float:
    """A number that a column of numbers is compared with; NaN stands for an empty cell."""
    try:
        return np.nan if is_empty(value) else quantity(value)
    except (TypeError, ValueError):
        raise RunsError(f"{condition} is no number", wanted="7e10 or '70B', say", came=repr(value)) from None


def _missing(column: str, columns: Iterable[str], name: str) -> RunsError:
    columns = [str(c) for c in columns]
    return RunsError(
        f"{name!r} has no column {column!r}",
        wanted=f"columns {', '.join(REQUIRED)} (and family for more than one)"
        if column in REQUIRED
        else f"a column of: {', '.join(columns)}",
        came=", ".join(columns),
        do=_COMMAS
        if len(columns) == 1
        else nearest(column, columns, otherwise="add the column, or rename the one that holds it"),
    )
