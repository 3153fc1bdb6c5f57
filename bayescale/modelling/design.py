"""Design: runs as arrays, the arguments of a compiled program."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from bayescale.modelling.grouping import alike, centered, lots_of, spreads
from bayescale.modelling.identifiability import check_identified, covariate
from bayescale.modelling.spec import Spec
from bayescale.parts.base import Rows
from bayescale.parts.catalogue import part
from bayescale.runs.table import Runs

SPENT = ("params", "tokens", "flops", "active_params", "step", "unique_tokens")
"""Columns that enter as natural logs: what a law or a resource may read."""

USUAL_SLOPE = 0.1
"""Slope of log loss by the logs of params and tokens up to which a family's discrepancies are as their priors say."""

_SCATTER = 0.03  # of log loss about a plane


@partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "spent",
        "anchor",
        "anchor_loss",
        "columns",
        "observed",
        "basis",
        "family",
        "priors",
        "spreads",
        "centering",
        "mask",
        "lot",
    ],
    meta_fields=["families", "lots"],
)
@dataclass(frozen=True, eq=False)
class Design:
    """Runs as arrays, the arguments of a compiled program.

    Attributes
    ----------
    spent : dict of Array, shape (run,)
        Natural logs of what was spent (params, tokens, …).
    anchor : dict of Array, shape ()
        Natural logs of the reference run's inputs.
    anchor_loss : Array, shape ()
        Natural log of the reference run's loss.
    columns : dict of Array, shape (run,)
        Other columns that responses need (chance, n_items).
    observed : dict of Array, shape (run,)
        What was observed, in base units; empty when predicting.
    basis : dict of Array, shape (run, width)
        Basis of each discrepancy, and of noise that has one, by name.
    family : Array of int, shape (run,)
        Index of each run's family.
    centering : dict of Array, shape (family,)
        Coordinates of partially pooled parameters (see :mod:`bayescale.parts.pooling`); 0 where absent.
    priors : dict of (Array, Array), shapes ()
        Location and scale of each parameter's prior in its Gaussian coordinate.
    spreads : dict of Array, shapes ()
        Spread of each parameter of which it is known, in its Gaussian coordinate.
    families : int
        Count of families.
    mask : Array of bool, shape (block, slot), optional
        Where :func:`blocked` laid the runs out in blocks: which slots hold a run. Arrays over runs are
        then (block, slot), and `family` is (block, 1).
    lot : dict of Array of int, shape (family,)
        Index of each family's lot, for each way of pooling that sorts families.
    lots : tuple of (str, int)
        Count of lots of each of these ways.
    """

    spent: dict[str, Any]
    anchor: dict[str, Any]
    anchor_loss: Any
    columns: dict[str, Any]
    observed: dict[str, Any]
    basis: dict[str, Any]
    family: Any
    priors: dict[str, tuple[Any, Any]]
    centering: dict[str, Any]
    families: int
    mask: Any = None
    spreads: dict[str, Any] = field(default_factory=dict)
    lot: dict[str, Any] = field(default_factory=dict)
    lots: tuple[tuple[str, int], ...] = ()


class Fitted(NamedTuple):
    """Where a family's fitted runs lie, and how steeply their loss falls (see :func:`slope_at`)."""

    rows: Rows
    slope: float


def design(spec: Spec, runs: Runs) -> Design:
    """Turn runs into arrays for `spec`, after asking whether they can identify its law.

    Raises
    ------
    RunsError
        If a column is missing, there are fewer runs than the law has parameters, or the runs lie on a ray.
    """
    check_identified(spec, runs)
    columns = set(spec.columns)
    spent = {name: np.log(runs[name]) for name in sorted(columns & logged(spec))}
    observed = {part("responses", name).observed for name, _ in spec.responses}
    families = len(runs.families)  # arrays stay NumPy's: they become float64 or float32 as JAX is set
    fixed = {name: np.log(value) for name, value in spec.anchor}
    anchor = {name: np.asarray(fixed.get(name, spent[name].mean())) for name in spec.inputs}
    family = np.asarray(np.searchsorted(runs.families, runs["family"]))
    rows = rows_at(runs.frame, anchor)
    lots = lots_of(spec, runs.frame)
    return Design(
        spent={name: np.asarray(value) for name, value in spent.items()},
        anchor=anchor,
        anchor_loss=np.asarray(fixed.get("loss", np.log(np.median(runs["loss"])))),
        columns=_columns(spec, runs, columns - logged(spec) - observed),
        observed={name: np.asarray(runs[name]) for name in sorted(observed)},
        basis=bases(spec, rows, family, fitted_runs(spec, runs.frame, anchor)) if spec.based else {},
        family=family,
        priors=places(spec, anchor),
        centering={name: np.zeros(families) for name in centered(spec)} if families > 1 else {},
        spreads=spreads(spec),
        families=families,
        lot={way: np.array([list(dict.fromkeys(keys)).index(key) for key in keys]) for way, keys in lots.items()},
        lots=tuple((way, len(set(keys))) for way, keys in lots.items()),
    )


def logged(spec: Spec) -> set[str]:
    """Columns that enter as natural logs: those of what was spent, and those that parts declare."""
    return {*SPENT, *spec.declared}


def conformed(spec: Spec, runs: Runs) -> Runs:
    """Runs whose columns that the spec's parts declare are numbers in their range.

    Raises
    ------
    RunsError
        If a cell is not such a number.
    """
    for name, column in spec.declared.items():
        if name in runs.frame:
            runs = runs.with_numbers(name, column.low, column.high)
    return runs


def _columns(spec: Spec, runs: Runs, names: Collection[str]) -> dict[str, np.ndarray]:
    recipe = dict(spec.covariates)
    found = {name: runs[name] for name in sorted(names) if name not in recipe}
    return found | {name: covariate(runs, name, alone=not spec.learned) for name in recipe}


def rows_at(table: pd.DataFrame, anchor: Mapping[str, Any]) -> Rows:
    """Where the rows of a table lie, in units of the anchor (logs of the inputs, in their order)."""
    inputs = [np.log(table[name].to_numpy(float)) - anchor[name] for name in anchor]
    # None is a group that nobody has named, and so none that was fitted.
    group = table["group"] if "group" in table else pd.Series(None, table.index, dtype=object)
    return Rows(np.stack(inputs, axis=1), np.log(table["flops"].to_numpy(float)), group.to_numpy(object))


def slope_at(spec: Spec, inputs: np.ndarray, log_loss: np.ndarray) -> float:
    """How steeply log loss falls along the logs of the inputs: the anchor's, or that of a plane through runs."""
    if "slope" in dict(spec.anchor):
        return dict(spec.anchor)["slope"]
    # Runs of one budget say nothing of the slope across budgets: there the usual one stands in, as a ridge.
    count = inputs.shape[1]
    usual = np.full(count, -USUAL_SLOPE / np.sqrt(count))
    ridge = np.column_stack([np.zeros(count), np.eye(count)]) * _SCATTER / USUAL_SLOPE
    plane = np.vstack([np.column_stack([np.ones(len(inputs)), inputs]), ridge])
    values = np.concatenate([log_loss, usual * _SCATTER / USUAL_SLOPE])
    return float(np.linalg.norm(np.linalg.lstsq(plane, values, rcond=None)[0][1:]))


def fitted_runs(spec: Spec, table: pd.DataFrame, anchor: Mapping[str, Any]) -> list[Fitted]:
    """Where the runs of a table lie, and how steeply their loss falls, by family in the order of their names."""
    law = np.array(pd.factorize(pd.Series(alike(spec, table), dtype=object))[0])
    own = [(rows_at(mine, anchor), np.log(mine["loss"].to_numpy())) for _, mine in table.groupby("family")]
    spans = np.array([np.ptp(rows.flops) for rows, _ in own])
    return [
        Fitted(rows._replace(told=spans[law == one].max()), slope_at(spec, rows.inputs, log_loss))
        for one, (rows, log_loss) in zip(law, own, strict=True)
    ]


def bases(spec: Spec, rows: Rows, family: np.ndarray, fitted: Sequence[Fitted]) -> dict[str, np.ndarray]:
    """Basis of each part that has one at rows, each against the `fitted` runs of its family.

    Of a discrepancy it is larger for a family whose loss falls more steeply than usual.
    """
    found = {}
    for of in spec.based:
        where = [np.flatnonzero(family == f) for f in np.unique(family)]
        pieces = []
        for mine in where:
            against = fitted[family[mine[0]]]
            # Where loss falls steeply, as it does on code, laws err by more.
            unit = max(1.0, against.slope / USUAL_SLOPE) if of in spec.discrepancies else 1.0
            pieces.append(unit * of.basis(rows.take(mine), against.rows))
        found[of.name] = np.concatenate(pieces)[np.argsort(np.concatenate(where))]
    return found


def places(spec: Spec, anchor: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Location and scale of every prior in its Gaussian coordinate at the logs of an anchor, as arrays."""
    return {name: (np.asarray(loc), np.asarray(scale)) for name, (loc, scale) in spec.places(anchor).items()}
