"""A floor under the noise: a table without noise is fitted in seconds, and no other table is touched."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.inference.floor import LEAST, LEAST_SHARED
from bayescale.runs.resolution import resolution


def simulated(decimals: int | None = None) -> pd.DataFrame:
    """Seventy-two runs of a simulator: Chinchilla's law without noise."""
    params, tokens = (x.ravel() for x in np.meshgrid(np.geomspace(1e8, 1e10, 8), np.geomspace(2e9, 2e11, 9)))
    loss = 1.8172 + 482.01 * params**-0.3478 + 2085.43 * tokens**-0.3658
    return pd.DataFrame(
        {"params": params, "tokens": tokens, "loss": loss if decimals is None else loss.round(decimals)}
    )


@pytest.mark.parametrize(("values", "unit"), [
    ([2.35, 3.1], 0.01), ([3.0, 4.0], 1.0), ([2.123456789], 1e-9), ([1 / 3, 2.0], 0.0), ([2.5, np.nan], 0.1),
])  # fmt: skip
def test_the_resolution_is_the_unit_of_the_last_digit(values: list[float], unit: float) -> None:
    assert resolution(np.array(values)) == unit


def test_runs_without_noise_converge_to_the_floor_which_is_stated() -> None:
    runs = bs.load_runs(simulated(), loss_unit="nats")
    fit = bs.fit(runs, "additive", seed=0, progress=False)
    assert fit.converged
    assert fit.meta["engine"]["noise_floor"] == pytest.approx(LEAST)
    assert "moved at random within this floor" in repr(fit)

    assert abs(float(fit.posterior["alpha_N"].mean()) - 0.3478) < 4 * float(fit.posterior["alpha_N"].std())
    assert np.array_equal(fit.design_frame["loss"], runs["loss"])  # what was observed is kept
    shuffled = bs.load_runs(simulated().sample(frac=1.0, random_state=3), loss_unit="nats")
    again = bs.fit(shuffled, "additive", seed=0, progress=False)
    assert float(again.posterior["sigma"].mean()) == pytest.approx(float(fit.posterior["sigma"].mean()), rel=0.1)


def test_coarse_losses_have_the_resolution_as_floor() -> None:
    runs = bs.load_runs(simulated(decimals=1), loss_unit="nats")
    fit = bs.fit(runs, "additive", seed=0, progress=False)
    assert fit.converged
    assert fit.meta["engine"]["noise_floor"] == pytest.approx(0.1 / 12**0.5 / runs["loss"].min())


@pytest.mark.filterwarnings("ignore::bayescale.core.errors.ConvergenceWarning")  # 20 draws are few
@pytest.mark.parametrize(("noise", "floor"), [(0.0, LEAST_SHARED), (3e-4, None)])
def test_where_runs_share_errors_the_law_alone_says_whether_there_is_noise(noise: float, floor: float | None) -> None:
    """With shared errors the model could pass through every run, and no residual would be left in either table."""
    frame = simulated()
    frame["loss"] *= np.exp(noise * np.random.default_rng(0).normal(size=len(frame)))
    hasty = bs.fit(bs.load_runs(frame, loss_unit="nats"), "default", seed=0, draws=20, warmup=20, progress=False)
    found = hasty.meta["engine"].get("noise_floor")
    assert found == (None if floor is None else pytest.approx(floor))


@pytest.mark.filterwarnings("ignore::bayescale.core.errors.ConvergenceWarning")  # 20 draws are few
@pytest.mark.parametrize(("times", "floor"), [(3, LEAST_SHARED), (1, None)])
def test_runs_that_repeat_others_to_the_last_digit_have_a_floor_where_runs_share_errors(
    times: int, floor: float | None
) -> None:
    """Shared errors explain the misfit of each size, and the repeats say that there is no noise."""
    frame = simulated()
    frame["loss"] *= np.exp(5e-3 * np.random.default_rng(0).normal(size=len(frame)))
    frame = pd.concat([frame] * times).assign(run_id=range(times * len(frame)))
    hasty = bs.fit(bs.load_runs(frame, loss_unit="nats"), "default", seed=0, draws=20, warmup=20, progress=False)
    found = hasty.meta["engine"].get("noise_floor")
    assert found == (None if floor is None else pytest.approx(floor))


@pytest.mark.slow
def test_the_default_converges_on_runs_without_noise() -> None:
    fit = bs.fit(bs.load_runs(simulated(), loss_unit="nats"), "default", seed=0, progress=False)
    assert fit.converged, fit.verdict
    assert float(fit.posterior["sigma"].mean()) < LEAST_SHARED


def test_runs_with_noise_have_no_floor(chinchilla_fit: bs.Fit, trio_fit: bs.Fit) -> None:
    for fit in (chinchilla_fit, trio_fit):
        assert "noise_floor" not in fit.meta["engine"]
        assert fit.floor_words == ""
