"""Warm start: the mode of the potential, and the whitening there.

A damped Newton search finds the mode with centres and spreads held fixed. The curvature there whitens the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from bayescale.inference.aot import call
from bayescale.inference.potential import flatten, held, initial, sites_at
from bayescale.inference.preconditioner import Whitening, arrow, factor, identity, newton, variance
from bayescale.modelling.design import Design
from bayescale.modelling.grouping import centered
from bayescale.modelling.spec import Spec
from bayescale.parts.base import Role

ROUNDS = 3
"""Number of rounds in which a warm start chooses coordinates."""

_INFORMED = 0.3  # variance of an offset (1 in the prior) below which its family's runs say more than other families

_RUNS_TIMES_POINTS = 2_000_000  # largest size of an array over runs and points: 16 MB


class Start(NamedTuple):
    """Starting point of the chains, and the whitening of the model there."""

    begin: dict[str, Array]
    scale: Array
    factor: Whitening
    shift: Array  # (centre, p): Jacobian of moving centres by coordinates in which they do not move
    report: dict[str, Array]
    variance: dict[str, Array]


@partial(jax.jit, static_argnames="spec")
def find_mode(begin: dict[str, Array], design: Design, *, spec: Spec) -> Start:
    """Find the mode with centres and spreads held fixed, and the whitening there, which is the identity without a mode.

    Parameters
    ----------
    begin : dict of Array
        The starting point: values of the latent sites.
    design : Design
    spec : Spec

    Returns
    -------
    Start
    """
    flat = flatten(spec, design, begin, moving=False)
    size, free, batch = flat.scale.size, flat.roles.places("shared"), at_a_time(design, flat.scale.size)
    # Coordinates of shared errors often lie far from their prior, at modes that are no accident.
    mode, curvature, report = newton(flat.search, free, size, batch, careful=not held(spec))
    variances = flat.unravel(variance(factor(curvature), free, size))
    scale, shift = flat.scale, jnp.zeros((0, size))
    if design.centering:
        # Spreads are left out: away from their own mode, the curvature says little about their width.
        _, along = jax.linearize(jax.grad(flat.potential), mode)
        curvature = arrow(along, flat.roles.places("shared", "centers"), size, batch)
        shift = jax.jacrev(flat.moved_centers)(mode)
        scale = scale.at[flat.roles.centers].set(1.0)  # a moving centre is already in units of its SD
    whitening = factor(curvature)
    whitening, shift = jax.tree.map(
        partial(jnp.where, report["arrived"]),
        (whitening, shift),
        (identity(whitening), jnp.eye(size)[flat.roles.centers]),
    )
    return Start(flat.constrain(mode), scale, whitening, shift, report, variances)


def at_a_time(design: Design, most: int) -> int:
    """Return at how many points to evaluate the model at a time; arrays over runs limit the memory."""
    return max(1, min(most, _RUNS_TIMES_POINTS // design.mask.size))


def warm_start(
    design: Design,
    spec: Spec,
    advance: Callable[[], None],
    apply: Callable[..., Any] = call,
    begin: Mapping[str, Any] | None = None,
) -> tuple[Design, Start]:
    """Choose every family's coordinates, then whiten the model around its mode.

    With centres and spreads held fixed, the Laplace approximation gives the variance of each family's offset. It is
    near 1 (that of the prior) if its runs say nothing, and near 0 if they determine it. The centering of a family is 1
    if the variance is small, else 0.

    Parameters
    ----------
    design : Design
    spec : Spec
    advance : callable
        Called after each round.
    apply : callable
        Runs a function on one design, or on a stack of designs.
    begin : mapping of str to Array, optional
        Values of sites at which to start instead of the prior median.

    Returns
    -------
    design : Design
        With the chosen centering.
    start : Start
    """
    begin = {**apply(initial, design, spec=spec), **(begin or {})}
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
    """Return the variance of each family's coordinate of a parameter: at centering 0, this is its offset."""
    return start.variance[centered(spec)[name].site(name, Role.COORDINATE).name]


def _centering(variance: Array) -> Array:
    """Return the centering of each family, 0 or 1, from the variance of its offset.

    A family is centred if its runs say more than other families. A value in between would tie the family's value,
    which its runs determine precisely, to the spread, which they do not: a curved ridge.
    """
    return jnp.where(variance < _INFORMED, 1.0, 0.0)


@partial(jax.jit, static_argnames="spec")
def _restart(start: Start, centering: dict[str, Array], design: Design, *, spec: Spec) -> dict[str, Array]:
    """Return latent values for the next round, with centres and spreads moved to fit the families."""
    values = dict(start.begin)
    sites, *_ = sites_at(spec, design, values)
    for name, to in centering.items():
        setting, held = spec.parameters[name], _of_offsets(start, spec, name)
        prior = setting.prior.placed(design.priors[name])
        values |= centered(spec)[name].restart(name, prior, setting.spread, sites, held, to)
    return values
