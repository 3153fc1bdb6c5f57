"""Noise on counts of tries at problems that differ in difficulty."""

import jax.numpy as jnp
from numpyro import distributions as dist

from bayescale.parts.base import AbstractNoise
from bayescale.parts.difficulty import RISE, TAIL, shapes

_EQUAL = 1e7  # concentration of items that are problems of their own: Binomial to seven digits


class Difficulty(AbstractNoise):
    r"""Beta-Binomial on tries at one problem, whose shapes follow from the share of tries that are right.

    A row with ``samples = 1`` is one problem, and its items are tries at it: their number that are right is
    Beta-Binomial with the shapes of `pass-at-k`. In a row with more samples every item is a problem of its own, and
    their number that is solved is Binomial.
    """

    name = "difficulty"
    source = "Schaeffer et al. 2025, arXiv:2502.17578: the distribution of difficulties over problems"
    use = "Counts of right tries, one problem a row, with the responses `pass-at-k`."
    avoid = "Counts over all problems together, which do not tell how problems differ: use `beta-binomial`."
    runs = ("monkeys",)
    kind = "count"
    requires = ("n_items", "samples")
    parameters = {"tail": TAIL, "rise": RISE}

    @staticmethod
    def distribution(location, columns, *, tail, rise):
        a, b = shapes(jnp.log(location) - jnp.log1p(-location), tail, rise)
        equal = jnp.where(columns["samples"] > 1, _EQUAL / (a + b), 1.0)
        return dist.BetaBinomial(a * equal, b * equal, columns["n_items"].astype(int))
