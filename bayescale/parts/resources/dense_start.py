"""Dense start: routed models that begin as a trained dense model."""

import jax.numpy as jnp

from bayescale.parts.base import TOKENS, AbstractResource, Column, Parameter
from bayescale.parts.priors import LogNormal


class DenseStart(AbstractResource):
    r"""Effective tokens of an upcycled model, of which each expert begins as a copy of a trained dense layer.

    .. math:: D' = D + w D_1

    where the dense model saw :math:`D_1` tokens (column ``dense_tokens``) and the routed model `D`. Without a dense
    start ``dense_tokens`` is 1.
    """

    name = "dense-start"
    source = "our own form; the question and the runs are of Liew et al. 2025, arXiv:2502.03009"
    use = (
        "Routed models from dense ones, with several numbers of tokens in both phases, and routed models from scratch. "
        "With `repetition`, name that first: it counts tokens of the second phase."
    )
    avoid = (
        "The shipped runs alone: their dense phase has one length, so that the worth of its tokens is hardly more than "
        "its prior. Forecasts of the largest runs are 1.1% off with it, 1.1% if only the tokens of the routed phase "
        "count, and 1.0% if all tokens count the same. Liew et al. found that a long dense phase makes "
        "further tokens less effective, which this form does not know."
    )
    runs = ("liew2025",)
    reproduced = "No published figure; from simulated runs, the worth of the dense phase and of routed params."
    changes = {"tokens": TOKENS}
    requires = ("dense_tokens",)
    balanced = False
    columns = {
        "dense_tokens": Column("tokens", "tokens of the dense phase; 1 without one", default=1.0, low=1.0, high=1e15)
    }
    parameters = {
        "dense_worth": Parameter(
            LogNormal(0.5, 0.7), "1", "worth of a token of the dense phase, in tokens of the routed one", 0.2,
            "from a sixth of a token to somewhat more than one",
        )
    }  # fmt: skip

    @staticmethod
    def effective(spent, balance, *, dense_worth):
        return {**spent, "tokens": jnp.logaddexp(spent["tokens"], jnp.log(dense_worth) + spent["dense_tokens"])}
