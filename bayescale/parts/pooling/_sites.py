"""Sites that several kinds of pooling draw and extend."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpyro
from jax import Array

from bayescale.parts.priors import Placed


def apart(site: str, plate: str, prior: Placed, size: int) -> Array:
    """Draw `size` independent values from the prior, at one site in one plate; shape (size,)."""
    # Each value has its own location: a distribution that the plate expands has no quantiles to start from.
    apart = Placed(prior.transform, jnp.broadcast_to(prior.loc, (size,)), prior.scale)
    with numpyro.plate(plate, size):
        return numpyro.sample(site, apart.distribution())


def with_one_more_offset(name: str, draws: Mapping[str, Array], key: Array) -> dict[str, Array]:
    """Return the coordinates of a parameter with one more, standard Normal, in each draw; shape (draw, family + 1)."""
    offset = draws[f"{name}_coordinate"]
    fresh = jax.random.normal(key, (*offset.shape[:-1], 1), offset.dtype)
    return {f"{name}_coordinate": jnp.concatenate([offset, fresh], axis=-1)}


def with_one_more(site: str, prior: Placed, draws: dict[str, Array], key: Array) -> dict[str, Array]:
    """Return the values of a site with one more from the prior in each draw; shape (draw, value + 1)."""
    value = draws[site]
    fresh = prior.distribution().sample(key, (*value.shape[:-1], 1)).astype(value.dtype)
    return {site: jnp.concatenate([value, fresh], axis=-1)}
