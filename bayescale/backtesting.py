"""Backtest: fit on each family's cheaper runs, score its dearer ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayescale.batching import fit_many
from bayescale.errors import QueryError, RunsError, nearest
from bayescale.fitting import Fit
from bayescale.forecasting import predict
from bayescale.learning import shared_families, study
from bayescale.runs import Runs, load_runs
from bayescale.scoring import scores
from bayescale.spec import DEFAULT, Spec, load_spec
from bayescale.splitting import BEYOND, FEWEST_TEST, FEWEST_TRAIN, split

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
    """

    families: pd.DataFrame
    runs: pd.DataFrame
    left_out: dict[str, str]
    verdicts: dict[str, str]

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
        }


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
    train, test, left_out = split(runs, train_quantile, cheapest=cheapest, beyond=beyond)
    scored = [name for name in runs.families if name not in left_out and family in (None, name)]
    if not scored:
        raise RunsError(
            f"no family of {runs.name!r} can be backtested",
            wanted=f"at least {cheapest or FEWEST_TRAIN} runs to fit and {FEWEST_TEST} to score",
            came="; ".join(f"{name}: {why}" for name, why in left_out.items()),
            do="move the train quantile, or add runs",
        )
    pooled = any(setting.pooling != "none" for _, setting in spec.settings)
    kept = [name for name in runs.families if name not in left_out]
    groups = {runs.name: kept} if pooled else {name: [name] for name in scored}
    tables = {label: runs.take(train & np.isin(runs["family"], group)) for label, group in groups.items()}
    unseen = _unseen(spec, runs, groups, progress)
    batch = fit_many(tables, unseen, seed=seed, progress=progress, **settings)
    if not batch.fits:
        raise next(iter(batch.failed.values()))
    left_out |= {label: str(error) for label, error in batch.failed.items()}
    rows, tests, verdicts = [], [], {}
    for label, fitted in batch.fits.items():
        group = groups[label]
        for name in [name for name in group if name in scored]:
            mine = runs["family"] == name
            table = score(fitted, runs.take(test & mine))
            cut = runs["flops"][train & mine].max()
            row = {"family": name, "n_train": int((train & mine).sum()), "n_test": len(table)}
            table["reach_decades"] = np.log10(table["flops"] / cut)
            row["reach_decades"] = float(table["reach_decades"].max())
            rows.append(row | {k: float(table[k].mean()) for k in SCORES[1:]})
            tests.append(table)
            verdicts[name] = fitted.verdict
    return Backtest(pd.DataFrame(rows), pd.concat(tests, ignore_index=True), left_out, verdicts)


def _unseen(spec: Spec, runs: Runs, groups: dict[str, list[str]], progress: bool | None) -> dict[str, Spec]:
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


def score(fit: Fit, runs: Runs) -> pd.DataFrame:
    """Scores of a fit's forecasts of runs, on log loss; one run a row."""
    table, loss = runs.frame, runs["loss"]
    draws = np.log(predict(fit, table, seed=fit.meta["seed"], only="loss"))
    observed = {str(k): runs[str(k)] for k in fit.tree["observed_data"].data_vars}
    density = predict(fit, table, observed=observed, only="loss_log_density")
    kept = [c for c in ("family", "run_id", "params", "tokens", "flops", "loss") if c in table]
    # The density of log loss is that of loss times the loss.
    return pd.concat([table[kept], scores(draws, np.log(loss), density + np.log(loss))], axis=1)
