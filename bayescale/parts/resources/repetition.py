"""Repeated data: repeated tokens are worth less, and so are excess params."""

import jax.numpy as jnp

from bayescale.parts.base import PARAMS, TOKENS, AbstractResource, Parameter
from bayescale.parts.priors import LogNormal

MUENNIGHOFF = "Muennighoff et al. 2023 (15.4, 5.3), conditional on a fixed base law"


def _diminishing(unique, total, half):
    """Return the log of ``unique · (1 + half · (1 - exp(-repeats / half)))``, repeats = total / unique - 1; logs in."""
    repeats = jnp.expm1(jnp.maximum(total - unique, 0.0))
    return unique + jnp.log1p(-half * jnp.expm1(-repeats / half))


class Repetition(AbstractResource):
    r"""Effective tokens and params of Muennighoff et al. (2023).

    .. math:: D' = U + U R_D^* (1 - e^{-R_D / R_D^*}),\quad R_D = D/U - 1

    Params beyond `U_N` decay in the same way. `U_N` is the number of params for which `U` unique tokens are
    compute-optimal under the base law (its `balance`), so the base law and the decay are inferred jointly.
    """

    name = "repetition"
    source = "Muennighoff et al. 2023, arXiv:2305.16264"
    use = "Tokens are repeated up to about sixty times, and repeats help less and less."
    avoid = "Larger models overfit, so that more epochs are harmful: use the penalty `harm`, or stack the two."
    runs = ("datablations",)
    reproduced = (
        "The losses 2.22564 and 2.22696 of the published law, and its explained variances on the 182 runs: 0.445 "
        "without decay, 0.772 with both, 0.735 with that of tokens, 0.799 for the geometric form."
    )
    changes = {"params": PARAMS, "tokens": TOKENS}
    requires = ("unique_tokens",)
    parameters = {
        "R_D": Parameter(LogNormal(15.0, 0.8), "epochs", "decay of repeated tokens", 0.3, MUENNIGHOFF),
        "R_N": Parameter(LogNormal(6.0, 1.0), "1", "decay of excess params", 0.3, MUENNIGHOFF),
    }

    @staticmethod
    def effective(spent, balance, *, R_D, R_N):
        unique = jnp.minimum(spent["unique_tokens"], spent["tokens"])
        enough = jnp.minimum(balance(unique), spent["params"])
        return {
            **spent,
            "tokens": _diminishing(unique, spent["tokens"], R_D),
            "params": _diminishing(enough, spent["params"], R_N),
        }
