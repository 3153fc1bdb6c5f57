"""Approaches 1 and 2 of Hoffmann et al. 2022: what they read off runs, and how far that is from the optimum."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.core.errors import RunsError

E, A, B = 1.8, 480.0, 2100.0
BUDGETS = np.geomspace(1e18, 1e22, 5)


def optimum(flops: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    G = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    return G * (flops / 6) ** (beta / (alpha + beta))


def isoflop(alpha: float, beta: float, *, width: float, off: np.ndarray | float = 0.0, sizes: int = 9) -> bs.Runs:
    """Runs without noise at five budgets: sizes from 1/width to width times the optimum, moved by e-folds `off`."""
    middles = np.log(optimum(BUDGETS, alpha, beta)) + off
    ln_n = middles[:, None] + np.linspace(-1, 1, sizes) * np.log(width)
    params, flops = np.exp(ln_n).ravel(), np.repeat(BUDGETS, sizes)
    tokens = flops / (6 * params)
    loss = E + A * params**-alpha + B * tokens**-beta
    return bs.load_runs(pd.DataFrame({"params": params, "tokens": tokens, "flops": flops, "loss": loss}),
                        loss_unit="nats")  # fmt: skip


def bias(runs: bs.Runs, alpha: float, beta: float) -> np.ndarray:
    """Log of the parabolas' params over the optimal ones, at each budget."""
    points = bs.isoflop_minima(runs).points.sort_values("flops")
    return np.log(points["params"].to_numpy() / optimum(BUDGETS, alpha, beta))


def test_parabolas_are_exact_where_nothing_is_skew() -> None:
    """Equal exponents and sizes around the optimum: each curve is symmetric."""
    found = bs.isoflop_minima(isoflop(0.35, 0.35, width=4))
    assert found.exponent == pytest.approx(0.5, abs=1e-9)
    np.testing.assert_allclose(bias(isoflop(0.35, 0.35, width=4), 0.35, 0.35), 0.0, atol=1e-9)
    assert found.left_out == 0


def test_unequal_exponents_bias_parabolas_without_noise_and_more_so_a_wide_grid() -> None:
    """2603.22339: the level is wrong at every budget, by an amount that grows with the range of sizes."""
    wrong = [bias(isoflop(0.5, 0.25, width=width), 0.5, 0.25) for width in (2.0, 4.0, 16.0)]
    sizes = [np.abs(each).mean() for each in wrong]
    assert sizes[0] < sizes[1] < sizes[2]
    assert sizes[0] > 0.005
    assert sizes[2] > 0.2
    assert all(np.ptp(each) < 1e-6 for each in wrong)  # the same at each budget, so that the exponent is right
    assert bs.isoflop_minima(isoflop(0.5, 0.25, width=16)).exponent == pytest.approx(0.25 / 0.75, abs=1e-6)


def test_sizes_off_the_optimum_bias_the_exponent_without_noise() -> None:
    """2603.22339: a design that drifts away from the optimum, as one of a fixed range of sizes does."""
    drifting = isoflop(0.35, 0.35, width=4, off=np.linspace(-1.0, 1.0, len(BUDGETS)))
    assert 0.004 < bs.isoflop_minima(drifting).exponent - 0.5 < 0.01
    assert np.ptp(bias(drifting, 0.35, 0.35)) > 0.04
    assert abs(bs.isoflop_minima(isoflop(0.35, 0.35, width=4)).exponent - 0.5) < 1e-9


def test_a_budget_without_a_minimum_is_left_out_and_counted() -> None:
    far = isoflop(0.35, 0.35, width=2, off=np.array([0.0, 0.0, 0.0, 0.0, 3.0]))
    found = bs.isoflop_minima(far)
    assert (len(found.points), found.left_out) == (4, 1)
    assert found.params_at(1e20) == pytest.approx(optimum(np.array([1e20]), 0.35, 0.35)[0], rel=1e-6)


def test_the_envelope_is_of_runs_that_no_run_of_less_compute_beats() -> None:
    frame = pd.DataFrame(
        {"params": [1e8, 2e8, 3e8, 4e8], "flops": [1e18, 2e18, 3e18, 4e18], "loss": [3, 2.8, 2.9, 2.7]}
    )
    runs = bs.load_runs(frame.assign(tokens=frame["flops"] / (6 * frame["params"])), loss_unit="nats")
    found = bs.lower_envelope(runs)
    assert found.points["params"].tolist() == [1e8, 2e8, 4e8]
    assert found.exponent == pytest.approx(1.0)
    assert found.params_at(8e18) == pytest.approx(8e8)


def test_on_a_coarse_grid_the_envelope_has_only_the_sizes_that_were_trained() -> None:
    params, flops = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e10, 4), np.geomspace(1e18, 1e22, 41)))
    tokens = flops / (6 * params)
    loss = E + A * params**-0.35 + B * tokens**-0.35
    runs = bs.load_runs(pd.DataFrame({"params": params, "tokens": tokens, "flops": flops, "loss": loss}),
                        loss_unit="nats")  # fmt: skip
    found = bs.lower_envelope(runs)
    wrong = np.log(found.points["params"] / optimum(found.points["flops"].to_numpy(), 0.35, 0.35))
    assert set(found.points["params"].round()) <= set(params.round())
    assert 0.5 < wrong.abs().max() < np.log(10)


def test_hoffmann_2022_approaches_1_and_2_on_the_shipped_runs() -> None:
    """Published: 0.50 and 0.49, from whole training curves; these are the points of the paper's figure."""
    runs = bs.load_runs("hoffmann2022")
    assert bs.lower_envelope(runs).exponent == pytest.approx(0.50, abs=0.01)
    found = bs.isoflop_minima(runs)
    assert found.exponent == pytest.approx(0.49, abs=0.01)
    assert (len(found.points), found.left_out) == (8, 1)


def test_what_shows_no_optimum_is_an_error(pool: bs.Runs) -> None:
    with pytest.raises(RunsError, match="an optimum belongs to one family"):
        bs.lower_envelope(pool)
    few = bs.load_runs("hoffmann2022").where(group="1e+20")
    with pytest.raises(RunsError, match="IsoFLOP parabolas need at least 2 optima"):
        bs.isoflop_minima(few)


@pytest.fixture
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def test_the_figure_overlays_both_on_the_posterior(chinchilla_fit: bs.Fit, trio_fit: bs.Fit, closed: None) -> None:
    ax = bs.plots.plot_approaches(chinchilla_fit)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[0].startswith("3: the law, exponent 0.")
    found = bs.lower_envelope(bs.load_runs("hoffmann2022"))
    assert f"1: envelope, exponent {found.exponent:.2f}" in labels
    assert any(label.startswith("2: parabolas, exponent") for label in labels)
    assert "biased" in ax.get_title()
    middle = ax.lines[0]
    median = bs.frontier(chinchilla_fit, middle.get_xdata()).draws["params"].quantile(0.5, "draw")
    np.testing.assert_allclose(middle.get_ydata(), median)
    few = bs.plots.plot_approaches(trio_fit, family="OpenLM-C4")  # at one ratio of tokens to params: no budgets
    assert any("the runs show none" in text.get_text() for text in few.get_legend().get_texts())
