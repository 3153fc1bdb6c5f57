"""The abstract idea of a part of a model, its parameters, and the catalogue of parts.

A *part* (law, resource, response or noise) is a table of parameters and one formula over them. The
table's names must equal the formula's keyword-only arguments; that is checked when the class is
defined, so that a formula never meets a parameter by position.

Every prior is a Normal seen through a transform. This *Gaussian coordinate* is where groups are
pooled and where the sampler moves: there posteriors are near Gaussian, even for small families.
"""

from __future__ import annotations

import inspect
import math
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro import distributions as dist
from numpyro.distributions import transforms

from bayescale.errors import DefinitionError, SpecError, UnknownName, nearest
from bayescale.tails import Sinh

Values = Mapping[str, Array]

PARAMS, TOKENS = ("params", "active_params"), ("tokens",)
"""Columns of runs that count params, and those that count tokens: what may fill an input of that name."""

_Z90 = 1.6448536269514722  # standard Normal quantile of 0.95: the ends of a central 90 % interval


@dataclass(frozen=True)
class Prior(ABC):
    """A prior with a median and a scale in its Gaussian coordinate."""

    median: float
    scale: float
    support: ClassVar[str]

    def __post_init__(self) -> None:
        loc = self._inverse()
        if not (math.isfinite(loc) and math.isfinite(self.scale) and self.scale > 0):
            raise SpecError(
                f"{self!r} is no prior",
                wanted=f"a finite median {self.support} and a positive, finite scale",
            )

    @property
    def transform(self) -> transforms.Transform:
        """Bijection from the Gaussian coordinate to the parameter."""
        return self._at(self.loc, self.scale)

    @abstractmethod
    def _at(self, loc: Any, scale: Any) -> transforms.Transform:
        """Bijection from the Gaussian coordinate, where it has this location and scale."""

    @abstractmethod
    def _inverse(self) -> float:
        """Gaussian coordinate of the median; not finite if there is none."""

    @property
    def loc(self) -> float:
        """Gaussian coordinate of the median."""
        return self._inverse()

    @property
    @abstractmethod
    def standard(self) -> Prior:
        """The prior of the same kind whose Gaussian coordinate is a standard Normal."""

    def placed(self, place: tuple[Any, Any] | None = None) -> Placed:
        """Return the prior at a `place` that is data: (loc, scale) of its Gaussian coordinate; by default its own."""
        place = place or (self.loc, self.scale)
        return Placed(self._at(*place), *place)

    def distribution(self) -> dist.Distribution:
        """Return the prior as a NumPyro distribution."""
        return self.placed().distribution()

    def moved(self, loc: float, scale: float) -> Prior:
        """Return the prior with another location and scale in its Gaussian coordinate."""
        with jax.enable_x64(True):
            return replace(self, median=float(self._at(loc, scale)(jnp.asarray(loc))), scale=scale)

    def interval(self) -> tuple[float, float]:
        """Return the ends of the central 90 % interval, in the parameter's unit."""
        low, high = (float(self.transform(self.loc + sign * _Z90 * self.scale)) for sign in (-1, 1))
        return low, high


class Placed(NamedTuple):
    """A prior whose place may be an argument of a compiled program, so that one program serves every place."""

    transform: transforms.Transform
    loc: Any
    scale: Any

    def distribution(self) -> dist.Distribution:
        """Return it as a NumPyro distribution."""
        return dist.TransformedDistribution(dist.Normal(self.loc, self.scale), self.transform)


@dataclass(frozen=True)
class Normal(Prior):
    """Normal: `scale` is the standard deviation."""

    support = "on the real line"

    def _at(self, loc: Any, scale: Any) -> transforms.Transform:
        return transforms.IdentityTransform()

    @property
    def standard(self) -> Prior:
        return replace(self, median=0.0, scale=1.0)

    def _inverse(self) -> float:
        return float(self.median)


@dataclass(frozen=True)
class LogNormal(Prior):
    """Log-Normal above `above`: `scale` is the standard deviation of the logarithm, in e-folds."""

    above: float = 0.0
    support = "above its lower end"

    def _at(self, loc: Any, scale: Any) -> transforms.Transform:
        exp = transforms.ExpTransform()
        if not self.above:
            return exp
        shift = transforms.AffineTransform(self.above, 1.0, domain=dist.constraints.positive)
        return transforms.ComposeTransform([exp, shift])

    @property
    def standard(self) -> Prior:
        return replace(self, median=self.above + 1.0, scale=1.0)

    def _inverse(self) -> float:
        return math.log(self.median - self.above) if self.median > self.above else math.nan


@dataclass(frozen=True)
class LogitNormal(Prior):
    """Logit-Normal on (0, 1): `scale` is the standard deviation of the logit."""

    support = "between 0 and 1"

    def _at(self, loc: Any, scale: Any) -> transforms.Transform:
        return transforms.SigmoidTransform()

    @property
    def standard(self) -> Prior:
        return replace(self, median=0.5, scale=1.0)

    def _inverse(self) -> float:
        return math.log(self.median / (1 - self.median)) if 0 < self.median < 1 else math.nan


@dataclass(frozen=True)
class JohnsonSU(Prior):
    """Johnson's symmetric SU: Normal amid, with tails the heavier the larger `tail`.

    `scale` is the standard deviation that it has amid; with a `tail` of 1, the 90 % interval is 2.5 of it wide to
    either side, that of a Normal 1.6.
    """

    tail: float = 1.0
    support = "on the real line"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.tail) and self.tail > 0):
            raise SpecError(f"{self!r} is no prior", wanted="a positive, finite tail")

    def _at(self, loc: Any, scale: Any) -> transforms.Transform:
        return Sinh(loc, scale, self.tail)

    @property
    def standard(self) -> Prior:
        return replace(self, median=0.0, scale=1.0)

    def _inverse(self) -> float:
        return float(self.median)


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


PRIORS: dict[str, type[Prior]] = {kind.__name__: kind for kind in (Normal, LogNormal, LogitNormal, JohnsonSU)}


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
        (e-folds, for a log-Normal); see :func:`bayescale.pooling.ways.spread_prior`.
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


class Part(ABC):
    """A table of parameters and one formula over them; never instantiated."""

    name: ClassVar[str]
    source: ClassVar[str]
    parameters: ClassVar[Mapping[str, Parameter]] = {}
    formula: ClassVar[str]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        formula = getattr(cls, cls.formula)
        if getattr(formula, "__isabstractmethod__", False):
            return
        signature = inspect.signature(formula).parameters.values()
        asked = {p.name for p in signature if p.kind is p.KEYWORD_ONLY}
        if asked != set(cls.parameters):
            raise DefinitionError(
                f"{cls.__name__}.{cls.formula} and {cls.__name__}.parameters disagree",
                wanted=f"keyword-only arguments {sorted(cls.parameters)}",
                came=f"{sorted(asked)}",
                do="give every parameter of the table to the formula by keyword, and no other",
            )


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

    @staticmethod
    @abstractmethod
    def log_loss(*inputs: Array, **parameters: Array) -> Array:
        """``ln(loss / anchor loss)`` at ``ln(input / anchor)``; shapes broadcast."""

    @staticmethod
    @abstractmethod
    def published(*anchor: Array, loss: Array, **parameters: Array) -> dict[str, Array]:
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

    @staticmethod
    @abstractmethod
    def effective(spent: Values, balance: Callable[[Array], Array], **parameters: Array) -> dict[str, Array]:
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
    :func:`bayescale.modelling.slope_at`).
    """

    formula = "shift"
    coordinates: ClassVar[Mapping[str, int]] = {}
    """How many coordinates a family has, by the parameter that is their scale; in the order of the basis."""
    labels: ClassVar[tuple[str, ...]] = ()
    """Columns of text that runs must hold."""
    planar: ClassVar[bool] = False
    """Whether it needs a law of two inputs."""
    informed: ClassVar[bool]
    """Whether runs that are fitted say something of the parameters. If not, and there is one, in which the shift is
    linear, its prior is learnt from forecasts of other families."""

    @staticmethod
    @abstractmethod
    def basis(at: Rows, fitted: Rows) -> np.ndarray:
        """Basis (row, width) of rows `at`, of a family whose runs are `fitted`."""

    @staticmethod
    @abstractmethod
    def shift(basis: Array, coordinates: Array, **parameters: Array) -> Array:
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

    @staticmethod
    @abstractmethod
    def location(log_loss: Array, columns: Values, **parameters: Array) -> Array:
        """Log of a loss, or the probability that an item is answered correctly."""


class AbstractNoise(Part):
    """Location → distribution of what was observed; `kind` says of which responses."""

    formula = "distribution"
    kind: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    basis: ClassVar[Callable[[Rows, Rows], np.ndarray] | None] = None
    """``basis(at, fitted)``, as a discrepancy's: what the noise needs to know of where a run lies, which the formula
    finds in `columns` under the noise's name; None where it needs nothing."""

    @staticmethod
    @abstractmethod
    def distribution(location: Array, columns: Values, **parameters: Array) -> dist.Distribution:
        """Distribution of one observation a run."""


@cache
def catalogue(package: str) -> dict[str, Any]:
    """Classes with a `name` that the modules of `package` define, by that name.

    A new file is found by being there; nothing is registered by hand.
    """
    found: dict[str, Any] = {}
    for info in pkgutil.iter_modules(import_module(package).__path__):
        module = import_module(f"{package}.{info.name}")
        for thing in vars(module).values():
            mine = inspect.isclass(thing) and thing.__module__ == module.__name__
            if mine and "name" in vars(thing):
                if thing.name in found:
                    raise DefinitionError(f"two parts of {package} are called {thing.name!r}")
                found[thing.name] = thing
    return dict(sorted(found.items()))


def part(kind: str, name: str) -> Any:
    """Class of a part by its kind (``"laws"``, ``"noise"``, …) and name."""
    found = catalogue(f"bayescale.{kind}")
    if name not in found:
        raise UnknownName(
            f"no part of {kind} is called {name!r}",
            wanted=f"one of: {', '.join(found)}",
            came=repr(name),
            do=nearest(name, found),
        )
    return found[name]


def log_sum(*terms: Array | float) -> Array:
    """``ln(Σ exp(term))`` over terms that broadcast, without overflow."""
    total = jnp.asarray(terms[0])
    for term in terms[1:]:
        total = jnp.logaddexp(total, term)
    return total
