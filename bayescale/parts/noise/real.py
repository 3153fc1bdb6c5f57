"""Noise on a real number, such as a loss relative to that of another model: Student-t, Gaussian."""

from numpyro import distributions as dist

from bayescale.parts.base import AbstractNoise, Parameter
from bayescale.parts.noise.log_loss import NU
from bayescale.parts.priors import LogNormal

SCATTER = Parameter(LogNormal(0.05, 1.0), "of the response", "scale of run-to-run noise", spread=0.7)


class StudentTReal(AbstractNoise):
    """Student-t on a real number. An outlier has little effect on the fit."""

    name = "student-t-real"
    source = "as for log loss, in the unit of the response"
    runs = ("vocabulary",)
    kind = "real"
    parameters = {"scatter": SCATTER, "nu": NU}

    @staticmethod
    def distribution(location, columns, *, scatter, nu):
        return dist.StudentT(nu, location, scatter)


class GaussianReal(AbstractNoise):
    """Gaussian on a real number."""

    name = "gaussian-real"
    source = "clean sweeps"
    kind = "real"
    parameters = {"scatter": SCATTER}

    @staticmethod
    def distribution(location, columns, *, scatter):
        return dist.Normal(location, scatter)
