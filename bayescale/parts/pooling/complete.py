"""Complete pooling: one value for all families."""

from __future__ import annotations

import numpyro

from bayescale.parts.base import AbstractPooling, Role, Site


class Complete(AbstractPooling):
    """One value for all families."""

    name = "complete"
    about = "one value for all families"

    @staticmethod
    def sites(name):
        return (Site(name, Role.VALUE),)

    @staticmethod
    def draw(name, prior, spread, families, centering):
        return numpyro.sample(name, prior.distribution())

    @staticmethod
    def extend(name, prior, spread, draws, key):
        return {}
