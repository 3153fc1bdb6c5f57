"""When an answer is settled: the same rule and the same words on the command line and at the top of a report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from known import CHAINS, DRAWS, known_fit

import bayescale as bs
from bayescale.decisions.allocation import Split
from bayescale.decisions.influence import Change, Few, Sway, effects
from bayescale.decisions.waste import TOLERANCE, why_care
from bayescale.evaluation.checks.base import FAIL, PASS, REVIEW, Answer
from bayescale.reporting import pages, texts
from bayescale.reporting.front import CARE, GOOD, OPEN, Front, front

LAW = {"E": 1.8, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}
FLOPS = 1e21
RATIO = {"q05": 6.5, "q95": 89.0}


@pytest.fixture(scope="module")
def twelve() -> bs.Runs:
    """Twelve runs of one family."""
    params, ratio = (x.ravel() for x in np.meshgrid([60e6, 125e6, 350e6, 760e6], [8, 20, 50], indexing="ij"))
    loss = LAW["E"] + LAW["A"] * params ** -LAW["alpha"] + LAW["B"] * (ratio * params) ** -LAW["beta"]
    loss = loss * np.exp(0.005 * np.random.default_rng(0).standard_normal(len(params)))
    names = [f"r{i}" for i in range(len(params))]
    table = pd.DataFrame({"run_id": names, "params": params, "tokens": ratio * params, "loss": loss, "family": "ours"})
    return bs.load_runs(table, loss_unit="nats")


def choice_of(runs: bs.Runs, spread: float, decision: str = "allocation", **asked: Any) -> bs.Choice:
    """A choice under draws whose A and B scatter in opposite directions by this SD of their logs."""
    swing = np.exp(spread * np.random.default_rng(1).standard_normal((CHAINS, DRAWS)))
    fit = known_fit(runs, "additive", LAW | {"A": LAW["A"] * swing, "B": LAW["B"] / swing})
    choice = bs.decide(decision, fit, **(asked or {"flops": FLOPS}))
    assert isinstance(choice, bs.Choice)
    return choice


@pytest.fixture(scope="module")
def wide(twelve: bs.Runs) -> bs.Choice:
    """Its expected waste is large, although under the tenth of compute that a page once called settled."""
    choice = choice_of(twelve, 0.13)
    assert 0.03 < choice.waste_fraction < 0.1
    assert choice.settled
    return choice


def few(run: str = "r7", moves: tuple[str, ...] = ("tokens_per_param", "loss")) -> Few:
    return Few(f"1 run ({run})", 1, 0, (3.5e8, 3.5e8), (20.0, 20.0), moves, False, "--exclude")


def changed(
    after: float, sds: float, *, shape: float = 0.3, loss: float = 2.2501, runs: Few | None = None
) -> list[Change]:
    """What leaving out a run does to a ratio of 22.1 and a loss of 2.25."""
    of = runs or few()
    return [
        Change("tokens_per_param", of, FLOPS, 22.1, after, sds, shape),
        Change("loss", of, FLOPS, 2.25, loss, 0.1, shape),
    ]


def page_of(choice: bs.Choice, answers: list[Answer] | None = None) -> Front:
    return front(choice, [Answer("influence", PASS, "2 of 2 findings passed", "none")] if answers is None else answers,
                 title="ours")  # fmt: skip


def influence_of(page: Front) -> Answer:
    (line,) = [one for one in page.wrong if one.question == "influence"]
    return line


def test_the_banner_of_a_wide_answer_says_how_wide_it_is_and_which_run_it_depends_on(
    wide: bs.Choice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run moves the best ratio from 22.1 to 12.4, by less than a posterior SD: the check of influence passes."""
    monkeypatch.setattr(Split, "influence", changed(12.4, 0.8))
    page, best = page_of(wide), wide.details.optimum["tokens_per_param"]
    assert page.state == CARE
    assert f"{best['q05']:.3g} to {best['q95']:.3g} tokens per param (90% interval)" in page.why
    assert f"may waste {100 * np.quantile(wide.details.waste[:, wide.best.action], 0.95):.2g}% of compute" in page.why
    assert page.depends.startswith("Without 1 run (r7): a median of 12.4 tokens per param instead of 22.1 (")
    markdown = texts.plain(page.depends)
    content = pages.Content(page, pages.Evidence((), (), ()), (), {}, {}, "1", "2", "c")
    head, _, rest = texts.as_markdown(content).partition(markdown)
    assert page.why.split(" tokens")[0] in head
    assert "##" not in head
    assert rest


def test_an_answer_within_the_tolerance_is_settled(twelve: bs.Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = choice_of(twelve, 0.02)
    monkeypatch.setattr(Split, "influence", changed(20.0, 0.4))
    page = page_of(choice)
    assert (page.state, page.why, page.depends, choice.care) == (GOOD, "", "", [])
    assert "care" not in dict(choice.lines)


def test_an_answer_that_is_not_settled_names_the_run_too(twelve: bs.Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = choice_of(twelve, 1.5)
    assert not choice.settled
    monkeypatch.setattr(Split, "influence", changed(12.4, 0.8))
    page = page_of(choice)
    assert page.state == OPEN
    assert page.depends.startswith("Without 1 run (r7): 0.56 times the tokens per param and ")
    assert choice.care == []  # it is not to be used


def test_of_the_runs_that_matter_the_banner_names_those_that_matter_most(
    wide: bs.Choice, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_ratio, of_loss = few("r1", ("tokens_per_param",)), few("r2", ("loss",))
    little, much = changed(20.0, 0.4, runs=of_ratio), changed(21.0, 0.1, loss=2.25, runs=of_loss)
    monkeypatch.setattr(Split, "influence", [*much, *little])
    assert "(r1)" in page_of(wide).depends  # none matters: the ratio is what is decided
    much[1] = Change("loss", of_loss, FLOPS, 2.25, 2.4, 3.0, 0.3)
    monkeypatch.setattr(Split, "influence", [*little, *much])
    assert "(r2)" in page_of(wide).depends


def test_if_only_marked_runs_were_left_out_their_line_is_the_only_one() -> None:
    marked = Few("1 run marked as excluded", 1, 1, (3.5e8, 3.5e8), (20.0, 20.0), (), True, "--where")
    (only,) = effects(changed(22.0, 0.1, runs=marked))
    assert only.runs == marked
    assert not only.large


@pytest.mark.parametrize(
    ("waste", "care"),
    [
        (np.full(100, TOLERANCE - 0.001), False),
        (np.full(100, TOLERANCE + 0.001), True),
        (np.where(np.arange(100) < 8, 0.2, 0.0), True),  # in more than 5% of the draws
        (np.where(np.arange(100) < 3, 0.2, 0.0), False),
        (np.where(np.arange(100) < 3, 3.0, 0.0), True),  # on average
    ],
)
def test_a_split_needs_care_for_a_waste_over_the_tolerance(waste: np.ndarray, care: bool) -> None:
    said = why_care(RATIO, waste)
    assert bool(said) is care
    assert "6.5 to 89 tokens per param" in said or not care


@pytest.mark.parametrize("alpha", [0.25, 0.35, 0.45])
def test_the_tolerance_is_a_ratio_that_is_wrong_by_a_factor_of_two(alpha: float) -> None:
    """For exponents that sum to 0.7, from the compute that the best split needs for the same reducible loss."""
    beta = 0.7 - alpha
    power = alpha * beta / (alpha + beta)

    def waste(factor: float) -> float:
        off = 0.5 * np.log(factor)  # of log params, at the same compute
        reducible = (beta * np.exp(alpha * off) + alpha * np.exp(-beta * off)) / (alpha + beta)
        return float(reducible ** (1 / power) - 1)

    assert max(waste(2.0), waste(0.5)) < TOLERANCE < min(waste(2.3), waste(1 / 2.3))


@pytest.mark.parametrize(
    ("after", "sds", "shape", "state", "action"),
    [
        (20.0, 0.4, 0.3, PASS, "none"),
        (20.0, 0.4, 0.9, PASS, "fit again without this run (--exclude) to confirm it"),
        (12.4, 0.8, 0.3, REVIEW, "look at this run; fit without it (--exclude), and report both answers"),
        (12.4, 0.8, 0.9, REVIEW, "look at this run; fit without it (--exclude), and report both answers"),
        (12.4, 1.8, 0.3, REVIEW, "look at this run; fit without it (--exclude), and report both answers"),
    ],
)
def test_what_to_do_agrees_with_what_is_said(
    after: float, sds: float, shape: float, state: str, action: str, wide: bs.Choice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Split, "influence", changed(after, sds, shape=shape))
    line = influence_of(page_of(wide))
    assert (line.state, line.action) == (state, action)
    assert "fit" not in line.sentence
    assert ("a rough estimate" in line.sentence) is (shape > 0.7)
    assert line.sentence.startswith("No large change; the largest is") is (state == PASS)
    assert line.sentence.startswith("No large change is over one posterior SD") is (state == REVIEW and sds < 1)


@pytest.mark.parametrize("sds", [0.8, 1.8])
@pytest.mark.parametrize("shape", [0.3, 0.9])
def test_the_command_line_and_the_page_say_the_same(
    sds: float, shape: float, wide: bs.Choice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Split, "influence", changed(12.4, sds, shape=shape))
    page, lines = page_of(wide), dict(wide.lines)
    assert wide.lines[0] == ("care", f"{page.word}: {page.why}".replace("Use", "use", 1))
    line = influence_of(page)
    said = f"{line.sentence}. Action: {line.action}"
    assert lines["influence"] == said[:1].lower() + said[1:]
    assert page.depends[1:-1] in lines["influence"]
    assert wide.to_dict()["care"] == page.why.split("; ")


def test_checks_of_the_page_are_further_reasons(wide: bs.Choice) -> None:
    page = page_of(wide, [Answer("residuals", FAIL, "2 of 2 findings failed", "look")])
    assert page.why == "; ".join([*wide.care, "the check of residuals fails"])


def test_another_decision_names_the_run_that_changes_it(twelve: bs.Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = choice_of(twelve, 0.05, "target", loss=2.3)
    found = [Sway(few("r7", ("choice",)), 0, cost=2e20, regret=1e20, shape=0.9)]
    monkeypatch.setattr(bs.Choice, "_left_out", found)
    page = page_of(choice)
    said = f"without 1 run (r7): choose {choice.name_of(0)}; {choice.name_of(choice.best.action)} would cost "
    assert page.depends.startswith(f"W{said[1:]}")
    assert (page.state, page.why) == (CARE, "; ".join(choice.care))
    line = influence_of(page)
    assert line.action == "look at this run; fit without it (--exclude), and report both answers"
    assert dict(choice.lines)["influence"] == f"w{line.sentence[1:]}. Action: {line.action}"
    found[0] = replace(found[0], cost=0.5e20)
    steady = page_of(choice)
    assert (steady.state, steady.depends) == (GOOD, "")
    assert (influence_of(steady).state, influence_of(steady).action) == (PASS, "none")
