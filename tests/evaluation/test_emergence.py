"""Emergence: Wei et al. 2022 against Schaeffer et al. 2023, one smooth capability under several metrics."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import curve_fit

import bayescale as bs
from bayescale.evaluation.checks.monotone import shapes
from bayescale.parts.catalogue import part
from bayescale.parts.responses.bent import CENTER

HARDNESS, STEEPNESS = 1.5, 6.0
ITEMS = 1000
FLOPS = np.geomspace(1e19, 1e24, 11)


def curve(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    return 1.8 + 480 * params**-0.35 + 2100 * tokens**-0.37


def balanced(flops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    params = np.sqrt(flops / 120)
    return params, 20 * params


def metric(name: str, flops: np.ndarray, **fields: int) -> np.ndarray:
    log_loss = np.log(curve(*balanced(flops)))
    columns = {"chance": jnp.asarray(0.25)}
    return np.asarray(part("responses", name, **fields).location(
        jnp.asarray(log_loss), columns, hardness=HARDNESS, steepness=STEEPNESS))  # fmt: skip


def test_schaeffer_2023_one_capability_is_sharp_under_exact_match_and_smooth_by_token() -> None:
    """The share of right tokens grows in every half decade, while the share of right answers is still nearly zero."""
    smooth, sharp = metric("token-score", FLOPS), metric("exact-match", FLOPS, tokens=10)
    assert (np.diff(smooth) > 0.01).all()
    np.testing.assert_allclose(sharp, smooth**10, rtol=1e-4)
    small = FLOPS < 2e21
    assert smooth[small].max() > 4 * smooth[0]
    assert (sharp[small] < 0.01).all()
    assert sharp[-1] > 15 * sharp[small].max()


def test_the_transforms_are_of_one_probability() -> None:
    q = metric("token-score", FLOPS)
    np.testing.assert_allclose(metric("pass-at-n", FLOPS, tokens=3, tries=20), 1 - (1 - q**3) ** 20, rtol=1e-4)
    np.testing.assert_allclose(metric("multiple-choice", FLOPS), 0.25 + 0.75 * q, rtol=1e-5)
    chosen = 0.25 + 0.75 * q
    np.testing.assert_allclose(metric("brier", FLOPS), (1 - chosen) ** 2 * 4 / 3, rtol=1e-4)


@pytest.fixture(scope="module")
def runs() -> bs.Runs:
    """Runs of little compute: exact match is still nearly zero."""
    random = np.random.default_rng(1)
    params, ratio = (x.ravel() for x in np.meshgrid(np.geomspace(5e7, 1e9, 6), [5, 20, 80, 320], indexing="ij"))
    loss = curve(params, params * ratio)
    q = np.exp(-HARDNESS * (loss / np.e) ** STEEPNESS)
    return bs.load_runs(pd.DataFrame({
        "params": params, "tokens": params * ratio, "loss": loss * np.exp(0.003 * random.standard_normal(len(loss))),
        "n_items": ITEMS, "n_correct": random.binomial(ITEMS, q**10),
        "token_score": np.clip(q + 0.005 * random.standard_normal(len(q)), 0, 1),
    }), loss_unit="nats")  # fmt: skip


@pytest.fixture(scope="module")
def fit(runs: bs.Runs) -> bs.Fit:
    content = bs.load_spec("emergence").to_dict() | {"fields": {"exact-match": {"tokens": 10}}}
    return bs.fit(runs, bs.make_spec("emergence", **content), seed=0, draws=500)


@pytest.mark.slow
def test_the_smooth_metric_forecasts_the_sharp_one(fit: bs.Fit, runs: bs.Runs) -> None:
    assert fit.converged, fit.verdict
    for name, truth in (("hardness", HARDNESS), ("steepness", STEEPNESS)):
        assert abs(fit.summary.loc[name, "mean"] - truth) < 4 * fit.summary.loc[name, "sd"]
    params, tokens = balanced(np.array([1e24]))
    found = bs.forecast(fit, params=params, tokens=tokens, response="exact-match", n_items=ITEMS).summary
    truth = ITEMS * metric("exact-match", np.array([1e24]), tokens=10)[0]
    assert found["q05"].item() < truth < found["q95"].item()
    assert truth > 5 * runs["n_correct"].max()


@pytest.mark.slow
def test_a_threshold_says_when_the_capability_is_likely(fit: bs.Fit) -> None:
    """Exact match passes 0.1 between 1e23 and 3e23 FLOP; a decade before it is unlikely, a decade later likely."""
    truth = metric("exact-match", FLOPS, tokens=10)
    crossed = np.interp(0.1, truth, FLOPS)
    assert 1e23 < crossed < 3e23
    choice = bs.decide(bs.Threshold(score=0.1, response="exact-match"), fit)
    able = pd.DataFrame(choice.figures["by_budget"]).set_index("flops")["capability"]
    assert able[able.index < crossed / 10].max() < 0.2
    assert able[able.index > crossed * 10].min() > 0.8


def sigmoid(loss: np.ndarray, midpoint: float, width: float, low: float, high: float) -> np.ndarray:
    return low + (high - low) / (1 + np.exp(-(np.log(midpoint) - np.log(loss)) / width))


@pytest.mark.parametrize("benchmark", ["hellaswag", "hellaswag_zeroshot", "arc_easy", "piqa", "lambada_openai"])
def test_wei_2022_accuracy_is_a_sigmoid_of_the_loss(benchmark: str) -> None:
    """Runs of one training set on one curve, from chance to the largest model: an R² of at least 0.95."""
    frame = bs.load_runs("gadre2024").where(family="OpenLM-C4", benchmark=benchmark).frame
    start = (2.7, 0.1, frame["score"].min(), 0.9)
    bounds = ([1.0, 0.01, 0.0, 0.3], [6.0, 1.0, 0.6, 1.0])
    found, _ = curve_fit(sigmoid, frame["loss"], frame["score"], start, bounds=bounds, maxfev=100_000)
    away = frame["score"] - sigmoid(frame["loss"].to_numpy(), *found)
    assert 1 - away.var() / frame["score"].var() >= 0.95


def test_shapes_are_told_apart() -> None:
    """With the centre in the middle of the losses: a strong bend turns the curve, a strong rise does not."""
    ones = np.ones(3)
    for rise, bend, shape in (
        (2.0, 0.1, "rising"),
        (-2.0, 0.1, "falling"),
        (0.1, 3.0, "U-shaped"),
        (0.1, -3.0, "peaked"),
    ):
        assert shapes(rise * ones, bend * ones, CENTER / 1.4, CENTER * 1.4)[shape] == 1.0


@pytest.mark.parametrize(("losses", "shape"), [({"val": {"response": "loss", "noise": "gaussian"}}, "U-shaped"),
                                               ({"loss": "gaussian"}, "rising"), ({}, "rising")])  # fmt: skip
def test_the_shape_is_that_over_the_losses_that_the_model_observes(losses: dict, shape: str) -> None:
    """With a bend, accuracy turns at a loss of 3 e^0.5 = 4.9: among the losses in one column, and not in the other."""
    random = np.random.default_rng(0)
    params, tokens = (x.ravel() for x in np.meshgrid(np.geomspace(3e7, 3e9, 5), np.geomspace(1e9, 1e11, 4)))
    table = pd.DataFrame({"params": params, "tokens": tokens, "b": 50.0, "b_n_items": 100.0})
    own = {name: name == "val" for name in losses}
    for name, wide in own.items():
        table[name] = curve(params, tokens) + 2.5 * wide
    spec = bs.make_spec("bent", law="additive", responses=losses | {"b": {"response": "bent-accuracy",
                        "noise": "binomial"}}, pooling={"default": "none"})  # fmt: skip
    sites = {"level": 1.0, "ratio_A": 0.2, "ratio_B": 0.2, "alpha_N": 0.35, "beta_D": 0.37, "middle_b": 0.1,
             "rise_b": 1.0, "bend_b": 1.0,
             **{"sigma_val" if wide else "sigma": 0.03 for wide in own.values()}}  # fmt: skip
    draws = {name: at * np.exp(0.01 * random.standard_normal((4, 250))) for name, at in sites.items()}
    fit = bs.Fit.from_samples(draws, spec, bs.load_runs(table, loss_unit="nats", name="made"))
    (finding,) = bs.check(fit, "monotone")
    assert f"most likely {shape}" in finding.sentence


@pytest.mark.slow
@pytest.mark.parametrize(("bend", "rise", "shape"), [(20.0, 0.0, "U-shaped"), (0.0, -5.0, "falling")])
def test_u_shaped_and_inverse_scaling_are_found(runs: bs.Runs, bend: float, rise: float, shape: str) -> None:
    random = np.random.default_rng(2)
    z = np.log(2.9) - np.log(runs["loss"])
    p = 1 / (1 + np.exp(-(rise * z + bend * z**2 - 0.5)))
    table = bs.load_runs(runs.frame.assign(n_correct=random.binomial(ITEMS, p)), loss_unit="nats")
    spec = bs.make_spec("bent", **bs.load_spec("bent-accuracy").to_dict() | {
        "responses": {"loss": "student-t", "bent-accuracy": "binomial"}, "parameters": {}})  # fmt: skip
    (finding,) = bs.check(bs.fit(table, spec, seed=0, draws=500), "monotone")
    assert finding.passed
    assert f"most likely {shape}" in finding.sentence
