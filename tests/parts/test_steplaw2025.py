"""Step law of Li et al. (2025), arXiv:2503.04715: the best learning rate and batch, and what others cost."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.parts.penalties.tuning import Tuning

BEST = np.array([
    (214663680, 4.0e9, 0.002762, 262144), (214663680, 1.14e10, 0.002762, 393216),
    (214663680, 2.0e10, 0.00391, 524288), (214663680, 1.0e11, 0.007812, 2097152),
    (268304384, 5.0e9, 0.001953, 262144), (268304384, 1.42e10, 0.003906, 393216),
    (268304384, 2.5e10, 0.00391, 720896), (268304384, 8.0e10, 0.003906, 1048576),
    (429260800, 8.0e9, 0.001953, 262144), (429260800, 2.27e10, 0.00195, 393216),
    (429260800, 4.0e10, 0.00276, 524288), (429260800, 5.0e10, 0.001953, 524288),
    (536872960, 1.0e10, 0.000977, 262144), (536872960, 2.84e10, 0.00195, 393216),
    (536872960, 5.0e10, 0.00276, 720896), (1073741824, 2.0e10, 0.001381, 524288),
    (1073741824, 5.69e10, 0.001381, 524288),
])  # fmt: skip
"""Params, tokens, learning rate and tokens of a batch of the dense run of lowest smoothed loss, cell by cell."""


TRUTH = {
    "lr_best": 1.79 * 1e9**-0.713 * 1e11**0.307, "lr_params": -0.713, "lr_tokens": 0.307,
    "batch_best": 0.58 * 1e11**0.571, "batch_growth": 0.571, "lr_cost": 0.006, "batch_cost": 0.005,
}  # fmt: skip
"""The published best values, with costs typical of their 17 cells."""
LOGGED = ("lr_best", "batch_best", "lr_cost", "batch_cost")


def regressed(y: np.ndarray, *columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares exponents of columns and their standard errors; all in logs."""
    x = np.column_stack([np.ones(len(y)), *map(np.log, columns)])
    found = np.linalg.lstsq(x, np.log(y), rcond=None)[0]
    rest = np.log(y) - x @ found
    covariance = rest @ rest / (len(y) - x.shape[1]) * np.linalg.inv(x.T @ x)
    return found[1:], np.sqrt(np.diag(covariance))[1:]


def test_step_law_2025_the_exponents_of_the_best_runs_are_the_published_ones_within_two_standard_errors():
    params, tokens, lr, batch = BEST.T
    for found, error, published in (
        *zip(*regressed(lr, params, tokens), (-0.713, 0.307), strict=True),
        *zip(*regressed(batch, tokens), (0.571,), strict=True),
    ):
        assert abs(found - published) < 2 * error
        assert error < 0.13  # informative: no exponent near zero would pass


def test_deepseek_2024_and_bergsma_2025_exponents_are_within_the_priors():
    """DeepSeek: the best rate falls as C^-0.125, and the best batch grows as C^0.327. Bergsma et al.: as D^0.383."""
    lr, tokens = (Tuning.parameters[name].prior for name in ("lr_params", "lr_tokens"))
    by_compute = (lr.loc + tokens.loc) / 2, np.hypot(lr.scale, tokens.scale) / 2
    assert abs(-0.125 - by_compute[0]) < 1.64 * by_compute[1]
    low, high = Tuning.parameters["batch_growth"].prior.interval()
    assert low < 0.383 < high
    assert low < 0.327 * 2 < high  # tokens grow as the root of compute


def test_a_tuned_run_has_the_loss_of_the_law_and_others_more():
    spent = {"params": jnp.log(5e9), "tokens": jnp.log(3e11)}
    best = {"lr": 1.79 * 5e9**-0.713 * 3e11**0.307, "batch_tokens": 0.58 * 3e11**0.571}
    with jax.enable_x64(True):
        for lr, batch in ((1.0, 1.0), (2.0, 1.0), (0.5, 1.0), (1.0, 4.0)):
            run = spent | {"lr": jnp.log(lr * best["lr"]), "batch_tokens": jnp.log(batch * best["batch_tokens"])}
            more = Tuning.penalized(0.9, run, None, **TRUTH) - 0.9
            assert float(more) == pytest.approx(0.006 * np.log(lr) ** 2 + 0.005 * np.log(batch) ** 2, abs=1e-5)


def made_runs(rng: np.random.Generator) -> pd.DataFrame:
    """Runs by the additive law at nine cells, with learning rates and batches up to a factor of eight from the best."""
    cells = [(n, r * n) for n in (5e7, 2e8, 8e8) for r in (10, 40, 160)]
    params, tokens = np.repeat(np.array(cells), 8, axis=0).T
    lr_best, batch_best = 1.79 * params**-0.713 * tokens**0.307, 0.58 * tokens**0.571
    off, also = rng.uniform(-2, 2, (2, len(params)))
    loss = np.log(1.8 + 480 * params**-0.35 + 2090 * tokens**-0.37) + 0.006 * off**2 + 0.005 * also**2
    loss += 0.003 * rng.standard_normal(len(params))
    return pd.DataFrame({"params": params, "tokens": tokens, "lr": lr_best * np.exp(off),
                         "batch_tokens": batch_best * np.exp(also), "loss": np.exp(loss)})  # fmt: skip


@pytest.mark.slow
def test_the_best_learning_rate_and_batch_are_recovered_from_runs_that_are_not_tuned():
    fit = bs.fit(bs.load_runs(made_runs(np.random.default_rng(1))), "tuning", seed=0, progress=False)
    assert fit.converged
    for name, value in TRUTH.items():
        draws = fit.posterior[name].to_numpy().ravel()
        draws, expected = (np.log(draws), np.log(value)) if name in LOGGED else (draws, value)
        assert abs(draws.mean() - expected) < 3 * draws.std(), name


def test_a_query_without_learning_rate_and_batch_is_of_a_tuned_run():
    spent = {"params": jnp.log(5e9), "tokens": jnp.log(3e11), "lr": jnp.log(1e-12), "batch_tokens": jnp.log(1e-3)}
    with jax.enable_x64(True):
        assert float(Tuning.penalized(jnp.array(0.9), spent, None, **TRUTH)) == 0.9
