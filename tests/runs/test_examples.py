"""Tables that count examples seen: no params, tokens, FLOP or loss is needed to fit a law of an error rate."""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.core.errors import QueryError, RunsError
from bayescale.modelling.design import design
from bayescale.parts.laws.plateau import Plateau
from bayescale.prediction.extrapolation import reach_words
from bayescale.runs.splits import cut

TRUTH = {"level": 1.0, "ratio_X": 1.5, "plateau": 2.4, "shape": 0.5, "exponent": 0.4}
NOISE = 0.005


def curve(points: int = 40) -> pd.DataFrame:
    """A learning curve of the plateau law over three decades of examples, between errors of 0.96 and 0.16."""
    examples = np.geomspace(1e6, 1e9, points)
    x = np.log(examples) - np.log(examples).mean()
    with jax.enable_x64(True):
        log_error = np.asarray(Plateau.log_loss(x, **TRUTH)) + np.log(0.4)
    noise = NOISE * np.random.default_rng(0).normal(size=points)
    return pd.DataFrame({"examples": examples, "error_rate": np.exp(log_error + noise)})


@pytest.fixture(scope="module")
def fit() -> bs.Fit:
    return bs.fit(bs.load_runs(curve(), name="curve"), "error-floor", seed=0)


def test_a_table_of_examples_and_error_rates_alone_is_a_table_of_runs() -> None:
    runs = bs.load_runs(curve(), name="curve")
    assert not {"params", "tokens", "flops"} & set(runs.frame)
    np.testing.assert_array_equal(runs.size, runs["examples"])
    assert repr(runs) == "Runs('curve': 40 runs, 1 family, examples 1.00M-1.00B)"


def test_the_size_of_a_run_is_its_compute_where_a_table_counts_both(chinchilla: bs.Runs) -> None:
    both = bs.load_runs(chinchilla.frame.assign(examples=1e9), loss_unit="nats")
    np.testing.assert_array_equal(both.size, both["flops"])


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"error_rate": 25.0}, "error_rate: expected a share of at most 1, got 25; write 25% as 0.25"),
        ({"error_rate": 0.0}, "error_rate: expected a positive number, got 0"),
        ({"examples": -1.0}, "examples: expected a positive number, got -1"),
    ],
)
def test_an_error_rate_or_a_count_of_examples_that_cannot_be_is_refused(change: dict, wanted: str) -> None:
    with pytest.raises(RunsError, match=wanted):
        bs.load_runs(curve().assign(**change))


def test_the_unit_of_the_law_is_the_median_error_rate(fit: bs.Fit) -> None:
    assert fit.meta["anchor"]["loss"] == pytest.approx(np.median(curve()["error_rate"]))
    assert fit.meta["anchor"]["examples"] == pytest.approx(np.sqrt(1e6 * 1e9))


def test_the_reach_of_a_forecast_is_in_examples(fit: bs.Fit) -> None:
    forecast = bs.forecast(fit, examples=[1e8, 1e10])
    np.testing.assert_allclose(forecast.table["reach_decades"], [0.0, 1.0], atol=1e-9)
    assert reach_words(fit, forecast.table) == "up to 10 times the examples of the largest run"
    with pytest.raises(QueryError, match="a query needs 'examples'"):
        bs.forecast(fit, params="1B", tokens="20B")


def test_a_backtest_holds_out_the_runs_that_saw_the_most_examples() -> None:
    runs = bs.load_runs(curve(), name="curve")
    (one,), left_out = cut(runs)
    assert not left_out
    assert runs["examples"][one.test].min() > runs["examples"][one.train].max()


def test_runs_that_count_only_compute_are_fitted_by_their_own_loss() -> None:
    """Neither params nor tokens are there to say what loss is typical."""
    table = pd.DataFrame({"flops": curve()["examples"] * 1e12, "loss": 3 * curve()["error_rate"]})
    made = design(bs.make_spec("compute", law="power-floor"), bs.load_runs(table, loss_unit="nats"))
    assert np.exp(made.anchor_loss) == pytest.approx(np.median(table["loss"]))


def test_a_loss_under_a_name_of_its_own_sets_the_unit_of_the_law() -> None:
    table = pd.DataFrame({"examples": curve()["examples"], "birds": curve()["error_rate"]})
    observed = {"birds": {"response": "error_rate", "noise": "student-t"}}
    spec = bs.make_spec("birds", law="power-floor", inputs=["examples"], responses=observed)
    assert np.exp(design(spec, bs.load_runs(table)).anchor_loss) == pytest.approx(np.median(table["birds"]))


def test_a_forecast_is_drawn_along_examples(fit: bs.Fit) -> None:
    ax = bs.plots.plot_forecast(fit)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("examples", "error_rate of a run (share of examples)")
    assert ax.lines[0].get_xdata()[-1] == pytest.approx(1e11)  # two decades beyond a billion
