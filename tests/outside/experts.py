"""Parts of somebody's own, outside the package: a law with a new column, a resource, a discrepancy."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from bayescale.parts.base import (
    AbstractDiscrepancy,
    AbstractLaw,
    AbstractResource,
    Column,
    Kind,
    Parameter,
    Quantity,
    log_sum,
)
from bayescale.parts.laws.additive import ALPHA_N, BETA_D, IRREDUCIBLE, LEVEL, RATIO_A, RATIO_B
from bayescale.parts.priors import LogNormal


class Routed(AbstractLaw):
    r"""Additive law in which experts are worth params.

    .. math:: L(N, D, X) = E + A (N X^g)^{-\alpha} + B D^{-\beta}
    """

    name = "routed"
    source = "a test of this project"
    inputs = ("params", "tokens", "experts")
    columns = {"experts": Column("count", "experts of each layer", default=1.0, low=1.0, high=4096.0)}
    parameters = {
        "level": LEVEL,
        "ratio_A": RATIO_A,
        "ratio_B": RATIO_B,
        "alpha_N": ALPHA_N,
        "beta_D": BETA_D,
        "worth": Parameter(
            LogNormal(0.4, 0.4), "e-folds of params per e-fold of experts", "what experts are worth", 0.1
        ),
    }
    quantities = {
        "E": IRREDUCIBLE,
        "A": Quantity(Kind.PUBLISHED, "nats/token · params^alpha_N", "coefficient of the params term", "log"),
    }

    @staticmethod
    def log_loss(params, tokens, experts, *, level, ratio_A, ratio_B, alpha_N, beta_D, worth):
        a, b = jnp.log(ratio_A), jnp.log(ratio_B)
        terms = log_sum(0.0, a - alpha_N * (params + worth * experts), b - beta_D * tokens)
        return jnp.log(level) + terms - log_sum(0.0, a, b)

    @staticmethod
    def published(params, tokens, experts, *, loss, level, ratio_A, ratio_B, alpha_N, beta_D, worth):
        E = jnp.exp(loss) * level / (1 + ratio_A + ratio_B)
        return {"E": E, "A": E * ratio_A * jnp.exp(alpha_N * (params + worth * experts))}


class Curriculum(AbstractResource):
    """Tokens of a run with a curriculum are worth more, by a factor."""

    name = "curriculum"
    source = "a test of this project"
    changes = {"tokens": ("tokens",)}
    requires = ("stages",)
    balanced = False
    columns = {"stages": Column("count", "stages of the curriculum", default=1.0, low=1.0, high=16.0)}
    parameters = {"gain": Parameter(LogNormal(0.1, 0.5), "e-folds per e-fold", "worth of a stage", 0.1)}

    @staticmethod
    def effective(spent, balance, *, gain):
        return {**spent, "tokens": spent["tokens"] + gain * spent["stages"]}


class Bump(AbstractDiscrepancy):
    """One error of a family, the larger the more tokens."""

    name = "bump"
    source = "a test of this project"
    informed = True
    coordinates = {"bump": 1}
    parameters = {"bump": Parameter(LogNormal(0.002, 0.1), "log loss per e-fold", "size of the error", 0.1)}

    @staticmethod
    def basis(at, fitted):
        return np.asarray(at.inputs[:, 1:2])

    @staticmethod
    def shift(basis, coordinates, *, bump):
        return bump * jnp.sum(basis * coordinates, axis=-1)
