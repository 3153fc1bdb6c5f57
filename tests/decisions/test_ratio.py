"""What a budget costs at given tokens per param, against the law in closed form."""

from __future__ import annotations

import numpy as np
import pytest

import bayescale as bs
from bayescale.core.errors import QueryError
from bayescale.decisions.allocation import CUSTOMARY

FLOPS = 5.76e23


@pytest.fixture(scope="module")
def choice(chinchilla_fit: bs.Fit) -> bs.Choice:
    return bs.decide("allocation", chinchilla_fit, flops=FLOPS)


@pytest.mark.parametrize("ratio", [1.7, CUSTOMARY, 200.0])
def test_the_cost_of_a_ratio_is_that_of_the_law_in_closed_form(
    ratio: float, choice: bs.Choice, chinchilla_fit: bs.Fit
) -> None:
    draws = len(choice.details.losses)
    kept = chinchilla_fit.posterior.sizes["draw"] * chinchilla_fit.posterior.sizes["chain"] // draws
    E, A, B, alpha, beta = (chinchilla_fit.posterior[name].to_numpy()[:, ::kept].ravel()
                            for name in ("E", "A", "B", "alpha_N", "beta_D"))  # fmt: skip

    def least(flops: np.ndarray) -> np.ndarray:
        best = (alpha * A / (beta * B)) ** (1 / (alpha + beta)) * (flops / 6) ** (beta / (alpha + beta))
        return E + A * best**-alpha + B * (flops / 6 / best) ** -beta

    params = np.sqrt(FLOPS / 6 / ratio)
    loss = E + A * params**-alpha + B * (ratio * params) ** -beta
    low, high = np.full(draws, FLOPS / 1e4), np.full(draws, FLOPS)  # FLOP that the best split needs for the same loss
    for _ in range(60):
        middle = np.sqrt(low * high)
        above = least(middle) > loss
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    waste, found = FLOPS / high - 1, choice.details.at_ratio(ratio)
    assert found["params"] == pytest.approx(params)
    assert found["tokens"] == pytest.approx(ratio * params)
    assert found["extra_loss"] == pytest.approx(float((loss - least(FLOPS)).mean()), rel=1e-4)
    # The core interpolates log compute linearly in the loss, between budgets up to half a decade apart.
    assert found["waste_fraction"] == pytest.approx(float(waste.mean()), rel=0.01)
    assert found["waste"]["q95"] == pytest.approx(float(np.quantile(waste, 0.95)), rel=0.01)


def test_the_ratio_of_the_choice_costs_what_the_choice_costs(choice: bs.Choice) -> None:
    of = choice.details
    found = of.at_ratio(of.tokens / of.params)
    assert found["waste_fraction"] == pytest.approx(of.waste_fraction, rel=1e-6)
    assert found["extra_loss"] == pytest.approx(of.regret_nats, rel=1e-2)  # that of the grid, not of its vertex
    assert choice.to_dict()["at_20_tokens_per_param"] == of.at_ratio(20.0)


@pytest.mark.parametrize("ratio", [0.0, -1.0, 1e12, float("nan")])
def test_a_ratio_that_no_size_has_is_refused(ratio: float, choice: bs.Choice) -> None:
    with pytest.raises(QueryError, match="no size that was compared has these tokens per param"):
        choice.details.at_ratio(ratio)
