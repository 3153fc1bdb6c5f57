"""Resources → law → response to the end, and partial pooling on real families."""

import numpy as np
import pytest

import bayescale as bs
from bayescale.evaluation.backtest import score

BENCHMARKED, FIVE = "OpenLM-RedPajama", "Porian-RefinedWeb"


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
    runs = bs.load_runs("gadre2024").where(benchmark="hellaswag")
    fit = bs.fit(runs, "accuracy", seed=0)
    assert fit.converged
    forecast = bs.forecast(
        fit,
        params=["1B", "7B"],
        tokens=["20B", "1T"],
        n_items=10042,
        chance=0.25,
        family=BENCHMARKED,
        response="accuracy",
    )
    small, large = forecast.summary["epred_q50"] / 10042
    assert 0.25 < small < large < 1
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
    assert score(pooled, test)["crps"].mean() < score(alone, test)["crps"].mean()


@pytest.mark.slow
def test_the_pool_of_eleven_families_converges(pool):
    fit = bs.fit(pool, "additive", seed=0)
    assert fit.converged, fit.verdict
    assert len(fit.families) == 11
