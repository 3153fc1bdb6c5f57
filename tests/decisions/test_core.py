"""The core of decisions: three functions make a decision; one solver, one choice and one command serve all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner

import bayescale as bs
from bayescale.cli import main
from bayescale.cli.decide import _draw, command, written
from bayescale.core.errors import QueryError
from bayescale.core.quantities import count
from bayescale.decisions.base import AbstractDecision, draws_by_action, quantiles, setting, settings_of
from bayescale.decisions.choice import best, preferred
from bayescale.decisions.risk import RISKS, CVaR, Mean, MinimaxRegret, Quantile, risk_of

# Four draws, three actions: the first is best on average, the second in the worst draw, the third by regret's worst.
UTILITY = np.array([[0.0, 4.0, 3.0], [20.0, 4.0, 9.0], [20.0, 4.0, 11.0], [8.0, 5.0, 12.0]])


@dataclass(frozen=True)
class Exponent(AbstractDecision):
    """Name a guess of the exponent of params; what is lost is its squared error."""

    highest: float = setting("number", "Largest guess.", default=0.6)
    steps: int = setting("integer", "How many guesses.", default=61)

    name = "exponent"
    source = "squared error: the best guess is the mean"
    unit = "1"

    def actions(self, fit: bs.Fit) -> pd.DataFrame:
        return pd.DataFrame({"guess": np.linspace(0.0, self.highest, self.steps)})

    def outcome(self, fit: bs.Fit, actions: pd.DataFrame, scope: str) -> xr.DataArray:
        truth = fit.posterior["alpha_N"].to_numpy().reshape(-1, 1)
        return draws_by_action(actions["guess"].to_numpy() - truth)

    def utility(self, outcome: xr.DataArray, actions: pd.DataFrame) -> xr.DataArray:
        return -(outcome**2)


def test_a_decision_of_three_functions_is_solved(chinchilla_fit: bs.Fit) -> None:
    choice = bs.decide(Exponent(steps=6001), chinchilla_fit)
    alpha = chinchilla_fit.posterior["alpha_N"].to_numpy().ravel()
    assert choice.action["guess"] == pytest.approx(alpha.mean(), abs=1e-4)  # the grid's step
    assert choice.regret == pytest.approx(alpha.var(), abs=1e-7)
    assert choice.evpi == pytest.approx(choice.regret)  # of the action of highest expected utility
    assert choice.hindsight["guess"]["q95"] == pytest.approx(np.quantile(alpha, 0.95), abs=1e-4)
    said = choice.to_dict()
    assert (said["decision"], said["risk"], said["settled"]) == ("exponent", "mean", True)
    assert (said["highest"], said["guess"], said["verdict"]) == (0.6, choice.action["guess"], "converged")
    assert json.loads(json.dumps(said)) == said
    assert repr(choice).startswith("Decision exponent\n")
    assert "\n  choose       guess 0." in repr(choice)


def test_no_action_is_an_error(chinchilla_fit: bs.Fit) -> None:
    with pytest.raises(QueryError, match="no action to choose"):
        bs.decide(Exponent(steps=0), chinchilla_fit)


@pytest.mark.parametrize(
    ("risk", "scores", "chosen"),
    [
        (Mean(), [12.0, 4.25, 8.75], 0),
        (CVaR(0.25), [0.0, 4.0, 3.0], 1),  # the worst draw of four
        (CVaR(0.5), [4.0, 4.0, 6.0], 2),
        (Quantile(0.75), [6.0, 4.0, 7.5], 2),  # linear between order statistics
        (MinimaxRegret(), [-4.0, -16.0, -11.0], 0),
    ],
    ids=["mean", "worst quarter", "worst half", "quantile", "minimax regret"],
)
def test_attitudes_to_risk_are_their_definitions(risk, scores: list[float], chosen: int) -> None:
    assert risk.score(UTILITY) == pytest.approx(scores)
    every = np.ones(3, bool)
    found = best(UTILITY, 2, preferred(risk, UTILITY, every), every)
    assert found.action == chosen
    assert found.expected == pytest.approx(UTILITY[:, chosen].mean())
    assert found.regret == pytest.approx((UTILITY.max(axis=1) - UTILITY[:, chosen]).mean())


def test_every_attitude_prefers_what_is_better_in_every_draw() -> None:
    better = np.column_stack([UTILITY[:, 0], UTILITY[:, 0] + 1.0])
    assert {name for name, risk in RISKS.items() if risk().score(better).argmax() == 1} == set(RISKS)


def test_an_attitude_moves_every_action_alike_with_the_utility() -> None:
    for name, risk in RISKS.items():
        moved = risk().score(3.0 * UTILITY + 7.0)
        shift = 0.0 if name == "minimax" else 7.0  # a regret does not see what all actions have in common
        assert moved == pytest.approx(3.0 * risk().score(UTILITY) + shift), name


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.1, 2.0])
def test_shares_out_of_range_are_refused(bad: float) -> None:
    for kind in (CVaR, Quantile):
        with pytest.raises(QueryError, match="out of range"):
            kind(bad)


def test_an_unknown_attitude_is_refused_with_the_nearest() -> None:
    with pytest.raises(QueryError, match="'minimax'"):
        risk_of("minmax")


@pytest.fixture(scope="module")
def saved(chinchilla_fit: bs.Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chinchilla_fit.save(tmp_path_factory.mktemp("fits") / "fit.nc")


def test_a_command_is_made_from_the_settings_of_a_decision(saved: Path, chinchilla_fit: bs.Fit) -> None:
    made = command("exponent", "Name a guess.", settings_of(Exponent), lambda: Exponent)
    words = CliRunner().invoke(made, ["--help"]).stdout
    assert all(text in words for text in ("--highest", "Largest guess.", "--steps", "--risk", "--json"))
    done = CliRunner().invoke(made, [str(saved), "--steps", "13", "--risk", "cvar", "--json"])
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert (found["steps"], found["risk"]) == (13, "cvar")
    assert found["guess"] == bs.decide(Exponent(steps=13), chinchilla_fit, bs.risk.CVaR()).action["guess"]
    assert CliRunner().invoke(made, [str(saved), "--steps", "many"]).exit_code == 2


def test_decisions_are_listed_by_their_files_without_loading_any(monkeypatch) -> None:
    monkeypatch.setattr("bayescale.parts.catalogue.find", None)
    listed = CliRunner().invoke(main, ["decide", "--help"]).stdout
    assert "allocation" in listed
    assert "how to split a FLOP budget between params and tokens" in listed


def test_every_file_of_a_decision_is_called_as_the_decision() -> None:
    from bayescale.parts.catalogue import catalogue

    group = main.commands["decide"]
    assert isinstance(group, click.Group)
    decisions = catalogue("bayescale.decisions")
    assert group.list_commands(click.Context(group)) == list(decisions)
    for name, decision in decisions.items():  # what the source says is what the class has
        assert written(name)[1] == settings_of(decision)


def test_every_decision_is_exported_and_says_its_unit_and_source() -> None:
    from bayescale.parts.catalogue import catalogue

    for name, decision in catalogue("bayescale.decisions").items():
        assert getattr(bs, decision.__name__) is decision, name
        assert decision.source
        assert decision.unit


DECISIONS = [
    ("allocation", {"flops": "1e23", "hardware": "H100"}),
    ("lifetime", {"like": "13B", "demand": "2e12"}),
    ("fixed-params", {"params": "7B", "worth": "1e25"}),
    ("data-cap", {"flops": "1e24", "unique_tokens": "2T"}),
    ("target", {"loss": 2.0}),
    ("threshold", {}),
    ("split", {"flops": "1e23", "gains": {"inference": "0.01"}}),
]


@pytest.fixture(scope="module")
def disagreeing(chinchilla: bs.Runs, chinchilla_fit: bs.Fit) -> bs.Fit:
    """A fit whose chains disagree about the level of the loss."""
    apart = chinchilla_fit.posterior.copy(deep=True)
    apart["level"][0] *= 1.01
    return bs.Fit.from_samples(apart, "additive", chinchilla)


@pytest.mark.parametrize(("name", "settings"), DECISIONS)
def test_no_decision_recommends_anything_from_chains_that_disagree(name, settings, disagreeing: bs.Fit) -> None:
    withheld = bs.decide(name, disagreeing, **settings)
    assert repr(withheld).startswith("NOT CONVERGED: no recommendation\n")
    with pytest.raises(AttributeError, match="there is no recommendation, so there is no action"):
        _ = withheld.action
    found = withheld.to_dict()
    answers = withheld.provisional.to_dict().keys() - {*withheld.asked, "verdict"}
    assert answers
    assert all(found[key] is None for key in answers)
    assert "level" in " ".join(found["reasons"])


@pytest.mark.parametrize(("name", "settings"), DECISIONS)
def test_every_choice_has_its_keys_and_nothing_that_json_cannot_hold(name, settings, chinchilla_fit: bs.Fit) -> None:
    choice = bs.decide(name, chinchilla_fit, **settings)
    found = choice.to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert {"decision", "risk", "settled", "by_risk", "limits_that_bind", "verdict"} <= found.keys()
    assert set(found["by_risk"]) == set(RISKS)
    words = " ".join(repr(choice).split())  # its lines are wrapped
    assert choice.problem in words
    assert "verdict" in words


@pytest.mark.parametrize(
    ("name", "settings", "flops"),
    [
        ("lifetime", {"like": "130B", "demand": "2e12"}, lambda c: 6 * c.params * float(np.median(c.run_tokens))),
        ("fixed-params", {"params": "7B", "worth": "1e27"}, lambda c: c.action["flops"]),
        ("data-cap", {"flops": "1e24", "unique_tokens": "2T"}, lambda c: 1e24),
        ("split", {"flops": "1e23", "gains": {"inference": "0.01"}}, lambda c: 1e23 * c.action["pretraining"]),
    ],
)
def test_a_choice_says_how_far_it_reaches_beyond_the_runs(name, settings, flops, chinchilla_fit: bs.Fit) -> None:
    choice = bs.decide(name, chinchilla_fit, **settings)
    decades = np.log10(flops(choice) / chinchilla_fit.design_frame["flops"].max())
    assert decades > 0.1
    assert choice.to_dict()["reach_decades"] == pytest.approx(decades)
    assert f"up to {count(10**decades, 2)} times the compute of the largest run" in choice.problem


def test_an_allocation_under_caution_is_another_action_of_the_same_matrix(chinchilla_fit: bs.Fit) -> None:
    calm, wary = (bs.decide(bs.Allocation("5.76e23"), chinchilla_fit, risk) for risk in (None, CVaR(0.1)))
    assert calm.by_risk == wary.by_risk
    assert wary.action["params"] == wary.by_risk["cvar"]["params"]
    assert wary.regret >= calm.regret  # nothing has less regret than the highest expected utility
    assert wary.evpi == calm.evpi
    assert "chosen by the highest expected utility in the worst tenth of the draws" in repr(wary)


@dataclass(frozen=True)
class Given(AbstractDecision):
    """Choose a column of a matrix of utilities."""

    name = "given"
    source = "a test"
    unit = "1"
    scoped = False

    def actions(self, fit: bs.Fit) -> pd.DataFrame:
        return pd.DataFrame({"column": ["a", "b", "c"]})

    def outcome(self, fit: bs.Fit, actions: pd.DataFrame, scope: str) -> xr.DataArray:
        return draws_by_action(np.tile([[0.0, 5.0, 10.0], [8.0, 2.0, -100.0]], (500, 1)))

    def utility(self, outcome: xr.DataArray, actions: pd.DataFrame) -> xr.DataArray:
        return outcome


def test_other_attitudes_are_compared_over_all_actions(chinchilla_fit: bs.Fit) -> None:
    """Largest regrets are 10, 6 and 108; between the first two actions alone they are 5 and 6."""
    choice = bs.decide(Given(), chinchilla_fit)
    assert choice.action["column"] == "a"
    assert choice.by_risk["minimax"]["column"] == "b"
    assert "minimax: column b" in repr(choice)


def test_the_value_of_perfect_information_does_not_depend_on_the_attitude(chinchilla_fit: bs.Fit) -> None:
    calm, wary = (bs.decide(bs.Allocation("5.76e23"), chinchilla_fit, risk) for risk in (None, Quantile(0.9)))
    assert wary.regret_nats > calm.regret_nats
    name = "value_of_perfect_information_nats"
    assert wary.to_dict()[name] == calm.to_dict()[name] == pytest.approx(calm.regret_nats)


def test_quantiles_of_draws_that_are_infinite_are_not_nan() -> None:
    assert quantiles(np.full(10, np.inf)) == {"q05": np.inf, "q50": np.inf, "q95": np.inf}
    assert quantiles(np.array([1.0, 2.0, 3.0, np.inf])) == {"q05": 1.0, "q50": 2.0, "q95": np.inf}


def test_the_text_of_a_choice_fits_a_page(chinchilla_fit: bs.Fit) -> None:
    first, *rows = repr(bs.decide(bs.Allocation("5.76e23"), chinchilla_fit)).splitlines()
    assert first.startswith("Allocation of 5.76e+23 FLOP")
    assert 90 < max(map(len, rows)) <= 100
    labels = {row[2:14].strip() for row in rows}
    assert labels >= {"", "train", "regret", "verdict", "excluded"}  # "": the rest of a line, under its text


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(QueryError, match="cannot write figures"):
        _draw(None, tmp_path / "file" / "figures")
