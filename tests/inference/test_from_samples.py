"""A fit from draws of any origin: what draws must be, and what is said of draws that are not so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from numpyro.infer import Predictive

import bayescale as bs
from bayescale.core.errors import FitError
from bayescale.core.precision import float64
from bayescale.parts.base import AbstractResponse, Parameter
from bayescale.parts.priors import LogNormal

Draws = dict[str, Any]


class Straight(AbstractResponse):
    """A share of items on a line in the loss, which exceeds 1 at a small loss."""

    name = "straight"
    source = "a test of this project"
    observed = "n_correct"
    requires = ("n_items",)
    kind = "count"
    unit = "items"
    parameters = {"slope": Parameter(LogNormal(0.2, 0.01), "1/nat", "how much a nat is worth", 0.1)}

    @staticmethod
    def location(log_loss, columns, *, slope):
        return 1.4 - slope * np.e**log_loss


@pytest.fixture
def draws(drawn_fit: bs.Fit) -> Draws:
    return {name: drawn_fit.posterior[name].to_numpy() for name in drawn_fit.sampled}


@pytest.mark.parametrize("noise", ["binomial", "beta-binomial"])
def test_draws_that_put_a_share_of_items_above_one_are_refused(noise: str, draws: Draws, ours: bs.Runs) -> None:
    """Losses in another unit, for example: every draw puts the share of every run above 1."""
    responses = {"loss": "student-t", "share": {"response": Straight, "noise": noise}}
    spec = bs.make_spec("straight", law="additive", responses=responses)
    runs = bs.load_runs(ours.frame.assign(loss=ours["loss"] / 10, share_n_items=100, share=50), loss_unit="nats")
    drawn = draws | {name: np.full((4, 250), at) for name, at in
                     (("slope_share", 0.2), ("concentration_share", 200.0)) if name in spec.parameters}  # fmt: skip
    with pytest.raises(FitError, match=r"draws give(.|\n)*probabilities from 0 to 1(.|\n)*these runs"):
        bs.Fit.from_samples(drawn, spec, runs)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda of: {"sigma": -of["sigma"]}, r"no density(.|\n)*values that the priors allow"),
        (lambda of: {"beta_D": of["beta_D"][:, :200]}, r"'level' and 'beta_D' have different numbers of draws"),
        (lambda of: {"beta_D": of["beta_D"][:2]}, r"'level' and 'beta_D'(.|\n)*\(4, 250\)(.|\n)*\(2, 250\)"),
        (lambda of: {"level": np.full((4, 250), "one")}, "site 'level' are not numbers"),
        (lambda of: {name: value[:, :0] for name, value in of.items()}, "do not have the shape"),
    ],
)
def test_draws_that_cannot_be_of_the_model_are_refused(
    wrong: Callable[[Draws], Draws], says: str, draws: Draws, ours: bs.Runs
) -> None:
    with pytest.raises(FitError, match=says):
        bs.Fit.from_samples(draws | wrong(draws), "additive", ours)


def test_fewer_draws_of_one_pooled_site_are_refused(trio: bs.Runs) -> None:
    """What a fit keeps of a pooled parameter is its values, from which the sites of the sampler are computed."""
    fit = bs.Fit.from_samples(_of_prior(trio), "additive", trio)
    kept = {name: value.to_numpy() for name, value in fit.posterior.items()}
    kept["level_spread"] = kept["level_spread"][:, :10]
    with pytest.raises(FitError, match=r"have different numbers of draws(.|\n)*\(2, 20\)"):
        bs.Fit.from_samples(kept, "additive", trio)


def _of_prior(runs: bs.Runs) -> Draws:
    with float64():
        found = Predictive(bs.model("additive", runs), num_samples=40)(jax.random.key(0))
    return {name: np.asarray(value).reshape(2, 20, *value.shape[1:]) for name, value in found.items()}
