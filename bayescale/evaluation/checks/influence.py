"""Which few runs does the answer depend on?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from arviz_stats.base import array_stats

from bayescale.core.errors import QueryError
from bayescale.core.quantities import count
from bayescale.decisions.derived import frontier
from bayescale.evaluation.checks.base import AbstractCheck, Finding
from bayescale.prediction.queries import counts_flops, flops_of

_SDS = 1.0  # posterior SDs by which a few runs may move an answer, however small the change
_FEWEST = 100  # draws whose tail shows the shape of their weights
_RELIABLE = 0.7  # largest Pareto shape at which reweighted draws are used: Vehtari et al. 2024
_CLUSTER = 5  # runs that lie together
_LEAST_LEFT = 4  # runs of a family for each run that is left out
_AHEAD = 10.0  # compute of the answer, as a multiple of the family's largest run: the default budget of reports
_ANSWERS = {"tokens_per_param": "the best tokens per param", "loss": "the loss of the best split"}
# Factors by which an answer may change, however narrow its posterior: a ratio 1.5 times too high wastes about 1% of
# compute, and so does a loss that is forecast 0.5% too low, near 1e23 FLOP.
_MATTERS = {"tokens_per_param": 1.5, "loss": 1.005}


class Influence(AbstractCheck):
    r"""Change of the best split, and of its loss, if some runs are left out.

    Each run is left out, and each cluster of five runs that lie together in params and tokens, as strays often do;
    also the runs that the table marks as excluded. To first order, leaving out runs :math:`G` moves the mean of an
    answer :math:`g` by :math:`-\sum_{i \in G} \operatorname{cov}(g, \ln p(y_i))` over the draws. This finds the runs
    with the largest effect. For these, the draws are reweighted by Pareto-smoothed importance sampling. Where its
    shape says that the weights are not reliable, the first-order change is reported, which may be half or twice the
    true one: only a fit without the runs is exact. A change fails if it is over one posterior SD, and large enough to
    matter: a factor of 1.5 in tokens per param, or 0.5% of the loss.
    """

    name = "influence"
    source = (
        "Broderick, Giordano & Meager 2020, arXiv:2011.14999 (runs that move an answer most); Vehtari et al. 2024, "
        "arXiv:1507.02646 (Pareto-smoothed importance sampling)"
    )
    asks = "does the answer depend on a few runs?"
    of_each = True

    @staticmethod
    def ask(fit):
        runs = fit.design_frame
        if "log_likelihood" not in fit.tree or not counts_flops(fit) or not {"params", "tokens"} <= set(runs):
            return []
        flops = flops_of(runs).to_numpy(float)
        found = []
        for family, rows in runs.groupby("family", sort=False).indices.items():
            if len(rows) < 2 * _LEAST_LEFT:
                continue
            try:
                answers = _answers(fit, str(family), _AHEAD * flops[rows].max())
            except QueryError:
                return []  # the law has no best split
            found += _findings(fit, str(family), rows, answers, _AHEAD * flops[rows].max())
        return found


@dataclass(frozen=True)
class _Change:
    """What leaving out some runs does to one answer."""

    rows: tuple[int, ...]
    sds: float
    factor: float
    shape: float


def _answers(fit, family: str, flops: float) -> dict[str, np.ndarray]:
    """Return the log of each answer, shape (draw,)."""
    draws = frontier(fit, flops, family=family).draws
    return {name: np.log(draws[name].to_numpy()[:, 0]) for name in _ANSWERS}


def _findings(fit, family: str, rows: np.ndarray, answers: dict[str, np.ndarray], flops: float) -> list[Finding]:
    weight = _log_likelihoods(fit, len(next(iter(answers.values()))))
    runs, found = fit.design_frame, []
    marked = rows[runs["exclusion"].iloc[rows].to_numpy(str) != ""] if "exclusion" in runs else rows[:0]
    marked = marked if len(marked) < len(rows) - _LEAST_LEFT else rows[:0]
    for name, answer in answers.items():
        change = _largest(answer, weight, _groups(runs, rows))
        found.append(_finding(runs, family, name, answer, change, flops))
        if len(marked) and set(marked) != set(change.rows):
            without = _changed(answer, weight, tuple(marked))
            found.append(_finding(runs, family, name, answer, without, flops, "marked as excluded"))
    return found


def _log_likelihoods(fit, draws: int) -> np.ndarray:
    """Return the log likelihood of each run, summed over responses, shape (draw, run), of the draws of an answer."""
    total = sum(values.fillna(0.0).to_numpy() for values in fit.tree["log_likelihood"].data_vars.values())
    chains, length = total.shape[:2]
    thin = -(-chains * length // draws)
    return total[:, ::thin].reshape(draws, -1)


def _groups(runs: pd.DataFrame, rows: np.ndarray) -> list[tuple[int, ...]]:
    """Return each run alone, and each cluster of runs that are nearest to one of them."""
    size = min(_CLUSTER, len(rows) // _LEAST_LEFT)
    at = np.log(runs[["params", "tokens"]].to_numpy(float)[rows])
    far = ((at[:, None] - at[None]) ** 2).sum(axis=-1)
    near = np.argsort(far, axis=1, kind="stable")[:, :size]
    clusters = {tuple(sorted(rows[of].tolist())) for of in near}
    return [*((int(row),) for row in rows), *sorted(clusters)]


def _largest(answer: np.ndarray, weight: np.ndarray, groups: list[tuple[int, ...]]) -> _Change:
    """Return the change by the group with the largest effect, to first order."""
    slope = (answer - answer.mean()) @ (weight - weight.mean(axis=0)) / len(answer)
    effects = np.array([slope[list(group)].sum() for group in groups])
    return _changed(answer, weight, groups[int(np.abs(effects).argmax())])


def _changed(answer: np.ndarray, weight: np.ndarray, rows: tuple[int, ...]) -> _Change:
    left_out, middle = weight[:, list(rows)].sum(axis=1), answer.mean()
    moved, shape = -float((answer - middle) @ (left_out - left_out.mean()) / len(answer)), np.inf
    if len(answer) >= _FEWEST:
        log_weights, shape = array_stats.psislw(left_out)  # draws are weighted against the likelihood that it is given
    if shape <= _RELIABLE:
        weights = np.exp(log_weights - log_weights.max())
        moved = float(weights @ answer / weights.sum() - middle)
    return _Change(rows, moved / float(answer.std()), float(np.exp(moved)), float(shape))


def _finding(
    runs: pd.DataFrame, family: str, name: str, answer: np.ndarray, change: _Change, flops: float, why: str = ""
) -> Finding:
    few = f"{len(change.rows)} run{'s' * (len(change.rows) > 1)}"
    which = f"{few} {why}" if why else f"{few} ({_named(runs, change.rows)})"
    before = float(np.exp(np.median(answer)))
    how = "" if change.shape <= _RELIABLE else ", to first order; reweighting is not reliable here (Pareto shape "
    how += f"{change.shape:.2f})" * bool(how)
    sentence = (
        f"{family}: without {which}, {_ANSWERS[name]} at {flops:.2e} FLOP goes from {before:.4g} to "
        f"{before * change.factor:.4g}: {abs(change.sds):.1f} posterior SDs{how}"
    )
    figure = min(abs(change.sds) / _SDS, abs(np.log(change.factor)) / np.log(_MATTERS[name]))
    return Finding(
        "influence", f"{family}: {name}", bool(figure <= 1), float(figure), 1.0, sentence,
        "look at these runs; fit without them (--exclude, or runs.where), and report both answers",
    )  # fmt: skip


def _named(runs: pd.DataFrame, rows: tuple[int, ...]) -> str:
    few = runs.iloc[list(rows)]
    if "run_id" in few:
        return ", ".join(few["run_id"].astype(str))
    sizes = zip(few["params"], few["tokens"], strict=True)
    return "; ".join(f"{count(n)} params on {count(d)} tokens" for n, d in sizes)
