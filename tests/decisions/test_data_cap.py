"""Data cap: each draw's optimum against its own equation, prices of tokens and compute, and the published example."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from known import CHAINS, DECAYS, DRAWS, MUENNIGHOFF, bisected, known_fit
from scipy.optimize import minimize, minimize_scalar

import bayescale as bs
from bayescale.core.errors import QueryError
from bayescale.decisions.data_cap import DataCap
from bayescale.decisions.surface import losses

BUDGET, UNIQUE = 6 * 8.67e9 * 178e9, 25e9  # of the published example: FLOP, and unique tokens


@pytest.fixture(scope="module")
def runs() -> bs.Runs:
    return bs.load_runs("datablations").where(in_published_fit="true")


@pytest.fixture(scope="module")
def published(runs: bs.Runs) -> bs.Fit:
    return known_fit(runs, "repetition", MUENNIGHOFF, **DECAYS)


@pytest.fixture(scope="module")
def law() -> dict[str, np.ndarray]:
    """A thousand laws around the published one."""
    rng, shape = np.random.default_rng(1), (CHAINS, DRAWS)
    spread = {"E": 0.02, "A": 0.05, "B": 0.05, "alpha": 0.02, "beta": 0.02, "R_D": 0.5, "R_N": 0.5}
    return {name: value * np.exp(spread[name] * rng.standard_normal(shape))
            for name, value in {**MUENNIGHOFF, **DECAYS}.items()}  # fmt: skip


@pytest.fixture(scope="module")
def uncertain(runs: bs.Runs, law: dict[str, np.ndarray]) -> bs.Fit:
    return known_fit(runs, "repetition", law, R_D=law["R_D"], R_N=law["R_N"])


def worth(once: np.ndarray, total: np.ndarray, decay: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Effective amount of `total`, of which `once` is fresh, and its derivatives in the total and in the fresh part."""
    repeats = np.maximum(total / once - 1, 0.0)
    faded = np.exp(-repeats / decay)
    effective = np.minimum(once, total) + once * decay * (1 - faded) * (total > once)
    own = np.where(total > once, 1 + decay * (1 - faded) - faded * total / once, 0.0)
    return effective, np.where(total > once, faded, 1.0), own


def marginals(law: dict[str, np.ndarray], params: np.ndarray, tokens: np.ndarray, unique: float) -> tuple:
    """The loss, and how it falls per e-fold of params, of tokens and of unique tokens; each of shape (draw,)."""
    E, A, B, alpha, beta, R_D, R_N = (np.ravel(law[name]) for name in ("E", "A", "B", "alpha", "beta", "R_D", "R_N"))
    enough = (alpha * A / (beta * B)) ** (1 / alpha) * unique ** (beta / alpha)  # for which `unique` is optimal
    N, dN, dN_enough = worth(np.minimum(enough, params), params, R_N)
    D, dD, dD_unique = worth(unique, tokens, R_D)
    a, b = alpha * A * N ** -(alpha + 1), beta * B * D ** -(beta + 1)
    more = b * dD_unique * unique + a * dN_enough * enough * beta / alpha
    return E + A * N**-alpha + B * D**-beta, a * dN * params, b * dD * tokens, more


def test_each_draw_has_equal_returns(uncertain: bs.Fit, law: dict[str, np.ndarray]) -> None:
    choice = bs.decide(DataCap(flops=BUDGET, unique_tokens=UNIQUE), uncertain)

    def imbalance(ln_params: np.ndarray) -> np.ndarray:
        params = np.exp(ln_params)
        _, of_params, of_tokens, _ = marginals(law, params, BUDGET / (6 * params), UNIQUE)
        return of_tokens - of_params

    ends = np.full(CHAINS * DRAWS, np.log(BUDGET / (6 * 40 * UNIQUE))), np.full(CHAINS * DRAWS, np.log(1e12))
    known = np.exp(bisected(imbalance, *ends))
    inside = choice.epochs < 39
    assert inside.mean() > 0.9
    assert np.exp(choice.ln_optimum)[inside] == pytest.approx(known[inside], rel=1e-6)
    best = marginals(law, known, BUDGET / (6 * known), UNIQUE)[0]
    assert choice.least_loss[inside] == pytest.approx(best[inside], rel=1e-9)


def test_prices_are_derivatives_of_the_loss(uncertain: bs.Fit, law: dict[str, np.ndarray]) -> None:
    choice = bs.decide(DataCap(flops=BUDGET, unique_tokens=UNIQUE), uncertain)
    params, tokens = choice.action[["params", "tokens"]]
    _, of_params, of_tokens, of_unique = marginals(law, params, tokens, UNIQUE)
    assert choice.unique_price == pytest.approx(of_unique, rel=1e-6)
    assert choice.compute_price == pytest.approx(of_tokens, rel=1e-6)
    assert of_tokens.mean() == pytest.approx(of_params.mean(), rel=0.02)  # within a step of the optimum
    assert choice.rate == pytest.approx(of_unique.mean() / of_tokens.mean())
    assert choice.more_epochs == pytest.approx((of_tokens > of_params).mean(), abs=0.03)  # a step of the grid away


def test_at_the_most_epochs_unique_tokens_bring_tokens(uncertain: bs.Fit, law: dict[str, np.ndarray]) -> None:
    choice = bs.decide(DataCap(flops=1e24, unique_tokens=UNIQUE), uncertain)
    params, tokens = choice.action[["params", "tokens"]]
    assert choice.action["epochs"] == pytest.approx(40)
    assert [one.name for one in choice.limits] == ["max_epochs"]
    assert 40 < choice.actions["epochs"].max() <= 44  # nothing is said of what lies farther
    assert "the limit of 40 epochs binds; beyond it, nothing is known" in str(choice.verdict)
    _, of_params, of_tokens, of_unique = marginals(law, params, tokens, UNIQUE)
    assert choice.unique_price == pytest.approx(of_unique + of_tokens - of_params, rel=1e-6)
    assert choice.compute_price == pytest.approx(of_params, rel=1e-6, abs=1e-12)  # rounding: 1e-13


def test_muennighoff_2023_the_published_example(published: bs.Fit) -> None:
    """Muennighoff et al. 2023: 25 billion unique tokens, at the compute of 8.67B params on 178 billion tokens.

    The paper trains 6.34B params on 242 billion tokens, which its law puts at 2.22564, below 2.22696 for the split that
    fresh tokens would ask for. Both are checked against the law in tests/parts/test_repetition.py.
    """
    choice = bs.decide(DataCap(flops=BUDGET, unique_tokens=UNIQUE), published)
    assert 6.34e9 < choice.action["params"] < 8.67e9
    assert choice.least_loss.mean() < 2.2256440889984477 < 2.2269634075
    assert 178 / 25 < choice.action["epochs"] < 242 / 25


def test_more_compute_goes_to_epochs_rather_than_to_params(published: bs.Fit) -> None:
    """Excess params decay three times as fast as repeats (5.3 and 15.4), so epochs grow faster."""
    small, large = (bs.decide(DataCap(flops=f, unique_tokens=UNIQUE), published) for f in (BUDGET, 4 * BUDGET))
    epochs, params = (large.action[name] / small.action[name] for name in ("epochs", "params"))
    assert epochs > params > 1
    assert small.action["params"] < bs.decide(bs.Allocation(BUDGET), published).params


@pytest.mark.parametrize(("unique", "cost"), [(1e12, 0.00516), (2.5e10, 0.01896)])
def test_four_epochs_cost_little(published: bs.Fit, unique: float, cost: float) -> None:
    """The paper's finding that four epochs are almost as good as fresh tokens, in nats, as its law has it.

    At the params for which as many fresh tokens are optimal, where both terms are 0.1965 for 25 billion. Tokens are
    worth 3.726 epochs of 4, so that their term grows by 0.00498; params 3.292 of 4, so that theirs grows by 0.01397.
    """
    tokens = 4 * unique
    params = (MUENNIGHOFF["A"] / MUENNIGHOFF["B"]) ** (1 / MUENNIGHOFF["alpha"]) * tokens
    table = pd.DataFrame({"params": params, "tokens": tokens, "unique_tokens": [tokens, unique], "family": "GPT2-C4"})
    once, four = losses(published, table).mean(axis=0)
    assert four - once == pytest.approx(cost, abs=1e-5)


def test_enough_unique_tokens_are_no_cap(published: bs.Fit) -> None:
    capped = bs.decide(DataCap(flops="1e21", unique_tokens="1T"), published)
    free = bs.decide(bs.Allocation("1e21"), published)
    # Excess params begin to decay exactly at this optimum, so that the loss bends there: minima are less exact.
    assert np.exp(capped.ln_optimum) == pytest.approx(free.optimum["params"]["q50"], rel=1e-3)
    assert capped.unique_price == pytest.approx(0.0, abs=1e-12)
    assert "all tokens are fresh" in repr(capped)


def test_a_law_without_repeats_has_no_answer_if_the_best_plan_repeats(chinchilla_fit: bs.Fit) -> None:
    with pytest.raises(QueryError, match=r"the best plan repeats tokens.*\n.*up to 100B tokens.*\n.*got: +\d+B tokens"):
        bs.decide(DataCap(flops="1e23", unique_tokens="100B"), chinchilla_fit)
    choice = bs.decide(DataCap(flops="1e23", unique_tokens="5T"), chinchilla_fit)
    assert choice.actions["epochs"].max() == 1
    split = bs.decide(bs.Allocation("1e23"), chinchilla_fit)
    assert choice.action["params"] == pytest.approx(split.params, rel=0.03)  # half a step of either grid
    assert "all tokens are fresh" in repr(choice)


def test_a_menu_leaves_each_draw_its_optimum(uncertain: bs.Fit) -> None:
    free = bs.decide(DataCap(flops=BUDGET, unique_tokens=UNIQUE), uncertain)
    menu = bs.decide(DataCap(flops=BUDGET, unique_tokens=UNIQUE, limits={"sizes": "3B,7B,13B"}), uncertain)
    assert menu.action["params"] == 7e9
    assert np.array_equal(menu.ln_optimum, free.ln_optimum)
    lower = bs.decide(DataCap(flops=BUDGET, unique_tokens=UNIQUE, limits={"max_epochs": "6"}), uncertain)
    assert lower.action["epochs"] == pytest.approx(6)
    assert lower.epochs.max() == pytest.approx(6)


def test_what_cannot_be_asked_is_refused(published: bs.Fit) -> None:
    with pytest.raises(QueryError, match="does not reach beyond 40 epochs"):
        DataCap(flops="1e23", unique_tokens="1B", limits={"max_epochs": "100"})
    for epochs in ("many", "0", "-2"):
        with pytest.raises(QueryError, match="a positive number up to 40"):
            DataCap(flops="1e23", unique_tokens="1B", limits={"max_epochs": epochs})
    with pytest.raises(QueryError, match="within its limits"):
        bs.decide(DataCap(flops="1e24", unique_tokens="1B", limits={"max_params": "1B"}), published)


HARM = {"harm": 0.05, "harm_epochs": 0.37, "harm_params": 0.74}
SMOOTH = 1e-6  # of the power of the repeats, in the penalty


@pytest.fixture(scope="module")
def harmed(runs: bs.Runs) -> bs.Fit:
    law = {"E": 2.04, "A": 540.0, "B": 26000.0, "alpha": 0.336, "beta": 0.474}
    return known_fit(runs, "harm", law, **HARM)


def harmful(params: float, tokens: float, unique: float) -> float:
    """The loss of the fixture's law: the formula of Lovelace et al. 2026."""
    repeats = tokens / unique - 1
    grown = (repeats + SMOOTH) ** HARM["harm_epochs"] - SMOOTH ** HARM["harm_epochs"]
    law = 2.04 + 540.0 * params**-0.336 + 26000.0 * tokens**-0.474
    return law + HARM["harm"] * grown * (params / unique) ** HARM["harm_params"]


def test_under_harm_epochs_and_params_have_a_best_value_whatever_the_budget(harmed: bs.Fit) -> None:
    unique = 1e10
    choice = bs.decide(DataCap(flops="1e22", unique_tokens=unique), harmed)
    best = minimize(lambda x: harmful(np.exp(x[0]), unique * np.exp(x[1]), unique), [23.0, 3.0],
                    method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-14})  # fmt: skip
    found = choice.ceiling
    assert found.loss == pytest.approx(best.fun, abs=1e-7)
    assert [found.params, found.epochs] == pytest.approx(np.exp(best.x), rel=2e-3)
    assert 1 < found.epochs < 40
    assert "beyond it, more params and more epochs are harmful" in " ".join(repr(choice).split())
    more = bs.decide(DataCap(flops=4 * found.flops, unique_tokens=unique), harmed)
    assert more.outcome.mean() > found.loss
    assert "a smaller budget of" in str(more.verdict)


def test_under_harm_a_budget_has_a_plan_inside_and_more_tokens_are_worth_their_derivative(harmed: bs.Fit) -> None:
    budget, unique = 2e21, 1e10
    choice = bs.decide(DataCap(flops=budget, unique_tokens=unique), harmed)
    best = minimize_scalar(lambda x: harmful(np.exp(x), budget / (6 * np.exp(x)), unique), bounds=(20.0, 25.0))
    assert np.exp(choice.ln_optimum.mean()) == pytest.approx(np.exp(best.x), rel=1e-4)
    assert 2 < choice.action["epochs"] < 39
    params, tokens, step = *choice.action[["params", "tokens"]], 1e-4
    ends = [harmful(params, tokens, unique * np.exp(k * step)) for k in (-1, 1)]
    assert choice.unique_price.mean() == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5)
    assert choice.rate > 0


def test_an_average_of_harm_and_repetition_plans_for_the_mean_of_both_laws(harmed: bs.Fit, published: bs.Fit) -> None:
    budget, unique = 2e21, 1e10
    both = bs.average({"harm": harmed, "repetition": published}, {"harm": 0.5, "repetition": 0.5})
    plan = DataCap(flops=budget, unique_tokens=unique)
    choice = bs.decide(plan, both)

    def mean(x: float) -> float:
        params, tokens = np.exp(x), budget / (6 * np.exp(x))
        repeated = marginals({**MUENNIGHOFF, **DECAYS}, params, tokens, unique)[0].item()
        return (harmful(params, tokens, unique) + repeated) / 2

    best = minimize_scalar(mean, bounds=(20.0, 25.0), method="bounded")
    assert mean(np.log(choice.action["params"])) == pytest.approx(best.fun, abs=1e-5)
    alone = [bs.decide(plan, fit).action["params"] for fit in (harmed, published)]
    assert all(mean(np.log(params)) > best.fun + 1e-4 for params in alone)


def test_without_harm_more_compute_always_helps(published: bs.Fit) -> None:
    assert bs.decide(DataCap(flops=BUDGET, unique_tokens=UNIQUE), published).ceiling is None


@pytest.mark.slow
def test_on_the_published_runs(runs: bs.Runs) -> None:
    fit = bs.fit(runs, "repetition", seed=0)
    choice = bs.decide(DataCap(flops=BUDGET, unique_tokens=UNIQUE), fit)
    assert choice.verdict.ok
    assert 5 < choice.action["epochs"] < 40
    assert 0.0 < choice.regret < 0.01
    assert 0.2 < choice.more_epochs < 0.8  # at an optimum inside, draws are on either side of it
    assert 0 < choice.unique_price.mean() < 0.1
