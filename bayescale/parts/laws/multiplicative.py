"""The multiplicative law of fine-tuning: one reducible term, a product of powers."""

from typing import Any

import jax.numpy as jnp

from bayescale.parts.base import AbstractLaw, Column, Kind, Parameter, Quantity, log_sum
from bayescale.parts.laws.additive import IRREDUCIBLE, LEVEL
from bayescale.parts.priors import LogNormal

ZHANG = "Zhang et al. 2024, arXiv:2402.17193"
_COUNT: Any = {"default": 1e9, "low": 1.0, "high": 1e16}


class Multiplicative(AbstractLaw):
    r"""Joint law of fine-tuning of Zhang et al. (2024).

    .. math:: L(X, D_f) = E + \frac{A}{X^{\alpha} D_f^{\beta}}

    `X` is what is scaled: params, tokens of the pretraining, or params of an adapter. A spec's `inputs` say which; the
    last input is the tokens of the fine-tuning. The reducible loss falls by the same factor wherever one of them is
    doubled, so that more of one saves less loss where there is more of the other.
    """

    name = "multiplicative"
    source = ZHANG
    use = "Models are fine-tuned, and either their size, their pretraining or their adapter is scaled."
    avoid = "Pretraining: a product of powers has no best split of a budget between params and tokens."
    reproduced = (
        "No published figure; from simulated runs, the exponents of two methods and the tokens at which they cross."
    )
    inputs = ("params", "finetune_tokens")
    columns = {
        "finetune_tokens": Column("tokens", "tokens of the fine-tuning", **_COUNT, usual=(1e6, 1e10)),
        "pretrain_tokens": Column("tokens", "tokens of the pretraining", **_COUNT, usual=(1e9, 1e12)),
        "adapter_params": Column("params", "trained params of an adapter", **_COUNT, usual=(1e5, 1e9)),
    }
    parameters = {
        "level": LEVEL,
        "ratio_X": Parameter(
            LogNormal(0.5, 1.0), "1", "reducible over irreducible loss, at the anchor", 0.3, at_anchor=True
        ),
        "alpha_X": Parameter(
            LogNormal(0.1, 0.8), "1", "exponent of what is scaled", 0.2, ZHANG + ": adapters near 0",
            kind=Kind.EXPONENT,
        ),
        "beta_f": Parameter(
            LogNormal(0.1, 0.8), "1", "exponent of tokens of the fine-tuning", 0.2, ZHANG, kind=Kind.EXPONENT
        ),
    }  # fmt: skip
    quantities = {
        "E": IRREDUCIBLE,
        "A": Quantity(Kind.PUBLISHED, "nats/token · X^alpha_X · tokens^beta_f", "coefficient of the term", "log"),
    }

    @staticmethod
    def log_loss(x, tokens, *, level, ratio_X, alpha_X, beta_f):
        r = jnp.log(ratio_X)
        return jnp.log(level) + log_sum(0.0, r - alpha_X * x - beta_f * tokens) - log_sum(0.0, r)

    @staticmethod
    def published(x, tokens, *, loss, level, ratio_X, alpha_X, beta_f):
        E = jnp.exp(loss) * level / (1 + ratio_X)
        return {"E": E, "A": E * ratio_X * jnp.exp(alpha_X * x + beta_f * tokens)}
