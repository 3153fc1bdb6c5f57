"""The abstract part of a model: a frozen value with a table of parameters and one formula over them.

The names in the table must equal the formula's keyword-only arguments. This is checked when the class is
defined, so that no parameter is ever passed to a formula by position.
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
import pandas as pd
from jax import Array
from numpyro import distributions as dist

from bayescale.core.errors import DefinitionError, SpecError, nearest
from bayescale.parts.priors import Placed, Prior

Values = Mapping[str, Array]

PARAMS, TOKENS = ("params", "active_params"), ("tokens",)
"""Columns of runs that count params, and columns that count tokens: each may fill the law's input of that name."""


class Kind(StrEnum):
    """What a number of a law is. Code that needs to know checks the kind, never the name or the description."""

    EXPONENT = "exponent"
    """A parameter that is a power. Exponents of different laws are not the same quantity."""
    EFFECTIVE = "effective"
    """The power by which a term falls far from balance. It is comparable between laws."""
    FLOOR = "floor"
    """The irreducible loss."""
    PUBLISHED = "published"
    """Another coefficient, as the literature writes it."""
    PARAMETER = "parameter"
    """Any other parameter."""


@dataclass(frozen=True)
class Quantity:
    """A number that a law reports in addition to its parameters.

    Attributes
    ----------
    kind : Kind
        What the number is.
    unit, meaning : str
        Its unit and a short description.
    scale : {"linear", "log"}
        The scale on which it is shown: "log" if it is positive and spans orders of magnitude.
    """

    kind: Kind
    unit: str
    meaning: str
    scale: str = "linear"


_KINDS = {
    int: "an integer of at least 1",
    float: "a positive, finite number",
    tuple: "a list of different names of letters, digits and underscores",
}
"""Valid values of a field of a part, by the type of its default."""

type Field = int | float | tuple[str, ...]
"""Value of a field of a part."""


@dataclass(frozen=True)
class Column:
    """A column of numbers that a part declares and reads, such as the number of experts.

    Attributes
    ----------
    unit, meaning : str
        Its unit and a short description.
    default : float
        Value in a query that does not give one, in `unit`.
    low, high : float
        Plausible range, in `unit`. Values outside it raise an error.
    usual : tuple of float, optional
        Range that sweeps of simulated runs and pictures of priors span; by default the plausible range.
    offset : float
        Added before the natural log is taken. It is positive only where zero is a valid value, as for the share of
        a domain in a mixture.
    share_of : str
        What the column is a share of; empty if it is no share. Shares of one thing add up to 1, and at the anchor each
        has its mean, where other columns have their geometric mean.
    """

    unit: str
    meaning: str
    default: float
    low: float
    high: float
    offset: float = 0.0
    usual: tuple[float, float] | None = None
    share_of: str = ""

    def spanned(self, count: int) -> np.ndarray:
        """Return values over the usual range, evenly spaced in the log of the value plus the offset.

        Parameters
        ----------
        count : int

        Returns
        -------
        ndarray, shape (count,)
        """
        low, high = self.usual or (self.low, self.high)
        return np.clip(np.geomspace(low + self.offset, high + self.offset, count) - self.offset, low, high)


@dataclass(frozen=True)
class Parameter:
    """One row of a part's table.

    Attributes
    ----------
    prior : Prior
        Default prior; a spec may name another.
    unit, meaning, source : str
        The unit and description that a user needs to choose a prior, and the source of the default prior.
    spread : float
        Prior scale of the standard deviation between families, in the prior's Gaussian coordinate
        (e-folds for a log-Normal); see :func:`bayescale.parts.priors.spread_prior`.
    at_anchor : bool
        Whether its value depends on the anchor, as a term's share of the loss does. If so, a learned prior of the
        parameter has a trend in the anchor.
    own : bool
        Whether only the family's own runs inform it, however few they are. If so, its prior is not learned from
        other families.
    kind : Kind
        Whether it is an exponent or another parameter.
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
    """A table of parameters and one formula over them. A spec composes instances of parts.

    Every subclass is a frozen dataclass. Its fields are constants of the formula that no run informs, such as a
    number of knots, a length, or the names of the domains of a mixture. Each field has a default, and a spec may set
    another value. A formula that reads no field may be a static method.

    The tables of a part may depend on its fields. They are properties then, and the formula takes the parameters as
    ``**parameters``.

    Attributes
    ----------
    name, source : str
        Unique name within its kind, and the publication or observation behind it.
    parameters : mapping of str to Parameter
        The table.
    columns : mapping of str to Column
        Columns that the part declares.
    formula : str
        Name of the method that computes the formula.
    use, avoid : str
        When to use the part, and when not to.
    runs : tuple of str
        Shipped tables of runs on which it was tested. If it is empty, it was tested on simulated runs only.
    reproduced : str
        Published figures that tests of this project reproduce.

    Examples
    --------
    >>> from bayescale.parts.discrepancies.walk import Walk
    >>> Walk(knots=6) == Walk(knots=6) != Walk()
    True
    """

    name: ClassVar[str]
    source: ClassVar[str]
    parameters: ClassVar[Mapping[str, Parameter]] = {}
    columns: ClassVar[Mapping[str, Column]] = {}
    """Columns that the part declares, by name. Like params and tokens, they enter the model as natural logs."""
    formula: ClassVar[str]
    use: ClassVar[str] = ""
    avoid: ClassVar[str] = ""
    runs: ClassVar[tuple[str, ...]] = ()
    reproduced: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        dataclass(frozen=True)(cls)
        cls._check_fields()
        cls._check_formula()

    def __post_init__(self) -> None:
        for field, default in self.defaults().items():
            _checked(self.name, field, default, getattr(self, field))

    @classmethod
    def changed(cls, given: Mapping[str, Any]) -> dict[str, Field]:
        """Return the given fields whose values differ from their defaults.

        Parameters
        ----------
        given : mapping of str to int, float or list of str
            Values of fields, by name.

        Returns
        -------
        dict
            Values of the changed fields, each in the type of its default.

        Raises
        ------
        SpecError
            If the part has no such field, or a value is not valid for its field.
        """
        defaults = cls.defaults()
        for field in given:
            if field not in defaults:
                raise SpecError(
                    f"part {cls.name!r} has no field {field!r}",
                    expected=f"one of: {', '.join(defaults)}" if defaults else "no fields: this part has none",
                    got=field,
                    hint=nearest(field, defaults) if defaults else "remove the fields of this part",
                )
        values = {field: _checked(cls.name, field, defaults[field], value) for field, value in given.items()}
        return {field: value for field, value in values.items() if value != defaults[field]}

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Return the default of each field, by name."""
        return {field.name: field.default for field in fields(cls)}  # type: ignore[arg-type]

    @classmethod
    def _check_fields(cls) -> None:
        for field, default in cls.defaults().items():
            if type(default) not in _KINDS:
                raise DefinitionError(
                    f"the default of field {field!r} of {cls.__name__} is not a number or a list of names",
                    expected="an int, a float or a tuple of names",
                    got=repr(default),
                    hint=f"for example {field}: int = 24; a quantity that runs inform is a parameter with a prior",
                )

    @classmethod
    def _check_formula(cls) -> None:
        formula = getattr(cls, cls.formula)
        if getattr(formula, "__isabstractmethod__", False):
            return
        signature = inspect.signature(formula).parameters.values()
        if isinstance(inspect.getattr_static(cls, "parameters"), property):
            if not any(p.kind is p.VAR_KEYWORD for p in signature):
                raise DefinitionError(f"{cls.__name__}.{cls.formula} takes fixed parameters, but they depend on fields",
                                      expected="**parameters", hint="read them by name")  # fmt: skip
            return
        asked = {p.name for p in signature if p.kind is p.KEYWORD_ONLY}
        if asked != set(cls.parameters):
            raise DefinitionError(
                f"{cls.__name__}.{cls.formula} and {cls.__name__}.parameters disagree",
                expected=f"keyword-only arguments {sorted(cls.parameters)}",
                got=f"{sorted(asked)}",
                hint="make the formula's keyword-only arguments the names in the table of parameters",
            )


def _checked(part: str, field: str, default: Field, value: Any) -> Field:
    """Return the value of a field, in the type of its default."""
    if type(default) is tuple:
        valid = type(value) in (tuple, list) and _are_names(value)
    else:
        valid = (type(value) is int or (type(value) is type(default) is float)) and 0 < value < math.inf
    if not valid:
        raise SpecError(
            f"field {field!r} of part {part!r} has a value that is out of range",
            expected=_KINDS[type(default)],
            got=repr(value),
            hint=f"its default is {default!r}",
        )
    return type(default)(value)


def _are_names(value: Sequence[Any]) -> bool:
    """Whether a sequence holds different names that can be parts of the names of columns."""
    named = all(isinstance(name, str) and name.isascii() and f"_{name}".isidentifier() for name in value)
    return named and 0 < len(set(value)) == len(value)


class AbstractLaw(Part):
    """Effective inputs → log loss, in anchor units.

    The *anchor* is a reference run: the geometric mean of each input over the fitted runs, and their
    median loss. A law sees inputs as ``ln(input / anchor)`` and returns ``ln(loss / anchor loss)``,
    so that its parameters are nearly independent and their sizes are easy to judge.
    """

    formula = "log_loss"
    inputs: ClassVar[tuple[str, ...]]
    quantities: ClassVar[Mapping[str, Quantity]]
    """What :meth:`published` and :meth:`effective` return, by name."""
    forms: ClassVar[tuple[str, ...]] = ()
    """Parameters of which some value turns the law into another, as a coupling exponent of 1 gives the additive law.
    Their priors are not learned from other families: a few families say too little of forms that none of them has."""
    balance: ClassVar[Callable[..., Array] | None] = None
    """``balance(log_tokens, **parameters)``: ln(params) for which the tokens are compute-optimal, both in
    anchor units; None if the law has no closed form for it."""
    effective: ClassVar[Callable[..., dict[str, Any]] | None] = None
    """``effective(**parameters)``: exponents far from balance, by name; None if they are not constant."""

    @abstractmethod
    def log_loss(self, *inputs: Array, **parameters: Array) -> Array:
        """Return the log loss in anchor units.

        Parameters
        ----------
        *inputs : Array
            ``ln(input / anchor)`` of each input, in the law's order.
        **parameters : Array
            Parameters by name. All shapes broadcast.

        Returns
        -------
        Array
            ``ln(loss / anchor loss)``.
        """

    @abstractmethod
    def published(self, *anchor: Array, loss: Array, **parameters: Array) -> dict[str, Array]:
        """Return the coefficients as the literature writes them.

        Parameters
        ----------
        *anchor : Array
            Natural log of each input at the anchor, in the law's order and in base units.
        loss : Array
            Natural log of the anchor's loss.
        **parameters : Array
            Parameters by name. All shapes broadcast.

        Returns
        -------
        dict of Array
            Coefficients, by the names in `quantities`.
        """


class AbstractResource(Part):
    """Resources spent → effective inputs of the law, all as natural logs of base units.

    A resource refers to the inputs by the law's names for them. The `inputs` of a spec say from which columns of the
    runs they are read, so that a resource changes what the law reads, whichever column that is.
    """

    formula = "effective"
    changes: ClassVar[Mapping[str, tuple[str, ...]]]
    """Inputs of the law that it changes, each with the columns of runs that count the quantity the resource expects."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Columns of runs that it reads in addition to these inputs."""
    balanced: ClassVar[bool] = True
    """Whether it needs the law's balance, which some laws do not have."""

    @abstractmethod
    def effective(self, spent: Values, balance: Callable[[Array], Array], **parameters: Array) -> dict[str, Array]:
        """Return `spent` with the effective inputs replaced.

        Parameters
        ----------
        spent : mapping of str to Array
            Natural logs of the law's inputs, by the law's names, and of the columns that the spec's resources require.
        balance : callable
            ln(params) for which ln(tokens) is compute-optimal, in base units.
        **parameters : Array
            Parameters by name. All shapes broadcast.

        Returns
        -------
        dict of Array
            `spent` with the effective inputs, as natural logs.
        """


class AbstractPenalty(Part):
    """How runs were made → a change of the law's loss: repeated tokens, few bits, a learning rate that is not tuned.

    A penalty changes the loss itself, where a resource changes what the law reads. It usually raises the loss.
    """

    formula = "penalized"
    reads: ClassVar[tuple[str, ...]] = ()
    """Inputs of the law that it reads, by the law's names, as they were spent."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Columns of runs that it reads in addition to these inputs."""
    labels: ClassVar[tuple[str, ...]] = ()
    """Columns of text that runs must hold."""

    @property
    def texts(self) -> Mapping[str, tuple[str, ...]]:
        """Values of its columns of text in a sweep of simulated runs, by column; the columns that have few values."""
        return {}

    def filled(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table with the columns that follow from others, where it lacks them.

        Parameters
        ----------
        table : DataFrame
            Runs or queries.

        Returns
        -------
        DataFrame
        """
        return table

    def basis(self, table: pd.DataFrame) -> np.ndarray | None:
        """Return what the formula needs to know about the text of rows, such as a schedule; None if nothing.

        Parameters
        ----------
        table : DataFrame
            Runs or queries.

        Returns
        -------
        ndarray, shape (row, …), or None
        """
        return None

    @abstractmethod
    def penalized(self, log_loss: Array, spent: Values, basis: Array | None, **parameters: Array) -> Array:
        """Return the log loss with the penalty.

        Parameters
        ----------
        log_loss : Array, shape (run,)
            Natural log of the loss by the law, in nats/token.
        spent : mapping of str to Array, shape (run,)
            Natural logs of the inputs that it reads and the columns that it requires, in base units.
        basis : Array, shape (run, …), or None
            What :meth:`basis` returns.
        **parameters : Array
            Parameters by name. All shapes broadcast.

        Returns
        -------
        Array, shape (run,)
            Natural log of the loss, in nats/token.
        """


class Rows(NamedTuple):
    """Positions of runs.

    Attributes
    ----------
    inputs : ndarray, shape (row, input)
        ``ln(input / anchor)``.
    flops : ndarray, shape (row,)
        Natural log of compute in FLOP.
    group : ndarray of str, shape (row,)
        Name of the group within which errors are correlated: an IsoFLOP budget, a training curve, a batch of seeds.
    law_span : float
        For fitted runs, e-folds of compute spanned by the widest family that shares the law.
    """

    inputs: np.ndarray
    flops: np.ndarray
    group: np.ndarray
    law_span: float = 0.0

    def take(self, rows: np.ndarray) -> Rows:
        """Return the rows at some indices."""
        return Rows(self.inputs[rows], self.flops[rows], self.group[rows], self.law_span)


class AbstractDiscrepancy(Part):
    """The error of a law: standard Normal *coordinates* of a family times a *basis*.

    The basis of a run depends on its position relative to the family's fitted runs, and is data of the model. Where the
    family's log loss falls more steeply than the usual slope of 0.1, the basis is multiplied by the ratio of the two
    slopes (see :func:`bayescale.modelling.design.slope_at`).
    """

    formula = "shift"
    labels: ClassVar[tuple[str, ...]] = ()
    """Columns of text that runs must hold."""
    planar: ClassVar[bool] = False
    """Whether it needs a law of two inputs."""
    informed: ClassVar[bool]
    """Whether the fitted runs inform the parameters. If they do not, and there is one parameter in which the shift is
    linear, its prior is learned from forecasts of other families."""

    @property
    @abstractmethod
    def coordinates(self) -> Mapping[str, int]:
        """Number of coordinates of a family for each parameter that is their scale, in the order of the basis."""

    @abstractmethod
    def basis(self, at: Rows, fitted: Rows) -> np.ndarray:
        """Return the basis at some rows of a family.

        Parameters
        ----------
        at : Rows
            Positions at which the basis is computed.
        fitted : Rows
            Positions of the family's fitted runs.

        Returns
        -------
        ndarray, shape (row, width)
        """

    @abstractmethod
    def shift(self, basis: Array, coordinates: Array, **parameters: Array) -> Array:
        """Return the error of the law.

        Parameters
        ----------
        basis : Array, shape (…, width)
        coordinates : Array, shape (…, coordinate)
        **parameters : Array, shape (…)

        Returns
        -------
        Array, shape (…)
            ``ln(loss / loss by the law)``.
        """


class AbstractResponse(Part):
    """Log loss → the location of what was observed."""

    formula = "location"
    observed: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {}
    """Smallest and largest valid value of columns that it requires. Values outside raise an error."""
    of_one: ClassVar[str] = ""
    """Column of text such that the parameters describe one of its values: a midpoint belongs to one benchmark."""
    kind: ClassVar[str]
    unit: ClassVar[str]
    a_loss: ClassVar[bool] = False
    """Whether it is the loss of the law itself, in its own unit: the anchor's loss is then the median of its column."""
    falls: ClassVar[bool] = False
    """Whether lower is better, as for a Brier score; that of the kind ``log``, such as a loss, always is."""

    @abstractmethod
    def location(self, log_loss: Array, columns: Values, **parameters: Array) -> Array:
        """Return the location of what was observed.

        Parameters
        ----------
        log_loss : Array, shape (run,)
            Natural log of the loss in nats/token.
        columns : mapping of str to Array
            Columns that the response requires, each of shape (run,).
        **parameters : Array

        Returns
        -------
        Array, shape (run,)
            Log of a loss, or the probability that an item is answered correctly.
        """


class AbstractNoise(Part):
    """Location → distribution of what was observed, for responses of the same `kind`."""

    formula = "distribution"
    kind: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {}
    """As for a response."""
    basis: ClassVar[Callable[[Rows, Rows], np.ndarray] | None] = None
    """``basis(at, fitted)``, as for a discrepancy: what the noise needs to know about the position of a run. The
    formula finds it in `columns` under the name of the noise. None if it needs nothing."""

    @abstractmethod
    def distribution(self, location: Array, columns: Values, **parameters: Array) -> dist.Distribution:
        """Return the distribution of one observation per run.

        Parameters
        ----------
        location : Array, shape (run,)
        columns : mapping of str to Array
            Columns that the noise requires, and its basis under its name.
        **parameters : Array

        Returns
        -------
        Distribution
            With batch shape (run,).
        """


def log_sum(*terms: Array | float) -> Array:
    """Return ``ln(Σ exp(term))`` over terms that broadcast, without overflow."""
    total = jnp.asarray(terms[0])
    for term in terms[1:]:
        total = jnp.logaddexp(total, term)
    return total


class Families(NamedTuple):
    """Families and the lots that they are in.

    Attributes
    ----------
    size : int
        Number of families.
    lot : mapping of str to Array of int, shape (family,)
        Index of each family's lot, for each pooling that sorts families into lots.
    lots : mapping of str to int
        Number of lots of each of these poolings.
    """

    size: int
    lot: Mapping[str, Array]
    lots: Mapping[str, int]


class Role(Enum):
    """What a site of a parameter says about families."""

    VALUE = auto()
    """The parameter: one value for all families, or one for each."""
    CENTER = auto()
    """The value around which families vary."""
    SPREAD = auto()
    """The standard deviation between families, in the prior's Gaussian coordinate."""
    LOT = auto()
    """The value that families of one lot share, or around which they vary."""
    OFFSET = auto()
    """Deviation of each family from its centre, in units of the spread."""
    COORDINATE = auto()
    """What a sampler moves instead of the offset. Its prior is conditional on what the families share."""


class Site(NamedTuple):
    """A site of a model: its role, its dims other than draws, and whether its draws are kept.

    Attributes
    ----------
    name : str
    role : Role
    dims : tuple of str
        Dims of its array (see :mod:`bayescale.core.dims`); empty for a scalar.
    latent : bool
        Whether it is sampled. If not, it is computed from sites that are.
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
        """Whether its prior depends on no other site, so that the log prior of a fit includes it."""
        return self.latent and self.role is not Role.COORDINATE


class AbstractPooling(Part):
    """A way for families to share a parameter with a prior and a spread.

    It declares every site that it draws. Other modules look sites up by role; no name of a site is written outside
    the pooling that draws it.
    """

    formula = "draw"
    about: ClassVar[str]
    """Description of what families share, for a parameter whose spread is ``{spread}``."""
    lots: ClassVar[tuple[str, ...]] = ()
    """Columns of text that sort families into lots. Families with identical values in all of them are in one lot."""
    named: ClassVar[bool] = True
    """Whether runs must have these columns."""
    known: ClassVar[bool] = False
    """Whether the spread is the known standard deviation between families, not the scale of its prior."""
    together: ClassVar[bool] = True
    """Whether a family depends on every other family. If not, it depends only on those in its lot."""
    centered: ClassVar[bool] = False
    """Whether it is an :class:`AbstractCentered`, for which a sampler may choose each family's coordinate."""

    @abstractmethod
    def sites(self, name: str) -> tuple[Site, ...]:
        """Return the sites that `draw` makes for the parameter `name`.

        Parameters
        ----------
        name : str
            Name of the parameter.

        Returns
        -------
        tuple of Site
        """

    @abstractmethod
    def draw(
        self, name: str, prior: Placed, spread: Array | float, families: Families, centering: Array | float
    ) -> Array:
        """Draw the parameter.

        Parameters
        ----------
        name : str
            Name of the parameter.
        prior : Placed
            Its prior.
        spread : float or Array, shape ()
            Standard deviation between families, or the scale of its prior, in the prior's Gaussian coordinate.
        families : Families
        centering : float or Array, shape (family,)
            0 for the offset and 1 for the value as a family's coordinate; see :class:`AbstractCentered`.

        Returns
        -------
        Array
            Shape () if all families share one value, otherwise (family,).
        """

    @abstractmethod
    def extend(
        self, name: str, prior: Placed, spread: Array | float, draws: dict[str, Array], key: Array
    ) -> dict[str, Array]:
        """Return the latent sites that change when one new family, in a new lot, is added at the end.

        Parameters
        ----------
        name, prior, spread
            As for :meth:`draw`.
        draws : dict of Array, shape (draw, …)
            Draws of the latent sites.
        key : Array
            JAX random key.

        Returns
        -------
        dict of Array, shape (draw, …)
            Sites to replace in `draws`.
        """

    def site(self, name: str, role: Role) -> Site:
        """Return the one site of a parameter that has this role.

        Parameters
        ----------
        name : str
            Name of the parameter.
        role : Role

        Returns
        -------
        Site
        """
        return next(site for site in self.sites(name) if site.role is role)

    def population(self, name: str) -> Site:
        """Return the site of what families share in a parameter: their centre, or its value.

        Parameters
        ----------
        name : str
            Name of the parameter.

        Returns
        -------
        Site
        """
        by_role = {site.role: site for site in self.sites(name)}
        return by_role.get(Role.CENTER, by_role[Role.VALUE])

    def given(self, name: str, draws: Mapping[str, Array], lots: Sequence[Any]) -> dict[str, Array]:
        """Return draws of the latent sites at centering 0, from the draws that a fit keeps.

        Parameters
        ----------
        name : str
            Name of the parameter.
        draws : mapping of str to Array, shape (draw, …)
            Draws that the fit keeps.
        lots : sequence
            Lot of each family, in order.

        Returns
        -------
        dict of Array, shape (draw, …)
        """
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
    """A pooling in which families vary around a learned centre.

    A family's `centering` moves its coordinate from its offset (0, best if its own runs are uninformative) to its value
    (1, best if they are informative). The posterior is the same.
    """

    centered = True

    @abstractmethod
    def center_given(self, prior: Placed, coordinate: Array, spread: Array, centering: Array) -> tuple[Array, Array]:
        """Return the conditional mean and SD of the centre, given the families' coordinates and the spread.

        Parameters
        ----------
        prior : Placed
        coordinate : Array, shape (family,)
        spread : Array, shape ()
        centering : Array, shape (family,)

        Returns
        -------
        mean, sd : Array, shape ()
            In the prior's Gaussian coordinate.
        """

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
        """Return latent sites that keep the families' values, with the centre and the spread moved to fit them.

        Parameters
        ----------
        name, prior
            As for :meth:`draw`.
        spread : float
            Scale of the prior of the spread.
        sites : dict of Array
            Current values of the sites.
        variance : Array, shape (family,)
            Variance of each family's offset.
        centering : Array, shape (family,)
            The new centering, in which the coordinates are returned.

        Returns
        -------
        dict of Array
        """
