"""Floor: the least noise that a loss is taken to have.

A simulator's table without noise has no scale of noise: its posterior is a spike of width zero, which no sampler
crosses. The same happens to a few runs whose rounding errors a law can follow. Where the noise at the mode is below the
floor, each loss is moved at random within the floor, as in dithering, and the noise that is then learned is the floor.
The numbers of every other table stay as they are.

Where runs share errors, the search for the mode holds the noise, and noise far below those errors makes ridges that
take a sampler minutes. There the floor is larger. If residuals leave room for it, the mode of the law alone is found,
and its residuals tell whether there is noise: with shared errors, the model could pass through every run.

Runs that repeat others to the last digit say that there is no noise. Where many do and errors are shared, these can
explain all that is left, and the noise has no scale either: the repeats are moved within the same floor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from bayescale.inference.aot import call
from bayescale.inference.potential import held, noise_location, sites_at
from bayescale.inference.warm_start import Start, find_mode
from bayescale.modelling.design import Design
from bayescale.modelling.model import Instance
from bayescale.modelling.spec import Spec
from bayescale.runs.resolution import resolution

LEAST = 1e-4
"""SD of log loss, below that of the same run with another seed: 0.025% to 0.4% in dense runs."""

LEAST_SHARED = 5e-4
"""The same where runs share errors: a sixth of the noise that the learned priors expect."""

LARGEST_OF_NONE = 3e-3
"""Residuals, as SD of log loss, above which there is noise for certain, or a misfit that is taken for it."""

_NEGLIGIBLE = 1e-6  # SD of shared errors, in log loss

_ENOUGH = 20  # runs from which on small residuals say that there is no noise, and not that errors fit every run

_MANY_REPEATS = 0.25  # of the runs of a family, from which on the misfit of the others does not bound the noise

_SCALE = "log loss"  # unit of the parameters that are scales of noise
_SD_OF_UNIFORM = 12**-0.5


def floored(
    design: Design, moved: Design, start: Start, spec: Spec, apply: Callable[..., Any] = call
) -> tuple[Design, np.ndarray, dict[str, np.ndarray]]:
    """Move the losses of families whose noise at the mode is below the floor.

    Parameters
    ----------
    design : Design
        In blocks; or a stack of such designs.
    moved : Design
        The design with the centering at which the mode was found.
    start : Start
        The mode.
    spec : Spec
    apply : callable
        Runs a function on one design, or on a stack of designs.

    Returns
    -------
    design : Design
        The same design if no noise is below the floor.
    floor : ndarray, shape () or (table,)
        Largest floor that was applied, as SD of log loss; 0 if none was.
    begin : dict of ndarray
        Scales of noise from which to search for the mode again, by site; empty where the search finds them itself.
    """
    highest, observed, begin = np.zeros(np.shape(design.mask)[:-2]), dict(design.observed), dict[str, np.ndarray]()
    if not any(_scaled(of) for of in spec.instances):
        return design, highest, begin
    least = LEAST_SHARED if held(spec) else LEAST
    found = _found(moved, start, spec, apply)
    for site in (of.site for of in spec.instances if _scaled(of)):
        values = np.asarray(observed[site])
        repeats = _repeats(design, values)
        by_family = found.get(site, np.full((*values.shape[:-2], design.families), np.inf))
        scale = np.take_along_axis(by_family[..., None], np.asarray(design.family), axis=-2)
        resolved = _resolutions(values)
        below = scale < np.maximum(LEAST, resolved * _SD_OF_UNIFORM / values)
        below |= _many(design, repeats) & (repeats > 0) & bool(held(spec))
        width = np.maximum(least * values / _SD_OF_UNIFORM, resolved)
        observed[site] = np.where(below, values + width * _places(design, values, repeats), values)
        highest = np.maximum(highest, np.where(below, width * _SD_OF_UNIFORM / values, 0.0).max(axis=(-2, -1)))
        for name in _noise_scales(spec, start.begin) if held(spec) else ():
            known = start.begin[name]
            low = by_family < LEAST if np.ndim(known) == by_family.ndim else (by_family < LEAST).any(axis=-1)
            begin[name] = np.where(low, least, known)
    return (replace(design, observed=observed), highest, begin) if highest.any() else (design, highest, {})


def _found(moved: Design, start: Start, spec: Spec, apply: Callable[..., Any]) -> dict[str, np.ndarray]:
    """Return the scale of the noise of each family, by response; none where there is noise for certain."""
    scales = apply(_scales, start.begin, moved, spec=spec)
    if held(spec):
        if not any((np.asarray(scale) < LARGEST_OF_NONE).any() for scale in scales.values()):
            return {}
        law = apply(find_mode, start.begin | _law_alone(spec, start.begin), moved, spec=spec)
        scales = apply(_scales, law.begin, moved, spec=spec)
    return {site: np.asarray(scale) for site, scale in scales.items()}


def _law_alone(spec: Spec, begin: Mapping[str, Array]) -> dict[str, np.ndarray]:
    """Return scales with which there are no shared errors and hardly any noise, by site."""
    scales = {name for of in spec.discrepancies for name in of.coordinates if name in begin}
    return {name: np.full_like(begin[name], _NEGLIGIBLE) for name in scales} | {
        name: np.full_like(begin[name], LEAST) for name in _noise_scales(spec, begin)
    }


def _noise_scales(spec: Spec, begin: Mapping[str, Array]) -> set[str]:
    """Return the scales of noise that are sites of their own, as they are without pooling."""
    return {name for of in spec.instances for name in _scaled(of) if name in begin}


def _scaled(of: Instance) -> list[str]:
    """Return the parameters of the spec that are scales of the noise of a response."""
    return [] if of.battery else [of.parameter(name) for name, row in of.noise.parameters.items() if row.unit == _SCALE]


@partial(jax.jit, static_argnames="spec")
def _scales(begin: dict[str, Array], design: Design, *, spec: Spec) -> dict[str, Array]:
    """Return the scale of the noise of each family, shape (family,), by response.

    Where the search holds it, this is the root mean square of the residuals, and infinite for few runs.
    """
    sites, found = sites_at(spec, design, dict(begin))[0], {}
    for of in spec.instances:
        if not _scaled(of):
            continue
        if not held(spec):
            found[of.site] = jnp.broadcast_to(sites[_scaled(of)[0]], (design.families,))
            continue
        location = noise_location(spec, design, begin, of)
        seen = design.mask & design.present.get(of.site, True)
        squares = jnp.where(seen, (jnp.log(design.observed[of.site]) - location) ** 2, 0.0)
        family, none = design.family[:, 0], jnp.zeros(design.families)
        runs = none.at[family].add(seen.sum(axis=1))
        mean = none.at[family].add(squares.sum(axis=1)) / jnp.maximum(runs, 1)
        found[of.site] = jnp.where(runs < _ENOUGH, jnp.inf, jnp.sqrt(mean))
    return found


def _resolutions(values: np.ndarray) -> np.ndarray:
    """Return the resolution of each table of a stack, so that it can be broadcast; of one table as a stack of none."""
    tables = values.reshape(-1, *values.shape[-2:])
    return np.array([resolution(table) for table in tables]).reshape(*values.shape[:-2], 1, 1)


def _places(design: Design, values: np.ndarray, repeats: np.ndarray) -> np.ndarray:
    """Return a number from -1/2 to 1/2 for each run, from a hash of its numbers: the order of runs does not matter."""
    hashes = _hashes(design, values)
    return np.where(repeats > 0, _mixed(hashes + repeats.astype(np.uint64)), hashes) / 2.0**64 - 0.5


def _hashes(design: Design, values: np.ndarray) -> np.ndarray:
    """Return a hash of the numbers of each run."""
    mixed = np.zeros(values.shape, np.uint64)
    for column in (*(design.spent[name] for name in sorted(design.spent)), values):
        mixed = _mixed(mixed + np.asarray(column, np.float64).view(np.uint64))
    return mixed


def _repeats(design: Design, values: np.ndarray) -> np.ndarray:
    """Return how many runs before a run, in the order of its family's, have the same numbers."""
    hashes = _mixed(_hashes(design, values) + np.asarray(design.family).astype(np.uint64))
    found, tables = np.zeros(values.shape, int), values.shape[:-2]
    for table in np.ndindex(tables):
        taken = np.asarray(design.mask)[table]
        same = pd.Series(hashes[table][taken])
        found[table][taken] = same.groupby(same).cumcount()
    return found


def _many(design: Design, repeats: np.ndarray) -> np.ndarray:
    """Return whether the family of a run has many runs that repeat another, in the shape of the runs."""
    found = np.zeros(repeats.shape, bool)
    for table in np.ndindex(repeats.shape[:-2]):
        taken, family = np.asarray(design.mask)[table], np.asarray(design.family)[table][:, 0]
        runs, again = (np.bincount(family, of.sum(axis=-1), design.families) for of in (taken, repeats[table] > 0))
        found[table] = (again >= _MANY_REPEATS * np.maximum(runs, 1))[family][:, None]
    return found


def _mixed(x: np.ndarray) -> np.ndarray:
    """Mix 64 bits: the finalizer of SplitMix64 (Steele, Lea and Flood 2014)."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
