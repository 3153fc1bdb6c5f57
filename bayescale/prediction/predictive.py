"""Prior, prior predictive and posterior predictive draws at the fitted runs, on demand."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from jax import Array
from numpyro import handlers

from bayescale.core.dims import CHAIN, DRAW, RUN, runs_of, to_datatree
from bayescale.core.errors import QueryError, nearest
from bayescale.core.precision import float64
from bayescale.inference.aot import call, use_cache
from bayescale.inference.average import check_fit
from bayescale.inference.fit import Fit
from bayescale.modelling.design import Design, logged
from bayescale.modelling.interpreter import interpret
from bayescale.modelling.model import Instance, Model
from bayescale.modelling.sites import LAW, LOG_LOSS, location_of, log_density_of
from bayescale.modelling.spec import Spec
from bayescale.parts.schedules import schedule
from bayescale.prediction.predict import design_at, lent_draws, predict, substitutes
from bayescale.runs.columns import FLOPS_PER_PARAM_TOKEN


def predictive(fit: Fit, *, seed: int = 0, prior_draws: int = 500) -> xr.DataTree:
    """Return the fit's DataTree with groups ``prior``, ``prior_predictive`` and ``posterior_predictive``.

    Parameters
    ----------
    fit : Fit
    seed : int
        Random seed of parameters drawn from the prior, and of the noise.
    prior_draws : int
        Number of draws from the prior, in one chain.

    Returns
    -------
    DataTree
        The tree of the fit with three more groups. Where runs have no value of an observed site, the predictive
        groups and ``observed_data`` have the others (dim ``run_of_SITE``), as ``log_likelihood`` has.

    Examples
    --------
    >>> tree = bs.predictive(fit, prior_draws=20)
    >>> dict(tree["prior_predictive"].sizes)
    {'chain': 1, 'draw': 20, 'run': 245}
    """
    check_fit(fit)
    sites = set(fit.spec.observed)
    runs = fit.design_frame
    sizes = fit.tree["posterior"].sizes
    if len(sites) == 1:
        posterior = {name: predict(fit, runs, only=name, seed=seed) for name in sites}
    else:  # one program for all: those of a battery are drawn together
        posterior = predict(fit, runs, seed=seed)
    points = design_at(fit, runs, {})
    with use_cache(), float64():
        keys = jax.random.split(jax.random.key(seed), prior_draws)
        drawn = {k: np.asarray(v)[None] for k, v in from_prior(keys, points, spec=fit.spec.structure).items()}
    seen = {name: np.flatnonzero(runs[name].notna()) for name in sites if runs[name].isna().any()}
    at = {name: seen.get(name, slice(None)) for name in sites}
    groups = {
        "prior": {k: v for k, v in drawn.items() if k in fit.sampled},
        "prior_predictive": {k: drawn[k][..., at[k]] for k in sites},
        "posterior_predictive": {k: posterior[k].reshape(sizes[CHAIN], sizes[DRAW], -1)[..., at[k]] for k in sites},
        "observed_data": {k: runs[k].to_numpy()[at[k]] for k in sites},
    }
    tree = fit.tree.copy()
    of = fit.tree["posterior"].to_dataset()  # a custom model declares no dims: they are those of the draws
    coords = {str(name): of[name].to_numpy() for name in of.coords if name not in (CHAIN, DRAW)}
    dims = {str(name): tuple(map(str, x.dims[2:])) for name, x in of.items()} | dict.fromkeys(sites, (RUN,))
    for name, rows in seen.items():
        dims[name], coords[runs_of(name)] = (runs_of(name),), rows
    made = to_datatree(groups, dims, coords)
    for name, group in made.children.items():
        tree[name] = group.copy()
    return tree


def given_losses(fit: Fit, *, seed: int, most: int | None = None) -> dict[str, np.ndarray]:
    """Return posterior predictive draws at the fitted runs, given the loss that each of them was observed to have.

    What else is measured of a run follows its own loss. Given this loss, the noise of a run is neither in the location
    of a score nor in its draws. A run without an observed loss has its location by the law, and draws with a loss that
    is drawn.

    Parameters
    ----------
    fit : Fit
    seed : int
        Random seed of the noise.
    most : int, optional
        Largest number of draws to use, as in :func:`.predict`.

    Returns
    -------
    dict of ndarray, shape (chain·draw, run)
        ``NAME_location`` of each response, and each observed site; the observed loss where there is one.
    """
    runs, losses = fit.design_frame, [of.site for of in fit.spec.instances if of.is_loss]
    if not losses:
        return dict(predict(fit, runs, seed=seed, most=most))
    given = {losses[0]: runs[losses[0]].to_numpy(float)}  # of several losses, scores follow the first
    thin, ((_, every),) = lent_draws(fit, most)
    with use_cache(), float64():
        keys = jax.random.split(jax.random.key(seed), len(every))
        draws = substitutes(fit, keys[0], extend=False, thin=thin)
        found = call(_given, keys, draws, design_at(fit, runs, {}), given, spec=fit.spec.structure)
    return {name: np.asarray(values) for name, values in found.items()}


@partial(jax.jit, static_argnames=("spec",))
def _given(
    keys: Array, draws: dict[str, Array], points: Design, given: dict[str, Array], *, spec: Model
) -> dict[str, Array]:
    ((loss, seen),) = given.items()
    returned = [name for of in spec.instances for name in (location_of(of.name), of.site)]

    def one(drawn: tuple[Array, dict[str, Array]]) -> dict[str, Array]:
        def value(site: dict[str, Any]) -> Array | None:
            if site["name"] == LOG_LOSS:
                return jnp.where(jnp.isfinite(seen), jnp.log(seen), site["value"])
            if site["name"] == loss:
                return jnp.where(jnp.isfinite(seen), seen, site["fn"](rng_key=site["kwargs"]["rng_key"]))
            return drawn[1].get(site["name"])

        model = handlers.substitute(handlers.seed(partial(interpret, spec), drawn[0]), substitute_fn=value)
        sites = handlers.trace(model).get_trace(points)
        return {name: sites[name]["value"] for name in returned}

    return jax.lax.map(one, (keys, draws), batch_size=_CHUNK)


_CHUNK = 50  # draws evaluated at a time
_USUAL = {"params": 1e9, "tokens": 2e10, "active_params": 1e9, "examples": 1e8, "step": 1e4, "loss": 3.0}
"""A run around which prior curves are drawn, in base units."""
_READ = {"chance": 0.25, "samples": 1e2, "votes": 1e2, "task_minutes": 60.0, "kl": 1.0}
"""What responses read of it; other columns that they require are 1."""
_DECADES = 2.0  # on either side of the usual run
_POINTS = 41


def prior_curve(
    spec: Spec, column: str, *, response: str | None = None, draws: int = 200, seed: int = 0
) -> pd.DataFrame:
    """Return the prior of the loss along one column, relative to the loss of a usual run, or that of a response.

    The usual run has 1B params and 20B unique tokens, and the defaults of the columns that parts of the spec declare.
    With two modalities, it is of both. Benchmarks have four choices, 100 samples or votes, tasks of an hour, and a KL
    of 1 nat.

    Parameters
    ----------
    spec : Spec
    column : str
        A column that the spec reads. One that a part declares spans its plausible range, another two decades on either
        side of the usual run.
    response : str, optional
        Name of the response; by default the loss by the law.
    draws : int
        Number of draws from the prior.
    seed : int
        Random seed.

    Returns
    -------
    DataFrame
        The column, in base units, and ``q05``, ``q25``, ``q50``, ``q75``, ``q95``: quantiles over draws of
        the loss by the law, divided by that of the usual run; of a response, quantiles of what is expected, for counts
        as a share of items.

    Raises
    ------
    QueryError
        If the spec does not read the column, has no such response, or reads text that no usual run has.

    Examples
    --------
    >>> curve = prior_curve(bs.load_spec("additive"), "params")
    >>> bool(curve["q50"].is_monotonic_decreasing)
    True
    """
    if column not in (along := swept(spec, response)):
        raise QueryError(f"spec {spec.name!r} does not read {column!r}", expected=f"one of: {', '.join(along)}")
    if unknown := [name for one in spec.penalizing for name in one.labels if name not in one.texts]:
        raise QueryError(f"spec {spec.name!r} reads text, of which there is no usual value",
                         got=", ".join(unknown))  # fmt: skip
    table, usual = _around(spec, column)
    anchor = dict(zip(spec.inputs, map(np.asarray, spec.logs(usual, spec.inputs)[0]), strict=True))
    points = Design.build(spec, table, usual, anchor=anchor | {"loss": np.log(_USUAL["loss"])})
    with use_cache(), float64():
        keys = jax.random.split(jax.random.key(seed), draws)
        site = location_of(response) if response else LAW
        drawn = np.asarray(from_prior(keys, points, spec=spec.structure, only=site)[site])
    if response:
        of = _response(spec, response)
        items = {name: np.ones(len(table)) for name in of.requires}  # of one item: a count is a share
        values = np.asarray(of.scale.expected(drawn, items))[:, :-1]
    else:
        values = np.exp(drawn[:, :-1] - drawn[:, -1:])  # the last row is the usual run
    levels = {f"q{q:02d}": q / 100 for q in (5, 25, 50, 75, 95)}
    found = {name: np.quantile(values, q, axis=0) for name, q in levels.items()}
    return pd.DataFrame({column: table[column].to_numpy(float)[:-1], **found})


def swept(spec: Spec, response: str | None = None) -> list[str]:
    """Return the columns along which the prior of a spec can be drawn.

    Parameters
    ----------
    spec : Spec
    response : str, optional
        By default the loss by the law.

    Returns
    -------
    list of str
        What a response reads itself, such as the number of samples; then what the law, resources and penalties read.
    """
    read = [name for name in spec.columns if name in logged(spec) and name not in {*spec.observed, *_derived(spec)}]
    own = _response(spec, response).requires if response else {}
    return [of for name, of in own.items() if name in _READ and name != "chance"] + read


def _response(spec: Spec, name: str) -> Instance:
    found = {one.name: one for one in spec.instances}
    if name not in found:
        raise QueryError(
            f"spec {spec.name!r} has no response {name!r}",
            expected=f"one of: {', '.join(found)}",
            hint=nearest(name, found),
        )
    return found[name]


def usual_texts(spec: Spec) -> dict[str, str]:
    """Return the values of columns of text in a usual run: the last of the values that a penalty names, if one does.

    Parameters
    ----------
    spec : Spec

    Returns
    -------
    dict of str
    """
    named = {name: values[-1] for one in spec.penalizing for name, values in one.texts.items()}
    return dict.fromkeys(spec.labels, "usual") | named


def _derived(spec: Spec) -> set[str]:
    """Return the columns that penalties find from others: those that they declare and do not require."""
    return {name for one in spec.penalizing for name in one.columns if name not in one.requires}


def _around(spec: Spec, column: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return rows along a column with the usual run at the end, and the usual run alone."""
    usual = (
        _USUAL | {name: of.default for name, of in spec.declared.items()} | dict.fromkeys(dict(spec.covariates), 0.0)
    )
    usual |= {"flops": FLOPS_PER_PARAM_TOKEN * usual["params"] * usual["tokens"], "unique_tokens": usual["tokens"]}
    usual |= {of: _READ.get(name, 1.0) for one in spec.instances for name, of in one.requires.items()}
    frame = pd.DataFrame({**usual, **usual_texts(spec), "family": "usual"}, index=range(_POINTS + 1))
    frame[column] = [*_along(spec, column, usual[column]), usual[column]]
    given = frame.drop(columns=list(_derived(spec)), errors="ignore")
    for penalty in spec.penalizing:
        given = penalty.filled(given)
    frame = frame.assign(**{name: given[name] for name in _derived(spec)})
    return frame, frame[-1:]


def _along(spec: Spec, column: str, usual: float) -> np.ndarray:
    """Return values of a column, even in its log: over its plausible range, or on both sides of the usual value."""
    if of := spec.declared.get(column):
        return of.spanned(_POINTS)
    scheduled = usual_texts(spec).get("schedule") if column == "step" else None
    most = schedule(scheduled).steps if scheduled else usual
    # No run has more unique tokens than tokens, or more steps than its schedule.
    above = 0.0 if scheduled or column == "unique_tokens" else _DECADES
    return most * np.logspace(-_DECADES, above, _POINTS)


@partial(jax.jit, static_argnames=("spec", "only"))
def from_prior(keys: Array, points: Design, *, spec: Model, only: str | None = None) -> dict[str, Array]:
    """Draw every site of a spec at some points from the prior, once per key.

    The observations of each response are drawn too, with their ``NAME_log_density`` under the same parameters.

    Parameters
    ----------
    keys : Array, shape (draw,)
        Random keys.
    points : Design
    spec : Spec
    only : str, optional
        The one site to return. What it does not need is not compiled: drawing counts compiles slowly.

    Returns
    -------
    dict of Array
        Draws by site; the leading dim is the key.
    """

    def one(key: Array) -> dict[str, Array]:
        trace = handlers.trace(handlers.seed(partial(interpret, spec), key)).get_trace(points)
        if only:
            return {only: trace[only]["value"]}
        values = {name: site["value"] for name, site in trace.items() if site["type"] != "plate"}
        return values | {
            log_density_of(name): trace[name]["fn"].log_prob(trace[name]["value"]) for name in spec.observed
        }

    return jax.lax.map(one, keys)
