"""Closed forms of the additive law, draw by draw, against the solver on grids: optima, costs and their gradients.

The optimum of a budget, its inverse and the general cost follow from equal marginal returns (Hoffmann et al. 2022,
arXiv:2203.15556, equation 4).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from known import CHAINS, DRAWS, SARDANA, additive, known_fit, slope

import bayescale as bs
from bayescale.decisions.plans import balanced, least_training, token_grid
from bayescale.decisions.surface import losses, minimise, surface

BUDGET = 5.76e23
FIXED = {"family": "Chinchilla"}


def optimum(fit: bs.Fit, flops: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Params and loss above the floor of the best split, for each draw."""
    _, A, B, alpha, beta = additive(fit)
    params = (alpha * A / (beta * B)) ** (1 / (alpha + beta)) * (flops / 6) ** (beta / (alpha + beta))
    return params, A * params**-alpha * (1 + alpha / beta)


def test_the_optimum_of_a_budget(chinchilla_fit: bs.Fit) -> None:
    choice = bs.decide(bs.Allocation(BUDGET), chinchilla_fit)
    params, above = optimum(chinchilla_fit, choice.budgets)
    assert np.exp(choice.ln_optimum) == pytest.approx(params, rel=1e-6)
    assert choice.least_loss == pytest.approx(additive(chinchilla_fit)[0] + above, rel=1e-9)


def test_how_the_least_loss_falls_with_compute(chinchilla_fit: bs.Fit) -> None:
    step = 0.05
    budgets = BUDGET * np.exp(step * np.array([[-2], [-1], [1], [2]]))
    ln_params = np.log(7e10) + np.linspace(-1.5, 1.5, 61)
    tokens = budgets / (6 * np.exp(ln_params))
    queries = pd.DataFrame({"params": np.tile(np.exp(ln_params), 4), "tokens": tokens.ravel()}).assign(**FIXED)
    _, least = minimise(ln_params, losses(chinchilla_fit, queries).reshape(-1, 4, 61))
    _, _, _, alpha, beta = additive(chinchilla_fit)
    gamma = alpha * beta / (alpha + beta)
    assert slope(least.T, step) == pytest.approx((-gamma * optimum(chinchilla_fit, BUDGET)[1])[:, 0], rel=1e-6)


def test_the_least_compute_for_a_loss(chinchilla_fit: bs.Fit) -> None:
    wanted, ln_params = 2.1, np.log(5e9) + np.linspace(-4, 4, 161)
    found = surface(chinchilla_fit, ln_params, token_grid(1e14), FIXED)
    size, ln_flops = least_training(ln_params, found.tokens_for(np.log([[wanted]])))
    E, A, B, alpha, beta = (x[:, 0] for x in additive(chinchilla_fit))
    ratio = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    flops = 6 * (A * ratio**-alpha * (1 + alpha / beta) / (wanted - E)) ** (1 / alpha + 1 / beta)
    assert np.exp(ln_flops) == pytest.approx(flops, rel=1e-6)
    assert np.exp(size) == pytest.approx(optimum(chinchilla_fit, flops[:, None])[0][:, 0], rel=1e-6)


def test_the_tokens_for_which_a_size_is_optimal(chinchilla_fit: bs.Fit) -> None:
    ln_tokens, log_loss = balanced(chinchilla_fit, 7e10, token_grid(1e14), FIXED)
    E, A, B, alpha, beta = (x[:, 0] for x in additive(chinchilla_fit))
    tokens = (beta * B / (alpha * A * 7e10**-alpha)) ** (1 / beta)
    assert np.exp(ln_tokens) == pytest.approx(tokens, rel=1e-6)
    assert np.exp(log_loss) == pytest.approx(E + A * 7e10**-alpha + B * tokens**-beta, rel=1e-8)


@pytest.mark.parametrize(("p", "q"), [(0.9, 1.0), (1.2, 0.8)])
def test_a_cost_with_other_exponents(chinchilla_fit: bs.Fit, p: float, q: float) -> None:
    """Cost k·N^p·D^q, as where utilisation depends on size: N grows as C^(β/(pβ + qα))."""
    ln_params = np.log(7e10) + np.linspace(-2.5, 2.5, 101)
    found = surface(chinchilla_fit, ln_params, token_grid(1e16), FIXED)
    _, A, B, alpha, beta = (x[:, 0] for x in additive(chinchilla_fit))
    optima = []
    for ln_cost in np.log(1e23) + np.array([0.0, 0.5]):  # of the unit of N^p·D^q
        ln_cost = ln_cost * (p * np.log(7e10) + q * np.log(1.4e12)) / np.log(1e23)  # so that optima are on the grid
        at, _ = minimise(ln_params, found.at((ln_cost - p * ln_params) / q))
        known = (np.log(alpha * A * q / (beta * B * p)) + beta / q * ln_cost) / (alpha + beta * p / q)
        assert np.exp(at) == pytest.approx(np.exp(known), rel=1e-6)
        optima.append((at, ln_cost))
    (low, at_low), (high, at_high) = optima
    assert (high - low) / (at_high - at_low) == pytest.approx(beta / (p * beta + q * alpha), rel=1e-5)


def test_the_sizes_that_waste_little(chinchilla: bs.Runs) -> None:
    """Waste under 1% of compute in half of the draws, where waste is compute over what the draw's best split needs."""
    spread, random = {"E": 0.01, "A": 0.1, "B": 0.1, "alpha": 0.005, "beta": 0.005}, np.random.default_rng(1)
    law = {name: value * np.exp(spread[name] * random.standard_normal((CHAINS, DRAWS)))
           for name, value in SARDANA.items()}  # fmt: skip
    fit = known_fit(chinchilla, "additive", law)
    choice = bs.decide(bs.Allocation(BUDGET), fit)
    _, A, B, alpha, beta = additive(fit)
    params, gamma = np.exp(choice.ln_params), alpha * beta / (alpha + beta)
    above = A * params**-alpha + B * (BUDGET / 6 / params) ** -beta
    waste = (above / optimum(fit, BUDGET)[1]) ** (1 / gamma) - 1
    for few in (0.00998, 0.01002):  # linear between budgets 2% apart, a waste of 1% is exact to 0.15% of itself
        good = np.flatnonzero((waste < few).mean(axis=0) >= 0.5)
        assert np.log(choice.band) == pytest.approx(choice.ln_params[good[[0, -1]]], rel=1e-12)
