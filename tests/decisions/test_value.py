"""Value of information: every engine against closed forms, refits and bounds; pilots chosen by it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import numpyro
import pandas as pd
import pytest
import xarray as xr
from arviz_stats.base import array_stats
from click.testing import CliRunner
from numpyro import distributions as dist
from scipy import stats

import bayescale as bs
from bayescale.cli import main
from bayescale.core.errors import QueryError
from bayescale.decisions.base import AbstractDecision, draws_by_action
from bayescale.decisions.draws import promote
from bayescale.decisions.engines import Value, gaussian, regressed, reweighted, sources, two_action_value
from bayescale.decisions.next_run import NextRun
from bayescale.decisions.risk import RISKS
from bayescale.decisions.stakes import Stakes, stakes_of
from bayescale.decisions.value import refits, value_of, values_of
from bayescale.prediction.fantasies import fantasies, log_densities
from bayescale.prediction.predict import predict

# Two actions whose difference is θ ~ N(0.3, 1), one observation with SD 1: Raiffa and Schlaifer 1961, chapter 5.
MEAN, EVSI, EVPI = 0.3, 0.15711, 0.26676
DRAWS, CHAINS = 2000, 4


def stakes(seed: int) -> Stakes:
    theta = np.random.default_rng(seed).normal(MEAN, 1.0, DRAWS)
    return Stakes(np.column_stack([np.zeros(DRAWS), theta]), theta, CHAINS)


def by_every_engine(of: Stakes, sd: float, seed: int) -> dict[str, Value]:
    """Values of one observation with this SD; that of n observations with SD 1 has SD 1/√n."""
    theta, source = of.utility[:, 1], sources(DRAWS, 512)
    seen = theta + sd * np.random.default_rng([seed, 1]).normal(size=DRAWS)
    density = stats.norm.logpdf(seen[source], theta[:, None], sd)
    found = (reweighted(of, density, source), regressed(of, seen[:, None]), gaussian(of, seen[:, None]))
    return {one.engine: one for one in found}


def exact(sd: float) -> float:
    return two_action_value(MEAN, 1 / math.sqrt(1 + sd**2))


def test_the_closed_form_is_that_of_the_textbook() -> None:
    assert exact(1.0) == pytest.approx(EVSI, abs=5e-6)
    assert exact(0.0) == pytest.approx(EVPI, abs=5e-6)
    assert two_action_value(MEAN, 0.0) == 0.0


@pytest.mark.parametrize("observations", [1, 4, 25])
def test_every_engine_finds_the_exact_value(observations: int) -> None:
    sd, of = observations**-0.5, stakes(observations)
    for engine, value in by_every_engine(of, sd, observations).items():
        assert abs(value.evsi - exact(sd)) < 3 * value.mcse, engine
        assert 0 < value.mcse < 0.03, engine
        assert abs(value.level - 1 / (1 + sd**2)) < 3 * value.level_mcse, engine
        assert value.evsi < value.evpi == pytest.approx(EVPI, abs=3 / math.sqrt(DRAWS)), engine
        assert value.reliable, engine


def test_standard_errors_are_those_of_repetitions() -> None:
    repeated = [by_every_engine(stakes(i), 1.0, 100 + i) for i in range(24)]
    for engine in repeated[0]:
        values = np.array([one[engine].evsi for one in repeated])
        stated = np.sqrt(np.mean([one[engine].mcse ** 2 for one in repeated]))
        # χ² with 23 degrees of freedom: the ratio of SDs is within 0.65 to 1.4 in 99 of 100 cases.
        assert 0.65 < values.std(ddof=1) / stated < 1.4, engine
        assert abs(values.mean() - EVSI) < 3 * stated / math.sqrt(24), engine


def test_the_value_rises_with_the_observations_up_to_that_of_perfect_information() -> None:
    of = stakes(0)
    steps = [by_every_engine(of, n**-0.5, 1) for n in (1, 4, 16, 100)]
    for engine in steps[0]:
        for fewer, more in zip(steps, steps[1:], strict=False):
            difference, mcse = more[engine].above(fewer[engine])
            assert difference > -2 * mcse, engine
        last = steps[-1][engine]
        assert abs(last.evsi - last.evpi) < 3 * last.mcse, engine
    rise, mcse = steps[-1]["reweight"].above(steps[0]["reweight"])
    assert rise > 3 * mcse


def test_an_observation_that_tells_nothing_is_worth_nothing() -> None:
    found = by_every_engine(stakes(0), 1e6, 1)
    assert found["reweight"].evsi == found["reweight"].plug_in == 0.0  # the weights are equal: no action changes
    assert found["gaussian"].evsi < 1e-6
    assert abs(found["regress"].evsi) <= 3 * found["regress"].mcse


def test_the_split_removes_the_bias_of_the_maximum() -> None:
    """Actions that all have the expected utility 0, and data about none of them: the maximum finds a value in noise."""
    rng, source = np.random.default_rng(0), sources(400, 400)
    found = []
    for _ in range(20):
        of = Stakes(rng.normal(size=(400, 30)), rng.normal(size=400), CHAINS)
        seen, unrelated = rng.normal(size=400), rng.normal(size=400)
        found.append(reweighted(of, stats.norm.logpdf(seen, unrelated[:, None], 0.3), source))
    split, plug_in = (np.array([getattr(one, name) for one in found]) for name in ("evsi", "plug_in"))
    error = plug_in.std(ddof=1) / math.sqrt(20)
    assert plug_in.mean() > 10 * error
    assert abs(split.mean()) < 3 * split.std(ddof=1) / math.sqrt(20)


def test_weights_of_few_draws_are_reported_as_unreliable() -> None:
    of = stakes(0)
    for sd in (0.01, 1e-4):  # a dozen draws within each outcome's SD, and none but its own
        value = by_every_engine(of, sd, 1)["reweight"]
        assert not value.reliable
        assert "not reliable" in repr(value)


def test_only_dominated_actions_are_left_out() -> None:
    rng = np.random.default_rng(0)
    utility = rng.normal(size=(200, 5))
    utility[:, 4] = utility[:, 1] - 0.1
    of = Stakes(utility, utility[:, 0], 2)
    assert of.gain.shape == (200, 4)
    assert of.evpi == pytest.approx(of.gain.max(axis=1).mean())
    assert np.bincount(of.block).min() == 200 // 20


def test_promotion_keeps_actions_that_cover_each_other() -> None:
    rng = np.random.default_rng(1)
    common = rng.normal(size=(500, 1))
    utility = np.hstack([common, common + 0.01 * rng.normal(size=(500, 3)) - 0.02, -common - 0.2])
    chosen, regret = promote(utility, 5)
    assert chosen[:2] == [0, 4]  # not one of the near copies
    assert sorted(chosen) == [0, 1, 2, 3, 4]
    assert (np.diff(regret) <= 0).all()
    assert regret[-1] == 0.0
    with pytest.raises(QueryError, match="keep"):
        promote(utility, 6)


@dataclass(frozen=True)
class Launch(AbstractDecision):
    """Take an uncertain gain, or not."""

    name = "launch"
    source = "a test"
    unit = "1"

    def actions(self, fit: bs.Fit) -> pd.DataFrame:
        return pd.DataFrame({"take": [0.0, 1.0]})

    def outcome(self, fit: bs.Fit, actions: pd.DataFrame, scope: str) -> xr.DataArray:
        at = pd.DataFrame({"family": fit.families[:1], "flops": [1e20]})
        return draws_by_action(predict(fit, at, only="gain_location") * actions["take"].to_numpy())

    def utility(self, outcome: xr.DataArray, actions: pd.DataFrame) -> xr.DataArray:
        return outcome


@bs.custom_model(columns=("flops",), observes={"gain": "real"})
def uncertain(design):
    """A gain of N(0.3, 2) before any run; a run observes it with a variance of 1e20 FLOP over its compute."""
    theta = numpyro.sample("theta", dist.Normal(MEAN, math.sqrt(2.0)))
    flops = design.columns["flops"]
    where = numpyro.deterministic("gain_location", theta + 0.0 * flops)
    numpyro.sample("gain", dist.Normal(where, jnp.sqrt(1e20 / flops)), obs=design.observed.get("gain"))


def known(name: str, center: float) -> bs.CustomModel:
    def function(design):
        theta = numpyro.sample("theta", dist.Normal(center, 0.01))
        flops = design.columns["flops"]
        where = numpyro.deterministic("gain_location", theta + 0.0 * flops)
        numpyro.sample("gain", dist.Normal(where, jnp.sqrt(1e20 / flops)), obs=design.observed.get("gain"))

    function.__qualname__ = name
    return bs.custom_model(columns=("flops",), observes={"gain": "real"}, title=name)(function)


@pytest.fixture(scope="module")
def seen() -> bs.Runs:
    """One run, whose observation leaves θ ~ N(0.3, 1) of `uncertain`."""
    frame = pd.DataFrame({"family": ["a"], "params": [1e9], "tokens": [5e19 / 6e9], "flops": [5e19], "gain": [MEAN]})
    return bs.load_runs(frame, name="one run", loss_unit="nats")


def drawn(model: bs.CustomModel, runs: bs.Runs, center: float, sd: float) -> bs.Fit:
    theta = np.random.default_rng(0).normal(center, sd, (CHAINS, DRAWS // CHAINS))
    return bs.Fit.from_samples({"theta": theta}, model, runs)


def pilot(flops: float) -> pd.DataFrame:
    return pd.DataFrame({"flops": [flops], "params": [1e9], "tokens": [flops / 6e9]})


@pytest.mark.parametrize("engine", ["reweight", "regress", "gaussian"])
def test_engines_find_the_exact_value_of_a_run_of_a_model(engine: str, seen: bs.Runs) -> None:
    fit = drawn(uncertain, seen, MEAN, 1.0)
    value = value_of(pilot(1e20), Launch(), fit, engine=engine)
    assert abs(value.evsi - EVSI) < 3 * value.mcse
    assert (value.cost, value.engine) == (1e20, engine)
    assert value.per_cost == value.evsi / 1e20
    assert value.net(1e22) == pytest.approx(value.evsi * 1e22 - 1e20)
    four = value_of(pd.concat([pilot(1e20)] * 4), Launch(), fit, engine=engine)  # four runs at once
    assert abs(four.evsi - exact(0.5)) < 3 * four.mcse
    assert json.loads(json.dumps(four.to_dict()))["cost"] == 4e20
    assert f"± {four.mcse:.1g}" in repr(four)


@pytest.mark.slow
def test_refits_find_the_exact_value_of_a_run_of_a_model(seen: bs.Runs) -> None:
    value = value_of(pilot(1e20), Launch(), drawn(uncertain, seen, MEAN, 1.0), engine="refit", refits=24)
    assert value.engine == "refit"
    assert abs(value.evsi - EVSI) < 3 * value.mcse
    assert abs(value.level - 0.5) < 3 * value.level_mcse


@pytest.mark.slow
def test_a_run_with_unreliable_weights_is_valued_by_refits(seen: bs.Runs) -> None:
    fit = drawn(uncertain, seen, MEAN, 1.0)
    assert not value_of(pilot(1e28), Launch(), fit, refits=0).reliable
    value = value_of(pilot(1e28), Launch(), fit, refits=4)
    assert (value.engine, value.reliable) == ("refit", True)


def test_a_run_that_discriminates_between_laws_has_a_value_that_no_law_sees(seen: bs.Runs) -> None:
    laws = {"good": drawn(known("good", 1.0), seen, 1.0, 0.01), "bad": drawn(known("bad", -1.0), seen, -1.0, 0.01)}
    both = bs.average(laws)
    for fit in laws.values():
        assert value_of(pilot(1e20), Launch(), fit).evsi == 0.0
    value = value_of(pilot(1e20), Launch(), both)
    # Two values ±1, equally likely, seen with SD 1: the sign is right with probability Φ(1).
    assert abs(value.evsi - (stats.norm.cdf(1.0) - 0.5)) < 3 * value.mcse
    assert value.evpi == pytest.approx(0.5, abs=0.02)
    assert value.evsi > 5 * value.mcse
    with pytest.raises(QueryError, match="average cannot be fitted"):
        value_of(pilot(1e20), Launch(), both, engine="refit")


def test_bad_experiments_and_engines_are_refused(chinchilla_fit: bs.Fit) -> None:
    at = bs.Allocation("5.76e23")
    with pytest.raises(QueryError, match="reweight, regress, gaussian, refit"):
        value_of(run(1e9, 1e10), at, chinchilla_fit, engine="guess")
    with pytest.raises(QueryError, match="number of runs"):
        values_of([run(1e9, 1e10), pd.concat([run(1e9, 1e10)] * 2)], at, chinchilla_fit)
    with pytest.raises(QueryError, match="tokens"):
        value_of(run(1e9, 1e10).drop(columns="tokens"), at, chinchilla_fit)


def run(params: float, tokens: float) -> pd.DataFrame:
    return pd.DataFrame({"params": [params], "tokens": [tokens]})


def test_fantasies_share_random_numbers_and_their_density_is_that_of_a_prediction(chinchilla_fit: bs.Fit) -> None:
    tables = [run(n, 20 * n).assign(family="Chinchilla") for n in (1e8, 1e9, 1e10)]
    seen = fantasies(chinchilla_fit, tables, seed=3, most=500)["loss"]
    joined = pd.concat(tables, ignore_index=True)
    at = predict(chinchilla_fit, joined, only="loss_location", most=500)
    noise = np.log(seen[..., 0]) - at
    assert noise == pytest.approx(np.broadcast_to(noise[:, :1], noise.shape), abs=1e-12)
    density = log_densities(chinchilla_fit, tables, {"loss": seen[:7]}, most=500)
    assert density.shape == (500, 3, 7)
    alone = predict(chinchilla_fit, joined, observed={"loss": seen[6, :, 0]}, only="loss_log_density", most=500)
    assert density[..., 6] == pytest.approx(alone, abs=1e-9)
    with pytest.raises(QueryError, match="differ in their number"):
        fantasies(chinchilla_fit, [tables[0], joined])


@pytest.fixture(scope="module")
def purpose() -> bs.Allocation:
    return bs.Allocation("5.76e23")


def test_values_on_real_runs_are_ordered(chinchilla_fit: bs.Fit, purpose: bs.Allocation) -> None:
    of = stakes_of(purpose, chinchilla_fit)
    target = purpose.actions(chinchilla_fit).iloc[of.action]
    compute_optimal = run(1e9, 2e10)
    lopsided, wider = run(1e9, 5e8), run(4e9, 5e8)
    tables = [run(target["params"], target["tokens"]), compute_optimal, lopsided, wider]
    at_target, copy, small, large = values_of(tables, purpose, chinchilla_fit)
    for value in (at_target, copy, small, large):
        assert -3 * max(value.mcse, 1e-6) < value.evsi <= value.plug_in < value.evpi  # 1e-6: what the grid resolves
        assert value.reliable
    # The run itself says most of its own level, and nothing of how to split; a lopsided one says how, for less compute.
    assert at_target.level > copy.level + 3 * math.hypot(at_target.level_mcse, copy.level_mcse)
    assert at_target.evsi < 3 * max(at_target.mcse, 1e-6)
    rise, mcse = small.above(copy)
    assert rise > 5 * mcse
    assert small.cost < copy.cost < at_target.cost
    screened = values_of([lopsided, wider], purpose, chinchilla_fit, engine="regress")
    for fast, slow in zip(screened, (small, large), strict=True):
        assert abs(fast.evsi - slow.evsi) < 3 * math.hypot(fast.mcse, slow.mcse)
    twice, four = (values_of([pd.concat([lopsided] * n)], purpose, chinchilla_fit)[0] for n in (2, 4))
    for fewer, more in ((small, twice), (twice, four)):  # of several calls, which share draws and seed
        rise, mcse = more.above(fewer)
        assert rise > 2 * mcse
    assert four.evsi + 2 * four.mcse < four.evpi


def test_a_refit_agrees_with_the_weights_of_its_outcomes(chinchilla_fit: bs.Fit, purpose: bs.Allocation) -> None:
    at, of = run(1e9, 3e8).assign(family="Chinchilla", flops=1.8e18), stakes_of(purpose, chinchilla_fit)
    draws = len(of.utility)
    outcome = {"loss": fantasies(chinchilla_fit, [at], seed=1, most=draws)["loss"][sources(draws, 2, 1)]}
    density = log_densities(chinchilla_fit, [at], outcome, most=draws)[:, 0]
    actions, gains = purpose.actions(chinchilla_fit), of.utility - of.utility[:, [of.action]]
    for m, after in enumerate(refits(chinchilla_fit, at, {"loss": outcome["loss"][:, 0]})):
        weight = np.exp(density[:, m] - density[:, m].max())
        weight /= weight.sum()
        best = int((weight @ gains).argmax())
        weighted, again = gains[:, best], -purpose.outcome(after, actions.iloc[[best, of.action]], "run").to_numpy()
        refitted = again[:, 0] - again[:, 1]
        mean = weight @ weighted
        errors = np.sqrt(weight**2 @ (weighted - mean) ** 2), array_stats.mcse(refitted.reshape(CHAINS, -1))
        assert abs(mean - refitted.mean()) < 3 * math.hypot(*errors)
        assert best != of.action
        assert mean > 5 * errors[0]


REFITS = 24  # eight may miss the few outcomes that a run is bought for, and then understate their own error


@pytest.mark.slow
def test_reweighting_equals_refits(chinchilla_fit: bs.Fit, purpose: bs.Allocation) -> None:
    tables = [run(n, d) for n in np.geomspace(2e8, 1.6e10, 5) for d in (3e8, 6e8, 6e10, 2e11)]
    away = []
    for table, weighted in zip(tables, values_of(tables, purpose, chinchilla_fit), strict=True):
        value = value_of(table, purpose, chinchilla_fit, engine="refit", refits=REFITS)
        error = math.hypot(value.mcse, weighted.mcse, 1e-6)  # 1e-6: what the grid of actions resolves
        away.append((weighted.evsi - value.evsi) / error)
        away.append((weighted.level - value.level) / math.hypot(value.level_mcse, weighted.level_mcse))
    # The error of 24 refits has 23 degrees of freedom: of 40 such ratios, one is beyond 4.5 in 160 repetitions.
    assert max(map(abs, away)) < 4.5


@pytest.fixture(scope="module")
def pilots(chinchilla_fit: bs.Fit) -> bs.Choice:
    found = bs.decide(NextRun("5.76e23", most_flops="1e20", budget="1.1e20", batch=2), chinchilla_fit)
    assert isinstance(found, bs.Choice)
    return found


def test_pilots_are_bought_while_they_are_worth_their_cost(pilots: bs.Choice, chinchilla_fit: bs.Fit) -> None:
    assert not pilots.stop
    assert pilots.settled
    assert len(pilots.chosen) == 2
    assert pilots.chosen["flops"].max() <= 1e20
    assert pilots.chosen["flops"].sum() <= 1.1e20
    first, both = pilots.values
    rise, mcse = both.above(first)
    assert rise > 2 * mcse
    assert both.evsi + 2 * both.mcse < both.evpi
    assert pilots.net == pytest.approx(both.evsi * pilots.worth - pilots.chosen["flops"].sum())
    assert pilots.action["flops"] == pilots.chosen["flops"].iloc[0]
    ratio = chinchilla_fit.design_frame.eval("tokens / params")
    assert (pilots.plane.eval("tokens / params").between(ratio.min() * 0.999, ratio.max() * 1.001)).all()
    assert pilots.plane["net"].idxmax() == pilots.best.action - 1
    said = pilots.to_dict()
    assert len(said["plane"]) == len(pilots.plane)
    assert len(said["pilots"]) == 2
    assert all(word in repr(pilots) for word in ("Next run for allocation", "Pareto k", "bound", "±", "level", "stop"))


def test_worth_is_the_compute_that_lowers_the_loss_by_a_nat(pilots: bs.Choice, chinchilla_fit: bs.Fit) -> None:
    more, now = (float(bs.decide(bs.Allocation(5.76e23 * times), chinchilla_fit).utility.mean("draw").max())
                 for times in (1.1, 1.0))  # fmt: skip
    assert pilots.worth * (more - now) == pytest.approx(5.76e22)


def test_tails_are_of_the_realised_gains(pilots: bs.Choice, purpose: bs.Allocation, chinchilla_fit: bs.Fit) -> None:
    """Controls of mean zero lower the error of a mean, and change every quantile."""
    i = pilots.best.action
    table = pilots.actions.iloc[[i]][["params", "tokens"]].assign(family="Chinchilla")
    one = value_of(table, purpose, chinchilla_fit)
    assert pilots.outcome.to_numpy()[:, i] == pytest.approx(one.gains)
    assert pilots.run_outcome.to_numpy()[:, i] == pytest.approx(one.realised)
    assert one.evsi == pytest.approx(one.gains.mean())
    assert one.evsi == pytest.approx(one.realised.mean(), abs=4 * one.realised.std() / len(one.realised) ** 0.5)
    assert one.gains.std() < one.realised.std()
    assert one.gains.min() < min(0.0, one.realised.min())  # a control may leave less than nothing gained
    cost = pilots.actions["flops"].to_numpy()
    net = pilots.run_outcome.to_numpy() * pilots.worth - cost
    for name in ("cvar", "quantile", "minimax"):
        assert pilots.preferred(name) == RISKS[name]().score(net).argmax()
    assert pilots.preferred("mean") == pilots.best.action
    assert pilots.expected["q05"] == pytest.approx(np.quantile(one.realised, 0.05))


def test_nothing_is_bought_if_utility_is_worth_little(chinchilla_fit: bs.Fit) -> None:
    choice = bs.decide(NextRun("5.76e23", worth=1e15, most_flops="1e20"), chinchilla_fit)
    assert choice.stop
    assert choice.action["flops"] == 0.0
    assert choice.net == 0.0
    assert "nothing: no candidate is worth its cost" in repr(choice)
    assert choice.to_dict()["pilots"] == []


def test_any_decision_is_a_purpose(purpose: bs.Allocation, chinchilla_fit: bs.Fit) -> None:
    assert NextRun("5.76e23").problem() == purpose
    assert NextRun("5.76e23", purpose=Launch()).problem() == Launch()
    with pytest.raises(bs.BayescaleError, match="guess"):
        NextRun("5.76e23", purpose="guess").problem()


@pytest.mark.parametrize("bad", [{"batch": 0}, {"most_flops": 0.0}, {"budget": "1"}], ids=["batch", "size", "budget"])
def test_limits_without_any_pilot_are_refused(chinchilla_fit: bs.Fit, bad: dict) -> None:
    with pytest.raises(QueryError, match="pilot"):
        NextRun("5.76e23", **bad).actions(chinchilla_fit)


def test_pilots_are_planned_from_the_command_line(chinchilla_fit: bs.Fit, tmp_path: Path) -> None:
    file = chinchilla_fit.save(tmp_path / "fit.nc")
    options = ["--flops", "5.76e23", "--most-flops", "1e20", "--worth", "0", "--json"]
    done = CliRunner().invoke(main, ["decide", "next-run", str(file), *options])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["decision"], found["purpose"], found["worth"], found["stop"]) == (
        "next-run",
        "allocation",
        0.0,
        False,
    )
    assert found["net"] is None
    best = max(found["plane"], key=lambda row: row["evsi"] / row["flops"])
    assert best["flops"] == found["cost"]


def test_actions_that_limits_exclude_have_no_stake(chinchilla_fit: bs.Fit) -> None:
    free, limited = (stakes_of(bs.Allocation("5.76e23", limits=limits), chinchilla_fit)
                     for limits in ({}, {"sizes": "70B"}))  # fmt: skip
    assert free.evpi > 0
    assert limited.evpi == 0  # there is nothing to choose
    assert limited.utility.shape[1] == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"worth": math.nan}, "worth or least is out of range"),
        ({"worth": math.inf}, "worth or least is out of range"),
        ({"worth": -1e20}, "worth or least is out of range"),
        ({"least": math.nan}, "worth or least is out of range"),
        ({"purpose": "next-run"}, "inform another decision"),
    ],
)
def test_pilots_that_make_no_sense_are_refused(given: dict, words: str) -> None:
    with pytest.raises(QueryError, match=words):
        NextRun("5.76e23", **given)


def test_a_purpose_that_gains_nothing_from_its_budget_needs_a_worth(chinchilla_fit: bs.Fit) -> None:
    decision = NextRun("5.76e23", purpose="threshold")
    with pytest.raises(QueryError, match="more budget does not raise the utility of threshold"):
        decision._worth(chinchilla_fit, stakes_of(decision.problem(), chinchilla_fit))


def test_pilots_may_be_as_large_as_any(chinchilla_fit: bs.Fit) -> None:
    """The smallest candidates are relative to the largest that there is, not to one that is only allowed."""
    table = NextRun("5.76e23", most_flops="1e38").actions(chinchilla_fit).iloc[1:]
    assert len(table)
    assert table["flops"].max() / table["flops"].min() <= 1e3


def test_an_action_of_no_run_is_called_nothing(chinchilla_fit: bs.Fit) -> None:
    choice = bs.decide(bs.NextRun(flops="5.76e23", most_flops="1e20"), chinchilla_fit)
    assert choice.name_of(0) == "nothing"
    assert "params" in choice.name_of(1)
