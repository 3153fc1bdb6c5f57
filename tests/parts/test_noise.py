"""Noise: scales that differ between runs, by compute and by how well a loss was measured."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.parts.base import Rows
from bayescale.parts.catalogue import catalogue

NOISE = catalogue("bayescale.parts.noise")
LOSS = 2.5


def scale(of, columns: dict, **parameters: float) -> np.ndarray:
    """Scale on log loss of each run's noise."""
    return np.asarray(of.distribution(np.log(LOSS), columns, nu=5.0, **parameters).base_dist.scale)


def sweep(seed: int = 0) -> pd.DataFrame:
    """Thirty runs of the additive law, a third of them measured with an error of .1 nats."""
    random = np.random.default_rng(seed)
    params, ratio = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e7, 1e9, 6), [2, 6, 20, 60, 200]))
    tokens = params * ratio
    loss = 1.8 + 0.7 * (params / 1e8) ** -0.34 + 0.5 * (tokens / 1e10) ** -0.37
    error = np.where(np.arange(len(params)) % 3 == 0, 0.1, 0.0)
    loss = loss * np.exp(0.002 * random.standard_normal(len(params))) + error * random.standard_normal(len(params))
    return pd.DataFrame({"params": params, "tokens": tokens, "loss": loss, "loss_error": error})


def test_noise_falls_by_its_power_of_compute_and_not_beyond_the_runs():
    of = NOISE["heteroscedastic"]
    flops = np.log(np.array([1e18, 1e19, 1e21, 1e23]))
    none = np.array([""] * 4, object)
    basis = of.basis(Rows(np.zeros((4, 2)), flops, none), Rows(np.zeros((3, 2)), flops[:3], none[:3]))
    found = scale(of, {of.name: basis}, sigma=0.004, fall=0.2)
    np.testing.assert_allclose(found, 0.004 * np.array([1e3, 1e2, 1, 1]) ** 0.2, rtol=1e-5)


def test_a_known_error_is_added_in_quadrature():
    found = scale(NOISE["measured"], {"loss_error": np.array([0.0, 0.03])}, sigma=0.004)
    np.testing.assert_allclose(found, [0.004, np.hypot(0.004, 0.03 / LOSS)], rtol=1e-5)


@pytest.fixture(scope="module")
def measured():
    spec = bs.make_spec("measured", law="additive", responses={"loss": "measured"}, pooling={"default": "none"})
    return bs.fit(bs.load_runs(sweep()), spec, seed=0)


def test_badly_measured_runs_do_not_pass_for_scatter(measured):
    plain = bs.fit(bs.load_runs(sweep()), "additive-unpooled", seed=0)
    row, other = measured.summary.loc["sigma"], plain.summary.loc["sigma"]
    assert measured.converged
    assert abs(np.log(row["mean"] / 0.002)) < 4 * row["sd"] / row["mean"]
    assert other["mean"] > 2 * row["mean"]  # without the errors they are taken for scatter, or for heavy tails


def test_a_forecast_is_of_the_loss_unless_the_query_names_an_error(measured):
    queries = {"params": [1e9, 1e9], "tokens": [1e11, 1e11]}
    free = bs.forecast(measured, **queries).summary
    told = bs.forecast(measured, **queries, loss_error=[0.0, 0.1]).summary
    assert told["q95"][0] - told["q05"][0] == pytest.approx(free["q95"][0] - free["q05"][0], rel=1e-6)
    assert told["q95"][1] - told["q05"][1] > 0.1
    assert bs.decide(bs.Allocation("1e21"), measured).to_dict()["verdict"] == "converged"


def test_an_error_below_zero_and_one_left_out_are_refused():
    with pytest.raises(bs.BayescaleError, match="loss_error"):
        bs.load_runs(sweep().assign(loss_error=-0.1))
    spec = bs.make_spec("measured", law="additive", responses={"loss": "measured"}, pooling={"default": "none"})
    with pytest.raises(bs.BayescaleError, match="loss_error"):
        bs.fit(bs.load_runs(sweep().drop(columns="loss_error")), spec)
