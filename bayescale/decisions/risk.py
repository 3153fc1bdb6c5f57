"""Attitudes to risk: a matrix of utilities, draws × actions → one score per action."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bayescale.core.errors import QueryError, nearest


class AbstractRisk(ABC):
    """An attitude to risk: it prefers the action with the higher score.

    Attributes
    ----------
    scope : {"law", "run"}
        What the utilities that it reads include. A regret compares actions under the law; a risk is that of a run, with
        discrepancies and noise.
    linear : bool
        Whether the score is a mean of utilities, which control variates do not change.
    """

    label: ClassVar[str]
    about: ClassVar[str]
    scope: ClassVar[str] = "law"
    linear: ClassVar[bool] = False

    @abstractmethod
    def score(self, utility: np.ndarray) -> np.ndarray:
        """Return the score of each action, shape (action,), from utilities of shape (draw, action)."""


@dataclass(frozen=True)
class Mean(AbstractRisk):
    """Expected utility: risk-neutral."""

    label = "mean"
    linear = True
    about = "the highest expected utility"

    def score(self, utility: np.ndarray) -> np.ndarray:
        """Mean over draws."""
        return utility.mean(axis=0)


@dataclass(frozen=True)
class CVaR(AbstractRisk):
    """Conditional value at risk: the expected utility in the worst `tail` of the draws.

    Each action has its own worst draws. See Rockafellar and Uryasev (2000), doi:10.21314/JOR.2000.038.
    """

    tail: float = 0.1

    label = "cvar"
    scope = "run"
    about = "the highest expected utility in the worst tenth of the draws"

    def __post_init__(self) -> None:
        _check_share("tail", self.tail)

    def worst(self, draws: int) -> int:
        """Return how many of the draws are the worst ones."""
        return max(1, round(self.tail * draws))

    def score(self, utility: np.ndarray) -> np.ndarray:
        """Mean over the worst draws of each action."""
        count = self.worst(len(utility))
        return np.partition(utility, count - 1, axis=0)[:count].mean(axis=0)


@dataclass(frozen=True)
class Quantile(AbstractRisk):
    """The utility that an action reaches with probability `level`."""

    level: float = 0.9

    label = "quantile"
    scope = "run"
    about = "the highest utility that nine of ten draws reach"

    def __post_init__(self) -> None:
        _check_share("level", self.level)

    def score(self, utility: np.ndarray) -> np.ndarray:
        """Quantile over draws at one minus the level."""
        return np.quantile(utility, 1 - self.level, axis=0)


@dataclass(frozen=True)
class MinimaxRegret(AbstractRisk):
    """Minimax regret: prefers the action whose largest regret over draws is smallest.

    It depends on extreme draws, so it depends on the number of draws.
    """

    label = "minimax"
    about = "the smallest regret in the worst draw"

    def score(self, utility: np.ndarray) -> np.ndarray:
        """Largest regret over draws, negated."""
        return -(utility.max(axis=1, keepdims=True) - utility).max(axis=0)


RISKS: dict[str, type[AbstractRisk]] = {risk.label: risk for risk in (Mean, CVaR, Quantile, MinimaxRegret)}
"""Attitudes to risk, by name."""


def risk_of(name: str) -> AbstractRisk:
    """Return an attitude to risk by its name, with its default tail or level.

    Parameters
    ----------
    name : str
        A key of :data:`RISKS`.

    Returns
    -------
    AbstractRisk

    Raises
    ------
    QueryError
        If no attitude has the name.
    """
    if name not in RISKS:
        raise QueryError(f"no attitude to risk is called {name!r}", expected=f"one of: {', '.join(RISKS)}",
                         hint=nearest(name, RISKS))  # fmt: skip
    return RISKS[name]()


def _check_share(what: str, value: float) -> None:
    if not 0 < value < 1:
        raise QueryError(f"{what} is out of range", expected="a number between 0 and 1", got=str(value))
