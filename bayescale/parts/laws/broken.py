"""The broken law: a power law above a floor, whose exponent changes once."""

from dataclasses import replace

import jax
import jax.numpy as jnp

from bayescale.parts.base import AbstractLaw, Kind, Parameter, Quantity, log_sum
from bayescale.parts.laws.additive import IRREDUCIBLE, LEVEL
from bayescale.parts.laws.saturating import EXPONENT, REDUCIBLE
from bayescale.parts.priors import LogNormal, Normal


class Broken(AbstractLaw):
    r"""Smoothly broken power law with one break (Caballero et al. 2022).

    .. math:: L(X) = E + B\,X^{-c_0} \left(1 + (X / d)^{1/f}\right)^{-c_1 f}

    The exponent is :math:`c_0` before the break at `d` and :math:`c_0 + c_1` after it; `f` is the width of the change
    in e-folds. The prior of :math:`c_1` gives a probability of 0.3 to a change by more than 0.3. The loss may rise on
    the side of the break where the exponent is negative. The law is sampled by the exponent at the anchor, which runs
    determine on whichever side the break is.
    """

    name = "broken"
    source = "Caballero et al. 2022, arXiv:2210.14891"
    use = "A curve with a visible change of its exponent inside the runs."
    avoid = (
        "Curves whose only bends are near chance and near the floor: a break at either end then fits as well, and "
        "chains that find different ends do not agree. For a break beyond the runs use the discrepancy break."
    )
    runs = ("revisiting",)
    inputs = ("flops",)
    parameters = {
        "level": LEVEL,
        "ratio_X": REDUCIBLE,
        "exponent": replace(EXPONENT, meaning="exponent at the anchor"),
        "break_at": Parameter(
            Normal(1.0, 2.5),
            "e-folds from the anchor",
            "where the exponent changes",
            0.3,
            "from the smallest runs of a table that spans two decades to a decade beyond the largest",
            at_anchor=True,
        ),
        "break_width": Parameter(LogNormal(0.3, 0.7), "e-folds", "width of the change", 0.3),
        "change": Parameter(
            Normal(0.0, 0.3),
            "1",
            "change of the exponent at the break",
            0.1,
            "P(break) = 0.3: a change by more than 0.3, about as much as the exponent itself",
        ),
    }
    quantities = {
        "E": IRREDUCIBLE,
        "B": Quantity(Kind.PUBLISHED, "loss · input^c_0", "coefficient of the power", "log"),
        "c_0": Quantity(Kind.PUBLISHED, "1", "exponent before the break"),
        "d": Quantity(Kind.PUBLISHED, "of the input", "input at the break", "log"),
    }

    @staticmethod
    def log_loss(x, *, level, ratio_X, exponent, break_at, break_width, change):
        r, before = jnp.log(ratio_X), _before(exponent, break_at, break_width, change)
        bend = _bend(x, break_at, break_width) - _bend(0.0, break_at, break_width)
        return jnp.log(level) + log_sum(0.0, r - before * x - change * bend) - log_sum(0.0, r)

    @staticmethod
    def published(x, *, loss, level, ratio_X, exponent, break_at, break_width, change):
        E, before = jnp.exp(loss) * level / (1 + ratio_X), _before(exponent, break_at, break_width, change)
        at_anchor = change * _bend(0.0, break_at, break_width)
        B = E * ratio_X * jnp.exp(before * x + at_anchor)
        return {"E": E, "B": B, "c_0": jnp.broadcast_to(before, jnp.shape(B)), "d": jnp.exp(x + break_at)}


def _before(at_anchor, at, width, change):
    """Return the exponent before the break, from that at the anchor."""
    return at_anchor - change * jax.nn.sigmoid(-at / width)


def _bend(x, at, width):
    """Return e-folds beyond the break, which rise smoothly from 0."""
    return width * jax.nn.softplus((x - at) / width)
