"""Stakes: what a decision stands to gain, as utilities of its actions under the draws."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from bayescale.decisions.base import AbstractDecision
from bayescale.decisions.solver import offered
from bayescale.inference.average import AbstractFit

_BLOCKS = 20  # of consecutive draws, left out in turn: long against the autocorrelation, yet 19 degrees of freedom
_CONTROLS = 2  # main directions of the gains, along which posterior means serve as controls


@dataclass(frozen=True, eq=False)
class Stakes:
    """What a decision stands to gain: the utility of its actions under the draws.

    Attributes
    ----------
    utility : ndarray, shape (chain·draw, action)
        Expected utility given each draw, chain by chain.
    outcome : ndarray, shape (chain·draw,)
        Outcome, under each draw, of the action that is best now: its level is what may be known better.
    chains : int
        Number of chains.
    """

    utility: np.ndarray
    outcome: np.ndarray
    chains: int

    @property
    def action(self) -> int:
        """The action that is best now."""
        return int(self.utility.mean(axis=0).argmax())

    @property
    def evpi(self) -> float:
        """Expected value of perfect information about the parameters."""
        return float(self.utility.max(axis=1).mean() - self.utility.mean(axis=0).max())

    @cached_property
    def gain(self) -> np.ndarray:
        """Utility above that of the best action now, of the actions that no other beats in every draw."""
        utility, now = self.utility, self.action
        kept = np.ones(utility.shape[1], bool)
        for best in np.unique(utility.argmax(axis=1)):
            worse = (utility <= utility[:, [best]]).all(axis=0)
            worse[[best, now]] = False
            kept &= ~worse
        return utility[:, kept] - utility[:, [now]]

    @cached_property
    def block(self) -> np.ndarray:
        """Block of consecutive draws of one chain that each draw is in, shape (chain·draw,)."""
        each = -(-_BLOCKS // self.chains)
        place = np.arange(len(self.utility) // self.chains)
        one = place * each // len(place)
        return np.concatenate([one + each * chain for chain in range(self.chains)])

    @cached_property
    def blocks(self) -> tuple[np.ndarray, np.ndarray]:
        """Draws of each block, and which of these places are filled; shapes (block, place)."""
        each = [np.flatnonzero(self.block == b) for b in range(self.block.max() + 1)]
        size = max(map(len, each))
        filled = np.array([np.arange(size) < len(rows) for rows in each])
        return np.array([np.pad(rows, (0, size - len(rows))) for rows in each]), filled

    @cached_property
    def half(self) -> np.ndarray:
        """Half that each draw is in: even or odd blocks, shape (chain·draw,)."""
        return self.block % 2

    @cached_property
    def directions(self) -> np.ndarray:
        """Main directions in which the gains of the actions vary over draws, shape (action, direction)."""
        away = self.gain - self.gain.mean(axis=0)
        return np.linalg.eigh(away.T @ away)[1][:, -_CONTROLS:]

    @cached_property
    def columns(self) -> np.ndarray:
        """What is averaged over draws: one, each action's gain, the centred outcome; shape (chain·draw, 2+action)."""
        return np.column_stack([np.ones(len(self.gain)), self.gain, self.outcome - self.outcome.mean()])

    @cached_property
    def sums(self) -> np.ndarray:
        """Sums of the columns over each block, shape (block, 2+action)."""
        return np.stack([self.columns[self.block == b].sum(axis=0) for b in range(self.block.max() + 1)])


def stakes_of(decision: AbstractDecision, fit: AbstractFit) -> Stakes:
    """Return what a decision stands to gain.

    Parameters
    ----------
    decision : AbstractDecision
    fit : Fit or Average

    Returns
    -------
    Stakes
    """
    return stakes_at(decision, fit, allowed_actions(decision, fit))


def allowed_actions(decision: AbstractDecision, fit: AbstractFit) -> pd.DataFrame:
    """Return the actions within the decision's limits: what is learned of others cannot be used.

    Parameters
    ----------
    decision : AbstractDecision
    fit : Fit or Average

    Returns
    -------
    DataFrame
    """
    actions, allowed = offered(decision, fit)
    return actions[allowed].reset_index(drop=True)


def stakes_at(decision: AbstractDecision, fit: AbstractFit, actions: pd.DataFrame, now: int | None = None) -> Stakes:
    """Return what a decision stands to gain by given actions.

    Parameters
    ----------
    decision : AbstractDecision
    fit : Fit or Average
    actions : DataFrame
    now : int, optional
        Row of the action that is best now; by default, that of highest expected utility.

    Returns
    -------
    Stakes
    """
    outcome, utility = _utility(decision, fit, actions)
    now = int(utility.mean(axis=0).argmax()) if now is None else now
    return Stakes(utility, outcome[:, now], fit.shape[0])


def _utility(decision: AbstractDecision, fit: AbstractFit, actions: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the outcome and the utility, each of shape (chain·draw, action), in the scope that the choice reads."""
    outcome = decision.outcome(fit, actions, decision.chosen_in)
    return outcome.to_numpy(), decision.utility(outcome, actions).to_numpy()
