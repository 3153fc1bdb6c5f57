"""Worlds: how much the Bayes action loses in simulated worlds, and how much rival rules lose.

In each world a law is drawn from its prior, some runs of a sweep are drawn from it, and a split of 50 times the compute
of the largest run is chosen: by the posterior, by the law at the posterior mean of its parameters, by a Huber fit, and
by 20 tokens per param. The realised regret is the true loss of a choice above that of the best split. It is also given
in compute: the share by which a budget exceeds what the best split needs for the same loss under the true law.

Regrets have a long right tail, so that their mean over worlds is far from normal. If the posterior is right, the
realised regret of a world is one draw of the regret under its posterior: means of one draw a world are the exact
distribution of the mean, and `p` says how far out in it the realised mean lies, on either side.

    python benchmarks/worlds.py [--worlds 200] [--laws additive coupled shared] [--runs 8 15 30] [--seed 0]

It prints a table and writes it to `benchmarks/worlds.csv`, where other rows are kept.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
from scipy.optimize import least_squares

import bayescale as bs
from bayescale.core.precision import float64
from bayescale.decisions.choice import best
from bayescale.decisions.surface import minimise
from bayescale.evaluation.simulation import Simulated, simulate, sweep_for
from bayescale.prediction.predict import predict
from bayescale.runs.readers import load_runs

SPECS = {"additive": "additive-unpooled", "coupled": "coupled-unpooled", "shared": "shared-unpooled"}
STEPS = {8: 4, 15: 2, 30: 1}  # runs by the step at which they are taken from the sweep of 30
RULES = ("bayes", "mean", "huber", "20:1")
HUBER = 1e-3  # of Hoffmann et al. 2022
STARTS = [(e, a, b) for e in (0.0, 0.5) for a in (0.25, 0.45) for b in (0.25, 0.45)]  # ln E and exponents
BELOW = np.linspace(-2.0, 0.0, 41) * np.log(10)  # ln compute below the budget at which the true frontier is known
SIZES = np.linspace(-3.0, 3.0, 121) * np.log(10)  # ln params around the middle split
DRAWS = 10_000  # means of one draw a world
TABLE = Path(__file__).with_name("worlds.csv")


def law_of(spec: Any, parameters: dict[str, Any], params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Loss of a spec's law at some parameters, without discrepancies."""
    anchor, law = dict(spec.anchor), spec.law_part
    values = {name: parameters[name] for name in law.parameters}
    with float64():
        relative = law.log_loss(jnp.log(params / anchor["params"]), jnp.log(tokens / anchor["tokens"]), **values)
        return anchor["loss"] * np.exp(np.asarray(relative))


def huber(params: np.ndarray, tokens: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Approach 3 of Hoffmann et al. 2022: the additive law by a Huber loss on log residuals, from several starts."""
    x, d, y = np.log(params), np.log(tokens), np.log(loss)
    middle_x, middle_d = x.mean(), d.mean()

    def residual(p: np.ndarray) -> np.ndarray:
        e, a, alpha, b, beta = p
        return np.logaddexp.reduce([np.full_like(x, e), a - alpha * (x - middle_x), b - beta * (d - middle_d)]) - y

    scale = np.median(y)
    found = [
        least_squares(residual, [scale - 0.5 + e, scale - 1.5, a, scale - 1.5, b], loss="huber", f_scale=HUBER)
        for e, a, b in STARTS
    ]
    e, a, alpha, b, beta = min(found, key=lambda one: one.cost).x
    return np.array([np.exp(e), np.exp(a + alpha * middle_x), alpha, np.exp(b + beta * middle_d), beta])


def waste_of(sim: Simulated, truth: dict[str, Any], regret: float) -> float:
    """Share by which the budget exceeds what the best split needs for a loss that is larger by the regret."""
    flops = float(sim.probes["flops"].iloc[0])
    at = flops * np.exp(BELOW)[:, None]
    sizes = 0.5 * np.log(at / 120.0) + SIZES
    params = np.exp(sizes)
    least = minimise(sizes, law_of(sim.spec, truth, params, at / (6 * params)))[1]
    return float(np.expm1(-np.interp(least[-1] + regret, least[::-1], BELOW[::-1])))


def world(sim: Simulated, name: str, fit: bs.Fit) -> dict[str, Any]:
    """Regret of each rule in one world."""
    truth = sim.truths.loc[name].to_dict()
    true = np.exp(sim.log_loss.loc[name].to_numpy()[1:])
    splits = sim.probes.iloc[1:]
    params, tokens = splits["params"].to_numpy(), splits["tokens"].to_numpy()
    losses = np.exp(predict(fit, sim.probes, only="log_loss")[:, 1:])
    solved = best(-losses, fit.shape[0])
    means = {key: float(np.exp(np.log(fit.posterior[key]).mean())) for key in sim.spec.law_part.parameters}
    runs = sim.tables[name].frame
    E, A, alpha, B, beta = huber(*(runs[key].to_numpy(float) for key in ("params", "tokens", "loss")))
    chosen = {
        "bayes": solved.action,
        "mean": int(law_of(sim.spec, means, params, tokens).argmin()),
        "huber": int((E + A * params**-alpha + B * tokens**-beta).argmin()),
        "20:1": int(np.abs(np.log(tokens / params / 20)).argmin()),
    }
    under = losses[:, solved.action] - losses.min(axis=1)
    found: dict[str, Any] = {"expected": solved.regret, "converged": fit.converged, "under": under}
    for rule, action in chosen.items():
        found[rule] = true[action] - true.min()
        found[f"{rule} waste"] = waste_of(sim, truth, found[rule])
    return found


def worlds(law: str, count: int, number: int, seed: int) -> pd.DataFrame:
    """Regrets in a number of worlds of a law, each with a count of runs."""
    spec = bs.load_spec(SPECS[law])
    frame = sweep_for(spec).frame.iloc[:: STEPS[count]].reset_index(drop=True)
    sim = simulate(spec, load_runs(frame, name="sweep", loss_unit="nats"), simulations=number, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bs.ConvergenceWarning)  # counted in the table
        batch = bs.fit_many(sim.tables, sim.spec, seed=0, draws=500)
    rows = [world(sim, name, fit) for name, fit in batch.fits.items()]
    return pd.DataFrame(rows).assign(law=law, runs=count, seed=seed)


def tail_of(table: pd.DataFrame) -> float:
    """Share of means of one draw a world that lie as far out as the realised mean; two-sided."""
    rng = np.random.default_rng(0)
    means = np.mean([rng.choice(under, DRAWS) for under in table["under"]], axis=0)
    below, above = (means <= table["bayes"].mean()).mean(), (means >= table["bayes"].mean()).mean()
    return float(min(1.0, 2 * min(below, above)))


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean regrets with the error of each paired difference from the Bayes action."""
    rows = []
    for (law, runs, _), of in table.groupby(["law", "runs", "seed"], sort=False):
        root = np.sqrt(len(of))
        gap = of["bayes"] - of["expected"]
        row = {"law": law, "runs": runs, "seed": of["seed"].iloc[0], "worlds": len(of),
               "converged": int(of["converged"].sum()),
               "expected": of["expected"].mean(), "realised": of["bayes"].mean(),
               "realised - expected": gap.mean(), "se": gap.std(ddof=1) / root, "p": tail_of(of)}  # fmt: skip
        for rule in RULES[1:]:
            more = of[rule] - of["bayes"]
            row |= {f"{rule} more": more.mean(), f"{rule} se": more.std(ddof=1) / root}
        row |= {f"{rule} waste": of[f"{rule} waste"].mean() for rule in RULES}
        rows.append(row)
    return pd.DataFrame(rows)


def write(rows: pd.DataFrame, path: Path) -> None:
    """Write the rows, and keep those of the file that were not measured again."""
    if path.exists():
        rows = pd.concat([pd.read_csv(path), rows]).drop_duplicates(["law", "runs", "seed"], keep="last")
    rows.sort_values(["law", "runs", "seed"]).to_csv(path, index=False, float_format="%.4g")


def main() -> None:
    """Parse the command line, run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--laws", nargs="+", choices=SPECS, default=list(SPECS))
    parser.add_argument("--runs", nargs="+", type=int, choices=STEPS, default=list(STEPS))
    parser.add_argument("--seed", type=int, default=0, help="of the laws: rows of one seed share them")
    parser.add_argument("--out", type=Path, default=TABLE)
    given = parser.parse_args()
    found = []
    for law in given.laws:
        for count in given.runs:
            found.append(worlds(law, count, given.worlds, given.seed))
            print(summary(found[-1]).to_string(index=False, float_format="{:.3g}".format), flush=True)
            write(summary(pd.concat(found)), given.out)


if __name__ == "__main__":
    main()
