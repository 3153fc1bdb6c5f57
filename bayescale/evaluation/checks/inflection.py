"""Have the runs passed the inflection, without which an asymptote is its prior?"""

from __future__ import annotations

import numpy as np

from bayescale.core.dims import FAMILY
from bayescale.evaluation.checks.base import AbstractCheck, Finding
from bayescale.parts.laws.sigmoid import Sigmoid

_RISE = 0.6  # of the way from the start to the asymptote
_SURE = 0.9


class Inflection(AbstractCheck):
    """The probability that the largest run of a family has made at least 60% of the rise of its sigmoid.

    Before that, runs say that the score rises and not what it ends at: any asymptote fits, with an inflection to match.
    A spec without the law `sigmoid` is not checked.
    """

    name = "inflection"
    source = "Khatri et al. 2025, arXiv:2510.13786, who fit only runs well past the inflection"
    asks = "have the runs passed the inflection, so that they identify the asymptote?"
    of_each = True

    @staticmethod
    def ask(fit):
        if fit.spec.law != Sigmoid.name:
            return []
        (column,) = fit.spec.inputs
        return [_finding(family, _risen(fit, i, float(mine[column].max())))
                for i, (family, mine) in enumerate(sorted(fit.design_frame.groupby("family"), key=lambda one: one[0]))
                ]  # fmt: skip


def _risen(fit, family, largest):
    """Return draws of the share of the rise that the largest run of a family has made."""
    middle, steepness = (fit.posterior[name] for name in ("X_mid", "steepness"))
    middle, steepness = (x.isel({FAMILY: family}) if FAMILY in x.dims else x for x in (middle, steepness))
    return 1 / (1 + (middle.to_numpy() / largest) ** steepness.to_numpy())


def _finding(family, risen):
    low, middle, high = np.quantile(risen, [0.05, 0.5, 0.95])
    sure = float((risen >= _RISE).mean())
    return Finding(
        "inflection", str(family), sure >= _SURE, sure, _SURE,
        f"{family}: the largest run has made {middle:.0%} of the rise (90% interval {low:.0%} to {high:.0%})",
        "the prior determines the asymptote: say so, add longer runs, or average with a power law, which has none",
    )  # fmt: skip
