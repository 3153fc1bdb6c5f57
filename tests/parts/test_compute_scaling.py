"""Standard compute scaling: a score as a sigmoid of the log of compute, over public models of all families."""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

import bayescale as bs
from bayescale.evaluation.scores import scores
from bayescale.parts.catalogue import part

MIDPOINT = {"mmlu": 3.0, "arc_c": 1.5, "hellaswag": 0.1, "winogrande": 1.0, "truthfulqa": 30.0, "xwinograd": 0.5,
            "gsm8k": 4.0, "humaneval": 15.0}  # in 1e23 FLOP  # fmt: skip
STEEPNESS = {"mmlu": 0.8, "arc_c": 0.5, "hellaswag": 0.4, "winogrande": 0.6, "truthfulqa": 0.5, "xwinograd": 0.4,
             "gsm8k": 0.9, "humaneval": 0.5}  # fmt: skip
CEILING, ITEMS = 0.95, 100.0
BATTERIES = ("choices", "answers")


@pytest.fixture(scope="module")
def known() -> bs.Runs:
    """The models that were not forecast before they were evaluated."""
    return bs.load_runs("obsscaling").where(preregistered="0")


@pytest.fixture(scope="module")
def fit(known: bs.Runs) -> bs.Fit:
    return bs.fit(known, "compute-scaling", seed=0, chains=2, draws=500)


def by_benchmark(fit: bs.Fit, name: str) -> pd.DataFrame:
    """Draws of a parameter, one benchmark a column."""
    of = [fit.posterior[f"{name}_{battery}"].stack(draws=("chain", "draw")) for battery in BATTERIES]
    return pd.concat([one.T.to_pandas().reset_index(drop=True) for one in of], axis=1)


def test_an_e_fold_of_compute_adds_the_steepness_to_the_log_odds_between_floor_and_ceiling() -> None:
    score = part("responses", "skill-score")
    own = {"midpoint": 3.0, "steepness": 0.8, "ceiling": CEILING, "floor_odds": 0.5}
    floor = expit(logit(0.25) + np.log(0.5))
    with jax.enable_x64(True):
        shares = np.asarray(score.location(-np.log(3.0) - np.arange(3.0), {"chance": np.full(3, 0.25)}, **own))
    np.testing.assert_allclose(logit((shares - floor) / (CEILING - floor)), 0.8 * np.arange(3.0), atol=1e-12)


@pytest.mark.slow
def test_ruan_2024_standard_compute_scaling_is_recovered_from_scores_that_it_made(known: bs.Runs) -> None:
    """The same models with the same gaps, and scores of known curves."""
    random, frame = np.random.default_rng(0), known.frame.copy()
    for name, middle in MIDPOINT.items():
        floor = frame[f"{name}_chance"]
        rise = expit(STEEPNESS[name] * (np.log(frame["flops"] / 1e23) - np.log(middle)))
        p = floor + (CEILING - floor) * rise
        noisy = p + np.sqrt(p * (1 - p) / ITEMS) * random.standard_normal(len(frame))
        frame[name] = noisy.clip(0, 1).where(frame[name].notna())
    made = bs.load_runs(frame.drop(columns=[c for c in frame if c.endswith(("_chance", "_n_items"))]), name="made",
                        melt={name: {"chance": float(frame[f"{name}_chance"].max())} for name in MIDPOINT})  # fmt: skip
    fit = bs.fit(made, "compute-scaling", seed=0, chains=2, draws=500)
    assert fit.converged, fit.verdict
    for name, truth in (("midpoint", MIDPOINT), ("steepness", STEEPNESS)):
        logs = np.log(by_benchmark(fit, name))
        off = (logs.mean() - np.log(pd.Series(truth))) / logs.std()
        assert off.abs().max() < 3.5, off  # of sixteen
    assert np.log(by_benchmark(fit, "midpoint"))["mmlu"].std() < 0.3  # and not by width


@pytest.mark.slow
def test_ruan_2024_standard_compute_scaling_of_public_models_ranks_benchmarks_by_the_compute_they_need(fit) -> None:
    assert fit.converged, fit.verdict
    needed = by_benchmark(fit, "midpoint")
    order = [needed[name] for name in ("hellaswag", "mmlu", "humaneval", "truthfulqa")]
    assert all((easier < harder).mean() > 0.95 for easier, harder in zip(order, order[1:], strict=False))


@pytest.mark.slow
def test_ruan_2024_compute_alone_forecasts_the_20_preregistered_models_better_than_the_scores_of_the_others(
    fit: bs.Fit, known: bs.Runs
) -> None:
    """Models are drawn, benchmarks are not. The page on public models says how often intervals contain the scores."""
    held, rows = bs.load_runs("obsscaling").where(preregistered="1").frame, []
    for name in MIDPOINT:
        seen = held[held[name].notna()]
        queries = pd.DataFrame({"flops": seen["flops"].to_numpy(), "family": bs.NEW})
        drawn = bs.forecast(fit, queries, response=name).draws["predictive"].to_numpy().reshape(-1, len(seen))
        others = np.tile(known.frame[name].dropna().to_numpy(float)[:, None], len(seen))
        crps = [scores(one, seen[name].to_numpy(float), np.zeros_like(one), logs=False)["crps"].to_numpy()
                for one in (drawn, others)]  # fmt: skip
        rows.append(pd.DataFrame({"model": seen["run_id"].to_numpy(), "gain": crps[1] - crps[0]}))
    gain = pd.concat(rows).groupby("model")["gain"].mean()
    assert len(gain) == 20
    assert gain.mean() > 3 * gain.std() / np.sqrt(len(gain))
