"""Truths: how a spec forecasts and splits beyond runs that were simulated from known laws.

There are five truths: the additive law, the coupled law, the drift law, the additive law with a slow misfit, and the
additive law with rough runs, whose noise grows towards small compute. There are four designs: an IsoFLOP sweep,
training curves, eight runs, and over-trained models (1-8B params, 1-15T tokens). Each world has a law of its own.
Forecasts are of the loss at the true best split of 10, 100 and 1000 times the largest compute, and decisions are splits
of these budgets. The law that made the runs is fitted too, with wide priors.

    python benchmarks/truths.py [--spec default] [--worlds 3] [--truths additive drift]

It prints tables and writes them to `benchmarks/truths.csv`.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

import bayescale as bs
from bayescale.decisions.choice import best
from bayescale.evaluation.scores import scores
from bayescale.modelling.sites import LAW, LOG_LOSS
from bayescale.prediction.predict import predict
from bayescale.runs.readers import load_runs

TABLE = Path(__file__).with_name("truths.csv")
TRUTHS = ("additive", "coupled", "misfit", "rough", "drift")
BUDGETS = (10.0, 100.0, 1000.0)  # times the largest compute of the runs
MIDDLE = (1e9, 2e10)  # params and tokens at which the terms of a law are drawn
NOISE, ROUGH, TAILS = 0.004, 0.012, 5  # SD of log loss, of rough runs at the largest compute, degrees of freedom
SHOWN = ["covers 50%", "covers 90%", "width", "bias", "crps", "expected", "realised", "ratio factor", "ratio covered"]

Loss = Callable[[np.ndarray, np.ndarray], np.ndarray]


class World(NamedTuple):
    """Runs, and the loss that they would have without noise."""

    runs: bs.Runs
    loss: Loss


def isoflop() -> tuple[np.ndarray, np.ndarray]:
    """Five budgets of seven sizes each, from 2 to 200 tokens per param."""
    flops, ratio = np.meshgrid(np.geomspace(1e18, 1e20, 5), np.geomspace(2, 200, 7))
    params = np.sqrt(flops / 6 / ratio).ravel()
    return params, params * ratio.ravel()


def curves() -> tuple[np.ndarray, np.ndarray]:
    """Five sizes with nine checkpoints each, from 3 to 80 tokens per param."""
    params, ratio = np.meshgrid(np.geomspace(10**7.5, 1e9, 5), np.geomspace(3, 80, 9))
    return params.ravel(), (params * ratio).ravel()


def few() -> tuple[np.ndarray, np.ndarray]:
    """Eight runs of four sizes."""
    params = np.array([3e7, 3e7, 1e8, 1e8, 1e8, 3e8, 3e8, 1e9])
    return params, params * np.array([10, 40, 5, 20, 80, 10, 40, 20.0])


def overtrained() -> tuple[np.ndarray, np.ndarray]:
    """Four sizes of 1B to 8B params, each on 1T to 15T tokens."""
    params, tokens = np.meshgrid([1e9, 2e9, 4e9, 8e9], np.geomspace(1e12, 15e12, 4))
    return params.ravel(), tokens.ravel()


DESIGNS = {"isoflop": isoflop, "curves": curves, "few": few, "over-trained": overtrained}


def law_of(truth: str, rng: np.random.Generator) -> Loss:
    """Draw a law: floor 1.55-1.95, exponents about Chinchilla's, terms of .25-.45 nats each at :data:`MIDDLE`."""
    floor, alpha, beta = rng.uniform(1.55, 1.95), rng.uniform(0.30, 0.38), rng.uniform(0.30, 0.40)
    terms = rng.uniform(0.25, 0.45, 2)
    kappa = rng.uniform(0.45, 0.70) if truth == "coupled" else 1.0
    share = terms / terms.sum()
    size, frequency, phases = 0.004 + abs(rng.normal(0, 0.008)), rng.uniform(0.3, 0.6), rng.uniform(0, 2 * np.pi, 2)
    # Of ln B and of ln beta, per e-fold of params.
    drift = rng.uniform([-0.1, -0.05], [0.1, 0.05]) if truth == "drift" else (0.0, 0.0)

    def drifting(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        x, y = np.log(params / MIDDLE[0]), np.log(tokens / MIDDLE[1])
        of_tokens = terms[1] * np.exp(drift[0] * x - beta * np.exp(drift[1] * x) * y)
        return floor + terms[0] * np.exp(-alpha * x) + of_tokens

    def loss(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        inner = share[0] * (params / MIDDLE[0]) ** (-alpha / kappa) + share[1] * (tokens / MIDDLE[1]) ** (-beta / kappa)
        law = floor + terms.sum() * inner**kappa
        if truth != "misfit":
            return law
        waves = np.sin(frequency * np.log(params) + phases[0]) + np.sin(frequency * np.log(tokens) + phases[1])
        return law * np.exp(size * waves)

    return drifting if truth == "drift" else loss


def world(truth: str, design: str, number: int) -> World:
    """Simulate the runs of one world."""
    rng = np.random.default_rng([TRUTHS.index(truth), list(DESIGNS).index(design), number])
    loss = law_of(truth, rng)
    params, tokens = DESIGNS[design]()
    params = params * np.exp(rng.normal(0, 0.02, params.size))
    flops = params * tokens
    scale = ROUGH * (flops.max() / flops) ** 0.1 if truth == "rough" else NOISE
    noise = scale * rng.standard_t(TAILS, params.size) / np.sqrt(TAILS / (TAILS - 2))
    names = [f"r{i}" for i in range(params.size)]
    observed = loss(params, tokens) * np.exp(noise)
    table = pd.DataFrame({"family": "w", "run_id": names, "params": params, "tokens": tokens, "loss": observed})
    return World(load_runs(table, name="world", loss_unit="nats"), loss)


def judged(fit: bs.Fit, of: World, times: float) -> dict[str, float]:
    """Score a fit's forecast at the best split of a budget, and its choice of the split."""
    flops = times * 6 * (of.runs["params"] * of.runs["tokens"]).max()
    params = np.geomspace(np.sqrt(flops / 6 / 3000), np.sqrt(flops / 6 / 0.05), 161)
    splits = pd.DataFrame({"family": "w", "params": params, "tokens": flops / 6 / params})
    true, ratio = of.loss(params, splits["tokens"].to_numpy()), flops / 6 / params**2
    star = int(true.argmin())
    draws = predict(fit, splits, only=LOG_LOSS)[:, [star]]
    score = scores(draws, np.log(true[[star]]), logs=True).iloc[0]
    laws = np.exp(predict(fit, splits, only=LAW))
    chosen = best(-laws, fit.shape[0])
    low, high = np.quantile(ratio[laws.argmin(axis=1)], [0.05, 0.95])
    return {
        "covers 50%": score["coverage_50"], "covers 90%": score["coverage_90"], "width": score["width_90"],
        "bias": score["bias"], "crps": score["crps"], "expected": chosen.regret,
        "realised": true[chosen.action] - true[star], "ratio factor": high / low,
        "ratio covered": low <= ratio[star] <= high, "converged": fit.converged,
    }  # fmt: skip


def measure(spec_of: Callable[[str], bs.Spec], worlds: dict[str, World]) -> pd.DataFrame:
    """Fit every world, and score its fit at each budget."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bs.ConvergenceWarning)  # counted in the table
        specs = {name: spec_of(name.split("/")[0]) for name in worlds}
        fits = bs.fit_many({name: of.runs for name, of in worlds.items()}, specs, seed=0).fits
    rows = [
        {"world": name, "truth": name.split("/")[0], "design": name.split("/")[1], "times": times}
        | judged(fit, worlds[name], times)
        for name, fit in fits.items()
        for times in BUDGETS
    ]
    return pd.DataFrame(rows)


def own_law(truth: str) -> bs.Spec:
    """Spec with wide priors that generated a truth, apart from its misfit."""
    if truth != "drift":
        return bs.load_spec("coupled-unpooled" if truth == "coupled" else "additive-unpooled")
    content = bs.load_spec("drift").to_dict()
    for setting in content["parameters"].values():
        setting["pooling"] = "none"
    return bs.make_spec("drift-unpooled", **content)


def main() -> None:
    """Parse the command line, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", default="default")
    parser.add_argument("--worlds", type=int, default=3, help="worlds of each truth and design")
    parser.add_argument("--truths", nargs="+", choices=TRUTHS, default=TRUTHS)
    parser.add_argument("--out", type=Path, default=TABLE)
    given = parser.parse_args()
    spec = bs.load_spec(given.spec)
    names = [(truth, design, i) for truth in given.truths for design in DESIGNS for i in range(given.worlds)]
    made = {f"{truth}/{design}/{i}": world(truth, design, i) for truth, design, i in names}
    tables = {"own law": measure(own_law, made), given.spec: measure(lambda _: spec, made)}
    found = pd.concat([table.assign(spec=spec) for spec, table in tables.items()], ignore_index=True)
    for by in (["spec", "times"], ["spec", "truth", "times"], ["spec", "design", "times"]):
        print(found.groupby(by, sort=False)[[*SHOWN, "converged"]].mean().round(4).to_string(), flush=True)
    widths = found.pivot(index=["truth", "design", "world", "times"], columns="spec", values="width")
    factor = np.log(widths[given.spec] / widths["own law"]).groupby(["truth", "design", "times"]).mean()
    print(
        "width over that of the own law, geometric mean", np.exp(factor).unstack("times").round(2).to_string(), sep="\n"
    )
    found.to_csv(given.out, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
