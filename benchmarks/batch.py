"""Batch: what one batch of unlike tables costs, against the same fits one after the other.

    python benchmarks/batch.py

The tables are the eleven open families, of 17 to 240 runs, and 774 simulated runs of Chinchilla's law. Each way is a
process of its own with an empty cache of compiled programs. It writes `benchmarks/batch.csv`: seconds of the processor
and of the clock, and the largest resident memory.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

import bayescale as bs
from bayescale.inference.batch import fit_many

OUT = Path(__file__).with_suffix(".csv")
SAMPLING = {"seed": 0, "chains": 2, "draws": 300, "progress": False}
"""Few draws: the question is the cost, and not the posterior."""


def large(count: int = 774) -> bs.Runs:
    """A table of many runs: Chinchilla's law by Besiroglu et al. 2024, with noise of 0.4%."""
    random = np.random.default_rng(0)
    params, tokens = 10 ** random.uniform(7.5, 10, count), 10 ** random.uniform(9, 11.5, count)
    loss = 1.8172 + 482.01 * params**-0.3478 + 2085.43 * tokens**-0.3658
    loss *= np.exp(0.004 * random.standard_normal(count))
    return bs.load_runs(pd.DataFrame({"family": "large", "params": params, "tokens": tokens, "loss": loss}))


def tables() -> dict[str, bs.Runs]:
    """The tables, by name."""
    pool = bs.load_runs("open-families")
    return {family: pool.where(family=family) for family in pool.families} | {"large": large()}


def processor() -> float:
    """Seconds of the processor that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(way: str) -> dict[str, object]:
    """Fit every table in this process, as one batch or one after the other."""
    warnings.simplefilter("ignore", bs.ConvergenceWarning)  # 300 draws are few
    each, spec = tables(), bs.load_spec("default")
    cpu, began = processor(), time.monotonic()
    if way == "batch":
        fits = fit_many(each, dict.fromkeys(each, spec), **SAMPLING).fits
    else:
        fits = {name: bs.fit(runs, spec, **SAMPLING) for name, runs in each.items()}
    return {
        "way": way, "tables": len(fits), "runs": sum(map(len, each.values())), "largest": max(map(len, each.values())),
        "cpu_s": round(processor() - cpu, 1), "wall_s": round(time.monotonic() - began, 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }  # fmt: skip


def main() -> None:
    """Measure both ways, each in a process of its own."""
    rows = []
    for way in ("batch", "one after the other"):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([sys.executable, __file__, way], env=os.environ | {"BAYESCALE_CACHE": folder},
                                  check=True, stdout=subprocess.PIPE, text=True)  # fmt: skip
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    pd.DataFrame(rows).to_csv(OUT, index=False)


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1]))) if len(sys.argv) > 1 else main()
