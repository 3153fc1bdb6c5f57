"""Every engine on the same runs, one after another, each in a separate process; writes a table and a figure.

    make bench

Run it on a quiet machine. It takes about ten minutes on two cores, most of it for other engines on the pooled data.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

HERE = Path(__file__).parent
LIMIT_S = 900
PACKAGES = ("bayescale", "numpyro", "jax", "pymc", "nutpie", "simple-scaling-laws")
PLAN = {
    "family": ("bayescale", "nutpie", "numpyro", "numpyro-raw", "huber", "simple-scaling-laws"),
    "pool": ("bayescale", "nutpie"),
}
DATA = {
    "family": "one family, 240 runs, 7 parameters",
    "pool": "11 families, 860 runs, 91 parameters, partial pooling",
}


def measure(engine: str, data: str, cache: str) -> dict[str, float | str]:
    """Return the wall seconds of a process and the figures that it prints; a process past the limit is stopped."""
    row: dict[str, float | str] = {"data": data, "engine": engine}
    command = [sys.executable, "-W", "ignore", str(HERE / "engines.py"), engine, data]
    started = time.perf_counter()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT_S, env=os.environ | {"BAYESCALE_CACHE": cache}
        )
    except subprocess.TimeoutExpired:
        return row | {"process_s": float(LIMIT_S), "note": f"stopped after {LIMIT_S} s"}
    if done.returncode:
        raise SystemExit(f"{engine} on {data} failed:\n{done.stderr[-2000:]}")
    seconds = time.perf_counter() - started
    said = json.loads(done.stdout.strip().splitlines()[-1])
    said["ess_per_s"] = said["ess"] / said["sampling_s"] if "ess" in said else float("nan")
    return row | {"process_s": seconds} | said


def main() -> None:
    """Measure, print and write ``table.csv``, ``table.md`` and ``ratios.png`` next to this file."""
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for data, engines in PLAN.items():
            for engine in engines:
                passes = ("empty cache", "warm cache") if engine == "bayescale" else ("",)
                for state in passes:
                    rows.append(measure(engine, data, cache) | ({"note": state} if state else {}))
                    print(rows[-1], file=sys.stderr)
    table = pd.DataFrame(rows)
    ours = table[(table["engine"] == "bayescale") & (table["note"] == "warm cache")].set_index("data")["ess_per_s"]
    table["ours_over_it"] = table["data"].map(ours) / table["ess_per_s"]
    table.to_csv(HERE / "table.csv", index=False)
    (HERE / "table.md").write_text(words(table), encoding="utf-8")
    print(words(table))
    draw(table)


def words(table: pd.DataFrame) -> str:
    """Return the table as Markdown, with the machine and the versions."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    lines = [
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; {versions}.",
        "Four chains of 1000 draws; 4000 resamples for `huber` and `simple-scaling-laws`. ESS: smallest bulk ESS of",
        "any latent parameter. Sampling excludes compilation, except for NumPyro, whose `run` compiles at every call.",
        "",
        "| data | engine | process, s | sampling, s | ESS | ESS per s | bayescale's over it | |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for row in table.to_dict("records"):
        figures = [(row["process_s"], ".1f"), (row.get("sampling_s"), ".2f"), (row.get("ess"), ".0f")]
        figures += [(row.get("ess_per_s"), ",.0f"), (row.get("ours_over_it"), ".1f")]
        cells = ["–" if x is None or x != x else format(x, f) for x, f in figures]
        note = row["note"] if isinstance(row["note"], str) else ""
        lines.append(f"| {DATA[row['data']]} | {row['engine']} | {' | '.join(cells)} | {note} |")
    return "\n".join(lines) + "\n"


def draw(table: pd.DataFrame) -> None:
    """Draw bars of ESS per second of sampling, for one family."""
    shown = table[table["ess_per_s"].notna() & (table["data"] == "family") & (table["note"] != "empty cache")]
    shown = shown.sort_values("ess_per_s")
    figure, axes = plt.subplots(figsize=(7, 2.4), layout="constrained")
    colors = ["C0" if e == "bayescale" else "0.6" for e in shown["engine"]]
    bars = axes.barh(shown["engine"], shown["ess_per_s"], color=colors)
    axes.bar_label(bars, [f"{x:,.0f}" for x in shown["ess_per_s"]], padding=3)
    axes.set_xscale("log")
    axes.set_xlim(right=shown["ess_per_s"].max() * 4)
    axes.set_xlabel("smallest bulk ESS per second of sampling")
    axes.set_title("Additive law, 240 runs, 4 × 1000 draws")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(HERE / "ratios.png", dpi=150)


if __name__ == "__main__":
    main()
