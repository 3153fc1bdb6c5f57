"""Lifetime: published optima, the closed form of each draw, uncertain demand, and requests that cannot be met."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from known import SARDANA, additive, bisected, known_fit, slope
from scipy.stats import t

import bayescale as bs
from bayescale.cli import main
from bayescale.core.errors import QueryError
from bayescale.decisions.data_cap import DataCap
from bayescale.decisions.fixed_params import FixedParams
from bayescale.decisions.hardware import hardware
from bayescale.decisions.lifetime import Lifetime
from bayescale.decisions.limits import buildable
from bayescale.decisions.plans import least
from bayescale.decisions.serving import Server, served
from bayescale.decisions.words import measured
from bayescale.runs.shapes import Shape

MEAN = 2e12
SPREAD = f"lognormal({MEAN * math.exp(-0.32)!r}, 0.8)"  # its mean is MEAN: exp(0.8² / 2) = exp(0.32)


@pytest.fixture(scope="module")
def sardana(chinchilla: bs.Runs) -> bs.Fit:
    return known_fit(chinchilla, "additive", SARDANA)


@pytest.fixture(scope="module")
def fit(chinchilla: bs.Runs, chinchilla_fit: bs.Fit) -> bs.Fit:
    """Every fourth draw: nothing here depends on their number."""
    return bs.Fit.from_samples(chinchilla_fit.posterior.isel(draw=slice(None, None, 4)), "additive", chinchilla)


def optimum(fit: bs.Fit, quality: np.ndarray, demand: float) -> tuple[np.ndarray, np.ndarray]:
    """Params and tokens of least 6·N·D + 2·N·T at a loss: αA·N^-α = βB·D^-β·(1 + T / 3D); each of shape (draw, 1)."""
    E, A, B, alpha, beta = additive(fit)

    def params(ln_tokens: np.ndarray) -> np.ndarray:
        return (A / (quality - E - B * np.exp(-beta * ln_tokens))) ** (1 / alpha)

    def imbalance(ln_tokens: np.ndarray) -> np.ndarray:
        gain = beta * B * np.exp(-beta * ln_tokens) * (1 + demand / (3 * np.exp(ln_tokens)))
        return alpha * (quality - E - B * np.exp(-beta * ln_tokens)) - gain

    fewest = np.log(B / (quality - E)) / beta  # with endless params
    found = bisected(imbalance, fewest + 1e-9, fewest + 30.0)
    return params(found), np.exp(found)


def quality_of(fit: bs.Fit, params: float) -> np.ndarray:
    """Loss of a compute-optimal model in each draw, shape (draw, 1)."""
    E, A, _, alpha, beta = additive(fit)
    return E + A * params**-alpha * (1 + alpha / beta)


@pytest.mark.parametrize(
    ("like", "demand", "params", "over", "saving"),
    [
        ("13B", 2e12, 6.97e9, 2.165, 0.1745),
        ("7B", 1e11, 6.00e9, 1.176, 0.0085),
        ("30B", 1e13, 13.61e9, 2.845, 0.2798),
        ("70B", 1e13, 41.55e9, 7.923e12 / 4.255e12, 0.1195),
    ],
)
def test_the_optima_of_sardana(sardana: bs.Fit, like, demand, params, over, saving) -> None:
    """Recomputed from the paper's constants; its tables print 17%, 1.18 times the tokens, 2.84 times, 28% and 12%."""
    choice = bs.decide(Lifetime(demand=demand, like=like), sardana)
    best, tokens = optimum(sardana, quality_of(sardana, bs.quantity(like)), demand)
    assert np.exp(choice.ln_optimum) == pytest.approx(params, rel=1e-3)  # the figures have three or four digits
    assert tokens[:, 0] / np.exp(choice.ln_optimal_tokens) == pytest.approx(over, rel=1e-3)
    assert choice.saving == pytest.approx(saving, abs=1e-3)
    assert choice.params == pytest.approx(float(best.mean()), rel=0.0126)  # half of a step of 0.025


def test_each_draw_has_its_closed_form(fit: bs.Fit) -> None:
    choice = bs.decide(Lifetime(demand=MEAN, like="13B", probability=0.01), fit)
    params, tokens = optimum(fit, quality_of(fit, 13e9), MEAN)
    assert np.exp(choice.ln_optimum) == pytest.approx(params[:, 0], rel=1e-6)
    assert np.exp(choice.ln_least_cost) == pytest.approx((6 * params * tokens + 2 * params * MEAN)[:, 0], rel=1e-6)
    assert np.exp(choice.ln_optimal_params) == pytest.approx(13e9, rel=1e-6)
    E, A, B, alpha, beta = (x[:, 0] for x in additive(fit))
    loss = quality_of(fit, 13e9)[:, 0]
    needed = (B / (loss - E - A * choice.params**-alpha)) ** (1 / beta)
    assert choice.tokens == pytest.approx(needed, rel=1e-6)
    assert choice.price_of_loss == pytest.approx(6 * choice.params * needed / (beta * B * needed**-beta), rel=1e-6)


def test_what_a_lower_loss_costs_is_the_slope_of_the_least_cost(fit: bs.Fit) -> None:
    wanted, step = 2.1, 2e-3
    ln_params = np.log(8e9) + np.linspace(-0.8, 1.0, 61)
    actions = pd.DataFrame({"params": np.exp(ln_params)})
    costs = []
    for loss in wanted + step * np.array([-2, -1, 1, 2]):
        plan = Lifetime(demand=MEAN, loss=loss)
        cost = -plan.utility(plan.outcome(fit, actions, "law"), actions).to_numpy()
        costs.append(np.exp(least(ln_params, np.log(cost))[1]))
    params, tokens = (x[:, 0] for x in optimum(fit, np.array([[wanted]]), MEAN))
    _, _, B, _, beta = (x[:, 0] for x in additive(fit))
    assert slope(costs, step) == pytest.approx(-6 * params * tokens / (beta * B * tokens**-beta), rel=1e-6)


def test_an_expected_cost_depends_on_demand_through_its_mean_alone(fit: bs.Fit) -> None:
    known, unknown = (bs.decide(Lifetime(demand=T, like="13B"), fit) for T in (MEAN, SPREAD))
    expected = [choice.utility.mean("draw").to_numpy() for choice in (known, unknown)]
    assert expected[0] == pytest.approx(expected[1], rel=1e-12)
    assert known.params == unknown.params
    wary = [one.by_risk["cvar"]["params"] for one in (known, unknown)]
    assert wary[1] < 0.9 * wary[0]  # the worst tenth of demand is large, and smaller models serve it at less
    assert unknown.unknowns.index[0] == "demand"
    assert unknown.unknowns.loc["demand", "worth"] > 10 * unknown.unknowns.loc["demand", "mcse"]


def test_without_demand_the_compute_optimal_size_costs_least(fit: bs.Fit) -> None:
    choice = bs.decide(Lifetime(demand=0, like="13B"), fit)
    assert np.exp(choice.ln_optimum) == pytest.approx(13e9, rel=1e-6)
    assert choice.saving == pytest.approx(0.0, abs=1e-4)  # the step of the grid
    assert choice.break_even("7B", "13B").min() > 0


def test_demand_ends_with_retirement(fit: bs.Fit) -> None:
    total, yearly = (bs.decide(Lifetime(like="13B", **given), fit)
                     for given in ({"demand": "3T"}, {"demand": "1T", "years": "uniform(2, 4)"}))  # fmt: skip
    assert yearly.best.expected == pytest.approx(total.best.expected, rel=1e-12)
    assert np.ptp(yearly.costs[1]) > 0.5 * yearly.costs[1].mean()


def test_the_demand_from_which_a_smaller_size_costs_less(fit: bs.Fit) -> None:
    choice = bs.decide(Lifetime(demand=SPREAD, like="13B", serving=2.0), fit)
    E, A, B, alpha, beta = (x[:, 0] for x in additive(fit))
    loss = quality_of(fit, 13e9)[:, 0]
    small, large = (6 * N * (B / (loss - E - A * N**-alpha)) ** (1 / beta) for N in (5e9, 13e9))
    assert choice.break_even("13B", "5B") == pytest.approx((small - large) / (2 * 2 * (13e9 - 5e9)), rel=1e-6)
    assert choice.break_even("1B", "13B").min() == np.inf  # 1B cannot reach the quality
    assert "(90% interval" in dict(choice.details.lines)["break-even"]


def test_a_quality_out_of_reach_is_an_error_with_its_probability(fit: bs.Fit) -> None:
    floor = additive(fit)[0]
    with pytest.raises(QueryError, match=r"no size reaches a loss of 1 with probability 0\.9\n.*got: +0 at most"):
        bs.decide(Lifetime(demand=MEAN, loss=1.0), fit)
    sometimes = float(np.quantile(floor, 0.5))
    with pytest.raises(QueryError, match=r"got: +0\.\d+ at most"):
        bs.decide(Lifetime(demand=MEAN, loss=sometimes), fit)


def test_a_quality_that_some_draws_rule_out_has_a_probability_and_no_infinity(fit: bs.Fit) -> None:
    choice = bs.decide(Lifetime(demand="10T", loss=1.85, probability=0.3), fit)
    E, A, _, alpha, _ = additive(fit)
    said = choice.to_dict()
    assert np.isfinite(choice.utility).all()
    assert said["probability"] >= 0.3
    assert said["probability_under_law"] <= (E + A * choice.params**-alpha < 1.85).mean()  # with endless tokens
    assert said["probability_under_law"] == pytest.approx(choice.reached.mean())
    assert np.isfinite([said["saving"], said["price_of_loss"], *said["break_even"]["tokens_served"].values()]).all()
    assert "of draws no size reaches the quality" in str(choice.verdict)


def test_the_probability_and_the_cost_of_a_loss_are_those_of_a_run(chinchilla: bs.Runs) -> None:
    """One known law: without noise, every size above a bound reaches the loss. Noise of 5% is the only risk."""
    fit = known_fit(chinchilla, "additive", SARDANA, sigma=0.05, nu=50.0)
    plan = Lifetime(demand=MEAN, loss=2.0, most_tokens="2T", probability=0.7)
    choice = bs.decide(plan, fit)
    said, words = choice.to_dict(), " ".join(repr(choice).split())
    final = np.log(1.69 + 406.4 * choice.params**-0.336 + 410.7 * 2e12**-0.283)
    draws = len(choice.tokens)
    chance = t(50.0).cdf((np.log(2.0) - final) / 0.05)
    assert said["probability_under_law"] == 1.0
    assert said["probability"] == pytest.approx(chance, abs=4 * (chance * (1 - chance) / draws) ** 0.5)
    assert said["probability"] < 0.95
    assert said["probability"] == pytest.approx((choice.run_tokens < 2e12).mean(), abs=1e-9)
    cost = said["training_cost"] + said["serving_cost"]
    assert cost == pytest.approx(-choice.run_utility.to_numpy()[:, choice.best.action].mean(), rel=1e-12)
    assert f"with probability {said['probability']:.3g} by a run, within 2.00T tokens; 1 under the law alone" in words


@pytest.mark.parametrize("sizes", ["20B,30B", pytest.param("20B,30B,50B", marks=pytest.mark.slow)])
def test_the_size_for_a_loss_is_the_one_whose_run_costs_least_on_average(chinchilla: bs.Runs, sizes: str) -> None:
    """Noise makes the tokens of a small model far more uncertain: the law alone chooses a size that is too small."""
    fit = known_fit(chinchilla, "additive", SARDANA, sigma=0.02, nu=50.0)
    plan = Lifetime(demand=MEAN, loss=1.98, most_tokens="100T", probability=0.8)
    choice = bs.decide(plan, fit)
    cost = -choice.run_utility.to_numpy().mean(axis=0)
    assert choice.best.action == cost.argmin()
    assert cost[choice.utility.to_numpy().mean(axis=0).argmax()] > cost.min()
    assert choice.params > choice.actions["params"][choice.utility.to_numpy().mean(axis=0).argmax()]
    assert choice.regret > choice.evpi
    assert f"could save {measured(choice.evpi, 'FLOP')} at most" in " ".join(repr(choice).split())
    on_menu = bs.decide(replace(plan, limits={"sizes": sizes}), fit)
    rows = [int(np.flatnonzero(np.isclose(on_menu.actions["params"], size)).max()) for size in (20e9, 30e9)]
    drawn = on_menu.run_outcome.to_numpy()[:, rows]
    noise = [np.log(1.69 + 406.4 * n**-0.336 + 410.7 * d**-0.283) for n, d in zip((20e9, 30e9), drawn.T, strict=True)]
    reached = (drawn < 1e14).all(axis=1)  # one noise for all sizes, whatever else is on the menu
    np.testing.assert_allclose(noise[0][reached], noise[1][reached], rtol=1e-6)
    assert np.std(noise[0][reached]) == pytest.approx(0.02 * (50 / 48) ** 0.5, rel=0.15)


def test_the_figure_of_regret_is_in_the_scope_of_the_choice(chinchilla: bs.Runs) -> None:
    """Under the law alone the curve would be lowest at a smaller size than the one that is marked as chosen."""
    fit = known_fit(chinchilla, "additive", SARDANA, sigma=0.02, nu=50.0)
    choice = bs.decide(Lifetime(demand=MEAN, loss=1.98, most_tokens="100T", probability=0.8), fit)
    ax = bs.plots.plot_regret(choice)
    params, tokens = choice.actions["params"].to_numpy(), choice.run_outcome.to_numpy()
    cost = 6 * params * tokens + 2 * params * MEAN
    regret = (cost - cost.min(axis=1, keepdims=True)).mean(axis=0)
    (line,) = (line for line in ax.get_lines() if line.get_label() == "expected regret")
    x, shown = (np.asarray(values) for values in line.get_data())
    assert shown == pytest.approx(np.interp(x, params, regret), rel=1e-9)
    assert x[shown.argmin()] == choice.params
    assert (choice.read_in, ax.get_ylabel()) == ("run", "regret of a run (FLOP)")
    of_a_model = bs.decide(Lifetime(demand=MEAN, like="13B"), fit)
    assert bs.plots.plot_regret(of_a_model).get_ylabel() == "regret under the law (FLOP)"
    plt.close("all")


def test_a_better_loss_costs_what_its_tokens_cost(fit: bs.Fit) -> None:
    choice = bs.decide(Lifetime(demand=MEAN, loss=2.1), fit)
    E, A, B, alpha, beta = additive(fit)
    now, better = (((loss - E - A * choice.params**-alpha) / B) ** (-1 / beta) for loss in (2.1, 2.09))
    exact = np.quantile(6 * choice.params * (better - now), [0.05, 0.5, 0.95], method="inverted_cdf")
    assert list(choice.price_of_better.values()) == pytest.approx(exact, rel=1e-5)


def test_a_plan_that_only_luck_lets_reach_the_loss_is_compared_with_nothing(chinchilla: bs.Runs) -> None:
    fit = known_fit(chinchilla, "additive", SARDANA, sigma=0.05, nu=50.0)
    choice = bs.decide(Lifetime(demand=MEAN, loss=2.0, most_tokens="2T", probability=0.3), fit)
    said = choice.to_dict()
    assert 0.3 <= said["probability"] < 0.5
    assert said["probability_under_law"] == 0.0
    assert "saving" not in said
    assert "compute-optimal" not in repr(choice)


def test_the_quality_of_a_model_has_the_same_noise_as_the_plan(chinchilla: bs.Runs) -> None:
    noisy, calm = (known_fit(chinchilla, "additive", SARDANA, sigma=sigma) for sigma in (0.05, 1e-6))
    found = [bs.decide(Lifetime(demand=MEAN, like="13B"), fit) for fit in (noisy, calm)]
    assert [one.to_dict()["probability"] for one in found] == [1.0, 1.0]
    assert found[0].run_tokens == pytest.approx(found[1].run_tokens, rel=1e-6)


def test_a_menu_and_dollars(fit: bs.Fit) -> None:
    plan = Lifetime(demand=MEAN, like="13B", hardware="512xH100", batch=16, limits={"sizes": "3B,7B,13B"})
    choice, card = bs.decide(plan, fit), hardware("512xH100")
    assert choice.params in (3e9, 7e9, 13e9)
    assert (plan.unit, Lifetime(demand=MEAN, like="13B").unit) == ("$", "FLOP")
    dollars = card.drawn(len(choice.tokens), seed=0).dollars((6 * choice.params * choice.tokens)[:, None])
    assert choice.costs[0] == pytest.approx(dollars[:, 0], rel=1e-12)
    assert set(choice.unknowns.index) >= {"price", "serving", "alpha_N"}
    assert f"as of {card.price.as_of}" in repr(choice)


def test_a_size_that_is_optimal_for_more_tokens_than_a_plan_has_is_refused(fit: bs.Fit) -> None:
    with pytest.raises(QueryError, match=r"takes more tokens than a plan has\n.*\n.*100\.0% of draws"):
        bs.decide(Lifetime(demand=MEAN, like="70B", most_tokens="100B"), fit)


def test_a_fit_without_a_law_of_params_and_tokens_is_refused() -> None:
    other = SimpleNamespace(
        name="flops", columns=("flops",), members={"flops": SimpleNamespace(spec=SimpleNamespace(law="power"))}
    )
    for plan in (
        Lifetime(demand=MEAN, loss=2.0),
        FixedParams(params="8B", worth=1e24),
        DataCap(flops=1e23, unique_tokens=1e9),
    ):
        with pytest.raises(QueryError, match="needs a law of params and tokens"):
            plan.actions(other)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "one quality"),
        ({"loss": -1.0}, "out of range"),
        ({"loss": 2.0, "like": "7B"}, "one quality"),
        ({"loss": 2.0, "probability": 0.0}, "out of range"),
        ({"loss": float("inf")}, "out of range"),
        ({"loss": 2.0, "batch": 8}, "depends on the hardware"),
        ({"loss": 2.0, "batch": 0, "hardware": "8xH100"}, "batch is out of range"),
        ({"loss": 2.0, "years": "normal(2, 1)"}, "can be negative"),
        ({"loss": 2.0, "prompt": 100, "generated": 100}, "description of requests is incomplete"),
        ({"loss": 2.0, "hardware": "H100", "batch": 8, "prompt": 100, "generated": 0}, "out of range"),
        ({"loss": 2.0, "hardware": "H100", "batch": 8, "serving": 2.0}, "given twice"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given: dict, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        Lifetime(demand=MEAN, **given)


def test_it_runs_on_the_command_line(sardana: bs.Fit, tmp_path) -> None:
    saved = sardana.save(tmp_path / "fit.nc")
    given = ["decide", "lifetime", str(saved), "--demand", "lognormal(2e12, 0.5)", "--like", "13B", "--json"]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 0, done.output
    assert 3e9 < json.loads(done.stdout)["params"] < 13e9


@pytest.mark.parametrize(("times", "words"), [(0.5, "from"), (2.0, "up to")])
def test_of_two_sizes_the_smaller_one_costs_less_from_a_demand_and_the_larger_one_up_to_it(
    times: float, words: str, sardana: bs.Fit
) -> None:
    size = 13e9 * times
    loss = float(quality_of(sardana, 13e9).mean())
    plan = Lifetime(demand=1e11, loss=loss, limits={"sizes": f"{size:.0f}"})
    assert f"costs less than that model {words} " in " ".join(repr(bs.decide(plan, sardana)).split())


SERVED = {"hardware": "512xH100", "batch": 32, "prompt": 2000, "generated": 500}


def test_a_described_server_costs_what_the_shape_of_each_size_takes(fit: bs.Fit) -> None:
    plan, bound = Lifetime(demand=MEAN, like="13B", **SERVED), Lifetime(demand=MEAN, like="13B", hardware="512xH100")
    menu = Lifetime(demand=MEAN, like="13B", **SERVED, limits={"shapes": "kv_heads=8"})
    row = buildable("kv_heads=8").iloc[120]
    names = ("layers", "width", "ffn", "heads", "kv_heads", "head_dim", "vocab")
    shape = Shape(**{name: int(row[name]) for name in names})
    by_hand = Server(served(shape), hardware("512xH100").drawn(50, seed=0)).request_dollars(2000, 500, 32) / 2500
    assert menu.token_cost(np.array([row["params"]]), 50) == pytest.approx(by_hand, rel=1e-6)
    assert plan.token_cost(np.array([row["params"]]), 50) == pytest.approx(by_hand, rel=0.2)  # layers differ
    sizes = np.geomspace(1e9, 7e10, 5)
    assert (plan.token_cost(sizes, 50) > bound.token_cost(sizes, 50)).all()  # 2 FLOP a param is a lower bound
    choice = bs.decide(plan, fit)
    params = choice.actions["params"].to_numpy()
    total = np.add(*plan.costs(choice.outcome.to_numpy(), params)).mean(axis=0)
    assert choice.best.action == np.where(choice.allowed, total, np.inf).argmin()
    assert choice.params < bs.decide(bound, fit).params  # a smaller model, if a served token costs more
    assert "serve 32 sequences at a time" in " ".join(repr(choice).split())


def test_a_longer_context_is_paid_for(fit: bs.Fit) -> None:
    """In a batch of 256, reading caches of 32,000 tokens takes longer than reading the weights once for all of them."""
    short, long = (Lifetime(demand=MEAN, like="13B", **SERVED | {"batch": 256, "prompt": prompt, "generated": prompt})
                   for prompt in (100, 32_000))  # fmt: skip
    size = np.array([7e9])
    assert (long.token_cost(size, 50) > 3 * short.token_cost(size, 50)).all()


def test_latency_batch_and_memory_are_limits(fit: bs.Fit) -> None:
    free = bs.decide(Lifetime(demand=MEAN, like="70B", accelerators=8, **SERVED), fit)
    latency = float(free.action["latency"])
    assert latency == pytest.approx(free.decision.server(free.params, 500).decode_seconds(32, 2500).mean(), rel=1e-9)
    fast = bs.decide(Lifetime(demand=MEAN, like="70B", accelerators=8, **SERVED,
                              limits={"max_latency": str(latency / 1.2)}), fit)  # fmt: skip
    assert fast.action["latency"] <= latency / 1.2 < 1.2 * fast.action["latency"]
    assert fast.params < free.params
    assert fast.limits[0].name == "max_latency"
    many = bs.decide(Lifetime(demand=MEAN, like="70B", accelerators=8, **SERVED,
                              limits={"min_most_batch": str(1.3 * free.action["most_batch"])}), fit)  # fmt: skip
    assert many.action["most_batch"] >= 1.3 * free.action["most_batch"]
    assert many.params < free.params
    with pytest.raises(QueryError, match=r"within its limits\n.*max_memory_gb 80: \d+ of \d+; min_params 40B"):
        bs.decide(Lifetime(demand=MEAN, like="70B", **SERVED, limits={"min_params": "40B"}), fit)
    small = bs.decide(Lifetime(demand=0, like="70B", **SERVED), fit)
    assert small.action["memory_gb"] <= 80
    assert small.limits[0].name == "max_memory_gb"
