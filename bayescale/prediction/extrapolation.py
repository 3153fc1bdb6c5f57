"""Extrapolation: how far queries lie beyond the fitted runs."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from bayescale.core.quantities import count, factor
from bayescale.inference.average import AbstractFit
from bayescale.inference.fit import Fit
from bayescale.modelling.model import logs_of
from bayescale.prediction.queries import counts_flops, sizes_of
from bayescale.prediction.records import CLASSES, FARTHEST, class_of
from bayescale.runs.columns import DATE, decades_beyond, size_column

_SIZES = {"examples": "examples", "step": "steps", DATE: "dates"}
UNLIKE = math.log(2)
"""E-folds outside the range that priors were learned from, up to which the priors are hardly wider than inside."""
_SCATTER_OF_COUNTS = 0.03  # e-folds: difference between two counts of the same params or tokens


def reach(fit: AbstractFit, table: pd.DataFrame) -> pd.DataFrame:
    """Add how far each query lies beyond the runs of its family, or beyond all runs for a new family.

    Parameters
    ----------
    fit : Fit or Average
    table : DataFrame
        Validated queries.

    Returns
    -------
    DataFrame
        The queries with three more columns. ``reach_decades`` is log10 of the compute divided by the largest compute
        that was fitted, and 0 inside. ``distance`` is the Mahalanobis distance of the log inputs from the centre of
        the runs, divided by the square root of the number of inputs; its root mean square over the runs is 1, and it
        is 0 without inputs. ``extrapolation`` is the class of the forecast by how far its compute lies above
        or below that of the runs: inside, up to 10×, 10-100×, or scenario. A query with a covariate outside the range
        of its family's runs is a scenario too.
    """
    runs, table = fit.design_frame, fit.with_defaults(table)
    inputs = list(fit.inputs)
    distance = np.zeros(len(table))
    for family, rows in table.groupby("family").indices.items() if inputs else ():
        mine = runs[runs["family"] == family] if family in fit.families else runs
        logs = logs_of(fit.declared, mine, inputs)
        # Runs of one size have no scatter to measure a distance by: a few percent stand in for it.
        inverse = np.linalg.inv(np.atleast_2d(np.cov(logs.T, ddof=0)) + _SCATTER_OF_COUNTS**2 * np.eye(len(inputs)))
        away = logs_of(fit.declared, table.iloc[rows], inputs) - logs.mean(axis=0)
        distance[rows] = np.sqrt(np.einsum("ij,jk,ik->i", away, inverse, away) / len(inputs))
    beyond, below = _decades(fit, table)
    classes = np.where(_other_recipe(fit, table), FARTHEST, class_of(np.maximum(beyond, below)))
    return table.assign(reach_decades=beyond, distance=distance, extrapolation=classes)


def reach_words(fit: AbstractFit, table: pd.DataFrame) -> str:
    """Describe how far the queries lie from the compute of their families' runs.

    Parameters
    ----------
    fit : Fit or Average
    table : DataFrame
        Validated queries.

    Returns
    -------
    str
    """
    beyond, below = (float(x.max()) for x in _decades(fit, table))
    what = size_name(fit)
    words = [f"up to {factor(beyond)} times the {what} of the largest run"] * (beyond > 0)
    words += [f"down to 1/{factor(below)} of the {what} of the smallest run"] * (below > 0)
    if what == _SIZES[DATE]:
        after, before = _years(fit, table)
        words = [f"up to {_of_years(after)} after the last run"] * (after > 0)
        words += [f"up to {_of_years(before)} before the first run"] * (before > 0)
    other = _other_recipe(fit, table).any()
    scenario = ": a scenario" if other or max(beyond, below) > CLASSES["10-100×"] else ""
    recipe = ", with a recipe outside the range of the runs" if other else ""
    unlike = "".join(f"; {one}" for one in dict.fromkeys(map(novelty, fit.members.values())) if one)
    return (" and ".join(words) or f"inside the {what} of the runs") + recipe + scenario + unlike


def size_name(fit: AbstractFit) -> str:
    """Return what says how large the runs of a fit are: compute, examples, steps or dates."""
    return "compute" if counts_flops(fit) else _SIZES[size_column(fit.design_frame)]


def _years(fit: AbstractFit, table: pd.DataFrame) -> tuple[float, float]:
    """Return the most years by which a query lies after the last run of its family, and before the first."""
    runs, after, before = fit.design_frame, [], []
    for family, asked in table.groupby("family")[DATE]:
        known = runs[DATE][runs["family"] == family] if family in fit.families else runs[DATE]
        after.append(float(asked.max() - known.max()))
        before.append(float(known.min() - asked.min()))
    return max(after), max(before)


def _of_years(years: float) -> str:
    said = f"{years:.2g}"
    return f"{said} {'year' if said == '1' else 'years'}"


def _other_recipe(fit: AbstractFit, table: pd.DataFrame) -> np.ndarray:
    """Whether each query has a covariate outside the range of its family's runs, or of all runs for a new family."""
    runs, found = fit.design_frame, np.zeros(len(table), bool)
    for column in fit.covariates:
        values = table[column].to_numpy(float) if column in table else np.zeros(len(table))
        for family, rows in table.groupby("family").indices.items():
            mine = runs[column][runs["family"] == family] if family in fit.families else runs[column]
            found[rows] |= (values[rows] < mine.min()) | (values[rows] > mine.max())
    return found


def _decades(fit: AbstractFit, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the decades of compute by which each query lies above and below its family's runs; 0 inside."""
    runs, sizes = fit.design_frame, sizes_of(fit, table).to_numpy()
    sized, beyond, below = size_column(runs), np.zeros(len(table)), np.zeros(len(table))
    for family, rows in table.groupby("family").indices.items():
        mine = runs[runs["family"] == family] if family in fit.families else runs
        beyond[rows], below[rows] = decades_beyond(sized, sizes[rows], mine[sized])
    return np.maximum(beyond, 0.0), np.maximum(below, 0.0)


def novelty(fit: Fit) -> str:
    """Describe how far the runs of a fit lie outside the range that its priors were learned from.

    Parameters
    ----------
    fit : Fit

    Returns
    -------
    str
        Empty up to a factor of two, where the priors are hardly wider than inside the range.
    """
    if not fit.spec.range:
        return ""
    anchor = {column: fit.meta["anchor"][column] for column in fit.spec.inputs}
    outside = fit.spec.outside({column: np.log(value) for column, value in anchor.items()})
    if math.hypot(*outside.values()) <= UNLIKE:
        return ""
    where = [
        f"{count(anchor[column])} {column}, {math.exp(abs(by)):.2g} times {'above' if by > 0 else 'below'} their range"
        for column, by in outside.items()
        if abs(by) > UNLIKE / 2
    ]
    return f"the priors were learned from no family like this: the runs centre on {' and '.join(where)}"
