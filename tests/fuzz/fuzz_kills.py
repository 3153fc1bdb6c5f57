"""Processes that are killed while they save: no file is lost or damaged, and at most one temporary file is left."""

from __future__ import annotations

import os
import random
import signal
import time
from functools import cache
from pathlib import Path

from fuzz_fits import good
from harness import Case, Shortfall

import bayescale as bs
from bayescale.core import toml


def make(rng: random.Random, folder: Path) -> Case:
    """A process that saves a fit or a record again and again, and is killed after a random time."""
    kind, wait = rng.choice(["fit", "record"]), rng.uniform(0.0, 0.15)
    return Case(f"{kind} after {wait:.3f} s", lambda: use(folder, kind, wait))


@cache
def _fit(folder: Path) -> bs.Fit:
    good(folder)
    return bs.load_fit(folder / "fit.nc")


def use(folder: Path, kind: str, wait: float) -> None:
    """Fork, save in the child, kill it, and judge what it has left."""
    here = folder / "saved"
    here.mkdir(exist_ok=True)
    path = here / kind
    fit = _fit(folder)

    def save(number: int) -> None:
        if kind == "fit":
            fit.save(path)
        else:
            toml.write({"number": number, "text": "x" * 200_000}, path)

    save(0)
    if (
        left := {one.name for one in here.iterdir()}
        - {"fit", "record"}
        - {f".{other}.partial" for other in ("fit", "record")}
    ):
        raise Shortfall(f"left behind: {left}")
    if (here / f".{kind}.partial").exists():
        raise Shortfall("the temporary file of a dead process stays after the next save")
    child = os.fork()
    if not child:
        for number in range(1, 10_000):
            save(number)
        os._exit(0)
    time.sleep(wait)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if kind == "fit":
        bs.load_fit(path)
    elif len(toml.load(path)["text"]) != 200_000:
        raise Shortfall("a record was cut")
