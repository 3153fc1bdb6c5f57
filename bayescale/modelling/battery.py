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


def observe_together(
    members: Sequence[Instance], values: Mapping[str, Any], log_loss: Array, measured: Array, design: Design
) -> None:
    """Observe the responses of a battery, inside the plate of runs.

    Parameters
    ----------
    members : sequence of Instance
        Responses of one kind, with the same noise.
    values : mapping of str to Array
        Values of the parameters: of shape (response,), or () if the responses share one.
    log_loss : Array, shape (run,)
        Log loss by the law, with its discrepancies.
    measured : Array, shape (run,)
        Log loss of each run itself, with its noise, where the model observes a loss.
    design : Design
    """
    first = members[0]
    columns = _columns(members, design)

    def pick(of: Part) -> dict[str, Array]:
        return {name: _by_row(values[first.parameter(name)], log_loss) for name in of.parameters}

    def location(at: Array) -> Array:
        found = first.response.location(at[None], columns, **pick(first.response))
        return jnp.broadcast_to(found, (len(members), *log_loss.shape))

    noise = first.noise.distribution(location(measured), columns, **pick(first.noise))
    sites = {of.site: of.name for of in members}
    observe_rows(sites, noise, location(log_loss), design.observed, design.present)


def observe_rows(
    sites: Mapping[str, str],
    joint: dist.Distribution,
    location: Array,
    observed: Mapping[str, Array],
    present: Mapping[str, Array],
) -> None:
    """Observe each row of a distribution as a site of its own, inside the plate of runs.

    Parameters
    ----------
    sites : mapping of str to str
        Name of each row's response, by the row's site.
    joint : Distribution, of shape (response, run)
    location : Array, shape (response, run)
        What forecasts report as ``epred``.
    observed : mapping of str to Array of shape (run,)
        What was observed, by site. Sites that it lacks are drawn.
    present : mapping of str to Array of bool, shape (run,)
        Runs that have a value, by site; all of them where it says nothing.
    """
    seen: list[Any] = [observed.get(site) for site in sites]
    drawn: list[Any] = (
        [None] * len(sites) if all(one is not None for one in seen) else _rows(joint.sample(numpyro.prng_key()))
    )
    at = stacked([own if one is None else one for own, one in zip(drawn, seen, strict=True)])
    densities = _rows(jax.lax.optimization_barrier(joint.log_prob(at)))
    for (site, name), mean, own, one, density in zip(
        sites.items(), _rows(location), drawn, seen, densities, strict=True
    ):
        numpyro.deterministic(location_of(name), mean)
        row: dist.Distribution = Row(own, density)
        if site in present:
            row = row.mask(present[site])
        numpyro.sample(site, row, obs=one)


def _columns(members: Sequence[Instance], design: Design) -> dict[str, Array]:
    """Return the columns that the responses require, one row each, under the names that the parts use."""
    found = dict(design.columns) | dict(design.basis)
    for name in members[0].requires:
        rows: list[Any] = [design.columns.get(of.requires[name]) for of in members]
        if all(row is not None for row in rows):
            found[name] = stacked(rows)
    return found


def _by_row(value: Array, log_loss: Array) -> Array:
    """Return values of responses so that they broadcast over runs."""
    return jnp.reshape(value, (*jnp.shape(value), *(1 for _ in log_loss.shape))) if jnp.ndim(value) else value


def stacked(rows: Sequence[Array]) -> Array:
    """Stack arrays so that the compiler keeps the stack.

    Without a barrier, XLA copies a stack of dozens of arrays into each of the operations that read it.

    Parameters
    ----------
    rows : sequence of Array
        Of one shape.

    Returns
    -------
    Array
    """
    return jax.lax.optimization_barrier(jnp.stack(rows))


def _rows(values: Array) -> list[Array]:
    # A split is transposed to one concatenation; indexing would be transposed to a sum of padded arrays.
    return [row[0] for row in jax.lax.split(values, (1,) * len(values), axis=0)]
