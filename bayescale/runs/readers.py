"""Readers: from a name, a file or a data frame to Runs."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from bayescale.core import shipped
from bayescale.core.errors import BayescaleError, RunsError
from bayescale.runs.columns import COMMAS
from bayescale.runs.observations import wide_table
from bayescale.runs.table import Runs
from bayescale.runs.validation import Declared, validated_runs


def load_runs(
    source: str | Path | pd.DataFrame,
    *,
    name: str | None = None,
    loss_unit: str | None = None,
    rows_by: str | Iterable[str] | None = None,
    observations: str | Path | pd.DataFrame | None = None,
) -> Runs:
    """Read and validate a table of runs.

    Parameters
    ----------
    source : str, Path or DataFrame
        Name of a built-in table, path of a CSV or Parquet file (or of a folder with ``runs.csv`` and ``card.toml``),
        or a data frame. Columns ``params`` and ``tokens`` (counts; ``"70B"`` is accepted), or ``flops``, or
        ``examples`` (how many were seen), are required, and so is ``family`` if there are several families. ``flops``
        defaults to 6·params·tokens. The table also holds the observed values: ``loss`` (nats/token), ``error_rate``, or
        the columns that a spec observes.
    name : str, optional
        Name of the table; by default the name of the file.
    loss_unit : {"nats", "bits", "perplexity"}, optional
        Unit of ``loss`` and ``loss_error``, per token; losses are converted to nats/token. By default it is the
        ``loss_unit`` of the card. If nothing states the unit, losses are taken as nats/token, ``loss_unit_assumed`` of
        the runs is set, and losses that are far too high for this unit are an error.
    rows_by : str or iterable of str, optional
        Columns, such as ``"benchmark"``, that distinguish the rows of one run if the table has several rows for each
        ``run_id``. By default it is the ``rows_by`` of the card. A fit needs one row per run; select it with
        :meth:`Runs.where`.
    observations : str, Path or DataFrame, optional
        Observations of the runs, one per row: ``run_id``, ``response`` (its name), ``value`` and, optionally,
        ``family``, ``item`` and further numbers about it, such as ``n_items`` and ``chance``. Each response becomes a
        column of the runs, and so do its numbers, such as ``hellaswag_n_items``; a run may lack some responses. By
        default, ``observations.csv`` if `source` is a folder that holds it.

    Returns
    -------
    Runs

    Raises
    ------
    UnknownName
        If `source` is neither a file nor the name of a built-in table.
    RunsError
        If the table is not valid. Each failure names the row and the column; rows of a CSV are counted as lines of the
        file, and rows of a Parquet file or a data frame from 0. Also if a run has several rows and nothing says what
        distinguishes them, or if the losses look like perplexities.

    Examples
    --------
    >>> bs.load_runs("hoffmann2022").families
    ['Chinchilla']
    """
    said = Declared(loss_unit, (rows_by,) if isinstance(rows_by, str) else tuple(rows_by or ()))
    if isinstance(source, pd.DataFrame):
        return _validated(source.reset_index(drop=True), name or "runs", {}, said, observations)
    path, card = Path(source), {}
    if str(source) == "" or (not path.exists() and path.suffix not in (".csv", ".parquet")):
        path = shipped.locate("data", str(source))
    if path.is_dir():
        card = _card(path / "card.toml")
        default = path / "observations.csv"
        observations = default if observations is None and default.exists() else observations
        path, name = path / "runs.csv", name or str(card.get("name", path.resolve().name))
    return _validated(_read(path), name or path.stem.split(".")[0], card, said.with_card(card), observations)


def _validated(
    frame: pd.DataFrame,
    name: str,
    card: dict[str, Any],
    said: Declared,
    observations: str | Path | pd.DataFrame | None,
) -> Runs:
    if observations is None:
        return validated_runs(frame, name, card, said)
    long = observations if isinstance(observations, pd.DataFrame) else _read(Path(observations))
    wide = wide_table(long, frame, name)
    said = said._replace(responses=wide.responses, optional=tuple(wide.frame.columns))
    return validated_runs(frame.join(wide.frame), name, card, said)


def read_csv(path: Path, refuse: Callable[..., BayescaleError]) -> pd.DataFrame:
    """Read a CSV file with every cell as text.

    Parameters
    ----------
    path : Path
    refuse : callable
        Makes the error to raise from ``expected``, ``got`` and ``hint``.

    Returns
    -------
    DataFrame
        Its index holds the line of each row in the file.

    Raises
    ------
    BayescaleError
        If the file is not CSV, or a row has more or fewer cells than the header.
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
        raise refuse(got=str(error)) from None
    if not rows or not all(cell.isprintable() for cell in rows[0]):
        raise refuse(got="a header that is not text" if rows else "an empty file")
    for at, row in zip(lines, rows, strict=True):
        if len(row) != len(rows[0]):
            raise refuse(
                expected=f"{len(rows[0])} cells in each row, as in the header",
                got=f"{len(row)} on line {at}",
                hint="fix the line; quote a cell that contains a comma" if len(rows[0]) > 1 else COMMAS,
            )
    return pd.DataFrame(rows[1:], index=lines[1:], columns=rows[0], dtype=str)


def _read(path: Path) -> pd.DataFrame:
    refuse = partial(RunsError, f"{path} is not a table of runs")
    if not path.exists():
        raise RunsError(f"no file at {path}", expected="a CSV or Parquet file, or the name of a built-in table")
    if path.suffix != ".parquet":
        return read_csv(path, refuse)
    try:
        return pd.read_parquet(path).reset_index(drop=True)
    except (OSError, ValueError) as error:
        raise refuse(got=str(error).splitlines()[0]) from None
    except ImportError:
        raise RunsError("reading Parquet needs pyarrow", hint="pip install 'bayescale[parquet]'") from None


def _card(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunsError(f"no file at {path}", expected="a folder with runs.csv and card.toml") from None
    except (OSError, ValueError) as error:
        raise RunsError(f"{path} is not a card", expected='TOML, such as name = "mine"', got=str(error)) from None
