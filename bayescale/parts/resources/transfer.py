"""Transfer: a run that starts from a pretrained model has seen more tokens than it was trained on."""

import jax.numpy as jnp
import numpy as np

from bayescale.parts.base import TOKENS, AbstractResource, Column, Kind, Parameter
from bayescale.parts.priors import LogNormal

HERNANDEZ = "Hernandez et al. 2021, arXiv:2102.01293"
_AT = np.log(1e8)  # params, and tokens of the new task, at which the worth of a pretrained start is given
_NONE = 1e-9  # offset of the column: zero is a start from scratch


class Transfer(AbstractResource):
    r"""Effective tokens of fine-tuning, by Hernandez et al. (2021).

    .. math:: D' = D + D_T,\quad D_T = k\, D^{a} N^{b}

    Rows with ``pretrained = 0`` are controls from scratch, for which :math:`D_T = 0`; they identify the base law. The
    coefficient `k` depends on units, so that :math:`D_T / D` at 100M params and 100M tokens is the parameter.
    """

    name = "transfer"
    source = HERNANDEZ
    use = (
        "Models are fine-tuned on few tokens, and controls are trained on them from scratch. With `repetition`, name "
        "that first: it counts tokens of the new task."
    )
    avoid = "The tokens of the new task are more than a tenth of those of the pretraining: a start may then be harmful."
    reproduced = "Ten times the params are worth 129 times the tokens of the new task, from the published exponents."
    changes = {"tokens": TOKENS}
    requires = ("params", "pretrained")
    balanced = False
    columns = {
        "pretrained": Column("share", "1 for a pretrained start, 0 for a start from scratch", default=1.0, low=0.0,
                             high=1.0, offset=_NONE)
    }  # fmt: skip
    parameters = {
        "transferred": Parameter(LogNormal(6.0, 2.0), "1", "tokens that a start is worth, per token trained", 0.3,
                                 HERNANDEZ + ", text to Python: 5.7 in characters"),
        "transfer_tokens": Parameter(LogNormal(0.15, 0.5), "1", "exponent of tokens in what is transferred", 0.1,
                                     HERNANDEZ + ": 0.18, mixture 0.096", kind=Kind.EXPONENT),
        "transfer_params": Parameter(LogNormal(0.38, 0.3), "1", "exponent of params in what is transferred", 0.1,
                                     HERNANDEZ + ": 0.38", kind=Kind.EXPONENT),
    }  # fmt: skip

    @staticmethod
    def effective(spent, balance, *, transferred, transfer_tokens, transfer_params):
        grown = (transfer_tokens - 1) * (spent["tokens"] - _AT) + transfer_params * (spent["params"] - _AT)
        worth = jnp.log(transferred) + grown + spent["pretrained"]
        return {**spent, "tokens": spent["tokens"] + jnp.logaddexp(0.0, worth)}
