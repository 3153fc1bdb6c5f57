"""The core of every decision: actions, an outcome and a utility → the action of highest expected utility.

A decision is three short functions. One solver turns them into one matrix of utilities, draws × actions. All actions
share the draws. Nothing is optimised at the mean of the parameters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.base import array_stats

from bayescale.core.dims import ACTION, DRAW, QUANTILES
from bayescale.core.errors import QueryError
from bayescale.core.quantities import count
from bayescale.core.verdict import Verdict
from bayescale.decisions.risk import RISKS, AbstractRisk, Mean
from bayescale.inference.average import LEAVE_OUT, AbstractFit

KINDS = ("count", "number", "integer", "text", "flag", "numbers")
"""Kinds of settings: a count such as 70B, a number, an integer, text, yes or no, a mapping of names to numbers."""


def setting(kind: str, about: str, *, default: Any = MISSING, default_factory: Any = MISSING) -> Any:
    """Return a field of a decision that the command line offers as an option.

    Parameters
    ----------
    kind : str
        One of :data:`KINDS`.
    about : str
        What it sets, in one sentence; this is the option's help.
    default, default_factory
        As in :func:`dataclasses.field`; without either, the option is required.

    Returns
    -------
    dataclasses.Field
    """
    how = {"default_factory": default_factory} if default is MISSING else {"default": default}
    return field(**how, metadata={"kind": kind, "about": about}, hash=kind != "numbers")


class AbstractDecision(ABC):
    """A decision problem: frozen settings and three functions of a fit.

    Attributes
    ----------
    unit : str
        Unit of the utility and of the regret.
    details : callable, optional
        ``details(fit, actions, outcome, best)`` returns an :class:`AbstractDetails`: what the decision reports beyond
        the utility. None if there is nothing more to report.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    unit: ClassVar[str]
    details: ClassVar[Callable[..., AbstractDetails] | None] = None

    @abstractmethod
    def actions(self, fit: AbstractFit) -> pd.DataFrame:
        """Possible actions, one per row.

        Parameters
        ----------
        fit : Fit or Average

        Returns
        -------
        DataFrame
            Columns are those of a query, and what an action costs.
        """

    @abstractmethod
    def outcome(self, fit: AbstractFit, actions: pd.DataFrame) -> xr.DataArray:
        """Outcome of each action under each draw; dims ``draw action``.

        Parameters
        ----------
        fit : Fit or Average
        actions : DataFrame
            As :meth:`actions` returns them.

        Returns
        -------
        DataArray, dims ``draw action``
            In the unit of the decision. The same draws serve every action.
        """

    @abstractmethod
    def utility(self, outcome: xr.DataArray, actions: pd.DataFrame) -> xr.DataArray:
        """Utility of each outcome; larger is better; dims ``draw action``.

        Parameters
        ----------
        outcome : DataArray, dims ``draw action``
        actions : DataFrame

        Returns
        -------
        DataArray, dims ``draw action``
        """


class AbstractDetails(ABC):
    """What a decision reports of a choice beyond its utility."""

    @property
    @abstractmethod
    def problem(self) -> str:
        """What was asked, in one line."""

    @property
    @abstractmethod
    def asked(self) -> dict[str, Any]:
        """What was asked, as plain values."""

    @property
    @abstractmethod
    def unsettled(self) -> str:
        """Why the runs do not settle the choice; empty if they do. An unsettled choice reports only ranges."""

    @property
    @abstractmethod
    def notes(self) -> tuple[str, ...]:
        """Caveats on a choice that stands, one sentence each."""

    @property
    @abstractmethod
    def lines(self) -> list[tuple[str, str]]:
        """Label and sentence of each line of the text, in order."""

    @property
    @abstractmethod
    def figures(self) -> dict[str, Any]:
        """Plain numbers for JSON."""


@dataclass(frozen=True, eq=False)
class Best:
    """Solution of a matrix of utilities, draws × actions.

    Attributes
    ----------
    action : int
        Column with the highest score.
    expected : float
        Its mean utility.
    regret : float
        Mean over draws of the best action's utility minus this one's.
    regret_mcse : float
        Monte Carlo standard error of the regret, from paired differences.
    by_draw : ndarray of int, shape (draw,)
        Best action of each draw.
    """

    action: int
    expected: float
    regret: float
    regret_mcse: float
    by_draw: np.ndarray


def best(utility: np.ndarray, chains: int, risk: AbstractRisk = Mean()) -> Best:  # noqa: B008
    """Solve a matrix of utilities, shape (chain·draw, action).

    Parameters
    ----------
    utility : ndarray, shape (chain·draw, action)
    chains : int
        Number of chains, for the Monte Carlo error.
    risk : AbstractRisk

    Returns
    -------
    Best
    """
    action = int(risk.score(utility).argmax())
    regret = utility.max(axis=1) - utility[:, action]
    mcse = float(array_stats.mcse(regret.reshape(chains, -1))) if np.ptp(regret) else 0.0
    return Best(action, float(utility.mean(axis=0)[action]), float(regret.mean()), mcse, utility.argmax(axis=1))


@dataclass(frozen=True, eq=False)
class Choice:
    """The chosen action, with its expected regret and its verdict.

    Attributes of the details are attributes of the choice, such as ``choice.waste_fraction`` of an allocation.

    Attributes
    ----------
    decision, fit, risk
        The problem, the posterior and the attitude to risk.
    actions : DataFrame
        Possible actions, one per row.
    outcome, utility : DataArray
        Dims ``draw action``.
    best : Best
        The solution.
    details : AbstractDetails or None
        What the decision reports beyond the utility.
    """

    decision: AbstractDecision
    fit: AbstractFit
    risk: AbstractRisk
    actions: pd.DataFrame
    outcome: xr.DataArray
    utility: xr.DataArray
    best: Best
    details: Any = None

    @property
    def action(self) -> pd.Series:
        """The chosen action."""
        return self.actions.iloc[self.best.action]

    @property
    def regret(self) -> float:
        """Expected utility lost against each draw's best action, in the decision's unit."""
        return self.best.regret

    @property
    def evpi(self) -> float:
        """Expected value of perfect information: the regret of the action of highest expected utility."""
        utility = self.utility.to_numpy()
        return float(utility.max(axis=1).mean() - utility.mean(axis=0).max())

    @property
    def hindsight(self) -> dict[str, dict[str, float]]:
        """Quantiles over draws of each numeric column of the draw's best action."""
        chosen = self.actions.select_dtypes("number").iloc[self.best.by_draw]
        return {str(name): quantiles(chosen[name].to_numpy()) for name in chosen}

    @cached_property
    def by_risk(self) -> dict[str, dict[str, Any]]:
        """The action that each attitude to risk would choose, by the attitude's name."""
        utility = self.utility.to_numpy()
        return {name: _plain(self.actions.iloc[int(risk().score(utility).argmax())]) for name, risk in RISKS.items()}

    @property
    def unsettled(self) -> str:
        """Why the runs do not settle the choice; empty if they do."""
        return self.details.unsettled if self.details else ""

    @property
    def settled(self) -> bool:
        """Whether the runs are enough to name one action."""
        return not self.unsettled

    @property
    def verdict(self) -> Verdict:
        """Convergence of the fit, and other caveats on the choice."""
        found, notes = self.fit.verdict, self.details.notes if self.details else ()
        return replace(found, notes=(*found.notes, *notes))

    @property
    def problem(self) -> str:
        """What was asked, in words."""
        return self.details.problem if self.details else f"Decision {self.decision.name}"

    @property
    def asked(self) -> dict[str, Any]:
        """What was asked, as plain values: the part of :meth:`to_dict` that is not an answer."""
        settings = {one.name: getattr(self.decision, one.name) for one in fields(self.decision)}  # type: ignore[arg-type]
        return self.details.asked if self.details else settings

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON.

        Returns
        -------
        dict
        """
        own = {
            **_plain(self.action),
            "expected_utility": self.best.expected,
            "unit": self.decision.unit,
            "regret": self.regret,
            "regret_mcse": self.best.regret_mcse,
            "regret_over": list(self.fit.members),
            "value_of_perfect_information": self.evpi,
            "hindsight": self.hindsight,
        }
        return {
            "decision": self.decision.name,
            "risk": self.risk.label,
            **self.asked,
            "settled": self.settled,
            "unsettled": self.unsettled,
            **(self.details.figures if self.details else own),
            "by_risk": self.by_risk,
            "excluded": self.fit.excluded,
            "verdict": str(self.verdict),
        }

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "details":
            raise AttributeError(name)
        return getattr(self.details, name)

    def __repr__(self) -> str:
        words = self.fit.excluded_words
        rows = [
            *(self.details.lines if self.details else self._lines),
            *([] if self.risk == Mean() else [("risk", f"chosen by {self.risk.about}")]),
            ("verdict", str(self.verdict)),
            *([("excluded", f"{words}; {LEAVE_OUT}")] if words else []),
        ]
        return self.verdict.above("\n".join([self.problem, *(f"  {label:<12} {text}" for label, text in rows)]))

    @property
    def _lines(self) -> list[tuple[str, str]]:
        unit = self.decision.unit
        chosen = ", ".join(f"{name} {_written(value)}" for name, value in _plain(self.action).items())
        return [
            ("choose", chosen),
            ("expected", f"{self.best.expected:.4g} {unit}"),
            ("regret", f"{self.regret:.2g} {unit} (Monte Carlo error {self.best.regret_mcse:.1g})"),
        ]


@dataclass(frozen=True, eq=False)
class Withheld:
    """No recommendation, because the fit has not converged; says why and what to do.

    Attributes
    ----------
    provisional : Choice
        The choice from the draws as they are, for diagnosis only. Chains that disagree have no common posterior, so its
        regret is that of an arbitrary mixture.
    """

    provisional: Choice

    @property
    def verdict(self) -> Verdict:
        """Why there is no recommendation."""
        return self.provisional.verdict

    @property
    def problem(self) -> str:
        """What was asked, in words."""
        return self.provisional.problem

    @property
    def asked(self) -> dict[str, Any]:
        """What was asked, as plain values."""
        return self.provisional.asked

    @property
    def settled(self) -> bool:
        """Whether the runs are enough to name one action: always False, as the chains disagree."""
        return False

    @property
    def reason(self) -> str:
        """Why there is no recommendation and what to do, on one line."""
        to_do = f"; to do: {'; '.join(self.verdict.advice)}" if self.verdict.advice else ""
        return f"no recommendation: {self.verdict}{to_do}"

    def to_dict(self) -> dict[str, Any]:
        """The keys of a choice; its answers are under ``provisional``.

        Returns
        -------
        dict
        """
        found = self.provisional.to_dict()
        answers = {key: value for key, value in found.items() if key not in (*self.asked, "verdict")}
        return {
            **self.asked,
            **dict.fromkeys(answers),
            "verdict": str(self.verdict),
            "reasons": list(self.verdict.problems),
            "advice": list(self.verdict.advice),
            "provisional": answers,
        }

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(f"there is no recommendation, so there is no {name}: {self.verdict}")

    def __repr__(self) -> str:
        lines = [f"{self.verdict.status}: no recommendation", self.problem]
        lines += [f"  reason       {problem}" for problem in self.verdict.problems]
        lines += [f"  to do        {advice}" for advice in self.verdict.advice]
        return "\n".join(lines)


def decide(decision: AbstractDecision, fit: AbstractFit, risk: AbstractRisk | None = None) -> Choice | Withheld:
    """Solve a decision problem on a fit.

    Parameters
    ----------
    decision : AbstractDecision
        The problem, such as an :class:`Allocation`.
    fit : Fit or Average
        The posterior.
    risk : AbstractRisk, optional
        The attitude to risk; by default expected utility.

    Returns
    -------
    Choice or Withheld
        The action of highest expected utility, or of the highest score under `risk`. If the fit has not converged, a
        :class:`Withheld`, which recommends nothing.

    Raises
    ------
    QueryError
        If a setting is out of range, or there is no action.

    Examples
    --------
    >>> choice = bs.decide(bs.Allocation(flops="5.76e23"), fit)
    >>> 15 < choice.tokens / choice.params < 20
    True
    """
    choice = solve(decision, fit, risk or Mean())
    return choice if choice.verdict.ok else Withheld(choice)


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
    actions = decision.actions(fit)
    if not len(actions):
        raise QueryError(f"decision {decision.name!r} has no action to choose from", hint="loosen its limits")
    outcome = decision.outcome(fit, actions)
    utility = decision.utility(outcome, actions)
    found = best(utility.to_numpy(), fit.shape[0], risk)
    details = decision.details(fit, actions, outcome, found) if decision.details else None
    return Choice(decision, fit, risk, actions, outcome, utility, found, details)


def settings_of(decision: type[AbstractDecision]) -> dict[str, Mapping[str, Any]]:
    """Return each setting's kind, help and whether it is required, by name.

    Parameters
    ----------
    decision : type of AbstractDecision

    Returns
    -------
    dict of mapping
        ``kind``, ``about``, ``required`` and ``default`` of each setting.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for one in fields(decision):  # type: ignore[arg-type]  # every decision is a dataclass
        required = one.default is MISSING and one.default_factory is MISSING
        found[one.name] = {
            **one.metadata,
            "required": required,
            "default": None if one.default is MISSING else one.default,
        }
    return found


def draws_by_action(values: np.ndarray) -> xr.DataArray:
    """Name the dims of an array of shape (draw, action).

    Parameters
    ----------
    values : ndarray, shape (draw, action)

    Returns
    -------
    DataArray
        Dims ``draw action``.
    """
    return xr.DataArray(values, dims=(DRAW, ACTION))


def quantiles(x: np.ndarray) -> dict[str, float]:
    """Return the 5%, 50% and 95% quantiles of draws.

    Parameters
    ----------
    x : ndarray, shape (draw,)

    Returns
    -------
    dict of float
        ``q05 q50 q95``.
    """
    return {name: float(np.quantile(x, QUANTILES[name])) for name in ("q05", "q50", "q95")}


def _plain(action: pd.Series) -> dict[str, Any]:
    return {str(name): value.item() if hasattr(value, "item") else value for name, value in action.items()}


def _written(value: Any) -> str:
    return count(value) if isinstance(value, int | float) else str(value)
