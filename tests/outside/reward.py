"""A response of somebody's own, outside the package: a reward, with a noise that fits it."""

from __future__ import annotations

import jax.numpy as jnp
from numpyro import distributions as dist

from bayescale.parts.base import AbstractNoise, AbstractResponse, Parameter
from bayescale.parts.priors import LogNormal, Normal


class Reward(AbstractResponse):
    r"""Mean reward that rises as loss falls: ``top - slope · L``."""

    name = "reward"
    source = "a test of this project"
    observed = "reward"
    kind = "real"
    unit = "reward"
    parameters = {
        "top": Parameter(Normal(3.0, 2.0), "reward", "reward at a vanishing loss", 0.1),
        "slope": Parameter(LogNormal(1.0, 0.5), "reward/nat", "how much a nat is worth", 0.1),
    }

    @staticmethod
    def location(log_loss, columns, *, top, slope):
        return top - slope * jnp.exp(log_loss)


class Additive(AbstractNoise):
    """Gaussian noise on a real number."""

    name = "gaussian-reward"
    source = "a test of this project"
    kind = "real"
    parameters = {"scatter": Parameter(LogNormal(0.05, 1.0), "reward", "scatter of rewards between runs", 0.1)}

    @staticmethod
    def distribution(location, columns, *, scatter):
        return dist.Normal(location, scatter)
