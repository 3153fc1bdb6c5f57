"""Forecasts, allocations and backtests."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.core.errors import QueryError, RunsError
from bayescale.core.quantities import count
from bayescale.evaluation.scores import scores
from bayescale.parts.scales import SCALES
from bayescale.prediction.extrapolation import reach
from bayescale.prediction.predict import predict
from bayescale.prediction.predictive import prior_curve
from bayescale.runs.splits import split

BUDGET = 5.76e23


@pytest.fixture(scope="module")
def choice(chinchilla_fit):
    return bs.decide(bs.Allocation(BUDGET), chinchilla_fit)


def test_draws_are_coherent_and_noise_widens_them(chinchilla_fit):
    forecast = bs.forecast(chinchilla_fit, params=["7B", "7B"], tokens=["1T", "1T"])
    curve, run = forecast.draws["epred"], forecast.draws["predictive"]
    np.testing.assert_array_equal(curve.sel(query=0), curve.sel(query=1))
    assert float(run.sel(query=0).std()) > float(curve.sel(query=0).std())


def test_the_curve_is_the_published_formula(chinchilla_fit):
    p = chinchilla_fit.posterior
    by_hand = p["E"] + p["A"] * 7e10 ** -p["alpha_N"] + p["B"] * 1.4e12 ** -p["beta_D"]
    curve = bs.forecast(chinchilla_fit, params=7e10, tokens=1.4e12).draws["epred"].sel(query=0)
    np.testing.assert_allclose(curve, by_hand, rtol=1e-9)


def test_loss_far_beyond_the_runs_is_the_reference(chinchilla_fit):
    row = bs.forecast(chinchilla_fit, params=73.6e9, tokens=BUDGET / 6 / 73.6e9).summary.iloc[0]
    assert abs(row["epred_q50"] - 1.968) < 0.3 * (1.981 - 1.954) / 3.29
    assert row["reach_decades"] == pytest.approx(np.log10(BUDGET / chinchilla_fit.design_frame["flops"].max()))


def test_reach_is_zero_inside_the_runs(chinchilla_fit):
    assert bs.forecast(chinchilla_fit, params=1e9, tokens=2e10).queries["reach_decades"].item() == 0


def test_a_new_family_is_wider_than_a_fitted_one(trio_fit):
    table = pd.DataFrame({"params": 7e9, "tokens": 1e12, "family": ["OpenLM-C4", bs.NEW]})
    summary = bs.forecast(trio_fit, table).summary
    width = summary["epred_q95"] - summary["epred_q05"]
    assert width[1] > 2 * width[0]


def test_without_a_family_several_mean_a_new_one(trio_fit):
    assert bs.forecast(trio_fit, params=7e9, tokens=1e12).queries["family"].item() == bs.NEW


def test_allocation_is_the_reference(choice):
    ratio = choice.optimum["tokens_per_param"]
    # T4: median 17.7 [12.0, 25.1]; its tolerance is .3 posterior SD, that of the log ratio here
    sd = np.log(25.1 / 12.0) / 3.29
    for quantile, reference in (("q05", 12.0), ("q50", 17.7), ("q95", 25.1)):
        assert abs(np.log(ratio[quantile] / reference)) < 0.3 * sd


def test_allocation_beats_every_other_action_in_expectation(choice):
    mean = choice.losses.mean(axis=0)
    assert -choice.best.expected == mean.min()
    # The mean of all draws against that of the thinned ones that the matrix holds.
    assert choice.expected_loss == pytest.approx(
        mean.min(), abs=4 * choice.run_loss.std() / np.sqrt(len(choice.losses))
    )
    assert choice.params * choice.tokens * 6 == pytest.approx(BUDGET)


def test_per_draw_optimum_is_the_closed_form(chinchilla_fit, choice):
    p = chinchilla_fit.posterior.stack(s=("chain", "draw"))
    power = p["alpha_N"] + p["beta_D"]
    G = (p["alpha_N"] * p["A"] / (p["beta_D"] * p["B"])) ** (1 / power)
    params = (G * (BUDGET / 6) ** (p["beta_D"] / power)).to_numpy()
    for name, q in (("q05", 0.05), ("q50", 0.5), ("q95", 0.95)):
        # the choice uses every second draw: the tolerance is the quantile's own Monte Carlo error, fourfold
        error = 4 * np.std(np.log(params)) * np.sqrt(q * (1 - q) / 2000) / 0.1
        assert abs(np.log(choice.optimum["params"][name] / np.quantile(params, q))) < error


def test_waste_is_the_closed_form(chinchilla_fit, choice):
    p = chinchilla_fit.posterior.isel(draw=slice(None, None, 2)).stack(s=("chain", "draw"))
    gamma = (p["alpha_N"] * p["beta_D"] / (p["alpha_N"] + p["beta_D"])).to_numpy()
    E = p["E"].to_numpy()
    loss = choice.losses[:, choice.best.action]
    exact = ((loss - E) / (choice.least_loss[:, choice.budgets == BUDGET][:, 0] - E)) ** (1 / gamma) - 1
    assert choice.waste_fraction == pytest.approx(exact.mean(), rel=0.02)  # linear between budgets 2 % apart


def test_a_family_called_new_is_itself():
    """The name stands for a family that was not fitted, but where there is one of that name."""
    params, ratios = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 5), [5.0, 20.0, 80.0]))
    table = pd.DataFrame({"params": params, "tokens": params * ratios})
    loss = 1.7 + 400 / params**0.34 + 410 / table["tokens"] ** 0.28
    noise = np.random.default_rng(0).normal(0.0, 0.002, (2, 15))
    tables = [table.assign(loss=loss * np.exp(e) * times, family=name)
              for name, times, e in zip(("new", "other"), (1.0, 1.5), noise, strict=True)]  # fmt: skip
    spec = bs.make_spec("plain", law="additive", pooling={"default": "none"})
    fit = bs.fit(bs.load_runs(pd.concat(tables)), spec, seed=0, draws=500)
    query = {"params": 1e9, "tokens": 2e10}
    new, other = (bs.forecast(fit, family=name, **query).draws["epred"].to_numpy().mean() for name in ("new", "other"))
    assert new == pytest.approx(1.7 + 400 / 1e9**0.34 + 410 / 2e10**0.28, rel=0.01)
    assert other / new == pytest.approx(1.5, rel=0.01)


def test_regret_and_band_hang_together(choice):
    low, high = choice.band
    assert low < choice.params < high
    assert 0 < choice.regret_nats < 1e-3
    # In the reference, expected waste is .48 %; two samples of draws have this error between their means.
    error = np.sqrt(2) * choice.waste[:, choice.best.action].std() / np.sqrt(len(choice.waste))
    assert choice.waste_fraction == pytest.approx(0.0048, abs=4 * error)


def test_a_settled_split_has_single_figures(choice):
    assert choice.settled
    assert choice.unsettled == ""
    said = choice.to_dict()
    assert said["settled"] is True
    assert (said["params"], said["expected_loss"]) == (choice.params, choice.expected_loss)


@pytest.mark.parametrize("cause", ["waste", "ratio"])
def test_where_nothing_is_known_there_is_no_single_figure(choice, cause):
    """Either alone is enough: an expected waste over half of the compute, a 90% interval of the ratio over 30-fold."""
    if cause == "waste":
        unsure = replace(choice, details=replace(choice.details, waste=choice.waste + 0.5))
    else:  # the ratio goes as the inverse square of params: 1.1 each way is a factor of exp(4.4) = 81
        wide = np.linspace(-1.1, 1.1, len(choice.ln_optimum))[:, None] / 0.9
        unsure = replace(
            choice, details=replace(choice.details, ln_optimum=np.median(choice.ln_optimum, axis=0) + wide)
        )
    assert not unsure.settled
    assert {"waste": "expected waste is 50% of compute", "ratio": "spans a factor of 81"}[cause] in unsure.unsettled
    said, words = unsure.to_dict(), repr(unsure)
    assert said["settled"] is False
    for name in ("params", "tokens", "tokens_per_param", "expected_loss"):
        assert np.isnan(said[name])
    assert {"params", "tokens", "tokens_per_param"} == set(said["optimum"])
    assert said["loss"]["q05"] < choice.expected_loss < said["loss"]["q95"]
    assert "these runs do not settle the split" in words
    for single in (count(choice.params), count(choice.tokens), f"{choice.expected_loss:.3f}"):
        assert single not in words
    for known in (*(count(unsure.optimum["params"][q]) for q in ("q05", "q95")), f"{unsure.loss['q95']:.3f}"):
        assert known in words


def test_scores_of_a_known_normal_are_theirs():
    rng = np.random.default_rng(0)
    draws, observed = rng.normal(size=(4000, 500)), rng.normal(size=500)
    table = scores(draws, observed)
    exact = 0.5641895835  # expected CRPS of a standard Normal: 1 / sqrt(pi)
    assert abs(table["crps"].mean() - exact) < 4 * table["crps"].std() / 500**0.5
    assert abs(table["coverage_90"].mean() - 0.9) < 4 * (0.9 * 0.1 / 500) ** 0.5


def test_log_density_is_the_noise_model(chinchilla_fit):
    runs = chinchilla_fit.design_frame.head(3)
    density = predict(chinchilla_fit, runs, observed={"loss": runs["loss"]})["loss_log_density"]
    saved = chinchilla_fit.tree["log_likelihood"]["loss"].isel(run=slice(3)).to_numpy().reshape(-1, 3)
    np.testing.assert_allclose(density, saved, rtol=1e-8)


def test_split_fits_below_and_scores_beyond_the_cut(pool):
    train, test, left_out = split(pool, 0.7)
    assert not (train & test).any()
    for name in set(pool.families) - set(left_out):
        mine = pool["family"] == name
        assert pool["flops"][test & mine].min() > 1.05 * np.quantile(pool["flops"][mine], 0.7)
        assert pool["flops"][train & mine].max() <= np.quantile(pool["flops"][mine], 0.7)


def test_backtest_scores_every_family_it_can(trio):
    result = bs.backtest(trio, "additive-unpooled", seed=0)
    assert set(result.families["family"]) | set(result.left_out) == set(trio.families)
    assert result.families["coverage_90"].between(0, 1).all()
    assert (result.families["crps"] > 0).all()


def test_prior_and_posterior_predictive_come_on_demand(trio_fit):
    tree = bs.predictive(trio_fit, seed=1, prior_draws=100)
    runs = len(trio_fit.design_frame)
    assert tree["posterior_predictive"]["loss"].shape == (4, 1000, runs)
    assert tree["prior_predictive"]["loss"].shape == (1, 100, runs)
    assert tree["prior"]["level"].dims == ("chain", "draw", "family")
    assert not tree["prior"]["alpha_N"].isnull().any()
    assert "prior" not in trio_fit.tree.children  # the fit itself stays as it was


def test_logs_of_draws_are_finite_where_a_heavy_tail_leaves_float64():
    found = SCALES["log"].scored(np.array([[np.inf, 0.0, np.e]]), {})
    assert np.isfinite(found).all()
    assert found[0, 2] == pytest.approx(1.0)


@pytest.mark.slow
def test_runs_of_one_size_are_enough_where_priors_were_learnt_and_a_check_says_what_they_leave_out(pool):
    mine = pool.where(family="OpenLM-C4")
    five = mine.take(np.argsort(mine["flops"], kind="stable")[:5])
    assert len(set(five["params"])) == 1
    with pytest.raises(RunsError, match="its exponent is not identified"):
        bs.fit(five, "additive-unpooled")
    fit = bs.fit(five, "default", seed=0, progress=False)
    left = {f.subject for f in bs.check(fit) if f.check == "identification" and not f.passed}
    assert "alpha_N" in left
    size = five["params"][0]
    near, far = bs.forecast(fit, params=[size, 100 * size], tokens=[1e9, 1e9]).queries["distance"]
    assert far > 10 * near


def test_a_query_has_a_distance_from_a_single_run():
    run = pd.DataFrame({"family": ["a"], "params": 1e8, "tokens": 2e9, "flops": 1.2e18})
    fit = SimpleNamespace(design_frame=run, covariates=(), inputs=("params", "tokens"), families=["a"], declared={},
                          with_defaults=lambda table: table)  # fmt: skip
    there, away = reach(fit, pd.concat([run, run.assign(params=1e9, flops=1.2e19)], ignore_index=True))["distance"]
    assert there == 0
    assert np.isfinite(away)
    assert away > 10


@pytest.mark.parametrize(
    ("name", "column"),
    [("additive", "params"), ("repetition", "unique_tokens"), ("accuracy", "tokens"), ("modalities", "params")],
)
def test_the_prior_of_the_loss_along_a_column_falls_and_is_one_at_the_usual_run(name: str, column: str) -> None:
    curve = prior_curve(bs.load_spec(name), column, draws=50)
    assert curve["q50"].is_monotonic_decreasing
    assert (curve.iloc[-1]["q50"] == 1.0) == (column == "unique_tokens")  # there the last row is the usual run
    assert (curve["q05"] <= curve["q50"]).all()
    assert (curve["q50"] <= curve["q95"]).all()


def test_no_prior_is_drawn_along_what_a_spec_does_not_read() -> None:
    with pytest.raises(QueryError, match="does not read 'unique_tokens'"):
        prior_curve(bs.load_spec("additive"), "unique_tokens")
    with pytest.raises(QueryError, match="does not read 'lr_area'"):
        prior_curve(bs.load_spec("training-curves"), "lr_area")  # it follows from the schedule and the step
    with pytest.raises(QueryError, match="has no response 'accuracy'"):
        prior_curve(bs.load_spec("additive"), "params", response="accuracy")


@pytest.mark.parametrize(
    ("name", "response", "column", "least", "most"),
    [
        ("accuracy", "accuracy", "tokens", 0.25, 1.0),
        ("pass-at-k", "pass-at-k", "samples", 0.0, 1.0),
        ("skills", "piqa", "tokens", 0.0, 1.0),
        ("value-rl", "env-steps", "params", 0.0, np.inf),
    ],
)
def test_the_prior_of_a_response_is_on_its_own_scale(
    name: str, response: str, column: str, least: float, most: float
) -> None:
    curve = prior_curve(bs.load_spec(name), column, response=response, draws=50)
    levels = curve[["q05", "q25", "q50", "q75", "q95"]].to_numpy()
    assert (np.diff(levels, axis=1) >= 0).all()
    assert least <= levels.min() < levels.max() <= most
    assert curve["q50"].is_monotonic_increasing == (name != "value-rl")  # fewer steps where there are more params


def test_the_prior_of_a_training_curve_ends_with_its_schedule() -> None:
    curve = prior_curve(bs.load_spec("training-curves"), "step", draws=50)
    assert curve["step"].iloc[-1] == 30000
    assert curve["q95"].iloc[-1] < 1 < curve["q05"].iloc[0]
