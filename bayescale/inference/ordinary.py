"""Plain NumPyro sampling of custom models, and samples made from draws of any origin."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from jax.flatten_util import ravel_pytree
from numpyro import handlers, validation_enabled
from numpyro.infer import MCMC, NUTS, init_to_median, init_to_uniform
from numpyro.infer.util import potential_energy, unconstrain_fn

from bayescale.core.arguments import described
from bayescale.core.errors import FitError
from bayescale.core.progress import Stages
from bayescale.inference.nuts import Care, Samples
from bayescale.inference.potential import latent_sites, sites_at
from bayescale.modelling.custom import CustomModel
from bayescale.modelling.design import Design
from bayescale.modelling.interpreter import interpret
from bayescale.modelling.model import Model

_WARMUP = 1000  # NumPyro's usual number: nothing is known about the coordinates of such a model

_WHITENED_WARMUP = 300  # for the step size alone

_STARTS, _SHORT = 2, 200  # number and warm-up of the chains that find the posterior

_CURVATURES = 8  # draws over which the curvature is averaged

_LEAST_CURVATURE = 0.1  # of a coordinate, where the posterior is flatter than nearly every prior

_LONGER = 6  # times as many draws, for chains that mix slowly

_ACCEPT = {Care.USUAL: 0.9, Care.SMALL_STEPS: 0.98, Care.LONG: 0.98}
"""Target acceptance probability of the step size."""


class Settings(NamedTuple):
    """Settings of chains: target acceptance probability, kept draws, depth of trees, and where they begin."""

    accept: float
    thinning: int = 1
    trees: int = 10
    at_median: bool = False


_SCOUTING = Settings(0.8, trees=6, at_median=True)

STATISTICS = {"diverging": "diverging", "num_steps": "n_steps", "energy": "energy", "accept_prob": "acceptance_rate"}
"""Statistics of NumPyro's sampler, with their names in ArviZ."""

GIVEN = "none: draws were given"
"""What the engine says of draws of any origin, whose sampler may have left no statistics."""


def sample(
    key: Array,
    design: Design,
    model: CustomModel,
    *,
    chains: int,
    warmup: int | None,
    draws: int,
    stages: Stages,
    care: Care = Care.USUAL,
) -> Samples:
    """Sample a custom model with NumPyro's NUTS, one chain after another.

    Parameters
    ----------
    key : Array
        Random key.
    design : Design
    model : CustomModel
    chains, draws : int
        Number of chains, and of kept draws per chain.
    warmup : int, optional
        Warm-up iterations per chain; 1000 by default.
    stages : Stages
        Stopwatch.
    care : Care
        How carefully to sample.

    Returns
    -------
    Samples
        Arrays have the leading dims chain, draw.

    Raises
    ------
    FitError
        If no starting point with a finite density is found.
    """
    warmup = warmup or (_WHITENED_WARMUP if model.whitened else _WARMUP)
    settings = Settings(_ACCEPT[care], _LONGER if care is Care.LONG else 1)
    try:
        with stages("sampling"):
            begin, matrix = _explored(key, design, model, chains) if model.whitened else (None, None)
            drawn, found = _collected(jax.random.split(key, chains), begin, design, matrix, model=model, warmup=warmup,
                                      draws=draws, settings=settings)  # fmt: skip
    except RuntimeError as error:
        raise FitError(
            f"model {model.name!r} cannot be sampled",
            got=str(error).partition("\n")[0],
            hint="check its priors, and that its density is finite at these runs",
        ) from None
    stats = {ours: found[theirs] for theirs, ours in STATISTICS.items()}
    start = "draws of short chains" if model.whitened else "none: NumPyro's window adaptation"
    engine = {"whitened": model.whitened, "warm_start": start, "warmup": warmup, "thinning": settings.thinning,
              "target_accept": settings.accept}  # fmt: skip
    return replayed(model, design, drawn, stats, engine)


def _collected(keys: Array, begin: Any, *args: Any, **settings: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the draws of chains, which share one program, and what the sampler says of them."""
    found = [_chain(key, jax.tree.map(lambda x, i=i: x[i], begin), *args, **settings) for i, key in enumerate(keys)]
    draws, said = jax.tree.map(lambda *each: np.stack(each), *found)
    if not np.isfinite(said.pop("potential_energy")).all():
        raise RuntimeError("the density is not finite where a chain begins, or at its draws")
    return draws, said


@partial(jax.jit, static_argnames=("model", "warmup", "draws", "settings"))
def _chain(
    key: Array, begin: Any, design: Design, matrix: Array | None, *, model: CustomModel, warmup: int, draws: int,
    settings: Settings,
) -> tuple[dict[str, Array], dict[str, Array]]:  # fmt: skip
    """Run one chain. NumPyro alone would compile each run again, and a sweep would use up the memory maps."""
    kernel = NUTS(
        partial(interpret, model),
        target_accept_prob=settings.accept,
        max_tree_depth=settings.trees,
        init_strategy=init_to_median if settings.at_median else init_to_uniform,
        inverse_mass_matrix=matrix,
        dense_mass=matrix is not None,
        adapt_mass_matrix=matrix is None,
    )
    mcmc = MCMC(kernel, num_warmup=warmup, num_samples=draws * settings.thinning, thinning=settings.thinning,
                progress_bar=False)  # fmt: skip
    mcmc.run(key, design, extra_fields=(*STATISTICS, "potential_energy"), init_params=begin)
    return mcmc.get_samples(), mcmc.get_extra_fields()


def _explored(key: Array, design: Design, model: CustomModel, chains: int) -> tuple[dict[str, Array], Array]:
    """Return where chains begin, and a mass matrix: the curvature of the posterior, averaged over some draws.

    Two short chains find where the posterior is, and where they disagree so do the chains that begin at their draws.
    Hundreds of tied coordinates need this matrix: a covariance of that size cannot be estimated from a warm-up.
    """
    keys = jax.random.split(jax.random.fold_in(key, 1), _STARTS)
    found, _ = _collected(keys, None, design, None, model=model, warmup=_SHORT, draws=_SHORT // 2, settings=_SCOUTING)
    unconstrain = partial(unconstrain_fn, partial(interpret, model), (design,), {})
    latent = latent_sites(_seeded(model), design)
    free = jax.vmap(unconstrain)({name: jnp.concatenate(found[name]) for name in latent})
    at = jax.tree.map(lambda x: x[:: len(x) // _CURVATURES], free)
    begin = jax.tree.map(lambda x: x[:: len(x) // chains][:chains], free)
    return begin, _covariance(at, design, model=model)


@partial(jax.jit, static_argnames="model")
def _covariance(at: dict[str, Array], design: Design, *, model: CustomModel) -> Array:
    """Return the inverse of the mean curvature of the potential over points (leading dim), made positive."""
    flat = jax.vmap(lambda point: ravel_pytree(point)[0])(at)
    unravel = ravel_pytree(jax.tree.map(lambda x: x[0], at))[1]

    def potential(point: Array) -> Array:
        return potential_energy(partial(interpret, model), (design,), {}, unravel(point))

    curvature = jax.lax.map(jax.hessian(potential), flat).mean(axis=0)
    values, vectors = jnp.linalg.eigh((curvature + curvature.T) / 2)
    return (vectors / jnp.maximum(values, _LEAST_CURVATURE)) @ vectors.T


def _seeded(model: Model) -> Any:
    return handlers.seed(partial(interpret, model), jax.random.key(0))


def replayed(
    model: Model, design: Design, draws: Mapping[str, Any], stats: Mapping[str, Any], engine: Mapping[str, Any]
) -> Samples:
    """Make samples from draws of any origin: compute every site, log likelihood and log prior at each draw.

    Parameters
    ----------
    model : Model
    design : Design
    draws : mapping of str to array, shape (chain, draw, ...)
        Draws of every latent site.
    stats : mapping of str to array, shape (chain, draw)
        Statistics of the sampler, by their names in ArviZ; empty if none are known.
    engine : mapping
        How the draws were made.

    Returns
    -------
    Samples

    Raises
    ------
    FitError
        If draws of a site are missing, do not have its shape, or are not finite.
    """
    with validation_enabled(False):  # one draw from the prior says what the sites are, wherever it lies
        latent = latent_sites(_seeded(model), design)
    arrays = _arrays(model, {name: np.shape(site["value"]) for name, site in latent.items()}, draws)
    chains, length = next(iter(arrays.values())).shape[:2]
    flat = {name: jnp.asarray(value.reshape(-1, *value.shape[2:])) for name, value in arrays.items()}
    sites, likelihood, prior = jax.tree.map(
        lambda x: np.asarray(x).reshape(chains, length, *x.shape[1:]), _at_every(flat, design, model=model)
    )
    for name, density in {**prior, **likelihood}.items():
        if (bad := np.isnan(density).reshape(chains * length, -1).any(axis=1)).any():
            raise FitError(f"draws give site {name!r} of model {model.name!r} no density",
                           expected="values that the priors allow, and probabilities from 0 to 1",
                           got=f"no density in {bad.mean():.0%} of draws",
                           hint="check the scale of the draws, and that they are of this model and these runs",
                           )  # fmt: skip
    return Samples(sites, likelihood, True, prior, dict(stats), dict(engine))


def _arrays(model: Model, shapes: Mapping[str, tuple[int, ...]], draws: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return draws of sites as arrays of the sites' shapes."""
    arrays: dict[str, np.ndarray] = {}
    for name, shape in shapes.items():
        if name not in draws:
            raise FitError(f"there are no draws of site {name!r} of model {model.name!r}",
                           expected=f"draws of: {', '.join(shapes)}", got=", ".join(map(str, draws)))  # fmt: skip
        try:
            arrays[name] = np.asarray(draws[name], float)
        except (TypeError, ValueError):
            raise FitError(f"draws of site {name!r} are not numbers", got=described(draws[name])) from None
        if arrays[name].ndim < 2 or arrays[name].shape[2:] != shape or not arrays[name].size:
            raise FitError(f"draws of site {name!r} do not have the shape of the site",
                           expected=f"(chain, draw{''.join(f', {n}' for n in shape)})",
                           got=str(arrays[name].shape))  # fmt: skip
        if not np.isfinite(arrays[name]).all():
            raise FitError(f"draws of site {name!r} are not all finite numbers")
    check_even(arrays)
    return arrays


def check_allowed(model: Model, design: Design, draws: Mapping[str, Any]) -> None:
    """Refuse draws of which the first gives a distribution a parameter that it cannot have.

    Such a distribution may still have a density: that of a Beta-Binomial is a number at negative concentrations.

    Parameters
    ----------
    model : Model
    design : Design
    draws : mapping of str to array, shape (chain, draw, ...)
        Draws of every latent site.

    Raises
    ------
    FitError
    """
    first = {name: jnp.asarray(value)[0, 0] for name, value in draws.items()}
    try:
        with validation_enabled():
            handlers.trace(handlers.substitute(_seeded(model), data=first)).get_trace(design)
    except ValueError as error:
        raise FitError(f"the draws give model {model.name!r} a distribution that does not exist",
                       expected="probabilities from 0 to 1, and positive scales", got=str(error),
                       hint="check the scale of the draws, and that they are of this model and these runs",
                       ) from None  # fmt: skip


def check_even(draws: Mapping[str, np.ndarray]) -> None:
    """Refuse sites with different numbers of chains or draws.

    Parameters
    ----------
    draws : mapping of str to array, shape (chain, draw, ...)

    Raises
    ------
    FitError
    """
    leads = {name: np.shape(value)[:2] for name, value in draws.items()}
    first = next(iter(leads))
    for name, lead in leads.items():
        if lead != leads[first]:
            raise FitError(f"sites {first!r} and {name!r} have different numbers of draws",
                           expected=f"{leads[first]} chains and draws of each", got=f"{lead} of {name!r}",
                           hint="give the same draws of every site")  # fmt: skip


def drawn_of(samples: Any) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Read draws and statistics from the usual containers of draws.

    Parameters
    ----------
    samples : xarray.DataTree, xarray.Dataset, numpyro.infer.MCMC, or mapping of str to array

    Returns
    -------
    draws : dict of array, shape (chain, draw, ...)
        By site.
    stats : dict of array, shape (chain, draw)
        Statistics of the sampler, by their names in ArviZ; empty if there are none.
    """
    if isinstance(samples, MCMC):
        found = samples.get_extra_fields(group_by_chain=True)
        stats = {ours: np.asarray(found[theirs]) for theirs, ours in STATISTICS.items() if theirs in found}
        return {name: np.asarray(x) for name, x in samples.get_samples(group_by_chain=True).items()}, stats
    if isinstance(samples, xr.DataTree):
        given = samples["sample_stats"].data_vars if "sample_stats" in samples.children else {}
        stats = {name: given[name].to_numpy() for name in STATISTICS.values() if name in given}
        return drawn_of(samples["posterior"].to_dataset())[0], stats
    arrays = samples.data_vars if isinstance(samples, xr.Dataset) else samples
    return {str(name): np.asarray(values) for name, values in arrays.items()}, {}


@partial(jax.jit, static_argnames="model")
def _at_every(values: dict[str, Array], design: Design, *, model: Model) -> tuple[Any, Any, Any]:
    """Compute sites, log likelihood and log prior at every draw (leading dim)."""

    def at(values: dict[str, Array]) -> tuple[Any, Any, Any]:
        sites, likelihood, prior = sites_at(model, design, values)
        return sites, {name: jnp.broadcast_to(x, design.family.shape) for name, x in likelihood.items()}, prior

    return jax.lax.map(at, values)
