"""The plateau law: from the loss at chance to a floor, along a power law between them."""

import jax
import jax.numpy as jnp

from bayescale.parts.base import AbstractLaw, Kind, Parameter, Quantity
from bayescale.parts.laws.additive import IRREDUCIBLE, LEVEL
from bayescale.parts.laws.saturating import EXPONENT, REDUCIBLE
from bayescale.parts.priors import LogNormal

_STEPS = 4
"""Steps of Halley's method. They leave errors of 6e-15 for shapes from 0.01 to 100."""


class Plateau(AbstractLaw):
    r"""Sigmoid between the loss at chance and a floor; M4 of Alabdulmohsin et al. (2022).

    .. math:: \frac{L - E}{(L_0 - L)^{\alpha}} = B\,X^{-c}

    At small inputs the loss is that of chance, :math:`L_0`; far below it, it falls as a power law towards `E`. The
    loss is found through the logit of :math:`(L - E) / (L_0 - E)`, in which the equation is monotone.
    """

    name = "plateau"
    source = "M4 of Alabdulmohsin et al. 2022, arXiv:2209.06640"
    use = "A curve that starts at chance. Where the error at chance is known, say so by a narrow prior of plateau."
    avoid = "Curves without runs near chance: plateau and shape are then their priors, and a smaller law does as well."
    runs = ("revisiting",)
    reproduced = (
        "On the authors' benchmark of 92 curves, the average of this law with error-floor, bansal and zhai has errors "
        "of extrapolation of 0.0336 for image classification, 0.0154 for translation and 0.0009 for language "
        "modelling. The best of the point fits M1 to M4, by the recipe of their code, have 0.0415, 0.0208 and 0.0009. "
        "On BIG-bench it has 0.0110, and M3 has 0.0087."
    )
    inputs = ("flops",)
    parameters = {
        "level": LEVEL,
        "ratio_X": REDUCIBLE,
        "plateau": Parameter(
            LogNormal(2.0, 0.8, above=1.0),
            "loss at the anchor",
            "loss at chance",
            0.3,
            "error rates from 0.3 to 0.8 at the anchor, where chance is near 1; losses of a third of ln(vocabulary)",
            at_anchor=True,
        ),
        "shape": Parameter(
            LogNormal(0.4, 0.7),
            "1",
            "how abruptly the plateau ends: 0 is an unbounded power law, 1 a logistic curve",
            0.3,
            "0.06 to 0.7 in the point fits of curves of image classification",
        ),
        "exponent": EXPONENT,
    }
    quantities = {
        "E": IRREDUCIBLE,
        "L_0": Quantity(Kind.PUBLISHED, "loss", "loss at chance"),
        "B": Quantity(Kind.PUBLISHED, "loss^(1-shape) · input^c", "coefficient of the power", "log"),
    }

    @staticmethod
    def log_loss(x, *, level, ratio_X, plateau, shape, exponent):
        at_anchor = _anchor_logit(ratio_X, plateau)
        v = _logit(_height(at_anchor, shape) - exponent * x, shape)
        floor = 1 / (1 + ratio_X)
        return jnp.log(level) + jnp.log(floor + (plateau - floor) * jax.nn.sigmoid(v))

    @staticmethod
    def published(x, *, loss, level, ratio_X, plateau, shape, exponent):
        unit = jnp.exp(loss) * level
        floor = 1 / (1 + ratio_X)
        log_B = jnp.log(unit) * (1 - shape) + jnp.log(1 - floor) - shape * jnp.log(plateau - 1) + exponent * x
        return {"E": unit * floor, "L_0": unit * plateau, "B": jnp.exp(log_B)}


def _anchor_logit(ratio_X, plateau):
    """Return the logit of the share of the fall that is left at the anchor."""
    return jnp.log(ratio_X) - jnp.log1p(ratio_X) - jnp.log(plateau - 1)


def _height(v, shape):
    """Return ``ln(u / (1 - u)^shape)`` of ``u = sigmoid(v)``: it rises with `v`, with slopes from 1 to `shape`."""
    return shape * jax.nn.softplus(v) - jax.nn.softplus(-v)


def _steepness(v, shape):
    return jax.nn.sigmoid(-v) + shape * jax.nn.sigmoid(v)


@jax.custom_jvp
def _logit(height, shape):
    """Return the logit at a height, by Halley's method from the lines that the height approaches at both ends.

    The height is concave in the logit for a shape below 1 and convex above, so that no start leads astray.
    """
    v = jnp.where(height < 0, height, height / shape)
    for _ in range(_STEPS):
        slope = _steepness(v, shape)
        step = (_height(v, shape) - height) / slope
        bend = (shape - 1) * jax.nn.sigmoid(v) * jax.nn.sigmoid(-v) / slope
        v = v - step / (1 - step * bend / 2)
    return v


@_logit.defjvp
def _logit_jvp(primals, tangents):
    """The implicit derivative: at a fixed height, the logit moves against what a larger shape adds."""
    (height, shape), (by_height, by_shape) = primals, tangents
    v = _logit(height, shape)
    return v, (by_height - jax.nn.softplus(v) * by_shape) / _steepness(v, shape)
