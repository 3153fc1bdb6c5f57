"""The abstract idea of a part of a model: a frozen value with a table of parameters and one formula over them.

The table's names must equal the formula's keyword-only arguments. This is checked when the class is
defined, so that a formula never meets a parameter by position.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum, StrEnum, auto
from typing import Any, ClassVar, NamedTuple, dataclass_transform

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro import distributions as dist

from bayescale.core.errors import DefinitionError, SpecError, nearest
from bayescale.parts.priors import Placed, Prior

Values = Mapping[str, Array]

PARAMS, TOKENS = ("params", "active_params"), ("tokens",)
"""Columns of runs that count params, and those that count tokens: what may fill an input of that name."""


class Kind(StrEnum):
    """What a law's number is: readers ask this, never its name or its meaning in words."""

    EXPONENT = "exponent"
    """A parameter that is a power; those of different laws are not the same quantity."""
    EFFECTIVE = "effective"
    """The power by which a term falls far from balance: comparable between laws."""
    FLOOR = "floor"
    """The irreducible loss."""
    PUBLISHED = "published"
    """Another coefficient as the literature writes it."""
    PARAMETER = "parameter"
    """Any other parameter."""


@dataclass(frozen=True)
class Quantity:
    """A number that a law reports beside its parameters.

    Attributes
    ----------
    kind : Kind
    unit, meaning : str
    scale : {"linear", "log"}
        The scale that it is read on: "log" of one that is positive and spans orders of magnitude.
    """

    kind: Kind
    unit: str
    meaning: str
    scale: str = "linear"


_KINDS = {int: "a whole number of at least 1", float: "a positive, finite number"}
"""What a field of a part holds, by the type of its default."""


@dataclass(frozen=True)
class Column:
    """A column of positive numbers of its own that a part reads, such as the number of experts.

    Attributes
    ----------
    unit, meaning : str
    default : float
        Value in a query that does not name one.
    low, high : float
        Its plausible range: values outside it are refused, and sweeps of simulated runs span it.
    """

    unit: str
    meaning: str
    default: float
    low: float
    high: float


@dataclass(frozen=True)
class Parameter:
    """One row of a part's table.

    Attributes
    ----------
    prior : Prior
        Default prior; a spec may name another.
    unit, meaning, source : str
        What a person needs to hold a prior about it, and where this one comes from.
    spread : float
        Prior scale of the standard deviation between families, in the prior's Gaussian coordinate
        (e-folds, for a log-Normal); see :func:`bayescale.parts.priors.spread_prior`.
    at_anchor : bool
        Whether it is a value at the anchor, such as a term's share of the loss there: another at another anchor. A
        prior of it that is learnt has a trend.
    own : bool
        Whether a family's runs tell it, however few, and other families' do not: its prior is not learnt.
    kind : Kind
        What it is: an exponent, or any other parameter.
    """

    prior: Prior
    unit: str
    meaning: str
    spread: float
    source: str = ""
    at_anchor: bool = False
    own: bool = False
    kind: Kind = Kind.PARAMETER


@dataclass_transform(frozen_default=True)
class Part(ABC):
    """A table of parameters and one formula over them; an instance is what a spec composes.

    Every subclass is a frozen dataclass. Its fields are what the formula is built with and no run informs, such as a
    number of knots or a length. Each has a default, and a spec may set another. A formula that reads no field may be a
    static method.

    Examples
    --------
    >>> from bayescale.parts.discrepancies.walk import Walk
    >>> Walk(knots=12) == Walk(knots=12) != Walk()
    True
    """

    name: ClassVar[str]
    source: ClassVar[str]
    parameters: ClassVar[Mapping[str, Parameter]] = {}
    columns: ClassVar[Mapping[str, Column]] = {}
    """Columns of its own, which enter as natural logs as params and tokens do; by name."""
    formula: ClassVar[str]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        dataclass(frozen=True)(cls)
        cls._check_fields()
        cls._check_formula()

    def __post_init__(self) -> None:
        for field, default in self.defaults().items():
            _checked(self.name, field, default, getattr(self, field))

    @classmethod
    def changed(cls, given: Mapping[str, Any]) -> dict[str, int | float]:
        """Return fields of a part as they are given, without those that are as by default.

        Raises
        ------
        SpecError
            If the part has no such field, or a value is not of its field's kind.
        """
        defaults = cls.defaults()
        for field in given:
            if field not in defaults:
                raise SpecError(
                    f"part {cls.name!r} has no field {field!r}",
                    expected=f"one of: {', '.join(defaults)}" if defaults else "no field: it has none",
                    got=field,
                    hint=nearest(field, defaults) if defaults else "leave its fields out",
                )
        values = {field: _checked(cls.name, field, defaults[field], value) for field, value in given.items()}
        return {field: value for field, value in values.items() if value != defaults[field]}

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Fields with their defaults."""
        return {field.name: field.default for field in fields(cls)}  # type: ignore[arg-type]

    @classmethod
    def _check_fields(cls) -> None:
        for field, default in cls.defaults().items():
            if type(default) not in _KINDS:
                raise DefinitionError(
                    f"field {field!r} of {cls.__name__} has no default that is a number",
                    expected="an int or a float",
                    got=repr(default),
                    hint=f"write {field}: int = 24, say; what runs inform is a parameter, with a prior",
                )

    @classmethod
    def _check_formula(cls) -> None:
        formula = getattr(cls, cls.formula)
        if getattr(formula, "__isabstractmethod__", False):
            return
        signature = inspect.signature(formula).parameters.values()
        asked = {p.name for p in signature if p.kind is p.KEYWORD_ONLY}
        if asked != set(cls.parameters):
            raise DefinitionError(
                f"{cls.__name__}.{cls.formula} and {cls.__name__}.parameters disagree",
                expected=f"keyword-only arguments {sorted(cls.parameters)}",
                got=f"{sorted(asked)}",
                hint="give every parameter of the table to the formula by keyword, and no other",
            )


def _checked(part: str, field: str, default: int | float, value: Any) -> int | float:
    """Return the value of a field in the type of its default."""
    number = type(value) is int or (type(value) is type(default) is float)
    if not (number and 0 < value < math.inf):
        raise SpecError(
            f"field {field!r} of part {part!r} has a value that is out of range",
            expected=_KINDS[type(default)],
            got=repr(value),
            hint=f"its default is {default!r}",
        )
    return type(default)(value)


class AbstractLaw(Part):
    """Effective inputs → log loss, in anchor units.

    The *anchor* is a reference run: the geometric mean of each input over the fitted runs, and their
    median loss. A law sees inputs as ``ln(input / anchor)`` and returns ``ln(loss / anchor loss)``,
    so that its parameters are nearly independent and of a size that a person can judge.
    """

    formula = "log_loss"
    inputs: ClassVar[tuple[str, ...]]
    quantities: ClassVar[Mapping[str, Quantity]]
    """What :meth:`published` and :meth:`effective` return, by name."""
    balance: ClassVar[Callable[..., Array] | None] = None
    """``balance(log_tokens, **parameters)``: ln(params) at which tokens are compute-optimal, both in
    anchor units; None where the law has no closed form for it."""
    effective: ClassVar[Callable[..., dict[str, Any]] | None] = None
    """``effective(**parameters)``: exponents far from balance, by name; None where they are not constant."""

    @abstractmethod
    def log_loss(self, *inputs: Array, **parameters: Array) -> Array:
        """``ln(loss / anchor loss)`` at ``ln(input / anchor)``; shapes broadcast."""

    @abstractmethod
    def published(self, *anchor: Array, loss: Array, **parameters: Array) -> dict[str, Array]:
        """Coefficients as the literature writes them, at the anchor's logs (inputs, then loss)."""


class AbstractResource(Part):
    """What was spent → effective inputs of the law, all as natural logs of base units.

    A resource knows the inputs by the law's own names for them. Which columns of the runs they are read from is said
    by the `inputs` of a spec, so that a resource changes what the law reads, whatever the column.
    """

    formula = "effective"
    changes: ClassVar[Mapping[str, tuple[str, ...]]]
    """Inputs of the law that it changes, each with the columns of runs that count what the resource takes it for."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Columns of runs that it reads beside these inputs."""
    balanced: ClassVar[bool] = True
    """Whether it asks for the law's balance, which some laws have not."""

    @abstractmethod
    def effective(self, spent: Values, balance: Callable[[Array], Array], **parameters: Array) -> dict[str, Array]:
        """Return `spent` with the effective inputs replaced.

        `spent` holds the law's inputs under the law's names, and the columns that the spec's resources require.
        """


class Rows(NamedTuple):
    """Where runs lie: `inputs` (row, input) as ``ln(input / anchor)``, `flops` (row,) as natural logs.

    `group` (row,) names what each shares its errors with: an IsoFLOP budget, a training curve, a batch of seeds.
    Of fitted runs `told` is how many e-folds of compute the widest family spans that has the law in common.
    """

    inputs: np.ndarray
    flops: np.ndarray
    group: np.ndarray
    told: float = 0.0

    def take(self, rows: np.ndarray) -> Rows:
        """Rows at positions."""
        return Rows(self.inputs[rows], self.flops[rows], self.group[rows], self.told)


class AbstractDiscrepancy(Part):
    """What a law is wrong by: a family's own *coordinates*, standard Normal, times a *basis*.

    The basis of a run depends on where it lies against the family's fitted runs, and is data of the model. It is
    multiplied by how steeply the family's log loss falls, over a usual 0.1, where it is more (see
    :func:`bayescale.modelling.design.slope_at`).
    """

    formula = "shift"
    labels: ClassVar[tuple[str, ...]] = ()
    """Columns of text that runs must hold."""
    planar: ClassVar[bool] = False
    """Whether it needs a law of two inputs."""
    informed: ClassVar[bool]
    """Whether runs that are fitted say something of the parameters. If not, and there is one, in which the shift is
    linear, its prior is learnt from forecasts of other families."""

    @property
    @abstractmethod
    def coordinates(self) -> Mapping[str, int]:
        """How many coordinates a family has, by the parameter that is their scale; in the order of the basis."""

    @abstractmethod
    def basis(self, at: Rows, fitted: Rows) -> np.ndarray:
        """Basis (row, width) of rows `at`, of a family whose runs are `fitted`."""

    @abstractmethod
    def shift(self, basis: Array, coordinates: Array, **parameters: Array) -> Array:
        """``ln(loss / the law's loss)``; `basis` (…, width), `coordinates` (…, coordinate)."""


class AbstractResponse(Part):
    """Log loss → the location of what was observed."""

    formula = "location"
    observed: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    of_one: ClassVar[str] = ""
    """Column of text of which the parameters describe one value: a midpoint is that of one benchmark."""
    kind: ClassVar[str]
    unit: ClassVar[str]

    @abstractmethod
    def location(self, log_loss: Array, columns: Values, **parameters: Array) -> Array:
        """Log of a loss, or the probability that an item is answered correctly."""


class AbstractNoise(Part):
    """Location → distribution of what was observed; `kind` says of which responses."""

    formula = "distribution"
    kind: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    basis: ClassVar[Callable[[Rows, Rows], np.ndarray] | None] = None
    """``basis(at, fitted)``, as a discrepancy's: what the noise needs to know of where a run lies, which the formula
    finds in `columns` under the noise's name; None where it needs nothing."""

    @abstractmethod
    def distribution(self, location: Array, columns: Values, **parameters: Array) -> dist.Distribution:
        """Distribution of one observation a run."""


def log_sum(*terms: Array | float) -> Array:
    """``ln(Σ exp(term))`` over terms that broadcast, without overflow."""
    total = jnp.asarray(terms[0])
    for term in terms[1:]:
        total = jnp.logaddexp(total, term)
    return total


class Families(NamedTuple):
    """How many families there are, and which of so many `lots` each is in, by way of pooling: `lot` (family,)."""

    size: int
    lot: Mapping[str, Array]
    lots: Mapping[str, int]


class Role(Enum):
    """What a site of a parameter says of families."""

    VALUE = auto()
    """The parameter: one value for all families, or one of each."""
    CENTER = auto()
    """The value about which families scatter."""
    SPREAD = auto()
    """The standard deviation by which they do, in the prior's Gaussian coordinate."""
    LOT = auto()
    """The value that families of one lot have, or about which they scatter."""
    OFFSET = auto()
    """How far each family lies from what it scatters about, in units of the spread."""
    COORDINATE = auto()
    """What a sampler moves in place of the offset. Its prior is given what the families share."""


class Site(NamedTuple):
    """A site of a model: what it says, its dims besides draws, and what becomes of its draws.

    Attributes
    ----------
    name : str
    role : Role
    dims : tuple of str
        Dims of an array of it (see :mod:`bayescale.core.dims`); none, a scalar.
    latent : bool
        Whether it is sampled. If not, it follows from those that are.
    kept : bool
        Whether the posterior of a fit holds it.
    """

    name: str
    role: Role
    dims: tuple[str, ...] = ()
    latent: bool = True
    kept: bool = True

    @property
    def at_top(self) -> bool:
        """Whether its prior depends on no other site, so that a fit's log prior holds it."""
        return self.latent and self.role is not Role.COORDINATE


class AbstractPooling(Part):
    """A way for families to share a parameter with a prior and a spread.

    It declares every site that it draws. What other rooms ask of one, they ask by its role: no name of a site is
    spelled outside the way that draws it.
    """

    formula = "draw"
    about: ClassVar[str]
    """What families have in common, in words; of a parameter whose spread is ``{spread}``."""
    lots: ClassVar[tuple[str, ...]] = ()
    """Columns of text that sort families into lots: in one lot are those that are alike in all of them."""
    named: ClassVar[bool] = True
    """Whether runs must hold these columns."""
    known: ClassVar[bool] = False
    """Whether the spread is known: the standard deviation between families, not the scale of its prior."""
    together: ClassVar[bool] = True
    """Whether a family depends on every other; if not, on those of its lot alone."""
    centered: ClassVar[bool] = False
    """Whether it is an :class:`AbstractCentered`: a sampler may choose each family's coordinate."""

    @abstractmethod
    def sites(self, name: str) -> tuple[Site, ...]:
        """Sites that `draw` makes of a parameter."""

    @abstractmethod
    def draw(
        self, name: str, prior: Placed, spread: Array | float, families: Families, centering: Array | float
    ) -> Array:
        """Draw the parameter: shape () if shared, else (family,)."""

    @abstractmethod
    def extend(
        self, name: str, prior: Placed, spread: Array | float, draws: dict[str, Array], key: Array
    ) -> dict[str, Array]:
        """Latent sites to replace in `draws` (leading dim: draw) for one more, new family of a new lot at the end."""

    def site(self, name: str, role: Role) -> Site:
        """The site of a parameter that has a role, which the way has one of."""
        return next(site for site in self.sites(name) if site.role is role)

    def population(self, name: str) -> Site:
        """The site that says of a parameter what families have in common: their centre, or its value."""
        by_role = {site.role: site for site in self.sites(name)}
        return by_role.get(Role.CENTER, by_role[Role.VALUE])

    def given(self, name: str, draws: Mapping[str, Array], lots: Sequence[Any]) -> dict[str, Array]:
        """Draws of its latent sites at centering 0, from those that a fit keeps; `lots` of the families, in order."""
        found = {}
        for site in self.sites(name):
            if site.latent and site.kept:
                found[site.name] = draws[site.name]
            elif site.latent and site.role is Role.COORDINATE:
                found[site.name] = draws[self.site(name, Role.OFFSET).name]
            elif site.latent:  # of each lot: the value of its first family
                first = [lots.index(lot) for lot in dict.fromkeys(lots)]
                found[site.name] = draws[name][:, jnp.array(first)]
        return found


class AbstractCentered(AbstractPooling):
    """A way by which families scatter about a centre that is learnt.

    A family's `centering` moves its coordinate from its offset (0, best where its own runs say little) to its value
    (1, best where they say much); the posterior is the same.
    """

    centered = True

    @abstractmethod
    def center_given(self, prior: Placed, coordinate: Array, spread: Array, centering: Array) -> tuple[Array, Array]:
        """Mean and SD of the centre's Gaussian coordinate given the families' coordinates and the spread."""

    @abstractmethod
    def restart(
        self,
        name: str,
        prior: Placed,
        spread: float,
        sites: dict[str, Array],
        variance: Array,
        centering: Array,
    ) -> dict[str, Array]:
        """Latent sites with the families' values kept, centre and spread moved to fit them, in other coordinates."""
