"""The command line: what each command prints, where, and with which exit code."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

import bayescale as bs
from bayescale.cli import main, show
from bayescale.cli.models import _WAYS
from bayescale.cli.options import Reading
from bayescale.cli.printing import print_table, read_runs
from bayescale.cli.results import marked_words
from bayescale.core import shipped
from bayescale.core.quantities import count
from bayescale.decisions import waste
from bayescale.decisions.allocation import default_budget
from bayescale.decisions.hardware import hardware
from bayescale.decisions.influence import influence
from bayescale.reporting import pages
from bayescale.runs.splits import WAYS

COMMANDS = (
    (),
    ("fit",),
    ("check",),
    ("forecast",),
    ("decide",),
    ("decide", "allocation"),
    ("backtest",),
    ("calibrate",),
    ("compare",),
    ("report",),
    ("show",),
)
KINDS = (
    *("models", "data", "decisions", "checks"),
    *("laws", "resources", "penalties", "responses", "noise"),
    "discrepancies",
)
HEADS = ("laws:", "resources:", "penalties:", "responses:", "noise:", "priors by theory, and counts:")
AT_70B = ("--params", "70B", "--tokens", "1.4T")


def run(*args: str | Path) -> Result:
    """Run a command; only what it raises on purpose may end it."""
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def parsed(result: Result) -> object:
    """Standard output as strict JSON: NaN and Infinity are no JSON."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(result.stdout, parse_constant=refuse)


@pytest.fixture(scope="session")
def saved(chinchilla_fit: bs.Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chinchilla_fit.save(tmp_path_factory.mktemp("saved") / "fit.nc")


@pytest.fixture(scope="session")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A fit whose chains had no time to agree, and what its command said."""
    path = tmp_path_factory.mktemp("hasty") / "fit.nc"
    few = ("--draws", "10", "--warmup", "20", "--chains", "2")
    return path, run("fit", "hoffmann2022", "--model", "additive", "--out", path, *few)


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_is_data(command: tuple[str, ...], flag: str) -> None:
    result = run(*command, flag)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("Usage: ")
    assert " ".join(command) in result.stdout


def test_help_lists_every_verb() -> None:
    listed = run("--help").stdout
    assert all(f"\n  {verb} " in listed for verb, *_ in COMMANDS[1:])


def test_the_version_is_the_installed_one() -> None:
    assert version("bayescale") in run("--version").stdout


def test_no_help_waits_for_jax() -> None:
    script = f"""
import sys
from bayescale.cli import main
for command in {COMMANDS}:
    assert main([*command, "--help"], standalone_mode=False) == 0
print("imported:", sorted({{"jax", "numpyro", "pandas", "xarray"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "imported: []"


@pytest.mark.parametrize("kind", KINDS)
def test_show_lists_a_kind_and_each_name_whole(kind: str) -> None:
    rows = parsed(run("show", kind, "--json"))
    assert rows
    listed = run("show", kind)
    assert (listed.exit_code, listed.stderr) == (0, "")
    lines = [line for line in listed.stdout.splitlines() if not line.startswith(" ") and line not in HEADS]
    for row, line in zip(rows, lines, strict=kind != "laws"):  # laws are followed by all other entries
        assert line.startswith(row["name"])
        assert row["about"].strip()
        assert line.endswith(row["about"])
        whole, words = run("show", kind, row["name"], "--json"), run("show", kind, row["name"])
        assert (whole.exit_code, whole.stderr, words.exit_code, words.stderr) == (0, "", 0, "")
        assert parsed(whole)["name"] == row["name"]
        assert row["about"] in words.stdout


def test_every_entry_says_what_was_reproduced_and_on_which_runs_it_was_tested() -> None:
    lines = run("show", "laws").stdout.splitlines()
    entries = [row for kind in show.ENTRIES for row in parsed(run("show", kind, "--json"))]
    assert sum(line.startswith("    tested on: ") for line in lines) == len(entries)
    assert sum(line.startswith("    reproduced: ") for line in lines) == len(entries) + len(show._TOOLS)
    assert {"simulated runs only", "hoffmann2022, open-families, gadre2024"} <= {
        line.removeprefix("    tested on: ") for line in lines
    }


def test_a_model_names_its_parts_that_no_open_runs_have_tested() -> None:
    listed = {row["name"]: row["simulated"] for row in parsed(run("show", "models", "--json"))}
    assert listed["precision"] == "precision"
    assert listed["additive"] == ""
    assert "    tested on simulated runs only: precision" in run("show", "models").stdout.splitlines()
    assert "on simulated runs only: precision" in run("show", "models", "precision").stdout
    assert "simulated runs only" not in run("show", "models", "additive").stdout


@pytest.mark.parametrize(("one", "many"), [("model", "models"), ("law", "laws"), ("check", "checks")])
def test_a_kind_may_be_named_in_the_singular(one: str, many: str) -> None:
    assert run("show", one).stdout == run("show", many).stdout


@pytest.mark.parametrize("name", shipped.names("models"))
def test_a_shown_model_is_the_model(name: str) -> None:
    shown = parsed(run("show", "models", name, "--json"))
    spec = bs.load_spec(name)
    assert shown["digest"] == spec.digest
    assert {key: shown[key] for key in spec.to_dict()} == spec.to_dict()
    words = run("show", "models", name).stdout
    assert all(parameter in words for parameter in spec.parameters)


@pytest.mark.parametrize("name", shipped.names("data"))
def test_a_shown_table_says_its_licence_faults_and_exclusions(name: str) -> None:
    card = bs.load_runs(name).card
    words = run("show", "data", name).stdout
    for text in (card["licence"], card["citation"], card["sha256"][:16], *card["faults"], *card["columns"]):
        assert text in words
    assert all(f"{e['rows']} runs: {e['reason']}" in words for e in card["exclusions"])


def test_fit_prints_json_and_saves_the_draws_of_the_library(chinchilla_fit: bs.Fit, tmp_path: Path) -> None:
    result = run("fit", "hoffmann2022", "--model", "additive", "--out", tmp_path / "fit.nc", "--seed", "0", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    said = parsed(result)
    assert said["converged"] is True
    assert (said["model"], said["runs"], said["seed"]) == ("additive", "hoffmann2022", 0)
    saved = bs.load_fit(tmp_path / "fit.nc")
    assert saved.posterior.equals(chinchilla_fit.posterior)
    for name, row in said["parameters"].items():
        assert row["mean"] == pytest.approx(saved.summary.loc[name, "mean"])
    assert [path.name for path in tmp_path.iterdir()] == ["fit.nc"]


def test_fit_prints_a_table_with_its_verdict(chinchilla_fit: bs.Fit, tmp_path: Path) -> None:
    path = tmp_path / "fit.nc"
    result = run("fit", "hoffmann2022", "--model", "additive", "--out", path)
    assert (result.exit_code, result.stderr) == (0, "")
    for text in (*chinchilla_fit.summary.index, "245 runs", "converged", str(path)):
        assert text in result.stdout


def test_fit_takes_a_path_to_runs_and_to_a_spec(chinchilla: bs.Runs, tmp_path: Path) -> None:
    chinchilla.frame.to_csv(tmp_path / "mine.csv", index=False)
    (tmp_path / "quick.toml").write_text('law = "power"\ninputs = ["flops"]', encoding="utf-8")
    result = run("fit", tmp_path / "mine.csv", "--model", tmp_path / "quick.toml", "--out", tmp_path / "f.nc", "--json")
    assert result.exit_code == 0
    assert (parsed(result)["model"], parsed(result)["runs"]) == ("quick", "mine")
    choice = run("decide", "allocation", tmp_path / "f.nc", "--flops", "1e24")
    assert choice.exit_code == 2
    assert "params and tokens" in choice.stderr
    assert "additive" in choice.stderr
    # The compute of a run is a query of this law, and not a budget to split.
    (row,) = json.loads(run("forecast", tmp_path / "f.nc", "--flops", "5.76e23", "--json").stdout)
    assert row["q50"] == pytest.approx(bs.forecast(bs.load_fit(tmp_path / "f.nc"), flops=5.76e23).summary["q50"][0])
    assert run("forecast", tmp_path / "f.nc", "--flops", "1e23", "--set", "flops=1e22").exit_code == 2


def test_fit_replaces_an_older_file_whole(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "fit.nc"
    path.write_bytes(b"\x89HDF\r\n\x1a\n, and what an older fit holds")
    assert run("fit", "hoffmann2022", "--model", "additive", "--out", path).exit_code == 0
    assert bs.load_fit(path).posterior.equals(bs.load_fit(saved).posterior)


def test_check_exits_by_its_findings(saved: Path) -> None:
    result = run("check", saved, "--json")
    said = parsed(result)
    assert result.stderr == ""
    assert said["passed"] == all(finding["passed"] for finding in said["findings"])
    assert result.exit_code == (0 if said["passed"] else 1)
    shipped_checks = {row["name"] for row in parsed(run("show", "checks", "--json"))}
    # They ask of learned priors, of the resource pruning, of RL, of benchmarks, and of public models.
    of_scores = {"scores", "floors", "ceilings", "compounding", "monotone", "observational"}
    of_some = {"novelty", "pruning", "inflection"} | of_scores
    assert {finding["check"] for finding in said["findings"]} == shipped_checks - of_some


def test_check_says_each_finding_and_advises_on_what_failed(saved: Path) -> None:
    words, data = run("check", saved, "--verbose"), run("check", saved, "--json")
    assert (words.exit_code, words.stderr) == (data.exit_code, "")
    findings = parsed(data)["findings"]
    assert all(finding["sentence"] in words.stdout for finding in findings)
    assert all(finding["advice"] in words.stdout for finding in findings if not finding["passed"])


@pytest.mark.parametrize(
    ("asked", "kind", "make"),
    [
        (("--params", "inf", "--tokens", "1T"), "information limit", lambda fit: bs.limit(fit, tokens="1T")),
        (("--params", "70B", "--tokens", "inf"), "capacity limit", lambda fit: bs.limit(fit, params="70B")),
        (("--params", "inf", "--tokens", "inf"), "floor", bs.limit),
        (("--flops", "5.76e23"), "frontier", lambda fit: bs.frontier(fit, 5.76e23)),
    ],
)
def test_forecast_without_a_bound_is_what_the_law_alone_says(
    asked: tuple, kind: str, make: Callable, saved: Path, chinchilla_fit: bs.Fit, tmp_path: Path
) -> None:
    result, words = (
        run("forecast", saved, *asked, "--json", "--out", tmp_path / "f.csv"),
        run("forecast", saved, *asked),
    )
    assert result.exit_code == words.exit_code == 0
    (row,) = json.loads(result.stdout)["rows"]
    expected = make(chinchilla_fit).summary.iloc[0]
    assert {name: row[name] for name in expected.index} == pytest.approx(expected.to_dict())
    assert kind in words.stdout
    assert "converged" in words.stdout
    assert pd.read_csv(tmp_path / "f.csv")["loss_q50"][0] == pytest.approx(row["loss_q50"])
    assert run("forecast", saved, "--flops", "1e22", "--params", "1B").exit_code == 2


def test_forecast_prints_what_the_library_says(saved: Path, chinchilla_fit: bs.Fit) -> None:
    result = run("forecast", saved, *AT_70B, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    (row,) = parsed(result)
    expected = bs.forecast(chinchilla_fit, params=70e9, tokens=1.4e12).summary.iloc[0]
    measured = [key for key in expected.index if expected[key] == expected[key]]  # JSON has no NaN
    assert {key: row[key] for key in measured} == pytest.approx(expected[measured].to_dict())
    assert all(row[key] is None for key in expected.index.difference(measured))
    assert row["verdict"] == "converged"


def test_forecast_prints_a_table_with_unit_reach_and_verdict(saved: Path) -> None:
    result = run("forecast", saved, *AT_70B)
    assert (result.exit_code, result.stderr) == (0, "")
    for text in ("Chinchilla", "70.0B", "1.40T", "nats/token", "times the compute of the largest run", "converged"):
        assert text in result.stdout


def test_a_forecast_inside_the_runs_says_so(saved: Path) -> None:
    assert "inside the compute" in run("forecast", saved, "--params", "1B", "--tokens", "20B").stdout


def test_what_lies_below_the_runs_is_told_so(saved: Path) -> None:
    small = run("forecast", saved, "--params", "1M", "--tokens", "100M").stdout
    assert "down to 1/2.3k of the compute of the smallest run: a scenario" in small
    assert "of the largest run" not in small.split("\n\n")[0]
    assert "of the compute of the smallest run" in run("decide", "allocation", saved, "--flops", "1e15").stdout


def test_numbers_may_be_written_either_way(saved: Path) -> None:
    plain = run("forecast", saved, "--params", "70e9", "--tokens", "1_400_000_000_000", "--json")
    assert plain.stdout == run("forecast", saved, *AT_70B, "--json").stdout


def test_a_seed_repeats_the_noise_and_another_does_not(saved: Path) -> None:
    first, again, other = (run("forecast", saved, *AT_70B, "--seed", s, "--json").stdout for s in ("1", "1", "2"))
    assert first == again
    assert first != other


def test_forecast_of_a_file_of_queries_keeps_their_order_and_writes_a_csv(saved: Path, tmp_path: Path) -> None:
    queries = tmp_path / "queries.csv"
    queries.write_text("tokens,params\n1.4T,70B\n20B,1e9\n300B,1_000_000\n", encoding="utf-8")
    result = run("forecast", saved, "--at", queries, "--out", tmp_path / "out.csv", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = pd.DataFrame(parsed(result))
    assert rows["params"].tolist() == [70e9, 1e9, 1e6]
    assert (rows["q05"] < rows["q50"]).all()
    assert (rows["q50"] < rows["q95"]).all()
    written = pd.read_csv(tmp_path / "out.csv")
    rows = rows[list(written)].astype({"covered_90": float})  # JSON's null, where nothing was measured
    pd.testing.assert_frame_equal(written, rows, check_dtype=False)


def test_forecast_writes_a_csv_that_says_whether_the_fit_converged(saved: Path, tmp_path: Path) -> None:
    """A number never travels without its verdict."""
    assert run("forecast", saved, *AT_70B, "--out", tmp_path / "out.csv").exit_code == 0
    assert "verdict" in pd.read_csv(tmp_path / "out.csv")


def test_a_forecast_runs_on_its_own_output(saved: Path, tmp_path: Path) -> None:
    first = run("forecast", saved, *AT_70B, "--out", tmp_path / "out.csv", "--json")
    again = run("forecast", saved, "--at", tmp_path / "out.csv", "--json")
    keys = ("params", "tokens", "mean", "q05", "q95", "reach_decades")
    assert {k: parsed(again)[0][k] for k in keys} == pytest.approx({k: parsed(first)[0][k] for k in keys})


def test_queries_name_their_families(trio: bs.Runs, tmp_path: Path) -> None:
    trio.frame.to_csv(tmp_path / "trio.csv", index=False)
    text = 'law = "additive"\npooling = {default = "complete", level = "partial"}'
    (tmp_path / "quick.toml").write_text(text, encoding="utf-8")
    path, queries = tmp_path / "fit.nc", tmp_path / "queries.csv"
    few = ("--draws", "200", "--chains", "2")
    run("fit", tmp_path / "trio.csv", "--model", tmp_path / "quick.toml", "--out", path, *few)
    queries.write_text("family,params,tokens\nOpenLM-C4,7B,1T\n,7B,1T\nnew,7B,1T\n", encoding="utf-8")
    rows = parsed(run("forecast", path, "--at", queries, "--family", "OpenLM-RedPajama", "--json"))
    assert [row["family"] for row in rows] == ["OpenLM-C4", "OpenLM-RedPajama", "new"]
    widths = [row["epred_q95"] - row["epred_q05"] for row in rows]
    assert widths[2] > max(widths[:2])  # a family that nobody saw is less certain
    unnamed = parsed(run("forecast", path, "--params", "7B", "--tokens", "1T", "--json"))
    assert unnamed[0]["family"] == "new"


def test_an_allocation_spends_its_budget(saved: Path) -> None:
    result = run("decide", "allocation", saved, "--flops", "5.76e23", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    said = parsed(result)
    assert 6 * said["params"] * said["tokens"] == pytest.approx(5.76e23)
    assert said["tokens_per_param"] == pytest.approx(said["tokens"] / said["params"])
    assert said["regret_nats"] >= 0
    assert said["optimum"]["params"]["q05"] < said["params"] < said["optimum"]["params"]["q95"]
    assert said["verdict"] == "converged"
    loss = [row["loss_q50"] for row in said["curve"]]
    assert loss == sorted(loss, reverse=True)


def test_an_allocation_in_words_names_regret_reach_and_verdict(saved: Path) -> None:
    result = run("decide", "allocation", saved, "--flops", "5.76e23")
    assert (result.exit_code, result.stderr) == (0, "")
    for text in ("5.76e+23", "tokens per param", "regret", "times the compute of the largest run", "converged"):
        assert text in result.stdout


def test_backtest_scores_the_dearer_runs_and_says_who_was_left_out(chinchilla: bs.Runs, tmp_path: Path) -> None:
    few = chinchilla.frame.iloc[100:106].assign(family="Few")
    pd.concat([chinchilla.frame, few]).to_csv(tmp_path / "mine.csv", index=False)
    result = run("backtest", tmp_path / "mine.csv", "--model", "additive-complete", "--json")
    said = parsed(result)
    assert [row["family"] for row in said["families"]] == ["Chinchilla"]
    assert "left out: Few" in result.stderr
    assert list(said["left_out"]) == ["Few"]
    row = said["families"][0]
    assert row["n_train"] + row["n_test"] <= 245
    assert 0 <= row["coverage_50"] <= row["coverage_90"] <= 1
    assert sum(line["n_test"] for line in said["horizons"]) == row["n_test"]
    assert said["mean"]["crps"] == pytest.approx(np.mean([row["crps"] for row in said["families"]]))
    assert result.exit_code == (0 if set(said["verdicts"].values()) == {"converged"} else 1)


def test_a_backtests_record_is_written_and_forecasts_carry_it(saved: Path, tmp_path: Path) -> None:
    path, args = tmp_path / "record.toml", ("--model", "additive", "--way", "leave-largest-out", "--out")
    result = run("backtest", "hoffmann2022", *args, path, "--json")
    assert f"record: {path}" in result.stderr
    said = parsed(result)
    assert (said["way"], said["spec"], said["seed"]) == ("leave-largest-out", "additive", 0)
    (horizon,) = said["horizons"]
    assert (horizon["horizon"], horizon["families"], horizon["coverage_90_se"]) == ("inside", 1, None)
    inside = ("--params", "1B", "--tokens", "20B")
    share = f"covered {100 * horizon['coverage_90']:.0f}% of {horizon['n_test']} backtest forecasts of 1 family inside"
    assert share in run("forecast", saved, *inside, "--record", path).stdout
    (row,) = parsed(run("forecast", saved, *inside, "--record", path, "--json"))
    assert row["covered_90"] == pytest.approx(horizon["coverage_90"], abs=1e-6)  # six digits are kept
    assert (row["backtests"], row["extrapolation"]) == (horizon["n_test"], "inside")
    assert "no backtest of this model" in run("forecast", saved, *inside).stdout


def test_the_command_lists_every_way_to_split() -> None:
    assert tuple(WAYS) == _WAYS


def test_a_check_that_has_too_few_draws_says_so_and_does_not_pass(hasty: tuple[Path, Result]) -> None:
    findings = parsed(run("check", hasty[0], "--json"))["findings"]
    (finding,) = [finding for finding in findings if finding["check"] == "sensitivity"]
    assert not finding["passed"]
    assert "too few draws" in finding["sentence"]


def test_a_fit_that_did_not_converge_is_saved_but_exits_1_saying_why(hasty: tuple[Path, Result]) -> None:
    path, result = hasty
    assert result.exit_code == 1
    assert result.stderr.startswith("bayescale: NOT CONVERGED: ")
    assert "ESS" in result.stderr
    assert "NOT CONVERGED" in result.stdout
    assert not bs.load_fit(path).converged


@pytest.mark.parametrize(
    "command",
    [("forecast", *AT_70B), ("decide", "allocation", "--flops", "1e24"), ("check",)],
    ids=["forecast", "decide", "check"],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_asked_of_it_later_exits_1_saying_why(
    command: tuple[str, ...], as_json: bool, hasty: tuple[Path, Result]
) -> None:
    result = run(*command, hasty[0], *["--json"] * as_json)
    assert result.exit_code == 1
    assert "NOT CONVERGED" in result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("bayescale: NOT CONVERGED: ")
    if as_json:
        assert parsed(result)


def test_a_family_whose_name_looks_like_markup_is_printed(capsys):
    print_table(pd.DataFrame({"parameter": ["alpha_N[red]", "alpha_N[ours]", ":ok:"], "mean": [0.3, 0.4, 0.5]}))
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("alpha_N[red]", "alpha_N[ours]", ":ok:"))


READERS = {
    "fit": ("--out", "fit.nc", "--model"),
    "backtest": ("--model",),
    "compare": ("--model", "repetition", "--model"),
    "learn": ("--out", "spec.toml", "--model"),
}


@pytest.mark.parametrize("verb", READERS)
def test_what_losses_are_taken_for_is_said_unless_their_unit_is_stated(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a spec that the verb refuses once it has read the runs, so that nothing is sampled."""
    monkeypatch.chdir(tmp_path)
    frame = bs.load_runs("hoffmann2022").where(flops_above=1e21).frame
    frame[["params", "tokens", "loss"]].to_csv("nats.csv", index=False)
    frame[["params", "tokens"]].assign(loss=np.exp(frame["loss"])).to_csv("perplexities.csv", index=False)
    said = "loss taken as nats per token: 'nats' states no unit (--loss-unit)"
    rest = (*READERS[verb], "repetition")
    assert said in run(verb, "nats.csv", *rest).stderr.splitlines()
    for args in (("nats.csv", "--loss-unit", "nats"), ("perplexities.csv", "--loss-unit", "perplexity")):
        refused = run(verb, *args, *rest)
        assert refused.exit_code == 2
        assert "loss taken" not in refused.stderr
        assert "perplexities?" not in refused.stderr
    assert "perplexities?" in run(verb, "perplexities.csv", *rest).stderr


_REASON = "few tokens per param (at most 0.41): high leverage on the data term"


def test_runs_marked_as_excluded_are_named_wherever_they_are_relied_on(saved: Path, hasty: tuple[Path, Result]) -> None:
    """The five runs that the published analyses of hoffmann2022 drop move its split by a factor of nearly three."""
    commands = (("check", saved), ("decide", "allocation", saved, "--flops", "1e24"))
    for said in (hasty[1].stdout, *(run(*command).stdout for command in commands)):
        unwrapped = " ".join(said.split())
        assert "the table marks 5 of these 245 runs as not to be fitted" in unwrapped
        assert _REASON in unwrapped
        assert "--where 'exclusion=\"\"'" in said
    for command in commands:
        assert parsed(run(*command, "--json"))["excluded"] == {_REASON: 5}


def test_the_head_of_a_table_is_shown_after_its_card() -> None:
    card, head = (run("show", "data", "hoffmann2022", *more).stdout for more in ((), ("--head",)))
    assert head.startswith(card)
    first = bs.load_runs("hoffmann2022").frame.head()
    assert all(f" {row.run_id} " in head and count(row.params) in head for row in first.itertuples())
    rows = parsed(run("show", "data", "hoffmann2022", "--head", "--json"))["head"]
    assert [row["loss"] for row in rows] == first["loss"].to_list()
    for other in (("models",), ("data",), ("models", "additive")):
        refused = run("show", *other, "--head")
        assert (refused.exit_code, "--head is of one table" in refused.stderr) == (2, True)


def test_fit_and_check_say_what_leaving_out_the_marked_runs_changes(
    saved: Path, chinchilla_fit: bs.Fit, hasty: tuple[Path, Result]
) -> None:
    """As the decision at the same budget says it."""
    family = chinchilla_fit.families[0]
    changes = influence(chinchilla_fit, family, default_budget(chinchilla_fit, family))
    (ratio,) = (one for one in changes if one.runs.all_marked and one.answer == "tokens_per_param")
    wanted = f"Without them: at {count(ratio.flops)} FLOP, a median of {ratio.after:.3g} tokens per param instead of"
    assert ratio.after != pytest.approx(ratio.before, rel=0.01)
    assert f"{wanted} {ratio.before:.3g}" in marked_words(chinchilla_fit, saved)
    assert f"{wanted} {ratio.before:.3g}" in run("check", saved).stdout
    assert "Without them" not in hasty[1].stdout  # no choice is made by chains that do not agree


def test_what_shows_the_marked_runs_of_several_families_is_the_check() -> None:
    of = {"excluded": {"too hot": 1}, "excluded_words": "the table marks 1 of these runs"}
    several = SimpleNamespace(**of, converged=True, columns=("params", "tokens"), members={"a": 1}, families=["a", "b"])
    assert marked_words(several, Path("f.nc")).endswith("under 'excluded runs' in: bayescale check f.nc")
    by_compute = SimpleNamespace(**of, converged=True, columns=("flops",), members={"a": 1}, families=["a"])
    assert "excluded runs" not in marked_words(by_compute, Path("f.nc"))


def test_a_budget_in_hours_on_hardware_is_forecast_at_its_median_compute(saved: Path, chinchilla_fit: bs.Fit) -> None:
    result = run("forecast", saved, "--flops", "24 hours @ 8xH100", "--json")
    assert result.exit_code == 0
    flops = float(np.median(hardware("8xH100").drawn(4000, 0).flops_of_hours(24.0)))
    (row,) = json.loads(result.stdout)["rows"]
    expected = bs.frontier(chinchilla_fit, flops).summary.iloc[0]
    assert row["loss_q50"] == pytest.approx(
        expected["loss_q50"], rel=1e-4
    )  # the median of an even count is between two
    assert "24 accelerator-hours on 8xH100: " in result.stderr
    assert "FLOP, the median (90% interval" in result.stderr


@pytest.mark.parametrize("verb", ["forecast", "plot", "report", "compare", "decide allocation"])
def test_the_help_of_a_budget_says_that_it_may_be_hours_or_dollars(verb: str) -> None:
    printed = " ".join(run(*verb.split(), "--help").stdout.split()).replace("GPU- hours", "GPU-hours")
    assert "Also dollars, GPU-hours or days on hardware" in printed
    assert re.search(r"Examples:.* --flops '[^']+ @ \w+'", printed)


def test_runs_are_left_out_by_a_condition(tmp_path: Path) -> None:
    few = ("--model", "additive", "--draws", "10", "--warmup", "20", "--chains", "2")
    where = ("--where", 'exclusion=""')
    said = parsed(run("fit", "hoffmann2022", *few, *where, "--out", tmp_path / "fit.nc", "--json"))
    assert said["excluded"] == {}
    assert len(bs.load_fit(tmp_path / "fit.nc").design_frame) == 240
    assert "excluded" not in run("check", tmp_path / "fit.nc").stdout
    for command in ("fit", "backtest", "compare"):
        refused = run(
            command, "hoffmann2022", "--model", "additive", "--where", "exclusion", "--out", tmp_path / "f.nc"
        )
        assert refused.exit_code == 2
        assert "COLUMN=VALUE" in refused.stderr


def test_conditions_on_several_columns_must_all_hold_and_values_of_one_are_alternatives() -> None:
    conditions = [("family", "OPT"), ("family", "OpenLM-C4"), ("params_below", "1B")]
    runs = read_runs("open-families", Reading(conditions=tuple(conditions)))
    assert runs.families == ["OPT", "OpenLM-C4"]
    assert runs["params"].max() < 1e9
    assert len(read_runs("open-families")) == 860


def test_a_split_that_is_not_settled_exits_1_without_a_single_figure(saved: Path, monkeypatch) -> None:
    monkeypatch.setattr(waste, "MOST_WASTE", 0.0)
    said = run("decide", "allocation", saved, "--flops", "1e24", "--json")
    assert (said.exit_code, parsed(said)["settled"], parsed(said)["params"]) == (1, False, None)
    assert said.stderr.startswith("bayescale: these runs do not settle what to choose: expected waste is")
    words = " ".join(run("decide", "allocation", saved, "--flops", "1e24").stdout.split())
    assert "tokens per param (90% intervals)" in words


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "bayescale", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: bayescale")


@pytest.mark.parametrize(
    "args", [["--nonsense"], ["--timeout", "x", "fit"], ["fit", "--sed", "3"], ["decide", "--foo"]]
)
def test_wrong_usage_of_any_level_is_said_as_every_error_is(args: list[str]) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert result.stderr.startswith("bayescale: ")
    assert re.search(r"\n  hint:     \w+( fit| decide)? --help\n$", result.stderr)


@pytest.mark.parametrize("args", [[], ["decide"]])
def test_a_group_without_a_command_prints_its_help(args: list[str]) -> None:
    assert run(*args).stderr.startswith(" ".join(["Usage: main", *args, "[OPTIONS] COMMAND"]))


def test_a_fit_keeps_the_command_that_made_it(hasty: tuple[Path, Result]) -> None:
    path, _ = hasty
    (fit,) = bs.load_fit(path).members.values()
    made = fit.meta["command"]
    assert made.endswith(f" fit hoffmann2022 --model additive --out {path} --chains 2 --warmup 20 --draws 10")
    assert ("command of the fit", made) in pages._spec_words(fit)


def test_a_comparison_reports_the_command_that_makes_its_page_again(tmp_path: Path, monkeypatch) -> None:
    written: dict[str, str] = {}

    def write(result: object, path: Path, *, command: str) -> None:
        written[str(path)] = command

    made = SimpleNamespace(tables={}, converged=True, verdict="converged")
    monkeypatch.setattr("bayescale.evaluation.comparison.compare", lambda *given, **settings: made)
    monkeypatch.setattr("bayescale.reporting.report", write)
    monkeypatch.setattr("bayescale.cli.models.read_runs", lambda runs, reading: runs)
    asked = ["compare", "hoffmann2022", "--model", "additive", "--model", "coupled", "--columns", "params=params",
             "--where", "params_below=1B", "--exclude", "c018",
             "--melt", "hellaswag:n_items=10042,chance=0.25", "--flops", "1e+23", "--family", "Chinchilla",
             "--report", str(tmp_path / "page.html"), "--seed", "3"]  # fmt: skip
    done = run(*asked)
    assert done.exit_code == 0, done.output
    ((path, command),) = written.items()
    assert (path, shlex.split(command)[1:]) == (str(tmp_path / "page.html"), asked)
