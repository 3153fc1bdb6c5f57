"""Limits on actions: what they allow, which one binds, and what it costs."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.core.errors import QueryError
from bayescale.decisions.limits import allowed_by, buildable, menu
from bayescale.decisions.risk import RISKS

BUDGET = "5.76e23"
ACTIONS = pd.DataFrame({"params": [1e9, 7e9, 13e9, 70e9], "days": [1.0, 7.0, 14.0, 90.0], "family": "a"})


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        ({}, [True] * 4),
        ({"max_params": "13B"}, [True, True, True, False]),
        ({"min_params": 7e9, "max_days": 20}, [False, True, True, False]),
        ({"sizes": "7B, 70B"}, [False, True, False, True]),
        ({"sizes": 13e9}, [False, False, True, False]),
    ],
)
def test_a_limit_is_on_a_column_or_a_menu(limits, kept) -> None:
    assert allowed_by(limits, ACTIONS).tolist() == kept


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"max_dollars": 1}, "one of: sizes, shapes, max_params, min_params, max_days, min_days"),
        ({"max_family": 1}, "no limit is called"),
        ({"max_parms": 1}, "did you mean 'max_params'"),
        ({"max_params": "many"}, "'max_params' is not a number"),
        ({"sizes": "7B,many"}, "'sizes' is not a number"),
        ({"max_days": "nan"}, "'max_days' is not a number"),
    ],
)
def test_a_limit_that_is_not_one_is_refused(limits, words) -> None:
    with pytest.raises(QueryError) as caught:
        allowed_by(limits, ACTIONS)
    assert words in str(caught.value)


def test_a_menu_offers_sizes_that_the_grid_does_not_have(chinchilla_fit: bs.Fit) -> None:
    free = bs.decide(bs.Allocation(BUDGET), chinchilla_fit)
    choice = bs.decide(bs.Allocation(BUDGET, limits={"sizes": "7B,65B,180B"}), chinchilla_fit)
    assert choice.action["params"] == pytest.approx(65e9, rel=1e-12)
    assert choice.waste_fraction == pytest.approx(
        np.interp(np.log(65e9), free.ln_params, free.waste.mean(axis=0)), rel=0.01
    )
    (bound,) = choice.limits
    assert bound.name == "sizes"
    assert choice.actions["params"][bound.without] == free.params
    assert bound.worth == pytest.approx(choice.outcome.to_numpy()[:, choice.best.action].mean() - -free.best.expected)
    assert json.loads(json.dumps(choice.to_dict()))["limits_that_bind"][0]["limit"] == "sizes"
    assert "sizes 7B,65B,180B binds: without it, 74.0B params" in repr(choice)


def test_only_the_limit_that_changes_the_choice_binds(chinchilla_fit: bs.Fit) -> None:
    limits = {"max_params": "40B", "min_tokens": "100B", "max_tokens": "20T"}
    choice = bs.decide(bs.Allocation(BUDGET, limits=limits), chinchilla_fit)
    assert [bound.name for bound in choice.limits] == ["max_params"]
    assert choice.params <= 40e9
    # Ten percent more params: the law's mean loss falls by its slope there, between the neighbouring actions.
    mean, at = choice.outcome.mean("draw").to_numpy(), choice.best.action
    step = choice.actions["params"][at + 1] / choice.actions["params"][at]
    gained = mean[at] - mean[at + round(np.log(1.1) / np.log(step))]
    assert choice.limits[0].looser == pytest.approx(gained, rel=0.5)  # the grid's step is a third of ten percent
    assert bs.decide(bs.Allocation(BUDGET), chinchilla_fit).limits == []


def test_a_limit_binds_by_what_the_attitude_to_risk_loses(chinchilla_fit: bs.Fit) -> None:
    free = bs.decide(bs.Allocation(BUDGET), chinchilla_fit, risk="cvar")
    at = {"max_params": f"{free.params / 2:.0f}"}
    (bound,) = bs.decide(bs.Allocation(BUDGET, limits=at), chinchilla_fit, risk="cvar").limits
    worst = RISKS["cvar"]().score(free.run_utility.to_numpy())
    chosen = bs.decide(bs.Allocation(BUDGET, limits=at), chinchilla_fit, risk="cvar")
    assert bound.worth == pytest.approx(worst[free.best.action] - worst[chosen.best.action])


def test_limits_that_leave_nothing_say_how_much_each_allows(chinchilla_fit: bs.Fit) -> None:
    with pytest.raises(QueryError, match="no action of decision 'allocation' is within its limits") as caught:
        bs.decide(bs.Allocation(BUDGET, limits={"max_params": "1B", "min_params": "2B"}), chinchilla_fit)
    assert "max_params 1B: " in str(caught.value)
    assert "min_params 2B: " in str(caught.value)


def test_a_menu_is_read_once() -> None:
    assert menu({"sizes": "70B,7B,7B"}).tolist() == [7e9, 70e9]
    assert not len(menu({}))


def test_a_menu_of_shapes_is_of_those_that_can_be_built(chinchilla_fit: bs.Fit) -> None:
    limits = {"shapes": "vocab=128k,tensor=8,pipeline=4"}
    choice = bs.decide(bs.Allocation(BUDGET, limits=limits), chinchilla_fit)
    menu_of = buildable(limits["shapes"])
    shape = menu_of.iloc[(menu_of["params"] - choice.params).abs().argmin()]
    assert shape["params"] == pytest.approx(choice.params, rel=1e-12)
    assert (shape["heads"] % 8, shape["layers"] % 4) == (0, 0)
    assert choice.waste_fraction < 0.01  # a real shape lies near every size
    assert f"shape        {shape['layers']:.0f} layers, width {shape['width']:.0f}" in repr(choice)
    with pytest.raises(QueryError, match="did you mean 'tensor'"):
        buildable("tensors=8")


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"sizes": "7B,0"}, "not a plausible number of params"),
        ({"sizes": "-7B"}, "not a plausible number of params"),
        ({"max_params": float("nan")}, "'max_params' is not a number"),
        ({"shapes": "tensor=1e999"}, "'shapes' is not a number"),
    ],
)
def test_a_limit_that_no_size_can_have_is_refused(limits, words, chinchilla_fit: bs.Fit) -> None:
    with pytest.raises(QueryError, match=words):
        bs.decide(bs.Allocation(BUDGET, limits=limits), chinchilla_fit)


@pytest.mark.parametrize("limits", [{"max_params": "1B"}, {"sizes": "7B,13B"}])
def test_what_limits_waste_leaves_nothing_unsettled(limits, chinchilla_fit: bs.Fit) -> None:
    choice = bs.decide(bs.Allocation(BUDGET, limits=limits), chinchilla_fit)
    assert choice.waste_fraction > 1  # more than twice the compute of the best split
    assert choice.regret_nats == 0  # but every draw agrees on what the limits allow
    assert choice.settled
    assert choice.to_dict()["params"] == choice.params
    best = choice.optimum["tokens_per_param"]
    ends = f"{best['q05']:.1f} to {best['q95']:.1f}"
    assert f"tokens per param (90% interval {ends}), without the limits" in repr(choice)
