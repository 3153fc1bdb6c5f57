"""Limits: what an action may be, which limit changes the choice, and what that costs.

A limit is a name and a value. ``max_COLUMN`` and ``min_COLUMN`` bound any numeric column of the actions, such as
``max_params 70B`` or ``max_days 30``. ``sizes 7B,13B,70B`` is a menu of params. ``shapes vocab=128k,tensor=8`` is the
menu of Transformers that can be built, whose layers and heads are divisible by the degrees of parallelism.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayescale.core.errors import QueryError, nearest
from bayescale.core.quantities import LEAST, MOST, quantity
from bayescale.runs.shapes import shapes

SIZES, SHAPES = "sizes", "shapes"
"""Names of the limits that are menus of params."""
_RANGE = ("1M", "10T")  # of params, among which shapes are listed
_VOCAB = 128_000  # by default, about that of Llama 3
_ASPECT, _STEP = 100.0, 0.02  # width over layers of usual language models; e-folds of params
_DEGREES = ("vocab", "tensor", "pipeline", "multiple", "kv_heads")
_LOOSER = 0.1  # share by which a limit is loosened to find what a little more is worth
_SAME = 1e-6  # relative difference of two params that are one size


@dataclass(frozen=True)
class Binding:
    """A limit that changes the choice.

    Attributes
    ----------
    name, value : str
        The limit.
    without : int
        The action that would be chosen without it.
    worth : float
        Expected utility that the choice without it gains.
    looser : float
        Expected utility that a limit looser by a tenth gains: its shadow price. NaN for a menu.
    """

    name: str
    value: str
    without: int
    worth: float
    looser: float

    def sentence(self, measured: Callable[[float], str], name_of: Callable[[int], str]) -> str:
        """Return the limit, its worth and what would be chosen without it.

        Parameters
        ----------
        measured : callable
            Writes a utility with its unit.
        name_of : callable
            Returns an action in words.

        Returns
        -------
        str
        """
        looser = "" if np.isnan(self.looser) else f", a limit looser by 10% would gain {measured(self.looser)}"
        without = f"without it, {name_of(self.without)} would gain {measured(self.worth)}"
        return f"{self.name} {self.value} binds: {without}{looser}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON.

        Returns
        -------
        dict
        """
        looser = None if np.isnan(self.looser) else self.looser
        return {"limit": self.name, "value": self.value, "worth": self.worth, "worth_of_10%": looser}


def limits_of(decision: Any) -> Mapping[str, str]:
    """Return the limits of a decision; none if it has no such setting.

    Parameters
    ----------
    decision : AbstractDecision

    Returns
    -------
    mapping of str to str
    """
    return getattr(decision, "limits", {})


def allowed_by(limits: Mapping[str, str], actions: pd.DataFrame) -> np.ndarray:
    """Return which actions all limits allow.

    Parameters
    ----------
    limits : mapping of str to str
    actions : DataFrame

    Returns
    -------
    ndarray of bool, shape (action,)

    Raises
    ------
    QueryError
        If a limit is unknown, or its value is not a number.
    """
    allowed = np.ones(len(actions), bool)
    for name, value in limits.items():
        allowed &= _allows(name, value, actions)
    return allowed


def alone(limits: Mapping[str, str], actions: pd.DataFrame) -> str:
    """Describe how many actions each limit allows by itself.

    Parameters
    ----------
    limits : mapping of str to str
    actions : DataFrame

    Returns
    -------
    str
    """
    of = len(actions)
    return "; ".join(f"{name} {value}: {_allows(name, value, actions).sum()} of {of}" for name, value in limits.items())


def menu(limits: Mapping[str, str]) -> np.ndarray:
    """Return the sizes that a menu offers; none without a menu.

    Parameters
    ----------
    limits : mapping of str to str

    Returns
    -------
    ndarray, shape (size,)
        Params, in ascending order.
    """
    named = [number_of(SIZES, size) for size in str(limits[SIZES]).split(",")] if SIZES in limits else []
    if any(not LEAST <= size <= MOST for size in named):
        raise QueryError("a size is not a plausible number of params", expected=f"{LEAST:g} to {MOST:g}, such as 70B",
                         got=str(limits[SIZES]))  # fmt: skip
    built = buildable(limits[SHAPES])["params"].tolist() if SHAPES in limits else []
    return np.unique(np.array([*named, *built], float))


def buildable(value: str) -> pd.DataFrame:
    """Return the shapes that a limit ``shapes`` offers.

    Parameters
    ----------
    value : str
        Entries such as ``vocab=128k,tensor=8,pipeline=4,multiple=256,kv_heads=8``; all are optional.

    Returns
    -------
    DataFrame
        As :func:`bayescale.runs.shapes.shapes` returns it.

    Raises
    ------
    QueryError
        If an entry is unknown or is not a number.
    """
    given: dict[str, int] = {}
    for entry in filter(None, (part.strip() for part in str(value).split(","))):
        name, _, number = entry.partition("=")
        if name not in _DEGREES:
            raise QueryError(f"shapes have no {name!r}", expected=", ".join(f"{one}=" for one in _DEGREES),
                             got=str(value), hint=nearest(name, _DEGREES))  # fmt: skip
        given[name] = int(number_of(SHAPES, number))
    found = shapes(_RANGE, given.pop("vocab", _VOCAB), **given)  # type: ignore[arg-type]  # every entry is an integer
    usual = (found["aspect"] / _ASPECT).map(np.log).abs()
    step = np.floor(np.log(found["params"]) / _STEP)  # of sizes within a step, the shape of the most usual aspect
    return found.loc[usual.groupby(step).idxmin()].reset_index(drop=True)


def shape_lines(limits: Mapping[str, str], action: pd.Series) -> list[tuple[str, str]]:
    """Return the shape of an action that was chosen from a menu of shapes, as a line of text.

    Parameters
    ----------
    limits : mapping of str to str
    action : Series

    Returns
    -------
    list of (str, str)
        Label and sentence; empty without a menu of shapes.
    """
    if SHAPES not in limits:
        return []
    menu_of = buildable(limits[SHAPES])
    shape = menu_of.loc[(menu_of["params"] / action["params"]).map(np.log).abs().idxmin()]
    words = (
        f"{shape['layers']:.0f} layers, width {shape['width']:.0f}, MLP {shape['ffn']:.0f}, {shape['heads']:.0f} heads"
    )
    return [("shape", words)]


def bindings(
    limits: Mapping[str, str], chosen: int, choose: Callable[[Mapping[str, str]], int], expected: np.ndarray
) -> list[Binding]:
    """Return the limits without which the choice would be another.

    Parameters
    ----------
    limits : mapping of str to str
    chosen : int
        The chosen action.
    choose : callable
        Returns the action that is chosen under other limits.
    expected : ndarray, shape (action,)
        Expected utility.

    Returns
    -------
    list of Binding
        The most costly limit is first.
    """
    found = []
    for name, value in limits.items():
        without = choose({other: v for other, v in limits.items() if other != name})
        if without != chosen:
            more = _loosened(name, value)
            gain = expected[choose({**limits, name: more})] - expected[chosen] if more else np.nan
            found.append(Binding(name, str(value), without, float(expected[without] - expected[chosen]), float(gain)))
    return sorted(found, key=lambda one: -one.worth)


def _allows(name: str, value: Any, actions: pd.DataFrame) -> np.ndarray:
    end, _, column = name.partition("_")
    if name in (SIZES, SHAPES) and "params" in actions:
        sizes = menu({name: value})
        return np.isclose(actions["params"].to_numpy()[:, None], sizes, rtol=_SAME, atol=0.0).any(axis=1)
    if end not in ("max", "min") or column not in actions.select_dtypes("number"):
        columns = list(actions.select_dtypes("number"))
        offered = [SIZES, SHAPES] * ("params" in columns) + [f"{end}_{of}" for of in columns for end in ("max", "min")]
        raise QueryError(f"no limit is called {name!r}", expected=f"one of: {', '.join(offered)}",
                         hint=nearest(name, offered))  # fmt: skip
    bound, x = number_of(name, value), actions[column].to_numpy(float)
    return x <= bound * (1 + _SAME) if end == "max" else x >= bound * (1 - _SAME)


def _loosened(name: str, value: Any) -> str:
    """Return a limit looser by a tenth; empty if it is a menu."""
    if name in (SIZES, SHAPES):
        return ""
    times = 1 + _LOOSER if name.startswith("max") else 1 / (1 + _LOOSER)
    return repr(number_of(name, value) * times)


def number_of(name: str, value: Any) -> float:
    """Return the value of a limit as a number.

    Parameters
    ----------
    name : str
        Name of the limit, for messages.
    value : object
        A number, or text such as ``"70B"``.

    Returns
    -------
    float

    Raises
    ------
    QueryError
        If it is not a finite number.
    """
    try:
        found = quantity(value.strip() if isinstance(value, str) else value)
    except (TypeError, ValueError, AttributeError):
        found = np.nan
    if not np.isfinite(found):
        raise QueryError(f"the limit {name!r} is not a number", expected="a number such as 70B", got=repr(value))
    return found
