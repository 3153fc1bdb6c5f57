"""A target: tokens and compute against the additive law, draw by draw, and impossible requests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import bayescale as bs
from bayescale.cli import main
from bayescale.core.errors import QueryError
from bayescale.decisions.goals import Goal, goal
from bayescale.decisions.surface import minimise, noise, others_of
from bayescale.decisions.target import Target

LEVEL = 2.0  # nats/token: 40 times the compute of the largest run
EXACT = 1e-6


@pytest.fixture(scope="module")
def law(chinchilla_fit: bs.Fit) -> dict[str, np.ndarray]:
    """E, A, B and the exponents of the draws that decisions use; each of shape (draw, 1)."""
    names = ("E", "A", "B", "alpha_N", "beta_D")
    return {name: chinchilla_fit.posterior[name].to_numpy()[:, ::2].reshape(-1, 1) for name in names}


@pytest.fixture(scope="module")
def choice(chinchilla_fit: bs.Fit) -> bs.Choice:
    return bs.decide(Target(loss=LEVEL), chinchilla_fit)


def reducible(law: dict[str, np.ndarray], luck: np.ndarray) -> np.ndarray:
    """Loss above the floor of the law that a run with this noise may have; shape (draw, 1)."""
    return LEVEL * np.exp(-luck)[:, None] - law["E"]


def tokens(law: dict[str, np.ndarray], params: np.ndarray, luck: np.ndarray) -> np.ndarray:
    """Tokens that each draw needs at each size; infinite where the size never gets there."""
    rest = reducible(law, luck) - law["A"] * params ** -law["alpha_N"]
    return np.where(rest > 0, (law["B"] / np.maximum(rest, 1e-9)) ** (1 / law["beta_D"]), np.inf)


def compute(law: dict[str, np.ndarray], luck: np.ndarray) -> np.ndarray:
    """Least compute of each draw: the inverse of the law's frontier."""
    a, b = law["alpha_N"], law["beta_D"]
    g = (a * law["A"] / (b * law["B"])) ** (1 / (a + b))
    k, gamma, rest = law["A"] * g**-a * (1 + a / b), a * b / (a + b), reducible(law, luck)
    return np.where(rest > 0, 6 * (k / np.maximum(rest, 1e-9)) ** (1 / gamma), np.inf)[:, 0]


@pytest.fixture(scope="module")
def luck(chinchilla_fit: bs.Fit, choice: bs.Choice) -> np.ndarray:
    """The noise of each draw on log loss: that of the law is the same at every run."""
    return noise(chinchilla_fit, choice.actions.assign(**others_of(chinchilla_fit)))


def test_each_draws_tokens_are_the_laws(chinchilla_fit: bs.Fit, law, luck) -> None:
    sizes, lengths = np.log([1e9, 3e10, 1e11]), np.linspace(np.log(1e9), np.log(1e15), 80)
    found = np.exp(Goal(LEVEL).tokens(chinchilla_fit, sizes, lengths, others_of(chinchilla_fit), "run"))
    exact = tokens(law, np.exp(sizes), luck)
    within = exact < 1e15
    assert (np.isfinite(found) == within).all()
    near = exact < 1e14  # closer to the asymptote the loss hardly depends on the tokens
    assert found[near] == pytest.approx(exact[near], rel=EXACT)


def test_the_least_compute_of_a_draw_is_the_frontiers(chinchilla_fit: bs.Fit, choice, law, luck) -> None:
    decision, sizes = choice.decision, np.log(choice.actions["params"].to_numpy()[:-1])
    needed = decision.needed(chinchilla_fit, sizes)
    exact = compute(law, luck)
    inside = exact < np.quantile(exact, 0.9)  # the optimum of others may be beyond the sizes
    _, least = minimise(sizes, np.where(np.isfinite(needed), sizes + needed, 100.0))
    assert 6 * np.exp(least[inside]) == pytest.approx(exact[inside], rel=EXACT)
    middle = np.quantile(exact, 0.5, method="inverted_cdf")
    assert choice.figures["flops_in_hindsight"]["q50"] == pytest.approx(middle, rel=EXACT)
    assert choice.figures["no_plan"] == pytest.approx(np.mean(exact > choice.figures["within"]), abs=1e-3)


def test_the_plan_is_the_cheapest_of_all_sizes(choice, law, luck) -> None:
    sizes = np.linspace(np.log(2e10), np.log(2e11), 2001)
    cost = 6 * np.exp(sizes) * np.quantile(tokens(law, np.exp(sizes), luck), 0.9, axis=0, method="inverted_cdf")
    assert cost.min() <= choice.action["flops"] < 1.002 * cost.min()  # over sizes, a quantile of draws has kinks
    own = np.quantile(tokens(law, np.array([choice.action["params"]]), luck), 0.9, method="inverted_cdf")
    assert choice.action["tokens"] == pytest.approx(own, rel=EXACT)
    assert choice.figures["reached"] == 0.9
    reaches = tokens(law, np.array([choice.action["params"]]), luck)[:, 0] <= choice.action["tokens"] * (1 + EXACT)
    assert reaches.mean() == pytest.approx(0.9, abs=1e-3)
    ended = choice.run_outcome.to_numpy()[:, choice.best.action]
    assert np.mean(ended <= LEVEL * (1 + EXACT)) == pytest.approx(0.9, abs=1e-3)


def test_to_be_surer_costs_more_and_to_stop_early_costs_less(choice) -> None:
    cost = choice.figures["flops_by_probability"]
    assert cost["0.5"] < cost["0.8"] < cost["0.9"] < cost["0.95"]
    assert cost["0.9"] == pytest.approx(choice.action["flops"])
    stopped = choice.figures["sequential_flops"]
    assert choice.figures["option_to_stop"] == pytest.approx(choice.action["flops"] - stopped)
    assert cost["0.5"] < stopped < choice.action["flops"]


def test_a_target_below_the_floor_is_a_probability_and_not_a_plan(chinchilla_fit: bs.Fit, law) -> None:
    assert law["E"].min() > 1.5
    choice = bs.decide(Target(loss=1.5), chinchilla_fit)
    assert not choice.settled
    assert (choice.figures["no_plan"], choice.figures["reached"]) == (1.0, 0.0)
    found = json.loads(json.dumps(choice.to_dict()))
    assert found["tokens"] is found["flops_in_hindsight"]["q50"] is found["flops_by_probability"]["0.5"] is None
    assert "nothing: no plan within" in repr(choice)


def test_compute_that_is_not_enough_is_a_smaller_probability(chinchilla_fit: bs.Fit, choice) -> None:
    less = bs.decide(Target(loss=LEVEL, within=2e23), chinchilla_fit)
    assert not less.settled
    assert 0 < less.figures["reached"] < 0.9
    assert less.figures["no_plan"] > choice.figures["no_plan"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "a loss or a score"),
        ({"loss": 2.0, "score": 0.5}, "one loss or one score"),
        ({"loss": -1.0}, "a positive number"),
        ({"loss": 2.0, "response": "accuracy"}, "no response 'accuracy'"),
        ({"score": 0.5}, "expected: a fit that has a score"),
        ({"loss": 2.0, "probability": 1.0}, "between 0 and 1"),
        ({"loss": 2.0, "within": 1e9}, "less than that of every run"),
    ],
)
def test_requests_that_cannot_be_read_are_refused(chinchilla_fit: bs.Fit, settings: dict, says: str) -> None:
    with pytest.raises(QueryError, match=says):
        bs.decide(Target(**settings), chinchilla_fit)


def test_a_limit_is_kept_and_costs(chinchilla_fit: bs.Fit, choice) -> None:
    small = bs.decide(Target(loss=LEVEL, limits={"sizes": "20B,30B"}), chinchilla_fit)
    assert small.action["params"] in (20e9, 30e9)
    assert small.action["flops"] > choice.action["flops"]
    (binds,) = small.limits
    assert binds.worth == pytest.approx(small.action["flops"] - choice.action["flops"])


def test_a_score_is_reached_from_below_and_a_loss_from_above(chinchilla_fit: bs.Fit) -> None:
    with pytest.raises(QueryError, match="which response"):
        goal(chinchilla_fit, score=0.5)
    assert goal(chinchilla_fit) is None
    up, down = Goal(0.5, "accuracy", falls=False, log=False), Goal(2.0)
    assert list(up.reached(np.array([0.4, 0.5, 0.6]))) == [False, True, True]
    assert list(down.reached(np.array([1.9, 2.0, 2.1]))) == [True, True, False]


def test_the_command_asks_for_a_lower_loss_which_costs_more(chinchilla_fit: bs.Fit, choice, tmp_path: Path) -> None:
    saved = str(chinchilla_fit.save(tmp_path / "fit.nc"))
    done = CliRunner().invoke(main, ["decide", "target", saved, "--loss", "1.98", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["flops"] > choice.action["flops"]
    assert found["no_plan"] >= choice.figures["no_plan"]
    assert (found["level"], found["probability"], found["settled"]) == (1.98, 0.9, True)
    assert [text for _, text in choice.details.lines if len(text) > 92] == []
