"""Printing: a table shows every digit, however narrow the terminal is."""

from __future__ import annotations

import itertools
import os
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import bayescale as bs
from bayescale.cli import fits, main, printing
from bayescale.cli.findings import print_findings
from bayescale.cli.models import _BACKTEST, _print_backtest, _print_scored
from bayescale.cli.results import _FORECAST
from bayescale.core.verdict import Status, Verdict
from bayescale.evaluation import sbc
from bayescale.evaluation.backtest import SCORES, Backtest
from bayescale.evaluation.checks.base import REVIEW, Answer, Finding, Findings
from bayescale.evaluation.comparison import _BUDGET, _CROSS, _LOO, Comparison
from bayescale.evaluation.sbc import RANKED, Calibration
from bayescale.inference import fit as fitting
from bayescale.transfer import learn

WIDTHS = (60, 80, 120)
RECORDED = Path(__file__).with_name("terminal")
RECORD = "BAYESCALE_RECORD"  # an environment variable: if it is set, what is printed is recorded


@pytest.fixture(params=WIDTHS)
def width(request, monkeypatch) -> int:
    """A terminal that is so many columns wide, without colours."""
    monkeypatch.setenv("COLUMNS", str(request.param))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(printing, "_is_terminal", lambda **_: True)
    return int(request.param)


def every_cell_is_whole(table: pd.DataFrame, printed: str, width: int) -> None:
    """Every cell and every column's name stands in what was printed, and no line is wider than the terminal."""
    assert "…" not in printed
    words = set(printed.split())
    assert {word for name in table for word in printing.label(name).split()} <= words
    assert {word for row in printing.cells(table) for text in row for word in text.split()} <= words
    assert max(map(len, printed.splitlines())) <= width


def is_as_recorded(name: str, printed: str, width: int) -> None:
    """What was printed is the recorded text, of which no line is wider than the terminal."""
    path = RECORDED / f"{name}-{width}.txt"
    if os.environ.get(RECORD):
        path.parent.mkdir(exist_ok=True)
        path.write_text(printed, encoding="utf-8")
    assert max(map(len, printed.splitlines())) <= width
    assert printed == path.read_text(encoding="utf-8")


POSTERIOR = pd.DataFrame(
    {
        "parameter": ["A", "B", "alpha_N", "sigma"],
        "mean": [443.1, 45780.0, 0.34204, 0.0037034],
        "sd": [75.45, 4188.0, 0.01004, 0.00030694],
        "q05": [329.6, 39900.0, 0.3253, 0.003223],
        "q95": [574.7, 1.2e6, 0.358, 0.004225],
        "r_hat": [1.0008, 0.99981, 1.0012, 1.0018],
        "ess_bulk": [6878.4, 6030.0, 6911.0, 6026.0],
        "ess_tail": [3202.0, 2862.0, 3197.0, 3050.0],
    }
)


def calibrated() -> Calibration:
    """Ranks of two quantities: one as they should be, one of draws that are all too high."""
    even = np.linspace(0, RANKED, 60).round().astype(int)
    return Calibration(bs.load_spec("additive"), pd.DataFrame({"level": even, "alpha_N": even // 3}), pd.DataFrame(),
                       {"7": "R-hat is 1.3"}, {}, {"simulations": 60})  # fmt: skip


class Studied:
    """Families that were fitted, from which a spec is learned."""

    families, left_out = ("OpenLM-C4", "OpenLM-RedPajama"), {"Misfitting": "it has 3 runs"}

    def learn(self) -> tuple[bs.Spec]:
        origin = {"population": "Student-t over 2 families, R-hat at most 1.003, 4 divergences of 4000 draws"}
        return (replace(bs.load_spec("coupled-unpooled"), learned=tuple(origin.items())),)


COMMANDS = {
    "init": ("init", "ours.csv"),
    "fit": ("fit", "hoffmann2022", "--out", "fit.nc"),
    "check-fit": ("check", "fit.nc"),
    "forecast": ("forecast", "fit.nc", "--params", "7B", "--tokens", "140B"),
    "frontier": ("forecast", "fit.nc", "--flops", "1e21"),
    "decide": ("decide", "allocation", "fit.nc", "--flops", "1e21"),
    "plot": ("plot", "fit.nc", "loss", "plan", "--out", "figures"),
    "report": ("report", "fit.nc", "--flops", "1e21", "--out", "report.html"),
    "calibrate": ("calibrate", "additive"),
    "learn": ("learn", "open-families", "--out", "mine.toml"),
    "show-law": ("show", "law", "additive"),
    "show-data": ("show", "data", "hoffmann2022", "--head"),
    "cache": ("cache",),
    "explain": ("explain", "regret"),
    "error": ("decide", "allocation", "fit.nc", "--flops", "12 parsecs @ H100"),
}
"""What is run, on a saved fit if it reads one; what samples for long returns what was made before."""


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_command_prints_is_as_recorded(
    name: str, width: int, drawn_fit: bs.Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BAYESCALE_CACHE", "compiled")
    monkeypatch.setattr(fits, "time", SimpleNamespace(perf_counter=lambda: 0.0))
    monkeypatch.setattr(fitting, "fit", lambda *_, **__: drawn_fit)
    monkeypatch.setattr(sbc, "calibrate", lambda *_, **__: calibrated())
    monkeypatch.setattr(learn, "study", lambda *_, **__: Studied())
    if "fit.nc" in COMMANDS[name]:
        drawn_fit.save(tmp_path / "fit.nc")
    done = CliRunner().invoke(main, COMMANDS[name], prog_name="bayescale")
    assert done.exit_code in (0, 1, 2), done.output
    assert not done.exception or isinstance(done.exception, SystemExit)
    is_as_recorded(name, done.output, width)


def test_a_check_is_printed_as_recorded(width: int, capsys) -> None:
    passed = [
        Finding("convergence", f"x{i}", True, 1.0, 2.0, f"R-hat 1.00{i}, should be at most 1.01", "") for i in range(6)
    ]
    failed = Finding("residuals", "tokens", False, 0.003, 0.01,
                     "the errors drift with tokens (p = 0.003 if the model is right)",
                     "another law may bend where this one does not: fit coupled or drift, and compare")  # fmt: skip
    coverage = Answer("coverage", REVIEW, "no backtest of additive measured how often its intervals hold",
                      "measure it: bayescale backtest RUNS --model additive")  # fmt: skip
    findings = Findings((*passed, failed), Verdict(Status.CONVERGED, (), (), ()), {}, (coverage,))
    print_findings(findings, verbose=False)
    printed = capsys.readouterr().out
    states = [line.split()[0] for line in printed.split("\n\n")[0].splitlines()[1:] if line[2] != " "]
    assert states == ["FAIL", "REVIEW", "PASS"]
    assert "R-hat" not in printed
    is_as_recorded("check", printed, width)
    print_findings(findings, verbose=True)
    assert capsys.readouterr().out.count("R-hat") == 6


def test_figures_of_one_quantity_have_one_notation() -> None:
    (named,) = printing.cells(pd.DataFrame({"mean": [45780.0], "sd": [4188.0], "q05": [39.9], "ess_bulk": [6030.0]}))
    assert named == ["45.8k", "4.19k", "39.9", "6030"]
    assert printing.cells(pd.DataFrame({"mean": [4578.0], "sd": [418.8]})) == [["4578", "418.8"]]
    small = pd.DataFrame({"regret_nats": [3.21e-5, 0.0011, -5.283e-6], "mean": [1.5e-12, 3.0e-8, 0.0]})
    assert printing.cells(small) == [["0.0000321", "1.5e-12"], ["0.0011", "0.00000003"], ["-0.000005283", "0"]]


def test_states_have_colours_on_a_terminal_only_and_not_under_no_color(monkeypatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert printing.coloured("FAIL", "FAIL") == "FAIL"
    monkeypatch.setattr(printing, "_is_terminal", lambda **_: True)
    assert "\x1b[31m" in printing.coloured("FAIL", "FAIL")
    monkeypatch.setenv("NO_COLOR", "1")
    assert printing.coloured("FAIL", "FAIL") == "FAIL"


def test_a_choice_loses_no_word_at_any_width(chinchilla_fit: bs.Fit, width: int, capsys) -> None:
    said = repr(bs.decide("allocation", chinchilla_fit, flops="5.76e23"))
    printing.print_wrapped(said)
    printed = capsys.readouterr().out
    assert printed.split() == said.split()
    assert max(map(len, printed.splitlines())) <= width


def test_a_fits_table_is_whole(chinchilla_fit: bs.Fit, width: int, capsys) -> None:
    table = chinchilla_fit.summary.rename_axis("parameter").reset_index()
    printing.print_table(table)
    every_cell_is_whole(table, capsys.readouterr().out, width)


def scores(n: int) -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(0).lognormal(-3, 2, (n, len(SCORES))), columns=list(SCORES))


def test_a_backtest_is_printed_as_recorded(width: int, capsys) -> None:
    share = dict.fromkeys(SCORES, 0.9) | {"coverage_50": 0.5, "width_90": 0.0213, "crps": 0.0042, "bias": -0.0017}
    runs = pd.DataFrame([share | {"family": family, "reach_decades": reach}
                         for family in ("OpenLM-C4", "OpenLM-RefinedWeb") for reach in (-0.1, 0.4, 1.2)])  # fmt: skip
    families = pd.DataFrame([share | {"family": family, "n_train": 30, "n_test": 3} for family in runs["family"][::3]])
    _print_backtest(Backtest(families, runs, {}, {"OpenLM-C4": "converged"}))
    is_as_recorded("backtest", capsys.readouterr().out, width)


@pytest.mark.parametrize("verbose", [False, True])
def test_a_backtests_tables_are_whole(verbose: bool, width: int, capsys) -> None:
    runs = scores(40).assign(family="OpenLM-RefinedWeb", reach_decades=np.linspace(-1, 1.2, 40))
    families = scores(3).assign(family=["OpenLM-C4", "OpenLM-RefinedWeb", "Misfitting"], n_train=30, n_test=[9, 8, 7])
    families = families[["family", "n_train", "n_test", *SCORES]]
    result = Backtest(families, runs, {}, {"OpenLM-C4": "converged"})
    _print_backtest(result, verbose)
    first, second = capsys.readouterr().out.split("By compute beyond each family's largest fitted run,")
    kept = list(families) if verbose else [name for name in families if name in _BACKTEST]
    every_cell_is_whole(families[kept], first, width)
    horizons = result.horizons
    every_cell_is_whole(horizons if verbose else horizons[[c for c in horizons if c in _BACKTEST]], second, width)


def test_a_comparisons_tables_are_printed_as_recorded(width: int, capsys) -> None:
    names = ["additive-unpooled", "coupled-unpooled"]
    budget = pd.DataFrame({"model": names, "family": "OpenLM-RefinedWeb", "params": [1.234e11, 5e8], "tokens": 4.13e12,
                           "tokens_per_param": [33.46, 0.0243], "expected_loss": 2.012, "regret_nats": 3.21e-5,
                           "waste_fraction": 0.0048, "band_low": [6.45e10, np.nan], "band_high": [8.5e10, np.nan],
                           "reach_decades": 1.234})  # fmt: skip
    worst = budget[["model", "waste_fraction"]].assign(worst_run="OpenLM-C4, 12.3M params on 20.0B tokens")
    for table in (budget, worst):
        printing.print_table(table)
        every_cell_is_whole(table, capsys.readouterr().out, width)
    none = pd.DataFrame()
    cross = pd.DataFrame({"chosen_by": names, "judged_by": names[::-1], "loss": 2.013, "extra_loss": 0.0011,
                          "waste": [0.012, 0.034]})  # fmt: skip
    found = Comparison("open-families", {}, {}, {}, {}, None, None, none, none, none,
                       pd.DataFrame({"model": names, "check": "residuals", "passed": [True, False]}),
                       pd.DataFrame({"kind": []}), budget.assign(**dict.fromkeys(_BUDGET[5:7], 20.0)), cross,
                       {"fits": {}}, {"flops": 5.76e23})  # fmt: skip
    printing.print_tables(found.tables)
    printed = capsys.readouterr().out
    for sentence in found.tables:
        assert " ".join(sentence.split()) in " ".join(printed.split())
    is_as_recorded("compare", printed, width)


def test_a_table_is_surveyed_as_recorded(width: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    params, ratio = (x.ravel() for x in np.meshgrid([60e6, 125e6, 350e6, 760e6, 1300e6], [10, 20, 40]))
    loss = 1.8 + 480 * params**-0.35 + 2100 * (ratio * params) ** -0.37
    table = pd.DataFrame({"params": params, "tokens": ratio * params, "loss": loss.round(4), "family": "ours"})
    table.assign(exclusion=["too hot"] + [""] * 14).to_csv("ours.csv", index=False)
    is_as_recorded("validate", CliRunner().invoke(main, ["validate", "ours.csv"]).stdout, width)


LISTS = (("plot", "fit.nc", "--list"), ("show", "models"), ("show", "laws"), ("show", "data", "hoffmann2022"))


@pytest.mark.parametrize("command", LISTS, ids=" ".join)
def test_a_list_is_wrapped_on_a_terminal_and_has_whole_lines_elsewhere(
    command: tuple[str, ...], width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapped = CliRunner().invoke(main, command).output
    assert max(map(len, wrapped.splitlines())) <= width
    monkeypatch.setattr(printing, "_is_terminal", lambda **_: False)
    whole = CliRunner().invoke(main, command).output
    assert whole.split() == wrapped.split()
    assert max(map(len, whole.splitlines())) > 80
    assert len(whole.splitlines()) < len(wrapped.splitlines()) or width == 120


def test_what_is_no_terminal_gets_a_table_of_any_width(capsys) -> None:
    table = pd.DataFrame({f"a_long_name_{i}": [1234.5] for i in range(30)})
    printing.print_table(table)
    lines = capsys.readouterr().out.splitlines()
    assert sum("1234" in line for line in lines) == 1
    assert "…" not in "".join(lines)


def test_an_empty_cell_keeps_its_name(width: int, capsys) -> None:
    table = pd.DataFrame({"a_name_that_is_long": [""], **{f"column_{i}": [1.0] for i in range(20)}})
    printing.print_table(table)
    assert capsys.readouterr().out.startswith("\na name that is long\n")


def test_a_family_that_is_scored_is_a_message_at_once(capsys) -> None:
    row = {"family": "OPT", "cut": "up to 0.5", "n_test": 12, "coverage_90": 0.75, "crps": 0.0123, "bias": -0.004}
    _print_scored(pd.DataFrame([row, row | {"family": "Pythia", "cut": ""}]))
    out, err = capsys.readouterr()
    assert out == ""  # the tables of all families are the data
    assert err.splitlines() == [
        "done: OPT (up to 0.5): 12 forecasts, 75% inside their 90% interval, CRPS 0.0123, bias -0.004",
        "done: Pythia: 12 forecasts, 75% inside their 90% interval, CRPS 0.0123, bias -0.004",
    ]


PLURALS = r"(?<![\d.,-])1 (?:families|runs|findings|tests|models|draws|failures|entries|fits|forecasts|files)\b"
NOBODY_SAYS = {"are", "dse", "epred", "decades", "nats", "q05", "q50", "q95", "hindsight", "sd", "mcse"}


def test_one_is_not_a_plural_and_no_list_of_choices_is_empty() -> None:
    """In what every command prints of one family with one marked run."""
    for path in RECORDED.glob("*.txt"):
        text = " ".join(path.read_text(encoding="utf-8").split())
        assert not re.search(PLURALS, text), path.name
        assert not re.search(r"one of:(?! \w)", text), path.name
    assert re.search(PLURALS, "245 rows, 1 families")


def test_columns_have_words_rather_than_the_names_of_the_code() -> None:
    shown = {*_FORECAST, *_BACKTEST, *_BUDGET, *_CROSS, *_LOO, *POSTERIOR}
    for column in shown:
        assert "_" not in printing.label(column)
        assert not NOBODY_SAYS & set(printing.label(column).split()), column


@pytest.mark.parametrize(("name", "most"), [("fit", 8), ("forecast", 9), ("backtest", 11), ("frontier", 7)])
def test_a_table_has_few_columns_and_fits_a_terminal_of_120(name: str, most: int) -> None:
    """Where a table does not fit, there are records, and no rule below a head."""
    lines = (RECORDED / f"{name}-120.txt").read_text(encoding="utf-8").splitlines()
    heads = [line for line, rule in itertools.pairwise(lines) if set(rule.strip()) == {"─"}]
    assert heads
    assert max(len(re.split(r" {2,}", head.strip())) for head in heads) <= most
