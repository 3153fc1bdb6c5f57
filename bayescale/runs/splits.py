"""Split: which runs of a family are fitted, and which are forecast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bayescale.core.errors import QueryError, nearest
from bayescale.runs.columns import DATE as YEAR
from bayescale.runs.columns import RELEASED as DATE
from bayescale.runs.columns import missing_column, size_column
from bayescale.runs.table import Runs

BEYOND = 1.05  # runs up to 5% beyond the cut are neither fitted nor forecast
FEWEST_TRAIN, FEWEST_TEST = 8, 3
TRAIN_QUANTILE = 0.7
EXPANDING = (0.3, 0.5, 0.7, 0.85)
"""Quantiles of compute of the way ``expanding``. Forecasts reach far beyond the first and not far beyond the last."""
SMALLEST = 5
"""Default number of runs of the family that the way ``alongside`` fits."""


class Options(NamedTuple):
    """Options of a split; see :func:`cut`."""

    train_quantile: float = TRAIN_QUANTILE
    smallest: int | None = None
    beyond: float = BEYOND


class Cut(NamedTuple):
    """Runs of a family to fit and runs to forecast.

    Attributes
    ----------
    family : str
    label : str
        Distinguishes the cuts of one family; empty if the family has one cut.
    train, test : ndarray of bool, shape (run,)
        Masks over the table.
    """

    family: str
    label: str
    train: np.ndarray
    test: np.ndarray

    @property
    def name(self) -> str:
        """The family and the label of the cut."""
        return f"{self.family} {self.label}".strip()


Masks = Iterator[tuple[str, np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Way:
    """A way to split each family.

    Attributes
    ----------
    about : str
        Description in one line.
    masks : callable
        From ``(runs, mine, options)`` to a label, the runs to fit and the runs to forecast, for each cut of a family.
    complete : bool
        Whether other families are fitted with all their runs; otherwise they are cut in the same way.
    fewest : (int, int)
        Smallest numbers of runs to fit and to forecast.
    reads : tuple of str
        Options that this way uses.
    """

    about: str
    masks: Callable[[Runs, np.ndarray, Options], Masks]
    complete: bool = False
    fewest: tuple[int, int] = (FEWEST_TRAIN, FEWEST_TEST)
    reads: tuple[str, ...] = ("beyond",)


def _below(runs: Runs, mine: np.ndarray, quantile: float, beyond: float) -> tuple[np.ndarray, np.ndarray]:
    cut = np.quantile(runs.size[mine], quantile)
    return mine & (runs.size <= cut), mine & _is_beyond(runs, cut, beyond)


def _is_beyond(runs: Runs, cut: float, beyond: float) -> np.ndarray:
    """Whether each run lies beyond a size: by a factor, or, where dates are the sizes, after it."""
    return np.asarray(runs.size > (cut if size_column(runs.frame) == YEAR else beyond * cut))


def _quantile(runs: Runs, mine: np.ndarray, options: Options) -> Masks:
    if options.smallest is not None:
        yield from _smallest(runs, mine, options)
    else:
        yield "", *_below(runs, mine, options.train_quantile, options.beyond)


def _expanding(runs: Runs, mine: np.ndarray, options: Options) -> Masks:
    for quantile in EXPANDING:
        yield f"up to {100 * quantile:.0f} %", *_below(runs, mine, quantile, options.beyond)


def _smallest(runs: Runs, mine: np.ndarray, options: Options) -> Masks:
    count = options.smallest or SMALLEST
    first = np.flatnonzero(mine)[np.argsort(runs.size[mine], kind="stable")[:count]]
    train = np.isin(np.arange(len(runs)), first)
    yield "", train, mine & _is_beyond(runs, runs.size[train].max(), options.beyond)


def _largest(runs: Runs, mine: np.ndarray, options: Options) -> Masks:
    # Sizes within 5% are one size: the params of a size change slightly with the vocabulary and the depth.
    largest = mine & (runs["params"] > runs["params"][mine].max() / BEYOND)
    yield "", mine & ~largest, largest


def _family(runs: Runs, mine: np.ndarray, options: Options) -> Masks:
    yield "", np.zeros(len(runs), bool), mine


def _date(runs: Runs, mine: np.ndarray, options: Options) -> Masks:
    column = YEAR if DATE not in runs.frame and YEAR in runs.frame else DATE
    if column not in runs.frame:
        raise missing_column(DATE, runs.frame.columns, runs.name)
    dates = runs[column].astype(float)
    early = dates <= np.quantile(dates, options.train_quantile)
    yield "", early, mine & ~early


WAYS: dict[str, Way] = {
    "quantile": Way("runs up to a quantile of a family's compute, or its k smallest runs, forecast larger runs",
                    _quantile, reads=("train_quantile", "smallest", "beyond")),
    "expanding": Way("the same at several quantiles, so that forecasts reach up to a hundred times beyond the runs",
                     _expanding),
    "leave-largest-out": Way("all model sizes of a family except the largest forecast the largest",
                             _largest, fewest=(FEWEST_TRAIN, 1), reads=()),
    "leave-family-out": Way("the other families forecast a family of which no run is fitted",
                            _family, complete=True, fewest=(0, FEWEST_TEST), reads=()),
    "by-date": Way("models released up to a quantile of all dates, of all families, forecast later ones",
                   _date, fewest=(FEWEST_TRAIN, 1), reads=("train_quantile",)),
    "alongside": Way("k smallest runs of a family, with all runs of those it is pooled with, forecast its larger runs",
                  _smallest, complete=True, fewest=(SMALLEST, FEWEST_TEST), reads=("smallest", "beyond")),
}  # fmt: skip
"""Ways to split, by name of the way."""


def cut(runs: Runs, way: str = "quantile", options: Options = Options()) -> tuple[list[Cut], dict[str, str]]:  # noqa: B008
    """Return the cuts of every family, and the reasons why other cuts are left out.

    Parameters
    ----------
    runs : Runs
    way : str
        Name of one of :data:`WAYS`.
    options : Options
        ``train_quantile`` is the quantile of a family's compute up to which its runs are fitted; ``smallest`` is a
        number of smallest-compute runs to fit instead. Runs are forecast if their compute is above ``beyond`` times the
        largest compute that is fitted.

    Returns
    -------
    list of Cut
        Cuts with enough runs to fit and to forecast.
    dict of str
        Reasons why other cuts are left out, by name of the cut.

    Raises
    ------
    QueryError
        If there is no such way, or an option is out of range or is not used by this way.
    """
    chosen = _checked(way, options)
    train, test = chosen.fewest
    train = train if options.smallest is None else options.smallest
    cuts, left_out = [], {}
    for family in runs.families:
        for label, below, above in chosen.masks(runs, runs["family"] == family, options):
            found = Cut(family, label, below, above)
            if below.sum() < train or above.sum() < test:
                left_out[found.name] = f"{below.sum()} runs to fit, {above.sum()} to score"
            else:
                cuts.append(found)
    return cuts, left_out


def split(
    runs: Runs, train_quantile: float, *, smallest: int | None = None, beyond: float = BEYOND
) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
    """Return the runs to fit and to score over all families, and the reasons why other families are left out.

    Parameters
    ----------
    runs : Runs
    train_quantile, smallest, beyond
        As in :func:`cut`.

    Returns
    -------
    train, test : ndarray of bool, shape (run,)
    left_out : dict of str
    """
    cuts, left_out = cut(runs, options=Options(train_quantile, smallest, beyond))
    train, test = (np.isin(runs["family"], []) for _ in range(2))
    for found in cuts:
        train |= found.train
        test |= found.test
    return train, test, left_out


def _checked(way: str, options: Options) -> Way:
    if way not in WAYS:
        raise QueryError(f"no way to split is called {way!r}", expected=f"one of: {', '.join(WAYS)}",
                         hint=nearest(way, WAYS))  # fmt: skip
    if not 0 < options.train_quantile < 1:
        raise QueryError("train quantile out of range", expected="a number between 0 and 1",
                         got=str(options.train_quantile))  # fmt: skip
    if (options.smallest is not None and options.smallest < 2) or not options.beyond >= 1:
        raise QueryError("the split of the backtest is out of range", expected="smallest at least 2, beyond at least 1",
                         got=f"smallest {options.smallest}, beyond {options.beyond:g}")  # fmt: skip
    for name, default in Options._field_defaults.items():
        if getattr(options, name) != default and name not in WAYS[way].reads:
            able = [other for other, one in WAYS.items() if name in one.reads]
            raise QueryError(f"the way {way!r} does not use {name}", expected=f"{name} with one of: {', '.join(able)}",
                             hint=f"leave {name} out, or choose another way")  # fmt: skip
    return WAYS[way]
