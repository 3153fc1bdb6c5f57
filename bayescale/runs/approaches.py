"""Approaches: the compute-optimal size read off runs, as Hoffmann et al. (2022) do before they fit a law.

Both are for comparison with a posterior of the law (their approach 3), and both are biased. The envelope keeps lucky
runs, and its sizes are only those that were trained. The vertex of a parabola is not the minimum of a loss curve, which
is not a parabola: even without noise, it moves with the range of sizes, with sizes that lie off the optimum, and with
unequal exponents of params and tokens (arXiv:2603.22339).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayescale.core.errors import RunsError
from bayescale.runs.columns import FLOPS_PER_PARAM_TOKEN
from bayescale.runs.table import Runs

_NEAR = np.log(1.3)  # of compute from a budget, up to which runs belong to it
_TIGHT = np.log(1.1)  # of compute from its middle, within which runs make a cluster
_CLUSTER = 5  # runs in a cluster: fewer show no minimum
_LEAST_SIZES, _LEAST_BUDGETS = 4, 2  # of a parabola that is not exact, and of a line


@dataclass(frozen=True, eq=False)
class Approach:
    """Optimal params by compute, as one of the approaches reads them off runs.

    Attributes
    ----------
    name : {"lower envelope", "IsoFLOP parabolas"}
    points : DataFrame
        What the line is fitted to, one optimum per row: ``flops params tokens loss``.
    exponent : float
        Slope of ln(params) on ln(FLOP): `a` in params ∝ FLOP^a.
    ln_coefficient : float
        Natural log of the params at 1 FLOP.
    left_out : int
        Budgets whose parabola has no minimum among their sizes.
    """

    name: str
    points: pd.DataFrame
    exponent: float
    ln_coefficient: float
    left_out: int = 0

    def params_at(self, flops: np.ndarray | float) -> np.ndarray:
        """Return the optimal params of budgets, by the fitted line.

        Parameters
        ----------
        flops : float or ndarray

        Returns
        -------
        ndarray
        """
        return np.exp(self.ln_coefficient + self.exponent * np.log(flops))


def lower_envelope(runs: Runs, *, family: str | None = None) -> Approach:
    """Approach 1: a line through the runs that no run of less compute beats.

    Parameters
    ----------
    runs : Runs
        With ``flops`` and ``loss``. Points of training curves may be rows of it.
    family : str, optional
        Required if there are several.

    Returns
    -------
    Approach

    Raises
    ------
    RunsError
        If there are several families, or fewer than two such runs of different compute.

    Examples
    --------
    >>> found = bs.lower_envelope(bs.load_runs("hoffmann2022"))
    >>> 0.4 < found.exponent < 0.6
    True
    """
    return envelope_of(_of_one(runs, family))


def envelope_of(table: pd.DataFrame) -> Approach:
    """Return approach 1 for the rows of a table of one family; see :func:`lower_envelope`."""
    ordered = table.sort_values(["flops", "loss"], kind="stable")
    best = ordered[ordered["loss"] <= ordered["loss"].cummin()]
    return _line("lower envelope", best[["flops", "params", "tokens", "loss"]])


def isoflop_minima(runs: Runs, *, family: str | None = None) -> Approach:
    """Approach 2: a parabola of loss in ln(params) for each budget, and a line through their vertices.

    Parameters
    ----------
    runs : Runs
        With ``flops`` and ``loss``. Budgets are the cells of column ``group``, if there is one; else, where the
        compute of runs clusters.
    family : str, optional
        Required if there are several.

    Returns
    -------
    Approach

    Raises
    ------
    RunsError
        If there are several families, or fewer than two budgets have a minimum among their sizes.

    Examples
    --------
    >>> found = bs.isoflop_minima(bs.load_runs("hoffmann2022").where(exclusion=""))
    >>> 0.4 < found.exponent < 0.6
    True
    """
    return parabolas_of(_of_one(runs, family))


def parabolas_of(table: pd.DataFrame) -> Approach:
    """Return approach 2 for the rows of a table of one family; see :func:`isoflop_minima`."""
    vertices = [_vertex(of) for _, of in table.groupby(_budget_of(table)) if of["params"].nunique() >= _LEAST_SIZES]
    found = [vertex for vertex in vertices if vertex]
    points = pd.DataFrame(found, columns=["flops", "params", "tokens", "loss"])
    return _line("IsoFLOP parabolas", points, len(vertices) - len(found))


def budgets(flops: np.ndarray, *, most: int, otherwise: int) -> list[float]:
    """Return budgets where the compute of runs clusters.

    Parameters
    ----------
    flops : ndarray, shape (run,)
    most : int
        Largest number of budgets; those of the largest clusters are kept.
    otherwise : int
        Number of budgets if there are no clusters: those with the most runs near them.

    Returns
    -------
    list of float
        In ascending order.
    """
    tight = [one for one in _dense(np.log(flops), _TIGHT) if one[0] >= _CLUSTER]
    found = sorted(tight)[-most:] or sorted(_dense(np.log(flops), _NEAR))[-otherwise:]
    return sorted(float(np.exp(middle)) for _, middle in found)


def _dense(ln: np.ndarray, half: float) -> list[tuple[int, float]]:
    """Return run count and middle of the densest windows; the surroundings of each are removed before the next."""
    ln, found = np.sort(ln), list[tuple[int, float]]()
    while len(ln):
        ends = np.searchsorted(ln, ln + 2 * half, side="right")
        size = ends - np.arange(len(ln))
        first = int(size.argmax())
        middle = float(np.median(ln[first : ends[first]]))
        found.append((int(size[first]), middle))
        ln = ln[np.abs(ln - middle) >= 2 * _NEAR]
    return found


def _budget_of(table: pd.DataFrame) -> pd.Series:
    """Return the budget of each row; NaN, which a grouping leaves out, for rows of none."""
    if "group" in table and (table["group"] != "").any():
        return table["group"].where(table["group"] != "")
    middles = np.log(budgets(table["flops"].to_numpy(float), most=len(table), otherwise=0) or [np.inf])
    away = np.abs(np.log(table["flops"].to_numpy(float))[:, None] - middles)
    return pd.Series(np.where(away.min(axis=1) <= _TIGHT, away.argmin(axis=1), np.nan), table.index)


def _vertex(budget: pd.DataFrame) -> tuple[float, float, float, float] | None:
    """Return compute, params, tokens and loss of the vertex; None if it is no minimum among the budget's sizes."""
    ln_n = np.log(budget["params"].to_numpy(float))
    middle = ln_n.mean()
    bend, slope, level = np.polyfit(ln_n - middle, budget["loss"].to_numpy(float), 2)
    at = -slope / (2 * bend) if bend > 0 else np.inf
    if not ln_n.min() <= middle + at <= ln_n.max():
        return None
    flops, params = float(np.exp(np.log(budget["flops"]).mean())), float(np.exp(middle + at))
    return flops, params, flops / (FLOPS_PER_PARAM_TOKEN * params), float(level + slope * at / 2)


def _line(name: str, points: pd.DataFrame, left_out: int = 0) -> Approach:
    if points["flops"].nunique() < _LEAST_BUDGETS:
        raise RunsError(f"{name} need at least {_LEAST_BUDGETS} optima of different compute",
                        got=str(points["flops"].nunique()), hint="several sizes at each of several budgets show them",
                        )  # fmt: skip
    exponent, ln_coefficient = np.polyfit(np.log(points["flops"]), np.log(points["params"]), 1)
    return Approach(name, points.reset_index(drop=True), float(exponent), float(ln_coefficient), left_out)


def _of_one(runs: Runs, family: str | None) -> pd.DataFrame:
    if family is None and len(runs.families) > 1:
        raise RunsError("an optimum belongs to one family", expected=f"family= one of: {', '.join(runs.families)}")
    return (runs if family is None else runs.where(family=family)).frame
