"""``bs.plots`` and ``bayescale plot``: figures are found by their files, and drawn from a saved fit."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from matplotlib.image import imread

import bayescale as bs
from bayescale.cli import main


@pytest.fixture(scope="module")
def saved(chinchilla_fit: bs.Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chinchilla_fit.save(tmp_path_factory.mktemp("fits") / "fit.nc")


def test_every_plot_is_an_attribute_of_plots() -> None:
    assert {"plot_loss", "plot_allocation", "plot_exponents", "plot_calibration"} <= set(dir(bs.plots))
    assert bs.plots.plot_loss is bs.plots.catalogue()["plot_loss"]
    with pytest.raises(AttributeError, match="plot_nothing"):
        _ = bs.plots.plot_nothing


@pytest.mark.slow
def test_without_a_kind_every_figure_of_the_fit_is_drawn(saved: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["plot", str(saved), "--out", str(tmp_path / "figures")])
    assert done.exit_code == 0, done.output
    drawn = {path.stem.replace("_", "-") for path in (tmp_path / "figures").glob("*.png")}
    # Of a choice, those of an allocation: the others say whose choice they draw.
    of_others = {"information", "mixture", "plan"}
    assert drawn == set(bs.plots.kinds()) - of_others
    assert drawn >= {"loss", "forecast", "allocation", "prior-posterior", "residuals", "regret", "unknowns"}
    assert all(f"{name}: this figure is of" in done.stderr for name in of_others)
    assert all(imread(path).std() > 0.01 for path in (tmp_path / "figures").glob("*.png"))  # no blank page


def test_kinds_are_listed_with_a_line_each(saved: Path) -> None:
    listed = CliRunner().invoke(main, ["plot", str(saved), "--list"]).stdout.splitlines()
    of_a_fit, of_others = listed[: listed.index("")], listed[listed.index("") + 2 :]
    assert [line.split()[0] for line in of_a_fit] == list(bs.plots.kinds())
    in_python = {f"plot_{line.split()[0]}" for line in of_others}
    assert in_python == set(bs.plots.catalogue()) - {function.__name__ for function in bs.plots.kinds().values()}
    assert {line.rpartition(" Of a ")[2] for line in of_others} == {
        "comparison.", "backtest.", "calibration.", "spec."}  # fmt: skip


def test_options_reach_the_figures_that_take_them(saved: Path, tmp_path: Path) -> None:
    command = ["plot", str(saved), "prior-posterior", "--parameter", "beta_D", "--out", str(tmp_path)]
    assert CliRunner().invoke(main, command).exit_code == 0
    assert (tmp_path / "prior_posterior.png").exists()
    command = ["plot", str(saved), "effects", "--column", "params", "--by", "experts", "--out", str(tmp_path)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert "cannot draw effects of 'experts'" in done.stderr
    assert CliRunner().invoke(main, [*command[:6], "tokens", *command[7:]]).exit_code == 0
    assert (tmp_path / "effects.png").exists()


def test_an_unknown_kind_is_refused_with_the_nearest(saved: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["plot", str(saved), "forcast", "--out", str(tmp_path / "none")])
    assert done.exit_code == 2
    assert "'forecast'" in done.stderr
    assert not (tmp_path / "none").exists()
