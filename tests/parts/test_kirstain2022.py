"""Examples against params: the exchange rate, by the law and from simulated scores."""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.parts.catalogue import part

AT = {"level": 1.0, "gain_N": 0.25, "gain_n": 0.5, "joint": 0.01}


def test_at_the_anchor_an_efold_of_examples_is_worth_its_rate_in_params() -> None:
    law = part("laws", "labels")
    with jax.enable_x64(True):
        (worth,) = law.published(0.0, 0.0, loss=0.0, **AT).values()
        slopes = jax.grad(lambda x: law.log_loss(x[0], x[1], **AT))(np.zeros(2))
    assert worth == 2.0
    assert float(slopes[1] / slopes[0]) == pytest.approx(worth)


@pytest.mark.slow
def test_kirstain_2022_exchange_rate_is_recovered_with_its_posterior() -> None:
    """Five sizes, each with six numbers of examples; noise of 2% of the error."""
    sizes, labels = (x.ravel() for x in np.meshgrid(np.geomspace(6e7, 1e10, 5), np.geomspace(32, 3e4, 6)))
    x, y = (np.log(z) - np.log(z).mean() for z in (sizes, labels))
    odds = np.exp(-AT["gain_N"] * x - AT["gain_n"] * y - AT["joint"] * x * y)
    noise = np.exp(0.02 * np.random.default_rng(0).standard_normal(len(x)))
    table = pd.DataFrame(
        {"params": sizes, "labelled_examples": labels, "error_rate": np.minimum(odds / (1 + odds) * noise, 1.0)}
    )
    runs = bs.load_runs(table.assign(examples=labels))
    fit = bs.fit(runs, "labels", seed=0, draws=250)
    assert fit.converged
    for name, truth in (("worth_n", 2.0), ("gain_N", 0.25), ("gain_n", 0.5), ("joint", 0.01)):
        row = fit.summary.loc[name]
        assert abs(row["mean"] - truth) < 4 * row["sd"], name
