"""Stacking: weights of models from the scores of their forecasts."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from bayescale.core.errors import FitError
from bayescale.inference.weights import FEWEST_FORECASTS, Weights, equal, given, mixture, optimum, weigh

NAMES = ("one", "other", "third")


def problem(seed: int, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Scores of three Normals on data of a mixture of the first two, and eight groups of unequal sizes."""
    generator = np.random.default_rng(seed)
    came = np.where(generator.random(count) < 0.7, generator.normal(-1, 1, count), generator.normal(2, 1, count))
    scores = np.stack([stats.norm.logpdf(came, at, 1) for at in (-1, 2, 9)], axis=1)
    return scores, generator.choice(list("abcdefgh"), count, p=np.arange(1, 9) / 36)


def objective(scores: np.ndarray, groups: np.ndarray, w: np.ndarray) -> float:
    """Mean over groups of their mean log score, by the definition."""
    mixed = np.log(np.exp(scores) @ w)
    return float(np.mean([mixed[groups == name].mean() for name in np.unique(groups)]))


@pytest.mark.parametrize("seed", range(5))
def test_no_slope_at_the_optimum_says_to_move(seed: int) -> None:
    scores, _ = problem(seed)
    share = np.random.default_rng(seed).dirichlet(np.ones(len(scores)))
    w = optimum(scores, share)
    slope = (share / (np.exp(scores) @ w)) @ np.exp(scores)
    assert w.sum() == pytest.approx(1)
    assert (w >= 0).all()
    assert slope.max() <= 1 + 1e-5  # the bound on what any other mixture could gain, in nats a forecast
    assert w @ slope == pytest.approx(1)


def test_hits_and_misses_have_the_weights_of_their_shares() -> None:
    # Each observation is possible under one model alone: the optimum is the share of each.
    scores = np.full((100, 2), -np.inf)
    scores[:30, 0] = scores[30:, 1] = 0.0
    assert optimum(scores, np.ones(100)) == pytest.approx([0.3, 0.7])


def test_two_models_have_the_weight_that_a_fine_grid_finds() -> None:
    scores, groups = problem(7)
    grid = np.linspace(0, 1, 20_001)
    best = grid[np.argmax([objective(scores[:, :2], groups, np.array([w, 1 - w])) for w in grid])]
    # Within a step of the grid, and what 1e-6 nats leave open at this curvature (of order 1).
    assert weigh(scores[:, :2], groups, NAMES[:2]).weights["one"] == pytest.approx(best, abs=3e-3)


def test_the_mixture_that_made_the_data_is_found() -> None:
    found = weigh(*problem(3, 2000), NAMES)
    assert abs(found.weights["one"] - 0.7) < 4 * found.se["one"]
    assert found.weights["third"] < 0.01
    assert found.method == "stacking"


def test_the_order_of_models_is_no_matter() -> None:
    scores, groups = problem(1)
    reference = weigh(scores, groups, NAMES)
    for order in itertools.permutations(range(3)):
        again = weigh(scores[:, order], groups, [NAMES[i] for i in order])
        for name in NAMES:
            assert again.weights[name] == pytest.approx(reference.weights[name], abs=1e-9)
            assert again.se[name] == pytest.approx(reference.se[name], abs=1e-9)


def test_the_stack_scores_at_least_as_well_as_the_best_model() -> None:
    scores, groups = problem(2)
    w = np.array(list(weigh(scores, groups, NAMES).weights.values()))
    single = max(objective(scores, groups, row) for row in np.eye(3))
    assert objective(scores, groups, w) > single


def test_a_family_of_many_runs_counts_as_one_of_few() -> None:
    scores, groups = problem(4)
    many = np.concatenate([scores, *[scores[groups == "a"]] * 20])
    labels = np.concatenate([groups, *[groups[groups == "a"]] * 20])
    once, often = weigh(scores, groups, NAMES), weigh(many, labels, NAMES)
    assert often.weights["one"] == pytest.approx(once.weights["one"], abs=3e-3)
    assert often.forecasts > once.forecasts


def test_the_standard_error_is_the_spread_over_new_families() -> None:
    def draw(seed: int) -> np.ndarray:
        """Log scores where a family of ten runs sees one of the two models right throughout."""
        right = np.repeat(np.random.default_rng(seed).random(30) < 0.5, 10)
        return np.where(right[:, None], [0.0, -1.0], [-1.0, 0.0])

    weights = np.array([optimum(draw(seed), np.ones(300))[0] for seed in range(600)])
    families = np.repeat(np.arange(30), 10)
    errors = np.array([weigh(draw(seed), families, NAMES[:2]).se["one"] for seed in range(6)])
    # An SD of 600 draws is known to 1 / sqrt(1198) of itself, 3%, and the mean of six errors to as much.
    error = math.hypot(1198**-0.5, errors.std(ddof=1) / errors.mean() / 6**0.5)
    assert errors.mean() == pytest.approx(weights.std(ddof=1), rel=4 * error)


def error_of(right: int, units: int) -> float:
    """SD of the weight of the first of two models that scores 0 in its units and -1 in the others, over a bootstrap.

    Of a Bayesian bootstrap the share p of its units is Beta distributed. With density e in the others, the optimum of
    p ln(w + (1 - w) e) + (1 - p) ln(1 - w + w e) is at w (1 - e) = p (1 + e) - e, inside of 0 and 1.
    """
    e, p = np.exp(-1.0), stats.beta(right, units - right).ppf((np.arange(10_000) + 0.5) / 10_000)
    return float(np.clip((p * (1 + e) - e) / (1 - e), 0.0, 1.0).std())


def test_blocks_that_err_together_widen_the_error_and_leave_the_weights() -> None:
    right = np.repeat(np.random.default_rng(5).random(12) < 0.6, 25)
    scores = np.where(right[:, None], [0.0, -1.0], [-1.0, 0.0])
    family = ["a"] * 300
    alone, together = weigh(scores, family, NAMES[:2]), weigh(scores, family, NAMES[:2], np.repeat(np.arange(12), 25))
    assert together.weights == alone.weights
    # An SD over 400 replicates is known to 1 / sqrt(800) of itself.
    assert alone.se["one"] == pytest.approx(error_of(200, 300), rel=4 * 800**-0.5)
    assert together.se["one"] == pytest.approx(error_of(8, 12), rel=4 * 800**-0.5)
    assert "12 blocks" in together.sentence


def test_too_few_forecasts_have_equal_weights_and_say_so() -> None:
    found = weigh(np.tile([0.0, -3.0, -9.0], (FEWEST_FORECASTS - 1, 1)), ["a"] * (FEWEST_FORECASTS - 1), NAMES)
    assert found.method == "equal"
    assert list(found.weights.values()) == pytest.approx([1 / 3] * 3)
    assert f"fewer than {FEWEST_FORECASTS}" in found.sentence
    assert np.isnan(list(found.se.values())).all()


def test_the_mixtures_density_is_the_weighted_sum() -> None:
    scores, _ = problem(0, 5)
    mixed = mixture(scores, given({"one": 2, "other": 1, "third": 1}))
    np.testing.assert_allclose(np.exp(mixed), np.exp(scores) @ [0.5, 0.25, 0.25])


def test_equal_weights_are_equal_and_their_errors_are_not_shown() -> None:
    found = equal(NAMES, "nothing was scored")
    assert list(found.weights.values()) == pytest.approx([1 / 3] * 3)
    assert (found.method, found.forecasts, found.groups) == ("equal", 0, 0)
    assert repr(found) == "Weights(one 0.33, other 0.33, third 0.33; equal weights: nothing was scored)"
    known = Weights({"one": 0.7, "other": 0.3}, {"one": 0.125, "other": np.nan}, "stacking", 9, 2, "stacked")
    assert repr(known) == "Weights(one 0.70 ± 0.12, other 0.30; stacked)"


def test_weights_go_to_plain_values_and_back() -> None:
    for found in (weigh(*problem(0), NAMES), given({"one": 1.0})):
        back = Weights.from_dict(found.to_dict())
        assert repr(back) == repr(found)


@pytest.mark.parametrize(
    ("scores", "groups", "names", "says"),
    [
        (np.zeros((3, 2)), ["a"] * 4, NAMES[:2], "shape"),
        (np.zeros((3, 2)), ["a"] * 3, ("one", "one"), "same name"),
        (np.full((3, 2), np.nan), ["a"] * 3, NAMES[:2], "no finite log score"),
        (np.full((3, 2), -np.inf), ["a"] * 3, NAMES[:2], "no finite log score"),
    ],
)
def test_scores_that_say_nothing_are_refused(scores, groups, names, says) -> None:
    with pytest.raises(FitError, match=says):
        weigh(scores, groups, names)


@pytest.mark.parametrize("weights", [{"one": -1.0, "other": 2.0}, {"one": 0.0}, {"one": np.nan}])
def test_weights_that_are_none_are_refused(weights) -> None:
    with pytest.raises(FitError, match="weights cannot be used"):
        given(weights)


def test_of_one_block_no_error_is_known() -> None:
    scores = np.random.default_rng(3).normal(size=(30, 2))
    found = weigh(scores, ["f"] * 30, ["one", "other"], ["near"] * 30)
    assert found.method == "stacking"
    assert all(np.isnan(error) for error in found.se.values())
    assert "errors not known" in found.sentence
