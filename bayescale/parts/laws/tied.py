"""The tied law: params and tokens share one exponent, so that one ratio of tokens to params is best at any compute."""

import jax.numpy as jnp

from bayescale.parts.base import AbstractLaw, Kind, Parameter, Quantity, log_sum
from bayescale.parts.laws.additive import EXPONENT, IRREDUCIBLE, LEVEL, RATIO_A, RATIO_B


class Tied(AbstractLaw):
    r"""Law of over-trained models of Gadre et al. (2024).

    .. math:: L = E + (a\,M^{\eta} + b\,M^{-\eta})\,C^{-\eta},\quad M = D / N,\ C = 6 N D

    It is the additive law with one exponent :math:`2 \eta` for params and tokens. At any ratio `M` of tokens to
    params, the loss above `E` falls as the same power of compute.
    """

    name = "tied"
    source = "Gadre et al. 2024, arXiv:2403.08540"
    inputs = ("params", "tokens")
    parameters = {
        "level": LEVEL,
        "ratio_A": RATIO_A,
        "ratio_B": RATIO_B,
        "exponent": Parameter(
            EXPONENT, "1", "exponent of params and of tokens", 0.1, "Gadre et al. 2024: 0.24-0.27", kind=Kind.EXPONENT
        ),
    }
    quantities = {
        "E": IRREDUCIBLE,
        "A": Quantity(Kind.PUBLISHED, "nats/token · params^exponent", "coefficient of the params term", "log"),
        "B": Quantity(Kind.PUBLISHED, "nats/token · tokens^exponent", "coefficient of the tokens term", "log"),
        "a": Quantity(Kind.PUBLISHED, "nats/token · FLOP^(exponent/2)", "coefficient of the ratio's power", "log"),
        "b": Quantity(Kind.PUBLISHED, "nats/token · FLOP^(exponent/2)", "coefficient of its inverse", "log"),
        "best ratio": Quantity(Kind.PUBLISHED, "tokens per param", "best tokens per param, at any compute", "log"),
        "effective alpha_N": Quantity(Kind.EFFECTIVE, "1", "exponent of params, far from balance"),
        "effective beta_D": Quantity(Kind.EFFECTIVE, "1", "exponent of tokens, far from balance"),
    }
    use = (
        "Few runs, or runs at few ratios of tokens to params: it has one parameter fewer than the additive law. And "
        "forecasts of models that are trained far beyond the best ratio."
    )
    avoid = (
        "Many runs over a wide range of ratios, which can tell the two exponents apart. Where they differ, the best "
        "ratio changes with compute, and this law cannot say so."
    )
    runs = ("gadre2024",)
    reproduced = (
        "A point fit to five RedPajama runs forecasts the 1.4B model of 640 tokens per param with an error of 0.71%, "
        "and the 6.9B model with 0.73%, as published. The 90% intervals of the posterior contain both losses."
    )

    @staticmethod
    def effective(*, exponent, **_):
        return {"effective alpha_N": exponent, "effective beta_D": exponent}

    @staticmethod
    def log_loss(params, tokens, *, level, ratio_A, ratio_B, exponent):
        a, b = jnp.log(ratio_A), jnp.log(ratio_B)
        return jnp.log(level) + log_sum(0.0, a - exponent * params, b - exponent * tokens) - log_sum(0.0, a, b)

    @staticmethod
    def balance(tokens, *, level, ratio_A, ratio_B, exponent):
        return tokens + (jnp.log(ratio_A) - jnp.log(ratio_B)) / exponent

    @staticmethod
    def published(params, tokens, *, loss, level, ratio_A, ratio_B, exponent):
        E = jnp.exp(loss) * level / (1 + ratio_A + ratio_B)
        A, B = E * ratio_A * jnp.exp(exponent * params), E * ratio_B * jnp.exp(exponent * tokens)
        six = 6.0 ** (exponent / 2)
        return {"E": E, "A": A, "B": B, "a": A * six, "b": B * six, "best ratio": (B / A) ** (1 / exponent)}
