"""Lanes: chains of one or many tables in parallel, in one program over the devices of a process.

On an accelerator, lanes are vectorised. Launching a step costs more than the step itself for many short chains,
although all of them wait for the longest tree of a draw.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bayescale.core.errors import FitError
from bayescale.core.progress import Stages
from bayescale.inference import nuts, warm_start
from bayescale.inference.aot import call
from bayescale.inference.floor import floored
from bayescale.inference.nuts import Care, Chain, Pace, Samples
from bayescale.inference.potential import initial
from bayescale.inference.warm_start import Start
from bayescale.modelling.design import Design
from bayescale.modelling.layout import blocked
from bayescale.modelling.spec import Spec

_DRAWS_TIMES_RUNS = 400_000_000  # largest number of draws × runs in all lanes of a program: 3.2 GB
Table = tuple[Array, Design, Spec]


def at_a_time(chains: int, draws: int, shape: tuple[int, int]) -> int:
    """Return how many tables of a (block, slot) fit into one program: a power of two, limited by memory for draws."""
    most = max(1, _DRAWS_TIMES_RUNS // (chains * draws * math.prod(shape)))
    return 1 << (most.bit_length() - 1)


def sample_side_by_side(
    tables: Sequence[Table],
    *,
    chains: int,
    warmup: int | None,
    draws: int,
    stages: Stages,
    shape: tuple[int, int],
    devices: Sequence[jax.Device],
    care: Care = Care.USUAL,
) -> list[Samples | FitError]:
    """Sample several tables in one program, each as :func:`bayescale.inference.nuts.sample` does.

    Parameters
    ----------
    tables : sequence of (Array, Design, Spec)
        Random key, design and spec of each table. All designs have the same arrays, and all specs the same structure.
    chains, warmup, draws, stages, care
        As in :func:`bayescale.inference.nuts.sample`.
    shape : (int, int)
        Blocks and slots in which all tables are laid out.
    devices : sequence of jax.Device

    Returns
    -------
    list of Samples or FitError
        By table; an error if its chains failed.
    """
    laid = [blocked(design, shape) for _, design, _ in tables]
    one, structure = laid[0][0], tables[0][2].structure
    pace = nuts.pace_of(one, care)
    design = jax.tree.map(lambda *leaves: np.stack(leaves), *(design for design, _ in laid))
    keys = jnp.stack([jax.random.split(key, chains) for key, _, _ in tables])
    design, keys = _taken((design, keys), _rounded(np.arange(len(tables))))
    with stages("warm start", warm_start.ROUNDS) as advance:
        begin = _call_many(initial, design, spec=structure)
        moved, start = warm_start.warm_start(design, structure, advance, _call_many)
        design, floors, noise = floored(design, moved, start, structure, _call_many)
        if floors.any():
            moved, start = warm_start.warm_start(design, structure, advance, _call_many, noise)
    arrived = np.asarray(start.report["arrived"])[: len(tables)]
    found: dict[int, Samples | FitError] = {}
    for whitened, ready in ((True, (moved, start)), (False, (design, start._replace(begin=begin)))):
        mine = np.flatnonzero(arrived == whitened)
        if mine.size == 0:
            continue
        settings = nuts.settings_of(structure, one, warmup, draws, whitened=whitened)
        mykeys, (mydesign, mystart) = _taken((keys, ready), _rounded(mine))
        made = _sample(devices, mykeys, mydesign, mystart, pace, settings, stages)
        for k, i in enumerate(mine.tolist()):
            chain, report = _taken((made, mystart.report), k)
            try:
                found[i] = nuts.gathered(chain, report, *laid[i], tables[i][2], pace, settings, float(floors[i]))
            except FitError as error:
                found[i] = error
    return [found[i] for i in range(len(tables))]


def _rounded(places: np.ndarray) -> np.ndarray:
    """Repeat the last index up to a power of two, so that few programs are compiled."""
    return np.pad(places, (0, (1 << (places.size - 1).bit_length()) - places.size), mode="edge")


def _taken(tree: Any, places: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[places], tree)


def _sample(
    devices: Sequence[jax.Device],
    keys: Array,
    design: Design,
    start: Start,
    pace: Pace,
    settings: dict[str, Any],
    stages: Stages,
) -> Chain:
    """Sample chains of all tables, distributed equally over as many devices as their numbers allow."""
    tables, chains = keys.shape
    over = math.gcd(tables, len(devices))
    each = math.gcd(chains, len(devices) // over)
    mesh = Mesh(np.asarray(devices[: over * each]).reshape(over, each), ("table", "chain"))
    lanes, table, everywhere = (
        NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("table", "chain"), ("table",), ())
    )
    keys = jax.device_put(keys, lanes)
    design, start = jax.device_put((design, start), table)
    pace = jax.device_put(pace, everywhere)
    with stages("trace and compile"):
        program = run_chains.lower(keys, design, start, pace, settings=tuple(settings.items()), mesh=mesh).compile()
    with stages("sampling"):
        return jax.tree.map(np.asarray, program(keys, design, start, pace))


@partial(jax.jit, static_argnames=("settings", "mesh"))
def run_chains(keys: Array, design: Design, start: Start, pace: Pace, *, settings: tuple, mesh: Mesh) -> Chain:
    """Sample chains as :func:`bayescale.inference.nuts.run_chain` does; the leading dims are table, chain.

    The lanes of a device are vectorised, except on a CPU, where they would wait for the longest tree.
    """
    one = partial(nuts.run_chain, **dict(settings))
    each = _in_turn if mesh.devices.flat[0].platform == "cpu" else jax.vmap

    def mine(keys: Array, design: Design, start: Start, pace: Pace) -> Chain:
        def table(keys: Array, design: Design, start: Start) -> Chain:
            return each(lambda key: one(key, design, start, pace))(keys)

        return each(table)(keys, design, start)

    lanes, tables, everywhere = PartitionSpec("table", "chain"), PartitionSpec("table"), PartitionSpec()
    shared = jax.shard_map(
        mine, mesh=mesh, in_specs=(lanes, tables, tables, everywhere), out_specs=lanes, check_vma=False
    )  # fmt: skip
    return shared(keys, design, start, pace)


def _in_turn(function: Any) -> Any:
    """Map a function as :func:`jax.vmap` does, but over one element after another."""
    return lambda *arguments: jax.lax.map(lambda each: function(*each), arguments)


def _call_many(function: Any, *arguments: Any, **settings: Any) -> Any:
    """Run a function of one table on a stack of tables, in one compiled program."""
    return call(_vectorised(function), *arguments, **settings)


@functools.cache
def _vectorised(function: Any) -> Any:
    @functools.wraps(function)
    def many(*arguments: Any, **settings: Any) -> Any:
        return jax.vmap(partial(function, **settings))(*arguments)

    many.__qualname__ = f"many.{function.__qualname__}"  # the key under which traces are kept
    return many
