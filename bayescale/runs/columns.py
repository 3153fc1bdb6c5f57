"""Columns of a table of runs: names, kinds and constants."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from bayescale.core.errors import RunsError, nearest
from bayescale.core.quantities import quantity

FLOPS_PER_PARAM_TOKEN = 6.0
"""FLOP of one training step for each param and token: 2 forward, 4 backward (Kaplan et al. 2020)."""

REQUIRED = ("params", "tokens", "loss")

COUNTS = ("params", "tokens", "flops", "unique_tokens", "active_params", "step", "epochs")

NUMBERS = (*COUNTS, "loss", "loss_error", "score", "n_items", "n_correct", "chance")
"""Columns of numbers that have a meaning."""

OPTIONAL = ("n_items", "n_correct", "score", "chance", "step", "epochs")

LABELS = ("group", "suite", "eval_set", "tokenizer")
"""Columns of text that tell what runs share; an empty cell shares nothing."""

TEXTS = ("family", *LABELS)

RUN_KEY = ("family", "run_id")

ROW_KEYS = ("benchmark", "eval_set", "step")  # what commonly tells several rows of one run apart

COMMAS = "separate the columns with commas"


def number(cell: Any) -> float:
    """Parse a cell as a finite number; raise ValueError saying what was wanted and came."""
    if is_empty(cell):
        raise ValueError("wanted a number, came an empty cell; fill it in or drop the row")
    try:
        value = quantity(cell)
    except (TypeError, ValueError):
        raise ValueError(f"wanted a number, came {cell!r}; write 70B or 7e10") from None
    if not np.isfinite(value):
        raise ValueError(f"wanted a finite number, came {cell!r}; mend or drop the row")
    return value


def is_empty(cell: Any) -> bool:
    """Whether a cell of a table holds nothing."""
    return not cell.strip() if isinstance(cell, str) else pd.api.types.is_scalar(cell) and bool(pd.isna(cell))


def text(cell: Any) -> str:
    """Text of a cell of a table, without spaces around it."""
    return "" if is_empty(cell) else str(cell).strip()


def missing_column(column: str, columns: Iterable[str], name: str) -> RunsError:
    """Return the error of a column that a table does not have."""
    columns = [str(c) for c in columns]
    return RunsError(
        f"{name!r} has no column {column!r}",
        wanted=f"columns {', '.join(REQUIRED)} (and family for more than one)"
        if column in REQUIRED
        else f"a column of: {', '.join(columns)}",
        came=", ".join(columns),
        do=COMMAS
        if len(columns) == 1
        else nearest(column, columns, otherwise="add the column, or rename the one that holds it"),
    )
