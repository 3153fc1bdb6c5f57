"""Precision: weights, activations and caches of few bits make a model worth fewer params."""

import jax.numpy as jnp

from bayescale.parts.base import PARAMS, AbstractResource, Column, Parameter
from bayescale.parts.priors import LogNormal

KUMAR = "Kumar et al. 2024: 8 bits cost little and 3 cost much, so that the scale is about 2.5 bits"


def _bits(meaning: str) -> Column:
    return Column("bits", meaning, default=16.0, low=1.0, high=32.0)


def _scale(of: str) -> Parameter:
    return Parameter(LogNormal(2.5, 0.5), "bits", f"bits of {of} that keep 63% of the params", 0.3, KUMAR)


class Precision(AbstractResource):
    r"""Training in few bits, of Kumar et al. (2024).

    .. math:: N' = N \prod_i \left(1 - e^{-P_i / \gamma_i}\right),\quad i \in \{\text{weights, activations, caches}\}

    It is about training. Bits that are lost after training are the penalty `quantization`.
    """

    name = "precision"
    source = "Kumar et al. 2024, arXiv:2411.04330"
    use = "Models are trained with few bits, in at least three widths at two sizes or more."
    avoid = "Models that are quantized after training, or formats in which the exponent and the mantissa differ."
    reproduced = (
        "No published figure; the product of three shares of the printed formula, to 1e-12, and recovery from "
        "simulated runs."
    )
    changes = {"params": PARAMS}
    requires = ("weight_bits", "activation_bits", "cache_bits")
    balanced = False
    columns = {
        "weight_bits": _bits("bits of a weight in training"),
        "activation_bits": _bits("bits of an activation in training"),
        "cache_bits": _bits("bits of an entry of the cache of keys and values"),
    }
    parameters = {
        "gamma_weights": _scale("a weight"),
        "gamma_activations": _scale("an activation"),
        "gamma_caches": _scale("a cache entry"),
    }

    @staticmethod
    def effective(spent, balance, *, gamma_weights, gamma_activations, gamma_caches):
        scales = {"weight_bits": gamma_weights, "activation_bits": gamma_activations, "cache_bits": gamma_caches}
        kept = sum(jnp.log(-jnp.expm1(-jnp.exp(spent[name]) / scale)) for name, scale in scales.items())
        return {**spent, "params": spent["params"] + kept}
