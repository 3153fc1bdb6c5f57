"""Warm start: the mode of the potential, and what whitens it there.

A damped Newton search finds the mode with centres and spreads held; the curvature there whitens the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from bayescale.inference.aot import call
from bayescale.inference.potential import flatten, initial, sites_at
from bayescale.inference.preconditioner import Whitening, arrow, factor, identity, newton, variance
from bayescale.modelling.design import Design
from bayescale.modelling.grouping import centered
from bayescale.modelling.spec import Spec
from bayescale.parts.base import Role

ROUNDS = 3
"""Rounds in which a warm start chooses coordinates."""

_INFORMED = 0.3  # variance of an offset, of 1 in the prior, under which its family's runs outweigh its peers

_RUNS_TIMES_POINTS = 2_000_000  # in an array over runs and points, at most: 16 MB


class Start(NamedTuple):
    """Where the chains start, and how the model is whitened there."""

    begin: dict[str, Array]
    scale: Array
    factor: Whitening
    shift: Array  # (centre, p): centres' coordinates as they move, of a small step in those that do not
    report: dict[str, Array]
    variance: dict[str, Array]


@partial(jax.jit, static_argnames="spec")
def find_mode(begin: dict[str, Array], design: Design, *, spec: Spec) -> Start:
    """Mode from a beginning, centres and spreads held there, and what whitens the model if it was found."""
    flat = flatten(spec, design, begin, moving=False)
    size, free, batch = flat.scale.size, flat.roles.places("shared"), at_a_time(design, flat.scale.size)
    mode, curvature, report = newton(flat.potential, free, size, batch)
    variances = flat.unravel(variance(factor(curvature), free, size))
    scale, shift = flat.scale, jnp.zeros((0, size))
    if design.centering:
        # Spreads are left out: away from their own mode, a curvature says little of their width.
        _, along = jax.linearize(jax.grad(flat.potential), mode)
        curvature = arrow(along, flat.roles.places("shared", "centers"), size, batch)
        shift = jax.jacrev(flat.moved_centers)(mode)
        scale = scale.at[flat.roles.centers].set(1.0)  # as it moves, a centre is in units of its SD already
    whitening = factor(curvature)
    whitening, shift = jax.tree.map(
        partial(jnp.where, report["arrived"]),
        (whitening, shift),
        (identity(whitening), jnp.eye(size)[flat.roles.centers]),
    )
    return Start(flat.constrain(mode), scale, whitening, shift, report, variances)


def at_a_time(design: Design, most: int) -> int:
    """How many points to evaluate the model at, at a time: arrays over runs bound the memory."""
    return max(1, min(most, _RUNS_TIMES_POINTS // design.mask.size))


def warm_start(
    design: Design, spec: Spec, advance: Callable[[], None], apply: Callable[..., Any] = call
) -> tuple[Design, Start]:
    """Whiten the model around its mode, after choosing every family's coordinates.

    With centres and spreads held, the Laplace approximation gives the variance of each family's offset:
    near 1 (the prior's) where its runs say nothing, 0 where they say all; one minus it is the centering.
    `apply` runs a function of one design, or that function on many.
    """
    begin = apply(initial, design, spec=spec)
    for i in range(ROUNDS if design.centering else 0):
        start = apply(find_mode, begin, design, spec=spec)
        variances = {name: _of_offsets(start, spec, name) for name in design.centering}
        centering = {name: variance * 0 for name, variance in variances.items()}
        if i == ROUNDS - 1:
            centering = {name: _centering(variance) for name, variance in variances.items()}
        begin, design = apply(_restart, start, centering, design, spec=spec), replace(design, centering=centering)
        advance()
    return design, apply(find_mode, begin, design, spec=spec)


def _of_offsets(start: Start, spec: Spec, name: str) -> Array:
    """Variance of each family's coordinate of a parameter, which is its offset at centering 0."""
    return start.variance[centered(spec)[name].site(name, Role.COORDINATE).name]


def _centering(variance: Array) -> Array:
    """Centering of each family from the variance of its offset: all or nothing.

    A family whose runs say more than its peers is centred. Anything between ties its value, which its
    runs hold tightly, to the spread, which they do not: a curved ridge.
    """
    return jnp.where(variance < _INFORMED, 1.0, 0.0)


@partial(jax.jit, static_argnames="spec")
def _restart(start: Start, centering: dict[str, Array], design: Design, *, spec: Spec) -> dict[str, Array]:
    """Latent values to begin from again, centres and spreads moved to fit the families."""
    values = dict(start.begin)
    sites, *_ = sites_at(spec, design, values)
    for name, to in centering.items():
        setting, held = spec.parameters[name], _of_offsets(start, spec, name)
        prior = setting.prior.placed(design.priors[name])
        values |= centered(spec)[name].restart(name, prior, setting.spread, sites, held, to)
    return values
