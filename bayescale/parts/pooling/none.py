"""No pooling: each family is fitted separately."""

from __future__ import annotations

from bayescale.core.dims import FAMILY
from bayescale.parts.base import AbstractPooling, Role, Site
from bayescale.parts.pooling._sites import apart, with_one_more


class Unpooled(AbstractPooling):
    """Each family is fitted separately; a new family has only the prior."""

    name = "none"
    about = "each family fitted separately"
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
