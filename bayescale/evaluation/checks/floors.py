"""Do small models score below guessing where the model has its floor at guessing?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayescale.evaluation.checks.base import AbstractCheck, Finding
from bayescale.modelling.model import Instance

_SMALLEST = 0.25  # of the runs, by the size of their loss or compute
_FEWEST = 4  # runs among these
_SURE = -3.0  # standard errors below guessing


class Floors(AbstractCheck):
    """How far the runs of least compute score below guessing, in standard errors of their mean.

    A response whose floor is fixed at guessing fails where they are clearly below. One with an informed floor is not
    checked: it has learned where the floor is.
    """

    name = "floors"
    source = "the smallest runs of Gadre et al. 2024, arXiv:2403.08540: boolq 0.086 below guessing"
    asks = "do the smallest models score below guessing, where the floor is fixed at it?"
    of_each = True

    @staticmethod
    def ask(fit):
        asked = [of for of in fit.spec.instances if "chance" in of.requires and _is_fixed(of)]
        return [finding for of in asked for finding in _findings(of, fit.design_frame)]


def _is_fixed(of: Instance) -> bool:
    return "floor_odds" not in of.response.parameters


def _findings(of: Instance, runs: pd.DataFrame) -> list[Finding]:
    mine = runs.dropna(subset=of.site)
    size = "flops" if "flops" in mine else "tokens"
    small = mine.nsmallest(int(_SMALLEST * len(mine)), size)
    if len(small) < _FEWEST:
        return []
    below = of.scored(small[of.site].to_numpy(float), small) - small[of.requires["chance"]].to_numpy(float)
    error = np.std(below, ddof=1) / np.sqrt(len(below))
    away = float(np.mean(below) / max(error, np.finfo(float).tiny))
    return [
        Finding(
            "floors", of.name, away >= _SURE, away, _SURE,
            f"{of.name}: the {len(small)} runs of least compute differ from guessing by {np.mean(below):+.3f} "
            f"({away:.1f} standard errors)",
            "let the runs inform the floor: use the response benchmark",
        )
    ]  # fmt: skip
