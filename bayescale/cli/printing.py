"""Reading, printing and writing that all commands share."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bayescale.cli.reading import Reading
from bayescale.core import progress
from bayescale.core.errors import QueryError, why_unwritten
from bayescale.core.escapes import printable
from bayescale.core.files import atomic_write, kind_of, takes_a_stream
from bayescale.core.quantities import count, factor

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from bayescale.runs.table import Runs

_HDF5 = b"\x89HDF\r\n\x1a\n"  # the first bytes of every file that Fit.save writes
_PLAIN = Reading()
_COUNTED_FROM = 9999.5  # from here on four digits need a power of ten or a suffix; a suffix is read faster
_ANSWERS = {"True": "yes", "False": "no"}
_COUNTS = 999.5  # from here on a count has a suffix where a larger one in its row has one
_SMALLEST = 1e-8  # smaller figures need a power of ten to be read at all
_OF_ONE = ("mean", "sd", "q05", "q50", "q95", "epred_q05", "epred_q95")
"""Columns of a row that are figures of one quantity."""
_PERCENT = ("coverage_50", "coverage_80", "coverage_90", "coverage_90_se", "waste_fraction", "waste")
_FORMULAS = ("=", "+", "-", "@")
"""What begins a formula in some spreadsheet."""
_UNBOUNDED = 10_000  # characters: wider than any table of results


def echo(text: object, *, err: bool = False) -> None:
    """Print a text on standard output or standard error, with control characters escaped.

    Names of families, columns and files come from others: on a terminal they could move the cursor or hide text.
    Messages are wrapped to the terminal's width; data are wrapped by what prints them.
    """
    said = printable(str(text))
    click.echo("\n".join(_wrapped(line, err=True) for line in said.splitlines()) if err else said, err=err)


def print_json(content: Any) -> None:
    """Print plain values as JSON."""
    echo(json.dumps(_plain(content), indent=2, allow_nan=False))


LABELS = {
    "sd": "SD", "q05": "5%", "q50": "median", "q95": "95%", "epred_q05": "curve 5%", "epred_q95": "curve 95%",
    "reach_decades": "reach", "r_hat": "R-hat", "ess_bulk": "ESS", "ess_tail": "tail ESS", "n_train": "fitted",
    "n_test": "scored", "coverage_50": "in 50%", "coverage_80": "in 80%", "coverage_90": "in 90%",
    "coverage_50_se": "SE of it", "coverage_80_se": "SE of it", "interval_score_90": "interval score",
    "coverage_90_se": "SE of it", "width_90": "width", "crps": "CRPS", "crps_se": "SE of CRPS", "bias_se": "SE of bias",
    "are": "error", "log_score": "log score", "elpd": "ELPD", "se": "SE", "elpd_diff": "difference", "dse": "SE of it",
    "k_above": "k > 0.7", "k_worst": "largest k", "worst_run": "most influential run", "weight_se": "SE",
    "tokens_per_param": "tokens/param", "tokens_per_param_q05": "from", "tokens_per_param_q95": "to",
    "expected_loss": "loss", "regret_nats": "regret", "waste_fraction": "waste", "band_low": "safe from",
    "band_high": "safe to", "chosen_by": "chosen by", "chi2_p": "chi-square p", "judged_by": "if right",
    "extra_loss": "extra loss",
}  # fmt: skip
"""What a terminal calls columns; JSON and CSV keep their names."""


def print_table(table: pd.DataFrame) -> None:
    """Print a table with counts as people write them and four significant digits elsewhere.

    A table wider than the terminal is printed as records, one column per line: no cell is ever cut.
    """
    from rich.console import Console
    from rich.measure import Measurement

    width, drawn = columns(), _drawn(table)
    wide = Console(width=_UNBOUNDED, markup=False, emoji=False)  # a family's name may look like a markup tag
    needed = Measurement.get(wide, wide.options, drawn).maximum
    if width is not None and needed > width:
        echo("\n" + "\n\n".join(_records(table, width)) + "\n")
    else:
        wide.print(drawn, width=needed)


def print_tables(tables: Mapping[str, pd.DataFrame]) -> None:
    """Print tables, each below a sentence on what it says.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Tables by their sentence.
    """
    for sentence, table in tables.items():
        echo(paragraph(sentence))
        print_table(table)


def label(column: str) -> str:
    """Return what a terminal calls a column."""
    return LABELS.get(str(column), printable(str(column).replace("_", " "), newlines=False))


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show on a terminal what a command waits for, with the seconds since, until the block ends."""
    if not progress.on_terminal():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    shown = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*shown, console=Console(stderr=True), transient=True) as bar:
        bar.add_task(what, total=None)
        yield


LOADING = "loading the libraries and the data"
"""What every verb waits for first."""


def columns(*, err: bool = False) -> int | None:
    """Return the width of the terminal in characters; None if standard output, or error, is not a terminal."""
    if not _is_terminal(err=err):
        return None
    if err and not _is_terminal():  # the width that is usually asked for is that of standard output
        with suppress(OSError):
            return os.get_terminal_size(sys.stderr.fileno()).columns
    return shutil.get_terminal_size().columns


def _is_terminal(*, err: bool = False) -> bool:
    return (sys.stderr if err else sys.stdout).isatty()


def _drawn(table: pd.DataFrame) -> Table:
    from rich import box
    from rich.table import Table

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table:
        text = table[column].dtype.kind not in "if"
        drawn.add_column(label(column), justify="left" if text else "right", no_wrap=True)
    for row in cells(table):
        drawn.add_row(*row)
    return drawn


def _records(table: pd.DataFrame, width: int) -> Iterator[str]:
    """Write each row as lines of column name and value; wrap long lines between words."""
    width_of_names = max(len(label(name)) for name in table) + 2
    for row in cells(table):
        yield "\n".join(
            textwrap.fill(text, max(width, width_of_names + 1),
                          initial_indent=f"{label(name):{width_of_names}}", subsequent_indent=" " * width_of_names,
                          break_long_words=False, break_on_hyphens=False)
            or label(name)
            for name, text in zip(table, row, strict=True)
        )  # fmt: skip


_COLOURS = {"PASS": "green", "REVIEW": "yellow", "FAIL": "red"}
_LABEL = 14  # characters: the longest subject of a state


def states(rows: Iterable[tuple[str, str, str, str]]) -> None:
    """Print states of questions: those with something to do first, in colour on a terminal, each with its action.

    Parameters
    ----------
    rows : iterable of tuple
        State, subject, sentence and action of each.
    """
    for row in sorted(rows, key=lambda row: -list(_COLOURS).index(row[0])):
        state, subject, sentence, action = map(printable, row)
        lines = sentence.splitlines() or [""]
        click.echo(f"  {coloured(f'{state:6}', state)}  " + paragraph(lines[0], 10, f"{subject:{_LABEL}} "))
        for line in (*lines[1:], *([f"→ {action}"] if action else [])):
            click.echo(" " * 10 + paragraph(line, 10, " " * (_LABEL + 1)))


def coloured(text: str, state: str) -> str:
    """Return text in the colour of a state, on a terminal and unless ``NO_COLOR`` is set."""
    plain = not _is_terminal() or os.environ.get("NO_COLOR")
    return text if plain else click.style(text, fg=_COLOURS[state], bold=state != "PASS")


def paragraph(text: str, before: int = 0, indent: str = "", *, err: bool = False) -> str:
    """Return text wrapped between words to the terminal's width; as one line if there is no terminal.

    Parameters
    ----------
    text : str
    before : int
        Characters that stand before the first line.
    indent : str
        What the first line begins with; others are indented by as much.
    err : bool
        Whether it is for standard error.
    """
    width = columns(err=err)
    if width is None:
        return indent + text
    inner = max(width - before, len(indent) + 20)
    margin = " " * (before + len(indent))
    lines = textwrap.wrap(text, inner - len(indent), break_long_words=False, break_on_hyphens=False) or [""]
    return indent + f"\n{margin}".join(lines)


_CONTINUED = re.compile(r" {8,}(?=\S)")


def print_wrapped(text: str) -> None:
    """Print lines of a name and a text, wrapped to the terminal's width below the text."""
    joined: list[str] = []
    for line in text.splitlines():
        if joined and _CONTINUED.match(line):
            joined[-1] = f"{joined[-1]} {line.strip()}"
        else:
            joined.append(line)
    for line in joined if columns() else text.splitlines():
        echo(_wrapped(line))


def _wrapped(line: str, *, err: bool = False) -> str:
    """Wrap a line of a name and a text below the text."""
    named = re.match(r" *\S+(?: \S+)? {2,}", line) or re.match(r" *", line)
    start = named[0] if named else ""
    return paragraph(line[len(start) :], indent=start, err=err)


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, or say why that fails.

    A spreadsheet would run a text such as ``=cmd()`` as a formula: an apostrophe before it keeps it text.
    """
    safe = table.rename(columns=_unformulated).map(_unformulated)
    try:
        with atomic_write(path) as temporary:
            temporary.write_text(safe.to_csv(index=False), encoding="utf-8")
    except OSError as error:
        raise QueryError(f"cannot write {path}", **why_unwritten(error)) from None


def _unformulated(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    text = printable(cell, newlines=False)  # a return in a cell would end its row
    return f"'{text}" if text.startswith(_FORMULAS) else text


def read_queries(path: Path) -> pd.DataFrame:
    """Read a file of queries, or say what is wrong with it."""
    from bayescale.runs.formats import read_table

    if not kind_of(path, QueryError):
        raise QueryError(f"no file at {path}", expected="a CSV file of queries, one per row")
    found = read_table(path, partial(QueryError, f"{path} is not a table of queries"))
    _say(path.name, found.notes)
    return found.frame


def read_runs(source: str, reading: Reading = _PLAIN) -> Runs:
    """Read a table of runs, and keep those that meet every condition; values of one column are alternatives.

    What was understood of the table, and the unit of losses if nothing states it, are printed on standard error.
    """
    from bayescale.runs.readers import load_runs

    runs = load_runs(
        source, columns=_once(reading.columns, "--columns"), units=_once(reading.units, "--unit"),
        loss_unit=reading.loss_unit, bytes_per_token=reading.bytes_per_token, decimal=reading.decimal,
        observations=reading.observations, melt=_once(reading.melt, "--melt"),
    )  # fmt: skip
    _say(runs.name, runs.understood)
    if runs.loss_unit_assumed:
        echo(f"loss taken as nats per token: {runs.name!r} states no unit (--loss-unit)", err=True)
    kept = runs.where(**conditions) if (conditions := _conditions(reading)) else runs
    return kept.without(*reading.excluded) if reading.excluded else kept


def _say(name: str, notes: Sequence[str]) -> None:
    if notes:
        echo(f"understood {name!r}: {'; '.join(notes)}", err=True)


def _once[T](pairs: Sequence[tuple[str, T]], option: str) -> dict[str, T]:
    for name, _ in pairs:
        if sum(other == name for other, _ in pairs) > 1:
            raise QueryError(f"{option} names {name!r} more than once", hint="name it once")
    return dict(pairs)


def as_text(reading: Reading) -> dict[str, str]:
    """Return how a table is read as texts, from which `bayescale.runs.readers.load_again` reads it again."""
    how = {"columns": dict(reading.columns), "units": dict(reading.units), "bytes_per_token": reading.bytes_per_token,
           "decimal": reading.decimal, "where": _conditions(reading), "without": list(reading.excluded),
           "observations": reading.observations, "melt": dict(reading.melt)}  # fmt: skip
    how = {name: value for name, value in how.items() if value}
    unit = {"loss_unit": reading.loss_unit} if reading.loss_unit else {}
    return unit | ({"reading": json.dumps(how)} if how else {})


def _conditions(reading: Reading) -> dict[str, Any]:
    """Return the conditions by column; several values of one column are alternatives."""
    values = dict[str, list[str]]()
    for column, value in reading.conditions:
        values.setdefault(column, []).append(value)
    return {column: found[0] if len(found) == 1 else found for column, found in values.items()}


def check_out(out: Path, *sources: str, kind: str) -> None:
    """Before any work, refuse a path that cannot be written or that holds something to keep.

    Parameters
    ----------
    out : Path
    *sources : str
        Files that the command reads.
    kind : str
        What the command writes: one of the keys of ``_HOLDS``. Only a file that holds the same is replaced.
    """
    try:
        if out.is_dir() or not Path(os.path.realpath(out)).parent.is_dir():
            raise QueryError(
                f"cannot write {out}", expected="a file in a folder that exists", got=str(out.absolute().parent)
            )
        if takes_a_stream(out) or not out.exists() or not out.stat().st_size:
            return
        if any(os.path.exists(source) and out.samefile(source) for source in sources):
            raise QueryError(f"--out {out} would overwrite an input file", hint="choose another name")
        with out.open("rb") as file:
            same = _HOLDS[kind](file.read(_HEAD))
    except OSError as error:
        raise QueryError(f"cannot write {out}", **why_unwritten(error)) from None
    if not same:
        raise QueryError(
            f"{out} exists and is not {kind}; it will not be overwritten",
            hint="choose another name, or remove the file",
        )


def _is_results(head: bytes) -> bool:
    """Whether a CSV file is one of bayescale's: every result carries its verdict, and no table of runs has one."""
    header = next(csv.reader(head.decode("utf-8", "replace").splitlines()), [])
    return "verdict" in header


_HEAD = 1_000_000  # bytes: more than any TOML file that is written here has
_HOLDS: dict[str, Callable[[bytes], bool]] = {
    "a fit": lambda head: head.startswith(_HDF5),
    "a table of results": _is_results,
    "a calibration": lambda head: re.search(rb"^spec_digest = .*^simulations = ", head, re.M | re.S) is not None,
    "a learned model": lambda head: re.search(rb"^\[learned\]", head, re.M) is not None,
    "a record": lambda head: not head.startswith(_HDF5),  # whoever adds to it reads it, and says what is wrong
}
"""Whether a file that exists holds what a command writes there, from its first bytes."""


def finish(fine: bool, verdict: str) -> None:
    """If a printed number is provisional, say why and exit 1."""
    if not fine:
        echo(f"bayescale: {verdict}", err=True)
        sys.exit(1)


def _plain(thing: Any) -> Any:
    """Convert to plain values: JSON has neither NaN nor NumPy scalars nor dates, which a record or a card may hold."""
    if isinstance(thing, dict):
        return {str(k): _plain(v) for k, v in thing.items()}
    if isinstance(thing, list | tuple):
        return [_plain(v) for v in thing]
    thing = thing.item() if hasattr(thing, "item") else thing
    if isinstance(thing, float) and not math.isfinite(thing):
        return None
    return thing if isinstance(thing, str | int | float | None) else str(thing)


def cells(table: pd.DataFrame) -> list[list[str]]:
    """Write each row of a table; figures of one quantity, such as its mean and its quantiles, in one notation.

    Parameters
    ----------
    table : DataFrame

    Returns
    -------
    list of list of str
    """
    found = []
    for row in table.itertuples(index=False):
        named = dict(zip(table, row, strict=True))
        largest = max((abs(value) for name, value in named.items() if name in _OF_ONE and value == value), default=0)
        found.append([cell(name, value, largest if name in _OF_ONE else 0) for name, value in named.items()])
    return found


def cell(name: str, value: Any, largest: float = 0) -> str:
    """Write a value of a column: counts as people write them, other numbers to four significant digits.

    Parameters
    ----------
    name : str
    value : object
    largest : float
        The largest of the figures that are read together with this one: it decides where counts begin.
    """
    if isinstance(value, str):
        return printable(value, newlines=False)
    if value is None or str(value) == "<NA>" or value != value:
        return ""
    if str(value) in _ANSWERS:  # of Python or of NumPy
        return _ANSWERS[str(value)]
    counts = abs(value) >= (_COUNTS if largest >= _COUNTED_FROM else _COUNTED_FROM)
    if name in ("params", "tokens", "flops", "unique_tokens") or counts:
        return count(float(value))
    if name == "reach_decades":
        return f"{factor(value)}×" if value > 0 else "inside"
    if name == "r_hat":
        return f"{value:.3f}"
    if name in _PERCENT:
        return f"{100 * value:.3g}%"
    if name.startswith("ess") or (float(value).is_integer() and abs(value) >= 1):
        return f"{value:.0f}"
    return _significant(float(value))


def _significant(value: float) -> str:
    """Write four significant digits: with zeros rather than a power of ten, unless there would be more than eight."""
    text = f"{value:.4g}"
    return text if "e" not in text or abs(value) < _SMALLEST else f"{Decimal(text):f}"
