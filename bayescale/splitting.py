"""Split: a family's cheaper runs, to be fitted, and its dearer ones, to be forecast."""

from __future__ import annotations

import numpy as np

from bayescale.runs import Runs

BEYOND = 1.05  # runs within 5 % of the cut are neither fitted nor forecast
FEWEST_TRAIN, FEWEST_TEST = 8, 3


def split(
    runs: Runs, train_quantile: float, *, cheapest: int | None = None, beyond: float = BEYOND
) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
    """Masks of the runs to fit and to score, and the families with too few of either.

    Fitted are a family's runs up to a quantile of its compute, or so many of its `cheapest`; scored are
    those above `beyond` times the largest compute that is fitted.
    """
    train, test = np.zeros(len(runs), bool), np.zeros(len(runs), bool)
    left_out: dict[str, str] = {}
    for name in runs.families:
        mine = runs["family"] == name
        if cheapest is None:
            cut = np.quantile(runs["flops"][mine], train_quantile)
            below, fewest = mine & (runs["flops"] <= cut), FEWEST_TRAIN
        else:
            first = np.flatnonzero(mine)[np.argsort(runs["flops"][mine], kind="stable")[:cheapest]]
            below, fewest = np.isin(np.arange(len(runs)), first), cheapest
            cut = runs["flops"][below].max()
        dearer = mine & (runs["flops"] > beyond * cut)
        if below.sum() < fewest or dearer.sum() < FEWEST_TEST:
            left_out[name] = f"{below.sum()} runs to fit, {dearer.sum()} to score"
            continue
        train |= below
        test |= dearer
    return train, test, left_out
