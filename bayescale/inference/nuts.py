"""The engine: one compiled program a chain, from a design to draws.

The model is seen as a potential on a flat unconstrained vector. A damped Newton search finds its mode,
the curvature there whitens it, and NumPyro's NUTS samples what is left, which is near to a standard
Normal, so that a short warm-up is enough. Data are arguments of the program, never constants: another
table of the same shape reuses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import Enum, auto
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.infer.hmc import hmc

from bayescale.core.errors import FitError
from bayescale.core.progress import Stages
from bayescale.inference.aot import call, compiled
from bayescale.inference.potential import flatten, held, initial, sites_at
from bayescale.inference.preconditioner import stretch
from bayescale.inference.warm_start import ROUNDS, Start, at_a_time, find_mode, warm_start
from bayescale.modelling.design import Design
from bayescale.modelling.layout import blocked, layout
from bayescale.modelling.spec import Spec

TARGET_ACCEPT = 0.9

# Corners of a hierarchy (a ceiling far in its tail, a spread small) diverged in 5 of 4,000 draws at .9.
HIERARCHY_ACCEPT = 0.95

CAREFUL_ACCEPT = 0.98

_LONG_TIMES = 6  # times the draws, of chains that mix slowly

_TREE_DEPTH = 10

MOST_STEPS = 2**_TREE_DEPTH - 1
"""Leapfrog steps of a draw that was cut off at the greatest tree depth."""

THREADS = 2
"""Chains at a time on a CPU: a chain runs in one thread, and a laptop has two cores to spare."""

# A hierarchy's draws follow one another closely: only every second is kept, which loses little of what they
# say and keeps the default count of draws enough for a dozen families.
_THINNING = 2

_DENSE = 256  # coordinates up to which one product with a matrix is quicker than many with its parts

_POINTWISE = 10_000_000  # log likelihoods of a chain that are kept run by run: 80 MB


class Care(Enum):
    """How carefully to sample: in `SMALL_STEPS` where draws diverged, and for `LONG` too where chains mix slowly.

    These are the rungs of one ladder, in the order in which a table climbs it. Batches have a last one, `longer` of
    :func:`bayescale.fit_many`.
    """

    USUAL = auto()
    SMALL_STEPS = auto()
    LONG = auto()


class Pace(NamedTuple):
    """How chains go: keep every `thinning`-th draw, in steps that aim at `target_accept`."""

    thinning: Any
    target_accept: Any


class Chain(NamedTuple):
    """What one chain returns; leading dim of arrays in `sites` and `stats`: draw."""

    sites: dict[str, Array]
    log_likelihood: dict[str, Array]
    log_prior: dict[str, Array]
    stats: dict[str, Array]


class Samples(NamedTuple):
    """What all chains return, leading dims of arrays: chain, draw; and how it was made.

    Log likelihoods are `pointwise` (last dim: run), or summed by family.
    """

    sites: dict[str, np.ndarray]
    log_likelihood: dict[str, np.ndarray]
    pointwise: bool
    log_prior: dict[str, np.ndarray]
    stats: dict[str, np.ndarray]
    engine: dict[str, Any]


def sample(
    key: Array,
    design: Design,
    spec: Spec,
    *,
    chains: int,
    warmup: int | None,
    draws: int,
    stages: Stages,
    shape: tuple[int, int] | None = None,
    threads: int = THREADS,
    care: Care = Care.USUAL,
) -> Samples:
    """Sample chains on a CPU, so many `threads` at a time; arrays of the result lead with (chain, draw).

    `shape` is the (block, slot) in which to lay out the runs, by default their own. One program serves
    whatever `care` is taken.

    Raises
    ------
    FitError
        If the potential is finite nowhere near the prior's median.
    """
    keys = list(jax.random.split(key, chains))
    design, rows = blocked(design, shape or layout([design]))
    pace, structure = pace_of(design, care), spec.structure
    settings = settings_of(structure, design, warmup, draws)
    with stages("trace and compile"):
        begin = compiled(initial, {"spec": structure}, design).out
        likely = compiled(find_mode, {"spec": structure}, begin, design).out
        # Its shapes are known, so that it compiles while the mode is sought.
        compiled(run_chain, settings, keys[0], design, likely, pace)
    with stages("warm start", ROUNDS) as advance:
        moved, start = warm_start(design, structure, advance)
    if not start.report["arrived"]:
        moved, start = design, start._replace(begin=call(initial, design, spec=structure))
        settings = settings_of(structure, design, warmup, draws, whitened=False)
    found = _in_turn(threads, keys, moved, start, pace, settings, stages)
    chain = jax.tree.map(lambda *leaves: np.stack(leaves), *found)
    return gathered(chain, start.report, design, rows, spec, pace, settings)


def pace_of(design: Design, care: Care) -> Pace:
    """The pace of the chains of a design."""
    pace = Pace(_THINNING, HIERARCHY_ACCEPT) if design.families > 1 else Pace(1, TARGET_ACCEPT)
    if care is not Care.USUAL:
        pace = pace._replace(target_accept=CAREFUL_ACCEPT)
    if care is Care.LONG:
        pace = pace._replace(thinning=pace.thinning * _LONG_TIMES)
    return Pace(*map(np.asarray, pace))


def settings_of(
    structure: Spec, design: Design, warmup: int | None, draws: int, *, whitened: bool = True
) -> dict[str, Any]:
    """What the program of a chain is static in."""
    usual = (500 if design.families > 1 or held(structure) else 300) if whitened else 1000
    return {"spec": structure, "draws": draws, "warmup": warmup or usual, "dense": not whitened}


def gathered(
    chain: Chain, report: dict[str, Any], design: Design, rows: np.ndarray, spec: Spec, pace: Pace, settings: dict
) -> Samples:
    """What the chains of a table say, run by run in the order of its `rows`, and how they were made.

    Raises
    ------
    FitError
        If they went where there is no finite density.
    """
    if not np.isfinite(chain.stats["lp"]).all():
        raise FitError(
            f"spec {spec.name!r} has no finite posterior density where the chains went",
            hint="look at the priors (bayescale show models NAME) and at the runs for outliers",
        )
    whitened = bool(report["arrived"])
    engine = {
        "whitened": whitened,
        "warm_start": "Newton-Laplace" if whitened else "failed: full window adaptation",
        "newton_steps": int(report["steps"]),
        "warmup": settings["warmup"],
        "thinning": int(pace.thinning),
        "target_accept": float(pace.target_accept),
    }
    sites, likelihood, prior, stats = jax.tree.map(np.asarray, tuple(chain))
    stats = {name: value for name, value in stats.items() if name != "white"}
    pointwise = _pointwise(design, settings["draws"])
    if pointwise:
        likelihood = {name: v.reshape(*v.shape[:2], -1)[..., rows] for name, v in likelihood.items()}
    return Samples(sites, likelihood, pointwise, prior, stats, engine)


def _in_turn(
    threads: int, keys: list[Array], design: Design, start: Start, pace: Pace, settings: dict[str, Any], stages: Stages
) -> Iterator[Chain]:
    """Chains one by one on the threads of a CPU: each stops when it is done, none waits for the longest tree."""
    with stages("trace and compile"):
        program = compiled(run_chain, settings, keys[0], design, start, pace)
        program.wait()
    design, pace = jax.device_put((design, pace))  # JAX's precision is set by thread: the workers' must not convert

    def run(key: Array) -> Chain:
        return jax.block_until_ready(program(key, design, start, pace))

    with stages("sampling", len(keys)) as advance, ThreadPoolExecutor(threads) as pool:
        for chain in pool.map(run, keys):
            yield jax.tree.map(np.asarray, chain)
            advance()


@partial(jax.jit, static_argnames=("spec", "warmup", "draws", "dense"))
def run_chain(
    key: Array,
    design: Design,
    start: Start,
    pace: Pace,
    *,
    spec: Spec,
    warmup: int,
    draws: int,
    dense: bool,
) -> Chain:
    """Sample one chain near `start`, in its whitened coordinates, adapting a diagonal or `dense` mass."""
    spread_key, nuts_key = jax.random.split(key)
    flat = flatten(spec, design, start.begin, start.scale)

    centers, places = flat.roles.centers, flat.roles.places("shared", "centers")

    def away(white: Array) -> Array:
        flat = stretch(start.factor, places, white)
        return flat.at[centers].set(start.shift @ flat) if centers.size else flat

    if start.scale.size <= _DENSE:
        factor = jax.vmap(away, out_axes=1)(jnp.eye(start.scale.size))
        away = partial(jnp.matmul, factor)

    def potential(white: Array) -> Array:
        return flat.potential(away(white))

    init_kernel, sample_kernel = hmc(potential, algo="NUTS")
    state = init_kernel(
        jax.random.normal(spread_key, start.scale.shape),
        num_warmup=warmup,
        step_size=0.5,
        dense_mass=dense,
        target_accept_prob=pace.target_accept,
        max_tree_depth=_TREE_DEPTH,
        rng_key=nuts_key,
    )

    def step(state: Any, iterations: Array) -> tuple[Any, dict[str, Array]]:
        state = jax.lax.fori_loop(0, iterations, lambda _, state: sample_kernel(state), state)
        return state, _keep(state)

    # One scan for warm-up and draws: the kernel is traced and compiled once, not once for each.
    iterations = jnp.where(jnp.arange(warmup + draws) < warmup, 1, pace.thinning)
    _, collected = jax.lax.scan(step, state, iterations)
    collected = {name: values[warmup:] for name, values in collected.items()}

    def evaluate(white: Array) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
        sites, likelihood, prior = sites_at(spec, design, flat.constrain(away(white)))
        if not _pointwise(design, draws):
            likelihood = {name: _by_family(design, value) for name, value in likelihood.items()}
        return sites, likelihood, prior

    sites, likelihood, prior = jax.lax.map(evaluate, collected["white"], batch_size=at_a_time(design, 100))
    return Chain(sites, likelihood, prior, collected)


def _pointwise(design: Design, draws: int) -> bool:
    """Whether a chain's log likelihoods are few enough to be kept run by run."""
    return draws * design.mask.size <= _POINTWISE


def _by_family(design: Design, value: Array) -> Array:
    return jnp.zeros(design.families, value.dtype).at[design.family[:, 0]].add(value.sum(axis=1))


def _keep(state: Any) -> dict[str, Array]:
    return {
        "white": state.z,
        "lp": -state.potential_energy,
        "energy": state.energy,
        "n_steps": state.num_steps,
        "acceptance_rate": state.accept_prob,
        "step_size": state.adapt_state.step_size,
        "diverging": state.diverging,
    }
