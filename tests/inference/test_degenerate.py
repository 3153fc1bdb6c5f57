"""Degenerate runs: a fit converges, is refused with a reason, or has its headline withheld."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import bayescale as bs

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
    "one size": (lambda: simulated().assign(params=1e8), "additive-unpooled"),
    "equal losses": (lambda: simulated().assign(loss=3.0), "additive-unpooled"),
    "one run": (lambda: simulated().iloc[[14]], "additive-unpooled"),
}


SLOW = {"a family of one run", "10x outliers"}


def fitted(name: str) -> bs.Fit | bs.BayescaleError:
    """The fit of a table, or why it is refused."""
    frame, spec = TABLES[name]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", bs.ConvergenceWarning)  # the verdict is what is tested
            return bs.fit(bs.load_runs(frame(), loss_unit="nats"), spec, seed=0, progress=False)
    except bs.BayescaleError as error:
        return error


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in TABLES])
def test_no_answer_comes_from_chains_that_did_not_agree(name: str) -> None:
    fit = fitted(name)
    if isinstance(fit, bs.BayescaleError):
        assert "got" in str(fit)
        return
    agree = all(criterion.passed for criterion in fit.convergence)
    assert fit.converged == agree
    choice = bs.decide(bs.Allocation(BUDGET), fit)
    headline = repr(choice).splitlines()[0]
    if agree:
        assert np.isfinite(choice.expected_loss)
        assert "loss 0.000" not in repr(choice)
    else:
        assert headline.startswith("NOT CONVERGED")
        assert "tokens per param" not in repr(choice)
