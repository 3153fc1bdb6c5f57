"""Flatten: express a model as a potential on one flat vector, in coordinates that suit a sampler.

Coordinates are in units of the prior. If the model ties some coordinates to others along a curved ridge, their
conditional mean given the others is subtracted, or they are standardised by their conditional mean and SD.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from numpyro import handlers
from numpyro.distributions import biject_to
from numpyro.infer.util import potential_energy

from bayescale.core.dims import FAMILY
from bayescale.inference.preconditioner import (
    Places,
    arrow,
    diagonal,
)
from bayescale.modelling.design import Design
from bayescale.modelling.grouping import centered, ways_of
from bayescale.modelling.interpreter import interpret
from bayescale.modelling.model import Instance, Model
from bayescale.modelling.sites import COORDINATES, LAW, declared_sites, sites_of
from bayescale.modelling.spec import Spec
from bayescale.parts.base import Role, Site

_PRIOR_CURVATURE = (1e-2, 1e6)  # keeps the unit of a coordinate finite if its prior is flat or a spike


_SHARED = {Role.CENTER: "centers", Role.SPREAD: "spreads"}
"""Group of coordinates in :class:`Roles` for shared sites, by role; sites of other roles are in ``shared``."""


class Roles(NamedTuple):
    """Indices in a flat vector of each family's own coordinates, shape (family, o), and of shared ones, shape (s,).

    If a battery of responses has more coordinates than the families, its responses take their place. `held` are shared
    scales that the search for the mode must not move; `own_held`, shape (family, o), are such scales of each family.
    """

    own: np.ndarray
    own_held: np.ndarray
    shared: np.ndarray
    held: np.ndarray
    centers: np.ndarray
    spreads: np.ndarray

    def places(self, *names: str) -> Places:
        """Return the families' own coordinates, and the shared coordinates with these names."""
        own = np.concatenate([self.own, *([self.own_held] if "held" in names else [])], axis=1)
        return Places(own, np.concatenate([getattr(self, name) for name in names]))


class Flat(NamedTuple):
    """A model on a flat unconstrained vector.

    `search` is the potential that has a mode: see :func:`_fitted_exactly`. If centres do not move,
    `moved_centers` returns the coordinates that they would have if they did.
    """

    potential: Callable[[Array], Array]
    search: Callable[[Array], Array]
    constrain: Callable[[Array], dict[str, Array]]
    unravel: Callable[[Array], dict[str, Array]]
    scale: Array
    roles: Roles
    moved_centers: Callable[[Array], Array]


@partial(jax.jit, static_argnames="spec")
def initial(design: Design, *, spec: Spec) -> dict[str, Array]:
    """Return prior medians of the latent sites, each given the medians of the sites before it."""

    def median(site: dict[str, Any]) -> Array | None:
        if site["type"] != "sample" or site["is_observed"]:
            return None
        return site["fn"].icdf(jnp.full(site["fn"].shape(), 0.5))

    model = handlers.substitute(partial(interpret, spec), substitute_fn=median)
    return {name: site["value"] for name, site in latent_sites(model, design).items()}


class _Coordinates(NamedTuple):
    """Maps from a flat vector to a model's latent sites; the vector is `origin` at the starting point.

    `place` returns the unconstrained sites and the log determinant of the map. `centers` returns the conditional mean
    and SD of every centre, given unconstrained sites.
    """

    origin: Array
    unravel: Callable[[Array], dict[str, Array]]
    place: Callable[[Array], tuple[dict[str, Array], Array]]
    centers: Callable[[dict[str, Array]], dict[str, tuple[Array, Array]]]
    constrain: Callable[[dict[str, Array]], dict[str, Array]]
    bijections: dict[str, Any]


def flatten(
    spec: Spec, design: Design, begin: dict[str, Array], scale: Array | None = None, *, moving: bool = True
) -> Flat:
    """Return the model on a flat vector in units of its prior: zero is the starting point, one about a prior SD.

    Parameters
    ----------
    spec : Spec
    design : Design
    begin : dict of Array
        The starting point: values of the latent sites.
    scale : Array, shape (p,), optional
        Scale of an earlier flattening; by default, from the curvature of the prior.
    moving : bool
        Whether centres move along with their families' coordinates, which suits a sampler. If not, families are
        independent given the shared coordinates.

    Returns
    -------
    Flat
    """
    model = partial(interpret, spec)
    latent = latent_sites(handlers.substitute(model, data=begin), design)
    roles, at = _roles(spec, design, latent), _coordinates(spec, design, begin, latent, moving)

    def log_prior(flat: Array) -> Array:
        unconstrained, total = at.place(flat)
        values = at.constrain(unconstrained)
        trace = handlers.trace(handlers.substitute(model, data=values)).get_trace(design)
        for name, value in values.items():
            total += jnp.sum(trace[name]["fn"].log_prob(value))
            total += jnp.sum(at.bijections[name].log_abs_det_jacobian(unconstrained[name], value))
        return total

    if scale is None:
        size = at.origin.size
        _, along = jax.linearize(jax.grad(lambda flat: -log_prior(flat)), at.origin)
        everywhere = roles.places("shared", "held", "centers", "spreads")
        curvature = diagonal(arrow(along, everywhere, size, size), everywhere, size)
        scale = jax.lax.rsqrt(jnp.clip(curvature, *_PRIOR_CURVATURE))

    def potential(white: Array) -> Array:
        unconstrained, log_determinant = at.place(at.origin + scale * white)
        return potential_energy(model, (design,), {}, unconstrained) - log_determinant

    def constrain(white: Array) -> dict[str, Array]:
        return at.constrain(at.place(at.origin + scale * white)[0])

    def moved_centers(white: Array) -> Array:
        sites = at.unravel(at.origin + scale * white)
        found = at.centers(sites)
        return jnp.stack([(sites[name] - found[name][0]) / found[name][1] for name in sorted(found)])

    exactly = _fitted_exactly(spec, design, roles, latent)

    def search(white: Array) -> Array:
        sites = handlers.trace(handlers.substitute(model, data=constrain(white))).get_trace(design)
        noise = _noise_scale(spec, design, sites)
        return potential(white) - jnp.sum(jnp.where(exactly & jnp.isfinite(noise), jnp.log(noise), 0.0))

    return Flat(potential, search, constrain, at.unravel, scale, roles, moved_centers)


def _fitted_exactly(spec: Spec, design: Design, roles: Roles, latent: dict[str, Any]) -> Array:
    """Return the runs of families that have no more runs than coordinates of their own, apart from the noise.

    If the law can fit every run of a family exactly, the density grows as its noise vanishes, with the power of its
    number of runs. This spike holds next to no probability, and chains that begin there stay for thousands of draws.
    The search for the mode therefore leaves this power out, and the noise stays where its prior has it.
    """
    sites, ways = sites_of(spec, design.families, design.lot), ways_of(spec, design.families, design.lot)
    noise = {site.name for of in spec.instances for name in of.noise.parameters
             for site in ways[of.parameter(name)].sites(of.parameter(name))}  # fmt: skip
    own = roles.own.shape[1] - sum(FAMILY in sites[name].dims for name in noise & set(latent))
    runs = jnp.zeros(design.families).at[design.family[:, 0]].add(design.mask.sum(axis=-1))
    return design.mask & (runs[design.family] <= own)


def _coordinates(
    spec: Spec, design: Design, begin: dict[str, Array], latent: dict[str, Any], moving: bool
) -> _Coordinates:
    bijections = {name: biject_to(site["fn"].support) for name, site in latent.items()}
    natural = {name: bijections[name].inv(site["value"]) for name, site in latent.items()}
    follow = _following(spec, design, begin)

    def constrain(unconstrained: dict[str, Array]) -> dict[str, Array]:
        return {name: bijections[name](value) for name, value in unconstrained.items()}

    ways = centered(spec)

    def centers(unconstrained: dict[str, Array]) -> dict[str, tuple[Array, Array]]:
        found = {}
        for name, centering in design.centering.items():
            roles = (Role.CENTER, Role.SPREAD, Role.COORDINATE)
            center, spread, coordinate = (ways[name].site(name, role).name for role in roles)
            found[center] = ways[name].center_given(
                spec.parameters[name].prior.placed(design.priors[name]),
                unconstrained[coordinate],
                bijections[spread](unconstrained[spread]),
                centering,
            )
        return found

    if moving:
        for name, (mean, sd) in centers(natural).items():
            natural[name] = (natural[name] - mean) / sd
    origin, unravel = ravel_pytree(natural)

    def place(flat: Array) -> tuple[dict[str, Array], Array]:
        sites, log_determinant = unravel(flat), jnp.zeros(())
        for name, (mean, sd) in centers(sites).items() if moving else ():
            sites[name] = mean + sd * sites[name]
            log_determinant += jnp.log(sd)
        if COORDINATES in sites:
            sites[COORDINATES] += follow(constrain(sites))
        return sites, log_determinant

    return _Coordinates(origin, unravel, place, centers, constrain, bijections)


def _following(spec: Spec, design: Design, begin: dict[str, Array]) -> Callable[[dict[str, Array]], Array]:
    """Return how coordinates of discrepancies follow the law, so that the sum of both stays at the runs.

    If the runs determine the sum precisely and the law moves freely, the coordinates are tied to the law along a curved
    ridge. So their mean given the law is subtracted, computed as if the noise were Gaussian and the scales those of the
    starting point. This is a shear, whose determinant is one.
    """
    widths = [of.coordinates for of in spec.discrepancies]
    scales = {name: width for one in widths for name, width in one.items()}
    if not scales:
        return lambda values: jnp.zeros(())

    def at(values: dict[str, Array]) -> tuple[Array, Array, dict[str, Any]]:
        """Return the law's log loss at the runs, each family's scale of every coordinate, and all sites."""
        model = handlers.substitute(partial(interpret, spec), data=values)
        sites = handlers.trace(model).get_trace(design)
        each = [jnp.broadcast_to(sites[name]["value"], (design.families,)) for name in scales]
        repeated = jnp.repeat(jnp.stack(each, axis=1), np.array([*scales.values()]), axis=1)
        return sites[LAW]["value"], repeated, sites

    law, scale, sites = at(begin)
    noise = jnp.broadcast_to(_noise_scale(spec, design, sites), law.shape)[..., None]
    basis = jnp.concatenate([design.basis[of.name] for of in spec.discrepancies if of.coordinates], -1)
    weights = basis.reshape(*law.shape, -1) * scale[design.family] * design.mask[..., None] / noise
    of = design.family[:, 0]
    among = jnp.zeros((design.families, *2 * scale.shape[1:]))
    precision = among.at[of].add(jnp.einsum("bsj,bsk->bjk", weights, weights))
    inverse = jnp.linalg.inv(precision + jnp.eye(scale.shape[1]))

    def follow(values: dict[str, Array]) -> Array:
        now, wide, _ = at(values)
        pull = jnp.zeros(scale.shape).at[of].add(jnp.einsum("bsk,bs->bk", weights / noise, law - now))
        return jnp.einsum("fjk,fk->fj", inverse, pull) * scale / wide

    return follow


def _noise_scale(spec: Spec, design: Design, sites: dict[str, Any]) -> Array:
    """Return the scale of the noise on log loss at each run; infinite if no log loss is observed."""
    for of in spec.instances:
        if of.response.kind == "log":
            noise = _unwrapped(sites[of.site]["fn"])
            return (
                jnp.where(design.present[of.site], noise.scale, jnp.inf) if of.site in design.present else noise.scale
            )
    return jnp.array(jnp.inf)


def noise_location(spec: Spec, design: Design, begin: dict[str, Array], of: Instance) -> Array:
    """Return the location of the noise of a response at each run, in its Gaussian coordinate."""
    model = handlers.substitute(partial(interpret, spec), data=begin)
    noise = _unwrapped(handlers.trace(model).get_trace(design)[of.site]["fn"])
    return noise.loc


def _unwrapped(noise: Any) -> Any:
    while not hasattr(noise, "loc"):
        noise = noise.base_dist
    return noise


def held(spec: Spec) -> set[str]:
    """Return the names of the scales of discrepancies that have coordinates, and of the noise in the same model.

    If they were free, the density would be unbounded: the noise vanishes when the coordinates fit every run exactly.
    """
    parts = list(spec.discrepancies)
    if not any(of.coordinates for of in parts):
        return set()
    scales = {name for of in parts if of.coordinates for name in of.parameters}
    return scales | {of.parameter(name) for of in spec.instances for name in of.noise.parameters}


def _roles(spec: Spec, design: Design, latent: dict[str, Any]) -> Roles:
    sites, ways = sites_of(spec, design.families, design.lot), ways_of(spec, design.families, design.lot)
    of_held = [site for name in held(spec) for site in ways[name].sites(name)]
    still = {site.name for site in of_held if site.role in (Role.VALUE, Role.COORDINATE)}
    own: dict[str, list[np.ndarray]] = {"own": [], "own_held": []}
    common: dict[str, list[np.ndarray]] = {"shared": [], "held": [], "centers": [], "spreads": []}
    first = families = 0
    blocks = _blocks(spec, sites, latent)
    for name in sorted(latent):  # the order in which a tree of arrays is ravelled
        value, size = latent[name]["value"], int(np.size(latent[name]["value"]))
        where, first = np.arange(first, first + size), first + size
        if blocks in sites[name].dims:
            families = len(value)
            own["own_held" if name in still else "own"].append(where.reshape(families, -1))
        elif name in still:
            common["held"].append(where)
        else:
            common[_SHARED.get(sites[name].role, "shared")].append(where)
    empty = np.zeros((families, 0), int)
    return Roles(
        **{role: np.concatenate([empty, *where], axis=1) for role, where in own.items()},
        **{role: np.concatenate([np.zeros(0, int), *where]) for role, where in common.items()},
    )


def _blocks(spec: Spec, sites: dict[str, Site], latent: dict[str, Any]) -> str:
    """Return the dim whose members are independent given all else: families, or a battery with more coordinates."""
    count = dict.fromkeys((FAMILY, *spec.batteries), 0)
    for name, site in latent.items():
        for dim in set(sites[name].dims) & set(count):
            count[dim] += int(np.size(site["value"]))
    return max(count, key=count.__getitem__)


def latent_sites(model: Callable[..., None], design: Design) -> dict[str, Any]:
    """Return the latent sites by name."""
    trace = handlers.trace(model).get_trace(design)
    return {k: s for k, s in trace.items() if s["type"] == "sample" and not s["is_observed"]}


def sites_at(
    spec: Model, design: Design, values: dict[str, Array]
) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
    """Evaluate a model at one point.

    Parameters
    ----------
    spec : Model
    design : Design
    values : dict of Array
        Values of the latent sites.

    Returns
    -------
    sites, likelihood, prior : dict of Array
        Values of the declared sites; pointwise log likelihood by observed site; log prior by latent site.
    """
    model = handlers.substitute(partial(interpret, spec), data=values)
    trace = handlers.trace(model).get_trace(design)
    declared = declared_sites(spec, design)
    sites, likelihood, prior = {}, {}, {}
    for name, site in trace.items():
        if site["type"] == "sample" and site["is_observed"]:
            likelihood[name] = site["fn"].log_prob(site["value"])
        elif site["type"] == "sample":
            sites[name] = site["value"]
            prior[name] = site["fn"].log_prob(site["value"])
        elif name in declared:
            sites[name] = site["value"]
    return sites, likelihood, prior
