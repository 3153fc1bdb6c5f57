"""Efficiency: families that share one law, in which a param or a token is worth more or less."""

import jax.numpy as jnp

from bayescale.parts.base import PARAMS, TOKENS, AbstractResource, Parameter
from bayescale.parts.priors import LogNormal

WORTH = LogNormal(1.0, 0.4)
HONEST = "Wen et al. 2025, arXiv:2509.02046: optimisers are at most 1.4 times faster than a tuned baseline"


class Efficiency(AbstractResource):
    r"""Effective params and tokens of a family, by Volkova et al. (2026).

    .. math:: L = E + A (\rho_N N)^{-\alpha} + B (\rho_D D)^{-\beta}

    where families share `E`, `A`, `B` and the exponents (``pooling = {default = "complete", rho_N = "none",
    rho_D = "none"}``). The multipliers are relative to the families' geometric mean, to the extent that the
    prior keeps that mean at 1.
    """

    name = "efficiency"
    source = "Volkova et al. 2026, arXiv:2602.07712"
    use = "Families differ in recipe and share a law, and the question is what a recipe is worth."
    avoid = "Families of different texts or tokenizers: their losses do not share a law."
    runs = ("open-families",)
    reproduced = (
        "No published figure; from simulated families, what a param and a token of each are worth. On three recipes of "
        "OpenLM 90% intervals cover 96% of the losses of larger runs, with a CRPS of 0.011 (each by itself: 0.009)."
    )
    changes = {"params": PARAMS, "tokens": TOKENS}
    balanced = False
    parameters = {
        "rho_N": Parameter(WORTH, "1", "worth of a param relative to other families", 0.1, HONEST),
        "rho_D": Parameter(WORTH, "1", "worth of a token relative to other families", 0.1, HONEST),
    }

    @staticmethod
    def effective(spent, balance, *, rho_N, rho_D):
        worth = {"params": rho_N, "tokens": rho_D, "unique_tokens": rho_D}
        return {**spent, **{name: spent[name] + jnp.log(rho) for name, rho in worth.items() if name in spent}}
