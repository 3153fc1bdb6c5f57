"""How much of the error of a forecast score comes from the loss?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayescale.evaluation.checks.base import AbstractCheck, Finding
from bayescale.modelling.model import Instance
from bayescale.prediction.predict import predict
from bayescale.runs.columns import AMOUNTS

_BEYOND = 10.0  # times the compute of the runs, as the default budget of a decision
_MOST = 0.75  # share of the variance: the interval is then twice as wide as if the loss were known
_BINS = 20  # each spans a twentieth of the draws, so that the loss hardly varies within one
_MOST_DRAWS = 500
_KINDS = ("count", "share")


class Compounding(AbstractCheck):
    r"""The share of the variance of a forecast score that the loss step brings, at ten times the largest compute.

    .. math:: \frac{\mathrm{Var}\left(\mathrm{E}[\text{score} \mid \text{loss}]\right)}{\mathrm{Var}(\text{score})}

    Both are draws of a new run, with the noise of both steps. The rest is the error of the curve from loss to score,
    and the noise of its items. A direct law has no loss step, so this share is the most that it can save; but it learns
    from the scores alone how they change with params and tokens. A small share says to keep two steps. A large one says
    to compare with a direct law, and to prefer that one if it forecasts held-out runs better. Families are averaged.
    """

    name = "compounding"
    source = "the law of total variance; the correlation ratio of Pearson 1905, in bins and adjusted as by Kelley 1935"
    asks = "how much of the error of a forecast score comes from the loss, which a direct law does not need?"
    of_each = True

    @staticmethod
    def ask(fit):
        loss = next((of for of in fit.spec.instances if of.is_loss), None)
        asked = [of for of in fit.spec.instances if of.response.kind in _KINDS]
        if loss is None or not asked or not set(fit.inputs) <= set(AMOUNTS):
            return []
        runs = fit.design_frame
        more = {name: runs[name] * _BEYOND ** (1 / len(fit.inputs)) for name in fit.inputs}
        known = {column: runs[column].median() for of in asked for column in of.requires.values()}
        largest = runs.assign(size=runs[list(fit.inputs)].prod(axis=1)).groupby("family")["size"].idxmax()
        queries = runs.assign(**more, **known).loc[largest]
        sites = predict(fit, queries, seed=fit.meta["seed"], most=_MOST_DRAWS)
        return [_finding(of, queries, sites[loss.site], sites[of.site]) for of in asked]


def share_of_loss(loss: np.ndarray, score: np.ndarray) -> float:
    """Return the share of the variance of scores that the loss explains: 0 to 1, whatever the curve.

    Parameters
    ----------
    loss, score : ndarray, shape (draw,)
        Draws that belong together.

    Returns
    -------
    float
    """
    bins = np.array_split(score[np.argsort(loss)], _BINS)
    within = sum(float(((one - one.mean()) ** 2).sum()) for one in bins) / (len(score) - len(bins))
    return float(np.clip(1 - within / max(score.var(ddof=1), np.finfo(float).tiny), 0, 1))


def _finding(of: Instance, queries: pd.DataFrame, loss: np.ndarray, score: np.ndarray) -> Finding:
    scored = of.scored(score, queries)
    share = float(np.mean([share_of_loss(*one) for one in zip(loss.T, scored.T, strict=True)]))
    return Finding(
        "compounding", of.name, share <= _MOST, share, _MOST,
        f"{of.name}: at {_BEYOND:g} times the largest compute, {share:.0%} of the variance of a forecast comes from "
        "the loss, and the rest from the curve and the items",
        "compare with a direct law (direct-accuracy), or stack both; prefer it if it forecasts held-out runs better",
    )  # fmt: skip
