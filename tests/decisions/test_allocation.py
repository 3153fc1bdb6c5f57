"""Allocation of dollars and days, where what the budget buys is uncertain."""

from __future__ import annotations

import numpy as np
import pytest

import bayescale as bs
from bayescale.core.errors import QueryError
from bayescale.decisions.bills import SEED
from bayescale.decisions.hardware import hardware

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
