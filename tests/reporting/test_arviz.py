"""ArviZ's own tables and plots read a fit's tree, and its tree with predictive draws, without any change."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import replace

import arviz as az
import arviz_plots as azp
import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import bayescale as bs
from bayescale.core import shipped
from bayescale.core.precision import float64
from bayescale.evaluation.simulation import anchored, sweep_for
from bayescale.inference.aot import use_cache
from bayescale.modelling.design import conformed, design
from bayescale.modelling.sites import log_density_of
from bayescale.prediction.predict import predict
from bayescale.prediction.predictive import from_prior
from bayescale.runs.table import Runs

OF_DRAWS = {
    "trace": azp.plot_trace,
    "rank": azp.plot_rank,
    "forest": azp.plot_forest,
    "psense": azp.plot_psense_dist,
}
OF_PREDICTIONS = {
    "ppc": azp.plot_ppc_dist,
    "loo_pit": azp.plot_loo_pit,
    "prior_posterior": azp.plot_prior_posterior,
}
NAMES = ["alpha_N", "beta_D"]


@pytest.fixture(scope="module", params=["chinchilla_fit", "trio_fit"])
def fit(request: pytest.FixtureRequest) -> bs.Fit:
    """A law alone, and families that are pooled."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def predictive(chinchilla_fit: bs.Fit) -> xr.DataTree:
    return bs.predictive(chinchilla_fit, prior_draws=50)


def test_a_summary_has_the_means_of_the_fit(fit: bs.Fit) -> None:
    table = az.summary(fit.tree, round_to="none")
    own = fit.summary
    shared = [name for name in own.index if name in table.index]
    assert len(shared) >= 5
    np.testing.assert_allclose(table.loc[shared, "mean"].astype(float), own.loc[shared, "mean"], rtol=1e-6)


def test_loo_and_compare_read_the_log_likelihood(fit: bs.Fit) -> None:
    (site,) = fit.tree["log_likelihood"].data_vars
    found = az.loo(fit.tree, var_name=site)
    assert found.n_data_points == len(fit.design_frame)
    assert len(az.compare({"one": fit.tree, "same": fit.tree}, var_name=site)) == 2


@pytest.mark.parametrize("name", OF_DRAWS)
def test_a_plot_of_draws(name: str, fit: bs.Fit) -> None:
    check_drawn(OF_DRAWS[name](fit.tree, backend="matplotlib", var_names=NAMES))


@pytest.mark.parametrize("name", OF_PREDICTIONS)
def test_a_plot_of_predictions(name: str, predictive: xr.DataTree) -> None:
    names = {"var_names": NAMES} if name == "prior_posterior" else {}
    check_drawn(OF_PREDICTIONS[name](predictive, backend="matplotlib", **names))


QUICK = {"kaplan", "default", "accuracy"}  # a law; pooled, with discrepancies; a response
SHIPPED = [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in shipped.names("models")]
CHAINS, DRAWS = 4, 100
FEW = 10  # scalars of a variable


def simulated(name: str) -> bs.Fit:
    """A fit of a shipped model to runs drawn from its prior: its draws lie about the true values."""
    spec = bs.load_spec(name)
    runs = conformed(spec, sweep_for(spec) if spec.law else bs.load_runs("obsscaling"))
    spec = anchored(spec, runs) if spec.law else spec
    points = replace(design(spec, runs), observed={}, present={})
    with use_cache(), float64():
        sites = from_prior(jax.random.split(jax.random.key(0), 2 * CHAINS * DRAWS), points, spec=spec.structure)
    drawn = {k: np.asarray(v) for k, v in sites.items()}
    of_runs = [drawn[k] for one in spec.observed for k in (one, log_density_of(one))]
    finite = np.all([np.isfinite(x).all(axis=1) for x in of_runs], axis=0)
    true = np.flatnonzero(finite)[0]
    others = np.setdiff1d(np.flatnonzero(finite), true)[: CHAINS * DRAWS]
    seen = {k: np.where(runs.frame[k].isna(), np.nan, drawn[k][true]) for k in spec.observed}
    near = {k: v[true] + 1e-4 * (v[others] - v[true]) for k, v in drawn.items()}
    draws = {k: v.reshape(CHAINS, DRAWS, *v.shape[1:]) for k, v in near.items()}
    return bs.Fit.from_samples(draws, spec, Runs(runs.frame.assign(**seen), name))


REMARKS = re.compile("Estimated shape parameter of Pareto|look (binary|discrete)")
"""What ArviZ may say of draws and observations that a prior has made."""


@pytest.fixture
def remarks() -> Iterator[None]:
    """Any other warning than a remark fails the test."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        yield
    assert [str(one.message) for one in said if not REMARKS.search(str(one.message))] == []


@pytest.mark.usefixtures("remarks")
@pytest.mark.parametrize("name", SHIPPED)
def test_arviz_reads_every_shipped_model(name: str) -> None:
    fit = simulated(name)
    tree = bs.predictive(fit, prior_draws=2 * CHAINS * DRAWS)
    table = az.summary(fit.tree, kind="stats")
    assert {row.partition("[")[0] for row in table.index} == set(fit.posterior)
    for site in fit.spec.observed:
        if (np.ptp(fit.tree["log_likelihood"][site].to_numpy(), axis=(0, 1)) == 0).any():
            # A score so near 0 that all draws give it one likelihood: ArviZ has no tail to fit.
            with pytest.raises(ValueError, match="All tail values are the same"):
                az.loo(fit.tree, var_name=site)
            continue
        found = az.loo(fit.tree, var_name=site)
        assert np.isfinite(found.elpd)
        assert found.n_data_points == fit.design_frame[site].notna().sum()
        assert len(az.compare({"one": fit.tree, "same": fit.tree}, var_name=site)) == 2
        for of in ("ppc", "loo_pit"):
            check_drawn(OF_PREDICTIONS[of](tree, backend="matplotlib", var_names=[site]))
    # One variable of each kind of dims, since every scalar is a panel.
    small = sorted(one for one in fit.sampled if fit.posterior[one][0, 0].size <= FEW)
    names = list({fit.posterior[one].dims: one for one in small}.values())
    for plot in OF_DRAWS.values():
        check_drawn(plot(fit.tree, backend="matplotlib", var_names=names))
    check_drawn(azp.plot_prior_posterior(tree, backend="matplotlib", var_names=names))


def test_all_responses_are_predicted_by_one_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program for each response would draw every member of a battery each time."""
    called = []
    monkeypatch.setattr(
        "bayescale.prediction.predictive.predict",
        lambda *args, **given: called.append(given) or predict(*args, **given),
    )
    fit = simulated("accuracy")
    tree = bs.predictive(fit, prior_draws=10)
    assert len(called) == 1
    assert set(tree["posterior_predictive"].data_vars) == set(fit.spec.observed) == {"loss", "n_correct"}


def check_drawn(plot: azp.PlotCollection) -> None:
    assert plot.viz.children or plot.viz.data_vars
    assert any(axes.has_data() for axes in plt.gcf().axes)
    plt.close("all")
