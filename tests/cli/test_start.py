"""The verbs before a fit: the template, what is said of a table, what is said of a word."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

import bayescale as bs
from bayescale.cli import main
from bayescale.cli.examples import EXAMPLES
from bayescale.cli.options import Budget, Reading
from bayescale.cli.printing import LABELS, as_text, label, read_runs
from bayescale.cli.results import _FORECAST
from bayescale.core import glossary
from bayescale.core.errors import QueryError
from bayescale.decisions import derived
from bayescale.decisions.hardware import hardware
from bayescale.evaluation import backtest, comparison, sbc, stacking
from bayescale.evaluation.backtest import SCORES, Backtest, Scored, rows_of
from bayescale.evaluation.comparison import _BUDGET, _COEFFICIENTS, _CROSS, _LOO
from bayescale.inference import fit as fitting
from bayescale.runs.readers import load_again
from bayescale.runs.splits import Cut
from bayescale.transfer import learn


def run(*args: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def sweep() -> pd.DataFrame:
    params, ratio = (x.ravel() for x in np.meshgrid([60e6, 125e6, 350e6, 760e6, 13e8], [10, 20, 40], indexing="ij"))
    loss = 1.8 + 480 * params**-0.35 + 2100 * (ratio * params) ** -0.37
    runs = pd.DataFrame({"params": params, "tokens": ratio * params, "loss": loss.round(4)})
    return runs.assign(run_id=[f"r{i}" for i in range(15)], family="F")


def said(frame: pd.DataFrame, path: Path, *more: str) -> dict[str, tuple[str, str]]:
    """State and sentence of each subject that validate speaks of."""
    frame.to_csv(path, index=False)
    result = run("validate", path, "--json", *more)
    assert result.exit_code == 0, result.stderr
    return {remark["subject"]: (remark["state"], remark["sentence"]) for remark in json.loads(result.stdout)["remarks"]}


def test_the_template_is_read_and_its_made_up_row_must_go(tmp_path: Path) -> None:
    path = tmp_path / "ours.csv"
    assert f"bayescale validate {path}" in run("init", path).stdout
    first = run("validate", path)
    assert first.exit_code == 1
    assert "the made-up row 'example' of the template is among the runs" in first.stdout
    assert "→ remove that row" in first.stdout
    text = path.read_text(encoding="utf-8")
    mine = sweep().assign(exclusion="")[["family", "run_id", "params", "tokens", "loss", "exclusion"]]
    path.write_text(text.replace("ours,example,125M,2.5B,3.384,\n", mine.to_csv(index=False, header=False)), "utf-8")
    second = run("validate", path, "--loss-unit", "nats")
    assert second.exit_code == 0
    assert "example" not in second.stdout
    assert "REVIEW" not in second.stdout
    again = run("init", path)
    assert (again.exit_code, path.read_text(encoding="utf-8").count("r14")) == (2, 1)


def test_validate_does_not_wait_for_jax(tmp_path: Path) -> None:
    sweep().to_csv(tmp_path / "runs.csv", index=False)
    script = f"""
import sys
from bayescale.cli import main
try:
    main(["validate", {str(tmp_path / "runs.csv")!r}], standalone_mode=False)
except SystemExit as end:
    assert end.code == 0
"""
    script += 'print("imported:", sorted({"jax", "numpyro", "scipy", "xarray"} & set(sys.modules)))\n'
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "imported: []"


def test_validate_says_what_is_right(tmp_path: Path) -> None:
    found = said(sweep(), tmp_path / "runs.csv", "--loss-unit", "nats")
    assert {state for state, _ in found.values()} == {"PASS"}
    assert found["identified"][1] == "5 sizes, 10 to 40 tokens per param, 2.16e+17 to 4.06e+20 FLOP"


REVIEWED = {
    "a unit that nobody stated": (lambda f: f, "units", "nothing states their unit"),
    "one ratio": (lambda f: f[::3], "identified", "about one ratio of tokens to params (10)"),
    "one size": (lambda f: f[:3], "identified", "1 model size"),
    "repeats": (lambda f: pd.concat([f, f[:2].assign(run_id=["a", "b"])]), "duplicates", "2 runs repeat"),
    "one repeat": (lambda f: pd.concat([f, f[:1].assign(run_id="a")]), "duplicates", "1 run repeats the params"),
    "marks": (lambda f: f.assign(exclusion=["too hot"] + [""] * 14), "marked", "1 run is marked as excluded"),
    "an outlier": (
        lambda f: f.assign(loss=f["loss"] * np.where(f["run_id"] == "r7", 1.1, 1)),
        "outliers",
        "r7 (350M params",
    ),
}


@pytest.mark.parametrize("name", REVIEWED)
def test_validate_says_what_to_review(name: str, tmp_path: Path) -> None:
    change, subject, fragment = REVIEWED[name]
    more = () if name.startswith("a unit") else ("--loss-unit", "nats")
    state, sentence = said(change(sweep()), tmp_path / "runs.csv", *more)[subject]
    assert state == "REVIEW"
    assert fragment in sentence


def test_runs_are_read_as_the_options_say_by_every_verb_that_reads_them(tmp_path: Path) -> None:
    """With a spec that the verb refuses once it has read the runs, so that nothing is sampled."""
    path = tmp_path / "export.csv"
    frame = sweep().rename(columns={"params": "N", "loss": "y"})
    frame.assign(N=frame["N"] / 1e6).to_csv(path, index=False)
    asked = ("--columns", "params=N", "--columns", "loss=y", "--unit", "params=millions", "--loss-unit", "nats",
             "--exclude", "r0", "--exclude", "r1", "--where", "tokens_below=20B")  # fmt: skip
    found = run("validate", path, *asked)
    assert "export: 10 runs" in found.stdout
    assert "understood 'export': params from 'N'; loss from 'y'; params × 1e+06 (millions)" in found.stderr
    for verb in (("fit", path, "--out", tmp_path / "f.nc"), ("backtest", path), ("compare", path),
                 ("learn", path, "--out", tmp_path / "s.toml")):  # fmt: skip
        models = ("--model", "repetition", "--model", "additive") if verb[0] == "compare" else ("--model", "repetition")
        refused = run(*verb, *models, *asked)
        assert "understood 'export': params from 'N'" in refused.stderr
    unknown = run("validate", path, *asked, "--exclude", "r77")
    assert (unknown.exit_code, "has no run 'r77'" in unknown.stderr) == (2, True)
    twice = run("validate", path, "--columns", "params=N", "--columns", "params=y")
    assert (twice.exit_code, "--columns names 'params' more than once" in twice.stderr) == (2, True)


class Read(Exception):
    """A verb has passed its runs on."""


PASSED_ON = {
    "fit": (fitting, "fit", ("fit", "{}", "--out", "f.nc")),
    "an average": (stacking, "stack", ("fit", "{}", "--out", "f.nc", "--model", "additive", "--model", "coupled")),
    "backtest": (backtest, "backtest", ("backtest", "{}")),
    "a backtest of an average": (
        stacking, "backtest_average", ("backtest", "{}", "--model", "additive", "--model", "coupled")),
    "compare": (comparison, "compare", ("compare", "{}", "--model", "additive", "--model", "coupled")),
    "learn": (learn, "study", ("learn", "{}", "--out", "s.toml")),
    "calibrate": (sbc, "calibrate", ("calibrate", "additive", "--runs", "{}")),
}  # fmt: skip


@pytest.mark.parametrize("name", PASSED_ON)
def test_every_verb_works_on_the_runs_that_are_asked_for(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = sweep().assign(exclusion=["too hot", "too hot"] + [""] * 13)
    table.to_csv("runs.csv", index=False)
    where, called, verb = PASSED_ON[name]
    passed: list[bs.Runs] = []

    def reached(*args: Any, runs: bs.Runs | None = None, **_: Any) -> None:
        passed.append(args[0] if runs is None else runs)
        raise Read

    monkeypatch.setattr(where, called, reached)
    asked = ("--loss-unit", "nats", "--where", 'exclusion=""', "--where", "params_below=1B", "--exclude", "r4")
    for more, left in (((), range(15)), (asked, [2, 3, *range(5, 12)])):
        result = CliRunner().invoke(main, [word.format("runs.csv") for word in verb] + [*more])
        assert isinstance(result.exception, Read), result.output
        assert list(passed.pop().frame["run_id"]) == [f"r{i}" for i in left]


def test_a_table_is_read_again_as_a_learned_spec_states_it(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    sweep().rename(columns={"params": "N"}).to_csv(path, index=False)
    reading = Reading(
        columns=(("params", "N"),), loss_unit="nats", conditions=(("tokens_below", "20B"),), excluded=("r0",)
    )
    assert load_again({"runs": str(path), **as_text(reading)}) == read_runs(str(path), reading)
    assert as_text(Reading()) == {}
    assert as_text(Reading(loss_unit="bits")) == {"loss_unit": "bits"}


def test_explain_knows_every_term_of_the_glossary_in_any_form() -> None:
    for term, text in glossary.entries().items():
        assert text in run("explain", *term.split()).stdout
    assert run("explain", "Regrets").stdout == run("explain", "regret").stdout
    assert run("explain", "indifference-band").stdout == run("explain", "indifference", "band").stdout


def columns_of_tables(fit: bs.Fit) -> set[str]:
    """Columns of the tables that commands print, and the questions of their states."""
    one, verdict = Cut("F", "", np.ones(2, bool), np.ones(2, bool)), fit.verdict
    scored = [Scored(one._replace(family=family), pd.DataFrame([dict.fromkeys(SCORES, 0.5)] * 2), verdict)
              for family in "FG"]  # fmt: skip
    runs = pd.concat([test.scores.assign(family=test.cut.family) for test in scored], ignore_index=True)
    tested = Backtest(rows_of(scored), runs, {}, {})
    tables = (fit.summary, derived.frontier(fit, 1e23).table, derived.limit(fit).table, tested.families,
              tested.horizons)  # fmt: skip
    questions = {answer.question for answer in bs.check(fit).status}
    named = {"parameter", *_FORECAST, *_LOO, *_BUDGET, *_CROSS, *_COEFFICIENTS, "check", "failed", "weight", "p"}
    return named | questions | {str(column) for table in tables for column in table}


def test_explain_knows_every_word_that_a_table_prints(drawn_fit: bs.Fit) -> None:
    columns = columns_of_tables(drawn_fit)
    assert {"r_hat", "coverage_50_se", "unit", "cut", "influence", "excluded runs"} <= columns
    for column in columns | set(LABELS):
        asked = run("explain", *label(column).split())
        assert asked.exit_code == 0, f"{column}: {asked.stderr}"
        assert asked.stdout == run("explain", column).stdout
        assert len(asked.stdout.splitlines()) == 2


def test_the_words_of_tables_are_in_order_and_no_terms() -> None:
    found = list(glossary.words_of_tables())
    assert len(found) > 40
    assert found == sorted(found, key=str.lower)
    assert not {name.lower() for name in found} & {name.lower() for name in glossary.entries()}
    assert all(text.endswith(".") for text in glossary.words_of_tables().values())


@pytest.mark.parametrize(
    ("term", "hint"), [("regrett", "did you mean 'regret'?"), ("floor", "irreducible loss"), ("xyz", "the terms are: ")]
)
def test_a_term_that_is_not_there_is_answered_with_the_nearest(term: str, hint: str) -> None:
    result = run("explain", term)
    assert result.exit_code == 2
    assert hint in result.stderr


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_of_a_help_is_a_command_that_can_be_given(name: str) -> None:
    """Its options exist and their values are read; what it names is not looked for."""
    for line in EXAMPLES[name]:
        command: click.Command = main
        context = click.Context(main)
        args = shlex.split(line)
        while isinstance(command, click.Group):
            word = args.pop(0)
            command = command.get_command(context, word)
            assert command is not None, word
        assert command.make_context(word, args, parent=context).params
        assert f"  bayescale {line}" in run(*name.split(), "--help").stdout


def test_every_verb_and_every_decision_shows_examples() -> None:
    decisions = main.commands["decide"].list_commands(click.Context(main))
    assert set(EXAMPLES) == {*main.commands, *(f"decide {decision}" for decision in decisions)}


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", ["", *EXAMPLES])
def test_help_is_as_wide_as_the_terminal(name: str, width: int, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """No line of prose is wider, what has a lot to say uses the width, and no name of a value is broken."""
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_, **__: os.terminal_size((width, 24)))
    main([*name.split(), "--help"], standalone_mode=False)  # click's runner has a width of its own
    printed = capsys.readouterr().out
    widths = [len(line) for line in printed.split("Examples:", maxsplit=1)[0].splitlines()]
    assert max(widths) <= width
    assert max(widths) > width - 15 or len(widths) < 15
    assert "``" not in printed
    assert "…," not in printed
    assert "..." not in printed.partition("Commands:")[2]
    command, context = of_name(name)
    valued = (one for one in command.get_params(context) if not (isinstance(one, click.Option) and one.is_flag))
    for metavar in (one.make_metavar(context) for one in valued):
        assert all(word in printed.split() for word in metavar.split()), metavar


def of_name(name: str) -> tuple[click.Command, click.Context]:
    """Return the command of some words, and its context."""
    command: click.Command = main
    context = click.Context(main, info_name="bayescale", terminal_width=10_000)
    for word in name.split():
        assert isinstance(command, click.Group)
        found = command.get_command(context, word)
        assert found is not None, word
        command, context = found, click.Context(found, parent=context, info_name=word)
    return command, context


@pytest.mark.parametrize("text", ["2M dollars @ 512xH100", "2M$@512xH100", "2M usd on 512xH100"])
def test_a_budget_may_be_dollars_on_hardware(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    flops = Budget().convert(text, None, None)
    bought = hardware("512xH100").drawn(4000, 0).flops_of_dollars(2e6)
    assert flops == pytest.approx(np.median(bought), rel=1e-3)
    assert "FLOP, the median (90% interval" in capsys.readouterr().err


def test_a_budget_may_be_hours_or_days_and_is_refused_without_what_it_needs() -> None:
    assert Budget().convert("24 hours @ 1xH100", None, None) == pytest.approx(
        Budget().convert("1 day @ 1xH100", None, None), rel=0.02
    )
    assert Budget().convert("5.76e23", None, None) == 5.76e23
    with pytest.raises(QueryError, match="count of accelerators"):
        Budget().convert("1 day @ H100", None, None)


SIMILAR = {"case": ("Qwen", "qwen"), "letters": ("Caf\u00e9", "Cafe\u0301"), "width": ("Qwen", "Qw\u200ben"),
         "spaces": ("Qwen 2", "Qwen\u00a02")}  # fmt: skip


@pytest.mark.parametrize("name", SIMILAR)
def test_families_that_look_alike_are_pointed_out(name: str, tmp_path: Path) -> None:
    family = [SIMILAR[name][0]] * 8 + [SIMILAR[name][1]] * 7
    state, sentence = said(sweep().assign(family=family), tmp_path / "runs.csv")["families"]
    assert state == "REVIEW"
    assert all(ascii(name) in sentence for name in family)
    assert "families" not in said(sweep().assign(family=["Qwen"] * 8 + ["Qwen2"] * 7), tmp_path / "runs.csv")


def test_runs_without_a_family_are_pointed_out(tmp_path: Path) -> None:
    few = sweep().assign(family=["F"] * 13 + [""] * 2)
    assert said(few, tmp_path / "runs.csv")["families"] == (
        "REVIEW", "family 'runs' where there is none (2 of 15 rows)"
    )  # fmt: skip
    assert "families" not in said(sweep().drop(columns="family"), tmp_path / "runs.csv")


@pytest.mark.parametrize("args", [("--help",), ("show", "laws")], ids=" ".join)
def test_python_without_docstrings_is_refused_at_the_start(args: tuple[str, ...]) -> None:
    command = [sys.executable, "-B", "-OO", "-m", "bayescale", *args]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "without docstrings" in done.stderr
    assert "PYTHONOPTIMIZE" in done.stderr
    assert "Traceback" not in done.stderr
