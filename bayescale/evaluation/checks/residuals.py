"""Are the residuals free of structure in params, tokens, tokens per param and family?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayescale.core.quantities import count
from bayescale.evaluation.checks.base import AbstractCheck, Finding
from bayescale.inference.average import AbstractFit
from bayescale.prediction.predict import predict

BINS = 6
"""Bins of a column, with equally many runs."""
_FEWEST = 5  # runs a bin
_LEAST_P = 0.01
_MOST_DRAWS = 1000
_MOST_RUNS = 10_000  # larger tables are thinned to every second, third … run, which is enough


class Residuals(AbstractCheck):
    """Posterior-predictive p-value of the mean rank of observations within bins of a column.

    A run's rank is the share of predictive draws below the observation, so heavy tails count no more than light ones.
    Replicated runs, ranked in the same way, show how far bins vary by chance.
    """

    name = "residuals"
    source = "Gelman, Meng, Stern 1996 (posterior predictive assessment)"
    asks = "do residuals drift with params, tokens, tokens per param or family?"

    @staticmethod
    def ask(fit):
        site = fit.observed[0]
        runs = fit.design_frame.dropna(subset=site)
        runs = runs.iloc[:: -(-len(runs) // _MOST_RUNS)]
        draws = predict(fit, runs, seed=fit.meta["seed"], only=site, most=_MOST_DRAWS)
        observed = runs[site].to_numpy()
        rank = ((draws < observed).mean(axis=0) + (draws <= observed).mean(axis=0)) / 2
        # A replicate's rank among the draws it is one of; ties do not occur in continuous draws.
        replicated = (draws.argsort(axis=0).argsort(axis=0) + 0.5) / len(draws)
        # How far each loss lies from its prediction; other responses have no common unit.
        off = np.log(observed) - np.log(np.median(draws, axis=0)) if site == "loss" else None
        return [_finding(subject, bins, labels, rank, replicated, off) for subject, bins, labels in _groups(runs, fit)]


def _groups(runs: pd.DataFrame, fit: AbstractFit) -> list[tuple[str, np.ndarray, list[str]]]:
    spent = [name for name in ("params", "tokens") if name in runs]
    columns = {name: runs[name] for name in spent or fit.inputs}
    if len(spent) > 1:
        columns["tokens per param"] = runs["tokens"] / runs["params"]
    count_bins = min(BINS, len(runs) // _FEWEST)
    groups = []
    for subject, values in columns.items():
        if count_bins < 2 or values.nunique() < 2:
            continue
        bins, edges = pd.qcut(values, count_bins, labels=False, retbins=True, duplicates="drop")
        labels = [f"{count(a)} to {count(b)}" for a, b in zip(edges[:-1], edges[1:], strict=True)]
        groups.append((subject, bins.to_numpy(), labels))
    if len(fit.families) > 1:
        codes = np.searchsorted(fit.families, runs["family"])
        groups.append(("family", codes, fit.families))
    return groups


def _apart(off: np.ndarray) -> str:
    """The median distance of log losses from their predictions, in percent and words."""
    middle = float(np.expm1(np.median(off)))
    return f"{abs(middle):.2%} {'above' if middle >= 0 else 'below'}"


def _finding(
    subject: str, bins: np.ndarray, labels: list[str], rank: np.ndarray, replicated: np.ndarray, off: np.ndarray | None
) -> Finding:
    sizes = np.bincount(bins, minlength=len(labels))

    def excess(ranks: np.ndarray) -> np.ndarray:
        """Squared mean rank of every bin about 1/2, in units of a uniform's variance."""
        sums = np.stack([np.bincount(bins, weights=r - 0.5, minlength=len(labels)) for r in ranks])
        return 12 * sums**2 / np.maximum(sizes, 1)

    mine = excess(rank[None])[0]
    p = float((1 + (excess(replicated).sum(axis=1) >= mine.sum()).sum()) / (1 + len(replicated)))
    worst = int(mine.argmax())
    mean = rank[bins == worst].mean()
    size = "" if off is None else f"; half of these losses lie at least {_apart(off[bins == worst])} their predictions"
    drift = "the errors drift with" if p < _LEAST_P else "the errors do not clearly drift with"
    return Finding(
        "residuals", subject, p >= _LEAST_P, p, _LEAST_P,
        f"{drift} {subject} (p = {p:.3f} if the model is right): at {subject} {labels[worst]}, an observation is on "
        f"average above {mean:.0%} of the draws that predict it, where 50% is expected{size}",
        "another law may bend where this one does not: fit coupled or drift, and compare",
    )  # fmt: skip
