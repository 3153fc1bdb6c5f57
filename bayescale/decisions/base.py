"""The abstract decision: settings, actions, an outcome and a utility, and what it reports of a choice.

A decision is three short functions. One solver turns them into one matrix of utilities, draws × actions. All actions
share the draws. Nothing is optimised at the mean of the parameters.

Every decision has its outcome in two scopes, which are never mixed. The scope of the law gives the regret: what better
knowledge of the law could save. The scope of the run adds discrepancies and noise, and gives the risk: what may happen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.dims import ACTION, DRAW, QUANTILES
from bayescale.decisions.surface import Scope
from bayescale.inference.average import AbstractFit

KINDS = ("count", "number", "integer", "text", "flag", "numbers", "texts")
"""Kinds of settings: a count such as 70B, a number, an integer, text, yes or no, a mapping of names to numbers, and one
of names to texts."""
REALISED = "realised"
"""Coordinate of an outcome that has control variates: the same outcome without them, dims ``draw action``."""
FAMILY = "A fitted family, or 'new'; by default the only family, else 'new'."
HARDWARE = "Accelerators that set the cost: H100, 512xH100 or a TOML file of your own."
LIMITS = "What an action may be, such as max_params 70B, min_tokens 1T or sizes 7B,13B."
"""Help of settings that decisions share: ``family``, ``hardware`` (:mod:`bayescale.decisions.hardware`) and ``limits``
(:mod:`bayescale.decisions.limits`)."""


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
    return field(**how, metadata={"kind": kind, "about": about}, hash=kind not in ("numbers", "texts"))


class AbstractDecision(ABC):
    """A decision problem: frozen settings and three functions of a fit.

    Attributes
    ----------
    outcome_unit : str
        Unit of the outcome; the unit of the utility by default.
    key : tuple of str
        Columns of the actions that name an action in text; all by default.
    scoped : bool
        Whether its outcome differs between the scopes, and its draws are those of the posterior.
    limits : mapping of str to str
        A setting of decisions that have limits; see :mod:`bayescale.decisions.limits`.
    details : callable, optional
        ``details(choice)`` returns an :class:`AbstractDetails`: what the decision reports beyond the utility. None if
        there is nothing more to report.
    unknowns : callable, optional
        ``unknowns(fit)`` returns draws of unknowns beyond the law's, such as a price, by name; each of shape (draw,).
    """

    name: ClassVar[str]
    source: ClassVar[str]
    outcome_unit: ClassVar[str] = ""
    key: ClassVar[tuple[str, ...]] = ()
    scoped: ClassVar[bool] = True
    details: ClassVar[Callable[..., AbstractDetails] | None] = None
    unknowns: ClassVar[Callable[..., Mapping[str, np.ndarray]] | None] = None

    @property
    @abstractmethod
    def unit(self) -> str:
        """Unit of the utility and of the regret: a class attribute, or a property where settings change it."""

    @property
    def chosen_in(self) -> Scope:
        """Scope in which the action of highest expected utility is chosen: the law.

        It is that of a run where utility bends so much that the noise of a run changes its mean.
        """
        return "law"

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
    def outcome(self, fit: AbstractFit, actions: pd.DataFrame, scope: Scope) -> xr.DataArray:
        """Outcome of each action under each draw; dims ``draw action``.

        Parameters
        ----------
        fit : Fit or Average
        actions : DataFrame
            As :meth:`actions` returns them.
        scope : {"law", "run"}
            The law alone, or with discrepancies and noise; see :func:`bayescale.decisions.surface.losses`.

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
    """What a decision reports of a choice beyond its utility.

    Attributes
    ----------
    complete : bool
        Whether its lines say what was chosen; otherwise they follow the usual lines of a choice.
    """

    complete: ClassVar[bool] = True

    @property
    @abstractmethod
    def problem(self) -> str:
        """What was asked, in one line."""

    @property
    @abstractmethod
    def asked(self) -> Mapping[str, Any]:
        """What was asked, as plain values."""

    @property
    @abstractmethod
    def unsettled(self) -> str:
        """Why the runs do not settle the choice; empty if they do. An unsettled choice reports only ranges."""

    @property
    def care(self) -> Sequence[str]:
        """Reasons to use a settled choice with care for how far it reaches or how wide it is; none by default."""
        return ()

    @property
    @abstractmethod
    def notes(self) -> tuple[str, ...]:
        """Caveats on a choice that stands, one sentence each."""

    @property
    @abstractmethod
    def lines(self) -> Sequence[tuple[str, str]]:
        """Label and sentence of each line of the text, in order."""

    @property
    @abstractmethod
    def figures(self) -> Mapping[str, Any]:
        """Plain numbers for JSON."""


@dataclass(frozen=True, eq=False)
class Details(AbstractDetails):
    """What a decision adds to the usual report of a choice.

    Attributes
    ----------
    problem : str
        What was asked, in one line.
    asked, figures : mapping
        What was asked, and further answers, as plain values.
    lines : sequence of (str, str)
        Label and sentence of further lines of the text.
    unsettled : str
        Why the runs do not settle the choice; empty if they do.
    notes : tuple of str
        Caveats.
    """

    problem: str = ""
    asked: Mapping[str, Any] = MappingProxyType({})
    lines: Sequence[tuple[str, str]] = ()
    figures: Mapping[str, Any] = MappingProxyType({})
    unsettled: str = ""
    notes: tuple[str, ...] = ()

    complete = False


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
        ``q05 q50 q95``; each is one of the draws if some draws are infinite, for nothing lies between a number and
        infinity.
    """
    names = ("q05", "q50", "q95")
    levels = np.array([QUANTILES[name] for name in names])
    finite = np.isfinite(x).all()
    found = np.quantile(x, levels) if finite else np.quantile(x, levels, method="inverted_cdf")
    return dict(zip(names, found.tolist(), strict=True))
