"""The critical batch: tokens in a batch above it are worth less, and it grows with tokens."""

import math

import jax.numpy as jnp

from bayescale.parts.base import TOKENS, AbstractResource, Column, Kind, Parameter
from bayescale.parts.priors import LogNormal

_LN_REFERENCE = math.log(1e10)  # tokens at which the parameter is the critical batch


class CriticalBatch(AbstractResource):
    r"""Effective tokens of a run with a large batch.

    .. math:: D' = \frac{D}{1 + B / B_{crit}},\quad B_{crit} = B_{10} \left(\frac{D}{10^{10}}\right)^{\beta_B}

    A batch far below the critical one loses nothing. One of its size needs twice the tokens for the same loss. `D'` is
    the tokens that a small batch would need. `B` is the column `batch_tokens`.
    """

    name = "critical-batch"
    source = (
        "Zhang et al. 2024, arXiv:2410.21676; Bergsma et al. 2025, arXiv:2505.13738; the form: McCandlish et al. 2018, "
        "arXiv:1812.06162"
    )
    changes = {"tokens": TOKENS}
    requires = ("batch_tokens",)
    columns = {"batch_tokens": Column("tokens", "tokens in a batch", 1e6, 1e4, 1e8)}
    balanced = False
    parameters = {
        "B_10": Parameter(
            LogNormal(1.5e6, 1.0),
            "tokens",
            "critical batch at 10 billion tokens",
            0.3,
            "Kaplan et al. 2020: 1.1 million at a loss of 3 nats/token, 3.2 million at 2.4",
        ),
        "beta_B": Parameter(
            LogNormal(0.47, 0.2),
            "1",
            "exponent of the critical batch by tokens",
            0.1,
            "Zhang et al. 2024 (0.47), Bergsma et al. 2025 (0.462)",
            kind=Kind.EXPONENT,
        ),
    }
    use = "Runs of several batch sizes, some of them large: it makes their tokens comparable."
    avoid = (
        "Runs of one batch size, or all of small ones: they say nothing of the critical batch, and its prior would "
        "only widen the forecast."
    )
    reproduced = (
        "A batch of the critical size needs twice the tokens, and the critical batch follows tokens to the power "
        "0.47; from simulated runs, both parameters."
    )

    @staticmethod
    def effective(spent, balance, *, B_10, beta_B):
        critical = jnp.log(B_10) + beta_B * (spent["tokens"] - _LN_REFERENCE)
        waste = jnp.logaddexp(0.0, spent["batch_tokens"] - critical)
        return {**spent, "tokens": spent["tokens"] - waste}
