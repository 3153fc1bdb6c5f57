"""Rules: thresholds of training compute in law, each with its status and the date of that status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from bayescale.core import toml
from bayescale.core.errors import QueryError, UnknownName, nearest
from bayescale.core.quantities import count

STATUSES = ("in force", "signed", "proposed", "revoked", "vetoed")
"""What a rule may be; only the first binds."""
_ROUNDING = 1e-12  # relative: a budget that was divided by what counts, and multiplied again
_SHIPPED = Path(__file__).with_name("rules.toml")
_EXPECTED = f"title, flops, status (one of: {', '.join(STATUSES)}), as_of (a date), source, and optionally note"


@dataclass(frozen=True)
class Rule:
    """A threshold of training compute.

    Attributes
    ----------
    title : str
    flops : float
        Training FLOP above which the rule applies.
    status : str
        One of :data:`STATUSES`.
    as_of : date
        Day on which the source shows this status.
    source : str
        It begins with "unverified" if nobody checked it.
    note : str
        What else decides whether the rule applies.
    """

    title: str
    flops: float
    status: str
    as_of: date
    source: str
    note: str = ""

    def __post_init__(self) -> None:
        good = isinstance(self.flops, int | float) and self.flops > 0 and np.isfinite(self.flops)
        if not (
            good
            and self.status in STATUSES
            and isinstance(self.as_of, date)
            and self.source
            and isinstance(self.source, str)
        ):
            raise QueryError(f"the rule {self.title!r} cannot be read", expected=_EXPECTED,
                             got=f"flops {self.flops}, status {self.status!r}, as_of {self.as_of}, "
                             f"source {self.source!r}")  # fmt: skip

    @property
    def binding(self) -> bool:
        """Whether the rule is in force."""
        return self.status == "in force"

    @property
    def verified(self) -> bool:
        """Whether the status was read in its source."""
        return not self.source.startswith("unverified")

    def probability(self, flops: Any) -> float:
        """Return the probability that training compute is above the threshold.

        Parameters
        ----------
        flops : ndarray, shape (draw,)
            Draws of the training FLOP, with restarts and post-training where the rule counts them.

        Returns
        -------
        float
        """
        return float(np.mean(np.asarray(flops, float) > self.flops * (1 + _ROUNDING)))

    def __str__(self) -> str:
        checked = "" if self.verified else ", unverified"
        return f"{self.title} above {count(self.flops)} FLOP ({self.status} as of {self.as_of}{checked})"


def rules(path: str | Path | None = None) -> dict[str, Rule]:
    """Return rules by name: the built-in ones, and those of a file, which replace built-in ones of the same name.

    Parameters
    ----------
    path : str or Path, optional
        A TOML file with one table per rule: ``title flops status as_of source`` and optionally ``note``.

    Returns
    -------
    dict of str to Rule

    Raises
    ------
    QueryError
        If the file cannot be read, or a rule in it is incomplete.

    Examples
    --------
    >>> print(rules()["us-eo-14110"])
    US executive order 14110: reporting above 1e+26 FLOP (revoked as of 2025-01-20)
    """
    return _read(_SHIPPED) | (_read(path) if path else {})


def rule(name: str, path: str | Path | None = None) -> Rule:
    """Return one rule.

    Parameters
    ----------
    name : str
    path : str or Path, optional
        As in :func:`rules`.

    Returns
    -------
    Rule

    Raises
    ------
    UnknownName
        If there is no such rule.
    QueryError
        As in :func:`rules`.
    """
    known = rules(path)
    if name not in known:
        raise UnknownName(f"no rule is called {name!r}", expected=", ".join(known), hint=nearest(name, known))
    return known[name]


def _read(path: str | Path) -> dict[str, Rule]:
    try:
        return {name: _rule(name, entry) for name, entry in toml.load(path).items()}
    except (OSError, ValueError) as error:
        if isinstance(error, QueryError):
            raise
        raise QueryError(f"{path} does not hold rules", expected=_EXPECTED, got=str(error)) from None


def _rule(name: str, entry: Any) -> Rule:
    known = {field.name for field in fields(Rule)}
    if not isinstance(entry, Mapping) or entry.keys() - known or known - {"note"} - entry.keys():
        raise QueryError(f"the rule {name!r} cannot be read", expected=_EXPECTED, got=str(entry))
    return Rule(**entry)
