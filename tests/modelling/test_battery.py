"""Batteries: responses of one kind whose parameters are pooled over them, computed together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from numpyro import handlers
from numpyro.distributions import BetaBinomial
from numpyro.infer.util import log_density
from scipy.special import expit, gammaln

import bayescale as bs
from bayescale.core.errors import SpecError
from bayescale.modelling.design import design
from bayescale.modelling.interpreter import interpret
from bayescale.parts.noise.over_dispersed import Counts, log_gamma
from bayescale.parts.responses.benchmark import floor_of
from bayescale.prediction.predict import predict

NAMES = ("easy", "middling", "hard", "rare")
MIDPOINTS = dict(zip(NAMES, (3.1, 2.8, 2.6, 2.5), strict=True))
ITEMS, CHANCE, WIDTH, CEILING = 2000, 0.25, 0.12, 0.95
CONTENT = {
    "law": "additive",
    "responses": {"loss": "gaussian", "tests": {"response": "accuracy", "noise": "binomial", "of": list(NAMES)}},
    "parameters": {
        "midpoint_tests": {"spread": 0.2},
        "width_tests": {"spread": 0.3},
        "ceiling_tests": {"pooling": "complete"},
    },  # known by few runs
}


def curve(params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    return 1.8 + 480 * params**-0.35 + 2100 * tokens**-0.37


def accuracy(name: str, loss: np.ndarray) -> np.ndarray:
    return CHANCE + (CEILING - CHANCE) / (1 + np.exp(-(np.log(MIDPOINTS[name]) - np.log(loss)) / WIDTH))


@pytest.fixture(scope="module")
def runs() -> bs.Runs:
    """Twenty runs under a known law; only every fifth has the rare benchmark."""
    random = np.random.default_rng(0)
    params, ratio = (x.ravel() for x in np.meshgrid(np.geomspace(3e7, 3e9, 5), [5, 20, 80, 320], indexing="ij"))
    tokens = params * ratio
    loss = curve(params, tokens)
    table = pd.DataFrame({"run_id": [f"r{i}" for i in range(20)], "params": params, "tokens": tokens,
                          "loss": loss * np.exp(0.004 * random.standard_normal(20))})  # fmt: skip
    seen = [{"run_id": f"r{i}", "response": name, "value": random.binomial(ITEMS, accuracy(name, loss)[i]),
             "n_items": ITEMS, "chance": CHANCE}
            for name in NAMES for i in range(0, 20, 5 if name == "rare" else 1)]  # fmt: skip
    return bs.load_runs(table, observations=pd.DataFrame(seen), loss_unit="nats")


@pytest.fixture(scope="module")
def fit(runs: bs.Runs) -> bs.Fit:
    return bs.fit(runs, bs.make_spec("tests", **CONTENT), seed=0, draws=500)


@pytest.mark.slow
def test_a_parameter_has_one_value_for_each_response(fit: bs.Fit) -> None:
    assert fit.converged, fit.verdict
    assert fit.posterior["midpoint_tests"].dims == ("chain", "draw", "tests")
    assert fit.posterior["tests"].to_numpy().tolist() == list(NAMES)
    for name, truth in MIDPOINTS.items():
        row = fit.summary.loc[f"midpoint_tests[{name}]"]
        assert abs(row["mean"] - truth) < 4 * row["sd"]


def test_the_density_is_that_of_the_responses_by_name(runs: bs.Runs) -> None:
    """The same values give the same density of every response, in one row of a battery or by itself."""
    together = bs.make_spec("tests", **CONTENT, pooling={"default": "none"})
    alone = {name: {"response": "accuracy", "noise": "binomial"} for name in NAMES}
    apart = bs.make_spec("apart", law="additive", responses={"loss": "gaussian", **alone})
    with jax.enable_x64(True):
        points = design(together, runs)
        trace = handlers.trace(handlers.seed(interpret, jax.random.key(0))).get_trace(together, points)
        values = {name: site["value"] for name, site in trace.items()
                  if site["type"] == "sample" and not site["is_observed"]}  # fmt: skip
        own = {name: value for name, value in values.items() if not name.endswith("_tests")}
        for name in ("midpoint", "width", "ceiling"):
            each = np.broadcast_to(values[f"{name}_tests"], len(NAMES))
            own |= {f"{name}_{one}": each[i] for i, one in enumerate(NAMES)}
        _, theirs = log_density(interpret, (apart, design(apart, runs)), {}, own)
        _, ours = log_density(interpret, (together, points), {}, values)
        totals = {name: [float(trace[name]["fn"].log_prob(trace[name]["value"]).sum()) for trace in (ours, theirs)]
                  for name in ("loss", *NAMES)}  # fmt: skip
    for name, (found, expected) in totals.items():
        assert found == pytest.approx(expected, rel=1e-10), name


def test_runs_may_lack_some_scores_of_a_battery_that_is_the_only_response(runs: bs.Runs) -> None:
    alone = bs.make_spec("alone", law="additive", responses={"tests": CONTENT["responses"]["tests"]})
    with jax.enable_x64(True):
        present = design(alone, runs).present
    assert {name: int(there.sum()) for name, there in present.items()} == {"rare": 4}


@pytest.mark.parametrize("battery", [True, False])
def test_scores_follow_the_loss_of_the_run_and_not_that_of_the_law(battery: bool, runs: bs.Runs) -> None:
    """The noise of a run's loss is real, so that its scores share it; and scores do not move the law."""
    said = {"response": "accuracy", "noise": "binomial"} | ({"of": ["easy", "hard"]} if battery else {})
    spec = bs.make_spec("s", law="additive", responses={"loss": "gaussian", "tests" if battery else "easy": said},
                        pooling={"default": "none"})  # fmt: skip
    with jax.enable_x64(True):
        points = design(spec, runs)
        trace = handlers.trace(handlers.seed(interpret, jax.random.key(0))).get_trace(spec, points)
        values = {name: site["value"] for name, site in trace.items()
                  if site["type"] == "sample" and not site["is_observed"]}  # fmt: skip

        def densities(**changed: float) -> dict[str, np.ndarray]:
            of = handlers.substitute(interpret, data=values | changed)
            found = handlers.trace(of).get_trace(spec, points)
            return {name: np.asarray(found[name]["fn"].log_prob(found[name]["value"])) for name in ("loss", "easy")}

        before, after = densities(), densities(level=1.3 * values["level"])
    np.testing.assert_array_equal(before["easy"], after["easy"])
    assert (before["loss"] != after["loss"]).all()


def test_a_score_that_is_drawn_follows_the_loss_that_is_drawn(runs: bs.Runs) -> None:
    noisy = CONTENT["parameters"] | {"sigma": {"prior": {"kind": "LogNormal", "median": 0.1, "scale": 0.01}}}
    spec = bs.make_spec("tests", **CONTENT | {"parameters": noisy})
    with jax.enable_x64(True):
        points = replace(design(spec, runs), observed={})
        trace = handlers.trace(handlers.seed(interpret, jax.random.key(1))).get_trace(spec, points)
    drawn = {name: np.asarray(site["value"]) for name, site in trace.items() if "value" in site}
    of = {name: drawn[f"{name}_tests"].ravel()[0] for name in ("midpoint", "width", "ceiling")}

    def away(log_loss: np.ndarray) -> float:
        p = CHANCE + (of["ceiling"] - CHANCE) / (1 + np.exp(-(np.log(of["midpoint"]) - log_loss) / of["width"]))
        return float(np.abs((drawn["easy"] - ITEMS * p) / np.sqrt(ITEMS * p * (1 - p))).max())

    assert away(np.log(drawn["loss"])) < 5 < away(drawn["log_loss"])


@pytest.mark.slow
def test_a_benchmark_of_few_runs_takes_its_width_from_the_others(fit: bs.Fit, runs: bs.Runs) -> None:
    widths = fit.posterior["width_tests"]
    assert float(widths.sel(tests="rare").std()) < 0.5 * 0.7 * WIDTH  # half of the prior's 0.7 e-folds
    alone = bs.forecast(fit, params="10B", tokens="200B", response="hard")
    truth = ITEMS * accuracy("hard", curve(1e10, 2e11))
    assert alone.summary["q05"].item() < truth < alone.summary["q95"].item()


@pytest.mark.slow
def test_every_response_is_drawn_and_scored_by_itself(fit: bs.Fit, runs: bs.Runs) -> None:
    frame = fit.design_frame
    sites = predict(fit, frame, most=200)
    thin = fit.shape[0] * fit.shape[1] // 200
    for name in NAMES:
        midpoint, width, ceiling = (
            (of.sel(tests=name) if "tests" in of.dims else of).to_numpy()[:, ::thin].reshape(-1, 1)
            for of in (fit.posterior[f"{one}_tests"] for one in ("midpoint", "width", "ceiling"))
        )
        # Scores follow the drawn loss of the run.
        p = CHANCE + (ceiling - CHANCE) / (1 + np.exp(-(np.log(midpoint) - np.log(sites["loss"])) / width))
        away = (sites[name] - ITEMS * p) / np.sqrt(ITEMS * p * (1 - p))
        assert abs(away.mean()) < 5 / np.sqrt(away.size)
        assert abs(away.var() - 1) < 5 * np.sqrt(2 / away.size)
    seen = {name: frame[name].to_numpy() for name in ("loss", "easy")}
    density = predict(fit, frame, observed=seen, only="easy_log_density", most=200)
    whole = fit.tree["log_likelihood"]["easy"].to_numpy().reshape(-1, len(frame))
    assert abs(density.mean() - whole.mean()) < 5 * whole.mean(axis=1).std() / np.sqrt(200)


@pytest.mark.parametrize(
    "pooling", ["partial", *(pytest.param(one, marks=pytest.mark.slow) for one in ("none", "complete"))]
)
def test_a_new_family_has_the_parameters_of_the_battery(pooling: str, runs: bs.Runs) -> None:
    """They differ between benchmarks and not between families: a new family has a law of its own, and these."""
    runs = bs.Runs(runs.frame.assign(family=np.where(np.arange(len(runs)) % 2, "a", "b")), "two families")
    pooled = {f"{name}_tests": {"pooling": pooling, "spread": 0.2} for name in ("midpoint", "width", "ceiling")}
    spec = bs.make_spec("tests", **CONTENT | {"parameters": pooled})
    with jax.enable_x64(True):
        trace = handlers.trace(handlers.seed(interpret, jax.random.key(0))).get_trace(spec, design(spec, runs))
    random = np.random.default_rng(0)
    draws = {name: np.asarray(site["value"]) * np.exp(-0.01 * random.uniform(size=(2, 50, *site["value"].shape)))
             for name, site in trace.items() if site["type"] == "sample" and not site["is_observed"]}  # fmt: skip
    fit = bs.Fit.from_samples(draws, spec, runs)
    sites = predict(fit, pd.DataFrame({"family": ["a", "new"], "params": 1e10, "tokens": 2e11}))
    assert (sites["law"][:, 0] != sites["law"][:, 1]).all()
    for place, name in enumerate(NAMES):
        midpoint, width, ceiling = (
            np.broadcast_to(fit.posterior[f"{one}_tests"].to_numpy().reshape(100, -1), (100, len(NAMES)))[:, [place]]
            for one in ("midpoint", "width", "ceiling")
        )
        p = CHANCE + (ceiling - CHANCE) * expit((np.log(midpoint) - sites["log_loss"]) / width)
        np.testing.assert_allclose(sites[f"{name}_location"], p, rtol=1e-9)


@pytest.mark.slow
def test_a_spec_with_a_battery_is_written_and_read(fit: bs.Fit, tmp_path: Path) -> None:
    assert bs.load_spec(bs.write_spec(fit.spec, tmp_path / "tests.toml")).digest == fit.spec.digest
    again = bs.load_fit(fit.save(tmp_path / "fit.nc"))
    assert again.posterior["midpoint_tests"].dims == ("chain", "draw", "tests")
    assert bs.predictive(again, prior_draws=5)["prior"]["midpoint_tests"].sizes["tests"] == len(NAMES)


@pytest.mark.parametrize(("change", "words"), [
    ({"of": ["easy"]}, "does not name different columns"),
    ({"of": ["easy", "easy"]}, "does not name different columns"),
    ({"of": ["easy", "tests"]}, "cannot name a battery"),
    ({"of": ["easy", "params"]}, "cannot name a response"),
    ({"of": "easy"}, "its kind and its noise"),
])  # fmt: skip
def test_a_battery_that_cannot_be_is_refused(change: dict, words: str) -> None:
    said = {"response": "accuracy", "noise": "binomial", "of": list(NAMES)} | change
    with pytest.raises(SpecError, match=words):
        bs.make_spec("tests", law="additive", responses={"loss": "gaussian", "tests": said})


def test_a_response_is_named_once_and_a_battery_is_in_no_suite() -> None:
    battery = CONTENT["responses"]["tests"]
    with pytest.raises(SpecError, match="names a response twice"):
        bs.make_spec("tests", law="additive", responses={"tests": battery, "more": battery})
    with pytest.raises(SpecError, match="cannot be pooled by suite"):
        bs.make_spec("tests", **{**CONTENT, "parameters": {"midpoint_tests": {"pooling": "suite", "spread": 0.1}}})


def test_the_log_of_the_gamma_function_is_exact_to_eleven_digits() -> None:
    at = np.geomspace(1e-10, 1e8, 500)
    with jax.enable_x64(True):
        error = np.abs(np.asarray(log_gamma(at)) - gammaln(at))
    assert (error < 1e-11 * np.maximum(1.0, np.abs(gammaln(at)))).all()


def test_over_dispersed_counts_have_the_density_of_a_beta_binomial() -> None:
    counts = np.arange(0.0, 41.0)
    with jax.enable_x64(True):
        for a, b in ((0.3, 2.0), (40.0, 60.0), (2000.0, 100.0)):
            found = Counts(a, b, 40).log_prob(counts)
            np.testing.assert_allclose(found, BetaBinomial(a, b, 40).log_prob(counts), rtol=1e-6, atol=1e-7)
            assert float(np.exp(found).sum()) == pytest.approx(1.0, abs=1e-8)


FLOOR_ODDS = {"plain": 1.0, "misled": 0.5}
ENDS = {"plain": 0.95, "misled": 0.75, "mmlu": 0.9, "bbq": 0.7}
SPREAD_AS = {"mmlu": 400.0, "bbq": 4000.0}
"""Independent items that would scatter as much as an average does."""


@pytest.mark.slow
def test_informed_floors_ceilings_and_the_scatter_of_averages_are_recovered() -> None:
    """Forty runs from far above the midpoint to far below it: counts of two benchmarks, and averages without counts."""
    random = np.random.default_rng(3)
    params, ratio = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e10, 8), [5, 20, 80, 320, 1280], indexing="ij"))
    loss = curve(params, params * ratio) * np.exp(0.004 * random.standard_normal(len(params)))
    table = {"params": params, "tokens": params * ratio, "loss": loss}
    rise = expit((np.log(2.8) - np.log(loss)) / WIDTH)
    for name, ceiling in ENDS.items():
        floor = floor_of(CHANCE, FLOOR_ODDS.get(name, 1.0))
        p = floor + (ceiling - floor) * rise
        table[f"{name}_chance"] = np.full(len(p), CHANCE)
        if name in FLOOR_ODDS:
            table |= {name: random.binomial(ITEMS, random.beta(300 * p, 300 * (1 - p))), f"{name}_n_items": ITEMS}
        else:
            table[name] = p + np.sqrt(p * (1 - p) / SPREAD_AS[name]) * random.standard_normal(len(p))
    responses = {
        "loss": "gaussian",
        "tests": {"response": "benchmark", "noise": "over-dispersed", "of": list(FLOOR_ODDS)},
        "averages": {"response": "score", "noise": "average", "of": list(SPREAD_AS)},
    }
    spec = bs.make_spec("ends", law="additive", responses=responses, pooling={"default": "none"})
    found = bs.fit(bs.load_runs(pd.DataFrame(table), loss_unit="nats"), spec, seed=0)
    assert found.converged, found.verdict
    truths = {
        ("floor_odds", "tests"): FLOOR_ODDS,
        ("ceiling", "tests"): {name: ENDS[name] for name in FLOOR_ODDS},
        ("ceiling", "averages"): {name: ENDS[name] for name in SPREAD_AS},
        ("floor_odds", "averages"): dict.fromkeys(SPREAD_AS, 1.0),
        ("items", "averages"): SPREAD_AS,
    }
    for (parameter, battery), values in truths.items():
        site = f"{parameter}_{battery}"
        prior, drawn = spec.parameters[site].prior, found.posterior[site]
        for name, truth in values.items():
            at, value = (np.asarray(prior.transform.inv(x)) for x in (truth, drawn.sel({battery: name}).to_numpy()))
            assert abs(value.mean() - at) < 4 * value.std(), (parameter, name)
            assert value.var() < 0.5 * prior.scale**2, (parameter, name)  # as the check of ceilings asks
