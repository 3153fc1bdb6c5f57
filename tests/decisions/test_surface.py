"""Surfaces of the loss: interpolation, inversion and minima, against closed forms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.core.errors import QueryError
from bayescale.decisions.surface import interpolate, losses, minimise, noise, recipe_of, surface

FINE = 1e-6  # relative error of the polynomials on grids of the size that decisions use


@pytest.fixture(scope="module")
def law(chinchilla_fit: bs.Fit) -> dict[str, np.ndarray]:
    """E, A, B and the exponents of the draws that decisions use; each of shape (draw, 1)."""
    names = ("E", "A", "B", "alpha_N", "beta_D")
    return {name: chinchilla_fit.posterior[name].to_numpy()[:, ::2].reshape(-1, 1) for name in names}


def loss(law: dict[str, np.ndarray], params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    return law["E"] + law["A"] * params ** -law["alpha_N"] + law["B"] * tokens ** -law["beta_D"]


@pytest.fixture(scope="module")
def grid(chinchilla_fit: bs.Fit):
    return surface(chinchilla_fit, np.log([1e9, 7e9, 49e9]), np.linspace(np.log(1e9), np.log(1e14), 64),
                   {"family": "Chinchilla"})  # fmt: skip


def test_a_loss_between_the_points_is_the_laws(grid, law) -> None:
    tokens = np.exp(np.linspace(np.log(2e9), np.log(5e13), len(law["E"])))[:, None]
    exact = loss(law, np.array([1e9, 7e9, 49e9]), tokens)
    assert np.exp(grid.at(np.log(tokens))) == pytest.approx(exact, rel=FINE)


def test_the_tokens_of_a_loss_are_the_laws_and_infinite_below_its_asymptote(grid, law) -> None:
    params = np.array([1e9, 7e9, 49e9])
    wanted = loss(law, 7e9, 1e12)
    rest = wanted - law["E"] - law["A"] * params ** -law["alpha_N"]
    with np.errstate(invalid="ignore"):
        exact = np.where(rest > 0, (law["B"] / np.where(rest > 0, rest, np.nan)) ** (1 / law["beta_D"]), np.inf)
    found = np.exp(grid.tokens_for(np.log(wanted)))
    assert found[:, 1] == pytest.approx(1e12, rel=FINE)
    reached = exact < 1e14
    assert (np.isinf(found) == ~reached).all()
    assert not reached[:, 0].all()  # the smallest never gets there
    assert found[reached] == pytest.approx(exact[reached], rel=10 * FINE)  # flat near the asymptote


def test_a_minimum_between_the_points_is_exact_and_one_at_the_edge_is_found() -> None:
    x = np.linspace(-3, 3, 61)
    centre = np.array([-0.987654, 0.0, 2.91, 7.0, -3.5])[:, None]
    at, least = minimise(x, np.cosh(x - centre))
    assert at[:3] == pytest.approx(centre[:3, 0], abs=FINE)
    assert least[:3] == pytest.approx(1.0, abs=1e-8)
    assert at[3:] == pytest.approx([3.0, -3.0], abs=FINE)


def test_a_polynomial_of_degree_five_is_interpolated_exactly() -> None:
    x = np.linspace(0, 1, 11)
    at = np.array([0.0, 0.031, 0.5, 0.987, 1.0])
    values = np.broadcast_to(x**5 - 2 * x**3 + 1, (5, 11))
    assert interpolate(x, values, at) == pytest.approx(at**5 - 2 * at**3 + 1, abs=1e-12)


def test_a_run_has_one_noise_for_all_actions(chinchilla_fit: bs.Fit) -> None:
    actions = pd.DataFrame({"params": [1e9, 1e10, 1e11], "tokens": 1e12, "family": "Chinchilla"})
    law, run = (losses(chinchilla_fit, actions, scope) for scope in ("law", "run"))
    ratio = run / law  # this model has no discrepancy
    assert ratio[:, 0] == pytest.approx(ratio[:, 1], rel=1e-12)
    drawn = noise(chinchilla_fit, actions)
    assert np.log(ratio[:, 0]) == pytest.approx(drawn, abs=1e-12)
    sigma = float(chinchilla_fit.posterior["sigma"].mean())
    # Half of Student's t with the posterior's 1.6 degrees of freedom lies within 0.7 to 0.85 scales of its centre.
    assert 0.6 * sigma < np.median(np.abs(drawn)) < 1.0 * sigma


def test_a_recipe_of_a_model_without_covariates_says_that_there_are_none(chinchilla_fit: bs.Fit) -> None:
    with pytest.raises(QueryError, match="expected: no covariate, as the model reads none"):
        recipe_of(chinchilla_fit, {"experts": 8.0})
