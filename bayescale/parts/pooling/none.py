"""No pooling: each family is fitted separately."""

from __future__ import annotations

from bayescale.parts.base import AbstractPooling
from bayescale.parts.pooling._sites import apart, with_one_more


class Unpooled(AbstractPooling):
    """Every family for itself; a new family knows only the prior."""

    name = "none"
    about = "every family for itself"
    together = False

    @staticmethod
    def draw(name, prior, spread, families, centering):
        return apart(name, "family", prior, families.size)

    @staticmethod
    def latents(families):
        return families.size

    @staticmethod
    def extend(name, prior, spread, draws, key):
        return with_one_more(name, prior, draws, key)
