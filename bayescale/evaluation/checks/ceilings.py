"""Have the runs risen far enough for a ceiling to be known?"""

from __future__ import annotations

import numpy as np

from bayescale.evaluation.checks.base import AbstractCheck, Finding
from bayescale.inference.fit import Fit
from bayescale.modelling.model import Instance

_LEAST = 0.5  # of the prior's variance of the ceiling that is gone after the runs are seen


class Ceilings(AbstractCheck):
    """How much narrower the runs make each ceiling, in the Gaussian coordinate of its prior.

    Before the accuracy bends toward its ceiling, the ceiling is that of the prior, and of the other benchmarks of a
    battery. Forecasts far beyond the runs then rest on it.
    """

    name = "ceilings"
    source = "identification of a sigmoid: its upper end is unknown before the inflection"
    asks = "do the runs say where the accuracy of each benchmark ends?"
    of_each = True

    @staticmethod
    def ask(fit):
        return [_finding(of, fit) for of in fit.spec.instances if "ceiling" in of.response.parameters]


def _finding(of: Instance, fit: Fit) -> Finding:
    name = of.parameter("ceiling")
    prior, draws = fit.spec.parameters[name].prior, fit.posterior[name]
    if of.battery in draws.dims:
        draws = draws.sel({of.battery: of.name})
    value = np.asarray(prior.transform.inv(draws.to_numpy()))
    known = float(1 - value.reshape(*value.shape[:2], -1).var(axis=(0, 1)).max() / prior.scale**2)
    low, high = np.quantile(draws.to_numpy(), [0.05, 0.95])
    return Finding(
        "ceilings", of.name, known >= _LEAST, known, _LEAST,
        f"{of.name}: ceiling {low:.2f} to {high:.2f}, variance {max(known, 0):.0%} smaller than the prior's",
        "accuracies far beyond the runs rest on the prior of the ceiling: say so, or add larger runs",
    )  # fmt: skip
