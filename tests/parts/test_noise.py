"""Noise: scales that differ between runs, by compute and by how well a loss was measured."""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest, truncnorm, uniform

import bayescale as bs
from bayescale.core.errors import QueryError
from bayescale.core.precision import float64
from bayescale.parts.base import AbstractResponse, Parameter, Rows
from bayescale.parts.catalogue import catalogue
from bayescale.parts.noise.share import UnitNormal
from bayescale.parts.priors import LogNormal

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


def test_a_probability_beyond_rounding_has_no_density_and_ends_the_draw() -> None:
    """Several draws at a time, as forecasts are made: NumPyro's own sampler does not end above 1."""
    columns = {"n_items": np.array([10.0])}

    def of(share: jax.Array) -> tuple[jax.Array, jax.Array]:
        noise = NOISE["binomial"].distribution(share, columns)
        return noise.sample(jax.random.key(0)), noise.log_prob(np.array([10]))

    shares = np.array([[1.0], [1 + 1e-7], [-1e-7], [1.5], [-0.5], [np.nan]])
    with float64():
        drawn, density = (np.ravel(x) for x in jax.vmap(of)(shares))
    np.testing.assert_array_equal(drawn, [10, 10, 0, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(np.isnan(density), [False] * 3 + [True] * 3)


@pytest.mark.parametrize("spread", [0.02, 0.7, 1e5, 1e30])
def test_a_share_is_normal_between_0_and_1_however_wide_its_noise(spread: float) -> None:
    """Beyond a spread of about 1, it is uniform."""
    seen, center = np.linspace(0.05, 0.95, 7), 0.3
    with float64():
        noise = UnitNormal(center, spread)
        density, drawn = np.asarray(noise.log_prob(seen)), np.asarray(noise.sample(jax.random.key(0), (2000,)))
    ends = (np.array([0, 1]) - center) / spread
    law = truncnorm(*ends, center, spread) if spread < 1e3 else uniform()
    np.testing.assert_allclose(density, law.logpdf(seen), rtol=1e-9, atol=1e-9)
    assert kstest(drawn, law.cdf).pvalue > 1e-4


class Line(AbstractResponse):
    """A share of items that falls with the loss on a line, and so exceeds 1 at a small loss."""

    name = "line"
    source = "a test of this project"
    observed = "n_correct"
    requires = ("n_items",)
    kind = "count"
    unit = "items"
    parameters = {"slope": Parameter(LogNormal(0.2, 0.01), "1/nat", "how much a nat is worth", 0.1)}

    @staticmethod
    def location(log_loss, columns, *, slope):
        return 1.4 - slope * jax.numpy.exp(log_loss)


@pytest.mark.parametrize("noise", ["binomial", "beta-binomial"])
def test_a_forecast_of_a_share_above_one_is_refused(noise: str, drawn_fit: bs.Fit, ours: bs.Runs) -> None:
    responses = {"loss": "student-t", "line": {"response": Line, "noise": noise}}
    spec = bs.make_spec("line", law="additive", responses=responses)
    runs = bs.load_runs(ours.frame.assign(line_n_items=100, line=50), loss_unit="nats")
    drawn = {name: drawn_fit.posterior[name].to_numpy() for name in drawn_fit.sampled}
    more = {"slope_line": 0.2, "concentration_line": 200.0}
    spread = np.exp(0.01 * np.random.default_rng(0).standard_normal(drawn_fit.shape))
    drawn |= {name: value * spread for name, value in more.items() if name in spec.parameters}
    fit = bs.Fit.from_samples(drawn, spec, runs)
    near, far = {"params": 1e9, "tokens": 2e10}, {"params": 1e13, "tokens": 1e15}
    assert 0 < bs.forecast(fit, **near, line_n_items=100, response="line").summary["q50"][0] < 100
    with pytest.raises(QueryError, match=r"'line' gives no probability(?s:.*)0 to 1(?s:.*)at query 0"):
        bs.forecast(fit, **far, line_n_items=100, response="line")
