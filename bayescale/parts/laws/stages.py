"""The law of stages: log odds of failure that fall with the log of the compute of each stage."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import jax.numpy as jnp
from jax import Array

from bayescale.parts.base import AbstractLaw, Column, Kind, Parameter, Quantity
from bayescale.parts.laws.additive import LEVEL
from bayescale.parts.priors import LogNormal

SUFFIX = "_flops"
"""End of the name of a column with the compute of a stage."""
GAIN = "gain_"
"""Start of the name of the parameter with what an e-fold of a stage gains."""


@cache
def _gains(stages: tuple[str, ...]) -> dict[str, Parameter]:
    prior, source = LogNormal(0.3, 0.8), "weak: a score rises from 20% to 80% over 1 to 15 decades of one stage"
    return {f"{GAIN}{stage}": Parameter(prior, "log odds per e-fold", f"what an e-fold of {stage} gains", 0.2, source,
                                        kind=Kind.EXPONENT) for stage in stages}  # fmt: skip


class Stages(AbstractLaw):
    r"""Product of powers of what was spent on each stage.

    .. math:: \frac{1 - p}{p} = \frac{K}{\prod_s C_s^{a_s}}

    The log odds of success rise by :math:`a_s` for an e-fold of stage `s`. The columns are ``rl_flops`` and so on, for
    the field `stages`; those of inference count the compute of one answer. An e-fold of a stage is worth
    :math:`a_s / a_t` e-folds of stage `t`, at every scale.
    """

    stages: tuple[str, ...] = ("pretraining", "rl", "inference")

    name = "stages"
    source = "Ord 2025, How well does RL scale?: scores of reasoning models over the logs of both"
    use = "Scores over the compute of several stages: exchange rates between them, and `split` of one budget over them."
    avoid = "Scores near a ceiling below 1, or a stage whose worth depends on another."
    reproduced = (
        "At half the slope, 10,000 times the compute of reinforcement learning are worth 100 times that of inference: "
        "twice the decades."
    )

    @property
    def inputs(self) -> tuple[str, ...]:
        """Columns of the compute of each stage."""
        return tuple(f"{stage}{SUFFIX}" for stage in self.stages)

    @property
    def columns(self) -> Mapping[str, Column]:
        """The compute of each stage, by column."""
        return {column: Column("FLOP", f"compute of {stage}", 1e20, 1e6, 1e32, usual=(1e18, 1e22))
                for stage, column in zip(self.stages, self.inputs, strict=True)}  # fmt: skip

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The level, and what each stage gains."""
        return {"level": LEVEL, **_gains(self.stages)}

    @property
    def quantities(self) -> Mapping[str, Quantity]:
        """What an e-fold of each stage is worth in e-folds of the last one."""
        meaning = f"e-folds of {self.stages[-1]} that one of {{}} is worth"
        return {f"worth_{stage}": Quantity(Kind.PUBLISHED, "1", meaning.format(stage), "log")
                for stage in self.stages[:-1]}  # fmt: skip

    def log_loss(self, *inputs: Array, **parameters: Array) -> Array:
        gained = [parameters[f"{GAIN}{stage}"] * x for stage, x in zip(self.stages, inputs, strict=True)]
        return jnp.log(parameters["level"]) - sum(gained[1:], gained[0])

    def published(self, *anchor: Array, loss: Array, **parameters: Array) -> dict[str, Array]:
        last = parameters[f"{GAIN}{self.stages[-1]}"]
        return {f"worth_{stage}": parameters[f"{GAIN}{stage}"] / last for stage in self.stages[:-1]}
