"""Would the posterior move if the prior or the likelihood had a little more weight?"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from arviz_stats import psense

from bayescale.core.dims import FAMILY, RUN, runs_of
from bayescale.core.precision import float64
from bayescale.evaluation.checks.base import AbstractCheck, Finding
from bayescale.inference.diagnostics import scalars
from bayescale.inference.fit import Fit
from bayescale.modelling.grouping import together
from bayescale.parts.priors import Prior

_SENSITIVE = 0.05  # of the power-scaling diagnostic: Kallioinen et al.'s threshold
_WEIGHED = ("posterior", "log_prior", "log_likelihood")
_UNLIKE = 1.96  # SDs of a prior: one family of twenty lies beyond


class Sensitivity(AbstractCheck):
    """Power-scaling sensitivity of the law's parameters to prior and likelihood.

    A prior learned from other families is meant to inform a parameter together with the runs. For such a prior, the
    check is whether the family is similar to those families.
    """

    name = "sensitivity"
    source = "Kallioinen, Paananen, Buerkner, Vehtari 2023, arXiv:2107.14054 (arviz-stats psense)"
    asks = "would the posterior move if the prior had a little more weight?"
    of_each = True

    @staticmethod
    def ask(fit):
        posterior = fit.posterior
        law = fit.spec.law_part
        names = [fit.ways[name].population(name).name for name in law.parameters] if law else sorted(fit.sampled)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # ArviZ's: the tails have too few draws
                prior, likelihood = (
                    {
                        k: v
                        for tree in _alone(fit)
                        for k, v in scalars(psense(tree, var_names=names, group=group)).items()
                    }
                    for group in ("prior", "likelihood")
                )
        except (UserWarning, ValueError) as reason:  # ValueError if chains stood still
            return [_unanswered(str(reason))]
        learned = fit.spec.at(fit.meta["anchor"]).parameters if fit.spec.learned else {}
        drawn, found = scalars(posterior), []
        for site in prior:
            name, weighed = site.partition("[")[0], (float(prior[site]), float(likelihood[site]))
            if name in learned and not fit.spec.table[name].own:
                found.append(_likeness(site, learned[name].prior, drawn[site], *weighed))
            else:
                found.append(_finding(site, *weighed))
        return found


def _alone(fit: Fit) -> Iterator[xr.DataTree]:
    """Yield the tree of each family that depends on no other, or else that of all of them.

    Priors and likelihoods of other families say nothing of a family that is fitted alone, and would add noise.
    """
    runs = fit.design_frame
    lots = set(together([fit.spec], runs).values())
    if len(lots) == 1 or any(len(lot) > 1 for lot in lots):
        yield fit.tree
        return
    for family in fit.families:
        mine = {FAMILY: [family], RUN: np.flatnonzero(runs["family"] == family)}
        yield xr.DataTree.from_dict({group: _of(fit.tree[group].to_dataset(), mine) for group in _WEIGHED})


def _of(group: xr.Dataset, mine: dict[str, Any]) -> xr.Dataset:
    family = {FAMILY: mine[FAMILY]} if FAMILY in group.dims else {}
    over_runs = {RUN, *(runs_of(str(site)) for site in group)} & set(group.dims)
    return group.sel(family).isel({dim: np.isin(group[dim], mine[RUN]) for dim in over_runs})


def _finding(site: str, prior: float, likelihood: float) -> Finding:
    conflict = prior > _SENSITIVE and likelihood > _SENSITIVE
    return Finding(
        "sensitivity", site, prior <= _SENSITIVE, prior, _SENSITIVE,
        f"{site}: sensitivity {prior:.3f} to the prior, {likelihood:.3f} to the runs",
        "prior and runs disagree: look at the prior's interval (bayescale show models NAME)"
        if conflict
        else "the prior determines it: report it with that caveat, or add runs",
    )  # fmt: skip


def _likeness(site: str, learned: Prior, drawn: np.ndarray, prior: float, likelihood: float) -> Finding:
    with float64():
        middle = float(learned.transform.inv(np.median(drawn)))
    away = abs(middle - learned.loc) / learned.scale
    return Finding(
        "sensitivity", site, away <= _UNLIKE, away, _UNLIKE,
        f"{site}: {away:.1f} SDs from the middle of the families; "
        f"sensitivity {prior:.3f} to their prior, {likelihood:.3f} to the runs",
        "the family differs from the families its prior was learned from: also fit wide priors, and compare",
    )  # fmt: skip


def _unanswered(why: str) -> Finding:
    return Finding(
        "sensitivity", "draws", False, float("nan"), _SENSITIVE,
        f"too few draws to reweight prior and runs ({why.rstrip('.')})", "raise draws",
    )  # fmt: skip
