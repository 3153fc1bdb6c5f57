"""Noise on log loss beside an evaluation error that is known."""

import jax.numpy as jnp
from numpyro import distributions as dist
from numpyro.distributions.transforms import ExpTransform

from bayescale.parts.base import AbstractNoise
from bayescale.parts.noise.log_loss import NU, SIGMA


class Measured(AbstractNoise):
    r"""Student-t on log loss, the known error of each run's evaluation added in quadrature.

    .. math:: \sigma_i^2 = \sigma^2 + (e_i / L_i)^2

    with the standard error :math:`e_i` of run i's loss, in nats/token, as an evaluation on a finite text has it.
    What is left to :math:`\sigma` is the scatter between runs. A forecast is of the loss itself, free of evaluation
    error, unless the query names one.
    """

    name = "measured"
    source = "a loss is a mean over evaluated tokens; its standard error is known and differs between runs"
    kind = "log"
    requires = ("loss_error",)
    parameters = {"sigma": SIGMA, "nu": NU}

    @staticmethod
    def distribution(location, columns, *, sigma, nu):
        error = columns.get("loss_error", 0.0)  # a run that is only thought of has been measured by nobody
        scale = jnp.sqrt(sigma**2 + (error * jnp.exp(-location)) ** 2)
        return dist.TransformedDistribution(dist.StudentT(nu, location, scale), ExpTransform())
