"""Floor: the least noise that a loss is taken to have.

A simulator's table without noise has no scale of noise: its posterior is a spike of width zero, which no sampler
crosses. The same happens to a few runs whose rounding errors a law can follow. Where the noise at the mode is below the
floor, each loss is moved at random within the floor, as in dithering, and the noise that is then learned is the floor.
The numbers of every other table stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bayescale.inference.aot import call
from bayescale.inference.potential import sites_at
from bayescale.inference.warm_start import Start
from bayescale.modelling.design import Design
from bayescale.modelling.model import Instance
from bayescale.modelling.spec import Spec
from bayescale.runs.resolution import resolution

LEAST = 1e-4
"""SD of log loss, below that of the same run with another seed: 0.025% to 0.4% in dense runs."""

_SCALE = "log loss"  # unit of the parameters that are scales of noise
_SD_OF_UNIFORM = 12**-0.5


def floored(
    design: Design, moved: Design, start: Start, spec: Spec, apply: Callable[..., Any] = call
) -> tuple[Design, np.ndarray]:
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
    """
    highest, observed = np.zeros(np.shape(design.mask)[:-2]), dict(design.observed)
    if not any(_scaled(of) for of in spec.instances):
        return design, highest
    for site, scale in apply(_scales, start.begin, moved, spec=spec).items():
        values = np.asarray(observed[site])
        width = np.maximum(LEAST * values / _SD_OF_UNIFORM, _resolutions(values))
        floor = width * _SD_OF_UNIFORM / values
        floor = np.where(np.asarray(scale) < floor, floor, 0.0)
        observed[site] = np.where(floor > 0, values + width * _places(design, values), values)
        highest = np.maximum(highest, floor.max(axis=(-2, -1)))
    return (replace(design, observed=observed) if highest.any() else design), highest


def _scaled(of: Instance) -> list[str]:
    """Return the parameters of the spec that are scales of the noise of a response."""
    return [] if of.battery else [of.parameter(name) for name, row in of.noise.parameters.items() if row.unit == _SCALE]


@partial(jax.jit, static_argnames="spec")
def _scales(begin: dict[str, Array], design: Design, *, spec: Spec) -> dict[str, Array]:
    """Return the scale of the noise in each block, shape (block, 1), by response."""
    sites = sites_at(spec, design, dict(begin))[0]
    known = {of.site: sites[_scaled(of)[0]] for of in spec.instances if _scaled(of)}
    return {
        site: value[design.family] if jnp.ndim(value) else jnp.full(design.family.shape, value)
        for site, value in known.items()
    }


def _resolutions(values: np.ndarray) -> np.ndarray:
    """Return the resolution of each table of a stack, so that it can be broadcast; of one table as a stack of none."""
    tables = values.reshape(-1, *values.shape[-2:])
    return np.array([resolution(table) for table in tables]).reshape(*values.shape[:-2], 1, 1)


def _places(design: Design, values: np.ndarray) -> np.ndarray:
    """Return a number from -1/2 to 1/2 for each run, from a hash of its numbers: the order of runs does not matter."""
    mixed = np.zeros(values.shape, np.uint64)
    for column in (*(design.spent[name] for name in sorted(design.spent)), values):
        mixed = _mixed(mixed + np.asarray(column, np.float64).view(np.uint64))
    return mixed / 2.0**64 - 0.5


def _mixed(x: np.ndarray) -> np.ndarray:
    """Mix 64 bits: the finalizer of SplitMix64 (Steele, Lea and Flood 2014)."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
