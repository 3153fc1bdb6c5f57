"""Synthetic tokens: each is worth a share of a real one, up to a cap."""

import jax.numpy as jnp

from bayescale.parts.base import TOKENS, AbstractResource, Column, Parameter
from bayescale.parts.priors import LogNormal

_OFFSET = 0.01  # of the share: zero is valid


class Synthetic(AbstractResource):
    r"""Real and synthetic tokens in one training.

    .. math:: D' = D_r + \rho M \left(1 - e^{-D_s / M}\right),\quad M = c\, D_r

    A synthetic token is worth :math:`\rho` real ones at first. Beyond `c` synthetic tokens per real one, more of them
    are worth little. They never harm in this form: test a harm as a scenario, with runs of a large share.
    """

    name = "synthetic"
    source = "a form of this project, for the accumulation of Gerstgrasser et al. 2024, arXiv:2404.01413"
    use = "Runs add different shares of synthetic tokens to real ones."
    avoid = "Synthetic tokens replace real ones over generations: the loss may then rise, which this form excludes."
    reproduced = "No published figure; recovery from simulated runs."
    changes = {"tokens": TOKENS}
    requires = ("synthetic",)
    balanced = False
    columns = {
        "synthetic": Column("share", "synthetic share of the tokens", default=0.0, low=0.0, high=0.95, offset=_OFFSET)
    }
    parameters = {
        "synthetic_worth": Parameter(LogNormal(0.5, 0.7), "1", "worth of a synthetic token, in real ones", 0.3),
        "synthetic_cap": Parameter(
            LogNormal(1.0, 1.0), "1", "synthetic tokens per real one from which more are worth little", 0.3
        ),
    }

    @staticmethod
    def effective(spent, balance, *, synthetic_worth, synthetic_cap):
        share = jnp.exp(spent["synthetic"]) - _OFFSET
        used = -jnp.expm1(-share / (1 - share) / synthetic_cap)
        gain = jnp.log1p(-share) + jnp.log1p(synthetic_worth * synthetic_cap * used)
        return {**spent, "tokens": spent["tokens"] + gain}
