"""Multi-power law of Luo et al. (2025), arXiv:2503.12811: training curves under any schedule of the learning rate."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.core import shipped
from bayescale.core.errors import RunsError
from bayescale.parts.penalties.annealing import LONG_AGO, REFERENCE, Annealing, MultiPower
from bayescale.parts.schedules import KINDS, Schedule, along_schedule, annealing_area, changes_of, schedule

PUBLISHED = {
    "25M": (3.04045406, 0.52468604, 0.50786857, 363.78751622, 2.06560812, 0.58279013, 0.64142257),
    "100M": (2.6514477, 0.60115152, 0.45295811, 437.9464276, 2.13245612, 0.59785199, 0.65523644),
    "400M": (2.37474466, 0.65421216, 0.42878731, 523.42464371, 2.02462735, 0.59350493, 0.63472457),
}
"""L0, A, alpha, B, C, beta and gamma of the repository's table of best parameters."""

PRINTED = {
    "25M": (0.9988, 0.00376, 0.00465, 0.00110, 0.00409),
    "100M": (0.9983, 0.00435, 0.00592, 0.00142, 0.00583),
    "400M": (0.9978, 0.00484, 0.00730, 0.00168, 0.00995),
}
"""R², mean absolute error, root mean square error, mean and largest relative error: means over six test curves."""

DIGITS = (4, 5, 5, 5, 5)
PEAK = 3e-4


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def curves() -> pd.DataFrame:
    return pd.read_csv(shipped.folder("data") / "training-curves" / "runs.csv", keep_default_na=False)


def loss_of(size: str, text: str, steps: np.ndarray, penalty: MultiPower) -> np.ndarray:
    floor, scale, exponent, drop, rate, power, lr = PUBLISHED[size]
    rows = along_schedule(text, steps)
    constant = drop * PEAK * (1 - (1 + rate * PEAK**-lr * LONG_AGO) ** -power)
    base = floor + constant + scale * rows["lr_area"].to_numpy() ** -exponent
    rate_then, area_then = REFERENCE
    rate = rate * rate_then**-lr * area_then
    at_reference = drop * PEAK * (1 - (1 + rate) ** -power)
    with jax.enable_x64(True):
        found = penalty.penalized(jnp.log(base), {}, penalty.basis(rows), anneal_drop=at_reference, anneal_rate=rate,
                                  anneal_power=power, anneal_lr=lr)  # fmt: skip
    return np.exp(np.asarray(found))


def metrics(expected: np.ndarray, found: np.ndarray) -> tuple[float, ...]:
    error = np.abs(found - expected)
    r2 = 1 - np.sum(error**2) / np.sum((expected - expected.mean()) ** 2)
    return r2, error.mean(), np.sqrt(np.mean(error**2)), np.mean(error / expected), np.max(error / expected)


@pytest.mark.parametrize("size", PUBLISHED)
def test_luo_2025_the_published_constants_give_the_printed_metrics_to_every_digit(size: str, curves: pd.DataFrame):
    test = curves[(curves["family"] == size) & (curves["split"] == "test")]
    penalty = MultiPower(bins=256)  # as good as exact: see the test of bins
    found = [
        metrics(mine["loss"].to_numpy(), loss_of(size, text, mine["step"].to_numpy(), penalty))
        for text, mine in test.groupby("schedule")
    ]
    assert len(found) == 6
    means = np.mean(found, axis=0)
    assert tuple(round(float(x), n) for x, n in zip(means, DIGITS, strict=True)) == PRINTED[size]


def exactly(text: str, step: int) -> float:
    """What the published formula adds to the loss of the 25M model, change by change."""
    _, _, _, drop, rate, power, lr = PUBLISHED["25M"]
    rates = schedule(text).rates()[: step + 1]
    change, area = np.diff(rates, prepend=rates[0]), np.cumsum(rates)
    k = np.flatnonzero(change)
    after = area[-1] - area[k] + rates[k]
    return float(drop * np.sum(change[k] * (1 - (1 + rate * rates[k] ** -lr * after) ** -power)))


def test_the_bins_of_the_default_add_up_the_changes_to_what_its_page_says(curves: pd.DataFrame):
    _, _, _, drop, rate, power, lr = PUBLISHED["25M"]
    worst = 0.0
    for text in curves["schedule"].unique():
        for step in (2200, 4000, 9000, 15900, 20100, 23900):
            if step <= schedule(text).steps:
                change, log_rate, log_area = changes_of(text, step, MultiPower().bins).T
                found = drop * np.sum(change * (1 - (1 + rate * np.exp(log_area - lr * log_rate)) ** -power))
                worst = max(worst, abs(found - exactly(text, step)))
    assert 0 < worst < 3e-5


def test_a_decay_lowers_the_loss_and_a_constant_rate_does_not(curves: pd.DataFrame):
    steps = np.array([20000, 22000, 24000])
    wsd = loss_of("25M", f"linear peak={PEAK} warmup=2160 decay=20000 steps=24000", steps, MultiPower())
    flat = loss_of("25M", f"constant peak={PEAK} warmup=2160 steps=24000", steps, MultiPower())
    assert wsd[0] == pytest.approx(flat[0], abs=1e-6)
    assert (wsd[1:] < flat[1:] - 0.01).all()


def test_tissue_2024_the_annealing_area_is_that_of_its_definition():
    text, memory, step = "linear peak=1e-3 floor=1e-4 warmup=5 decay=20 steps=60", 0.9, 55
    rates = schedule(text).rates()
    falls = np.maximum(-np.diff(rates, prepend=rates[0]), 0)
    expected = sum(falls[k] * memory ** (i - k) for i in range(step + 1) for k in range(i + 1))
    assert annealing_area(text, step, memory) == pytest.approx(expected, rel=1e-12)
    table = along_schedule(text, [step])
    lower = Annealing(memory=0.9).penalized(jnp.log(3.0), {}, Annealing(memory=0.9).basis(table), anneal_slope=2.0)
    assert float(jnp.exp(lower)[0]) == pytest.approx(3.0 - 2.0 * expected, rel=1e-12)


MADE = {"level": 1.02, "ratio_X": 0.12, "exponent": 0.45, "anneal_slope": 0.4}
"""Of the size of a fit of the annealing law to the curves of 25M params."""


def made_curves(seed: int) -> bs.Runs:
    """Curves under four schedules whose losses are those of the annealing law, with noise."""
    rng, steps = np.random.default_rng(seed), np.geomspace(2500, 24000, 20).astype(int)
    kinds = "cosine floor=3e-5", "constant", "linear floor=3e-5 decay=16000", "step floor=9e-5 decay=9000"
    texts = [f"{kind} peak={PEAK} warmup=2160 steps=24000" for kind in kinds]
    table = pd.concat([along_schedule(text, steps) for text in texts], ignore_index=True)
    away = np.log(table["lr_area"]) - np.log(table["lr_area"]).mean()
    law = MADE["level"] * (1 + MADE["ratio_X"] * np.exp(-MADE["exponent"] * away)) / (1 + MADE["ratio_X"])
    loss = 3.2 * law - MADE["anneal_slope"] * Annealing().basis(table)[:, 0]
    noisy = loss * np.exp(0.002 * rng.standard_t(8, len(table)))
    frame = table.assign(family="made", group=table["schedule"], params=25_000_000, loss=noisy)
    return bs.load_runs(frame.drop(columns="lr_area"), loss_unit="nats")


@pytest.mark.slow
def test_tissue_2024_the_slope_and_the_exponent_of_the_spec_are_recovered():
    spec, z = bs.load_spec("annealing"), []
    for seed in range(3):
        fit = bs.fit(made_curves(seed), spec, seed=seed)
        assert fit.converged, fit.verdict
        for site in ("anneal_slope", "exponent"):
            drawn = np.log(fit.posterior[site].to_numpy())
            z.append((np.log(MADE[site]) - drawn.mean()) / drawn.std())
            assert drawn.std() < 0.3 * dict(spec.settings)[site].prior.scale
    assert np.max(np.abs(z)) < 3.5


@pytest.mark.slow
def test_luo_2025_the_constants_that_made_curves_are_recovered():
    """Curves of the law at the published constants of 25M params, under five schedules."""
    rng, steps = np.random.default_rng(5), np.geomspace(2500, 24000, 24).astype(int)
    kinds = ("cosine floor=3e-5", "constant", "linear floor=3e-5 decay=16000", "step floor=9e-5 decay=9000",
             "step floor=3e-5 decay=16000")  # fmt: skip
    texts = [f"{kind} peak={PEAK} warmup=2160 steps=24000" for kind in kinds]
    frame = pd.concat([along_schedule(text, steps).assign(loss=loss_of("25M", text, steps, MultiPower()), group=text)
                       for text in texts], ignore_index=True)  # fmt: skip
    frame["loss"] *= np.exp(0.001 * rng.standard_t(8, len(frame)))
    runs = bs.load_runs(frame.drop(columns="lr_area").assign(family="made", params=25_000_000), loss_unit="nats")
    spec = bs.load_spec("training-curves")
    fit = bs.fit(runs, spec, seed=0)
    assert fit.converged, fit.verdict
    _, _, exponent, drop, rate, power, lr = PUBLISHED["25M"]
    rate *= REFERENCE[0] ** -lr * REFERENCE[1]
    truth = {"exponent": exponent, "anneal_drop": drop * PEAK * (1 - (1 + rate) ** -power), "anneal_rate": rate,
             "anneal_power": power, "anneal_lr": lr}  # fmt: skip
    for site, value in truth.items():
        drawn = np.log(fit.posterior[site].to_numpy())
        assert abs(np.log(value) - drawn.mean()) < 3.5 * drawn.std(), site
        assert drawn.std() < dict(spec.settings)[site].prior.scale, site


@pytest.mark.slow
@pytest.mark.parametrize(("size", "error", "of_luo"), [("25M", 0.0093, 0.0078), ("100M", 0.0093, 0.0104)])
def test_tissue_2024_neither_law_of_schedules_is_better_at_every_size(size: str, error: float, of_luo: float):
    """Root mean square errors on the test curves, after a fit of each to the training curves: what the page says."""
    frame = bs.load_runs("training-curves").where(family=size, exclusion="", thinned="True").frame
    train, test = (frame[frame["split"] == split].reset_index(drop=True) for split in ("train", "test"))
    for name, expected in (("annealing", error), ("training-curves", of_luo)):
        fit = bs.fit(bs.load_runs(train, loss_unit="nats"), name, seed=0)
        found = bs.forecast(fit, queries=test[["family", "group", "schedule", "step"]]).summary
        away = found["epred_q50"] - test["loss"]
        assert float(np.sqrt(np.mean(away**2))) == pytest.approx(expected, abs=3e-4), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_schedule_is_what_its_text_says(kind: str):
    made = Schedule(kind, peak=1e-3, steps=100, floor=1e-3 if kind == "constant" else 1e-4, warmup=11, decay=50)
    assert schedule(str(made)) == made
    rates = made.rates()
    assert rates[[0, 10, 49]].tolist() == [0.0, 1e-3, 1e-3]
    assert rates[-1] == pytest.approx(made.floor, rel=1e-12)
    assert (np.diff(rates[11:]) <= 0).all()


@pytest.mark.parametrize(
    "text",
    ["", "cosine", "cosine peak=1e-3", "wsd peak=1e-3 steps=10", "cosine peak=-1 steps=10", "cosine peak=1 steps=1e99",
     "constant peak=1e-3 steps=10 cycles=2", "cosine peak=1e-3 steps=100 warmup=200",
     "cosine peak=1e-3 steps=10 floor=1"],
)  # fmt: skip
def test_a_wrong_schedule_is_refused_with_an_example(text: str):
    with pytest.raises(RunsError, match="peak="):
        schedule(text)


def test_a_step_beyond_the_schedule_is_refused():
    with pytest.raises(RunsError, match="no such step"):
        along_schedule("cosine peak=1e-3 steps=10", [11])
