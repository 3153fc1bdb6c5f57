"""Gao et al. 2022: over-optimisation of reward models, for the best of n and for reinforcement learning."""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar

import bayescale as bs
from bayescale.parts.catalogue import part
from bayescale.parts.over_optimization import best_for_kl, kl_of_best, peak_of_best, peak_of_rl

FORMS = {"gold-of-best": "alpha_best", "gold-of-rl": "alpha_rl"}
ALPHA, BETA, EXPONENT, SCATTER = 1.0, 0.25, 0.15, 0.05


def gold(form: str, kl: np.ndarray, beta: np.ndarray | float) -> np.ndarray:
    with jax.enable_x64(True):
        of = part("responses", form)
        return np.asarray(of.location(np.log(beta), {"kl": np.asarray(kl)}, start=0.0, **{FORMS[form]: ALPHA}))


def test_gao_2022_the_best_of_n_peaks_at_147_samples() -> None:
    d = peak_of_best(ALPHA, BETA)
    assert d == 2.0
    assert d**2 == 4.0
    assert int(best_for_kl(d**2)) == 147  # 147.4
    assert kl_of_best(147) < 4.0 < kl_of_best(148)


@pytest.mark.parametrize(("form", "peak"), [("gold-of-best", peak_of_best), ("gold-of-rl", peak_of_rl)])
def test_the_peak_is_where_the_score_is_highest(form: str, peak) -> None:
    found = minimize_scalar(lambda d: -gold(form, np.array(d**2), BETA), bounds=(0.01, 60), method="bounded",
                            options={"xatol": 1e-8})  # fmt: skip
    assert found.x == pytest.approx(float(peak(ALPHA, BETA)), rel=1e-5)


def test_the_logarithm_is_the_natural_one_and_the_distance_a_root() -> None:
    assert gold("gold-of-rl", np.array(np.e**2), BETA) == pytest.approx(np.e * (ALPHA - BETA))
    assert gold("gold-of-best", np.array(9.0), BETA) == pytest.approx(3 * (ALPHA - 3 * BETA))


def test_samples_of_a_divergence_are_the_inverse() -> None:
    n = np.array([1.0, 2.0, 16.0, 1e3, 1e6])
    np.testing.assert_allclose(best_for_kl(kl_of_best(n)), n, rtol=1e-6)


def simulated(form: str) -> bs.Runs:
    """Four sizes of reward model over ten divergences, past the peak of the best of n."""
    params, kl = (x.ravel() for x in np.meshgrid([3e6, 3e7, 3e8, 3e9], np.geomspace(0.3, 100, 10)))
    scores = gold(form, kl, BETA * (params / 1e8) ** -EXPONENT)
    noise = SCATTER * np.random.default_rng(0).standard_normal(len(params))
    return bs.load_runs(pd.DataFrame({"params": params, "kl": kl, "gold_score": scores + noise, "tokens": 1e10}))


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_both_coefficients_are_recovered(form: str) -> None:
    fit = bs.fit(simulated(form), form, seed=0, draws=250)
    assert fit.converged
    at_anchor = BETA * (fit.meta["anchor"]["params"] / 1e8) ** -EXPONENT
    for name, truth in ((FORMS[form], ALPHA), ("level", at_anchor), ("exponent", EXPONENT), ("scatter", SCATTER)):
        row = fit.summary.loc[name]
        assert abs(row["mean"] - truth) < 4 * row["sd"], name
    peak = (peak_of_best if form == "gold-of-best" else peak_of_rl)(*(fit.posterior[x] for x in (FORMS[form], "level")))
    truth = (peak_of_best if form == "gold-of-best" else peak_of_rl)(ALPHA, at_anchor)
    assert np.quantile(peak, 0.005) < truth < np.quantile(peak, 0.995)
