"""Time of a fit of each shipped table under the specs that are made for it, each in a process with an empty cache.

    python benchmarks/shipped.py [SPEC | SPEC/RUNS ...]

Run it on a quiet machine. It writes ``shipped.csv`` next to this file; the reference of models shows its rows. If specs
are named, or specs with tables, only their rows are made anew.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

HERE = Path(__file__).parent
FILE = HERE / "shipped.csv"
LIMIT_S, LONG_S = 1200, 30
CURVE = {"family": "BiT/101/3 inet_10"}
POOLED = "eleven families at once"
WHY = {(spec, "open-families"): POOLED for spec in ("default", "additive", "coupled", "drift", "floored", "kaplan")}
WHY |= {
    ("upcycling", "liew2025"): "a ridge of dense_worth, ratio_B and the floor, at whose far end draws diverge",
    ("accuracy", "gadre2024"): "63 to 127 steps a draw: the ceiling, its spread and the over-dispersion are correlated",
    ("direct-accuracy", "gadre2024"): "63 to 127 steps a draw: centres and spreads of the law are correlated",
    ("training-curves", "training-curves"): "213 coordinates; the law is correlated with the errors of curves",
    ("annealing", "training-curves"): "210 coordinates; an exponent is correlated with the errors of curves",
    ("default", "porian2024"): "fifteen families at once",
    ("benchmarks", "gadre2024-benchmarks"): (
        "46 benchmarks; the ceiling that the runs of one of them show is five SDs from its prior's median"
    ),
    ("eci", "obsscaling"): "230 coordinates: each model has an ability",
    ("observational", "obsscaling"): "482 coordinates: each model has an ability and a speciality",
    ("sloth", "obsscaling"): "435 coordinates: each model has an ability and a speciality",
    ("broken", "revisiting"): "the break may lie before most runs or after them, with a curved ridge between",
}
"""Why a fit takes more than thirty seconds or has not converged, as far as it is known."""
PLAN: list[tuple[str, str, dict[str, Any]]] = [
    ("default", "hoffmann2022", {"exclusion": ""}),
    ("additive-unpooled", "hoffmann2022", {"exclusion": ""}),
    ("coupled-unpooled", "hoffmann2022", {"exclusion": ""}),
    ("default", "open-families", {}),
    ("additive", "open-families", {}),
    ("coupled", "open-families", {}),
    ("drift", "open-families", {}),
    ("floored", "open-families", {}),
    ("kaplan", "open-families", {}),
    ("efficiency", "open-families", {}),
    ("default", "porian2024", {}),
    ("kaplan", "porian2024", {"family": "RefinedWeb-kaplan"}),
    ("tied", "gadre2024", {"benchmark": ["hellaswag"]}),
    ("accuracy", "gadre2024", {"benchmark": ["hellaswag"]}),
    ("direct-accuracy", "gadre2024", {"benchmark": ["hellaswag"]}),
    ("benchmarks", "gadre2024-benchmarks", {}),
    ("repetition", "datablations", {"in_published_fit": "true"}),
    ("harm", "datablations", {"in_published_fit": "true"}),
    ("routed-power", "clark2022", {"family": "RL-R"}),
    ("upcycling", "liew2025", {}),
    ("parallel", "parallel", {}),
    ("vocabulary", "vocabulary", {"in_published_fit": "true"}),
    ("mixture-additive", "regmix", {"family": "pile_cc", "params_below": "2e6", "split": "train"}),
    ("mixture-exponential", "mixtures5", {"family": "prose", "params_below": "1e8"}),
    ("mixture-scaled", "mixtures5", {"family": "prose"}),
    ("mixture-joint", "mixtures5", {"family": "prose"}),
    ("training-curves", "training-curves", {"exclusion": "", "thinned": "True", "split": "train"}),
    ("annealing", "training-curves", {"exclusion": "", "thinned": "True", "split": "train"}),
    ("learning-curves", "pile-t5", {"exclusion": ""}),
    ("plateau", "revisiting", CURVE),
    ("bansal", "revisiting", CURVE),
    ("zhai", "revisiting", CURVE),
    ("error-floor", "revisiting", CURVE),
    ("broken", "revisiting", CURVE),
    ("pass-at-k", "monkeys", {}),
    ("value-rl", "value-rl", {}),
    ("observational", "obsscaling", {}),
    ("compute-scaling", "obsscaling", {}),
    ("sloth", "obsscaling", {}),
    ("eci", "obsscaling", {}),
]


def fitted(spec: str, runs: str, conditions: dict[str, Any]) -> dict[str, Any]:
    """Fit once and return what the fit says of itself."""
    import bayescale as bs

    table = bs.load_runs(runs).where(**conditions)
    started = time.perf_counter()
    fit = bs.fit(table, spec, seed=0, progress=False)
    seconds = time.perf_counter() - started
    said = {"rows": len(table), "fit_s": round(seconds, 1), "sampling_s": fit.meta["seconds"].get("sampling")}
    return said | {"converged": fit.converged, "verdict": str(fit.verdict)}


def said_of(conditions: dict[str, Any]) -> str:
    """Return conditions as the command line takes them."""
    return " ".join(f"{name}={value[0] if isinstance(value, list) else value}" for name, value in conditions.items())


def measure(spec: str, runs: str, conditions: dict[str, Any]) -> dict[str, Any]:
    """Return the row of one fit, which a process of its own makes; one past the limit is stopped."""
    row = {"spec": spec, "runs": runs, "where": said_of(conditions), "why": WHY.get((spec, runs), "")}
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-W", "ignore", __file__, "--one", json.dumps([spec, runs, conditions])]
        env = os.environ | {"BAYESCALE_CACHE": cache}
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, env=env)
        except subprocess.TimeoutExpired:
            return row | {"verdict": f"stopped after {LIMIT_S} s"}
    if done.returncode:
        return row | {"verdict": f"failed: {done.stderr.strip().splitlines()[-1]}"}
    row |= json.loads(done.stdout.strip().splitlines()[-1])
    fine = row["converged"] and row["fit_s"] <= LONG_S
    return row | ({} if row["why"] or fine else {"why": "not known: not profiled"})


def main() -> None:
    """Measure the rows of the named specs, or all, and write them."""
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(fitted(*json.loads(sys.argv[2]))))
        return
    named = set(sys.argv[1:])
    kept = pd.read_csv(FILE).to_dict("records") if named and FILE.is_file() else []
    rows = [row for row in kept if not named & {row["spec"], f"{row['spec']}/{row['runs']}"}]
    for spec, runs, conditions in PLAN:
        if not named or named & {spec, f"{spec}/{runs}"}:
            rows.append(measure(spec, runs, conditions))
            print(rows[-1], file=sys.stderr)
            pd.DataFrame(rows).astype({"rows": "Int64"}).to_csv(FILE, index=False)  # a stopped fit has none


if __name__ == "__main__":
    main()
