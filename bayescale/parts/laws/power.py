"""Power laws in one input, with and without a floor; a spec's `inputs` says which input."""

import jax.numpy as jnp

from bayescale.parts.base import AbstractLaw, Kind, Parameter, Quantity, log_sum
from bayescale.parts.laws.additive import IRREDUCIBLE, LEVEL
from bayescale.parts.laws.kaplan import FLOOR_FREE, KAPLAN
from bayescale.parts.priors import LogNormal


class Power(AbstractLaw):
    r"""Power law without a floor, in params, tokens or compute.

    .. math:: L(X) = (X_c / X)^{a}
    """

    name = "power"
    source = "Kaplan et al. 2020, arXiv:2001.08361"
    use = "One input limits the loss, over a range far above the irreducible loss."
    avoid = "More than two decades of the input: the irreducible loss then bends the curve."
    runs = ("monkeys",)
    reproduced = (
        "Kaplan's losses from the printed constants of L(N), L(D) and L(C), to 1e-9; ten times the params, tokens and "
        "compute lower the loss by 16.1%, 19.6% and 10.9%."
    )
    inputs = ("flops",)
    parameters = {
        "level": LEVEL,
        "exponent": Parameter(FLOOR_FREE, "1", "exponent", 0.1, KAPLAN, kind=Kind.EXPONENT),
    }
    quantities = {"X_c": Quantity(Kind.PUBLISHED, "of the input", "input at which the loss is one nat/token", "log")}

    @staticmethod
    def log_loss(x, *, level, exponent):
        return jnp.log(level) - exponent * x

    @staticmethod
    def published(x, *, loss, level, exponent):
        return {"X_c": jnp.exp(x + (loss + jnp.log(level)) / exponent)}


class PowerFloor(AbstractLaw):
    r"""Power law above an irreducible loss, in params, tokens or compute.

    .. math:: L(X) = E + (x_0 / X)^{a}
    """

    name = "power-floor"
    source = "Henighan et al. 2020, arXiv:2010.14701; Hestness et al. 2017, arXiv:1712.00409"
    use = "One input limits the loss, or runs lie on the compute frontier."
    avoid = "Less than two decades of the input: the irreducible loss is then its prior."
    runs = ("revisiting", "parallel", "training-curves", "pile-t5")
    reproduced = (
        "At its printed scale each law of Table 1 of Henighan et al. that has a floor is one nat above it, with the "
        "printed exponent."
    )
    inputs = ("flops",)
    parameters = {
        "level": LEVEL,
        "ratio_X": Parameter(
            LogNormal(0.6, 0.9), "1", "reducible over irreducible loss, at the anchor", 0.3, at_anchor=True
        ),
        "exponent": Parameter(
            LogNormal(0.25, 0.5),
            "1",
            "exponent",
            0.1,
            "compute 0.15-0.18, params and tokens 0.28-0.37",
            kind=Kind.EXPONENT,
        ),
    }
    quantities = {
        "E": IRREDUCIBLE,
        "x_0": Quantity(Kind.PUBLISHED, "of the input", "input at which the reducible loss is one nat/token", "log"),
    }

    @staticmethod
    def log_loss(x, *, level, ratio_X, exponent):
        r = jnp.log(ratio_X)
        return jnp.log(level) + log_sum(0.0, r - exponent * x) - log_sum(0.0, r)

    @staticmethod
    def published(x, *, loss, level, ratio_X, exponent):
        E = jnp.exp(loss) * level / (1 + ratio_X)
        return {"E": E, "x_0": jnp.exp(x + jnp.log(E * ratio_X) / exponent)}
