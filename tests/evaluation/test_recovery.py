"""Every law's parameters are recovered from runs that the law itself made."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2, norm, t

import bayescale as bs
from bayescale.parts.base import AbstractLaw
from bayescale.parts.catalogue import catalogue, part
from bayescale.parts.priors import Prior

LAWS = {name: law for name in catalogue("bayescale.parts.laws") if (law := part("laws", name)).parameters}
QUICK = ("additive", "coupled", "power-floor")  # compiling a law's program takes some 14 s; `slow` has every law
RUNS = 60
SIGMA, NU = 0.003, 8.0  # of run noise on log loss: clean runs, with a stray one now and then
GREATEST_LOSS = 10.0  # nats/token: only ratios of losses matter, as a fit counts them in their median
FALSE_ALARM = 1e-3
MOST_WIDTH = 0.5  # of a posterior, in SDs of the prior, where runs inform a parameter


class Miss(NamedTuple):
    """Distance of the true parameters from a posterior's centre, in Gaussian coordinates.

    `z` is in posterior SDs, one a parameter; `distance` is joint, and χ² with a degree of freedom a parameter. `width`
    is the posterior SD over that of the prior.
    """

    z: np.ndarray
    distance: float
    width: np.ndarray
    converged: bool


def simulate(law: AbstractLaw, seed: int) -> tuple[bs.Runs, dict[str, float], np.ndarray]:
    """Runs of a law at parameters from its priors, these parameters at the fit's anchor, and the inputs from there."""
    rng = np.random.default_rng(seed)
    truth = {
        name: float(row.prior.transform(row.prior.loc + row.prior.scale * rng.normal()))
        for name, row in law.parameters.items()
    }
    # Three decades of params and of tokens, independently: tokens per param from .3 to 3e5.
    frame = pd.DataFrame({"params": 10 ** rng.uniform(7.0, 10.0, RUNS), "tokens": 10 ** rng.uniform(9.5, 12.5, RUNS)})
    frame["flops"] = 6 * frame["params"] * frame["tokens"]
    for name, column in law.columns.items():
        low, high = np.log(np.add(column.usual or (column.low, column.high), column.offset))
        frame[name] = np.exp(rng.uniform(low, high, RUNS))
    if mixed := [name for name, column in law.columns.items() if column.share_of]:
        frame[mixed] = rng.dirichlet(np.full(len(mixed), 0.5), RUNS)
    offsets = [law.columns[name].offset if name in law.columns else 0.0 for name in law.inputs]
    logs = np.log(frame[list(law.inputs)].to_numpy() + offsets)
    middle = [
        np.log(np.exp(x).mean()) if name in mixed else x.mean() for name, x in zip(law.inputs, logs.T, strict=True)
    ]
    inputs = (logs - middle).T
    with jax.enable_x64(True):
        relative = np.asarray(law.log_loss(*inputs, **truth))
    loss = np.exp(relative + SIGMA * rng.standard_t(NU, RUNS))
    frame["loss"] = loss * GREATEST_LOSS / loss.max()
    for name in truth:
        if law.parameters[name].unit == "median loss":
            truth[name] /= float(np.median(loss))
    return bs.load_runs(frame, loss_unit="nats"), truth, inputs


def coordinates(prior: Prior, values: np.ndarray | float) -> np.ndarray:
    return np.asarray(prior.transform.inv(values))


def miss(law: AbstractLaw, seed: int) -> Miss:
    runs, truth, inputs = simulate(law, seed)
    fit = bs.fit(runs, bs.make_spec(law.name, law=law.name), seed=seed)
    priors, names = [row.prior for row in law.parameters.values()], list(law.parameters)
    with jax.enable_x64(True):
        values = np.stack([[truth[name], *fit.posterior[name].to_numpy().ravel()] for name in names])
        white = np.stack([(coordinates(prior, own) - prior.loc) / prior.scale
                          for prior, own in zip(priors, values, strict=True)])  # fmt: skip
        predicted = np.asarray(
            jax.vmap(lambda own: law.log_loss(*inputs, **dict(zip(names, own, strict=True))))(values.T)
        )
    left = np.log(runs["loss"] / np.median(runs["loss"])) - predicted
    density = t.logpdf(left / SIGMA, NU).sum(axis=1) + norm.logpdf(white).sum(axis=0)
    # Under a calibrated posterior, the share of draws less likely than the truth is uniform, whatever its shape.
    share = np.clip((density[1:] < density[0]).mean(), 0.5 / density.size, None)
    away, sd = white[:, 0] - white[:, 1:].mean(axis=1), white[:, 1:].std(axis=1)
    return Miss(away / sd, float(chi2.isf(share, len(names))), sd, fit.converged)


def assert_calibrated(misses: list[Miss]) -> None:
    """Judge fits together: distances from a posterior as wide as its errors are χ².

    Parameters of one fit are correlated, hence the joint distance, whose degrees of freedom they are;
    fits are independent. Monte Carlo error of centre and width (4000 draws) is some per cent of a z.
    """
    assert max(np.abs(m.z).max() for m in misses) < 4.0
    freedom = sum(len(m.z) for m in misses)
    low, high = chi2.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], freedom)
    assert low < sum(m.distance for m in misses) < high


@pytest.mark.parametrize("name", QUICK)
def test_parameters_are_recovered(name):
    misses = [miss(LAWS[name], seed) for seed in range(4)]
    assert all(m.converged for m in misses)
    assert_calibrated(misses)
    assert (np.median([m.width for m in misses], axis=0) < MOST_WIDTH).all()  # a posterior that learnt nothing is 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::bayescale.core.errors.ConvergenceWarning")
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())
def test_parameters_are_recovered_over_the_prior(law):
    """Thirty data sets from the prior; a fit that says it has not converged is no evidence, and rare."""
    misses = [m for m in (miss(law, seed) for seed in range(100, 130)) if m.converged]
    assert len(misses) > 25
    assert_calibrated(misses)
