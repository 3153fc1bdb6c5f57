"""Values looked up by position: as an index gives them, and without a scatter in the gradient."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescale.core.lookup import looked_up

INDEX = np.array([[2], [0], [0], [3]])


def test_values_are_those_of_an_index() -> None:
    values = np.array([2.5, 0.5, 3.5, 1.5])
    assert np.array_equal(looked_up(jnp.asarray(values), INDEX), values[INDEX])


def test_gradients_are_those_of_an_index() -> None:
    values = jnp.arange(4.0)
    weights = jnp.asarray([[1.0], [2.0], [4.0], [8.0]])
    found = jax.grad(lambda values: jnp.sum(weights * looked_up(values, INDEX) ** 2))(values)
    assert np.array_equal(found, 2 * values * jnp.asarray([6.0, 0.0, 1.0, 8.0]))


def test_a_value_that_nobody_asks_for_may_be_missing() -> None:
    values = jnp.asarray([1.0, jnp.nan, 3.0, 4.0])
    assert np.array_equal(looked_up(values, INDEX), [[3.0], [1.0], [1.0], [4.0]])
    assert np.isfinite(jax.grad(lambda values: jnp.sum(looked_up(values, INDEX)))(values)).all()


@pytest.mark.parametrize(("size", "scatters"), [(4, False), (4096, True)])
def test_the_gradient_scatters_where_that_is_quicker(size: int, scatters: bool) -> None:
    gradient = jax.make_jaxpr(jax.grad(lambda values: jnp.sum(looked_up(values, INDEX))))(jnp.ones(size))
    assert ("scatter" in str(gradient)) is scatters
