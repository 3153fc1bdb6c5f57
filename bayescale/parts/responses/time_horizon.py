"""The time horizon: successes at tasks by how long people take for them."""

import jax
import jax.numpy as jnp

from bayescale.parts.base import AbstractResponse, Parameter
from bayescale.parts.laws.doubling import KWA
from bayescale.parts.priors import LogNormal


class TimeHorizon(AbstractResponse):
    r"""Number of successes in attempts at tasks that take people `t` minutes.

    .. math:: p = \sigma\!\left(\beta\,\ln\frac{h}{t}\right)

    with the horizon `h`: the length of the tasks of which half succeed. It is the inverse of the law's loss, in
    minutes. Tasks of which a share `q` succeeds have the length :math:`h\,(1 / q - 1)^{1 / \beta}`.
    """

    name = "time-horizon"
    source = KWA
    use = "Successes at tasks of known human times, by models of many dates (`doubling`) or budgets (`power`)."
    avoid = "Tasks that differ in more than their length: success is then not a function of length alone."
    reproduced = "No published figure; from simulated models, the doubling time of the horizon."
    observed = "n_correct"
    requires = ("n_items", "task_minutes")
    ranges = {"task_minutes": (1e-4, 1e8)}
    kind = "count"
    unit = "items"
    parameters = {
        "slope": Parameter(
            LogNormal(0.6, 0.5), "log odds per e-fold", "how fast success falls with the length of tasks", 0.2,
            "weak: from 80% to 20% over 0.9 to 4.6 decades of length",
        )
    }  # fmt: skip

    @staticmethod
    def location(log_loss, columns, *, slope):
        return jax.nn.sigmoid(-slope * (log_loss + jnp.log(columns["task_minutes"])))
