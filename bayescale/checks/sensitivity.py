"""Would the posterior move if the prior or the likelihood weighed a little more?"""

from __future__ import annotations

import warnings

from arviz_stats import psense

from bayescale.checking import AbstractCheck, Finding
from bayescale.converging import scalars
from bayescale.law import part

_MOST = 0.05  # of the power-scaling diagnostic: Kallioinen et al.'s threshold


class Sensitivity(AbstractCheck):
    """Power-scaling sensitivity of the law's parameters to prior and likelihood."""

    name = "sensitivity"
    source = "Kallioinen, Paananen, Buerkner, Vehtari 2023, arXiv:2107.14054 (arviz-stats psense)"
    asks = "would the posterior move if the prior weighed a little more?"
    of_each = True

    @staticmethod
    def ask(fit):
        posterior = fit.posterior
        names = list(part("laws", fit.spec.law).parameters)
        names = [f"{n}_center" if f"{n}_center" in posterior else n for n in names]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # ArviZ's: the tails have too few draws
                prior, likelihood = (
                    scalars(psense(fit.tree, var_names=names, group=group)) for group in ("prior", "likelihood")
                )
        except (UserWarning, ValueError) as reason:  # the latter where chains stood still
            return [_unanswered(str(reason))]
        return [_finding(site, float(prior[site]), float(likelihood[site])) for site in prior]


def _finding(site: str, prior: float, likelihood: float) -> Finding:
    conflict = prior > _MOST and likelihood > _MOST
    return Finding(
        "sensitivity", site, prior <= _MOST, prior, _MOST,
        f"{site}: sensitivity {prior:.3f} to the prior, {likelihood:.3f} to the runs",
        "prior and runs disagree: look at the prior's interval (bayescale show models NAME)"
        if conflict
        else "the prior holds it: report it with that caveat, or add runs",
    )  # fmt: skip


def _unanswered(why: str) -> Finding:
    return Finding(
        "sensitivity", "draws", False, float("nan"), _MOST,
        f"too few draws to weigh prior and runs anew ({why.rstrip('.')})", "raise draws",
    )  # fmt: skip
