"""Pooling by suite: families of one suite vary around its centre."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpyro
from jax import Array
from numpyro import distributions as dist

from bayescale.core.dims import FAMILY, SUITE
from bayescale.parts.base import AbstractPooling, Role, Site
from bayescale.parts.pooling._sites import apart, with_one_more, with_one_more_offset
from bayescale.parts.priors import Placed


class BySuite(AbstractPooling):
    """Families of one suite vary around its centre by a known spread; the column ``suite`` names the suite.

    Marginally, every family has the prior: the variance of the suites' centres is smaller by the square of the spread.
    A family without a suite is a suite of its own.
    """

    name = "suite"
    about = "families of one suite vary by {spread}"
    lots = ("suite",)
    named = False
    known = True
    together = False

    @staticmethod
    def sites(name):
        return (
            Site(f"{name}_suite", Role.LOT, (SUITE,)),
            Site(f"{name}_coordinate", Role.COORDINATE, (FAMILY,), kept=False),
            Site(f"{name}_offset", Role.OFFSET, (FAMILY,), latent=False),
            Site(name, Role.VALUE, (FAMILY,), latent=False),
        )

    @staticmethod
    def draw(name, prior, spread, families, centering):
        middle = apart(f"{name}_suite", SUITE, BySuite.middles(prior, spread), families.lots["suite"])
        with numpyro.plate(FAMILY, families.size):
            offset = numpyro.sample(f"{name}_coordinate", dist.Normal(jnp.zeros(families.size), 1.0))
        numpyro.deterministic(f"{name}_offset", offset)
        mine = prior.transform.inv(middle)[families.lot["suite"]]
        return numpyro.deterministic(name, prior.transform(mine + spread * offset))

    @staticmethod
    def middles(prior: Placed, spread: Array | float) -> Placed:
        """Return the prior of the suites' centres."""
        return Placed(prior.transform, prior.loc, jnp.sqrt(prior.scale**2 - spread**2))

    @staticmethod
    def extend(name, prior, spread, draws, key):
        own, suite = jax.random.split(key)
        middles = BySuite.middles(prior, spread)
        return with_one_more(f"{name}_suite", middles, draws, suite) | with_one_more_offset(name, draws, own)
