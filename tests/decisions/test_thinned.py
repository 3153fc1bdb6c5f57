"""Some draws and actions of any choice as plain numbers: they hold the choice, and choose as the core does."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from known import CHAINS, DRAWS, SARDANA, known_fit

import bayescale as bs
from bayescale.decisions.base import AbstractDecision, draws_by_action, setting
from bayescale.decisions.risk import CVaR, Mean
from bayescale.decisions.thinned import ACTIONS, NEAR, Thinned, thinned

TAILS = [1.0, 0.75, 0.5, 0.25, 0.1]
SINGLE = 1e-6  # relative error of single precision, with room for a difference of two numbers


@dataclass(frozen=True)
class Given(AbstractDecision):
    """Choose a column of utilities, which are worse by a random amount in a run."""

    many: int = setting("integer", "Number of columns.", default=200)
    named: bool = setting("flag", "Whether places are text.", default=False)
    steepness: float = setting("number", "Cost of a unit from the best, squared.", default=1.0)
    bad: float = setting("number", "Added to the first draw of the first column.", default=0.0)

    name = "given"
    source = "a test"
    unit = "points"

    def actions(self, fit: bs.Fit) -> pd.DataFrame:
        places = np.linspace(1.0, 9.0, self.many)
        return pd.DataFrame({"place": [f"at {x:.3f}" for x in places] if self.named else places})

    def outcome(self, fit: bs.Fit, actions: pd.DataFrame, scope: str) -> xr.DataArray:
        rng, places = np.random.default_rng(0), np.linspace(1.0, 9.0, self.many)
        best = 5.0 + rng.standard_normal((CHAINS * DRAWS, 1))
        wider = rng.exponential(1.0, (CHAINS * DRAWS, 1)) * places if scope == "run" else 0.0
        away, off = places - 5.0, best - 5.0
        found = 2 * away * off - self.steepness * away**2 - off**2 - wider  # -(places - best)², where it is not steep
        found[0, 0] += self.bad
        return draws_by_action(found)

    def utility(self, outcome: xr.DataArray, actions: pd.DataFrame) -> xr.DataArray:
        return outcome


@pytest.fixture(scope="module")
def fit(chinchilla: bs.Runs) -> bs.Fit:
    return known_fit(chinchilla, "additive", SARDANA)


def of(choice: bs.Choice) -> Thinned:
    found = thinned(choice, TAILS)
    assert isinstance(found, Thinned)
    return found


@pytest.mark.parametrize("named", [False, True])
def test_the_numbers_are_those_of_the_choice(fit: bs.Fit, named: bool) -> None:
    choice = bs.decide(Given(named=named), fit)
    found, rows = of(choice), slice(None, None, 3)  # 334 of 1000 draws
    utility = choice.utility.to_numpy()[rows]
    regret = utility.max(axis=1, keepdims=True) - utility[:, found.columns]
    np.testing.assert_allclose(found.regret, regret, atol=SINGLE * found.scale)
    assert found.regret.min() >= 0.0
    run = choice.run_utility.to_numpy()[rows][:, found.columns]
    np.testing.assert_allclose(found.scale * found.run, run, atol=SINGLE * found.scale)
    assert len(found.columns) <= ACTIONS
    assert found.axis == ("" if named else "place")
    assert {choice.preferred(CVaR(tail) if tail < 1 else Mean()) for tail in TAILS} <= set(found.columns)


@pytest.mark.parametrize("tail", TAILS)
def test_it_chooses_as_the_core_does_on_the_same_draws(fit: bs.Fit, tail: float) -> None:
    choice = bs.decide(Given(), fit)
    found, rows = of(choice), slice(None, None, 3)
    utility = (choice.utility if tail == 1 else choice.run_utility).to_numpy()[rows][:, found.columns]
    score = (Mean() if tail == 1 else CVaR(tail)).score(utility)
    chosen = found.judged(tail)
    assert chosen["action"] == score.argmax()
    regret = found.regret[:, chosen["action"]]
    assert chosen["regret"] == pytest.approx(regret.mean())
    assert [chosen["q05"], chosen["q95"]] == pytest.approx(np.quantile(regret, [0.05, 0.95]))


def test_caution_is_about_runs_and_chooses_another_action(fit: bs.Fit) -> None:
    found = of(bs.decide(Given(), fit))
    calm, wary = (found.x[found.judged(tail)["action"]] for tail in (1.0, 0.1))
    assert calm == pytest.approx(5.0, abs=4 / np.sqrt(len(found.most)) + 0.04)  # errors of a mean, and a step
    assert wary < calm - 0.5  # where runs fall short by less


def test_actions_near_the_best_are_those_between_which_the_choice_matters_little(fit: bs.Fit) -> None:
    """The expected regret of x is 1 + (x - 5)², so it is at most twice the least within one of 5."""
    found = of(bs.decide(Given(), fit))
    near = found.x[found.near]
    assert NEAR == 2.0
    assert [near[0], near[-1]] == pytest.approx([4.0, 6.0], abs=0.25)


def test_levels_are_quantiles_of_the_regret_of_each_action(fit: bs.Fit) -> None:
    found = of(bs.decide(Given(), fit))
    np.testing.assert_array_equal(found.levels, np.quantile(found.regret, [0.05, 0.25, 0.75, 0.95], axis=0))


def test_without_an_axis_actions_stand_in_the_order_of_their_regret_and_the_worst_are_left_out(fit: bs.Fit) -> None:
    choice = bs.decide(Given(named=True), fit)
    found, mean = of(choice), choice.utility.to_numpy().mean(axis=0)
    assert (np.diff(mean[found.columns]) <= 0).all()
    assert found.columns[0] == mean.argmax()
    wanted = [choice.preferred(CVaR(tail)) for tail in TAILS[1:]]
    others = np.setdiff1d(found.columns, wanted)
    assert mean[others].min() > np.delete(mean, found.columns).max()


def test_along_an_axis_actions_are_even_and_reach_from_end_to_end_of_those_that_cost_little(fit: bs.Fit) -> None:
    """The expected regret is 1 + (x - 5)², at most 17 times the least, or .01 + 100 (x - 5)²: a quarter is kept."""
    choice = bs.decide(Given(), fit)
    found = of(choice)
    assert (found.columns[0], found.columns[-1]) == (0, 199)
    assert np.diff(found.columns).max() <= 4
    steep = of(bs.decide(Given(steepness=100.0), fit))
    assert [steep.x[0], steep.x[-1]] == pytest.approx([4.0, 6.0], abs=0.15)
    assert np.diff(steep.columns).max() == 1


def test_few_actions_have_no_axis_and_all_are_kept(fit: bs.Fit) -> None:
    found = of(bs.decide(Given(many=2), fit))
    assert found.axis == ""
    assert sorted(found.columns) == [0, 1]


def test_what_cannot_be_shown_says_why(fit: bs.Fit) -> None:
    lost = bs.decide(Given(many=2, bad=-np.inf), fit)
    assert thinned(lost, TAILS) == "fewer than two actions are allowed and have a finite utility in every draw"
    some = bs.decide(Given(many=3, bad=-np.inf), fit)
    assert 0 not in of(some).columns
    stubborn = replace(some, best=replace(some.best, action=0))
    assert thinned(stubborn, TAILS) == "the utility of the chosen action is not finite in every draw"


def test_plain_values_hold_the_numbers(fit: bs.Fit) -> None:
    found = of(bs.decide(Given(), fit))
    written = found.to_dict(TAILS)
    for name in ("law", "run", "most"):
        values = np.frombuffer(base64.b64decode(written[name]), "<f4").astype(float)
        np.testing.assert_array_equal(values, getattr(found, name).ravel())
    assert written["worst"] == [[1.0, 334], [0.75, 250], [0.5, 167], [0.25, 84], [0.1, 33]]
    same = replace(found, run=found.law)
    assert same.to_dict(TAILS)["run"] == ""
