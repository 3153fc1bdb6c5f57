"""Forecast: coherent posterior predictive draws at queries, and how far the queries reach."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.arguments import check_seed
from bayescale.core.dims import CHAIN, DRAW, KINDS, MADE, PROVISIONAL, QUANTILES, QUERY, VERDICT
from bayescale.core.errors import QueryError
from bayescale.core.rich import rich
from bayescale.core.verdict import Verdict
from bayescale.inference.average import AbstractFit, check_fit
from bayescale.modelling.sites import location_of
from bayescale.parts.noise.count import ROUNDING
from bayescale.parts.scales import SCALES
from bayescale.prediction.extrapolation import reach
from bayescale.prediction.predict import predict
from bayescale.prediction.queries import NEW, queries_of
from bayescale.prediction.records import Record, measured, record_of, sentences

_TAIL = 0.001  # share of each tail that mean and SD leave out
MOST_ANSWERS = 20_000_000
"""Largest number of queries × draws of a forecast. Each takes some 50 bytes, 1 GB in all."""

_LARGEST = 1e150  # squares of larger draws, in an SD, are not finite


@dataclass(frozen=True, eq=False)
class Forecast:
    """Posterior predictive draws at queries, with how far these reach beyond the runs.

    Attributes
    ----------
    queries : DataFrame
        One query per row: family, inputs, ``reach_decades``, ``distance``, the class of ``extrapolation``, and what
        backtests of the model measured at that reach. ``covered_90`` is the share of ``backtests`` forecasts, from
        ``backtest_families`` families, whose 90% interval contained the loss; NaN and 0 if there were none.
    draws : xarray.Dataset
        Dims ``chain draw query``: ``epred`` (the expected curve: the law with the errors that runs share, without
        noise) and ``predictive`` (a run, with noise), in the unit of the response. Each draw is one law, so that
        differences between queries within a draw are coherent.
    response, unit : str
        What is forecast, and its unit.
    verdict : Verdict
        Convergence of the fit. Without convergence, all numbers are provisional.
    record : Record, optional
        Backtests of the model, if there is a record of any.
    """

    queries: pd.DataFrame
    draws: xr.Dataset
    response: str
    unit: str
    verdict: Verdict
    record: Record | None = None

    @property
    def summary(self) -> pd.DataFrame:
        """Queries with mean, SD and quantiles of ``predictive`` (no prefix) and of ``epred`` (``epred_…``).

        Mean and SD leave out 0.1% of each tail, because the loss under heavy-tailed noise on log loss has no mean.
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
        """The summary with the ``verdict`` of the fit in every row, and ``provisional`` if it has not converged."""
        table = self.summary.assign(**{VERDICT: str(self.verdict)})
        return table if self.verdict.ok else table.assign(**{PROVISIONAL: True})

    @property
    def evidence(self) -> list[str]:
        """Coverage of the 90% interval in backtests, one sentence for each class and bin of the queries.

        It is empty if the chains have not converged. A note names backtests that another engine than that of this
        version made.
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
        return rich(repr(self), [("", self.summary if self.verdict.ok else self.table)])


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
    """Forecast the response at other params, tokens and families.

    Parameters
    ----------
    fit : Fit or Average
        The posterior.
    queries : DataFrame, optional
        One query per row, with the columns that the spec reads and, optionally, ``family``.
    family : str, optional
        Family of queries without one. ``"new"`` is a family that was not fitted. It is drawn from the population
        under partial pooling, and from the prior without pooling. By default it is the fitted family, or ``"new"`` if
        there are several.
    response : str, optional
        Name of the response; by default the first one of the spec.
    seed : int
        Random seed of the noise and of new families.
    record : Record or path, optional
        Backtests of the model, which give the coverage of its intervals at the reach of the queries. By default it is
        the built-in record with the digest of the spec.
    **columns
        Columns of the queries, as numbers or sequences; ``"70B"`` is accepted.

    Returns
    -------
    Forecast

    Raises
    ------
    QueryError
        If a column is missing, unknown or out of range, a family or response is unknown, the record is of another
        model, there are more queries than fit into memory, or the fit gives no finite forecast.

    Examples
    --------
    >>> median = bs.forecast(fit, params="70B", tokens="1.4T").summary["q50"]
    >>> round(float(median.iloc[0]), 2)
    1.97
    """
    check_fit(fit)
    check_seed(seed, QueryError)
    kept = record_of([member.spec for member in fit.members.values()], record)
    table = queries_of(fit, queries, family, columns, MADE)
    _check_size(len(table), math.prod(fit.shape))
    chosen = fit.response(response)
    sites = predict(fit, table, seed=seed)
    needed = {name: table[of].to_numpy(float) for name, of in chosen.requires.items() if of in table}
    located = sites[location_of(chosen.name)]
    if chosen.scale is SCALES["count"]:
        _check_shares(chosen.name, located)
    epred = chosen.scale.expected(located, needed)
    dims = (CHAIN, DRAW, QUERY)
    shape = (*fit.shape, len(table))
    draws = xr.Dataset(
        {
            "epred": (dims, epred.reshape(shape)),
            "predictive": (dims, sites[chosen.site].reshape(shape)),
        },
        coords={QUERY: np.arange(len(table))},
        attrs={VERDICT: str(fit.verdict), "unit": chosen.response.unit},
    )
    _check_finite(draws)
    about = measured(reach(fit, table), kept if chosen.name == "loss" else None, (table["family"] == NEW).to_numpy())
    return Forecast(about, draws, chosen.name, chosen.response.unit, fit.verdict, kept)


def _check_size(queries: int, draws: int) -> None:
    if queries * draws > MOST_ANSWERS:
        raise QueryError(f"{queries:,} queries of {draws:,} draws each do not fit into memory",
                         expected=f"at most {MOST_ANSWERS // draws:,} queries of this fit at a time",
                         hint="split the table: with one seed, every part has the same laws")  # fmt: skip


def _check_shares(name: str, located: np.ndarray) -> None:
    """Refuse shares of items that are no probabilities, which a response of a user's own may give."""
    bad = ~((located >= -ROUNDING) & (located <= 1 + ROUNDING)).all(axis=0)
    if bad.any():
        raise QueryError(
            f"response {name!r} gives no probability",
            expected="a share of items from 0 to 1 in every draw",
            got=f"{located[:, bad].min():g} to {located[:, bad].max():g} at query {int(bad.argmax())}",
            hint="ask for a run nearer to the fitted ones, or bound the response, for example by a sigmoid",
        )


def _check_finite(draws: xr.Dataset) -> None:
    """Refuse draws without finite quantiles, mean and SD: NaN, or too many numbers that are no loss of any run."""
    for kind, values in draws.data_vars.items():
        x = values.to_numpy().reshape(-1, values.sizes[QUERY])
        bad = np.isnan(x).any(axis=0) | ((np.abs(x) > _LARGEST).mean(axis=0) > _TAIL)
        if bad.any():
            raise QueryError(
                "the fit gives no finite forecast",
                expected=f"draws below {_LARGEST:g}",
                got=f"{kind} from {x[:, bad].min():g} to {x[:, bad].max():g} at query {int(bad.argmax())}",
                hint="ask for a run nearer to the fitted ones, or check the fit: bayescale check FIT.nc",
            )
