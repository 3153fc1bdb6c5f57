"""Malformed specs: values, keys and bytes of the shipped specs."""

from __future__ import annotations

import copy
import datetime
import json
import math
import random
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

from fuzz_tables import as_text, good
from harness import Case, Shortfall, changed_bytes, changed_values

import bayescale as bs
from bayescale.core import shipped
from bayescale.core.errors import BayescaleError
from bayescale.modelling.design import conformed, design
from bayescale.modelling.spec_io import write_spec

VALUES: list[Any] = [
    -1,
    0,
    1,
    0.0,
    -0.0,
    math.nan,
    math.inf,
    -math.inf,
    1e308,
    1e-320,
    5e-324,
    10**400,
    -(10**400),
    10**4200,
    True,
    False,
    "",
    " ",
    "x",
    "additive",
    "none",
    "partial",
    [],
    {},
    [[]],
    [1],
    ["params"],
    ["params", "params"],
    {"a": 1},
    {"": {}},
    datetime.date(2020, 1, 1),
    datetime.datetime(2020, 1, 1),
    datetime.time(1),
    "\x00",
    "\x1b[31m",
    "<script>",
    '"',
    "\n",
    'a"b',
    "\\",
    "=cmd",
    "../../etc/passwd",
    "os:system",
    "package.module:function",
    1e300,
    1e-300,
    "é",
    "😀",
    "\u202e",
    "a" * 5000,
    {"kind": "Normal", "median": 0, "scale": 1},
    {"kind": "LogNormal", "median": 1e300, "scale": 1e300},
    {"kind": "JohnsonSU", "median": 0, "scale": 1, "tail": 1e-300},
    {"kind": "__class__"},
    {"kind": ["Normal"]},
    {"slopes": {}, "covariance": []},
    {"slopes": {"params": math.nan}, "covariance": [[1]]},
]
KEYS = [
    "title",
    "law",
    "inputs",
    "resources",
    "penalties",
    "anchor",
    "discrepancy",
    "reference",
    "learned",
    "covariates",
    "responses",
    "pooling",
    "parameters",
    "model",
    "benchmarks",
    "fields",
    "range",
    "name",
    "digest",
    "__class__",
]


def written(value: Any) -> str:
    """Plain values as TOML, everything on one line, so that nothing is refused by a writer."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {written(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value)
    return value.isoformat() if hasattr(value, "isoformat") else repr(value)


def toml(content: dict[str, Any]) -> bytes:
    """Plain values as a TOML file."""
    return "".join(f"{json.dumps(key)} = {written(value)}\n" for key, value in content.items()).encode()


def _deep(rng: random.Random) -> bytes:
    depth = rng.choice([7, 40, 300, 2000, 30_000])
    return rng.choice(
        [
            b'law = "additive"\ntitle = ' + b"[" * depth + b"]" * depth,
            b"a" + b".a" * depth + b" = 1\n",
            b"[" + b"a." * depth + b"a]\n",
            b"x = " + b"{a = " * depth + b"1" + b"}" * depth,
            b'law = "additive"\n[parameters]\n' + b"".join(b"p%d = {spread = 0.1}\n" % i for i in range(depth)),
            b"anchor = {params = " + b"9" * depth + b"}\n",
            b'title = "' + b"x" * depth * 100 + b'"\nlaw = "additive"\n',
        ]
    )


def make(rng: random.Random, folder: Path) -> Case:
    """A malformed spec, loaded, written back, and applied to runs."""
    source = rng.choice(sorted(shipped.folder("models").glob("*.toml")))
    way = rng.random()
    if way < 0.05:
        label, content = "deep or long", _deep(rng)
    elif way < 0.4:
        label, content = changed_bytes(source.read_bytes(), rng)
    else:
        values = tomllib.loads(source.read_text(encoding="utf-8"))
        if rng.random() < 0.2:
            values[rng.choice(KEYS)] = copy.deepcopy(rng.choice(VALUES))
        label = changed_values(values, VALUES, rng)
        content = toml(values)
    path = folder / "case.toml"
    path.write_bytes(content)
    runs = folder / "runs.csv"
    runs.write_bytes(as_text(good()))
    return Case(f"{source.stem}: {label}", lambda: use(path, runs))


def use(path: Path, runs: Path) -> None:
    """Load a spec, and judge whether it is written back as it is."""
    spec = bs.load_spec(path)
    again = bs.load_spec(write_spec(spec, path.with_name("again.toml")))
    if (again.digest, again.title) != (spec.digest, spec.title):
        raise Shortfall("written back, it is another spec")
    repr(spec), hash(spec)
    with suppress(BayescaleError):  # its columns are not in this table
        design(spec, conformed(spec, bs.load_runs(runs)))
