"""Noise on counts of correct answers: Binomial, Beta-Binomial."""

from numpyro import distributions as dist

from bayescale.parts.base import AbstractNoise, Parameter
from bayescale.parts.priors import LogNormal


class Binomial(AbstractNoise):
    """Independent items, each correct with the same probability."""

    name = "binomial"
    source = "sampling of items only"
    kind = "count"

    @staticmethod
    def distribution(location, columns):
        return dist.BinomialProbs(location, total_count=_items(columns))


class BetaBinomial(AbstractNoise):
    """Binomial whose probability varies between runs: runs of equal loss differ in accuracy."""

    name = "beta-binomial"
    source = "over-dispersion of benchmark scores"
    runs = ("gadre2024",)
    kind = "count"
    parameters = {
        "concentration": Parameter(LogNormal(200.0, 1.0), "items", "larger is closer to Binomial", spread=0.5),
    }

    @staticmethod
    def distribution(location, columns, *, concentration):
        return dist.BetaBinomial(location * concentration, (1 - location) * concentration, _items(columns))


def _items(columns):
    return columns["n_items"].astype(int)
