"""Units of loss: conversion to nats per token, and a test whether losses without a stated unit can be nats.

This module has no slow import, because the command line lists the units before it reads a table.
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

# In 100 public tables, each with one recipe and evaluation text, the smallest ratio of a run's loss to the typical law
# is 0.3 to 1.2 (0.9 to 1.1 in the built-in tables). A perplexity is at least e times its own logarithm.
_TOO_HIGH = 2.0

# Bits are 1.44 nats. In nats, no public table has a smallest ratio above 1.2; in bits, a table of web text has 1.27 or
# more, if in nats it has at least 0.88.
_IN_BITS = 1.22

# One byte of web text has about a fourth of a token's bits: bits per byte are 0.3 to 0.4 of nats per token. Losses of
# code are as low as 0.43 of the typical law's in a built-in table.
_IN_BYTES = 0.42


class LossUnit(NamedTuple):
    """A unit of loss.

    Attributes
    ----------
    words : str
        Name of the unit in a card.
    above : float
        Lower bound of every loss in this unit.
    nats, slope : callable
        The loss in nats/token as a function of the loss in this unit, and the derivative of that function; in nats/byte
        if the unit is one of bytes.
    per_byte : bool
        Whether the unit is one of bytes. A loss per token is larger by the number of bytes in a token.
    """

    words: str
    above: float
    nats: Callable[[float], float]
    slope: Callable[[float], float]
    per_byte: bool = False


LOSS_UNITS = {
    "nats": LossUnit("nats/token", 0.0, lambda x: x, lambda x: 1.0),
    "bits": LossUnit("bits/token", 0.0, lambda x: x * _LN2, lambda x: _LN2),
    "perplexity": LossUnit("perplexity", 1.0, math.log, lambda x: 1 / x),
    "bits-per-byte": LossUnit("bits/byte", 0.0, lambda x: x * _LN2, lambda x: _LN2, per_byte=True),
}
"""Units of loss by the name that `load_runs` and ``--loss-unit`` accept."""


def typical_loss(params: pd.Series, tokens: pd.Series) -> pd.Series:
    """Return the loss of a typical model of web text under the Chinchilla law.

    Parameters
    ----------
    params, tokens : Series, shape (run,)
        Counts.

    Returns
    -------
    Series, shape (run,)
        Loss in nats/token.
    """
    E, A, alpha, B, beta = _TYPICAL
    return E + A / params**alpha + B / tokens**beta


def excess(frame: pd.DataFrame) -> float:
    """Return the smallest ratio of a run's loss to the :func:`typical_loss`.

    It is the smallest ratio because a failed run may have a loss that is many times the typical one, while no run has
    a much smaller loss.

    Parameters
    ----------
    frame : DataFrame
        With ``params``, ``tokens`` and ``loss``, which is taken as nats/token.

    Returns
    -------
    float
    """
    return float((frame["loss"] / typical_loss(frame["params"], frame["tokens"])).min())


def too_high(ratio: float) -> bool:
    """Whether the :func:`excess` of losses is too high for nats/token, as it is for perplexities of web text.

    Perplexities of text that is much easier to predict, such as code or arithmetic, are not recognized: they lie in the
    range of losses in nats.
    """
    return ratio > _TOO_HIGH


def in_bits(ratio: float) -> bool:
    """Whether the :func:`excess` of losses is as high as for bits per token."""
    return _IN_BITS < ratio <= _TOO_HIGH


def in_bytes(frame: pd.DataFrame) -> bool:
    """Whether every loss is as low as for bits per byte of web text.

    Parameters
    ----------
    frame : DataFrame
        With ``params``, ``tokens`` and ``loss``, which is taken as nats/token.

    Returns
    -------
    bool
    """
    return bool((frame["loss"] / typical_loss(frame["params"], frame["tokens"]) < _IN_BYTES).all())
