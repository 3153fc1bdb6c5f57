"""Compute of reinforcement learning: the sigmoid of ScaleRL, its asymptote, and the power law it competes with."""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.parts.catalogue import part

ASYMPTOTE, START, MIDDLE, STEEPNESS, SCATTER = 0.62, 0.3, 3e21, 1.3, 0.01


def pass_rates(last: float, count: int = 20) -> pd.DataFrame:
    """Checkpoints of one run, up to a compute, with noise of 1% of the error."""
    flops = np.geomspace(1e20, last, count)
    rate = START + (ASYMPTOTE - START) / (1 + (MIDDLE / flops) ** STEEPNESS)
    noise = np.exp(SCATTER * np.random.default_rng(0).standard_normal(count))
    return pd.DataFrame({"flops": flops, "error_rate": (1 - rate) * noise, "family": "ours"})


@pytest.fixture(scope="module")
def fits() -> dict[str, bs.Fit]:
    """Runs that end before the inflection, and well after it; the second takes the program of the first."""
    return {name: bs.fit(bs.load_runs(pass_rates(last)), "rl-sigmoid", seed=0, draws=500)
            for name, last in (("early", MIDDLE / 3), ("late", 20 * MIDDLE))}  # fmt: skip


def test_khatri_2025_scale_rl_sigmoid_is_the_published_form() -> None:
    law = part("laws", "sigmoid")
    anchor, loss = 1e21, 0.6
    flops = np.geomspace(1e19, 1e24, 7)
    with jax.enable_x64(True):
        at = {"level": 1.02, "ratio_X": 0.5, "plateau": 1.3, "steepness": 1.3}
        found = np.exp(np.log(loss) + np.asarray(law.log_loss(np.log(flops / anchor), **at)))
        said = {k: float(v) for k, v in law.published(np.log(anchor), loss=np.log(loss), **at).items()}
    A, R_0 = 1 - said["E"], 1 - said["L_0"]
    published = R_0 + (A - R_0) / (1 + (said["X_mid"] / flops) ** 1.3)
    np.testing.assert_allclose(1 - found, published, rtol=1e-9)


def test_a_sigmoid_of_errors_is_a_plateau_of_shape_one() -> None:
    x = np.linspace(-5, 5, 11)
    with jax.enable_x64(True):
        at = {"level": 1.0, "ratio_X": 0.7, "plateau": 1.6}
        mine = part("laws", "sigmoid").log_loss(x, **at, steepness=0.8)
        other = part("laws", "plateau").log_loss(x, **at, shape=1.0, exponent=0.8)
    np.testing.assert_allclose(mine, other, atol=1e-9)


def test_past_the_inflection_the_asymptote_is_recovered(fits: dict[str, bs.Fit]) -> None:
    late = fits["late"]
    assert late.converged
    for name, truth in (("E", 1 - ASYMPTOTE), ("L_0", 1 - START), ("steepness", STEEPNESS), ("X_mid", MIDDLE)):
        row = late.summary.loc[name]
        assert abs(row["mean"] - truth) < 4 * row["sd"], name
    (found,) = bs.check(late, "inflection")
    assert found.passed


def test_before_the_inflection_the_asymptote_is_not_identified_and_the_check_says_so(fits: dict[str, bs.Fit]) -> None:
    early, late = fits["early"], fits["late"]
    (found,) = bs.check(early, "inflection")
    assert not found.passed
    assert "the prior determines the asymptote" in found.advice
    assert early.summary.loc["E", "sd"] > 20 * late.summary.loc["E", "sd"]


def test_other_laws_are_not_asked_for_an_inflection(unbounded: bs.Fit) -> None:
    assert not list(bs.check(unbounded, "inflection"))


@pytest.fixture(scope="module")
def unbounded() -> bs.Fit:
    return bs.fit(bs.load_runs(pass_rates(MIDDLE / 3)), "rl-power", seed=0, draws=500)


def test_a_power_law_and_a_sigmoid_differ_beyond_the_runs(fits: dict[str, bs.Fit], unbounded: bs.Fit) -> None:
    """Inside the runs they agree. A hundred times beyond, the sigmoid does not know its asymptote, and says so."""
    forecasts = [bs.forecast(of, flops=[5e20, 1e23]).summary for of in (fits["early"], unbounded)]
    (inside, wide), (same, narrow) = ([row for _, row in found.iterrows()] for found in forecasts)
    assert abs(np.log(inside["epred_q50"] / same["epred_q50"])) < 0.01
    truth = 1 - (START + (ASYMPTOTE - START) / (1 + (MIDDLE / 1e23) ** STEEPNESS))
    assert wide["epred_q05"] < truth < wide["epred_q95"]
    assert wide["epred_q95"] - wide["epred_q05"] > 3 * (narrow["epred_q95"] - narrow["epred_q05"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::bayescale.core.errors.ConvergenceWarning")  # a cut has few runs
def test_both_laws_are_stacked() -> None:
    weights = bs.stack(bs.load_runs(pass_rates(20 * MIDDLE, 40)), ["rl-sigmoid", "rl-power"], seed=0).weights.weights
    assert weights["rl-sigmoid"] > weights["rl-power"]


@pytest.mark.slow
def test_fu_2025_more_params_and_more_updates_both_save_data() -> None:
    fit = bs.fit(bs.load_runs("value-rl"), "value-rl", seed=0, draws=500)
    assert fit.converged
    found = bs.forecast(fit, params=[2e6, 8e6, 2e6], utd_ratio=[2, 2, 8], family="h1-crawl-v0", flops=1e7)
    base, wider, oftener = found.summary["epred_q50"]
    assert wider < base
    assert oftener < base
