"""Transfer, fine-tuning and distillation: Hernandez 2021, Zhang 2024, Busbridge 2025. No open runs: simulated ones."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.parts.laws.multiplicative import Multiplicative
from bayescale.parts.penalties.distillation import Distillation
from bayescale.parts.resources.transfer import Transfer

HERNANDEZ = {"transferred": 1.9e4 * 1e8 ** (0.18 - 1) * 1e8**0.38, "transfer_tokens": 0.18, "transfer_params": 0.38}
"""Text to Python, in characters: k = 19,000, exponents 0.18 of data and 0.38 of params."""
NOISE = 0.003


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def effective(params: float, tokens: float, pretrained: float = 1.0) -> float:
    spent = {"params": jnp.log(params), "tokens": jnp.log(tokens), "pretrained": jnp.log(pretrained + 1e-9)}
    return float(jnp.exp(Transfer.effective(spent, None, **HERNANDEZ)["tokens"]))


def test_hernandez_2021_the_effective_data_are_the_published_formula():
    assert effective(4e7, 1e6) == pytest.approx(1e6 + 1.9e4 * 1e6**0.18 * 4e7**0.38, rel=1e-6)
    assert effective(4e7, 1e6, pretrained=0.0) == pytest.approx(1e6, rel=1e-6)


def test_hernandez_2021_ten_times_the_params_are_worth_129_times_the_data():
    times = 10 ** (0.38 / 0.18)
    assert times == pytest.approx(129, abs=0.5)
    more_params = effective(4e8, 1e5) - 1e5
    assert effective(4e7, 1e5 * times) - 1e5 * times == pytest.approx(more_params, rel=1e-6)


def noisy(loss: np.ndarray, seed: int) -> np.ndarray:
    return loss * np.exp(NOISE * np.random.default_rng(seed).standard_normal(len(loss)))


def within(fit: bs.Fit, truth: dict[str, float], sds: float = 3.0) -> None:
    assert fit.converged
    for name, value in truth.items():
        draws = np.log(fit.posterior[name].to_numpy().ravel())
        assert abs(draws.mean() - np.log(value)) < sds * draws.std(), name


@pytest.mark.slow
def test_hernandez_2021_transfer_is_recovered_from_runs_with_controls_from_scratch():
    grid = pd.MultiIndex.from_product([[1e7, 1e8, 1e9], [1e6, 1e7, 1e8, 1e9], [0.0, 1.0]],
                                      names=["params", "tokens", "pretrained"])  # fmt: skip
    runs = grid.to_frame(index=False)
    rows = runs.itertuples(index=False)
    data = np.array([effective(row.params, row.tokens, row.pretrained) for row in rows])
    runs["loss"] = noisy(0.6 + 30 * runs["params"].to_numpy() ** -0.25 + 120 * data**-0.3, 0)
    fit = bs.fit(bs.load_runs(runs, loss_unit="nats"), "transfer", seed=0, progress=False)
    within(fit, HERNANDEZ)


def fine_tuned() -> pd.DataFrame:
    """Two methods that share a floor: full fine-tuning, and an adapter that needs less data and gains less from it."""
    grid = pd.MultiIndex.from_product([[1e9, 4e9, 1.6e10], [1e6, 1e7, 1e8, 1e9]], names=["params", "finetune_tokens"])
    both = []
    for family, (a, alpha, beta) in {"full": (25.0, 0.09, 0.11), "adapter": (9.0, 0.08, 0.06)}.items():
        runs = grid.to_frame(index=False).assign(family=family, tokens=1e12)
        reducible = a * runs["params"] ** -alpha * runs["finetune_tokens"] ** -beta
        both.append(runs.assign(loss=noisy((1.1 + reducible).to_numpy(), len(both))))
    return pd.concat(both)


@pytest.mark.slow
def test_zhang_2024_the_exponents_of_fine_tuning_are_recovered_and_so_is_where_two_methods_cross():
    fit = bs.fit(bs.load_runs(fine_tuned(), loss_unit="nats"), "fine-tuning", seed=0, progress=False)
    assert fit.converged
    for name, truth in {"alpha_X": (0.08, 0.09), "beta_f": (0.06, 0.11)}.items():
        for family, value in zip(("adapter", "full"), truth, strict=True):
            draws = np.log(fit.posterior[name].sel(family=family).to_numpy().ravel())
            assert abs(draws.mean() - np.log(value)) < 3 * draws.std(), (name, family)
    # The methods lose the same where 25 n^-.09 d^-.11 = 9 n^-.08 d^-.06.
    crossing = (25 / 9 * 4e9**-0.01) ** (1 / 0.05)
    tokens = np.geomspace(crossing / 30, crossing * 30, 25)
    losses = [bs.forecast(fit, params=4e9, finetune_tokens=tokens, tokens=1e12, family=family).draws["epred"].to_numpy()
              for family in ("full", "adapter")]  # fmt: skip
    worse = np.mean(losses[0] > losses[1], axis=(0, 1))
    assert worse[0] > 0.95
    assert worse[-1] < 0.05


BUSBRIDGE = {
    "student_term": 0.9,
    "student_share": 0.45,
    "student_alpha": 0.35,
    "student_beta": 0.45,
    "student_gamma": 0.7,
    "teacher_power": 1.1,
    "gap_at": 0.95,
    "gap_width": 0.15,
    "gap_power": 0.6,
}
"""Values of the size of the priors: the published coefficients were not found in a readable form."""


def student(params: np.ndarray, tokens: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    alone = 1.220 + (3355 / params**0.408 + 18186 / tokens**0.431) ** 0.452  # their law without a teacher
    spent = {"params": jnp.log(params), "tokens": jnp.log(tokens), "teacher_loss": jnp.log(teacher + 1e-6)}
    return np.exp(np.asarray(Distillation.penalized(jnp.log(alone), spent, None, **BUSBRIDGE)))


def test_busbridge_2025_a_student_is_the_published_formula_and_without_a_teacher_the_base_law():
    params, tokens = np.array([5e8, 5e8]), np.array([1e10, 1e10])
    alone = 1.220 + (3355 / 5e8**0.408 + 18186 / 1e10**0.431) ** 0.452
    term = 0.9 * (0.45 * (5e8 / 1e9) ** -0.35 + 0.55 * (1e10 / 2e10) ** -0.45) ** 0.7
    bend = (1 + (2.4 / (alone * 0.95)) ** (1 / 0.15)) ** (-0.6 * 0.15)
    expected = 2.4 + 2.4**-1.1 * bend * term
    np.testing.assert_allclose(student(params, tokens, np.array([2.4, 0.0])), [expected, alone], rtol=1e-5)


def test_multiplicative_law_data_lower_the_reducible_loss_by_one_factor_whatever_the_params():
    at = {"level": 1.0, "ratio_X": 0.5, "alpha_X": 0.2, "beta_f": 0.1}
    floor = 1 / 1.5  # the level of 1 over one plus the ratio
    few, more = (np.array([float(jnp.exp(Multiplicative.log_loss(x, tokens, **at))) - floor for x in (-3.0, 0.0, 3.0)])
                 for tokens in (0.0, 2.0))  # fmt: skip
    assert more / few == pytest.approx(np.full(3, np.exp(-0.1 * 2.0)), rel=1e-12)
    assert (np.diff(few - more) < 0).all()  # so that in nats they are worth less where there are more params


@pytest.mark.slow
def test_busbridge_2025_parameters_and_losses_are_recovered_at_a_teacher_that_no_run_had():
    grid = pd.MultiIndex.from_product([[1e8, 4e8, 1.6e9], [2e9, 8e9, 3.2e10, 1.3e11], [0.0, 2.2, 2.5, 2.9]],
                                      names=["params", "tokens", "teacher_loss"])  # fmt: skip
    runs = grid.to_frame(index=False)
    runs["loss"] = noisy(student(*(runs[name].to_numpy() for name in grid.names)), 3)
    fit = bs.fit(bs.load_runs(runs, loss_unit="nats"), "distillation", seed=0, progress=False)
    within(fit, BUSBRIDGE)
    params, tokens = np.array([2e8, 8e8, 8e8]), np.array([5e9, 2e10, 6e10])
    forecast = bs.forecast(fit, params=params, tokens=tokens, teacher_loss=2.35)
    truth = student(params, tokens, np.full(3, 2.35))
    draws = np.log(forecast.draws["epred"].to_numpy().reshape(-1, 3))
    assert (np.abs(draws.mean(axis=0) - np.log(truth)) < 3 * draws.std(axis=0)).all()
    assert draws.std(axis=0).max() < 0.02
