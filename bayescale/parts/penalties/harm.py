"""Harm: many epochs over few tokens raise the loss, most of all for large models."""

import jax.numpy as jnp

from bayescale.parts.base import AbstractPenalty, Kind, Parameter
from bayescale.parts.priors import LogNormal

LOVELACE = "Lovelace et al. 2026, arXiv:2605.01640; refitted to 182 runs of Datablations: 0.050, 0.37, 0.74"
_SMOOTH = 1e-6  # repeats: a power below 1 has an infinite slope at zero repeats


class Harm(AbstractPenalty):
    r"""Overfitting to repeated tokens, of Lovelace et al. (2026).

    .. math:: L = L_0(N, D) + P\, R^{\delta} (N / U)^{\kappa},\quad R = D/U - 1

    The base law :math:`L_0` reads all tokens as if they were unique. Unlike effective tokens, this term makes a long
    training harmful, so that the best number of epochs and of params is finite.
    """

    name = "harm"
    source = "Lovelace et al. 2026, arXiv:2605.01640"
    use = "Runs repeat their tokens many times, and the largest models overfit."
    avoid = "No run has more than about ten epochs; the exponents are then their priors."
    runs = ("datablations",)
    reproduced = (
        "No figures of the paper, whose runs are not open. On 182 runs of Datablations a point fit has a robust cost "
        "of 408 (`repetition`: 544), a median error of 1.7% (2.0%), and 2.95% (4.60%) on the 21 runs of most params, "
        "held out; an earlier analysis, which does not say which 21 runs it held out, had 3.2% (4.5%). Up to "
        "60 epochs it is 1.4% (1.8%), and 3.5% for both on the largest models."
    )
    reads = ("params", "tokens")
    requires = ("unique_tokens",)
    parameters = {
        "harm": Parameter(
            LogNormal(0.02, 1.5), "nats/token", "harm of one repeat at one param per token", 0.3, LOVELACE
        ),
        "harm_epochs": Parameter(
            LogNormal(0.5, 0.5), "1", "exponent of the repeats", 0.1, LOVELACE, kind=Kind.EXPONENT
        ),
        "harm_params": Parameter(
            LogNormal(0.7, 0.5), "1", "exponent of params per unique token", 0.1, LOVELACE, kind=Kind.EXPONENT
        ),
    }

    @staticmethod
    def penalized(log_loss, spent, basis, *, harm, harm_epochs, harm_params):
        repeats = jnp.expm1(jnp.maximum(spent["tokens"] - spent["unique_tokens"], 0.0))
        grown = (repeats + _SMOOTH) ** harm_epochs - _SMOOTH**harm_epochs
        size = jnp.exp(harm_params * (spent["params"] - spent["unique_tokens"]))
        return log_loss + jnp.log1p(harm * grown * size * jnp.exp(-log_loss))
