"""Ord 2025: what reinforcement learning is worth against inference, and one budget for all stages."""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.core.errors import QueryError
from bayescale.decisions.split import Split, gain_of
from bayescale.parts.catalogue import part

GAINS = {"pretraining": 0.3, "rl": 0.2, "inference": 0.4}


@pytest.fixture(scope="module")
def fit() -> bs.Fit:
    """Forty scores over four decades of each stage, with noise of 2% of the error."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({f"{stage}_flops": 10 ** rng.uniform(18, 22, 40) for stage in GAINS})
    odds = sum(gain * np.log(table[f"{stage}_flops"] / 1e20) for stage, gain in GAINS.items())
    table["error_rate"] = np.minimum(1 / (1 + np.exp(odds)) * np.exp(0.02 * rng.standard_normal(40)), 1.0)
    return bs.fit(bs.load_runs(table.assign(flops=table["pretraining_flops"])), "stages", seed=0, draws=500)


def test_ord_2025_ten_thousand_times_the_compute_of_rl_are_worth_a_hundred_times_that_of_inference() -> None:
    """At half the slope: by the law itself, and by the worth that it reports."""
    law = part("laws", "stages", stages=("rl", "inference"))
    slopes = {"level": 1.0, "gain_rl": 0.25, "gain_inference": 0.5}
    with jax.enable_x64(True):
        rl, inference = (float(law.log_loss(*np.log(times), **slopes)) for times in ([1e4, 1.0], [1.0, 1e2]))
        (worth,) = law.published(0.0, 0.0, loss=0.0, **slopes).values()
    assert rl == pytest.approx(inference, rel=1e-12)
    assert worth == 0.5  # an e-fold of RL: half the slope, twice the decades
    assert np.log10(1e4) * worth == pytest.approx(np.log10(1e2))


def test_the_exchange_rate_has_a_posterior(fit: bs.Fit) -> None:
    assert fit.converged
    for name, truth in (("worth_rl", 0.5), ("worth_pretraining", 0.75)):
        row = fit.summary.loc[name]
        assert abs(row["mean"] - truth) < 4 * row["sd"]
    decades = 4 * fit.posterior["worth_rl"].to_numpy()  # of inference, for four of RL
    assert np.quantile(decades, 0.05) < 2 < np.quantile(decades, 0.95)


def test_gains_are_those_of_the_posterior(fit: bs.Fit) -> None:
    for stage in GAINS:
        np.testing.assert_allclose(gain_of(fit, stage), fit.posterior[f"gain_{stage}"].to_numpy().ravel(), rtol=1e-9)


def test_a_budget_is_split_in_proportion_to_the_gains(fit: bs.Fit) -> None:
    """Cobb-Douglas, by draw; the lattice has steps of a few percent."""
    choice = bs.decide("split", fit, flops=1e22)
    best = Split(1e22).optimum(fit)
    for stage, gain in GAINS.items():
        own = fit.posterior[f"gain_{stage}"].to_numpy().ravel()
        total = sum(fit.posterior[f"gain_{each}"].to_numpy().ravel() for each in GAINS)
        np.testing.assert_allclose(best[stage], own / total, rtol=1e-9)
        assert choice.action[stage] == pytest.approx(gain / 0.9, abs=0.03)
    assert choice.to_dict()["best_share"].keys() == GAINS.keys()
    assert "log odds" in repr(choice)


def test_gains_that_are_measured_are_not_given_too(fit: bs.Fit) -> None:
    with pytest.raises(QueryError, match="measured what every stage gains"):
        bs.decide("split", fit, flops=1e22, gains={"rl": "0.1"})
