"""Duplicates: the distinct tokens of a family are uncertain, because near-duplicates remain."""

import jax.numpy as jnp

from bayescale.parts.base import AbstractResource, Parameter
from bayescale.parts.priors import LogitNormal
from bayescale.parts.resources.repetition import Repetition


class Duplicates(AbstractResource):
    r"""Repeated data, of which a share of the tokens that are counted as unique is distinct.

    .. math:: U = s\,U_\text{counted}

    and otherwise as `repetition`. An estimate of the share, such as that of a deduplication, is the prior of
    `distinct`: the runs correct it, and its error is part of every forecast.
    """

    name = "duplicates"
    source = "errors in variables on the unique tokens of Muennighoff et al. 2023, arXiv:2305.16264"
    use = "Tokens are repeated, and how many of them are distinct is an estimate."
    avoid = "There is no estimate: the share and the decay of repeats have similar effects, and the prior decides."
    reproduced = "No published figure; recovery from simulated runs."
    changes = Repetition.changes
    requires = Repetition.requires
    parameters = {
        **Repetition.parameters,
        "distinct": Parameter(
            LogitNormal(0.8, 0.7), "1", "share of the counted unique tokens that is distinct", 0.3, own=True
        ),
    }

    @staticmethod
    def effective(spent, balance, *, R_D, R_N, distinct):
        fewer = {**spent, "unique_tokens": spent["unique_tokens"] + jnp.log(distinct)}
        return {**Repetition.effective(fewer, balance, R_D=R_D, R_N=R_N), "unique_tokens": spent["unique_tokens"]}
