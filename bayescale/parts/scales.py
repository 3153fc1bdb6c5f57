"""Scales: how the location of a response, its observations and their scores relate, by the kind of response."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

Columns = Mapping[str, Any]


@dataclass(frozen=True)
class Scale:
    """How a kind of observation is read, checked and scored.

    Attributes
    ----------
    expected : callable
        ``expected(location, columns)``: the centre of the observations, in their unit: the median for a loss, the mean
        for counts and real numbers.
    located : callable
        ``located(middle, columns)``: the location for such a centre, computed with JAX.
    scored : callable
        ``scored(values, columns)``: observations, or draws of them, on the scale of scores and errors.
    log_slope : callable
        ``log_slope(values)``: natural log of the change of an observation per unit of the scored scale. It turns a
        density of the observation into a density of the scored value; 0 for counts.
    valid : callable
        ``valid(values, columns)``: mask of the values that are possible observations.
    must_be, hint : str
        Text for errors: what a valid value is, and how to fix an invalid one.
    """

    expected: Callable[[Any, Columns], Any]
    located: Callable[[Any, Columns], Any]
    scored: Callable[[Any, Columns], Any]
    log_slope: Callable[[Any], Any]
    valid: Callable[[Any, Columns], Any]
    must_be: str
    hint: str


def _logs(values: Any, columns: Columns) -> Any:
    """Return finite logs. Heavy-tailed noise on a log occasionally exceeds the range of a double."""
    floats = np.finfo(float)
    return np.log(np.clip(values, floats.tiny, floats.max))


SCALES = {
    "log": Scale(
        expected=lambda location, columns: np.exp(location),
        located=lambda middle, columns: jnp.log(middle),
        scored=_logs,
        log_slope=np.log,
        valid=lambda values, columns: values > 0,
        must_be="a positive number",
        hint="fix or remove the value",
    ),
    "count": Scale(
        expected=lambda location, columns: location * columns["n_items"],
        located=lambda middle, columns: middle / columns["n_items"],
        scored=lambda values, columns: values / columns["n_items"],
        log_slope=np.zeros_like,
        valid=lambda values, columns: (values % 1 == 0) & (values >= 0) & (values <= columns["n_items"]),
        must_be="a count of items from 0 to n_items",
        hint="if it is a share of items, multiply it by n_items and round",
    ),
    "share": Scale(
        expected=lambda location, columns: location,
        located=lambda middle, columns: middle,
        scored=lambda values, columns: np.asarray(values, float),
        log_slope=np.zeros_like,
        valid=lambda values, columns: (values >= 0) & (values <= 1),
        must_be="a share between 0 and 1",
        hint="if it is in per cent, divide it by 100",
    ),
    "real": Scale(
        expected=lambda location, columns: location,
        located=lambda middle, columns: middle,
        scored=lambda values, columns: np.asarray(values, float),
        log_slope=np.zeros_like,
        valid=lambda values, columns: np.isfinite(values),
        must_be="a finite number",
        hint="fix or remove the value",
    ),
}
"""Scale of each kind of response; a noise fits the responses of its kind."""
