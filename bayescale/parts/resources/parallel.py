"""Parallel streams: one model run several times on an input, its outputs combined, is worth more params."""

import jax.numpy as jnp

from bayescale.parts.base import PARAMS, AbstractResource, Column, Parameter
from bayescale.parts.priors import LogNormal

CHEN = "Chen et al. 2025 print 0.33 on text and 0.39 on code"


class Parallel(AbstractResource):
    r"""Parallel streams of Chen et al. (2025), ParScale.

    .. math:: N' = N (1 + k \ln P)

    for `P` streams. The logarithm is the natural one. Training costs `P` times the FLOP of one stream.
    """

    name = "parallel"
    source = "Chen et al. 2025, arXiv:2505.10475"
    use = "One model is run in several parallel streams whose outputs are combined."
    avoid = "More than 8 streams, or tokens that vary: the published runs have 42 billion tokens each."
    runs = ("parallel",)
    reproduced = (
        "By least squares, k is 0.334 on the Pile and 0.396 on code (printed: 0.33, 0.39), with R² of 0.9988 and "
        "0.9979."
    )
    changes = {"params": PARAMS}
    requires = ("streams",)
    balanced = False
    columns = {"streams": Column("count", "parallel streams", default=1.0, low=1.0, high=64.0)}
    parameters = {
        "stream_worth": Parameter(LogNormal(0.35, 0.5), "1", "worth of an e-fold of streams, in models", 0.3, CHEN)
    }

    @staticmethod
    def effective(spent, balance, *, stream_worth):
        return {**spent, "params": spent["params"] + jnp.log1p(stream_worth * spent["streams"])}
