"""The drift law: the tokens term changes with params."""

import jax.numpy as jnp

from bayescale.parts.base import AbstractLaw, Parameter, log_sum
from bayescale.parts.laws.additive import IRREDUCIBLE, Additive
from bayescale.parts.priors import Normal

LI = "local, log-linear version of Li et al. 2025, arXiv:2506.10972"


class Drift(AbstractLaw):
    r"""Additive law whose tokens term drifts with params.

    .. math:: L = E + A N^{-\alpha} + B e^{c_x x} e^{-\beta e^{c_{xy} x} y},
              \quad x = \ln(N/N_0),\ y = \ln(D/D_0)

    with the anchor run :math:`(N_0, D_0)`; :math:`c_x = c_{xy} = 0` is the additive law.
    """

    name = "drift"
    source = "Li et al. 2025, arXiv:2506.10972"
    use = "The best ratio of tokens to params changes with scale."
    avoid = "Few runs: the two drift coefficients are then their priors."
    runs = ("hoffmann2022",)
    inputs = ("params", "tokens")
    parameters = {
        **Additive.parameters,
        "c_x": Parameter(Normal(0.0, 0.2), "per e-fold of params", "drift of ln B", 0.05, LI),
        "c_xy": Parameter(Normal(0.0, 0.1), "per e-fold of params", "drift of ln beta_D", 0.03, LI),
    }
    quantities = {"E": IRREDUCIBLE, "A": Additive.quantities["A"], "B": Additive.quantities["B"]}

    @staticmethod
    def log_loss(params, tokens, *, level, ratio_A, ratio_B, alpha_N, beta_D, c_x, c_xy):
        a, b = jnp.log(ratio_A), jnp.log(ratio_B)
        beta = beta_D * jnp.exp(c_xy * params)
        terms = log_sum(0.0, a - alpha_N * params, b + c_x * params - beta * tokens)
        return jnp.log(level) + terms - log_sum(0.0, a, b)

    @staticmethod
    def published(params, tokens, *, loss, level, ratio_A, ratio_B, alpha_N, beta_D, c_x, c_xy):
        E = jnp.exp(loss) * level / (1 + ratio_A + ratio_B)
        return {
            "E": E,
            "A": E * ratio_A * jnp.exp(alpha_N * params),
            "B": E * ratio_B * jnp.exp(beta_D * tokens),  # at the anchor's params
        }
