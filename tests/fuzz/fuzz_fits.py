"""Malformed saved fits: bytes, what a file says of itself, arrays, links and formats.

Half of the files have a right seal, as if somebody had made them with intent: the seal must not be the only guard.
"""

from __future__ import annotations

import dataclasses
import json
import math
import random
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from harness import Case, Shortfall, changed_bytes, changed_values, command, finite

import bayescale as bs
from bayescale.inference.container import sealed

Change = Callable[[h5py.File, random.Random], str]
VALUES: list[Any] = [
    None,
    0,
    -1,
    1,
    2,
    99,
    1.5,
    "x",
    "",
    [],
    {},
    [1],
    ["A"],
    ["A", "A"],
    {"a": 1},
    True,
    1e308,
    "NaN",
    [[1]],
    {"params": "x", "tokens": 1, "loss": 1},
    {"params": -1.0, "tokens": 1e10, "loss": 3.0},
    math.nan,
    math.inf,
    10**400,
    "\x1b[31m",
    "<b>",
    "a" * 3000,
    {"kind": "Normal", "median": 1e300, "scale": 1},
]
TEXTS = [
    "",
    "{",
    "null",
    "[]",
    "1",
    '"x"',
    "{}",
    "NaN",
    "[" * 100_000,
    '{"schema": 1}',
    '{"schema": 2, "members": []}',
    '{"schema": 1e400}',
    b"\xff\xfe",
    np.array([1, 2, 3]),
    7,
    '{"schema": 2, "members": "additive"}',
    '{"schema": ' + "9" * 5000 + "}",
    '{"schema": -1}',
    '{"schema": true}',
]
FORECAST = ("--params", "7B", "--tokens", "1T", "--json")


@cache
def good(folder: Path) -> dict[str, bytes]:
    """A small fit and an average of two, as bytes; made once a process, from one fit kept in the folder."""
    kept = folder.parent / "good-fit.nc"
    if not kept.exists():
        bs.fit("hoffmann2022", "additive", seed=0, progress=False).save(kept)
    full = bs.load_fit(kept)
    fit = dataclasses.replace(full, tree=full.tree.isel(draw=slice(100), run=slice(None)))
    found = {}
    for name, thing in (("fit", fit), ("average", bs.average({"one": fit, "two": fit}, {"one": 0.6, "two": 0.4}))):
        found[name] = thing.save(folder / f"{name}.nc").read_bytes()
    return found


def _meta(file: h5py.File, rng: random.Random) -> str:
    at = rng.choice([file, *(file[name] for name in file if "bayescale" in file[name].attrs)])
    if rng.random() < 0.2:
        text = rng.choice(TEXTS)
        at.attrs["bayescale"] = text
        return f"meta is {str(text)[:20]!r}"
    meta = json.loads(at.attrs["bayescale"])
    label = changed_values(meta, VALUES, rng)
    at.attrs["bayescale"] = json.dumps(meta)
    return f"meta {label}"


ARRAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "NaN": lambda x: x * np.nan,
    "some NaN": lambda x: np.where(np.arange(x.size).reshape(x.shape) % 7 == 3, np.nan, x),
    "infinite": lambda x: x * np.inf,
    "negative": lambda x: -1.0 * x,
    "huge": lambda x: x * 1e300,
    "large": lambda x: x * 1e100,
    "tiny": lambda x: x * 1e-300,
    "zero": lambda x: x * 0.0,
    "constant": lambda x: x * 0.0 + 0.3,
    "integers": lambda x: (x * 100).astype("i8"),
    "half": lambda x: x.astype("f2"),
    "single": lambda x: x.astype("f4"),
    "complex": lambda x: x.astype("c16"),
    "boolean": lambda x: x > 0,
    "big-endian": lambda x: x.astype(">f8"),
    "transposed": lambda x: np.moveaxis(x, 0, -1),
    "more dims": lambda x: x[..., None],
    "fewer dims": lambda x: x[0],
    "one number": lambda x: np.asarray(x.ravel()[0]),
    "empty": lambda x: x[..., :0],
    "short": lambda x: x[..., : x.shape[-1] // 2],
    "long": lambda x: np.concatenate([x, x], axis=-1),
    "reversed": lambda x: x[::-1],
    "shifted": lambda x: x + 7,
    "fractions": lambda x: x + 0.5,
}


def _replaced(file: h5py.File, path: str, data: Any, **how: Any) -> None:
    old = file[path]
    scales = [dim[0].name if len(dim) else None for dim in old.dims]
    attrs = {key: value for key, value in old.attrs.items() if key == "dtype"}
    del file[path]
    made = file.create_dataset(path, data=data, **how)
    made.attrs.update(attrs)
    for axis, scale in enumerate(scales[: made.ndim]):
        if scale and file[scale].shape[0] == made.shape[axis]:
            made.dims[axis].attach_scale(file[scale])


def _paths(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, thing: found.append(name) if isinstance(thing, h5py.Dataset) and thing.ndim else None)
    return found


def _array(file: h5py.File, rng: random.Random) -> str:
    path = rng.choice(_paths(file))
    values = file[path][...]
    if values.dtype.kind == "O" or rng.random() < 0.1:
        values = rng.choice([np.full(values.shape, "x", object), np.full(values.shape, "", object), values[:1]])
        _replaced(file, path, values, dtype=h5py.string_dtype())
        return f"{path}: text"
    how = rng.choice(list(ARRAYS))
    with np.errstate(all="ignore"):
        _replaced(file, path, ARRAYS[how](values))
    return f"{path}: {how}"


def _drop(file: h5py.File, rng: random.Random) -> str:
    path = rng.choice([*_paths(file), *file])
    del file[path]
    return f"without {path}"


def _attribute(file: h5py.File, rng: random.Random) -> str:
    path, odd = (
        rng.choice(_paths(file)),
        rng.choice(
            [
                ("scale_factor", 1e9),
                ("add_offset", 5.0),
                ("_FillValue", 0.0),
                ("missing_value", "x"),
                ("dtype", "bool"),
                ("units", "days since 2000-01-01"),
                ("units", "days since never"),
                ("scale_factor", "x"),
                ("_Unsigned", "true"),
                ("coordinates", "nowhere 1 2"),
                ("calendar", "julian2"),
                ("compress", "run"),
                ("_Encoding", "x"),
            ]
        ),
    )
    file[path].attrs[odd[0]] = odd[1]
    return f"{path}: attribute {odd}"


def _link(file: h5py.File, rng: random.Random) -> str:
    how, group = (
        rng.choice(
            ["soft", "external", "cycle", "root", "deep", "many", "bomb", "raw", "odd", "twice", "virtual", "filter"]
        ),
        rng.choice(list(file)),
    )
    at = file[group]
    if how in ("soft", "external"):
        at["x"] = h5py.SoftLink("/nowhere") if how == "soft" else h5py.ExternalLink("/etc/passwd", "/x")
    elif how in ("cycle", "root"):
        at["loop"] = at if how == "cycle" else file["/"]
    elif how == "twice":
        at["again"] = at[next(iter(at))]
    elif how in ("deep", "many"):
        for i in range(300):
            at = at.create_group(f"g{i}") if how == "deep" else (at.create_group(f"g{i}"), at)[1]
    elif how == "bomb":
        shape = (4, 10 ** rng.choice([9, 12, 15]))
        at.create_dataset("x", shape=shape, chunks=(1, 1 << 16), dtype="f8", compression="gzip", fillvalue=0.5)
    elif how == "raw":
        at.create_dataset("x", shape=(100,), dtype="f8", external=[("/etc/passwd", 0, 800)])
    elif how == "virtual":
        layout = h5py.VirtualLayout(shape=(100,), dtype="f8")
        layout[:] = h5py.VirtualSource("/etc/passwd", "x", shape=(100,))
        at.create_virtual_dataset("x", layout)
    elif how == "filter":
        at.create_dataset("x", data=np.zeros(1000), chunks=(10,), compression="lzf")
    else:
        data: Any = rng.choice(
            [np.zeros(3, [("a", "f8"), ("b", "S3")]), np.void(b"abc"), h5py.Empty("f8"), np.zeros(3, "S4")]
        )
        at.create_dataset("x", data=data)
    return f"{group}: {how}"


_NO_FILE = (ValueError, TypeError, OSError, RuntimeError, KeyError, IndexError)
"""What h5py raises where HDF5 can hold no such file: another change is made then."""
_CHANGES: tuple[Change, ...] = (_meta, _meta, _meta, _array, _array, _array, _array, _drop, _attribute, _link)


def make(rng: random.Random, folder: Path) -> Case:
    """A malformed saved fit, from which a forecast or an allocation is asked."""
    name = rng.choice(["fit", "fit", "fit", "average"])
    content, path = good(folder)[name], folder / "case.nc"
    if rng.random() < 0.25:
        label, content = changed_bytes(content, rng)
        path.write_bytes(content)
    else:
        label = ""
        while not label:
            path.write_bytes(content)
            with suppress(*_NO_FILE), h5py.File(path, "r+") as file:
                label = rng.choice(_CHANGES)(file, rng)
        if rng.random() < 0.7:
            path.write_bytes(sealed(path.read_bytes()))
            label += ", sealed"
    verb = rng.choice(["forecast"] * 12 + ["allocation"] * 6 + ["check"])
    return Case(f"{name}: {label}; {verb}", lambda: use(path, verb))


def use(path: Path, verb: str) -> None:
    """Ask a question of a fit, and judge the answer."""
    if verb == "check":
        command("check", path, "--json")
        return
    asked = (
        ("forecast", path, *FORECAST)
        if verb == "forecast"
        else ("decide", "allocation", path, "--flops", "1e24", "--json")
    )
    result = command(*asked)
    if result.exit_code == 2:
        bs.load_fit(path)  # raises the same error, which counts as a refusal
        return
    said = json.loads(result.stdout)
    rows = said if isinstance(said, list) else [said]
    rows = [{k: v for k, v in row.items() if k not in ("covered_90", "indifference_params")} for row in rows]
    if not finite(rows) and result.exit_code == 0:
        raise Shortfall("NaN in an answer, and success")
