"""The broken law: a power law above a floor that falls faster from some input on."""

from dataclasses import replace

import jax
import jax.numpy as jnp

from bayescale.parts.base import AbstractLaw, Kind, Parameter, Quantity, log_sum
from bayescale.parts.laws.additive import IRREDUCIBLE, LEVEL
from bayescale.parts.laws.saturating import EXPONENT, REDUCIBLE
from bayescale.parts.priors import LogitNormal, Normal


class Broken(AbstractLaw):
    r"""Smoothly broken power law with one break, after which the loss falls faster (Caballero et al. 2022).

    .. math:: L(X) = E + B\,X^{-c_0} \left(1 + (X / d)^{1/f}\right)^{-c_1 f}

    The exponent is :math:`c_0` before the break at `d` and :math:`c_0 + c_1` after it, with :math:`c_1 > 0`. A break
    after which the loss falls more slowly looks like a floor: with both signs, a curve has two explanations, and chains
    that start in one do not find the other. The width `f` of the change, in e-folds, is a field, because few runs are
    close enough to a break to determine it.
    """

    name = "broken"
    source = "Caballero et al. 2022, arXiv:2210.14891"
    use = "A curve that falls faster from some input on, inside the runs."
    avoid = (
        "Curves that bend only near their floor: the break is then its prior, and chains may need more draws. For a "
        "break beyond the runs use the discrepancy break."
    )
    reproduced = "No published figure; the exponents before and after the break are those of the printed formula."
    inputs = ("flops",)
    width: float = 1.0
    """Width of the change, in e-folds."""
    parameters = {
        "level": LEVEL,
        "ratio_X": REDUCIBLE,
        "exponent": replace(EXPONENT, meaning="exponent after the break"),
        "before": Parameter(
            LogitNormal(0.7, 1.6),
            "1",
            "exponent before the break over that after it",
            0.3,
            "P(break) = 0.3: before it the exponent is less than half of that after it",
        ),
        "break_at": Parameter(
            Normal(0.0, 2.5),
            "e-folds from the anchor",
            "where the exponent changes",
            0.3,
            "from the smallest runs of a table that spans two decades to a decade beyond the largest",
            at_anchor=True,
        ),
    }
    quantities = {
        "E": IRREDUCIBLE,
        "B": Quantity(Kind.PUBLISHED, "loss · input^c_0", "coefficient of the power", "log"),
        "c_0": Quantity(Kind.PUBLISHED, "1", "exponent before the break"),
        "c_1": Quantity(Kind.PUBLISHED, "1", "change of the exponent at the break"),
        "d": Quantity(Kind.PUBLISHED, "of the input", "input at the break", "log"),
    }

    def log_loss(self, x, *, level, ratio_X, exponent, before, break_at):
        r = jnp.log(ratio_X)
        bend = self._beyond(x - break_at) - self._beyond(-break_at)
        return jnp.log(level) + log_sum(0.0, r - exponent * (before * x + (1 - before) * bend)) - log_sum(0.0, r)

    def published(self, x, *, loss, level, ratio_X, exponent, before, break_at):
        E, c_0, c_1 = jnp.exp(loss) * level / (1 + ratio_X), exponent * before, exponent * (1 - before)
        B = E * ratio_X * jnp.exp(c_0 * x + c_1 * self._beyond(-break_at))
        return {"E": E, "B": B, "c_0": c_0, "c_1": c_1, "d": jnp.exp(x + break_at)}

    def _beyond(self, x):
        """Return e-folds beyond the break, which rise smoothly from 0."""
        return self.width * jax.nn.softplus(x / self.width)
