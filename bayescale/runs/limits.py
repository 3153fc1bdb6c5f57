"""Limits: how large a table may be. They are checked before the cells are parsed: a wrong file is no long wait."""

from __future__ import annotations

MOST_ROWS = 1_000_000
"""A thousand steps of a thousand runs, which are read and validated in half a minute."""

MOST_COLUMNS = 2_000
"""Trackers write some hundred; a table of more has its runs in columns, or is none."""

MOST_CELLS = 20_000_000
"""Ten times the cells of the largest table that is likely; each takes about 5 µs and 100 bytes."""


def check_shape(rows: int, columns: int) -> None:
    """Check the shape of a table.

    Parameters
    ----------
    rows, columns : int

    Raises
    ------
    ValueError
        If the table is too large.
    """
    if columns > MOST_COLUMNS:
        raise ValueError(f"{columns:,} columns, more than {MOST_COLUMNS:,}; leave some out, and give each run a row")
    if rows > MOST_ROWS:
        raise ValueError(f"{rows:,} rows, more than {MOST_ROWS:,}; keep fewer steps of each run")
    check_cells(rows * columns)


def check_cells(cells: int) -> None:
    """Check the number of cells of a table, whatever its shape.

    Parameters
    ----------
    cells : int

    Raises
    ------
    ValueError
        If there are too many.
    """
    if cells > MOST_CELLS:
        raise ValueError(f"{cells:,} cells, more than {MOST_CELLS:,}; leave out columns, or keep fewer steps of a run")
