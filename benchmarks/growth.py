"""Scaling of the engine with runs, families, and tables in a batch; writes a table and a figure.

    python benchmarks/growth.py

It takes about six minutes on two cores. Times exclude compilation, except where they say otherwise.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import bayescale as bs
from bayescale.inference.potential import flatten, initial
from bayescale.modelling.design import design
from bayescale.modelling.layout import blocked, layout

HERE = Path(__file__).parent
GRADIENT_RUNS = (100, 1_000, 10_000, 100_000, 1_000_000)
FIT_RUNS = (1_000, 10_000, 100_000)
FAMILIES = (2, 10, 50, 200)
TABLES = (1, 4, 16, 64)
MEMORY_RUNS = (1_000, 10_000, 100_000, 1_000_000)
_FEW = 50  # draws: one is enough to measure the memory of a fit
_QUICK_S = 20


def simulated(families: int, runs: int, seed: int = 0) -> bs.Runs:
    """Simulate runs of the additive law; irreducible losses and exponents of families vary around published values."""
    random = np.random.default_rng(seed)
    which = np.repeat(np.arange(families), runs)
    params = 10 ** random.uniform(7, 10, which.size)
    tokens = params * 10 ** random.uniform(0.5, 2.5, which.size)
    floor, alpha, beta = (
        middle * np.exp(0.1 * random.standard_normal(families))[which] for middle in (1.8, 0.34, 0.36)
    )
    loss = floor + 0.7 * (params / 1e8) ** -alpha + 0.5 * (tokens / 1e10) ** -beta
    loss *= np.exp(0.005 * random.standard_t(4, which.size))
    names = np.char.add("family-", which.astype(str))
    return bs.load_runs(pd.DataFrame({"params": params, "tokens": tokens, "loss": loss, "family": names}))


def gradients() -> list[dict]:
    """Measure seconds per value and gradient in a compiled loop, by number of runs."""
    rows, spec = [], bs.load_spec("additive")
    for runs in GRADIENT_RUNS:
        with jax.enable_x64(True):
            points = design(spec, simulated(1, runs))
            points, _ = blocked(points, layout([points]))
            times = max(3, 2_000_000 // runs)

            @jax.jit
            def loop(points, start, times=times):
                flat = flatten(spec, points, initial(points, spec=spec))
                slope = jax.value_and_grad(flat.potential)
                return jax.lax.fori_loop(0, times, lambda _, at: at - 1e-9 * slope(at)[1], start)

            start = jnp.zeros(7)
            loop(points, start).block_until_ready()
            began = time.perf_counter()
            loop(points, start).block_until_ready()
            seconds = (time.perf_counter() - began) / times
        rows.append({"what": "gradient", "size": runs, "seconds": seconds})
    return rows


def fits(what: str, sizes: tuple[int, ...], table) -> list[dict]:
    """Measure seconds of a fit without compilation, its smallest bulk ESS and its verdict, by size."""
    rows = []
    for size in sizes:
        runs = table(size)
        began = time.perf_counter()
        fit = bs.fit(runs, "additive", seed=0, progress=False)
        first = time.perf_counter() - began
        if first < _QUICK_S:  # else compilation is a small part
            fit = bs.fit(runs, "additive", seed=0, progress=False)
        took = fit.meta["seconds"]
        rows.append(
            {"what": what, "size": size, "seconds": took["warm start"] + took["sampling"], "first_s": first}
            | {"ess": fit.summary["ess_bulk"].min(), "verdict": fit.verdict}
            | {"leapfrogs": float(fit.tree["sample_stats"]["n_steps"].mean())}
        )
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def batches() -> list[dict]:
    """Measure wall seconds of a batch of random splits of the 240 runs, relative to the sampling of one fit."""
    runs = bs.load_runs("hoffmann2022")
    random, rows = np.random.default_rng(0), []
    splits = {
        str(i): runs.take(np.sort(random.permutation(len(runs))[: len(runs) * 4 // 5])) for i in range(max(TABLES))
    }
    bs.fit_many({"compile": splits["0"]}, "additive", progress=False)
    bs.fit(runs, "additive", seed=0, progress=False)
    one = np.median([bs.fit(runs, "additive", seed=i, progress=False).meta["seconds"]["sampling"] for i in range(5)])
    for count in TABLES:
        began = time.perf_counter()
        batch = bs.fit_many({k: splits[k] for k in list(splits)[:count]}, "additive", progress=False)
        seconds = time.perf_counter() - began
        verdict = "converged" if not batch.problems else repr(batch)
        rows.append({"what": "batch", "size": count, "seconds": seconds, "over_one": seconds / one, "verdict": verdict})
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def peak(runs: int) -> float:
    """Return the peak resident memory, in MB, of this process after a short fit of simulated runs and its checks."""
    warnings.simplefilter("ignore", bs.ConvergenceWarning)  # so few draws only measure memory
    fit = bs.fit(simulated(1, runs), "additive", seed=0, chains=2, warmup=_FEW, draws=_FEW, progress=False)
    bs.check(fit)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory() -> list[dict]:
    """Measure peak memory by number of runs, with each fit in a separate process."""
    rows = []
    for runs in MEMORY_RUNS:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            rows.append({"what": "memory", "size": runs, "peak_mb": pool.submit(peak, runs).result()})
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def draw(table: pd.DataFrame) -> None:
    """Draw one panel per kind of scaling, with logarithmic axes and a line of proportional growth."""
    panels = {
        "gradient": "runs: one gradient",
        "runs": "runs: one fit",
        "families": "families of 20 runs: one fit",
        "batch": "tables of 196 runs: one batch",
    }
    figure, axes = plt.subplots(1, len(panels), figsize=(12, 3), layout="constrained")
    for ax, (what, label) in zip(axes, panels.items(), strict=True):
        mine = table[table["what"] == what]
        ax.loglog(mine["size"], mine["seconds"], "o-")
        last = mine.iloc[-1]
        ax.loglog(mine["size"], last["seconds"] * mine["size"] / last["size"], ":", color="0.6", label="proportional")
        ax.set_xlabel(label)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("seconds")
    axes[0].legend(frameon=False)
    figure.savefig(HERE / "growth.png", dpi=150)


def main() -> None:
    """Measure and write ``growth.csv`` and ``growth.png`` next to this file."""
    warnings.simplefilter("ignore", bs.ConvergenceWarning)  # each verdict is in the table
    rows = gradients()
    print(rows, file=sys.stderr, flush=True)
    rows += memory()
    rows += batches()
    rows += fits("runs", FIT_RUNS, lambda runs: simulated(1, runs))
    rows += fits("families", FAMILIES, lambda families: simulated(families, 20))
    table = pd.DataFrame(rows)
    table.to_csv(HERE / "growth.csv", index=False, float_format="%.4g")
    print(table.to_string(index=False))
    draw(table)


if __name__ == "__main__":
    main()
