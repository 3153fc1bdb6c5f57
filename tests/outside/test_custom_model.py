"""A NumPyro model of somebody's own goes through every verb, from Python and from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner
from numpyro.infer import MCMC, NUTS
from scipy import stats

import bayescale as bs
from bayescale.cli import main
from bayescale.core.errors import BayescaleError, DefinitionError, FitError, QueryError, RunsError, SpecError
from bayescale.decisions.base import AbstractDecision, draws_by_action
from bayescale.evaluation.simulation import simulate
from bayescale.inference import ordinary

CODE = (Path(__file__).parent / "reward_curve.py").read_text(encoding="utf-8")
TOP, GAP, RATE, SCATTER = 1.0, 0.5, 0.4, 0.02


def _curve(flops):
    return TOP - GAP * np.exp(-RATE * np.log(np.asarray(flops) / 1e20))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of rewards without params, tokens and loss, and a spec that names the model, beside its module."""
    place = tmp_path_factory.mktemp("stranger")
    (place / "stranger_model.py").write_text(CODE, encoding="utf-8")
    (place / "curve.toml").write_text('model = "stranger_model:reward_curve"\n', encoding="utf-8")
    random = np.random.default_rng(0)
    flops = np.geomspace(1e19, 3e21, 24)
    rewards = _curve(flops) + SCATTER * random.standard_normal(len(flops))
    pd.DataFrame({"flops": flops, "reward": rewards, "family": "ours"}).to_csv(place / "runs.csv", index=False)
    return place


@pytest.fixture(scope="module")
def runs(folder: Path) -> bs.Runs:
    return bs.load_runs(folder / "runs.csv")


@pytest.fixture(scope="module")
def model(folder: Path) -> bs.CustomModel:
    return bs.load_spec(folder / "curve.toml", allow_code=True)


@pytest.fixture(scope="module")
def fit(runs: bs.Runs, model: bs.CustomModel) -> bs.Fit:
    return bs.fit(runs, model, seed=0)


def test_it_is_fitted_and_finds_what_made_the_runs(fit: bs.Fit) -> None:
    assert fit.converged, fit.verdict
    for name, truth in (("top", TOP), ("rate", RATE), ("scatter", SCATTER)):
        found = fit.summary.loc[name]
        assert abs(found["mean"] - truth) < 4 * found["sd"]
    assert "half_way" in fit.posterior
    assert "half_way" not in fit.sampled


def test_its_forecasts_know_their_reach(fit: bs.Fit) -> None:
    found = bs.forecast(fit, flops="1e23")
    assert (found.response, found.unit) == ("reward", "reward")
    row = found.summary.iloc[0]
    assert row["q05"] < _curve(1e23) < row["q95"]
    assert row["reach_decades"] == pytest.approx(np.log10(1e23 / 3e21))
    curve, noisy = (found.draws[kind].to_numpy().std() for kind in ("epred", "predictive"))
    assert curve < noisy


@pytest.mark.slow
def test_checks_backtests_and_comparisons_take_it(fit: bs.Fit, runs: bs.Runs, model: bs.CustomModel) -> None:
    assert {"convergence", "residuals"} <= {finding.check for finding in bs.check(fit)}
    tested = bs.backtest(runs, model, seed=0)
    assert tested.meta["response"] == "reward"
    assert abs(tested.mean["bias"]) < 0.5 * tested.mean["width_90"]  # its forecasts are inside of their 90% intervals
    assert np.isfinite(tested.runs["log_score"]).all()
    flat = bs.custom_model(columns=("flops",), observes={"reward": "real"})(_flat)
    compared = bs.compare(runs, [model, flat], seed=0)
    best = compared.interpolation.iloc[0]["model"]
    assert best == model.name
    assert set(compared.weights.weights) == {model.name, flat.name}
    assert (
        compared.beyond.set_index("model").loc[model.name, "log_score"]
        > compared.beyond.set_index("model").loc[flat.name, "log_score"]
    )


def _flat(design) -> None:
    """A reward that compute does not change."""
    import numpyro
    from numpyro import distributions as dist

    top = numpyro.sample("top", dist.Normal(1.0, 0.5))
    with numpyro.plate("run", len(design.columns["flops"])):
        numpyro.sample("reward", dist.Normal(top, 0.3), obs=design.observed.get("reward"))


FEW = {"seed": 0, "chains": 2, "warmup": 300, "draws": 100, "progress": False}


@pytest.mark.filterwarnings("ignore::bayescale.core.errors.ConvergenceWarning")  # a hundred draws are few
def test_chains_and_tables_of_one_size_share_a_program(runs: bs.Runs, model: bs.CustomModel) -> None:
    """NumPyro compiles each run anew: a sweep ended for want of memory maps after sixteen fits of `eci`."""
    before = ordinary._chain._cache_size()
    first = bs.fit(runs, model, **FEW)
    assert ordinary._chain._cache_size() == before + 1
    higher = runs.frame.assign(reward=lambda frame: frame["reward"].astype(float) + 1.0)
    other = bs.fit(bs.load_runs(higher), model, **FEW)
    assert ordinary._chain._cache_size() == before + 1
    assert other.posterior["top"].mean() > first.posterior["top"].mean() + 0.5


def test_a_density_that_is_finite_nowhere_is_refused(runs: bs.Runs) -> None:
    def nowhere(design) -> None:
        import numpyro

        _flat(design)
        numpyro.factor("nowhere", -np.inf)

    model = bs.custom_model(columns=("flops",), observes={"reward": "real"})(nowhere)
    with pytest.raises(FitError, match="cannot be sampled"):
        bs.fit(runs, model, **FEW)


def test_without_a_named_curve_the_mean_stands_in(runs: bs.Runs) -> None:
    flat = bs.custom_model(columns=("flops",), observes={"reward": "real"})(_flat)
    fit = bs.fit(runs, flat, seed=0)
    epred = bs.forecast(fit, flops="1e22").draws["epred"]
    np.testing.assert_allclose(epred.to_numpy().ravel(), fit.posterior["top"].to_numpy().ravel())


@pytest.mark.slow
def test_its_calibration_is_asked(runs: bs.Runs, model: bs.CustomModel) -> None:
    found = bs.calibrate(model, runs=runs, simulations=20, draws=250, seed=0)
    assert {"top", "rate", "scatter", "log_likelihood"} <= set(found.ranks)
    assert found.passed


def test_it_decides_reports_and_draws(fit: bs.Fit, tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Stop(AbstractDecision):
        """Where to stop, each e-fold of compute costing reward."""

        name, source, unit = "stop", "a test of this project", "reward"

        def actions(self, fit: bs.Fit) -> pd.DataFrame:
            return pd.DataFrame({"flops": np.geomspace(1e20, 1e23, 13)})

        def outcome(self, fit: bs.Fit, actions: pd.DataFrame, scope: str) -> xr.DataArray:
            return draws_by_action(bs.forecast(fit, actions).draws["epred"].to_numpy().reshape(-1, len(actions)))

        def utility(self, outcome: xr.DataArray, actions: pd.DataFrame) -> xr.DataArray:
            return outcome - 0.05 * np.log(actions["flops"].to_numpy() / 1e20)

    choice = bs.decide(Stop(), fit)
    assert 1e20 < choice.action["flops"] < 1e23
    with pytest.raises(QueryError, match="has no law"):
        bs.decide(bs.Allocation("1e23"), fit)
    assert bs.plots.plot_forecast(fit).get_lines()
    assert bs.plots.plot_residuals(fit).collections
    with pytest.raises(QueryError, match="no law of the loss"):
        bs.plots.plot_loss(fit)
    assert bs.report(fit, tmp_path / "page.html").stat().st_size > 10_000
    assert bs.predictive(fit)["prior_predictive"]["reward"].sizes["run"] == 24


def test_it_is_saved_and_read_where_code_is_allowed(fit: bs.Fit, tmp_path: Path) -> None:
    saved = fit.save(tmp_path / "fit.nc")
    again = bs.load_fit(saved, allow_code=True)
    assert again.spec.digest == fit.spec.digest
    same = [bs.forecast(one, flops="1e23", seed=1).summary["q50"].item() for one in (fit, again)]
    assert same[0] == same[1]


def test_reading_its_file_never_runs_its_code(tmp_path: Path) -> None:
    (tmp_path / "trap_model.py").write_text(
        "import pathlib\npathlib.Path(__file__).with_name('sprung').touch()\nnone = 1\n"
    )
    (tmp_path / "trap.toml").write_text('model = "trap_model:none"\n')
    with pytest.raises(SpecError, match="not allowed to run"):
        bs.load_spec(tmp_path / "trap.toml")
    assert not (tmp_path / "sprung").exists()
    assert "trap_model" not in sys.modules
    with pytest.raises(SpecError, match="not a model"):
        bs.load_spec(tmp_path / "trap.toml", allow_code=True)
    assert (tmp_path / "sprung").exists()


def test_the_command_line_takes_it(folder: Path, tmp_path: Path) -> None:
    run = CliRunner()
    out = tmp_path / "fit.nc"
    words = ["fit", str(folder / "runs.csv"), "--model", str(folder / "curve.toml"), "--out", str(out)]
    # In a process of its own: in this one, an earlier test has allowed the code.
    refused = subprocess.run([sys.executable, "-m", "bayescale", *words], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "--allow-code" in refused.stderr
    assert not out.exists()
    done = run.invoke(main, ["--allow-code", *words])
    assert done.exit_code == 0, done.output
    words_only = run.invoke(main, ["--allow-code", "forecast", str(out), "--set", "flops=1e23"])
    assert words_only.exit_code == 0, words_only.output
    assert "times the compute of the largest run" in words_only.output
    asked = ["--allow-code", "forecast", str(out), "--set", "flops=1e23", "--json"]
    told = run.invoke(main, asked)
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)
    drawn = run.invoke(main, ["--allow-code", "plot", str(out), "--out", str(tmp_path)])
    assert drawn.exit_code == 0, drawn.output
    assert (tmp_path / "forecast.png").exists()
    shown = run.invoke(main, ["--allow-code", "check", str(out)])
    assert shown.exit_code in (0, 1), shown.output


def test_what_is_not_a_model_is_refused() -> None:
    with pytest.raises(DefinitionError, match="unknown kind"):
        bs.custom_model(columns=("flops",), observes={"reward": "ordinal"})
    count = bs.custom_model(columns=("flops",), observes={"solved": "count"})(_flat)
    assert set(count.columns) == {"flops", "solved", "solved_n_items"}
    with pytest.raises(DefinitionError, match="reads no column"):
        bs.custom_model(columns=(), observes={"reward": "real"})


def test_runs_without_what_it_reads_are_refused(runs: bs.Runs, model: bs.CustomModel, fit: bs.Fit) -> None:
    with pytest.raises(RunsError, match="no column 'reward'"):
        bs.fit(bs.load_runs(runs.frame.drop(columns="reward")), model)
    with pytest.raises(BayescaleError, match="a query needs"):
        bs.forecast(fit, params="1B")


def test_draws_from_plain_numpyro_become_a_fit(runs: bs.Runs, model: bs.CustomModel, fit: bs.Fit) -> None:
    with jax.enable_x64(True):
        mcmc = MCMC(NUTS(bs.model(model, runs)), num_warmup=1000, num_samples=2000, num_chains=2, progress_bar=False,
                    chain_method="sequential")  # fmt: skip
        mcmc.run(jax.random.key(1))
    theirs = bs.Fit.from_samples(mcmc, model, runs)
    assert theirs.summary["r_hat"].max() < 1.05
    for name in ("top", "rate"):
        ours, found = fit.summary.loc[name], theirs.summary.loc[name]
        error = np.hypot(ours["sd"] / ours["ess_bulk"] ** 0.5, found["sd"] / found["ess_bulk"] ** 0.5)
        assert abs(ours["mean"] - found["mean"]) < 5 * error


def test_draws_of_a_spec_from_elsewhere_are_the_fit_that_they_came_from(runs: bs.Runs) -> None:
    table = bs.load_runs("hoffmann2022").where(exclusion="")
    ours = bs.fit(table, "additive", seed=0, draws=250)
    again = bs.Fit.from_samples(ours.tree, "additive", table)
    for name in ours.posterior:
        np.testing.assert_allclose(again.posterior[name], ours.posterior[name], rtol=1e-10)
    for name, values in ours.tree["log_likelihood"].data_vars.items():
        np.testing.assert_allclose(again.tree["log_likelihood"][name], values, atol=1e-8)
    assert str(again.verdict) == str(ours.verdict)
    with pytest.raises(FitError, match="no draws of site"):
        bs.Fit.from_samples(ours.posterior[["level"]], "additive", table)
    with pytest.raises(FitError, match="not all finite"):
        bs.Fit.from_samples(ours.posterior.assign(level=ours.posterior["level"] * np.nan), "additive", table)


def test_worker_processes_take_code_that_is_allowed_here(runs: bs.Runs, model: bs.CustomModel) -> None:
    with pytest.warns(bs.ConvergenceWarning):  # a chain of 25 draws is too short
        batch = bs.fit_many({"a": runs}, model, draws=25, warmup=200, workers=1, seed=0)
    assert not batch.failed, batch.failed
    assert "top" in batch.fits["a"].posterior


@bs.custom_model(columns=("flops",), observes={"reward": "real", "other": "real"})
def two_means(design):
    """Two means, of which some runs have one alone."""
    import numpyro
    from numpyro import distributions as dist

    for name in ("reward", "other"):
        mean = numpyro.sample(f"{name}_mean", dist.Normal(0.0, 100.0))
        with numpyro.plate(f"{name}_run", len(design.columns["flops"])):
            numpyro.sample(name, dist.Normal(mean, 1.0), obs=design.observed.get(name))


def test_a_value_that_is_missing_adds_nothing() -> None:
    flops = np.geomspace(1e19, 1e21, 8)
    table = pd.DataFrame({"flops": flops, "reward": [0.0, 10.0, *[None] * 6], "other": 1.0})
    fit = bs.fit(bs.load_runs(table), two_means, seed=0)
    found = fit.summary.loc["reward_mean"]
    error = found["sd"] / found["ess_bulk"] ** 0.5
    assert abs(found["mean"] - 5.0) < 5 * error + 5.0 / 2e4  # the prior pulls by 1/(2 * 100^2) of it
    assert found["sd"] == pytest.approx(0.5**0.5, rel=5 / (2 * found["ess_bulk"]) ** 0.5)


def test_what_runs_lack_is_missing_in_every_simulation_and_in_its_likelihood() -> None:
    flops = np.geomspace(1e19, 1e21, 8)
    table = pd.DataFrame({"flops": flops, "reward": ["0.0", "10.0", *[""] * 6], "other": 1.0})  # as a file has it
    found = simulate(two_means, bs.load_runs(table, name="gaps"), simulations=20, seed=0)
    assert not found.dropped
    for name, table in found.tables.items():
        np.testing.assert_array_equal(np.isnan(table["reward"]), np.arange(8) > 1)
        assert np.isfinite(table["other"]).all()
        true = found.truths.loc[name]
        exact = sum(stats.norm(true[f"{of}_mean"]).logpdf(table[of])[np.isfinite(table[of])].sum()
                    for of in ("reward", "other"))  # fmt: skip
        assert true["log_likelihood"] == pytest.approx(exact)


def test_a_model_of_ones_own_is_named_by_its_code(model: bs.CustomModel) -> None:
    assert bs.load_spec(model.name).digest == model.digest
    with pytest.raises(SpecError, match="spec of parts"):
        bs.learn(bs.load_runs("open-families"), model)


@bs.custom_model(columns=("flops",), observes={"pass_rate": bs.Observes("real", "share of items")})
def of_labs(design):
    """A score in log compute, with a lead of each lab and luck of each run."""
    import jax.numpy as jnp
    import numpyro
    from jax.nn import sigmoid
    from numpyro import distributions as dist

    slope = numpyro.sample("slope", dist.LogNormal(-1.0, 0.5))
    spread = numpyro.sample("spread", dist.HalfNormal(1.0))
    with numpyro.plate("family", design.families):
        lead = numpyro.sample("lead", dist.Normal(0.0, spread))
    with numpyro.plate("run", len(design.family)):
        luck = numpyro.sample("luck", dist.Normal(0.0, 0.2))
        logit = slope * jnp.log(design.columns["flops"] / 1e22) + lead[design.family] + luck
        center = numpyro.deterministic("pass_rate_location", sigmoid(logit))
        numpyro.sample("pass_rate", dist.Normal(center, 0.02), obs=design.observed.get("pass_rate"))


@pytest.fixture(scope="module")
def labs() -> bs.Runs:
    random, rows = np.random.default_rng(2), []
    for lab in range(4):
        lead = 0.8 * random.standard_normal()
        for at, flops in enumerate(np.geomspace(1e20, 1e24, 6)):
            logit = 0.4 * np.log(flops / 1e22) + lead + 0.2 * random.standard_normal()
            score = 1 / (1 + np.exp(-logit)) + 0.02 * random.standard_normal()
            rows.append({"family": f"lab{lab}", "run_id": f"r{at}", "flops": flops, "pass_rate": score})
    return bs.load_runs(pd.DataFrame(rows), name="labs")


@pytest.fixture(scope="module")
def lab_fit(labs: bs.Runs) -> bs.Fit:
    return bs.fit(labs, of_labs, seed=0)


def test_plates_of_families_and_runs_forecast_those_that_were_not_fitted(lab_fit: bs.Fit) -> None:
    assert lab_fit.converged, lab_fit.verdict
    assert lab_fit.posterior["lead"].dims[2:] == ("family",)
    assert lab_fit.posterior["luck"].sizes["run"] == 24
    assert bs.check(lab_fit, "residuals").passed
    query = {"flops": 1e22, "response": "pass_rate"}
    known, new = (bs.forecast(lab_fit, family=name, **query).draws["epred"].to_numpy() for name in ("lab1", "new"))
    run = lab_fit.design_frame.iloc[[8]].drop(columns="pass_rate")
    named = bs.forecast(lab_fit, run).draws["epred"].to_numpy()
    assert named.std() < known.std() < new.std()
    spread = lab_fit.posterior["spread"].to_numpy()
    logit = np.log(new / (1 - new))
    expected = np.sqrt((spread**2).mean() + 0.2**2)  # of a lab and a run that were not fitted, at 1e22 FLOP
    assert logit.std() == pytest.approx(expected, rel=0.1)


def test_a_model_without_plates_refuses_a_new_family(labs: bs.Runs) -> None:
    rewards = bs.load_runs(labs.frame.rename(columns={"pass_rate": "reward"}))
    flat = bs.custom_model(columns=("flops",), observes={"reward": "real"})(_flat)
    with pytest.warns(bs.ConvergenceWarning):  # of 50 draws
        fit = bs.fit(rewards, flat, seed=0, warmup=100, draws=50)
    with pytest.raises(QueryError, match="was not fitted"):
        bs.forecast(fit, flops=1e22, family="new")


@pytest.mark.slow
def test_a_family_that_is_left_out_is_forecast(labs: bs.Runs) -> None:
    tested = bs.backtest(labs, of_labs, way="leave-family-out", family="lab2", seed=0, draws=500)
    assert len(tested.runs) == 6
    assert np.isfinite(tested.runs["log_score"]).all()


def test_a_rule_is_judged_by_its_score(lab_fit: bs.Fit) -> None:
    choice = bs.decide("threshold", lab_fit, score=0.9, response="pass_rate", flops=1e24)
    assert choice.action["flops"] == pytest.approx(1e25)
    assert "pass_rate 0.9" in repr(choice)
