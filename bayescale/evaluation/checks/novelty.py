"""Is the family similar to the families that its priors were learned from?"""

from __future__ import annotations

import math

import numpy as np

from bayescale.evaluation.checks.base import AbstractCheck, Finding
from bayescale.prediction.extrapolation import UNLIKE, novelty


class Novelty(AbstractCheck):
    """Distance of the runs' anchor outside the range of anchors that the priors were learned from.

    The figure is the distance in e-folds. A spec without such a range is not checked.
    """

    name = "novelty"
    source = "outside the range that a regression was learned from, its slopes are not known"
    asks = "are the runs inside the range that the priors were learned from?"
    of_each = True

    @staticmethod
    def ask(fit):
        if not fit.spec.range:
            return []
        outside = fit.spec.outside({column: np.log(fit.meta["anchor"][column]) for column in fit.spec.inputs})
        away = math.hypot(*outside.values())
        return [
            Finding(
                "novelty", "anchor", away <= UNLIKE, away, UNLIKE,
                novelty(fit) or "the priors were learned from families with runs of such params and tokens",
                "the priors are wider here, and backtests of other families are no evidence for this one: compare with "
                "a spec with wide priors (coupled-unpooled), or learn from families of similar size (bayescale learn)",
            )
        ]  # fmt: skip
