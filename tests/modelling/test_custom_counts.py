"""Counts of a user's own model whose probability leaves 0 to 1, where NumPyro's sampler may not end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import pandas as pd
import pytest
from numpyro import distributions as dist

import bayescale as bs
from bayescale.core.errors import QueryError
from bayescale.evaluation.simulation import simulate

SLOPE, ITEMS = 0.2, 100


def line(design: Any) -> None:
    """A share of items that rises on a line."""
    share = _share(design)
    with numpyro.plate("run", len(design.family)):
        numpyro.sample("right", _binomial(design, share), obs=design.observed.get("right"))


def wrapped(design: Any) -> None:
    """The same under a mask and an expansion, with its location named."""
    share = _share(design)
    numpyro.deterministic("right_location", share)
    with numpyro.plate("run", len(design.family)):
        numpyro.sample("right", _binomial(design, share).mask(True), obs=design.observed.get("right"))


def _share(design: Any) -> Any:
    slope = numpyro.sample("slope", dist.Normal(SLOPE, 1.0))
    return 0.3 + slope * jnp.log(design.columns["flops"] / 1e20)


def _binomial(design: Any, share: Any) -> dist.Distribution:
    return dist.Binomial(design.columns["right_n_items"].astype(int), share)


MODELS = [line, wrapped]


def model_of(function: Callable[[Any], None]) -> bs.CustomModel:
    return bs.custom_model(columns=("flops",), observes={"right": "count"})(function)


@pytest.fixture(scope="module")
def runs() -> bs.Runs:
    flops = np.geomspace(1e20, 1e21, 8)
    right = np.round(ITEMS * (0.3 + SLOPE * np.log(flops / 1e20)))
    table = {"family": "a", "run_id": range(8), "flops": flops, "right": right, "right_n_items": ITEMS}
    return bs.load_runs(pd.DataFrame(table), name="counts")


@pytest.mark.parametrize("function", MODELS)
def test_simulations_with_a_probability_that_is_none_are_dropped(
    function: Callable[[Any], None], runs: bs.Runs
) -> None:
    """The slope decides which: 0.3 + slope · ln(10) is the share of the last run."""
    found = simulate(model_of(function), runs, simulations=40, seed=0)
    last = 0.3 + found.truths["slope"] * np.log(10)
    assert set(found.dropped) == set(last.index[(last < 0) | (last > 1)])
    assert 0 < len(found.dropped) < 40
    assert all((table["right"] <= ITEMS).all() for table in found.tables.values())


@pytest.mark.parametrize("function", MODELS)
def test_a_forecast_with_a_probability_that_is_none_is_refused(function: Callable[[Any], None], runs: bs.Runs) -> None:
    drawn = {"slope": SLOPE + 0.001 * np.random.default_rng(0).standard_normal((4, 100))}
    fit = bs.Fit.from_samples(drawn, model_of(function), runs)
    near = bs.forecast(fit, flops=3e20, right_n_items=ITEMS).summary["q50"].item()
    assert near == pytest.approx(ITEMS * (0.3 + SLOPE * np.log(3)), abs=3)
    with pytest.raises(QueryError, match=r"'right' gives no probability(?s:.*)0 to 1"):
        bs.forecast(fit, flops=1e24, right_n_items=ITEMS)
