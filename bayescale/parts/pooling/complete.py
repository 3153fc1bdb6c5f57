"""Complete pooling: one value for all families."""

from __future__ import annotations

import numpyro

from bayescale.parts.base import AbstractPooling


class Complete(AbstractPooling):
    """One value for all families."""

    name = "complete"
    about = "one for all families"

    @staticmethod
    def draw(name, prior, spread, families, centering):
        return numpyro.sample(name, prior.distribution())

    @staticmethod
    def latents(families):
        return 1

    @staticmethod
    def extend(name, prior, spread, draws, key):
        return {}
