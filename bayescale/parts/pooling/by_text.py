"""Pooling by evaluation text: one value for each text and tokenizer."""

from __future__ import annotations

import numpyro

from bayescale.core.dims import FAMILY, TEXT
from bayescale.core.lookup import looked_up
from bayescale.parts.base import AbstractPooling, Role, Site
from bayescale.parts.pooling._sites import apart, with_one_more


class ByText(AbstractPooling):
    """One value for each evaluation text in one unit: the columns ``eval_set`` and ``tokenizer`` must both match."""

    name = "text"
    about = "one value for all families with the same evaluation text and tokenizer"
    lots = ("eval_set", "tokenizer")
    together = False

    @staticmethod
    def sites(name):
        return (
            Site(f"{name}_text", Role.LOT, (TEXT,), kept=False),
            Site(name, Role.VALUE, (FAMILY,), latent=False),
        )

    @staticmethod
    def draw(name, prior, spread, families, centering):
        value = apart(f"{name}_text", TEXT, prior, families.lots["text"])
        return numpyro.deterministic(name, looked_up(value, families.lot["text"]))

    @staticmethod
    def extend(name, prior, spread, draws, key):
        return with_one_more(f"{name}_text", prior, draws, key)
