"""Recipes: rankings and speed-ups against the law, draw by draw; and a swap in the middle of a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import kendalltau

import bayescale as bs
from bayescale.cli import main
from bayescale.core.errors import QueryError
from bayescale.decisions.draws import chances, ends, kendall_tau, written
from bayescale.decisions.recipe import Recipe
from bayescale.decisions.surface import losses
from bayescale.decisions.swap import Swap
from bayescale.decisions.unknowns import unknowns_of

EXACT = 1e-6
TARGET = {"params": 30e9, "tokens": 600e9}


@pytest.fixture(scope="module")
def choice(trio_fit: bs.Fit) -> bs.Choice:
    return bs.decide(Recipe(**TARGET), trio_fit)


@pytest.fixture(scope="module")
def law(trio_fit: bs.Fit) -> dict[str, np.ndarray]:
    """E, A, B and the exponents of the draws that decisions use; each of shape (draw, family)."""
    names, count = ("E", "A", "B", "alpha_N", "beta_D"), len(trio_fit.families)
    return {name: trio_fit.posterior[name].to_numpy()[:, ::2].reshape(-1, count) for name in names}


def loss(law: dict[str, np.ndarray], params, tokens) -> np.ndarray:
    return law["E"] + law["A"] * params ** -law["alpha_N"] + law["B"] * tokens ** -law["beta_D"]


def test_the_outcome_is_each_recipes_loss(choice: bs.Choice, law) -> None:
    assert choice.outcome.to_numpy() == pytest.approx(loss(law, *TARGET.values()), rel=EXACT)
    best = choice.actions["recipe"][int(loss(law, *TARGET.values()).mean(axis=0).argmin())]
    assert choice.action["recipe"] == best


def test_probabilities_of_being_best_sum_to_one(choice: bs.Choice, law) -> None:
    found = np.array(list(choice.figures["probability_best"].values()))
    assert found.sum() == pytest.approx(1.0)
    assert found == pytest.approx(chances(loss(law, *TARGET.values())))


def test_recipes_that_tie_share_the_draw() -> None:
    assert chances(np.array([[2.0, 1.0, 1.0], [0.0, 1.0, 2.0]])).tolist() == [0.5, 0.25, 0.25]


def test_the_speed_up_of_a_recipe_gives_its_loss(choice: bs.Choice, law) -> None:
    """Trained with that much more compute on the same tokens per param, the other has the loss of the best."""
    best, labels = choice.best.action, list(choice.actions["recipe"])
    wanted = loss(law, *TARGET.values())[:, [best]]
    for label, times in choice.figures["compute_needed"].items():
        i = labels.index(label)
        grid = np.logspace(-2, 3, 20_001)
        one = {name: x[:, [i]] for name, x in law.items()}
        row = np.argsort([np.interp(-w, -loss(r, TARGET["params"] * grid**0.5, TARGET["tokens"] * grid**0.5), grid)
                          for w, r in zip(wanted[:, 0], _rows(one), strict=True)])  # fmt: skip
        middle = row[(len(row) + 1) // 2 - 1]
        r = {name: x[middle] for name, x in one.items()}
        at = loss(r, TARGET["params"] * times["q50"] ** 0.5, TARGET["tokens"] * times["q50"] ** 0.5)
        assert at == pytest.approx(wanted[middle], rel=EXACT)


def _rows(law: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    return [{name: x[s] for name, x in law.items()} for s in range(len(law["E"]))]


def test_the_best_of_all_draws_needs_more_of_none(choice: bs.Choice) -> None:
    for times in choice.figures["compute_needed"].values():
        assert times["q50"] is None or times["q50"] > 1.0
        assert times["q05"] < times["q50"]


def test_a_ranking_agrees_with_itself_and_moves_with_scale(choice: bs.Choice) -> None:
    table = choice.figures["by_scale"]
    assert (table[0]["kendall_tau"], table[0]["reversed"]) == (1.0, 0.0)
    assert table[0]["flops"] == pytest.approx(choice.figures["runs_flops"])
    assert table[-1]["flops"] == pytest.approx(6 * 30e9 * 600e9)
    assert table[-1]["kendall_tau"] == pytest.approx(choice.figures["kendall_tau"])
    assert table[-1]["reversed"] > 0


def test_kendalls_tau_is_scipys_and_ties_count_for_neither_order() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((2, 20, 5))
    exact = [kendalltau(a, b).statistic for a, b in zip(one, other, strict=True)]
    assert kendall_tau(one, other) == pytest.approx(exact)
    assert (kendall_tau(one, -one) == -1.0).all()
    assert (kendall_tau(np.ones((3, 4)), np.ones((3, 4))) == 0.0).all()  # identical recipes have no order


def test_gates_are_of_the_figures(choice: bs.Choice, trio_fit: bs.Fit, law) -> None:
    found, runs = choice.figures, trio_fit.design_frame
    assert found["passes"] == {"kendall_tau": found["kendall_tau"] >= 0.6,
                               "selection_regret": found["selection_regret"] <= 0.025}  # fmt: skip
    top = runs.nlargest(3, "params")  # one of each family
    assert sorted(top["family"]) == trio_fit.families
    assert found["picked_by_largest_runs"] == top.loc[top["loss"].idxmin(), "family"]
    at = loss(law, *TARGET.values())
    picked = trio_fit.families.index(found["picked_by_largest_runs"])
    assert found["selection_regret"] == pytest.approx(np.mean(at[:, picked] / at.min(axis=1) - 1))


def test_recipes_that_the_runs_do_not_tell_apart_are_not_settled(trio_fit: bs.Fit) -> None:
    choice = bs.decide(Recipe(**TARGET, recipes="OpenLM-RedPajama,OpenLM-RefinedWeb"), trio_fit)
    assert not choice.settled
    assert max(choice.figures["probability_best"].values()) < 0.8
    assert "is best with probability" in repr(choice)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "target is not clear"),
        ({**TARGET, "flops": 1e24}, "target is not clear"),
        ({**TARGET, "recipes": "OpenLM-C4"}, "needs two"),
        ({**TARGET, "recipes": "OpenLM-C4,OpenLM-C5"}, "did you mean 'OpenLM-C4'"),
        ({**TARGET, "covariate": "curated"}, "no covariate 'curated'"),
    ],
)
def test_requests_that_cannot_be_read_are_refused(trio_fit: bs.Fit, settings: dict, says: str) -> None:
    with pytest.raises(QueryError, match=says):
        bs.decide(Recipe(**settings), trio_fit)


def test_one_family_is_no_choice(chinchilla_fit: bs.Fit) -> None:
    with pytest.raises(QueryError, match="needs two"):
        bs.decide(Recipe(**TARGET), chinchilla_fit)


def test_a_number_at_an_end_of_what_was_looked_at_is_a_bound() -> None:
    assert written(None, "over 1000") == "over 1000"
    assert written(1e-3, "over 1000", least=1e-3) == "under 0.001"
    assert written(2e-3, "over 1000", least=1e-3) == "0.002"


def test_quantiles_of_draws_that_may_be_infinite() -> None:
    assert ends(np.array([1.0] * 6 + [np.inf] * 4)) == {"q05": 1.0, "q50": 1.0, "q95": None}


RUN = {"params": 7e9, "done": 1e11, "remaining": 4e10, "recipe": "OpenLM-RefinedWeb"}


@pytest.fixture(scope="module")
def swap(trio_fit: bs.Fit) -> bs.Choice:
    return bs.decide(Swap(**RUN, to="OpenLM-RedPajama"), trio_fit)


def test_a_swap_adds_the_remaining_tokens_to_those_of_the_loss_so_far(swap: bs.Choice, law) -> None:
    stays, new = ({name: x[:, i] for name, x in law.items()} for i in (2, 1))
    assert swap.outcome.to_numpy()[:, 0] == pytest.approx(loss(stays, 7e9, 1.4e11), rel=EXACT)
    rest = loss(stays, 7e9, 1e11) - new["E"] - new["A"] * 7e9 ** -new["alpha_N"]
    counted = (new["B"] / rest) ** (1 / new["beta_D"])
    assert swap.outcome.to_numpy()[:, 1] == pytest.approx(loss(new, 7e9, counted + 4e10), rel=EXACT)
    assert swap.figures["swaps"][0]["tokens_counted"] == pytest.approx(ends(counted), rel=1e-5)
    assert swap.figures["sunk_flops"] == 6 * 7e9 * 1e11


def test_at_the_share_that_makes_a_swap_pay_it_makes_no_difference(swap: bs.Choice, trio_fit: bs.Fit) -> None:
    share = swap.figures["swaps"][0]["carried_to_pay"]["q50"]
    there = bs.decide(Swap(**RUN, to="OpenLM-RedPajama", carried=share), trio_fit)
    better = there.figures["swaps"][0]["probability_better"]
    assert better == pytest.approx(0.5, abs=1e-3)
    assert swap.figures["swaps"][0]["probability_better"] > better  # more is carried over


def test_nothing_carried_over_is_a_new_run_of_the_remaining_tokens(trio_fit: bs.Fit, law) -> None:
    choice = bs.decide(Swap(**RUN, to="OpenLM-RedPajama", carried=0.0), trio_fit)
    new = {name: x[:, 1] for name, x in law.items()}
    assert choice.outcome.to_numpy()[:, 1] == pytest.approx(loss(new, 7e9, 4e10), rel=EXACT)
    assert choice.action["recipe"] == RUN["recipe"]


def test_the_commands_say_what_python_says(trio_fit: bs.Fit, choice: bs.Choice, swap, tmp_path: Path) -> None:
    saved = str(trio_fit.save(tmp_path / "fit.nc"))
    done = CliRunner().invoke(main, ["decide", "recipe", saved, "--params", "30B", "--tokens", "600B", "--json"])
    found = json.loads(done.stdout)
    assert found["recipe"] == choice.action["recipe"]
    assert found["probability_best"] == choice.figures["probability_best"]
    command = ["decide", "swap", saved, "--params", "7B", "--done", "100B", "--remaining", "40B",
               "--recipe", "OpenLM-RefinedWeb", "--to", "OpenLM-RedPajama", "--json"]  # fmt: skip
    assert json.loads(CliRunner().invoke(main, command).stdout)["swaps"] == swap.figures["swaps"]
    assert [text for of in (choice, swap) for _, text in of.details.lines if len(text) > 92] == []


def test_unknowns_are_those_of_the_families_that_are_decided_on(trio_fit: bs.Fit) -> None:
    draws = trio_fit.posterior.sizes["chain"] * trio_fit.posterior.sizes["draw"] // 2
    all_ = {name for name in unknowns_of(trio_fit, draws) if name.startswith("alpha_N")}
    assert all_ == {f"alpha_N[{family}]" for family in trio_fit.families}
    own = unknowns_of(trio_fit, draws, "OpenLM-RedPajama")["alpha_N"]
    assert (own == trio_fit.posterior["alpha_N"].to_numpy()[:, ::2, 1].ravel()).all()
    assert unknowns_of(trio_fit, draws, "new") == {}  # a new family has no exponent of its own yet


@pytest.mark.parametrize("family", [None, "new"])
def test_no_exponent_of_a_fitted_family_tells_of_a_new_one(family: str | None, trio_fit: bs.Fit) -> None:
    choice = bs.decide(bs.Allocation("1e21", family), trio_fit)
    assert choice.unknowns.empty
    assert "alpha_N" not in repr(choice)


def test_each_recipe_has_the_noise_of_its_own_family(trio_fit: bs.Fit, choice: bs.Choice) -> None:
    noise = np.log(choice.run_outcome.to_numpy()) - np.log(choice.outcome.to_numpy())
    for i, family in enumerate(choice.actions["recipe"]):
        alone = Recipe(**TARGET)._queries(trio_fit, *(np.array([x]) for x in TARGET.values())).iloc[[i]]
        assert alone["family"].item() == family
        own = np.log(losses(trio_fit, alone, "run")) - np.log(losses(trio_fit, alone))
        assert noise[:, i] == pytest.approx(own[:, 0], abs=1e-12)


def test_a_recipe_that_is_named_twice_counts_once(trio_fit: bs.Fit) -> None:
    twice = Recipe(**TARGET, recipes="OpenLM-C4, OpenLM-C4, OpenLM-RedPajama").actions(trio_fit)
    assert list(twice["recipe"]) == ["OpenLM-C4", "OpenLM-RedPajama"]
    with pytest.raises(QueryError, match="needs another recipe"):
        Swap(**RUN, to=RUN["recipe"]).actions(trio_fit)


def test_recipes_are_promoted_by_the_regret_that_they_leave(trio_fit: bs.Fit, tmp_path: Path) -> None:
    choice = bs.decide("recipe", trio_fit, flops=1e26, promote=3)
    promoted, utility = choice.to_dict()["promoted"], choice.utility.to_numpy()
    labels = list(choice.actions["recipe"])
    columns = [labels.index(one["recipe"]) for one in promoted]
    assert sorted(columns) == [0, 1, 2]
    for k, one in enumerate(promoted, 1):
        left = utility.max(axis=1) - utility[:, columns[:k]].max(axis=1)
        assert one["regret"] == pytest.approx(left.mean(), abs=1e-12)
    assert promoted[0]["regret"] == pytest.approx(choice.evpi)
    assert promoted[0]["regret"] > promoted[1]["regret"] >= promoted[2]["regret"] == 0
    other = [i for i in range(3) if i not in columns[:2]]
    instead = utility.max(axis=1) - utility[:, [columns[0], *other]].max(axis=1)
    assert promoted[1]["regret"] <= instead.mean()
    assert f"promote {promoted[0]['recipe']} (expected regret alone" in " ".join(repr(choice).split())
    with pytest.raises(QueryError, match="cannot keep that number"):
        bs.decide("recipe", trio_fit, flops=1e26, promote=4)
    saved = trio_fit.save(tmp_path / "fit.nc")
    done = CliRunner().invoke(main, ["decide", "recipe", str(saved), "--flops", "1e26", "--promote", "2", "--json"])
    assert json.loads(done.stdout)["promoted"] == promoted[:2], done.output
