"""Forecast: coherent posterior-predictive draws at queries, and their reach."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from jax import Array
from numpyro import handlers

from bayescale.compiling import call, use_cache
from bayescale.errors import QueryError
from bayescale.fitting import Fit
from bayescale.law import Rows, part
from bayescale.measuring import CLASSES, FARTHEST, Record, class_of, measured, record_of, sentences
from bayescale.mixing import AbstractFit
from bayescale.modelling import (
    COORDINATES,
    LAW,
    SPENT,
    Design,
    Fitted,
    bases,
    fitted_runs,
    interpret,
    places,
    rows_at,
)
from bayescale.querying import NEW, as_new, flops_of, queries_of
from bayescale.sorting import alike, lots_of, spreads, way_of
from bayescale.spec import Spec
from bayescale.trees import CHAIN, DRAW, KINDS, MADE, PROVISIONAL, QUANTILES, QUERY, VERDICT
from bayescale.verdict import Verdict

_FLAT = 0.03  # e-folds: by which params or tokens that are counted alike may differ
_CHUNK = 50  # draws evaluated at a time: bounds memory at draws × queries of the result itself
_NUMBERS = 2_000_000  # in an array over draws and queries, at most: 16 MB
_TAIL = 0.001  # share cut off each tail for mean and SD


@dataclass(frozen=True, eq=False)
class Forecast:
    """Posterior-predictive draws at queries, with how far they reach beyond the runs.

    Attributes
    ----------
    queries : DataFrame
        One query a row: family, inputs, ``reach_decades``, ``distance``, the class of ``extrapolation``, and what
        backtests of the model measured at that reach: ``covered_90``, the share of ``backtests`` forecasts, of
        ``backtest_families`` families, that the 90 % interval held (NaN and 0 where none were made).
    draws : xarray.Dataset
        Dims ``chain draw query``: ``epred`` (the law's curve, no run noise) and ``predictive`` (a run,
        noise included), in the response's unit. One draw is one law: differences between queries of a
        draw are coherent.
    response, unit : str
        What is forecast, in what unit.
    verdict : Verdict
        Convergence of the fit. If it is bad, all numbers are provisional.
    """

    queries: pd.DataFrame
    draws: xr.Dataset
    response: str
    unit: str
    verdict: Verdict

    @property
    def summary(self) -> pd.DataFrame:
        """Queries with the predictive's mean, SD and quantiles, and the curve's (``epred_…``).

        Mean and SD leave out a thousandth of each tail: heavy-tailed noise on log loss has no mean.
        """
        table = self.queries.copy()
        position = list(table.columns).index("reach_decades")
        for kind, prefix in KINDS.items():
            x = self.draws[kind].to_numpy().reshape(-1, len(table))
            inside = np.quantile(x, [_TAIL, 1 - _TAIL], axis=0, method="inverted_cdf")
            kept = np.where((x >= inside[0]) & (x <= inside[1]), x, np.nan)
            columns = {"mean": np.nanmean(kept, axis=0), "sd": np.nanstd(kept, axis=0)}
            columns |= {name: np.quantile(x, q, axis=0) for name, q in QUANTILES.items()}
            for name, values in columns.items():
                table.insert(position, prefix + name, values)
                position += 1
        return table

    @property
    def table(self) -> pd.DataFrame:
        """The summary with the fit's ``verdict`` in every row, and ``provisional`` where that is bad."""
        table = self.summary.assign(**{VERDICT: str(self.verdict)})
        return table if self.verdict.ok else table.assign(**{PROVISIONAL: True})

    @property
    def evidence(self) -> list[str]:
        """What backtests measured of the 90% interval, a sentence for each class and bin among the queries.

        Nothing was measured of intervals from chains that have not converged.
        """
        return sentences(self.queries) if self.verdict.ok else []

    def __repr__(self) -> str:
        fit = f"fit {self.verdict}" if self.verdict.ok else "provisional"
        said = f"Forecast of {self.response} ({self.unit}) at {len(self.queries)} queries, {fit}"
        return "\n".join(filter(None, [self.verdict.caution, said]))

    def _repr_html_(self) -> str:
        said = "<br>".join(html.escape(repr(self)).splitlines())
        table = self.summary if self.verdict.ok else self.table
        return f"<p>{said}</p>" + table.to_html(index=False, float_format="{:.4g}".format)


def forecast(
    fit: AbstractFit,
    queries: pd.DataFrame | None = None,
    *,
    family: str | None = None,
    response: str | None = None,
    seed: int = 0,
    record: Record | str | Path | None = None,
    **columns: Any,
) -> Forecast:
    """Forecast what was observed at other params, tokens and families.

    Parameters
    ----------
    fit : Fit or Average
        The posterior.
    queries : DataFrame, optional
        One query a row, with the columns that the spec reads and, optionally, ``family``.
    family : str, optional
        Family of queries that name none. ``"new"`` is a family that was not fitted: drawn from the
        population under partial pooling, from the prior without pooling. By default the fitted family,
        or ``"new"`` where there are several.
    response : str, optional
        Which response, by default the spec's first.
    seed : int
        Seed of the noise (and of new families).
    record : Record or path, optional
        Backtests of the model, which say how often its intervals cover at the queries' reach; by default those
        that ship with it, found by the spec's digest.
    **columns
        Columns of the queries, numbers or sequences; ``"70B"`` is read.

    Raises
    ------
    QueryError
        If a column is missing or out of range, a family is unknown, or the record is of another model.

    Examples
    --------
    >>> forecast(fit, params=70e9, tokens="1.4T").summary  # doctest: +SKIP
    """
    kept = record_of([member.spec for member in fit.members.values()], record)
    table = queries_of(fit, queries, family, columns, MADE)
    names = fit.responses
    if response is not None and response not in names:
        raise QueryError(f"the fit has no response {response!r}", wanted=f"one of: {', '.join(names)}")
    chosen = part("responses", response or names[0])
    sites = predict(fit, table, seed=seed)
    epred = sites[f"{chosen.name}_location"]
    if chosen.kind == "log":
        epred = np.exp(epred)
    elif "n_items" in table:
        epred = epred * table["n_items"].to_numpy()
    dims = (CHAIN, DRAW, QUERY)
    shape = (*fit.shape, len(table))
    draws = xr.Dataset(
        {
            "epred": (dims, epred.reshape(shape)),
            "predictive": (dims, sites[chosen.observed].reshape(shape)),
        },
        coords={QUERY: np.arange(len(table))},
        attrs={VERDICT: str(fit.verdict), "unit": chosen.unit},
    )
    about = measured(reach(fit, table), kept if chosen.name == "loss" else None, (table["family"] == NEW).to_numpy())
    return Forecast(about, draws, chosen.name, chosen.unit, fit.verdict)


def predict(
    fit: AbstractFit,
    table: pd.DataFrame,
    *,
    observed: Mapping[str, Any] | None = None,
    seed: int = 0,
    only: str | None = None,
    most: int | None = None,
) -> Any:
    """Run the fit's model at queries, every parameter substituted by its draws.

    Parameters
    ----------
    fit : Fit or Average
        Each draw of an average is run through the model that it is of.
    table : DataFrame
        Queries with `family` and every column that the spec reads.
    observed : mapping, optional
        Observations at the queries; then ``NAME_log_density`` is returned for each, in place of draws.
    seed : int
        Seed of the noise and of new families.
    only : str, optional
        Return this site alone (and compute no other).
    most : int, optional
        Use at most so many draws, evenly thinned within chains.

    Returns
    -------
    dict of ndarray, shape (chain·draw, query)
        ``log_loss``, ``law`` (the same by the law alone, discrepancies left out), each response's
        ``NAME_location``, and each observed site; or one of them.
    """
    use_cache()
    new = (table["family"] == NEW).any() and NEW not in fit.families
    noise_key, family_key = jax.random.split(jax.random.key(seed))
    chains, length = fit.shape
    thin = max(1, -(-chains * length // most)) if most else 1
    lent = [(member, np.tile(mine, chains)) for member, mine in fit.lenders(np.arange(length)[::thin])]
    found = []
    with jax.enable_x64(True):
        keys = jax.random.split(noise_key, len(lent[0][1]))
        for member, mine in lent:
            draws = {k: v[mine] for k, v in _substitutes(member, family_key, new, thin).items()}
            points = design_at(member, table, observed or {}, new)
            found.append(call(_predict, keys[mine], draws, points, spec=member.spec.structure, only=only))
    sites = {name: _merged([(mine, f[name]) for (_, mine), f in zip(lent, found, strict=True)])
             for name in found[0] if all(name in f for f in found)}  # fmt: skip
    return sites[only] if only else sites


def log_draws(fit: AbstractFit, table: pd.DataFrame, *, seed: int) -> np.ndarray:
    """Logs of predictive draws of the loss, shape (chain·draw, query).

    Finite: noise with heavy tails on a log now and then leaves what a loss in float64 can hold.
    """
    floats = np.finfo(float)
    return np.log(np.clip(predict(fit, table, seed=seed, only="loss"), floats.tiny, floats.max))


def _merged(pieces: Sequence[tuple[np.ndarray, Array]]) -> np.ndarray:
    """Draws of several models in their places; shape (chain·draw, …)."""
    (mine, first), *others = pieces
    if not others:
        return np.asarray(first)
    whole = np.empty((len(mine), *first.shape[1:]))
    for mine, values in pieces:
        whole[mine] = values
    return whole


def design_at(fit: Fit, table: pd.DataFrame, observed: Mapping[str, Any], new: bool = False) -> Design:
    """Queries as arrays in the fit's own anchor units, with one more family if `new`."""
    index = {NEW: len(fit.families)} | {name: i for i, name in enumerate(fit.families)}
    count = len(fit.families) + new
    pooled = [n for n, s in fit.spec.settings if s.pooling == "partial"]
    known = [c for c in fit.spec.columns if c in table]
    wanted = {part("responses", name).observed for name, _ in fit.spec.responses}
    family = np.asarray([index[name] for name in table["family"]], dtype=int)
    anchor = {c: np.log(fit.meta["anchor"][c]) for c in fit.spec.inputs}
    lot, lots = _lots(fit, table, new)
    return Design(
        spent={c: np.log(table[c].to_numpy(float)) for c in known if c in SPENT},
        anchor=anchor,
        anchor_loss=np.log(fit.meta["anchor"]["loss"]),
        columns=dict.fromkeys(fit.covariates, np.zeros(len(table)))
        | {c: table[c].to_numpy(float) for c in known if c not in SPENT and c not in wanted},
        observed={k: np.asarray(v, float) for k, v in observed.items()},
        basis=_bases(fit, table, anchor, family) if fit.spec.based else {},
        family=family,
        priors=places(fit.spec, anchor),
        centering={n: np.zeros(count) for n in pooled} if count > 1 else {},
        families=count,
        spreads=spreads(fit.spec),
        lot=lot,
        lots=lots,
    )


def _lots(fit: Fit, table: pd.DataFrame, new: bool) -> tuple[dict[str, np.ndarray], tuple[tuple[str, int], ...]]:
    """Index of each family's lot, and how many there are; a new family's may be one that was fitted."""
    index, counts = {}, []
    for way, keys in lots_of(fit.spec, fit.design_frame).items():
        known = list(dict.fromkeys(keys))
        mine = [known.index(key) for key in keys]
        if new:
            (key,) = lots_of(fit.spec, as_new(fit.spec, table)).get(way, [None])
            mine.append(known.index(key) if key in known else len(known))
        index[way] = np.array(mine)
        counts.append((way, len(known) + new))
    return index, tuple(counts)


def _bases(fit: Fit, table: pd.DataFrame, anchor: dict[str, Any], family: np.ndarray) -> dict[str, np.ndarray]:
    """Basis of each part that has one at queries.

    A new family has no run, but compute up to that of all runs, the median slope, and the law of its like.
    """
    runs = fit.design_frame
    fitted = fitted_runs(fit.spec, runs, anchor)
    middle = float(np.median([one.slope for one in fitted]))
    spans = {law: one.rows.told for law, one in zip(alike(fit.spec, runs), fitted, strict=True)}
    told = max((spans.get(law, 0.0) for law in alike(fit.spec, as_new(fit.spec, table))), default=0.0)
    nowhere = Rows(np.zeros((1, len(anchor))), np.log([runs["flops"].max()]), np.array([""], object), told)
    fitted.append(Fitted(nowhere, middle))
    return bases(fit.spec, rows_at(table.assign(flops=flops_of(table)), anchor), family, fitted)


def reach(fit: AbstractFit, table: pd.DataFrame) -> pd.DataFrame:
    """Add how far each query lies beyond its family's runs (beyond all runs for a new family).

    ``reach_decades`` is log10 of compute over the largest compute that was fitted, 0 inside;
    ``distance`` the Mahalanobis distance of the log inputs from the runs' centre, over the square root
    of the number of inputs: the runs' own is 1 in root mean square; ``extrapolation`` the class of the
    forecast by how far it lies beyond the runs' compute or below it: inside, up to 10×, 10-100×, scenario. A covariate
    beyond those of the family's runs makes a scenario of it, too.
    """
    runs = fit.design_frame
    inputs = list(fit.inputs)
    distance = np.zeros(len(table))
    for family, rows in table.groupby("family").indices.items():
        mine = runs[runs["family"] == family] if family in fit.families else runs
        logs = np.log(mine[inputs].to_numpy())
        # Runs of one size say nothing of how far another is: a few percent stand in for their scatter.
        inverse = np.linalg.inv(np.atleast_2d(np.cov(logs.T, ddof=0)) + _FLAT**2 * np.eye(len(inputs)))
        away = np.log(table[inputs].to_numpy(float)[rows]) - logs.mean(axis=0)
        distance[rows] = np.sqrt(np.einsum("ij,jk,ik->i", away, inverse, away) / len(inputs))
    beyond, below = _decades(fit, table)
    classes = np.where(_other_recipe(fit, table), FARTHEST, class_of(np.maximum(beyond, below)))
    return table.assign(reach_decades=beyond, distance=distance, extrapolation=classes)


def reach_words(fit: AbstractFit, table: pd.DataFrame) -> str:
    """Where the farthest of some queries lie against the compute of their families' runs, in words."""
    beyond, below = (float(x.max()) for x in _decades(fit, table))
    words = [f"up to {beyond:.1f} decades of compute beyond the runs"] * (beyond > 0)
    words += [f"down to {below:.1f} decades of compute below the runs"] * (below > 0)
    other = _other_recipe(fit, table).any()
    scenario = ": a scenario" if other or max(beyond, below) > CLASSES["10-100×"] else ""
    recipe = ", by a recipe beyond those of the runs" if other else ""
    return (" and ".join(words) or "inside the compute of the runs") + recipe + scenario


def _other_recipe(fit: AbstractFit, table: pd.DataFrame) -> np.ndarray:
    """Whether a covariate of each query lies beyond those of its family's runs (of all, for a new family)."""
    runs, found = fit.design_frame, np.zeros(len(table), bool)
    for column in fit.covariates:
        values = table[column].to_numpy(float) if column in table else np.zeros(len(table))
        for family, rows in table.groupby("family").indices.items():
            mine = runs[column][runs["family"] == family] if family in fit.families else runs[column]
            found[rows] |= (values[rows] < mine.min()) | (values[rows] > mine.max())
    return found


def _decades(fit: AbstractFit, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Decades of compute by which each query lies beyond its family's runs, and below them; 0 inside."""
    runs, flops = fit.design_frame, np.log10(flops_of(table).to_numpy())
    spans = {name: np.log10(runs["flops"][runs["family"] == name]) for name in fit.families}
    mine = [spans.get(name, np.log10(runs["flops"])) for name in table["family"]]
    beyond = flops - [span.max() for span in mine]
    below = [span.min() for span in mine] - flops
    return np.maximum(beyond, 0.0), np.maximum(below, 0.0)


def _substitutes(fit: Fit, key: Array, extend: bool, thin: int) -> dict[str, Array]:
    """Draws of the latent sites, coordinates at centering 0; with one more family if `extend`."""
    flat = {k: v.to_numpy()[:, ::thin] for k, v in fit.posterior.data_vars.items() if k in fit.sampled}
    kept = {k: jnp.asarray(v.reshape(-1, *v.shape[2:])) for k, v in flat.items()}
    lots = lots_of(fit.spec, fit.design_frame)
    placed = fit.spec.places({c: np.log(fit.meta["anchor"][c]) for c in fit.spec.inputs})
    draws: dict[str, Array] = {}
    for i, (name, setting) in enumerate(fit.spec.settings):
        way = way_of(setting, len(fit.families), lots)
        mine = way.given(name, kept, lots.get(way.name, []))
        if extend:
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
def _predict(keys: Array, draws: dict[str, Array], points: Design, *, spec: Spec, only: str | None) -> dict[str, Array]:
    def one(drawn: tuple[Array, dict[str, Array]]) -> dict[str, Array]:
        model = handlers.substitute(handlers.seed(partial(interpret, spec), drawn[0]), data=drawn[1])
        sites = handlers.trace(model).get_trace(points)
        kept = {k: s["value"] for k, s in sites.items() if k in ("log_loss", LAW) or k.endswith("_location")}
        for name, _ in spec.responses:
            site = part("responses", name).observed
            if site in points.observed:
                kept[f"{site}_log_density"] = sites[site]["fn"].log_prob(sites[site]["value"])
            else:
                kept[site] = sites[site]["value"]
        return {only: kept[only]} if only else kept

    return jax.lax.map(
        one,
        (keys, draws),
        batch_size=max(1, min(_CHUNK, _NUMBERS // max(points.family.shape[0], 1))),
    )
