"""Quality of tokens: kept by a metric of the data, or filtered; what a kept token is worth."""

import jax.numpy as jnp
import numpy as np

from bayescale.parts.base import TOKENS, AbstractResource, Column, Parameter
from bayescale.parts.priors import LogNormal, Normal

KEPT = Column("share", "share of the tokens of the pool that was kept", default=1.0, low=0.001, high=1.0)
FIRST = "the sign is for the runs to say: metrics that help and metrics that harm are both published"


def _worth(spent, log_worth):
    """Return what was spent with tokens, and unique ones where they are read, worth more."""
    return {**spent, **{name: spent[name] + log_worth for name in ("tokens", "unique_tokens") if name in spent}}


class Pruning(AbstractResource):
    r"""Data pruning: the worth of a kept token depends on the kept share, and on how many are kept.

    .. math:: D' = D\,q,\quad \ln q = s_0 [f < 1] + s_1 \ln f + s_2 \ln f\, \ln (D / D_0)

    `f` is the kept share and `D` the tokens that the model is trained on. A token of the complete pool is worth one.
    With :math:`s_2 < 0`, at a fixed share the loss falls faster in tokens than without pruning; the check `pruning` has
    its probability.

    Attributes
    ----------
    tokens : float
        Tokens :math:`D_0` at which the trend is zero.
    """

    tokens: float = 1e10

    name = "pruning"
    source = "after Sorscher et al. 2022, arXiv:2206.14486, whose claims are about its trend"
    use = "Runs keep different shares of a pool by a metric, each at several numbers of tokens."
    avoid = "All runs keep the same share: its worth is then part of the law."
    reproduced = "No published figure; from simulated runs, whether pruning beats a power law, as a finding."
    changes = {"tokens": TOKENS}
    requires = ("kept",)
    balanced = False
    columns = {"kept": KEPT}
    parameters = {
        "prune_any": Parameter(Normal(0.0, 0.3), "e-folds of tokens", "worth of any pruning", 0.1, FIRST),
        "prune_share": Parameter(
            Normal(0.0, 0.3), "e-folds of tokens per e-fold kept", "what a larger kept share is worth", 0.1, FIRST
        ),
        "prune_trend": Parameter(
            Normal(0.0, 0.1), "per e-fold of tokens", "change of the worth of a share with tokens", 0.1, FIRST
        ),
    }

    def effective(self, spent, balance, *, prune_any, prune_share, prune_trend):
        share = spent["kept"]
        trend = prune_share + prune_trend * (spent["tokens"] - np.log(self.tokens))
        return _worth(spent, prune_any * (share < 0) + trend * share)


class Filtering(AbstractResource):
    r"""Filtering by quality, whose worth decays with epochs, after Goyal et al. (2024).

    .. math:: D' = D\,q,\quad \ln q = -g \ln f\; 2^{-R/\tau},\quad R = D/U - 1

    So a strict filter pays only while its few tokens are not repeated often. Repeats themselves are the resource
    `repetition`, which comes after it.
    """

    name = "filtering"
    source = "after Goyal et al. 2024, arXiv:2404.07177"
    use = "Runs differ in how strictly their tokens were filtered, and repeat them."
    avoid = "No run repeats its tokens: the half-life is then its prior. Use `pruning`."
    reproduced = (
        "No published figure; from simulated runs, that a filter is worth less the more its tokens are repeated."
    )
    changes = {"tokens": TOKENS}
    requires = ("kept", "unique_tokens")
    balanced = False
    columns = {"kept": KEPT}
    parameters = {
        "filter_gain": Parameter(
            Normal(0.1, 0.3), "e-folds of tokens per e-fold left out", "worth of a stricter filter", 0.1, FIRST
        ),
        "filter_life": Parameter(LogNormal(5.0, 0.7), "epochs", "repeats that halve the worth of the filter", 0.3),
    }

    @staticmethod
    def effective(spent, balance, *, filter_gain, filter_life):
        repeats = jnp.expm1(jnp.maximum(spent["tokens"] - spent["unique_tokens"], 0.0))
        return _worth(spent, -filter_gain * spent["kept"] * 2.0 ** (-repeats / filter_life))
