"""The sigmoid law: an error between that of the start and a floor, logistic in the log of the input."""

import jax
import jax.numpy as jnp

from bayescale.parts.base import AbstractLaw, Kind, Parameter, Quantity
from bayescale.parts.laws.additive import IRREDUCIBLE, LEVEL
from bayescale.parts.laws.saturating import REDUCIBLE
from bayescale.parts.priors import LogNormal

KHATRI = "Khatri et al. 2025 (ScaleRL), arXiv:2510.13786"


def _logit(ratio_X, plateau):
    """Return the logit of the share of the fall that is left at the anchor."""
    return jnp.log(ratio_X) - jnp.log1p(ratio_X) - jnp.log(plateau - 1)


class Sigmoid(AbstractLaw):
    r"""Bounded sigmoid of reinforcement learning of Khatri et al. (2025), of the error :math:`L = 1 - R`.

    .. math:: R(C) = R_0 + \frac{A - R_0}{1 + (C_{mid} / C)^{B}}

    with the pass rate `R`, its start :math:`R_0` and its asymptote `A`. In errors it is `plateau` with a shape of 1.
    The asymptote is not identified before the inflection :math:`C_{mid}`: the check `inflection` says how much of the
    rise the runs have made.
    """

    name = "sigmoid"
    source = KHATRI
    use = "Pass rates over the compute of reinforcement learning that go from slow to fast to slow: what they end at."
    avoid = (
        "Runs that end before the inflection, where the asymptote is its prior. Average with `power` for what lies "
        "beyond the runs: the two differ most there."
    )
    reproduced = "No published figure; the printed formula, to 1e-9."
    inputs = ("flops",)
    parameters = {
        "level": LEVEL,
        "ratio_X": REDUCIBLE,
        "plateau": Parameter(
            LogNormal(1.6, 0.7, above=1.0), "loss at the anchor", "error before the first step", 0.3,
            "errors of 0.6 to 0.8 before reinforcement learning, and 0.4 halfway",
            at_anchor=True,
        ),
        "steepness": Parameter(
            LogNormal(1.0, 0.5), "1", "exponent B: how fast the rise is, in e-folds of odds per e-fold", 0.2, KHATRI,
            kind=Kind.EXPONENT,
        ),
    }  # fmt: skip
    quantities = {
        "E": IRREDUCIBLE,
        "L_0": Quantity(Kind.PUBLISHED, "loss", "error before the first step"),
        "X_mid": Quantity(Kind.PUBLISHED, "of the input", "input at half of the rise: the inflection", "log"),
    }

    @staticmethod
    def log_loss(x, *, level, ratio_X, plateau, steepness):
        left = jax.nn.sigmoid(_logit(ratio_X, plateau) - steepness * x)
        floor = 1 / (1 + ratio_X)
        return jnp.log(level) + jnp.log(floor + (plateau - floor) * left)

    @staticmethod
    def published(x, *, loss, level, ratio_X, plateau, steepness):
        unit = jnp.exp(loss) * level
        middle = jnp.exp(x + _logit(ratio_X, plateau) / steepness)
        return {"E": unit / (1 + ratio_X), "L_0": unit * plateau, "X_mid": middle}
