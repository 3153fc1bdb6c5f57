"""Noise on log loss in addition to a known evaluation error."""

import jax.numpy as jnp
from numpyro import distributions as dist
from numpyro.distributions.transforms import ExpTransform

from bayescale.parts.base import AbstractNoise
from bayescale.parts.noise.log_loss import NU, SIGMA


class Measured(AbstractNoise):
    r"""Student-t on log loss, with the known evaluation error of each run added in quadrature.

    .. math:: \sigma_i^2 = \sigma^2 + (e_i / L_i)^2

    with the standard error :math:`e_i` of the loss of run i, in nats/token, which comes from evaluation on a finite
    text. :math:`\sigma` then describes only the scatter between runs. A forecast is of the loss itself, without
    evaluation error, unless the query gives one.
    """

    name = "measured"
    source = "a loss is a mean over evaluated tokens; its standard error is known and differs between runs"
    kind = "log"
    requires = ("loss_error",)
    parameters = {"sigma": SIGMA, "nu": NU}

    @staticmethod
    def distribution(location, columns, *, sigma, nu):
        error = columns.get("loss_error", 0.0)  # a hypothetical run has no measurement error
        scale = jnp.sqrt(sigma**2 + (error * jnp.exp(-location)) ** 2)
        return dist.TransformedDistribution(dist.StudentT(nu, location, scale), ExpTransform())
