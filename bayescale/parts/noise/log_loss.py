"""Noise on log loss: Student-t (default), Student-t with a scale that falls with compute, Gaussian, Laplace."""

import jax.numpy as jnp
import numpy as np
from numpyro import distributions as dist
from numpyro.distributions.transforms import ExpTransform

from bayescale.parts.base import AbstractNoise, Parameter
from bayescale.parts.priors import LogNormal, Normal

SIGMA = Parameter(
    LogNormal(0.005, 0.7),
    "log loss",
    "scale of run-to-run noise",
    spread=0.7,
    source="seed SD of dense runs 0.025-0.4%; digitised runs 0.4%",
)
NU = Parameter(LogNormal(10.0, 1.2, above=1.0), "1", "degrees of freedom: smaller means heavier tails", spread=0.7)


class StudentT(AbstractNoise):
    """Student-t on log loss. Its influence function redescends, so that an outlier has little effect on the fit."""

    name = "student-t"
    source = "default; 240 and 245 of the Chinchilla runs then agree without deletions"
    runs = ("hoffmann2022", "open-families")
    kind = "log"
    parameters = {"sigma": SIGMA, "nu": NU}

    @staticmethod
    def distribution(location, columns, *, sigma, nu):
        return dist.TransformedDistribution(dist.StudentT(nu, location, sigma), ExpTransform())


class Heteroscedastic(AbstractNoise):
    r"""Student-t on log loss, whose scale falls with compute: small runs scatter more.

    .. math:: \sigma(C) = \sigma\, (C_\max / C)^h

    up to the compute :math:`C_\max` of the largest-compute fitted run, and :math:`\sigma` beyond it.
    """

    name = "heteroscedastic"
    source = "residuals of the open families: in four of ten, smaller-compute runs scatter clearly more; in two, less"
    runs = ("hoffmann2022", "open-families")
    kind = "log"
    parameters = {
        "sigma": SIGMA,
        "nu": NU,
        "fall": Parameter(
            Normal(0.15, 0.05),
            "e-folds per e-fold",
            "how fast noise falls with compute",
            spread=0.05,
            source="under a prior of 0.1 ± 0.15, the smaller-compute runs of ten open families give -0.19 to 0.43",
        ),
    }

    @staticmethod
    def basis(at, fitted):
        return np.maximum(fitted.flops.max() - at.flops, 0.0)[:, None]

    @staticmethod
    def distribution(location, columns, *, sigma, nu, fall):
        scale = sigma * jnp.exp(fall * columns[Heteroscedastic.name][..., 0])
        return dist.TransformedDistribution(dist.StudentT(nu, location, scale), ExpTransform())


class Gaussian(AbstractNoise):
    """Gaussian on log loss, for clean sweeps."""

    name = "gaussian"
    source = "clean sweeps"
    kind = "log"
    parameters = {"sigma": SIGMA}

    @staticmethod
    def distribution(location, columns, *, sigma):
        return dist.TransformedDistribution(dist.Normal(location, sigma), ExpTransform())


class Laplace(AbstractNoise):
    """Laplace on log loss: the least-absolute-deviation fit that published Huber fits amount to."""

    name = "laplace"
    source = "Besiroglu et al. 2024, arXiv:2404.10102, whose fitted Huber scale collapses"
    kind = "log"
    parameters = {"sigma": SIGMA}

    @staticmethod
    def distribution(location, columns, *, sigma):
        return dist.TransformedDistribution(dist.Laplace(location, sigma), ExpTransform())
