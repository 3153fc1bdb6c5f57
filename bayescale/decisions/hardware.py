"""Hardware: a card of accelerators, each figure a number or a distribution with its source and date."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayescale.core import toml
from bayescale.core.errors import QueryError, UnknownName, nearest
from bayescale.core.files import kind_of
from bayescale.core.quantities import count as written
from bayescale.decisions.amounts import Amount, amount, drawn
from bayescale.decisions.costs import Rates

UNITS = {
    "peak": "FLOP/s",
    "memory": "GB",
    "bandwidth": "TB/s",
    "utilisation": "1",
    "overhead": "1",
    "serving_utilisation": "1",
    "bandwidth_utilisation": "1",
    "price": "$/accelerator-hour",
    "count": "accelerators",
}
"""Figures of a card and their units."""
_SHARES = ("utilisation", "serving_utilisation", "bandwidth_utilisation")
_OPTIONAL = ("price", "count")
_BYTES = {"memory": 1e9, "bandwidth": 1e12}  # in the card's unit
_KEYS = (*UNITS, "base", "accelerator", "precision", "workload")
_SMALL = 64  # accelerators: up to here published utilisation is that of small clusters
_COUNTED = re.compile(r"\s*(\d+)\s*[x×]\s*(\S.*)")
_SHIPPED = Path(__file__).with_name("accelerators.toml")
_LEVELS = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class Figure:
    """One figure of a card.

    Attributes
    ----------
    amount : Amount
    source : str
        Where the figure comes from. It begins with "unverified" if nobody checked it.
    as_of : date or None
        Date of the source.
    """

    amount: Amount
    source: str
    as_of: date | None = None

    @property
    def verified(self) -> bool:
        """Whether the figure was read in its source."""
        return not self.source.startswith("unverified")


@dataclass(frozen=True)
class Hardware:
    """Accelerators, what they do and what they cost; :func:`hardware` reads one.

    Attributes
    ----------
    accelerator : str
        Name, such as ``"H100"``.
    precision : str
        Precision of `peak`, such as ``"bf16"``.
    workload : str
        Kind of training that `utilisation` is of.
    peak, memory, bandwidth : Figure
        Of one accelerator: dense FLOP/s, GB (1e9 bytes), TB/s (1e12 bytes/s).
    utilisation : Figure
        Model FLOP per second in training, relative to `peak`.
    overhead : Figure
        Accelerator-hours paid for, relative to those of pure training.
    serving_utilisation, bandwidth_utilisation : Figure
        What serving reaches of `peak` and of `bandwidth`.
    price : Figure or None
        US dollars per accelerator-hour; it has a date.
    count : Figure or None
        Number of accelerators.

    Raises
    ------
    QueryError
        If a figure can be negative, a utilisation can exceed 1, or the price has no date.
    """

    accelerator: str
    precision: str
    workload: str
    peak: Figure
    memory: Figure
    bandwidth: Figure
    utilisation: Figure
    overhead: Figure
    serving_utilisation: Figure
    bandwidth_utilisation: Figure
    price: Figure | None = None
    count: Figure | None = None

    def __post_init__(self) -> None:
        for name, figure in self.figures.items():
            self._check_range(name, figure)
        if self.price is not None and self.price.as_of is None:
            raise QueryError(f"the price of {self.accelerator} has no date", expected="value, source and as_of",
                             got=f"value {self.price.amount}",
                             hint="write the day on which it was quoted, such as as_of = 2026-05-20")  # fmt: skip

    def _check_range(self, name: str, figure: Figure) -> None:
        low, high = figure.amount.support
        most = 1.0 if name in _SHARES else np.inf
        if not (low >= 0 and 0 < high <= most):
            raise QueryError(f"{name} of {self.accelerator} is out of range",
                             expected="between 0 and 1" if name in _SHARES else "a positive number or distribution",
                             got=str(figure.amount), hint="write a lognormal, or a beta for a share")  # fmt: skip

    @property
    def figures(self) -> dict[str, Figure]:
        """Figures that the card has, by name."""
        return {name: getattr(self, name) for name in UNITS if getattr(self, name) is not None}

    @property
    def table(self) -> pd.DataFrame:
        """One row per figure: ``figure value unit as_of source verified``; ``value`` as it was written."""
        rows = [(name, str(one.amount), UNITS[name], one.as_of, one.source, one.verified)
                for name, one in self.figures.items()]  # fmt: skip
        return pd.DataFrame(rows, columns=["figure", "value", "unit", "as_of", "source", "verified"])

    def drawn(self, n: int, seed: int) -> Rates:
        """Draw every figure, to be paired with `n` draws of a posterior.

        Parameters
        ----------
        n : int
            Number of draws.
        seed : int
            Not negative.

        Returns
        -------
        Rates
            Memory in bytes and bandwidth in bytes/s. Streams go by the names of the accelerator and the figure: cards
            that share an accelerator have the same draws of the figures that they share.
        """
        amounts = {f"{self.accelerator} {name}": one.amount for name, one in self.figures.items()}
        draws = drawn(amounts, n, seed)
        return Rates(**{name: draws[f"{self.accelerator} {name}"][:, None] * _BYTES.get(name, 1.0)
                        for name in self.figures})  # fmt: skip

    def priced(self, dollars: Any) -> str:
        """Write dollars for people, with the price that they rest on and its date.

        Parameters
        ----------
        dollars : float or ndarray
            US dollars; an array holds draws.

        Returns
        -------
        str

        Raises
        ------
        QueryError
            If the hardware has no price.

        Examples
        --------
        >>> print(hardware("A100").priced(4.67e6))
        $4.67M (A100 at $1.40 an hour, 90% interval $0.73 to $2.70, as of 2026-05-01)
        """
        if self.price is None:
            raise QueryError(f"{self.accelerator} has no price, so nothing can be stated in dollars",
                             hint="give a price with its date, in a file with a [price] table")  # fmt: skip
        value = np.asarray(dollars, float)
        if not np.isfinite(value).all():
            raise QueryError("only finite dollars can be written", got=f"{np.mean(~np.isfinite(value)):.0%} of draws")
        price = self.price.amount.quantile(_LEVELS)
        checked = "" if self.price.verified else ", unverified"
        return (f"{_interval(np.quantile(value, _LEVELS))} ({self.accelerator} at "
                f"{_interval(price, ' an hour')}, as of {self.price.as_of}{checked})")  # fmt: skip


def hardware(source: str | Path, *, count: Any = None, precision: str | None = None,
             workload: str | None = None) -> Hardware:  # fmt: skip
    """Read the card of a built-in accelerator, or of a TOML file.

    A file names a built-in accelerator as its ``base`` and gives the figures that differ; the others keep the value,
    source and date of the base. Without a base it gives all of them. A figure is a number, a distribution
    (``"lognormal(2.1, 0.2)"``), or a table with ``value``, ``source`` and ``as_of``; a price must have ``as_of``.

    Parameters
    ----------
    source : str or Path
        Name of a built-in accelerator (:func:`accelerators`), or the path of a TOML file; before either, optionally a
        count: ``"512xH100"``.
    count : Amount, float or str, optional
        Number of accelerators.
    precision : str, optional
        Of the peak; by default that of the file, else ``bf16`` where the accelerator has it.
    workload : str, optional
        Kind of training, which gives the utilisation unless the file does: ``dense``, ``dense-small`` (up to 64
        accelerators), ``dense-long-context``, ``fine-grained-moe`` or ``fp8``. By default it follows from the precision
        and the count.

    Returns
    -------
    Hardware

    Raises
    ------
    UnknownName
        If no built-in accelerator has the name.
    QueryError
        If the file is not a card, or a figure is missing, unknown or out of range.

    Examples
    --------
    >>> card = hardware("512xH100")
    >>> print(card.price.amount, card.price.as_of, card.count.amount)
    lognormal(2.95, 0.35) 2026-05-20 512
    """
    counted = None if kind_of(source, QueryError) == "file" else _COUNTED.fullmatch(str(source))
    name = counted[2] if counted else str(source)
    given = {"count": count if count is not None else counted and counted[1], "precision": precision,
             "workload": workload}  # fmt: skip
    own, origin = _own(name)
    own |= {key: value for key, value in given.items() if value is not None}
    return _card(own, origin)


def accelerators() -> list[str]:
    """Return the names of the built-in accelerators, sorted.

    Returns
    -------
    list of str
    """
    return sorted(_shipped()["accelerators"])


@cache
def _shipped() -> dict[str, Any]:
    return toml.load(_SHIPPED)


def _own(name: str) -> tuple[dict[str, Any], str]:
    """Return the entries of a card that its file gives, and the name of the file."""
    if not name.endswith(".toml"):
        return {"base": name}, "given by the caller"
    try:
        own = toml.load(name)
    except (OSError, ValueError) as error:
        raise QueryError(f"{name} is not a card of hardware", got=str(error),
                         hint=f"choose another file, or one of: {', '.join(accelerators())}") from None  # fmt: skip
    if unknown := own.keys() - set(_KEYS):
        key = min(unknown)
        raise QueryError(f"{name} has an unknown entry {key!r}", expected=", ".join(_KEYS), hint=nearest(key, _KEYS))
    return own, Path(name).name


def _card(own: Mapping[str, Any], origin: str) -> Hardware:
    """Return the card of what a file gives, completed from its base and the built-in defaults."""
    base = _base(str(own["base"])) if "base" in own else {}
    peaks = {**base.get("peak", {}), **_peaks(own.get("peak", {}))}
    precision = _precision(str(own.get("precision", "")), peaks)
    workload = str(own.get("workload") or _workload(precision, own.get("count")))
    if workload not in _shipped()["utilisation"]:
        raise QueryError(f"no workload is called {workload!r}", hint=nearest(workload, _shipped()["utilisation"]))
    entries = {**_shipped()["defaults"], "utilisation": _shipped()["utilisation"][workload], **base, **own,
               "peak": peaks[precision]}  # fmt: skip
    if missing := [name for name in UNITS if name not in entries and name not in _OPTIONAL]:
        raise QueryError(f"{origin} lacks {', '.join(missing)}", expected=", ".join(UNITS),
                         hint="add them, or name a base, such as base = \"H100\"")  # fmt: skip
    figures = {name: _figure(name, entries[name], origin) for name in UNITS if name in entries}
    return Hardware(str(own.get("accelerator", own.get("base", origin))), precision, workload, **figures)


def _base(name: str) -> Mapping[str, Any]:
    known = _shipped()["accelerators"]
    if name not in known:
        raise UnknownName(f"no built-in accelerator is called {name!r}", expected="a name, or the path of a TOML file",
                          got=repr(name), hint=nearest(name, known))  # fmt: skip
    return known[name]


def _peaks(given: Any) -> Mapping[str, Any]:
    if not isinstance(given, Mapping) or "value" in given:
        raise QueryError("peak has one figure for each precision", expected="[peak] with bf16 = 989e12",
                         got=str(given))  # fmt: skip
    return given


def _precision(asked: str, peaks: Mapping[str, Any]) -> str:
    chosen = asked or ("bf16" if "bf16" in peaks else next(iter(peaks), ""))
    if chosen not in peaks:
        raise QueryError(f"there is no peak for precision {chosen!r}", expected=", ".join(peaks) or "[peak]",
                         hint="choose another precision, or give its peak in a file")  # fmt: skip
    return chosen


def _workload(precision: str, count: Any) -> str:
    small = count is not None and amount(count["value"] if isinstance(count, Mapping) else count).mean <= _SMALL
    return "fp8" if precision == "fp8" else "dense-small" if small else "dense"


def _figure(name: str, entry: Any, origin: str) -> Figure:
    """Read a figure: a value, or a table with its source, which may be one of the built-in sources."""
    if not isinstance(entry, Mapping):
        return Figure(amount(entry), origin)
    if "value" not in entry or entry.keys() - {"value", "source", "as_of"}:
        raise QueryError(f"{name} cannot be read", expected="value, source and as_of", got=", ".join(entry))
    source = str(entry.get("source", origin))
    known = _shipped()["sources"].get(source, {})
    return Figure(amount(entry["value"]), known.get("text", source), _date(entry.get("as_of", known.get("as_of"))))


def _date(given: Any) -> date | None:
    try:
        found = date.fromisoformat(given) if isinstance(given, str) else given
    except ValueError:
        found = given
    found = found.date() if isinstance(found, datetime) else found
    if found is not None and not isinstance(found, date):
        raise QueryError("as_of is not a date", expected="2026-05-20", got=str(given))
    return found


def _interval(quantiles: np.ndarray, unit: str = "") -> str:
    """Write a median, and its 90% interval unless all is one value."""
    low, middle, high = map(_dollars, quantiles)
    return f"{middle}{unit}" + ("" if low == high else f", 90% interval {low} to {high}")


def _dollars(value: float) -> str:
    return f"${value:.2f}" if 0.1 <= value < 1000 else f"${written(float(value))}"
