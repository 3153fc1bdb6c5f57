"""Spec: law × resources × penalties × responses and noise × pooling × priors, as plain data.

A spec is one TOML file. Its resolved content, with defaults filled in, has a digest. A different prior makes a
different model.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np

from bayescale.core.code import code_digest
from bayescale.core.errors import SpecError, nearest
from bayescale.modelling.model import Instance, Model
from bayescale.parts import catalogue
from bayescale.parts.base import PARAMS, TOKENS, AbstractLaw, Column, Field, Parameter, Part
from bayescale.parts.priors import Normal, Prior

_PROSE = ("name", "source", "about", "unit", "meaning", "use", "avoid", "runs", "reproduced", "ranges", "falls",
          "forms")  # fmt: skip
"""Attributes of parts that change no posterior and no forecast of a spec, so that they are not in a digest."""

GAIN = Normal(0.0, 0.4)
"""Prior of the effect of one unit of a covariate: 90% between half as much and twice as much."""


@dataclass(frozen=True)
class Trend:
    """Movement of a prior in its Gaussian coordinate, per e-fold between the anchor and a reference.

    Attributes
    ----------
    slopes : tuple of (str, float)
        Movement of the location per e-fold of each column.
    covariance : tuple of tuple of float, shape (column, column)
        Covariance of the slopes. Their uncertainty widens the prior.
    before : float
        SD of each slope around zero before anything was learned about it. It still applies beyond the `range` of the
        spec.
    """

    slopes: tuple[tuple[str, float], ...]
    covariance: tuple[tuple[float, ...], ...]
    before: float

    def at(self, away: Mapping[str, float]) -> tuple[float, float]:
        """Return the movement of the location and the added variance, `away` e-folds from the reference."""
        steps = np.array([away[column] for column, _ in self.slopes])
        return float(steps @ [slope for _, slope in self.slopes]), float(steps @ np.array(self.covariance) @ steps)

    def to_dict(self) -> dict[str, Any]:
        """Return it with the structure of the TOML file."""
        covariance = [list(row) for row in self.covariance]
        return {"slopes": dict(self.slopes), "covariance": covariance, "before": self.before}


@dataclass(frozen=True)
class Setting:
    """What a spec sets for one parameter.

    Attributes
    ----------
    prior : Prior
    pooling : str
        Name of the pooling.
    spread : float
        Prior scale of the standard deviation between families, in the prior's Gaussian coordinate; the standard
        deviation itself if the pooling takes it as known.
    trend : Trend, optional
        Movement of the prior with the anchor.
    """

    prior: Prior
    pooling: str
    spread: float
    trend: Trend | None = None

    def place(self, away: Mapping[str, float], beyond: float = 0.0) -> tuple[float, float]:
        """Return the location and scale in the Gaussian coordinate at an anchor.

        Beyond the range the location does not move, because no slope was learned there. The variance grows by that of a
        slope with SD `before`.

        Parameters
        ----------
        away : mapping of str to float
            E-folds of each input from the reference to the anchor, up to the ends of the range.
        beyond : float
            E-folds from the range to the anchor, in any direction.

        Returns
        -------
        loc, scale : float
        """
        if self.trend is None:
            return self.prior.loc, self.prior.scale
        moved, variance = self.trend.at(away)
        return self.prior.loc + moved, math.hypot(self.prior.scale, math.sqrt(variance), self.trend.before * beyond)


class Observed(NamedTuple):
    """What a spec sets for one response: its name in the spec, the kind of response, and the noise.

    If it names columns in `of`, it is a battery: as many responses of this kind, whose parameters have one value each.
    """

    name: str
    response: str
    noise: str
    of: tuple[str, ...] = ()

    @property
    def own(self) -> bool:
        """Whether it has a custom name, and therefore its own columns and parameters."""
        return self.name != self.response

    def to_dict(self) -> str | dict[str, Any]:
        """Return it with the structure of the TOML file."""
        columns = {"of": list(self.of)} if self.of else {}
        return {"response": self.response, "noise": self.noise, **columns} if self.own else self.noise

    def instances(self, part: Callable[[str, str], Any]) -> list[Instance]:
        """Return the responses with their noise; `part` finds parts by their kind and name."""
        response, noise = part("responses", self.response), part("noise", self.noise)
        if self.of:
            return [Instance(name, response, noise, True, self.name, i) for i, name in enumerate(self.of)]
        return [Instance(self.name if self.own else response.name, response, noise, self.own)]


@dataclass(frozen=True)
class Spec(Model):
    """A model as plain data; build one with :func:`load_spec` or :func:`make_spec`.

    Attributes
    ----------
    name, title : str
        For display; not part of the digest.
    law : str
        Name of the law.
    inputs : tuple of str
        Columns of the runs from which the law's inputs are read, in the law's order.
    resources : tuple of str
        Names of the resources, applied in order.
    penalties : tuple of str
        Names of the penalties, applied to the law's loss in order.
    responses : tuple of Observed
        Name in the spec, kind and noise of each response.
    settings : tuple of (str, Setting)
        Every parameter of every part, resolved.
    discrepancy : tuple of str
        Names of the discrepancies, which are summed.
    anchor : tuple of (str, float)
        Inputs (base units) and loss (nats/token) of the reference run, and optionally the slope that scales
        discrepancies. If empty, they are the geometric means of the inputs and the median loss of the fitted runs, and
        the slope of each family.
    learned : tuple of (str, str)
        Source of learned priors: the ``runs``, and the ``model`` with the earlier priors. Not part of the digest.
    reference : tuple of (str, float)
        Inputs of the anchor for which the priors are written, in base units. Priors with a `trend` move with the
        anchor. Empty if no prior has one.
    range : tuple of (str, (float, float))
        Smallest and largest value of each input among the anchors from which trends were learned, in base units.
        Beyond it no prior moves, and priors with a `trend` widen with distance. If empty, trends hold everywhere.
    covariates : tuple of (str, tuple of str)
        Columns of numbers that describe how runs were made, each with the resources that it makes worth more: params,
        tokens.
    fields : tuple of (str, tuple of (str, number))
        Fields of parts that differ from their defaults, by the name of the part.
    """

    name: str
    title: str
    law: str
    inputs: tuple[str, ...]
    resources: tuple[str, ...]
    responses: tuple[Observed, ...]
    settings: tuple[tuple[str, Setting], ...]
    discrepancy: tuple[str, ...] = ()
    anchor: tuple[tuple[str, float], ...] = ()
    learned: tuple[tuple[str, str], ...] = ()
    reference: tuple[tuple[str, float], ...] = ()
    range: tuple[tuple[str, tuple[float, float]], ...] = ()
    covariates: tuple[tuple[str, tuple[str, ...]], ...] = ()
    fields: tuple[tuple[str, tuple[tuple[str, Field], ...]], ...] = ()
    penalties: tuple[str, ...] = ()

    @property
    def named(self) -> dict[str, str]:
        """Kind of each part that the spec names, by name."""
        return {
            self.law: "laws",
            **dict.fromkeys(self.resources, "resources"),
            **dict.fromkeys(self.penalties, "penalties"),
            **dict.fromkeys((of.response for of in self.responses), "responses"),
            **dict.fromkeys((of.noise for of in self.responses), "noise"),
            **dict.fromkeys(self.discrepancy, "discrepancies"),
            **dict.fromkeys((setting.pooling for _, setting in self.settings), "pooling"),
        }

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of numbers that the runs must have."""
        wanted = [*self.inputs, *dict(self.covariates), *(spent for _, spent, _ in self.gains)]
        wanted += [column for part in self.spending[1:] for column in part.requires]
        wanted += [column for one in self.instances for column in one.columns]
        return tuple(dict.fromkeys(wanted))

    @property
    def instances(self) -> list[Instance]:
        """Its responses with their noise, in order."""
        return [one for of in self.responses for one in of.instances(self.part)]

    @property
    def declared(self) -> dict[str, Column]:
        """Columns that its parts declare, by name."""
        found = {name: column for part in self.spending for name, column in part.columns.items()}
        return {name: column for name, column in found.items() if name in self.columns}

    @property
    def spending(self) -> list[Any]:
        """Its law, resources and penalties, in order: what turns resources spent into a loss."""
        return [self.part("laws", self.law), *(self.part("resources", name) for name in self.resources),
                *(self.part("penalties", name) for name in self.penalties)]  # fmt: skip

    @property
    def table(self) -> dict[str, Parameter]:
        """Rows of the parts' tables: description, unit and source of each parameter."""
        return table_of([*self.spending, *self.discrepancies], self.instances, self.gains)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of what defines the model: the content and the code of its parts."""
        return digest_of(self.to_dict(), self.code)

    @property
    def code(self) -> dict[str, str]:
        """Digest of the code of each part and kind of prior, by name: of what it computes, not of its prose."""
        used = [("laws", self.law), *(("resources", name) for name in self.resources)]
        used += [("penalties", name) for name in self.penalties]
        used += [("discrepancies", name) for name in self.discrepancy]
        used += [pair for of in self.responses for pair in (("responses", of.response), ("noise", of.noise))]
        used += [("pooling", setting.pooling) for _, setting in self.settings]
        priors = {type(setting.prior) for _, setting in self.settings}
        code = {f"{kind}/{name}": _code_of(catalogue.part(kind, name)) for kind, name in used}
        return code | {f"priors/{prior.__name__}": _code_of(prior) for prior in priors}

    def __hash__(self) -> int:
        return hash(self.digest)

    def to_dict(self) -> dict[str, Any]:
        """Return everything that defines the model, with the structure of the TOML file.

        Returns
        -------
        dict
        """
        parameters = {
            name: {"prior": _prior_dict(s.prior), "pooling": s.pooling, "spread": s.spread}
            | ({"trend": s.trend.to_dict()} if s.trend else {})
            for name, s in self.settings
        }
        optional: dict[str, Any] = {"discrepancy": list(self.discrepancy)} if self.discrepancy else {}
        optional |= {key: dict(getattr(self, key)) for key in ("anchor", "reference") if getattr(self, key)}
        optional |= {"range": {column: list(ends) for column, ends in self.range}} if self.range else {}
        optional |= {"covariates": {c: list(worth) for c, worth in self.covariates}} if self.covariates else {}
        optional |= {"fields": {name: _plain(own) for name, own in self.fields}} if self.fields else {}
        optional |= {"penalties": list(self.penalties)} if self.penalties else {}
        return {
            "law": self.law,
            "inputs": list(self.inputs),
            "resources": list(self.resources),
            **optional,
            "responses": {of.name: of.to_dict() for of in self.responses},
            "parameters": parameters,
        }

    @cached_property
    def structure(self) -> Spec:
        """The spec with standard priors and no name. It is compiled, because prior places and spreads are data."""
        known = {name for name, s in self.settings if catalogue.part("pooling", s.pooling).known}
        settings = tuple(
            (name, replace(s, prior=s.prior.standard, trend=None, spread=1.0 if name in known else s.spread))
            for name, s in self.settings
        )
        return replace(self, name="", title="", settings=settings, anchor=(), learned=(), reference=(), range=())

    def at(self, anchor: Mapping[str, float]) -> Spec:
        """Return the spec with its priors evaluated at the inputs of an anchor, in base units, and without trends."""
        if not self.reference:
            return self
        places = self.places({column: math.log(anchor[column]) for column in self.inputs})
        settings = [(name, replace(s, prior=s.prior.moved(*places[name]), trend=None)) for name, s in self.settings]
        return replace(self, settings=tuple(settings), reference=(), range=())

    def with_prior(self, **priors: Prior) -> Spec:
        """Return the spec with other priors, which do not move with the anchor.

        Parameters
        ----------
        **priors : Prior
            New priors, by parameter.

        Returns
        -------
        Spec

        Raises
        ------
        SpecError
            If the spec has no such parameter.
        """
        for name in priors:
            if name not in self.parameters:
                raise unknown("parameter", name, self.parameters)
        settings = [
            (name, replace(s, prior=priors[name], trend=None) if name in priors else s) for name, s in self.settings
        ]
        return replace(self, settings=tuple(settings))


def digest_of(content: Mapping[str, Any], code: Mapping[str, str]) -> str:
    """Return the SHA-256 of what defines a model.

    Parameters
    ----------
    content : mapping
        As :meth:`Spec.to_dict` returns it.
    code : mapping of str to str
        Digest of the code of each part.

    Returns
    -------
    str
    """
    return hashlib.sha256(json.dumps([content, code], sort_keys=True).encode()).hexdigest()


@cache
def _code_of(part: type) -> str:
    return code_digest(part, without=_PROSE)


def table_of(
    parts: Iterable[Part], responses: Iterable[Instance], gains: Iterable[tuple[str, str, str]] = ()
) -> dict[str, Parameter]:
    """Return the rows of the tables of all parts that a spec names, by parameter.

    Parameters
    ----------
    parts : iterable of Part
        The law, resources, penalties and discrepancies.
    responses : iterable of Instance
    gains : iterable of (str, str, str)
        Parameter, resource column and covariate.

    Returns
    -------
    dict of str to Parameter

    Raises
    ------
    SpecError
        If two parts have different parameters with the same name.
    """
    rows = [row for part in parts for row in part.parameters.items()]
    for one in responses:
        both = [*one.response.parameters.items(), *one.noise.parameters.items()]
        rows += [(one.parameter(name), row) for name, row in both]
    table: dict[str, Parameter] = {}
    for name, row in rows:
        if table.setdefault(name, row) is not row:
            raise SpecError(f"two parts of the spec have a parameter called {name!r}")
    for name, spent, column in gains:
        meaning = f"log of how many times more {spent} are worth for each unit of {column}"
        table[name] = Parameter(GAIN, f"e-folds per unit of {column}", meaning, spread=0.1)
    return table


def inputs_of(law: AbstractLaw, columns: Sequence[str]) -> dict[str, str]:
    """Return the column that each input of a law is read from, by the name that resources and penalties know it by.

    The one input of a law of one input may be any resource, and has that resource's name.

    Parameters
    ----------
    law : AbstractLaw
    columns : sequence of str
        In the law's order.

    Returns
    -------
    dict of str to str
    """
    if len(law.inputs) > 1:
        return dict(zip(law.inputs, columns, strict=True))
    (column,) = columns
    names = {"params": PARAMS, "tokens": TOKENS}
    return {next((name for name, able in names.items() if column in able), column): column}


def _plain(fields: Iterable[tuple[str, Field]]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields}


def _prior_dict(prior: Prior) -> dict[str, Any]:
    return {"kind": type(prior).__name__, **asdict(prior)}


def unknown(what: str, name: object, names: Iterable[str]) -> SpecError:
    """Return the error for a name that is not one of `names`, with the nearest name as a hint."""
    return SpecError(
        f"unknown {what}: {name!r}", expected=f"one of: {', '.join(names)}", hint=nearest(str(name), names)
    )
