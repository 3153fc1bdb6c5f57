"""Laws of a mixture of domains: the shares of the training text → the loss on one evaluation text."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import jax.numpy as jnp
from jax import Array

from bayescale.parts import shares
from bayescale.parts.base import AbstractLaw, Column, Kind, Parameter, Quantity, log_sum
from bayescale.parts.laws.additive import IRREDUCIBLE, LEVEL
from bayescale.parts.priors import LogNormal, Normal

YE = "Ye et al. 2024, arXiv:2403.16952"


class MixtureAdditive(AbstractLaw):
    r"""Loss of runs of one size over the shares of their domains, of Shukor et al. (2025).

    .. math:: L(h) = E + \frac{1}{\sum_i C_i h_i^{\gamma_i}}

    The floor `E` includes what more params and tokens would save, because all runs have as many. It is sampled as the
    loss at the mean mixture, and the part of each domain in the sum there, in units of :math:`1 / E`.
    """

    domains: tuple[str, ...] = shares.DOMAINS

    name = "mixture-additive"
    source = shares.SHUKOR
    use = "Runs of one size differ in the shares of their domains. Each evaluation text is a family."
    avoid = (
        "Runs differ in size too: use the penalty `mixture` on a law of params or tokens. Shares must add up to 1, and "
        "every query must give all of them."
    )
    runs = ("regmix", "mixtures5")
    reproduced = ""

    @property
    def inputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Columns of the shares."""
        return shares.names(self.domains)

    @property
    def columns(self) -> Mapping[str, Column]:  # type: ignore[override]
        """The shares, by column."""
        return shares.columns(self.domains)

    @property
    def parameters(self) -> Mapping[str, Parameter]:  # type: ignore[override]
        """The level, what each domain is worth, and its power."""
        return _additive(self.domains)

    @property
    def quantities(self) -> Mapping[str, Quantity]:  # type: ignore[override]
        """The coefficients of the published form."""
        worth = {
            f"C_{one}": Quantity(Kind.PUBLISHED, "token/nats · share^-gamma", f"coefficient of {one}", "log")
            for one in self.domains
        }
        gamma = {f"gamma_{one}": Quantity(Kind.PUBLISHED, "1", f"power of {one}") for one in self.domains}
        return {"E": IRREDUCIBLE, **worth, **gamma}

    def log_loss(self, *inputs: Array, **parameters: Array) -> Array:
        here = shares.weighted(inputs, self.domains, parameters, "part", "power")
        anchor = jnp.log(sum(parameters[f"part_{one}"] for one in self.domains))
        return jnp.log(parameters["level"]) + log_sum(0.0, -here) - log_sum(0.0, -anchor)

    def published(self, *anchor: Array, loss: Array, **parameters: Array) -> dict[str, Array]:
        total = sum(parameters[f"part_{one}"] for one in self.domains)
        floor = jnp.exp(loss) * parameters["level"] / (1 + 1 / total)
        found = {"E": floor}
        for one, at in zip(self.domains, anchor, strict=True):
            gamma = parameters["power"] * parameters[f"power_{one}"]
            found |= {f"C_{one}": parameters[f"part_{one}"] * jnp.exp(-gamma * at) / floor, f"gamma_{one}": gamma}
        return found


class MixtureExponential(AbstractLaw):
    r"""Loss of runs of one size over the shares of their domains, of Ye et al. (2024).

    .. math:: L(h) = c + k \exp\left(\sum_i t_i h_i\right)

    It is sampled as the loss at the mean mixture, the ratio of the second term to `c` there, and :math:`t_i` times the
    mean share of the domain. Shares add up to 1, so that adding a constant to all :math:`t_i` only changes `k`: their
    differences are informed, and the prior sets their mean.
    """

    domains: tuple[str, ...] = shares.DOMAINS

    name = "mixture-exponential"
    source = YE
    use = "Runs of one size differ in the shares of a few domains. A domain may raise the loss on the text of another."
    avoid = (
        "Many mixtures have none of a domain: `mixture-additive` follows the steep gain of a first small share, and "
        "this form does not. Runs of several sizes."
    )
    runs = ("mixtures5",)
    reproduced = ""

    @property
    def inputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Columns of the shares."""
        return shares.names(self.domains)

    @property
    def columns(self) -> Mapping[str, Column]:  # type: ignore[override]
        """The shares, by column."""
        return shares.columns(self.domains)

    @property
    def parameters(self) -> Mapping[str, Parameter]:  # type: ignore[override]
        """The level, the ratio of the two terms, and the effect of each domain."""
        return _exponential(self.domains)

    @property
    def quantities(self) -> Mapping[str, Quantity]:  # type: ignore[override]
        """The coefficients of the published form."""
        effects = {f"t_{one}": Quantity(Kind.PUBLISHED, "1/share", f"effect of {one}") for one in self.domains}
        return {"c": IRREDUCIBLE, "k": Quantity(Kind.PUBLISHED, "nats/token", "coefficient", "log"), **effects}

    def log_loss(self, *inputs: Array, **parameters: Array) -> Array:
        ratio = jnp.log(parameters["ratio"])
        moved = sum(parameters[f"effect_{one}"] * jnp.expm1(x) for one, x in zip(self.domains, inputs, strict=True))
        return jnp.log(parameters["level"]) + log_sum(0.0, ratio + moved) - log_sum(0.0, ratio)

    def published(self, *anchor: Array, loss: Array, **parameters: Array) -> dict[str, Array]:
        effects = {one: parameters[f"effect_{one}"] for one in self.domains}
        floor = jnp.exp(loss) * parameters["level"] / (1 + parameters["ratio"])
        found: dict[str, Any] = {"c": floor, "k": floor * parameters["ratio"] * jnp.exp(-sum(effects.values()))}
        return found | {f"t_{one}": effects[one] / jnp.exp(at) for one, at in zip(self.domains, anchor, strict=True)}


@cache
def _additive(domains: tuple[str, ...]) -> Mapping[str, Parameter]:
    # At the mean mixture the parts add up to about 2, so that the reducible loss is about half of the floor or less.
    part = LogNormal(1.0 / len(domains), 1.5)
    return {
        "level": LEVEL,
        "power": shares.POWER,
        **{
            f"part_{one}": Parameter(part, "1", f"part of {one} at the anchor, over E", 0.5, shares.SHUKOR, at_anchor=True)
            for one in domains
        },
        **{f"power_{one}": shares.own_power(one) for one in domains},
    }


@cache
def _exponential(domains: tuple[str, ...]) -> Mapping[str, Parameter]:
    ratio = Parameter(LogNormal(0.1, 1.0), "1", "reducible over irreducible loss, at the anchor", 0.3, at_anchor=True)
    # Published coefficients are between -20 and 5 for shares of about 0.2 and less, thus -4 to 1 at the mean share.
    effect = Normal(0.0, 1.0)
    return {
        "level": LEVEL,
        "ratio": ratio,
        **{
            f"effect_{one}": Parameter(effect, "1", f"effect of {one}, times its mean share", 0.3, YE, at_anchor=True)
            for one in domains
        },
    }
