"""The law of labelled examples and params: log odds of failure over the logs of both, and their exchange rate."""

import jax.numpy as jnp

from bayescale.parts.base import AbstractLaw, Column, Kind, Parameter, Quantity
from bayescale.parts.laws.additive import LEVEL
from bayescale.parts.priors import LogNormal, Normal

KIRSTAIN = "Kirstain et al. 2022, arXiv:2110.04374"


class Labels(AbstractLaw):
    r"""Scores of fine-tuned models over params and labelled examples.

    .. math:: \ln \frac{p}{1 - p} = a + b_N \ln N + b_n \ln n + b_{Nn} \ln N \ln n

    with logs relative to the anchor. There an e-fold of examples is worth :math:`b_n / b_N` e-folds of params. Whether
    this rate rises or falls with size is the sign of :math:`b_{Nn}`.
    """

    name = "labels"
    source = KIRSTAIN + ", for the question; the form: ours"
    use = "Scores over sizes of a model and numbers of labelled examples: to label more, or to take a larger model."
    avoid = "Scores near a ceiling below 1, or less than a decade of either."
    reproduced = "No published figure; from simulated runs, the exchange rate of examples and params."
    inputs = ("params", "labelled_examples")
    columns = {"labelled_examples": Column("count", "labelled examples", 1e3, 1.0, 1e9, usual=(32.0, 1e5))}
    parameters = {
        "level": LEVEL,
        "gain_N": Parameter(
            LogNormal(0.3, 0.8), "log odds per e-fold", "what an e-fold of params gains at the anchor", 0.2, "weak",
            kind=Kind.EXPONENT,
        ),
        "gain_n": Parameter(
            LogNormal(0.3, 0.8), "log odds per e-fold", "what an e-fold of examples gains at the anchor", 0.2, "weak",
            kind=Kind.EXPONENT,
        ),
        "joint": Parameter(
            Normal(0.0, 0.03), "log odds per e-fold of each", "how the gain of one changes with the other", 0.02,
            "weak: over four e-folds a gain of 0.3 changes by up to 0.2",
        ),
    }  # fmt: skip
    quantities = {
        "worth_n": Quantity(
            Kind.PUBLISHED, "1", "e-folds of params that one of examples is worth, at the anchor", "log"
        )
    }

    @staticmethod
    def log_loss(params, examples, *, level, gain_N, gain_n, joint):
        return jnp.log(level) - gain_N * params - gain_n * examples - joint * params * examples

    @staticmethod
    def published(params, examples, *, loss, level, gain_N, gain_n, joint):
        return {"worth_n": gain_n / gain_N}
