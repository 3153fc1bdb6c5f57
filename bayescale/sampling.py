"""The engine: one compiled program a chain, from a design to draws.

The model is seen as a potential on a flat unconstrained vector. A damped Newton search finds its mode,
the curvature there whitens it, and NumPyro's NUTS samples what is left, which is near to a standard
Normal, so that a short warm-up is enough. Data are arguments of the program, never constants: another
table of the same shape reuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from enum import Enum, auto
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro import handlers
from numpyro.infer.hmc import hmc

from bayescale.compiling import call, compiled
from bayescale.errors import FitError
from bayescale.flattening import COORDINATE, flatten, held, initial
from bayescale.modelling import Design, blocked, interpret, layout
from bayescale.pooling.ways import Partial
from bayescale.progress import Stages
from bayescale.spec import Spec
from bayescale.whitening import Whitening, arrow, factor, identity, newton, stretch, variance

TARGET_ACCEPT = 0.9
# Corners of a hierarchy (a ceiling far in its tail, a spread small) diverged in 5 of 4,000 draws at .9.
HIERARCHY_ACCEPT = 0.95
CAREFUL_ACCEPT = 0.98
_LONGER = 6  # times the draws, of chains that mix slowly
_TREE_DEPTH = 10
MOST_STEPS = 2**_TREE_DEPTH - 1
"""Leapfrog steps of a draw that was cut off at the greatest tree depth."""
THREADS = 2
"""Chains at a time on a CPU: a chain runs in one thread, and a laptop has two cores to spare."""
ROUNDS = 3
"""Rounds in which a warm start chooses coordinates."""
# A hierarchy's draws follow one another closely: only every second is kept, which loses little of what they
# say and keeps the default count of draws enough for a dozen families.
_THINNING = 2
_INFORMED = 0.3  # variance of an offset, of 1 in the prior, under which its family's runs outweigh its peers
_NUMBERS = 2_000_000  # in an array over runs and points, at most: 16 MB
_DENSE = 256  # coordinates up to which one product with a matrix is quicker than many with its parts
_POINTWISE = 10_000_000  # log likelihoods of a chain that are kept run by run: 80 MB


class Care(Enum):
    """How carefully to sample: in `SMALL_STEPS` where draws diverged, and for `LONG` too where chains mix slowly."""

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


class Start(NamedTuple):
    """Where the chains start, and how the model is whitened there."""

    begin: dict[str, Array]
    scale: Array
    factor: Whitening
    shift: Array  # (centre, p): centres' coordinates as they move, of a small step in those that do not
    report: dict[str, Array]
    variance: dict[str, Array]


@partial(jax.jit, static_argnames="spec")
def find_mode(begin: dict[str, Array], design: Design, *, spec: Spec) -> Start:
    """Mode from a beginning, centres and spreads held there, and what whitens the model if it was found."""
    flat = flatten(spec, design, begin, moving=False)
    size, free, batch = flat.scale.size, flat.roles.places("shared"), _at_a_time(design, flat.scale.size)
    mode, curvature, report = newton(flat.potential, free, size, batch)
    variances = flat.unravel(variance(factor(curvature), free, size))
    scale, shift = flat.scale, jnp.zeros((0, size))
    if design.centering:
        # Spreads are left out: away from their own mode, a curvature says little of their width.
        _, along = jax.linearize(jax.grad(flat.potential), mode)
        curvature = arrow(along, flat.roles.places("shared", "centers"), size, batch)
        shift = jax.jacrev(flat.moved_centers)(mode)
        scale = scale.at[flat.roles.centers].set(1.0)  # as it moves, a centre is in units of its SD already
    whitening = factor(curvature)
    whitening, shift = jax.tree.map(
        partial(jnp.where, report["arrived"]),
        (whitening, shift),
        (identity(whitening), jnp.eye(size)[flat.roles.centers]),
    )
    return Start(flat.constrain(mode), scale, whitening, shift, report, variances)


def _at_a_time(design: Design, most: int) -> int:
    """How many points to evaluate the model at, at a time: arrays over runs bound the memory."""
    return max(1, min(most, _NUMBERS // design.mask.size))


def warm_start(
    design: Design, spec: Spec, advance: Callable[[], None], apply: Callable[..., Any] = call
) -> tuple[Design, Start]:
    """Whiten the model around its mode, after choosing every family's coordinates.

    With centres and spreads held, the Laplace approximation gives the variance of each family's offset:
    near 1 (the prior's) where its runs say nothing, 0 where they say all; one minus it is the centering.
    `apply` runs a function of one design, or that function on many.
    """
    begin = apply(initial, design, spec=spec)
    for i in range(ROUNDS if design.centering else 0):
        start = apply(find_mode, begin, design, spec=spec)
        centering = {name: start.variance[name + COORDINATE] * 0 for name in design.centering}
        if i == ROUNDS - 1:
            variances = {name: start.variance[name + COORDINATE] for name in centering}
            centering = {name: _centering(variance) for name, variance in variances.items()}
        begin, design = apply(_restart, start, centering, design, spec=spec), replace(design, centering=centering)
        advance()
    return design, apply(find_mode, begin, design, spec=spec)


def _centering(variance: Array) -> Array:
    """Centering of each family from the variance of its offset: all or nothing.

    A family whose runs say more than its peers is centred. Anything between ties its value, which its
    runs hold tightly, to the spread, which they do not: a curved ridge.
    """
    return jnp.where(variance < _INFORMED, 1.0, 0.0)


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
        pace = pace._replace(thinning=pace.thinning * _LONGER)
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
            do="look at the priors (bayescale show models NAME) and at the runs for outliers",
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


@partial(jax.jit, static_argnames="spec")
def _restart(start: Start, centering: dict[str, Array], design: Design, *, spec: Spec) -> dict[str, Array]:
    """Latent values to begin from again, centres and spreads moved to fit the families."""
    values = dict(start.begin)
    sites, *_ = _evaluate(spec, design, values)
    for name, to in centering.items():
        setting, held = spec.parameters[name], start.variance[name + COORDINATE]
        values |= Partial.restart(name, setting.prior.placed(design.priors[name]), setting.spread, sites, held, to)
    return values


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
        sites, likelihood, prior = _evaluate(spec, design, flat.constrain(away(white)))
        if not _pointwise(design, draws):
            likelihood = {name: _by_family(design, value) for name, value in likelihood.items()}
        return sites, likelihood, prior

    sites, likelihood, prior = jax.lax.map(evaluate, collected["white"], batch_size=_at_a_time(design, 100))
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


def _evaluate(
    spec: Spec, design: Design, values: dict[str, Array]
) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
    """Sites, pointwise log likelihood and log prior at one point."""
    model = handlers.substitute(partial(interpret, spec), data=values)
    trace = handlers.trace(model).get_trace(design)
    sites, likelihood, prior = {}, {}, {}
    for name, site in trace.items():
        if site["type"] == "sample" and site["is_observed"]:
            likelihood[name] = site["fn"].log_prob(site["value"])
        elif site["type"] == "sample":
            sites[name] = site["value"]
            prior[name] = site["fn"].log_prob(site["value"])
        elif site["type"] == "deterministic" and name.removesuffix("_offset") in spec.parameters:
            sites[name] = site["value"]
    return sites, likelihood, prior
