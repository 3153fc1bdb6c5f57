"""Mixture: a law of params or tokens, and a loss that depends on the shares of the domains."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import jax.numpy as jnp
from jax import Array

from bayescale.parts import shares
from bayescale.parts.base import AbstractPenalty, Column, Parameter, Values
from bayescale.parts.priors import LogNormal


class Mixture(AbstractPenalty):
    r"""Additive law of a mixture of Shukor et al. (2025): the best mixture is the same at every size.

    .. math:: L = L_0(N, D) + \frac{1}{\sum_i C_i (K h_i)^{\gamma_i}}

    With `K` domains, :math:`C_i` is the domain's part of the sum at equal shares. In units of equal shares the parts
    and the powers are nearly independent; the published form has :math:`C_i K^{\gamma_i}`.
    """

    domains: tuple[str, ...] = shares.DOMAINS

    name = "mixture"
    source = shares.SHUKOR
    use = "Runs differ in the shares of their domains and in params or tokens. Each evaluation text is a family."
    avoid = "Runs of one size: use the law `mixture-additive`. Every query must give all shares, and they add up to 1."
    runs = ("mixtures5",)
    reproduced = ""

    @property
    def requires(self) -> tuple[str, ...]:  # type: ignore[override]
        """Columns of the shares."""
        return shares.names(self.domains)

    @property
    def columns(self) -> Mapping[str, Column]:  # type: ignore[override]
        """The shares, by column."""
        return shares.columns(self.domains)

    @property
    def parameters(self) -> Mapping[str, Parameter]:  # type: ignore[override]
        """What each domain is worth, and its power."""
        return _parameters(self.domains)

    def penalized(self, log_loss: Array, spent: Values, basis: Array | None, **parameters: Array) -> Array:
        logs = [spent[name] + jnp.log(len(self.domains)) for name in self.requires]
        total = shares.weighted(logs, self.domains, parameters, "worth", "power")
        return log_loss + jnp.log1p(jnp.exp(-log_loss - total))


@cache
def _parameters(domains: tuple[str, ...]) -> Mapping[str, Parameter]:
    # At equal shares the parts add up to about 4 per nat, so that the mixture costs about a quarter of a nat there.
    worth = LogNormal(2.0 / len(domains), 1.5)
    return {
        "power": shares.POWER,
        **{f"worth_{one}": Parameter(worth, "token/nats", f"part of {one} at equal shares", 0.5, shares.SHUKOR) for one in domains},
        **{f"power_{one}": shares.own_power(one) for one in domains},
    }
