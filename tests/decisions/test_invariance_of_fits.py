"""A posterior, and what is decided from it, do not hang on the order of runs, names, units, or other families."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from arviz_stats.base import array_stats

import bayescale as bs

pytestmark = pytest.mark.slow
FLOPS = 1e22
ANCHOR = {"params": 5e8, "tokens": 2e10, "loss": 2.9}
SITES = ("E", "alpha_N", "beta_D", "sigma")
MOST = 4.0  # Monte Carlo standard errors: each test compares a dozen figures


def table(family: str, seed: int = 0) -> pd.DataFrame:
    params, ratio = (x.ravel() for x in np.meshgrid(np.geomspace(1e8, 3e9, 5), [5.0, 20.0, 80.0, 320.0]))
    tokens = params * ratio
    noise = np.exp(0.004 * np.random.default_rng(seed).standard_normal(params.size))
    loss = (1.7 + 400 * params**-0.34 + 410 * tokens**-0.28) * noise
    names = [f"{family}{i}" for i in range(params.size)]
    return pd.DataFrame({"family": family, "run_id": names, "params": params, "tokens": tokens, "loss": loss})


def fitted(frame: pd.DataFrame, anchor: dict[str, float] | None = None, seed: int = 0) -> bs.Fit:
    spec = bs.make_spec("own", law="additive", responses={"loss": "student-t"}, pooling={"default": "none"},
                        anchor=anchor or {})  # fmt: skip
    fit = bs.fit(bs.load_runs(frame, loss_unit="nats"), spec, seed=seed)
    assert fit.converged, fit.verdict
    return fit


def figures(fit: bs.Fit, flops: float = FLOPS) -> dict[str, np.ndarray]:
    """Draws of logs of the law's parameters, and of the params and the loss of the best split, by chain."""
    posterior = fit.posterior.sel(family="a") if "family" in fit.posterior.dims else fit.posterior
    found = {name: np.log(posterior[name].to_numpy()) for name in SITES}
    choice = bs.decide(bs.Allocation(flops, family="a"), fit)
    now = int(np.argmin(np.abs(choice.budgets - flops)))
    best = {"params": choice.ln_optimum, "loss": np.log(choice.least_loss)}
    return found | {name: values[:, now].reshape(len(found["E"]), -1) for name, values in best.items()}


def agree(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    """Compare means and SDs of draws by their Monte Carlo errors."""
    for name, draws in one.items():
        for of in ("mean", "sd"):
            values = [np.mean(x) if of == "mean" else np.std(x) for x in (draws, other[name])]
            error = np.hypot(*(array_stats.mcse(x, method=of) for x in (draws, other[name])))
            assert abs(values[0] - values[1]) < MOST * error, (name, of, values, error)


@pytest.fixture(scope="module")
def plain() -> bs.Fit:
    return fitted(table("a"))


def test_the_order_of_runs_changes_no_posterior(plain: bs.Fit) -> None:
    mixed = table("a").sample(frac=1, random_state=1, ignore_index=True)
    agree(figures(plain), figures(fitted(mixed)))


def test_the_name_of_a_family_changes_no_draw(plain: bs.Fit) -> None:
    other = fitted(table("a").assign(family="zz|Ω"))
    for name in SITES:
        np.testing.assert_array_equal(plain.posterior[name].to_numpy(), other.posterior[name].to_numpy())


def test_other_units_of_params_and_tokens_move_the_split_alone(plain: bs.Fit) -> None:
    """The priors of this spec are stated at the anchor, which moves along with the runs."""
    frame = table("a")
    moved = fitted(frame.assign(params=1e3 * frame["params"], tokens=1e-2 * frame["tokens"]))
    found = figures(moved, 10 * FLOPS)
    agree(figures(plain), found | {"params": found["params"] - np.log(1e3)})


def test_a_family_has_the_posterior_without_pooling_that_it_has_alone() -> None:
    """At a stated anchor: that of a table is the middle of all its runs."""
    joint = fitted(pd.concat([table("a"), table("b", 1), table("c", 2)], ignore_index=True), ANCHOR, seed=1)
    agree(figures(fitted(table("a"), ANCHOR)), figures(joint))
