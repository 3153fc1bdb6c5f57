"""Readers: from a name, a file or a data frame to Runs. Each step has its own module: formats, names, units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any

import pandas as pd

from bayescale.core import jsons, shipped, toml
from bayescale.core.arguments import check_kind
from bayescale.core.errors import RunsError
from bayescale.core.files import kind_of
from bayescale.runs.formats import EXPECTED, SUFFIXES, Table, read_table
from bayescale.runs.frames import from_frame
from bayescale.runs.names import named
from bayescale.runs.observations import melted, wide_table
from bayescale.runs.table import Runs
from bayescale.runs.validation import Declared, validated_runs


def load_runs(
    source: Any,
    *,
    name: str | None = None,
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    loss_unit: str | None = None,
    bytes_per_token: float | None = None,
    decimal: str | None = None,
    rows_by: str | Iterable[str] | None = None,
    observations: str | Path | pd.DataFrame | None = None,
    melt: str | Iterable[str] | Mapping[str, Mapping[str, float]] = (),
) -> Runs:
    """Read and validate a table of runs.

    What was understood of a table that is not a plain one is kept in ``understood`` of the runs, is a part of their
    text, and is printed by the command line.

    Parameters
    ----------
    source : str, Path or data frame
        Name of a built-in table; path of a CSV, TSV, JSON, JSON Lines, Excel, Parquet or Feather file, also compressed,
        or of a folder with ``runs.csv`` and ``card.toml``; or a data frame of pandas, polars or Arrow.
        Columns ``params`` and ``tokens`` (counts; ``"70B"`` is accepted), or ``flops``, or
        ``examples`` (how many were seen), are required, and so is ``family`` if there are several families. ``flops``
        defaults to 6·params·tokens, and one of ``params`` and ``tokens`` follows from the other and ``flops``. The
        table also holds the observed values: ``loss`` (nats/token), ``error_rate``, or what a spec observes.
    name : str, optional
        Name of the table; by default the name of the file.
    columns : mapping of str to str, optional
        Names of the table's columns by those of bayescale, such as ``{"params": "n_params"}``. Usual names, such as
        ``num_params`` and ``eval/loss``, are also recognized without it.
    units : mapping of str to str, optional
        Units of columns that are not plain counts or FLOP, such as ``{"params": "millions", "flops": "PF-days"}``. A
        name such as ``Params (M)`` also states a unit.
    loss_unit : {"nats", "bits", "perplexity", "bits-per-byte"}, optional
        Unit of ``loss`` and ``loss_error``, per token or per byte; losses are converted to nats/token. By default it is
        the ``loss_unit`` of the card. If nothing states the unit, losses are taken as nats/token, ``loss_unit_assumed``
        of the runs is set, and losses that are unlikely in this unit are an error.
    bytes_per_token : float, optional
        Average bytes of a token, to convert losses per byte; by default the column ``bytes_per_token``.
    decimal : {".", ","}, optional
        Mark of decimals in text; by default it is read off the cells.
    rows_by : str or iterable of str, optional
        Columns, such as ``"benchmark"``, that distinguish the rows of one run if the table has several rows for each
        ``run_id``. By default it is the ``rows_by`` of the card. A fit needs one row per run; select it with
        :meth:`Runs.where`.
    observations : str, Path or DataFrame, optional
        Observations of the runs, one per row: ``run_id``, ``response`` (its name), ``value`` or ``n_correct`` and,
        optionally, ``family``, ``step`` (of a checkpoint, if the runs have this column), ``item`` and further numbers
        about it, such as ``n_items``, ``chance`` and ``k`` of a pass@k. Each response becomes a column of the runs, and
        so do its numbers, such as ``hellaswag_n_items``; a run may lack some responses. By default,
        ``observations.csv`` if `source` is a folder that holds it.
    melt : str, iterable of str, or mapping of str to mapping of str to float, optional
        Columns of a wide table, such as ``["hellaswag", "piqa"]``, that are observations: each is a response, as if it
        had come from `observations`. Columns such as ``hellaswag_n_items`` and ``hellaswag_chance`` belong to it; a
        mapping states what is the same in all runs, such as ``{"hellaswag": {"n_items": 10042, "chance": 0.25}}``.

    Returns
    -------
    Runs

    Raises
    ------
    UnknownName
        If `source` is neither a file nor the name of a built-in table.
    RunsError
        If the table is not valid. Each failure names the row and the column; rows of text and of Excel are counted as
        lines of the file, and other rows from 0. Also if a run has several rows and nothing says what distinguishes
        them, if the losses look like another unit, or if the table can be read in two ways.

    Examples
    --------
    >>> bs.load_runs("hoffmann2022").families
    ['Chinchilla']
    """
    for names in (columns, units):
        check_kind(names, (Mapping, NoneType), RunsError, "a mapping of names to texts, such as {'params': 'n_params'}")
    for several in (rows_by, melt):
        check_kind(several, (Iterable, NoneType), RunsError, "the name of a column, or several names")
    said = Declared(loss_unit, (rows_by,) if isinstance(rows_by, str) else tuple(rows_by or ()),
                    units=tuple((units or {}).items()), bytes_per_token=bytes_per_token)  # fmt: skip
    renamed = dict(columns or {})
    wide = [melt] if isinstance(melt, str) else melt or ()
    melting = wide if isinstance(wide, Mapping) else {of: {} for of in wide}
    if not isinstance(source, str | Path):
        return _validated(from_frame(source), name or "runs", {}, said, renamed, observations, melting)
    path, card = Path(source), {}
    if str(source) == "" or (not kind_of(path, RunsError) and path.suffix.lower() not in SUFFIXES):
        path = shipped.locate("data", str(source))
    if kind_of(path, RunsError) == "folder":
        card = _card(path / "card.toml")
        default = path / "observations.csv"
        observations = default if observations is None and kind_of(default, RunsError) else observations
        path, name = path / "runs.csv", name or str(card.get("name", path.resolve().name))
    table, said = read_file(path, decimal), said.with_card(card)
    return _validated(table, name or path.stem.split(".")[0], card, said, renamed, observations, melting)


def _validated(
    table: Table,
    name: str,
    card: dict[str, Any],
    said: Declared,
    columns: Mapping[str, str],
    observations: str | Path | pd.DataFrame | None,
    melt: Mapping[str, Mapping[str, float]],
) -> Runs:
    if not isinstance(name, str) or "\0" in name:
        raise RunsError("a table has no such name", expected="text without the character NUL", got=repr(name))
    found = named(table.frame, columns, name)
    own = melted(found.frame, melt, name)
    said = said.with_names(found.units)._replace(notes=(*table.notes, *found.notes), optional=_all(own.columns),
                                                 responses=tuple(own.columns.items()))  # fmt: skip
    if observations is None:
        return validated_runs(own.frame, name, card, said)
    path = isinstance(observations, str | Path)
    long = read_file(Path(observations)) if path else from_frame(observations)
    wide = wide_table(long.frame, own.frame, name)
    said = said._replace(responses=(*said.responses, *wide.columns.items()),
                         optional=(*said.optional, *_all(wide.columns)),
                         notes=(*said.notes, *(f"observations {note}" for note in long.notes)))  # fmt: skip
    return validated_runs(own.frame.join(wide.frame), name, card, said)


def _all(columns: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(one for response, more in columns.items() for one in (response, *more))


def load_again(origin: Mapping[str, str]) -> Runs:
    """Read a table of runs as a spec states it whose priors were learned from it.

    Parameters
    ----------
    origin : mapping of str to str
        ``runs``, the source; ``loss_unit``; ``reading``, JSON of the other arguments of :func:`load_runs`, and of
        ``where`` and ``without``.

    Returns
    -------
    Runs
    """
    how = jsons.loads(origin.get("reading", "{}"))
    where, without = how.pop("where", {}), how.pop("without", [])
    runs = load_runs(origin["runs"], loss_unit=origin.get("loss_unit"), **how)
    kept = runs.where(**where) if where else runs
    return kept.without(*without) if without else kept


def read_file(path: Path, decimal: str | None = None) -> Table:
    """Read a file of runs or of their observations, or raise RunsError."""
    if not kind_of(path, RunsError):
        raise RunsError(f"no file at {path}", expected=f"{EXPECTED}, or the name of a built-in table")
    return read_table(path, partial(RunsError, f"{path} is not a table of runs"), decimal)


def _card(path: Path) -> dict[str, Any]:
    try:
        return toml.load(path)
    except FileNotFoundError:
        raise RunsError(f"no file at {path}", expected="a folder with runs.csv and card.toml") from None
    except (OSError, ValueError) as error:
        raise RunsError(f"{path} is not a card", expected='TOML, such as name = "mine"', got=str(error)) from None
