"""Allocation of dollars and days, where what the budget buys is uncertain."""

from __future__ import annotations

import numpy as np
import pytest
from known import CHAINS, DRAWS, known_fit

import bayescale as bs
from bayescale.core.errors import QueryError
from bayescale.core.quantities import count
from bayescale.decisions.bills import SEED
from bayescale.decisions.hardware import hardware
from bayescale.decisions.tabulated import tabulated
from bayescale.decisions.waste import MOST_WASTE, WIDEST, why_unsettled

CARD = "512xH100"
KNOWN = """
base = "H100"
count = 512
utilisation = 0.4
overhead = 1.0
price = {value = 2.5, source = "a test", as_of = 2026-01-01}
"""


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Hardware of which every figure is known."""
    path = tmp_path_factory.mktemp("hardware") / "card.toml"
    path.write_text(KNOWN, encoding="utf-8")
    return str(path)


def test_dollars_and_days_of_known_hardware_are_their_flop(known: str, chinchilla_fit: bs.Fit) -> None:
    flops = 5.76e23
    hours = flops / (989e12 * 0.4 * 3600)
    usual = bs.decide(bs.Allocation(flops), chinchilla_fit)
    for asked in ({"dollars": hours * 2.5}, {"days": hours / 512 / 24}):
        choice = bs.decide(bs.Allocation(**asked, hardware=known), chinchilla_fit)
        assert choice.flops == pytest.approx(flops, rel=1e-12)
        assert choice.params == pytest.approx(usual.params, rel=1e-12)
        assert choice.regret == pytest.approx(usual.regret, rel=1e-6)
        assert choice.loss == pytest.approx(usual.loss, rel=1e-6)


@pytest.mark.slow
def test_each_draw_spends_what_its_dollars_buy(chinchilla_fit: bs.Fit) -> None:
    decision = bs.Allocation(dollars="2M", hardware=CARD)
    choice = bs.decide(decision, chinchilla_fit)
    spent = hardware(CARD).drawn(2000, SEED).flops_of_dollars(2e6)
    E, A, B, alpha, beta = (chinchilla_fit.posterior[name].to_numpy()[:, ::2].reshape(-1, 1)
                            for name in ("E", "A", "B", "alpha_N", "beta_D"))  # fmt: skip
    params = choice.actions["params"].to_numpy()
    exact = E + A * params**-alpha + B * (spent / (6 * params)) ** -beta
    assert choice.outcome.to_numpy() == pytest.approx(exact, rel=1e-6)
    optimum = (alpha * A / (beta * B)) ** (1 / (alpha + beta)) * (spent / 6) ** (beta / (alpha + beta))
    now = np.isclose(choice.budgets, choice.flops)
    assert np.exp(choice.ln_optimum[:, now]) == pytest.approx(optimum, rel=1e-5)
    assert choice.flops == pytest.approx(np.median(spent))
    found = choice.to_dict()
    assert found["cost"]["dollars"]["q05"] == pytest.approx(found["cost"]["dollars"]["q95"])
    assert found["cost"]["days"]["q05"] < 0.5 * found["cost"]["days"]["q95"]
    assert "what the budget buys could save" in repr(choice)
    # A budget that is not known costs more than one that is: a size for all cannot be best for each.
    assert choice.regret > 1.5 * bs.decide(bs.Allocation(choice.flops), chinchilla_fit).regret


def test_a_price_is_printed_with_its_date(chinchilla_fit: bs.Fit) -> None:
    lines = bs.decide(bs.Allocation("5.76e23", hardware=CARD), chinchilla_fit).lines
    priced = [text for _, text in lines if "$" in text]
    assert priced
    assert all("as of 2026-" in text for text in priced)


def test_limits_read_days_and_dollars(chinchilla_fit: bs.Fit) -> None:
    with pytest.raises(QueryError, match="max_days 10: 0 of 400"):
        bs.decide(bs.Allocation("5.76e23", hardware=CARD, limits={"max_days": "10"}), chinchilla_fit)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "none"),
        ({"flops": 1e23, "dollars": 1e6}, "flops and dollars"),
        ({"dollars": 1e6}, "needs hardware"),
        ({"days": 3, "hardware": "H100"}, "no count of accelerators"),
        ({"dollars": -1, "hardware": CARD}, "not a number of dollars"),
        ({"dollars": "1e-20", "hardware": CARD}, "not a plausible number of FLOP"),
    ],
)
def test_a_budget_is_in_one_unit_that_can_be_bought(asked, words: str, chinchilla_fit: bs.Fit) -> None:
    with pytest.raises(QueryError) as caught:
        bs.decide(bs.Allocation(**asked), chinchilla_fit)
    assert words in str(caught.value)


def spread_ratio(chinchilla: bs.Runs, sd: float) -> tuple[bs.Fit, np.ndarray]:
    """A fit whose draws differ in the best tokens per param alone, and these: with equal exponents, (B/A)^(1/alpha)."""
    alpha, scale = 0.3, 400.0
    a = np.exp(0.5 * alpha * sd * np.random.default_rng(0).standard_normal((CHAINS, DRAWS)))
    law = {"E": 1.7, "A": scale * a, "B": scale / a, "alpha": alpha, "beta": alpha}
    return known_fit(chinchilla, "additive", law), a.ravel() ** (-2 / alpha)


@pytest.mark.parametrize(("sd", "settled"), [(0.8, True), (1.2, False)])
def test_a_wide_interval_of_the_ratio_alone_leaves_a_split_unsettled(
    chinchilla: bs.Runs, sd: float, settled: bool
) -> None:
    """Waste is far below its limit: near the best split the loss is flat, however little is known of the ratio."""
    fit, ratio = spread_ratio(chinchilla, sd)
    choice = bs.decide(bs.Allocation("1e23"), fit)
    low, high = np.quantile(ratio, [0.05, 0.95])
    found = choice.optimum["tokens_per_param"]
    assert (found["q05"], found["q95"]) == pytest.approx((low, high), rel=1e-3)
    assert choice.waste_fraction < 0.5 * MOST_WASTE
    assert choice.settled is settled is bool(high / low <= WIDEST)
    wide = f"the 90% interval of tokens per param spans a factor of {count(high / low, 2)}"
    assert choice.unsettled == ("" if settled else wide)
    assert tabulated(fit, choice.flops, choice.family).allocation(choice.flops)["settled"] is settled


@pytest.mark.parametrize(
    ("high", "waste", "reasons"),
    [(30.0, 0.5, ""), (31.0, 0.5, "spans a factor of 31"), (30.0, 0.51, "expected waste is 51% of compute"),
     (31.0, 0.51, "expected waste is 51% of compute and the 90% interval"), (np.nan, 0.0, "spans a factor of nan")],
)  # fmt: skip
def test_either_limit_alone_leaves_a_split_unsettled(high: float, waste: float, reasons: str) -> None:
    said = why_unsettled({"q05": 1.0, "q95": high}, waste)
    assert reasons in said
    assert bool(said) is bool(reasons)
