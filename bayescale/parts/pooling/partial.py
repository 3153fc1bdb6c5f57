"""Partial pooling: families vary around a common centre."""

from __future__ import annotations

import jax.numpy as jnp
import numpyro
from jax import Array
from numpyro import distributions as dist

from bayescale.core.dims import FAMILY
from bayescale.parts.base import AbstractCentered, Role, Site
from bayescale.parts.pooling._sites import with_one_more_offset
from bayescale.parts.priors import Placed, spread_prior


class Partial(AbstractCentered):
    """Families vary around a common centre by a learned spread.

    A family's `centering` moves its coordinate from its offset in units of the spread (0, best if its own runs are
    uninformative) to its value (1, best if they are informative). The posterior is the same.
    """

    name = "partial"
    about = "families vary by about {spread}"

    @staticmethod
    def sites(name):
        return (
            Site(f"{name}_center", Role.CENTER),
            Site(f"{name}_spread", Role.SPREAD),
            Site(f"{name}_coordinate", Role.COORDINATE, (FAMILY,), kept=False),
            Site(f"{name}_offset", Role.OFFSET, (FAMILY,), latent=False),
            Site(name, Role.VALUE, (FAMILY,), latent=False),
        )

    @staticmethod
    def draw(name, prior, spread, families, centering):
        center = numpyro.sample(f"{name}_center", prior.distribution())
        deviation = numpyro.sample(f"{name}_spread", spread_prior(spread).distribution())
        middle = prior.transform.inv(center) - prior.loc
        with numpyro.plate(FAMILY, families.size):
            unit = _power(deviation, centering)
            coordinate = numpyro.sample(f"{name}_coordinate", dist.Normal(centering * middle, unit))
        offset = (coordinate - centering * middle) / unit
        numpyro.deterministic(f"{name}_offset", offset)
        return numpyro.deterministic(name, prior.transform(prior.loc + middle + deviation * offset))

    @staticmethod
    def center_given(prior: Placed, coordinate: Array, spread: Array, centering: Array) -> tuple[Array, Array]:
        """Return the mean and SD of the centre's Gaussian coordinate, given the families' coordinates and the spread.

        This is the conditional of the prior. The centre, standardised by it, is independent of them. Otherwise, with a
        small number of families, the width of the centre follows the spread, which is another funnel.
        """
        weight = centering * _power(spread, -2 * centering)
        precision = 1 / prior.scale**2 + jnp.sum(centering * weight)
        return prior.loc + jnp.sum(weight * coordinate) / precision, 1 / jnp.sqrt(precision)

    @staticmethod
    def restart(
        name: str, prior: Placed, spread: float, sites: dict[str, Array], variance: Array, centering: Array
    ) -> dict[str, Array]:
        """Return sites that keep the families' values, with the centre and the spread moved to fit them.

        This is one step of expectation-maximisation with the `variance` of each family's offset. It avoids the joint
        mode, where the density is unbounded because the spread vanishes. Coordinates are for the given `centering`.
        """
        old, deviation = prior.transform.inv(sites[f"{name}_center"]), sites[f"{name}_spread"]
        offset = sites[f"{name}_offset"]
        shift = jnp.mean(offset)
        found = jnp.log(deviation) + jnp.log(jnp.mean((offset - shift) ** 2 + variance)) / 2
        before = spread_prior(spread)
        # The log of a spread estimated from n families has a precision of about 2 (n - 1).
        weights = jnp.asarray([2.0 * (offset.size - 1), before.scale**-2])
        wider = jnp.exp(jnp.sum(weights * jnp.stack([found, jnp.asarray(before.loc)])) / jnp.sum(weights))
        center = old + deviation * shift
        moved = deviation * (offset - shift) / wider
        return {
            f"{name}_center": prior.transform(center),
            f"{name}_spread": wider,
            f"{name}_coordinate": centering * (center - prior.loc) + moved * _power(wider, centering),
        }

    @staticmethod
    def extend(name, prior, spread, draws, key):
        return with_one_more_offset(name, draws, key)


def _power(base: Array, exponent: Array) -> Array:
    """Return a power of a positive base; its gradient takes one exponential, where that of ``**`` takes two powers."""
    return jnp.exp(exponent * jnp.log(base))
