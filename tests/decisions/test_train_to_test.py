"""Train to test: params, tokens and samples under one budget, under known laws."""

from __future__ import annotations

import numpy as np
import pytest
from known import SARDANA
from scipy.special import gammaln

import bayescale as bs
from bayescale.core.errors import QueryError, RunsError
from bayescale.decisions.surface import frontier, others_of
from bayescale.decisions.train_to_test import TrainToTest
from bayescale.modelling.design import anchor_of

FLOPS = 1e23
AT = {"fair_loss": 1.9, "steepness": 4.0, "tail": 0.25, "rise": 0.3}


@pytest.fixture(scope="module")
def fit(chinchilla: bs.Runs) -> bs.Fit:
    """Every draw is Sardana's law with one difficulty of problems, spread by a billionth."""
    table = bs.load_runs(chinchilla.frame.assign(n_items=10, n_correct=1, samples=1, problem="one"), loss_unit="nats")
    anchor = {name: float(np.exp(value)) for name, value in anchor_of(bs.load_spec("additive"), table.frame).items()}
    E, A, B, alpha, beta = SARDANA.values()
    a, b = A * anchor["params"] ** -alpha, B * anchor["tokens"] ** -beta
    sites = {"level": (E + a + b) / anchor["loss"], "ratio_A": a / E, "ratio_B": b / E, "alpha_N": alpha,
             "beta_D": beta, "sigma": 0.005, "nu": 5.0, **AT}  # fmt: skip
    rng = np.random.default_rng(0)
    draws = {name: value * np.exp(1e-9 * rng.standard_normal((4, 125))) for name, value in sites.items()}
    return bs.Fit.from_samples(draws, "train-to-test", table)


def test_the_budget_pays_for_training_and_for_samples(fit: bs.Fit) -> None:
    actions = TrainToTest(FLOPS, 1e6, 500.0).actions(fit)
    spent = 6 * actions["params"] * actions["tokens"] + 2 * actions["params"] * 500 * actions["samples"] * 1e6
    np.testing.assert_allclose(spent, FLOPS, rtol=1e-12)


def test_if_samples_are_free_the_model_is_compute_optimal_and_sampled_the_most(fit: bs.Fit) -> None:
    """Problems solved then rise with the loss alone, and the loss is least at the best split of the budget."""
    choice = bs.decide("train-to-test", fit, flops=FLOPS, problems=1, sample_tokens=1, most_samples=100)
    best, _ = frontier(fit, np.array([FLOPS]), others_of(fit))
    assert choice.action["samples"] == 100
    assert abs(np.log(choice.action["params"] / best[0])) < 0.13  # half a step of sizes
    assert choice.to_dict()["over_training"] == pytest.approx(1.0, abs=0.3)


def test_many_problems_put_the_optimum_far_into_over_training(fit: bs.Fit) -> None:
    """The more problems, the smaller the model and the more tokens it sees per param."""
    found = [bs.decide("train-to-test", fit, flops=FLOPS, problems=problems) for problems in (1e4, 1e9)]
    over = [choice.to_dict()["over_training"] for choice in found]
    assert over[0] < over[1]
    assert over[1] > 10
    for choice in found:
        assert choice.to_dict()["solved"]["q50"] >= choice.to_dict()["solved_by_one_sample"]


def test_train_to_test_chooses_the_best_of_a_search_with_the_law_and_pass_at_k_written_out(fit: bs.Fit) -> None:
    """Brute force over sizes and samples. How the loss sets the difficulty of problems is this project's own form."""
    problems, t = 1e7, 1e3
    choice = bs.decide("train-to-test", fit, flops=FLOPS, problems=problems, sample_tokens=t)
    samples = np.unique(np.round(np.geomspace(1, 1e4, 200)))
    N, k = (x.ravel() for x in np.meshgrid(np.geomspace(1e8, 1e12, 400), samples))
    D = (FLOPS - 2 * N * t * k * problems) / (6 * N)
    N, k, D = N[D > 1e8], k[D > 1e8], D[D > 1e8]
    E, A, B, alpha, beta = SARDANA.values()
    nats = ((E + A * N**-alpha + B * D**-beta) / AT["fair_loss"]) ** AT["steepness"]
    best = solved(nats, k).max()
    assert best * 0.999 <= choice.to_dict()["solved"]["q50"] <= best * 1.0001


def solved(nats: np.ndarray, k: np.ndarray) -> np.ndarray:
    odds = -nats - np.log(-np.expm1(-nats))
    a = AT["tail"] * np.exp(AT["rise"] * (odds - np.log(0.01 / 0.99)))
    b = a * np.exp(-odds)
    return -np.expm1(gammaln(b + k) - gammaln(b) + gammaln(a + b) - gammaln(a + b + k))


def test_train_to_test_refuses_counts_of_samples_without_a_loss() -> None:
    """The table of samples that ships has no loss and one number of tokens: it cannot say what either buys."""
    with pytest.raises(RunsError, match="no column 'loss'"):
        bs.model("train-to-test", "monkeys")


def test_a_fit_without_samples_is_refused(chinchilla_fit: bs.Fit) -> None:
    with pytest.raises(QueryError, match="problems solved within samples"):
        bs.decide("train-to-test", chinchilla_fit, flops=1e23, problems=1e6)
