"""Thinned: some draws and some actions of any choice as plain numbers, and choices from them.

A page that is read without Python makes the same choices from the same numbers.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from pandas.api.types import is_numeric_dtype

from bayescale.decisions.choice import Choice, preferred
from bayescale.decisions.risk import AbstractRisk, CVaR, Mean

DRAWS, ACTIONS = 400, 64
"""Draws and actions at most: 270 kB of a page."""
FEW = 8
"""Up to so many actions have no axis: each has a row of its own."""
NEAR = 2.0
"""Actions are near the best if they cost at most this many times the least expected regret."""
_SHARE, _TIMES = 0.25, 60.0  # of the actions, and times the least regret: other actions of an axis are of no interest
_LEVELS = (0.05, 0.25, 0.75, 0.95)


@dataclass(frozen=True, eq=False)
class Thinned:
    """Utilities of some draws and actions, relative to a scale and in single precision.

    Attributes
    ----------
    columns : ndarray of int, shape (action,)
        Rows of the choice's actions: in the order of their axis, or of their regret.
    axis : str
        Column of the actions that orders them; empty if none does.
    x : ndarray, shape (action,)
        Its values, or ranks.
    law, run : ndarray, shape (draw, action)
        Utilities under the law, and with discrepancies and noise.
    most : ndarray, shape (draw,)
        Utility of each draw's best action under the law, among all that are allowed.
    scale : float
        Utility of one unit of the numbers.
    mean_of : {"law", "run"}
        Which of them an expected utility reads.
    """

    columns: np.ndarray
    axis: str
    x: np.ndarray
    law: np.ndarray
    run: np.ndarray
    most: np.ndarray
    scale: float
    mean_of: str

    @cached_property
    def regret(self) -> np.ndarray:
        """Regret of each action in each draw, in the unit of the utility, shape (draw, action)."""
        return self.scale * (self.most[:, None] - self.law)

    @property
    def levels(self) -> np.ndarray:
        """Quantiles of the regret at 5, 25, 75 and 95%, shape (4, action)."""
        return np.quantile(self.regret, _LEVELS, axis=0)

    @property
    def near(self) -> np.ndarray:
        """Which actions are near the best, shape (action,)."""
        mean = self.regret.mean(axis=0)
        return mean <= NEAR * mean.min()

    def judged(self, tail: float) -> dict[str, Any]:
        """Choose an action.

        Parameters
        ----------
        tail : float
            The worst share of draws that each action is judged by; 1 is all of them.

        Returns
        -------
        dict
            ``action`` is a column of the numbers; its regret has a mean and a 90% interval.
        """
        risk: AbstractRisk = Mean() if tail == 1 else CVaR(tail)
        read = self.law if tail == 1 and self.mean_of == "law" else self.run
        return self.costs(preferred(risk, read, np.ones(len(self.columns), bool)))

    def costs(self, action: int) -> dict[str, Any]:
        """Return the regret of an action.

        Parameters
        ----------
        action : int

        Returns
        -------
        dict
        """
        low, high = np.quantile(self.regret[:, action], [_LEVELS[0], _LEVELS[-1]])
        return {"action": action, "regret": float(self.regret[:, action].mean()), "q05": float(low), "q95": float(high)}

    def to_dict(self, tails: Sequence[float]) -> dict[str, Any]:
        """Everything that :meth:`judged` reads, as plain values and base64 of little-endian numbers.

        Parameters
        ----------
        tails : sequence of float

        Returns
        -------
        dict
        """
        same = np.array_equal(self.law, self.run)
        return {
            "law": _text(self.law), "run": "" if same else _text(self.run), "most": _text(self.most),
            "scale": self.scale, "mean_of": self.mean_of,
            "worst": [[tail, len(self.most) if tail == 1 else CVaR(tail).worst(len(self.most))] for tail in tails],
        }  # fmt: skip


def thinned(choice: Choice, tails: Sequence[float]) -> Thinned | str:
    """Take even draws of a choice, and the actions that matter.

    Parameters
    ----------
    choice : Choice
    tails : sequence of float
        Shares of the draws that a cautious choice may be judged by: what they prefer is among the actions.

    Returns
    -------
    Thinned or str
        A text says why there is none.
    """
    law, run = choice.utility.to_numpy(), choice.run_utility.to_numpy()
    allowed = np.flatnonzero(choice.allowed & np.isfinite(law).all(axis=0) & np.isfinite(run).all(axis=0))
    if len(allowed) < 2:
        return "fewer than two actions are allowed and have a finite utility in every draw"
    if choice.best.action not in allowed:
        return "the utility of the chosen action is not finite in every draw"
    most, axis = law[:, choice.allowed].max(axis=1), axis_of(choice, allowed)
    regret = most.mean() - law[:, allowed].mean(axis=0)
    order = np.argsort(choice.actions[axis].to_numpy(float)[allowed] if axis else regret, kind="stable")
    asked = [choice.best.action, *(choice.preferred(CVaR(tail) if tail < 1 else Mean()) for tail in tails)]
    needed = np.flatnonzero(np.isin(allowed[order], asked))
    columns = allowed[order][_kept(regret[order], needed, bool(axis))]
    few = slice(None, None, -(-len(law) // DRAWS)), columns
    scale = float(max(np.abs(most).max(), *(np.abs(one[few]).max() for one in (law, run)))) or 1.0
    reads = "law" if np.array_equal(choice.read_by(Mean()), law) else "run"
    law, most, run = (np.float32(one / scale).astype(float) for one in (law[few], most[few[0]], run[few]))
    x = choice.actions[axis].to_numpy(float)[columns] if axis else np.arange(len(columns), dtype=float)
    return Thinned(columns, axis, x, law, run, most, scale, reads)


def axis_of(choice: Choice, allowed: np.ndarray) -> str:
    """Return the number that orders the actions: the first one that names them, if no two have the same.

    Parameters
    ----------
    choice : Choice
    allowed : ndarray of int
        Rows of the actions.

    Returns
    -------
    str
        Empty if there is none, or if there are few actions.
    """
    actions = choice.actions.iloc[allowed]
    names = [str(name) for name in choice.decision.key or actions if name in actions]
    differ = [name for name in names if actions[name].nunique() > 1]
    first = differ[0] if differ and len(allowed) > FEW else ""
    ordered = first and is_numeric_dtype(actions[first]) and actions[first].nunique() == len(actions)
    return first if ordered else ""


def _kept(mean: np.ndarray, needed: np.ndarray, ordered: bool) -> np.ndarray:
    """Which of the actions, in their order, are kept: all of a few; else those of least regret and those needed."""
    if len(mean) <= ACTIONS:
        return np.arange(len(mean))
    if not ordered:
        return np.union1d(np.arange(ACTIONS - len(needed)), needed)
    near = np.flatnonzero(mean <= max(_TIMES * mean.min(), float(np.quantile(mean, _SHARE))))
    low, high = min(near[0], needed[0]), max(near[-1], needed[-1])
    return np.union1d(np.linspace(low, high, ACTIONS - len(needed)).astype(int), needed)


def _text(values: np.ndarray) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")
