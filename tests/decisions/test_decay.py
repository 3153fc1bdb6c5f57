"""Decay: the best start against a search of the published formula, step by step, and what cannot be decided."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from known import CHAINS, DRAWS, SARDANA, known_fit

import bayescale as bs
from bayescale.cli import main
from bayescale.core.errors import BayescaleError, QueryError
from bayescale.modelling.design import anchor_of
from bayescale.parts.penalties.annealing import LONG_AGO, REFERENCE, MultiPower
from bayescale.parts.schedules import schedule

SPEC = """
title = "A known law of schedules"
law = "power-floor"
inputs = ["lr_area"]
penalties = ["multi-power"]

[responses]
loss = "student-t"

[fields.multi-power]
bins = 256
"""
PEAK, STEPS, WARMUP = 3e-4, 20_000, 2000
FLOOR, SCALE, EXPONENT = 2.65, 0.59, 0.45
DROP, RATE, POWER, LR = 0.131, 2.05, 0.59, 0.64
"""Of the size of the constants of Luo et al. 2025 for 100M params."""
TEXT = f"linear peak={PEAK} floor=3e-5 warmup={WARMUP} steps={STEPS}"


def reached(rate: float, area: float) -> float:
    return 1 - (1 + RATE * rate**-LR * area) ** -POWER


def exactly(text: str, step: int) -> float:
    """Loss of the published formula, change by change."""
    rates = schedule(text).rates()[: step + 1]
    change, area = np.diff(rates, prepend=rates[0]), np.cumsum(rates)
    k = np.flatnonzero(change)
    after = area[-1] - area[k] + rates[k]
    added = np.sum(change[k] / PEAK * (1 - (1 + RATE * rates[k] ** -LR * after) ** -POWER))
    return float(FLOOR + SCALE * area[-1] ** -EXPONENT + DROP * added)


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory) -> bs.Fit:
    """Every draw is one law of the published form."""
    path = tmp_path_factory.mktemp("spec") / "known.toml"
    path.write_text(SPEC)
    spec, frame = bs.load_spec(path), bs.load_runs("training-curves").frame
    runs = bs.load_runs(frame[(frame["family"] == "100M") & (frame["thinned"] == "True")], loss_unit="nats")
    anchor = {name: float(np.exp(value)) for name, value in anchor_of(spec, MultiPower().filled(runs.frame)).items()}
    E, reducible = FLOOR + DROP * reached(PEAK, LONG_AGO), SCALE * anchor["lr_area"] ** -EXPONENT
    values = {"level": (E + reducible) / anchor["loss"], "ratio_X": reducible / E, "exponent": EXPONENT,
              "anneal_drop": DROP * reached(*REFERENCE), "anneal_rate": RATE * REFERENCE[0] ** -LR * REFERENCE[1],
              "anneal_power": POWER, "anneal_lr": LR, "sigma": 0.003, "nu": 5.0}  # fmt: skip
    rng = np.random.default_rng(0)
    sites = {name: x * np.exp(1e-9 * rng.standard_normal((CHAINS, DRAWS))) for name, x in values.items()}
    return bs.Fit.from_samples(sites, spec, runs)


def test_the_start_is_that_of_a_search_of_the_published_formula(fit: bs.Fit) -> None:
    choice = bs.decide("decay", fit, schedule=TEXT)
    starts = choice.actions["start"].to_numpy()
    losses = np.array([exactly(TEXT.replace("warmup", f"decay={start} warmup"), STEPS) for start in starts])
    assert 0 < losses.argmin() < len(losses) - 1  # neither all of the steps nor none
    assert choice.action["start"] == starts[losses.argmin()]
    found = choice.outcome.mean("draw").to_numpy()
    np.testing.assert_allclose(found, losses, atol=5e-6)  # of the bins of the changes
    low, high = choice.as_good
    good = starts[losses <= losses.min() * 1.001]
    assert abs(low - good.min()) <= np.diff(starts).max() >= abs(high - good.max())


def test_the_gain_is_over_the_start_that_the_schedule_names(fit: bs.Fit) -> None:
    late = TEXT.replace("warmup", "decay=19000 warmup")
    choice = bs.decide("decay", fit, schedule=late)
    saved = exactly(late, STEPS) - exactly(TEXT.replace("warmup", f"decay={choice.action['start']} warmup"), STEPS)
    assert choice.gain["q50"] == pytest.approx(saved, abs=1e-4)
    assert saved > 0.003


def test_a_schedule_that_is_longer_than_the_runs_is_noted(fit: bs.Fit) -> None:
    assert "200k" in bs.decide("decay", fit, schedule=TEXT.replace(str(STEPS), "200000")).notes[-1]
    assert bs.decide("decay", fit, schedule=TEXT).notes == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("constant peak=3e-4 steps=100", "a constant schedule has no decay"),
        ("linear peak=3e-4 warmup=99 steps=100", "no step between its warm-up and its end"),
        ("linear steps=100", "cannot read the schedule"),
    ],
)
def test_a_schedule_without_a_choice_is_refused(fit: bs.Fit, text: str, said: str) -> None:
    with pytest.raises(BayescaleError, match=said):
        bs.decide("decay", fit, schedule=text)


def test_a_law_without_schedules_is_refused() -> None:
    dense = known_fit(bs.load_runs("hoffmann2022").where(exclusion=""), "additive", SARDANA)
    with pytest.raises(QueryError, match="needs a law of schedules"):
        bs.decide("decay", dense, schedule=TEXT)


def test_the_command_line_decides(fit: bs.Fit, tmp_path: Path) -> None:
    saved = fit.save(tmp_path / "fit.nc")
    ran = CliRunner().invoke(main, ["decide", "decay", str(saved), "--schedule", TEXT, "--json"])
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.output)["start"] == bs.decide("decay", fit, schedule=TEXT).action["start"]
