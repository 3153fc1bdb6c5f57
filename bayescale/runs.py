"""Runs: a tidy, validated, frozen table of training runs."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayescale import shipped
from bayescale.errors import RunsError, nearest
from bayescale.quantities import count, quantity

FLOPS_PER_PARAM_TOKEN = 6.0
"""FLOP of one training step for each param and token: 2 forward, 4 backward (Kaplan et al. 2020)."""

REQUIRED = ("params", "tokens", "loss")
_COUNTS = ("params", "tokens", "flops", "unique_tokens", "active_params", "step", "epochs")
_NUMBERS = (*_COUNTS, "loss", "score", "n_items", "n_correct", "chance")
_OPTIONAL = ("n_items", "n_correct", "score", "chance", "step", "epochs")
_IDENTITY = ("run_id", "benchmark", "eval_set")
_SHOWN = 5

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
     "if it is a perplexity, take its logarithm"),
    ("chance", lambda x: (x < 0) | (x >= 1), "a share from 0 to below 1", "25 % is 0.25"),
    ("n_items", lambda x: x < 1, "a count of items", "mend or drop the row"),
    ("n_correct", lambda x: x < 0, "a count", "mend or drop the row"),
)  # fmt: skip


@dataclass(frozen=True)
class Runs:
    """A frozen table of runs; make one with :func:`load_runs`.

    Attributes
    ----------
    name : str
        Name of the table.
    card : dict
        Source, licence, units and faults, as the card says them; empty without a card.
    flops_assumed : bool
        Whether FLOP are 6·params·tokens because the table had none.
    """

    _frame: pd.DataFrame = field(repr=False)
    name: str = "runs"
    card: dict[str, Any] = field(default_factory=dict, repr=False)
    flops_assumed: bool = False

    @property
    def frame(self) -> pd.DataFrame:
        """A copy of the table: one run a row, base units."""
        return self._frame.copy()

    @property
    def families(self) -> list[str]:
        """Names of the families, sorted."""
        return sorted(self._frame["family"].unique())

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the table's content, whatever the order of its columns."""
        text = self._frame[sorted(self._frame.columns)].to_csv(index=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._frame)

    def __getitem__(self, column: str) -> np.ndarray:
        if column not in self._frame:
            raise _missing(column, self._frame.columns, self.name)
        return self._frame[column].to_numpy()

    def __repr__(self) -> str:
        f = self._frame
        spans = ", ".join(f"{c} {count(f[c].min())}-{count(f[c].max())}" for c in ("params", "tokens", "flops"))
        return f"Runs({self.name!r}: {len(f)} runs, {len(self.families)} families, {spans})"

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
            keep &= _meets(self._frame[column], way, value)
        if not keep.any():
            raise RunsError(f"no run of {self.name!r} meets {conditions}", do="loosen a condition")
        return self.take(keep.to_numpy())

    def take(self, keep: np.ndarray) -> Runs:
        """Runs at the positions, or where the mask is true."""
        frame = self._frame[keep] if keep.dtype == bool else self._frame.iloc[keep]
        return Runs(frame.reset_index(drop=True), self.name, self.card, self.flops_assumed)


def load_runs(source: str | Path | pd.DataFrame, *, name: str | None = None) -> Runs:
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

    Raises
    ------
    UnknownName
        If there is neither such a file nor such a name.
    RunsError
        If anything in the table is not as wanted: every failure is named by row and column.

    Examples
    --------
    >>> load_runs("hoffmann2022").families
    ['Chinchilla']
    """
    if isinstance(source, pd.DataFrame):
        return _validated(source, name or "runs", {}, first=0)
    path = Path(source)
    if not path.exists() and path.suffix not in (".csv", ".parquet"):
        path = shipped.locate("data", str(source))
    card: dict[str, Any] = {}
    if path.is_dir():
        card = tomllib.loads((path / "card.toml").read_text(encoding="utf-8"))
        path, name = path / "runs.csv", name or card["name"]
    # Line 1 of a CSV holds the names, so its first run stands on line 2.
    return _validated(_read(path), name or path.stem.split(".")[0], card, first=2)


def _read(path: Path) -> pd.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except FileNotFoundError:
        raise RunsError(f"no file at {path}", wanted="a CSV or Parquet file, or a shipped name") from None
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise RunsError(f"{path} is not a table of runs", came=str(error).splitlines()[0]) from None
    except ImportError:
        raise RunsError("reading Parquet needs pyarrow", do="pip install 'bayescale[parquet]'") from None
    return frame.rename(columns=str.strip)


def _validated(frame: pd.DataFrame, name: str, card: dict[str, Any], first: int) -> Runs:
    for column in REQUIRED:
        if column not in frame:
            raise _missing(column, frame.columns, name)
    if not len(frame):
        raise RunsError(f"{name!r} holds no runs", wanted="one run a row")
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise RunsError(f"{name!r} has two columns called {twice!r}", do="rename or drop one")
    frame = frame.reset_index(drop=True)
    failures: list[str] = []
    for column in frame:
        if column in _NUMBERS:
            frame[column] = _numbers(frame[column], column, first, failures)
        elif not pd.api.types.is_numeric_dtype(frame[column]):
            frame[column] = frame[column].fillna("").astype(str).str.strip()
    for column, fails, wanted, do in RULES:
        if column in frame:
            failures += _failures(frame[column], fails(frame[column]), first, wanted, do)
    assumed = "flops" not in frame
    expected = FLOPS_PER_PARAM_TOKEN * frame.get("active_params", frame["params"]) * frame["tokens"]
    if assumed:
        frame["flops"] = expected
    elif not failures:
        far = np.abs(np.log(frame["flops"] / expected)) > np.log(_FLOPS_FACTOR)
        failures += _failures(
            frame["flops"], far, first, f"within a factor of {_FLOPS_FACTOR:g} of 6·params·tokens",
            "check units of flops, params and tokens (or drop the column)",
        )  # fmt: skip
    if "family" not in frame:
        frame["family"] = name
    elif (frame["family"].astype(str) == "").any():
        failures += _failures(frame["family"], frame["family"] == "", first, "a name", "fill it in")
    if not failures:
        failures += _duplicates(frame, first)
    if failures:
        shown = "\n".join(f"  {line}" for line in failures[:_SHOWN])
        more = f"\n  … and {len(failures) - _SHOWN} more" if len(failures) > _SHOWN else ""
        raise RunsError(f"{name!r} cannot be read as runs: {len(failures)} failure(s)\n{shown}{more}")
    frame["family"] = frame["family"].astype(str)
    return Runs(frame, name, card, assumed)


def _numbers(cells: pd.Series, column: str, first: int, failures: list[str]) -> pd.Series:
    """Parse cells as numbers; what is none is a failure, and an optional column may be empty."""
    values = np.full(len(cells), np.nan)
    for i, cell in enumerate(cells):
        empty = cell is None or cell == "" or (isinstance(cell, float) and np.isnan(cell))
        try:
            values[i] = np.nan if empty else quantity(cell)
        except (ValueError, TypeError):
            failures.append(f"row {i + first}, {column}: wanted a number, came {cell!r}; write 70B or 7e10")
            values[i] = 1.0  # named already; do not name it twice
            continue
        if not np.isfinite(values[i]) and not (empty and column in _OPTIONAL):
            came = "an empty cell" if empty else repr(cell)
            failures.append(f"row {i + first}, {column}: wanted a finite number, came {came}; mend or drop the row")
    return pd.Series(values, index=cells.index)


def _failures(cells: pd.Series, bad: pd.Series, first: int, wanted: str, do: str) -> list[str]:
    return [
        f"row {i + first}, {cells.name}: wanted {wanted}, came {cells[i]:g}; {do}"
        if isinstance(cells[i], float)
        else f"row {i + first}, {cells.name}: wanted {wanted}, came {cells[i]!r}; {do}"
        for i in cells.index[bad]
    ]


def _duplicates(frame: pd.DataFrame, first: int) -> list[str]:
    """Rows that repeat another run: the same identity, or the same everything."""
    identity = [c for c in _IDENTITY if c in frame]
    columns = ["family", *identity] if "run_id" in frame else list(frame.columns)
    repeated = frame.duplicated(subset=columns, keep="first")
    return [
        f"row {i + first}, {', '.join(columns)}: wanted one row a run, came a repeat of an earlier row; "
        "drop it, or give repeats a run_id each"
        for i in frame.index[repeated]
    ]


def _meets(cells: pd.Series, way: str, value: Any) -> pd.Series:
    if way == "below":
        return cells < quantity(value)
    if way == "above":
        return cells > quantity(value)
    wanted = value if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    return cells.isin(list(wanted))


def _missing(column: str, columns: Iterable[str], name: str) -> RunsError:
    columns = [str(c) for c in columns]
    return RunsError(
        f"{name!r} has no column {column!r}",
        wanted=f"columns {', '.join(REQUIRED)} (and family for more than one)"
        if column in REQUIRED
        else f"a column of: {', '.join(columns)}",
        came=", ".join(columns),
        do=nearest(column, columns),
    )
