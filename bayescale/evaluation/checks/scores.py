"""Do the runs scatter around each benchmark's curve as the noise says?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayescale.evaluation.checks.base import AbstractCheck, Finding
from bayescale.modelling.model import Instance
from bayescale.modelling.sites import location_of
from bayescale.prediction.predictive import given_losses

_LEAST_P = 0.005
_MOST_DRAWS = 500
_KINDS = ("count", "share")
_TINY = 1e-9  # of a squared deviation, where a location is 0 or 1


class Scores(AbstractCheck):
    """Posterior-predictive p-value of the scatter of each benchmark around its curve, and how large the scatter is.

    The statistic is the mean over runs of the squared deviation from the location, in units of the variance of
    independent items. Replicated scores, drawn from the noise around the same curve, show how large it is by chance.
    The curve is read at the observed loss of each run, and replicates are of a run with this loss, so that the noise of
    the loss is not taken for scatter of the benchmark. Runs without a loss count only for a benchmark of which no run
    has a loss, and around the curve by the law.
    """

    name = "scores"
    source = "Gelman, Meng, Stern 1996 (posterior predictive assessment), of each benchmark"
    asks = "do the scores of each benchmark scatter around its curve as the noise says?"
    of_each = True

    @staticmethod
    def ask(fit):
        asked = [of for of in fit.spec.instances if of.response.kind in _KINDS]
        if not asked:
            return []
        runs = fit.design_frame
        sites = given_losses(fit, seed=fit.meta["seed"], most=_MOST_DRAWS)
        losses = [of.site for of in fit.spec.instances if of.is_loss][-1:]
        return [_finding(of, runs, _asked(of, runs, losses), sites) for of in asked]


def _asked(of: Instance, runs: pd.DataFrame, losses: list[str]) -> np.ndarray:
    """Return which runs have a score and, if any of these has one, a loss."""
    has = runs[of.site].notna().to_numpy()
    both = has & runs[losses].notna().all(axis=1).to_numpy()
    return both if both.any() else has


def _finding(of: Instance, runs: pd.DataFrame, has: np.ndarray, sites: dict[str, np.ndarray]) -> Finding:
    mine = runs[has]
    location = sites[location_of(of.name)][:, has]
    items = mine[of.requires["n_items"]].to_numpy(float) if "n_items" in of.requires else 1.0
    unit = location * (1 - location) / items + _TINY

    def scatter(values: np.ndarray) -> np.ndarray:
        return np.mean((of.scored(values, mine) - location) ** 2 / unit, axis=1)

    seen, drawn = scatter(mine[of.site].to_numpy(float)), scatter(sites[of.site][:, has])
    p = float((1 + (drawn >= seen).sum()) / (1 + len(drawn)))
    size = f" is {np.median(seen):.3g} times that of independent items" if "n_items" in of.requires else ""
    return Finding(
        "scores", of.name, p >= _LEAST_P, p, _LEAST_P,
        f"{of.name}: the scatter around the curve{size} (p = {p:.3f} if the model is right)",
        "use the noise over-dispersed" if of.noise.name == "binomial"
        else "the curve misses the runs: let the floor be informed (benchmark), or let it bend (bent-accuracy)",
    )  # fmt: skip
