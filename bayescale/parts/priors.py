"""Priors: each is a transformed Normal.

Samplers move, and families are pooled, in the *Gaussian coordinate* of a prior.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jax import Array
from numpyro import distributions as dist
from numpyro.distributions import biject_to, transforms

from bayescale.core.errors import SpecError
from bayescale.core.precision import float64

_Z90 = 1.6448536269514722  # standard Normal quantile of 0.95: the ends of a central 90% interval


@dataclass(frozen=True)
class Prior(ABC):
    """A prior with a median and a scale in its Gaussian coordinate.

    Attributes
    ----------
    median : float
        Median, in the parameter's unit.
    scale : float
        Standard deviation in the Gaussian coordinate.
    support : str
        Where the median may lie, in words.

    Raises
    ------
    SpecError
        If the median is outside the support, or the scale is not positive and finite.
    """

    median: float
    scale: float
    support: ClassVar[str]

    def __post_init__(self) -> None:
        loc = self._inverse()
        if not (math.isfinite(loc) and math.isfinite(self.scale) and self.scale > 0):
            raise SpecError(
                f"{self!r} is not a valid prior",
                expected=f"a finite median {self.support} and a positive, finite scale",
            )

    @property
    def transform(self) -> transforms.Transform:
        """Bijection from the Gaussian coordinate to the parameter."""
        return self._at(self.loc, self.scale)

    @abstractmethod
    def _at(self, loc: Any, scale: Any) -> transforms.Transform:
        """Return the bijection from a Gaussian coordinate that has this location and scale."""

    @abstractmethod
    def _inverse(self) -> float:
        """Return the Gaussian coordinate of the median; not finite if the median is outside the support."""

    @property
    def loc(self) -> float:
        """Gaussian coordinate of the median."""
        return self._inverse()

    @property
    @abstractmethod
    def standard(self) -> Prior:
        """The prior of the same kind whose Gaussian coordinate is a standard Normal."""

    def placed(self, place: tuple[Any, Any] | None = None) -> Placed:
        """Return the prior at a place that is data of a compiled program.

        Parameters
        ----------
        place : (Array, Array), optional
            Location and scale of the Gaussian coordinate; by default those of the prior.

        Returns
        -------
        Placed
        """
        place = place or (self.loc, self.scale)
        return Placed(self._at(*place), *place)

    def distribution(self) -> dist.Distribution:
        """Return the prior as a NumPyro distribution."""
        return self.placed().distribution()

    def moved(self, loc: float, scale: float) -> Prior:
        """Return the prior with this location and scale in its Gaussian coordinate."""
        with float64():
            return replace(self, median=float(self._at(loc, scale)(jnp.asarray(loc))), scale=scale)

    def interval(self) -> tuple[float, float]:
        """Return the ends of the central 90% interval, in the parameter's unit."""
        low, high = (float(self.transform(self.loc + sign * _Z90 * self.scale)) for sign in (-1, 1))
        return low, high


class Placed(NamedTuple):
    """A prior whose place may be an argument of a compiled program, so that one program serves every place.

    Attributes
    ----------
    transform : Transform
        Bijection from the Gaussian coordinate to the parameter.
    loc, scale : float or Array, shape ()
        Location and scale of the Gaussian coordinate.
    """

    transform: transforms.Transform
    loc: Any
    scale: Any

    def distribution(self) -> dist.Distribution:
        """Return the placed prior as a NumPyro distribution."""
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
    """Johnson's symmetric SU: Normal near the median, with heavier tails for a larger `tail`.

    `scale` is the standard deviation of the Normal that it follows near the median. With a `tail` of 1, the 90%
    interval extends 2.5 times `scale` to either side; that of a Normal extends 1.6 times.
    """

    tail: float = 1.0
    support = "on the real line"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.tail) and self.tail > 0):
            raise SpecError(f"{self!r} is not a valid prior", expected="a positive, finite tail")

    def _at(self, loc: Any, scale: Any) -> transforms.Transform:
        return Sinh(loc, scale, self.tail)

    @property
    def standard(self) -> Prior:
        return replace(self, median=0.0, scale=1.0)

    def _inverse(self) -> float:
        return float(self.median)


PRIORS: dict[str, type[Prior]] = {kind.__name__: kind for kind in (Normal, LogNormal, LogitNormal, JohnsonSU)}


class _Tailed(dist.constraints.Constraint):
    """The real line. Samplers reach it through the transform, because they move in its Gaussian coordinate."""

    def __init__(self, transform: transforms.Transform) -> None:
        self.transform = transform

    def __call__(self, x: Array) -> Array:
        return dist.constraints.real(x)

    def feasible_like(self, prototype: Array) -> Array:
        return jnp.zeros_like(prototype)

    def tree_flatten(self) -> tuple:
        return (self.transform,), (("transform",), {})


class Sinh(transforms.Transform):
    r"""Gaussian coordinate :math:`c` → :math:`\xi + \lambda \sinh(\tau (c - \xi) / \lambda) / \tau`.

    The location is :math:`\xi` and the scale :math:`\lambda`. A larger :math:`\tau` makes the tails heavier.
    """

    domain = dist.constraints.real
    sign = 1.0

    def __init__(self, loc: Any, scale: Any, tail: float) -> None:
        self.loc, self.scale, self.tail = loc, scale, tail

    @property
    def codomain(self) -> _Tailed:
        """The real line."""
        return _Tailed(self)

    def __call__(self, x: Array) -> Array:
        """Return the value at a Gaussian coordinate."""
        return self.loc + self.scale / self.tail * jnp.sinh(self.tail * (x - self.loc) / self.scale)

    def _inverse(self, y: Array) -> Array:
        return self.loc + self.scale / self.tail * jnp.arcsinh(self.tail * (y - self.loc) / self.scale)

    def log_abs_det_jacobian(self, x: Array, y: Array, intermediates: Any = None) -> Array:
        """Return the log of the slope at `x`."""
        stretched = self.tail * (x - self.loc) / self.scale
        return jnp.logaddexp(stretched, -stretched) - math.log(2.0)  # ln cosh, without overflow

    def tree_flatten(self) -> tuple:
        """Return the location and scale as data; the tail is part of the program."""
        return (self.loc, self.scale), (("loc", "scale"), {"tail": self.tail})


biject_to.register(_Tailed, lambda constraint: constraint.transform)


def spread_prior(spread: float) -> LogNormal:
    """Return the prior of the standard deviation between families.

    Its median is 0.67 times `spread` and its 95% quantile 1.96 times, as for a half-Normal of that scale. Unlike the
    half-Normal, its density vanishes at zero, where a small number of families would make a funnel that no sampler
    enters.

    Parameters
    ----------
    spread : float
        Scale, in the Gaussian coordinate of the parameter's prior.

    Returns
    -------
    LogNormal
    """
    median, high = 0.6745, 1.9600  # of a standard half-Normal
    return LogNormal(median * spread, math.log(high / median) / 1.6449)
