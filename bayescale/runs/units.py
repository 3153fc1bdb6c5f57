"""Units of the columns of a table: counts in millions or billions, compute in EFLOP or PF-days, losses in bits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from numbers import Real

import numpy as np
import pandas as pd

from bayescale.core.errors import RunsError, nearest
from bayescale.core.quantities import LEAST
from bayescale.core.units import LOSS_UNITS, LossUnit, excess, in_bits, in_bytes, too_high

_COUNTS = {"1": 1.0, "thousands": 1e3, "millions": 1e6, "billions": 1e9, "trillions": 1e12, "k": 1e3, "m": 1e6,
           "b": 1e9, "bn": 1e9, "t": 1e12, "thousand": 1e3, "million": 1e6, "billion": 1e9,
           "trillion": 1e12}  # fmt: skip
_DAY = 86_400.0
_PREFIXES = {"": 1.0, "giga": 1e9, "tera": 1e12, "peta": 1e15, "exa": 1e18, "zetta": 1e21, "yotta": 1e24}
_FLOPS = {
    "1": 1.0,
    **{name: size for name, size in _PREFIXES.items() if name},
    **{f"{name[:1]}flop": size for name, size in _PREFIXES.items()},
    **{f"{name}flop": size for name, size in _PREFIXES.items()},
    **{f"{name}day": _PREFIXES[size] * _DAY for size in ("tera", "peta", "exa")
       for name in (f"{size[0]}f", f"{size[0]}flop", f"{size}flop")},
}  # fmt: skip
_BYTES = (0.1, 10_000.0)  # of text a token has 1 to 10, and of an image some thousand
_MOST_SHOWN = 80  # characters of a value in a message
_SHOWN = {
    "flops": "EFLOP, PFLOP, ZFLOP or PF-days",
    "loss": ", ".join(LOSS_UNITS),
    "": "millions, billions or trillions",
}
_COUNTED = ("params", "tokens", "unique_tokens", "active_params", "examples", "step")
_COLUMNS = ", ".join((*_COUNTED, "flops", "loss"))
_LIKELY = {"PFLOP": 1e15, "EFLOP": 1e18, "ZFLOP": 1e21, "PF-days": 1e15 * _DAY}

MISSING_BYTES = "say how many bytes a token has, on average: bytes_per_token=4.3 (--bytes-per-token in a shell)"


def factors(units: Mapping[str, str], name: str) -> dict[str, float]:
    """Return by what the numbers of each column are multiplied.

    Parameters
    ----------
    units : mapping of str to str
        Unit of each column, such as ``{"params": "millions", "flops": "PF-days"}``.
    name : str
        Name of the table, for messages.

    Returns
    -------
    dict of float

    Raises
    ------
    RunsError
        If the unit is not one of the column's.
    """
    found = {}
    for column, unit in units.items():
        known = _FLOPS if column == "flops" else _COUNTS if column in _COUNTED else {}
        plain = re.sub(r"[^a-z0-9]", "", str(unit).lower().replace("/s", ""))
        size = known.get(plain) or known.get(plain.removesuffix("s"))
        if size is None:
            raise RunsError(
                f"{name!r} has an unknown unit of {column}",
                expected=_SHOWN["flops" if column == "flops" else ""] if known else f"a column of: {_COLUMNS}",
                got=repr(unit) if known else repr(column),
                hint="" if known else nearest(column, [*_COUNTED, "flops", "loss"]),
            )  # fmt: skip
        found[column] = size
    return found


def scaled(cells: pd.Series, factor: float) -> pd.Series:
    """Return numbers in base units; counts below 2^53 are integers, without the error of binary fractions."""
    values = cells * factor
    return values.where((values >= 2**53) | values.isna() | (factor == LEAST), values.round())


def likely_flops(ratio: pd.Series) -> str:
    """Return advice on the unit of compute, from 6·params·tokens over the numbers of column ``flops``."""
    middle = float(np.median(ratio))
    for unit, size in _LIKELY.items():
        if size / 2 < middle < 2 * size:
            return f"they look like {unit}: say units={{'flops': '{unit}'}} (--unit flops={unit} in a shell)"
    return ""


def loss_factor(unit: LossUnit, frame: pd.DataFrame, bytes_per_token: float | None, name: str) -> pd.Series | float:
    """Return the bytes of each run's tokens if losses are per byte, else 1.

    Raises
    ------
    RunsError
        If nothing states how many bytes a token has.
    """
    if not unit.per_byte:
        return 1.0
    if bytes_per_token is None and "bytes_per_token" not in frame:
        raise RunsError(f"the losses of {name!r} are per byte", expected="bytes per token of the tokenizer on the text",
                        hint=f"{MISSING_BYTES}, or a column bytes_per_token")  # fmt: skip
    factor = frame["bytes_per_token"] if bytes_per_token is None else bytes_per_token
    given = isinstance(factor, pd.Series) or (isinstance(factor, Real) and not isinstance(factor, bool))
    low, high = _BYTES
    if not given or not np.all((np.asarray(factor) >= low) & (np.asarray(factor) <= high)):
        raise RunsError("bytes_per_token is out of range", got=str(factor)[:_MOST_SHOWN],
                        expected=f"a number of bytes per token from {low:g} to {high:g}, such as 4.3")  # fmt: skip
    return factor


def check_nats(frame: pd.DataFrame, name: str) -> None:
    """Raise RunsError if the losses have no stated unit and are unlikely to be nats/token."""
    ratio = excess(frame)
    if too_high(ratio):
        _ask(name, "perplexity", "perplexities", "too high", f"at least {ratio:.1f} times")
    if in_bits(ratio):
        words = "bits per token, or perplexities of text that is easy to predict"
        _ask(name, "bits", words, "rather high", f"at least {ratio:.1f} times")
    if in_bytes(frame):
        _ask(name, "bits-per-byte", "bits per byte", "very low", "all less than half", MISSING_BYTES)


def _ask(name: str, unit: str, words: str, how: str, times: str, *more: str) -> None:
    known = f"set loss_unit={unit!r}, or loss_unit='nats' if that is their unit (--loss-unit in a shell)"
    raise RunsError(
        f"are the losses of {name!r} {words}? Nothing states their unit, and for nats/token they are {how}",
        expected="losses in nats/token, or their unit",
        got=f"losses {times} those of typical models with these params and tokens",
        hint="; ".join((known, *more)),
    )
