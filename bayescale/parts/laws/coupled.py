"""The coupled law: the reducible terms add up inside a power."""

import jax.numpy as jnp

from bayescale.parts.base import AbstractLaw, Kind, Parameter, Quantity, log_sum
from bayescale.parts.laws.additive import EFFECTIVE, IRREDUCIBLE, Additive
from bayescale.parts.priors import LogNormal

KAPPA = Parameter(
    LogNormal(1.0, 0.3),
    "1",
    "coupling exponent; 1 is the additive law",
    spread=0.1,
    source="Busbridge et al. 2025, arXiv:2502.08606 (0.452)",
    kind=Kind.EXPONENT,
)


class Coupled(AbstractLaw):
    r"""Additive law with a coupling exponent on its reducible part.

    .. math:: L(N, D) = E + (A N^{-\alpha} + B D^{-\beta})^\kappa

    The effective exponents far from balance are :math:`\alpha\kappa` and :math:`\beta\kappa`.
    """

    name = "coupled"
    source = "Busbridge et al. 2025, arXiv:2502.08606"
    use = "A sweep covers a decade or more of params and of tokens, so that the coupling shows."
    avoid = "Few runs, or a fixed ratio of tokens to params: the coupling exponent is then its prior."
    runs = ("hoffmann2022", "open-families")
    forms = ("kappa",)
    inputs = ("params", "tokens")
    parameters = {
        **Additive.parameters,
        "kappa": KAPPA,
    }
    quantities = {
        "E": IRREDUCIBLE,
        "A": Quantity(
            Kind.PUBLISHED, "(nats/token)^(1/kappa) · params^alpha_N", "coefficient of the params term", "log"
        ),
        "B": Quantity(
            Kind.PUBLISHED, "(nats/token)^(1/kappa) · tokens^beta_D", "coefficient of the tokens term", "log"
        ),
        **EFFECTIVE,
    }

    @staticmethod
    def effective(*, alpha_N, beta_D, kappa, **_):
        return {"effective alpha_N": alpha_N * kappa, "effective beta_D": beta_D * kappa}

    @staticmethod
    def log_loss(params, tokens, *, level, ratio_A, ratio_B, alpha_N, beta_D, kappa):
        a, b = jnp.log(ratio_A), jnp.log(ratio_B)
        reducible = log_sum(a, b)
        inner = log_sum(a - alpha_N * params, b - beta_D * tokens) - reducible
        return jnp.log(level) + log_sum(0.0, reducible + kappa * inner) - log_sum(0.0, reducible)

    @staticmethod
    def balance(tokens, *, level, ratio_A, ratio_B, alpha_N, beta_D, kappa):
        return (jnp.log(alpha_N * ratio_A) - jnp.log(beta_D * ratio_B) + beta_D * tokens) / alpha_N

    @staticmethod
    def published(params, tokens, *, loss, level, ratio_A, ratio_B, alpha_N, beta_D, kappa):
        E = jnp.exp(loss) * level / (1 + ratio_A + ratio_B)
        outer = (E * (ratio_A + ratio_B)) ** (1 / kappa) / (ratio_A + ratio_B)
        return {
            "E": E,
            "A": outer * ratio_A * jnp.exp(alpha_N * params),
            "B": outer * ratio_B * jnp.exp(beta_D * tokens),
        }
