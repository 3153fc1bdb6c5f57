"""Calibration: ranks and their bands, simulated runs, verdicts that can fail, records beside the specs."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from arviz_stats.ecdf_utils import get_pointwise_confidence_band, simulate_confidence_bands
from click.testing import CliRunner
from matplotlib import pyplot as plt

import bayescale as bs
from bayescale.cli import main
from bayescale.core import shipped
from bayescale.core import toml as recording
from bayescale.core.errors import ConvergenceWarning, FitError, QueryError, RunsError
from bayescale.core.verdict import of_chains
from bayescale.evaluation import uniformity
from bayescale.evaluation.sbc import RANKED, Calibration, ranked
from bayescale.evaluation.simulation import BEYOND, Simulated, extremes, simulate, sweep_for
from bayescale.inference.batch import FitOptions
from bayescale.modelling.design import design
from bayescale.parts.base import AbstractPenalty
from bayescale.parts.catalogue import part
from bayescale.prediction import records as measuring
from bayescale.reporting.plots import figures

SETTINGS = {"seed": 0, "progress": False}
BRIEF = FitOptions(draws=500, warmup=300)
FEW = 20


def exact_ranks(rng: np.random.Generator, shift: float = 0.0, scale: float = 1.0, size: int = 200) -> np.ndarray:
    """Ranks of truths from N(0, 1), under draws from it or from one that is off by `shift` and `scale`."""
    draws = shift + scale * rng.normal(size=(size, RANKED))
    return (draws < rng.normal(size=size)[:, None]).sum(axis=1)


# Ranks and their bands


@pytest.mark.parametrize("size", [20, 200])
def test_p_values_of_uniform_ranks_are_uniform_or_a_little_larger(size: int) -> None:
    rng, rounds = np.random.default_rng(size), 200
    p = np.array([uniformity.band_p(rng.integers(0, RANKED + 1, size), RANKED) for _ in range(rounds)])
    for level in (0.05, 0.2, 0.5):
        error = np.sqrt(level * (1 - level) / rounds)
        share = np.mean(p <= level)
        assert share < level + 4 * error  # counts are few, so that a p-value may be too large, never too small
        assert share > level / 2 - 4 * error


def test_the_band_is_the_one_that_arviz_simulates() -> None:
    size, level, rounds = 200, 0.95, 2000
    points, low, high = uniformity.band(size, RANKED, level)
    simulated = simulate_confidence_bands(size, 1, points, level, rounds, np.random.default_rng(0))
    tail = (1 - simulated) / 2
    error = np.sqrt(level * (1 - level) / rounds)
    assert abs(uniformity._probability_inside(tail, size, RANKED) - level) < 4 * error
    theirs = get_pointwise_confidence_band(simulated, size, points)
    assert np.abs(low - theirs[0]).max() <= 2 / size
    assert np.abs(high - theirs[1]).max() <= 2 / size


def test_a_p_value_falls_short_of_alpha_where_the_band_of_that_level_is_left() -> None:
    rng, alpha = np.random.default_rng(4), 0.1
    _, low, high = uniformity.band(50, RANKED, 1 - alpha)
    left = 0
    for _ in range(200):
        ranks = exact_ranks(rng, shift=0.3, size=50)
        share = uniformity.distribution(ranks, RANKED)
        outside = bool(((share < low - 1e-9) | (share > high + 1e-9)).any())
        assert outside == (uniformity.band_p(ranks, RANKED) < alpha)
        left += outside
    assert 20 < left < 180  # both happen


@pytest.mark.parametrize(("shift", "scale"), [(0.7, 1.0), (-0.7, 1.0), (0.0, 0.5), (0.0, 2.0)])
def test_draws_that_are_shifted_narrow_or_wide_leave_the_band(shift: float, scale: float) -> None:
    for seed in range(5):
        assert uniformity.band_p(exact_ranks(np.random.default_rng(seed)), RANKED) > 1e-3
        wrong = exact_ranks(np.random.default_rng(seed), shift, scale)
        assert uniformity.band_p(wrong, RANKED) < 1e-3
        assert uniformity.chi_square_p(wrong, RANKED) < 1e-3


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_coverage_of_uniform_ranks_is_what_the_interval_promises(level: float) -> None:
    assert uniformity.coverage(np.arange(RANKED + 1), RANKED, level) == pytest.approx(level)
    assert uniformity.coverage(np.array([0, RANKED]), RANKED, level) == 0
    assert uniformity.coverage(np.array([RANKED // 2]), RANKED, level) == 1


def test_ties_are_broken_at_random() -> None:
    rng = np.random.default_rng(0)
    ranks = np.array([uniformity.rank_of(1.0, np.ones(RANKED), rng) for _ in range(400)])
    assert uniformity.band_p(ranks, RANKED) > 1e-3
    assert uniformity.rank_of(2.0, np.arange(4.0), rng) in (2, 3)
    assert uniformity.rank_of(2.5, np.arange(4.0), rng) == 3


# Simulated runs


@pytest.fixture(scope="module")
def many() -> Simulated:
    return simulate(bs.load_spec("additive-unpooled"), simulations=300, seed=0)


def test_the_anchor_is_fixed_whatever_the_simulated_losses(many: Simulated) -> None:
    fixed = dict(many.spec.anchor)
    medians = [float(np.median(table["loss"])) for table in many.tables.values()]
    assert np.std(np.log(medians)) > 0.1  # or the prior of the level would not be seen
    for table in list(many.tables.values())[:5]:
        points = design(many.spec, table)
        assert np.exp(points.anchor_loss) == pytest.approx(fixed["loss"])
        assert np.exp(points.anchor["params"]) == pytest.approx(fixed["params"])


def test_no_table_is_dropped_for_what_the_prior_makes_of_it(many: Simulated) -> None:
    worst = max(many.tables.values(), key=lambda table: table["loss"].max())
    with pytest.raises(RunsError, match="at most 15"):
        bs.load_runs(worst.frame)
    assert len(many.tables) == 300
    assert not many.dropped


def test_a_truth_beyond_own_runs_is_the_law_and_its_discrepancy(chinchilla: bs.Runs) -> None:
    spec = bs.make_spec("grown", law="coupled", discrepancy="growth", pooling={"default": "none"})
    simulated = simulate(spec, chinchilla, simulations=FEW, seed=1)
    law, anchor, probes = part("laws", "coupled"), dict(simulated.spec.anchor), simulated.probes
    assert all(len(table) == len(chinchilla) for table in simulated.tables.values())
    assert anchor["loss"] == pytest.approx(np.median(chinchilla["loss"]))
    assert probes["flops"][0] == pytest.approx(BEYOND * chinchilla["flops"].max())
    at = [np.log(probes[name][0] / anchor[name]) for name in spec.inputs]
    reach = np.log(BEYOND)
    reach = np.sqrt((reach + 3 * reach**2 / np.ptp(np.log(chinchilla["flops"]))) / 2)
    for name, row in simulated.truths.iterrows():
        log_loss = np.log(anchor["loss"]) + law.log_loss(*at, **{k: row[k] for k in law.parameters})
        log_loss += row["growth"] * reach
        assert simulated.log_loss.loc[name, 0] == pytest.approx(float(log_loss), rel=1e-5)  # the law's in float32


def test_errors_that_runs_share_scatter_the_truth_beyond_by_their_own_variance(chinchilla: bs.Runs) -> None:
    spec = bs.make_spec("walking", law="coupled", discrepancy="walk", pooling={"default": "none"})
    simulated = simulate(spec, chinchilla, simulations=400, seed=1)
    law, anchor, probes = part("laws", "coupled"), dict(simulated.spec.anchor), simulated.probes
    at = [np.log(probes[name][0] / anchor[name]) for name in spec.inputs]
    truths = {k: simulated.truths[k].to_numpy() for k in law.parameters}
    away = simulated.log_loss[0].to_numpy() - np.log(anchor["loss"]) - np.asarray(law.log_loss(*at, **truths))
    away /= np.sqrt(
        sum(simulated.truths[name].to_numpy() ** 2 * abs(x) for name, x in zip(("walk_N", "walk_D"), at, strict=True))
    )
    # Standard Normal but for the anchor's own step, within which a piecewise linear path varies less.
    assert abs(away.mean()) < 4 / np.sqrt(len(away))
    assert 0.8 < away.std() < 1 + 4 / np.sqrt(2 * len(away))


@pytest.mark.parametrize("name", [name for name in shipped.names("models") if bs.load_spec(name).law])
def test_a_shipped_spec_has_a_sweep(name: str) -> None:
    spec = bs.load_spec(name)
    runs = sweep_for(spec)
    design(spec, runs)
    pools = any(setting.pooling != "none" for _, setting in spec.settings)
    assert extremes(runs) == (["all", "fifth"] if pools else ["all"])


class OfCities(AbstractPenalty):
    """A penalty that reads a text of which no plain sweep has an example."""

    name = "of-cities"
    source = "a test of this project"
    labels = ("city",)

    @staticmethod
    def penalized(log_loss, spent, basis):
        return log_loss


def test_runs_that_lack_a_column_are_refused(chinchilla: bs.Runs) -> None:
    with pytest.raises(RunsError, match="unique_tokens"):
        simulate(bs.load_spec("repetition"), chinchilla, simulations=FEW, seed=0)
    with pytest.raises(RunsError, match="--runs"):
        sweep_for(bs.make_spec("cities", law="additive", penalties=[OfCities]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["additive", "accuracy", "repetition"])
def test_families_benchmarks_and_repeats_are_simulated(name: str) -> None:
    simulated = simulate(bs.load_spec(name), simulations=FEW, seed=0)
    assert len(simulated.tables) == FEW
    assert np.isfinite(simulated.truths.to_numpy()).all()
    for site in ("alpha_N_center", "alpha_N_spread", "alpha_N[all]", "alpha_N[fifth]", "log_likelihood"):
        assert site in simulated.truths
    assert set(simulated.probes["family"]) == {"fifth"}
    for table in simulated.tables.values():
        design(simulated.spec, table)
        if "n_correct" in table.frame:
            assert (table["n_correct"] <= table["n_items"]).all()


# Fits and verdicts


@pytest.fixture(scope="module")
def simulated(many: Simulated) -> Simulated:
    return replace(many, tables=dict(list(many.tables.items())[:FEW]))


@pytest.fixture
def two(simulated: Simulated, monkeypatch: pytest.MonkeyPatch) -> Simulated:
    """Two simulations, no fit of which counts as converged; a stated `warmup` keeps them from being drawn again."""
    monkeypatch.setattr(bs.Fit, "verdict", property(lambda _: of_chains(["too few draws, say"])))
    return replace(simulated, tables=dict(list(simulated.tables.items())[1:3]))


@pytest.fixture(scope="module")
def result(simulated: Simulated) -> Calibration:
    return ranked(simulated, bs.load_spec("additive-unpooled"), FitOptions(draws=500), **SETTINGS)


def test_a_right_computation_passes(result: Calibration) -> None:
    assert result.passed, result
    assert str(result.verdict) == "passed"
    assert result.ranks.shape == (FEW, len(result.table))
    assert result.ranks.to_numpy().min() >= 0
    assert result.ranks.to_numpy().max() <= RANKED
    assert set(result.table["quantity"]) >= {
        "alpha_N",
        "log_likelihood",
        "loss_beyond",
        "params_beyond",
        "regret_beyond",
    }
    assert (result.regret >= 0).all(axis=None)
    assert len(result.regret) == FEW
    assert result.alpha == pytest.approx(0.01 / (len(result.table) + 1))


def test_another_prior_than_the_one_that_made_the_runs_fails(simulated: Simulated) -> None:
    narrow = bs.LogNormal(1.5, 0.05, above=1.0)
    wrong = bs.load_spec("additive-unpooled").with_prior(nu=narrow)
    found = ranked(simulated, wrong, FitOptions(draws=500), **SETTINGS)
    assert not found.passed
    assert "nu" in found.problems
    assert "leave their band" in str(found.verdict)


def test_regret_that_is_not_as_expected_fails(result: Calibration) -> None:
    more = replace(result, regret=result.regret.assign(realised=lambda t: t["expected"] + 0.1 + 0.01 * t["realised"]))
    assert not more.passed
    assert list(more.problems) == ["mean regret"]


def test_a_simulation_that_was_dropped_is_told_and_fails(two: Simulated) -> None:
    names = list(two.tables)
    ray = two.tables[names[0]].frame.assign(tokens=lambda t: 20 * t["params"])
    tables = {"ray": bs.Runs(ray.assign(family="ray"), "ray"), **two.tables}
    found = ranked(replace(two, tables=tables), bs.load_spec("additive-unpooled"), BRIEF, **SETTINGS)
    assert list(found.dropped) == ["ray"]
    assert "ray: 'ray': every run has the same tokens per param" in str(found.verdict)
    # What has not converged is ranked all the same.
    assert list(found.ranks.index) == list(found.unconverged) == names
    assert "2 simulations ranked, 1 dropped, 2 not converged" in repr(found)


def test_fits_that_have_not_converged_are_warned_of(two: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bayescale.evaluation.sbc.simulate", lambda *_, **__: two)
    with pytest.warns(ConvergenceWarning, match="2 of 2 fits have not converged: NOT CONVERGED: too few draws"):
        bs.calibrate("additive-unpooled", warmup=300, **SETTINGS)


def test_too_few_draws_or_simulations_are_refused(simulated: Simulated) -> None:
    with pytest.raises(FitError, match="too few draws"):
        ranked(simulated, bs.load_spec("additive-unpooled"), FitOptions(chains=2, draws=20), **SETTINGS)
    with pytest.raises(FitError, match="at least 20"):
        bs.calibrate("additive-unpooled", simulations=5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::bayescale.core.errors.ConvergenceWarning")  # of 300 fits, a few need not converge
@pytest.mark.parametrize("name", ["additive-unpooled", "coupled-unpooled"])
def test_a_shipped_spec_is_calibrated(name: str) -> None:
    found = bs.calibrate(name, simulations=300, seed=3, progress=False)
    assert found.passed, found


# Records, words and pictures


def test_a_record_is_kept_beside_its_spec_and_goes_stale(result: Calibration, tmp_path: Path) -> None:
    spec = bs.write_spec(result.spec, tmp_path / "mine.toml")
    assert measuring.calibration(spec) is None
    assert "calibrated" not in CliRunner().invoke(main, ["show", "model", str(spec)]).stdout
    (tmp_path / "calibration").mkdir()
    path = recording.write(result.to_dict(), tmp_path / "calibration" / "mine.toml")
    record = tomllib.loads(path.read_text())
    assert record["quantities"]["alpha_N"]["p"] == pytest.approx(
        result.table.set_index("quantity")["p"]["alpha_N"], rel=1e-3
    )
    assert record["spec_digest"] == result.spec.digest
    assert record == measuring.calibration(spec)
    shown = CliRunner().invoke(main, ["show", "model", str(spec)]).stdout
    assert f"calibrated ranks of {len(result.table)} quantities inside their bands (20 simulations, seed 0" in shown
    bs.write_spec(result.spec.with_prior(nu=bs.LogNormal(5.0, 1.0)), spec)
    assert "calibrated STALE" in CliRunner().invoke(main, ["show", "model", str(spec)]).stdout
    path.write_text("simulations = 3\n")
    with pytest.raises(QueryError, match="not a record of a calibration"):
        measuring.calibration(spec)


def test_a_record_of_a_failure_says_so(result: Calibration) -> None:
    failed = replace(result, dropped={"0007": "its fit failed"})
    assert "FAILED: 0007: its fit failed" in measuring.calibration_words(failed.to_dict(), failed.spec.digest)


def test_odd_names_survive_a_record(tmp_path: Path) -> None:
    content = {"a": 1, "b": {"x y": {'alpha_N[é "q"]': 0.5, "flag": False}, "list": ["one"]}}
    assert tomllib.loads(recording.write(content, tmp_path / "r.toml").read_text(encoding="utf-8")) == content
    with pytest.raises(QueryError, match="cannot write"):
        recording.write(content, tmp_path / "none" / "r.toml")


def test_records_that_ship_are_of_specs_that_ship_and_passed() -> None:
    folder = shipped.folder("models") / measuring.CALIBRATION
    names = [path.stem for path in folder.glob("*.toml")]
    assert names
    assert set(names) <= set(shipped.names("models"))
    for name in names:
        record = measuring.calibration(name)
        assert record is not None
        assert record["spec_digest"] == bs.load_spec(name).digest, f"{name} has changed: bayescale calibrate {name}"
        assert record["passed"]
        assert record["simulations"] >= 200


def test_the_page_of_calibrations_says_what_the_records_say() -> None:
    page = (Path(__file__).parents[2] / "docs" / "lab" / "calibration.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)`[^|]*\| (\d+) \| ([\d.e-]+) \(`([^`]+)`\), ([\d.e-]+) \|", page, re.MULTILINE)
    names = {path.stem for path in (shipped.folder("models") / measuring.CALIBRATION).glob("*.toml")}
    assert sorted(name for name, *_ in rows) == sorted(names)
    for name, count, smallest, where, limit in rows:
        record = measuring.calibration(name)
        found = {quantity: of["p"] for quantity, of in record["quantities"].items()}
        assert len(found) == int(count), name
        assert found[where] == min(found.values()), name
        assert round(found[where], len(smallest.partition(".")[2])) == float(smallest), name
        assert float(f"{record['alpha']:.2g}") == float(limit), name


def test_the_figure_shows_every_quantity_and_names_what_fails(result: Calibration) -> None:
    ranks = result.ranks.assign(level=0)
    ax = figures.plot_calibration(replace(result, ranks=ranks))
    lines = [line for line in ax.lines if len(line.get_xdata()) == RANKED]
    assert len(lines) == len(result.table) + 2  # and the edges of the band
    legend = ax.get_legend()
    assert legend is not None
    assert any(text.get_text().startswith("level, p =") for text in legend.get_texts())
    plt.close("all")


def test_the_command_prints_keeps_and_exits(
    result: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def calibrate(spec: str, **settings: object) -> Calibration:
        asked.update(settings, spec=spec)
        return result

    monkeypatch.setattr("bayescale.evaluation.sbc.calibrate", calibrate)
    out = tmp_path / "record.toml"
    done = CliRunner().invoke(main, ["calibrate", "additive-unpooled", "--seed", "4", "--out", str(out)])
    assert (done.exit_code, done.stderr) == (0, "")
    assert "mean regret" in done.stdout
    assert (asked["spec"], asked["seed"], asked["simulations"]) == ("additive-unpooled", 4, 200)
    assert tomllib.loads(out.read_text())["passed"]
    monkeypatch.setattr("bayescale.evaluation.sbc.calibrate", lambda *_, **__: replace(result, dropped={"0": "lost"}))
    failed = CliRunner().invoke(main, ["calibrate", "additive-unpooled", "--json"])
    assert failed.exit_code == 1
    assert "0: lost" in failed.stderr
    assert json.loads(failed.stdout)["quantities"]["nu"]["passed"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("additiv-unpooled",), "'additive-unpooled'"),
        (("additive-unpooled", "--simulations", "3"), "--simulations"),
        (("repetition", "--runs", "hoffmann2022"), "unique_tokens"),
        (("additive-unpooled", "--runs", "hoffmann202"), "hoffmann2022"),
        (("additive-unpooled", "--out", "none/record.toml"), "cannot write"),
        (("additive-unpooled", "--chains", "1", "--draws", "30"), "too few draws"),
    ],
)
def test_the_command_refuses_what_it_cannot_do(arguments: tuple[str, ...], said: str) -> None:
    refused = CliRunner().invoke(main, ["calibrate", *arguments])
    assert refused.exit_code == 2
    assert said in refused.stderr
