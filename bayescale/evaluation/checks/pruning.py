"""Does pruned data beat a power law in tokens?"""

from __future__ import annotations

from bayescale.evaluation.checks.base import AbstractCheck, Finding
from bayescale.parts.resources.quality import Pruning

_SURE = 0.95


class PruningTrend(AbstractCheck):
    """The probability that at a fixed kept share the loss falls faster in tokens than without pruning.

    It is that of a negative `prune_trend`. It passes if the runs decide, in either direction. A spec without the
    resource `pruning` is not checked.
    """

    name = "pruning"
    source = "Sorscher et al. 2022, arXiv:2206.14486: whether pruning can beat power-law scaling"
    asks = "do the runs decide whether pruning beats a power law in tokens?"
    of_each = True

    @staticmethod
    def ask(fit):
        if Pruning.name not in fit.spec.resources:
            return []
        site = fit.ways["prune_trend"].population("prune_trend").name
        beats = float((fit.posterior[site] < 0).mean())
        sure = max(beats, 1 - beats)
        return [
            Finding(
                "pruning", "prune_trend", sure >= _SURE, sure, _SURE,
                f"at a fixed kept share the loss falls faster in tokens than without pruning: probability {beats:.2g}",
                "add runs of the same shares at more tokens: the trend of their worth is not yet known",
            )
        ]  # fmt: skip
