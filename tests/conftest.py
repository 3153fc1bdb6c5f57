"""Fits that several tests share: each is made once a session, with a fixed seed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.modelling.design import anchor_of

# A law, from which runs and draws are made where nothing is to be sampled.
E, A, B, ALPHA, BETA, SIGMA = 1.8, 480.0, 2100.0, 0.35, 0.37, 0.004
CHAINS, DRAWS = 4, 250


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    """Close what a test has drawn: pyplot keeps figures, and warns of the twenty-first."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def pool() -> bs.Runs:
    return bs.load_runs("open-families")


@pytest.fixture(scope="session")
def trio(pool: bs.Runs) -> bs.Runs:
    """Three small families: enough for a hierarchy, quick to fit."""
    return pool.where(family=["OpenLM-C4", "OpenLM-RedPajama", "OpenLM-RefinedWeb"])


@pytest.fixture(scope="session")
def trio_fit(trio: bs.Runs) -> bs.Fit:
    """The additive law, partially pooled over three families."""
    return bs.fit(trio, "additive", seed=0)


@pytest.fixture(scope="session")
def decided(chinchilla_fit: bs.Fit) -> Callable[..., bs.Choice]:
    """Decide on the fit of Chinchilla: each decision is made once for each of its settings."""

    @cache
    def once(name: str, settings: tuple[tuple[str, object], ...]) -> bs.Choice:
        return bs.decide(name, chinchilla_fit, **dict(settings))

    return lambda name, **settings: once(name, tuple(sorted(settings.items())))


@pytest.fixture(scope="session")
def comparison(pool: bs.Runs) -> bs.Comparison:
    """Two laws on one small family, and a spec that its table cannot feed."""
    runs = pool.where(family="OpenLM-C4")
    with pytest.warns(bs.ConvergenceWarning, match="FAILED: repetition: "):
        return bs.compare(runs, ["additive", "coupled", "repetition"], flops="1e23", seed=0, draws=500)


@pytest.fixture(scope="session")
def ours() -> bs.Runs:
    """Fifteen runs of a known law, of which the table marks one."""
    params, ratio = (x.ravel() for x in np.meshgrid([60e6, 125e6, 350e6, 760e6, 1300e6], [10, 20, 40], indexing="ij"))
    noise = np.exp(SIGMA * np.random.default_rng(0).standard_normal(len(params)))
    loss = (E + A * params**-ALPHA + B * (ratio * params) ** -BETA) * noise
    table = pd.DataFrame({"run_id": [f"r{i}" for i in range(len(params))], "params": params, "tokens": ratio * params})
    table = table.assign(loss=loss.round(4), family="ours", exclusion=["too hot"] + [""] * (len(params) - 1))
    return bs.load_runs(table, loss_unit="nats")


@pytest.fixture(scope="session")
def drawn_fit(ours: bs.Runs) -> bs.Fit:
    """The additive law, with draws that lie about the true one."""
    anchor = {name: float(np.exp(value)) for name, value in anchor_of(bs.load_spec("additive"), ours.frame).items()}
    a, b = A * anchor["params"] ** -ALPHA, B * anchor["tokens"] ** -BETA
    middle = {"level": (E + a + b) / anchor["loss"], "ratio_A": a / E, "ratio_B": b / E, "alpha_N": ALPHA,
              "beta_D": BETA, "sigma": SIGMA, "nu": 20.0}  # fmt: skip
    spread = {"level": 0.001, "ratio_A": 0.03, "ratio_B": 0.03, "alpha_N": 0.02, "beta_D": 0.02}
    rng = np.random.default_rng(1)
    drawn = {name: value * np.exp(spread.get(name, 0.2) * rng.standard_normal((CHAINS, DRAWS)))
             for name, value in middle.items()}  # fmt: skip
    return bs.Fit.from_samples(drawn, "additive", ours)
