"""Columns of a table of runs: names, kinds, constants and cells."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from bayescale.core.errors import RunsError, nearest
from bayescale.core.quantities import quantity
from bayescale.runs.names import candidates

FLOPS_PER_PARAM_TOKEN = 6.0
"""Training FLOP per param and token: 2 forward and 4 backward (Kaplan et al. 2020)."""

REQUIRED = ("params", "tokens")
"""Columns that every table of runs has; it also needs the columns that a spec reads and observes."""

SIZES = ("flops", "examples", "step")
"""Columns that say how large a run is, for splits and for the reach of forecasts: the first that the table has."""

SPANS = (*REQUIRED, *SIZES)
"""Columns of resources in a table's summary; a table has the required ones, or one of the sizes."""

AMOUNTS = ("params", "tokens", "flops", "examples", "unique_tokens", "active_params")
"""Columns of counts that must be positive."""

COUNTS = (*AMOUNTS, "step", "epochs")

NUMBERS = (*COUNTS, "loss", "loss_error", "error_rate", "score", "n_items", "n_correct", "chance")
"""Numeric columns that bayescale interprets."""

OPTIONAL = ("n_items", "n_correct", "score", "chance", "step", "epochs")

LABELS = ("group", "suite", "eval_set", "tokenizer")
"""Text columns that say what runs have in common. A run with an empty cell has nothing in common with others."""

TEXTS = ("family", *LABELS)

RUN_KEY = ("family", "run_id")

ROW_KEYS = ("benchmark", "eval_set", "step")  # columns that commonly distinguish the rows of one run

_BANKERS = re.compile(r"(\d\s*)([bmt])n\s*$", re.IGNORECASE)  # 7bn is 7B

COMMAS = "separate the columns with commas"


def number(cell: Any) -> float:
    """Parse a cell as a finite number.

    Parameters
    ----------
    cell : object
        A number, or text such as ``"70B"``.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the cell is empty or is not a finite number.
    """
    if is_empty(cell):
        raise ValueError("expected a number, got an empty cell; fill it in or remove the row")
    try:
        value = quantity(_BANKERS.sub(r"\1\2", cell) if isinstance(cell, str) else cell)
    except (TypeError, ValueError):
        raise ValueError(f"expected a number, got {cell!r}; write 70B or 7e10") from None
    if not np.isfinite(value):
        raise ValueError(f"expected a finite number, got {cell!r}; fix or remove the row")
    return value


def size_column(columns: Iterable[str]) -> str:
    """Return the column that says how large a run is: the first of ``flops``, ``examples`` and ``step``."""
    columns = set(columns)
    return next((column for column in SIZES if column in columns), SIZES[0])


def is_empty(cell: Any) -> bool:
    """Whether a cell of a table is empty."""
    return not cell.strip() if isinstance(cell, str) else pd.api.types.is_scalar(cell) and bool(pd.isna(cell))


def text(cell: Any) -> str:
    """Return the text of a cell of a table, without surrounding spaces."""
    return "" if is_empty(cell) else str(cell).strip()


def missing_column(column: str, columns: Iterable[str], name: str) -> RunsError:
    """Return the error for a column that a table does not have."""
    columns = [str(c) for c in columns]
    similar = candidates(column, columns)
    say = f"say which column it is: --columns {column}={similar[0]!r}" if similar else ""
    return RunsError(
        f"{name!r} has no column {column!r}",
        expected=f"columns {', '.join(REQUIRED)} and the observed values (and family if there are several families)"
        if column in REQUIRED
        else f"a column of: {', '.join(columns)}",
        got=", ".join(columns),
        hint=say or COMMAS
        if len(columns) == 1 or similar
        else nearest(
            column,
            columns,
            otherwise=f"add the column, or name the one that holds these values: --columns {column}=NAME",
        ),
    )
