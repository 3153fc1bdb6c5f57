"""No pooling: each family is fitted separately."""

from __future__ import annotations

from bayescale.core.dims import FAMILY
from bayescale.parts.base import AbstractPooling, Role, Site
from bayescale.parts.pooling._sites import apart, with_one_more


class Unpooled(AbstractPooling):
    """Every family for itself; a new family knows only the prior."""

    name = "none"
    about = "every family for itself"
    together = False

    @staticmethod
    def sites(name):
        return (Site(name, Role.VALUE, (FAMILY,)),)

    @staticmethod
    def draw(name, prior, spread, families, centering):
        return apart(name, FAMILY, prior, families.size)

    @staticmethod
    def extend(name, prior, spread, draws, key):
        return with_one_more(name, prior, draws, key)
