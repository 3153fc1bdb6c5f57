"""Scales: what a response's location, its observations and their scores are, by the response's kind."""

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
        ``expected(location, columns)``: the middle of what is observed, in its unit. Of a loss it is the median, of
        counts and of real numbers the mean.
    located : callable
        ``located(middle, columns)``: the location of such a middle, as JAX computes it.
    scored : callable
        ``scored(values, columns)``: observations, or draws of them, on the scale of scores and errors.
    log_slope : callable
        ``log_slope(values)``: natural log of how much an observation changes per unit of its score's scale, by which
        a density of the observation becomes one of what is scored; 0 where observations are counted.
    valid : callable
        ``valid(values, columns)``: mask of the values that can be observed.
    must_be, hint : str
        What they must be, and what to do about one that is not, for messages.
    scale : str
        What is scored, in words.
    """

    expected: Callable[[Any, Columns], Any]
    located: Callable[[Any, Columns], Any]
    scored: Callable[[Any, Columns], Any]
    log_slope: Callable[[Any], Any]
    valid: Callable[[Any, Columns], Any]
    must_be: str
    hint: str
    scale: str


def _logs(values: Any, columns: Columns) -> Any:
    """Logs that are finite: noise with heavy tails on a log now and then leaves what a double can hold."""
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
        scale="its log",
    ),
    "count": Scale(
        expected=lambda location, columns: location * columns["n_items"],
        located=lambda middle, columns: middle / columns["n_items"],
        scored=lambda values, columns: values / columns["n_items"],
        log_slope=np.zeros_like,
        valid=lambda values, columns: (values % 1 == 0) & (values >= 0) & (values <= columns["n_items"]),
        must_be="a count of items from 0 to n_items",
        hint="if it is a share, multiply it by n_items and round",
        scale="the share of items",
    ),
    "real": Scale(
        expected=lambda location, columns: location,
        located=lambda middle, columns: middle,
        scored=lambda values, columns: np.asarray(values, float),
        log_slope=np.zeros_like,
        valid=lambda values, columns: np.isfinite(values),
        must_be="a finite number",
        hint="fix or remove the value",
        scale="its own unit",
    ),
}
"""Scale of each kind of response; a noise fits the responses of its kind."""
