"""Amounts: figures that are a number or a distribution, and draws of several of them.

A price, a utilisation or a demand is rarely known exactly. Wherever a figure is asked for, a user or a TOML file may
write a number (``2.95``, ``"70B"``) or a distribution (``"lognormal(2.95, 0.35)"``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from bayescale.core.errors import QueryError, nearest
from bayescale.core.quantities import MOST, NotFinite, quantity


class _Kind(NamedTuple):
    form: str
    needs: str
    valid: Callable[[float, float], bool]
    distribution: Callable[[float, float], Any]


# Products of several figures, and their squares, are finite. Nobody is unsure of a figure by a factor of e¹⁰, and the
# quantiles of a narrower beta distribution are not found.
_WIDEST, _NARROWEST = 10.0, 1e-6


def _total(mean: float, sd: float) -> float:
    """Return the sum of the two shape parameters of a beta distribution, from its variance."""
    return mean * (1 - mean) / sd**2 - 1


def _beta(mean: float, sd: float) -> Any:
    total = _total(mean, sd)
    return stats.beta(mean * total, (1 - mean) * total)


_KINDS = {
    "lognormal": _Kind("lognormal(median, SD of the log)",
                       f"a positive median, and a positive SD of at most {_WIDEST:g}",
                       lambda m, s: m > 0 and 0 < s <= _WIDEST, lambda m, s: stats.lognorm(s, scale=m)),
    "normal": _Kind("normal(mean, SD)", "a positive SD", lambda m, s: s > 0, lambda m, s: stats.norm(m, s)),
    "beta": _Kind("beta(mean, SD)", "a mean between 0 and 1, and an SD below the root of mean × (1 - mean) "
                  f"and not below {_NARROWEST:g}",
                  lambda m, s: 0 < m < 1 and s >= _NARROWEST and _total(m, s) > 0, _beta),
    "uniform": _Kind("uniform(low, high)", "low below high", lambda a, b: a < b, lambda a, b: stats.uniform(a, b - a)),
}  # fmt: skip
_CALL = re.compile(r"\s*([a-z]+)\s*\((.*)\)\s*", re.IGNORECASE)
_EXPECTED = "a number (2.95, 70B) or one of: " + ", ".join(kind.form for kind in _KINDS.values())


@dataclass(frozen=True)
class Amount:
    """A figure that is a number or a distribution; :func:`amount` makes one.

    Attributes
    ----------
    kind : {"number", "lognormal", "normal", "beta", "uniform"}
    values : tuple of float
        The number; or median and SD of the log, mean and SD (``normal``, ``beta``), or low and high.
    """

    kind: str
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        count = 1 if self.kind == "number" else 2
        if self.kind != "number" and self.kind not in _KINDS:
            raise _wrong(str(self))
        if len(self.values) != count or not all(map(math.isfinite, self.values)):
            raise _wrong(str(self), f"give {count} finite number{'s' * (count > 1)}")
        if not all(value == 0 or 1 / MOST <= abs(value) <= MOST for value in self.values):
            raise _wrong(str(self), f"give 0, or numbers from {1 / MOST:g} to {MOST:g} in size")
        if self.kind in _KINDS and not _KINDS[self.kind].valid(*self.values):
            raise _wrong(str(self), f"{_KINDS[self.kind].form} needs {_KINDS[self.kind].needs}")

    @property
    def fixed(self) -> bool:
        """Whether it is a number."""
        return self.kind == "number"

    @cached_property
    def _distribution(self) -> Any:
        return _KINDS[self.kind].distribution(*self.values)

    @property
    def mean(self) -> float:
        """The number, or the mean of the distribution."""
        return self.values[0] if self.fixed else float(self._distribution.mean())

    @property
    def support(self) -> tuple[float, float]:
        """Smallest and largest possible value."""
        low, high = (self.values * 2) if self.fixed else self._distribution.support()
        return float(low), float(high)

    def quantile(self, level: Any) -> np.ndarray:
        """Return quantiles.

        Parameters
        ----------
        level : float or ndarray
            Between 0 and 1.

        Returns
        -------
        ndarray, shape of `level`
        """
        level = np.asarray(level, float)
        return np.full(level.shape, self.values[0]) if self.fixed else self._distribution.ppf(level)

    def draws(self, n: int, seed: Any = 0) -> np.ndarray:
        """Return stratified draws in random order: one from each `n`-th part of the distribution.

        Their mean has a much smaller Monte Carlo error than that of independent draws (McKay et al. 1979,
        doi:10.2307/1268522).

        Parameters
        ----------
        n : int
            Number of draws.
        seed : int, sequence of int, or Generator
            Of NumPy's default generator.

        Returns
        -------
        ndarray, shape (draw,)

        Examples
        --------
        >>> amount("uniform(0, 4)").draws(1000, seed=1).mean().round(2)
        np.float64(2.0)
        """
        rng = np.random.default_rng(seed)
        return self.quantile((rng.permutation(n) + rng.random(n)) / n)

    def __str__(self) -> str:
        values = ", ".join(f"{value:.12g}" for value in self.values)
        return values if self.fixed else f"{self.kind}({values})"


def amount(value: Any) -> Amount:
    """Read a figure that is a number or a distribution.

    Parameters
    ----------
    value : Amount, float or str
        ``2.95``, ``"70B"``, ``"lognormal(2.95, 0.35)"`` (median, SD of the log), ``"normal(3, 0.5)"`` and
        ``"beta(0.40, 0.06)"`` (mean, SD), or ``"uniform(2, 4)"`` (low, high).

    Returns
    -------
    Amount

    Raises
    ------
    QueryError
        If it is none of these, or its numbers are out of range.

    Examples
    --------
    >>> amount("70B").mean
    70000000000.0
    >>> print(amount("beta(0.40, 0.06)"))
    beta(0.4, 0.06)
    """
    if isinstance(value, Amount):
        return value
    call = _CALL.fullmatch(value) if isinstance(value, str) else None
    try:
        if isinstance(value, bool):
            raise TypeError
        if call is None:
            return Amount("number", (quantity(value),))
        values = tuple(map(quantity, call[2].split(",")))
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, QueryError):
            raise
        raise _wrong(repr(value), str(error) if isinstance(error, NotFinite) else "") from None
    if call[1].lower() not in _KINDS:
        raise _wrong(repr(value), nearest(call[1], _KINDS))
    return Amount(call[1].lower(), values)


def drawn(amounts: Mapping[str, Amount], n: int, seed: int) -> dict[str, np.ndarray]:
    """Draw several figures, to be paired with `n` draws of a posterior.

    Figures are independent of each other and of the posterior. Each has a stream of its own, by its name: to add or
    change one figure leaves the draws of the others as they were.

    Parameters
    ----------
    amounts : mapping of str to Amount
        Figures by name.
    n : int
        Number of draws.
    seed : int
        Not negative.

    Returns
    -------
    dict of str to ndarray, shape (draw,)

    Examples
    --------
    >>> price = {"price": amount("lognormal(2.95, 0.35)")}
    >>> both = price | {"utilisation": amount("beta(0.4, 0.06)")}
    >>> bool((drawn(price, 100, seed=1)["price"] == drawn(both, 100, seed=1)["price"]).all())
    True
    """
    return {name: one.draws(n, [seed, *name.encode()]) for name, one in amounts.items()}


def _wrong(got: str, hint: str = "") -> QueryError:
    return QueryError("a figure cannot be read", expected=_EXPECTED, got=got, hint=hint)
