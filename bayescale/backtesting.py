"""Backtest: fit on each family's cheaper runs, score its dearer ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayescale.batching import Batch, fit_many
from bayescale.errors import QueryError, RunsError, nearest
from bayescale.forecasting import predict
from bayescale.law import part
from bayescale.learning import shared_families, study
from bayescale.mixing import AbstractFit
from bayescale.runs import Runs, load_runs
from bayescale.scoring import scores
from bayescale.spec import DEFAULT, Spec, load_spec
from bayescale.splitting import BEYOND, FEWEST_TEST, FEWEST_TRAIN, split
from bayescale.stacking import Weights

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
HORIZONS = {"up to 3×": 3.0, "3-10×": 10.0, "10-30×": 30.0, "30-100×": 100.0, "beyond 100×": np.inf}
"""Bins of compute over the dearest fitted run's, each up to and with its upper end."""


@dataclass(frozen=True)
class Backtest:
    """Scores of forecasts beyond a compute cut, on log loss, by family.

    Attributes
    ----------
    families : DataFrame
        One family a row: ``family n_train n_test`` and the means of :data:`SCORES` over its test runs.
    runs : DataFrame
        One test run a row, with its own ``reach_decades``: decades of compute beyond its family's
        dearest fitted run.
    left_out : dict
        Families with too few runs to fit or to score, or whose fit failed, and why.
    verdicts : dict
        Convergence of the fit behind each family.
    weights : dict of Weights
        Of an average: each family's, learnt without what it is scored on.
    """

    families: pd.DataFrame
    runs: pd.DataFrame
    left_out: dict[str, str]
    verdicts: dict[str, str]
    weights: dict[str, Weights] = field(default_factory=dict)

    @property
    def mean(self) -> dict[str, float]:
        """Mean of the families' scores."""
        return {name: float(self.families[name].mean()) for name in SCORES}

    @property
    def horizons(self) -> pd.DataFrame:
        """Scores by how far beyond the fitted runs, one bin of :data:`HORIZONS` a row.

        Means over the bin's test runs, whatever their family, with their count ``n_test`` and that of
        ``families``; runs of one family err together, so that the families count for a coverage's error.
        """
        edges = [-np.inf, *np.log10(list(HORIZONS.values()))]
        bins = pd.cut(self.runs["reach_decades"], edges, labels=list(HORIZONS)).rename("horizon")
        groups = self.runs.groupby(bins, observed=True)
        counts = groups["family"].agg(n_test="size", families="nunique")
        return counts.join(groups[list(SCORES[1:])].mean()).reset_index().astype({"horizon": str})

    @property
    def converged(self) -> bool:
        """Whether every fit behind it did."""
        return all(verdict == "converged" for verdict in self.verdicts.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "families": self.families.to_dict("records"),
            "mean": self.mean,
            "horizons": self.horizons.to_dict("records"),
            "left_out": self.left_out,
            "verdicts": self.verdicts,
            **({"weights": {name: w.to_dict() for name, w in self.weights.items()}} if self.weights else {}),
        }


@dataclass(frozen=True)
class Cut:
    """Families' cheaper runs, fitted together, and the dearer ones of those that are scored.

    Attributes
    ----------
    families, scored : tuple of str
        Those whose runs are fitted, and those of them whose forecasts are scored.
    train, test : ndarray of bool, shape (run,)
        Masks of the runs of any family below and beyond the cut.
    """

    families: tuple[str, ...]
    scored: tuple[str, ...]
    train: np.ndarray
    test: np.ndarray

    def fitted(self, runs: Runs) -> Runs:
        """The runs that are fitted."""
        return runs.take(self.train & np.isin(runs["family"], self.families))

    def beyond(self, runs: Runs, family: str) -> np.ndarray:
        """Positions of a family's runs beyond the cut."""
        return np.flatnonzero(self.test & (runs["family"] == family))

    def decades(self, runs: Runs, family: str) -> np.ndarray:
        """Decades of compute by which they lie beyond the family's dearest fitted run."""
        most = runs["flops"][self.train & (runs["family"] == family)].max()
        return np.log10(runs["flops"][self.beyond(runs, family)] / most)


def backtest(
    runs: Runs | str | Path | pd.DataFrame,
    spec: Spec | str | Path = DEFAULT,
    *,
    train_quantile: float = 0.7,
    cheapest: int | None = None,
    beyond: float = BEYOND,
    family: str | None = None,
    seed: int = 0,
    progress: bool | None = None,
    **settings: Any,
) -> Backtest:
    """Fit on each family's runs up to its compute quantile, and score its runs beyond.

    A pooled spec is fitted once, on all families' cheaper runs; without pooling each family is fitted
    alone, all through one compiled program. Priors that were learnt are learnt again without the families
    that are scored, by their runs: a family never meets a prior that knows it.

    Parameters
    ----------
    runs, spec
        As in :func:`fit`.
    train_quantile : float
        Quantile of a family's compute up to which its runs are fitted.
    cheapest : int, optional
        Fit so many of each family's cheapest runs instead.
    beyond : float
        Score runs above so many times the largest compute that is fitted.
    family : str, optional
        Score this family alone (a pooled spec still learns from the others' cheaper runs).
    seed, progress, **settings
        As in :func:`fit`.

    Raises
    ------
    RunsError
        If no family has enough runs.
    """
    runs = runs if isinstance(runs, Runs) else load_runs(runs)
    spec = spec if isinstance(spec, Spec) else load_spec(spec)
    if not 0 < train_quantile < 1:
        raise QueryError("train quantile out of range", wanted="a number between 0 and 1", came=str(train_quantile))
    if "loss" not in dict(spec.responses):
        raise QueryError(f"spec {spec.name!r} forecasts no loss", do="backtest a spec with a loss response")
    if family is not None and family not in runs.families:
        raise QueryError(f"no family {family!r} in {runs.name!r}", do=nearest(family, runs.families))
    if (cheapest is not None and cheapest < 2) or beyond < 1:
        raise QueryError("the backtest's split is out of range", wanted="cheapest at least 2, beyond at least 1",
                         came=f"cheapest {cheapest}, beyond {beyond:g}")  # fmt: skip
    cuts, left_out = cut(runs, is_pooled(spec), train_quantile, cheapest=cheapest, beyond=beyond, family=family)
    batch = fit_cuts(runs, spec, cuts, seed=seed, progress=progress, **settings)
    if not batch.fits:
        raise next(iter(batch.failed.values()))
    left_out |= {label: str(error) for label, error in batch.failed.items()}
    fits = {name: (cuts[label], fit) for label, fit in batch.fits.items() for name in cuts[label].scored}
    return gather(runs, fits, left_out)


def is_pooled(*specs: Spec) -> bool:
    """Whether a family's parameters depend on the others' runs under any of the specs."""
    return any(setting.pooling != "none" for spec in specs for _, setting in spec.settings)


def cut(
    runs: Runs,
    pooled: bool,
    train_quantile: float,
    *,
    cheapest: int | None = None,
    beyond: float = BEYOND,
    family: str | None = None,
) -> tuple[dict[str, Cut], dict[str, str]]:
    """Cuts by label, one a family or one for all if `pooled`, and the families that are left out.

    Raises
    ------
    RunsError
        If no family has enough runs.
    """
    train, test, left_out = split(runs, train_quantile, cheapest=cheapest, beyond=beyond)
    kept = tuple(name for name in runs.families if name not in left_out)
    scored = tuple(name for name in kept if family in (None, name))
    if not scored:
        raise RunsError(
            f"no family of {runs.name!r} can be backtested",
            wanted=f"at least {cheapest or FEWEST_TRAIN} runs to fit and {FEWEST_TEST} to score",
            came="; ".join(f"{name}: {why}" for name, why in left_out.items()),
            do="move the train quantile, or add runs",
        )
    groups = {runs.name: (kept, scored)} if pooled else {name: ((name,), (name,)) for name in scored}
    return {label: Cut(fitted, asked, train, test) for label, (fitted, asked) in groups.items()}, left_out


def fit_cuts(
    runs: Runs, spec: Spec, cuts: Mapping[str, Cut], *, seed: int, progress: bool | None = None, **settings: Any
) -> Batch:
    """Fit a spec below each cut; priors that were learnt on a cut's families are learnt again without them."""
    tables = {label: cut.fitted(runs) for label, cut in cuts.items()}
    unseen = _unseen(spec, runs, {label: cut.families for label, cut in cuts.items()}, progress)
    return fit_many(tables, unseen, seed=seed, progress=progress, **settings)


def gather(
    runs: Runs,
    fits: Mapping[str, tuple[Cut, AbstractFit]],
    left_out: dict[str, str],
    weights: dict[str, Weights] | None = None,
) -> Backtest:
    """Score each family's runs beyond its cut by the fit that is given for it."""
    rows, tests = [], []
    for name, (below, fitted) in fits.items():
        table = score_beyond(fitted, runs, below, name)
        row = {"family": name, "n_train": int((below.train & (runs["family"] == name)).sum()), "n_test": len(table)}
        row["reach_decades"] = float(table["reach_decades"].max())
        rows.append(row | {k: float(table[k].mean()) for k in SCORES[1:]})
        tests.append(table)
    verdicts = {name: fitted.verdict for name, (_, fitted) in fits.items()}
    return Backtest(pd.DataFrame(rows), pd.concat(tests, ignore_index=True), left_out, verdicts, weights or {})


def score_beyond(fit: AbstractFit, runs: Runs, below: Cut, family: str) -> pd.DataFrame:
    """Scores of a family's runs beyond the cut, one a row, with how far beyond they lie."""
    beyond = runs.take(below.beyond(runs, family))
    return score(fit, beyond).assign(reach_decades=below.decades(runs, family))


def _unseen(spec: Spec, runs: Runs, groups: Mapping[str, Iterable[str]], progress: bool | None) -> dict[str, Spec]:
    """Return the spec for each group; priors that were learnt on a group's own runs are learnt again without them."""
    if not spec.learned:
        return dict.fromkeys(groups, spec)
    origin = dict(spec.learned)
    source = load_runs(origin["runs"])
    shared = shared_families(source, runs)
    out = {label: set().union(*(shared[name] for name in group)) for label, group in groups.items()}
    again = [label for label in groups if out[label]]
    if not again:
        return dict.fromkeys(groups, spec)
    learner = study(source, load_spec(origin["model"]), progress=progress)
    learnt = learner.learn([out[label] for label in again])
    return dict.fromkeys(groups, spec) | dict(zip(again, learnt, strict=True))


def score(fit: AbstractFit, runs: Runs) -> pd.DataFrame:
    """Scores of a fit's forecasts of runs, on log loss; one run a row."""
    table, loss = runs.frame, runs["loss"]
    draws = np.log(predict(fit, table, seed=fit.meta["seed"], only="loss"))
    kept = [c for c in ("family", "run_id", "params", "tokens", "flops", "loss") if c in table]
    return pd.concat([table[kept], scores(draws, np.log(loss), log_density(fit, runs))], axis=1)


def log_density(fit: AbstractFit, runs: Runs) -> np.ndarray:
    """Log density of each run's log loss under each draw; shape (chain·draw, run)."""
    count = len(runs)
    # Tables of about one size share a compiled program: filled up to a power of two, and cut again.
    rows = np.arange(1 << (count - 1).bit_length()) % count
    observed = {site: runs[site][rows] for site in (part("responses", name).observed for name in fit.responses)}
    density = predict(fit, runs.frame.iloc[rows], observed=observed, only="loss_log_density")[:, :count]
    return density + np.log(runs["loss"])  # the density of log loss is that of loss times the loss
