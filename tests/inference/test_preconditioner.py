"""Whitening: the arrow is the curvature, its factor the inverse's, and Newton finds a known mode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescale.inference.preconditioner import (
    Arrow,
    Places,
    arrow,
    diagonal,
    factor,
    identity,
    newton,
    stretch,
    variance,
)

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
    np.testing.assert_allclose(variance(whitening, PLACES, SIZE), np.diagonal(np.linalg.inv(dense)), rtol=1e-10)


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
