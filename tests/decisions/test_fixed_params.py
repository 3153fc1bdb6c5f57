"""Fixed params: the closed form of each draw, the overhead, the loss of endless tokens, and dollars."""

from __future__ import annotations

import numpy as np
import pytest
from known import additive, known_fit

import bayescale as bs
from bayescale.core.errors import QueryError
from bayescale.decisions.fixed_params import FixedParams
from bayescale.decisions.hardware import hardware
from bayescale.parts.penalties.quantization import critical_tokens

PARAMS, WORTH = 8e9, 1e25  # the worth of a nat, in FLOP


@pytest.fixture(scope="module")
def choice(chinchilla_fit: bs.Fit) -> bs.Choice:
    return bs.decide(FixedParams(params="8B", worth=WORTH), chinchilla_fit)


def test_each_draw_stops_where_tokens_cost_what_they_gain(choice: bs.Choice) -> None:
    """v·βB·D^-β / D = 6·N."""
    E, A, B, alpha, beta = (x[:, 0] for x in additive(choice.fit))
    tokens = (WORTH * beta * B / (6 * PARAMS)) ** (1 / (1 + beta))
    loss = E + A * PARAMS**-alpha + B * tokens**-beta
    assert np.exp(choice.ln_optimum) == pytest.approx(tokens, rel=1e-6)
    assert choice.least_cost == pytest.approx(WORTH * loss + 6 * PARAMS * tokens, rel=1e-9)
    assert choice.action["tokens"] == pytest.approx(tokens.mean(), rel=0.03)  # flat: the mean is near, within a step
    assert choice.regret < 0.002 * 6 * PARAMS * tokens.mean()


def test_endless_tokens_leave_the_floor_and_the_term_of_params(choice: bs.Choice) -> None:
    E, A, _, alpha, _ = (x[:, 0] for x in additive(choice.fit))
    assert choice.endless == pytest.approx(E + A * PARAMS**-alpha, rel=1e-8)


def test_the_overhead_is_against_the_least_compute_for_the_loss(choice: bs.Choice) -> None:
    """C = 6·(K / (L - E))^(1/γ); and with k_N times the optimal params, k_D = (1 - (k_N^-α - 1)·β/α)^(-1/β)."""
    E, A, B, alpha, beta = (x[:, 0] for x in additive(choice.fit))
    ratio = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    least = 6 * (A * ratio**-alpha * (1 + alpha / beta) / (choice.loss - E)) ** (1 / alpha + 1 / beta)
    assert choice.overhead == pytest.approx(choice.action["flops"] / least - 1, rel=1e-6)
    k_N = PARAMS / (ratio * (least / 6) ** (beta / (alpha + beta)))
    assert choice.overhead == pytest.approx(k_N * (1 - (k_N**-alpha - 1) * beta / alpha) ** (-1 / beta) - 1, rel=1e-6)
    assert PARAMS / np.exp(choice.ln_optimal_params) == pytest.approx(k_N, rel=3e-5)  # where compute is flat


def test_more_worth_buys_more_tokens(chinchilla_fit: bs.Fit, choice: bs.Choice) -> None:
    twice = bs.decide(FixedParams(params="8B", worth=2 * WORTH), chinchilla_fit)
    beta = additive(chinchilla_fit)[4][:, 0]
    assert np.exp(twice.ln_optimum - choice.ln_optimum) == pytest.approx(2 ** (1 / (1 + beta)), rel=1e-6)


def test_dollars_and_an_uncertain_worth(chinchilla_fit: bs.Fit) -> None:
    plan = FixedParams(params="8B", worth="lognormal(1e7, 0.5)", hardware="H100", limits={"max_tokens": "1T"})
    choice, card = bs.decide(plan, chinchilla_fit), hardware("H100")
    assert plan.unit == "$"
    price = card.drawn(len(choice.loss), seed=0).dollars(1.0)[:, 0]
    worth = choice.unknowns.loc["worth"]
    assert worth["q05"] == pytest.approx(1e7 * np.exp(-1.645 * 0.5), rel=0.01)
    cost = -choice.utility.to_numpy()[:, choice.best.action] - choice.loss * plan._drawn(len(price))["worth"]
    assert cost == pytest.approx(price * choice.action["flops"], rel=1e-9)
    assert [one.name for one in choice.limits] == ["max_tokens"]
    assert choice.limits[0].worth > choice.limits[0].looser > 0
    assert f"as of {card.price.as_of}" in repr(choice)


@pytest.mark.parametrize("worth", ["0", "-1e20", "normal(1e24, 1e24)"])
def test_a_worth_that_is_not_positive_is_refused(worth: str) -> None:
    with pytest.raises(QueryError, match="must be worth something"):
        FixedParams(params="8B", worth=worth)


def test_a_limit_below_the_first_action_leaves_none(chinchilla_fit: bs.Fit) -> None:
    with pytest.raises(QueryError, match="within its limits"):
        bs.decide(FixedParams(params="8B", worth=WORTH, limits={"max_flops": "1e10"}), chinchilla_fit)


FORMAT = {"format_penalty": 0.05, "format_exponent": 2.5, "format_mantissa": 1.8}
FP4 = {"exponent_bits": 2.0, "mantissa_bits": 1.0, "block_size": 128.0}


@pytest.fixture(scope="module")
def few_bits() -> bs.Fit:
    runs = bs.load_runs("hoffmann2022").where(exclusion="")
    formats = bs.load_runs(runs.frame.assign(exponent_bits=8.0, mantissa_bits=7.0, block_size=1.0))
    law = {"E": 1.82, "A": 482.0, "B": 2085.0, "alpha": 0.348, "beta": 0.366}
    return known_fit(formats, "floating-point", law, **FORMAT)


def test_in_a_format_of_few_bits_training_ends_at_the_critical_tokens(few_bits: bs.Fit) -> None:
    """However much a lower loss is worth, for beyond them it rises."""
    choice = bs.decide(FixedParams(params="1B", worth=1e40, recipe=FP4), few_bits)
    critical = critical_tokens(2085.0, 0.05 / 1e11**0.366, 0.366)
    assert np.exp(choice.ln_optimum).mean() == pytest.approx(critical, rel=1e-4)
    assert (choice.endless > choice.loss).all()
    assert "more tokens raise the loss" in repr(choice)
    usual = bs.decide(FixedParams(params="1B", worth=1e40), few_bits)
    assert usual.action["tokens"] > 1e3 * critical


def test_a_recipe_is_of_columns_that_the_model_reads(few_bits: bs.Fit) -> None:
    with pytest.raises(QueryError, match="'rounded_bits'"):
        bs.decide(FixedParams(params="1B", worth=1e25, recipe={"rounded_bits": 4.0}), few_bits)
    with pytest.raises(QueryError, match="a number from 0 to 23"):
        bs.decide(FixedParams(params="1B", worth=1e25, recipe={"mantissa_bits": 40.0}), few_bits)
