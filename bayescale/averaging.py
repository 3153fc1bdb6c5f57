"""Averaging: weights of several models from forecasts of what each family's cheaper runs did not show."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from bayescale.backtesting import (
    Backtest,
    about,
    decades,
    fit_tasks,
    gather,
    log_density,
    plan,
    tasks_of,
)
from bayescale.errors import ConvergenceWarning, QueryError, RunsError, SpecError
from bayescale.fitting import sampled
from bayescale.measuring import HORIZONS, horizon_of
from bayescale.mixing import AbstractFit, Average, average
from bayescale.modelling import design
from bayescale.progress import Stages, on_terminal
from bayescale.runs import Runs, load_runs
from bayescale.sorting import together
from bayescale.spec import Spec
from bayescale.specifying import load_spec
from bayescale.splitting import BEYOND, TRAIN_QUANTILE, Cut, Options, cut
from bayescale.stacking import Weights, weigh

CUTS = (0.3, 0.5, 0.7)
"""Quantiles of a family's compute below which runs are fitted: forecasts from each reach other horizons."""

_KEY = ["family", "cut", "row"]
_SAMPLING = {"chains": 4, "warmup": None, "draws": 1000, "device": "auto"}  # as in fit

type Table = Runs | str | Path | pd.DataFrame
type Models = Mapping[str, Spec | str | Path] | Sequence[Spec | str | Path]


@dataclass(frozen=True)
class LeaveFutureOut:
    """Scores of several models' forecasts of the same runs, each beyond a cut.

    Attributes
    ----------
    models : tuple of str
    scores : DataFrame
        One forecast of one model a row: ``model``, ``family``, ``cut`` (quantile of compute), ``row`` (position
        of the run in the table), ``reach_decades``, ``horizon`` (bin of that) and ``log_score``: the log of the
        predictive density of the log loss that came.
    left_out : dict
        Families (at a cut) with too few runs, or a model's fit that failed, and why.
    verdicts : dict
        Convergence of each fit, by model, family and cut.
    """

    models: tuple[str, ...]
    scores: pd.DataFrame
    left_out: dict[str, str]
    verdicts: dict[str, str]

    def matched(self, horizon: str | float | None = None) -> pd.DataFrame:
        """Log scores by model, one forecast a row, where every model made it.

        Parameters
        ----------
        horizon : str or float, optional
            Keep forecasts of this bin of :data:`bayescale.measuring.HORIZONS`, by name or by a number in it
            (times the largest compute that is fitted); by default all.
        """
        wide = self.scores.pivot(index=[*_KEY, "horizon"], columns="model", values="log_score")
        wide = wide.reindex(columns=list(self.models)).dropna().reset_index()
        return wide if horizon is None else wide[wide["horizon"] == _bin(horizon)]

    def weights(self, horizon: str | float | None = None, without: str | None = None) -> Weights:
        """Stacking weights of the models, from forecasts at a horizon; by choice without a family's."""
        table = self.matched(horizon)
        table = table[table["family"] != without]
        blocks = [f"{at:g} {beyond}" for at, beyond in zip(table["cut"], table["horizon"], strict=True)]
        found = weigh(table[list(self.models)].to_numpy(float), table["family"].to_numpy(str), self.models, blocks)
        where = "" if horizon is None else f", {_bin(horizon)} beyond the fitted runs"
        bad = sum(verdict != "converged" for verdict in self.verdicts.values())
        doubt = f"; {bad} of the {len(self.verdicts)} fits behind them have not converged" if bad else ""
        return replace(found, sentence=found.sentence + where + doubt)


def leave_future_out(
    runs: Table,
    specs: Models,
    *,
    cuts: Sequence[float] = CUTS,
    beyond: float = BEYOND,
    seed: int = 0,
    progress: bool | None = None,
    **settings: Any,
) -> LeaveFutureOut:
    """Fit each model below several cuts of each family's compute, and score its forecasts beyond.

    A run beyond several cuts is forecast from each. Without pooling a family is fitted alone, all through one
    compiled program a model; priors that were learnt on a family are learnt again without it.

    Parameters
    ----------
    runs : Runs, or what :func:`load_runs` takes
    specs : mapping of str to spec, or sequence of specs
        Models by name, with a loss response.
    cuts : sequence of float
        Quantiles of a family's compute.
    beyond : float
        Score runs above so many times the largest compute that is fitted.
    seed, progress, **settings
        As in :func:`fit_many`.

    Returns
    -------
    LeaveFutureOut
        Without scores where no family has enough runs.

    References
    ----------
    Bürkner, Gabry, Vehtari 2020, arXiv:1902.06281 (leave-future-out).

    Examples
    --------
    >>> scores = leave_future_out("hoffmann2022", ["additive", "coupled"])  # doctest: +SKIP
    >>> scores.weights(horizon=30.0)  # doctest: +SKIP
    """
    runs, models = _resolved(runs, specs)
    if not cuts or not all(0 < q < 1 for q in cuts):
        raise QueryError("cuts out of range", wanted="numbers between 0 and 1", came=str(list(cuts)))
    found, quantiles, left_out = _cuts(runs, cuts, beyond)
    tasks = tasks_of(runs, [*models.values()], found, found)
    tables: list[pd.DataFrame] = []
    verdicts = {}
    for model, spec in models.items() if tasks else ():
        batch = fit_tasks(runs, spec, tasks, seed=seed, progress=progress, **_within(settings, model))
        if not batch.fits:
            raise next(iter(batch.failed.values()))
        left_out |= {f"{model}, {label}": str(error) for label, error in batch.failed.items()}
        for label, fit in batch.fits.items():
            verdicts[f"{model}, {label}"] = fit.verdict
            tables += [_scored(fit, runs, one, model, quantiles[one.label]) for one in tasks[label].cuts]
    scores = pd.concat(tables, ignore_index=True) if tables else _nothing()
    return LeaveFutureOut(tuple(models), scores, left_out, verdicts)


def _cuts(runs: Runs, quantiles: Sequence[float], beyond: float) -> tuple[list[Cut], dict[str, float], dict[str, str]]:
    """Every family's cut at each quantile, the quantile of each label, and what has too few runs."""
    cuts: list[Cut] = []
    left_out: dict[str, str] = {}
    labels = {f"up to {q:g}": q for q in quantiles}
    for label, quantile in labels.items():
        found, lacking = cut(runs, options=Options(quantile, None, beyond))
        cuts += [one._replace(label=label) for one in found]
        left_out |= {f"{name} {label}": why for name, why in lacking.items()}
    return cuts, labels, left_out


def _scored(fit: AbstractFit, runs: Runs, one: Cut, model: str, quantile: float) -> pd.DataFrame:
    density, reach = log_density(fit, runs.take(one.test)), decades(fit, runs, one)
    score = np.logaddexp.reduce(density, axis=0) - np.log(len(density))
    return pd.DataFrame({"model": model, "family": one.family, "cut": quantile, "row": np.flatnonzero(one.test),
                         "reach_decades": reach, "horizon": horizon_of(reach), "log_score": score})  # fmt: skip


def stack(
    runs: Table,
    specs: Models,
    *,
    seed: int = 0,
    horizon: str | float | None = None,
    cuts: Sequence[float] = CUTS,
    progress: bool | None = None,
    stages: Stages | None = None,
    **settings: Any,
) -> Average:
    """Fit several models, and average them by how well each forecast what its cheaper runs did not show.

    Parameters
    ----------
    runs, specs, cuts
        As in :func:`leave_future_out`.
    seed : int
        Seed of every model's fit, and of the fits behind the weights.
    horizon : str or float, optional
        Weigh forecasts at this horizon alone, as in :meth:`LeaveFutureOut.matched`; by default at all.
    progress, stages
        As in :func:`fit`.
    **settings
        Chains, warmup, draws and device, as in :func:`fit`, for every fit.

    Returns
    -------
    Average
        Its weights, with standard errors, in ``average.weights``; equal where fewer than twenty forecasts
        could be scored.

    Warns
    -----
    ConvergenceWarning
        If a member's chains do not agree yet, or those of a fit behind the weights.

    Examples
    --------
    >>> both = stack("hoffmann2022", ["additive", "coupled"], seed=0)  # doctest: +SKIP
    >>> decide(Allocation(flops=1e24), both)  # doctest: +SKIP
    """
    runs, models = _resolved(runs, specs)
    if horizon is not None:
        _bin(horizon)
    for spec in models.values():
        design(spec, runs)  # a model that these runs cannot have is refused before others are fitted
    stages = stages or Stages(show=on_terminal() if progress is None else progress)
    with stages("leave-future-out"):
        scores = leave_future_out(runs, models, cuts=cuts, seed=seed, progress=progress, **settings)
    fits = {}
    for name, spec in models.items():
        own = Stages(show=stages.show)
        with own.shown():
            fits[name] = sampled(runs, spec, seed=seed, stages=own, **(_SAMPLING | settings))
        for stage, seconds in own.seconds.items():
            stages.seconds[stage] = stages.seconds.get(stage, 0.0) + seconds
    result = average(fits, scores.weights(horizon))
    if not result.converged:
        warnings.warn(f"{result.verdict}; raise warmup and draws, or look at check()", ConvergenceWarning, 2)
    return result


def backtest_average(
    runs: Table,
    specs: Models,
    *,
    way: str = "quantile",
    train_quantile: float = TRAIN_QUANTILE,
    cheapest: int | None = None,
    beyond: float = BEYOND,
    family: str | None = None,
    horizon: str | float | None = None,
    cuts: Sequence[float] = CUTS,
    seed: int = 0,
    progress: bool | None = None,
    **settings: Any,
) -> Backtest:
    """Backtest the stacked average of several models, with weights that know nothing of what is scored.

    Without pooling, a family's weights are learnt from forecasts of all the other families' runs. Where a model
    is pooled, or there is one family only, they are learnt from the runs that are fitted, by cuts within those.

    Parameters
    ----------
    runs, specs, horizon, cuts
        As in :func:`stack`.
    way, train_quantile, cheapest, beyond, family, seed, progress, **settings
        As in :func:`backtest`.

    Returns
    -------
    Backtest
        With ``weights`` by family, or by each cut of it.
    """
    runs, models = _resolved(runs, specs)
    alone = all(len(lot) == 1 for lot in together([*models.values()], runs.frame).values())
    options = Options(train_quantile, cheapest, beyond)
    tasks, left_out = plan(runs, [*models.values()], way, options, family)
    batches = {
        name: fit_tasks(runs, spec, tasks, seed=seed, progress=progress, **_within(settings, name))
        for name, spec in models.items()
    }
    for name, batch in batches.items():
        left_out |= {label: f"{name}: {error}" for label, error in batch.failed.items()}

    def scored(seen: Runs, *folder: str) -> LeaveFutureOut:
        kept = _within(settings, "leave-future-out", *folder)
        return leave_future_out(seen, models, cuts=cuts, seed=seed, progress=progress, **kept)

    others = scored(runs) if alone and len(runs.families) > 1 else None
    fits, weights = [], {}
    for label, task in tasks.items():
        members = {name: batch.fits[label] for name, batch in batches.items() if label in batch.fits}
        if len(members) < len(models):
            continue
        scores = others or scored(runs.take(task.train), label)
        for one in task.cuts:
            weights[one.name] = scores.weights(horizon, without=one.family if others else None)
            fits.append((one, average(members, weights[one.name])))
    if not fits:
        raise RunsError("no family could be fitted", came="; ".join(f"{k}: {v}" for k, v in left_out.items()))
    versions = next(iter(fits[0][1].members.values())).meta["versions"]
    meta = {"spec": fits[0][1].name} | about(runs, way, options, seed, versions)
    return gather(runs, fits, left_out, meta, weights)


def _resolved(runs: Table, specs: Models) -> tuple[Runs, dict[str, Spec]]:
    """Load the runs, and the models by name."""
    if isinstance(specs, Mapping):
        models = {str(name): spec if isinstance(spec, Spec) else load_spec(spec) for name, spec in specs.items()}
    else:
        loaded = [spec if isinstance(spec, Spec) else load_spec(spec) for spec in specs]
        models = {spec.name: spec for spec in loaded}
        if len(models) < len(loaded):
            raise SpecError("two models have one name", came=", ".join(spec.name for spec in loaded),
                            do="name each model once, or give a mapping of names")  # fmt: skip
    if not models:
        raise SpecError("there is no model to average", wanted="at least one spec", came="none")
    for name, spec in models.items():
        if "loss" not in dict(spec.responses):
            raise SpecError(f"spec {name!r} forecasts no loss", do="average specs with a loss response")
    return runs if isinstance(runs, Runs) else load_runs(runs), models


def _within(settings: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Settings with a folder of its own, where fits are kept in one: names of tables recur from model to model."""
    folder = settings.get("folder")
    own = {} if folder is None else {"folder": Path(folder, *(quote(name, safe=" ") for name in names))}
    return {**settings} | own


def _bin(horizon: str | float) -> str:
    """Name of the bin of :data:`HORIZONS` that is meant."""
    if horizon in HORIZONS:
        return str(horizon)
    if not isinstance(horizon, str) and horizon > 1:
        return next(name for name, upto in HORIZONS.items() if horizon <= upto)
    raise QueryError("no such horizon", wanted="a number above 1, of times the compute of the runs, or one of: "
                     + ", ".join(HORIZONS), came=repr(horizon))  # fmt: skip


def _nothing() -> pd.DataFrame:
    columns = [*_KEY, "horizon", "model", "log_score", "reach_decades"]
    texts = ("family", "model", "horizon")
    return pd.DataFrame({name: pd.Series(dtype=object if name in texts else float) for name in columns})
