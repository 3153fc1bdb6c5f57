"""Verdicts: one type on every result, and no recommendation from chains that have not converged."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner, Result

import bayescale as bs
from bayescale.cli import main
from bayescale.core.verdict import Status, Verdict, joined, of_chains, of_tests
from bayescale.decisions.choice import Choice, Withheld
from bayescale.evaluation import comparison as comparing
from bayescale.inference.diagnostics import criteria, summarised

BUDGET = "1e24"
AT_70B = {"params": "70B", "tokens": "1.4T"}
# What a recommendation is made of, in words and in JSON.
RECOMMENDS = ("train ", "tokens per param", "safe range", "best ratio", "regret", "expected ")
ANSWERS = ("params", "tokens", "tokens_per_param", "expected_loss", "regret_nats", "waste_fraction", "optimum", "curve")


@pytest.fixture(scope="module")
def noise_free() -> bs.Runs:
    """A simulator's table: the law exactly, so that the noise's scale has no lower bound and chains stick."""
    params, ratio = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 4), [5.0, 20.0, 80.0]))
    tokens = params * ratio
    loss = 1.7 + 400 / params**0.34 + 410 / tokens**0.28
    return bs.load_runs(pd.DataFrame({"params": params, "tokens": tokens, "loss": loss, "family": "made"}))


@pytest.fixture(scope="module")
def hasty(noise_free: bs.Runs) -> bs.Fit:
    """A fit whose chains had no time to agree."""
    with pytest.warns(bs.ConvergenceWarning, match="NOT CONVERGED"):
        return bs.fit(noise_free, "additive", seed=0, chains=2, warmup=20, draws=10)


@pytest.fixture(scope="module")
def saved(hasty: bs.Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hasty.save(tmp_path_factory.mktemp("hasty") / "fit.nc")


def run(*args: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def spoilt(fit: bs.Fit) -> bs.Fit:
    """The same draws, said to have diverged."""
    tree = fit.tree.copy()
    tree["sample_stats"] = tree["sample_stats"].to_dataset().assign(diverging=lambda d: d["diverging"] | True)
    return bs.Fit(tree, fit.spec, fit.meta)


# The criteria


@pytest.mark.parametrize("stuck", ["a", "b", "z"])
def test_a_parameter_without_an_r_hat_is_a_problem_wherever_it_stands(stuck: str) -> None:
    draws = np.random.default_rng(0).standard_normal((3, 4, 500))
    posterior = {name: (("chain", "draw"), values) for name, values in zip("abz", draws, strict=True)}
    posterior[stuck] = (("chain", "draw"), np.zeros((4, 500)))
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset(posterior), "sample_stats": xr.Dataset()})
    with np.errstate(invalid="ignore"):
        first, *others = criteria(tree, summarised(tree["posterior"].to_dataset()))
    assert not first.passed
    assert f"no R-hat of {stuck}," in first.sentence
    assert all(one.passed for one in others)


# The type


def test_a_verdict_is_one_line_with_its_reasons() -> None:
    assert str(of_chains([])) == "converged"
    assert str(of_tests([])) == "passed"
    assert str(of_chains(["R-hat 4.0"], ["raise warmup"])) == "NOT CONVERGED: R-hat 4.0"
    assert str(of_tests(["nu: ranks leave their band"])) == "FAILED: nu: ranks leave their band"
    assert str(of_chains([], notes=["3.0% of draws have no optimum"])) == "converged; 3.0% of draws have no optimum"
    assert of_chains([], notes=["a note"]).ok
    assert of_chains([]).caution == ""
    assert of_chains(["R-hat 4.0"], ["raise warmup", "raise warmup"]).caution.splitlines() == [
        "NOT CONVERGED: R-hat 4.0",
        "The numbers are provisional: do not rely on them. To do: raise warmup.",
    ]


def test_a_verdict_on_several_names_each_and_is_as_bad_as_the_worst() -> None:
    fine, slow, broken = of_chains([]), of_chains(["R-hat 4.0"], ["longer"]), Verdict(Status.FAILED, ("no column",))
    assert joined({"a": fine}) == fine
    assert str(joined({"a": fine, "b": slow})) == "NOT CONVERGED: b: R-hat 4.0"
    assert joined({"a": fine, "b": slow}).advice == ("longer",)
    assert str(joined({"b": slow, "c": broken})) == "FAILED: b: NOT CONVERGED: R-hat 4.0; c: no column"


def test_a_verdict_is_a_value() -> None:
    one = of_chains(["R-hat 4.0"], ["longer"])
    assert one == of_chains(["R-hat 4.0"], ["longer"]) != of_chains(["R-hat 4.0"])
    assert {one: 1}[pickle.loads(pickle.dumps(one))] == 1


def test_every_result_carries_a_verdict(chinchilla_fit: bs.Fit, comparison: bs.Comparison) -> None:
    results = [
        chinchilla_fit,
        bs.average({"additive": chinchilla_fit}),
        bs.forecast(chinchilla_fit, **AT_70B),
        bs.decide(bs.Allocation(BUDGET), chinchilla_fit),
        bs.check(chinchilla_fit, "convergence"),
        comparison,
        *comparison.backtests.values(),
    ]
    for result in results:
        assert isinstance(result.verdict, Verdict), type(result)
    for verdicts in (comparison.verdicts, comparison.forecasts.verdicts):
        assert all(isinstance(verdict, Verdict) for verdict in verdicts.values())


# Without convergence: reasons, what to do, no recommendation


def test_a_noise_free_table_in_a_hurry_has_not_converged(hasty: bs.Fit) -> None:
    assert not hasty.converged
    assert any("R-hat" in problem for problem in hasty.verdict.problems)
    assert hasty.verdict.advice


def test_nothing_is_recommended(hasty: bs.Fit) -> None:
    choice = bs.decide(bs.Allocation(BUDGET), hasty)
    assert isinstance(choice, Withheld)
    assert choice.verdict == hasty.verdict
    said = repr(choice)
    assert said.startswith("NOT CONVERGED: no recommendation\n")
    unwrapped = " ".join(said.split())
    for words in (*hasty.verdict.problems, *hasty.verdict.advice):
        assert words in unwrapped
    for words in RECOMMENDS:
        assert words not in said, words
    for name in ("params", "tokens", "regret_nats", "band"):
        with pytest.raises(AttributeError, match=f"there is no recommendation, so there is no {name}: NOT CONVERGED"):
            getattr(choice, name)


def test_its_keys_are_those_of_a_choice_without_the_answers(hasty: bs.Fit, chinchilla_fit: bs.Fit) -> None:
    found = bs.decide(bs.Allocation(BUDGET), hasty).to_dict()
    usual = bs.decide(bs.Allocation(BUDGET), chinchilla_fit).to_dict()
    assert found.keys() - usual.keys() == {"reasons", "advice", "provisional"}
    assert usual.keys() <= found.keys()
    assert {key for key in usual if found[key] is not None} == {"flops", "family", "verdict"}
    assert found["reasons"] == list(hasty.verdict.problems)
    assert usual.keys() - {"flops", "family", "verdict"} == found["provisional"].keys()


def test_what_would_have_been_chosen_opens_with_the_verdict(hasty: bs.Fit) -> None:
    provisional = bs.decide(bs.Allocation(BUDGET), hasty).provisional
    assert isinstance(provisional, Choice)
    assert repr(provisional).startswith("NOT CONVERGED: ")


def test_an_average_with_a_member_that_has_not_converged_recommends_nothing(chinchilla_fit: bs.Fit) -> None:
    mixed = bs.average({"fine": chinchilla_fit, "bad": spoilt(chinchilla_fit)})
    assert isinstance(bs.decide(bs.Allocation(BUDGET), mixed), Withheld)


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_recommends_nothing(as_json: bool, saved: Path) -> None:
    result = run("decide", "allocation", saved, "--flops", BUDGET, *["--json"] * as_json)
    assert result.exit_code == 1
    assert result.stderr.startswith("bayescale: NOT CONVERGED: ")
    if as_json:
        found = json.loads(result.stdout)
        assert [found[name] for name in ANSWERS] == [None] * len(ANSWERS)
        assert found["verdict"].startswith("NOT CONVERGED: ")
        assert found["reasons"]
        assert found["advice"]
    else:
        assert result.stdout.startswith("NOT CONVERGED: ")
        for words in RECOMMENDS:
            assert words not in result.stdout, words


def test_fit_says_so_in_its_first_line(noise_free: bs.Runs, tmp_path: Path) -> None:
    noise_free.frame.to_csv(tmp_path / "made.csv", index=False)
    few = ("--draws", "10", "--warmup", "20", "--chains", "2")
    result = run("fit", tmp_path / "made.csv", "--model", "additive", "--out", tmp_path / "fit.nc", *few)
    assert result.exit_code == 1
    first = result.stdout.splitlines()[0]
    assert first.startswith("NOT CONVERGED: R-hat ")
    assert "(" in first  # of which parameter
    assert "ESS" in first


def test_forecast_gives_the_verdict_first_and_marks_its_numbers(saved: Path, hasty: bs.Fit, tmp_path: Path) -> None:
    at = ("--params", "70B", "--tokens", "1.4T")
    result = run("forecast", saved, *at, "--out", tmp_path / "out.csv")
    assert result.exit_code == 1
    first, second, *_ = result.stdout.splitlines()
    assert first == str(hasty.verdict)
    assert second.startswith("The numbers are provisional: do not rely on them.")
    assert "covered" not in result.stdout  # nothing was measured of such intervals
    assert pd.read_csv(tmp_path / "out.csv")["provisional"].tolist() == [True]
    (row,) = json.loads(run("forecast", saved, *at, "--json").stdout)
    assert row["provisional"] is True
    again = run("forecast", saved, "--at", tmp_path / "out.csv", "--json")
    assert json.loads(again.stdout)[0]["mean"] == pytest.approx(row["mean"])


def test_in_python_and_in_a_notebook_too(hasty: bs.Fit, chinchilla_fit: bs.Fit) -> None:
    forecast = bs.forecast(hasty, **AT_70B)
    assert repr(forecast).startswith("NOT CONVERGED: ")
    assert forecast._repr_html_().startswith("<p>NOT CONVERGED: ")
    assert forecast.evidence == []
    assert repr(hasty).startswith("NOT CONVERGED: ")
    fine = bs.forecast(chinchilla_fit, **AT_70B)
    assert "provisional" not in fine.table
    assert "provisional" not in repr(fine)
    assert repr(chinchilla_fit).endswith(" draws, converged)")


def test_a_report_recommends_nothing(saved: Path, hasty: bs.Fit, tmp_path: Path) -> None:
    assert run("report", saved, "--out", tmp_path / "page.html").exit_code == 1
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    decision = page[page.index('id="decision"') : page.index('id="data"')]
    assert "No recommendation: NOT CONVERGED" in decision
    assert hasty.verdict.problems[0] in decision
    assert "train " not in decision
    assert "too few draws" in page  # for leave-one-out


def test_a_comparison_sets_no_split_of_it_beside_others(chinchilla_fit: bs.Fit) -> None:
    found = comparing.examine({"fine": chinchilla_fit, "bad": spoilt(chinchilla_fit)}, flops=BUDGET)
    assert list(found.choices) == ["fine"]
    assert set(found.budget["model"]) == {"fine"}
    assert found.left_out["budget"]["bad"].startswith("no recommendation: NOT CONVERGED: 4000 draws diverged")
    assert "bad: no recommendation" in repr(found)
    assert np.isnan(found.table.set_index("model").loc["bad", "params"])


def test_a_note_does_not_withhold_a_recommendation(chinchilla_fit: bs.Fit) -> None:
    found = bs.decide(bs.Allocation(BUDGET), chinchilla_fit)
    choice = replace(found, details=replace(found.details, at_edge=0.031))
    assert choice.verdict.ok
    assert choice.to_dict()["verdict"] == "converged; 3.1% of draws have no optimum inside the grid"
