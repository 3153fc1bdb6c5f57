"""Gadre et al. 2024: forecasts of over-trained and of larger models from five runs, as a point and as a posterior."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import curve_fit

import bayescale as bs

TARGETS = ("open_lm_1b-32.0", "open_lm_7b-1.0")  # 1.4B params at 640 tokens per param; 6.9B params at 20


@pytest.fixture(scope="module")
def runs() -> bs.Runs:
    return bs.load_runs("gadre2024").where(benchmark="hellaswag")  # the loss is the same in all rows of a run


def of_the_fit(runs: bs.Runs) -> bs.Runs:
    """Four sizes at 20 tokens per param, and the smallest at 320."""
    ratio = np.round(runs["tokens"] / runs["params"])
    smallest = runs["params"] == runs["params"].min()
    return runs.take(((ratio == 20) & (runs["params"] < 5e8)) | ((ratio == 320) & smallest))


def targets(runs: bs.Runs) -> pd.DataFrame:
    frame = runs.frame
    return pd.concat([frame[frame["run_id"].str.endswith(name)] for name in TARGETS]).reset_index(drop=True)


def law(at: tuple, a: float, b: float, exponent: float, floor: float) -> np.ndarray:
    params, ratio = at
    return floor + a * params**exponent + b * 6 ** (exponent / 2) * (ratio * params) ** exponent


PUBLISHED = {
    "C4": ((113.693, 189.516, -0.24247, 1.50826), (4.3,)),
    "RedPajama": ((166.211, 366.687, -0.27285, 1.83665), (0.71, 0.73)),
    "RefinedWeb": ((125.096, 246.207, -0.25439, 1.73446), (1.6,)),
}
"""Coefficients, and errors of the forecasts in per cent; only RedPajama has the run of 640 tokens per param."""


@pytest.mark.parametrize("data", PUBLISHED)
def test_gadre_2024_the_point_fit_has_the_published_coefficients_and_errors(data: str, runs: bs.Runs) -> None:
    of = runs.where(family=f"OpenLM-{data}")
    five, far = of_the_fit(of), targets(of)
    assert len(five) == 5
    start = (100.0, 200.0, -0.25, 1.7)
    found, _ = curve_fit(law, (five["params"], five["tokens"] / five["params"]), five["loss"], start, maxfev=100_000)
    coefficients, errors = PUBLISHED[data]
    np.testing.assert_allclose(found, coefficients, rtol=1e-4)
    forecast = law((far["params"], far["tokens"] / far["params"]), *found)
    percent = 100 * np.abs(forecast / far["loss"] - 1)
    assert tuple(float(f"{error:.2g}") for error in percent) == errors


@pytest.mark.slow
def test_gadre_2024_the_posterior_covers_what_the_point_fit_forecasts(runs: bs.Runs) -> None:
    """Four coefficients and a noise from five runs: the prior makes this a forecast with an honest width."""
    of = runs.where(family="OpenLM-RedPajama")
    fit = bs.fit(of_the_fit(of), "tied", seed=0)
    assert fit.converged
    far = targets(of)
    found = bs.forecast(fit, far[["family", "params", "tokens"]]).summary
    assert (found["q05"] < far["loss"]).all()
    assert (far["loss"] < found["q95"]).all()
    assert (found["q95"] / found["q05"] < 1.15).all()
    np.testing.assert_allclose(found["q50"], far["loss"], rtol=0.03)
    exponents = fit.posterior["exponent"]
    assert float(exponents.quantile(0.05)) < 0.27285 < float(exponents.quantile(0.95))
