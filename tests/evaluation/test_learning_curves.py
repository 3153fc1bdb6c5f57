"""Training curves over tokens: the end of a curve from its beginning, and recovery of what made simulated curves."""

from __future__ import annotations

from functools import lru_cache

import jax
import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.parts.discrepancies.curve import Curve

CUT = 400_000  # of 2,000,000 steps
SIZES = ("base", "large", "xl", "xxl")


@lru_cache
def ends(size: str) -> pd.DataFrame:
    """Forecast of the last four fifths of a curve from the first, the losses, and the last loss before them."""
    runs = bs.load_runs("pile-t5").where(family=f"Pile-T5-{size}", exclusion="")
    first, rest = runs.take(runs["step"] <= CUT), runs.frame[runs["step"] > CUT].reset_index(drop=True)
    fit = bs.fit(first, "learning-curves", seed=0)
    assert fit.converged, fit.verdict
    found = bs.forecast(fit, queries=rest[["family", "group", "params", "tokens"]]).summary
    return found[["q05", "epred_q50", "q95"]].assign(loss=rest["loss"], last=float(first["loss"][-1]))


def rms(error: pd.Series) -> float:
    return float(np.sqrt(np.mean(error**2)))


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_pile_t5_the_end_of_a_curve_is_forecast_with_less_than_half_the_error_of_its_last_loss(size: str) -> None:
    found = ends(size)
    assert rms(found["epred_q50"] - found["loss"]) < 0.5 * rms(found["last"] - found["loss"])


@pytest.mark.slow
def test_pile_t5_the_intervals_are_too_narrow_as_the_page_of_curve_says() -> None:
    every = pd.concat(map(ends, SIZES))
    covered = int(every["loss"].between(every["q05"], every["q95"]).sum())
    assert abs(covered - 35) <= 2  # Monte Carlo error at the edges of intervals
    assert f"35 of {len(every)} losses" in " ".join((Curve.__doc__ or "").split())


def simulated(seed: int, truth: dict[str, float]) -> bs.Runs:
    """One curve of 30 checkpoints over two decades of tokens, whose errors are an autocorrelated process."""
    rng, x = np.random.default_rng(seed), np.log(np.geomspace(1e10, 1e12, 30))
    apart = np.abs(x[:, None] - x[None, :]) / Curve.length
    error = truth["curve"] * np.linalg.cholesky(np.exp(-apart) + 1e-12 * np.eye(len(x))) @ rng.standard_normal(len(x))
    law = np.log1p(truth["ratio_X"] * np.exp(-truth["exponent"] * (x - x.mean()))) - np.log1p(truth["ratio_X"])
    loss = 3.0 * np.exp(law + error + truth["sigma"] * rng.standard_normal(len(x)))
    frame = pd.DataFrame({"params": 1e9, "tokens": np.exp(x), "loss": loss, "group": "one"})
    return bs.load_runs(frame, loss_unit="nats")


@pytest.mark.slow
def test_what_made_simulated_curves_is_recovered() -> None:
    truth = {"ratio_X": 0.25, "exponent": 0.35, "curve": 0.005, "sigma": 0.002}
    spec, z = bs.load_spec("learning-curves"), []
    for seed in range(4):
        fit = bs.fit(simulated(seed, truth), spec, seed=seed)
        assert fit.converged, fit.verdict
        with jax.enable_x64(True):
            for site in ("ratio_X", "exponent", "curve"):
                inverse = dict(spec.settings)[site].prior.transform.inv
                drawn = np.asarray(inverse(fit.posterior[site].to_numpy()))
                z.append((float(inverse(truth[site])) - drawn.mean()) / drawn.std())
    assert np.max(np.abs(z)) < 3.7  # of twelve, with probability 0.003
