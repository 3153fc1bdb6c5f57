"""Fantasies: simulated observations of runs that may be bought, and their density under every draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np
import pandas as pd
from jax import Array
from numpyro import handlers

from bayescale.core.errors import QueryError
from bayescale.core.precision import float64
from bayescale.inference.aot import call, use_cache
from bayescale.inference.average import AbstractFit
from bayescale.modelling.design import Design
from bayescale.modelling.interpreter import interpret
from bayescale.modelling.model import Model
from bayescale.prediction.predict import design_at, lent_draws, merged, substitutes
from bayescale.prediction.queries import NEW

_AT_A_TIME = 4_000_000  # draws × fantasies × runs of an array: 32 MB
_CHUNK = 50  # draws evaluated at a time
_ROWS = ("spent", "columns", "basis", "family")  # arrays of a design over runs


def fantasies(
    fit: AbstractFit, experiments: Sequence[pd.DataFrame], *, seed: int = 0, most: int | None = None
) -> dict[str, np.ndarray]:
    """Simulate the observations of experiments, once under each draw.

    Every experiment has the same random numbers, so that differences between experiments have little Monte Carlo error.

    Parameters
    ----------
    fit : Fit or Average
        Each draw of an average is simulated by its own model.
    experiments : sequence of DataFrame
        Validated queries, all with the same number of rows.
    seed : int
        Random seed of the noise. A new family is the one that :func:`.predict` draws with seed 0, whatever the seed.
    most : int, optional
        Largest number of draws to use, as in :func:`.predict`.

    Returns
    -------
    dict of ndarray, shape (chain·draw, experiment, run)
        Observations by column, in their unit.
    """
    count, table = _joined(experiments)

    def drawn(keys: Array, draws: dict[str, Array], points: Design, spec: Model) -> dict[str, Array]:
        return call(_simulate, keys, draws, points, spec=spec, count=count)

    found = _of_members(fit, table, most, seed, drawn)
    limits = np.finfo(float)
    for name in fit.responses:  # heavy-tailed noise on a log occasionally exceeds the range of a double
        of = fit.response(name)
        least = limits.tiny if of.response.kind == "log" else -limits.max
        found[of.site] = np.clip(found[of.site], least, limits.max)
    return {site: found[site] for site in fit.observed}


def log_densities(
    fit: AbstractFit,
    experiments: Sequence[pd.DataFrame],
    observed: Mapping[str, np.ndarray],
    *,
    most: int | None = None,
) -> np.ndarray:
    """Log density of observations of experiments under every draw, summed over the runs of an experiment.

    Parameters
    ----------
    fit : Fit or Average
        Under each draw of an average, the density is that of its own model.
    experiments : sequence of DataFrame
        Validated queries, all with the same number of rows.
    observed : mapping of str to ndarray, shape (fantasy, experiment, run)
        Observations by column, as :func:`fantasies` returns them.
    most : int, optional
        Largest number of draws to use, as in :func:`.predict`.

    Returns
    -------
    ndarray, shape (chain·draw, experiment, fantasy)
    """
    count, table = _joined(experiments)
    values = {site: y.reshape(len(y), -1) for site, y in observed.items()}

    def scored(keys: Array, draws: dict[str, Array], points: Design, spec: Model) -> dict[str, Array]:
        return {"density": call(_density, draws, points, values, spec=spec, count=count)}

    return _of_members(fit, table, most, 0, scored)["density"]


def at_a_time(draws: int, fantasy_count: int, runs: int) -> int:
    """Return how many experiments fit into an array of bounded size.

    Parameters
    ----------
    draws, fantasy_count : int
        Numbers of draws and of fantasies.
    runs : int
        Number of runs of an experiment.

    Returns
    -------
    int
        At least 1.
    """
    return max(1, _AT_A_TIME // (draws * fantasy_count * runs))


def _joined(experiments: Sequence[pd.DataFrame]) -> tuple[int, pd.DataFrame]:
    """Return the number of experiments, and the rows of all in one table."""
    sizes = {len(one) for one in experiments}
    if len(sizes) != 1:
        raise QueryError("experiments differ in their number of runs", expected="one number",
                         got=", ".join(map(str, sorted(sizes))))  # fmt: skip
    return len(experiments), pd.concat(experiments, ignore_index=True)


def _of_members(fit: AbstractFit, table: pd.DataFrame, most: int | None, seed: int, function: Any) -> dict[str, Any]:
    """Evaluate a function of the draws of each member, and merge its results by draw."""
    new = NEW not in fit.families and bool((table["family"] == NEW).any())
    _, family_key = jax.random.split(jax.random.key(0))  # as in `predict`: a new family is the same there and here
    thin, lent = lent_draws(fit, most)
    found = []
    with use_cache(), float64():
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1), len(lent[0][1]))
        for member, mine in lent:
            draws = {k: v[mine] for k, v in substitutes(member, family_key, new, thin).items()}
            found.append(function(keys[mine], draws, design_at(member, table, {}, new), member.spec.structure))
    names = [name for name in found[0] if all(name in one for one in found)]
    return {name: merged([(mine, one[name]) for (_, mine), one in zip(lent, found, strict=True)]) for name in names}


@partial(jax.jit, static_argnames=("spec", "count"))
def _simulate(keys: Array, draws: dict[str, Array], points: Design, *, spec: Model, count: int) -> dict[str, Array]:
    split = partial(jax.tree.map, lambda x: x.reshape(count, -1, *x.shape[1:]))
    rows = {name: split(getattr(points, name)) for name in _ROWS}

    def one(drawn: tuple[Array, dict[str, Array]]) -> dict[str, Array]:
        def at(mine: dict[str, Any]) -> dict[str, Array]:
            sites = _trace(spec, replace(points, **mine), *drawn)
            return {site: sites[site]["value"] for site in spec.observed}

        return jax.vmap(at)(rows)

    return jax.lax.map(one, (keys, draws), batch_size=_CHUNK)


@partial(jax.jit, static_argnames=("spec", "count"))
def _density(draws: dict[str, Array], points: Design, observed: dict[str, Array], *, spec: Model, count: int) -> Array:
    def one(drawn: dict[str, Array]) -> Array:
        def of(seen: dict[str, Array]) -> Array:
            # A score follows the loss of its own run: what is observed is put into the model, and not only its density.
            sites = _trace(spec, replace(points, observed=seen), jax.random.key(0), drawn)
            by_run = sum(sites[site]["fn"].log_prob(sites[site]["value"]) for site in seen)
            return by_run.reshape(count, -1).sum(axis=-1)

        return jax.vmap(of, out_axes=1)(observed)

    return jax.lax.map(one, draws, batch_size=_CHUNK)


def _trace(spec: Model, points: Design, key: Array, draws: dict[str, Array]) -> dict[str, Any]:
    model = handlers.substitute(handlers.seed(partial(interpret, spec), key), data=draws)
    return handlers.trace(model).get_trace(points)
