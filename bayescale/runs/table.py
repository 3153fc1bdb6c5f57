"""Runs: a tidy, validated, frozen table of training runs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from bayescale.core.arguments import described
from bayescale.core.errors import RunsError, nearest
from bayescale.core.quantities import count, counted, quantity
from bayescale.runs.columns import RUN_KEY, SPANS, is_empty, missing_column, number, size_column, text
from bayescale.runs.observations import long_table


@dataclass(frozen=True, eq=False)
class Runs:
    """A frozen table of runs, made by :func:`load_runs`.

    Two tables are equal if their content, name and card are equal. Tables may be keys of a dict.

    Attributes
    ----------
    name : str
        Name of the table.
    card : dict
        Source, licence, units and known faults, as the card states them; empty without a card.
    flops_assumed : bool
        Whether ``flops`` is 6·params·tokens because the table has no such column.
    rows_by : tuple of str
        Columns that distinguish the rows of one run; empty if the table has one row per run.
    loss_unit : str
        Unit of the losses in the source, a key of :data:`bayescale.core.units.LOSS_UNITS`. In :attr:`frame` losses are
        in nats/token.
    loss_unit_assumed : bool
        Whether the losses were taken as nats/token because nothing stated their unit.
    response_columns : dict of tuple of str
        For each response that was read from a table of observations or melted, the columns that say more of it.
    understood : tuple of str
        What was understood of the table beyond its plain cells: formats, names, units. Empty for a plain table.
    """

    _frame: pd.DataFrame = field(repr=False)
    name: str = "runs"
    card: dict[str, Any] = field(default_factory=dict, repr=False)
    flops_assumed: bool = False
    rows_by: tuple[str, ...] = ()
    loss_unit: str = "nats"
    loss_unit_assumed: bool = False
    response_columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    understood: tuple[str, ...] = ()

    @property
    def frame(self) -> pd.DataFrame:
        """A copy of the table in base units, with one row per run, or several rows if `rows_by` is set."""
        return self._frame.copy()

    @property
    def n_runs(self) -> int:
        """Number of runs; ``len`` is the number of rows, and a run has several rows if `rows_by` is set."""
        return len(self._frame.drop_duplicates(list(RUN_KEY))) if self.rows_by else len(self._frame)

    @property
    def observations(self) -> pd.DataFrame:
        """The table of observations, one per row: ``family``, ``run_id``, ``response``, ``value``.

        Further columns hold what else is known of each, such as ``n_items``; NaN if it is not known.
        """
        return long_table(self._frame, self.response_columns)

    @property
    def responses(self) -> tuple[str, ...]:
        """Names of the responses that were read from a separate table of observations, or melted."""
        return tuple(self.response_columns)

    @property
    def size(self) -> np.ndarray:
        """How large each run is, shape (row,): its FLOP, or else the examples or steps that the table counts."""
        return self[size_column(self._frame)]

    @property
    def families(self) -> list[str]:
        """Sorted names of the families."""
        return sorted(self._frame["family"].unique())

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content of the table, independent of the order of its columns."""
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
    def faults(self) -> list[str]:
        """Known faults of the table, as its card states them; empty without a card."""
        stated = self.card.get("faults", ())
        return [stated] if isinstance(stated, str) else [str(fault) for fault in stated]

    @property
    def excluded(self) -> dict[str, int]:
        """Number of runs that the table marks as excluded, by reason, which is the text in column ``exclusion``."""
        reasons = [text(cell) for cell in self._frame.get("exclusion", ())]
        return dict(Counter(reason for reason in reasons if reason))

    def __len__(self) -> int:
        return len(self._frame)

    def __getitem__(self, column: str) -> np.ndarray:
        if column not in self._frame:
            raise missing_column(column, self._frame.columns, self.name)
        values = self._frame[column].to_numpy().view()
        values.flags.writeable = False  # as pandas 3 does: before it, writing would change the runs
        return values

    def __repr__(self) -> str:
        about = f"Runs({self.name!r}: {self.words})"
        return "\n  ".join([about, *(f"understood: {note}" for note in self.understood)])

    @property
    def words(self) -> str:
        """How many runs and families there are, and how far they span."""
        f = self._frame
        spans = ", ".join(f"{c} {count(f[c].min())}-{count(f[c].max())}" for c in SPANS if c in f)
        rows = f" in {len(f)} rows" if self.n_runs < len(f) else ""
        return f"{counted(self.n_runs, 'run')}{rows}, {counted(len(self.families), 'family')}, {spans}"

    def where(self, **conditions: Any) -> Runs:
        """Return the runs that meet every condition.

        Parameters
        ----------
        **conditions
            ``COLUMN_below=x`` and ``COLUMN_above=x``, both strict, where x may be ``"70B"``; or ``COLUMN=value``, where
            a list means any of its values, and ``""`` means an empty cell.

        Returns
        -------
        Runs

        Raises
        ------
        RunsError
            If a column does not exist, or no run meets the conditions.

        Examples
        --------
        >>> len(bs.load_runs("hoffmann2022").where(exclusion=""))
        240
        """
        keep = pd.Series(True, index=self._frame.index)
        for key, value in conditions.items():
            column, _, way = key.rpartition("_")
            if key in self._frame or way not in ("below", "above"):
                column, way = key, "equal"
            if column not in self._frame:
                raise missing_column(column, self._frame.columns, self.name)
            keep &= _meets(self._frame[column], way, value, key)
        if not keep.any():
            raise RunsError(f"no run of {self.name!r} meets {conditions}", hint="loosen a condition")
        return self.take(keep.to_numpy())

    def without(self, *run_ids: str) -> Runs:
        """Return the runs without some.

        Parameters
        ----------
        *run_ids : str
            Names in column ``run_id``.

        Returns
        -------
        Runs

        Raises
        ------
        RunsError
            If the table has no column ``run_id``, no such run, or no other run.

        Examples
        --------
        >>> runs = bs.load_runs("hoffmann2022")
        >>> len(runs.without(*runs["run_id"][:2]))
        243
        """
        known, out = [text(cell) for cell in self["run_id"]], {str(run_id).strip() for run_id in run_ids}
        for run_id in sorted(out - set(known)):
            raise RunsError(f"{self.name!r} has no run {run_id!r}", hint=_similar(run_id, known))
        keep = np.array([name not in out for name in known])
        if not keep.any():
            raise RunsError(f"no run of {self.name!r} would be left", hint="leave fewer runs out")
        return self.take(keep)

    def with_numbers(self, column: str, low: float, high: float, *, optional: bool = False) -> Runs:
        """Return the runs with the cells of a column parsed as numbers, such as ``"8k"``.

        Parameters
        ----------
        column : str
        low, high : float
            Bounds of the numbers, inclusive.
        optional : bool
            Whether a cell may be empty; it becomes NaN.

        Returns
        -------
        Runs

        Raises
        ------
        RunsError
            If a cell is not a number, or is out of range.
        """
        values = []
        for row, cell in enumerate(self[column]):
            if optional and is_empty(cell):
                values.append(np.nan)
                continue
            try:
                value = number(cell)
            except ValueError as error:
                raise RunsError(f"run {row} of {self.name!r}, {column}: {error}") from None
            if not low <= value <= high:
                raise RunsError(f"run {row} of {self.name!r}, {column} is out of range",
                                expected=f"{low:g} to {high:g}", got=f"{value:g}")  # fmt: skip
            values.append(value)
        return replace(self, _frame=self._frame.assign(**{column: values}))

    def with_columns(self, filled: Callable[[pd.DataFrame], pd.DataFrame]) -> Runs:
        """Return the runs with more columns, which a function of the table adds.

        Parameters
        ----------
        filled : callable
            ``filled(table)``: the table with the columns; the table itself if there is nothing to add.

        Returns
        -------
        Runs
        """
        found = filled(self._frame)
        return self if found is self._frame else replace(self, _frame=found)

    def take(self, keep: ArrayLike) -> Runs:
        """Return some of the rows.

        Parameters
        ----------
        keep : array-like, shape (row,) if boolean
            Boolean mask of the rows, or positions of rows.

        Returns
        -------
        Runs

        Raises
        ------
        RunsError
            If it is neither, of another length, or a position is beyond the last row.
        """
        return replace(self, _frame=self._frame.iloc[_positions(keep, len(self))].reset_index(drop=True))


def _positions(keep: Any, count: int) -> np.ndarray:
    """Return the positions of the rows that a mask or positions select out of `count`."""
    rows = np.arange(count)
    try:
        found, why = rows[np.asarray(keep)], "not in one dim"
    except (IndexError, TypeError, ValueError) as error:
        found, why = rows[None], str(error)
    if found.ndim != 1:
        raise RunsError("this selects no rows", expected=f"a mask of {count} values, or positions below {count}",
                        got=f"{described(keep)}: {why}", hint="for a condition on a column, use where")  # fmt: skip
    return found


def _similar(run_id: str, known: list[str]) -> str:
    return nearest(run_id, known, otherwise="name a run of column run_id, such as " + ", ".join(known[:3]))


def _meets(cells: pd.Series, way: str, value: Any, condition: str) -> pd.Series:
    if way == "equal":
        values = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]
        return cells.isin([_bound(v, condition) for v in values] if pd.api.types.is_numeric_dtype(cells) else values)
    if not pd.api.types.is_numeric_dtype(cells):
        raise RunsError(f"column {cells.name!r} contains text, which cannot be compared with below or above",
                        got=condition, hint=f"where({cells.name}=…) takes a value or a list of them")  # fmt: skip
    bound = _bound(value, condition)
    return cells < bound if way == "below" else cells > bound


def _bound(value: Any, condition: str) -> float:
    """Return the number to compare a numeric column with; NaN stands for an empty cell."""
    try:
        return np.nan if is_empty(value) else quantity(value)
    except (TypeError, ValueError):
        raise RunsError(
            f"{condition} is not a number", expected="a number such as 7e10 or '70B'", got=repr(value)
        ) from None
