"""Laws of routed models against the figures of their papers, and the runs that ship."""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import least_squares, minimize_scalar

import bayescale as bs
from bayescale.parts.laws.routed import RoutedJoint

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

JOINT = {  # Table 3 of Ludziejewski et al. 2025; their c is E
    "A": 35.91, "alpha": -0.1889, "delta": -0.2285, "gamma": 0.0098, "B": 35.98, "beta": -0.1775, "omega": 0.5529,
    "zeta": -0.0259, "E_start": 2.0732, "E_max": 290.4521, "E": 1.3637,
}  # fmt: skip
REDUCED = {  # Table 4: experts → m, mu, n, nu
    1: (30.3640, -0.1817, 53.9838, -0.1965),
    2: (27.7982, -0.1780, 66.8401, -0.2065),
    4: (24.8462, -0.1731, 87.7022, -0.2192),
    8: (21.8330, -0.1676, 119.9126, -0.2338),
    16: (19.0159, -0.1617, 167.5073, -0.2494),
    32: (16.5424, -0.1557, 234.6726, -0.2652),
}
OPTIMA = {  # Table 1: FLOP → billions of active params and of tokens, by experts
    1e20: {1: (1.7, 9.7), 2: (1.5, 11.4), 4: (1.2, 13.9), 8: (0.99, 17), 16: (0.81, 20.7), 32: (0.669, 24.9)},
    1e21: {1: (5.7, 29.3), 2: (5, 33), 4: (4.4, 38), 8: (3.8, 44.3), 16: (3.3, 51.2), 32: (2.85, 58.4)},
    1e22: {1: (18.8, 88.6), 2: (17.4, 96), 4: (15.8, 105.4), 8: (14.4, 115.8), 16: (13.2, 126.5), 32: (12.2, 136.9)},
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


def joint_at(n0: float, d0: float, experts: float) -> dict[str, float]:
    """Parameters of the joint law at an anchor, from its printed constants."""
    p, e = JOINT, np.log(effective(experts, JOINT["E_start"], JOINT["E_max"]))
    n, d = np.log(n0), np.log(d0)
    by_params = p["A"] * np.exp(p["delta"] * e + (p["alpha"] + p["gamma"] * e) * n)
    by_tokens = p["B"] * np.exp(p["omega"] * e + (p["beta"] + p["zeta"] * e) * d)
    return {
        "level": p["E"] + by_params + by_tokens,
        "ratio_A": by_params / p["E"],
        "ratio_B": by_tokens / p["E"],
        "alpha_N": -p["alpha"] - p["gamma"] * e,
        "beta_D": -p["beta"] - p["zeta"] * e,
        "gain_A": -p["delta"] - p["gamma"] * n,
        "gain_B": -p["omega"] - p["zeta"] * d,
        "fade_A": p["gamma"],
        "grow_B": -p["zeta"],
        "onset": (1 / (1 / p["E_start"] - 1 / p["E_max"]) - 1) / experts,
        "ceiling": p["E_max"] / experts,
    }


ANCHOR = (4e8, 8e9, 5.0)


def joint_loss(params, tokens, experts) -> np.ndarray:
    """Loss of the shipped law at the printed constants."""
    inputs = [np.log(x) - np.log(x0) for x, x0 in zip((params, tokens, experts), ANCHOR, strict=True)]
    with jax.enable_x64(True):
        return np.exp(np.asarray(RoutedJoint.log_loss(*inputs, **joint_at(*ANCHOR))))


def test_ludziejewski_2025_constants_come_back_from_any_anchor() -> None:
    with jax.enable_x64(True):
        found = RoutedJoint.published(*np.log(ANCHOR), loss=0.0, **joint_at(*ANCHOR))
    assert found.keys() == JOINT.keys()
    for name, value in JOINT.items():
        assert float(found[name]) == pytest.approx(value, rel=1e-9), name


@pytest.mark.parametrize("experts", REDUCED)
def test_ludziejewski_2025_table_4_reduced_to_one_number_of_experts(experts: int) -> None:
    m, mu, n, nu = REDUCED[experts]
    params, tokens = np.geomspace(1e8, 1e11, 7)[:, None], np.geomspace(1e9, 1e13, 7)
    reduced = m * params**mu + n * tokens**nu + JOINT["E"]
    np.testing.assert_allclose(joint_loss(params, tokens, float(experts)), reduced, rtol=0.001)
    endless = 1e300  # of the other input, so that one term and the floor are left
    terms = joint_loss(params, endless, float(experts)) - JOINT["E"], joint_loss(endless, tokens, float(experts))
    found = [*_power(params[:, 0], terms[0][:, 0]), *_power(tokens, terms[1] - JOINT["E"])]
    np.testing.assert_allclose(found, REDUCED[experts], rtol=0.003)


def _power(x: np.ndarray, term: np.ndarray) -> tuple[float, float]:
    slope, constant = np.polyfit(np.log(x), np.log(term), 1)
    return float(np.exp(constant)), float(slope)


@pytest.mark.parametrize("flops", OPTIMA)
def test_ludziejewski_2025_table_1_optima(flops: float) -> None:
    for experts, (params, tokens) in OPTIMA[flops].items():
        found = minimize_scalar(
            lambda n, e=float(experts): float(joint_loss(np.exp(n), flops / (6 * np.exp(n)), e)),
            bounds=(np.log(1e8), np.log(1e12)),
            method="bounded",
            options={"xatol": 1e-6},
        )
        best = np.exp(found.x) / 1e9
        for value, printed in ((best, params), (flops / (6e18 * best), tokens)):
            rounded = 0.5 * 10.0 ** -len(f"{printed}".partition(".")[2])  # half a unit of the last printed digit
            assert abs(value - printed) < max(0.015 * printed, rounded)
