"""What any choice would be without the runs that decide it: exact in a model of one mean."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from known import CHAINS, DRAWS, SARDANA, additive, known_fit
from scipy.stats import t as student

import bayescale as bs
from bayescale.decisions.choice import MOVED
from bayescale.decisions.influence import STEADY, Sway, influence, influence_lines, swayed
from bayescale.decisions.risk import CVaR, Mean
from bayescale.evaluation.checks.base import Answer
from bayescale.reporting.front import front

N = 40
STRAYS = [3, 4, 5, 6, 7]
ACTIONS = np.linspace(-1.0, 2.0, 301)


def values(high: float) -> np.ndarray:
    y = np.random.default_rng(0).normal(size=N)
    y[STRAYS] += high
    return y


def one_mean(high: float = 3.0, draws: int = 4000) -> tuple[Any, np.ndarray]:
    """The exact posterior of a mean under unit noise and a flat prior; five runs that lie together are too high."""
    y = values(high)
    mean = y.mean() + np.random.default_rng(1).normal(size=draws) / np.sqrt(N)
    likelihood = -0.5 * (y - mean[:, None]) ** 2
    runs = pd.DataFrame({"family": "A", "params": np.geomspace(1e8, 1e10, N), "tokens": 1e10, "exclusion": ""})
    tree = xr.DataTree.from_dict(
        {"log_likelihood": xr.Dataset({"loss": (("chain", "draw", "run"), likelihood.reshape(4, -1, N))})}
    )
    fit = SimpleNamespace(design_frame=runs, tree=tree)
    fit.members = {"mean": fit}
    return fit, -((ACTIONS - mean[:, None]) ** 2)


def sways(fit: Any, utility: np.ndarray, risk: Any = None, allowed: np.ndarray | None = None) -> list[Sway]:
    risk = risk or Mean()
    allowed = np.ones(len(ACTIONS), bool) if allowed is None else allowed
    columns = np.flatnonzero(allowed)
    chosen = int(columns[risk.score(utility[:, columns]).argmax()])
    regret = float(-utility[:, chosen].mean())
    return swayed(fit, "A", utility, risk, chosen, regret, allowed)


@pytest.mark.parametrize(("high", "reliable"), [(2.0, True), (4.0, False)])
def test_the_runs_that_decide_a_choice_are_found_with_the_choice_of_the_others(high: float, reliable: bool) -> None:
    """The mean of the others, or to first order the step towards it that counts all runs."""
    fit, utility = one_mean(high)
    y = values(high)
    (one,) = sways(fit, utility)
    assert one.runs.count == 5
    assert one.runs.params == (fit.design_frame["params"][3], fit.design_frame["params"][7])
    assert one.matters
    assert one.reliable is reliable
    moved = (np.delete(y, STRAYS).mean() if reliable else y.mean() - 5 * (y[STRAYS].mean() - y.mean()) / N) - y.mean()
    # Half a step of the grid, and two Monte Carlo errors: of a mean whose draws have weights, and of a covariance.
    assert ACTIONS[one.action] - y.mean() == pytest.approx(moved, abs=0.005 + 2 * 0.0075)
    assert one.cost == pytest.approx(moved**2, rel=0.15)
    to_do = one.runs.to_do(matters=False, reliable=False)
    assert to_do == "fit again without these runs to confirm it"  # which have no run_id


@pytest.mark.parametrize("risk", [Mean(), CVaR()], ids=["mean", "cvar"])
def test_marked_runs_are_named_although_others_decide_more(risk: Any) -> None:
    fit, utility = one_mean()
    fit.design_frame["exclusion"] = ["odd" if i == N - 1 else "" for i in range(N)]
    most, marked = sways(fit, utility, risk)
    assert (most.runs.marked, most.runs.all_marked) == (0, False)
    assert marked.runs.all_marked
    assert not marked.matters
    assert marked.cost < most.cost


def test_what_limits_forbid_is_not_chosen_without_the_runs_either() -> None:
    fit, utility = one_mean()
    allowed = ACTIONS > 0.2
    (one,) = sways(fit, utility, allowed=allowed)
    assert allowed[one.action]


def test_runs_without_a_value_decide_nothing_and_hide_nothing() -> None:
    """Where some runs lack a value, the likelihood is over the others."""
    fit, utility = one_mean()
    group = fit.tree["log_likelihood"].to_dataset().assign_coords(run=range(N))
    there = np.flatnonzero(np.arange(N) % 9 != 8)
    said = []
    for form in (group.where(group["run"].isin(there), 0.0), group.isel(run=there).rename(run="run_of_loss")):
        fit.tree = xr.DataTree.from_dict({"log_likelihood": form})
        said.append(sways(fit, utility))
    assert said[0] == said[1] != []


def test_too_few_runs_and_infinite_outcomes_have_no_answer() -> None:
    fit, utility = one_mean()
    assert sways(fit, np.where(ACTIONS > 1.9, -np.inf, utility)) is None
    assert sways(fit, np.where(ACTIONS > 1.9, -np.inf, utility), allowed=ACTIONS < 1.5)
    fit.design_frame = fit.design_frame.head(7)
    assert sways(fit, utility) is None


def test_a_decision_says_what_would_be_chosen_without_the_marked_runs(chinchilla_fit: bs.Fit) -> None:
    """All but an allocation, which gives the change of the split itself."""
    choice = bs.decide("target", chinchilla_fit, loss=2.1)
    (marked,) = [one for one in choice.sways if one.runs.all_marked]
    (said,) = [text for label, text in choice.lines if label == "influence" and "marked as excluded" in text]
    assert said.startswith(
        f"without 5 runs marked as excluded: {choice.without(marked)}; they have 2.0B to 6.8B params"
    )
    (written,) = [one for one in choice.to_dict()["influence"] if one["runs"]["all_marked"]]
    assert written["cost"] == marked.cost
    assert written["choose"]["params"] == choice.actions["params"].iloc[marked.action]
    assert bs.decide("allocation", chinchilla_fit, flops="1e24").sways == []


asked_of_any = pytest.mark.parametrize(
    "asked", [("allocation", {"flops": "1e24"}), ("target", {"loss": 2.1})], ids=lambda one: one[0]
)


@asked_of_any
def test_an_answer_says_whether_any_run_moves_it(chinchilla: bs.Runs, asked: tuple[str, dict[str, Any]]) -> None:
    """Draws that differ by a ten thousandth of the loss: all runs together could not move an answer."""
    name, ask = asked
    little = 1e-4 * np.random.default_rng(0).standard_normal((CHAINS, DRAWS))
    fit = known_fit(chinchilla, "additive", SARDANA | {"E": SARDANA["E"] * np.exp(little)})
    said = [text for label, text in bs.decide(name, fit, **ask).lines if label == "influence"]
    assert (
        said[-1].startswith("no large change; the largest is without") if name == "allocation" else said[-1] == STEADY
    )
    assert all("marked as excluded" in text for text in said[:-1])


@asked_of_any
def test_the_page_says_that_no_run_moves_the_answer_as_the_command_line_does(
    chinchilla: bs.Runs, asked: tuple[str, dict[str, Any]]
) -> None:
    """Draws that differ by a ten thousandth of the loss: all runs together could not move an answer."""
    little = 1e-4 * np.random.default_rng(0).standard_normal((CHAINS, DRAWS))
    fit = known_fit(chinchilla, "additive", SARDANA | {"E": SARDANA["E"] * np.exp(little)})
    choice = bs.decide(asked[0], fit, **asked[1])
    said = [text for label, text in choice.lines if label == "influence"][-1]
    for answers, shown in (
        ([], True),
        ([Answer("influence", "PASS", "3 of 3 findings passed", "none")], True),
        ([Answer("influence", "FAIL", "1 of 3 findings failed", "look")], False),
    ):
        page = front(choice, answers, title="")
        lines = [one.sentence for one in page.wrong if one.question == "influence"]
        assert lines == ([said[:1].upper() + said[1:]] if shown else ["1 of 3 findings failed"])
        assert {one.question: one.state for one in page.chips}["influence"] == ("PASS" if shown else "FAIL")
        assert MOVED not in page.why


def test_an_answer_that_a_run_moves_does_not_say_that_none_does(chinchilla_fit: bs.Fit) -> None:
    lines = bs.decide("allocation", chinchilla_fit, flops="1e24").lines
    assert not any("no large change" in text for _, text in lines)


def test_where_draws_cannot_be_reweighted_the_change_is_one_of_first_order_and_says_so(chinchilla: bs.Runs) -> None:
    """Draws that differ in A/B alone, far wider than the runs allow: a few of them carry all weights."""
    swing = np.exp(0.02 * np.random.default_rng(0).standard_normal((CHAINS, DRAWS)))
    law = SARDANA | {"A": SARDANA["A"] * swing, "B": SARDANA["B"] / swing}
    fit, flops = known_fit(chinchilla, "additive", law), 1e23
    changes = influence(fit, "Chinchilla", flops)
    (found,) = [one for one in changes if one.answer == "tokens_per_param" and not one.runs.all_marked]
    E, A, B, alpha, beta = additive(fit)
    best = (alpha * A / (beta * B)) ** (1 / (alpha + beta)) * (flops / 6) ** (beta / (alpha + beta))
    answer = np.log(flops / 6 / best**2).ravel()
    mine = fit.design_frame[fit.design_frame["run_id"].isin(re.findall(r"c\d+", found.runs.which))]
    assert len(mine) == 5
    expected = E + A * mine["params"].to_numpy() ** -alpha + B * mine["tokens"].to_numpy() ** -beta
    sigma, nu = (fit.posterior[name].to_numpy().reshape(-1, 1) for name in ("sigma", "nu"))
    left_out = student.logpdf(np.log(mine["loss"].to_numpy() / expected), nu, scale=sigma).sum(axis=1)
    first_order = -np.mean((answer - answer.mean()) * (left_out - left_out.mean()))
    assert np.log(found.after / found.before) == pytest.approx(first_order, rel=1e-3)
    assert found.shape > 0.7
    said = f", to first order; reweighting is not reliable here (Pareto shape {found.shape:.2f})"
    assert str(found).endswith(said)
    rough, marked = (line for _, line in influence_lines(changes))
    assert "; a rough estimate; they have" in rough
    assert rough.endswith(". Action: look at these runs; fit without them (--exclude), and report both answers")
    (excluded,) = {one.runs for one in changes if one.runs.all_marked}
    where = "--where 'exclusion=\"\"'"
    to_do = excluded.to_do(matters=True, reliable=False)
    assert to_do == f"fit again without these runs ({where}) to confirm it"
    assert len(to_do) <= 92
    assert "5 runs marked as excluded" in marked
    assert "rough" not in marked  # these can be reweighted
