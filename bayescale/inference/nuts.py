"""The engine: one compiled program per chain, from a design to draws.

The model is a potential on a flat unconstrained vector. A damped Newton search finds its mode, and the
curvature there whitens it. NumPyro's NUTS samples the whitened potential, which is close to that of a standard
Normal, so a short warm-up is enough. Data are arguments of the program, never constants: another
table of the same shape reuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from bayescale.inference.floor import floored
from bayescale.inference.potential import Roles, flatten, held, initial, sites_at
from bayescale.inference.preconditioner import stretch
from bayescale.inference.warm_start import ROUNDS, Start, at_a_time, find_mode, warm_start
from bayescale.modelling.design import Design
from bayescale.modelling.layout import blocked, layout
from bayescale.modelling.spec import Spec

TARGET_ACCEPT = 0.9

# At 0.9, 5 of 4,000 draws of a hierarchy diverged, in its corners (a ceiling far in its tail, a small spread).
HIERARCHY_ACCEPT = 0.95

CAREFUL_ACCEPT = 0.98

_LONG_TIMES = 6  # times as many draws, for chains that mix slowly

_TREE_DEPTH = 10

MOST_STEPS = 2**_TREE_DEPTH - 1
"""Leapfrog steps of a draw that was cut off at the maximum tree depth."""

THREADS = 2
"""Chains sampled in parallel on a CPU: a chain runs in one thread, and a laptop has two cores to spare."""

# Successive draws of a hierarchy are strongly correlated. Only every second is kept: this loses little information,
# and the default number of draws is enough for a dozen families.
_THINNING = 2

_DENSE = 256  # coordinates up to which one product with a matrix is faster than several with its parts

_POINTWISE = 10_000_000  # largest number of log likelihoods per chain that are kept by run: 80 MB


class Care(Enum):
    """How carefully to sample: with `SMALL_STEPS` if draws diverged, and also for `LONG` if chains mix slowly.

    A table is retried in this order. Batches have one more retry, `longer` of :func:`bayescale.fit_many`.
    """

    USUAL = auto()
    SMALL_STEPS = auto()
    LONG = auto()


class Pace(NamedTuple):
    """Settings of chains: keep every `thinning`-th draw; adapt the step size to `target_accept`."""

    thinning: Any
    target_accept: Any


class Chain(NamedTuple):
    """The result of one chain; the leading dim of all arrays is the draw."""

    sites: dict[str, Array]
    log_likelihood: dict[str, Array]
    log_prior: dict[str, Array]
    stats: dict[str, Array]


class Samples(NamedTuple):
    """The result of all chains, and how it was made; the leading dims of all arrays are chain, draw.

    Log likelihoods are `pointwise` (last dim: run), or else summed by family (last dim: family).
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
    """Sample chains on a CPU, in parallel threads.

    One compiled program serves every level of care.

    Parameters
    ----------
    key : Array
        Random key.
    design : Design
    spec : Spec
    chains, draws : int
        Number of chains, and of kept draws per chain.
    warmup : int, optional
        Warm-up iterations per chain; by default, as many as the spec needs.
    stages : Stages
        Stopwatch.
    shape : (int, int), optional
        Blocks and slots in which to lay out the runs; by default, those that suit the design.
    threads : int
        Number of chains sampled in parallel.
    care : Care
        How carefully to sample.

    Returns
    -------
    Samples
        Arrays have the leading dims chain, draw.

    Raises
    ------
    FitError
        If the density is not finite at some draws.
    """
    keys = list(jax.random.split(key, chains))
    design, rows = blocked(design, shape or layout([design]))
    pace, structure = pace_of(design, care), spec.structure
    settings = settings_of(structure, design, warmup, draws)
    with stages("trace and compile"):
        median = compiled(initial, {"spec": structure}, design).out
        likely = compiled(find_mode, {"spec": structure}, median, design).out
        # Its shapes are known already, so it compiles during the search for the mode.
        compiled(run_chain, settings, keys[0], design, likely, pace)
    with stages("warm start", ROUNDS) as advance:
        moved, start = warm_start(design, structure, advance)
        design, floor, begin = floored(design, moved, start, structure)
        if floor:
            moved, start = warm_start(design, structure, advance, begin=begin)
    if not start.report["arrived"]:
        moved, start = design, start._replace(begin=call(initial, design, spec=structure))
        settings = settings_of(structure, design, warmup, draws, whitened=False)
    found = _in_turn(threads, keys, moved, start, pace, settings, stages)
    chain = jax.tree.map(lambda *leaves: np.stack(leaves), *found)
    return gathered(chain, start.report, design, rows, spec, pace, settings, float(floor))


def pace_of(design: Design, care: Care) -> Pace:
    """Return the settings of the chains of a design."""
    pace = Pace(_THINNING, HIERARCHY_ACCEPT) if _is_hierarchy(design) else Pace(1, TARGET_ACCEPT)
    if care is not Care.USUAL:
        pace = pace._replace(target_accept=CAREFUL_ACCEPT)
    if care is Care.LONG:
        pace = pace._replace(thinning=pace.thinning * _LONG_TIMES)
    return Pace(*map(np.asarray, pace))


def _is_hierarchy(design: Design) -> bool:
    """Whether families, or the responses of a battery, vary around a learned centre."""
    return design.families > 1 or bool(design.centering)


def settings_of(
    structure: Spec, design: Design, warmup: int | None, draws: int, *, whitened: bool = True
) -> dict[str, Any]:
    """Return the static arguments of the program of a chain."""
    usual = (500 if _is_hierarchy(design) or held(structure) else 300) if whitened else 1000
    return {"spec": structure, "draws": draws, "warmup": warmup or usual, "dense": not whitened}


def gathered(
    chain: Chain,
    report: dict[str, Any],
    design: Design,
    rows: np.ndarray,
    spec: Spec,
    pace: Pace,
    settings: dict[str, Any],
    floor: float,
) -> Samples:
    """Collect the chains of one table, with log likelihoods by run, and how they were made.

    Parameters
    ----------
    chain : Chain
        All chains; arrays have the leading dims chain, draw.
    report : dict
        Report of the search for the mode, from :func:`.newton`.
    design : Design
        The design in blocks.
    rows : array of int, shape (run,)
        Position of each run in the blocks.
    spec : Spec
    pace : Pace
    settings : dict
        Static arguments of the program, from :func:`settings_of`.
    floor : float
        The floor that was put under the noise, as SD of log loss; 0 for none.

    Returns
    -------
    Samples

    Raises
    ------
    FitError
        If the density is not finite at some draws.
    """
    if not np.isfinite(chain.stats["lp"]).all():
        raise FitError(
            f"spec {spec.name!r} has no finite posterior density at some draws",
            hint="check the priors (bayescale show models NAME), and the runs for outliers",
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
    if floor:
        engine["noise_floor"] = floor
    sites, likelihood, prior, stats = jax.tree.map(np.asarray, tuple(chain))
    stats = {name: value for name, value in stats.items() if name != "white"}
    pointwise = _pointwise(design, settings["draws"])
    if pointwise:
        likelihood = {name: v.reshape(*v.shape[:2], -1)[..., rows] for name, v in likelihood.items()}
    return Samples(sites, likelihood, pointwise, prior, stats, engine)


def _in_turn(
    threads: int, keys: list[Array], design: Design, start: Start, pace: Pace, settings: dict[str, Any], stages: Stages
) -> Iterator[Chain]:
    """Yield chains that run separately in threads of a CPU: none waits for the longest tree of another."""
    with stages("trace and compile"):
        program = compiled(run_chain, settings, keys[0], design, start, pace)
        program.wait()
    design, pace = jax.device_put((design, pace))  # JAX's precision is set by thread: workers must not convert arrays

    def run(key: Array) -> Chain:
        return jax.block_until_ready(program(key, design, start, pace))

    with stages("sampling", len(keys)) as advance, ThreadPoolExecutor(threads) as pool:
        for chain in pool.map(run, keys):
            yield jax.tree.map(np.asarray, chain)
            advance()


def _coloring(start: Start, roles: Roles) -> Callable[[Array], Array]:
    """Return the linear map from whitened coordinates to those of the potential; of few coordinates, as a matrix."""
    centers, places = roles.centers, roles.places("shared", "centers")

    def away(white: Array) -> Array:
        flat = stretch(start.factor, places, white)
        return flat.at[centers].set(start.shift @ flat) if centers.size else flat

    if start.scale.size > _DENSE:
        return away
    return partial(jnp.matmul, jax.vmap(away, out_axes=1)(jnp.eye(start.scale.size)))


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
    """Sample one chain in whitened coordinates.

    Parameters
    ----------
    key : Array
        Random key.
    design : Design
    start : Start
        Starting point and whitening.
    pace : Pace
    spec : Spec
    warmup, draws : int
        Warm-up iterations, and kept draws.
    dense : bool
        Whether to adapt a dense mass matrix; if not, it is diagonal.

    Returns
    -------
    Chain
    """
    spread_key, nuts_key = jax.random.split(key)
    flat = flatten(spec, design, start.begin, start.scale)
    away = _coloring(start, flat.roles)

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

    # One scan for warm-up and draws, so that the kernel is traced and compiled once, not twice.
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
    """Whether a chain's log likelihoods are few enough to be kept by run."""
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
