"""Readers: a name, a file or a data frame → Runs."""

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
from bayescale.runs.table import Runs
from bayescale.runs.validation import Declared, validated_runs


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
    said = Declared(loss_unit, (rows_by,) if isinstance(rows_by, str) else tuple(rows_by or ()))
    if isinstance(source, pd.DataFrame):
        return validated_runs(source.reset_index(drop=True), name or "runs", {}, said)
    path, card = Path(source), {}
    if str(source) == "" or (not path.exists() and path.suffix not in (".csv", ".parquet")):
        path = shipped.locate("data", str(source))
    if path.is_dir():
        card = _card(path / "card.toml")
        path, name = path / "runs.csv", name or str(card.get("name", path.resolve().name))
    return validated_runs(_read(path), name or path.stem.split(".")[0], card, said.with_card(card))


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
                do="mend the line; quote a cell that holds a comma" if len(rows[0]) > 1 else COMMAS,
            )
    return pd.DataFrame(rows[1:], index=lines[1:], columns=rows[0], dtype=str)


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
