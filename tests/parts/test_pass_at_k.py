"""Repeated sampling: pass@k in closed form, and the slopes of Schaeffer et al. 2025 on the counts of seven Pythias."""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit, gammaln

import bayescale as bs
from bayescale.core.errors import RunsError
from bayescale.evaluation.simulation import simulate
from bayescale.parts.catalogue import part
from bayescale.parts.difficulty import log_unsolved, shapes

SLOPES = {"70M": -0.19, "160M": -0.28, "410M": -0.29, "1B": -0.31, "2.8B": -0.34, "6.9B": -0.35, "12B": -0.37}
"""Slopes of -ln pass@k, from the 70 million to the 12 billion params."""
KS = np.unique(np.round(np.geomspace(1, 10_000, 50)))


@pytest.fixture(scope="module")
def runs() -> bs.Runs:
    return bs.load_runs("monkeys")


def shares(correct: np.ndarray, tries: int) -> np.ndarray:
    """The unbiased estimate of pass@k over problems, of Chen et al. 2021."""
    wrong = (tries - correct)[:, None]
    left = np.maximum(wrong - KS, 0)
    none = gammaln(wrong + 1) - gammaln(left + 1) - gammaln(tries + 1) + gammaln(tries - KS + 1)
    return 1 - np.where(wrong < KS, 0.0, np.exp(none)).mean(axis=0)


@pytest.mark.parametrize("size", SLOPES)
def test_schaeffer_2025_slopes_of_repeated_sampling(runs: bs.Runs, size: str) -> None:
    """The published recipe: least squares of ln(-ln pass@k) on ln k, at samples that are evenly spaced in the log."""
    found = shares(runs.where(size=size)["n_correct"], 10_000)
    slope = np.polyfit(np.log(KS), np.log(-np.log(found)), 1)[0]
    assert slope == pytest.approx(SLOPES[size], abs=0.005)


@pytest.mark.slow
def test_the_posterior_has_the_slopes_beside_it(runs: bs.Runs) -> None:
    """Draws of pass@k by the same recipe. One power of params for seven models misses that of the smallest by 0.03."""
    fit, ks = bs.fit(runs, "pass-at-k", seed=0, draws=250), np.geomspace(1, 10_000, 9)
    assert fit.converged
    for params, slope, within in ((7e7, SLOPES["70M"], 0.04), (1.2e10, SLOPES["12B"], 0.02)):
        found = bs.forecast(fit, params=params, tokens=3e11, samples=ks, n_items=128).draws["epred"].to_numpy() / 128
        logs = np.log(-np.log(found.reshape(-1, len(ks))))
        assert np.median(np.polyfit(np.log(ks), logs.T, 1)[0]) == pytest.approx(slope, abs=within)


def test_pass_at_k_is_the_mean_over_problems() -> None:
    """Against draws of the Beta: their Monte Carlo error is the standard deviation over the root of their number."""
    a, b, k = 0.3, 12.0, np.array([1.0, 10.0, 1e3])
    with jax.enable_x64(True):
        exact = -np.expm1(np.asarray(log_unsolved(a, b, k)))
    solved = 1 - (1 - np.random.default_rng(0).beta(a, b, (100_000, 1))) ** k
    assert (np.abs(solved.mean(axis=0) - exact) < 4 * solved.std(axis=0) / np.sqrt(len(solved))).all()
    assert exact[0] == pytest.approx(a / (a + b), rel=1e-12)


def test_failures_fall_as_a_power_of_samples_with_the_first_shape() -> None:
    a, b = 0.27, 14.0
    with jax.enable_x64(True):
        far = np.asarray(log_unsolved(a, b, np.array([1e7, 1e8])))
    assert (far[1] - far[0]) / np.log(10) == pytest.approx(-a, abs=1e-5)


def test_counts_of_one_problem_are_beta_binomial_and_those_of_many_binomial() -> None:
    noise = part("noise", "difficulty")
    p, tail, rise, items = 0.03, 0.25, 0.3, 50
    with jax.enable_x64(True):
        columns = {"n_items": np.array([items, items]), "samples": np.array([1.0, 8.0])}
        of = noise.distribution(np.array([p, p]), columns, tail=tail, rise=rise)
        found = np.asarray(of.log_prob(np.array([3, 3])))
        a, b = shapes(np.log(p / (1 - p)), tail, rise)
    assert found[0] == pytest.approx(stats.betabinom(items, float(a), float(b)).logpmf(3), rel=1e-6)
    assert found[1] == pytest.approx(stats.binom(items, p).logpmf(3), rel=1e-5)
    assert float(a / (a + b)) == pytest.approx(p, rel=1e-12)


RUN = pd.DataFrame({"params": np.geomspace(1e8, 1e10, 6), "tokens": np.geomspace(2e9, 1e12, 6)[::-1],
                    "n_items": 164, "n_correct": [9, 12, 30, 41, 60, 80], "samples": 1})  # fmt: skip


@pytest.mark.parametrize(("model", "more"), [("pass-at-k", {}), ("train-to-test", {"loss": np.linspace(3, 2, 6)})])
def test_counts_over_all_problems_are_refused_as_tries_at_one(model: str, more: dict) -> None:
    """Pass@1 of a benchmark of 164 problems, one row a run, is no count of tries at one problem."""
    table = RUN.assign(**more)
    with pytest.raises(RunsError, match=r"(?s)one row a run with samples = 1.*up to 164 items.*one problem a row"):
        bs.model(model, bs.load_runs(table, loss_unit="nats"))
    bs.model(model, bs.load_runs(table.assign(problem=[f"p{i}" for i in range(6)]), loss_unit="nats"))
    bs.model(model, bs.load_runs(table.assign(samples=100), loss_unit="nats"))  # solved within 100: items are problems


def test_rows_of_one_problem_each_are_read(runs: bs.Runs) -> None:
    bs.model("pass-at-k", bs.load_runs(runs.frame.drop(columns="problem"), name="monkeys"))
    own = {"math": {"response": "pass-at-k", "noise": "difficulty"}}
    spec = bs.make_spec("own", law="power", inputs=["params"], responses=own)
    names = {"n_items": "math_n_items", "n_correct": "math", "samples": "math_samples"}
    with pytest.raises(RunsError, match="one row a run with math_samples = 1"):
        bs.model(spec, bs.load_runs(RUN.rename(columns=names)))
    each = pd.concat([RUN.assign(n_items=50, n_correct=n) for n in (3, 40)], ignore_index=True)
    bs.model(spec, bs.load_runs(each.rename(columns=names)))


def test_a_loss_that_each_problem_of_a_run_repeats_is_refused() -> None:
    """Six runs of ten problems have six losses, and not sixty."""
    losses = np.linspace(3.0, 2.0, 6)
    each = [RUN.assign(run_id=[f"r{i}-p{j}" for i in range(6)], n_items=50, n_correct=j) for j in range(10)]
    table = pd.concat(each, ignore_index=True)
    repeated = table.assign(loss=np.tile(losses, 10))
    with pytest.raises(RunsError, match=r"(?s)row 6 .* repeats the loss .*54 rows.*once, in a table of observations"):
        bs.model("train-to-test", bs.load_runs(repeated, loss_unit="nats"))
    once = pd.DataFrame({"run_id": table["run_id"][:6], "response": "loss", "value": losses})
    bs.model("train-to-test", bs.load_runs(table, observations=once, loss_unit="nats"))
    # Two runs of one size have a loss each.
    bs.model("train-to-test", bs.load_runs(pd.concat([RUN.assign(loss=losses + by, problem="p") for by in (0, 0.01)]),
                                           loss_unit="nats"))  # fmt: skip
    bs.model("additive", bs.load_runs(repeated, loss_unit="nats"))


@pytest.mark.parametrize("model", ["pass-at-k", "train-to-test"])
def test_a_simulated_row_is_one_problem(model: str) -> None:
    found = simulate(bs.load_spec(model), simulations=20, seed=0)
    bs.model(found.spec, next(iter(found.tables.values())))


def voted(votes: float) -> tuple[float, np.ndarray]:
    """The share by the part, and over draws of problems, for shapes at a mean of 0.3 and a rival at odds of 0.6."""
    of, nats, tail, rise, rival = part("responses", "majority-vote"), 1.2, 0.8, 0.3, 0.6
    with jax.enable_x64(True):
        at = {"tail": tail, "rise": rise, "rival": rival}
        found = float(of.location(np.log([nats]), {"votes": np.array([votes])}, **at)[0])
        a, b = (float(x) for x in shapes(-nats - np.log(-np.expm1(-nats)), tail, rise))
    p = np.random.default_rng(0).beta(a, b, 200_000)
    odds, sharpness = np.log(p / (1 - p)), np.sqrt(1 + (votes - 1) * 2 / np.pi)
    return found, expit(odds + (sharpness - 1) * (odds - np.log(rival)))


@pytest.mark.parametrize("votes", [1.0, 25.0, 1e3])
def test_a_vote_is_the_mean_over_problems(votes: float) -> None:
    found, drawn = voted(votes)
    assert found == pytest.approx(drawn.mean(), abs=4 * drawn.std() / np.sqrt(len(drawn)) + 1e-3)


def test_a_vote_of_one_is_a_sample_and_many_votes_saturate() -> None:
    found = [voted(votes)[0] for votes in (1.0, 1e3, 1e6)]
    assert found[0] == pytest.approx(np.exp(-1.2), rel=1e-3)
    assert abs(found[2] - found[1]) < 0.01  # a thousand samples solve all but 4 in a million


@pytest.mark.parametrize("share", [0.8, 0.9, 0.99])
def test_a_vote_on_an_easy_benchmark_counts_problems_that_every_sample_solves(share: float) -> None:
    """At these shapes much of the Beta lies so near 1 that no grid of log odds reaches it."""
    of, at = part("responses", "majority-vote"), {"tail": 0.25, "rise": 0.3, "rival": 0.3}
    with jax.enable_x64(True):
        one, many = np.asarray(of.location(np.log(-np.log([share] * 2)), {"votes": np.array([1.0, 100.0])}, **at))
    assert one == pytest.approx(share, abs=1e-3)
    assert share < many < 1


def test_shares_keep_their_digits_where_problems_are_hard_and_stay_below_1_where_they_are_easy() -> None:
    of, nats = part("responses", "pass-at-k"), np.array([16.0, 20.0, 25.0])
    with jax.enable_x64(True):
        hard = np.asarray(of.location(np.log(nats), {"samples": np.ones(3)}, tail=0.25, rise=0.3))
        easy = of.location(np.log(-np.log([0.9])), {"samples": np.array([1e6])}, tail=0.25, rise=0.6)
        columns = {"n_items": np.array([10.0]), "samples": np.array([1.0])}
        density = float(part("noise", "difficulty").distribution(easy, columns, tail=0.25, rise=0.6).log_prob(10.0)[0])
        easy = float(easy[0])
    np.testing.assert_allclose(hard, np.exp(-nats), rtol=1e-3)
    assert easy < 1
    assert np.isfinite(density)


def test_a_vote_between_two_answers_is_binomial_near_even_odds() -> None:
    """Of 25 votes at a probability of 0.5 and 0.6: the sharpness has the slope of the Binomial at even odds."""
    with jax.enable_x64(True):
        sharpness = np.sqrt(1 + 24 * 2 / np.pi)
    for p in (0.5, 0.55, 0.6):
        exact = stats.binom(25, p).sf(12)
        assert 1 / (1 + np.exp(-sharpness * np.log(p / (1 - p)))) == pytest.approx(exact, abs=0.02)


def test_thinking_follows_a_power_at_first_and_a_plateau_at_last() -> None:
    law = part("laws", "thinking")
    with jax.enable_x64(True):
        logs = np.log(np.array([1e-5, 1e-4, 1e4, 1e5]))
        found = np.asarray(law.log_loss(logs, level=1.0, limit=1.0, exponent=0.3))
    np.testing.assert_allclose(np.diff(found)[[0, 2]] / np.log(10), [-0.3, 0.0], atol=1e-4)


@pytest.mark.slow
def test_params_are_recovered_from_simulated_problems(runs: bs.Runs) -> None:
    """Counts drawn from known shapes; z of each parameter is standard Normal."""
    truth = {"level": 1.1, "exponent": 0.12, "tail": 0.21, "rise": 0.36}
    frame, anchor = runs.frame.copy(), dict(bs.load_spec("pass-at-k").anchor)
    nats = anchor["loss"] * truth["level"] * (frame["params"] / anchor["params"]) ** -truth["exponent"]
    with jax.enable_x64(True):
        a, b = shapes(np.asarray(-nats - np.log(-np.expm1(-nats))), truth["tail"], truth["rise"])
    frame["n_correct"] = stats.betabinom(10_000, np.asarray(a), np.asarray(b)).rvs(random_state=0)
    found = bs.fit(bs.load_runs(frame.drop(columns="score")), "pass-at-k", seed=0, draws=250)
    z = [(found.summary.loc[name, "mean"] - value) / found.summary.loc[name, "sd"] for name, value in truth.items()]
    assert found.converged
    assert np.abs(z).max() < 4
