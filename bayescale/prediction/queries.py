"""Query: reading and validating the points of a forecast."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Set
from typing import Any

import pandas as pd

from bayescale.core.arguments import check_kind, described
from bayescale.core.errors import QueryError, nearest
from bayescale.core.quantities import LEAST, MOST
from bayescale.inference.average import AbstractFit
from bayescale.modelling.model import incomplete
from bayescale.runs.columns import (
    DATE,
    FLOPS_FACTOR,
    FLOPS_PER_PARAM_TOKEN,
    LABELS,
    RELEASED,
    RUN_KEY,
    SPANS,
    is_empty,
    number,
    size_column,
    text,
)

_BOUNDS = {"chance": (0.0, 1.0), "loss_error": (0.0, MOST)}
NEW = "new"
"""Name of a family that was not fitted."""


def queries_of(
    fit: AbstractFit,
    queries: pd.DataFrame | None,
    family: str | None,
    columns: Mapping[str, Any],
    made: Collection[str] = (),
) -> pd.DataFrame:
    """Return queries as a validated table.

    Parameters
    ----------
    fit : Fit or Average
    queries : DataFrame, optional
        One query per row. Messages name a row by its index.
    family : str, optional
        Family of queries without one.
    columns : mapping
        Columns of the queries if `queries` is None.
    made : collection of str
        Columns to leave out, because an earlier forecast made them.

    Returns
    -------
    DataFrame

    Raises
    ------
    QueryError
        If there are no queries, a column is missing, unknown or out of range, the compute is not that of the params
        and tokens, or a family is unknown.
    """
    table = _as_table(fit, columns) if queries is None else queries
    _check_table(table)
    if queries is not None and columns:
        raise QueryError("queries are given twice", expected="a table, or columns", got=f"a table and {min(columns)}")
    table = table.drop(columns=[c for c in table if c in made])
    if not len(table):
        raise QueryError("there are no queries", expected="at least one row")
    if not table.columns.is_unique:
        raise QueryError("the queries have two columns with the same name", got=", ".join(map(str, table.columns)))
    observed = set(fit.observed)
    read = set(fit.columns) - observed
    table = _with_defaults(fit, table, read)
    read -= _errors(fit) - set(table)  # a query without a loss error is for the loss itself
    # The reach is in compute, whatever columns the law reads.
    needed = sorted(read if "flops" in table else read - {"flops"} | {"params", "tokens"})
    if not counts_flops(fit):
        needed = sorted(read | {size_column(fit.design_frame)})
    for column in needed:
        if column not in table:
            came = [str(c) for c in table]
            raise QueryError(f"a query needs {column!r}", expected=", ".join(needed), got=", ".join(came),
                             hint=nearest(column, came, otherwise=f"give {column} with every query"))  # fmt: skip
    for column in [c for c in table if c in {*needed, *SPANS, "active_params"}]:
        table[column] = _column(table, column, *bounds_of(fit, column))
    _check_compute(table)
    if wrong := incomplete(fit.declared, table):
        raise QueryError(wrong, expected="1", hint="give every share; one that is left out has an equal share")
    for column in [c for c in table if c in LABELS]:
        table[column] = _texts(table[column])
    for column in [c for c in table if c in observed]:  # kept in the result, for comparison
        table[column] = pd.to_numeric(table[column], errors="coerce")
    if "flops" in read:
        table["flops"] = flops_of(table)
    table["family"] = _families(fit, table, family)
    return table.reset_index(drop=True)


def _as_table(fit: AbstractFit, columns: Mapping[str, Any]) -> pd.DataFrame:
    """Return columns as a table; refuse what neither the model nor the reach reads, which only a table may hold."""
    read = {*fit.columns, *fit.declared, *fit.observed, *_errors(fit), *SPANS, "active_params", *RUN_KEY}
    read |= {label for member in fit.members.values() for of in member.spec.penalizing for label in of.labels}
    read |= {label for label in LABELS if label in fit.design_frame}
    for column in columns:
        if column not in read:
            raise QueryError(f"the model reads no column {column!r}", expected=f"among {', '.join(sorted(read))}",
                             hint=nearest(column, read, otherwise="leave it out"))  # fmt: skip
    found = {column: _cells(column, value) for column, value in columns.items()}
    indexes = {column: value.index for column, value in columns.items() if isinstance(value, pd.Series)}
    if any(not index.equals(next(iter(indexes.values()))) for index in indexes.values()):
        raise QueryError("the columns are Series with different indexes", got=", ".join(indexes),
                         hint="give a data frame, or .to_numpy() of each to pair them by position")  # fmt: skip
    lengths = {column: len(cells) for column, cells in found.items() if isinstance(cells, list)}
    if len(set(lengths.values())) > 1:
        raise QueryError("the columns of the queries have different lengths", expected="one number, or as many in each",
                         got=", ".join(f"{column}: {length}" for column, length in lengths.items()))  # fmt: skip
    return pd.DataFrame(found, index=None if lengths else [0])


def _cells(column: str, value: Any) -> Any:
    """Return a column of queries as a list, or its only value."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        return value
    if isinstance(value, Mapping | Set) or getattr(value, "ndim", 1) > 1:
        raise QueryError(f"{column} is no column", expected="a number, or a sequence with one for each query",
                         got=described(value))  # fmt: skip
    return value.item() if getattr(value, "ndim", 1) == 0 else list(value)  # type: ignore[attr-defined]


def _check_table(table: Any) -> None:
    check_kind(table, pd.DataFrame, QueryError, "queries as a data frame of pandas, one per row",
               "make one: pandas.DataFrame(…), or name the columns: forecast(fit, params=…, tokens=…)")  # fmt: skip
    if table.columns.nlevels > 1:
        raise QueryError("the columns of the queries have several levels", expected="one name per column",
                         hint="join them: frame.columns = ['_'.join(names) for names in frame.columns]")  # fmt: skip


def _check_compute(table: pd.DataFrame) -> None:
    """Refuse compute far from that of the params and tokens in the same query: one of the three is wrong."""
    if not {"params", "tokens", "flops"} <= set(table):
        return
    expected = flops_of(table.drop(columns="flops"))
    for row, (flops, usual) in enumerate(zip(table["flops"], expected, strict=True)):
        if not usual / FLOPS_FACTOR <= flops <= usual * FLOPS_FACTOR:
            raise QueryError(
                f"row {table.index[row]}, flops: not the compute of these params and tokens",
                expected=f"within a factor of {FLOPS_FACTOR:g} of 6·params·tokens, {usual:.3g}", got=f"{flops:.3g}",
                hint="leave flops out: it follows from params and tokens",
            )  # fmt: skip


def _with_defaults(fit: AbstractFit, table: pd.DataFrame, read: Collection[str]) -> pd.DataFrame:
    """Add defaults to queries: no repeated tokens, covariates of zero, and the defaults of columns of parts."""
    for of in (of for member in fit.members.values() for of in member.spec.penalizing):
        if lacking := [label for label in of.labels if label not in table]:
            raise QueryError(f"a query needs {lacking[0]!r}", expected=f"the text that {of.name!r} reads")
        table = of.filled(table)
    table, usual = fit.with_defaults(table), dict[str, Any](dict.fromkeys(fit.covariates, 0.0))
    if "unique_tokens" in read and "tokens" in table:
        usual["unique_tokens"] = table["tokens"]
    if RELEASED in table and size_column(fit.design_frame) == DATE:
        usual[DATE] = table[RELEASED]
    return table.assign(**{name: value for name, value in usual.items() if name not in table})


def _errors(fit: AbstractFit) -> set[str]:
    """Return the columns that hold known errors of observed values."""
    return {fit.response(name).requires.get("loss_error", "loss_error") for name in fit.responses}


def bounds_of(fit: AbstractFit, column: str) -> tuple[float, float]:
    """Return the smallest and the largest valid value of a column of queries.

    Parameters
    ----------
    fit : Fit or Average
    column : str

    Returns
    -------
    low, high : float
    """
    if column in fit.covariates:
        return -MOST, MOST
    if declared := fit.declared.get(column):
        return declared.low, declared.high
    own = [of.ranges[column] for of in map(fit.response, fit.responses) if column in of.ranges]
    return own[0] if own else _BOUNDS.get(_asked_as(fit, column), (LEAST, MOST))


def _asked_as(fit: AbstractFit, column: str) -> str:
    """Return the name by which a response reads a column of the runs."""
    return next((name for response in fit.responses for name, of in fit.response(response).requires.items()
                 if of == column), column)  # fmt: skip


def resolve_family(fit: AbstractFit, family: str | None) -> str:
    """Return the name of the family of a query.

    Parameters
    ----------
    fit : Fit or Average
    family : str or None
        None is the only fitted family, or ``"new"`` if there are several.

    Returns
    -------
    str

    Raises
    ------
    QueryError
        If the family was not fitted and is not ``"new"``, or is ``"new"`` for a fit of one family.
    """
    families = fit.families
    if family is None:
        return families[0] if len(families) == 1 else NEW
    known = isinstance(family, str)
    if known and family in families:
        return family
    if known and family == NEW:
        if len(families) > 1:
            return NEW
        raise QueryError(
            "a fit of one family cannot tell how families differ",
            expected=f"family {families[0]!r}",
            got=repr(NEW),
            hint="fit several families with partial pooling",
        )
    raise QueryError(
        f"no family {family!r} in the fit",
        expected=f"one of: {', '.join(families)}, or {NEW!r} for one that was not fitted",
        got=repr(family),
        hint=nearest(str(family), families),
    )


def counts_flops(fit: AbstractFit) -> bool:
    """Whether the fitted runs count FLOP; if not, examples seen or steps say how large they are."""
    return size_column(fit.design_frame) == "flops"


def sizes_of(fit: AbstractFit, table: pd.DataFrame) -> pd.Series:
    """Return how large the runs of queries are, in what the fitted runs count: FLOP, examples seen or steps.

    Parameters
    ----------
    fit : Fit or Average
    table : DataFrame

    Returns
    -------
    Series, shape (query,)
    """
    return flops_of(table) if counts_flops(fit) else table[size_column(fit.design_frame)]


def flops_of(table: pd.DataFrame) -> pd.Series:
    """Return the FLOP of queries: column ``flops`` if there is one, otherwise 6·params·tokens.

    Parameters
    ----------
    table : DataFrame

    Returns
    -------
    Series, shape (query,)
    """
    if "flops" in table:
        return table["flops"]
    return FLOPS_PER_PARAM_TOKEN * table.get("active_params", table["params"]) * table["tokens"]


def _column(table: pd.DataFrame, column: str, least: float, most: float) -> list[float]:
    values = []
    for row, cell in table[column].items():
        try:
            values.append(number(cell))
        except ValueError as error:
            raise QueryError(f"row {row}, {column}: {error}") from None
        if not least <= values[-1] <= most:
            raise QueryError(f"row {row}, {column}: expected a number from {least:g} to {most:g}, got {cell!r}")
    return values


def _texts(cells: pd.Series) -> list[str]:
    found = []
    for row, cell in cells.items():
        try:
            found.append(text(cell))
        except ValueError as error:
            raise QueryError(f"row {row}, {cells.name}: {error}") from None
    return found


def _families(fit: AbstractFit, table: pd.DataFrame, family: str | None) -> list[str]:
    if "family" not in table:
        return [resolve_family(fit, family)] * len(table)
    found = []
    for row, name in table["family"].items():
        try:
            found.append(resolve_family(fit, family if is_empty(name) else str(name)))
        except QueryError as error:
            raise QueryError(f"row {row}: {error}") from None
    return found
