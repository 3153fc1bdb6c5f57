"""Disks that fill up while something is saved: a typed error, the earlier file kept, and nothing left behind."""

from __future__ import annotations

import os
import random
import resource
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from fuzz_fits import good
from harness import Case, Shortfall

import bayescale as bs
from bayescale.cli.printing import write_csv
from bayescale.core import toml
from bayescale.core.errors import BayescaleError
from bayescale.modelling.spec_io import load_spec, write_spec

KINDS = ("fit", "record", "spec", "csv")


def make(rng: random.Random, folder: Path) -> Case:
    """A save that meets a limit on the size of files, or a disk without room for a new file."""
    kind, room = rng.choice(KINDS), rng.choice([0, 1, rng.randrange(1000), rng.randrange(100_000)])
    return Case(f"{kind} with room for {room} bytes", lambda: use(folder, kind, room))


@cache
def _things(folder: Path) -> tuple[bs.Fit, Any, pd.DataFrame]:
    good(folder)
    return bs.load_fit(folder / "fit.nc"), bs.load_spec("default"), pd.DataFrame({"x": range(30_000)})


def use(folder: Path, kind: str, room: int) -> None:
    """Save in a child with little room, and judge what is left. A signal, such as SIGSEGV, is no answer."""
    here = folder / "full"
    here.mkdir(exist_ok=True)
    path, before = here / kind, b"an earlier file"
    fit, spec, table = _things(folder)
    saves: dict[str, Callable[[], object]] = {
        "fit": lambda: fit.save(path),
        "record": lambda: toml.write({"text": "x" * 200_000}, path),
        "spec": lambda: write_spec(spec, path),
        "csv": lambda: write_csv(table, path),
    }
    reads: dict[str, Callable[[], object]] = {
        "fit": lambda: bs.load_fit(path).meta == fit.meta,
        "record": lambda: len(toml.load(path)["text"]) == 200_000,
        "spec": lambda: load_spec(path).digest == spec.digest,
        "csv": lambda: pd.read_csv(path).equals(table),
    }
    path.write_bytes(before)
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        try:
            saves[kind]()
        except BayescaleError:
            os._exit(2)
        except BaseException:
            os._exit(3)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, 2):
        raise Shortfall(f"{kind}: ends with {status}")
    if status == 2 and path.read_bytes() != before:
        raise Shortfall(f"{kind}: the earlier file is lost")
    if status == 0 and not reads[kind]():
        raise Shortfall(f"{kind}: what was saved is not what is read")
    if left := [one.name for one in here.iterdir() if one.name not in KINDS]:
        raise Shortfall(f"left behind: {left}")
    path.unlink()
