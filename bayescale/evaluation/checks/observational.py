"""What can public models not show: compute or date, capability or contamination, scores or gaps?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from bayescale.evaluation.checks.base import AbstractCheck, Finding
from bayescale.inference.average import AbstractFit
from bayescale.prediction.predict import predict
from bayescale.runs.columns import RELEASED as DATE

_MOST_TIED = 0.25  # R² of date on log compute: above it, either stands for much of the other
_MOST_DRIFT = 0.3  # correlation over models; of fewer than 70, the one that chance exceeds in one of a hundred tables
_MOST_GAP = 0.5  # standard deviations of size between models with and without a score; of few models, as much as chance
_CHANCE = 2.576  # standard Normal, two-sided 1%
_CHANCE_OF_TWO = 2.807  # 0.5%: the larger of two differences
_MOST_BELOW = 0.02  # of a score: what prompts and formats move a guessing model by
_FEWEST = 10
_MOST_DRAWS = 400


class Observational(AbstractCheck):
    """What a table of public models confounds, for a model that reads dates of release or has several scores.

    Makers choose compute, date, data and benchmarks together, so that no model of such a table separates them. A
    finding that fails says what is confounded, or which scores are missing not at random, or lie below their floor.
    """

    name = "observational"
    source = "Ruan, Maddison, Hashimoto 2024, arXiv:2405.10938; Rubin 1976 (missing values)"
    asks = "what can public models not tell apart: compute and date, progress and contamination, scores and gaps?"
    of_each = True

    @staticmethod
    def ask(fit):
        if fit.spec.law or (DATE not in fit.spec.columns and len(fit.observed) < 2):
            return []
        return [*_tied(fit), *_drifts(fit), *_gaps(fit), *_below(fit)]


def _tied(fit: AbstractFit) -> Iterator[Finding]:
    """Is the date of release tied to compute?"""
    runs = fit.design_frame
    if DATE not in fit.columns or runs[DATE].nunique() < 2 or "flops" not in runs:
        return
    tied = float(np.corrcoef(runs[DATE], np.log(runs["flops"]))[0, 1] ** 2)
    yield Finding(
        "observational", "compute and date", tied <= _MOST_TIED, tied, _MOST_TIED,
        f"date of release and log compute share {tied:.0%} of their variance" + (
            ": progress at given compute is confounded with compute" if tied > _MOST_TIED else ""),
        "confounded: do not read the trend over dates as progress in algorithms; much of it comes from its prior",
    )  # fmt: skip


def _drifts(fit: AbstractFit) -> Iterator[Finding]:
    """Do residuals of a benchmark grow with the date?

    The capability of each model was fitted to all of its scores, this one among them. So it takes up a part of a drift,
    and a residual shows the rest.
    """
    runs = fit.design_frame
    if DATE not in fit.columns:
        return
    predicted = predict(fit, runs, most=_MOST_DRAWS, seed=fit.meta["seed"])  # one program for all benchmarks
    for site in fit.observed:
        has = runs[site].notna().to_numpy()
        mine, draws = runs[has], predicted[site][:, has]
        if len(mine) < _FEWEST or mine[DATE].nunique() < 2:
            continue
        away = (mine[site].to_numpy() - draws.mean(axis=0)) / draws.std(axis=0)
        drift = float(np.corrcoef(away, mine[DATE])[0, 1])
        most = max(_MOST_DRIFT, float(np.tanh(_CHANCE / np.sqrt(len(mine) - 3))))  # Fisher's transform
        passed = abs(drift) <= most
        side = "higher" if drift > 0 else "lower"
        yield Finding(
            "observational", f"{site} and date", passed, abs(drift), most,
            f"{site}: residuals of a fit to all scores, this one among them, correlate by {drift:+.2f} with the date "
            "of release" + (
                "" if passed else f": later models score {side} than their scores together suggest; "
                "contamination, focus of training and changes of the test are confounded"),
            "confounded: leave the benchmark out and compare, or use one that is newer than the models",
        )  # fmt: skip


def _gaps(fit: AbstractFit) -> Iterator[Finding]:
    """Are scores missing at random? Compares the compute, and date, of models with and without each."""
    runs = fit.design_frame
    for site in fit.observed:
        gone = runs[site].isna().to_numpy()
        if min(gone.sum(), (~gone).sum()) < 3:
            continue
        apart = {name: _apart(values, gone) for name, values in _sizes(runs).items()}
        name, gap = max(apart.items(), key=lambda one: abs(one[1]))
        most = max(_MOST_GAP, _CHANCE_OF_TWO * float(np.sqrt(1 / gone.sum() + 1 / (~gone).sum())))
        passed = abs(gap) <= most
        side = {"compute": ("larger", "smaller"), "date": ("newer", "older")}[name][gap < 0]
        yield Finding(
            "observational", f"gaps of {site}", passed, abs(gap), most,
            f"{site} is missing for {gone.sum()} of {len(gone)} models, which are {abs(gap):.2f} standard deviations "
            f"{side}" + ("" if passed else ": it is missing not at random"),
            "the model integrates gaps out given compute, date and the other scores: if makers withhold low scores, "
            "forecasts of the benchmark are too high",
        )  # fmt: skip


def _sizes(runs: pd.DataFrame) -> dict[str, np.ndarray]:
    found = {"compute": np.log(runs["flops"].to_numpy())} if "flops" in runs else {}
    return found | ({"date": runs[DATE].to_numpy(float)} if DATE in runs else {})


def _apart(values: np.ndarray, gone: np.ndarray) -> float:
    """Return how far models without a score are from those with one, in standard deviations of all."""
    return float((values[gone].mean() - values[~gone].mean()) / max(values.std(), np.finfo(float).tiny))


def _below(fit: Any) -> Iterator[Finding]:
    """Do models score below the floor of a benchmark by more than its noise?"""
    runs, floors = fit.design_frame, dict(fit.spec.said.get("benchmarks", {}))
    for site, said in floors.items():
        floor, seen = said.get("chance", 0.0), runs[runs[site].notna()]
        if not floor or said.get("free") or len(seen) < _FEWEST:
            continue
        # The models of least compute, and not the lowest scores: those would lie below chance by luck.
        by = next((name for name in ("flops", DATE) if name in seen), site)
        least = float(floor - seen.nsmallest(_FEWEST // 2, by)[site].mean())
        passed = least <= _MOST_BELOW
        yield Finding(
            "observational", f"floor of {site}", passed, least, _MOST_BELOW,
            f"{site}: scores of the five smallest models average {abs(least):.3f} "
            f"{'below' if least > 0 else 'above'} chance",
            "free the floor (free = true), because a fixed one that is too high makes the slope too steep",
        )  # fmt: skip
