"""Battery: responses of one kind that are computed together, one row each, so that dozens cost little more than one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
from jax import Array
from numpyro import distributions as dist

from bayescale.modelling.design import Design
from bayescale.modelling.model import Instance
from bayescale.modelling.sites import location_of
from bayescale.parts.base import Part


class Row(dist.Distribution):
    """One row of a distribution over several responses, whose draws and densities are computed for all rows at once.

    Parameters
    ----------
    drawn : Array, shape (run,)
        What a draw of the row is.
    density : Array, shape (run,)
        Log density of the row at what was observed, or at `drawn`.
    """

    arg_constraints: dict[str, Any] = {}
    support = dist.constraints.real

    def __init__(self, drawn: Array, density: Array) -> None:
        self.drawn, self.density = drawn, density
        super().__init__(jnp.shape(density), ())

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Return the draw that was made with all rows."""
        return self.drawn

    def log_prob(self, value: Array) -> Array:
        """Return the density that was computed with all rows, at the value that the row was given."""
        return self.density


def observe_together(members: Sequence[Instance], values: Mapping[str, Any], log_loss: Array, design: Design) -> None:
    """Observe the responses of a battery, inside the plate of runs.

    Parameters
    ----------
    members : sequence of Instance
        Responses of one kind, with the same noise.
    values : mapping of str to Array
        Values of the parameters: of shape (response,), or () if the responses share one.
    log_loss : Array, shape (run,)
    design : Design
    """
    first = members[0]
    columns = _columns(members, design)

    def pick(of: Part) -> dict[str, Array]:
        return {name: _by_row(values[first.parameter(name)], log_loss) for name in of.parameters}

    location = first.response.location(log_loss[None], columns, **pick(first.response))
    location = jnp.broadcast_to(location, (len(members), *log_loss.shape))
    joint = first.noise.distribution(location, columns, **pick(first.noise))
    seen: list[Any] = [design.observed.get(of.site) for of in members]
    drawn: list[Any] = (
        [None] * len(members) if all(one is not None for one in seen) else _rows(joint.sample(numpyro.prng_key()))
    )
    at = _stacked([own if one is None else one for own, one in zip(drawn, seen, strict=True)])
    densities = _rows(jax.lax.optimization_barrier(joint.log_prob(at)))
    for of, mean, own, one, density in zip(members, _rows(location), drawn, seen, densities, strict=True):
        numpyro.deterministic(location_of(of.name), mean)
        row: dist.Distribution = Row(own, density)
        if of.site in design.present:
            row = row.mask(design.present[of.site])
        numpyro.sample(of.site, row, obs=one)


def _columns(members: Sequence[Instance], design: Design) -> dict[str, Array]:
    """Return the columns that the responses require, one row each, under the names that the parts use."""
    found = dict(design.columns) | dict(design.basis)
    for name in members[0].requires:
        rows: list[Any] = [design.columns.get(of.requires[name]) for of in members]
        if all(row is not None for row in rows):
            found[name] = _stacked(rows)
    return found


def _by_row(value: Array, log_loss: Array) -> Array:
    """Return values of responses so that they broadcast over runs."""
    return jnp.reshape(value, (*jnp.shape(value), *(1 for _ in log_loss.shape))) if jnp.ndim(value) else value


def _stacked(rows: Sequence[Array]) -> Array:
    # Without a barrier, XLA copies a stack of dozens of arrays into each of the operations that read it.
    return jax.lax.optimization_barrier(jnp.stack(rows))


def _rows(values: Array) -> list[Array]:
    # A split is transposed to one concatenation; indexing would be transposed to a sum of padded arrays.
    return [row[0] for row in jax.lax.split(values, (1,) * len(values), axis=0)]
