"""Other people's models enter without a touch of the package: one file, and every verb works on it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner

import bayescale as bs
from bayescale.cli import main
from bayescale.core.errors import RunsError, SpecError
from bayescale.decisions.base import AbstractDecision, draws_by_action, setting
from bayescale.evaluation.checks.base import Finding
from bayescale.evaluation.simulation import FEWEST_SIMULATIONS, simulate
from bayescale.parts import catalogue

HERE = Path(__file__).parent
CODE = (HERE / "experts.py").read_text(encoding="utf-8")
WORTH = 0.5  # e-folds of params for each e-fold of experts
LAW = 'law = "{module}:Routed"\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of runs with a new column and a spec that names code, beside its module, as a stranger has them."""
    place = tmp_path_factory.mktemp("stranger")
    (place / "stranger_law.py").write_text(CODE, encoding="utf-8")
    (place / "routed.toml").write_text(LAW.format(module="stranger_law"), encoding="utf-8")
    random, rows = np.random.default_rng(0), []
    for params in (1e8, 3e8, 1e9, 3e9):
        for tokens in (3e9, 1e10, 3e10):
            for experts in (1, 8, 64):
                curve = 1.8 + 480 * (params * experts**WORTH) ** -0.35 + 2100 * tokens**-0.37
                loss = curve * np.exp(0.003 * random.standard_normal())
                rows.append({"params": params, "tokens": tokens, "experts": f"{experts}", "loss": loss})
    pd.DataFrame(rows).assign(family="ours").to_csv(place / "runs.csv", index=False)
    return place


@pytest.fixture(scope="module")
def fit(folder: Path) -> bs.Fit:
    spec = bs.load_spec(folder / "routed.toml", allow_code=True)
    return bs.fit(bs.load_runs(folder / "runs.csv", loss_unit="nats"), spec, seed=0)


def test_reading_a_spec_never_runs_the_code_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "trap.py").write_text("import pathlib\npathlib.Path(__file__).with_name('sprung').touch()\n")
    (tmp_path / "trap.toml").write_text('law = "trap:Law"\n')
    with pytest.raises(SpecError, match="not allowed to run"):
        bs.load_spec(tmp_path / "trap.toml")
    refused = CliRunner().invoke(
        main, ["fit", "hoffmann2022", "--model", str(tmp_path / "trap.toml"), "--out", str(tmp_path / "f")]
    )
    assert refused.exit_code == 2
    assert "--allow-code" in refused.stderr
    assert not (tmp_path / "sprung").exists()
    assert "trap" not in sys.modules
    with pytest.raises(SpecError, match="not a part"):
        bs.load_spec(tmp_path / "trap.toml", allow_code=True)
    assert (tmp_path / "sprung").exists()  # the trap works, once it is allowed


def test_a_law_with_a_new_column_is_fitted(fit: bs.Fit) -> None:
    assert fit.converged
    worth = fit.summary.loc["worth"]
    assert abs(worth["mean"] - WORTH) < 4 * worth["sd"]
    assert fit.spec.law == "stranger_law:Routed"


def test_every_verb_works_on_it(fit: bs.Fit, folder: Path, tmp_path: Path) -> None:
    usual, routed = (
        bs.forecast(fit, params="10B", tokens="100B", **more).summary["q50"].item() for more in ({}, {"experts": 64})
    )
    assert routed < usual  # without a value the column's default, one expert
    assert {"residuals", "identification"} <= {finding.check for finding in bs.check(fit)}
    choice = bs.decide(bs.Allocation("1e22"), fit)
    assert np.isfinite(choice.waste_fraction)
    assert bs.plots.plot_forecast(fit).get_lines()
    assert bs.report(fit, tmp_path / "page.html").stat().st_size > 10_000
    again = bs.load_fit(fit.save(tmp_path / "fit.nc"), allow_code=True)
    assert again.spec.digest == fit.spec.digest
    tests = bs.backtest(bs.load_runs(folder / "runs.csv", loss_unit="nats"), fit.spec, seed=0)
    assert tests.mean["coverage_90"] > 0.5


def test_the_command_line_runs_it_where_code_is_allowed(fit: bs.Fit, folder: Path, tmp_path: Path) -> None:
    saved = fit.save(tmp_path / "fit.nc")
    done = CliRunner().invoke(main, ["--allow-code", "decide", "allocation", str(saved), "--flops", "1e22", "--json"])
    assert done.exit_code in (0, 1), done.output  # 1: the runs do not settle the split
    assert json.loads(done.stdout)["decision"] == "allocation"
    assert not catalogue.CODE_ALLOWED.get()


def test_a_cell_that_is_not_a_number_or_out_of_range_is_refused(folder: Path) -> None:
    frame = pd.read_csv(folder / "runs.csv", dtype={"experts": str})
    spec = bs.load_spec(folder / "routed.toml", allow_code=True)
    for cell, words in (("many", "run 3.*experts"), ("1e6", "out of range")):
        bad = bs.load_runs(frame.assign(experts=[*frame["experts"][:3], cell, *frame["experts"][4:]]), loss_unit="nats")
        with pytest.raises(RunsError, match=words):
            bs.fit(bad, spec, seed=0)
        with pytest.raises(RunsError, match=words):
            simulate(spec, bad, simulations=FEWEST_SIMULATIONS, seed=0)


def test_a_batch_reads_the_new_column_as_a_fit_does(folder: Path) -> None:
    frame, spec = pd.read_csv(folder / "runs.csv"), bs.load_spec(folder / "routed.toml", allow_code=True)
    cells = {"counts": frame["experts"], "texts": frame["experts"].map("{} ".format), "words": "many"}
    tables = {name: bs.load_runs(frame.assign(experts=own), loss_unit="nats") for name, own in cells.items()}
    with pytest.warns(bs.ConvergenceWarning, match="words: "):
        batch = bs.fit_many(tables, spec, chains=2, warmup=20, draws=20, progress=False)
    assert list(batch.fits) == ["counts", "texts"]
    assert len({fit.meta["runs_digest"] for fit in batch.fits.values()}) == 1  # the numbers are the same
    assert list(batch.failed) == ["words"]


def test_a_spec_of_classes_in_hand_needs_no_permission_and_is_written_by_their_names(
    folder: Path, tmp_path: Path
) -> None:
    sys.path.insert(0, str(folder))
    try:
        import stranger_law as own
    finally:
        sys.path.remove(str(folder))
    spec = bs.make_spec("mine", law=own.Routed, resources=[own.Curriculum], discrepancy=[own.Bump])
    assert set(spec.declared) == {"experts", "stages"}
    written = bs.write_spec(spec, tmp_path / "mine.toml")
    assert bs.load_spec(written, allow_code=True).digest == spec.digest
    runs = bs.load_runs(folder / "runs.csv", loss_unit="nats")
    frame = runs.frame.assign(stages=np.resize([1, 2, 4, 8], len(runs)))
    found = bs.fit(bs.load_runs(frame, loss_unit="nats"), spec, seed=0)
    assert {"gain", "bump", "worth"} <= set(found.posterior)
    assert np.isfinite(bs.forecast(found, params="10B", tokens="100B").summary["q50"]).all()


def test_a_law_of_another_kind_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text('law = "additive"\nresources = ["stranger_law:Routed"]\n')
    with pytest.raises(SpecError, match="not one of the resources"):
        bs.load_spec(tmp_path / "wrong.toml", allow_code=True)


def test_an_installed_package_adds_parts_by_an_entry_point(folder: Path, monkeypatch) -> None:
    point = EntryPoint("routed", "stranger_law:Routed", catalogue.ENTRY_POINTS)
    monkeypatch.setattr(catalogue, "entry_points", lambda group: [point] if group == catalogue.ENTRY_POINTS else [])
    catalogue._installed.cache_clear()
    try:
        assert bs.make_spec("mine", law="routed").parameters["worth"].prior.median == 0.4
    finally:
        catalogue._installed.cache_clear()


@dataclass(frozen=True)
class Experts(AbstractDecision):
    """How many experts to use at a size: each costs memory."""

    price: float = setting("number", "Nats that an e-fold of experts must save.", default=0.001)

    name = "experts"
    source = "a test of this project"
    unit = "nats/token"

    def actions(self, fit: bs.Fit) -> pd.DataFrame:
        return pd.DataFrame({"params": 1e10, "tokens": 1e11, "experts": [1.0, 8.0, 64.0, 512.0]})

    def outcome(self, fit: bs.Fit, actions: pd.DataFrame, scope: str) -> xr.DataArray:
        loss = bs.forecast(fit, actions).draws["epred"].to_numpy()
        return draws_by_action(loss.reshape(-1, len(actions)))

    def utility(self, outcome: xr.DataArray, actions: pd.DataFrame) -> xr.DataArray:
        return -outcome - self.price * np.log(actions["experts"].to_numpy())


def test_a_decision_of_ones_own_needs_three_functions(fit: bs.Fit) -> None:
    small, large = (bs.decide(Experts(price=price), fit).action["experts"] for price in (0.0, 1.0))
    assert (small, large) == (512.0, 1.0)


def test_a_check_of_ones_own_is_a_function_of_the_fit(fit: bs.Fit) -> None:
    class Modest(bs.AbstractCheck):
        name, source, asks = "modest", "a test of this project", "are experts worth less than params?"

        @staticmethod
        def ask(fit):
            share = float((fit.posterior["worth"] < 1).mean())
            return [Finding("modest", "worth", share > 0.95, share, 0.95, f"{share:.0%} of draws", "look again")]

    (finding,) = Modest.ask(fit)
    assert finding.passed


def test_worker_processes_take_parts_that_are_allowed_here(fit: bs.Fit, folder: Path) -> None:
    runs = bs.load_runs(folder / "runs.csv", loss_unit="nats")
    batch = bs.fit_many({"a": runs}, fit.spec, workers=1, seed=0)
    assert not batch.failed, batch.failed
    assert batch.fits["a"].converged
