"""Accuracy that may fall, or fall and rise again, as the loss falls."""

import jax
import jax.numpy as jnp

from bayescale.parts.base import AbstractResponse, Parameter
from bayescale.parts.priors import LogNormal, Normal

_CENTER = Parameter(LogNormal(3.0, 0.15), "nats/token", "loss around which the curve is written", 0.1)


class BentAccuracy(AbstractResponse):
    r"""Number of correct answers whose odds need not rise as the loss falls.

    .. math:: \operatorname{logit} p = a + b z + q z^2, \qquad z = \ln m - \ln L

    with the logit `a` at the loss `m`, the `rise` `b` and the `bend` `q`. Accuracy grows as the loss falls if `b` is
    positive, falls (inverse scaling) if it is negative, and turns if `q` has the other sign than the rise toward the
    runs' losses: it is U-shaped if `q` is positive.
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
        "center": _CENTER,
        "middle": Parameter(Normal(0.0, 1.5), "logit", "logit of accuracy at the centre", 0.3),
        "rise": Parameter(
            Normal(0.0, 3.0), "logit per e-fold of loss", "change of the logit as the loss falls", 0.5,
            "an accuracy that rises from 0.3 to 0.7 over a quarter of an e-fold of loss has 7",
        ),
        "bend": Parameter(Normal(0.0, 3.0), "logit per squared e-fold of loss", "curvature of the logit", 0.5),
    }  # fmt: skip

    @staticmethod
    def location(log_loss, columns, *, center, middle, rise, bend):
        z = jnp.log(center) - log_loss
        return jax.nn.sigmoid(middle + rise * z + bend * z**2)
