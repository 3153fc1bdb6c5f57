"""What a command waits for: said on a terminal before its first heavy call, and named in words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import rich.progress
from click.testing import CliRunner

import bayescale as bs
from bayescale import reporting
from bayescale.cli import decide, main, plot
from bayescale.core import progress
from bayescale.core.progress import Stages
from bayescale.decisions import derived, solver
from bayescale.evaluation import backtest, comparison, sbc
from bayescale.evaluation.checks import base
from bayescale.inference import batch, fit, fit_io, nuts
from bayescale.prediction import forecast
from bayescale.transfer import learn

VERBS = {
    "validate": ("validate", "hoffmann2022"),
    "fit": ("fit", "hoffmann2022", "--out", "f.nc"),
    "check": ("check", "fit.nc"),
    "forecast": ("forecast", "fit.nc", "--flops", "1e23"),
    "decide": ("decide", "allocation", "fit.nc", "--flops", "1e23"),
    "plot": ("plot", "fit.nc"),
    "report": ("report", "fit.nc", "--out", "r.html"),
    "backtest": ("backtest", "hoffmann2022"),
    "calibrate": ("calibrate", "additive"),
    "compare": ("compare", "hoffmann2022", "--model", "additive", "--model", "coupled"),
    "learn": ("learn", "open-families", "--out", "m.toml"),
    "show": ("show", "laws"),
}
QUICK = {"init", "explain", "cache"}  # they import nothing heavy
FIRST_IMPORT = """
import io, sys
import click
import rich.progress
class Terminal(io.StringIO):
    def isatty(self): return True
open_bars = []
enter = rich.progress.Progress.__enter__
rich.progress.Progress.__enter__ = lambda bar: (open_bars.append(bar), enter(bar))[1]
class Found(BaseException): pass
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("jax", "numpy", "pandas", "scipy", "xarray", "numpyro", "matplotlib"):
            raise Found(name, [task.description for bar in open_bars for task in bar.tasks if bar.live.is_started])
from bayescale.cli import main
sys.meta_path.insert(0, Finder())
sys.stderr = Terminal()
try:
    main(sys.argv[1:], standalone_mode=False)
except Found as found:
    print("heavy:", *found.args)
"""


def test_every_verb_is_asked() -> None:
    assert set(VERBS) | QUICK == set(main.commands)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_says_what_it_waits_for_before_it_imports_anything_heavy(verb: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FIRST_IMPORT, *VERBS[verb]], cwd=tmp_path, capture_output=True,
                          text=True, check=True)  # fmt: skip
    name, _, shown = done.stdout.removeprefix("heavy: ").strip().partition(" ")
    assert name, done.stdout + done.stderr
    assert shown not in ("", "[]"), f"{name} is imported in silence"


class Stop(Exception):
    """The heavy call was reached."""


class Studied:
    """Families that were fitted, from which nothing is learned yet."""

    left_out: dict[str, str] = {}

    def learn(self) -> None:
        """Sample the population."""


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make standard error a terminal; what is waited for now, as the progress that is drawn says it."""
    now: list[str] = []
    add, leave = rich.progress.Progress.add_task, rich.progress.Progress.__exit__

    def added(bar: Any, description: str, *args: Any, **kwargs: Any) -> Any:
        now.append(description)
        return add(bar, description, *args, **kwargs)

    def left(bar: Any, *args: Any) -> Any:
        now.clear()
        return leave(bar, *args)

    monkeypatch.setattr(rich.progress.Progress, "add_task", added)
    monkeypatch.setattr(rich.progress.Progress, "__exit__", left)
    for module in (progress, batch, comparison, sbc):
        monkeypatch.setattr(module, "on_terminal", lambda: True)
    return now


HEAVY: dict[str, tuple[tuple[str, ...], Any, str]] = {
    "check": (("check", "fit.nc"), base, "check"),
    "check's fit": (("check", "fit.nc"), fit_io, "load_fit"),
    "forecast": (("forecast", "fit.nc", "--params", "7B", "--tokens", "1T"), forecast, "forecast"),
    "forecast's fit": (("forecast", "fit.nc", "--params", "7B", "--tokens", "1T"), fit_io, "load_fit"),
    "frontier": (("forecast", "fit.nc", "--flops", "1e23"), derived, "frontier"),
    "limit": (("forecast", "fit.nc", "--params", "inf", "--tokens", "inf"), derived, "limit"),
    "decide": (("decide", "allocation", "fit.nc", "--flops", "1e23"), solver, "decide"),
    "decide's fit": (("decide", "allocation", "fit.nc", "--flops", "1e23"), fit_io, "load_fit"),
    "decide's figures": (("decide", "allocation", "fit.nc", "--flops", "1e23", "--plot", "d"), decide, "_draw"),
    "decide's report": (
        ("decide", "allocation", "fit.nc", "--flops", "1e23", "--report", "d.html"), reporting, "report"),
    "plot": (("plot", "fit.nc", "forecast"), plot, "_draw"),
    "plot's fit": (("plot", "fit.nc"), fit_io, "load_fit"),
    "report": (("report", "fit.nc", "--out", "r.html"), reporting, "report"),
    "report's fit": (("report", "fit.nc", "--out", "r.html"), fit_io, "load_fit"),
    "fit's compiling": (("fit", "hoffmann2022", "--model", "additive", "--out", "f.nc"), nuts, "compiled"),
    "fit's sampling": (("fit", "hoffmann2022", "--model", "additive", "--out", "f.nc"), nuts, "ThreadPoolExecutor"),
    "fit's file": (VERBS["fit"], bs.Fit, "save"),
    "backtest's fits": ((*VERBS["backtest"], "--model", "additive"), batch, "sweep"),
    "backtest's scores": ((*VERBS["backtest"], "--model", "additive"), backtest, "score_cut"),
    "compare": (VERBS["compare"], comparison, "_examined"),
    "compare's report": ((*VERBS["compare"], "--report", "c.html"), reporting, "report"),
    "calibrate": (VERBS["calibrate"], sbc, "simulate"),
    "learn": (VERBS["learn"], Studied, "learn"),
}  # fmt: skip


@pytest.mark.parametrize("name", HEAVY)
def test_every_heavy_call_of_a_verb_is_waited_for(
    name: str, shown: list[str], chinchilla_fit: bs.Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args, where, called = HEAVY[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fit_io, "load_fit", lambda _: chinchilla_fit)
    if where is not nuts:
        monkeypatch.setattr(fit, "fit", lambda *_, **__: chinchilla_fit)
    monkeypatch.setattr(batch, "sampled", lambda **_: chinchilla_fit)
    monkeypatch.setattr(batch, "_check_same", lambda *_, **__: None)
    monkeypatch.setattr(learn, "study", lambda *_, **__: Studied())
    made = comparison._Made({"additive": chinchilla_fit})
    monkeypatch.setattr(comparison, "_fitted_and_tested", lambda *_, **__: made)
    if name == "compare's report":
        monkeypatch.setattr(comparison, "compare", lambda *_, **__: None)
    before: list[str] = []

    def reached(*_: object, **__: object) -> None:
        before.extend(shown)
        raise Stop

    monkeypatch.setattr(where, called, reached)
    result = CliRunner().invoke(main, args)
    assert isinstance(result.exception, Stop), result.output
    assert before
    assert shown == []  # it ends with what it waited for


@pytest.fixture
def bars(shown: list[str]) -> tuple[Stages, list[str]]:
    """A stopwatch whose bars are drawn, and what they say."""
    return Stages(show=True), shown


def test_each_stage_of_a_fit_says_something_else(bars: tuple[Stages, list[str]]) -> None:
    """The programs of the search and of the chains compile under one name, whose seconds add up."""
    stages, said = bars
    with stages.shown():
        for name in ("trace and compile", "warm start", "trace and compile", "sampling", "checks"):
            with stages(name):
                pass
        assert len(said) == len(set(said)) == 5
        assert "search" in said[0]
        assert "sampler" in said[2]
        with stages("trace and compile"):  # a retry searches for the mode again
            assert said[-1] == said[0]
    assert list(stages.seconds) == ["trace and compile", "warm start", "sampling", "checks"]


def test_a_bar_of_one_step_pulses_and_one_of_several_counts(bars: tuple[Stages, list[str]]) -> None:
    stages, _ = bars
    with stages.shown():
        bar = stages._bar
        with stages("sampling"):
            assert bar.tasks[-1].total is None
        assert bar.tasks[-1].finished
        with stages("sampling", 4) as advance:
            advance()
            assert (bar.tasks[-1].completed, bar.tasks[-1].total) == (1, 4)


def test_without_a_terminal_nothing_is_drawn() -> None:
    result = CliRunner().invoke(main, ["show", "laws"])
    assert (result.exit_code, result.stderr) == (0, "")
