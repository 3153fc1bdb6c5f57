"""Data frames of odd kinds: nulls, categories, decimals, dates, complex numbers, several levels, other libraries."""

from __future__ import annotations

import datetime
import decimal
import fractions
import io
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fuzz_tables import as_text, good
from harness import Case, Shortfall

import bayescale as bs
from bayescale.core.errors import BayescaleError
from bayescale.modelling.design import design

Change = Callable[[pd.DataFrame, str, random.Random], Any]


class _Odd:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class _OddNumber:
    def __float__(self) -> float:
        raise RuntimeError("no number")


def _union(frame: pd.DataFrame) -> Any:
    import pyarrow as pa

    numbers = pa.array(range(len(frame)))
    return pa.table({"x": pa.UnionArray.from_sparse(pa.array([0] * len(frame), pa.int8()), [numbers])})


def _no_text(frame: pd.DataFrame, name: str) -> Any:
    import pyarrow as pa

    sizes = pa.py_buffer(np.arange(len(frame) + 1, dtype="i4"))
    odd = pa.StringArray.from_buffers(len(frame), sizes, pa.py_buffer(b"\xff" * len(frame)))
    return pa.table({**{column: list(frame[column]) for column in frame}, name: odd})


def _cast(kind: Any) -> Change:
    return lambda frame, name, rng: frame.assign(**{name: pd.array(list(frame[name]), dtype=kind)})


def _one(value: Any) -> Change:
    def change(frame: pd.DataFrame, name: str, rng: random.Random) -> pd.DataFrame:
        cells = list(frame[name])
        cells[rng.randrange(len(cells))] = value
        return frame.assign(**{name: pd.Series(cells, dtype=object)})

    return change


def _each(function: Callable[[Any], Any]) -> Change:
    return lambda frame, name, rng: frame.assign(**{name: pd.Series([function(x) for x in frame[name]], dtype=object)})


def _arrow(frame: pd.DataFrame, name: str, rng: random.Random) -> Any:
    import pyarrow as pa

    return pa.table(frame)


CHANGES: dict[str, Change] = {
    **{
        f"as {kind}": _cast(kind)
        for kind in ("Float64", "float32", "float16", "string", "object", "category", "complex128")
    },
    **{
        f"one {type(value).__name__} {str(value)[:12]!r}": _one(value)
        for value in (
            None,
            pd.NA,
            pd.NaT,
            np.nan,
            np.inf,
            10**400,
            -(10**400),
            1j,
            True,
            b"7e9",
            b"\xff",
            [1],
            {"a": 1},
            (1, 2),
            {1},
            np.array([1, 2]),
            np.float64("nan"),
            decimal.Decimal("NaN"),
            decimal.Decimal("1e9999"),
            decimal.Decimal("sNaN"),
            fractions.Fraction(1, 3),
            fractions.Fraction(10**400),
            datetime.date(2020, 1, 1),
            pd.Timestamp("2020-01-01"),
            pd.Timedelta("1D"),
            pd.Interval(0, 1),
            pd.Period("2020"),
            np.datetime64("2020"),
            range(3),
            int,
            len,
            "\ud800",
            "1" * 5000,
            "\x00",
            "a\x00b",
            np.str_("7B"),
            np.bool_(False),
            memoryview(b"x"),
        )
    },
    "decimals": _each(lambda x: decimal.Decimal(str(x)) if isinstance(x, float) else x),
    "fractions": _each(lambda x: fractions.Fraction(x) if isinstance(x, float) else x),
    "dates": _each(lambda x: pd.Timestamp("2020-01-01")),
    "odd objects": _each(lambda x: _Odd()),
    "odd numbers": _each(lambda x: _OddNumber()),
    "odd name": lambda f, n, r: f.rename(columns={n: _Odd()}),
    "levels of one name": lambda f, n, r: f.set_index([n, n], drop=True),
    "arrow union": lambda f, n, r: _union(f),
    "arrow bytes": lambda f, n, r: _no_text(f, n),
    "truth values": _each(lambda x: True),
    "bytes": _each(lambda x: str(x).encode()),
    "several levels": lambda f, n, r: f.set_axis(pd.MultiIndex.from_product([["a"], f.columns]), axis=1),
    "column twice": lambda f, n, r: pd.concat([f, f[[n]]], axis=1),
    "numbers as names": lambda f, n, r: f.rename(columns={n: 7}),
    "None as a name": lambda f, n, r: f.rename(columns={n: None}),
    "tuple as a name": lambda f, n, r: f.rename(columns={n: (1, 2)}),
    "index of text": lambda f, n, r: f.set_axis([f"i{i}" for i in range(len(f))]),
    "index twice": lambda f, n, r: f.set_axis([0] * len(f)),
    "named index": lambda f, n, r: f.set_index(n),
    "index of dates": lambda f, n, r: f.set_axis(pd.date_range("2020", periods=len(f))),
    "no rows": lambda f, n, r: f.iloc[:0],
    "no columns": lambda f, n, r: f[[]],
    "sparse": lambda f, n, r: f.assign(**{n: pd.arrays.SparseArray(list(f[n]))}),
    "ordered categories": lambda f, n, r: f.assign(**{n: pd.Categorical(f[n], ordered=True)}),
    "series": lambda f, n, r: f[n],
    "array": lambda f, n, r: f.to_numpy(),
    "records": lambda f, n, r: f.to_records(),
    "dict": lambda f, n, r: f.to_dict("list"),
    "list": lambda f, n, r: f.to_dict("records"),
    "None": lambda f, n, r: None,
    "number": lambda f, n, r: 7,
    "file": lambda f, n, r: io.StringIO("params,tokens,loss"),
    "arrow": _arrow,
    "small integers": lambda f, n, r: f.assign(**{n: np.arange(len(f), dtype=r.choice(["i1", "u1", "u8"]))}),
    "large integers": lambda f, n, r: f.assign(**{n: pd.Series([2**63 + i for i in range(len(f))], dtype="UInt64")}),
    "big-endian": lambda f, n, r: f.assign(**{n: pd.to_numeric(f[n], errors="coerce").to_numpy().astype(">f8")}),
    "read-only": lambda f, n, r: f,
}


_TRUTHS = [label for label in CHANGES if label.startswith("one bool")] + ["truth values"]


def make(rng: random.Random, folder: Path) -> Case:
    """A data frame of an odd kind, loaded and turned into a design."""
    frame = pd.read_csv(io.BytesIO(as_text(good())))
    while True:
        label, name = rng.choice(list(CHANGES)), rng.choice(list(frame.columns))
        try:
            source = CHANGES[label](frame, name, rng)
            break
        except (TypeError, ValueError):  # pandas has no such frame: another one
            continue
    must_fail = label in _TRUTHS and name not in ("run_id", "family")
    return Case(f"{name}: {label}", lambda: use(source, must_fail))


def use(source: Any, must_fail: bool = False) -> None:
    """Load a data frame, and judge what was read."""
    runs = bs.load_runs(source)
    if must_fail:
        raise Shortfall("accepted a truth value as a number")
    for name in {"params", "tokens", "flops", "loss"} & set(runs.frame):
        values = runs[name]
        if values.dtype.kind != "f" or not (np.isfinite(values).all() and (values > 0).all()):
            raise Shortfall(f"{name} that are not finite and positive")
    repr(runs), runs.digest, runs.families
    with suppress(BayescaleError):  # a law that these runs cannot identify
        design(bs.load_spec("additive"), runs)
