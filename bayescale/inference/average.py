"""Averaging: what every fit has, and fits of several models read as one mixture.

Draw `s` of an average is draw `s` of one member, so each draw still belongs to a single law. The member depends
only on `s`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.arguments import check_kind
from bayescale.core.errors import FitError, QueryError, nearest, why_unwritten
from bayescale.core.files import atomic_write, path_of
from bayescale.core.quantities import counted
from bayescale.core.rich import rich
from bayescale.core.verdict import Verdict, of_chains
from bayescale.inference.container import packed
from bayescale.inference.weights import Weights, given
from bayescale.modelling.sites import location_of, log_density_of

SCHEMA = 4
"""Format of the files that are written, and the newest that is read. Formats 1 and 2 have no seal, and 3 may lack a
digest: it is written for a fit that was read from such a file."""

MEMBER = "member_{}"
"""Name of the group that holds a member of an average in a file."""

# Multiples of the golden ratio are spread evenly, and so are those of every second, third … draw. However draws
# are thinned, each member keeps its share to within a draw or two.
_GOLDEN = (5**0.5 - 1) / 2
LEAVE_OUT = 'to leave them out, fit runs.where(exclusion=""), or --where \'exclusion=""\' on the command line'
"""Advice for fitted runs that their table marks as excluded."""

_OWN = ("spec", "tree", "posterior", "sampled")


class AbstractFit(ABC):
    """What forecasts, decisions, checks and figures read from a fit of one model or from an average.

    Attributes
    ----------
    meta : dict
        ``runs``, ``runs_digest``, ``families``, ``anchor``, ``seed``, and more.
    """

    meta: dict[str, Any]

    @property
    def families(self) -> list[str]:
        """Names of the fitted families."""
        return list(self.meta["families"])

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the model."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Columns of runs that the model reads."""

    @property
    @abstractmethod
    def covariates(self) -> tuple[str, ...]:
        """Those columns that describe how runs were made; zero means the usual way."""

    @property
    @abstractmethod
    def inputs(self) -> tuple[str, ...]:
        """Columns that the law's inputs are read from."""

    @property
    @abstractmethod
    def responses(self) -> tuple[str, ...]:
        """Names of the responses that can be forecast."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Number of chains, and of draws per chain."""

    @property
    @abstractmethod
    def design_frame(self) -> pd.DataFrame:
        """The fitted runs: family and every column that the model reads."""

    @property
    @abstractmethod
    def convergence(self) -> list[Any]:
        """Criteria of convergence, each with its limit and the figure reached: a list of :class:`.Criterion`."""

    @property
    @abstractmethod
    def members(self) -> Mapping[str, Any]:
        """Its fits of one model each, by name; the only member of a plain fit is itself."""

    @abstractmethod
    def lenders(self, draws: np.ndarray) -> list[tuple[Any, np.ndarray]]:
        """Return the members with the draws that they supply.

        Parameters
        ----------
        draws : array of int, shape (draw,)
            Indices within a chain.

        Returns
        -------
        list of (Fit, array of bool)
            Each member with a mask of its draws, shape (draw,).
        """

    @abstractmethod
    def stored(self) -> xr.DataTree:
        """Return everything that is saved.

        Returns
        -------
        DataTree
        """

    def response(self, name: str | None = None) -> Any:
        """Return a response by name.

        Parameters
        ----------
        name : str, optional
            By default, the first response.

        Returns
        -------
        Instance

        Raises
        ------
        QueryError
            If the fit has no such response.
        """
        name = self.responses[0] if name is None else name
        if name not in self.responses:
            raise QueryError(f"the fit has no response {name!r}", expected=f"one of: {', '.join(self.responses)}",
                             hint=nearest(name, self.responses))  # fmt: skip
        return next(of for of in _first(self.members).spec.instances if of.name == name)

    @property
    def observed(self) -> tuple[str, ...]:
        """Columns of the observed values, in the order of the responses."""
        return tuple(self.response(name).site for name in self.responses)

    @property
    def declared(self) -> dict[str, Any]:
        """Columns that parts of its models declare: a :class:`.Column` by name."""
        return {name: column for fit in self.members.values() for name, column in fit.spec.declared.items()}

    def _repr_html_(self) -> str:
        return rich(repr(self), [("Posterior, one parameter per row", self.summary)])  # type: ignore[attr-defined]

    def explore(self, **settings: Any) -> Any:
        """Show the explorer of a budget in a notebook; see :func:`bayescale.explore`.

        Parameters
        ----------
        **settings
            As in :func:`bayescale.explore`.

        Returns
        -------
        AnyWidget
        """
        return import_module("bayescale").explore(self, **settings)  # by its public name: the floor above draws it

    def with_defaults(self, table: pd.DataFrame) -> pd.DataFrame:
        """Add what queries lack: defaults that parts declare, and what responses need if all fitted runs have the same.

        The latter is a benchmark's number of items and its chance, but not the known error of a loss.

        Parameters
        ----------
        table : DataFrame
            Queries, one per row.

        Returns
        -------
        DataFrame
        """
        usual = {name: of.default for name, of in self.declared.items()} | self._same_in_all_runs()
        return table.assign(**{name: value for name, value in usual.items() if name not in table})

    def with_unread(self, table: pd.DataFrame, site: str) -> pd.DataFrame:
        """Add what queries lack and a site does not depend on: columns that only other responses need.

        Nothing that is asked depends on their values, which are medians of the fitted runs.

        Parameters
        ----------
        table : DataFrame
            Queries, one per row.
        site : str
            What is asked: the law, the log loss, or the site, location or log density of a response.

        Returns
        -------
        DataFrame
        """
        if not all(fit.spec.law for fit in self.members.values()):
            return table  # a custom model may read any column for any site
        read = {name for name in self.responses
                if site in (self.response(name).site, location_of(name), log_density_of(name))}  # fmt: skip
        lacking = self.needed(set(self.responses) - read) - self.needed(read) - set(table)
        return table.assign(**self.design_frame[sorted(lacking)].median()) if lacking else table

    def needed(self, responses: Iterable[str]) -> set[str]:
        """Return the columns that responses need, such as items and chance, without the known error of a loss.

        Parameters
        ----------
        responses : iterable of str
            Names of responses.

        Returns
        -------
        set of str
        """
        asked = (pair for name in responses for pair in self.response(name).requires.items())
        return {column for name, column in asked if name != "loss_error"}

    def _same_in_all_runs(self) -> dict[str, float]:
        if not (needed := self.needed(self.responses)):
            return {}
        runs = self.design_frame
        values = {column: runs[column].dropna().unique() for column in sorted(needed & set(runs))}
        return {column: float(found[0]) for column, found in values.items() if len(found) == 1}

    @property
    def excluded(self) -> dict[str, int]:
        """Number of fitted runs that their table marks as excluded, by reason; see :attr:`Runs.excluded`."""
        return dict(self.meta.get("excluded", {}))

    @property
    def excluded_words(self) -> str:
        """A sentence: how many fitted runs their table marks as not to be fitted, and why; empty if none are."""
        if not self.excluded:
            return ""
        several = len(self.excluded) > 1
        reasons = "; ".join(f"{count}: {reason}" if several else reason for reason, count in self.excluded.items())
        few, all_ = sum(self.excluded.values()), len(self.design_frame)
        them = "them" if few > 1 else "it"
        return (
            f"the table marks {few} of these {all_} runs as not to be fitted, and this fit includes {them} ({reasons})"
        )

    @property
    def floor_words(self) -> str:
        """A sentence: the floor that was put under the noise, and why; empty if there is none."""
        floors = [fit.meta.get("engine", {}).get("noise_floor", 0.0) for fit in self.members.values()]
        if not max(floors):
            return ""
        return (
            f"the runs have less noise than {max(floors):.2g} of log loss, the resolution of their losses or the least "
            "noise of training: the losses were moved at random within this floor, which is their noise"
        )

    @property
    def converged(self) -> bool:
        """Whether the chains agree and give enough effective draws."""
        return self.verdict.ok

    @property
    def verdict(self) -> Verdict:
        """Convergence of the chains; every output built from the fit carries it."""
        failed = [c for c in self.convergence if not c.passed]
        return of_chains((c.sentence for c in failed), (c.advice for c in failed))

    def save(self, path: str | Path) -> Path:
        """Write the fit to a netCDF file atomically: completely, or not at all.

        Parameters
        ----------
        path : str or Path
            The file; an existing one is replaced.

        Returns
        -------
        Path

        Raises
        ------
        FitError
            If the folder does not exist or cannot be written, or the format cannot hold the fit.
        """
        path, content = path_of(path, FitError), packed(self.stored())
        try:
            with atomic_write(path) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            raise FitError(f"cannot write {path}", **why_unwritten(error)) from None
        return path


def check_fit(fit: Any) -> None:
    """Raise FitError if a value that a caller gave is no fit, such as the path of one."""
    check_kind(fit, AbstractFit, FitError, "a fit or an average", "read a saved one: bs.load_fit(path)")


@dataclass(frozen=True, eq=False)
class Average(AbstractFit):
    """Fits of several models to the same runs, read as one mixture; made by :func:`average`.

    Forecasts, decisions, checks, figures and saving work as for a fit. Parameters belong to its members.

    Attributes
    ----------
    fits : dict of Fit
        Members by name.
    weights : Weights
        Shares of the draws by member, with standard errors.
    meta : dict
        The metadata that members share, and the weights.
    """

    fits: Mapping[str, Any]
    weights: Weights
    meta: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the model."""
        return "average of " + ", ".join(self.fits)

    @property
    def members(self) -> Mapping[str, Any]:
        """Its fits by name."""
        return self.fits

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of runs that any member reads."""
        return tuple(dict.fromkeys(c for fit in self.fits.values() for c in fit.columns))

    @property
    def covariates(self) -> tuple[str, ...]:
        """Covariates that any member reads."""
        return tuple(dict.fromkeys(c for fit in self.fits.values() for c in fit.covariates))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Columns that any member's law reads its inputs from."""
        return tuple(dict.fromkeys(c for fit in self.fits.values() for c in fit.inputs))

    @property
    def responses(self) -> tuple[str, ...]:
        """Responses that every member forecasts."""
        return _shared(self.fits)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of chains, and of draws per chain."""
        return _first(self.fits).shape

    @property
    def design_frame(self) -> pd.DataFrame:
        """The fitted runs: family and every column that any member reads."""
        frames = [fit.design_frame for fit in self.fits.values()]
        return frames[0].assign(**{c: frame[c] for frame in frames[1:] for c in frame})

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Summaries of the members' parameters; index levels ``model`` and ``parameter``."""
        return pd.concat({name: fit.summary for name, fit in self.fits.items()}, names=["model", "parameter"])

    @property
    def convergence(self) -> list[Any]:
        """Criteria of all members, with the member's name in front."""
        return [
            replace(c, name=f"{name}: {c.name}", sentence=f"{name}: {c.sentence}")
            for name, fit in self.fits.items()
            for c in fit.convergence
        ]

    def lenders(self, draws: np.ndarray) -> list[tuple[Any, np.ndarray]]:
        """Return the members with masks of the draws that they supply, in proportion to the weights."""
        upto = np.cumsum([self.weights.weights[name] for name in self.fits])
        place = (np.asarray(draws) + 0.5) * _GOLDEN % 1.0 * upto[-1]
        whose = np.searchsorted(upto, place, side="right")
        return [(fit, whose == k) for k, fit in enumerate(self.fits.values()) if (whose == k).any()]

    def stored(self) -> xr.DataTree:
        """Return everything that is saved: every member as a group, and the shared metadata."""
        tree = xr.DataTree.from_dict({MEMBER.format(k): f.stored() for k, f in enumerate(self.fits.values())})
        tree.attrs["bayescale"] = json.dumps({"schema": SCHEMA, "members": list(self.fits), **self.meta})
        return tree

    def __getattr__(self, name: str) -> Any:
        if name in _OWN:
            raise AttributeError(f"an average has no {name}; its members have one each: average.members[NAME].{name}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        count, draws = self.shape
        said = (
            f"Average on {self.meta['runs']!r}: {len(self.design_frame)} runs, "
            f"{counted(len(self.families), 'family')}, {count} × {draws} draws, {self.verdict.status}\n"
            f"  {self.weights!r}"
        )
        return self.verdict.above(said)


def average(fits: Mapping[str, Any], weights: Weights | Mapping[str, float] | None = None) -> Average:
    """Read fits of several models to the same runs as one mixture.

    Parameters
    ----------
    fits : mapping of str to Fit
        Members by name; all have the same runs and the same number of chains and of draws.
    weights : Weights or mapping of str to float, optional
        By member, for example from :func:`bayescale.inference.weights.weigh`; equal by default.

    Returns
    -------
    Average

    Raises
    ------
    FitError
        If there is no member, if members differ in runs, chains or draws, if they have no response in common, or if
        the weights are not those of the members.

    Examples
    --------
    >>> both = average({"additive": first, "coupled": second}, {"additive": 0.4, "coupled": 0.6})  # doctest: +SKIP
    >>> bs.forecast(both, params="70B", tokens="1.4T")  # doctest: +SKIP
    """
    check_kind(fits, Mapping, FitError, "a mapping of names to fits")
    for one in fits.values():
        check_fit(one)
    if not fits:
        raise FitError("there is nothing to average", expected="at least one fit", got="an empty mapping")
    for what, read, do in (
        ("runs", lambda fit: (fit.meta["runs"], fit.meta["runs_digest"]), "fit every member to the same runs"),
        ("chains and draws", lambda fit: fit.shape, "fit every member with the same chains and draws"),
    ):
        found = {name: read(fit) for name, fit in fits.items()}
        if len(set(found.values())) > 1:
            raise FitError(f"members of an average differ in {what}", expected=f"one table, the same {what}",
                           got="; ".join(f"{n}: {_words(v)}" for n, v in found.items()), hint=do)  # fmt: skip
    if not _shared(fits):
        raise FitError("members of an average have no response in common",
                       got="; ".join(f"{n}: {', '.join(f.responses)}" for n, f in fits.items()))  # fmt: skip
    if not isinstance(weights, Weights):
        weights = given(dict(weights) if weights is not None else dict.fromkeys(fits, 1.0))
    if set(weights.weights) != set(fits):
        raise FitError("the weights are not those of the members", expected=", ".join(fits),
                       got=", ".join(weights.weights))  # fmt: skip
    kept = ("runs", "runs_digest", "families", "anchor", "seed", "device", "excluded")
    meta = {key: _first(fits).meta[key] for key in kept if key in _first(fits).meta}
    return Average(dict(fits), weights, meta | {"weights": weights.to_dict()})


def _first(fits: Mapping[str, Any]) -> Any:
    return next(iter(fits.values()))


def _shared(fits: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(r for r in _first(fits).responses if all(r in fit.responses for fit in fits.values()))


def _words(value: tuple[Any, ...]) -> str:
    return " × ".join(str(v)[:12] for v in value)
