"""Forecast: coherent posterior-predictive draws at queries, and their reach."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.dims import CHAIN, DRAW, KINDS, MADE, PROVISIONAL, QUANTILES, QUERY, VERDICT
from bayescale.core.errors import QueryError
from bayescale.core.verdict import Verdict
from bayescale.inference.average import AbstractFit
from bayescale.modelling.sites import location_of
from bayescale.parts.catalogue import part
from bayescale.prediction.extrapolation import reach
from bayescale.prediction.predict import predict
from bayescale.prediction.queries import NEW, queries_of
from bayescale.prediction.records import Record, measured, record_of, sentences

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
    record : Record, optional
        Backtests of the model, if there are any.
    """

    queries: pd.DataFrame
    draws: xr.Dataset
    response: str
    unit: str
    verdict: Verdict
    record: Record | None = None

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

        Nothing was measured of intervals from chains that have not converged. Backtests by another engine than this
        version's are named.
        """
        if not self.verdict.ok:
            return []
        measured = bool((self.queries["backtests"] > 0).any())
        return sentences(self.queries) + (self.record.notes if self.record and measured else [])

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
    epred = sites[location_of(chosen.name)]
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
    return Forecast(about, draws, chosen.name, chosen.unit, fit.verdict, kept)
