"""Derived: limits and the frontier of every balanced law, against the closed forms of its coefficients."""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.core.errors import QueryError
from bayescale.modelling.design import anchor_of
from bayescale.parts.catalogue import catalogue, part

BALANCED = sorted(
    name for name in catalogue("bayescale.parts.laws")
    if (law := part("laws", name)).balance is not None and law.inputs == ("params", "tokens")
)  # fmt: skip
CHAINS, DRAWS = 2, 50
TOKENS, PARAMS, FLOPS = np.array([1e9, 1e12]), np.array([1e8, 1e11]), np.array([1e19, 5.76e23])


@pytest.fixture(scope="module")
def runs() -> bs.Runs:
    params, tokens = (x.ravel() for x in np.meshgrid(np.geomspace(1e8, 1e10, 5), np.geomspace(2e9, 2e11, 5)))
    loss = 1.8 + 480 * params**-0.35 + 2100 * tokens**-0.37
    return bs.load_runs(pd.DataFrame({"params": params, "tokens": tokens, "loss": loss}), loss_unit="nats")


def made(name: str, runs: bs.Runs, **times: float) -> bs.Fit:
    """A fit whose draws are those of the prior, closer to its median, and some of them multiplied: no sampler runs."""
    rng = np.random.default_rng(0)
    spec = bs.make_spec("mine", law=name, pooling={"default": "none"})
    z = {key: 0.2 * rng.normal(size=(CHAINS, DRAWS)) for key, _ in spec.settings}
    with jax.enable_x64(True):
        draws = {key: np.asarray(s.prior.transform(s.prior.loc + s.prior.scale * z[key])) for key, s in spec.settings}
    return bs.Fit.from_samples({key: value * times.get(key, 1.0) for key, value in draws.items()}, spec, runs)


def coefficients(fit: bs.Fit) -> dict[str, np.ndarray]:
    """Draws of parameters and of published coefficients, each of shape (draw, 1)."""
    return {str(name): values.to_numpy().reshape(-1, 1) for name, values in fit.posterior.data_vars.items()}


@pytest.fixture(scope="module", params=BALANCED)
def balanced(request: pytest.FixtureRequest, runs: bs.Runs) -> tuple[str, bs.Fit]:
    return request.param, made(request.param, runs)


def powers(p: dict) -> tuple[np.ndarray, np.ndarray]:
    return p.get("alpha_N", p.get("exponent")), p.get("beta_D", p.get("exponent"))


def information(name: str, p: dict) -> np.ndarray:
    if name == "kaplan":
        return (p["D_c"] / TOKENS) ** p["beta_D"]
    return p["E"] + (p["B"] * TOKENS ** -powers(p)[1]) ** p.get("kappa", 1.0)


def capacity(name: str, p: dict) -> np.ndarray:
    if name == "kaplan":
        return (p["N_c"] / PARAMS) ** p["alpha_N"]
    return p["E"] + (p["A"] * PARAMS ** -powers(p)[0]) ** p.get("kappa", 1.0)


def test_every_balanced_law_is_tested() -> None:
    assert {"additive", "coupled", "floored", "kaplan", "tied"} <= set(BALANCED)


def test_limits_are_those_of_the_closed_forms(balanced: tuple[str, bs.Fit]) -> None:
    name, fit = balanced
    p = coefficients(fit)
    learned = bs.limit(fit, tokens=TOKENS)
    np.testing.assert_allclose(learned.draws["loss"], information(name, p), rtol=1e-9)
    np.testing.assert_allclose(bs.limit(fit, params=PARAMS).draws["loss"], capacity(name, p), rtol=1e-9)
    floor = np.broadcast_to(p.get("E", 0.0), (CHAINS * DRAWS, 1))
    np.testing.assert_allclose(bs.limit(fit).draws["loss"], floor, rtol=1e-9)
    assert learned.kind == "information limit"
    assert list(learned.summary)[:3] == ["family", "tokens", "loss_q05"]
    np.testing.assert_allclose(learned.table["q50"], learned.summary["loss_q50"])
    assert learned.table["unit"].tolist() == ["nats/token"] * 2


def test_the_frontier_is_where_params_and_tokens_are_balanced(balanced: tuple[str, bs.Fit], runs: bs.Runs) -> None:
    name, fit = balanced
    law, p = part("laws", name), coefficients(fit)
    found = bs.frontier(fit, FLOPS).draws
    anchor = anchor_of(fit.spec, runs.frame)
    x, y = (np.log(found[key].to_numpy()) - anchor[key] for key in ("params", "tokens"))
    parameters = {key: p[key] for key in law.parameters}
    with jax.enable_x64(True):
        np.testing.assert_allclose(x, law.balance(y, **parameters), atol=1e-5)
        best = anchor["loss"] + law.log_loss(x, y, **parameters)
    np.testing.assert_allclose(np.log(found["loss"]), best, atol=1e-9)
    np.testing.assert_allclose(found["params"] * found["tokens"], np.broadcast_to(FLOPS / 6, x.shape), rtol=1e-9)
    alpha, beta = (p["alpha_N"] / p["beta_D"], 1.0) if name == "kaplan" else powers(p)
    a = beta / (alpha + beta)
    np.testing.assert_allclose(found["params_exponent"], np.broadcast_to(a, x.shape), atol=1e-5)


def test_the_frontier_of_the_additive_law_is_its_closed_form(runs: bs.Runs) -> None:
    fit = made("additive", runs)
    p = coefficients(fit)
    alpha, beta = powers(p)
    spent = FLOPS / 6
    G = (alpha * p["A"] / (beta * p["B"])) ** (1 / (alpha + beta))
    K = p["A"] * G**-alpha * (1 + alpha / beta)
    gamma = alpha * beta / (alpha + beta)
    found = bs.frontier(fit, FLOPS).draws
    np.testing.assert_allclose(found["params"], G * spent ** (beta / (alpha + beta)), rtol=1e-5)
    np.testing.assert_allclose(found["loss"], p["E"] + K * spent**-gamma, rtol=1e-9)
    reducible = 1 - p["E"] / found["loss"].to_numpy()
    np.testing.assert_allclose(found["loss_exponent"], gamma * reducible, atol=1e-3)


def test_repeated_tokens_teach_no_more_than_their_limit(runs: bs.Runs) -> None:
    """With 100 billion unique tokens, a trillion tokens of any number of params are worth finitely many of each."""
    rng = np.random.default_rng(0)
    spec = bs.make_spec("mine", law="additive", resources=["repetition"], pooling={"default": "none"})
    draws = {key: s.prior.median * np.exp(0.01 * rng.normal(size=(CHAINS, DRAWS))) for key, s in spec.settings}
    fit = bs.Fit.from_samples(draws, spec, bs.load_runs(runs.frame.assign(unique_tokens=runs["tokens"] / 2)))
    p = coefficients(fit)
    least = p["E"] + p["B"] * (1e11 * (1 + p["R_D"])) ** -p["beta_D"]
    found = bs.limit(fit, tokens=1e12, unique_tokens=1e11).draws["loss"].to_numpy()
    assert (found > least).all()
    assert (bs.limit(fit, tokens=1e12).draws["loss"] < found).all()


def test_what_has_no_limit_is_an_error(runs: bs.Runs) -> None:
    fit = made("additive", runs)
    with pytest.raises(QueryError, match="params or tokens without bound"):
        bs.limit(fit, tokens=1e12, params=1e9)
    with pytest.raises(QueryError, match="tokens are out of range"):
        bs.limit(fit, tokens=-1.0)
    with pytest.raises(QueryError, match="not a plausible number of FLOP"):
        bs.frontier(fit, "many")
    with pytest.raises(QueryError, match="has no limit as params"):
        bs.limit(made("drift", runs), tokens=1e12)
    with pytest.raises(QueryError, match="no best split"):
        bs.frontier(made("additive", runs, ratio_B=1e-12), 1e21)
