"""Model: what can be fitted, a composition of parts or a NumPyro model of one's own."""

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
from bayescale.parts.base import AbstractDiscrepancy, AbstractLaw, Column, Parameter, Part
from bayescale.parts.scales import SCALES, Scale


@dataclass(frozen=True)
class Instance:
    """A response of a spec with its noise: which columns of the runs they read, and what their parameters are called.

    One that has the name of its kind reads the columns that the response names. One with a name of its own, such as
    ``hellaswag``, is observed in the column of that name, and reads ``hellaswag_n_items`` for ``n_items``; its
    parameters are called ``midpoint_hellaswag``.
    """

    name: str
    response: Any
    noise: Any
    own: bool = False
    """Whether it has a name of its own, and so columns and parameters of its own."""

    @property
    def site(self) -> str:
        """Column of the runs that holds what was observed, and the site of the model that draws it."""
        return self.name if self.own else self.response.observed

    @property
    def requires(self) -> dict[str, str]:
        """Column of the runs for each column that the response and its noise ask for."""
        asked = dict.fromkeys((*self.response.requires, *self.noise.requires))
        return {name: f"{self.name}_{name}" if self.own else name for name in asked}

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the runs that it reads, what it observes first."""
        return (self.site, *self.requires.values())

    @property
    def scale(self) -> Scale:
        """How what it observes is read, checked and scored."""
        return SCALES[self.response.kind]

    def parameter(self, name: str) -> str:
        """What the spec calls a parameter of the response or the noise."""
        return f"{name}_{self.name}" if self.own else name

    def view(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Columns with those that it asks for under the names by which it does."""
        return {**columns, **{name: columns[of] for name, of in self.requires.items() if of in columns}}

    def scored(self, values: Any, table: pd.DataFrame) -> np.ndarray:
        """Observations at the rows of a table, or draws of them, on the scale that scores are of."""
        columns = {name: table[of].to_numpy(float) for name, of in self.requires.items() if of in table}
        return np.asarray(self.scale.scored(values, columns))

    def pick(self, values: Mapping[str, Any], of: Part) -> dict[str, Any]:
        """Values of the parameters of its response, or of its noise, under the names of the part."""
        return {name: values[self.parameter(name)] for name in of.parameters}


class Model(ABC):
    """What can be fitted: a :class:`.Spec` composes it of parts, an :class:`.OwnModel` wraps a NumPyro model.

    A model of one's own has no law, resources, settings, discrepancies, anchor, reference, range or covariates: what
    asks for them finds none.

    Attributes
    ----------
    name, title : str
        For people; not part of the digest.
    law : str
        Name of the law; empty without one.
    inputs : tuple of str
        Columns of what was spent: the law's inputs, in its order, or those by which a forecast's distance is measured.
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
    fields: tuple[tuple[str, tuple[tuple[str, int | float], ...]], ...]

    @property
    @abstractmethod
    def digest(self) -> str:
        """SHA-256 of what defines the model: its content, and its code."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Columns of numbers that the runs must hold."""

    @property
    @abstractmethod
    def declared(self) -> dict[str, Column]:
        """Columns that it brings along, by name."""

    @property
    @abstractmethod
    def instances(self) -> list[Instance]:
        """Its responses with their noise, in their order."""

    @property
    @abstractmethod
    def table(self) -> dict[str, Parameter]:
        """Meaning, unit and source of each parameter that declares them."""

    @property
    @abstractmethod
    def structure(self) -> Model:
        """What is compiled: the model without what is data of the program."""

    @abstractmethod
    def at(self, anchor: Mapping[str, float]) -> Model:
        """Return the model with its priors as they are at an anchor's inputs."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Everything that defines the model, in the shape of the TOML file."""

    @property
    def law_part(self) -> AbstractLaw | None:
        """Its law; None of a model of one's own."""
        return self.part("laws", self.law) if self.law else None

    def part(self, kind: str, name: str) -> Any:
        """Part of a kind by its name, with the fields that the spec sets."""
        return catalogue.part(kind, name, **dict(dict(self.fields).get(name, ())))

    @property
    def parameters(self) -> dict[str, Any]:
        """Settings by parameter name."""
        return dict(self.settings)

    @property
    def discrepancies(self) -> list[AbstractDiscrepancy]:
        """Its discrepancies, in their order."""
        return [self.part("discrepancies", name) for name in self.discrepancy]

    @property
    def gains(self) -> list[tuple[str, str, str]]:
        """Parameter, what was spent, and the covariate that makes it worth more."""
        return gains_of(self.covariates)

    @property
    def labels(self) -> tuple[str, ...]:
        """Columns of text that the runs must hold."""
        wanted = [catalogue.part("discrepancies", name).labels for name in self.discrepancy]
        ways = [catalogue.part("pooling", setting.pooling) for _, setting in self.settings]
        wanted += [way.lots for way in ways if way.named]
        return tuple(dict.fromkeys(label for labels in wanted for label in labels))

    @property
    def sorting(self) -> tuple[str, ...]:
        """Columns of text that sort families into lots, where runs hold them."""
        ways = [catalogue.part("pooling", setting.pooling) for _, setting in self.settings]
        return tuple(dict.fromkeys(column for way in ways for column in way.lots))

    @property
    def based(self) -> tuple[Any, ...]:
        """Parts that depend on where a run lies against its family's fitted runs."""
        noise = {of.noise.name: of.noise for of in self.instances}
        return (*self.discrepancies, *(of for of in noise.values() if of.basis))

    def scored(self, response: str | None = None) -> Instance:
        """Response whose forecasts are scored: the one of a name; by default the loss, or the first without one.

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
        """Columns of what the runs observe, in the order of the responses."""
        return tuple(one.site for one in self.instances)

    def outside(self, anchor: Mapping[str, float]) -> dict[str, float]:
        """E-folds by which an anchor's inputs (natural logs) lie above the range that trends were learnt from.

        Negative below it; 0 inside, and everywhere if there is no range.
        """
        ends = {column: np.log(own) for column, own in self.range}
        return {column: float(anchor[column] - np.clip(anchor[column], *ends[column])) if column in ends else 0.0
                for column in self.inputs}  # fmt: skip

    def places(self, anchor: Mapping[str, float]) -> dict[str, tuple[float, float]]:
        """Location and scale of every prior in its Gaussian coordinate, at the natural logs of an anchor's inputs."""
        outside = self.outside(anchor)
        away = {column: float(anchor[column]) - outside[column] - math.log(at) for column, at in self.reference}
        beyond = math.hypot(*outside.values())
        return {name: setting.place(away, beyond) for name, setting in self.settings}


def gains_of(covariates: Iterable[tuple[str, tuple[str, ...]]]) -> list[tuple[str, str, str]]:
    """Parameter, what was spent, and the covariate that makes it worth more, for each pair of these."""
    return [(f"gain_{column}_{spent}", spent, column) for column, worth in covariates for spent in worth]


def common_response(specs: Iterable[Model], response: str | None = None) -> Instance:
    """Response of which forecasts by several specs are scored side by side; see :meth:`Spec.scored`.

    Raises
    ------
    QueryError
        If a spec has no such response, or observes it in another column.
    """
    first, *others = specs
    of = first.scored(response)
    for spec in others:
        if (other := spec.scored(of.name)).site != of.site:
            raise QueryError(f"specs {first.name!r} and {spec.name!r} observe {of.name!r} in different columns",
                             expected=of.site, got=other.site)  # fmt: skip
    return of
