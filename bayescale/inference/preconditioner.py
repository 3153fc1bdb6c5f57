"""Curvature of a model whose families are independent given what they share: found, solved and whitened by family.

With centres and spreads held, the curvature is an arrow: one block a family, a border that ties it to
what families share, and a corner. Its cost grows with the families, not with their square.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

_NEWTON_STEPS = 200
# Newton has arrived when the predicted decrease of the potential is far below what a draw can notice (1/2).
_NEWTON_DECREMENT = 1e-6
# In Gaussian coordinates a direction that only the prior informs has curvature 1 / scale²; below this floor,
# relative to the diagonal, the curvature is taken for the floor, so that no direction is stretched without end.
_CURVATURE_FLOOR = 0.1


class Places(NamedTuple):
    """Where in a flat vector the free coordinates lie: `own` (family, o) of each family, `shared` (s,) by all."""

    own: np.ndarray
    shared: np.ndarray


class Arrow(NamedTuple):
    """A symmetric matrix of `own` blocks (family, o, o), their `border` (family, o, s) and a `corner` (s, s)."""

    own: Array
    border: Array
    corner: Array


class Whitening(NamedTuple):
    """A factor F with F Fᵀ the inverse of an arrow: what is shared moves families along the `border`."""

    own: Array
    border: Array
    corner: Array


def arrow(along: Callable[[Array], Array], places: Places, size: int, batch: int) -> Arrow:
    """Curvature from its products with vectors, `batch` at a time: one vector for all families' k-th coordinates."""
    own = places.own.shape[1]
    tangents = np.zeros((own + places.shared.size, size))
    tangents[np.arange(own), places.own] = 1.0
    tangents[own + np.arange(places.shared.size), places.shared] = 1.0
    columns = jax.lax.map(along, jnp.asarray(tangents), batch_size=batch)
    by_family = jnp.moveaxis(columns[:, places.own], 0, -1)
    return Arrow(by_family[..., :own], by_family[..., own:], columns[own:][:, places.shared])


def diagonal(curvature: Arrow, places: Places, size: int) -> Array:
    """Diagonal of an arrow on the flat vector; 0 in no place."""
    own = jnp.diagonal(curvature.own, axis1=1, axis2=2)
    return jnp.zeros(size).at[places.own].set(own).at[places.shared].set(jnp.diagonal(curvature.corner))


def factor(curvature: Arrow, damping: Array | float = 0.0) -> Whitening:
    """Whiten by a curvature, made positive and no smaller than the floor, `damping` added."""
    values, vectors = _eigen(curvature.own)
    root = vectors * jax.lax.rsqrt(values + damping)[..., None, :]
    seen = jnp.swapaxes(root, 1, 2) @ curvature.border
    values, vectors = _eigen(curvature.corner - jnp.einsum("fis,fit->st", seen, seen))
    corner = vectors * jax.lax.rsqrt(values + damping)
    return Whitening(root, -root @ seen @ corner, corner)


def identity(like: Whitening) -> Whitening:
    """Return the factor, of another's shapes, that changes nothing."""
    own, corner = (jnp.broadcast_to(jnp.eye(part.shape[-1]), part.shape) for part in (like.own, like.corner))
    return Whitening(own, jnp.zeros(like.border.shape), corner)


def stretch(whitening: Whitening, places: Places, white: Array) -> Array:
    """F times a flat vector; coordinates in no place stay as they are."""
    shared = white[places.shared]
    own = jnp.einsum("fij,fj->fi", whitening.own, white[places.own]) + whitening.border @ shared
    return white.at[places.own].set(own).at[places.shared].set(whitening.corner @ shared)


def _pull(whitening: Whitening, places: Places, gradient: Array) -> tuple[Array, Array]:
    """Fᵀ times a flat vector: its own part (family, o) and its shared part."""
    own, shared = gradient[places.own], gradient[places.shared]
    pulled = whitening.corner.T @ shared + jnp.einsum("fis,fi->s", whitening.border, own)
    return jnp.einsum("fij,fi->fj", whitening.own, own), pulled


def variance(whitening: Whitening, places: Places, size: int) -> Array:
    """Diagonal of F Fᵀ; 1 in no place."""
    own = jnp.sum(whitening.own**2, axis=-1) + jnp.sum(whitening.border**2, axis=-1)
    return jnp.ones(size).at[places.own].set(own).at[places.shared].set(jnp.sum(whitening.corner**2, axis=-1))


def newton(
    potential: Callable[[Array], Array], places: Places, size: int, batch: int
) -> tuple[Array, Arrow, dict[str, Array]]:
    """Mode of a potential by damped Newton steps from zero, in the coordinates that have a place.

    A step evaluates the potential, its gradient and its curvature together, `batch` columns at a time,
    in one place of the program: most of its compile time is theirs.

    Returns
    -------
    mode : Array, shape (p,)
    curvature : Arrow
        At the mode.
    report : dict
        ``steps`` taken, last ``decrement`` (predicted decrease of the potential), and whether it ``arrived``.
    """

    def evaluate(white: Array) -> tuple[Array, Array, Arrow]:
        def slope(white: Array) -> tuple[Array, tuple[Array, Array]]:
            value, gradient = jax.value_and_grad(potential)(white)
            return gradient, (value, gradient)

        _, along, (value, gradient) = jax.linearize(slope, white, has_aux=True)
        return value, gradient, arrow(along, places, size, batch)

    def step(state: tuple) -> tuple:
        proposal, *old, damping, _, count = state
        found = evaluate(proposal)
        better = found[0] < old[1]
        white, value, gradient, curvature = jax.tree.map(
            lambda new, old: jnp.where(better, new, old), (proposal, *found), tuple(old)
        )
        damping = jnp.where(better, damping / 5, jnp.maximum(damping, 1e-3) * 5)
        decrement = sum(jnp.sum(part**2) for part in _pull(factor(curvature), places, gradient)) / 2
        damped = factor(curvature, damping)
        own, shared = _pull(damped, places, gradient)
        down = jnp.zeros(size).at[places.own].set(own).at[places.shared].set(shared)
        return white - stretch(damped, places, down), white, value, gradient, curvature, damping, decrement, count + 1

    def go_on(state: tuple) -> Array:
        *_, damping, decrement, count = state
        return (count < _NEWTON_STEPS) & (decrement > _NEWTON_DECREMENT) & (damping < 1e12)

    zero, infinite = jnp.zeros(size), jnp.asarray(jnp.inf)
    (families, own), shared = places.own.shape, places.shared.size
    flat = Arrow(jnp.zeros((families, own, own)), jnp.zeros((families, own, shared)), jnp.zeros((shared, shared)))
    state = (zero, zero, infinite, zero, flat, jnp.asarray(5.0), infinite, jnp.asarray(0))
    _, mode, _, _, curvature, _, decrement, count = jax.lax.while_loop(go_on, step, state)
    arrived = (decrement < 1e-3) & jnp.all(jnp.isfinite(mode))
    return mode, curvature, {"steps": count, "decrement": decrement, "arrived": arrived}


def _eigen(curvature: Array) -> tuple[Array, Array]:
    """Eigenvalues, made positive and no smaller than the floor, and eigenvectors."""
    if not curvature.size:
        return jnp.zeros(curvature.shape[:-1]), curvature
    values, vectors = jnp.linalg.eigh(curvature)
    return jnp.maximum(jnp.abs(values), _CURVATURE_FLOOR), vectors
