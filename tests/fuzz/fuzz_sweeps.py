"""Sweeps whose process is killed, or that two processes make at once: the folder ends with every fit and its draws."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
from harness import Case, Shortfall

import bayescale as bs

_PARTS = 4  # tables of a sweep
_LATEST_S = 9.0  # a process imports for some 3 s, then fits for some 4 s
_CHILD = "import sys, fuzz_sweeps; fuzz_sweeps.sweep(sys.argv[1])"


def make(rng: random.Random, folder: Path) -> Case:
    """A process that is killed after a random time, or two processes on one folder."""
    if rng.random() < 0.1:
        return Case("two processes at once", lambda: use(folder, None))
    wait = rng.uniform(0.0, _LATEST_S)
    return Case(f"killed after {wait:.2f} s", lambda: use(folder, wait))


def sweep(folder: str | Path) -> bs.Batch:
    """Fit a law to four parts of one table, and keep the fits in a folder."""
    runs = bs.load_runs("hoffmann2022").where(exclusion="")
    parts = {f"part {i}": runs.take(np.arange(i, len(runs), _PARTS)) for i in range(_PARTS)}
    return bs.fit_many(parts, "additive", seed=1, chains=2, warmup=300, draws=200, folder=folder, progress=False)


@cache
def _whole(folder: Path) -> bs.Batch:
    """The sweep that nothing interrupts."""
    return sweep(folder / "whole")


def _started(here: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _CHILD, str(here)], cwd=Path(__file__).parent,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # fmt: skip


def use(folder: Path, wait: float | None) -> None:
    """Interrupt a sweep, make it again, and compare it with one that was not interrupted."""
    here = folder / "sweep"
    while True:
        shutil.rmtree(here, ignore_errors=True)
        children = [_started(here) for _ in range(2 if wait is None else 1)]
        if wait is not None:
            time.sleep(wait)
            children[0].send_signal(signal.SIGKILL)
        for child in children:
            said = child.communicate()[1].decode(errors="replace").strip()
            if child.returncode not in (0, -signal.SIGKILL):
                raise Shortfall(f"a process ended with {child.returncode}: {said[-200:]}")
        if wait is None or children[0].returncode == -signal.SIGKILL:
            break
        wait /= 2  # the process had ended before it was killed
    found, whole = sweep(here), _whole(folder)
    names = {path.name for path in here.iterdir()}
    if names != {f"{name}.nc" for name in whole.fits}:
        raise Shortfall(f"the folder holds {', '.join(sorted(names))}")
    for name, fit in whole.fits.items():
        drawn = fit.tree["posterior"].to_dataset()
        for other in (found.fits[name], bs.load_fit(here / f"{name}.nc")):
            if not other.tree["posterior"].to_dataset().equals(drawn):
                raise Shortfall(f"{name} has other draws")
