"""Backtests: scores by how far beyond the fitted runs they lie."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bayescale.backtesting import HORIZONS, SCORES, Backtest
from bayescale.scoring import scores


def test_a_run_on_the_edge_of_a_bin_is_inside_the_nearer_one() -> None:
    times = np.array([1.1, 3.0, 3.1, 10.0, 1000.0])
    runs = pd.DataFrame(dict.fromkeys(SCORES, np.arange(5.0)), index=range(5))
    runs = runs.assign(reach_decades=np.log10(times), family=["a", "b", "a", "a", "b"])
    table = Backtest(pd.DataFrame(), runs, {}, {}).horizons
    assert list(table["horizon"]) == ["up to 3×", "3-10×", "beyond 100×"]
    assert list(table["n_test"]) == [2, 2, 1]
    assert list(table["families"]) == [2, 1, 1]
    assert list(table["crps"]) == [0.5, 2.5, 4.0]
    assert set(table["horizon"]) <= set(HORIZONS)


def test_intervals_of_the_true_distribution_cover_what_they_say() -> None:
    generator = np.random.default_rng(7)
    count = 4000
    table = scores(generator.normal(size=(2000, count)), generator.normal(size=count))
    for level in (50, 80, 90):
        share = level / 100
        error = np.sqrt(share * (1 - share) / count)
        # Quantiles of 2,000 draws lose about a thousandth of the coverage that is named.
        assert table[f"coverage_{level}"].mean() == pytest.approx(share, abs=4 * error + 0.001)


def test_a_miss_costs_twenty_times_what_it_lies_outside() -> None:
    draws = np.linspace(-1, 1, 2001)[:, None].repeat(3, axis=1)
    table = scores(draws, np.array([0.0, 0.95, -1.1]))
    assert table["width_90"].to_numpy() == pytest.approx(1.8)
    assert table["interval_score_90"].to_numpy() == pytest.approx([1.8, 1.8 + 20 * 0.05, 1.8 + 20 * 0.2])


def test_the_true_distribution_has_the_best_interval_score() -> None:
    generator = np.random.default_rng(3)
    observed = generator.normal(size=3000)
    quantiles = stats.norm.ppf((np.arange(1000) + 0.5) / 1000)[:, None]
    means = {s: scores(np.repeat(s * quantiles, 3000, axis=1), observed)["interval_score_90"] for s in (0.7, 1.0, 1.4)}
    for wrong in (0.7, 1.4):
        gap = means[wrong] - means[1.0]
        assert gap.mean() > 3 * gap.std() / np.sqrt(len(gap))
