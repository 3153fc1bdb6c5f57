"""Plain NumPyro sampling of custom models, and samples made from draws of any origin."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from numpyro import handlers
from numpyro.infer import MCMC, NUTS

from bayescale.core.errors import FitError
from bayescale.core.progress import Stages
from bayescale.inference.nuts import Care, Samples
from bayescale.inference.potential import latent_sites, sites_at
from bayescale.modelling.design import Design
from bayescale.modelling.interpreter import interpret
from bayescale.modelling.model import Model

_WARMUP = 1000  # NumPyro's usual number: nothing is known about the coordinates of such a model

_LONGER = 6  # times as many draws, for chains that mix slowly

_ACCEPT = {Care.USUAL: 0.9, Care.SMALL_STEPS: 0.98, Care.LONG: 0.98}
"""Target acceptance probability of the step size."""

STATISTICS = {"diverging": "diverging", "num_steps": "n_steps", "energy": "energy", "accept_prob": "acceptance_rate"}
"""Statistics of NumPyro's sampler, with their names in ArviZ."""


def sample(
    key: Array,
    design: Design,
    model: Model,
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
    model : Model
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
    mcmc = _sampler(model, chains, warmup or _WARMUP, draws, care)
    try:
        with stages("sampling"):
            mcmc.run(key, design, extra_fields=tuple(STATISTICS))
    except RuntimeError as error:
        raise FitError(
            f"model {model.name!r} cannot be sampled",
            got=str(error).partition("\n")[0],
            hint="check its priors, and that its density is finite at these runs",
        ) from None
    found = {name: np.asarray(value) for name, value in mcmc.get_extra_fields(group_by_chain=True).items()}
    stats = {ours: found[theirs] for theirs, ours in STATISTICS.items()}
    settings = {"warmup": warmup or _WARMUP, "thinning": mcmc.thinning, "target_accept": _ACCEPT[care]}
    engine = {"whitened": False, "warm_start": "none: NumPyro's window adaptation", **settings}
    return replayed(model, design, mcmc.get_samples(group_by_chain=True), stats, engine)


@lru_cache(maxsize=16)
def _sampler(model: Model, chains: int, warmup: int, draws: int, care: Care) -> MCMC:
    """Return NumPyro's sampler. It is cached: tables of one size, as in a calibration, share its compiled program."""
    thinning = _LONGER if care is Care.LONG else 1
    return MCMC(
        NUTS(partial(interpret, model), target_accept_prob=_ACCEPT[care]),
        num_warmup=warmup,
        num_samples=draws * thinning,
        num_chains=chains,
        thinning=thinning,
        chain_method="sequential",
        progress_bar=False,
        jit_model_args=True,
    )


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
    latent = latent_sites(handlers.seed(partial(interpret, model), jax.random.key(0)), design)
    arrays: dict[str, np.ndarray] = {}
    for name, site in latent.items():
        if name not in draws:
            raise FitError(f"there are no draws of site {name!r} of model {model.name!r}",
                           expected=f"draws of: {', '.join(latent)}", got=", ".join(map(str, draws)))  # fmt: skip
        arrays[name] = np.asarray(draws[name], float)
        shape = np.shape(site["value"])
        if arrays[name].ndim < 2 or arrays[name].shape[2:] != shape:
            raise FitError(f"draws of site {name!r} do not have the shape of the site",
                           expected=f"(chain, draw{''.join(f', {n}' for n in shape)})",
                           got=str(arrays[name].shape))  # fmt: skip
        if not np.isfinite(arrays[name]).all():
            raise FitError(f"draws of site {name!r} are not all finite numbers")
    chains, length = next(iter(arrays.values())).shape[:2]
    flat = {name: jnp.asarray(value.reshape(-1, *value.shape[2:])) for name, value in arrays.items()}
    sites, likelihood, prior = jax.tree.map(
        lambda x: np.asarray(x).reshape(chains, length, *x.shape[1:]), _at_every(flat, design, model=model)
    )
    return Samples(sites, likelihood, True, prior, dict(stats), dict(engine))


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
