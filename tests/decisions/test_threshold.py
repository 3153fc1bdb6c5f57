"""A threshold: how likely training compute crosses each rule, and the largest budget that stays below one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import bayescale as bs
from bayescale.cli import main
from bayescale.core.errors import QueryError, UnknownName
from bayescale.decisions.rules import rules
from bayescale.decisions.surface import noise, others_of
from bayescale.decisions.threshold import Threshold


@pytest.fixture(scope="module")
def choice(chinchilla_fit: bs.Fit) -> bs.Choice:
    decision = Threshold(restarts="lognormal(1.06, 0.03)", post_training="0.05", flops=9e24, loss=1.9)
    return bs.decide(decision, chinchilla_fit)


def judged(choice: bs.Choice) -> dict[str, dict]:
    return {one["rule"]: one for one in choice.figures["rules"]}


def test_compute_that_is_known_may_be_spent_up_to_the_threshold(chinchilla_fit: bs.Fit) -> None:
    """70B params stay below 1e25 FLOP up to 1e25 / (6 · 70e9) = 23.8T tokens."""
    choice = bs.decide(Threshold(params=70e9), chinchilla_fit)
    assert choice.action["flops"] == pytest.approx(1e25)
    assert choice.action["tokens"] == pytest.approx(23.8e12, rel=1e-3)
    assert choice.figures["most_tokens"] == pytest.approx(1e25 / 6 / 70e9)
    assert judged(choice)["eu-ai-act"]["crosses"] == 0.0
    assert choice.regret == 0.0  # the rule decides, not the law


def test_what_a_size_may_train_on_leaves_room_for_what_counts_besides(chinchilla_fit: bs.Fit) -> None:
    plan = Threshold(params=70e9, restarts="1.05", post_training="0.1")
    choice = bs.decide(plan, chinchilla_fit)
    assert choice.figures["most_tokens"] == pytest.approx(1e25 / (1.05 * 1.1) / 6 / 70e9)
    assert choice.figures["most_tokens"] == pytest.approx(choice.action["tokens"])
    assert judged(choice)["eu-ai-act"]["crosses"] == 0.0


@pytest.mark.parametrize(("restarts", "more"), [("1", "0.3"), ("1.02", "0.15"), ("1.15", "0.02"), ("1.3", "0")])
def test_a_budget_at_the_threshold_does_not_cross_it_by_rounding(chinchilla_fit, restarts: str, more: str) -> None:
    choice = bs.decide(Threshold(rule="us-eo-14110-biology", restarts=restarts, post_training=more), chinchilla_fit)
    assert judged(choice)["us-eo-14110-biology"]["crosses"] == 0.0


def test_the_budget_is_the_quantile_of_what_counts(choice: bs.Choice) -> None:
    multiple = choice.decision.multiple(choice.fit)
    assert multiple.mean() == pytest.approx(1.05 * 1.06 * np.exp(0.03**2 / 2), rel=1e-4)  # stratified draws
    assert choice.action["flops"] == pytest.approx(1e25 / np.quantile(multiple, 0.9), rel=1e-4)
    assert judged(choice)["eu-ai-act"]["crosses"] == pytest.approx(0.1, abs=1 / len(multiple))
    assert judged(choice)["eu-ai-act"]["planned_crosses"] == np.mean(9e24 * multiple > 1e25)


def test_every_rule_has_its_date_and_status_and_higher_thresholds_are_crossed_less(choice: bs.Choice) -> None:
    said = repr(choice)
    for name, rule in rules().items():
        assert f"{name} ({rule.status} as of {rule.as_of})" in said
    table = choice.figures["by_budget"]
    for name in rules():
        chances = [row[name] for row in table]
        assert chances == sorted(chances)  # in the order of budgets
    assert all(row["california-sb-53"] <= row["eu-ai-act"] <= row["us-eo-14110-biology"] for row in table)


def test_more_compute_is_more_capable_on_its_best_split(choice: bs.Choice) -> None:
    table = choice.figures["by_budget"]
    able = [row["capability"] for row in table]
    assert able == sorted(able)
    assert able[0] < 0.05 < 0.5 < able[-1]
    last, law = table[-1], {k: choice.fit.posterior[k].to_numpy()[:, ::2].ravel() for k in ("E", "A", "B")}
    a, b = (choice.fit.posterior[k].to_numpy()[:, ::2].ravel() for k in ("alpha_N", "beta_D"))
    curve = law["E"] + law["A"] * last["params"] ** -a + law["B"] * last["tokens"] ** -b
    assert last["capability_by_law"] == pytest.approx(np.mean(curve <= 1.9), abs=1e-3)
    luck = noise(choice.fit, choice.actions.assign(**others_of(choice.fit)))
    assert last["capability"] == pytest.approx(np.mean(curve * np.exp(luck) <= 1.9), abs=1e-3)  # a draw or two


def test_a_surer_budget_is_smaller(chinchilla_fit: bs.Fit) -> None:
    some, sure = (Threshold(restarts="lognormal(1.06, 0.03)", probability=p) for p in (0.5, 0.99))
    assert sure._largest(rules()["eu-ai-act"], chinchilla_fit) < some._largest(rules()["eu-ai-act"], chinchilla_fit)


def test_hours_that_are_fixed_spend_compute_by_utilisation(chinchilla_fit: bs.Fit) -> None:
    multiple = Threshold(hours_on="16384xH100").multiple(chinchilla_fit)
    assert np.median(multiple) == pytest.approx(1.0, rel=1e-3)
    assert 0.1 < multiple.std() < 0.3  # utilisation of 0.40 (0.06), and an overhead


def test_a_rule_that_is_not_in_force_is_said_not_to_bind(chinchilla_fit: bs.Fit) -> None:
    choice = bs.decide(Threshold(rule="us-eo-14110", params=70e9), chinchilla_fit)
    assert "us-eo-14110 is revoked: it does not bind" in repr(choice)


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"rule": "eu-act"}, UnknownName, "no rule is called 'eu-act'"),
        ({"probability": 0.0}, QueryError, "out of range"),
        ({"restarts": "normal(1, 0.1)"}, QueryError, "negative or zero"),
        ({"post_training": "some"}, QueryError, "cannot be read"),
    ],
)
def test_requests_that_cannot_be_read_are_refused(chinchilla_fit: bs.Fit, settings, error, says: str) -> None:
    with pytest.raises(error, match=says):
        bs.decide(Threshold(params=70e9, **settings), chinchilla_fit)


def test_the_command_says_what_python_says(choice: bs.Choice, tmp_path: Path) -> None:
    saved = str(choice.fit.save(tmp_path / "fit.nc"))
    command = ["decide", "threshold", saved, "--restarts", "lognormal(1.06, 0.03)", "--post-training", "0.05", "--json"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["flops"] == pytest.approx(choice.action["flops"])
    assert {one["rule"]: one["as_of"] for one in found["rules"]}["eu-ai-act"] == "2025-08-02"
    assert [text for _, text in choice.details.lines if len(text) > 92] == []
