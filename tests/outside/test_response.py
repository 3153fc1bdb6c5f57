"""A response and a noise of somebody's own, one file, beside the loss and alone, through the verbs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayescale as bs

TOP, SLOPE, SCATTER = 3.0, 0.8, 0.03


@pytest.fixture(scope="module")
def own():
    """The module of the stranger, imported as a stranger would."""
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        import reward
    finally:
        sys.path.remove(str(Path(__file__).parent))
    return reward


@pytest.fixture(scope="module")
def runs() -> bs.Runs:
    """Runs of which half have a reward, which falls as loss rises."""
    random, rows = np.random.default_rng(0), []
    for params in (3e7, 1e8, 3e8, 1e9, 3e9):
        for ratio in (5, 20, 80, 320):
            curve = 1.8 + 480 * params**-0.35 + 2100 * (params * ratio) ** -0.37
            reward = TOP - SLOPE * curve + SCATTER * random.standard_normal()
            loss = curve * np.exp(0.004 * random.standard_normal())
            rows.append({"run_id": f"r{len(rows)}", "params": params, "tokens": params * ratio, "loss": loss,
                         "reward": reward if len(rows) % 2 else np.nan})  # fmt: skip
    return bs.load_runs(pd.DataFrame(rows), loss_unit="nats")


@pytest.fixture(scope="module")
def fit(own, runs: bs.Runs) -> bs.Fit:
    responses = {"loss": "student-t", "reward": {"response": own.Reward, "noise": own.Additive}}
    return bs.fit(runs, bs.make_spec("rewarded", law="additive", responses=responses), seed=0)


def test_it_is_fitted_beside_the_loss(fit: bs.Fit) -> None:
    assert fit.converged, fit.verdict
    for name, truth in (("slope_reward", SLOPE), ("scatter_reward", SCATTER)):
        found = fit.summary.loc[name]
        assert abs(found["mean"] - truth) < 4 * found["sd"]


@pytest.mark.slow
def test_the_verbs_work_on_it(fit: bs.Fit, runs: bs.Runs, tmp_path: Path) -> None:
    found = bs.forecast(fit, params="10B", tokens="200B", response="reward")
    curve = 1.8 + 480 * 1e10**-0.35 + 2100 * 2e11**-0.37
    low, high = np.quantile(found.draws["epred"], [0.005, 0.995])
    assert low < TOP - SLOPE * curve < high
    assert found.unit == "reward"
    assert "residuals" in {finding.check for finding in bs.check(fit)}
    tested = bs.backtest(runs, fit.spec, response="reward", seed=0)
    assert tested.runs["reward"].notna().all()
    assert tested.mean["crps"] < 5 * SCATTER
    assert np.isfinite(bs.decide(bs.Allocation("1e22"), fit).waste_fraction)
    assert bs.plots.plot_residuals(fit, response="reward").get_ylabel().endswith("(reward)")
    assert bs.report(fit, tmp_path / "page.html").stat().st_size > 10_000


def test_its_spec_is_written_with_the_names_of_its_code(own, fit: bs.Fit, tmp_path: Path) -> None:
    path = bs.write_spec(fit.spec, tmp_path / "rewarded.toml")
    assert "reward:Reward" in path.read_text(encoding="utf-8")
    assert bs.load_spec(path, allow_code=True).digest == fit.spec.digest
    again = bs.load_fit(fit.save(tmp_path / "fit.nc"), allow_code=True)
    assert again.responses == ("loss", "reward")


def test_a_spec_of_it_alone_needs_no_loss(own, runs: bs.Runs) -> None:
    some = bs.load_runs(runs.frame[runs.frame["reward"].notna()].drop(columns="loss"))
    known = {
        "top": {"kind": "Normal", "median": TOP, "scale": 0.03},
        "slope": {"kind": "LogNormal", "median": SLOPE, "scale": 0.03},
    }
    parameters = {
        name: {"prior": prior} for name, prior in known.items()
    }  # ten rewards do not tell them from the law's
    spec = bs.make_spec("alone", law="additive", responses={own.Reward: own.Additive}, parameters=parameters)
    fit = bs.fit(some, spec, seed=0)
    assert fit.responses == ("reward",)
    assert np.isfinite(bs.forecast(fit, params="10B", tokens="200B").summary["q50"]).all()
