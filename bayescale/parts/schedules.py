"""Schedules of learning rates, as text: ``"cosine peak=3e-4 floor=3e-5 warmup=2160 steps=24000"``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from bayescale.core.errors import RunsError, nearest
from bayescale.core.quantities import quantity

_MOST_STEPS = 10_000_000  # the learning rate of each step is held in memory
# Changes have about the same effect if the area that followed, over this power of the learning rate, is the same.
_USUAL_POWER = 0.64  # Luo et al. 2025, arXiv:2503.12811
_EXAMPLE = '"cosine peak=3e-4 floor=3e-5 warmup=2160 steps=24000"'

_SHAPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "constant": lambda share: np.ones_like(share),
    "cosine": lambda share: (1 + np.cos(np.pi * share)) / 2,
    "linear": lambda share: 1 - share,
    "step": lambda share: np.zeros_like(share),
}
"""What is left of the way from the peak to the floor, after a share of the decay; a geometric decay is a ratio."""
KINDS = (*_SHAPES, "geometric")


@dataclass(frozen=True)
class Schedule:
    """The learning rate of every step: a linear warm-up from zero, a constant peak, and a decay to a floor.

    Attributes
    ----------
    kind : {"constant", "cosine", "linear", "step", "geometric"}
        Shape of the decay. A step falls to the floor at once.
    peak, floor : float
        Learning rates before and after the decay; the floor of a constant schedule is its peak.
    warmup : int
        Steps of the warm-up, the last of which has the peak.
    decay : int
        Step at which the decay begins; by default that at which the warm-up ends.
    steps : int
        Step at which the decay ends.
    """

    kind: str
    peak: float
    steps: int
    floor: float = 0.0
    warmup: int = 0
    decay: int = -1

    def __post_init__(self) -> None:
        start = self.warmup if self.decay < 0 else self.decay
        sizes = 0 <= self.warmup <= start <= self.steps <= _MOST_STEPS and self.steps > 0
        if self.kind not in KINDS or not (sizes and 0 < self.peak < np.inf and 0 <= self.floor <= self.peak):
            raise RunsError(
                f"the schedule {self.kind!r} is not valid",
                expected=f"one of {', '.join(KINDS)}; floor <= peak, warmup <= decay <= steps; such as {_EXAMPLE}",
                got=str(self),
                hint=nearest(self.kind, KINDS),
            )

    @property
    def start(self) -> int:
        """Step at which the decay begins."""
        return self.warmup if self.decay < 0 else self.decay

    def __str__(self) -> str:
        """Text that :func:`schedule` reads."""
        said = {field.name: getattr(self, field.name) for field in fields(self)[1:]}
        kept = {name: value for name, value in said.items() if name in ("peak", "steps") or value not in (0, -1)}
        return " ".join([self.kind, *(f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
                                      for name, value in kept.items())])  # fmt: skip

    def rates(self) -> np.ndarray:
        """Return the learning rate of each step, shape (steps + 1,); step 0 is before training."""
        step = np.arange(self.steps + 1)
        share = np.clip((step - self.start) / max(self.steps - self.start, 1), 0.0, 1.0)
        if self.kind == "geometric":
            decayed = self.peak * (max(self.floor, np.finfo(float).tiny) / self.peak) ** share
        else:
            decayed = self.floor + (self.peak - self.floor) * _SHAPES[self.kind](share)
        held = np.where(step < self.start, self.peak, decayed)
        return np.where(step < self.warmup, self.peak * step / max(self.warmup - 1, 1), held)


@lru_cache(maxsize=256)
def schedule(text: str) -> Schedule:
    """Read a schedule of learning rates from text.

    Parameters
    ----------
    text : str
        The kind, then ``name=value`` for each field of :class:`Schedule`: ``peak`` and ``steps``, and optionally
        ``floor``, ``warmup`` and ``decay``.

    Returns
    -------
    Schedule

    Raises
    ------
    RunsError
        If the text is not a valid schedule.

    Examples
    --------
    >>> rates = schedule("cosine peak=3e-4 floor=3e-5 warmup=2000 steps=24k").rates()
    >>> rates.max(), rates[-1]
    (np.float64(0.0003), np.float64(3e-05))
    """
    kind, *rest = text.split()[:8] or [""]
    try:
        given: Mapping[str, Any] = dict(one.split("=", 1) for one in rest)
        counts = {name: int(quantity(given[name])) for name in ("warmup", "decay", "steps") if name in given}
        rates_given = {name: float(given[name]) for name in ("peak", "floor") if name in given}
        if set(given) != {*counts, *rates_given} or not {"peak", "steps"} <= set(given):
            raise ValueError
    except (ValueError, TypeError, OverflowError):
        raise RunsError(f"cannot read the schedule {text[:100]!r}", expected=f"for example {_EXAMPLE}") from None
    return Schedule(kind, **rates_given, **counts)  # type: ignore[arg-type]


def along_schedule(text: str, steps: Any) -> pd.DataFrame:
    """Return the columns that laws of a training curve read, at some steps of a schedule.

    Parameters
    ----------
    text : str
        The schedule; see :func:`schedule`.
    steps : array_like of int, shape (row,)

    Returns
    -------
    DataFrame
        ``schedule``, ``step`` and ``lr_area``: the sum of the learning rates up to the step, the step included.

    Raises
    ------
    RunsError
        If the schedule is not valid, or has no such step.

    Examples
    --------
    >>> along_schedule("constant peak=1e-3 steps=1000", [10, 1000])["lr_area"].tolist()
    [0.011, 1.001]
    """
    rates, at = _rates(text), np.atleast_1d(np.asarray(steps, int))
    if len(at) and not (at.min() >= 0 and at.max() < len(rates)):
        raise RunsError(f"the schedule {text!r} has no such step", expected=f"0 to {len(rates) - 1}",
                        got=f"{at.min()} to {at.max()}")  # fmt: skip
    return pd.DataFrame({"schedule": text, "step": at, "lr_area": np.round(np.cumsum(rates)[at], 12)})


@lru_cache(maxsize=64)
def _rates(text: str) -> np.ndarray:
    rates = schedule(text).rates()
    rates.flags.writeable = False
    return rates


def annealing_area(text: str, step: int, memory: float) -> float:
    """Return the annealing area of Tissue et al. (2024): falls of the learning rate, remembered over later steps.

    Parameters
    ----------
    text : str
        The schedule.
    step : int
    memory : float
        Share of the memory of a fall that is left after one step.

    Returns
    -------
    float
        Sum over steps of the remembered falls, in learning rate · steps.
    """
    rates = _rates(text)[: step + 1]
    fall = np.maximum(-np.diff(rates, prepend=rates[0]), 0.0)
    left = (1 - memory ** np.arange(len(rates), 0, -1)) / (1 - memory)  # a geometric sum, from each step to the last
    return float(fall @ left)


def changes_of(text: str, step: int, bins: int) -> np.ndarray:
    """Return how the learning rate changed up to a step, in a small number of bins of the area that followed.

    Parameters
    ----------
    text : str
        The schedule.
    step : int
    bins : int
        Number of bins, evenly spaced in the log of the area over a power of the learning rate.

    Returns
    -------
    ndarray, shape (bins, 3)
        For each bin: the sum of the changes, and means, weighted by their size, of the log of the learning rate after
        the change and of the log of the area from the change to the step. An empty bin holds zeros.
    """
    rates = _rates(text)[: step + 1]
    change = np.diff(rates, prepend=rates[0])
    k = np.flatnonzero((change != 0) & (rates > 0))
    area = np.cumsum(rates)
    found = np.zeros((bins, 3))
    if not len(k):
        return found
    log_rate, log_area = np.log(rates[k]), np.log(area[-1] - area[k] + rates[k])
    reached = log_area - _USUAL_POWER * log_rate
    edges = np.linspace(reached.min(), reached.max(), bins + 1)
    place = np.clip(np.searchsorted(edges, reached, side="right") - 1, 0, bins - 1)
    size = np.abs(change[k])
    weight = np.bincount(place, size, bins)
    held = weight > 0
    found[:, 0] = np.bincount(place, change[k], bins)
    for column, values in ((1, log_rate), (2, log_area)):
        found[held, column] = np.bincount(place, size * values, bins)[held] / weight[held]
    return found
