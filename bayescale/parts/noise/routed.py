"""Noise of routed models: the scale rises with experts."""

from numpyro import distributions as dist
from numpyro.distributions.transforms import ExpTransform

from bayescale.parts.base import AbstractNoise, Parameter
from bayescale.parts.noise.log_loss import NU, SIGMA
from bayescale.parts.priors import Normal


class RoutedScatter(AbstractNoise):
    r"""Student-t on log loss, whose scale rises with experts: routed runs scatter more than dense ones.

    .. math:: \sigma(E) = \sigma E^{r}
    """

    name = "routed-scatter"
    source = "residuals of the runs of Clark et al. 2022, arXiv:2202.01169"
    use = "Tables of dense and routed runs together, with their number of experts."
    avoid = "Tables without several numbers of experts, which say nothing about the rise."
    runs = ("clark2022",)
    kind = "log"
    requires = ("experts",)
    ranges = {"experts": (1.0, 4096.0)}
    parameters = {
        "sigma": SIGMA,
        "nu": NU,
        "rise": Parameter(
            Normal(0.1, 0.1),
            "e-folds per e-fold of experts",
            "how fast noise rises with experts",
            spread=0.05,
            source="around Clark's law the residuals of three routers have 0.35% for dense models, 1.0% at 512 experts",
        ),
    }

    @staticmethod
    def distribution(location, columns, *, sigma, nu, rise):
        scale = sigma * columns["experts"] ** rise
        return dist.TransformedDistribution(dist.StudentT(nu, location, scale), ExpTransform())
