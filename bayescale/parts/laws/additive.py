"""The additive law: irreducible loss + a params term + a tokens term."""

import jax.numpy as jnp

from bayescale.parts.base import AbstractLaw, Kind, Parameter, Quantity, log_sum
from bayescale.parts.priors import LogNormal

# Shares of the anchor loss: odds with median 0.3 and log-SD 1 give the irreducible share a 90% interval
# of 0.26 to 0.83, as Dirichlet(4, 1.5, 1.5) does. It includes the floors of published fits (0.69, 0.70).
SHARE = LogNormal(0.3, 1.0)
EXPONENT = LogNormal(0.33, 0.35)
LEVEL = Parameter(LogNormal(1.0, 0.3), "median loss", "loss at the anchor run", spread=0.15, own=True)
RATIO_A = Parameter(SHARE, "1", "params term over irreducible loss, at the anchor", spread=0.3, at_anchor=True)
RATIO_B = Parameter(SHARE, "1", "tokens term over irreducible loss, at the anchor", spread=0.3, at_anchor=True)
FREE_FLOOR = "published 0.28-0.37 with a free floor"
ALPHA_N = Parameter(EXPONENT, "1", "exponent of params", spread=0.1, source=FREE_FLOOR, kind=Kind.EXPONENT)
BETA_D = Parameter(EXPONENT, "1", "exponent of tokens", spread=0.1, source=FREE_FLOOR, kind=Kind.EXPONENT)

IRREDUCIBLE = Quantity(Kind.FLOOR, "nats/token", "irreducible loss, for this form of law")
EFFECTIVE = {
    "effective alpha_N": Quantity(Kind.EFFECTIVE, "1", "exponent of params, far from balance"),
    "effective beta_D": Quantity(Kind.EFFECTIVE, "1", "exponent of tokens, far from balance"),
}


class Additive(AbstractLaw):
    r"""Additive law of Hoffmann et al. (2022), approach 3.

    .. math:: L(N, D) = E + A N^{-\alpha} + B D^{-\beta}

    It is sampled as the loss at an anchor run, the ratios of the two terms to `E` there, and the exponents.
    """

    name = "additive"
    source = "Hoffmann et al. 2022, arXiv:2203.15556; Besiroglu et al. 2024, arXiv:2404.10102"
    use = "Params and tokens both vary. It is the usual law, and the one that published fits report."
    avoid = "Forecasts far beyond the runs, where its form is the largest doubt: compare it with `coupled`."
    runs = ("hoffmann2022", "open-families", "gadre2024")
    reproduced = (
        "The Huber recipe on 240 runs of `hoffmann2022` gives E 1.8172, A 477.8, B 2,143 and exponents 0.3473 and "
        "0.3672, as recomputed from Besiroglu et al.; with the five undertrained runs B is six times as large."
    )
    inputs = ("params", "tokens")
    parameters = {
        "level": LEVEL,
        "ratio_A": RATIO_A,
        "ratio_B": RATIO_B,
        "alpha_N": ALPHA_N,
        "beta_D": BETA_D,
    }
    quantities = {
        "E": IRREDUCIBLE,
        "A": Quantity(Kind.PUBLISHED, "nats/token · params^alpha_N", "coefficient of the params term", "log"),
        "B": Quantity(Kind.PUBLISHED, "nats/token · tokens^beta_D", "coefficient of the tokens term", "log"),
        **EFFECTIVE,
    }

    @staticmethod
    def effective(*, alpha_N, beta_D, **_):
        return {"effective alpha_N": alpha_N, "effective beta_D": beta_D}

    @staticmethod
    def log_loss(params, tokens, *, level, ratio_A, ratio_B, alpha_N, beta_D):
        a, b = jnp.log(ratio_A), jnp.log(ratio_B)
        return jnp.log(level) + log_sum(0.0, a - alpha_N * params, b - beta_D * tokens) - log_sum(0.0, a, b)

    @staticmethod
    def balance(tokens, *, level, ratio_A, ratio_B, alpha_N, beta_D):
        return (jnp.log(alpha_N * ratio_A) - jnp.log(beta_D * ratio_B) + beta_D * tokens) / alpha_N

    @staticmethod
    def published(params, tokens, *, loss, level, ratio_A, ratio_B, alpha_N, beta_D):
        E = jnp.exp(loss) * level / (1 + ratio_A + ratio_B)
        return {
            "E": E,
            "A": E * ratio_A * jnp.exp(alpha_N * params),
            "B": E * ratio_B * jnp.exp(beta_D * tokens),
        }
