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

    The runs hardly tell the share from the decay of repeats. After :math:`k` counted epochs, and with
    :math:`P = s R_D^*`,

    .. math:: D' / U_\text{counted} = (P + s)\,(1 - e^{-k/P}) + O(s^2/P)

    The term of tokens in the law absorbs the first factor, and the second has only the product. The share moves the
    params for which the tokens are enough, too, where :math:`R_N^*` does nearly the same.
    """

    name = "duplicates"
    source = "errors in variables on the unique tokens of Muennighoff et al. 2023, arXiv:2305.16264"
    use = "Tokens are repeated, and how many of them are distinct is an estimate."
    avoid = (
        "There is no estimate of the share. Runs determine the products of `distinct` with `R_D` and, nearly, with "
        "`R_N`, and hardly `distinct`: 120 simulated runs of 1 to 50 epochs leave it half the width of its prior, and "
        "200 epochs do no more. Runs by the same recipe on a text without duplicates, under `repetition`, give priors "
        "of `R_D` and `R_N`; with these known, the same runs leave less than a tenth of the width."
    )
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
