"""Split: which of a family's runs are fitted, and which are forecast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bayescale.core.errors import QueryError, nearest
from bayescale.runs.table import Runs

BEYOND = 1.05  # runs within 5 % of the cut are neither fitted nor forecast
FEWEST_TRAIN, FEWEST_TEST = 8, 3
TRAIN_QUANTILE = 0.7
EXPANDING = (0.3, 0.5, 0.7, 0.85)
"""Quantiles of compute of the way ``expanding``: after the first, forecasts reach far beyond; after the last, near."""
CHEAPEST = 5
"""Runs of the family that the way ``beside`` fits, where no other count is named."""


class Options(NamedTuple):
    """What may be set of a split: see :func:`cut`."""

    train_quantile: float = TRAIN_QUANTILE
    cheapest: int | None = None
    beyond: float = BEYOND


class Cut(NamedTuple):
    """Some of a family's runs to fit and some to forecast, as masks over the table.

    `label` tells several cuts of one family apart; it is empty where there is one.
    """

    family: str
    label: str
    train: np.ndarray
    test: np.ndarray

    @property
    def name(self) -> str:
        """The family, and which cut of it."""
        return f"{self.family} {self.label}".strip()


Masks = Iterator[tuple[str, np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Way:
    """A way to split each family.

    Attributes
    ----------
    about : str
        In a line.
    masks : callable
        ``(runs, mine, options)`` to a label, the runs to fit and the runs to forecast, for each cut of a family.
    whole : bool
        Whether the other families, where they are fitted beside, are fitted whole; otherwise cut likewise.
    fewest : (int, int)
        Runs to fit and to forecast, at least.
    reads : tuple of str
        Options that it reads.
    """

    about: str
    masks: Callable[[Runs, np.ndarray, Options], Masks]
    whole: bool = False
    fewest: tuple[int, int] = (FEWEST_TRAIN, FEWEST_TEST)
    reads: tuple[str, ...] = ("beyond",)


def _below(runs: Runs, mine: np.ndarray, quantile: float, beyond: float) -> tuple[np.ndarray, np.ndarray]:
    cut = np.quantile(runs["flops"][mine], quantile)
    return mine & (runs["flops"] <= cut), mine & (runs["flops"] > beyond * cut)


def _quantile(runs: Runs, mine: np.ndarray, options: Options) -> Masks:
    if options.cheapest is not None:
        yield from _cheapest(runs, mine, options)
    else:
        yield "", *_below(runs, mine, options.train_quantile, options.beyond)


def _expanding(runs: Runs, mine: np.ndarray, options: Options) -> Masks:
    for quantile in EXPANDING:
        yield f"up to {100 * quantile:.0f} %", *_below(runs, mine, quantile, options.beyond)


def _cheapest(runs: Runs, mine: np.ndarray, options: Options) -> Masks:
    count = options.cheapest or CHEAPEST
    first = np.flatnonzero(mine)[np.argsort(runs["flops"][mine], kind="stable")[:count]]
    train = np.isin(np.arange(len(runs)), first)
    yield "", train, mine & (runs["flops"] > options.beyond * runs["flops"][train].max())


def _largest(runs: Runs, mine: np.ndarray, options: Options) -> Masks:
    # Sizes within 5 % are one: families count the params of a size anew with each vocabulary or depth.
    largest = mine & (runs["params"] > runs["params"][mine].max() / BEYOND)
    yield "", mine & ~largest, largest


def _family(runs: Runs, mine: np.ndarray, options: Options) -> Masks:
    yield "", np.zeros(len(runs), bool), mine


WAYS: dict[str, Way] = {
    "quantile": Way("runs up to a quantile of a family's compute, or its k cheapest, forecast those beyond",
                    _quantile, reads=("train_quantile", "cheapest", "beyond")),
    "expanding": Way("the same at several quantiles, so that forecasts reach from near to a hundred times beyond",
                     _expanding),
    "leave-largest-out": Way("all model sizes of a family but the largest forecast that",
                             _largest, fewest=(FEWEST_TRAIN, 1), reads=()),
    "leave-family-out": Way("the other families forecast one of which no run is fitted",
                            _family, whole=True, fewest=(0, FEWEST_TEST), reads=()),
    "beside": Way("the k cheapest runs of one family, beside those it is pooled with whole, forecast those beyond",
                  _cheapest, whole=True, fewest=(CHEAPEST, FEWEST_TEST), reads=("cheapest", "beyond")),
}  # fmt: skip
"""Ways to split, by name."""


def cut(runs: Runs, way: str = "quantile", options: Options = Options()) -> tuple[list[Cut], dict[str, str]]:  # noqa: B008
    """Cuts of every family, and those with too few runs to fit or to forecast, and why.

    Parameters
    ----------
    runs : Runs
    way : str
        Name of one of :data:`WAYS`.
    options : Options
        ``train_quantile``: of a family's compute, up to which its runs are fitted; ``cheapest``: fit so many
        of its cheapest runs instead; ``beyond``: forecast runs above so many times the largest compute fitted.

    Raises
    ------
    QueryError
        If there is no such way, or an option is out of range or not read by it.
    """
    chosen = _checked(way, options)
    train, test = chosen.fewest
    train = train if options.cheapest is None else options.cheapest
    cuts, left_out = [], {}
    for family in runs.families:
        for label, below, dearer in chosen.masks(runs, runs["family"] == family, options):
            found = Cut(family, label, below, dearer)
            if below.sum() < train or dearer.sum() < test:
                left_out[found.name] = f"{below.sum()} runs to fit, {dearer.sum()} to score"
            else:
                cuts.append(found)
    return cuts, left_out


def split(
    runs: Runs, train_quantile: float, *, cheapest: int | None = None, beyond: float = BEYOND
) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
    """Masks of the runs to fit and to score over all families, and the families with too few of either.

    Fitted are a family's runs up to a quantile of its compute, or so many of its `cheapest`; scored are
    those above `beyond` times the largest compute that is fitted.
    """
    cuts, left_out = cut(runs, options=Options(train_quantile, cheapest, beyond))
    train, test = (np.isin(runs["family"], []) for _ in range(2))
    for found in cuts:
        train |= found.train
        test |= found.test
    return train, test, left_out


def _checked(way: str, options: Options) -> Way:
    if way not in WAYS:
        raise QueryError(f"no way to split is called {way!r}", wanted=f"one of: {', '.join(WAYS)}",
                         do=nearest(way, WAYS))  # fmt: skip
    if not 0 < options.train_quantile < 1:
        raise QueryError("train quantile out of range", wanted="a number between 0 and 1",
                         came=str(options.train_quantile))  # fmt: skip
    if (options.cheapest is not None and options.cheapest < 2) or not options.beyond >= 1:
        raise QueryError("the backtest's split is out of range", wanted="cheapest at least 2, beyond at least 1",
                         came=f"cheapest {options.cheapest}, beyond {options.beyond:g}")  # fmt: skip
    for name, default in Options._field_defaults.items():
        if getattr(options, name) != default and name not in WAYS[way].reads:
            able = [other for other, one in WAYS.items() if name in one.reads]
            raise QueryError(f"the way {way!r} reads no {name}", wanted=f"{name} with one of: {', '.join(able)}",
                             do=f"leave {name} out, or choose another way")  # fmt: skip
    return WAYS[way]
