"""Arguments: whether a value that a caller gave can be what it is taken for."""

from __future__ import annotations

import operator
from numbers import Integral
from typing import Any

from bayescale.core.errors import BayescaleError

_MOST_SEED = 2**31 - 1


def check_kind(value: Any, kind: Any, error: type[BayescaleError], expected: str, hint: str = "") -> None:
    """Check the type of an argument.

    Parameters
    ----------
    value : object
    kind : type or tuple of type
    error : type
        The exception to raise.
    expected, hint : str
        What is expected, and what to do.

    Raises
    ------
    BayescaleError
        Of the type `error`, if the value is of another type.
    """
    if not isinstance(value, kind):
        raise error("an argument is of another type", expected=expected, got=described(value), hint=hint)


def check_count(name: str, value: Any, least: int, error: type[BayescaleError]) -> None:
    """Check a number of things.

    Parameters
    ----------
    name : str
        Of the argument.
    value : int
    least : int
        The smallest valid number.
    error : type
        The exception to raise.

    Raises
    ------
    BayescaleError
        Of the type `error`, if the value is no integer, or is too small.
    """
    check_kind(value, Integral, error, f"{name} as an integer")
    if value < least:
        raise error(f"{name} is too small", expected=f"at least {least}", got=str(value))


def described(value: Any) -> str:
    """Return the type of a value in words, with the value if it is short.

    Parameters
    ----------
    value : object

    Returns
    -------
    str

    Examples
    --------
    >>> described("fit.nc"), described([1, 2])
    ("'fit.nc', of type str", 'a value of type list')
    """
    if isinstance(value, str | bytes | int | float | None):
        return f"{repr(value)[:80]}, of type {type(value).__name__}"
    return f"a value of type {type(value).__name__}"


def check_seed(seed: Any, error: type[BayescaleError]) -> None:
    """Check a random seed.

    Parameters
    ----------
    seed : int
    error : type
        The exception to raise.

    Raises
    ------
    BayescaleError
        Of the type `error`, if it is no integer from 0 to 2147483647.
    """
    try:
        inside = 0 <= operator.index(seed) <= _MOST_SEED
    except TypeError:
        inside = False
    if not inside:
        raise error("seed is out of range", expected=f"an integer from 0 to {_MOST_SEED}", got=described(seed))
