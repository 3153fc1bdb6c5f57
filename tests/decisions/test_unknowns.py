"""The worth of settling one unknown, against closed forms."""

from __future__ import annotations

import json

import numpy as np
import pytest

import bayescale as bs
from bayescale.core.quantities import count
from bayescale.decisions.bills import flop_price
from bayescale.decisions.hardware import hardware
from bayescale.decisions.unknowns import FORM, partial_information, unknowns_of
from bayescale.reporting.front import front

# Two actions, of utility 0 and of normal utility with mean 0.3 and SD 1. Perfect information is worth
# φ(0.3) - 0.3·(1 - Φ(0.3)).
PERFECT = 0.26676
DRAWS = 100_000


def test_settling_all_there_is_to_know_is_perfect_information_and_settling_nothing_is_worth_nothing() -> None:
    rng = np.random.default_rng(0)
    gain, other = rng.normal(0.3, 1.0, DRAWS), rng.normal(size=DRAWS)
    utility = np.column_stack([np.zeros(DRAWS), gain])
    table = partial_information(utility, {"other": other, "gain": gain}, np.ones(2, bool))
    assert list(table.index) == ["gain", "other"]
    # What a bin hides is below a share of 1/bins of its draws, those that surround the change of sign.
    assert table.loc["gain", "worth"] == pytest.approx(PERFECT, abs=4 * table.loc["gain", "mcse"] + 0.003)
    assert table.loc["other", "worth"] == pytest.approx(0.0, abs=4 * table.loc["other", "mcse"])
    assert (table.loc["gain", "choose_low"], table.loc["gain", "choose_high"]) == (0, 1)


def test_two_unknowns_that_add_up_share_the_worth_by_their_variance() -> None:
    rng = np.random.default_rng(1)
    large, small = rng.normal(0.3, 0.8, DRAWS), rng.normal(0.0, 0.6, DRAWS)
    utility = np.column_stack([np.zeros(DRAWS), large + small])
    table = partial_information(utility, {"small": small, "large": large}, np.ones(2, bool))
    for name, sd in (("large", 0.8), ("small", 0.6)):
        u = 0.3 / sd
        exact = sd * (np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi) - u * 0.5 * _upper(u))
        assert table.loc[name, "worth"] == pytest.approx(exact, abs=4 * table.loc[name, "mcse"] + 0.003)


def test_an_unknown_that_says_nothing_is_low_by_its_reported_bias() -> None:
    """Fifty actions of nearly the same mean: a choice by noisy means is often wrong, and the exact worth is 0."""
    rng = np.random.default_rng(5)
    utility = rng.normal(size=(2000, 50)) + 0.02 * rng.normal(size=50)
    table = partial_information(utility, {"nothing": rng.normal(size=2000)}, np.ones(50, bool))
    worth, bias, error = (float(table.loc["nothing", name]) for name in ("worth", "bias", "bias_mcse"))
    assert bias < -4 * error
    assert worth < -2 * table.loc["nothing", "mcse"]  # without its bias, it would seem significant
    assert worth == pytest.approx(bias, abs=4 * error * (20 + 1) ** 0.5)  # one more shuffle, against the mean of 20


def test_a_worth_is_between_its_estimate_and_that_less_the_bias() -> None:
    rng = np.random.default_rng(6)
    gain = rng.normal(0.3, 1.0, 4000)
    table = partial_information(np.column_stack([np.zeros(4000), gain]), {"gain": gain}, np.ones(2, bool))
    row = table.loc["gain"]
    error = 4 * row["mcse"] + 0.003
    assert row["bias"] <= 4 * row["bias_mcse"]
    assert row["worth"] - error < PERFECT < row["worth"] - row["bias"] + error


def _upper(u: float) -> float:
    from math import erfc, sqrt

    return erfc(u / sqrt(2))


def test_an_action_that_limits_exclude_is_not_chosen() -> None:
    utility = np.column_stack([np.zeros(100), np.ones(100), np.full(100, 5.0)])
    table = partial_information(utility, {"x": np.arange(100.0)}, np.array([True, True, False]))
    assert table.loc["x", "worth"] == 0
    assert table.loc["x", "choose_low"] == table.loc["x", "choose_high"] == 1


def test_a_fit_names_its_exponents_and_its_floor(chinchilla_fit: bs.Fit) -> None:
    choice = bs.decide(bs.Allocation("5.76e23"), chinchilla_fit)
    table = choice.unknowns
    assert set(table.index) == {"alpha_N", "beta_D", "E"}
    assert (table["worth"] <= choice.evpi + 4 * table["mcse"]).all()  # part of the information is worth no more
    assert table.loc["alpha_N", "worth"] > 4 * table.loc["alpha_N", "mcse"]
    # The additive law's split does not depend on its floor, but the floor goes with the exponents in the posterior.
    assert table.loc["E", "worth"] < table.loc["alpha_N", "worth"]


def test_an_average_has_its_form_as_an_unknown(chinchilla_fit: bs.Fit) -> None:
    both = bs.average({"a": chinchilla_fit, "b": chinchilla_fit}, {"a": 0.25, "b": 0.75})
    form = unknowns_of(both, 2000)[FORM]
    assert form.shape == (2000,)
    assert form.mean() == pytest.approx(0.75, abs=0.01)  # spread evenly over the draws


def test_a_value_of_one_draw_alone_has_no_half_to_choose_by() -> None:
    rng = np.random.default_rng(2)
    utility, form = rng.normal(size=(100, 2)), np.zeros(100)
    form[7] = 1.0
    table = partial_information(utility, {"form": form}, np.ones(2, bool))
    rest = partial_information(np.delete(utility, 7, axis=0), {"form": np.zeros(99)}, np.ones(2, bool))
    now = utility.mean(axis=0).argmax()
    assert now == np.delete(utility, 7, axis=0).mean(axis=0).argmax()
    assert table.loc["form", "worth"] == pytest.approx(0.99 * rest.loc["form", "worth"])


def test_nothing_unknown_is_an_empty_table() -> None:
    assert list(partial_information(np.zeros((4, 2)), {}, np.ones(2, bool))["choose_low"]) == []


def test_the_unknowns_that_are_worth_most_are_said_with_their_meaning(chinchilla_fit: bs.Fit) -> None:
    said = dict(bs.decide("allocation", chinchilla_fit, flops=5.76e23).lines)["settle"]
    assert "beta_D (exponent of tokens) 0." in said
    assert "alpha_N (exponent of params) 0." in said


def test_a_share_of_the_compute_is_worth_that_share_of_the_mean_bill(chinchilla_fit: bs.Fit) -> None:
    """Of an expected saving: the price does not depend on the law, so that means multiply."""
    choice = bs.decide(bs.Allocation("5.76e23", hardware="H100"), chinchilla_fit)
    table, paid = choice.unknowns, 5.76e23 * flop_price(hardware("H100"), len(choice.utility))
    assert paid.mean() > 1.05 * np.median(paid)  # the test can tell them apart
    assert (table["worth_dollars"] / table["worth_compute"]).dropna().to_numpy() == pytest.approx(paid.mean())
    saved = f"${count(paid.mean() * choice.waste_fraction)}, "
    assert f"Upper bound: {saved}" in " ".join(front(choice, [], title="").worth)


def test_what_it_is_worth_to_settle_each_unknown_is_in_the_json(chinchilla_fit: bs.Fit) -> None:
    choice = bs.decide(bs.Allocation("5.76e23", hardware="H100"), chinchilla_fit)
    said = json.loads(json.dumps(choice.to_dict(), allow_nan=False))["settle"]
    assert [one["unknown"] for one in said] == list(choice.unknowns.index)
    for one, (_, row) in zip(said, choice.unknowns.iterrows(), strict=True):
        assert {key: value for key, value in one.items() if key != "unknown"} == row.to_dict()
    assert {
        "q05",
        "q95",
        "choose_low",
        "choose_high",
        "worth",
        "mcse",
        "bias",
        "worth_compute",
        "worth_dollars",
    } < said[0].keys()
