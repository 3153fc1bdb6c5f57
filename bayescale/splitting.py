"""Split: a family's cheaper runs, to be fitted, and its dearer ones, to be forecast."""

from __future__ import annotations

import numpy as np

from bayescale.runs import Runs

BEYOND = 1.05  # runs within 5 % of the cut are neither fitted nor forecast
FEWEST_TRAIN, FEWEST_TEST = 8, 3


def split(runs: Runs, train_quantile: float) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
    """Masks of the runs to fit and to score, and the families with too few of either."""
    train, test = np.zeros(len(runs), bool), np.zeros(len(runs), bool)
    left_out: dict[str, str] = {}
    for name in runs.families:
        mine = runs["family"] == name
        cut = np.quantile(runs["flops"][mine], train_quantile)
        below, beyond = mine & (runs["flops"] <= cut), mine & (runs["flops"] > BEYOND * cut)
        if below.sum() < FEWEST_TRAIN or beyond.sum() < FEWEST_TEST:
            left_out[name] = f"{below.sum()} runs to fit, {beyond.sum()} to score"
            continue
        train |= below
        test |= beyond
    return train, test, left_out
