"""Predict: run the model of a fit at queries, with every parameter replaced by its draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array
from numpyro import handlers

from bayescale.core.dims import FAMILY, RUN
from bayescale.core.errors import QueryError
from bayescale.core.precision import float64
from bayescale.inference.aot import call, use_cache
from bayescale.inference.average import AbstractFit
from bayescale.inference.fit import Fit
from bayescale.modelling.custom import CustomModel
from bayescale.modelling.design import Design
from bayescale.modelling.grouping import lots_of
from bayescale.modelling.interpreter import interpret
from bayescale.modelling.model import Model
from bayescale.modelling.sites import COORDINATES, LAW, LOG_LOSS, declared_sites, location_of, log_density_of
from bayescale.parts.base import Role
from bayescale.prediction.queries import NEW, counts_flops, flops_of

_CHUNK = 50  # draws evaluated at a time, so that memory is bounded by the draws × queries of the result

_DRAWS_TIMES_QUERIES = 2_000_000  # largest size of an array over draws and queries: 16 MB


def predict(
    fit: AbstractFit,
    table: pd.DataFrame,
    *,
    observed: Mapping[str, Any] | None = None,
    seed: int = 0,
    only: str | None = None,
    most: int | None = None,
) -> Any:
    """Run the model of a fit at queries, with every parameter replaced by its draws.

    Parameters
    ----------
    fit : Fit or Average
        Each draw of an average is run through its own model.
    table : DataFrame
        Queries with ``family`` and every column that the spec reads, or that `only` depends on.
    observed : mapping, optional
        Observations at the queries. For each of these, ``NAME_log_density`` is returned instead of draws.
    seed : int
        Random seed of the noise and of new families.
    only : str, optional
        Compute and return only this site.
    most : int, optional
        Largest number of draws to use; draws are thinned evenly within chains.

    Returns
    -------
    dict of ndarray, shape (chain·draw, query)
        ``log_loss``, ``law`` (log loss under the law alone, without discrepancies), ``NAME_location`` of each response,
        and each observed site. If `only` is given, the array of that site.
    """
    table = fit.with_defaults(table)
    table = fit.with_unread(table, only) if only else table
    new = NEW not in fit.families and bool((table["family"] == NEW).any())
    noise_key, family_key = jax.random.split(jax.random.key(seed))
    thin, lent = lent_draws(fit, most)
    found = []
    with use_cache(), float64():
        keys = jax.random.split(noise_key, len(lent[0][1]))
        for member, mine in lent:
            draws = {k: v[mine] for k, v in substitutes(member, family_key, new, thin).items()}
            points = design_at(member, table, observed or {}, new)
            at = fitted_at(member, table)
            found.append(call(_predict, keys[mine], draws, points, at, spec=member.spec.structure, only=only))
    sites = {name: merged([(mine, f[name]) for (_, mine), f in zip(lent, found, strict=True)])
             for name in found[0] if all(name in f for f in found)}  # fmt: skip
    return sites[only] if only else sites


def scored_draws(fit: AbstractFit, table: pd.DataFrame, *, seed: int, response: str | None = None) -> np.ndarray:
    """Return predictive draws of a response on the scale that it is scored on: natural logs of a loss.

    Logs are finite: heavy-tailed noise on log loss sometimes gives a loss outside the range of float64, and such a loss
    is clipped to that range.

    Parameters
    ----------
    fit : Fit or Average
    table : DataFrame
        Queries.
    seed : int
        Random seed.
    response : str, optional
        By default, the first response.

    Returns
    -------
    ndarray, shape (chain·draw, query)
    """
    of = fit.response(response)
    return of.scored(predict(fit, table, seed=seed, only=of.site), table)


def lent_draws(fit: AbstractFit, most: int | None) -> tuple[int, list[tuple[Fit, np.ndarray]]]:
    """Return which draws are used, and the member of the fit that supplies each.

    Parameters
    ----------
    fit : Fit or Average
    most : int, optional
        Largest number of draws to use; draws are thinned evenly within chains.

    Returns
    -------
    thin : int
        Every how many draws of a chain one is used.
    lent : list of (Fit, ndarray of bool, shape (chain·draw,))
        Each member with a mask of its draws.
    """
    chains, length = fit.shape
    thin = max(1, -(-chains * length // most)) if most else 1
    return thin, [(member, np.tile(mine, chains)) for member, mine in fit.lenders(np.arange(length)[::thin])]


def merged(pieces: Sequence[tuple[np.ndarray, Array]]) -> np.ndarray:
    """Merge the draws of several models, each at its own positions.

    Parameters
    ----------
    pieces : sequence of (ndarray of bool, Array)
        A mask of the draws of a model, shape (chain·draw,), and its values, shape (draw of the model, …).

    Returns
    -------
    ndarray, shape (chain·draw, …)
    """
    (mine, first), *others = pieces
    if not others:
        return np.asarray(first)
    merged = np.empty((len(mine), *first.shape[1:]))
    for mine, values in pieces:
        merged[mine] = values
    return merged


def design_at(fit: Fit, table: pd.DataFrame, observed: Mapping[str, Any], new: bool = False) -> Design:
    """Return queries as arrays in the anchor units of the fit, with one more family if `new`.

    Parameters
    ----------
    fit : Fit
    table : DataFrame
        Queries.
    observed : mapping
        Observations at the queries, by name.
    new : bool
        Whether to add a family that was not fitted.

    Returns
    -------
    Design

    Raises
    ------
    QueryError
        If a family was not fitted and the model is custom: such a model cannot draw a new family.
    """
    if new and isinstance(fit.spec, CustomModel) and not _draws_families(fit):
        raise QueryError(f"model {fit.spec.name!r} cannot forecast a family that was not fitted",
                         expected=f"one of: {', '.join(fit.families)}",
                         hint='draw what differs between families in a plate "family"')  # fmt: skip
    table = table.assign(flops=flops_of(table)) if fit.spec.based and counts_flops(fit) else table
    return Design.build(
        fit.spec,
        table,
        fit.design_frame,
        anchor={name: np.log(value) for name, value in fit.meta["anchor"].items()},
        observed={name: np.asarray(values, float) for name, values in observed.items()},
        new=NEW if new else None,
    )


def _draws_families(fit: Fit) -> bool:
    """Whether a custom model draws what differs between families in a plate, so that it can draw one more."""
    runs = fit.design_frame
    sites = declared_sites(fit.spec, Design.build(fit.spec, runs, runs))
    own = [site.role for site in sites.values() if site.latent and FAMILY in site.dims]
    return bool(own) and all(role is Role.COORDINATE for role in own)


def fitted_at(fit: Fit, table: pd.DataFrame) -> np.ndarray | None:
    """Return the index of the fitted run that each query names by ``family`` and ``run_id``; -1 if it names none.

    Parameters
    ----------
    fit : Fit
    table : DataFrame
        Queries.

    Returns
    -------
    ndarray of int, shape (query,), optional
        None for a spec of parts, which has no values of single runs.
    """
    if fit.spec.law:
        return None
    runs = fit.design_frame
    if "run_id" not in runs or "run_id" not in table:
        return np.full(len(table), -1)
    known = {key: at for at, key in enumerate(zip(runs["family"], runs["run_id"], strict=True))}
    return np.array([known.get(key, -1) for key in zip(table["family"], table["run_id"], strict=True)], int)


def _value(draws: Mapping[str, Array], at: Array | None, site: dict[str, Any]) -> Array | None:
    """Return the value of a site in one draw.

    In a custom model, a site with values of single runs keeps those of the fitted runs that are named and has fresh
    ones elsewhere. A site with values of families has a fresh one for a new family.
    """
    value = draws.get(site["name"])
    plates = {frame.name for frame in site.get("cond_indep_stack", ())}
    if value is None or at is None or site["is_observed"] or not plates & {RUN, FAMILY}:
        return value
    fresh = site["fn"](rng_key=site["kwargs"]["rng_key"], sample_shape=site["kwargs"]["sample_shape"])
    if RUN in plates:
        return jnp.where(at >= 0, value[..., jnp.maximum(at, 0)], fresh)
    return jnp.concatenate([value, fresh[..., value.shape[-1] :]], axis=-1)


def substitutes(fit: Fit, key: Array, extend: bool, thin: int) -> dict[str, Array]:
    """Return the draws of the latent sites, with coordinates at centering 0, and one more family if `extend`.

    Parameters
    ----------
    fit : Fit
    key : Array
        JAX random key of the new family.
    extend : bool
        Whether to add a family that was not fitted.
    thin : int
        Every how many draws of a chain one is used.

    Returns
    -------
    dict of Array, shape (chain·draw, …)
    """
    flat = {k: v.to_numpy()[:, ::thin] for k, v in fit.posterior.data_vars.items() if k in fit.sampled}
    kept = {k: jnp.asarray(v.reshape(-1, *v.shape[2:])) for k, v in flat.items()}
    if not fit.spec.settings:
        return kept
    lots = lots_of(fit.spec, fit.design_frame)
    placed = fit.spec.places({c: np.log(fit.meta["anchor"][c]) for c in fit.spec.inputs})
    draws: dict[str, Array] = {}
    across = fit.spec.across
    for i, (name, way) in enumerate(fit.ways.items()):
        mine, setting = way.given(name, kept, lots.get(way.name, [])), fit.spec.parameters[name]
        if extend and name not in across:  # a battery has one value for each response, and families share these
            prior, mine_key = setting.prior.placed(placed[name]), jax.random.fold_in(key, i)
            mine |= way.extend(name, prior, setting.spread, mine, mine_key)
        draws |= mine
    if COORDINATES in kept:
        draws[COORDINATES] = own = kept[COORDINATES]
        if extend:
            last = jax.random.fold_in(key, len(fit.spec.settings))
            fresh = jax.random.normal(last, (len(own), 1, own.shape[-1]), own.dtype)
            draws[COORDINATES] = jnp.concatenate([own, fresh], axis=1)
    return draws


@partial(jax.jit, static_argnames=("spec", "only"))
def _predict(
    keys: Array, draws: dict[str, Array], points: Design, at: Array | None, *, spec: Model, only: str | None
) -> dict[str, Array]:
    returned = {LAW, LOG_LOSS, *(location_of(of.name) for of in spec.instances)}

    def one(drawn: tuple[Array, dict[str, Array]]) -> dict[str, Array]:
        model = handlers.substitute(
            handlers.seed(partial(interpret, spec), drawn[0]), substitute_fn=partial(_value, drawn[1], at)
        )
        sites = handlers.trace(model).get_trace(points)
        kept = {name: sites[name]["value"] for name in returned if name in sites}
        for of in spec.instances:
            if (name := location_of(of.name)) not in sites:
                kept[name] = of.scale.located(sites[of.site]["fn"].mean, of.view(points.columns))
        for site in spec.observed:
            if site in points.observed:
                kept[log_density_of(site)] = sites[site]["fn"].log_prob(sites[site]["value"])
            else:
                kept[site] = sites[site]["value"]
        return {only: kept[only]} if only else kept

    return jax.lax.map(
        one,
        (keys, draws),
        batch_size=max(1, min(_CHUNK, _DRAWS_TIMES_QUERIES // max(points.family.shape[0], 1))),
    )
