"""Malformed tables of runs: cells, columns, rows and bytes of a good CSV."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import random
from functools import cache
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
from harness import Case, Shortfall, changed_bytes

import bayescale as bs
from bayescale.core.errors import BayescaleError
from bayescale.modelling.design import conformed, design
from bayescale.runs.columns import AMOUNTS

Rows = list[list[str]]

CELLS = [
    "",
    " ",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "-1e999k",
    "1e999T",
    "-1",
    "0",
    "-0.0",
    "1e-320",
    "5e-324",
    "0x10",
    "1_000_000_000",
    "1,000,000,000",
    "１２３",
    "٣٤٥",
    "1e5B",
    "7B",
    " 7 B",
    "=1+1",
    "<script>alert(1)</script>",
    "\x1b[31mred\x1b[0m",
    "9" * 5000,
    "9" * 400,
    "1e99999999999999999999",
    "True",
    "None",
    "1/2",
    "½",
    "−1",
    "1.2.3",
    "70BB",
    "1e",
    ".5",
    "+5e9",
    "--5",
    "😀",
    "1e308",
    "15.0001",
    "15",
    "\x00",
    "a\x00b",
    "\ufeff7e9",
    "a\u202eb",
    "NULL",
    "#REF!",
    "'7e9",
    "7bn",
    "1e40",
    "[" * 3000,
    "$x$",
    "{{x}}",
    "@cmd",
    "+cmd",
    "-cmd",
    "'",
    '"',
    "a\nb",
    "1e16",
    "1e18",
    "1.7976931348623157e308P",
    "1" + "0" * 308 + "T",
    "1" + " " * 100_000 + "!",
]
NAMES = ["params", "tokens", "loss", "flops", "family", "run_id"]
OTHERS = [
    "group",
    "suite",
    "eval_set",
    "tokenizer",
    "n_items",
    "n_correct",
    "score",
    "chance",
    "step",
    "epochs",
    "loss_error",
    "active_params",
    "unique_tokens",
    "benchmark",
    "",
    " ",
    "index",
    "0",
    "chain",
    "draw",
    "run",
    "q50",
    "verdict",
    "Params",
    "loss.1",
    "family ",
    "\x1b[2J",
    "<b>",
    "=cmd",
    "a" * 3000,
    "a" + " " * 100_000 + "b",
    "__class__",
    "exclusion",
    "bytes_per_token",
    "examples",
    "error_rate",
    "Params (M)",
    "tokens (B)",
    "loss (bits)",
    "params_millions",
]
MUST_FAIL = {
    "",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "-1e999k",
    "1e999T",
    "-1",
    "0",
    "-0.0",
    "0x10",
    "None",
    "True",
    "1/2",
    "½",
    "1e",
    "70BB",
    "--5",
    "9" * 400,
    "9" * 5000,
}
SPECS = ("additive", "default", "additive-unpooled", "accuracy", "coupled", "kaplan")


def good() -> Rows:
    """Forty runs of two families, as cells."""
    rows = [["run_id", "family", "params", "tokens", "flops", "loss"]]
    for k, family in enumerate("AB"):
        for i, n in enumerate((1e8, 3e8, 1e9, 3e9)):
            for j, d in enumerate((2e9, 6e9, 2e10, 6e10, 2e11)):
                loss = 1.8 + 480 * n**-0.35 + 2100 * d**-0.37 + 0.05 * k + 0.001 * ((i * 7 + j * 3) % 5)
                rows.append([f"{family}{i}{j}", family, f"{n:.0f}", f"{d:.0f}", f"{6 * n * d:.6g}", f"{loss:.4f}"])
    return rows


def as_text(rows: Rows) -> bytes:
    """Rows as a CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode("utf-8", "surrogatepass")


@cache
def other_formats() -> dict[str, bytes]:
    """The good runs in every other format, by suffix."""
    frame = pd.read_csv(io.BytesIO(as_text(good())))
    found = {
        "json": frame.to_json(orient="records").encode(),
        "jsonl": frame.to_json(orient="records", lines=True).encode(),
    }
    for suffix, write in (("parquet", frame.to_parquet), ("feather", frame.to_feather), ("xlsx", frame.to_excel)):
        file = io.BytesIO()
        write(file)
        found[suffix] = file.getvalue()
    packed = {"csv.gz": gzip.compress(as_text(good()), mtime=0), "csv.bz2": bz2.compress(as_text(good()))}
    return found | packed | {"csv.xz": lzma.compress(as_text(good()))}


def _cells(rows: Rows, rng: random.Random) -> str:
    for _ in range(rng.choice([1, 1, 1, 1, 3, 12])):
        row, column, cell = rng.randrange(1, len(rows)), rng.randrange(6), rng.choice(CELLS)
        rows[row][column] = cell
    return f"cell {rows[0][column]} {cell[:20]!r}"


def _column(rows: Rows, rng: random.Random) -> str:
    column, cell = rng.randrange(6), rng.choice(CELLS)
    for row in rows[1:]:
        row[column] = cell
    return f"column {rows[0][column]} {cell[:20]!r}"


def _scaled(rows: Rows, rng: random.Random) -> str:
    column, factor = rng.randrange(2, 6), 10 ** rng.uniform(-15, 15) * rng.choice([1, 1, 1, -1])
    for row in rows[1:]:
        row[column] = repr(float(row[column]) * factor)
    if rng.random() < 0.5 and column != 4:
        for row in rows:
            del row[4]
    return f"scaled {column} {factor:.3g}"


def _more(rows: Rows, rng: random.Random) -> str:
    name, at = rng.choice(OTHERS), rng.randrange(7)
    cells = [rng.choice([*CELLS, "1", "0.25", "7"])] * 40
    if rng.random() < 0.5:
        cells = [rng.choice([*CELLS, "1", "0.25", "100"]) for _ in cells]
    rows[0].insert(at, name)
    for row, cell in zip(rows[1:], cells, strict=True):
        row.insert(at, cell)
    return f"column more {name[:20]!r}"


def _names(rows: Rows, rng: random.Random) -> str:
    rows[0][rng.randrange(6)] = rng.choice([*OTHERS, *NAMES])
    return f"header {rows[0]}"[:80]


def _fewer(rows: Rows, rng: random.Random) -> str:
    out = sorted(rng.sample(range(6), rng.randrange(1, 5)), reverse=True)
    for row in rows:
        for column in out:
            del row[column]
    return f"without columns {out}"


def _rows(rows: Rows, rng: random.Random) -> str:
    how = rng.choice(["repeat", "header again", "none", "few", "blank", "ragged", "ray", "constant", "many"])
    at = rng.randrange(1, len(rows))
    if how in ("repeat", "header again"):
        rows.insert(at, list(rows[0 if how == "header again" else at]))
    elif how in ("none", "few"):
        del rows[1 if how == "none" else rng.randrange(2, 12) :]
    elif how == "blank":
        rows.insert(at, [""] * 6)
    elif how == "ragged":
        rows[at] = rows[at][: rng.randrange(6)] + ["x"] * rng.randrange(9)
    elif how == "many":
        rows[1:] = [[f"x{i}", *row[1:5], f"{float(row[5]) + i * 1e-7:.7f}"] for i, row in enumerate(rows[1:] * 20)]
    else:
        column, value = rng.choice([(2, "1e9"), (3, "1e10"), (5, "3.0")])
        for row in rows[1:]:
            row[column] = value if how == "constant" else row[column]
            row[3] = row[3] if how == "constant" else repr(20 * float(row[2]))
            row[4] = repr(6 * float(row[2]) * float(row[3]))
    return f"rows: {how}"


def _hash(rows: Rows, rng: random.Random) -> str:
    """A first cell that starts like a comment."""
    if rng.random() < 0.5:  # the family comes first
        for row in rows:
            row.insert(0, row.pop(1))
    cell = rng.choice(sorted({row[0] for row in rows[1:]}))
    for row in rows[1:]:
        row[0] = f"#{cell}" if row[0] == cell else row[0]
    return f"first cell #{cell}"


def _wide(rows: Rows, rng: random.Random) -> str:
    more = rng.choice([500, 1994, 1995, 100_000])
    for at, row in enumerate(rows[: 1 if more > 1994 else None]):  # the header alone says that there are too many
        row.extend(f"c{i}" if at == 0 else "1" for i in range(more))
    return f"columns: {more} more"


_CHANGES = (_cells, _cells, _cells, _column, _scaled, _more, _more, _names, _fewer, _rows, _hash, _wide)


def _odd_json(rng: random.Random) -> tuple[str, bytes]:
    """Runs as JSON of which one has a truth value, a name twice, or a name that its nested names make too."""
    runs = pd.read_csv(io.BytesIO(as_text(good()))).to_dict("records")
    at, name, how = rng.randrange(len(runs)), rng.choice(["params", "tokens", "loss"]), rng.randrange(3)
    if how == 0:
        runs[at][name] = True
    lines = [json.dumps(run) for run in runs]
    again = f', "{name}": 3}}' if how == 1 else ', "a": {"b": 1}, "a.b": 2}'
    lines[at] = lines[at][:-1] + again if how else lines[at]
    label = ("truth value", "name twice", "nested name twice")[how]
    return label, ("\n".join(lines) if rng.random() < 0.5 else f"[{', '.join(lines)}]").encode()


def _far_cell(rng: random.Random) -> bytes:
    """An Excel file with one cell far from the runs."""
    book = openpyxl.load_workbook(io.BytesIO(other_formats()["xlsx"]))
    book.active.cell(rng.choice([50, 5000, 1 << 20]), rng.choice([20, 3000, 1 << 14]), "x")
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def make(rng: random.Random, folder: Path) -> Case:
    """A malformed CSV, loaded, turned into a design, and written back."""
    rows, must_fail = good(), False
    path, way = folder / "case.csv", rng.random()
    if way < 0.15:
        label, content = changed_bytes(as_text(rows), rng)
    elif way < 0.3:
        name = rng.choice(sorted(other_formats()))
        label, content = changed_bytes(other_formats()[name], rng)
        label, path = f"{name}: {label}", folder / f"case.{name}"
    elif way < 0.36:
        must_fail, path = True, folder / "case.json"
        label, content = _odd_json(rng)
    elif way < 0.37:
        must_fail, path = True, folder / "case.xlsx"
        label, content = "far cell", _far_cell(rng)
    else:
        label = rng.choice(_CHANGES)(rows, rng)
        content = as_text(rows)
        must_fail = label.startswith(("cell params", "cell tokens", "cell loss", "cell flops")) and any(
            cell in MUST_FAIL for row in rows[1:] for cell in row[2:6]
        )
        must_fail |= label.startswith(("first cell", "columns: 1995", "columns: 100000"))
    path.write_bytes(content)
    spec = rng.choice(SPECS)
    return Case(label, lambda: use(path, spec, must_fail))


def use(path: Path, spec: str, must_fail: bool) -> None:
    """Load a table, and judge what was read."""
    runs = bs.load_runs(path)
    if must_fail:
        raise Shortfall("accepted a table in which a cell is no number, or is lost")
    for name in {*AMOUNTS, "loss"} & set(runs.frame):
        if not (np.isfinite(runs[name]).all() and (runs[name] > 0).all()):
            raise Shortfall(f"{name} that are not finite and positive")
    if not all(text.isprintable() for text in repr(runs).splitlines()):
        raise Shortfall("control characters in its text")
    again = path.with_name("again.csv")
    runs.frame.to_csv(again, index=False)
    written = bs.load_runs(again, rows_by=runs.rows_by)
    for name in {*AMOUNTS, "loss"} & set(runs.frame):
        if not np.array_equal(written[name], runs[name]):
            raise Shortfall(f"written back, {name} differ")
    if any("\0" in str(cell) for cell in runs.frame.to_numpy().ravel()):
        raise Shortfall("a text that no saved fit can hold")
    try:
        model = bs.load_spec(spec)
        design(model, conformed(model, runs))
    except BayescaleError:
        pass  # a law that these runs cannot identify
