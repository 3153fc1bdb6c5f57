"""Experts: the printed figures of the joint law of routed models, the decision that it answers, and its actions."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from known import CHAINS, DRAWS, SARDANA, known_fit
from scipy.optimize import minimize_scalar

import bayescale as bs
from bayescale.cli import main
from bayescale.core.errors import QueryError
from bayescale.decisions.experts import Experts
from bayescale.parts.laws.routed import RoutedJoint

JOINT = {  # Table 3 of Ludziejewski et al. 2025; their c is E
    "A": 35.91, "alpha_1": -0.1889, "delta": -0.2285, "gamma": 0.0098, "B": 35.98, "beta": -0.1775, "omega": 0.5529,
    "zeta": -0.0259, "E_start": 2.0732, "E_max": 290.4521, "E": 1.3637,
}  # fmt: skip
REDUCED = {  # Table 4: experts → m, mu, n, nu
    1: (30.3640, -0.1817, 53.9838, -0.1965),
    2: (27.7982, -0.1780, 66.8401, -0.2065),
    4: (24.8462, -0.1731, 87.7022, -0.2192),
    8: (21.8330, -0.1676, 119.9126, -0.2338),
    16: (19.0159, -0.1617, 167.5073, -0.2494),
    32: (16.5424, -0.1557, 234.6726, -0.2652),
}
OPTIMA = {  # Table 1: FLOP → billions of active params and of tokens, by experts
    1e20: {1: (1.7, 9.7), 2: (1.5, 11.4), 4: (1.2, 13.9), 8: (0.99, 17), 16: (0.81, 20.7), 32: (0.669, 24.9)},
    1e21: {1: (5.7, 29.3), 2: (5, 33), 4: (4.4, 38), 8: (3.8, 44.3), 16: (3.3, 51.2), 32: (2.85, 58.4)},
    1e22: {1: (18.8, 88.6), 2: (17.4, 96), 4: (15.8, 105.4), 8: (14.4, 115.8), 16: (13.2, 126.5), 32: (12.2, 136.9)},
}
COARSE = {(1e20, 1, 1.7), (1e20, 2, 1.5)}
"""FLOP, experts and billions of params that are printed with two digits, and differ by more than 1.5% for that."""

VOCAB, ASPECT = 50_257, 64.0  # of the models of the paper: 64 of width for each block
TABLE = {1e21: (16, 32, 32), 1e22: (4, 16, 32), 1e23: (1, 8, 32), 1e24: (1, 1, 16)}
"""Table 2 of Ludziejewski et al. 2025: best experts by FLOP, for 24, 80 and 640 GB; 32 stands for at least 32."""
MEMORY = (24.0, 80.0, 640.0)
CELLS = [(flops, memory, experts) for flops, row in TABLE.items() for memory, experts in zip(MEMORY, row, strict=True)]
OTHER = {(1e21, 24.0), (1e23, 80.0), (1e24, 640.0)}
"""Cells in which the printed constants, under the paper's own formulas for params, caches and compute, prefer a
neighbour: 32 for 16, 4 for 8 and 8 for 16. The paper does not say on which grid of sizes its table was made."""


def effective(experts, start, most):
    return 1 / (1 / (experts - 1 + 1 / (1 / start - 1 / most)) + 1 / most)


def joint_at(n0: float, d0: float, experts: float) -> dict[str, float]:
    """Parameters of the joint law at an anchor, from its printed constants."""
    p, e = JOINT, np.log(effective(experts, JOINT["E_start"], JOINT["E_max"]))
    n, d = np.log(n0), np.log(d0)
    by_params = p["A"] * np.exp(p["delta"] * e + (p["alpha_1"] + p["gamma"] * e) * n)
    by_tokens = p["B"] * np.exp(p["omega"] * e + (p["beta"] + p["zeta"] * e) * d)
    return {
        "level": p["E"] + by_params + by_tokens,
        "ratio_A": by_params / p["E"],
        "ratio_B": by_tokens / p["E"],
        "alpha_N": -p["alpha_1"] - p["gamma"] * e,
        "beta_D": -p["beta"] - p["zeta"] * e,
        "gain_A": -p["delta"] - p["gamma"] * n,
        "gain_B": -p["omega"] - p["zeta"] * d,
        "fade_A": p["gamma"],
        "grow_B": -p["zeta"],
        "onset": (1 / (1 / p["E_start"] - 1 / p["E_max"]) - 1) / experts,
        "ceiling": p["E_max"] / experts,
    }


ANCHOR = (4e8, 8e9, 5.0)


def joint_loss(params, tokens, experts) -> np.ndarray:
    """Loss of the shipped law at the printed constants."""
    inputs = [np.log(x) - np.log(x0) for x, x0 in zip((params, tokens, experts), ANCHOR, strict=True)]
    with jax.enable_x64(True):
        return np.exp(np.asarray(RoutedJoint.log_loss(*inputs, **joint_at(*ANCHOR))))


def test_ludziejewski_2025_constants_come_back_from_any_anchor() -> None:
    with jax.enable_x64(True):
        found = RoutedJoint.published(*np.log(ANCHOR), loss=0.0, **joint_at(*ANCHOR))
    assert found.keys() == JOINT.keys()
    for name, value in JOINT.items():
        assert float(found[name]) == pytest.approx(value, rel=1e-9), name


@pytest.mark.parametrize("experts", REDUCED)
def test_ludziejewski_2025_table_4_reduced_to_one_number_of_experts(experts: int) -> None:
    m, mu, n, nu = REDUCED[experts]
    params, tokens = np.geomspace(1e8, 1e11, 7)[:, None], np.geomspace(1e9, 1e13, 7)
    reduced = m * params**mu + n * tokens**nu + JOINT["E"]
    np.testing.assert_allclose(joint_loss(params, tokens, float(experts)), reduced, rtol=0.001)
    endless = 1e300  # of the other input, so that one term and the floor are left
    terms = joint_loss(params, endless, float(experts)) - JOINT["E"], joint_loss(endless, tokens, float(experts))
    found = [*_power(params[:, 0], terms[0][:, 0]), *_power(tokens, terms[1] - JOINT["E"])]
    np.testing.assert_allclose(found, REDUCED[experts], rtol=0.003)


def _power(x: np.ndarray, term: np.ndarray) -> tuple[float, float]:
    slope, constant = np.polyfit(np.log(x), np.log(term), 1)
    return float(np.exp(constant)), float(slope)


@pytest.mark.parametrize("flops", OPTIMA)
def test_ludziejewski_2025_table_1_optima(flops: float) -> None:
    for experts, (params, tokens) in OPTIMA[flops].items():
        found = minimize_scalar(
            lambda n, e=float(experts): float(joint_loss(np.exp(n), flops / (6 * np.exp(n)), e)),
            bounds=(np.log(1e8), np.log(1e12)),
            method="bounded",
            options={"xatol": 1e-6},
        )
        best = np.exp(found.x) / 1e9
        for value, printed in ((best, params), (flops / (6e18 * best), tokens)):
            coarse = (flops, experts, printed) in COARSE
            rounded = 0.5 * 10.0 ** -len(f"{printed}".partition(".")[2])  # half a unit of the last printed digit
            assert abs(value - printed) < (rounded if coarse else 0.015 * printed)


def sweep(scatter: float = 0.0) -> bs.Runs:
    """144 runs of six sizes, six numbers of experts and four numbers of tokens, within those of the paper."""
    counts, lengths = (1, 2, 4, 8, 16, 32), (1e9, 4e9, 16e9, 64e9)
    rows = [(64.0 * n, n, experts, tokens) for n in (8, 10, 12, 16, 21, 26) for experts in counts for tokens in lengths]
    frame = pd.DataFrame(rows, columns=["width", "blocks", "experts", "tokens"])
    matrix = frame["blocks"] * frame["width"] ** 2
    frame["active_params"] = 2 * frame["width"] * VOCAB + 13 * matrix
    frame["params"] = 2 * frame["width"] * VOCAB + (4 + 9 * frame["experts"]) * matrix
    frame["flops"] = 6 * frame["active_params"] * frame["tokens"]
    loss = joint_loss(*(frame[name].to_numpy(float) for name in ("active_params", "tokens", "experts")))
    noise = scatter * np.random.default_rng(0).standard_normal(len(frame))
    return bs.load_runs(frame.assign(loss=loss * np.exp(noise), family="ours"), loss_unit="nats")


@pytest.fixture(scope="module")
def printed() -> bs.Fit:
    """The joint law at its printed constants, spread by 1e-9 of themselves."""
    runs, rng = sweep(), np.random.default_rng(0)
    logs = np.log(runs.frame[["active_params", "tokens"]].astype(float).to_numpy())
    experts = np.exp(np.log(runs.frame["experts"].astype(float)).mean())
    values = joint_at(*np.exp(logs.mean(axis=0)), experts)
    values["level"] /= float(np.median(runs["loss"]))
    sites = {name: value * np.exp(1e-9 * rng.standard_normal((CHAINS, DRAWS)))
             for name, value in {**values, "sigma": 0.003, "nu": 5.0, "rise": 0.1}.items()}  # fmt: skip
    return bs.Fit.from_samples(sites, "routed-joint", runs)


def asked(flops: float, memory: float | None = None, **settings) -> Experts:
    return Experts(flops=flops, memory=memory, aspect=ASPECT, vocab=VOCAB, **settings)


def test_the_printed_constants_are_those_of_the_fit(printed: bs.Fit) -> None:
    for name, value in JOINT.items():
        assert printed.summary.loc[name, "mean"] == pytest.approx(value, rel=1e-6), name


@pytest.mark.parametrize(("flops", "memory", "experts"), CELLS)
def test_ludziejewski_2025_table_2_best_experts_by_budget_and_memory(flops, memory, experts, printed: bs.Fit) -> None:
    choice = bs.decide(asked(flops, memory), printed)
    if (flops, memory) in OTHER:
        assert choice.action["experts"] in (experts / 2, 2 * experts)
        assert choice.by_experts[f"{experts}"]["worse"] < 0.008
    else:
        assert choice.action["experts"] == experts


@pytest.mark.slow
def test_a_fit_of_simulated_runs_gives_the_table_within_its_posterior() -> None:
    """Where the constants give the printed cell, it is the choice or as good as it in at least 5% of the draws."""
    fit = bs.fit(sweep(scatter=0.003), "routed-joint", seed=0)
    assert fit.converged
    away = [(row["mean"] - JOINT[name]) / row["sd"] for name, row in fit.summary.iterrows() if name in JOINT]
    assert np.abs(away).max() < 3.5  # of 11, in SDs of the posterior
    for flops, memory, experts in CELLS:
        if (flops, memory) not in OTHER:
            row = bs.decide(asked(flops, memory), fit).by_experts[f"{experts}"]
            assert row["worse_q05"] <= 0, (flops, memory)
            assert row["probability"] > 0.05, (flops, memory)


def test_actions_count_params_memory_and_compute_as_the_paper_does(printed: bs.Fit) -> None:
    table = asked(1e22, served=1e11).actions(printed)
    width, blocks, experts = (table[name].to_numpy(float) for name in ("width", "layers", "experts"))
    assert (blocks == width / ASPECT).all()
    active = 2 * width * VOCAB + 13 * blocks * width**2
    everything = 2 * width * VOCAB + (4 + 9 * experts) * blocks * width**2
    np.testing.assert_allclose(table["active_params"], active, rtol=0.02)  # norms and the router are counted too
    np.testing.assert_allclose(table["params"], everything, rtol=0.003)
    np.testing.assert_allclose(table["memory_gb"], 2e-9 * (table["params"] + 2 * 16_384 * blocks * width), rtol=1e-12)
    spent = 6 * table["active_params"] * table["tokens"] + 2 * table["active_params"] * 1e11
    np.testing.assert_allclose(spent, 1e22, rtol=1e-12)


def test_a_limit_of_memory_costs_loss_and_its_price_is_reported(printed: bs.Fit) -> None:
    free, tight = (bs.decide(asked(1e22, memory), printed) for memory in (None, 24.0))
    assert tight.action["memory_gb"] <= 24.0 < free.action["memory_gb"]
    (limit,) = tight.limits
    assert limit.name == "max_memory_gb"
    assert limit.worth == pytest.approx(tight.outcome[:, tight.best.action].mean() - free.outcome.mean("draw").min())
    assert not free.limits
    assert "dense" in dict(tight.lines)


def test_served_tokens_favour_fewer_active_params(printed: bs.Fit) -> None:
    none, many = (bs.decide(asked(1e22, 80.0, served=served), printed) for served in (None, 1e12))
    assert many.action["active_params"] < none.action["active_params"]


def test_a_limit_of_time_needs_hardware_and_binds(printed: bs.Fit) -> None:
    settings = {"memory": 80.0, "hardware": "H100", "kv_heads": 8, "sequences": 8.0}
    slow, fast = (bs.decide(asked(1e22, **settings, limits=limits), printed)
                  for limits in ({}, {"max_milliseconds": "8"}))  # fmt: skip
    assert fast.action["milliseconds"] <= 8 < slow.action["milliseconds"]
    assert (slow.actions["accelerators"] == np.ceil(slow.actions["memory_gb"] / 80)).all()
    with pytest.raises(QueryError, match="no limit is called 'max_milliseconds'"):
        bs.decide(asked(1e22, limits={"max_milliseconds": "8"}), printed)


def test_a_fit_with_sparsity_decides_too(printed: bs.Fit) -> None:
    runs = sweep()
    frame = runs.frame.assign(sparsity=runs["params"] / runs["active_params"])
    rng = np.random.default_rng(0)
    values = {"level": 1.0, "ratio_A": 0.4, "ratio_B": 0.4, "alpha_N": 0.3, "beta_D": 0.3, "worth": 0.5, "sigma": 0.003,
              "nu": 5.0}  # fmt: skip
    sites = {name: x * np.exp(1e-9 * rng.standard_normal((CHAINS, DRAWS))) for name, x in values.items()}
    fit = bs.Fit.from_samples(sites, "sparsity", bs.load_runs(frame, loss_unit="nats"))
    assert bs.decide(asked(1e21), fit).action["experts"] == 32
    assert bs.decide(asked(1e24, 24.0), fit).action["experts"] == 1


def test_the_choice_says_how_far_it_is_beyond_the_runs(printed: bs.Fit) -> None:
    largest = float(printed.design_frame["flops"].max())
    for times in (10.0, 100.0):
        choice = bs.decide(asked(times * largest), printed)
        assert choice.to_dict()["reach_decades"] == pytest.approx(np.log10(times), abs=1e-6)
        assert f"up to {times:g} times the compute of the largest run" in choice.problem


def test_what_cannot_be_decided_is_refused(printed: bs.Fit) -> None:
    dense = known_fit(bs.load_runs("hoffmann2022").where(exclusion=""), "additive", SARDANA)
    with pytest.raises(QueryError, match="needs a law of active_params, tokens, and experts or sparsity"):
        bs.decide(asked(1e22), dense)
    with pytest.raises(QueryError, match="number of experts is out of range"):
        bs.decide(asked(1e22, experts="0,8"), printed)
    with pytest.raises(QueryError, match="trains no model"):
        bs.decide(asked(1e22, served=1e16), printed)
    with pytest.raises(QueryError, match="memory is out of range"):
        asked(1e22, 0.0)


def test_the_command_line_decides_and_its_json_is_whole(printed: bs.Fit, tmp_path: Path) -> None:
    saved = printed.save(tmp_path / "fit.nc")
    arguments = [
        "decide",
        "experts",
        str(saved),
        "--flops",
        "1e22",
        "--memory",
        "80",
        "--vocab",
        "50257",
        "--aspect",
        "64",
    ]
    done = CliRunner().invoke(main, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["decision"] == "experts"
    assert found["experts"] == 16
    assert found["by_experts"]["16"]["probability"] == 1.0
    assert set(found["by_experts"]) == {"1", "2", "4", "8", "16", "32"}
    words = CliRunner().invoke(main, arguments, catch_exceptions=False).stdout
    assert "choose" in words
    assert "a dense model of" in words
