"""Whitening: the arrow is the curvature, its factor the inverse's, and Newton finds a known mode."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.inference.potential import sites_at
from bayescale.inference.preconditioner import (
    Arrow,
    Places,
    _pull,
    arrow,
    diagonal,
    factor,
    identity,
    newton,
    stretch,
    variance,
)
from bayescale.inference.warm_start import warm_start
from bayescale.modelling.design import design
from bayescale.modelling.layout import blocked, layout

PLACES = Places(np.array([[0, 3], [1, 4], [2, 5]]), np.array([6, 8]))  # coordinate 7 has no place
SIZE = 9


@pytest.fixture(scope="module", autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def matrix() -> np.ndarray:
    """Return a positive definite matrix of three families of two coordinates and two shared."""
    random = np.random.default_rng(0)
    found = np.zeros((SIZE, SIZE))
    for own in PLACES.own:
        part = np.concatenate([own, PLACES.shared])
        root = random.standard_normal((4, 4))
        found[np.ix_(part, part)] += root @ root.T + np.eye(4)
    found[7, 7] = 1.0
    return found


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_an_arrow_is_read_off_one_product_for_each_kind_of_coordinate(batch):
    dense = matrix()
    found = arrow(lambda v: dense @ v, PLACES, SIZE, batch)
    for family, own in enumerate(PLACES.own):
        np.testing.assert_allclose(found.own[family], dense[np.ix_(own, own)])
        np.testing.assert_allclose(found.border[family], dense[np.ix_(own, PLACES.shared)])
    np.testing.assert_allclose(found.corner, dense[np.ix_(PLACES.shared, PLACES.shared)])
    placed = np.diagonal(dense) * (np.arange(SIZE) != 7)
    np.testing.assert_allclose(diagonal(found, PLACES, SIZE), placed)


def test_the_factor_times_its_transpose_is_the_inverse():
    dense = matrix()
    whitening = factor(arrow(lambda v: dense @ v, PLACES, SIZE, 9))
    root = jax.vmap(lambda v: stretch(whitening, PLACES, v), out_axes=1)(jnp.eye(SIZE))
    np.testing.assert_allclose(root @ root.T, np.linalg.inv(dense), rtol=1e-10, atol=1e-12)
    gradient = np.linspace(-1.0, 2.0, SIZE)
    own, shared = _pull(whitening, PLACES, jnp.asarray(gradient))
    np.testing.assert_allclose(own, (root.T @ gradient)[PLACES.own], rtol=1e-10)
    np.testing.assert_allclose(shared, (root.T @ gradient)[PLACES.shared], rtol=1e-10)
    np.testing.assert_allclose(variance(whitening, PLACES, SIZE), np.diagonal(np.linalg.inv(dense)), rtol=1e-10)


def test_damping_is_added_to_every_coordinate_that_has_a_place():
    dense, damping = matrix(), 0.7
    whitening = factor(arrow(lambda v: dense @ v, PLACES, SIZE, 9), damping)
    root = jax.vmap(lambda v: stretch(whitening, PLACES, v), out_axes=1)(jnp.eye(SIZE))
    damped = dense + damping * np.diag(np.arange(SIZE) != 7)
    np.testing.assert_allclose(root @ root.T, np.linalg.inv(damped), rtol=1e-10, atol=1e-12)


def test_a_direction_without_curvature_is_stretched_to_the_floor_alone():
    flat = Arrow(jnp.zeros((3, 2, 2)), jnp.zeros((3, 2, 2)), -jnp.eye(2))
    whitening = factor(flat)
    assert np.abs(np.asarray(stretch(whitening, PLACES, jnp.ones(SIZE)))).max() == pytest.approx(0.1**-0.5)


def test_the_identity_changes_nothing():
    like = factor(arrow(lambda v: matrix() @ v, PLACES, SIZE, 9))
    white = jnp.arange(SIZE, dtype=float)
    np.testing.assert_array_equal(stretch(identity(like), PLACES, white), white)


@pytest.mark.parametrize("places", [PLACES, Places(np.zeros((0, 0), int), np.arange(SIZE))])
def test_newton_finds_the_mode_of_a_curved_potential_and_leaves_the_rest(places):
    dense, mode = matrix(), np.linspace(-1, 1, SIZE)
    mode[7] = 0.0  # held where it begins, when it has no place

    def potential(at):
        away = at - mode
        return away @ dense @ away / 2 + jnp.sum(away**4) + 2.0

    found, curvature, report = newton(potential, places, SIZE, SIZE)
    assert bool(report["arrived"])
    np.testing.assert_allclose(found, mode, atol=1e-4)
    np.testing.assert_allclose(curvature.corner, dense[np.ix_(places.shared, places.shared)], atol=1e-3)


ONE = Places(np.zeros((0, 0), int), np.arange(1))


def test_the_steps_on_a_parabola_are_damped_by_a_fifth_more_lightly_each_time():
    """The error shrinks by d / (curvature + d), with d = 1 in the first step."""
    curvature, mode = 4.0, 3.0
    found, _, report = newton(lambda at: curvature * (at[0] - mode) ** 2 / 2, ONE, 1, 1)
    error, damping, points = mode, 1.0, 1
    while curvature * error**2 / 2 > 1e-6:  # what a full step would still gain
        error, damping, points = error * damping / (curvature + damping), damping / 5, points + 1
    assert int(report["steps"]) == points
    assert float(report["decrement"]) == pytest.approx(curvature * error**2 / 2, rel=1e-6)
    assert float(found[0]) == pytest.approx(mode - error, rel=1e-12)


def test_a_potential_without_a_mode_ends_the_search_after_its_last_step():
    found, _, report = newton(lambda at: -0.02 * at[0], ONE, 1, 1, careful=False)
    assert int(report["steps"]) == 200
    assert float(report["decrement"]) == pytest.approx(0.02**2 / 0.1 / 2)  # by the floor of the curvature
    assert not bool(report["arrived"])
    assert bool(jnp.isfinite(found).all())


def test_a_search_that_gains_nowhere_stays_and_ends_when_its_steps_vanish():
    """Each step that gains nothing is damped five times as much, from 1 to 1e12."""
    found, _, report = newton(lambda at: jnp.where(at[0] == 0.0, 0.0, jnp.inf) - at[0], ONE, 1, 1, careful=False)
    assert float(found[0]) == 0.0
    assert int(report["steps"]) == 1 + int(np.ceil(np.log(1e12) / np.log(5)))
    assert not bool(report["arrived"])


def two_wells(at, far: float):
    """A deep well at 1, where the slope at 0 is steep and does not bend, so that a full step leaps to the other."""
    return -50 * jnp.exp(-((at[0] - 1) ** 2) / 2) - far * jnp.exp(-((at[0] - 27.6) ** 2) / 18)


@pytest.mark.parametrize(("careful", "far", "mode"), [(False, 40.0, 27.6), (True, 40.0, 1.0), (True, 60.0, 27.6)])
def test_a_search_that_leapt_far_away_is_made_again_by_short_steps_and_the_lower_mode_counts(
    careful: bool, far: float, mode: float
) -> None:
    found, curvature, report = newton(lambda at: two_wells(at, far), ONE, 1, 1, careful=careful)
    assert bool(report["arrived"])
    assert float(found[0]) == pytest.approx(mode, abs=1e-3)
    assert float(curvature.corner[0, 0]) == pytest.approx(50 if mode == 1.0 else far / 9, rel=1e-3)


def test_a_mode_that_is_near_is_searched_for_once():
    near, far = (newton(lambda at, to=to: (at[0] - to) ** 2 / 2, ONE, 1, 1)[2] for to in (2.9, 3.1))
    assert int(far["steps"]) > 1.5 * int(near["steps"])


def test_a_mode_that_only_short_steps_find_is_found():
    """Beyond 2 the potential goes on to fall, but its slope is not a number: the first search ends there."""

    def potential(at):
        return two_wells(at, 0.0) - 60 * jnp.maximum(at[0] - 2, 0) + 0 * jnp.sqrt(jnp.maximum(2 - at[0], 0))

    assert not bool(newton(potential, ONE, 1, 1, careful=False)[2]["arrived"])
    found, _, report = newton(potential, ONE, 1, 1)
    assert bool(report["arrived"])
    assert float(found[0]) == pytest.approx(1.0, abs=1e-3)


def test_where_the_slope_is_no_number_there_is_no_mode_and_the_search_is_where_it_began():
    """The potential falls as far as 3, but its slope is not a number beyond 2."""

    def potential(at):
        return 2 * (at[0] - 3) ** 2 + 0 * jnp.sqrt(jnp.maximum(2 - at[0], 0))

    found, curvature, report = newton(potential, ONE, 1, 1)
    assert not bool(report["arrived"])
    assert float(found[0]) == float(curvature.corner[0, 0]) == 0.0


def test_a_potential_that_is_no_number_where_the_search_begins_has_no_mode():
    _, _, report = newton(lambda at: at[0] * jnp.nan, ONE, 1, 1)
    assert not bool(report["arrived"])


@pytest.mark.slow
@pytest.mark.parametrize("runs", [3, 4])
def test_the_search_does_not_end_where_the_noise_of_a_family_vanishes(runs: int) -> None:
    """A law of five parameters fits three or four runs exactly; the density there is a spike of little probability."""
    rng = np.random.default_rng(runs)
    many = pd.DataFrame({"family": "many", "params": np.tile(np.geomspace(1e8, 1e10, 5), 5),
                         "tokens": np.repeat(np.geomspace(2e9, 2e11, 5), 5)})  # fmt: skip
    table = pd.concat([many, many.iloc[rng.permutation(25)[:runs]].assign(family="few")], ignore_index=True)
    law = 1.8172 + 482.01 * table["params"] ** -0.3478 + 2085.43 * table["tokens"] ** -0.3658
    table["loss"] = law * np.exp(0.004 * rng.standard_normal(len(table)))
    spec = bs.load_spec("additive").structure
    points = design(bs.load_spec("additive"), bs.load_runs(table, loss_unit="nats"))
    points, _ = blocked(points, layout([points]))
    moved, start = warm_start(points, spec, lambda: None)
    few, many_noise = sites_at(spec, moved, start.begin)[0]["sigma"]
    assert start.report["arrived"]
    assert abs(np.log(few / many_noise)) < 0.5  # the prior alone says how noise differs between families
    assert many_noise == pytest.approx(0.004, rel=0.5)
