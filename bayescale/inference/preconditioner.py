"""Curvature of a model whose families are independent given shared coordinates: compute, solve and whiten it.

With centres and spreads held fixed, the curvature is an arrow matrix: one block per family, a border that couples
it to the shared coordinates, and a corner. The cost is linear in the number of families, not quadratic.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

_NEWTON_STEPS = 200
# Newton stops when the predicted decrease of the potential is far below its typical variation between draws (1/2).
_NEWTON_DECREMENT = 1e-6
# A search whose mode is further than this from its start, in prior SDs, may have leapt into a region that the prior all
# but excludes, and ended at a mode of no weight there. It is made once more with steps of one SD at most, and counts if
# it ends lower by more than rounding.
_FAR, _STEP, _LOWER = 3.0, 1.0, 0.01
# In Gaussian coordinates, a direction that only the prior informs has curvature 1 / scale². Curvature below this floor,
# relative to the diagonal, is set to the floor, so that no direction is stretched without bound.
_CURVATURE_FLOOR = 0.1


class Places(NamedTuple):
    """Indices of the free coordinates in a flat vector: `own` (family, o) of each family, `shared` (s,) by all."""

    own: np.ndarray
    shared: np.ndarray


class Arrow(NamedTuple):
    """A symmetric matrix of `own` blocks (family, o, o), their `border` (family, o, s) and a `corner` (s, s)."""

    own: Array
    border: Array
    corner: Array


class Whitening(NamedTuple):
    """A factor F with F Fᵀ the inverse of an arrow; shared coordinates move families along the `border`."""

    own: Array
    border: Array
    corner: Array


def arrow(along: Callable[[Array], Array], places: Places, size: int, batch: int) -> Arrow:
    """Compute the curvature from products with vectors, `batch` at a time: one for all families' k-th coordinates."""
    own = places.own.shape[1]
    tangents = np.zeros((own + places.shared.size, size))
    tangents[np.arange(own), places.own] = 1.0
    tangents[own + np.arange(places.shared.size), places.shared] = 1.0
    columns = jax.lax.map(along, jnp.asarray(tangents), batch_size=batch)
    by_family = jnp.moveaxis(columns[:, places.own], 0, -1)
    return Arrow(by_family[..., :own], by_family[..., own:], columns[own:][:, places.shared])


def diagonal(curvature: Arrow, places: Places, size: int) -> Array:
    """Return the diagonal of an arrow on the flat vector; 0 for coordinates that are not in `places`."""
    own = jnp.diagonal(curvature.own, axis1=1, axis2=2)
    return jnp.zeros(size).at[places.own].set(own).at[places.shared].set(jnp.diagonal(curvature.corner))


def factor(curvature: Arrow, damping: Array | float = 0.0) -> Whitening:
    """Return the whitening of a curvature whose eigenvalues are made positive, raised to the floor, and damped."""
    values, vectors = _eigen(curvature.own)
    root = vectors * jax.lax.rsqrt(values + damping)[..., None, :]
    seen = jnp.swapaxes(root, 1, 2) @ curvature.border
    values, vectors = _eigen(curvature.corner - jnp.einsum("fis,fit->st", seen, seen))
    corner = vectors * jax.lax.rsqrt(values + damping)
    return Whitening(root, -root @ seen @ corner, corner)


def identity(like: Whitening) -> Whitening:
    """Return the identity, with the shapes of another whitening."""
    own, corner = (jnp.broadcast_to(jnp.eye(part.shape[-1]), part.shape) for part in (like.own, like.corner))
    return Whitening(own, jnp.zeros(like.border.shape), corner)


def stretch(whitening: Whitening, places: Places, white: Array) -> Array:
    """Multiply F by a flat vector; coordinates that are not in `places` do not change."""
    shared = white[places.shared]
    own = jnp.einsum("fij,fj->fi", whitening.own, white[places.own]) + whitening.border @ shared
    return white.at[places.own].set(own).at[places.shared].set(whitening.corner @ shared)


def _pull(whitening: Whitening, places: Places, gradient: Array) -> tuple[Array, Array]:
    """Multiply Fᵀ by a flat vector: the families' part (family, o) and the shared part (s,)."""
    own, shared = gradient[places.own], gradient[places.shared]
    pulled = whitening.corner.T @ shared + jnp.einsum("fis,fi->s", whitening.border, own)
    return jnp.einsum("fij,fi->fj", whitening.own, own), pulled


def variance(whitening: Whitening, places: Places, size: int) -> Array:
    """Return the diagonal of F Fᵀ; 1 for coordinates that are not in `places`."""
    own = jnp.sum(whitening.own**2, axis=-1) + jnp.sum(whitening.border**2, axis=-1)
    return jnp.ones(size).at[places.own].set(own).at[places.shared].set(jnp.sum(whitening.corner**2, axis=-1))


class _Search(NamedTuple):
    """The end of a search for a mode."""

    mode: Array
    value: Array
    curvature: Arrow
    decrement: Array
    steps: Array

    @property
    def arrived(self) -> Array:
        """Whether it ended at a mode; not where the potential or its derivatives are no numbers."""
        return (self.decrement < 1e-3) & jnp.isfinite(self.value)


def newton(
    potential: Callable[[Array], Array], places: Places, size: int, batch: int, *, careful: bool = True
) -> tuple[Array, Arrow, dict[str, Array]]:
    """Find the mode of a potential by damped Newton steps from zero, in the coordinates of `places`.

    A step evaluates the potential, its gradient and its curvature together, at a single point in the program, because
    they take most of the compile time.

    Parameters
    ----------
    potential : callable
        From a flat vector to its potential, a scalar.
    places : Places
        The coordinates that move; others stay at zero.
    size : int
        Length p of the flat vector.
    batch : int
        Columns of the curvature that are computed at a time.
    careful : bool
        Whether to search again with short steps if the mode is far from zero, or none was found.

    Returns
    -------
    mode : Array, shape (p,)
        Zero if the potential or its derivatives are no numbers where the search ended.
    curvature : Arrow
        At the mode.
    report : dict
        Number of ``steps``, last ``decrement`` (predicted decrease of the potential), and whether it ``arrived``.
    """
    zero, none = jnp.zeros(size), jnp.asarray(jnp.inf)
    (families, own), shared = places.own.shape, places.shared.size
    flat = Arrow(jnp.zeros((families, own, own)), jnp.zeros((families, own, shared)), jnp.zeros((shared, shared)))
    nowhere = _Search(zero, none, flat, none, jnp.asarray(0))

    def again(state: tuple[Array, _Search]) -> Array:
        tries, found = state
        poor = ~found.arrived | (jnp.max(jnp.abs(found.mode), initial=0.0) > _FAR)
        return (tries == 0) | ((tries == 1) & poor)

    def search(state: tuple[Array, _Search]) -> tuple[Array, _Search]:
        tries, old = state
        new = _descend(potential, places, nowhere, batch, jnp.where(tries == 0, jnp.inf, _STEP))
        better = new.arrived & (~old.arrived | (new.value < old.value - _LOWER)) | (tries == 0)
        found = jax.tree.map(lambda new, old: jnp.where(better, new, old), new, old)
        return tries + 1, found._replace(steps=old.steps + new.steps)

    if careful:
        _, found = jax.lax.while_loop(again, search, (jnp.asarray(0), nowhere))
    else:
        found = _descend(potential, places, nowhere, batch)
    known = jnp.isfinite(found.decrement) & jnp.isfinite(found.value)
    mode, curvature = jax.tree.map(partial(jnp.where, known), (found.mode, found.curvature), (zero, flat))
    return mode, curvature, {"steps": found.steps, "decrement": found.decrement, "arrived": found.arrived}


def _descend(
    potential: Callable[[Array], Array], places: Places, begin: _Search, batch: int, longest: Array | None = None
) -> _Search:
    """Take damped Newton steps, none longer than `longest` in any coordinate, until they gain next to nothing."""
    size = begin.mode.size

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
        move = stretch(damped, places, down)
        if longest is not None:
            move *= jnp.minimum(1.0, longest / jnp.max(jnp.abs(move)))
        return white - move, white, value, gradient, curvature, damping, decrement, count + 1

    def go_on(state: tuple) -> Array:
        *_, damping, decrement, count = state
        return (count < _NEWTON_STEPS) & (decrement > _NEWTON_DECREMENT) & (damping < 1e12)

    zero = begin.mode
    state = (zero, zero, begin.value, zero, begin.curvature, jnp.asarray(5.0), begin.decrement, begin.steps)
    _, mode, value, _, curvature, _, decrement, count = jax.lax.while_loop(go_on, step, state)
    return _Search(mode, value, curvature, decrement, count)


def _eigen(curvature: Array) -> tuple[Array, Array]:
    """Return eigenvalues, made positive and raised to the floor, and eigenvectors."""
    if not curvature.size:
        return jnp.zeros(curvature.shape[:-1]), curvature
    values, vectors = jnp.linalg.eigh(curvature)
    return jnp.maximum(jnp.abs(values), _CURVATURE_FLOOR), vectors
