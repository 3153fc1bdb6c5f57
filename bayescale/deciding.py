"""Decision: actions and a utility → the action of highest expected utility, with its regret.

A problem is one matrix of utilities, draws × actions, in which all actions share the draws. What is
chosen has the highest mean; nothing is ever optimised at a mean of the parameters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from arviz_stats.base import array_stats

from bayescale.mixing import AbstractFit


class AbstractDecision(ABC):
    """A problem: frozen settings, and how to solve it on a fit."""

    name: ClassVar[str]
    source: ClassVar[str]

    @abstractmethod
    def solve(self, fit: AbstractFit) -> Choice:
        """Return the action of highest expected utility under the fit's draws."""


class Choice(ABC):
    """What was chosen, what it is expected to cost against hindsight, and how sure that is."""

    verdict: str

    @property
    def unsettled(self) -> str:
        """Why the runs do not settle what to choose; empty where they do. A choice that is unsettled gives ranges."""
        return ""

    @property
    def settled(self) -> bool:
        """Whether the runs say enough to name one action."""
        return not self.unsettled

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""


def decide(decision: AbstractDecision, fit: AbstractFit) -> Choice:
    """Solve a decision problem on a fit.

    Examples
    --------
    >>> decide(Allocation(flops=1e24), fit)  # doctest: +SKIP
    """
    return decision.solve(fit)


@dataclass(frozen=True)
class Best:
    """Solution of a matrix of losses, draws × actions.

    Attributes
    ----------
    action : int
        Column of least expected loss.
    expected_loss, regret : float
        Its mean loss, and how far on average it lies above the best action of each draw: the expected
        value of perfect information.
    regret_mcse : float
        Monte Carlo standard error of the regret, from paired differences.
    by_draw : ndarray of int, shape (draw,)
        Best action of each draw.
    """

    action: int
    expected_loss: float
    regret: float
    regret_mcse: float
    by_draw: np.ndarray


def best(losses: np.ndarray, chains: int) -> Best:
    """Solve a matrix of losses of shape (chain·draw, action)."""
    mean = losses.mean(axis=0)
    action = int(mean.argmin())
    regret = losses[:, action] - losses.min(axis=1)
    mcse = float(array_stats.mcse(regret.reshape(chains, -1))) if np.ptp(regret) else 0.0
    return Best(action, float(mean[action]), float(regret.mean()), mcse, losses.argmin(axis=1))
