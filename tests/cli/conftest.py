"""A fit whose draws are drawn here: what commands print of it can be recorded, for nothing is sampled."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.modelling.design import anchor_of

E, A, B, ALPHA, BETA, SIGMA = 1.8, 480.0, 2100.0, 0.35, 0.37, 0.004
CHAINS, DRAWS = 4, 250


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
