"""How a table of runs is read, as the options of the command line say it."""

from __future__ import annotations

from typing import NamedTuple


class Reading(NamedTuple):
    """How a table of runs is read, and which of its runs: the options of every verb that reads runs."""

    columns: tuple[tuple[str, str], ...] = ()
    units: tuple[tuple[str, str], ...] = ()
    loss_unit: str | None = None
    bytes_per_token: float | None = None
    decimal: str | None = None
    conditions: tuple[tuple[str, str], ...] = ()
    excluded: tuple[str, ...] = ()
    observations: str | None = None
    melt: tuple[tuple[str, dict[str, float]], ...] = ()
