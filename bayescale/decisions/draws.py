"""Draws: what is read from draws of an outcome, some of which may be infinite, and from their ranks."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from bayescale.core.dims import QUANTILES
from bayescale.core.errors import QueryError
from bayescale.core.quantities import count
from bayescale.decisions.choice import Choice

ENDS = ("q05", "q50", "q95")
_SAME = 1e-9
_FEW = 0.001  # of the loss: runs that differ in nothing but their seed differ by as much
_SURE = 0.8  # probability of the best, below which a larger regret leaves the choice open


def ends(x: np.ndarray) -> dict[str, float | None]:
    """Return the 5%, 50% and 95% quantiles of draws of which some may be infinite.

    Parameters
    ----------
    x : ndarray, shape (draw,)

    Returns
    -------
    dict
        ``q05 q50 q95``, each one of the draws; None if it is infinite.

    Examples
    --------
    >>> ends(np.array([1.0, 2.0, np.inf]))
    {'q05': 1.0, 'q50': 2.0, 'q95': None}
    """
    return {name: finite(np.quantile(x, QUANTILES[name], method="inverted_cdf")) for name in ENDS}


def finite(x: Any) -> float | None:
    """Return a number, or None if it is infinite.

    Parameters
    ----------
    x : float

    Returns
    -------
    float or None
    """
    return float(x) if np.isfinite(x) else None


def written(x: float | None, otherwise: str, digits: int = 3, *, least: float = 0.0) -> str:
    """Write a number for people to read.

    Parameters
    ----------
    x : float or None
    otherwise : str
        What is written for None.
    digits : int
        Significant digits.
    least : float
        The smallest number that was looked at: one that is no larger may be smaller in truth, and is written so.

    Returns
    -------
    str
    """
    if x is None:
        return otherwise
    return f"under {count(least, digits)}" if x <= least * (1 + _SAME) else count(x, digits)


def chances(losses: np.ndarray) -> np.ndarray:
    """Return the probability that each action has the least loss.

    Parameters
    ----------
    losses : ndarray, shape (draw, action)

    Returns
    -------
    ndarray, shape (action,)
        It sums to one; actions that tie share a draw.
    """
    least = losses == losses.min(axis=1, keepdims=True)
    return np.asarray((least / least.sum(axis=1, keepdims=True)).mean(axis=0))


def kendall_tau(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return Kendall's tau between two rankings in each draw: the share of pairs in one order, less that in the other.

    Parameters
    ----------
    one, other : ndarray, shape (draw, …, item)
        Shapes that broadcast.

    Returns
    -------
    ndarray, shape (draw, …)
        A pair that ties counts for neither share. 1 if the rankings agree, -1 if one is the reverse of the other.

    Examples
    --------
    >>> kendall_tau(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 3.0, 2.0]])).round(2)
    array([0.33])
    """
    pairs = [(i, j) for i, j in combinations(range(one.shape[-1]), 2)]
    signs = [np.sign(one[..., i] - one[..., j]) * np.sign(other[..., i] - other[..., j]) for i, j in pairs]
    return np.mean(signs, axis=0)


def promote(utility: np.ndarray, keep: int) -> tuple[list[int], np.ndarray]:
    """Choose the actions to carry to the next stage, at which the best of them becomes known.

    Actions are added one after another, each the one that lowers the expected regret of the set the most. An action
    that is good where the others are poor comes before one that is slightly better on average.

    Parameters
    ----------
    utility : ndarray, shape (draw, action)
    keep : int
        Number of actions to keep.

    Returns
    -------
    chosen : list of int
        Actions, in the order in which they were added.
    regret : ndarray, shape (keep,)
        Expected utility lost against each draw's best action by the first, the first two, … of them.

    Raises
    ------
    QueryError
        If `keep` is out of range.

    Examples
    --------
    >>> chosen, regret = promote(np.array([[3.0, 2.9, 0.0], [1.0, 1.1, 3.0]]), 2)
    >>> chosen, [round(float(r), 2) for r in regret]
    ([0, 2], [1.0, 0.0])
    """
    if not 1 <= keep <= utility.shape[1]:
        raise QueryError("cannot keep that number of actions", expected=f"1 to {utility.shape[1]}", got=str(keep))
    reached = np.full(len(utility), -np.inf)
    chosen, regret = list[int](), list[float]()
    for _ in range(keep):
        scores = np.maximum(reached[:, None], utility).mean(axis=0)
        scores[chosen] = -np.inf
        chosen.append(int(scores.argmax()))
        reached = np.maximum(reached, utility[:, chosen[-1]])
        regret.append(float((utility.max(axis=1) - reached).mean()))
    return chosen, np.array(regret)


def unsettled(choice: Choice, sure: float) -> str:
    """Return why the runs do not settle which loss is least; empty if they do.

    They do if the chosen action is best with a probability of at least 0.8, or if its regret is so small that another
    would do as well.

    Parameters
    ----------
    choice : Choice
        Of a decision whose outcome is a loss.
    sure : float
        Probability that the chosen action is best, which the noise of a run does not change.

    Returns
    -------
    str
    """
    share = choice.regret / float(choice.outcome.to_numpy()[:, choice.best.action].mean())
    if share <= _FEW or sure >= _SURE:
        return ""
    return (f"{choice.name_of(choice.best.action)} is best with probability {sure:.2f}, and its expected regret is "
            f"{share:.1%} of the loss")  # fmt: skip
