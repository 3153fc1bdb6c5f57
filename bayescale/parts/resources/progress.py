"""Progress: later runs make more of the same compute."""

import jax.numpy as jnp
import numpy as np

from bayescale.parts.base import PARAMS, TOKENS, AbstractResource, Column, Parameter
from bayescale.parts.priors import LogNormal, Normal

RATES = "Ho et al. 2024, arXiv:2403.05812: 2.7 (1.8 to 6.3); published estimates span 2.2 to 9"
_FLOPS = 6.0  # of training, per param and token
SCALE = "Gundlach et al. 2025, arXiv:2511.21622: progress is much larger at larger scale"


class Progress(AbstractResource):
    r"""A trend of the worth of compute over calendar years, which may depend on scale.

    .. math::
        N' D' = N D\, \exp\!\left[(t - t_0)\left(\ln g + h \ln \frac{6 N D}{C_0}\right)\right]

    Params and tokens share the gain equally: runs of many years do not tell apart which of the two improved. The years
    of runs are confounded with all that changed in these years.

    Attributes
    ----------
    year, flops : float
        Year :math:`t_0` of the usual recipe, and compute :math:`C_0` at which `progress` is the rate.
    """

    year: float = 2020.0
    flops: float = 1e21

    name = "progress"
    source = "Ho et al. 2024, arXiv:2403.05812, with an interaction with scale"
    use = "Families of several years share a law, and the question is what a year is worth."
    avoid = "Families of different texts or tokenizers, or all of one year."
    reproduced = "No published figure; recovery from simulated runs."
    changes = {"params": PARAMS, "tokens": TOKENS}
    requires = ("year",)
    balanced = False
    columns = {"year": Column("years", "calendar year of the run", default=2025.0, low=2010.0, high=2040.0)}
    parameters = {
        "progress": Parameter(LogNormal(3.0, 0.5), "times per year", "growth of the worth of compute", 0.1, RATES),
        "progress_scale": Parameter(
            Normal(0.0, 0.1), "per year and e-fold", "change of the log of progress per e-fold of compute", 0.03, SCALE
        ),
    }

    def effective(self, spent, balance, *, progress, progress_scale):
        flops = np.log(_FLOPS / self.flops) + spent["params"] + spent["tokens"]
        years = jnp.exp(spent["year"]) - self.year
        gain = 0.5 * years * (jnp.log(progress) + progress_scale * flops)
        changed = ("params", "tokens", "unique_tokens")
        return {**spent, **{name: spent[name] + gain for name in changed if name in spent}}
