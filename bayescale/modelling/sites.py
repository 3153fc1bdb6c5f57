"""Sites: what the sites of a spec's model are called, and what each of them says."""

from __future__ import annotations

from collections.abc import Collection
from functools import singledispatch

import jax
import numpy as np
from numpyro import handlers

from bayescale.core.dims import FAMILY, KNOT
from bayescale.modelling.design import Design
from bayescale.modelling.grouping import ways_of
from bayescale.modelling.model import Model
from bayescale.modelling.own import OwnModel
from bayescale.modelling.spec import Spec
from bayescale.parts.base import Role, Site

LAW = "law"
"""Site of the log loss by the law alone, its discrepancies left out."""

LOG_LOSS = "log_loss"
"""Site of the log loss by the law and its discrepancies."""

COORDINATES = "coordinates"
"""Site of each family's coordinates of all discrepancies, one after the other."""


def location_of(response: str) -> str:
    """Site of the location of what a response observes."""
    return f"{response}_location"


def log_density_of(observed: str) -> str:
    """Name under which the log density of what was observed is returned."""
    return f"{observed}_log_density"


@singledispatch
def declared_sites(model: Model, design: Design) -> dict[str, Site]:
    """Sites of a model on a design that a posterior may hold, by name."""
    raise TypeError(f"not a model: {model!r}")


@declared_sites.register
def _(spec: Spec, design: Design) -> dict[str, Site]:
    """Sites of a spec."""
    return sites_of(spec, design.families, design.lot)


@declared_sites.register
def _(model: OwnModel, design: Design) -> dict[str, Site]:
    """Sites of a model of one's own: those that it samples, and those that follow and are not by run."""
    trace = handlers.trace(handlers.seed(model.function, jax.random.key(0))).get_trace(design)
    runs, found = len(design.family), {}
    for name, site in trace.items():
        latent = site["type"] == "sample" and not site["is_observed"] and name not in model.observed
        shape = np.shape(site["value"]) if site["type"] in ("sample", "deterministic") else ()
        by_run = runs in shape and not latent
        if (latent or site["type"] == "deterministic") and not by_run:
            found[name] = Site(name, Role.VALUE, _dims(name, shape, design.families), latent)
    return found


def _dims(name: str, shape: tuple[int, ...], families: int) -> tuple[str, ...]:
    """Dims of an array of a site: one of a value for each family, or its own."""
    if shape == (families,) and families > 1:
        return (FAMILY,)
    return tuple(f"{name}_dim_{i}" for i in range(len(shape)))


def sites_of(spec: Model, families: int, lots: Collection[str]) -> dict[str, Site]:
    """Sites that a spec's parameters and discrepancies make, by name.

    Parameters
    ----------
    spec : Spec
    families : int
        How many families there are.
    lots : collection of str
        Ways of pooling that find lots among them, as :func:`.grouping.lots_of` names them.
    """
    found = [site for name, way in ways_of(spec, families, lots).items() for site in way.sites(name)]
    if any(of.coordinates for of in spec.discrepancies):
        found.append(Site(COORDINATES, Role.COORDINATE, (FAMILY, KNOT)))
    return {site.name: site for site in found}
