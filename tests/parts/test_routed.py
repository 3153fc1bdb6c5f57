"""Laws of routed models at fixed tokens and of their granularity, against the figures of their papers."""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd
import pytest
from numpyro import handlers
from scipy.optimize import least_squares

import bayescale as bs
from bayescale.parts.laws.granular import Granular

PRINTED = {  # Table 3 of Clark et al. 2022: a, b, c, d, E_start, E_max
    "S-Base": (-0.082, -0.108, 0.009, 1.104, 1.847, 314.478),
    "RL-R": (-0.083, -0.126, 0.012, 1.111, 1.880, 469.982),
    "Hash": (-0.087, -0.136, 0.012, 1.157, 4.175, 477.741),
}
FREE = {  # least squares with a free saturation, on the same runs
    "S-Base": (-0.0830, -0.1180, 0.0099, 1.1136),
    "RL-R": (-0.0827, -0.1234, 0.0112, 1.1070),
    "Hash": (-0.0874, -0.1384, 0.0126, 1.1595),
}


def effective(experts, start, most):
    return 1 / (1 / (experts - 1 + 1 / (1 / start - 1 / most)) + 1 / most)


def of_clark(frame: pd.DataFrame, a, b, c, d, start, most) -> np.ndarray:
    n, e = np.log10(frame["active_params"]), np.log10(effective(frame["experts"], start, most))
    return (a * n + b * e + c * n * e + d).to_numpy()


def least(frame: pd.DataFrame, *ends: float) -> tuple[np.ndarray, float]:
    """Coefficients by least squares on log10 of the loss, and the root mean square error; `ends` if not free."""
    y = np.log10(frame["loss"]).to_numpy()

    def error(x: np.ndarray) -> np.ndarray:
        return of_clark(frame, *x[:4], *(ends or np.exp(x[4:]))) - y

    first = [-0.08, -0.12, 0.01, 1.1, *([] if ends else np.log([2.0, 400.0]))]
    found = least_squares(error, first, x_scale=[0.01, 0.01, 0.001, 0.1, 1, 1][: len(first)], xtol=1e-14, ftol=1e-14)
    return found.x, float(np.sqrt(np.mean(found.fun**2)))


@pytest.mark.parametrize("router", PRINTED)
def test_clark_2022_law_of_routed_models(router: str) -> None:
    """The printed coefficients at the printed saturation, and those with a free one, with an error of 0.003."""
    frame = bs.load_runs("clark2022").where(family=router).frame.astype({"experts": float})
    fixed, error = least(frame, *PRINTED[router][4:])
    np.testing.assert_allclose(fixed, PRINTED[router][:4], rtol=0, atol=0.005)
    assert error == pytest.approx(0.003, abs=0.0005)
    free, error = least(frame)
    np.testing.assert_allclose(free[:4], FREE[router], rtol=0, atol=0.0002)
    assert error == pytest.approx(0.003, abs=0.0005)


@pytest.mark.slow
def test_the_posterior_of_clarks_law_covers_its_point_fit() -> None:
    runs = bs.load_runs("clark2022").where(family="RL-R")
    fit = bs.fit(runs, "routed-power", seed=0, draws=500)
    assert fit.converged
    for name, value in zip("abcd", FREE["RL-R"], strict=True):
        low, high = np.quantile(fit.posterior[name], [0.025, 0.975])
        assert low < value < high, name


def test_noise_rises_by_its_power_of_experts_which_the_law_reads_as_a_log() -> None:
    spec, runs = bs.load_spec("routed-power"), bs.load_runs("clark2022").where(family="Hash")
    runs = bs.load_runs(runs.frame.astype({"experts": float}), loss_unit="nats")
    given = handlers.substitute(handlers.seed(bs.model(spec, runs), 0), data={"sigma": 0.004, "rise": 0.15})
    loss = handlers.trace(given).get_trace()["loss"]["fn"]
    while hasattr(loss, "base_dist"):
        loss = loss.base_dist
    np.testing.assert_allclose(loss.scale, 0.004 * runs["experts"] ** 0.15, rtol=1e-5)


def test_krajewski_2024_law_of_granularity_counts_all_params() -> None:
    """Table 1 for routed models: a 18.1, alpha 0.115, b 30.8, beta 0.147, g 2.1, gamma 0.58, c 0.47."""
    anchor, (a, alpha, b, beta, g, gamma, c) = (1e9, 2e10, 4.0), (18.1, 0.115, 30.8, 0.147, 2.1, 0.58, 0.47)
    n0, d0, g0 = anchor
    by_params, by_tokens = (a + g / g0**gamma) / n0**alpha, b / d0**beta
    values = {"level": c + by_params + by_tokens, "ratio_A": by_params / c, "ratio_B": by_tokens / c, "alpha_N": alpha,
              "beta_D": beta, "coarse": g / g0**gamma / a, "fineness": gamma}  # fmt: skip

    def loss(*inputs: float) -> float:
        with jax.enable_x64(True):
            return float(np.exp(Granular.log_loss(*(np.log(inputs) - np.log(anchor)), **values)))

    endless = 1e40
    assert loss(64 * 25e6, 16e9, endless) == pytest.approx(3.03, abs=0.005)
    assert loss(25e6, 16e9, endless) == pytest.approx(4.0, abs=0.005)  # as if the params that a token uses counted
    np.testing.assert_allclose(loss(3e9, 5e10, 8.0), c + (g / 8**gamma + a) / 3e9**alpha + b / 5e10**beta, rtol=1e-12)
