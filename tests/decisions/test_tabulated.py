"""The table of thinned draws: it holds the law, and its decisions are those of the core."""

from __future__ import annotations

import base64

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.decisions.tabulated import DRAWS, Products, Tabulated, tabulated
from bayescale.modelling.sites import LAW
from bayescale.prediction.predict import predict

FLOPS = 5.76e23


@pytest.fixture(scope="module")
def table(chinchilla_fit: bs.Fit) -> Tabulated:
    return tabulated(chinchilla_fit, FLOPS, chinchilla_fit.families[0])


@pytest.fixture(scope="module")
def choice(chinchilla_fit: bs.Fit) -> bs.Choice:
    return bs.decide(bs.Allocation(FLOPS), chinchilla_fit)


def test_the_table_holds_the_law_between_its_points(table: Tabulated, chinchilla_fit: bs.Fit) -> None:
    rng = np.random.default_rng(0)
    ln_flops = rng.uniform(table.ln_flops[1], table.ln_flops[-2], 60)
    ln_params = table.path(ln_flops) + rng.uniform(-6, 6, 60)
    queries = pd.DataFrame({"params": np.exp(ln_params), "tokens": np.exp(ln_flops - ln_params) / 6,
                            "flops": np.exp(ln_flops), "family": chinchilla_fit.families[0]})  # fmt: skip
    exact = predict(chinchilla_fit, queries.assign(unique_tokens=queries["tokens"]), only=LAW, most=DRAWS)
    assert np.abs(table.log_loss(ln_flops, ln_params) - exact).max() < 1e-5


def test_an_allocation_of_the_table_is_that_of_the_core(table: Tabulated, choice: bs.Choice) -> None:
    found, losses, waste = table.allocation(FLOPS), choice.losses[:, :400], choice.waste[:, :400]
    thin = slice(None, None, len(losses) // DRAWS)  # the table's draws are some of the core's
    assert np.log(found["sizes"]) == pytest.approx(choice.ln_params[:400], abs=1e-9)
    i = int(losses[thin].mean(axis=0).argmin())
    assert found["params"] == pytest.approx(np.exp(choice.ln_params[i]), rel=1e-9)
    assert found["waste_fraction"] == pytest.approx(waste[thin, i].mean(), rel=1e-2)
    assert found["waste_q95"] == pytest.approx(np.quantile(waste[thin, i], 0.95), rel=1e-2)
    step = choice.ln_params[1] - choice.ln_params[0]
    assert np.log([found["safe_low"], found["safe_high"]]) == pytest.approx(np.log(choice.band), abs=1.5 * step)
    assert found["settled"] is choice.settled


def test_the_least_loss_of_every_draw_is_below_all_sizes(table: Tabulated) -> None:
    sizes = table.sizes(np.log(FLOPS))
    losses = np.exp(table.log_loss(np.full(len(sizes), np.log(FLOPS)), sizes))
    least = table.between(table.frontier, np.log([FLOPS]))[:, 0]
    assert (least <= losses.min(axis=1) * (1 + 1e-6)).all()
    assert least == pytest.approx(losses.min(axis=1), rel=1e-4)


def test_caution_prefers_the_best_of_the_worst_draws(table: Tabulated) -> None:
    mean, worst = table.allocation(FLOPS), table.allocation(FLOPS, 0.1)
    sizes = np.log(mean["sizes"])
    at = np.full(len(sizes), np.log(FLOPS))
    shift = table.between(table.error, at[:1]) + table.noise[:, None]
    run = np.exp(table.log_loss(at, sizes) + shift)
    tail = np.sort(run, axis=0)[-DRAWS // 10 :].mean(axis=0)
    assert worst["params"] == pytest.approx(np.exp(sizes[tail.argmin()]))
    assert worst["regret_nats"] >= mean["regret_nats"]


def test_a_lifetime_of_the_table_is_that_of_the_core(table: Tabulated, chinchilla_fit: bs.Fit) -> None:
    found = table.lifetime(FLOPS, 2e12)
    core = bs.decide(bs.Lifetime(demand=2e12, like=found["like"]), chinchilla_fit)
    assert found["params"] == pytest.approx(core.action["params"], rel=0.06)  # steps of 5% and 2.5%
    assert found["saving"] == pytest.approx(core.saving, abs=0.005)
    assert found["cost"] == pytest.approx(-core.best.expected, rel=0.02)
    free = table.lifetime(FLOPS, 0.0)
    assert free["params"] == pytest.approx(free["like"], rel=0.06)
    assert found["params"] < free["params"]


def test_products_reproduce_the_values_with_few_terms() -> None:
    x, y, k = np.linspace(0, 1, 9), np.linspace(0, 1, 11), np.linspace(1, 2, 30)
    values = k[:, None, None] * np.exp(x)[None, :, None] + k[:, None, None] ** 2 * np.cos(y)[None, None]
    found = Products.of(values)
    assert len(found.basis) == 2
    rebuilt = np.einsum("kr,rij->kij", found.weights, found.basis)
    assert np.abs(rebuilt - values).max() < 4e-6


def test_plain_values_hold_the_table(table: Tabulated) -> None:
    written = table.to_dict()
    weights = np.frombuffer(base64.b64decode(written["weights"]), "<f4").reshape(table.law.weights.shape)
    noise = np.frombuffer(base64.b64decode(written["noise"]), "<i2") * written["steps"]["noise"]
    assert (weights == table.law.weights).all()
    assert noise == pytest.approx(table.noise, rel=1e-12, abs=1e-15)
    assert "error" not in written  # this model has no discrepancies
