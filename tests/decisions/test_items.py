"""Decisions on fits that have a score: what a score needs to know, and in which direction it is better."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import bayescale as bs
from bayescale.cli import main
from bayescale.core.errors import QueryError
from bayescale.decisions.goals import Goal, goal
from bayescale.decisions.surface import others_of
from bayescale.parts.catalogue import catalogue

ITEMS, CHANCE = 1000.0, 0.25
COUNT = 20
VARIED = {
    "n_items": {"n_items": np.where(np.arange(COUNT) % 2, ITEMS, 900.0)},
    "chance": {"chance": np.where(np.arange(COUNT) % 2, CHANCE, 0.5)},
}
"""Columns of the runs that differ between them, by the column that decisions then lack."""
RECIPE = {"n_items": ITEMS, "chance": CHANCE}


def table(**columns: Any) -> pd.DataFrame:
    """Twenty runs of one law, with an accuracy that rises."""
    params, ratio = (x.ravel() for x in np.meshgrid(np.geomspace(3e7, 3e9, 5), [5, 20, 80, 320], indexing="ij"))
    loss = 1.8 + 480 * params**-0.35 + 2100 * (params * ratio) ** -0.37
    correct = np.linspace(300, 700, COUNT).round()
    return pd.DataFrame({"params": params, "tokens": params * ratio, "loss": loss, "n_correct": correct,
                         "brier": np.linspace(0.7, 0.2, COUNT), "normalized_loss": loss - 5.5, "error_rate": loss / 10,
                         **RECIPE, **columns})  # fmt: skip


def fitted(responses: dict[str, str], sites: dict[str, float], **columns: Any) -> bs.Fit:
    """A fit from draws near one law and one curve of the score: the same draws at each call."""
    random = np.random.default_rng(0)
    values = {"level": 1.0, "ratio_A": 0.2, "ratio_B": 0.2, "alpha_N": 0.35, "beta_D": 0.37, "sigma": 0.01, **sites}
    draws = {name: at * np.exp(0.01 * random.standard_normal((4, 250))) for name, at in values.items()}
    spec = bs.make_spec("s", law="additive", responses={"loss": "gaussian", **responses}, pooling={"default": "none"})
    return bs.Fit.from_samples(draws, spec, bs.load_runs(table(**columns), loss_unit="nats", name="made"))


@pytest.fixture(scope="module")
def accurate() -> Callable[..., bs.Fit]:
    made: dict[str, bs.Fit] = {}

    def fit(varied: str = "") -> bs.Fit:
        curve = {"midpoint": 2.7, "width": 0.15, "ceiling": 0.9}
        if varied not in made:
            made[varied] = fitted({"accuracy": "binomial"}, curve, **VARIED.get(varied, {}))
        return made[varied]

    return fit


@pytest.mark.parametrize("varied", VARIED)
@pytest.mark.parametrize("decision", [
    bs.Allocation(flops="1e21"), bs.Split(flops=1e21, gains={"rl": "0.01"}), bs.Threshold(loss=2.0),
    bs.Target(loss=2.2),
], ids=lambda one: one.name)  # fmt: skip
def test_what_only_a_score_needs_is_not_asked_for_where_the_loss_decides(accurate, decision, varied: str) -> None:
    found, same = (bs.decide(decision, accurate(one)) for one in (varied, ""))
    pd.testing.assert_series_equal(found.action, same.action)
    assert found.regret == same.regret
    assert found.expected == same.expected  # of the run, with its noise


@pytest.mark.parametrize("varied", VARIED)
@pytest.mark.parametrize("decision", [bs.Threshold, bs.Target])
def test_what_a_score_needs_is_given_in_the_recipe(accurate, decision, varied: str) -> None:
    with pytest.raises(QueryError, match=rf"'accuracy' needs '{varied}'.*\n.*\n.*--recipe {varied}"):
        bs.decide(decision(score=0.6, response="accuracy"), accurate(varied))
    found, same = (bs.decide(decision(score=0.6, response="accuracy", recipe=given), accurate(one))
                   for one, given in ((varied, RECIPE), ("", {})))  # fmt: skip
    pd.testing.assert_series_equal(found.action, same.action)
    assert found.figures == same.figures


@pytest.mark.parametrize("varied", VARIED)
def test_pilots_are_scored_as_the_recipe_says(accurate, varied: str) -> None:
    """Every response of a pilot is simulated, also where the loss alone decides."""
    with pytest.raises(QueryError, match=rf"'accuracy' needs '{varied}'.*\n.*\n.*--recipe {varied}"):
        bs.decide(bs.NextRun("1e21"), accurate(varied))
    asked = ((varied, RECIPE), ("", {}), ("", {"n_items": 10.0}))
    found, same, fewer = (bs.decide(bs.NextRun("1e21", worth=0.0, recipe=given), accurate(one)).details.plane
                          for one, given in asked)  # fmt: skip
    pd.testing.assert_frame_equal(found, same)
    assert not np.allclose(fewer["pareto_k"], same["pareto_k"])  # ten items weight the draws differently


@pytest.mark.parametrize(("recipe", "says"), [
    ({"n_item": 10.0}, "one of: chance, n_items"),
    ({"chance": 2.0}, "a number from 0 to 0.99"),
    ({"n_items": 0.0}, "'n_items' of a recipe has no valid value"),
])  # fmt: skip
def test_a_recipe_that_cannot_be_is_refused(accurate, recipe: dict[str, float], says: str) -> None:
    with pytest.raises(QueryError, match=says):
        bs.decide(bs.Target(score=0.6, recipe=recipe), accurate("n_items"))


def test_the_command_takes_what_a_score_needs(accurate, tmp_path: Path) -> None:
    saved = str(accurate("n_items").save(tmp_path / "fit.nc"))
    command = ["decide", "target", saved, "--score", "0.6", "--recipe", "n_items", f"{ITEMS:g}", "--json"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    same = bs.decide(bs.Target(score=0.6), accurate())
    assert json.loads(done.stdout)["flops"] == pytest.approx(same.action["flops"])


@pytest.fixture(scope="module")
def brier() -> bs.Fit:
    return fitted({"brier": "gaussian-real"}, {"hardness": 0.5, "steepness": 3.0, "scatter": 0.01})


def test_a_brier_score_is_better_where_it_is_lower(brier: bs.Fit) -> None:
    choice = bs.decide(bs.Threshold(score=0.03, response="brier"), brier)
    flops = choice.actions["flops"]
    assert choice.action["flops"] == flops.max()
    assert choice.expected["q50"] < float(choice.outcome.median("draw").max())
    able = [row["capability"] for row in choice.figures["by_budget"]]
    assert able == sorted(able)
    assert able[0] < able[-1]


def test_the_tokens_of_a_brier_score_are_those_at_which_it_falls_to_it(brier: bs.Fit) -> None:
    goal = bs.Target(score=0.1, response="brier").goal(brier)
    sizes, lengths = np.log([1e9]), np.linspace(np.log(1e9), np.log(1e13), 80)
    found = np.exp(goal.tokens(brier, sizes, lengths, others_of(brier), "law"))[:, 0]
    drawn = np.flatnonzero(np.isfinite(found))[:50]
    for times, reached in ((0.9, False), (1.1, True)):
        tokens = found[drawn] * times
        queries = pd.DataFrame({"params": 1e9, "tokens": tokens}).assign(**others_of(brier))
        assert (goal.reached(goal.values(brier, queries, "law")[drawn, np.arange(len(drawn))]) == reached).all()


def test_losses_and_errors_fall_and_scores_rise() -> None:
    falling = {name for name, of in catalogue("bayescale.parts.responses").items() if of.falls or of.kind == "log"}
    assert falling == {"loss", "error_rate", "error-odds", "env-steps", "normalized-loss", "brier"}


@pytest.fixture(scope="module")
def gains() -> bs.Fit:
    """A loss relative to a unigram model, in nats/token, next to the loss."""
    return fitted({"normalized-loss": "gaussian-real"}, {"most_gain": 5.5, "scatter": 0.001})


def test_a_level_below_zero_is_reached_where_the_loss_is_that_much_above_the_gain(gains: bs.Fit) -> None:
    gain = gains.posterior["most_gain"].to_numpy().ravel()
    asked = bs.Target(score=-3.0, response="normalized-loss").goal(gains)
    assert str(asked) == "normalized-loss -3 nats/token"
    sizes, lengths = np.log([1e9]), np.linspace(np.log(1e8), np.log(1e13), 160)
    found = asked.tokens(gains, sizes, lengths, others_of(gains), "law")[:, 0]
    reached = np.isfinite(found) & (found > lengths[0])
    assert reached.mean() > 0.9
    queries = pd.DataFrame({"params": 1e9, "tokens": np.exp(found[reached])}).assign(**others_of(gains))
    loss = Goal(1.0).values(gains, queries, "law")[reached, np.arange(reached.sum())]
    np.testing.assert_allclose(loss, gain[reached] - 3.0, rtol=1e-6)
    choice = bs.decide(bs.Threshold(score=-3.0, response="normalized-loss"), gains)
    assert choice.figures["capability"] == str(asked)
    assert "normalized-loss -3 reached" in " ".join(repr(choice).split())


def test_an_error_rate_is_a_goal_in_its_own_unit_and_with_its_own_noise() -> None:
    """No response is called a loss there: the only one on a log scale is meant."""
    random = np.random.default_rng(0)
    values = {"level": 1.0, "ratio_A": 0.2, "ratio_B": 0.2, "alpha_N": 0.35, "beta_D": 0.37, "sigma": 0.2}
    spec = bs.make_spec("s", law="additive", responses={"error_rate": "gaussian"}, pooling={"default": "none"})
    drawn = {name: at * np.exp(0.01 * random.standard_normal((4, 250))) for name, at in values.items()}
    errors = bs.Fit.from_samples(drawn, spec, bs.load_runs(table(), loss_unit="nats", name="made"))
    asked = goal(errors, loss=0.25)
    assert (asked.response, str(asked)) == ("error_rate", "error_rate 0.25")
    queries = pd.DataFrame({"params": [1e9], "tokens": [1e11]}).assign(**others_of(errors))
    of_law, of_run = (np.log(asked.values(errors, queries, scope)[:, 0]) for scope in ("law", "run"))
    assert np.std(of_run - of_law) == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize(("made", "asked", "says"), [
    ("accurate", {"score": 60.0}, r"level of 'accuracy'(.|\n)*a share between 0 and 1(.|\n)*in per cent, it is 0.6"),
    ("accurate", {"score": np.nan}, "level of 'accuracy' is out of range"),
    ("accurate", {"loss": 0.5, "response": "accuracy"}, "is a score, not a loss"),
    ("accurate", {"loss": -1.0}, r"level of 'loss'(.|\n)*a positive number \(nats/token\)"),
    ("accurate", {"score": 0.5, "response": "loss"}, "is a loss, not a score"),
    ("accurate", {"score": 0.5, "loss": 2.0}, "one loss or one score"),
    ("gains", {"score": np.inf}, r"level of 'normalized-loss'(.|\n)*a finite number \(nats/token\)"),
])  # fmt: skip
def test_a_level_that_cannot_be_is_refused_with_what_is_expected(
    accurate, gains: bs.Fit, made: str, asked: dict[str, Any], says: str
) -> None:
    with pytest.raises(QueryError, match=says):
        goal(gains if made == "gains" else accurate(), **asked)
