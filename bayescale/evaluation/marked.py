"""What the best split of a budget would be without the runs that their table marks as excluded."""

from __future__ import annotations

from bayescale.core.quantities import count
from bayescale.decisions.allocation import default_budget
from bayescale.decisions.influence import answers_without, influence
from bayescale.inference.average import AbstractFit
from bayescale.inference.fit import Fit
from bayescale.prediction.queries import counts_flops


def without_marked(fit: AbstractFit) -> str:
    """Return what leaving out the marked runs of each family changes, at ten times its largest compute.

    Parameters
    ----------
    fit : Fit or Average

    Returns
    -------
    str
        Sentences without a stop at the end. Empty if no run is marked, or if the fit has no best split to change.
    """
    if not fit.excluded or not fit.converged or not counts_flops(fit):
        return ""
    of_models, of_families = len(fit.members) > 1, len(fit.families) > 1
    return ". ".join(
        f"{f'{name}: ' * of_models}{f'{family}: ' * of_families}Without {words}"
        for name, member in fit.members.items() for family in _with_marks(member) if (words := _changed(member, family))
    )  # fmt: skip


def _with_marks(fit: Fit) -> list[str]:
    """Return the families of which a run is marked: each costs the posterior of a best split."""
    runs = fit.design_frame
    if "exclusion" not in runs:
        return []
    return [str(family) for family in runs["family"][runs["exclusion"].astype(str) != ""].unique()]


def _changed(fit: Fit, family: str) -> str:
    flops = default_budget(fit, family)
    changes = influence(fit, family, flops)
    marked = [one.runs for one in changes if one.runs.all_marked]
    if not marked:
        return ""
    return f"{'them' if marked[0].count > 1 else 'it'}: at {count(flops)} FLOP, {answers_without(changes, marked[0])}"
