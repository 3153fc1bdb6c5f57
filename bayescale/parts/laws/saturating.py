"""Laws of one input that saturate at a large input, or at both ends, through an offset of the input."""

import jax.numpy as jnp

from bayescale.parts.base import AbstractLaw, Kind, Parameter, Quantity, log_sum
from bayescale.parts.laws.additive import IRREDUCIBLE, LEVEL
from bayescale.parts.priors import LogNormal

EXPONENT = Parameter(
    LogNormal(0.35, 0.5),
    "1",
    "exponent far from both ends",
    0.1,
    "0.32 and 0.35 for compute of vision transformers (Zhai et al. 2021); data exponents of 0.28 to 0.37 with a floor",
    kind=Kind.EXPONENT,
)
REDUCIBLE = Parameter(
    LogNormal(1.0, 1.2),
    "1",
    "reducible over irreducible loss, at the anchor",
    0.3,
    "wide: the floor of an error rate is anywhere from a tenth to nine tenths of the error at the anchor",
    at_anchor=True,
)


class Bansal(AbstractLaw):
    r"""Power law of a harmonic sum of the input and a limit (Bansal et al. 2022); M3 of Alabdulmohsin et al. (2022).

    .. math:: L(X) = B \left(X^{-1} + X_\max^{-1}\right)^{c}

    More of the input than the limit :math:`X_\max` is worth hardly more than the limit itself.
    """

    name = "bansal"
    source = "Bansal et al. 2022, arXiv:2202.01994; M3 of Alabdulmohsin et al. 2022, arXiv:2209.06640"
    use = "A curve that is a power law of the data at first and bends once towards its floor, as in translation."
    avoid = "Curves whose smallest runs are near chance: the law is steepest there."
    runs = ("revisiting",)
    reproduced = "As M3, one of the four laws of the average whose errors are at `plateau`."
    inputs = ("flops",)
    parameters = {
        "level": LEVEL,
        "limit": Parameter(
            LogNormal(30.0, 2.0),
            "input at the anchor",
            "input beyond which more hardly helps",
            0.5,
            "wide: from the anchor itself to three decades beyond it",
            at_anchor=True,
        ),
        "exponent": EXPONENT,
    }
    quantities = {
        "E": IRREDUCIBLE,
        "B": Quantity(Kind.PUBLISHED, "loss · input^c", "coefficient of the power", "log"),
        "X_max": Quantity(Kind.PUBLISHED, "of the input", "input beyond which more hardly helps", "log"),
    }

    @staticmethod
    def log_loss(x, *, level, limit, exponent):
        g = -jnp.log(limit)
        return jnp.log(level) + exponent * (log_sum(-x, g) - log_sum(0.0, g))

    @staticmethod
    def published(x, *, loss, level, limit, exponent):
        g = -jnp.log(limit)
        at_limit = loss + jnp.log(level) + exponent * (g - log_sum(0.0, g))
        return {
            "E": jnp.exp(at_limit),
            "B": jnp.exp(at_limit + exponent * (x - g)),
            "X_max": jnp.exp(x - g),
        }


class Zhai(AbstractLaw):
    r"""Power law of an input that starts before zero, above a floor: double saturation (Zhai et al. 2021).

    .. math:: L(X) = E + A\,(X + X_0)^{-b}

    The loss is flat at small inputs, because the offset :math:`X_0` outweighs them, and at large ones near `E`.

    Their exponents of compute are 0.35 (fine-tuned) and 0.32 (10-shot).
    """

    name = "zhai"
    source = "Zhai et al. 2021, arXiv:2106.04560"
    use = "A curve of an error rate that is flat at both ends. Of the laws of one input it is the first to try."
    avoid = "Fewer than two decades of the input: the floor and the offset are then their priors."
    runs = ("revisiting",)
    reproduced = "One of the four laws of the average whose errors are at `plateau`."
    inputs = ("flops",)
    parameters = {
        "level": LEVEL,
        "ratio_X": REDUCIBLE,
        "offset": Parameter(
            LogNormal(0.1, 1.2),
            "input at the anchor",
            "input at which the loss begins to fall",
            0.3,
            "about the smallest runs of a table that spans two decades",
            at_anchor=True,
        ),
        "exponent": EXPONENT,
    }
    quantities = {
        "E": IRREDUCIBLE,
        "A": Quantity(Kind.PUBLISHED, "loss · input^b", "coefficient of the power", "log"),
        "X_0": Quantity(Kind.PUBLISHED, "of the input", "input at which the loss begins to fall", "log"),
    }

    @staticmethod
    def log_loss(x, *, level, ratio_X, offset, exponent):
        r, d = jnp.log(ratio_X), jnp.log(offset)
        fall = exponent * (log_sum(x, d) - log_sum(0.0, d))
        return jnp.log(level) + log_sum(0.0, r - fall) - log_sum(0.0, r)

    @staticmethod
    def published(x, *, loss, level, ratio_X, offset, exponent):
        E = jnp.exp(loss) * level / (1 + ratio_X)
        return {
            "E": E,
            "A": E * ratio_X * jnp.exp(exponent * (x + jnp.log1p(offset))),
            "X_0": jnp.exp(x) * offset,
        }
