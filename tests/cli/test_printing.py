"""Printing: a table shows every digit, however narrow the terminal is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import bayescale as bs
from bayescale.cli import main, printing
from bayescale.cli.models import _print_backtest
from bayescale.evaluation.backtest import SCORES, Backtest

WIDTHS = (60, 80, 120)


@pytest.fixture(params=WIDTHS)
def width(request, monkeypatch) -> int:
    """A terminal that is so many columns wide."""
    monkeypatch.setenv("COLUMNS", str(request.param))
    monkeypatch.setattr(printing, "_is_terminal", lambda: True)
    return int(request.param)


def every_cell_is_whole(table: pd.DataFrame, printed: str, width: int) -> None:
    """Every cell and every column's name stands in what was printed, and no line is wider than the terminal."""
    assert "…" not in printed
    words = set(printed.split())
    for name in table:
        assert name in words
        for value in table[name]:
            assert set(printing.cell(name, value).split()) <= words
    assert max(map(len, printed.splitlines())) <= width


def test_a_fits_table_is_whole(chinchilla_fit: bs.Fit, width: int, capsys) -> None:
    table = chinchilla_fit.summary.rename_axis("parameter").reset_index()
    printing.print_table(table)
    every_cell_is_whole(table, capsys.readouterr().out, width)


def test_a_forecasts_table_is_whole(chinchilla_fit: bs.Fit, width: int, tmp_path) -> None:
    path = chinchilla_fit.save(tmp_path / "fit.nc")
    asked = ["forecast", str(path), "--params", "70B", "--tokens", "1.4T"]
    printed = CliRunner().invoke(main, asked).stdout.split("\n\nloss, ")[0]
    summary = bs.forecast(chinchilla_fit, params=70e9, tokens=1.4e12).summary
    shown = ("family", "params", "tokens", "mean", "sd", "q05", "q50", "q95", "epred_q05", "epred_q95", "reach_decades")
    every_cell_is_whole(summary[list(shown)], printed, width)


def test_a_backtests_tables_are_whole(width: int, capsys) -> None:
    rng = np.random.default_rng(0)
    scores = pd.DataFrame(rng.lognormal(-3, 2, (40, len(SCORES))), columns=list(SCORES))
    runs = scores.assign(family="OpenLM-RefinedWeb", reach_decades=np.linspace(-1, 1.2, 40))
    families = scores[:3].assign(family=["OpenLM-C4", "OpenLM-RefinedWeb", "Misfitting"], n_train=30, n_test=[9, 8, 7])
    families = families[["family", "n_train", "n_test", *SCORES]]
    result = Backtest(families, runs, {}, {"OpenLM-C4": "converged"})
    _print_backtest(result)
    printed = capsys.readouterr().out.split("\nscores are on log loss")[0]
    title = "by compute beyond each family's largest fitted run, mean over forecasts:\n"
    first, second = printed.split(title)
    every_cell_is_whole(families, first, width)
    every_cell_is_whole(result.horizons, second, width)


def test_a_comparisons_tables_are_whole(width: int, capsys) -> None:
    names = ["additive-unpooled", "coupled-unpooled"]
    budget = pd.DataFrame({"model": names, "family": "OpenLM-RefinedWeb", "params": [1.234e11, 5e8], "tokens": 4.13e12,
                           "tokens_per_param": [33.46, 0.0243], "expected_loss": 2.012, "regret_nats": 3.21e-5,
                           "waste_fraction": 0.0048, "band_low": [6.45e10, np.nan], "band_high": [8.5e10, np.nan],
                           "reach_decades": 1.234})  # fmt: skip
    worst = budget[["model", "waste_fraction"]].assign(worst_run="OpenLM-C4, 12.3M params on 20.0B tokens")
    for table in (budget, worst):
        printing.print_table(table)
        every_cell_is_whole(table, capsys.readouterr().out, width)


def test_what_is_no_terminal_gets_a_table_of_any_width(capsys) -> None:
    table = pd.DataFrame({f"a_long_name_{i}": [1234.5] for i in range(30)})
    printing.print_table(table)
    lines = capsys.readouterr().out.splitlines()
    assert sum("1234" in line for line in lines) == 1
    assert "…" not in "".join(lines)


def test_an_empty_cell_keeps_its_name(width: int, capsys) -> None:
    table = pd.DataFrame({"a_name_that_is_long": [""], **{f"column_{i}": [1.0] for i in range(20)}})
    printing.print_table(table)
    assert capsys.readouterr().out.startswith("a_name_that_is_long\n")
