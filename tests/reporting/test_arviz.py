"""ArviZ's own tables and plots read a fit's tree, and its tree with predictive draws, without any change."""

from __future__ import annotations

import arviz as az
import arviz_plots as azp
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import bayescale as bs

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


def check_drawn(plot: azp.PlotCollection) -> None:
    assert plot.viz.children or plot.viz.data_vars
    assert any(axes.has_data() for axes in plt.gcf().axes)
    plt.close("all")
