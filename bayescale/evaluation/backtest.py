"""Backtest: fit some of each family's runs, score forecasts of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayescale.core.errors import BayescaleError, FitError, QueryError, RunsError, nearest
from bayescale.core.verdict import Verdict, joined
from bayescale.evaluation.scores import scores
from bayescale.inference.average import AbstractFit
from bayescale.inference.batch import Batch, FitOptions, fit_many
from bayescale.inference.weights import Weights
from bayescale.modelling.design import conformed
from bayescale.modelling.grouping import is_pooled, shared_families, together
from bayescale.modelling.identifiability import check_covariate
from bayescale.modelling.sites import log_density_of
from bayescale.modelling.spec import Spec
from bayescale.modelling.spec_io import DEFAULT, load_spec
from bayescale.parts.catalogue import part
from bayescale.prediction.predict import log_draws, predict
from bayescale.prediction.queries import NEW
from bayescale.prediction.records import HORIZONS, Record, engine, horizon_of
from bayescale.runs.readers import load_runs
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
    """Scores of forecasts beyond what was fitted, on log loss, by family.

    Attributes
    ----------
    families : DataFrame
        One family a row: ``family n_train n_test`` and the means of :data:`SCORES` over its test runs; with the
        ``cut`` where each family has several, one a row.
    runs : DataFrame
        One test run a row, with its own ``reach_decades``: decades of compute beyond its family's
        dearest fitted run (beyond all fitted runs, where none is its family's), negative inside.
    left_out : dict
        Families with too few runs to fit or to score, or whose fit failed, and why.
    verdicts : dict of Verdict
        Convergence of the fit behind each family, or each cut of it.
    meta : dict
        What was backtested: ``spec way options runs runs_digest seed versions engine``, and of one model
        ``spec_digest``.
    weights : dict of Weights
        Of an average: those of each family, or each cut of it, learnt without what it is scored on.
    """

    families: pd.DataFrame
    runs: pd.DataFrame
    left_out: dict[str, str]
    verdicts: dict[str, Verdict]
    meta: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Weights] = field(default_factory=dict)

    @property
    def mean(self) -> dict[str, float]:
        """Mean of the families' scores."""
        by_family = self.families.groupby("family")[list(SCORES)].mean()
        return {name: float(by_family[name].mean()) for name in SCORES}

    @property
    def horizons(self) -> pd.DataFrame:
        """Scores by how far beyond the fitted runs, one bin of :data:`HORIZONS` a row.

        Means over the bin's forecasts, whatever their family, with their count ``n_test`` and that of
        ``families``. ``coverage_90_se`` and its like are the standard errors of coverage over families: runs
        of one family err together, so that families are what was sampled. NaN of one family.
        """
        bins = pd.Categorical(horizon_of(self.runs["reach_decades"]), list(HORIZONS))
        groups = self.runs.groupby(pd.Series(bins, self.runs.index, name="horizon"), observed=True)
        counts = groups["family"].agg(n_test="size", families="nunique")
        errors = pd.DataFrame([_errors(rows) for _, rows in groups], index=counts.index)
        table = counts.join(groups[list(SCORES[1:])].mean()).join(errors)
        return table.reset_index().astype({"horizon": str})

    @property
    def converged(self) -> bool:
        """Whether every fit behind it did."""
        return self.verdict.ok

    @property
    def verdict(self) -> Verdict:
        """Convergence of all fits behind it."""
        return joined(self.verdicts)

    @property
    def record(self) -> Record:
        """What forecasts of the model may say of themselves: the horizons, and where they come from.

        Raises
        ------
        QueryError
            Of an average: a record is kept by the digest of one spec.
        """
        if "spec_digest" not in self.meta:
            raise QueryError("a record is of one model", came=self.meta.get("spec", ""), do="backtest its members")
        kept = {name: value for name, value in self.meta.items() if not name.startswith("spec")}
        kept["families"] = sorted(self.families["family"].unique())
        kept["fits"] = len(self.verdicts)
        kept["unconverged"] = sorted(name for name, verdict in self.verdicts.items() if not verdict.ok)
        kept["horizons"] = self.horizons.to_dict("records")
        return Record(self.meta["spec"], self.meta["spec_digest"], (kept,))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
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
    """A fit of a backtest: the runs that it holds, the cuts that it scores, and whom its priors must not know."""

    train: np.ndarray
    cuts: list[Cut]
    unseen: list[str]


class Scored(NamedTuple):
    """Scored forecasts of one cut (see :func:`score_cut`), with the convergence of the fit that made them."""

    cut: Cut
    scores: pd.DataFrame
    verdict: Verdict


class Forecasts(NamedTuple):
    """Scored forecasts of one model; cuts whose fit failed, and why; and the versions that the fits were made with."""

    tests: list[Scored]
    left_out: dict[str, str]
    versions: dict[str, str]


def backtest(
    runs: Runs | str | Path | pd.DataFrame,
    spec: Spec | str | Path = DEFAULT,
    *,
    way: str = "quantile",
    train_quantile: float = TRAIN_QUANTILE,
    cheapest: int | None = None,
    beyond: float = BEYOND,
    family: str | None = None,
    seed: int = 0,
    chains: int = 4,
    warmup: int | None = None,
    draws: int = 1000,
    device: str = "auto",
    progress: bool | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    folder: str | Path | None = None,
) -> Backtest:
    """Fit some of each family's runs, by default up to its compute quantile, and score forecasts of others.

    Families that depend on each other are fitted together: all of them under a pooled spec, those of a suite where
    that is what is pooled, each alone without pooling. That is once a cut, on their cheaper runs, or once a family
    where the others are held whole. All go through one compiled program for each count of families. Priors that were
    learnt are learnt again without the families that are scored and the rest of their suites, by their runs: a family
    never meets a prior that knows it.

    Parameters
    ----------
    runs, spec
        As in :func:`fit`.
    way : str
        Name of one of :data:`bayescale.runs.splits.WAYS`: ``"quantile"``, ``"expanding"`` (several quantiles),
        ``"leave-largest-out"`` (all model sizes but the largest are fitted), ``"leave-family-out"`` (the family
        is forecast as ``"new"``), ``"beside"`` (its cheapest runs beside the other families whole).
    train_quantile : float
        Quantile of a family's compute up to which its runs are fitted.
    cheapest : int, optional
        Fit so many of each family's cheapest runs instead; ``"beside"`` fits 5 if none is given.
    beyond : float
        Score runs above so many times the largest compute that is fitted.
    family : str, optional
        Score this family alone (a pooled spec still learns from the others' cheaper runs).
    seed, chains, warmup, draws, device, progress, workers, scheduler, folder
        As in :func:`fit_many`.

    Returns
    -------
    Backtest

    Raises
    ------
    RunsError
        If no family has enough runs.
    QueryError
        If there is no such way or family, or an option is out of range or not read by the way.

    Notes
    -----
    A family that is left out whole is forecast at the others' reference run: its ``level`` is its loss there,
    over the others' median loss. Under partial pooling the population of levels holds how families differ.
    Without pooling the level is drawn from its prior; one that was learnt is of families at reference runs of
    their own, and does not hold that difference: expect such forecasts to be too sure. They are scored as
    ``forecast(fit, family="new")`` would make them.
    """
    runs = runs if isinstance(runs, Runs) else load_runs(runs)
    spec = spec if isinstance(spec, Spec) else load_spec(spec)
    runs = conformed(spec, runs)
    if "loss" not in dict(spec.responses):
        raise QueryError(f"spec {spec.name!r} forecasts no loss", do="backtest a spec with a loss response")
    options = Options(train_quantile, cheapest, beyond)
    tasks, left_out = plan(runs, [spec], way, options, family)
    how = FitOptions(chains, warmup, draws, device, workers, scheduler, folder)
    found = forecasts_of(runs, spec, tasks, how, score_cut, seed=seed, progress=progress)
    meta = about(runs, way, options, seed, found.versions, spec)
    return gather(found.tests, left_out | found.left_out, meta)


def plan(
    runs: Runs, specs: Sequence[Spec], way: str, options: Options, family: str | None = None
) -> tuple[dict[str, Task], dict[str, str]]:
    """Fits by label that score every family, or one, and the families that are left out, and why.

    Raises
    ------
    RunsError
        If no family has enough runs.
    QueryError
        If there is no such way or family, or an option is out of range or not read by the way.
    """
    if family is not None and family not in runs.families:
        raise QueryError(f"no family {family!r} in {runs.name!r}", do=nearest(family, runs.families))
    cuts, left_out = cut(runs, way, options)
    scored = [one for one in cuts if family in (None, one.family)]
    if not scored:
        fewest = WAYS[way].fewest
        raise RunsError(
            f"no family of {runs.name!r} can be backtested",
            wanted=f"at least {options.cheapest or fewest[0]} runs to fit and {fewest[1]} to score",
            came="; ".join(f"{name}: {why}" for name, why in left_out.items()),
            do="move the train quantile, or add runs",
        )
    return tasks_of(runs, specs, cuts, scored, whole=WAYS[way].whole), left_out


def tasks_of(
    runs: Runs, specs: Sequence[Spec], cuts: Sequence[Cut], scored: Sequence[Cut], *, whole: bool = False
) -> dict[str, Task]:
    """The fits that score some of the cuts, by label; those whom a family depends on are fitted beside it."""
    with_whom = together(specs, runs.frame)
    if whole:
        return _beside(runs, any(map(is_pooled, specs)), with_whom, scored)
    tasks: dict[str, Task] = {}
    for one in scored:
        lot = with_whom[one.family]
        group = [other for other in cuts if other.label == one.label and other.family in lot]
        train = np.logical_or.reduce([other.train for other in group])
        name = one.name if len(group) == 1 else f"{_called(runs, lot)} {one.label}".strip()
        tasks.setdefault(name, Task(train, [], [other.family for other in group])).cuts.append(one)
    return tasks


def _beside(
    runs: Runs, pooled: bool, with_whom: Mapping[str, frozenset[str]], scored: Sequence[Cut]
) -> dict[str, Task]:
    """Each cut beside those whom its family depends on, whole; beside all others, where no run of it is fitted.

    Priors must know none of them, since their runs are fitted too; but where all depend on all, none would be left.
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
    spec: Spec,
    tasks: Mapping[str, Task],
    how: FitOptions,
    score: Callable[[AbstractFit, Runs, Cut], pd.DataFrame],
    *,
    seed: int,
    progress: bool | None,
) -> Forecasts:
    """Fit a spec to each task's runs, and score its forecasts of the task's cuts.

    Raises
    ------
    BayescaleError
        If no fit can be made: the first one's error.
    """
    batch = fit_tasks(runs, spec, tasks, how, seed=seed, progress=progress)
    if not batch.fits:
        raise next(iter(batch.failed.values()))
    tests = [
        Scored(one, score(fit, runs, one), fit.verdict)
        for label, fit in batch.fits.items()
        for one in tasks[label].cuts
    ]
    left_out = {label: str(error) for label, error in batch.failed.items()}
    return Forecasts(tests, left_out, next(iter(batch.fits.values())).meta["versions"])


def fit_tasks(
    runs: Runs, spec: Spec, tasks: Mapping[str, Task], how: FitOptions, *, seed: int, progress: bool | None = None
) -> Batch:
    """Fit a spec to each task's runs; priors that were learnt on its families are learnt again without them."""
    for column, _ in spec.covariates:
        check_covariate(runs, column)  # those of runs that are forecast too
    unseen, unlearnt = _unseen(spec, runs, {label: task.unseen for label, task in tasks.items()}, progress)
    tables = {label: runs.take(task.train) for label, task in tasks.items()}
    batch = fit_many(tables, unseen, seed=seed, progress=progress, **vars(how))
    return replace(batch, failed=batch.failed | unlearnt)


def about(
    runs: Runs, way: str, options: Options, seed: int, versions: Mapping[str, str], spec: Spec | None = None
) -> dict[str, Any]:
    """What a backtest says of itself; of the model if it is of one."""
    read = {k: v for k, v in options._asdict().items() if k in WAYS[way].reads and v is not None}
    model = {"spec": spec.name, "spec_digest": spec.digest} if spec else {}
    return model | {"way": way, "options": read, "runs": runs.name, "runs_digest": runs.digest, "seed": seed,
                    "versions": dict(versions), "engine": engine()}  # fmt: skip


def gather(
    tests: Sequence[Scored], left_out: dict[str, str], meta: dict[str, Any], weights: dict[str, Weights] | None = None
) -> Backtest:
    """Make a backtest of scored cuts."""
    table = pd.concat([test.scores for test in tests], ignore_index=True)
    rows = pd.DataFrame([_mean(test.cut, test.scores) for test in tests])
    if not rows["cut"].any():
        rows, table = rows.drop(columns="cut"), table.drop(columns="cut")
    return Backtest(rows, table, left_out, {test.cut.name: test.verdict for test in tests}, meta, weights or {})


def _check_others(runs: Runs) -> None:
    if len(runs.families) < 3:
        raise RunsError(
            f"{runs.name!r} has too few families to fit one beside the others",
            wanted="at least 3: two others say how families differ",
            came=", ".join(runs.families),
        )


def _unseen(
    spec: Spec, runs: Runs, groups: Mapping[str, list[str]], progress: bool | None
) -> tuple[dict[str, Spec], dict[str, BayescaleError]]:
    """Return the spec for each group, and what nothing was learnt from.

    Priors that were learnt on a group's own runs are learnt again without them.
    """
    if not spec.learned:
        return dict.fromkeys(groups, spec), {}
    origin = dict(spec.learned)
    source = load_runs(origin["runs"], loss_unit=origin.get("loss_unit"))
    shared = shared_families(source, runs)
    out = {label: set().union(*(shared[name] for name in group)) for label, group in groups.items()}
    again = [label for label in groups if out[label]]
    if not again:
        return dict.fromkeys(groups, spec), {}
    base = load_spec(origin["model"])
    learner = recall(source, base) or study(source, base, progress=progress)
    learnt = learner.learn([out[label] for label in again])
    unlearnt: dict[str, BayescaleError] = {
        f"priors from {name}": FitError(why) for name, why in learner.left_out.items()
    }
    return dict.fromkeys(groups, spec) | dict(zip(again, learnt, strict=True)), unlearnt


def score_cut(fit: AbstractFit, runs: Runs, one: Cut) -> pd.DataFrame:
    """Scores of a fit's forecasts of a cut's runs, with their reach; as a new family, if it has no run in the fit."""
    known = one.family in fit.families
    table = score(fit, runs.take(one.test), family=None if known else NEW).assign(family=one.family, cut=one.label)
    return table.assign(reach_decades=decades(fit, runs, one))


def log_score_cut(fit: AbstractFit, runs: Runs, one: Cut) -> pd.DataFrame:
    """Log scores alone of a fit's forecasts of a cut's runs, with their reach: half the cost of all scores."""
    density = log_density(fit, runs.take(one.test))
    score = np.logaddexp.reduce(density, axis=0) - np.log(len(density))
    return pd.DataFrame({"reach_decades": decades(fit, runs, one), "log_score": score})


def decades(fit: AbstractFit, runs: Runs, one: Cut) -> np.ndarray:
    """Decades of compute from the family's dearest fitted run (from any, of a family without) to a cut's runs."""
    fitted = fit.design_frame
    mine = (fitted["family"] == one.family) | (one.family not in fit.families)
    return np.log10(runs["flops"][one.test] / fitted["flops"][mine].max())


def score(fit: AbstractFit, runs: Runs, family: str | None = None) -> pd.DataFrame:
    """Scores of a fit's forecasts of runs, as of `family` if one is named, on log loss; one run a row."""
    padded = _padded(runs).frame
    table = padded if family is None else padded.assign(family=family)
    draws = log_draws(fit, table, seed=fit.meta["seed"])[:, : len(runs)]
    kept = [c for c in ("family", "run_id", "params", "tokens", "flops", "loss") if c in table]
    found = scores(draws, np.log(runs["loss"]), log_density(fit, runs, family))
    return pd.concat([table[kept][: len(runs)], found], axis=1)


def log_density(fit: AbstractFit, runs: Runs, family: str | None = None) -> np.ndarray:
    """Log density of each run's log loss under each draw; shape (chain·draw, run)."""
    padded = _padded(runs)
    table = padded.frame if family is None else padded.frame.assign(family=family)
    observed = {site: padded[site] for site in (part("responses", name).observed for name in fit.responses)}
    density = predict(fit, table, observed=observed, only=log_density_of("loss"))[:, : len(runs)]
    return density + np.log(runs["loss"])  # the density of log loss is that of loss times the loss


def _padded(runs: Runs) -> Runs:
    """Fill runs up to a power of two: forecasts of about as many share a program, which costs more than they do."""
    count = len(runs)
    return runs.take(np.arange(1 << (count - 1).bit_length()) % count)


def _mean(one: Cut, table: pd.DataFrame) -> dict[str, Any]:
    """A row of :attr:`Backtest.families`; its reach is that of the farthest run."""
    row = {"family": one.family, "cut": one.label, "n_train": int(one.train.sum()), "n_test": len(table)}
    row["reach_decades"] = float(table["reach_decades"].max())
    return row | {name: float(table[name].mean()) for name in SCORES[1:]}


def _errors(table: pd.DataFrame) -> dict[str, float]:
    """Standard errors of mean coverages over families: the sandwich of a ratio of sums, each family a cluster."""
    count = table["family"].nunique()
    if count < 2:
        return {f"{name}_se": np.nan for name in COVERAGES}
    residuals = table[list(COVERAGES)] - table[list(COVERAGES)].mean()
    sums = residuals.groupby(table["family"]).sum()
    errors = np.sqrt(count / (count - 1) * (sums**2).sum()) / len(table)
    return {f"{name}_se": float(errors[name]) for name in COVERAGES}
