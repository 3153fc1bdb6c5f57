"""Sites: what the sites of a spec's model are called, and what each of them says."""

from __future__ import annotations

from collections.abc import Collection

from bayescale.core.dims import FAMILY, KNOT
from bayescale.modelling.grouping import ways_of
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


def sites_of(spec: Spec, families: int, lots: Collection[str]) -> dict[str, Site]:
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
