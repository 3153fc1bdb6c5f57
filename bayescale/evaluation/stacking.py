"""Stacking: weights of several models from forecasts beyond each family's smaller runs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from bayescale.core.errors import ConvergenceWarning, QueryError, RunsError, SpecError, nearest
from bayescale.core.progress import Stages, on_terminal
from bayescale.core.verdict import Verdict
from bayescale.evaluation.backtest import (
    Backtest,
    Forecasts,
    Scored,
    about,
    fit_tasks,
    forecasts_of,
    gather,
    log_score_cut,
    plan,
    rows_of,
    scorable,
    score_cut,
    tasks_of,
)
from bayescale.inference.average import AbstractFit, Average, average
from bayescale.inference.batch import FitOptions, fit_once
from bayescale.inference.weights import Weights, weigh
from bayescale.modelling.design import conformed, design
from bayescale.modelling.grouping import together
from bayescale.modelling.model import Instance, Model, common_response
from bayescale.modelling.spec_io import load_spec
from bayescale.prediction.records import HORIZONS, horizon_of
from bayescale.runs.readers import load_runs
from bayescale.runs.splits import BEYOND, TRAIN_QUANTILE, Cut, Options, cut
from bayescale.runs.table import Runs

CUTS = (0.7, 0.5, 0.3)
"""Quantiles of a family's compute up to which runs are fitted; forecasts from each reach different horizons.

The first is the train quantile of a backtest, so its fits have the seeds of that backtest.
"""

_KEY = ["family", "cut", "row"]

type Table = Runs | str | Path | pd.DataFrame
type Models = Mapping[str, Model | str | Path] | Sequence[Model | str | Path]


@dataclass(frozen=True, eq=False)
class LeaveFutureOut:
    """Scores of several models' forecasts of the same runs beyond a cut in compute.

    Attributes
    ----------
    models : tuple of str
    scores : DataFrame
        One forecast of one model per row: ``model``, ``family``, ``cut`` (quantile of compute), ``row`` (position
        of the run in the table), ``reach_decades``, ``horizon`` (bin of that) and ``log_score``: the log of the
        predictive density of the observed log loss.
    left_out : dict
        Families (at a cut) with too few runs, and failed fits, with the reason.
    verdicts : dict of Verdict
        Convergence of the fit behind each model's forecasts, by model, family and cut.
    """

    models: tuple[str, ...]
    scores: pd.DataFrame
    left_out: dict[str, str]
    verdicts: dict[str, Verdict]

    def matched(self, horizon: str | float | None = None) -> pd.DataFrame:
        """Log scores by model, one forecast per row; only forecasts that every model made.

        Parameters
        ----------
        horizon : str or float, optional
            Keep forecasts in this bin of :data:`bayescale.prediction.records.HORIZONS`, by name or by a number in it
            (a multiple of the largest fitted compute); by default, all.

        Returns
        -------
        DataFrame
            Columns ``family cut row horizon``, and one column per model.
        """
        wide = self.scores.pivot(index=[*_KEY, "horizon"], columns="model", values="log_score")
        wide = wide.reindex(columns=list(self.models)).dropna().reset_index()
        return wide if horizon is None else wide[wide["horizon"] == _bin(horizon)]

    def weights(self, horizon: str | float | None = None, without: str | None = None) -> Weights:
        """Stacking weights of the models, from the log scores of forecasts that all models made.

        Parameters
        ----------
        horizon : str or float, optional
            As in :meth:`matched`; by default, every forecast counts.
        without : str, optional
            A family whose forecasts are left out.

        Returns
        -------
        Weights
            Their sentence describes the forecasts behind them.
        """
        table = self.matched(horizon)
        table = table[table["family"] != without]
        blocks = [f"{at:g} {beyond}" for at, beyond in zip(table["cut"], table["horizon"], strict=True)]
        found = weigh(table[list(self.models)].to_numpy(float), table["family"].to_numpy(str), self.models, blocks)
        cuts = ", ".join(f"{quantile:.0%}" for quantile in sorted(table["cut"].unique()))
        where = f"; forecasts from runs up to these quantiles of a family's compute: {cuts}" if cuts else ""
        where += "" if horizon is None else f"; only forecasts at the horizon {_bin(horizon)}"
        bad = sum(not verdict.ok for verdict in self.verdicts.values())
        doubt = f"; {bad} of the {len(self.verdicts)} fits behind them have not converged" if bad else ""
        return replace(found, sentence=found.sentence + where + doubt)


def leave_future_out(
    runs: Table,
    specs: Models,
    *,
    cuts: Sequence[float] = CUTS,
    beyond: float = BEYOND,
    family: str | None = None,
    response: str | None = None,
    seed: int = 0,
    chains: int = 4,
    warmup: int | None = None,
    draws: int = 1000,
    device: str = "auto",
    progress: bool | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    folder: str | Path | None = None,
) -> LeaveFutureOut:
    """Fit each model below several cuts of each family's compute, and score its forecasts beyond.

    A run beyond several cuts is forecast from each. A model's forecasts are those of its own backtest and do not depend
    on the other models: without pooling, each family is fitted alone. Priors that were learned on a family are learned
    again without it.

    Parameters
    ----------
    runs : Runs, or what :func:`load_runs` takes
    specs : mapping of str to spec, or sequence of specs
        Models by name, with a response in common.
    cuts : sequence of float
        Quantiles of a family's compute.
    beyond : float
        Score runs above this multiple of the largest fitted compute.
    family : str, optional
        Score this family only, as in :func:`backtest`.
    response : str, optional
        Score this response; by default the loss, or the first model's first response if it has no loss.
    seed, chains, warmup, draws, device, progress, workers, scheduler, folder
        As in :func:`fit_many`.

    Returns
    -------
    LeaveFutureOut
        Without scores if no family has enough runs.

    References
    ----------
    Bürkner, Gabry, Vehtari 2020, arXiv:1902.06281 (leave-future-out).

    Examples
    --------
    >>> scores = leave_future_out("hoffmann2022", ["additive", "coupled"])  # doctest: +SKIP
    >>> scores.weights(horizon=30.0)  # doctest: +SKIP
    """
    runs, models = _resolved(runs, specs)
    at = Cuts.of(runs, cuts, beyond, family, common_response(models.values(), response))
    how = FitOptions(chains, warmup, draws, device, workers, scheduler, folder)
    found = {}
    for model, spec in models.items() if at.scored else ():
        found[model] = at.forecasts(runs, spec, how.within(model), seed=seed, progress=progress)
    return at.joined(found or dict.fromkeys(models, Forecasts([], {}, {})))


@dataclass(frozen=True, eq=False)
class Cuts:
    """Cuts of families at several quantiles of compute: models are fitted below them and forecast beyond.

    Attributes
    ----------
    quantiles : dict of float
        Quantile of each label of cuts.
    every, scored : tuple of Cut
        Cuts of all families, which pooled models are fitted to; and the cuts whose forecasts are scored.
    left_out : dict
        Families (at a cut) with too few runs, with the reason.
    response : str
        The response that is scored.
    """

    quantiles: dict[str, float]
    every: tuple[Cut, ...]
    scored: tuple[Cut, ...]
    left_out: dict[str, str]
    response: str

    @classmethod
    def of(cls, runs: Runs, quantiles: Sequence[float], beyond: float, family: str | None, scored: Instance) -> Cuts:
        """Cut every family at each quantile; score all of them, or one."""
        if not quantiles or not all(0 < q < 1 for q in quantiles):
            raise QueryError("cuts out of range", expected="numbers between 0 and 1", got=str(list(quantiles)))
        if family is not None and family not in runs.families:
            raise QueryError(f"no family {family!r} in {runs.name!r}", hint=nearest(family, runs.families))
        every: list[Cut] = []
        left_out: dict[str, str] = {}
        labels = {f"up to {q:g}": q for q in quantiles}
        for label, quantile in labels.items():
            found, lacking = scorable(*cut(runs, options=Options(quantile, None, beyond)), runs, scored.site)
            every += [one._replace(label=label) for one in found]
            left_out |= {f"{name} {label}": why for name, why in lacking.items() if family in (None, name)}
        return cls(labels, tuple(every), tuple(one for one in every if family in (None, one.family)), left_out,
                   scored.name)  # fmt: skip

    def forecasts(
        self, runs: Runs, spec: Model, how: FitOptions, *, seed: int, progress: bool | None, backtested: float = np.nan
    ) -> Forecasts:
        """Fit a model below the cuts and score its forecasts beyond; with every score at the backtested quantile."""

        def score(fit: AbstractFit, runs: Runs, one: Cut) -> pd.DataFrame:
            by = score_cut if self.quantiles[one.label] == backtested else log_score_cut
            return by(fit, runs, one, self.response)

        tasks = tasks_of(runs, [spec], self.every, self.scored)
        return forecasts_of(runs, spec, tasks, how, score, seed=seed, progress=progress)

    def joined(self, found: Mapping[str, Forecasts], quantiles: Sequence[float] | None = None) -> LeaveFutureOut:
        """Join forecasts of several models into one table, from every cut or from the cuts at some quantiles."""
        kept = [label for label, quantile in self.quantiles.items() if quantiles is None or quantile in quantiles]
        tests = [(model, one) for model, of in found.items() for one in of.tests if one.cut.label in kept]
        lacking = {f"{model}, {label}": why for model, of in found.items() for label, why in of.left_out.items()}
        scores = pd.concat([self._table(*test) for test in tests], ignore_index=True) if tests else _nothing()
        verdicts = {f"{model}, {one.cut.name}": one.verdict for model, one in tests}
        return LeaveFutureOut(tuple(found), scores, self.left_out | lacking, verdicts)

    def backtest(self, runs: Runs, spec: Model, found: Forecasts, options: Options, seed: int) -> Backtest:
        """Make the backtest at the train quantile, whose forecasts have every score.

        Raises
        ------
        RunsError
            If no family has enough runs at it.
        """
        label = next(name for name, quantile in self.quantiles.items() if quantile == options.train_quantile)
        tests = [
            Scored(one.cut._replace(label=""), one.scores.assign(cut=""), one.verdict)
            for one in found.tests
            if one.cut.label == label
        ]
        others = tuple(f" {name}" for name in self.quantiles if name != label)
        left_out = {
            name.removesuffix(f" {label}"): why
            for name, why in (self.left_out | found.left_out).items()
            if not name.endswith(others)
        }
        if not tests:
            raise RunsError(
                f"no family of {runs.name!r} can be backtested",
                got="; ".join(f"{name}: {why}" for name, why in left_out.items()),
                hint="move the train quantile, or add runs",
            )
        meta = about(runs, "quantile", options, seed, found.versions, spec)
        return gather(tests, left_out, meta | ({"response": self.response} if self.response != "loss" else {}))

    def _table(self, model: str, one: Scored) -> pd.DataFrame:
        reach = one.scores["reach_decades"]
        return pd.DataFrame({"model": model, "family": one.cut.family, "cut": self.quantiles[one.cut.label],
                             "row": np.flatnonzero(one.cut.test), "reach_decades": reach, "horizon": horizon_of(reach),
                             "log_score": one.scores["log_score"]})  # fmt: skip


def stack(
    runs: Table,
    specs: Models,
    *,
    seed: int = 0,
    horizon: str | float | None = None,
    cuts: Sequence[float] = CUTS,
    response: str | None = None,
    chains: int = 4,
    warmup: int | None = None,
    draws: int = 1000,
    device: str = "auto",
    progress: bool | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    folder: str | Path | None = None,
    stages: Stages | None = None,
) -> Average:
    """Fit several models and average them, weighted by how well each forecasts larger runs from smaller ones.

    Parameters
    ----------
    runs, specs, cuts, response
        As in :func:`leave_future_out`.
    seed : int
        Seed of every model's fit, and of the fits behind the weights.
    horizon : str or float, optional
        Use only forecasts at this horizon, as in :meth:`LeaveFutureOut.matched`; by default, all.
    chains, warmup, draws, device, progress, stages
        As in :func:`fit`, for every fit.
    workers, scheduler
        As in :func:`fit_many`, for the fits behind the weights.
    folder : path, optional
        Folder that keeps every finished fit, as in :func:`fit_many`.

    Returns
    -------
    Average
        The weights, with standard errors, are in ``average.weights``. They are equal if fewer than twenty forecasts
        could be scored.

    Warns
    -----
    ConvergenceWarning
        If a member's fit, or a fit behind the weights, has not converged.

    Examples
    --------
    >>> both = stack("hoffmann2022", ["additive", "coupled"], seed=0)  # doctest: +SKIP
    >>> decide(Allocation(flops=1e24), both)  # doctest: +SKIP
    """
    runs, models = _resolved(runs, specs)
    if horizon is not None:
        _bin(horizon)
    for spec in models.values():
        design(spec, runs)  # refuse a model that these runs cannot identify before any fit
    stages = stages or Stages(show=on_terminal() if progress is None else progress)
    with stages("leave-future-out"):
        scores = leave_future_out(
            runs, models, cuts=cuts, response=response, seed=seed, chains=chains, warmup=warmup, draws=draws,
            device=device, progress=progress, workers=workers, scheduler=scheduler, folder=folder,
        )  # fmt: skip
    fits = {}
    for name, spec in models.items():
        own = Stages(show=stages.show)
        task = {"runs": runs, "spec": spec, "seed": seed, "chains": chains, "warmup": warmup, "draws": draws,
                "device": device, "stages": own}  # fmt: skip
        with own.shown():
            fits[name] = fit_once(name, task, None if folder is None else Path(folder, "all runs"))
        for stage, seconds in own.seconds.items():
            stages.seconds[stage] = stages.seconds.get(stage, 0.0) + seconds
    result = average(fits, scores.weights(horizon))
    if not result.converged:
        warnings.warn(f"{result.verdict}; raise warmup and draws, or see check()", ConvergenceWarning, 2)
    return result


def backtest_average(
    runs: Table,
    specs: Models,
    *,
    way: str = "quantile",
    train_quantile: float = TRAIN_QUANTILE,
    smallest: int | None = None,
    beyond: float = BEYOND,
    family: str | None = None,
    response: str | None = None,
    horizon: str | float | None = None,
    cuts: Sequence[float] = CUTS,
    seed: int = 0,
    chains: int = 4,
    warmup: int | None = None,
    draws: int = 1000,
    device: str = "auto",
    progress: bool | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    folder: str | Path | None = None,
    each: Callable[[pd.DataFrame], object] | None = None,
) -> Backtest:
    """Backtest the stacked average of several models, with weights that do not use the scored runs.

    Without pooling, a family's weights are learned from forecasts of the other families' runs. If a model is pooled, or
    there is only one family, they are learned from the fitted runs, by cuts within these.

    Parameters
    ----------
    runs, specs, horizon, cuts
        As in :func:`stack`.
    way, train_quantile, smallest, beyond, family, response, each
        As in :func:`backtest`.
    seed, chains, warmup, draws, device, progress, workers, scheduler, folder
        As in :func:`fit_many`.

    Returns
    -------
    Backtest
        With ``weights`` by family, or by cut.
    """
    runs, models = _resolved(runs, specs)
    alone = all(len(lot) == 1 for lot in together([*models.values()], runs.frame).values())
    options = Options(train_quantile, smallest, beyond)
    how = FitOptions(chains, warmup, draws, device, workers, scheduler, folder)
    of = common_response(models.values(), response)
    tasks, left_out = plan(runs, [*models.values()], way, options, family, of.site)
    batches = {
        name: fit_tasks(runs, spec, tasks, how.within(name), seed=seed, progress=progress)
        for name, spec in models.items()
    }
    for name, batch in batches.items():
        left_out |= {label: f"{name}: {error}" for label, error in batch.failed.items()}

    def scored(seen: Runs, *within: str) -> LeaveFutureOut:
        kept = vars(how.within("leave-future-out", *within))
        return leave_future_out(seen, models, cuts=cuts, response=of.name, seed=seed, progress=progress, **kept)

    others = scored(runs) if alone and len(runs.families) > 1 else None
    stages = Stages(show=on_terminal() if progress is None else progress)
    tests, weights = [], {}
    versions: dict[str, str] = {}
    for label, task in tasks.items():
        members = {name: batch.fits[label] for name, batch in batches.items() if label in batch.fits}
        if len(members) < len(models):
            continue
        scores = others or scored(runs.take(task.train), label)
        versions = next(iter(members.values())).meta["versions"]
        with stages.shown(), stages("weighting", len(task.cuts)) as advance:
            for one in task.cuts:
                weights[one.name] = scores.weights(horizon, without=one.family if others else None)
                mixed = average(members, weights[one.name])
                tests.append(Scored(one, score_cut(mixed, runs, one, of.name), mixed.verdict))
                advance()
        if each is not None:
            each(rows_of(tests[-len(task.cuts) :]))
    if not tests:
        raise RunsError("no family could be fitted", got="; ".join(f"{k}: {v}" for k, v in left_out.items()))
    meta = {"spec": mixed.name} | about(runs, way, options, seed, versions)
    meta |= {"response": of.name} if of.name != "loss" else {}
    return gather(tests, left_out, meta, weights)


def _resolved(runs: Table, specs: Models) -> tuple[Runs, dict[str, Model]]:
    """Load the runs, and the models by name."""
    if isinstance(specs, Mapping):
        models = {str(name): spec if isinstance(spec, Model) else load_spec(spec) for name, spec in specs.items()}
    else:
        loaded = [spec if isinstance(spec, Model) else load_spec(spec) for spec in specs]
        models = {spec.name: spec for spec in loaded}
        if len(models) < len(loaded):
            raise SpecError("two models have one name", got=", ".join(spec.name for spec in loaded),
                            hint="name each model once, or give a mapping of names")  # fmt: skip
    if not models:
        raise SpecError("there is no model to average", expected="at least one spec", got="none")
    runs = runs if isinstance(runs, Runs) else load_runs(runs)
    for spec in models.values():
        runs = conformed(spec, runs)
    return runs, models


def _bin(horizon: str | float) -> str:
    """Return the name of the bin of :data:`HORIZONS` that holds a horizon."""
    if horizon in HORIZONS:
        return str(horizon)
    if not isinstance(horizon, str) and horizon > 1:
        return next(name for name, upto in HORIZONS.items() if horizon <= upto)
    raise QueryError("no such horizon", expected="a multiple of the runs' compute above 1, or one of: "
                     + ", ".join(HORIZONS), got=repr(horizon))  # fmt: skip


def _nothing() -> pd.DataFrame:
    columns = ["model", *_KEY, "horizon", "reach_decades", "log_score"]
    texts = ("family", "model", "horizon")
    return pd.DataFrame({name: pd.Series(dtype=object if name in texts else float) for name in columns})
