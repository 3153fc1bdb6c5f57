"""Porian et al. 2024: each step from Kaplan's recipe to a tuned one, by their recipe and by a posterior."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.interpolate import Akima1DInterpolator

import bayescale as bs

PUBLISHED = {
    "RefinedWeb-kaplan": (0.835, 0.824, 0.846),
    "RefinedWeb-head": (0.707, 0.691, 0.717),
    "RefinedWeb-warmup": (0.602, 0.591, 0.617),
    "RefinedWeb-decay": (0.572, 0.560, 0.589),
    "RefinedWeb-tuned": (0.497, 0.491, 0.505),
    "OpenWebText2-kaplan": (0.864, 0.819, 0.897),
    "OpenWebText2-head": (0.699, 0.664, 0.724),
    "OpenWebText2-warmup": (0.603, 0.570, 0.629),
    "OpenWebText2-decay": (0.574, 0.542, 0.606),
    "OpenWebText2-tuned": (0.519, 0.493, 0.541),
}
"""Exponent of the optimal params by FLOP, with its 95% interval from a bootstrap (arXiv:2406.19146)."""
OTHERS = {
    "RefinedWeb-head-attention": 0.717,
    "RefinedWeb-warmup-attention": 0.622,
    "RefinedWeb-decay-attention": 0.577,
    "RefinedWeb-tuned-attention": 0.505,
    "RefinedWeb-tuned-kaplan": 0.712,
}
NOISE = {"RefinedWeb": 0.002, "OpenWebText2": 0.01}  # SD of the loss between seeds that their bootstrap adds, in nats
REPLICATES = 1000
STEPS_BETWEEN = 25  # of the grid of sizes between two sizes that were trained
LEAST_SD = 0.33  # of ln(params), in spaces between the sizes that were trained


def minimum(budget: pd.DataFrame, noise: float, rng: np.random.Generator) -> tuple[float, float] | None:
    """Return ln(params) of the lowest loss of a budget and its SD; None if it is at the edge more often than not."""
    budget = budget.sort_values("params")
    ln_n = np.log(budget["params"].to_numpy())
    losses = budget["loss"].to_numpy()[:, None] + noise * rng.normal(size=(len(budget), REPLICATES))
    grid = np.linspace(ln_n[0], ln_n[-1], STEPS_BETWEEN * (len(ln_n) - 1))
    lowest = Akima1DInterpolator(ln_n, np.log(losses))(grid).argmin(axis=0)
    inside = (lowest > 0) & (lowest < len(grid) - 1)
    if inside.mean() < 0.5:
        return None
    best = grid[lowest[inside]]
    least = LEAST_SD * STEPS_BETWEEN * (grid[1] - grid[0])
    return float(np.median(best)), max(float(best.std()), least) / inside.mean()


def exponent(family: str) -> float:
    """Weighted least squares of ln(params) of the minima on ln(FLOP)."""
    runs = bs.load_runs("porian2024").where(family=family).frame
    rng, noise = np.random.default_rng(0), NOISE[family.partition("-")[0]]
    minima = {flops: minimum(budget, noise, rng) for flops, budget in runs.groupby("flops")}
    ln_c, ln_n, sd = np.array([(np.log(flops), *found) for flops, found in minima.items() if found]).T
    return float(np.polyfit(ln_c, ln_n, 1, w=1 / sd)[0])


@pytest.mark.parametrize(("family", "published"), [*((name, row[0]) for name, row in PUBLISHED.items()),
                                                   *OTHERS.items()])  # fmt: skip
def test_porian_2024_each_step_has_the_published_exponent(family: str, published: float) -> None:
    """To 0.0025: the published figures have three digits, and theirs and ours have the errors of a bootstrap."""
    assert exponent(family) == pytest.approx(published, abs=0.0025)


def near_the_best(runs: bs.Runs, factor: float) -> bs.Runs:
    """Runs whose params are within a factor of the best of their budget, where a law of two terms is local enough."""
    frame = runs.frame
    best = frame.loc[frame.groupby(["family", "flops"])["loss"].transform("idxmin"), "params"].to_numpy()
    return runs.take((np.abs(np.log(frame["params"] / best)) < np.log(factor)).to_numpy())


@pytest.mark.slow
def test_porian_2024_the_posterior_of_each_step_agrees() -> None:
    """A law fitted near the optimum of each budget: no bootstrap, no interpolation, and the same steps."""
    runs = near_the_best(bs.load_runs("porian2024").where(family=list(PUBLISHED)), 3.0)
    fit = bs.fit(runs, "coupled-unpooled", seed=0, draws=500)
    assert fit.converged
    law = fit.posterior
    a = law["beta_D"] / (law["alpha_N"] + law["beta_D"])
    low, high = (a.quantile(q, ("chain", "draw")) for q in (0.05, 0.95))
    for family, (_, least, most) in PUBLISHED.items():
        assert float(low.sel(family=family)) < most, family
        assert float(high.sel(family=family)) > least, family
    for data in NOISE:
        steps = [a.sel(family=f"{data}-{step}") for step in ("kaplan", "head", "warmup", "decay", "tuned")]
        assert all(float((after < before).mean()) > 0.9 for before, after in zip(steps, steps[1:], strict=False))


def best_of_kaplan(runs: bs.Runs) -> np.ndarray:
    """Fit Kaplan's joint law; return the 5%, 50% and 95% quantiles of the exponent of the best params by compute."""
    fit = bs.fit(runs, "kaplan", seed=0)
    assert fit.converged
    assert float(fit.posterior["beta_D"].quantile(0.05)) > 2 * 0.103  # the printed exponent of tokens
    a = fit.posterior["beta_D"] / (fit.posterior["alpha_N"] + fit.posterior["beta_D"])
    return a.quantile([0.05, 0.5, 0.95]).to_numpy()


@pytest.mark.parametrize("text", NOISE)
def test_kaplan_2020_the_joint_law_of_runs_by_their_recipe_has_its_exponent_and_not_0_575(text: str) -> None:
    """Near the best of each budget the law finds what Porian et al. find by their point fit."""
    family = f"{text}-kaplan"
    low, _, high = best_of_kaplan(near_the_best(bs.load_runs("porian2024").where(family=family), 3.0))
    assert 0.575 < low < PUBLISHED[family][0] < high


@pytest.mark.slow
@pytest.mark.parametrize("text", NOISE)
def test_kaplan_2020_the_joint_law_of_all_runs_of_the_recipe_has_a_lower_exponent(text: str) -> None:
    """Far from the best, runs ended in the warm-up: no law of two terms describes both these and the best ones."""
    family = f"{text}-kaplan"
    low, median, high = best_of_kaplan(bs.load_runs("porian2024").where(family=family))
    assert low > 0.575
    assert high < PUBLISHED[family][1]
    assert median == pytest.approx(0.80, abs=0.005)
