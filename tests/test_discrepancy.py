"""Discrepancy: nothing inside the runs, an error that grows beyond them, its prior untouched by the fit."""

from __future__ import annotations

import numpy as np
import pytest

import bayescale as bs
from bayescale.law import Normal

GROWTH = Normal(-0.01, 0.02)


@pytest.fixture(scope="module")
def fits(chinchilla):
    plain = bs.make_spec("plain", law="coupled", pooling={"default": "none"})
    grown = bs.make_spec("grown", law="coupled", pooling={"default": "none"}, discrepancy="growth")
    return {spec.name: bs.fit(chinchilla, spec, seed=0) for spec in (plain, grown.with_prior(growth=GROWTH))}


def test_its_posterior_is_its_prior_and_the_law_is_not_touched(fits):
    grown, plain = fits["grown"].summary, fits["plain"].summary
    row = grown.loc["growth"]
    error = GROWTH.scale / np.sqrt(row["ess_bulk"])
    assert abs(row["mean"] - GROWTH.median) < 4 * error
    for name in plain.index:
        errors = [table.loc[name, "sd"] / np.sqrt(table.loc[name, "ess_bulk"]) for table in (plain, grown)]
        assert abs(plain.loc[name, "mean"] - grown.loc[name, "mean"]) < 4 * np.hypot(*errors), name


def test_inside_the_runs_there_is_none_and_beyond_it_is_the_root_of_the_reach(fits, chinchilla):
    fit, most = fits["grown"], chinchilla["flops"].max()
    params = np.sqrt(most * np.array([0.5, 1.0, np.e, np.e**4]) / 120)
    forecast = bs.forecast(fit, params=params, tokens=20 * params)
    posterior = fit.posterior.stack(sample=("chain", "draw"))
    x = np.log(params) - np.log(fit.meta["anchor"]["params"])
    y = np.log(20 * params) - np.log(fit.meta["anchor"]["tokens"])
    values = {name: posterior[name].to_numpy()[:, None] for name in bs.load_spec("coupled").parameters}
    from bayescale.laws.coupled import Coupled

    law = Coupled.log_loss(x, y, **{name: values[name] for name in Coupled.parameters})
    law = np.asarray(law) + np.log(fit.meta["anchor"]["loss"])
    epred = np.log(forecast.draws["epred"].to_numpy().reshape(-1, 4))
    growth = posterior["growth"].to_numpy()
    np.testing.assert_allclose(epred - law, growth[:, None] * np.array([0.0, 0.0, 1.0, 2.0]), atol=2e-5)


def test_specs_that_differ_in_their_priors_alone_share_a_program(fits, chinchilla):
    from bayescale import compiling

    compiled = compiling._program.cache_info().misses
    spec = fits["grown"].spec.with_prior(growth=Normal(0.0, 0.5), kappa=bs.LogNormal(0.5, 0.05))
    other = bs.fit(chinchilla, spec, seed=0)
    assert compiling._program.cache_info().misses == compiled
    assert abs(other.summary.loc["growth", "sd"] / 0.5 - 1) < 0.1
    assert other.summary.loc["kappa", "mean"] < fits["grown"].summary.loc["kappa", "mean"]


def test_an_unknown_discrepancy_is_named():
    with pytest.raises(bs.BayescaleError, match="no part of discrepancy"):
        bs.make_spec("x", law="additive", discrepancy="grwth")
