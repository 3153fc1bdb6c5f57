"""Backtest: fit on smaller runs, score forecasts of larger ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayescale.core.errors import BayescaleError, FitError, QueryError, RunsError, nearest
from bayescale.core.verdict import Verdict, joined
from bayescale.evaluation.scores import scores
from bayescale.inference.average import AbstractFit
from bayescale.inference.batch import Batch, FitOptions, fit_many
from bayescale.inference.fit import Fit
from bayescale.inference.weights import Weights
from bayescale.modelling.design import conformed
from bayescale.modelling.grouping import is_pooled, shared_families, together
from bayescale.modelling.identifiability import check_covariate
from bayescale.modelling.model import Model
from bayescale.modelling.sites import log_density_of
from bayescale.modelling.spec_io import DEFAULT, load_spec
from bayescale.prediction.predict import predict, scored_draws
from bayescale.prediction.queries import NEW
from bayescale.prediction.records import HORIZONS, Record, engine, horizon_of
from bayescale.runs.columns import SPANS, decades_beyond, size_column
from bayescale.runs.readers import load_again, load_runs
from bayescale.runs.splits import BEYOND, TRAIN_QUANTILE, WAYS, Cut, Options, cut
from bayescale.runs.table import Runs
from bayescale.transfer.evidence_io import recall
from bayescale.transfer.learn import study

SCORES = (
    "reach_decades",
    "coverage_50",
    "coverage_80",
    "coverage_90",
    "width_90",
    "interval_score_90",
    "crps",
    "log_score",
    "are",
    "bias",
)
COVERAGES = tuple(name for name in SCORES if name.startswith("coverage"))


@dataclass(frozen=True, eq=False)
class Backtest:
    """Scores of forecasts beyond the fitted runs, on log loss, by family.

    Attributes
    ----------
    families : DataFrame
        One family per row: ``family n_train n_test`` and the means of :data:`SCORES` over its test runs. If families
        have several cuts, one cut per row, with its ``cut``.
    runs : DataFrame
        One test run per row, with its ``reach_decades``: log10 of its compute over that of the family's largest fitted
        run (of the largest of all, if the family has none); negative inside.
    left_out : dict
        Families with too few runs to fit or to score, or whose fit failed, and the reason.
    verdicts : dict of Verdict
        Convergence of the fit behind each family, or each cut of it.
    meta : dict
        What was backtested: ``spec way options runs runs_digest seed versions engine``, and of one model
        ``spec_digest``.
    weights : dict of Weights
        For an average: the weights of each family or cut, learned without the runs that are scored.
    """

    families: pd.DataFrame
    runs: pd.DataFrame
    left_out: dict[str, str]
    verdicts: dict[str, Verdict]
    meta: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Weights] = field(default_factory=dict)

    @property
    def mean(self) -> dict[str, float]:
        """Mean of the scores over families."""
        by_family = self.families.groupby("family")[list(SCORES)].mean()
        return {name: float(by_family[name].mean()) for name in SCORES}

    @property
    def horizons(self) -> pd.DataFrame:
        """Scores by distance beyond the fitted runs, one bin of :data:`HORIZONS` per row.

        Means over all forecasts in the bin, with the counts ``n_test`` and ``families``. ``coverage_90_se``,
        ``crps_se``, ``bias_se`` and the others are standard errors over families: runs of one family have correlated
        errors, so the families are the sample. NaN if there is one family.
        """
        bins = pd.Categorical(horizon_of(self.runs["reach_decades"]), list(HORIZONS))
        groups = self.runs.groupby(pd.Series(bins, self.runs.index, name="horizon"), observed=True)
        counts = groups["family"].agg(n_test="size", families="nunique")
        errors = pd.DataFrame([_errors(rows) for _, rows in groups], index=counts.index)
        table = counts.join(groups[list(SCORES[1:])].mean()).join(errors)
        return table.reset_index().astype({"horizon": str})

    @property
    def converged(self) -> bool:
        """Whether every fit behind it converged."""
        return self.verdict.ok

    @property
    def verdict(self) -> Verdict:
        """Convergence of all fits behind it."""
        return joined(self.verdicts)

    @property
    def record(self) -> Record:
        """The record that forecasts of the model show: scores by horizon, and their origin.

        Raises
        ------
        QueryError
            For an average, as a record holds the digest of one spec; and for another response than the loss.
        """
        if "response" in self.meta:
            raise QueryError("a record holds forecasts of the loss", got=f"a backtest of {self.meta['response']!r}",
                             hint="backtest the loss")  # fmt: skip
        if "spec_digest" not in self.meta:
            raise QueryError("a record holds one model", got=self.meta.get("spec", ""), hint="backtest each member")
        kept = {name: value for name, value in self.meta.items() if not name.startswith("spec")}
        kept["families"] = sorted(self.families["family"].unique())
        kept["fits"] = len(self.verdicts)
        kept["unconverged"] = sorted(name for name, verdict in self.verdicts.items() if not verdict.ok)
        kept["horizons"] = self.horizons.to_dict("records")
        return Record(self.meta["spec"], self.meta["spec_digest"], (kept,))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON.

        Returns
        -------
        dict
        """
        return {
            "families": self.families.to_dict("records"),
            "mean": self.mean,
            "horizons": self.horizons.to_dict("records"),
            "left_out": self.left_out,
            "verdicts": {name: str(verdict) for name, verdict in self.verdicts.items()},
            **self.meta,
            **({"weights": {name: w.to_dict() for name, w in self.weights.items()}} if self.weights else {}),
        }


class Task(NamedTuple):
    """One fit of a backtest: its runs, the cuts that it scores, and the families that its priors must not know."""

    train: np.ndarray
    cuts: list[Cut]
    unseen: list[str]


class Scored(NamedTuple):
    """Scored forecasts of one cut (see :func:`score_cut`), with the convergence of the fit that made them."""

    cut: Cut
    scores: pd.DataFrame
    verdict: Verdict


class Forecasts(NamedTuple):
    """Scored forecasts of one model, the cuts whose fit failed and why, and the versions used for the fits."""

    tests: list[Scored]
    left_out: dict[str, str]
    versions: dict[str, str]


def backtest(
    runs: Runs | str | Path | pd.DataFrame,
    spec: Model | str | Path = DEFAULT,
    *,
    way: str = "quantile",
    train_quantile: float = TRAIN_QUANTILE,
    smallest: int | None = None,
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
    each: Callable[[pd.DataFrame], object] | None = None,
) -> Backtest:
    """Backtest: fit on smaller runs, score forecasts of larger ones.

    Families that depend on each other are fitted together: all families under a pooled spec, the families of a suite
    under pooling by suite, each family alone without pooling. There is one fit per cut, or one per family if all runs
    of the others are fitted. Fits with as many families and about as many runs share one compiled program. Learned
    priors are learned again without the scored families and the rest of their suites, so no family is forecast from a
    prior that has seen it.

    Parameters
    ----------
    runs, spec
        As in :func:`fit`.
    way : str
        Name of one of :data:`bayescale.runs.splits.WAYS`: ``"quantile"``, ``"expanding"`` (several quantiles),
        ``"leave-largest-out"`` (all model sizes except the largest are fitted), ``"leave-family-out"`` (the family
        is forecast as ``"new"``), ``"alongside"`` (its smallest-compute runs and all runs of other families are
        fitted), ``"by-date"`` (what was ``released`` first is fitted).
    train_quantile : float
        Quantile of a family's compute up to which its runs are fitted.
    smallest : int, optional
        Fit this many of each family's smallest-compute runs instead; by default ``"alongside"`` fits 5.
    beyond : float
        Score runs above this multiple of the largest fitted compute.
    family : str, optional
        Score this family only (a pooled spec still learns from smaller runs of the others).
    response : str, optional
        Score this response on its own scale; by default the loss, or the first response of a spec without loss.
    seed, chains, warmup, draws, device, progress, workers, scheduler, folder
        As in :func:`fit_many`.
    each : callable, optional
        Called with rows of :attr:`Backtest.families` as soon as the fit that they come from is made.

    Returns
    -------
    Backtest

    Raises
    ------
    RunsError
        If no family has enough runs.
    QueryError
        If there is no such way or family, or an option is out of range or is not used by the way.

    Notes
    -----
    A family that is left out completely is forecast at the reference run of the others: its ``level`` is its loss
    there, relative to the others' median loss. Under partial pooling, the population of levels says how families
    differ. Without pooling, the level is drawn from its prior. A learned prior of the level describes families at
    their own reference runs and lacks that difference: expect such forecasts to be overconfident. They are scored as
    ``forecast(fit, family="new")`` makes them.
    """
    runs = runs if isinstance(runs, Runs) else load_runs(runs)
    spec = spec if isinstance(spec, Model) else load_spec(spec)
    runs = conformed(spec, runs)
    of = spec.scored(response)
    options = Options(train_quantile, smallest, beyond)
    tasks, left_out = plan(runs, [spec], way, options, family, of.site)
    how = FitOptions(chains, warmup, draws, device, workers, scheduler, folder)
    found = forecasts_of(runs, spec, tasks, how, partial(score_cut, response=of.name), seed=seed, progress=progress,
                         each=each)  # fmt: skip
    meta = about(runs, way, options, seed, found.versions, spec) | ({"response": of.name} if of.name != "loss" else {})
    return gather(found.tests, left_out | found.left_out, meta)


def plan(
    runs: Runs, specs: Sequence[Model], way: str, options: Options, family: str | None, site: str
) -> tuple[dict[str, Task], dict[str, str]]:
    """Return the fits by label that score every family, or one; and the families left out, with the reason.

    Parameters
    ----------
    runs : Runs
    specs : sequence of Spec
    way : str
        Name of one of :data:`bayescale.runs.splits.WAYS`.
    options : Options
    family : str, optional
        Score this family only.
    site : str
        Column of the scored response; runs without a value in it are not scored.

    Returns
    -------
    tasks : dict of Task
    left_out : dict of str

    Raises
    ------
    RunsError
        If no family has enough runs.
    QueryError
        If there is no such way or family, or an option is out of range or is not used by the way.
    """
    if family is not None and family not in runs.families:
        raise QueryError(f"no family {family!r} in {runs.name!r}", hint=nearest(family, runs.families))
    cuts, left_out = scorable(*cut(runs, way, options), runs, site)
    scored = [one for one in cuts if family in (None, one.family)]
    if not scored:
        fewest = WAYS[way].fewest
        raise RunsError(
            f"no family of {runs.name!r} can be backtested",
            expected=f"at least {options.smallest or fewest[0]} runs to fit and {fewest[1]} to score",
            got="; ".join(f"{name}: {why}" for name, why in left_out.items()),
            hint="move the train quantile, or add runs",
        )
    return tasks_of(runs, specs, cuts, scored, complete=WAYS[way].complete), left_out


def scorable(
    cuts: Sequence[Cut], left_out: Mapping[str, str], runs: Runs, site: str
) -> tuple[list[Cut], dict[str, str]]:
    """Keep only runs to score that have a value in a column.

    Parameters
    ----------
    cuts : sequence of Cut
    left_out : mapping of str to str
        What is left out already, with the reason.
    runs : Runs
    site : str
        Column of the scored response.

    Returns
    -------
    cuts : list of Cut
        Without the cuts that have no such run.
    left_out : dict of str
        With these cuts added.
    """
    seen = pd.notna(runs[site])
    found = [one._replace(test=one.test & seen) for one in cuts]
    none = {one.name: f"no run to score has a value of {site}" for one in found if not one.test.any()}
    return [one for one in found if one.test.any()], {**left_out, **none}


def tasks_of(
    runs: Runs, specs: Sequence[Model], cuts: Sequence[Cut], scored: Sequence[Cut], *, complete: bool = False
) -> dict[str, Task]:
    """Return the fits that score some cuts, by label; each includes the families that its own depends on."""
    with_whom = together(specs, runs.frame)
    if complete:
        return _alongside(runs, any(map(is_pooled, specs)), with_whom, scored)
    tasks: dict[str, Task] = {}
    for one in scored:
        lot = with_whom[one.family]
        group = [other for other in cuts if other.label == one.label and other.family in lot]
        train = np.logical_or.reduce([other.train for other in group])
        name = one.name if len(group) == 1 else f"{_called(runs, lot)} {one.label}".strip()
        tasks.setdefault(name, Task(train, [], sorted(lot))).cuts.append(one)
    return tasks


def _alongside(
    runs: Runs, pooled: bool, with_whom: Mapping[str, frozenset[str]], scored: Sequence[Cut]
) -> dict[str, Task]:
    """Return one fit per cut, with all runs of the families it depends on; of all others, if no run of it is fitted.

    Priors must not know these families, because their runs are fitted too. Under a pooled spec all families depend on
    each other and none would be left, so only the scored family is excluded.
    """
    everyone = pooled or not all(one.train.any() for one in scored)
    if everyone:
        _check_others(runs)
    tasks = {}
    for one in scored:
        lot = sorted(with_whom[one.family])
        others = (runs["family"] != one.family) & (everyone | np.isin(runs["family"], lot))
        tasks[one.name] = Task(one.train | others, [one], [one.family] if pooled else lot)
    return tasks


def _called(runs: Runs, lot: frozenset[str]) -> str:
    return runs.name if lot == frozenset(runs.families) else ", ".join(sorted(lot))


def forecasts_of(
    runs: Runs,
    spec: Model,
    tasks: Mapping[str, Task],
    how: FitOptions,
    score: Callable[[AbstractFit, Runs, Cut], pd.DataFrame],
    *,
    seed: int,
    progress: bool | None,
    each: Callable[[pd.DataFrame], object] | None = None,
) -> Forecasts:
    """Fit a spec to each task's runs and score its forecasts of the task's cuts, as soon as its fit is made.

    Raises
    ------
    BayescaleError
        If every fit fails: the error of the first one.
    """
    scored: dict[str, list[Scored]] = {}

    def made(label: str, fit: AbstractFit) -> None:
        scored[label] = [Scored(one, score(fit, runs, one), fit.verdict) for one in tasks[label].cuts]
        if each is not None:
            each(rows_of(scored[label]))

    batch = fit_tasks(runs, spec, tasks, how, seed=seed, progress=progress, made=made)
    if not batch.fits:
        raise next(iter(batch.failed.values()))
    tests = [one for label in batch.fits for one in scored[label]]
    left_out = {label: str(error) for label, error in batch.failed.items()}
    return Forecasts(tests, left_out, next(iter(batch.fits.values())).meta["versions"])


def fit_tasks(
    runs: Runs, spec: Model, tasks: Mapping[str, Task], how: FitOptions, *, seed: int, progress: bool | None = None,
    made: Callable[[str, Fit], object] | None = None,
) -> Batch:  # fmt: skip
    """Fit a spec to each task's runs; priors learned on its families are learned again without them."""
    for column, _ in spec.covariates:
        check_covariate(runs, column)  # also checks the runs that are forecast
    unseen, unlearned = _unseen(spec, runs, {label: task.unseen for label, task in tasks.items()}, progress)
    tables = {label: runs.take(task.train) for label, task in tasks.items()}
    batch = fit_many(tables, unseen, seed=seed, progress=progress, made=made, **vars(how))
    return replace(batch, failed=batch.failed | unlearned)


def about(
    runs: Runs, way: str, options: Options, seed: int, versions: Mapping[str, str], spec: Model | None = None
) -> dict[str, Any]:
    """Return the metadata of a backtest; with the model's, if there is one."""
    read = {k: v for k, v in options._asdict().items() if k in WAYS[way].reads and v is not None}
    model = {"spec": spec.name, "spec_digest": spec.digest} if spec else {}
    return model | {"way": way, "options": read, "runs": runs.name, "runs_digest": runs.digest, "seed": seed,
                    "versions": dict(versions), "engine": engine()}  # fmt: skip


def gather(
    tests: Sequence[Scored], left_out: dict[str, str], meta: dict[str, Any], weights: dict[str, Weights] | None = None
) -> Backtest:
    """Make a backtest of scored cuts."""
    table = pd.concat([test.scores for test in tests], ignore_index=True)
    rows = rows_of(tests)
    if not rows["cut"].any():
        rows, table = rows.drop(columns="cut"), table.drop(columns="cut")
    return Backtest(rows, table, left_out, {test.cut.name: test.verdict for test in tests}, meta, weights or {})


def _check_others(runs: Runs) -> None:
    if len(runs.families) < 3:
        raise RunsError(
            f"{runs.name!r} has too few families to fit one together with the others",
            expected="at least 3 families: two others say how families differ",
            got=", ".join(runs.families),
        )


def _unseen(
    spec: Model, runs: Runs, groups: Mapping[str, list[str]], progress: bool | None
) -> tuple[dict[str, Model], dict[str, BayescaleError]]:
    """Return the spec for each group, and the errors of families that nothing was learned from.

    Priors that were learned on a group's own runs are learned again without them, and without the other families of
    their suites, which may not be among `runs`.
    """
    if not spec.learned:
        return dict.fromkeys(groups, spec), {}
    origin = dict(spec.learned)
    source = load_again(origin)
    shared = shared_families(source, runs)
    kin = together([spec], source.frame)
    out = {
        label: set().union(*(kin.get(name, {name}) for own in group for name in shared[own]))
        for label, group in groups.items()
    }
    again = [label for label in groups if out[label]]
    if not again:
        return dict.fromkeys(groups, spec), {}
    base = load_spec(origin["model"])
    learner = recall(source, base) or study(source, base, progress=progress)
    learned = learner.learn([out[label] for label in again])
    unlearned: dict[str, BayescaleError] = {
        f"priors from {name}": FitError(why) for name, why in learner.left_out.items()
    }
    return dict.fromkeys(groups, spec) | dict(zip(again, learned, strict=True)), unlearned


def score_cut(fit: AbstractFit, runs: Runs, one: Cut, response: str | None = None) -> pd.DataFrame:
    """Score a fit's forecasts of a cut's runs, with their reach; as a new family if the fit has none of its runs.

    Parameters
    ----------
    fit : Fit or Average
    runs : Runs
        The table that is cut.
    one : Cut
    response : str, optional
        By default, the first response.

    Returns
    -------
    DataFrame
        One test run per row.
    """
    known = one.family in fit.families
    table = score(fit, runs.take(one.test), None if known else NEW, response)
    return table.assign(family=one.family, cut=one.label, reach_decades=decades(fit, runs, one))


def log_score_cut(fit: AbstractFit, runs: Runs, one: Cut, response: str | None = None) -> pd.DataFrame:
    """Compute only the log scores of a cut's runs, with their reach: half the cost of all scores.

    Parameters
    ----------
    fit : Fit or Average
    runs : Runs
        The table that is cut.
    one : Cut
    response : str, optional
        By default, the first response.

    Returns
    -------
    DataFrame
        One test run per row: ``reach_decades log_score``.
    """
    density = log_density(fit, runs.take(one.test), None, response)
    score = np.logaddexp.reduce(density, axis=0) - np.log(len(density))
    return pd.DataFrame({"reach_decades": decades(fit, runs, one), "log_score": score})


def decades(fit: AbstractFit, runs: Runs, one: Cut) -> np.ndarray:
    """Decades of compute from the family's largest fitted run (or of all, if it has none) to a cut's runs.

    Parameters
    ----------
    fit : Fit or Average
    runs : Runs
        The table that is cut.
    one : Cut

    Returns
    -------
    ndarray, shape (run,)
        For the cut's test runs; negative inside.
    """
    fitted = fit.design_frame
    mine = (fitted["family"] == one.family) | (one.family not in fit.families)
    sized = size_column(fitted)
    return decades_beyond(sized, runs.size[one.test], fitted[sized][mine])[0]


def score(fit: AbstractFit, runs: Runs, family: str | None = None, response: str | None = None) -> pd.DataFrame:
    """Score a fit's forecasts of one response, one run per row.

    Parameters
    ----------
    fit : Fit or Average
    runs : Runs
    family : str, optional
        Family that all runs are forecast as; by default, each its own.
    response : str, optional
        By default, the first response. It is scored on its own scale: a loss on its log.

    Returns
    -------
    DataFrame
        The runs' columns and those of :func:`scores`.
    """
    padded, of = _padded(runs).frame, fit.response(response)
    table = padded if family is None else padded.assign(family=family)
    draws = scored_draws(fit, table, seed=fit.meta["seed"], response=response)[:, : len(runs)]
    kept = [c for c in ("family", "run_id", *SPANS, of.site) if c in table]
    came = of.scored(runs[of.site], runs.frame)
    found = scores(draws, came, log_density(fit, runs, family, response), logs=of.response.kind == "log")
    return pd.concat([table[kept][: len(runs)], found], axis=1)


def log_density(fit: AbstractFit, runs: Runs, family: str | None = None, response: str | None = None) -> np.ndarray:
    """Return the log density of each run's response under each draw, on the scale of its scores.

    Parameters
    ----------
    fit : Fit or Average
    runs : Runs
    family, response : str, optional
        As in :func:`score`.

    Returns
    -------
    ndarray, shape (chain·draw, run)
    """
    padded, of = _padded(runs), fit.response(response)
    table = padded.frame if family is None else padded.frame.assign(family=family)
    density = predict(fit, table, observed={of.site: padded[of.site]}, only=log_density_of(of.site))
    return density[:, : len(runs)] + of.scale.log_slope(runs[of.site])


def _padded(runs: Runs) -> Runs:
    """Pad runs to a power of two, so that forecasts of similar size share a program: compiling costs more."""
    count = len(runs)
    return runs.take(np.arange(1 << (count - 1).bit_length()) % count)


def rows_of(tests: Iterable[Scored]) -> pd.DataFrame:
    """Return the rows of :attr:`Backtest.families` of scored cuts.

    Parameters
    ----------
    tests : iterable of Scored

    Returns
    -------
    DataFrame
    """
    return pd.DataFrame([_mean(test.cut, test.scores) for test in tests])


def _mean(one: Cut, table: pd.DataFrame) -> dict[str, Any]:
    """Return a row of :attr:`Backtest.families`; its reach is that of the farthest run."""
    row = {"family": one.family, "cut": one.label, "n_train": int(one.train.sum()), "n_test": len(table)}
    row["reach_decades"] = float(table["reach_decades"].max())
    return row | {name: float(table[name].mean()) for name in SCORES[1:]}


def _errors(table: pd.DataFrame) -> dict[str, float]:
    """Standard errors of means: the sandwich estimator of a ratio of sums, with families as clusters."""
    names, count = [*COVERAGES, "crps", "bias"], table["family"].nunique()
    if count < 2:
        return {f"{name}_se": np.nan for name in names}
    residuals = table[names] - table[names].mean()
    sums = residuals.groupby(table["family"]).sum()
    errors = np.sqrt(count / (count - 1) * (sums**2).sum()) / len(table)
    return {f"{name}_se": float(errors[name]) for name in names}
