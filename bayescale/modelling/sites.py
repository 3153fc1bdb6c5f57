"""Sites: the names of a model's sites, and the role of each."""

from __future__ import annotations

from collections.abc import Collection
from functools import singledispatch

import jax
import numpy as np
from numpyro import handlers, validation_enabled

from bayescale.core.dims import FAMILY, KNOT, RUN
from bayescale.modelling.custom import CustomModel
from bayescale.modelling.design import Design
from bayescale.modelling.grouping import ways_of
from bayescale.modelling.model import Model
from bayescale.modelling.spec import Spec
from bayescale.parts.base import Role, Site

LAW = "law"
"""Site of the log loss by the law alone, without its discrepancies."""

LOG_LOSS = "log_loss"
"""Site of the log loss by the law with its discrepancies."""

COORDINATES = "coordinates"
"""Site of each family's coordinates of all discrepancies, concatenated."""


def location_of(response: str) -> str:
    """Return the name of the site of a response's location."""
    return f"{response}_location"


def labels_of(model: Model) -> dict[str, list[str]]:
    """Return the names of the responses of each battery, which label the dim that is called after it."""
    return {battery: [of.name for of in members] for battery, members in model.batteries.items()}


def log_density_of(observed: str) -> str:
    """Return the name of the log density of an observed site."""
    return f"{observed}_log_density"


@singledispatch
def declared_sites(model: Model, design: Design) -> dict[str, Site]:
    """Return the sites of a model on a design that a posterior may hold, by name."""
    raise TypeError(f"not a model: {model!r}")


@declared_sites.register
def _(spec: Spec, design: Design) -> dict[str, Site]:
    """Return the sites of a spec."""
    return sites_of(spec, design.families, design.lot)


@declared_sites.register
def _(model: CustomModel, design: Design) -> dict[str, Site]:
    """Return the sites of a custom model: the sampled ones, and the deterministic ones that have no value per run."""
    with validation_enabled(False):  # one draw from the prior says what the sites are, wherever it lies
        trace = handlers.trace(handlers.seed(model, jax.random.key(0))).get_trace(design)
    runs, found = len(design.family), {}
    for name, site in trace.items():
        latent = site["type"] == "sample" and not site["is_observed"] and name not in model.observed
        if not latent and site["type"] != "deterministic":
            continue
        shape, plates = np.shape(site["value"]), {frame.name for frame in site.get("cond_indep_stack", ())}
        if runs not in shape or latent:
            role = Role.COORDINATE if latent and plates & {RUN, FAMILY} else Role.VALUE
            found[name] = Site(name, role, _dims(name, shape, design.families, plates if latent else set()), latent)
    return found


def _dims(name: str, shape: tuple[int, ...], families: int, plates: Collection[str]) -> tuple[str, ...]:
    """Return the dims of a site's array: runs or families if it has a value for each, else named after the site."""
    own = tuple(f"{name}_dim_{i}" for i in range(len(shape)))
    if RUN in plates:
        return (*own[:-1], RUN)
    if FAMILY in plates:
        return (*own[:-1], FAMILY)
    return (FAMILY,) if shape == (families,) and families > 1 else own


def sites_of(spec: Model, families: int, lots: Collection[str]) -> dict[str, Site]:
    """Return the sites of a spec's parameters and discrepancies, by name.

    Parameters
    ----------
    spec : Spec
    families : int
        Number of families.
    lots : collection of str
        Names of the poolings that sort the families into lots, as in :func:`.grouping.lots_of`.

    Returns
    -------
    dict of str to Site
    """
    across = spec.across
    found = [
        site._replace(dims=tuple(across[name] for _ in site.dims)) if name in across else site
        for name, way in ways_of(spec, families, lots).items()
        for site in way.sites(name)
    ]
    if any(of.coordinates for of in spec.discrepancies):
        found.append(Site(COORDINATES, Role.COORDINATE, (FAMILY, KNOT)))
    return {site.name: site for site in found}
