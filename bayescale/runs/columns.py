"""Columns of a table of runs: names, kinds, constants and cells."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from bayescale.core.errors import RunsError, nearest
from bayescale.core.quantities import NotFinite, quantity
from bayescale.runs.names import candidates

FLOPS_PER_PARAM_TOKEN = 6.0
"""Training FLOP per param and token: 2 forward and 4 backward (Kaplan et al. 2020)."""

REQUIRED = ("params", "tokens")
"""Columns that every table of runs has; it also needs the columns that a spec reads and observes."""

DATE = "year"
"""Column of dates, as calendar years. Differences of dates count, and not ratios."""

RELEASED = "released"
"""Column of dates of release, as calendar years with decimals; they are the dates of runs of which nothing else is
known."""

SIZES = ("flops", "examples", "step", DATE)
"""Columns that say how large a run is, for splits and for the reach of forecasts: the first that the table has.

Models of which nothing else is known are ordered by their dates.
"""

SPANS = (*REQUIRED, *SIZES)
"""Columns of resources in a table's summary; a table has the required ones, or one of the sizes."""

FLOPS_FACTOR = 4.0
"""Largest factor between FLOP and 6·params·tokens: attention, heads and embeddings change FLOP by less, and a missing
factor of 6 is larger."""

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

STEP = "step"
"""Column of the optimizer step: it distinguishes the checkpoints of one run."""

ROW_KEYS = ("benchmark", "eval_set", STEP)  # columns that commonly distinguish the rows of one run

Rule = tuple[str, Callable[[pd.Series], pd.Series], str, str]
"""Column, which cells fail, what is expected, and what to do."""

RULES_OF_SCORES: tuple[Rule, ...] = (
    ("chance", lambda x: (x < 0) | (x >= 1), "a share from 0 to below 1", "write 25% as 0.25"),
    ("n_items", lambda x: (x < 1) | (x % 1 > 0), "a count of items", "fix or remove the row"),
    ("n_correct", lambda x: (x < 0) | (x % 1 > 0), "a count", "fix or remove the row"),
)
"""Rules of what is known of a score, also under the name of a benchmark of one's own, as in ``hellaswag_n_items``."""

_BANKERS = re.compile(r"(\d\s*)([bmt])n\s*$", re.IGNORECASE)  # 7bn is 7B

LARGEST = 1e150
"""Largest size of a number in a table: the squares of larger ones, in an SD, are not finite."""

_LONGEST = 60  # characters of a cell in a message

COMMAS = "separate the columns with commas"


def number(cell: Any, most: float = sys.float_info.max) -> float:
    """Parse a cell as a finite number.

    Parameters
    ----------
    cell : object
        A number, or text such as ``"70B"``.
    most : float
        Its largest size.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the cell is empty, is a truth value, or is not a finite number of full precision and of at most this size.
    """
    if is_empty(cell):
        raise ValueError("expected a number, got an empty cell; fill it in or remove the row")
    if isinstance(cell, bool | np.bool_):
        raise ValueError(f"expected a number, got {cell}; write 1 or 0 if it is meant as a number")
    try:
        value = quantity(_BANKERS.sub(r"\1\2", cell) if isinstance(cell, str) else cell)
    except NotFinite:
        value = np.inf
    except Exception:  # a cell may be any object
        raise ValueError(f"expected a number, got {_shown(cell)}; write 70B or 7e10") from None
    if not np.isfinite(value):
        raise ValueError(f"expected a finite number, got {_shown(cell)}; fix or remove the row")
    if abs(value) > most:
        raise ValueError(f"expected a number of at most {most:g}, got {_shown(cell)}; fix or remove the row")
    if 0 < abs(value) < sys.float_info.min:
        raise ValueError(f"expected a number of full precision, got {_shown(cell)}; fix or remove the row")
    return value


def _shown(cell: Any) -> str:
    """Return a cell for a message, if it is a number or text, else its type: a cell may be any object."""
    shown = repr(cell) if isinstance(cell, str | float | bytes | bool | None) else f"a {type(cell).__name__}"
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


def size_column(columns: Iterable[str]) -> str:
    """Return the column that says how large a run is: the first of :data:`SIZES`."""
    columns = set(columns)
    return next((column for column in SIZES if column in columns), SIZES[0])


def decades_beyond(column: str, sizes: Any, known: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return how far sizes lie above the largest and below the smallest known one; negative on the other side of it.

    Parameters
    ----------
    column : str
        One of :data:`SIZES`.
    sizes, known : array_like

    Returns
    -------
    above, below : ndarray
        In decades. A date as far beyond the known ones as these are apart counts as a factor of two; dates of less
        than a year count as a year.
    """
    sizes, low, high = np.asarray(sizes, float), float(np.min(known)), float(np.max(known))
    if column != DATE:
        return np.log10(sizes) - np.log10(high), np.log10(low) - np.log10(sizes)
    off = np.array([sizes - high, low - sizes]) / max(high - low, 1.0)
    above, below = np.sign(off) * np.log10(1 + np.abs(off))
    return above, below


def is_empty(cell: Any) -> bool:
    """Whether a cell of a table is empty."""
    if isinstance(cell, str):
        return not cell.strip()
    if isinstance(cell, Decimal):
        return cell.is_nan()  # pandas fails on a signalling NaN
    return pd.api.types.is_scalar(cell) and bool(pd.isna(cell))


def text(cell: Any) -> str:
    """Return the text of a cell of a table, without surrounding spaces.

    Parameters
    ----------
    cell : object

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If it cannot be written as text, or holds the character NUL, which ends a text in a saved fit.
    """
    try:
        found = "" if is_empty(cell) else str(cell).strip()
        found.encode()  # half of a UTF-16 pair is no text
    except Exception:  # a cell may be any object
        raise ValueError(f"expected text, got a {type(cell).__name__} that is not Unicode text") from None
    if "\0" in found:
        raise ValueError(f"expected text, got {_shown(found)} with the character NUL; remove it")
    return found


_LETTERS = {"params": "N", "tokens": "D", "loss": "L"}
"""Letters of the literature: too short to be taken for a column unasked, but likely enough for a hint."""


def missing_column(column: str, columns: Iterable[str], name: str) -> RunsError:
    """Return the error for a column that a table does not have."""
    columns = [str(c) for c in columns]
    similar = candidates(column, columns)
    say = f"say which column it is: --columns {column}={similar[0]!r}" if similar else ""
    lacking = [name for name in (*REQUIRED, "loss") if name not in columns] if column in REQUIRED else [column]
    letters = {ours: theirs for ours, theirs in _LETTERS.items() if theirs in columns}
    named = " ".join(f"--columns {name}={letters.get(name, 'NAME')}" for name in lacking)
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
            otherwise=f"add the column, or name the one that holds these values: {named}",
        ),
    )
