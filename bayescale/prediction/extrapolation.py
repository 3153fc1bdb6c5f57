"""Extrapolation: how far queries lie beyond the fitted runs."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from bayescale.core.quantities import count
from bayescale.inference.average import AbstractFit
from bayescale.inference.fit import Fit
from bayescale.prediction.queries import flops_of
from bayescale.prediction.records import CLASSES, FARTHEST, class_of

UNLIKE = math.log(2)
"""E-folds outside the range that priors were learnt from, up to which these are hardly wider than inside."""
_SCATTER_OF_COUNTS = 0.03  # e-folds: by which params or tokens that are counted alike may differ


def reach(fit: AbstractFit, table: pd.DataFrame) -> pd.DataFrame:
    """Add how far each query lies beyond its family's runs (beyond all runs for a new family).

    ``reach_decades`` is log10 of compute over the largest compute that was fitted, 0 inside;
    ``distance`` the Mahalanobis distance of the log inputs from the runs' centre, over the square root
    of the number of inputs: the runs' own is 1 in root mean square; ``extrapolation`` the class of the
    forecast by how far it lies beyond the runs' compute or below it: inside, up to 10×, 10-100×, scenario. A covariate
    beyond those of the family's runs makes a scenario of it, too.
    """
    runs, table = fit.design_frame, fit.with_defaults(table)
    inputs = list(fit.inputs)
    distance = np.zeros(len(table))
    for family, rows in table.groupby("family").indices.items():
        mine = runs[runs["family"] == family] if family in fit.families else runs
        logs = np.log(mine[inputs].to_numpy())
        # Runs of one size say nothing of how far another is: a few percent stand in for their scatter.
        inverse = np.linalg.inv(np.atleast_2d(np.cov(logs.T, ddof=0)) + _SCATTER_OF_COUNTS**2 * np.eye(len(inputs)))
        away = np.log(table[inputs].to_numpy(float)[rows]) - logs.mean(axis=0)
        distance[rows] = np.sqrt(np.einsum("ij,jk,ik->i", away, inverse, away) / len(inputs))
    beyond, below = _decades(fit, table)
    classes = np.where(_other_recipe(fit, table), FARTHEST, class_of(np.maximum(beyond, below)))
    return table.assign(reach_decades=beyond, distance=distance, extrapolation=classes)


def reach_words(fit: AbstractFit, table: pd.DataFrame) -> str:
    """Where the farthest of some queries lie against the compute of their families' runs, in words."""
    beyond, below = (float(x.max()) for x in _decades(fit, table))
    words = [f"up to {beyond:.1f} decades of compute beyond the runs"] * (beyond > 0)
    words += [f"down to {below:.1f} decades of compute below the runs"] * (below > 0)
    other = _other_recipe(fit, table).any()
    scenario = ": a scenario" if other or max(beyond, below) > CLASSES["10-100×"] else ""
    recipe = ", by a recipe beyond those of the runs" if other else ""
    unlike = "".join(f"; {one}" for one in dict.fromkeys(map(novelty, fit.members.values())) if one)
    return (" and ".join(words) or "inside the compute of the runs") + recipe + scenario + unlike


def _other_recipe(fit: AbstractFit, table: pd.DataFrame) -> np.ndarray:
    """Whether a covariate of each query lies beyond those of its family's runs (of all, for a new family)."""
    runs, found = fit.design_frame, np.zeros(len(table), bool)
    for column in fit.covariates:
        values = table[column].to_numpy(float) if column in table else np.zeros(len(table))
        for family, rows in table.groupby("family").indices.items():
            mine = runs[column][runs["family"] == family] if family in fit.families else runs[column]
            found[rows] |= (values[rows] < mine.min()) | (values[rows] > mine.max())
    return found


def _decades(fit: AbstractFit, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Decades of compute by which each query lies beyond its family's runs, and below them; 0 inside."""
    runs, flops = fit.design_frame, np.log10(flops_of(table).to_numpy())
    spans = {name: np.log10(runs["flops"][runs["family"] == name]) for name in fit.families}
    mine = [spans.get(name, np.log10(runs["flops"])) for name in table["family"]]
    beyond = flops - [span.max() for span in mine]
    below = [span.min() for span in mine] - flops
    return np.maximum(beyond, 0.0), np.maximum(below, 0.0)


def novelty(fit: Fit) -> str:
    """How far a fit's runs lie outside those that its priors were learnt from, in words; empty up to a factor of two.

    So near, the priors are hardly wider than inside.
    """
    anchor = {column: fit.meta["anchor"][column] for column in fit.spec.inputs}
    outside = fit.spec.outside({column: np.log(value) for column, value in anchor.items()})
    if math.hypot(*outside.values()) <= UNLIKE:
        return ""
    where = [f"{count(anchor[column])} {column}, {math.exp(abs(by)):.2g} times {'above' if by > 0 else 'below'} theirs"
             for column, by in outside.items() if abs(by) > UNLIKE / 2]  # fmt: skip
    return f"no family like this was learnt from: the runs centre on {' and '.join(where)}"
