"""The shipped specs of latent capability without compute, or with params and tokens, recover what made the scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

import bayescale as bs

SLOPES = {"mmlu": 0.9, "hellaswag": 0.5, "gsm8k": 1.0, "winogrande": 0.6}
MIDPOINTS = {"mmlu": 0.5, "hellaswag": -3.0, "gsm8k": 1.5, "winogrande": -0.5}
SHARE, INTERACTION, AHEAD, OWN, TREND = 0.65, 0.06, 0.7, 0.3, 0.8
FAMILIES, EACH, SCATTER = 12, 4, 0.01
LOADINGS = {"mmlu": 0.0, "hellaswag": 1.0, "gsm8k": -0.6, "winogrande": 0.8}
SPECIALITY, OF_FAMILIES = 0.6, 0.6
"""Standard deviation of the speciality, and the share of its variance that is that of families."""


def few(name: str, skills: int = 1) -> bs.Model:
    """A shipped spec on four of its benchmarks; by default with capability alone, because four say little of more."""
    content = bs.load_spec(name).to_dict()
    content["fields"]["capability"] = {**content["fields"]["capability"], "skills": skills}
    content["benchmarks"] = {one: content["benchmarks"][one] for one in SLOPES}
    return bs.make_spec(name, **content)


def models(families: int = FAMILIES) -> pd.DataFrame:
    """Families of public models, each with its date, and models of several sizes."""
    random, count = np.random.default_rng(3), families * EACH
    params, tokens = 10 ** random.uniform(8.5, 11, count), 10 ** random.uniform(11, 13, count)
    return pd.DataFrame({
        "family": np.repeat([f"f{i:02d}" for i in range(families)], EACH), "run_id": [f"m{i}" for i in range(count)],
        "params": params, "tokens": tokens, "flops": 6 * params * tokens, "flops_error": 0.0,
        "released": np.repeat(random.uniform(2020, 2025, families), EACH),
        "ahead": np.repeat(AHEAD * random.standard_normal(families), EACH),
        "own": random.standard_normal(count),
    })  # fmt: skip


def scored(table: pd.DataFrame, capability: pd.Series, speciality: np.ndarray | float = 0.0) -> bs.Runs:
    """Scores of a capability, and of a speciality with loadings, of which a seventh is missing."""
    random = np.random.default_rng(4)
    for name, said in few("eci").to_dict()["benchmarks"].items():
        floor, logits = said.get("chance", 0.0), SLOPES[name] * (capability - MIDPOINTS[name])
        logits = logits + LOADINGS[name] * speciality
        share = floor + (1 - floor) * expit(logits) + SCATTER * random.standard_normal(len(table))
        table[name] = share.clip(0, 1).where(random.uniform(size=len(table)) > 1 / 7)
    return bs.load_runs(table.dropna(subset=list(SLOPES), how="all").drop(columns=["ahead", "own"]), name="simulated")


def off(fit: bs.Fit, truths: dict[str, float]) -> dict[str, float]:
    """Distance of each posterior mean from the truth, in posterior standard deviations."""
    found = fit.summary.loc[list(truths)]
    return dict((found["mean"] - pd.Series(truths)) / found["sd"])


@pytest.mark.slow
def test_sloth_2024_recovers_what_params_and_tokens_are_worth_and_the_benchmarks() -> None:
    table = models()
    n, d = np.log(table["params"] / 1e10), np.log(table["tokens"] / 1e12)
    spent = 2 * (SHARE * n + (1 - SHARE) * d) + INTERACTION * n * d
    runs = scored(table, spent + table["ahead"] + OWN * table["own"])
    fit = bs.fit(runs, few("sloth"), seed=0, chains=2, draws=500)
    assert fit.converged, fit.verdict
    truths = {"share_of_params": SHARE, "interaction": INTERACTION, "spread_own": OWN,
              **{f"slope_{name}": of for name, of in SLOPES.items()},
              **{f"midpoint_{name}": of for name, of in MIDPOINTS.items()}}  # fmt: skip
    away = off(fit, truths)
    assert max(map(abs, away.values())) < 3.5, away  # of eleven
    assert fit.summary.loc["share_of_params", "sd"] < 0.05  # a third of that of its prior


@pytest.mark.slow
def test_sloth_2024_recovers_a_second_skill_that_does_not_follow_params_and_tokens() -> None:
    families = 30
    table, random = models(families), np.random.default_rng(5)
    n, d = np.log(table["params"] / 1e10), np.log(table["tokens"] / 1e12)
    spent = 2 * (SHARE * n + (1 - SHARE) * d) + INTERACTION * n * d
    of_family = np.repeat(random.standard_normal(families), EACH)
    own = random.standard_normal(len(table))
    special = SPECIALITY * (np.sqrt(OF_FAMILIES) * of_family + np.sqrt(1 - OF_FAMILIES) * own)
    runs = scored(table, spent + table["ahead"] + OWN * table["own"], special)
    fit = bs.fit(runs, few("sloth", skills=2), seed=0, chains=2, draws=500)
    assert fit.converged, fit.verdict
    truths = {"share_of_params": SHARE, "spread_own": OWN, "spread_hellaswag": SPECIALITY,
              "shared_speciality": OF_FAMILIES, **{f"slope_{name}": of for name, of in SLOPES.items()},
              **{f"loading_{name}_hellaswag": LOADINGS[name] for name in ("gsm8k", "winogrande")}}  # fmt: skip
    away = off(fit, truths)
    assert max(map(abs, away.values())) < 3.5, away  # of ten
    found = fit.design_frame["run_id"].map(dict(zip(table["run_id"], special, strict=True)))
    assert np.corrcoef(fit.posterior["speciality_hellaswag"].mean(("chain", "draw")), found)[0, 1] > 0.9


@pytest.mark.slow
def test_eci_2025_recovers_the_order_of_models_and_of_benchmarks_without_their_compute() -> None:
    table = models()
    capability = TREND * (table["released"] - 2024) + table["ahead"] + table["own"]
    fit = bs.fit(scored(table, capability), few("eci"), seed=0, chains=2, draws=1000)
    assert fit.converged, fit.verdict
    away = off(fit, {"trend": TREND, **{f"slope_{name}": of for name, of in SLOPES.items()}})
    assert max(map(abs, away.values())) < 3.5, away  # of five
    order = sorted(MIDPOINTS, key=MIDPOINTS.__getitem__)
    for easier, harder in zip(order, order[1:], strict=False):
        assert (fit.posterior[f"midpoint_{easier}"] < fit.posterior[f"midpoint_{harder}"]).mean() > 0.95
    place = fit.design_frame["run_id"].map(dict(zip(table["run_id"], capability, strict=True)))
    assert np.corrcoef(fit.posterior["ability"].mean(("chain", "draw")), place)[0, 1] > 0.95
