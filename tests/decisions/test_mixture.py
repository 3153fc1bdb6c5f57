"""The decision mixture, against closed forms and grids of mixtures."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.core.errors import QueryError
from bayescale.decisions.simplex import descended
from bayescale.modelling.design import anchor_of
from bayescale.parts.shares import OFFSET

CHAINS, DRAWS, RUNS = 4, 250, 60  # draws of which the diagnostics approve
FLOOR = 2.0


def runs_of(domains: tuple[str, ...], texts: tuple[str, ...]) -> bs.Runs:
    shares = np.random.default_rng(1).dirichlet(np.full(len(domains), 0.7), RUNS)
    frame = pd.DataFrame(shares, columns=[f"share_{name}" for name in domains])
    frame = pd.concat([frame.assign(family=text) for text in texts], ignore_index=True)
    return bs.load_runs(frame.assign(params=1e8, tokens=2e9, loss=3.0 + frame.iloc[:, 0]), loss_unit="nats")


def known(worth: dict[str, np.ndarray], power: float, texts: tuple[str, ...] = ("text",)) -> bs.Fit:
    """A fit whose draws are ``E + 1 / Σ C h^γ`` with these C, one value for each draw and text."""
    domains = tuple(worth)
    law = {"mixture-additive": {"domains": list(domains)}}
    spec = bs.make_spec("known", law="mixture-additive", fields=law, pooling={"default": "none"})
    runs, rng = runs_of(domains, texts), np.random.default_rng(0)
    wide = (CHAINS, DRAWS, len(texts)) if len(texts) > 1 else (CHAINS, DRAWS)
    anchor = {name: float(np.exp(x)) for name, x in anchor_of(spec, runs.frame).items()}

    def drawn(value: np.ndarray | float) -> np.ndarray:
        return np.broadcast_to(value, wide) * np.exp(1e-9 * rng.standard_normal(wide))

    at = {name: anchor[f"share_{name}"] ** power for name in domains}
    sums = sum(np.asarray(worth[name]) * at[name] for name in domains)
    sites = {"level": (FLOOR + 1 / sums) / anchor["loss"], "power": power, "sigma": 0.005, "nu": 5.0}
    sites |= {f"part_{name}": FLOOR * np.asarray(worth[name]) * at[name] for name in domains}
    sites |= dict.fromkeys([f"power_{name}" for name in domains], 1.0)
    return bs.Fit.from_samples({name: drawn(value) for name, value in sites.items()}, spec, runs)


def shares(choice: bs.Choice) -> np.ndarray:
    return np.array([value for name, value in choice.action.items() if str(name).startswith("share_")], float)


@pytest.fixture(scope="module")
def two() -> tuple[bs.Fit, np.ndarray]:
    """Two domains and an uncertain worth of the second: the fit, and losses of its draws on a grid of mixtures."""
    worth = np.exp(0.5 * np.random.default_rng(2).standard_normal((CHAINS, DRAWS)))
    grid = np.linspace(0.0, 1.0, 20_001)
    each = [(h + OFFSET) ** 0.5 for h in (1 - grid, grid)]
    return known({"a": np.array(2.0), "b": worth}, 0.5), FLOOR + 1 / (2 * each[0] + worth.reshape(-1, 1) * each[1])


def test_steps_on_the_simplex_find_the_closed_form_and_a_corner() -> None:
    """With one power, the best shares are in proportion to C^(1/(1-γ)): the slopes γ C h^(γ-1) are then equal."""
    worth, power = np.array([[2.0, 1.0, 0.5, 0.01], [1.0, 1.0, 1.0, 3.0]]), 0.6

    def slopes(h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        total = (worth * h**power).sum(axis=1)
        return 1 / total, -power * worth * h ** (power - 1) / total[:, None] ** 2

    found, _ = descended(slopes, np.full((2, 4), 0.25), np.zeros(4), np.ones(4))
    best = worth ** (1 / (1 - power))
    np.testing.assert_allclose(found, best / best.sum(axis=1, keepdims=True), atol=1e-6)
    limited, _ = descended(slopes, np.full((2, 4), 0.25), np.zeros(4), np.array([0.3, 1.0, 1.0, 1.0]))
    rest = np.r_[0.0, best[0, 1:]]
    np.testing.assert_allclose(limited[0], [0.3, *(0.7 * rest / rest.sum())[1:]], atol=1e-6)
    slope = np.array([[1.0, -0.5, 0.2]])
    corner, value = descended(
        lambda h: ((h * slope).sum(axis=1), slope), np.full((1, 3), 1 / 3), np.zeros(3), np.ones(3)
    )
    np.testing.assert_allclose(corner, [[0.0, 1.0, 0.0]], atol=1e-6)
    assert float(value[0]) == pytest.approx(-0.5, abs=1e-6)


def test_the_best_mixture_of_a_known_law_is_the_closed_form() -> None:
    worth = {"a": 2.0, "b": 1.0, "c": 0.3}
    choice = bs.decide("mixture", known({name: np.array(x) for name, x in worth.items()}, 0.5))
    best = np.array(list(worth.values())) ** 2
    np.testing.assert_allclose(shares(choice), best / best.sum(), atol=1e-4)
    assert choice.regret < 1e-8
    for name, x in zip(worth, best / best.sum(), strict=True):
        low, high = choice.as_good[f"share_{name}"]
        assert low < x < high


def test_of_two_domains_it_is_the_best_of_a_grid_with_its_regret(two: tuple[bs.Fit, np.ndarray]) -> None:
    fit, losses = two
    choice, mean = bs.decide("mixture", fit), losses.mean(axis=0)
    assert choice.action["share_b"] == pytest.approx(mean.argmin() / 20_000, abs=2e-4)
    assert choice.regret == pytest.approx(mean.min() - losses.min(axis=1).mean(), rel=1e-3)
    best = losses.argmin(axis=1) / 20_000
    middle = choice.best_shares["share_b"]
    assert [middle[q] for q in ("q05", "q50", "q95")] == pytest.approx(np.quantile(best, [0.05, 0.5, 0.95]), abs=2e-3)
    low, high = choice.as_good["share_b"]  # within 0.1% of the least expected loss, up to the steps of the search
    as_good = np.flatnonzero(mean <= mean.min() * 1.001) / 20_000
    assert as_good[0] <= low <= as_good[0] + 0.05
    assert as_good[-1] - 0.05 <= high <= as_good[-1]
    assert json.loads(json.dumps(choice.to_dict()))["settled"]


def test_a_limit_of_a_share_binds_and_says_what_it_costs(two: tuple[bs.Fit, np.ndarray]) -> None:
    fit, losses = two
    mean = losses.mean(axis=0)
    choice = bs.decide("mixture", fit, limits={"max_share_b": "0.1"})
    assert choice.action["share_b"] == pytest.approx(0.1, abs=1e-6)
    assert choice.as_good["share_b"][1] == pytest.approx(0.1, abs=1e-6)  # more of it would be better
    (binding,) = choice.limits
    assert binding.worth == pytest.approx(mean[2000] - mean.min(), rel=1e-3)
    assert binding.looser == pytest.approx(mean[2000] - mean[2200], rel=1e-3)


def test_texts_are_weighted_and_the_loss_on_another_text_can_be_limited() -> None:
    texts = ("prose", "code")
    worth = {"a": np.array([2.0, 0.5]), "b": np.array([0.5, 2.0])}
    fit, grid = known(worth, 0.5, texts), np.linspace(0.0, 1.0, 20_001)
    each = [(h + OFFSET) ** 0.5 for h in (grid, 1 - grid)]
    code, prose = (FLOOR + 1 / (worth["a"][i] * each[0] + worth["b"][i] * each[1]) for i in range(2))
    # Families are in the order of their names.
    both = bs.decide("mixture", fit, texts={"prose": 1.0, "code": 3.0})
    assert both.action["share_a"] == pytest.approx((0.25 * prose + 0.75 * code).argmin() / 20_000, abs=5e-4)
    alone = bs.decide("mixture", fit, family="prose")
    limit = float(code[(prose.argmin() + code.argmin()) // 2])
    limited = bs.decide("mixture", fit, family="prose", limits={"max_loss_code": str(limit)})
    assert limited.action["loss_code"] <= limit * (1 + 1e-6)
    within = code <= limit
    low, high = limited.as_good["share_a"]
    assert within[round(low * 20_000) + 1 : round(high * 20_000)].all()
    assert low < high
    assert -limited.best.expected >= prose[within].min() - 1e-9
    assert -limited.best.expected <= prose[within].min() + 1e-3 * (prose[within].min() - prose.min())
    assert alone.best.expected > limited.best.expected


@pytest.mark.parametrize(("settings", "words"), [
    ({"limits": {"max_share_c": "0.5"}}, "no limit is called 'max_share_c'"),
    ({"limits": {"max_share_a": "0.4", "max_share_b": "0.4"}}, "no mixture is within the limits"),
    ({"limits": {"max_share_a": "much"}}, "is not a number"),
    ({"texts": {"text": -1.0}}, "the weight of 'text' is not a positive number"),
    ({"texts": {"prose": 1.0}}, "no family 'prose' in the fit"),
])  # fmt: skip
def test_settings_that_no_mixture_can_have_are_refused(two, settings: dict, words: str) -> None:
    with pytest.raises(QueryError, match=words):
        bs.decide("mixture", two[0], **settings)


def test_a_law_without_shares_has_no_mixture(chinchilla_fit: bs.Fit) -> None:
    with pytest.raises(QueryError, match="needs a law of the shares of one mixture"):
        bs.decide("mixture", chinchilla_fit)


@pytest.mark.slow
def test_que_2024_the_most_chemistry_that_costs_three_percent_of_the_general_loss_is_the_published_share() -> None:
    """Losses of D-CPT (Que et al. 2024, arXiv:2406.01375) at seven shares of chemistry: 0.924 meets the limit."""
    share = np.array([0.9, 0.91, 0.92, 0.924, 0.93, 0.94, 1.0])
    losses = {"general": [2.9052, 2.9193, 2.9376, 2.9445, 2.9644, 2.9848, 3.4667],
              "chemistry": [1.7321, 1.7312, 1.7311, 1.7291, 1.7279, 1.7265, 1.7220]}  # fmt: skip
    tables = [pd.DataFrame({"family": text, "loss": loss, "share_chemistry": share, "share_general": 1 - share,
                            "params": 1.8e9, "tokens": 1e10}) for text, loss in losses.items()]  # fmt: skip
    runs = bs.load_runs(pd.concat(tables, ignore_index=True), loss_unit="nats")
    spec = bs.make_spec("one-size", law="mixture-additive", pooling={"default": "none"},
                        fields={"mixture-additive": {"domains": ["general", "chemistry"]}})  # fmt: skip
    before = 2.8602  # general loss without chemistry
    choice = bs.decide("mixture", bs.fit(runs, spec, seed=0), family="chemistry",
                       limits={"max_loss_general": f"{1.03 * before}"})  # fmt: skip
    assert choice.action["loss_general"] <= 1.03 * before * (1 + 1e-6)
    assert choice.action["share_chemistry"] == pytest.approx(0.924, abs=0.002)
