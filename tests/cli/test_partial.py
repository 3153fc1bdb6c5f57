"""What a long command has finished when it is ended or fails: kept in a folder that its last message names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

import bayescale as bs
from bayescale.cli import main
from bayescale.cli.interrupts import INTERRUPTED, TIMED_OUT
from bayescale.cli.models import _print_model
from bayescale.core.errors import FitError, QueryError
from bayescale.core.verdict import Status, Verdict
from bayescale.evaluation import sbc, stacking
from bayescale.inference import batch
from bayescale.inference.batch import Batch
from bayescale.transfer import learn

TWO = ("hoffmann2022", "--model", "additive", "--model", "coupled")
LONG = {"compare": ("compare", *TWO), "fit": ("fit", *TWO, "--out", "average.nc")}
KEPT = "1 finished fit kept in fits; the same command reads them from there"
FINISHED = "1 fit finished, none kept: --folder FOLDER keeps finished fits"
NONE = "0 fits finished, none kept: --folder FOLDER keeps finished fits"
NOTHING_KEPT = "0 finished fits kept in fits; the same command reads them from there"
# The first fit is a saved one; the second is interrupted, or lasts too long, as `end` says.
ENDED = """
import os, signal, sys, time
saved, end = sys.argv[1:3]
from bayescale.cli import interrupts, main
from bayescale.evaluation import stacking
from bayescale.inference import batch
from bayescale.inference.fit_io import load_fit

def sampled(*, runs, spec, **_):
    if spec.name == "additive" and len(runs) == 245:
        return load_fit(saved)
    if end == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
    else:
        interrupts.after(0.1, interrupts.TIMED_OUT, "ended after --timeout 1 s")
    time.sleep(60)

batch.sampled = sampled
stacking.leave_future_out = lambda *_, **__: None
main(sys.argv[3:])
"""


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.mark.parametrize(("end", "code"), [("interrupt", INTERRUPTED), ("timeout", TIMED_OUT)])
@pytest.mark.parametrize("verb", ["fit", pytest.param("compare", marks=pytest.mark.slow)])
def test_what_is_ended_says_where_its_first_fit_is(
    verb: str, end: str, code: int, chinchilla_fit: bs.Fit, tmp_path: Path
) -> None:
    saved = chinchilla_fit.save(tmp_path / "saved.nc")
    args = [sys.executable, "-c", ENDED, str(saved), end, *LONG[verb], "--folder", "fits"]
    done = subprocess.run(args, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stderr
    assert done.stderr.splitlines()[-1] == f"bayescale: {KEPT}"
    if end == "interrupt":
        again = subprocess.run(args[:-2], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
        assert again.stderr.splitlines()[-1] == f"bayescale: {FINISHED}"
    kept = bs.load_fit(tmp_path / "fits" / "all runs" / "additive.nc")
    assert kept.posterior.equals(chinchilla_fit.posterior)


SWEEPS = {
    "backtest": ("backtest", "hoffmann2022", "--model", "coupled"),
    "calibrate": ("calibrate", "additive", "--simulations", "20"),
    "learn": ("learn", "open-families", "--out", "mine.toml"),
}


@pytest.mark.parametrize(
    "verb", ["backtest", *(pytest.param(verb, marks=pytest.mark.slow) for verb in ("calibrate", "learn"))]
)
def test_an_interrupt_ends_a_sweep_and_says_what_was_finished(verb: str, tmp_path: Path) -> None:
    """The first fit is interrupted."""
    for more, said in (((), NONE), (("--folder", "fits"), NOTHING_KEPT)):
        args = [sys.executable, "-c", ENDED, "no fit", "interrupt", *SWEEPS[verb], *more]
        done = subprocess.run(args, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode, done.stdout) == (INTERRUPTED, ""), done.stderr
        assert "Traceback" not in done.stderr
        assert done.stderr.splitlines()[-1] == f"bayescale: {said}"
        assert [path.name for path in tmp_path.iterdir()] == ["fits"] * bool(more)


# The first fit is made; the second is interrupted once the first is in its folder.
ENDED_LATER = """
import itertools, os, signal, sys, time
from pathlib import Path
from bayescale.cli import main
from bayescale.inference import batch

fits, made = itertools.count(), batch.sampled

def sampled(**task):
    if next(fits) == 0:
        return made(**task)
    while not list(Path("fits").rglob("*.nc")):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)

batch.sampled = sampled
main(sys.argv[1:])
"""
BRIEF = ("--chains", "2", "--warmup", "100", "--draws", "100")
THREE = tuple(word for name in ("C4", "RedPajama", "RefinedWeb") for word in ("--where", f"family=OpenLM-{name}"))
LATER = {
    "backtest": ("backtest", "hoffmann2022", "--model", "additive-unpooled", "--way", "expanding"),
    "calibrate": ("calibrate", "additive-unpooled", "--simulations", "20", *BRIEF),
    "learn": ("learn", "open-families", "--model", "additive-unpooled", "--out", "mine.toml", *THREE),
}


@pytest.mark.parametrize(
    "verb", ["calibrate", *(pytest.param(verb, marks=pytest.mark.slow) for verb in ("backtest", "learn"))]
)
def test_an_interrupt_at_a_later_fit_of_a_sweep_keeps_what_was_finished(verb: str, tmp_path: Path) -> None:
    args = [sys.executable, "-c", ENDED_LATER, *LATER[verb], "--folder", "fits"]
    done = subprocess.run(args, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout) == (INTERRUPTED, ""), done.stderr
    assert done.stderr.splitlines()[-1] == f"bayescale: {KEPT}"
    (kept,) = (tmp_path / "fits").rglob("*.nc")
    assert bs.load_fit(kept).spec.name == "additive-unpooled"
    assert not list((tmp_path / "fits").rglob("*.partial"))


@pytest.fixture
def second_fails(chinchilla_fit: bs.Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Make every fit but that of one model to all runs fail; the models that were asked for, and of how many runs."""
    asked: list[tuple[str, int]] = []

    def sampled(*, runs: bs.Runs, spec: bs.Spec, **_: Any) -> bs.Fit:
        asked.append((spec.name, len(runs)))
        if spec.name == "additive" and len(runs) == 245:
            return chinchilla_fit
        raise RuntimeError("out of memory")

    monkeypatch.setattr(batch, "sampled", sampled)
    monkeypatch.setattr(stacking, "leave_future_out", lambda *_, **__: None)
    monkeypatch.chdir(tmp_path)
    return asked


@pytest.mark.parametrize("verb", LONG)
def test_what_fails_keeps_its_first_fit_and_goes_on_from_it(
    verb: str, second_fails: list[tuple[str, int]], tmp_path: Path
) -> None:
    first = run(*LONG[verb], "--folder", "fits")
    assert isinstance(first.exception, RuntimeError)
    assert KEPT in first.stderr
    assert (tmp_path / "fits" / "all runs" / "additive.nc").is_file()
    assert second_fails[0] == ("additive", 245)
    before = len(second_fails)
    run(*LONG[verb], "--folder", "fits")
    assert ("additive", 245) not in second_fails[before:]
    assert len(second_fails) > before
    without = run(*LONG[verb])
    assert FINISHED in without.stderr


def test_compare_prints_each_model_as_it_comes(
    second_fails: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first model has no forecasts to score, and the second one fails."""

    def forecasts(*_: object, **__: object) -> None:
        raise QueryError("no run is left to score")

    monkeypatch.setattr(stacking.Cuts, "forecasts", forecasts)
    result = run(*LONG["compare"])
    assert isinstance(result.exception, RuntimeError)
    assert second_fails == [("additive", 245), ("coupled", 245)]
    assert result.stderr.splitlines() == ["done: additive: converged", f"bayescale: {FINISHED}"]


def test_an_error_of_the_input_says_nothing_of_fits() -> None:
    refused = run("compare", "hoffmann2022", "--model", "additive")
    assert refused.exit_code == 2
    assert "--folder" not in refused.stderr


def test_a_model_of_a_comparison_is_a_message_with_its_backtest(comparison: bs.Comparison, capsys) -> None:
    (name, test), *_ = comparison.backtests.items()
    _print_model(name, comparison.fits[name].verdict, test)
    out, err = capsys.readouterr()
    assert out == ""
    mean = test.mean
    assert err == (f"done: {name}: {comparison.fits[name].verdict}; {len(test.runs)} forecasts, "
                   f"{mean['coverage_90']:.0%} inside their 90% interval, CRPS {mean['crps']:.3g}, "
                   f"bias {mean['bias']:+.2g}\n")  # fmt: skip


def test_learn_passes_its_folder_on_and_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def study(*_: object, folder: str, **__: object) -> None:
        Path(folder).mkdir()
        Path(folder, "OPT.nc").write_bytes(b"")
        raise FitError("the chains do not agree")

    monkeypatch.setattr(learn, "study", study)
    result = run("learn", "open-families", "--out", "mine.toml", "--folder", "fits")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[0] == f"bayescale: {KEPT}"
    assert "the chains do not agree" in result.stderr


@pytest.mark.parametrize("option", [("--folder", "fits"), ("--workers", "2"), ("--scheduler", "tcp://x"),
                                    ("--horizon", "3")])  # fmt: skip
def test_options_of_several_fits_are_refused_for_one(option: tuple[str, str]) -> None:
    result = run("fit", "hoffmann2022", *option, "--out", "fit.nc")
    assert result.exit_code == 2
    assert f"{option[0]} is for several models" in result.stderr


def test_a_backtest_of_several_models_prints_each_family_as_it_comes(
    chinchilla_fit: bs.Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ready fits and scores, the second of which fails: what was scored before is known."""
    monkeypatch.setattr(stacking, "fit_tasks", lambda runs, spec, tasks, *_, **__: Batch(
        dict.fromkeys(tasks, chinchilla_fit), {}, {}, {}))  # fmt: skip
    monkeypatch.setattr(stacking, "leave_future_out", lambda *_, **__: SimpleNamespace(weights=lambda *_, **__: None))
    verdict = Verdict(Status.CONVERGED, (), (), ())
    monkeypatch.setattr(stacking, "average", lambda *_: SimpleNamespace(verdict=verdict, name="both"))
    scored: list[str] = []

    def score_cut(_: object, runs: bs.Runs, one: Any, *__: object) -> pd.DataFrame:
        if scored:
            raise RuntimeError("out of memory")
        scored.append(one.family)
        names = [*bs.evaluation.backtest.SCORES]
        return pd.DataFrame([dict.fromkeys(names, 0.5)] * int(one.test.sum()))

    monkeypatch.setattr(stacking, "score_cut", score_cut)
    result = run("backtest", "open-families", "--model", "additive-unpooled", "--model", "coupled-unpooled")
    assert isinstance(result.exception, RuntimeError)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("done: ")]
    assert line.startswith(f"done: {scored[0]}: ")
    assert "50% inside their 90% interval" in line


def test_calibrate_says_what_is_done_after_each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    def calibrate(*_: object, each: Any, **__: object) -> None:
        for fine in (False, True):
            each(Batch({}, {f"{fine} {i}": SimpleNamespace(ok=fine or i > 1) for i in range(100)}, {}, {}))
        raise FitError("enough")

    monkeypatch.setattr(sbc, "calibrate", calibrate)
    lines = run("calibrate", "additive").stderr.splitlines()
    assert lines[:2] == [
        "done: 100 of 200 simulations, 2 not converged",
        "done: 200 of 200 simulations, 2 not converged",
    ]
