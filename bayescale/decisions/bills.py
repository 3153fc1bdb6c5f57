"""Bills: what the actions of any decision cost on given hardware, in accelerator-hours, days and dollars."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bayescale.core.quantities import count
from bayescale.decisions.costs import Rates
from bayescale.decisions.hardware import Hardware, hardware
from bayescale.decisions.words import DOLLARS

SEED = 0
"""Of the draws of a card's figures: every decision on a card has the same ones."""
_WEIGHT_BYTES = 2.0  # of a param in bf16
_OF_TRAINING = ("price", "utilisation", "overhead")
_LEVELS = (0.05, 0.5, 0.95)


def card_of(decision: Any) -> Hardware | None:
    """Return the card of a decision's hardware; None if it has none.

    Parameters
    ----------
    decision : AbstractDecision

    Returns
    -------
    Hardware or None
    """
    source = getattr(decision, "hardware", None)
    return hardware(source) if source else None


def unit_of(hardware: str | None) -> str:
    """Return the unit of costs: dollars with hardware, otherwise FLOP.

    Parameters
    ----------
    hardware : str or None

    Returns
    -------
    str
    """
    return DOLLARS if hardware else "FLOP"


def flop_price(card: Hardware | None, draws: int) -> np.ndarray:
    """Return draws of the cost of a FLOP in training.

    Parameters
    ----------
    card : Hardware or None
    draws : int

    Returns
    -------
    ndarray, shape (draw,)
        In dollars; 1 FLOP without hardware.

    Raises
    ------
    QueryError
        If the hardware has no price.
    """
    return card.drawn(draws, SEED).dollars(1.0)[:, 0] if card else np.ones(draws)


def billed(actions: pd.DataFrame, card: Hardware | None, draws: int) -> pd.DataFrame:
    """Add what the actions need, so that limits can bound it.

    Parameters
    ----------
    actions : DataFrame
        With ``flops`` where an action is training.
    card : Hardware or None
    draws : int
        Number of draws of the card's figures.

    Returns
    -------
    DataFrame
        The actions, with ``weights_gb`` (of the params in bf16), and with hardware the means over draws of
        ``accelerator_hours``, ``days`` and ``dollars``, each if the card knows it.
    """
    found: dict[str, Any] = {}
    if "params" in actions:
        found["weights_gb"] = actions["params"].to_numpy(float) * _WEIGHT_BYTES / 1e9
    if card is not None and "flops" in actions:
        flops = actions["flops"].to_numpy(float)
        per_flop = {name: float(draw.mean()) for name, draw in _costs(card.drawn(draws, SEED), 1.0).items()}
        found |= {name: flops * mean for name, mean in per_flop.items()}
    return actions.assign(**{name: x for name, x in found.items() if name not in actions})


def bill(card: Hardware, flops: Any, draws: int) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    """Return what training FLOP cost, in words and as figures.

    Parameters
    ----------
    card : Hardware
    flops : float or ndarray, shape (draw,)
    draws : int

    Returns
    -------
    lines : list of (str, str)
        Label and sentence; dollars come with the price, its interval and its date.
    figures : dict
        Quantiles over draws of ``accelerator_hours``, ``days`` and ``dollars``, the mean of ``dollars``, and the card.
    """
    spent = np.asarray(flops, float).reshape(-1, 1)
    costs = {name: draw.ravel() for name, draw in _costs(card.drawn(draws, SEED), spent).items()}
    levels = {name: dict(zip(("q05", "q50", "q95"), np.quantile(x, _LEVELS).tolist(), strict=True))
              for name, x in costs.items()}  # fmt: skip
    hours = f"{_range(levels['accelerator_hours'])} {card.accelerator} hours in {card.precision}"
    days = f", {_range(levels['days'])} days" if "days" in levels else ""
    lines = [("cost", card.priced(costs["dollars"]))] if "dollars" in costs else []
    if "dollars" in costs:  # a share of an uncertain bill is worth that share of its mean
        levels["dollars"]["mean"] = float(costs["dollars"].mean())
    about = {name: {"value": str(one.amount), "as_of": str(one.as_of or ""), "source": one.source}
             for name, one in card.figures.items()}  # fmt: skip
    return [*lines, ("hardware", hours + days)], {**levels, "hardware": {"accelerator": card.accelerator, **about}}


def uncertain(card: Hardware, draws: int) -> dict[str, np.ndarray]:
    """Return the draws of a card's figures that are distributions and that training depends on.

    Parameters
    ----------
    card : Hardware
    draws : int

    Returns
    -------
    dict of ndarray, shape (draw,)
        By the name of the figure.
    """
    rates = card.drawn(draws, SEED)
    return {name: getattr(rates, name).ravel() for name in _OF_TRAINING
            if name in card.figures and not card.figures[name].amount.fixed}  # fmt: skip


def _costs(rates: Rates, flops: Any) -> dict[str, np.ndarray]:
    found = {"accelerator_hours": rates.accelerator_hours(flops)}
    if rates.price is not None:
        found["dollars"] = rates.dollars(flops)
    if rates.count is not None:
        found["days"] = rates.days(flops)
    return found


def _range(levels: dict[str, float]) -> str:
    low, middle, high = (count(levels[name]) for name in ("q05", "q50", "q95"))
    return middle if low == high else f"{middle} ({low} to {high})"
