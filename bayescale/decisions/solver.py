"""Solver: a decision and a fit → a choice."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, cast

import numpy as np
import pandas as pd

from bayescale.core.arguments import check_kind, told
from bayescale.core.errors import QueryError, nearest
from bayescale.core.quantities import quantity
from bayescale.decisions.base import AbstractDecision, settings_of
from bayescale.decisions.bills import billed, card_of
from bayescale.decisions.choice import Choice, Withheld, best
from bayescale.decisions.limits import allowed_by, alone, limits_of
from bayescale.decisions.risk import AbstractRisk, Mean, risk_of
from bayescale.decisions.surface import draws_of
from bayescale.inference.average import AbstractFit, check_fit
from bayescale.parts.catalogue import find


def decide(
    decision: AbstractDecision | str, fit: AbstractFit, risk: AbstractRisk | str | None = None, **settings: Any
) -> Choice | Withheld:
    """Solve a decision problem on a fit.

    Parameters
    ----------
    decision : AbstractDecision or str
        The problem, such as an :class:`Allocation`, or the name of one, such as ``"lifetime"``.
    fit : Fit or Average
        The posterior.
    risk : AbstractRisk or str, optional
        The attitude to risk, or the name of one; by default expected utility.
    **settings
        Settings of a decision that is given by its name.

    Returns
    -------
    Choice or Withheld
        The action of highest expected utility, or of the highest score under `risk`. If the fit has not converged, a
        :class:`Withheld`, which recommends nothing.

    Raises
    ------
    QueryError
        If a setting is unknown or out of range, or there is no action.
    UnknownName
        If no decision or attitude to risk has the name.

    Examples
    --------
    >>> choice = bs.decide(bs.Allocation(flops="5.76e23"), fit)
    >>> 15 < choice.tokens / choice.params < 20
    True
    >>> bs.decide("allocation", fit, flops="5.76e23").params == choice.params
    True
    """
    decision = named(decision, **settings) if isinstance(decision, str) else decision
    risk = risk_of(risk) if isinstance(risk, str) else Mean() if risk is None else risk
    check_kind(decision, AbstractDecision, QueryError, "a decision, such as bs.Allocation(flops=…), or its name")
    check_kind(risk, AbstractRisk, QueryError, "an attitude to risk, such as bs.risk.CVaR(), or its name")
    check_fit(fit)
    choice = solve(decision, fit, risk)
    return choice if choice.verdict.ok else Withheld(choice)


def named(name: str, /, **settings: Any) -> AbstractDecision:
    """Return a decision by its name, with its settings.

    Parameters
    ----------
    name : str
    **settings

    Returns
    -------
    AbstractDecision

    Raises
    ------
    UnknownName
        If no decision has the name.
    QueryError
        If it has no such setting, or a required one is missing.
    """
    of = find(__package__, name)
    known = settings_of(of)
    for key in settings.keys() - known.keys():
        raise QueryError(f"decision {name!r} has no setting {key!r}", expected=f"one of: {', '.join(known)}",
                         hint=nearest(key, known))  # fmt: skip
    if missing := [key for key, how in known.items() if how["required"] and key not in settings]:
        raise QueryError(f"decision {name!r} needs a setting", expected=", ".join(missing), got=", ".join(settings))
    return cast(AbstractDecision, of(**settings))


def read_settings(name: str, written: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Read settings of a decision as people write them.

    Parameters
    ----------
    name : str
        Of the decision.
    written : iterable of (str, str)
        Names and values; a setting of several values is written once for each, ``("limits", "max_days=30")``.

    Returns
    -------
    dict

    Raises
    ------
    UnknownName
        If no decision has the name.
    QueryError
        If a value cannot be read.
    """
    known, found = settings_of(find(__package__, name)), dict[str, Any]()
    for key, text in written:
        key = key.replace("-", "_")
        kind = known[key]["kind"] if key in known else "text"
        if kind in ("numbers", "texts"):
            column, _, value = text.partition("=")
            found.setdefault(key, {})[column] = _quantity(value, key) if kind == "numbers" else value
        else:
            found[key] = _READ[kind](text, key) if kind in _READ else text
    return found


def solve(decision: AbstractDecision, fit: AbstractFit, risk: AbstractRisk) -> Choice:
    """Return the choice from the draws, whether or not they converged; see :func:`decide`.

    Parameters
    ----------
    decision : AbstractDecision
    fit : Fit or Average
    risk : AbstractRisk

    Returns
    -------
    Choice

    Raises
    ------
    QueryError
        If a setting is out of range, or there is no action.
    """
    decision = _checked(decision)
    actions, allowed = offered(decision, fit)
    outcome = decision.outcome(fit, actions, "law")
    utility = decision.utility(outcome, actions)
    found = best(utility.to_numpy(), fit.shape[0], allowed=allowed)
    choice = Choice(decision, fit, risk, actions, allowed, outcome, utility, found)
    if (risk, decision.chosen_in) != (Mean(), "law"):
        found = best(utility.to_numpy(), fit.shape[0], choice.preferred(risk), allowed)
        choice = replace(choice, best=found)
    if np.isnan([found.expected, found.regret]).any():
        raise QueryError(f"decision {decision.name!r} has no finite utility to compare actions by",
                         hint="check the fit (bayescale check FIT.nc) and the settings")  # fmt: skip
    return replace(choice, details=decision.details(choice)) if decision.details else choice


def offered(decision: AbstractDecision, fit: AbstractFit) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the possible actions with what they cost, and which of them the limits allow.

    Parameters
    ----------
    decision : AbstractDecision
    fit : Fit or Average

    Returns
    -------
    actions : DataFrame
    allowed : ndarray of bool, shape (action,)

    Raises
    ------
    QueryError
        If there is no action, or none within the limits.
    """
    actions = billed(decision.actions(fit), card_of(decision), draws_of(fit))
    if not len(actions):
        raise QueryError(f"decision {decision.name!r} has no action to choose from", hint="loosen its settings")
    limits = limits_of(decision)
    allowed = allowed_by(limits, actions)
    if not allowed.any():
        raise QueryError(f"no action of decision {decision.name!r} is within its limits",
                         got=alone(limits, actions), hint="loosen a limit")  # fmt: skip
    return actions, allowed


def _checked(decision: AbstractDecision) -> AbstractDecision:
    """Return a decision whose settings are of their kinds, with counts as numbers where they were given as text."""
    read = {}
    for name, how in settings_of(type(decision)).items():
        value = getattr(decision, name)
        if value is None and not how["required"] and how["default"] is None and how["kind"] not in ("numbers", "texts"):
            continue  # that it is not given
        fits, expected = _KINDS.get(how["kind"], (lambda value: True, ""))
        if not fits(value):
            raise QueryError(f"{name} is of another type", expected=expected, got=told(value))
        if how["kind"] == "count" and isinstance(value, str):
            read[name] = _quantity(value, name)
    return replace(decision, **read) if read else decision  # type: ignore[type-var]  # every decision is a dataclass


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and not math.isnan(value)


def _are(value: Any, kinds: Callable[[Any], bool]) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) and kinds(of) for key, of in value.items())


_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "count": (lambda value: _is_number(value) or isinstance(value, str), "a number, such as 7e10 or '70B'"),
    "number": (_is_number, "a number"),
    "integer": (lambda value: isinstance(value, Integral) and not isinstance(value, bool), "an integer"),
    "flag": (lambda value: isinstance(value, bool | np.bool_), "True or False"),
    "numbers": (lambda value: _are(value, _is_number), "a mapping of names to numbers"),
    "texts": (lambda value: _are(value, lambda of: isinstance(of, str | Real)), "a mapping of names to texts"),
}
"""What a setting of each kind can be; a text may also be a number, or what it names."""


def _integer(text: str, name: str) -> int:
    number = _quantity(text, name)
    if not number.is_integer():
        raise QueryError(f"{name} is not an integer", got=repr(text))
    return int(number)


def _flag(text: str, name: str) -> bool:
    if text.lower() not in _FLAGS:
        raise QueryError(f"{name} is neither true nor false", expected=", ".join(_FLAGS), got=repr(text))
    return _FLAGS[text.lower()]


_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def _quantity(text: str, name: str) -> float:
    try:
        return quantity(text)
    except ValueError as error:
        raise QueryError(f"{name} is not a number", got=repr(text), hint=str(error)) from None


_READ: dict[str, Callable[[str, str], Any]] = {
    "count": _quantity,
    "number": _quantity,
    "integer": _integer,
    "flag": _flag,
}
