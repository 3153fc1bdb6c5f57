"""Comparing: one fit and one backtest a model, every table of them right, every failure told."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner

import bayescale as bs
from bayescale.cli import main
from bayescale.core.dims import FAMILY
from bayescale.core.errors import QueryError, UnknownName
from bayescale.decisions import waste
from bayescale.evaluation import comparison as comparing
from bayescale.evaluation import comparison_tables
from bayescale.evaluation.backtest import SCORES
from bayescale.evaluation.stacking import CUTS
from bayescale.inference import batch
from bayescale.prediction.predict import predict

BOTH = ["additive", "coupled"]
SCORES_ONLY = bs.make_spec("scores", law="additive", responses={"accuracy": "binomial"})


def test_a_model_whose_fit_fails_is_reported_and_hides_no_other(comparison: bs.Comparison) -> None:
    assert list(comparison.fits) == BOTH
    assert comparison.models == [*BOTH, "repetition"]
    assert "unique_tokens" in comparison.left_out["fits"]["repetition"]
    assert str(comparison.verdicts["repetition"]).startswith("FAILED")
    assert not comparison.converged
    row = comparison.table.set_index("model").loc["repetition"]
    assert row["verdict"].startswith("FAILED")
    assert np.isnan(row["crps"])


def test_every_table_has_both_models_and_their_verdicts(comparison: bs.Comparison) -> None:
    for name in ("interpolation", "beyond", "horizons", "coefficients", "budget"):
        table = getattr(comparison, name)
        assert set(table["model"]) == set(BOTH), name
        assert set(table["verdict"]) == {"converged"}, name
    assert set(comparison.findings["model"]) == set(BOTH)
    assert set(comparison.residuals["check"]) == {"residuals"}
    assert set(comparison.sensitivity["check"]) == {"sensitivity"}
    counted = comparison.checks
    assert counted["passed"].sum() + counted["failed"].sum() == len(comparison.findings)
    assert counted["failed"].sum() == len(comparison.failures)


def test_a_split_that_is_not_settled_has_no_single_figure(comparison: bs.Comparison, monkeypatch) -> None:
    monkeypatch.setattr(waste, "MOST_WASTE", 0.0)
    budget = comparison_tables.budgets(comparison.choices)
    assert budget[["params", "tokens", "tokens_per_param", "expected_loss"]].isna().all(axis=None)
    assert (budget["params_q05"] < budget["params_q95"]).all()
    assert (budget["loss_q05"] < budget["loss_q95"]).all()
    for name in BOTH:
        assert f"{name}: these runs do not settle the split: expected waste is" in repr(comparison)


def test_the_budget_of_a_family_is_ten_times_its_own_largest_run(trio_fit: bs.Fit) -> None:
    runs = trio_fit.design_frame
    largest = runs.groupby("family")["flops"].max()
    assert largest.nunique() > 1
    for family in trio_fit.families:
        examined = comparing.examine({"additive": trio_fit}, family=family)
        assert examined.settings["flops"] == 10 * largest[family]
    assert comparing.examine({"additive": trio_fit}).settings["flops"] == 10 * largest.max()


def test_no_model_is_fitted_twice(pool: bs.Runs, comparison: bs.Comparison, monkeypatch) -> None:
    """A fit to all runs and one below each cut, for each model: eight in all."""
    made = []

    def instead(**task):
        made.append((task["spec"].name, len(task["runs"])))
        return comparison.fits[task["spec"].name]

    monkeypatch.setattr(batch, "sampled", instead)
    monkeypatch.setattr(batch, "_check_same", lambda *args, **task: None)
    runs = pool.where(family="OpenLM-C4")
    bs.compare(runs, BOTH, flops=1e23, seed=0)
    below = [int((runs["flops"] <= np.quantile(runs["flops"], quantile)).sum()) for quantile in CUTS]
    assert sorted(made) == sorted((name, size) for name in BOTH for size in (len(runs), *below))


def test_leave_one_out_is_ranked_with_its_diagnostics(comparison: bs.Comparison) -> None:
    table = comparison.interpolation
    assert table["elpd"].is_monotonic_decreasing
    assert table["elpd_diff"].iloc[0] == 0
    assert table["elpd_diff"].iloc[1] == pytest.approx(table["elpd"].iloc[1] - table["elpd"].iloc[0])
    assert (table["k_above"] > 0).equals(table["k_worst"] > table["k_limit"])
    assert table["worst_run"].str.contains("params on").all()
    assert "cannot rank extrapolators" in comparing.INTERPOLATION_ONLY
    assert comparing.INTERPOLATION_ONLY in json.dumps(comparison.to_dict(), default=str)


def test_a_likelihood_summed_by_family_is_left_out_of_leave_one_out(comparison: bs.Comparison) -> None:
    fit = comparison.fits["additive"]
    tree = fit.tree.copy()
    summed = tree["log_likelihood"].to_dataset().sum("run").expand_dims({FAMILY: fit.families}, axis=2)
    tree["log_likelihood"] = xr.DataTree(summed)
    table, left_out = comparison_tables.interpolation({**comparison.fits, "large": replace(fit, tree=tree)}, "loss")
    assert "large" not in set(table["model"])
    assert "summed by family" in left_out["large"]


def test_a_model_that_knows_the_loss_of_the_left_out_run_is_not_ranked_with_one_that_does_not(
    ours: bs.Runs, drawn_fit: bs.Fit
) -> None:
    """Two steps are given the loss of the run whose score is left out; they are ranked with each other only."""
    counts = {"n_correct": np.linspace(300, 700, len(ours)).round(), "n_items": 1000.0, "chance": 0.25}
    runs = bs.load_runs(ours.frame.assign(**counts), loss_unit="nats", name="ours")
    rng, law = np.random.default_rng(2), {"level", "ratio_A", "ratio_B", "alpha_N", "beta_D"}

    def fit_of(name: str, responses: dict[str, str], **values: float) -> bs.Fit:
        spec = bs.make_spec(name, law="additive", responses=responses)
        drawn = {site: drawn_fit.posterior[site].to_numpy() for site in law}
        shape = drawn["level"].shape
        made = {site: value * np.exp(0.01 * rng.standard_normal(shape)) for site, value in values.items()}
        return bs.Fit.from_samples(drawn | made, spec, runs)

    curve = {"midpoint": 3.0, "width": 0.15, "ceiling": 0.9}
    two = fit_of("two", {"loss": "gaussian", "accuracy": "binomial"}, sigma=0.01, **curve)
    more = fit_of("more", {"loss": "gaussian", "accuracy": "beta-binomial"}, sigma=0.01, concentration=100.0, **curve)
    direct = fit_of("direct", {"direct-accuracy": "over-dispersed"}, floor_odds=1.0, concentration=100.0)
    table, left_out = comparison_tables.interpolation({"two": two, "more": more}, "n_correct")
    assert set(table["model"]) == {"two", "more"}
    assert not left_out
    table, left_out = comparison_tables.interpolation({"two": two, "direct": direct}, "n_correct")
    assert list(table["model"]) == ["direct"]
    assert left_out == {"two": "it knows the loss of the run whose n_correct is left out, and others do not"}
    table, left_out = comparison_tables.interpolation({"two": two, "loss alone": drawn_fit}, "loss")
    assert set(table["model"]) == {"two", "loss alone"}
    assert not left_out


@pytest.mark.parametrize("older", [False, True], ids=["left out", "zero, as an older version saved it"])
def test_a_run_without_a_value_is_no_part_of_leave_one_out(older: bool, comparison: bs.Comparison) -> None:
    fit = comparison.fits["additive"]
    tree = fit.tree.copy()
    gone, before = 3, comparison_tables.interpolation({"additive": fit}, "loss")[0].iloc[0]
    observed, likelihood = tree["observed_data"].to_dataset(), tree["log_likelihood"].to_dataset()
    there = xr.DataArray(np.arange(observed.sizes["run"]) != gone, dims="run")
    tree["observed_data"] = xr.DataTree(observed.assign(loss=observed["loss"].where(there)))
    zero, others = likelihood.where(there, 0.0), likelihood.isel(run=there).rename(run="run_of_loss")
    tree["log_likelihood"] = xr.DataTree(zero if older else others)
    table, left_out = comparison_tables.interpolation({"additive": replace(fit, tree=tree)}, "loss")
    assert not left_out
    weights = np.exp(-likelihood["loss"].isel(run=gone).to_numpy())
    assert table["elpd"][0] == pytest.approx(before["elpd"] + np.log(weights.mean()), abs=0.05)  # PSIS smooths the tail


def test_scores_beyond_are_those_of_the_backtests(comparison: bs.Comparison) -> None:
    for row in comparison.beyond.to_dict("records"):
        test = comparison.backtests[row["model"]]
        assert {name: row[name] for name in SCORES} == test.mean
        assert row["n_test"] == len(test.runs)
    counts = comparison.horizons.groupby("model")["n_test"].sum()
    assert counts.to_dict() == {name: len(test.runs) for name, test in comparison.backtests.items()}


def test_weights_are_those_of_stack(pool: bs.Runs, comparison: bs.Comparison) -> None:
    """One stacking, one evidence: what `compare` prints is what `fit` of several models averages by."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bs.ConvergenceWarning)  # few draws, below the lowest cut
        both = bs.stack(pool.where(family="OpenLM-C4"), BOTH, seed=0, draws=500)
    assert comparison.weights == both.weights
    assert comparison.weights == comparison.forecasts.weights()
    assert "30%, 50%, 70%" in comparison.weights.sentence


def test_a_backtest_of_a_comparison_is_that_of_backtest(pool: bs.Runs, comparison: bs.Comparison) -> None:
    """The fits below the train quantile serve both: same seed, same draws."""
    alone, beside = bs.backtest(pool.where(family="OpenLM-C4"), "additive", seed=0, draws=500), comparison.backtests
    pd.testing.assert_frame_equal(alone.runs, beside["additive"].runs)
    pd.testing.assert_frame_equal(alone.families, beside["additive"].families)
    assert (alone.meta, alone.left_out, alone.verdict) == (
        beside["additive"].meta,
        beside["additive"].left_out,
        beside["additive"].verdict,
    )


def test_coefficients_are_quantiles_of_the_draws(comparison: bs.Comparison) -> None:
    table = comparison.coefficients.set_index(["model", "name"])
    draws = comparison.fits["coupled"].posterior
    product = (draws["alpha_N"] * draws["kappa"]).to_numpy()
    assert table.loc[("coupled", "effective alpha_N"), "q95"] == pytest.approx(np.quantile(product, 0.95))
    assert table.loc[("coupled", "E"), "q05"] == pytest.approx(np.quantile(draws["E"], 0.05))
    alike = table.loc[[("additive", "alpha_N"), ("additive", "effective alpha_N")], ["q05", "q50", "q95"]]
    assert alike.iloc[0].equals(alike.iloc[1])  # where no power is taken


def test_the_best_params_grow_as_the_closed_form_says(comparison: bs.Comparison) -> None:
    """The additive law's optimum grows as the power beta / (alpha + beta) of compute."""
    draws = comparison.fits["additive"].posterior
    exact = (draws["beta_D"] / (draws["alpha_N"] + draws["beta_D"])).to_numpy()
    row = comparison.coefficients.query("model == 'additive' and kind == 'optimum'").iloc[0]
    # A parabola through a grid of 3.5 % in params places an optimum to a hundredth of a step, twice, over one decade.
    assert row["mean"] == pytest.approx(exact.mean(), abs=2 * 0.01 * 0.035 / np.log(10))


def test_choosing_by_the_wrong_law_never_gains(comparison: bs.Comparison) -> None:
    table = comparison.cross.set_index(["chosen_by", "judged_by"])
    assert len(table) == 4
    for name in BOTH:
        assert table.loc[(name, name), "extra_loss"] == pytest.approx(0, abs=1e-12)
        assert table.loc[(name, name), "waste"] == pytest.approx(comparison.choices[name].waste_fraction)
    assert (table["extra_loss"] > -1e-12).all()


def test_the_loss_of_anothers_choice_is_the_laws_loss_there(comparison: bs.Comparison) -> None:
    theirs, fit = comparison.choices["coupled"], comparison.fits["additive"]
    query = pd.DataFrame([{"params": theirs.params, "tokens": theirs.tokens, "family": theirs.family}])
    exact = np.exp(predict(fit, query.assign(flops=theirs.flops), only="log_loss")).mean()
    told = comparison.cross.query("chosen_by == 'coupled' and judged_by == 'additive'")["loss"].iloc[0]
    # A line between actions 3.5 % apart is off by an eighth of the step squared times the bend, which is below
    # the exponents' product times the loss.
    assert told == pytest.approx(exact, abs=0.035**2 / 8 * 0.25 * exact)


def test_the_default_budget_lies_a_decade_beyond(comparison: bs.Comparison) -> None:
    fit = comparison.fits["additive"]
    alone = comparing.examine({"additive": fit})
    assert alone.settings["flops"] == pytest.approx(10 * fit.design_frame["flops"].max())
    assert alone.budget["reach_decades"].iloc[0] == pytest.approx(1.0)
    assert alone.weights is None
    assert len(alone.beyond) == 0
    assert list(alone.table["model"]) == ["additive"]
    assert alone.card == comparison.card  # found again by the name of the shipped table


def test_a_law_of_compute_alone_is_left_out_of_the_budget(comparison: bs.Comparison, monkeypatch) -> None:
    def refuse(decision, fit):
        raise QueryError("an allocation needs a law of params and tokens")

    monkeypatch.setattr(comparing, "decide", refuse)
    alone = comparing.examine({"power": comparison.fits["additive"]})
    assert "params and tokens" in alone.left_out["budget"]["power"]
    assert len(alone.budget) == 0


def test_population_and_families_are_told_apart(comparison: bs.Comparison) -> None:
    fit = comparison.fits["additive"]
    pooled = fit.posterior.expand_dims({FAMILY: ["F", "G"]}, axis=2)
    centers = {f"{name}_center": fit.posterior[name] for name in ("level", "ratio_B", "alpha_N", "beta_D")}
    pooled = pooled.assign(**centers, ratio_A=fit.posterior["ratio_A"])
    spec = bs.make_spec("additive", law="additive", pooling={"default": "partial", "ratio_A": "complete"})
    tree = fit.tree.copy()
    tree["posterior"] = xr.DataTree(pooled)
    several = replace(fit, tree=tree, spec=spec, meta=fit.meta | {"families": ["F", "G"]})
    table = comparison_tables.coefficients({"additive": several}, {})
    of = table.groupby("name")["family"].agg(set)
    assert of["alpha_N"] == {"F", "G", comparison_tables.POPULATION}
    assert of["beta_D"] == {"F", "G", comparison_tables.POPULATION}
    assert of["ratio_A"] == {"all"}  # shared by all families


@pytest.mark.parametrize(
    ("specs", "settings", "error", "says"),
    [
        (["additive", "additive"], {}, QueryError, "given twice"),
        (["additive", bs.load_spec("additive")], {}, QueryError, "given twice"),
        (["additive"], {}, QueryError, "at least two"),
        (["additive", "adictive"], {}, UnknownName, "did you mean 'additive'"),
        (["additive", SCORES_ONLY], {}, QueryError, "has no response 'loss'"),
        (BOTH, {"flops": -1}, QueryError, "not a plausible number of FLOP"),
        (BOTH, {"flops": 1e60}, QueryError, "not a plausible number of FLOP"),
        (BOTH, {"family": "Chinchila"}, QueryError, "did you mean 'Chinchilla'"),
    ],
)
def test_bad_input_is_refused_before_any_fit(chinchilla, monkeypatch, specs, settings, error, says) -> None:
    monkeypatch.setattr(comparing, "fit_many", None)
    with pytest.raises(error, match=says):
        bs.compare(chinchilla, specs, **settings)


def test_two_specs_of_one_name_are_refused(chinchilla: bs.Runs, tmp_path: Path) -> None:
    path = tmp_path / "additive.toml"
    path.write_text('law = "coupled"\n')
    with pytest.raises(QueryError, match="two models have one name"):
        bs.compare(chinchilla, ["additive", path])


def test_fits_of_different_runs_are_not_set_side_by_side(comparison: bs.Comparison) -> None:
    fit = comparison.fits["additive"]
    other = replace(fit, meta=fit.meta | {"runs_digest": "of other runs"})
    with pytest.raises(QueryError, match="different runs"):
        comparing.examine({"one": fit, "other": other})
    with pytest.raises(QueryError, match="no fit"):
        comparing.examine({})


@pytest.fixture
def command(comparison: bs.Comparison, monkeypatch):
    """The command on a comparison that is made already."""
    monkeypatch.setattr(comparing, "compare", lambda *args, **settings: comparison)

    def run(*args: str | Path):
        named = [arg for model in comparison.models for arg in ("--model", model)]
        return CliRunner().invoke(main, ["compare", "hoffmann2022", *named, *map(str, args)])

    return run


def test_the_command_prints_every_table_and_the_failure(command, comparison: bs.Comparison) -> None:
    result = command()
    assert result.exit_code == 1
    for title in comparison.tables:
        assert title in result.stdout
    assert "FAILED: repetition: " in result.stderr


def test_the_command_writes_its_table_its_report_and_json(command, comparison, tmp_path: Path) -> None:
    out, page = tmp_path / "table.csv", tmp_path / "page.html"
    result = command("--out", out, "--report", page, "--json")
    content = json.loads(result.stdout)
    assert set(content["verdicts"]) == set(comparison.models)
    assert {row["model"] for row in content["budget"]} == set(BOTH)
    assert content["left_out"]["fits"].keys() == {"repetition"}
    assert list(pd.read_csv(out)["model"]) == comparison.models
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--flops", "1e60"), "expected a positive, finite number"),
        (("--out", "absent/table.csv"), "cannot write"),
        (("--report", "absent/page.html"), "cannot write"),
        (("--out", "one.html", "--report", "one.html"), "the same file"),
    ],
)
def test_the_command_refuses_bad_input(command, args, says, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = command(*args)
    assert result.exit_code == 2
    assert says in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("models", "says"),
    [
        (("additive", "additive"), "one model is given twice"),
        (("additive",), "at least two models"),
        (("additive", "aditive"), "did you mean 'additive'?"),
    ],
)
def test_the_command_refuses_models_before_any_fit(models, says, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(comparing, "fit_many", None)
    named = [arg for model in models for arg in ("--model", model)]
    result = CliRunner().invoke(main, ["compare", "hoffmann2022", *named, "--out", str(tmp_path / "table.csv")])
    assert result.exit_code == 2
    assert says in result.stderr
    assert list(tmp_path.iterdir()) == []
