"""Tails: the transform that makes a Gaussian coordinate heavy-tailed, and lets samplers move in the coordinate."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
from jax import Array
from numpyro import distributions as dist
from numpyro.distributions import biject_to, transforms


class _Tailed(dist.constraints.Constraint):
    """The real line, to which samplers go by the transform, for they move in its Gaussian coordinate."""

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

    At place :math:`\xi` with scale :math:`\lambda`; the tails are the heavier the larger :math:`\tau`.
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
        """Value at a Gaussian coordinate."""
        return self.loc + self.scale / self.tail * jnp.sinh(self.tail * (x - self.loc) / self.scale)

    def _inverse(self, y: Array) -> Array:
        return self.loc + self.scale / self.tail * jnp.arcsinh(self.tail * (y - self.loc) / self.scale)

    def log_abs_det_jacobian(self, x: Array, y: Array, intermediates: Any = None) -> Array:
        """Log of the slope at `x`."""
        stretched = self.tail * (x - self.loc) / self.scale
        return jnp.logaddexp(stretched, -stretched) - math.log(2.0)  # ln cosh, without overflow

    def tree_flatten(self) -> tuple:
        """Place and scale as data; the tail is part of the program."""
        return (self.loc, self.scale), (("loc", "scale"), {"tail": self.tail})


biject_to.register(_Tailed, lambda constraint: constraint.transform)
