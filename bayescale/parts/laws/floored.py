"""The additive law, sampled by its floor, for families that share an irreducible loss."""

import jax.numpy as jnp

from bayescale.parts.base import AbstractLaw, Parameter, log_sum
from bayescale.parts.laws.additive import ALPHA_N, BETA_D, RATIO_A, RATIO_B, Additive
from bayescale.parts.priors import LogNormal

FLOOR = Parameter(
    LogNormal(0.6, 0.25),
    "median loss",
    "irreducible loss",
    spread=0.15,
    at_anchor=True,
    source="shares of published fits are 0.69 and 0.70; 90% interval: 0.40 to 0.91 of the anchor loss",
)


class Floored(AbstractLaw):
    r"""The additive law, sampled by its irreducible loss instead of the loss at the anchor.

    .. math:: L(N, D) = E + A N^{-\alpha} + B D^{-\beta}

    An irreducible loss belongs to an evaluation text and a tokenizer. Families that are evaluated on the
    same text in the same unit share it: ``pooling = {floor = "text"}``.
    """

    name = "floored"
    source = Additive.source
    use = "Several families are evaluated on one text with one tokenizer and share an irreducible loss."
    avoid = "Families of different texts or units: they have no common irreducible loss."
    inputs = ("params", "tokens")
    parameters = {
        "floor": FLOOR,
        "ratio_A": RATIO_A,
        "ratio_B": RATIO_B,
        "alpha_N": ALPHA_N,
        "beta_D": BETA_D,
    }
    quantities = Additive.quantities
    effective = staticmethod(Additive.effective)

    @staticmethod
    def log_loss(params, tokens, *, floor, ratio_A, ratio_B, alpha_N, beta_D):
        a, b = jnp.log(ratio_A), jnp.log(ratio_B)
        return jnp.log(floor) + log_sum(0.0, a - alpha_N * params, b - beta_D * tokens)

    @staticmethod
    def balance(tokens, *, floor, ratio_A, ratio_B, alpha_N, beta_D):
        return Additive.balance(tokens, level=floor, ratio_A=ratio_A, ratio_B=ratio_B, alpha_N=alpha_N, beta_D=beta_D)

    @staticmethod
    def published(params, tokens, *, loss, floor, ratio_A, ratio_B, alpha_N, beta_D):
        E = jnp.exp(loss) * floor
        return {
            "E": E,
            "A": E * ratio_A * jnp.exp(alpha_N * params),
            "B": E * ratio_B * jnp.exp(beta_D * tokens),
        }
