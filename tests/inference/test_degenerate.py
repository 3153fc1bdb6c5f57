"""Degenerate runs: a table is fitted until its chains agree, or is refused with a reason."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from arviz_stats import rhat

import bayescale as bs
from bayescale.inference.nuts import MOST_STEPS

BUDGET = "1e22"


def simulated(family: str = "made", *, low: float = 1e7, high: float = 1e9, seed: int = 0) -> pd.DataFrame:
    """Thirty runs of Chinchilla's law with noise of 0.5%."""
    params, ratio = (x.ravel() for x in np.meshgrid(np.geomspace(low, high, 6), [5.0, 10.0, 20.0, 40.0, 80.0]))
    tokens = ratio * params
    loss = 1.8172 + 482.01 * params**-0.3478 + 2085.43 * tokens**-0.3658
    noise = np.exp(0.005 * np.random.default_rng(seed).normal(size=len(loss)))
    return pd.DataFrame({"family": family, "params": params, "tokens": tokens, "loss": loss * noise})


def with_outliers() -> pd.DataFrame:
    frame = simulated().assign(loss=lambda runs: runs["loss"] * 0.4)  # ten times as much could still be a loss
    frame.loc[[3, 17, 28], "loss"] *= 10
    return frame


def of_one_run() -> pd.DataFrame:
    families = [simulated(name, seed=seed).iloc[seed::3] for seed, name in enumerate(("a", "b"))]
    return pd.concat([*families, simulated("alone", seed=2).iloc[[14]]])


def repeated() -> pd.DataFrame:
    return pd.concat([simulated()] * 3)


TABLES: dict[str, tuple[Callable[[], pd.DataFrame], str]] = {
    "a family of one run": (of_one_run, "additive"),
    "10x outliers": (with_outliers, "additive-unpooled"),
    "losses near 1e-6": (lambda: simulated().assign(loss=lambda runs: runs["loss"] * 4e-7), "additive-unpooled"),
    "params from 1 to 1e15": (lambda: simulated(low=1.0, high=1e15), "additive-unpooled"),
    "params from 1e5 to 1e15": (
        lambda: simulated(low=1e5, high=1e15).assign(loss=lambda runs: runs["loss"] * 0.3),
        "additive-unpooled",
    ),
    "duplicates": (repeated, "additive-unpooled"),
    "repeats": (lambda: repeated().assign(run_id=range(90)), "additive-unpooled"),
    "rounded": (lambda: simulated().assign(loss=lambda runs: runs["loss"].round(2)), "additive-unpooled"),
    "one size": (lambda: simulated().assign(params=1e8), "additive-unpooled"),
    "one number of tokens": (lambda: simulated().assign(tokens=2e9), "additive-unpooled"),
    "equal losses": (lambda: simulated().assign(loss=3.0), "additive-unpooled"),
    "one run": (lambda: simulated().iloc[[14]], "additive-unpooled"),
}


REFUSED = {
    "params from 1 to 1e15": "cannot be read as runs",
    "duplicates": "cannot be read as runs",
    "one size": "about the same params",
    "one number of tokens": "about the same tokens",
    "one run": "fewer runs",
}
"""Tables that are refused, and words of the reason."""
SLOW = {"a family of one run", "10x outliers"}


def fitted(name: str) -> bs.Fit:
    frame, spec = TABLES[name]
    return bs.fit(bs.load_runs(frame(), loss_unit="nats"), spec, seed=0, progress=False)


@pytest.mark.parametrize("name", REFUSED)
def test_a_table_that_a_law_cannot_be_read_from_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(bs.BayescaleError, match=REFUSED[name]) as error:
        fitted(name)
    assert "got" in str(error.value)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in TABLES
                                  if name not in REFUSED])  # fmt: skip
def test_any_other_table_is_answered_from_chains_that_agree(name: str) -> None:
    """What is said of chains that do not agree is in tests/inference/test_verdict.py."""
    fit = fitted(name)
    assert fit.converged, fit.verdict
    assert max(float(hats.max()) for hats in rhat(fit.posterior).values()) <= 1.01  # of every quantity, by ArviZ
    choice = bs.decide(bs.Allocation(BUDGET), fit)
    assert np.isfinite(choice.expected_loss)
    assert "loss 0.000" not in repr(choice)
    assert repr(choice).startswith("Allocation")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*(name for name in TABLES if name not in REFUSED), "one size", "one number of tokens",
                                  "one run"])  # fmt: skip
def test_the_default_answers_every_table_that_is_one(name: str) -> None:
    """Learned priors answer where a law alone cannot be read from the runs."""
    fit = bs.fit(bs.load_runs(TABLES[name][0](), loss_unit="nats"), "default", seed=0, progress=False)
    assert fit.converged, fit.verdict
    assert float((fit.tree["sample_stats"]["n_steps"] >= MOST_STEPS).mean()) == 0.0
    choice = bs.decide(bs.Allocation(BUDGET, family=fit.families[0]), fit)
    assert np.isfinite(choice.expected_loss)
    if name.startswith("one "):
        assert "use with care" in repr(choice) or not choice.settled
