"""How runs were made: efficiencies of families, and covariates that make params and tokens worth more."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import bayescale as bs
from bayescale.cli import main
from bayescale.core.errors import QueryError, RunsError, SpecError
from bayescale.evaluation.simulation import sweep_for

E, A, B, ALPHA, BETA, NOISE = 1.8, 400.0, 1200.0, 0.34, 0.36, 0.004
GAIN = np.log(1.5)


def table(seed: int = 0, worth_n=1.0, worth_d=1.0) -> pd.DataFrame:
    """A plain sweep of the additive law, whose params and tokens are worth so many times more."""
    params, ratio = (grid.ravel() for grid in np.meshgrid(np.geomspace(2e7, 2e9, 6), [5, 20, 80], indexing="ij"))
    tokens = params * ratio
    loss = E + A * (worth_n * params) ** -ALPHA + B * (worth_d * tokens) ** -BETA
    noise = NOISE * np.random.default_rng(seed).standard_normal(len(params))
    return pd.DataFrame({"params": params, "tokens": tokens, "loss": loss * np.exp(noise)})


CURATED = bs.make_spec("curated", law="additive", pooling={"default": "none"}, covariates={"curated": ["tokens"]})


@pytest.fixture(scope="module")
def curated() -> bs.Runs:
    """Every second run on data of which a token is worth half as much again."""
    one, other = table(0), table(1, worth_d=1.5)
    return bs.load_runs(pd.concat([one.assign(curated=0), other.assign(curated=1)], ignore_index=True), name="recipes")


@pytest.fixture(scope="module")
def fit(curated: bs.Runs) -> bs.Fit:
    return bs.fit(curated, CURATED, seed=0, progress=False)


def test_what_a_covariate_is_worth_is_found(fit: bs.Fit) -> None:
    gain = fit.posterior["gain_curated_tokens"].to_numpy().ravel()
    assert fit.converged
    assert abs(gain.mean() - GAIN) < 4 * gain.std()
    assert gain.std() < 0.1  # of 0.4 before
    assert fit.summary.loc["gain_curated_tokens", "ess_bulk"] > 400


def test_without_the_covariate_its_effect_is_noise(fit: bs.Fit, curated: bs.Runs) -> None:
    plain = bs.fit(curated, bs.make_spec("plain", law="additive", pooling={"default": "none"}), seed=0, progress=False)
    assert plain.summary.loc["sigma", "mean"] > 1.5 * fit.summary.loc["sigma", "mean"]


def test_a_forecast_is_of_the_usual_recipe_unless_it_names_another(fit: bs.Fit) -> None:
    at = {"params": "2B", "tokens": "40B"}
    usual, named, better = (
        bs.forecast(fit, **at, **more).summary["q50"][0] for more in ({}, {"curated": 0}, {"curated": 1})
    )
    assert usual == named
    more = bs.forecast(fit, params="2B", tokens=40e9 * np.exp(fit.summary.loc["gain_curated_tokens", "mean"]))
    assert better == pytest.approx(more.summary["q50"][0], rel=2e-4)
    assert better < usual
    worse = bs.forecast(fit, **at, curated=-1).summary
    assert worse["q50"][0] > usual
    assert list(worse["extrapolation"]) == ["scenario"]  # of no fitted run
    assert list(bs.forecast(fit, **at, curated=1).summary["extrapolation"]) == ["inside"]
    with pytest.raises(QueryError, match="row 0, curated: expected a number"):
        bs.forecast(fit, **at, curated="high")


def test_an_allocation_is_of_a_recipe(fit: bs.Fit, tmp_path: Path) -> None:
    usual = bs.decide(bs.Allocation("1e22"), fit)
    better = bs.decide(bs.Allocation("1e22", recipe={"curated": 1}), fit)
    assert usual.recipe == {"curated": 0.0}
    assert better.tokens < usual.tokens  # each says more, so that params get a larger share
    assert better.expected_loss < usual.expected_loss
    assert "curated 1" in " ".join(repr(better).split())
    with pytest.raises(QueryError, match="did you mean 'curated'"):
        bs.decide(bs.Allocation("1e22", recipe={"curate": 1}), fit)
    saved = str(fit.save(tmp_path / "fit.nc"))
    command = ["decide", "allocation", saved, "--flops", "1e22", "--recipe", "curated", "1", "--json"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    content = json.loads(result.output)
    assert content["recipe"] == {"curated": 1.0}
    assert content["tokens"] == pytest.approx(better.tokens)


def test_a_covariate_survives_csv_spec_and_backtest(fit: bs.Fit, curated: bs.Runs, tmp_path: Path) -> None:
    curated.frame.to_csv(tmp_path / "runs.csv", index=False)
    again = bs.load_runs(tmp_path / "runs.csv")
    spec = bs.load_spec(bs.write_spec(CURATED, tmp_path / "curated.toml"))
    assert spec.digest == CURATED.digest != bs.make_spec("plain", law="additive", pooling={"default": "none"}).digest
    refit = bs.fit(again, spec, seed=0, progress=False)
    assert refit.summary.loc["gain_curated_tokens", "mean"] == fit.summary.loc["gain_curated_tokens", "mean"]
    result = bs.backtest(again, spec, progress=False)
    assert result.converged
    assert result.mean["coverage_90"] > 0.5


@pytest.mark.parametrize("column", ["coordinate", "offset"])
def test_a_covariate_may_be_called_like_a_part_of_a_site(curated: bs.Runs, column: str) -> None:
    """Sites of a hierarchy end so, and are taken out of the posterior."""
    runs = bs.load_runs(curated.frame.rename(columns={"curated": column}))
    spec = bs.make_spec("named", law="additive", pooling={"default": "none"}, covariates={column: ["tokens"]})
    fit = bs.fit(runs, spec, seed=0, progress=False)
    assert f"gain_{column}_tokens" in fit.posterior


def test_a_gap_among_the_runs_that_are_forecast_is_found_before_any_fit(curated: bs.Runs) -> None:
    frame = curated.frame.astype({"curated": float})
    frame.loc[frame["flops"].idxmax(), "curated"] = np.nan
    with pytest.raises(RunsError, match="expected a number"):
        bs.backtest(bs.load_runs(frame), CURATED, progress=False)


@pytest.mark.slow
def test_under_learnt_priors_all_runs_may_be_of_one_recipe(curated: bs.Runs) -> None:
    learnt = replace(CURATED, learned=(("model", "wide"), ("runs", "others")))
    one = curated.where(curated=1)
    with pytest.raises(RunsError, match="is 1 in every run"):
        bs.fit(one, CURATED, seed=0)
    assert bs.fit(one, learnt, seed=0, progress=False).summary.loc["gain_curated_tokens", "sd"] > 0.2  # of 0.4 before


def test_better_unique_tokens_are_more_unique_tokens() -> None:
    spec = bs.make_spec("both", law="additive", resources=["repetition"], covariates={"curated": ["tokens"]})
    assert {"curated", "unique_tokens"} <= set(spec.columns)
    sweep = sweep_for(spec)
    assert set(sweep["curated"]) == {0.0, 1.0}
    from bayescale.modelling.design import design
    from bayescale.modelling.interpreter import _worth

    points = design(spec, sweep)
    spent = _worth(spec, points, {"gain_curated_tokens": 0.3})
    for name in ("tokens", "unique_tokens"):
        np.testing.assert_allclose(spent[name], points.spent[name] + 0.3 * sweep["curated"])
    np.testing.assert_array_equal(spent["params"], points.spent["params"])


BAD_COVARIATES = {
    "of nothing": ({"curated": []}, "params, tokens"),
    "of loss": ({"curated": ["loss"]}, "params, tokens"),
    "a column with a meaning": ({"tokens": ["tokens"]}, "not a valid name of a covariate"),
    "no identifier": ({"my data": ["tokens"]}, "not a valid name of a covariate"),
    "letters of TOML strings alone": ({"größe": ["tokens"]}, "not a valid name of a covariate"),
    "what a forecast makes": ({"mean": ["tokens"]}, "not a valid name of a covariate"),
    "a dim": ({"run": ["tokens"]}, "not a valid name of a covariate"),
    "an argument of forecast": ({"seed": ["tokens"]}, "not a valid name of a covariate"),
}


@pytest.mark.parametrize(("covariates", "says"), BAD_COVARIATES.values(), ids=BAD_COVARIATES)
def test_a_covariate_that_cannot_be_one_is_refused(covariates: dict, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        bs.make_spec("bad", law="additive", covariates=covariates)


BAD_COLUMNS = {
    "none": (None, "no column 'curated'"),
    "words": (["yes"] * 18, "run 0: expected a number, got 'yes'"),
    "one value": ([1] * 18, "is 1 in every run"),
    "far from zero": ([7, 8] * 9, "subtract a usual value"),
    "a gap": ([0, 1] * 8 + [0, ""], "run 17: expected a number, got ''"),
}


@pytest.mark.parametrize(("values", "says"), BAD_COLUMNS.values(), ids=BAD_COLUMNS)
def test_runs_that_do_not_tell_a_covariate_are_refused(values: list | None, says: str) -> None:
    frame = table() if values is None else table().assign(curated=values)
    with pytest.raises(RunsError, match=says):
        bs.fit(bs.load_runs(frame), CURATED, seed=0)


def test_an_efficiency_needs_no_balance_of_the_law() -> None:
    for law in ("kaplan", "drift"):
        assert "rho_N" in bs.make_spec("efficient", law=law, resources=["efficiency"]).parameters
    with pytest.raises(SpecError, match="a law of params and tokens"):
        bs.make_spec("one", law="power", resources=["efficiency"])


WORTH = {"a": (1.0, 1.0), "b": (1.4, 1.0), "c": (1.0, 0.6)}
"""What a param and a token of each recipe are worth."""


@pytest.fixture(scope="module")
def efficient() -> bs.Fit:
    """A fit of the spec `efficiency` to runs of three recipes."""
    tables = [table(i, *both).assign(family=name) for i, (name, both) in enumerate(WORTH.items())]
    fit = bs.fit(bs.load_runs(pd.concat(tables, ignore_index=True)), "efficiency", seed=0, progress=False)
    assert fit.converged
    return fit


def test_volkova_2026_families_of_one_law_differ_in_what_their_params_and_tokens_are_worth(efficient: bs.Fit) -> None:
    for name, which in (("rho_N", 0), ("rho_D", 1)):
        found = np.log(efficient.posterior[name].to_numpy().reshape(-1, 3))
        true = np.log([both[which] for both in WORTH.values()])
        # Against the first: what all have in common is the law's, and the prior's to tell.
        apart, wanted = found[:, 1:] - found[:, :1], true[1:] - true[0]
        np.testing.assert_array_less(np.abs(apart.mean(axis=0) - wanted), 4 * apart.std(axis=0))
        np.testing.assert_array_less(apart.std(axis=0), 0.15)


def test_volkova_2026_the_better_recipe_is_known_at_a_scale_that_none_was_run_at(efficient: bs.Fit) -> None:
    frame = efficient.design_frame
    choice = bs.decide(bs.Recipe(params=30 * frame["params"].max(), tokens=30 * frame["tokens"].max()), efficient)
    assert choice.action["recipe"] == "b"  # worth at least as much as the others in params and in tokens
    best = np.bincount(choice.best.by_draw, minlength=len(WORTH)) / len(choice.best.by_draw)
    chances = dict(zip(choice.actions["recipe"], best, strict=True))
    assert chances["b"] > 0.9 > 0.05 > chances["c"]


@pytest.mark.slow
def test_volkova_2026_recipes_of_openlm_are_ranked_beyond_their_runs_and_their_largest_runs_are_forecast(trio) -> None:
    fit = bs.fit(trio, "efficiency", seed=0, progress=False)
    assert fit.converged, fit.verdict
    choice = bs.decide("recipe", fit, flops=1e23)
    best = np.bincount(choice.best.by_draw, minlength=3) / len(choice.best.by_draw)
    chances = dict(zip(choice.actions["recipe"], best, strict=True))
    tested = bs.backtest(trio, "efficiency", seed=0, progress=False)
    assert tested.converged
    assert tested.mean["coverage_90"] > 0.8  # measured: 0.96, and a CRPS of 0.011
    assert tested.mean["crps"] < 0.02
    assert chances["OpenLM-C4"] > 0.95  # it is trained on the text that scores all three
