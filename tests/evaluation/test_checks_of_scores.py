"""Checks of scores on draws that are the truth: each passes where it should, and fails where something is wrong."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from scipy.stats import norm

import bayescale as bs
from bayescale.decisions.goals import Goal
from bayescale.decisions.surface import others_of
from bayescale.evaluation.checks.base import Finding
from bayescale.evaluation.checks.compounding import share_of_loss
from bayescale.modelling.design import anchor_of
from bayescale.parts.responses.benchmark import floor_of
from bayescale.prediction.predictive import given_losses

CHAINS, DRAWS = 4, 250
EXACT = 1e-9  # draws without any spread have no R-hat
E, A, B, ALPHA, BETA = 1.8, 480.0, 2100.0, 0.35, 0.37
ITEMS, CHANCE, MIDPOINT, WIDTH, CEILING = 2000, 0.25, 2.6, 0.12, 0.96
CONCENTRATION = 20.0
LOOSE = {"prior": {"kind": "LogitNormal", "median": CEILING, "scale": 1.0}}
FIXED = ("calm", "wild", "low")
"""Benchmarks with binomial noise and a floor at guessing; wild scatters more, and low falls below guessing."""
NAMES = (*FIXED, "learned")
"""The last one scatters more and falls below guessing too, and its model knows both."""
BELOW = 0.5  # odds of an answer without skill, in odds of guessing


def _runs(sigma: float, gone: float) -> bs.Runs:
    """Runs under a known law with this noise on log loss, the scores that follow their losses, and a share without."""
    random = np.random.default_rng(0)
    params, ratio = (x.ravel() for x in np.meshgrid(np.geomspace(3e7, 3e9, 8), [5, 20, 80, 320], indexing="ij"))
    tokens = params * ratio
    loss = (E + A * params**-ALPHA + B * tokens**-BETA) * np.exp(sigma * random.standard_normal(len(params)))
    table = {"run_id": np.arange(len(loss)), "params": params, "tokens": tokens}
    for name in NAMES:
        floor = floor_of(CHANCE, BELOW) if name in ("low", "learned") else CHANCE
        p = floor + (CEILING - floor) * expit((np.log(MIDPOINT) - np.log(loss)) / WIDTH)
        if name in ("wild", "learned"):
            p = random.beta(p * CONCENTRATION, (1 - p) * CONCENTRATION)
        table |= {name: random.binomial(ITEMS, p), f"{name}_n_items": ITEMS, f"{name}_chance": CHANCE}
    known = pd.DataFrame({"run_id": table["run_id"], "response": "loss", "value": loss})
    known = known[known["run_id"] % 10 >= 10 * gone]
    return bs.load_runs(pd.DataFrame(table), observations=known, loss_unit="nats", name="ours")


@cache
def fit_of(sigma: float, midpoint_spread: float = 0.0, midpoint: float = MIDPOINT, gone: float = 0.0) -> bs.Fit:
    """A fit whose every draw is the truth, except the midpoint of calm; the ceiling of low is drawn from its prior."""
    runs, random = _runs(sigma, gone), np.random.default_rng(1)
    responses = {"loss": "gaussian", "tests": {"response": "accuracy", "noise": "binomial", "of": list(FIXED)},
                 "learned": {"response": "benchmark", "noise": "over-dispersed"}}  # fmt: skip
    spec = bs.make_spec("known", law="additive", responses=responses, pooling={"default": "none"},
                        parameters={f"ceiling_{name}": LOOSE for name in ("tests", "learned")})  # fmt: skip
    anchor = {name: float(np.exp(value)) for name, value in anchor_of(spec, runs.frame).items()}
    a, b = A * anchor["params"] ** -ALPHA, B * anchor["tokens"] ** -BETA
    sites = {"level": (E + a + b) / anchor["loss"], "ratio_A": a / E, "ratio_B": b / E, "alpha_N": ALPHA,
             "beta_D": BETA, "sigma": sigma, "concentration_learned": CONCENTRATION, "floor_odds_learned": BELOW,
             "midpoint_learned": MIDPOINT, "width_learned": WIDTH, "ceiling_learned": CEILING}  # fmt: skip

    def drawn(*spread: float) -> np.ndarray:
        return np.squeeze(np.maximum(spread, EXACT) * random.standard_normal((CHAINS, DRAWS, len(spread))))

    draws = {name: value * np.exp(drawn(0.0)) for name, value in sites.items()}
    draws["midpoint_tests"] = np.array([midpoint, MIDPOINT, MIDPOINT]) * np.exp(drawn(midpoint_spread, 0.0, 0.0))
    draws["width_tests"] = WIDTH * np.exp(drawn(0.0, 0.0, 0.0))
    draws["ceiling_tests"] = expit(logit(CEILING) + drawn(0.0, 0.0, 1.0))
    return bs.Fit.from_samples(draws, spec, runs)


def found(fit: bs.Fit, check: str) -> dict[str, Finding]:
    return {finding.subject: finding for finding in bs.check(fit, check)}


def test_scores_that_scatter_as_the_noise_says_pass_and_others_fail() -> None:
    findings = found(fit_of(0.004), "scores")
    assert set(findings) == set(NAMES)
    assert findings["calm"].passed
    assert findings["learned"].passed
    assert not findings["wild"].passed
    assert findings["wild"].advice == "use the noise over-dispersed"


def test_over_dispersion_is_told_as_a_multiple_of_the_scatter_of_items() -> None:
    """Of a Beta-Binomial, the variance is 1 + (n - 1) / (concentration + 1) times that of independent items."""
    expected = 1 + (ITEMS - 1) / (CONCENTRATION + 1)
    runs = len(fit_of(0.004).design_frame)
    for name in ("wild", "learned"):
        words = found(fit_of(0.004), "scores")[name].sentence
        size = float(words.partition(" is ")[2].partition(" times")[0])
        assert abs(size / expected - 1) < 4 * np.sqrt(2 / runs), words  # of a mean of squares, nearly Normal


@pytest.mark.parametrize("gone", [0.0, 0.5])
def test_the_noise_of_the_loss_is_not_taken_for_scatter_of_the_benchmark(gone: float) -> None:
    """With much noise on the loss, calm is still Binomial at the loss of its run; runs without a loss do not count."""
    fit = fit_of(0.03, gone=gone)
    findings = found(fit, "scores")
    runs = fit.design_frame["loss"].notna().sum()
    for name, expected in (("calm", 1.0), ("wild", 1 + (ITEMS - 1) / (CONCENTRATION + 1))):
        size = float(findings[name].sentence.partition(" is ")[2].partition(" times")[0])
        assert abs(size / expected - 1) < 4 * np.sqrt(2 / runs), findings[name].sentence
    assert findings["calm"].passed
    assert not findings["wild"].passed


def test_a_run_is_predicted_at_its_own_loss_and_one_without_a_loss_by_the_law() -> None:
    fit = fit_of(0.03, gone=0.5)
    frame, sites = fit.design_frame, given_losses(fit, seed=0, most=200)
    lost = frame["loss"].isna().to_numpy()
    law = E + A * frame["params"] ** -ALPHA + B * frame["tokens"] ** -BETA
    rise = expit((np.log(MIDPOINT) - np.log(frame["loss"].fillna(law))) / WIDTH)
    expected = np.broadcast_to(CHANCE + (CEILING - CHANCE) * rise, sites["calm_location"].shape)
    np.testing.assert_allclose(sites["calm_location"], expected, rtol=1e-5)
    np.testing.assert_array_equal(sites["loss"][:, ~lost], np.tile(frame["loss"][~lost], (len(sites["loss"]), 1)))
    assert (np.log(sites["loss"]).std(axis=0)[lost] > 0.02).all()  # the noise of a run is 0.03
    # Given the loss, the scores have the variance of their items alone; without it, that of the loss is added.
    ratio = sites["calm"].var(axis=0) / (ITEMS * (expected * (1 - expected))[0])
    assert (ratio[~lost] < 1 + 5 * np.sqrt(2 / 200)).all()
    assert ratio[lost].mean() > 2


def test_a_curve_that_misses_the_scores_fails_though_its_noise_is_right() -> None:
    assert not found(fit_of(0.004, midpoint=1.1 * MIDPOINT), "scores")["calm"].passed


def test_a_floor_at_guessing_fails_where_small_runs_score_below_it_and_an_informed_one_is_not_asked() -> None:
    findings = found(fit_of(0.004), "floors")
    assert set(findings) == set(FIXED)
    assert findings["calm"].passed
    assert not findings["low"].passed
    assert findings["low"].figure < findings["low"].limit
    assert "benchmark" in findings["low"].advice


def test_a_ceiling_that_is_known_passes_and_one_that_is_its_prior_fails() -> None:
    findings = found(fit_of(0.004), "ceilings")
    assert set(findings) == set(NAMES)
    assert findings["calm"].passed
    assert findings["calm"].figure == pytest.approx(1.0)
    assert not findings["low"].passed
    assert abs(findings["low"].figure) < 4 * np.sqrt(2 / (CHAINS * DRAWS))  # of a variance, relative


def test_the_error_of_the_loss_compounds_where_it_is_larger_than_that_of_the_curve() -> None:
    """With much noise on the loss and many items nearly all error is the loss's; an uncertain curve takes its place."""
    noisy, unsure = fit_of(0.03), fit_of(0.03, midpoint_spread=0.03)
    assert not found(noisy, "compounding")["calm"].passed
    assert found(noisy, "compounding")["learned"].passed  # its own scatter is larger
    assert found(unsure, "compounding")["calm"].passed
    # Log loss and log midpoint now have the same error, and the items add theirs.
    runs = noisy.design_frame
    params, tokens = (runs[name].max() * np.sqrt(10) for name in ("params", "tokens"))
    rise = expit((np.log(MIDPOINT) - np.log(E + A * params**-ALPHA + B * tokens**-BETA)) / WIDTH)
    p, slope = CHANCE + (CEILING - CHANCE) * rise, (CEILING - CHANCE) * rise * (1 - rise) / WIDTH
    of_loss, of_items = (0.03 * slope) ** 2, p * (1 - p) / ITEMS
    expected = of_loss / (2 * of_loss + of_items)
    assert found(unsure, "compounding")["calm"].figure == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_the_share_of_the_loss_is_that_of_its_variance(share: float) -> None:
    random = np.random.default_rng(2)
    loss, other = random.standard_normal((2, 20_000))
    score = np.sqrt(share) * loss + np.sqrt(1 - share) * other
    assert share_of_loss(loss, score) == pytest.approx(share, abs=0.02)
    assert share_of_loss(loss, -np.exp(loss)) > 0.75  # a curve explains all but what varies within a bin


def test_a_fit_without_a_loss_or_without_scores_is_not_asked(chinchilla_fit: bs.Fit) -> None:
    assert not found(chinchilla_fit, "compounding")
    assert not found(chinchilla_fit, "scores")


def test_a_budget_is_split_under_a_model_that_observes_scores_too() -> None:
    """What the scores need, such as the chance of a benchmark, is the same in all runs; the law decides."""
    choice = bs.decide(bs.Allocation(flops=1e22), fit_of(0.004))
    best = (ALPHA * A / (BETA * B) * (1e22 / 6) ** BETA) ** (1 / (ALPHA + BETA))
    step = np.diff(choice.ln_params).max()
    assert np.log(choice.action["params"] / best) == pytest.approx(0.0, abs=0.505 * step)  # the nearest of the table


def test_a_score_is_reached_where_the_loss_that_gives_it_is() -> None:
    fit, wanted = fit_of(0.0004), 0.6
    loss = MIDPOINT * np.exp(-WIDTH * logit((wanted - CHANCE) / (CEILING - CHANCE)))
    params = np.array([1e9, 3e9, 1e10])
    at = fit, np.log(params), np.linspace(np.log(1e9), np.log(1e13), 80), others_of(fit), "law"
    exact = np.log(B / (loss - E - A * params**-ALPHA)) / BETA
    for goal in (Goal(wanted, "calm", falls=False, log=False), Goal(loss)):
        assert goal.tokens(*at) == pytest.approx(np.broadcast_to(exact, (CHAINS * DRAWS, 3)), rel=1e-7)


def test_a_plan_for_a_score_has_room_for_the_luck_of_the_items() -> None:
    """Nine in ten of its runs answer 60% of the items: the expected score is 1.28 SDs of a run's score above that."""
    choice = bs.decide("target", fit_of(0.0004), score=0.6, response="calm")
    assert choice.settled
    params, tokens = choice.action["params"], choice.action["tokens"]
    log_loss = np.log(E + A * params**-ALPHA + B * tokens**-BETA)
    score = CHANCE + (CEILING - CHANCE) * expit((np.log(MIDPOINT) - log_loss) / WIDTH)
    sd = np.sqrt(score * (1 - score) / ITEMS)
    error = np.sqrt(0.9 * 0.1 / (CHAINS * DRAWS)) / norm.pdf(norm.ppf(0.9)) * sd  # of the quantile of draws
    assert score - norm.ppf(0.9) * sd == pytest.approx(0.6, abs=4 * error + 0.5 / ITEMS)


@bs.custom_model(columns=("flops", "released"), observes={"steady": "real", "rising": "real"})
def flat(design):
    """Scores that neither compute nor date changes."""
    import numpyro
    from numpyro import distributions as dist

    for name in ("steady", "rising"):
        mean = numpyro.sample(f"{name}_mean", dist.Normal(0.5, 1.0))
        with numpyro.plate(f"{name}_run", len(design.columns["flops"])):
            numpyro.sample(name, dist.Normal(mean, 0.1), obs=design.observed.get(name))


def test_a_drift_is_said_to_be_of_a_fit_that_has_seen_the_score() -> None:
    random, dates = np.random.default_rng(4), np.linspace(2020, 2025, 60)
    table = {"flops": 10 ** random.uniform(21, 24, 60), "released": dates, "steady": random.normal(0.5, 0.1, 60),
             "rising": 0.5 + 0.1 * (dates - dates.mean()) + random.normal(0, 0.05, 60)}  # fmt: skip
    draws = {f"{name}_mean": random.normal(0.5, 0.01, (CHAINS, DRAWS)) for name in ("steady", "rising")}
    fit = bs.Fit.from_samples(draws, flat, bs.load_runs(pd.DataFrame(table), name="public"))
    findings = found(fit, "observational")
    assert findings["steady and date"].passed
    assert not findings["rising and date"].passed
    for name in ("steady", "rising"):
        said = findings[f"{name} and date"].sentence
        assert "residuals of a fit to all scores, this one among them" in said
        assert "other scores" not in said
