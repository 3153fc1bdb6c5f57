"""Loss relative to a unigram model: negative, and comparable between vocabularies."""

import jax.numpy as jnp

from bayescale.parts.base import AbstractResponse, Parameter
from bayescale.parts.priors import LogNormal


class NormalizedLoss(AbstractResponse):
    r"""Loss minus that of a unigram model: :math:`L_u = L - E_u`.

    The law `L` has no floor then: the gain :math:`E_u` over a unigram model is that of an ideal model, and includes the
    irreducible loss.
    """

    name = "normalized-loss"
    source = "Tao et al. 2024, arXiv:2407.13623"
    runs = ("vocabulary",)
    observed = "normalized_loss"
    kind = "real"
    unit = "nats/token"
    falls = True
    parameters = {
        "most_gain": Parameter(
            LogNormal(5.5, 0.3), "nats/token", "gain of an ideal model over a unigram model", 0.1,
            "a unigram model of text loses seven to eight nats/token, of which about two are irreducible",
        ),
    }  # fmt: skip

    @staticmethod
    def location(log_loss, columns, *, most_gain):
        return jnp.exp(log_loss) - most_gain
