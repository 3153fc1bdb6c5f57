"""The same fits on a CPU and on an accelerator; writes a table.

    python benchmarks/devices.py

It takes about eight minutes. Times exclude compilation, except `first_s`, the time of the first call.
Sizes on a device stop at the first whose call takes ten seconds.
"""

from __future__ import annotations

import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from growth import simulated

import bayescale as bs

HERE = Path(__file__).parent
RUNS = (1_000, 10_000, 100_000, 1_000_000)
FAMILIES = (10, 50, 200)
TABLES = (64, 256, 1024)
_LONG_S, _ONCE_S = 10, 60
_WHAT = {
    "runs": "runs of one family",
    "families": "families of 20 runs, partially pooled",
    "tables": "tables of 192 runs in a batch",
}


def splits(count: int) -> dict[str, bs.Runs]:
    """Return random splits of one family's 240 runs."""
    runs, random = bs.load_runs("hoffmann2022").where(exclusion=""), np.random.default_rng(0)
    return {str(i): runs.take(np.sort(random.permutation(len(runs))[: len(runs) * 4 // 5])) for i in range(count)}


def one(runs: bs.Runs, device: str) -> dict[str, Any]:
    """Fit one table; return the seconds of sampling, the smallest bulk ESS and the verdict."""
    fit = bs.fit(runs, "additive", seed=0, device=device, progress=False)
    took = fit.meta["seconds"]
    return {"ess": fit.summary["ess_bulk"].min(), "sampling_s": took["sampling"], "verdict": fit.verdict}


def many(tables: dict[str, bs.Runs], device: str) -> dict[str, Any]:
    """Fit a batch; return the smallest bulk ESS of any fit, and the verdict."""
    batch = bs.fit_many(tables, "additive", device=device, progress=False)
    least = min(fit.summary["ess_bulk"].min() for fit in batch.fits.values())
    return {"ess": least, "verdict": "converged" if not batch.problems else f"{len(batch.problems)} not converged"}


def growth(
    what: str, sizes: tuple[int, ...], make: Callable[[int], Any], run: Callable[[Any, str], dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield seconds of the first and the second call, by size and device."""
    for device in dict.fromkeys((jax.default_backend(), "cpu")):
        for size in sizes:
            data = make(size)
            seconds = []
            for _ in range(2):
                began = time.perf_counter()
                found = run(data, device)
                seconds.append(time.perf_counter() - began)
                if seconds[0] > _ONCE_S:  # then compilation is a small part
                    break
            yield {"what": what, "size": size, "device": device, "first_s": seconds[0], "s": seconds[-1]} | found
            if seconds[-1] > _LONG_S:
                break


def words(table: pd.DataFrame) -> str:
    """Return the table as Markdown, with the machine and the versions."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("bayescale", "numpyro", "jax"))
    names = ", ".join(dict.fromkeys(device.device_kind for device in jax.devices()))
    lines = [
        f"{names}; {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; {versions}.",
        "Law `additive`, float64, 4 × 1000 draws; on the CPU, two chains or tables run in parallel. Seconds are of one",
        "call: the first, which compiles, and the next. ESS: smallest bulk ESS of any parameter of any fit.",
        "",
        "| what | size | device | first, s | next, s | sampling, s | ESS | |",
        "|---|---:|---|---:|---:|---:|---:|---|",
    ]
    for row in table.to_dict("records"):
        figures = [(row[name], form) for name, form in (("first_s", ".1f"), ("s", ".1f"), ("sampling_s", ".2f"))]
        cells = ["–" if value != value else format(value, form) for value, form in [*figures, (row["ess"], ",.0f")]]
        lines.append(
            f"| {_WHAT[row['what']]} | {row['size']:,} | {row['device']} | {' | '.join(cells)} | {row['verdict']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write ``devices.csv`` and ``devices.md`` next to this file; they are complete after each call."""
    warnings.simplefilter("ignore", bs.ConvergenceWarning)  # each verdict is in the table
    rows: list[dict[str, Any]] = []
    for what, sizes, make, run in (
        ("runs", RUNS, lambda size: simulated(1, size), one),
        ("tables", TABLES, splits, many),
        ("families", FAMILIES, lambda size: simulated(size, 20), one),
    ):
        for row in growth(what, sizes, make, run):
            print(row, file=sys.stderr, flush=True)
            rows.append(row)
            table = pd.DataFrame(rows)
            table.to_csv(HERE / "devices.csv", index=False, float_format="%.4g")
            (HERE / "devices.md").write_text(words(table), encoding="utf-8")
    print(words(table))


if __name__ == "__main__":
    main()
