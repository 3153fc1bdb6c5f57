"""Is the family one of those that its priors were learnt from families like?"""

from __future__ import annotations

import math

import numpy as np

from bayescale.evaluation.checks.base import AbstractCheck, Finding
from bayescale.prediction.extrapolation import UNLIKE, novelty


class Novelty(AbstractCheck):
    """How far the runs' anchor lies outside the range of anchors that priors were learnt from.

    The figure is the distance in e-folds. Where a spec has no such range, nothing is asked.
    """

    name = "novelty"
    source = "beyond the range that a regression was learnt from, its slopes are not known"
    asks = "do the runs lie where the priors were learnt?"
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
                novelty(fit) or "the priors were learnt from families with runs of such params and tokens",
                "the priors are wider here, and backtests of other families do not speak for this one: compare with a "
                "spec with wide priors (coupled-unpooled), or learn from families of such sizes (bayescale learn)",
            )
        ]  # fmt: skip
