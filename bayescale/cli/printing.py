"""What every command reads, prints and writes alike."""

from __future__ import annotations

import json
import math
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bayescale.errors import QueryError
from bayescale.quantities import count

if TYPE_CHECKING:
    import pandas as pd

    from bayescale.runs import Runs

_HDF5 = b"\x89HDF\r\n\x1a\n"  # the first bytes of every file that Fit.save writes


def print_json(content: Any) -> None:
    """Print plain values as JSON."""
    click.echo(json.dumps(_plain(content), indent=2, allow_nan=False))


def print_table(table: pd.DataFrame) -> None:
    """Print a table with counts as people write them and four significant digits elsewhere."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table:
        text = table[column].dtype.kind not in "if"
        drawn.add_column(column, justify="left" if text else "right", no_wrap=True)
    for row in table.itertuples(index=False):
        drawn.add_row(*(_cell(name, value) for name, value in zip(table, row, strict=True)))
    wide = max(200, sum(len(c) + 12 for c in table)) if not sys.stdout.isatty() else None
    Console(width=wide, markup=False, emoji=False).print(drawn)  # a family may be called as a tag is


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, or say why it cannot be."""
    try:
        table.to_csv(path, index=False)
    except OSError as error:
        raise QueryError(f"cannot write {path}", came=str(error), do="choose a folder that exists") from None


def read_queries(path: Path) -> pd.DataFrame:
    """Read a CSV file of queries, or say what is wrong with it."""
    from bayescale.runs import read_csv

    if not path.exists():
        raise QueryError(f"no file at {path}", wanted="a CSV file of queries, one a row")
    return read_csv(path, partial(QueryError, f"{path} is no table of queries"))


def read_runs(source: str, loss_unit: str | None) -> Runs:
    """Read a table of runs; say on standard error what its losses are taken for, where nothing states their unit."""
    from bayescale.runs import load_runs

    runs = load_runs(source, loss_unit=loss_unit)
    if runs.loss_unit_assumed:
        click.echo(f"loss taken as nats per token: {runs.name!r} states no unit (--loss-unit)", err=True)
    return runs


def check_out(out: Path, *sources: str, fit: bool) -> None:
    """Refuse, before any work, a path that cannot be written or whose content would be missed."""
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise QueryError(
            f"cannot write {out}", wanted="a file in a folder that exists", came=str(out.absolute().parent)
        )
    if not out.is_file() or not out.stat().st_size:
        return
    if any(Path(source).exists() and out.samefile(source) for source in sources):
        raise QueryError(f"--out {out} would replace what is read", do="choose another name")
    with out.open("rb") as file:
        holds_fit = file.read(len(_HDF5)) == _HDF5
    if holds_fit != fit:
        kind = "a fit" if holds_fit else "no fit"
        raise QueryError(f"{out} exists and is {kind}; it is not replaced", do="choose another name, or remove it")


def finish(fine: bool, verdict: str) -> None:
    """Exit 1, saying why, if a number that was printed is provisional."""
    if not fine:
        click.echo(f"bayescale: {verdict}", err=True)
        sys.exit(1)


def _plain(thing: Any) -> Any:
    """JSON has no NaN and no NumPy scalars."""
    if isinstance(thing, dict):
        return {str(k): _plain(v) for k, v in thing.items()}
    if isinstance(thing, list | tuple):
        return [_plain(v) for v in thing]
    thing = thing.item() if hasattr(thing, "item") else thing
    return None if isinstance(thing, float) and not math.isfinite(thing) else thing


def _cell(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if str(value) == "<NA>" or value != value:
        return ""
    if name in ("params", "tokens", "flops", "unique_tokens") or (abs(value) >= 1e5):
        return count(float(value))
    if name.startswith("ess") or (float(value).is_integer() and abs(value) >= 1):
        return f"{value:.0f}"
    return f"{value:.4g}"
