"""Accuracy that may fall, or fall and rise again, as the loss falls."""

import jax
import jax.numpy as jnp

from bayescale.parts.base import AbstractResponse, Parameter
from bayescale.parts.priors import Normal

CENTER = 3.0
"""Loss around which the curve is written, in nats/token. Curves around any other loss are the same curves."""


class BentAccuracy(AbstractResponse):
    r"""Number of correct answers whose odds need not rise as the loss falls.

    .. math:: \operatorname{logit} p = a + b z + q z^2, \qquad z = \ln 3 - \ln L

    with the logit `a` at a loss of 3 nats/token, the `rise` `b` and the `bend` `q`. Without a bend, accuracy grows as
    the loss falls if `b` is positive, and falls (inverse scaling) if it is negative. A bend that turns the curve among
    the runs makes it U-shaped if `q` is positive, and peaked if it is negative.
    """

    name = "bent-accuracy"
    source = "McKenzie et al. 2023, arXiv:2306.09479 (inverse scaling); Wei et al. 2022, arXiv:2211.02011 (U-shaped)"
    use = (
        "To ask the runs whether a benchmark has inverse or U-shaped scaling: the check monotone gives the probability."
    )
    avoid = "Forecasts far beyond the runs: a parabola of the logit reaches 0 or 1 there."
    observed = "n_correct"
    requires = ("n_items",)
    of_one = "benchmark"
    kind = "count"
    unit = "items"
    parameters = {
        "middle": Parameter(Normal(0.0, 1.5), "logit", f"logit of accuracy at a loss of {CENTER:g}", 0.3),
        "rise": Parameter(
            Normal(0.0, 7.0), "logit per e-fold of loss", "change of the logit as the loss falls", 0.5,
            "an accuracy that rises from 0.3 to 0.7 over a quarter of an e-fold of loss has 7",
        ),
        "bend": Parameter(
            Normal(0.0, 15.0), "logit per squared e-fold of loss", "curvature of the logit", 0.5,
            "a logit that falls by 1 over a quarter of an e-fold and rises again has 16",
        ),
    }  # fmt: skip

    @staticmethod
    def location(log_loss, columns, *, middle, rise, bend):
        z = jnp.log(CENTER) - log_loss
        return jax.nn.sigmoid(middle + rise * z + bend * z**2)
