"""Units of loss: how losses become nats per token, and whether losses without a stated unit can be nats.

No heavy import: the command line lists the units before it reads a table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

_LN2 = math.log(2)

# E, A, alpha, B, beta of Chinchilla's law as refitted by Besiroglu et al. 2024, arXiv:2404.10102; nats/token.
_TYPICAL = (1.8172, 482.01, 0.3478, 2085.43, 0.3658)

# The smallest ratio of a run's loss to the typical law, in each of 100 public tables of one recipe and evaluation text
# each, is 0.3 to 1.2 (0.9 to 1.1 in the shipped ones). A perplexity exceeds its own logarithm at least e-fold.
_TOO_HIGH = 2.0


class LossUnit(NamedTuple):
    """A unit of loss: its name in a card, what every loss is above, the loss in nats/token and that one's slope."""

    words: str
    above: float
    nats: Callable[[float], float]
    slope: Callable[[float], float]


LOSS_UNITS = {
    "nats": LossUnit("nats/token", 0.0, lambda x: x, lambda x: 1.0),
    "bits": LossUnit("bits/token", 0.0, lambda x: x * _LN2, lambda x: _LN2),
    "perplexity": LossUnit("perplexity", 1.0, math.log, lambda x: 1 / x),
}
"""Units that a table's losses may be in, by the name that `load_runs` and ``--loss-unit`` take."""


def typical_loss(params: pd.Series, tokens: pd.Series) -> pd.Series:
    """Loss in nats/token of a usual model of web text, by Chinchilla's law."""
    E, A, alpha, B, beta = _TYPICAL
    return E + A / params**alpha + B / tokens**beta


def excess(frame: pd.DataFrame) -> float:
    """Smallest ratio of a run's loss, taken as nats/token, to the :func:`typical_loss`.

    The smallest one, because a failed run may lose many times more than usual, and none loses much less.
    """
    return float((frame["loss"] / typical_loss(frame["params"], frame["tokens"])).min())


def too_high(ratio: float) -> bool:
    """Whether losses are too high for nats/token, by their :func:`excess`; perplexities of web text are.

    Perplexities of text that is far easier to predict (code, arithmetic) are not: they are in the range of nats.
    """
    return ratio > _TOO_HIGH
