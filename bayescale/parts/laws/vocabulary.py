"""The vocabulary law: params without the vocabulary, those of the vocabulary, and tokens."""

import jax.numpy as jnp
import numpy as np

from bayescale.parts.base import AbstractLaw, Column, Kind, Parameter, Quantity, log_sum
from bayescale.parts.laws.additive import LEVEL
from bayescale.parts.priors import LogNormal

WEAK = "printed 1.07; without a prior, its 90% interval on the published runs is 0 to 1.1"


class Vocabulary(AbstractLaw):
    r"""Three terms without a floor, of Tao et al. (2024).

    .. math:: L(N, N_v, D) = A_1 N^{-\alpha} + A_2 N_v^{-\alpha_v} + B D^{-\alpha}

    `N` counts params without the vocabulary, and :math:`N_v` is the size of the vocabulary times the width. One
    exponent serves params and tokens. Losses of different vocabularies are comparable once the loss of a unigram model
    is subtracted; the response `normalized-loss` observes that difference, which is negative, and has the floor.
    """

    name = "vocabulary"
    source = "Tao et al. 2024, arXiv:2407.13623"
    use = "Models differ in the size of their vocabulary, and their loss is relative to a unigram model."
    avoid = (
        "One vocabulary, or losses in nats per token: these are not comparable between vocabularies. Checkpoints of "
        "one training run share errors, so intervals from all of them are too narrow."
    )
    runs = ("vocabulary",)
    reproduced = (
        "The printed constants explain 0.968 of the variance of the 1,054 checkpoints of the published fit. The best "
        "vocabulary grows more slowly than the model. Without a prior on `alpha_V` the vocabulary term is not "
        "identified."
    )
    inputs = ("params", "vocab_params", "tokens")
    columns = {
        "vocab_params": Column(
            "params", "params of the vocabulary: its size times the width", default=1.3e8, low=1e5, high=1e11
        )
    }
    parameters = {
        "level": LEVEL,
        "ratio_V": Parameter(
            LogNormal(0.1, 1.0), "1", "vocabulary term over params term, at the anchor", 0.3, at_anchor=True
        ),
        "ratio_T": Parameter(
            LogNormal(1.0, 1.0), "1", "tokens term over params term, at the anchor", 0.3, at_anchor=True
        ),
        "alpha_ND": Parameter(
            LogNormal(0.4, 0.35), "1", "exponent of params and of tokens", 0.1, "0.440", kind=Kind.EXPONENT
        ),
        "alpha_V": Parameter(
            LogNormal(0.7, 0.4), "1", "exponent of params of the vocabulary", 0.1, WEAK, kind=Kind.EXPONENT
        ),
    }
    quantities = {
        "A_1": Quantity(Kind.PUBLISHED, "nats/token · params^alpha_ND", "coefficient of the params term", "log"),
        "A_2": Quantity(Kind.PUBLISHED, "nats/token · params^alpha_V", "coefficient of the vocabulary term", "log"),
        "B": Quantity(Kind.PUBLISHED, "nats/token · tokens^alpha_ND", "coefficient of the tokens term", "log"),
    }

    @staticmethod
    def log_loss(params, vocab_params, tokens, *, level, ratio_V, ratio_T, alpha_ND, alpha_V):
        v, t = jnp.log(ratio_V), jnp.log(ratio_T)
        terms = log_sum(-alpha_ND * params, v - alpha_V * vocab_params, t - alpha_ND * tokens)
        return jnp.log(level) + terms - log_sum(0.0, v, t)

    @staticmethod
    def published(params, vocab_params, tokens, *, loss, level, ratio_V, ratio_T, alpha_ND, alpha_V):
        first = jnp.exp(loss) * level / (1 + ratio_V + ratio_T)
        return {
            "A_1": first * jnp.exp(alpha_ND * params),
            "A_2": first * ratio_V * jnp.exp(alpha_V * vocab_params),
            "B": first * ratio_T * jnp.exp(alpha_ND * tokens),
        }


def best_vocabulary(params, flops, *, A_2, B, alpha_ND, alpha_V):
    r"""Return the params of the vocabulary that are best for a model at a fixed compute.

    Compute is :math:`6 (N + N_v) D`, so that a larger vocabulary leaves fewer tokens. While it is much smaller than the
    model, and params grow as tokens do, :math:`N_v \propto N^{(1 + \alpha) / (1 + \alpha_v)}`: more slowly than the
    model if :math:`\alpha_v > \alpha`.

    Parameters
    ----------
    params : float or ndarray
        Params without the vocabulary.
    flops : float or ndarray
        Training compute, in FLOP.
    A_2, B, alpha_ND, alpha_V : float or ndarray
        Of the law, in nats/token, params and tokens. All shapes broadcast.

    Returns
    -------
    ndarray
        Params of the vocabulary, between 1e3 and 1e13.
    """
    shape = np.broadcast_shapes(*map(np.shape, (params, flops, A_2, B, alpha_ND, alpha_V)))
    low, high = np.full(shape, np.log(1e3)), np.full(shape, np.log(1e13))
    for _ in range(80):
        middle = 0.5 * (low + high)
        vocabulary = np.exp(middle)
        tokens = flops / (6 * (params + vocabulary))
        gain = alpha_V * A_2 * vocabulary**-alpha_V
        cost = alpha_ND * B * tokens**-alpha_ND * vocabulary / (params + vocabulary)
        low, high = np.where(gain > cost, middle, low), np.where(gain > cost, high, middle)
    return np.exp(0.5 * (low + high))
