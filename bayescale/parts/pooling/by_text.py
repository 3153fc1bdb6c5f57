"""Pooling by evaluation text: one value for each text and tokenizer."""

from __future__ import annotations

import jax.numpy as jnp
import numpyro

from bayescale.parts.base import AbstractPooling
from bayescale.parts.pooling._sites import apart, with_one_more


class ByText(AbstractPooling):
    """One value for each evaluation text in one unit: columns ``eval_set`` and ``tokenizer`` must both match."""

    name = "text"
    about = "one for all families of one evaluation text and tokenizer"
    lots = ("eval_set", "tokenizer")
    together = False

    @staticmethod
    def draw(name, prior, spread, families, centering):
        value = apart(f"{name}_text", "text", prior, families.lots["text"])
        return numpyro.deterministic(name, value[families.lot["text"]])

    @staticmethod
    def latents(families):
        return families.lots["text"]

    @staticmethod
    def given(name, draws, lots):
        first = [lots.index(lot) for lot in dict.fromkeys(lots)]  # family of each text
        return {f"{name}_text": draws[name][:, jnp.array(first)]}

    @staticmethod
    def extend(name, prior, spread, draws, key):
        return with_one_more(f"{name}_text", prior, draws, key)
