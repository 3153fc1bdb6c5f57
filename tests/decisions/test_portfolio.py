"""Shares of one budget: over families, and over stages."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from known import SARDANA, known_fit
from scipy.optimize import brentq
from scipy.stats import rankdata

import bayescale as bs
from bayescale.core.errors import QueryError
from bayescale.decisions.portfolio import Portfolio
from bayescale.decisions.simplex import LEAST_SHARE, ends_reached, lattice
from bayescale.decisions.split import FIRST, Split

FLOPS = 1e22


def exact(fit: bs.Fit, family: int = 0) -> tuple[np.ndarray, ...]:
    """E, the factor K and the exponent of the frontier L = E + K·(C/6)^-γ of the draws that decisions use."""
    posterior = fit.posterior.isel(family=family) if "family" in fit.posterior.dims else fit.posterior
    E, A, B, alpha, beta = (posterior[name].to_numpy()[:, ::2].ravel() for name in ("E", "A", "B", "alpha_N", "beta_D"))
    gamma = alpha * beta / (alpha + beta)
    G = (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    return E, A * G**-alpha * (1 + alpha / beta), gamma


@pytest.mark.parametrize("parts", [2, 3, 4, 7])
def test_a_lattice_is_of_positive_shares_that_add_up(parts: int) -> None:
    found = lattice(parts)
    assert len(found) <= 2000
    assert found.min() >= LEAST_SHARE - 1e-12
    assert found.sum(axis=1) == pytest.approx(1.0)
    assert len(np.unique(found.round(9), axis=0)) == len(found)


def test_a_share_at_an_end_of_the_lattice_is_said_to_be_one() -> None:
    assert ends_reached({"a": 0.5, "b": 0.5}) == ()
    inside = lattice(4)[(lattice(4) > 0.1).all(axis=1)][0]
    assert ends_reached(dict(zip("abcd", inside, strict=True))) == ()
    (note,) = ends_reached(
        dict(zip("abcd", lattice(4)[0], strict=True))
    )  # three of the least share, one of the largest
    assert note.startswith("shares of 4 parts are looked for from 4.2% to 87.5% in steps of 4.2%")
    assert note.endswith("for a, b, c, d")


@pytest.mark.parametrize("worth", [1.0, 5.0])
def test_a_portfolio_of_one_law_twice_is_divided_by_worth_alone(worth: float, chinchilla: bs.Runs) -> None:
    """Equal marginal returns: the ratio of shares is that of worth to the power 1 / (1 + γ)."""
    one = known_fit(chinchilla, "additive", SARDANA).posterior
    sites = {name: np.stack([one[name].to_numpy()] * 2, axis=-1)
             for name in ("level", "ratio_A", "ratio_B", "alpha_N", "beta_D", "sigma", "nu")}  # fmt: skip
    both = pd.concat([chinchilla.frame.assign(family=name, run_id=name + chinchilla.frame["run_id"]) for name in "ab"])
    twins = bs.Fit.from_samples(sites, "additive-unpooled", bs.load_runs(both, loss_unit="nats"))
    choice = bs.decide("portfolio", twins, flops=FLOPS, worth={"a": worth, "b": 1.0})
    odds = worth ** (1 / (1 + SARDANA["alpha"] * SARDANA["beta"] / (SARDANA["alpha"] + SARDANA["beta"])))
    step = np.diff(choice.actions["a"]).max()
    assert choice.action["a"] == pytest.approx(odds / (1 + odds), abs=0.505 * step)


def test_a_portfolio_of_two_laws_is_that_of_the_closed_form_and_follows_their_worth(trio_fit: bs.Fit) -> None:
    first, second = trio_fit.families[:2]
    choice = bs.decide("portfolio", trio_fit, flops=FLOPS, worth={first: 1.0, second: 1.0})
    E1, K1, g1 = exact(trio_fit, 0)
    E2, K2, g2 = exact(trio_fit, 1)
    share = choice.actions[first].to_numpy()
    loss = (E1 + E2)[:, None] + K1[:, None] * (share * FLOPS / 6) ** -g1[:, None]
    loss = loss + K2[:, None] * ((1 - share) * FLOPS / 6) ** -g2[:, None]
    # One size per budget serves all draws, so the outcome lies above each draw's own frontier, by its waste.
    assert (choice.outcome.to_numpy() > loss - 1e-9).all()
    assert choice.outcome.to_numpy().mean(axis=0) == pytest.approx(loss.mean(axis=0), abs=0.003)
    assert abs(share[choice.best.action] - share[loss.mean(axis=0).argmin()]) <= 0.011
    more = bs.decide("portfolio", trio_fit, flops=FLOPS, worth={first: 5.0, second: 1.0})
    assert more.action[first] > choice.action[first] + 0.1
    bound = bs.decide(
        "portfolio", trio_fit, flops=1e24, worth={first: 5.0, second: 1.0}, limits={f"min_{second}": "0.6"}
    )
    assert bound.action[second] == pytest.approx(0.6)
    assert bound.limits[0].name == f"min_{second}"
    assert json.loads(json.dumps(bound.to_dict()))["plans"][1]["family"] == second
    runs = trio_fit.design_frame.groupby("family")["flops"].max()
    for plan in bound.to_dict()["plans"]:
        assert plan["reach_decades"] == pytest.approx(np.log10(plan["flops"] / runs[plan["family"]]))
    assert "times the compute of the largest run" in bound.problem


def test_each_model_of_a_portfolio_has_noise_of_its_own(trio_fit: bs.Fit) -> None:
    first, second = trio_fit.families[:2]
    plan = Portfolio(FLOPS, {first: 1.0, second: 1.0})
    actions = plan.actions(trio_fit).iloc[[40]]
    noise = [np.log(plan.loss(trio_fit, family, actions, "run") / plan.loss(trio_fit, family, actions, "law"))[:, 0]
             for family in (first, second)]  # fmt: skip
    assert min(np.std(noise, axis=1)) > 1e-3
    ranks = [rankdata(one) for one in noise]  # so that a few large errors do not decide
    assert abs(np.corrcoef(ranks)[0, 1]) < 4 / len(noise[0]) ** 0.5


@pytest.mark.parametrize(
    ("worth", "words"),
    [({"nobody": 1.0}, "no family 'nobody'"), ({"OpenLM-C4": 1.0}, "at least two families"),
     ({"OpenLM-C4": -1.0, "OpenLM-RedPajama": 1.0}, "is not positive")],
)  # fmt: skip
def test_a_portfolio_needs_two_fitted_families_of_some_worth(worth, words, trio_fit: bs.Fit) -> None:
    with pytest.raises(QueryError, match=words):
        bs.decide("portfolio", trio_fit, flops=FLOPS, worth=worth)


def test_a_split_is_proportional_to_what_an_efold_gains(chinchilla_fit: bs.Fit) -> None:
    decision = Split("5.76e23", {"inference": "0.02", "rl": "0.005"})
    flops = 5.76e23
    found = Split(flops, decision.gains).optimum(chinchilla_fit)
    total = sum(found.values())
    assert total == pytest.approx(1.0, abs=1e-12)
    assert found["inference"] / found["rl"] == pytest.approx(4.0)
    # Cobb-Douglas: a share is the gain of an e-fold over all gains, with that of pre-training at its own compute. The
    # size is that of lowest expected loss, so the gain of an e-fold is that of the law at this size's path.
    _, K, gamma = exact(chinchilla_fit)
    gain = gamma * K * (found[FIRST] * flops / 6) ** -gamma
    assert found[FIRST] == pytest.approx(gain / (gain + 0.025), rel=2e-3)


def test_a_split_under_one_known_law_is_cobb_douglas(chinchilla: bs.Runs) -> None:
    flops, others = 5.76e23, 0.025
    found = Split(flops, {"inference": "0.02", "rl": "0.005"}).optimum(known_fit(chinchilla, "additive", SARDANA))
    _, A, B, alpha, beta = SARDANA.values()
    gamma, G = alpha * beta / (alpha + beta), (alpha * A / (beta * B)) ** (1 / (alpha + beta))
    factor = A * G**-alpha * (1 + alpha / beta)

    def away(share: float) -> float:
        gain = gamma * factor * (share * flops / 6) ** -gamma
        return share - gain / (gain + others)

    assert found[FIRST] == pytest.approx(brentq(away, 0.01, 1.0, xtol=1e-14), rel=1e-6)
    assert found["inference"] == pytest.approx((1 - found[FIRST]) * 0.8, rel=1e-12)


def test_a_split_with_known_gains_agrees_with_its_lattice(chinchilla_fit: bs.Fit) -> None:
    choice = bs.decide("split", chinchilla_fit, flops=5.76e23, gains={"inference": "0.02"})
    best = choice.to_dict()["best_share"][FIRST]
    assert best["q05"] - 0.01 <= choice.action[FIRST] <= best["q95"] + 0.01
    unsure = bs.decide("split", chinchilla_fit, flops=5.76e23, gains={"inference": "lognormal(0.02, 1.0)"})
    assert unsure.regret > 10 * choice.regret
    assert unsure.unknowns.index[0] == "gain of inference"


@pytest.mark.parametrize(
    ("gains", "words"),
    [({}, "needs stages"), ({FIRST: "1"}, "needs stages"), ({"rl": "normal(0, 1)"}, "can be negative"),
     ({"rl": "much"}, "much")],
)  # fmt: skip
def test_a_split_needs_gains_that_are_not_negative(gains, words, chinchilla_fit: bs.Fit) -> None:
    with pytest.raises(QueryError, match=words):
        bs.decide("split", chinchilla_fit, flops=1e23, gains=gains)


def test_a_gain_that_is_known_is_not_among_the_unknowns(chinchilla_fit: bs.Fit) -> None:
    gains = {"inference": "lognormal(0.01, 0.5)", "rl": "0.005"}
    choice = bs.decide(Split("5.76e23", gains), chinchilla_fit)
    assert choice.law_words == "the law and gain of inference"
    assert {name for name in choice.unknowns.index if name.startswith("gain")} == {"gain of inference"}
    with pytest.raises(QueryError, match="the gain of rl can be negative, or is nothing"):
        Split("5.76e23", {"rl": "0"}).actions(chinchilla_fit)
