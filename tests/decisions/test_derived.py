"""Derived: limits and the frontier of every balanced law, against the closed forms of its coefficients."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar

import bayescale as bs
from bayescale.core.errors import QueryError
from bayescale.modelling.design import anchor_of
from bayescale.parts.catalogue import catalogue, part
from bayescale.parts.shares import OFFSET

BALANCED = sorted(
    name for name in catalogue("bayescale.parts.laws")
    if (law := part("laws", name)).balance is not None and law.inputs == ("params", "tokens")
)  # fmt: skip
JOINT = {
    "drift": {},
    "granular": {"granularity": 8.0},
    "kaplan-batch": {"batch_tokens": 5e5},
    "mixture-joint": {"share_web": 0.6, "share_code": 0.4},
    "mixture-scaled": {"share_web": 0.6, "share_code": 0.4},
    "routed-joint": {"experts": 8.0},
}
"""The other laws of params and tokens, with what a query needs beyond the two."""
RELATIVE = {"vocabulary"}  # its loss is over that of a unigram model, and its params are two columns
LEVELS = {"granularity": (1, 4, 16), "experts": (1, 8, 32), "batch_tokens": (2e5, 1e6, 5e6), "share_web": (0.3, 0.5)}
CHAINS, DRAWS = 2, 50
TOKENS, PARAMS, FLOPS = np.array([1e9, 1e12]), np.array([1e8, 1e11]), np.array([1e19, 5.76e23])


@pytest.fixture(scope="module")
def runs() -> bs.Runs:
    params, tokens = (x.ravel() for x in np.meshgrid(np.geomspace(1e8, 1e10, 5), np.geomspace(2e9, 2e11, 5)))
    loss = 1.8 + 480 * params**-0.35 + 2100 * tokens**-0.37
    return bs.load_runs(pd.DataFrame({"params": params, "tokens": tokens, "loss": loss}), loss_unit="nats")


@pytest.fixture(scope="module", params=JOINT)
def joint(request: pytest.FixtureRequest, runs: bs.Runs) -> tuple[str, bs.Fit]:
    frame = runs.frame.assign(**{name: np.resize(values, len(runs)) for name, values in LEVELS.items()})
    frame["share_code"] = 1 - frame["share_web"]
    wanted = ["params", "tokens", "loss", *JOINT[request.param]]
    return request.param, made(request.param, bs.load_runs(frame[wanted], loss_unit="nats"))


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


def test_every_law_of_params_and_tokens_is_tested() -> None:
    laws = catalogue("bayescale.parts.laws")
    of_both = {name for name in laws if {"params", "tokens"} <= set(part("laws", name).inputs)}
    assert of_both == set(BALANCED) | set(JOINT) | RELATIVE


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


def terms(name: str, p: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Floor, params term at PARAMS and tokens term at TOKENS, from the published coefficients."""
    at = JOINT[name]
    if name == "granular":
        coarse = p["a"] + p["g"] / at["granularity"] ** p["fineness"]
        return p["E"], coarse * PARAMS ** -p["alpha_N"], p["B"] * TOKENS ** -p["beta_D"]
    if name == "routed-joint":
        start, most = p["E_start"], p["E_max"]
        e = -np.log(1 / (at["experts"] - 1 + 1 / (1 / start - 1 / most)) + 1 / most)
        by_params = p["A"] * np.exp(p["delta"] * e) * PARAMS ** (p["alpha_1"] + p["gamma"] * e)
        return p["E"], by_params, p["B"] * np.exp(p["omega"] * e) * TOKENS ** (p["beta"] + p["zeta"] * e)
    if name == "drift":
        return p["E"], p["A"] * PARAMS ** -p["alpha_N"], np.full((CHAINS * DRAWS, 2), np.nan)
    shares = {one: at[f"share_{one}"] + OFFSET for one in ("web", "code")}
    floor = p["E"] + 1 / sum(p[f"C_{one}"] * h ** p[f"gamma_{one}"] for one, h in shares.items())
    found = []
    for size, spent in (("params", PARAMS), ("tokens", TOKENS)):
        if name == "mixture-scaled":
            top = p[f"A_{size}"]
        else:
            top = sum(p[f"C_{size}_{one}"] * h for one, h in shares.items()) ** p[f"gamma_{size}"]
        found.append(top * spent ** -p[f"exponent_{size}"])
    return floor, *found


def test_limits_of_the_other_joint_laws_are_their_closed_forms(joint: tuple[str, bs.Fit]) -> None:
    name, fit = joint
    p, at = coefficients(fit), JOINT[name]
    if name == "kaplan-batch":  # the loss is on both sides of its equation
        loss = bs.limit(fit, tokens=TOKENS, **at).draws["loss"].to_numpy()
        steps = TOKENS / (at["batch_tokens"] + p["B_star"] * loss ** (-1 / p["alpha_B"]))
        np.testing.assert_allclose(loss, (p["S_c"] / steps) ** p["alpha_S"], rtol=1e-9)
        np.testing.assert_allclose(bs.limit(fit, params=PARAMS, **at).draws["loss"],
                                   (p["N_c"] / PARAMS) ** p["alpha_N"], rtol=1e-9)  # fmt: skip
        np.testing.assert_allclose(bs.limit(fit, **at).draws["loss"], 0.0, atol=1e-9)
        return
    floor, by_params, by_tokens = terms(name, p)
    np.testing.assert_allclose(bs.limit(fit, params=PARAMS, **at).draws["loss"], floor + by_params, rtol=1e-9)
    if name == "drift":  # its tokens term may grow with params, and it has no information limit in such draws
        with pytest.raises(QueryError, match="has no limit as params"):
            bs.limit(fit, tokens=TOKENS)
        return
    np.testing.assert_allclose(bs.limit(fit, tokens=TOKENS, **at).draws["loss"], floor + by_tokens, rtol=1e-9)
    floor = np.broadcast_to(floor, (CHAINS * DRAWS, 1))
    np.testing.assert_allclose(bs.limit(fit, **at).draws["loss"], floor, rtol=1e-9)


def test_the_frontier_of_the_other_joint_laws_is_the_numerical_optimum(joint: tuple[str, bs.Fit]) -> None:
    """By a search of each draw's own law. Near its optimum a law is flat, so that params agree to fewer digits."""
    name, fit = joint
    law, p, anchor = fit.spec.law_part, coefficients(fit), fit.meta["anchor"]
    found = bs.frontier(fit, FLOPS, **JOINT[name]).draws
    others = [np.log((value + law.columns[key].offset) / anchor[key]) for key, value in JOINT[name].items()]
    for draw, i in itertools.product(range(0, CHAINS * DRAWS, 20), range(len(FLOPS))):
        own = {key: float(p[key][draw, 0]) for key in law.parameters}

        def log_loss(ln_n: float, own: dict = own, flops: float = FLOPS[i]) -> float:
            x, y = ln_n - np.log(anchor["params"]), np.log(flops / 6) - ln_n - np.log(anchor["tokens"])
            return float(law.log_loss(x, y, *others, **own))

        with jax.enable_x64(True):
            best = minimize_scalar(log_loss, bounds=(np.log(1e5), np.log(1e14)), method="bounded",
                                   options={"xatol": 1e-9})  # fmt: skip
        assert np.log(found["params"].to_numpy()[draw, i]) == pytest.approx(best.x, abs=1e-4)
        least = best.fun + np.log(anchor["loss"])
        assert np.log(found["loss"].to_numpy()[draw, i]) == pytest.approx(least, abs=1e-9)


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
