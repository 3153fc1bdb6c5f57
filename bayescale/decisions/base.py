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

from bayescale.core.verdict import Verdict
from bayescale.inference.average import AbstractFit


class AbstractDecision(ABC):
    """A problem: frozen settings, and how to solve it on a fit."""

    name: ClassVar[str]
    source: ClassVar[str]

    @abstractmethod
    def solve(self, fit: AbstractFit) -> Choice:
        """Return the action of highest expected utility under the fit's draws."""


class Choice(ABC):
    """What was chosen, what it is expected to cost against hindsight, and how sure that is."""

    @property
    @abstractmethod
    def verdict(self) -> Verdict:
        """Whether the fit behind it has converged."""

    @property
    @abstractmethod
    def problem(self) -> str:
        """What was asked, in words."""

    @property
    @abstractmethod
    def asked(self) -> dict[str, Any]:
        """What was asked, as plain values: those of :meth:`to_dict` that are no answer."""

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


@dataclass(frozen=True, eq=False)
class Withheld(Choice):
    """No recommendation: the fit has not converged. It says why, and what to do.

    Attributes
    ----------
    provisional : Choice
        What would have been chosen by the draws as they are. Chains that disagree have no common posterior, so that
        its regret, too, is that of an arbitrary mixture: for diagnosis only.
    """

    provisional: Choice

    @property
    def verdict(self) -> Verdict:
        """Why there is no recommendation."""
        return self.provisional.verdict

    @property
    def problem(self) -> str:
        """What was asked, in words."""
        return self.provisional.problem

    @property
    def asked(self) -> dict[str, Any]:
        """What was asked, as plain values."""
        return self.provisional.asked

    @property
    def reason(self) -> str:
        """Why there is no recommendation and what to do, on one line."""
        to_do = f"; to do: {'; '.join(self.verdict.advice)}" if self.verdict.advice else ""
        return f"no recommendation: {self.verdict}{to_do}"

    def to_dict(self) -> dict[str, Any]:
        """Keys as of a choice, without its answers: those are under ``provisional``."""
        found = self.provisional.to_dict()
        answers = {key: value for key, value in found.items() if key not in (*self.asked, "verdict")}
        return {
            **self.asked,
            **dict.fromkeys(answers),
            "verdict": str(self.verdict),
            "reasons": list(self.verdict.problems),
            "advice": list(self.verdict.advice),
            "provisional": answers,
        }

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(f"no recommendation, and so no {name}: {self.verdict}")

    def __repr__(self) -> str:
        lines = [f"{self.verdict.status}: no recommendation", self.problem]
        lines += [f"  reason       {problem}" for problem in self.verdict.problems]
        lines += [f"  to do        {advice}" for advice in self.verdict.advice]
        return "\n".join(lines)


def decide(decision: AbstractDecision, fit: AbstractFit) -> Choice:
    """Solve a decision problem on a fit.

    Parameters
    ----------
    decision : AbstractDecision
        The problem, such as an :class:`Allocation`.
    fit : Fit or Average
        The posterior.

    Returns
    -------
    Choice
        The action of highest expected utility; of a fit that has not converged a :class:`Withheld`, which recommends
        nothing.

    Examples
    --------
    >>> decide(Allocation(flops=1e24), fit)  # doctest: +SKIP
    """
    choice = decision.solve(fit)
    return choice if choice.verdict.ok else Withheld(choice)


@dataclass(frozen=True, eq=False)
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
