"""Resources → law → response to the end, and partial pooling on real families."""

import numpy as np
import pytest
from scipy.stats import binom

import bayescale as bs
from bayescale.evaluation.backtest import score

FIVE = "Porian-RefinedWeb"


@pytest.mark.slow
def test_repetition_is_inferred_jointly_with_the_base_law():
    runs = bs.load_runs("datablations").where(in_published_fit="true")
    fit = bs.fit(runs, "repetition", seed=0)
    assert len(runs) == 182
    assert fit.converged
    decay = fit.summary.loc["R_D"]
    assert decay["q05"] < 38 < decay["q95"]  # joint fits of the literature's runs: 38 [31, 46], not 15.4
    assert decay["q05"] > 15.387756  # the published value is conditional on a plugged-in base law
    once, forty = bs.forecast(fit, params=1e9, tokens=4e10, unique_tokens=[4e10, 1e9]).summary["epred_q50"]
    assert forty > once
    choice = bs.decide(bs.Allocation("1e22"), fit)  # of tokens that are seen once
    assert fit.posterior["E"].to_numpy().min() < choice.expected_loss < once
    assert {f.check for f in bs.check(fit)} >= {"convergence", "residuals", "identification", "sensitivity"}


@pytest.mark.slow
def test_accuracy_is_seen_through_a_benchmark():
    """Of the runs that are left out, one in eight, the 90% intervals hold as many as they say, and are narrow."""
    runs = bs.load_runs("gadre2024").where(benchmark="hellaswag")
    held = np.arange(len(runs)) % 8 == 0
    fit = bs.fit(runs.take(~held), "accuracy", seed=0)
    assert fit.converged
    forecast, seen = bs.forecast(fit, runs.take(held).frame, response="accuracy").summary, runs["n_correct"][held]
    inside = (forecast["q05"] <= seen) & (seen <= forecast["q95"])
    assert inside.sum() >= binom.ppf(0.001, held.sum(), 0.9)
    assert (forecast["q95"] - forecast["q05"]).median() < 0.2 * np.ptp(seen)
    assert bs.check(fit, "residuals").findings


@pytest.fixture(scope="module")
def five_runs(pool):
    """Every run of two families, and the five smallest of a third; with those it is then scored on."""
    three = pool.where(family=["Porian-OpenWebText2", "OpenLM-RefinedWeb", FIVE])
    mine = three["family"] == FIVE
    smallest = np.argsort(np.where(mine, three["flops"], np.inf))[:5]
    train = ~mine
    train[smallest] = True
    return three.take(train), three.take(mine & (three["flops"] > 30 * three["flops"][smallest].max()))


@pytest.mark.slow
def test_five_cheap_runs_are_forecast_better_with_partial_pooling(five_runs):
    train, test = five_runs
    pooled = bs.fit(train, "additive", seed=0)
    alone = bs.fit(train.where(family=FIVE), "additive-unpooled", seed=0)
    assert pooled.converged
    assert len(test) >= 5
    gain = score(alone, test)["crps"] - score(pooled, test)["crps"]
    assert gain.mean() > 2 * gain.std() / len(gain) ** 0.5


@pytest.mark.slow
def test_the_pool_of_eleven_families_converges(pool):
    fit = bs.fit(pool, "additive", seed=0)
    assert fit.converged, fit.verdict
    assert len(fit.families) == 11
