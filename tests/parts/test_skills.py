"""Skills over what a model has seen, and time horizons over dates."""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

import bayescale as bs
from bayescale.core.errors import QueryError, RunsError
from bayescale.evaluation.simulation import sweep_for
from bayescale.parts.catalogue import part
from bayescale.prediction.extrapolation import reach_words
from bayescale.runs.columns import decades_beyond

SKILLS = ("lambada_openai", "piqa", "sciq", "arc_easy", "winogrande")
MIDPOINTS = np.array([8.0, 3.0, 1.0, 20.0, 60.0])  # billions of tokens
STEEPNESS, CEILING, ITEMS = 1.2, 0.8, 2000
HORIZON, DOUBLING, SLOPE = 45.0, 0.6, 0.8  # minutes at the start of 2025, years, log odds per e-fold


def test_a_share_of_the_rise_is_reached_where_the_docstring_says() -> None:
    skill = part("responses", "skill")
    own = {"midpoint": 8.0, "steepness": STEEPNESS, "ceiling": CEILING, "floor_odds": 1.0}
    seen = 8.0 * np.array([1.0, 9.0 ** (1 / STEEPNESS)])
    with jax.enable_x64(True):
        shares = np.asarray(skill.location(-np.log(seen), {"chance": np.full(2, 0.25)}, **own))
    np.testing.assert_allclose((shares - 0.25) / (CEILING - 0.25), [0.5, 0.9], rtol=1e-12)


def test_half_of_the_tasks_as_long_as_the_horizon_succeed_and_it_doubles_in_the_doubling_time() -> None:
    horizon, law = part("responses", "time-horizon"), part("laws", "doubling")
    with jax.enable_x64(True):
        years = np.log(np.array([2025.0, 2025.0 + DOUBLING]) / 2025.0)
        loss = np.asarray(law.log_loss(years, level=1.0, doubling=DOUBLING)) - np.log(HORIZON)
        minutes = HORIZON * np.array([1.0, 2.0 * (1 / 0.8 - 1) ** (1 / SLOPE)])
        shares = np.asarray(horizon.location(loss, {"task_minutes": minutes}, slope=SLOPE))
        published = law.published(np.log(2025.0), loss=-np.log(HORIZON), level=1.0, doubling=DOUBLING)
    np.testing.assert_allclose(shares, [0.5, 0.8], rtol=1e-12)
    assert float(published["L_0"]) == pytest.approx(1 / HORIZON)


def test_dates_are_measured_by_their_differences_and_sizes_by_their_ratios() -> None:
    above, below = decades_beyond("flops", [1e20, 1e22], [1e19, 1e21])
    np.testing.assert_allclose([above, below], [[-1, 1], [-1, -3]])
    above, below = decades_beyond("year", [2018.0, 2022.0, 2028.0], [2020.0, 2024.0])
    np.testing.assert_allclose(above, [-np.log10(2.5), -np.log10(1.5), np.log10(2)])
    np.testing.assert_allclose(below, [np.log10(1.5), -np.log10(1.5), -np.log10(3)])


@pytest.mark.slow
def test_zhang_2021_minibertas_skills_are_recovered_and_so_is_when_nine_tenths_of_the_rise_are_made() -> None:
    tokens, random = np.geomspace(1e8, 3e11, 20), np.random.default_rng(0)
    rise = expit(STEEPNESS * (np.log(tokens / 1e9)[:, None] - np.log(MIDPOINTS)))
    correct = random.binomial(ITEMS, 0.25 + (CEILING - 0.25) * rise)
    names = [f"run-{i}" for i in range(len(tokens))]
    runs = pd.DataFrame({"run_id": names, "params": 1e9, "tokens": tokens})
    seen = pd.DataFrame(correct, names, SKILLS).rename_axis("run_id").reset_index()
    seen = seen.melt("run_id", var_name="response").assign(n_items=ITEMS, chance=0.25)
    fit = bs.fit(bs.load_runs(runs, observations=seen), "skills", seed=0, draws=500)
    assert fit.converged
    middle, steepness = fit.posterior["midpoint_skills"], fit.posterior["steepness_skills"]
    most = middle * 9 ** (1 / steepness)
    for drawn, truth in ((middle, MIDPOINTS), (most, MIDPOINTS * 9 ** (1 / STEEPNESS))):
        logs = np.log(drawn)
        off = (logs.mean(("chain", "draw")) - np.log(truth)) / logs.std(("chain", "draw"))
        assert np.abs(off).max() < 4
    assert np.log(middle).std(("chain", "draw")).max() < 0.3  # and not by width


@pytest.mark.slow
def test_zhang_2021_minibertas_question_for_pythia_has_skills_in_the_order_of_the_published_scores() -> None:
    """Science questions with their answer in the text come first, and pronouns of Winograd schemes last."""
    fit = bs.fit(bs.load_runs("pythia").where(family="Pythia-12B"), "skills", seed=0, draws=500)
    assert fit.converged
    order = fit.posterior["midpoint_skills"].argsort(axis=-1)
    first, last = SKILLS.index("sciq"), SKILLS.index("winogrande")
    assert float((order[..., 0] == first).mean()) > 0.95
    assert float((order[..., -1] == last).mean()) > 0.95
    tokens = (fit.posterior["midpoint_skills"] * 9 ** (1 / fit.posterior["steepness_skills"])).median(("chain", "draw"))
    assert float(tokens[first]) < 30 < 100 < float(tokens[last])  # billions


@pytest.mark.slow
def test_metr_2025_the_doubling_time_of_the_horizon_is_recovered_from_models_of_many_dates() -> None:
    random = np.random.default_rng(1)
    years, minutes = np.linspace(2020.0, 2025.5, 12), np.array([0.1, 0.5, 2.0, 8.0, 30.0, 120.0, 480.0])
    own = 0.3 * random.standard_normal(len(years))  # models of one date differ
    log_horizon = np.log(HORIZON) + np.log(2) * (years - 2025) / DOUBLING + own
    rows = [
        {"family": f"model-{i}", "year": year, "task_minutes": t, "n_items": 60,
         "n_correct": random.binomial(60, expit(SLOPE * (h - np.log(t))))}
        for i, (year, h) in enumerate(zip(years, log_horizon, strict=True)) for t in minutes
    ]  # fmt: skip
    fit = bs.fit(bs.load_runs(pd.DataFrame(rows)), "time-horizon", seed=0, draws=500)
    assert fit.converged
    for name, truth in (("doubling", DOUBLING), ("slope", SLOPE)):
        row = fit.summary.loc[name]
        assert abs(row["mean"] - truth) < 4 * row["sd"], name
        assert row["sd"] < 0.1 * truth, name

    with pytest.raises(QueryError, match="task_minutes"):
        bs.forecast(fit, family="new", year=2025.0, task_minutes=0.0)
    later = bs.forecast(fit, family="new", year=[2025.0, 2027.0], task_minutes=120.0)
    assert later.queries["reach_decades"].tolist() == [0.0, pytest.approx(np.log10(1 + 1.5 / 5.5))]
    assert reach_words(fit, later.queries) == "up to 1.5 years after the last run"
    of_one = bs.forecast(fit, family="model-0", year=[2020.0, 2021.0], task_minutes=120.0)
    assert reach_words(fit, of_one.queries) == "up to 1 year after the last run"
    assert later.table["q50"].is_monotonic_increasing
    axes = bs.plots.plot_forecast(fit)
    assert axes.get_title().endswith("forecast, task_minutes 480")
    assert axes.get_xlim()[1] > 2030


@pytest.mark.parametrize(
    ("spec", "column", "wrong"),
    [("time-horizon", "task_minutes", 0.0), ("majority-vote", "votes", 0.5), ("pass-at-k", "samples", 0.0)],
)
def test_a_column_that_a_response_requires_is_held_to_its_range(spec: str, column: str, wrong: float) -> None:
    table = sweep_for(bs.load_spec(spec)).frame
    wrong_first = table[column].where(table.index > 0, wrong)
    with pytest.raises(RunsError, match=f"run 0 .*{column} is out of range"):
        bs.fit(bs.load_runs(table.assign(**{column: wrong_first})), spec)
