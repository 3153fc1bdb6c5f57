"""Model: what can be fitted, a composition of parts or a custom NumPyro model."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayescale.core.errors import QueryError, nearest
from bayescale.parts import catalogue
from bayescale.parts.base import AbstractDiscrepancy, AbstractLaw, AbstractPenalty, Column, Field, Parameter, Part
from bayescale.parts.scales import SCALES, Scale

_ROUNDED = 0.02
"""Largest distance from 1 of a sum of shares: sums of shares that were rounded to three decimals are off by less."""


@dataclass(frozen=True)
class Instance:
    """A response of a spec with its noise: the columns of the runs that they read and the names of their parameters.

    An instance that has the name of its kind reads the columns that the response names. An instance with a custom name,
    such as ``hellaswag``, is observed in the column of that name and reads ``hellaswag_n_items`` for ``n_items``. Its
    parameters have names such as ``midpoint_hellaswag``.

    A member of a battery, such as ``hellaswag`` of the battery ``benchmarks``, has its place in parameters that hold
    one value for each member, such as ``midpoint_benchmarks``.

    Attributes
    ----------
    name : str
        Name in the spec.
    response : AbstractResponse
    noise : AbstractNoise
    own : bool
        Whether the name is custom.
    battery : str
        Name of the battery that it belongs to; empty if it has parameters of its own.
    place : int
        Its place in the battery.
    """

    name: str
    response: Any
    noise: Any
    own: bool = False
    """Whether it has a custom name, and therefore its own columns and parameters."""
    battery: str = ""
    place: int = 0

    @property
    def site(self) -> str:
        """Column of the runs with the observations, which is also the name of the model's site."""
        return self.name if self.own else self.response.observed

    @property
    def is_loss(self) -> bool:
        """Whether it is the loss of the run itself."""
        return bool(self.response.name == "loss")

    @property
    def falls(self) -> bool:
        """Whether lower is better."""
        return bool(self.response.falls or self.response.kind == "log")

    @property
    def requires(self) -> dict[str, str]:
        """Column of the runs for each column that the response and its noise require."""
        asked = dict.fromkeys((*self.response.requires, *self.noise.requires))
        return {name: f"{self.name}_{name}" if self.own else name for name in asked}

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Smallest and largest valid value by column of the runs, where the response or its noise bounds it."""
        bounds = {**self.noise.ranges, **self.response.ranges}
        return {column: bounds[name] for name, column in self.requires.items() if name in bounds}

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the runs that it reads, the observed column first."""
        return (self.site, *self.requires.values())

    @property
    def scale(self) -> Scale:
        """How its observations are read, checked and scored."""
        return SCALES[self.response.kind]

    def parameter(self, name: str) -> str:
        """Return the spec's name for a parameter of the response or the noise."""
        return f"{name}_{self.battery or self.name}" if self.own else name

    def view(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Return the columns, with the required ones also under the names that the response and the noise use."""
        return {**columns, **{name: columns[of] for name, of in self.requires.items() if of in columns}}

    def scored(self, values: Any, table: pd.DataFrame) -> np.ndarray:
        """Return observations, or draws of them, on the scored scale.

        Parameters
        ----------
        values : array_like, shape (…, row)
            Observations, in their unit.
        table : DataFrame
            Rows to which they belong, with the required columns.

        Returns
        -------
        ndarray, shape (…, row)
        """
        columns = {name: table[of].to_numpy(float) for name, of in self.requires.items() if of in table}
        return np.asarray(self.scale.scored(values, columns))

    def pick(self, values: Mapping[str, Any], of: Part) -> dict[str, Any]:
        """Return the values of the parameters of its response or noise `of`, under the names that the part uses."""
        found = {name: values[self.parameter(name)] for name in of.parameters}
        return {name: value[self.place] if self.battery and np.ndim(value) else value for name, value in found.items()}


class Model(ABC):
    """What can be fitted: a :class:`.Spec` composed of parts, or an :class:`.CustomModel` that wraps a NumPyro model.

    In an :class:`.CustomModel` the law, resources, penalties, settings, discrepancies, anchor, reference, range and
    covariates are empty.

    Attributes
    ----------
    name, title : str
        For display; not part of the digest.
    law : str
        Name of the law; empty if there is none.
    inputs : tuple of str
        Columns of resources spent: the law's inputs in its order, or the columns along which the distance of a
        forecast is measured.
    """

    name: str
    title: str
    law: str
    inputs: tuple[str, ...]
    resources: tuple[str, ...]
    responses: tuple[Any, ...]
    settings: tuple[tuple[str, Any], ...]
    discrepancy: tuple[str, ...]
    anchor: tuple[tuple[str, float], ...]
    learned: tuple[tuple[str, str], ...]
    reference: tuple[tuple[str, float], ...]
    range: tuple[tuple[str, tuple[float, float]], ...]
    covariates: tuple[tuple[str, tuple[str, ...]], ...]
    fields: tuple[tuple[str, tuple[tuple[str, Field], ...]], ...]
    penalties: tuple[str, ...]

    @property
    @abstractmethod
    def digest(self) -> str:
        """SHA-256 of what defines the model: its content and its code."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Columns of numbers that the runs must have."""

    @property
    @abstractmethod
    def declared(self) -> dict[str, Column]:
        """Columns that it declares, by name."""

    @property
    @abstractmethod
    def instances(self) -> list[Instance]:
        """Its responses with their noise, in order."""

    @property
    @abstractmethod
    def table(self) -> dict[str, Parameter]:
        """Description, unit and source of each parameter that declares them."""

    @property
    def meanings(self) -> dict[str, str]:
        """What each parameter and each published coefficient is, in words, by its symbol."""
        quantities = self.law_part.quantities if self.law_part else {}
        return {name: one.meaning for name, one in quantities.items()} | {
            name: one.meaning for name, one in self.table.items()
        }

    @property
    @abstractmethod
    def structure(self) -> Model:
        """The model without the data of the compiled program. Models with equal structure share a program."""

    @abstractmethod
    def at(self, anchor: Mapping[str, float]) -> Model:
        """Return the model with its priors evaluated at the inputs of an anchor, in base units.

        Parameters
        ----------
        anchor : mapping of str to float
            Value of each input, in base units.

        Returns
        -------
        Model
        """

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return everything that defines the model, with the structure of the TOML file.

        Returns
        -------
        dict
        """

    @property
    def law_part(self) -> AbstractLaw | None:
        """Its law; None for a custom model."""
        return self.part("laws", self.law) if self.law else None

    def part(self, kind: str, name: str) -> Any:
        """Return a part by its kind and name, with the fields that the spec sets.

        Parameters
        ----------
        kind : str
            Such as ``"laws"``.
        name : str

        Returns
        -------
        Part
        """
        return catalogue.part(kind, name, **dict(dict(self.fields).get(name, ())))

    @property
    def parameters(self) -> dict[str, Any]:
        """Settings by parameter name."""
        return dict(self.settings)

    @property
    def discrepancies(self) -> list[AbstractDiscrepancy]:
        """Its discrepancies, in order."""
        return [self.part("discrepancies", name) for name in self.discrepancy]

    @property
    def penalizing(self) -> list[AbstractPenalty]:
        """Its penalties, in order."""
        return [self.part("penalties", name) for name in self.penalties]

    @property
    def gains(self) -> list[tuple[str, str, str]]:
        """Parameter, resource column and covariate, for each covariate that makes a resource worth more."""
        return gains_of(self.covariates)

    @property
    def labels(self) -> tuple[str, ...]:
        """Columns of text that the runs must have."""
        wanted = [*(of.labels for of in self.discrepancies), *(of.labels for of in self.penalizing)]
        ways = [catalogue.part("pooling", setting.pooling) for _, setting in self.settings]
        wanted += [way.lots for way in ways if way.named]
        return tuple(dict.fromkeys(label for labels in wanted for label in labels))

    @property
    def batteries(self) -> dict[str, list[Instance]]:
        """Responses of each battery, by its name: they share a table of parameters, with one value for each."""
        found: dict[str, list[Instance]] = {}
        for of in self.instances:
            if of.battery:
                found.setdefault(of.battery, []).append(of)
        return found

    @property
    def across(self) -> dict[str, str]:
        """Name of the battery of each parameter that has one value for each response of a battery."""
        return {
            of.parameter(name): of.battery
            for of in (members[0] for members in self.batteries.values())
            for name in (*of.response.parameters, *of.noise.parameters)
        }

    @property
    def sorting(self) -> tuple[str, ...]:
        """Columns of text that sort families into lots, if the runs have them."""
        ways = [catalogue.part("pooling", setting.pooling) for _, setting in self.settings]
        return tuple(dict.fromkeys(column for way in ways for column in way.lots))

    @property
    def based(self) -> tuple[Any, ...]:
        """Parts that depend on the position of a run relative to its family's fitted runs."""
        noise = {of.noise.name: of.noise for of in self.instances}
        return (*self.discrepancies, *(of for of in noise.values() if of.basis))

    def scored(self, response: str | None = None) -> Instance:
        """Return the response whose forecasts are scored.

        Parameters
        ----------
        response : str, optional
            Its name; by default ``"loss"``, or the first response if there is no loss.

        Returns
        -------
        Instance

        Raises
        ------
        QueryError
            If the spec has no such response.
        """
        found = {of.name: of for of in self.instances}
        name = response or ("loss" if "loss" in found else next(iter(found)))
        if name not in found:
            raise QueryError(f"spec {self.name!r} has no response {name!r}", expected=f"one of: {', '.join(found)}",
                             hint=nearest(name, found))  # fmt: skip
        return found[name]

    @property
    def observed(self) -> tuple[str, ...]:
        """Columns of the observations, in the order of the responses."""
        return tuple(one.site for one in self.instances)

    def logs(self, table: pd.DataFrame, columns: Iterable[str]) -> np.ndarray:
        """Return natural logs of columns, each with its offset added first.

        Parameters
        ----------
        table : DataFrame
            Runs or queries, in base units.
        columns : iterable of str

        Returns
        -------
        ndarray, shape (row, column)
        """
        return logs_of(self.declared, table, columns)

    def outside(self, anchor: Mapping[str, float]) -> dict[str, float]:
        """Return the distance of an anchor from the range in which trends were learned.

        Parameters
        ----------
        anchor : mapping of str to float
            Natural logs of the anchor's inputs.

        Returns
        -------
        dict of str to float
            E-folds of each input above the range: negative below it, 0 inside it or if there is no range.
        """
        ends = {column: np.log(own) for column, own in self.range}
        return {column: float(anchor[column] - np.clip(anchor[column], *ends[column])) if column in ends else 0.0
                for column in self.inputs}  # fmt: skip

    def places(self, anchor: Mapping[str, float]) -> dict[str, tuple[float, float]]:
        """Return the place of every prior at an anchor.

        Parameters
        ----------
        anchor : mapping of str to float
            Natural logs of the anchor's inputs.

        Returns
        -------
        dict of str to (float, float)
            Location and scale in the Gaussian coordinate, by parameter.
        """
        outside = self.outside(anchor)
        away = {column: float(anchor[column]) - outside[column] - math.log(at) for column, at in self.reference}
        beyond = math.hypot(*outside.values())
        return {name: setting.place(away, beyond) for name, setting in self.settings}


def logs_of(declared: Mapping[str, Column], table: pd.DataFrame, columns: Iterable[str]) -> np.ndarray:
    """Return natural logs of columns of a table, shape (row, column), each with the offset that it declares."""
    offsets = {name: declared[name].offset if name in declared else 0.0 for name in columns}
    found = [np.log(table[name].to_numpy(float) + offset) for name, offset in offsets.items()]
    return np.stack(found, axis=1) if found else np.zeros((len(table), 0))


def incomplete(declared: Mapping[str, Column], table: pd.DataFrame) -> str:
    """Return which row has shares of one mixture that do not add up to 1, in words; empty if there is none.

    Parameters
    ----------
    declared : mapping of str to Column
    table : DataFrame
        Runs or queries; shares that it lacks are not checked.

    Returns
    -------
    str
    """
    for shared in dict.fromkeys(column.share_of for column in declared.values() if column.share_of):
        names = [name for name, column in declared.items() if column.share_of == shared]
        total = table[names].sum(axis=1).to_numpy(float) if set(names) <= set(table) else np.ones(len(table))
        if (far := np.abs(total - 1.0) > _ROUNDED).any():
            row = int(np.flatnonzero(far)[0])
            return f"row {row}: the shares of the {shared} ({', '.join(names)}) add up to {total[row]:.3g}"
    return ""


def gains_of(covariates: Iterable[tuple[str, tuple[str, ...]]]) -> list[tuple[str, str, str]]:
    """Return parameter, resource column and covariate for each resource that a covariate makes worth more."""
    return [(f"gain_{column}_{spent}", spent, column) for column, worth in covariates for spent in worth]


def common_response(specs: Iterable[Model], response: str | None = None) -> Instance:
    """Return the response on which the forecasts of several specs are compared; see :meth:`Model.scored`.

    Parameters
    ----------
    specs : iterable of Model
    response : str, optional
        Its name; by default that of the first spec's scored response.

    Returns
    -------
    Instance
        The response of the first spec.

    Raises
    ------
    QueryError
        If a spec has no such response, or observes it in a different column.
    """
    first, *others = specs
    of = first.scored(response)
    for spec in others:
        if (other := spec.scored(of.name)).site != of.site:
            raise QueryError(f"specs {first.name!r} and {spec.name!r} observe {of.name!r} in different columns",
                             expected=of.site, got=other.site)  # fmt: skip
    return of
