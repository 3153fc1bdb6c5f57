"""Which few runs does the answer depend on?"""

from __future__ import annotations

from bayescale.decisions.allocation import default_budget
from bayescale.decisions.influence import Change, influence
from bayescale.evaluation.checks.base import AbstractCheck, Finding
from bayescale.prediction.queries import counts_flops


class Influence(AbstractCheck):
    """Change of the best split, and of its loss, if some runs are left out, at ten times the family's largest compute.

    The runs are the one, or the five that lie together, without which the answer changes most, and those that the table
    marks as excluded. A change fails if it is over one posterior SD, and large enough to matter: a factor of 1.5 in
    tokens per param, or 0.5% of the loss. Only a fit without the runs is exact.
    """

    name = "influence"
    source = (
        "Broderick, Giordano & Meager 2020, arXiv:2011.14999 (runs that move an answer most); Vehtari et al. 2024, "
        "arXiv:1507.02646 (Pareto-smoothed importance sampling)"
    )
    asks = "does the answer depend on a few runs?"
    of_each = True

    @staticmethod
    def ask(fit):
        if not counts_flops(fit):
            return []
        return [_finding(family, change) for family in fit.families
                for change in influence(fit, family, default_budget(fit, family))
                if change.answer in change.runs.moves or not change.runs.moves]  # fmt: skip


def _finding(family: str, change: Change) -> Finding:
    return Finding(
        "influence", f"{family}: {change.answer}", not change.matters, change.size, 1.0, f"{family}: {change}",
        "look at these runs; fit without them (--exclude, or runs.where), and report both answers",
    )  # fmt: skip
