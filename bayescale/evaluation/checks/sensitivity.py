"""Would the posterior move if the prior or the likelihood weighed a little more?"""

from __future__ import annotations

import warnings

import jax
import numpy as np
from arviz_stats import psense

from bayescale.evaluation.checks.base import AbstractCheck, Finding
from bayescale.inference.diagnostics import scalars
from bayescale.parts.catalogue import part
from bayescale.parts.priors import Prior

_SENSITIVE = 0.05  # of the power-scaling diagnostic: Kallioinen et al.'s threshold
_UNLIKE = 1.96  # SDs of a prior: of twenty families one lies beyond


class Sensitivity(AbstractCheck):
    """Power-scaling sensitivity of the law's parameters to prior and likelihood.

    A prior that was learnt from other families is meant to hold a parameter beside the runs. Of such a one it is asked
    whether the family is like those.
    """

    name = "sensitivity"
    source = "Kallioinen, Paananen, Buerkner, Vehtari 2023, arXiv:2107.14054 (arviz-stats psense)"
    asks = "would the posterior move if the prior weighed a little more?"
    of_each = True

    @staticmethod
    def ask(fit):
        posterior = fit.posterior
        names = [fit.ways[name].population(name).name for name in part("laws", fit.spec.law).parameters]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # ArviZ's: the tails have too few draws
                prior, likelihood = (
                    scalars(psense(fit.tree, var_names=names, group=group)) for group in ("prior", "likelihood")
                )
        except (UserWarning, ValueError) as reason:  # the latter where chains stood still
            return [_unanswered(str(reason))]
        learnt = fit.spec.at(fit.meta["anchor"]).parameters if fit.spec.learned else {}
        drawn, found = scalars(posterior), []
        for site in prior:
            name, weighed = site.partition("[")[0], (float(prior[site]), float(likelihood[site]))
            if name in learnt and not fit.spec.table[name].own:
                found.append(_likeness(site, learnt[name].prior, drawn[site], *weighed))
            else:
                found.append(_finding(site, *weighed))
        return found


def _finding(site: str, prior: float, likelihood: float) -> Finding:
    conflict = prior > _SENSITIVE and likelihood > _SENSITIVE
    return Finding(
        "sensitivity", site, prior <= _SENSITIVE, prior, _SENSITIVE,
        f"{site}: sensitivity {prior:.3f} to the prior, {likelihood:.3f} to the runs",
        "prior and runs disagree: look at the prior's interval (bayescale show models NAME)"
        if conflict
        else "the prior holds it: report it with that caveat, or add runs",
    )  # fmt: skip


def _likeness(site: str, learnt: Prior, drawn: np.ndarray, prior: float, likelihood: float) -> Finding:
    with jax.enable_x64(True):
        middle = float(learnt.transform.inv(np.median(drawn)))
    away = abs(middle - learnt.loc) / learnt.scale
    return Finding(
        "sensitivity", site, away <= _UNLIKE, away, _UNLIKE,
        f"{site}: {away:.1f} SDs of families from their middle; "
        f"sensitivity {prior:.3f} to their prior, {likelihood:.3f} to the runs",
        "the family is unlike those that its prior was learnt from: fit a spec with wide priors beside, and compare",
    )  # fmt: skip


def _unanswered(why: str) -> Finding:
    return Finding(
        "sensitivity", "draws", False, float("nan"), _SENSITIVE,
        f"too few draws to weigh prior and runs anew ({why.rstrip('.')})", "raise draws",
    )  # fmt: skip
