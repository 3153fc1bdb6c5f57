"""Design: runs as arrays, the arguments of a compiled program."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from bayescale.core.errors import RunsError
from bayescale.core.units import typical_loss
from bayescale.modelling.custom import CustomModel
from bayescale.modelling.grouping import law_keys, lots_of, sizes_of_centering, spreads
from bayescale.modelling.identifiability import check_identified, check_observed
from bayescale.modelling.model import Model, incomplete
from bayescale.parts.base import Rows
from bayescale.runs.columns import size_column
from bayescale.runs.table import Runs

SPENT = ("params", "tokens", "flops", "examples", "active_params", "step", "unique_tokens")
"""Columns that enter as natural logs: what a law or a resource may read."""

USUAL_SLOPE = 0.1
"""Slope of log loss in the logs of params and tokens up to which discrepancies have the scale of their priors."""

_SCATTER = 0.03  # SD of log loss around a plane


@partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "spent",
        "anchor",
        "anchor_loss",
        "columns",
        "observed",
        "present",
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
        Natural logs of resources spent (params, tokens, …).
    anchor : dict of Array, shape ()
        Natural logs of the reference run's inputs.
    anchor_loss : Array, shape ()
        Natural log of the reference run's loss.
    columns : dict of Array, shape (run,)
        Other columns that responses need (chance, n_items).
    observed : dict of Array, shape (run,)
        Observations, in base units; empty when predicting. A run without a value has an arbitrary valid number.
    present : dict of Array of bool, shape (run,)
        Which runs have a value, for each observed column with missing values.
    basis : dict of Array, shape (run, width)
        Basis of each discrepancy, and of each noise that has one, by name.
    family : Array of int, shape (run,)
        Index of each run's family.
    centering : dict of Array, shape (family,)
        Centering of partially pooled parameters (see :class:`.AbstractCentered`); 0 where absent.
    priors : dict of (Array, Array), shapes ()
        Location and scale of each parameter's prior in its Gaussian coordinate.
    spreads : dict of Array, shapes ()
        Spread of each parameter whose spread is known, in its Gaussian coordinate.
    families : int
        Number of families.
    mask : Array of bool, shape (block, slot), optional
        If :func:`blocked` laid the runs out in blocks: which slots hold a run. Arrays over runs then have shape
        (block, slot), and `family` has shape (block, 1).
    lot : dict of Array of int, shape (family,)
        Index of each family's lot, for each pooling that sorts families.
    lots : tuple of (str, int)
        Number of lots of each of these poolings.
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
    present: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def build(
        cls,
        spec: Model,
        table: pd.DataFrame,
        fitted: pd.DataFrame,
        *,
        anchor: Mapping[str, Any] | None = None,
        observed: Mapping[str, Any] | None = None,
        new: str | None = None,
    ) -> Design:
        """Turn the rows of a table into arrays: runs to fit, queries, or places at which to simulate.

        Parameters
        ----------
        spec : Spec or CustomModel
        table : DataFrame
            One row per run or query: ``family``, the columns that the spec reads (a missing covariate is zero) and, if
            a part of the spec has a basis, ``flops`` (or ``examples``).
        fitted : DataFrame
            The fitted runs, which determine the families, their lots and the bases; for a fit, the table itself.
        anchor : mapping, optional
            Natural logs of the reference run's inputs and of its loss; by default :func:`anchor_of` the fitted runs.
        observed : mapping, optional
            Observations at the rows, in base units, by column; by default none.
        new : str, optional
            Name of one more family, without fitted runs. If its rows do not name its lots, it shares a lot with no
            family.

        Returns
        -------
        Design

        Raises
        ------
        RunsError
            If runs of one family are in different lots.
        KeyError
            If the family of a row is not fitted and not `new`.
        """
        families = [*sorted(fitted["family"].unique()), *([] if new is None else [new])]
        if isinstance(spec, CustomModel):
            return cls._own(spec, table, families, observed or {})
        index, count = {name: i for i, name in enumerate(families)}, len(families)
        family = np.array([index[name] for name in table["family"]], int)
        fresh = None if new is None else _named(spec, table[table["family"] == new])
        logs = anchor_of(spec, fitted) if anchor is None else anchor
        inputs = {name: logs[name] for name in spec.inputs}
        lot, lots = _lots(spec, fitted, fresh)
        spent = [name for name in sorted(set(spec.columns) & logged(spec)) if name in table]
        places = spec.places(inputs)
        present = {name: np.isfinite(np.asarray(values, float)) for name, values in (observed or {}).items()}
        return cls(  # arrays stay NumPy's: they become float64 or float32 as JAX is set
            spent=dict(zip(spent, spec.logs(table, spent).T, strict=True)),
            anchor=inputs,
            anchor_loss=logs["loss"],
            columns=_columns(spec, table, spec.observed),
            observed={name: _filled(values, np.nanmin) for name, values in (observed or {}).items()},
            present={name: mask for name, mask in present.items() if not mask.all()},
            basis=_all_bases(spec, table, fitted, family, inputs, fresh),
            family=family,
            priors={name: (np.asarray(loc), np.asarray(scale)) for name, (loc, scale) in places.items()},
            centering={name: np.zeros(size) for name, size in sizes_of_centering(spec, count).items()},
            families=count,
            spreads=spreads(spec),
            lot=lot,
            lots=lots,
        )

    @classmethod
    def _own(
        cls, model: CustomModel, table: pd.DataFrame, families: Sequence[str], observed: Mapping[str, Any]
    ) -> Design:
        """Return rows of a table as arrays for a custom model, in base units; families have indices in their order."""
        index = {name: i for i, name in enumerate(families)}
        columns = [name for name in model.columns if name in table and name not in model.observed]
        present = {name: np.isfinite(np.asarray(values, float)) for name, values in observed.items()}
        return cls(
            spent={},
            anchor={},
            anchor_loss=np.zeros(()),
            columns={name: _filled(table[name].to_numpy(float), np.nanmax) for name in columns},
            observed={name: _filled(np.asarray(values, float), np.nanmin) for name, values in observed.items()},
            basis={},
            family=np.asarray([index[name] for name in table["family"]], int),
            priors={},
            centering={},
            families=len(families),
            present={name: mask for name, mask in present.items() if not mask.all()},
        )


class _Fitted(NamedTuple):
    """Positions of a family's fitted runs, and the steepness of their loss (see :func:`slope_at`)."""

    rows: Rows
    slope: float


def design(spec: Model, runs: Runs) -> Design:
    """Turn runs into the design of a fit, after a check that they can identify the law of `spec`.

    Parameters
    ----------
    spec : Model
    runs : Runs

    Returns
    -------
    Design

    Raises
    ------
    RunsError
        If a column is missing, there are fewer runs than the law has parameters, or all runs have the same
        ratio of inputs.
    """
    if isinstance(spec, CustomModel):
        check_observed(spec, runs)
    else:
        check_identified(spec, runs)
    frame = runs.frame
    return Design.build(spec, frame, frame, observed={name: runs[name] for name in sorted(spec.observed)})


def losses(spec: Model, table: pd.DataFrame) -> np.ndarray:
    """Return losses of runs, shape (run,), in the unit of the spec's first response that is a loss.

    A missing loss in nats/token is typical of its params and tokens. Any other is the median of the known ones. Losses
    set the unit of the law's loss, and how steeply it is expected to fall.
    """
    column = next((of.site for of in spec.instances if of.response.a_loss and of.site in table), "loss")
    known = pd.to_numeric(table[column]) if column in table else pd.Series(np.nan, table.index)
    if known.isna().any():
        usual = known.median() if column != "loss" else _usual_loss(table)
        known = known.fillna(usual)
    return known.to_numpy(float)


def _usual_loss(table: pd.DataFrame) -> Any:
    """Return the losses that are typical of params and tokens; 1, the unit of the law, if the table has not both."""
    counted = {"params", "tokens"} <= set(table)
    return typical_loss(table["params"], table["tokens"]) if counted else 1.0


def _filled(values: np.ndarray, by: Callable[[np.ndarray], float]) -> np.ndarray:
    """Return values with missing ones replaced by their minimum or maximum: a valid number, which the model ignores."""
    values = np.asarray(values)
    return values if np.isfinite(values).all() else np.where(np.isfinite(values), values, by(values))


def logged(spec: Model) -> set[str]:
    """Return the columns that enter as natural logs: those of resources spent, and those that parts declare."""
    return {*SPENT, *spec.declared}


def conformed(spec: Model, runs: Runs) -> Runs:
    """Return the runs with each column that the spec's parts declare or observe read as numbers in its range.

    Parameters
    ----------
    spec : Model
    runs : Runs

    Returns
    -------
    Runs

    Raises
    ------
    RunsError
        If a cell is not a number in the range, or the shares of a run do not add up to 1.
    """
    for penalty in spec.penalizing:
        runs = runs.with_columns(penalty.filled)
    for name, column in spec.declared.items():
        if name in runs.frame:
            runs = runs.with_numbers(name, column.low, column.high)
    if wrong := incomplete(spec.declared, runs.frame):
        raise RunsError(f"{runs.name!r}, {wrong}", expected="1", hint="is a domain missing from the spec?")
    for name, bounds in ((name, of.ranges.get(name)) for of in spec.instances for name in of.columns):
        if name in runs.frame and (bounds or not pd.api.types.is_numeric_dtype(runs[name])):
            runs = runs.with_numbers(name, *(bounds or (-np.inf, np.inf)), optional=True)
    return runs


def anchor_of(spec: Model, fitted: pd.DataFrame) -> dict[str, Any]:
    """Return natural logs of the reference run's inputs and loss, from the spec or the centre of the fitted runs."""
    middle = {name: _middle(spec, name, spec.logs(fitted, [name])[:, 0]) for name in spec.inputs}
    middle["loss"] = np.log(np.median(losses(spec, fitted)))
    fixed = {name: np.log(value) for name, value in spec.anchor if name in middle}
    return {name: np.asarray(value) for name, value in (middle | fixed).items()}


def _middle(spec: Model, name: str, logs: np.ndarray) -> float:
    """Return the log of a column's geometric mean, or of its mean if it is a share: the anchor is then a mixture."""
    shared = name in spec.declared and spec.declared[name].share_of
    return float(np.log(np.exp(logs).mean()) if shared else logs.mean())


def _columns(spec: Model, table: pd.DataFrame, observed: Collection[str]) -> dict[str, np.ndarray]:
    """Return columns that responses need, and covariates, which are zero if the table does not have them."""
    read = {column for of in spec.instances for column in of.columns}  # also where a law reads its log
    named = (set(spec.columns) - logged(spec) | read) - set(observed)
    numbers = {name: pd.to_numeric(table[name]).to_numpy(float) for name in sorted(named) if name in table}
    found = {name: _filled(values, np.nanmax) for name, values in numbers.items()}
    return dict.fromkeys(dict(spec.covariates), np.zeros(len(table))) | found


def _lots(
    spec: Model, fitted: pd.DataFrame, fresh: pd.DataFrame | None
) -> tuple[dict[str, np.ndarray], tuple[tuple[str, int], ...]]:
    """Return the index of each family's lot and the number of lots; the lot of a new family may be a fitted one."""
    index, counts = {}, []
    for way, keys in lots_of(spec, fitted).items():
        known = list(dict.fromkeys(keys))
        mine = [known.index(key) for key in keys]
        if fresh is not None:
            (key,) = lots_of(spec, fresh).get(way, [None])
            mine.append(known.index(key) if key in known else len(known))
        index[way] = np.array(mine)
        counts.append((way, len(known) + (fresh is not None)))
    return index, tuple(counts)


def _named(spec: Model, fresh: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a new family; if they do not name its lots, it shares a lot with no family."""
    return fresh.assign(**dict.fromkeys(set(spec.sorting) - set(fresh), ""))


def _rows_at(spec: Model, table: pd.DataFrame, anchor: Mapping[str, Any]) -> Rows:
    """Return the positions of the rows of a table, relative to the anchor (logs of the inputs, in order)."""
    inputs = spec.logs(table, anchor) - np.array([anchor[name] for name in anchor])
    # None is an unnamed group, which differs from every fitted group.
    group = table["group"] if "group" in table else pd.Series(None, table.index, dtype=object)
    group = group.astype(object).where(group.notna(), None)
    return Rows(inputs, np.log(table[size_column(table)].to_numpy(float)), group.to_numpy(object))


def slope_at(spec: Model, inputs: np.ndarray, log_loss: np.ndarray) -> float:
    """Return how steeply log loss falls along the logs of the inputs: the anchor's slope, or that of a fitted plane.

    Parameters
    ----------
    spec : Model
    inputs : ndarray, shape (run, input)
        ``ln(input / anchor)``.
    log_loss : ndarray, shape (run,)

    Returns
    -------
    float
        E-folds of loss per e-fold of the inputs.
    """
    if "slope" in dict(spec.anchor):
        return dict(spec.anchor)["slope"]
    # Runs of one budget do not inform the slope across budgets. A ridge penalty supplies the usual slope there.
    count = inputs.shape[1]
    usual = np.full(count, -USUAL_SLOPE / np.sqrt(count))
    ridge = np.column_stack([np.zeros(count), np.eye(count)]) * _SCATTER / USUAL_SLOPE
    plane = np.vstack([np.column_stack([np.ones(len(inputs)), inputs]), ridge])
    values = np.concatenate([log_loss, usual * _SCATTER / USUAL_SLOPE])
    return float(np.linalg.norm(np.linalg.lstsq(plane, values, rcond=None)[0][1:]))


def _fitted_runs(spec: Model, table: pd.DataFrame, anchor: Mapping[str, Any]) -> list[_Fitted]:
    """Return the positions of runs and the steepness of their loss, for each family in the order of the names."""
    law = np.array(pd.factorize(pd.Series(law_keys(spec, table), dtype=object))[0])
    own = [(_rows_at(spec, mine, anchor), np.log(losses(spec, mine))) for _, mine in table.groupby("family")]
    spans = np.array([np.ptp(rows.flops) for rows, _ in own])
    return [
        _Fitted(rows._replace(law_span=spans[law == one].max()), slope_at(spec, rows.inputs, log_loss))
        for one, (rows, log_loss) in zip(law, own, strict=True)
    ]


def _as_if_fitted(spec: Model, fitted: Sequence[_Fitted], table: pd.DataFrame, fresh: pd.DataFrame) -> _Fitted:
    """Return a substitute for the fitted runs of a new family, which has none.

    It has compute up to that of all runs, the median slope, and the law span of the families that share its law.
    """
    spans = {law: one.rows.law_span for law, one in zip(law_keys(spec, table), fitted, strict=True)}
    span = max((spans.get(law, 0.0) for law in law_keys(spec, fresh)), default=0.0)
    nowhere = np.zeros((1, len(spec.inputs)))
    rows = Rows(nowhere, np.log([table[size_column(table)].max()]), np.array([""], object), span)
    return _Fitted(rows, float(np.median([one.slope for one in fitted])))


def _all_bases(
    spec: Model, table: pd.DataFrame, fitted: pd.DataFrame, family: np.ndarray, inputs: Mapping[str, Any], fresh: Any
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return the bases of discrepancies and of penalties at the rows of a table."""
    basis: dict[str, np.ndarray] = {}
    if spec.based:
        known = _fitted_runs(spec, fitted, inputs)
        if fresh is not None:
            known.append(_as_if_fitted(spec, known, fitted, fresh))
        basis = _bases(spec, _rows_at(spec, table, inputs), family, known)
    texts = {of.name: of.basis(table) for of in spec.penalizing}
    return basis | {name: found for name, found in texts.items() if found is not None}


def _bases(spec: Model, rows: Rows, family: np.ndarray, fitted: Sequence[_Fitted]) -> dict[str, np.ndarray]:
    """Return the basis of each part that has one, at rows relative to the `fitted` runs of their family.

    The basis of a discrepancy is larger for a family whose loss falls more steeply than usual.
    """
    found = {}
    for of in spec.based:
        where = [np.flatnonzero(family == f) for f in np.unique(family)]
        pieces = []
        for mine in where:
            against = fitted[family[mine[0]]]
            # Where loss falls steeply, as on code, laws have larger errors.
            unit = max(1.0, against.slope / USUAL_SLOPE) if of in spec.discrepancies else 1.0
            pieces.append(unit * of.basis(rows.take(mine), against.rows))
        found[of.name] = np.concatenate(pieces)[np.argsort(np.concatenate(where))]
    return found
