"""Parts of what was spent recover their parameters from runs that they made, in a design that informs them."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from numpyro import handlers

import bayescale as bs
from bayescale.modelling.identifiability import check_identified
from bayescale.parts.resources.duplicates import Duplicates
from bayescale.parts.resources.progress import Progress
from bayescale.parts.resources.quality import Filtering, Pruning
from bayescale.parts.resources.repetition import Repetition
from bayescale.parts.resources.synthetic import Synthetic

LAW = {"level": 1.0, "ratio_A": 0.3, "ratio_B": 0.3, "alpha_N": 0.35, "beta_D": 0.37}
SIGMA = 0.003  # of log loss
MOST_Z = 4.0
MOST_WIDTH = 0.5  # of a posterior, in SDs of the prior: the design is to inform its parameters
WIDER = {"distinct": 0.7}  # repeats show its product with R_D and with R_N, and little of itself
BITS = [3.0, 4.0, 6.0, 8.0, 16.0]

DESIGNS: dict[str, tuple[dict[str, float], dict[str, list[float]]]] = {
    "repetition": (
        {"R_D": 12.0, "R_N": 6.0},
        {"epochs": [1.0, 2.0, 4.0, 16.0, 50.0]},
    ),
    "harm": (
        {"harm": 0.03, "harm_epochs": 0.4, "harm_params": 0.7},
        {"epochs": [1.0, 2.0, 4.0, 16.0, 50.0]},
    ),
    "precision": (
        {"gamma_weights": 2.2, "gamma_activations": 1.6, "gamma_caches": 0.9},
        {"weight_bits": BITS, "activation_bits": BITS, "cache_bits": BITS},
    ),
    "quantization": (
        {"rounding": 0.06, "rounding_tokens": 0.5, "rounding_params": 0.35, "rounding_bits": 1.8,
         "rounding_group": 0.6},
        {"rounded_bits": BITS, "group_size": [32.0, 128.0, 1024.0]},
    ),
    "floating-point": (
        {"format_penalty": 0.05, "format_exponent": 2.5, "format_mantissa": 1.8},
        {"exponent_bits": [1.0, 2.0, 3.0, 4.0, 8.0], "mantissa_bits": [0.0, 1.0, 2.0, 3.0, 7.0],
         "block_size": [1.0, 32.0, 128.0, 1024.0]},
    ),
    "pruning": (
        {"prune_any": 0.1, "prune_share": -0.1, "prune_trend": -0.08},
        {"kept": [0.1, 0.2, 0.4, 0.7, 1.0]},
    ),
    "filtering": (
        {"filter_gain": 0.3, "filter_life": 6.0, "R_D": 12.0, "R_N": 6.0},
        {"kept": [0.05, 0.2, 0.5, 1.0], "epochs": [1.0, 4.0, 16.0, 50.0]},
    ),
    "synthetic": (
        {"synthetic_worth": 0.6, "synthetic_cap": 2.0},
        {"synthetic": [0.0, 0.2, 0.5, 0.75, 0.9]},
    ),
    "duplicates": (
        {"distinct": 0.6, "R_D": 12.0, "R_N": 6.0},
        {"epochs": [1.0, 2.0, 4.0, 16.0, 50.0]},
    ),
    "progress": (
        {"progress": 2.5, "progress_scale": 0.05},
        {"year": [2018.0, 2020.0, 2022.0, 2024.0]},
    ),
    "parallel": (
        {"stream_worth": 0.4},
        {"streams": [1.0, 2.0, 4.0, 8.0]},
    ),
}  # fmt: skip
"""For each spec, true values of its own parameters, and levels of the columns that inform them."""


def sweep(levels: Mapping[str, list[float]]) -> pd.DataFrame:
    """Runs over four decades of compute, with the levels crossed at random."""
    params, tokens = (x.ravel() for x in np.meshgrid(np.geomspace(3e7, 3e9, 10), np.geomspace(1e9, 1e11, 12)))
    frame = pd.DataFrame({"params": params, "tokens": tokens, "loss": 3.0})
    for i, (column, values) in enumerate(levels.items()):
        frame[column] = np.random.default_rng(i).permutation(np.resize(values, len(frame)))
    if "epochs" in frame:
        frame["unique_tokens"] = frame["tokens"] / frame["epochs"]
    return frame


def made_by(name: str) -> tuple[bs.Spec, bs.Runs, dict[str, float]]:
    """The spec for one family, runs that it made, and the values that made them."""
    shipped, (own, levels) = bs.load_spec(name), DESIGNS[name]
    spec = bs.make_spec(name, law=shipped.law, inputs=list(shipped.inputs), resources=list(shipped.resources),
                        penalties=list(shipped.penalties), pooling={"default": "none"})  # fmt: skip
    base = LAW if shipped.law == "additive" else {"level": 1.0, "ratio_X": 0.5, "exponent": 0.3}
    truth, runs = base | own, bs.load_runs(sweep(levels), loss_unit="nats")
    with jax.enable_x64(True):
        fixed = {site: jnp.asarray(value) for site, value in (truth | {"sigma": SIGMA, "nu": 8.0}).items()}
        model = handlers.substitute(handlers.seed(bs.model(spec, runs), 0), data=fixed)
        log_loss = np.asarray(handlers.trace(model).get_trace()["log_loss"]["value"])
    loss = np.exp(log_loss + SIGMA * np.random.default_rng(9).standard_t(8, len(log_loss)))
    found = bs.load_runs(runs.frame.assign(loss=loss), loss_unit="nats")
    truth["level"] *= 3.0 / float(np.median(loss))  # of the law, over the median loss of the runs
    return spec, found, truth


@pytest.mark.slow
@pytest.mark.parametrize("name", DESIGNS)
def test_parameters_are_recovered(name: str) -> None:
    """Each fit has about ten parameters, so that a z above 4 has a probability of a thousandth."""
    spec, runs, truth = made_by(name)
    fit = bs.fit(runs, spec, seed=0)
    assert fit.converged, fit.verdict
    with jax.enable_x64(True):
        for site, value in truth.items():
            prior = dict(spec.settings)[site].prior
            inverse = prior.transform.inv
            drawn = np.asarray(inverse(fit.posterior[site].to_numpy()))
            assert abs(float(inverse(value)) - drawn.mean()) < MOST_Z * drawn.std(), site
            if site in DESIGNS[name][0]:
                assert drawn.std() < WIDER.get(site, MOST_WIDTH) * prior.scale, site


def narrowed(spec: bs.Spec, runs: bs.Runs, truth: dict[str, float], known: tuple[str, ...]) -> pd.DataFrame:
    """Covariance that runs and priors leave near the truth, in SDs of the priors; known parameters do not vary."""
    priors = {site: dict(spec.settings)[site].prior for site in truth if site not in known}

    def log_loss(away: jax.Array) -> jax.Array:
        moved = {site: p.transform(p.transform.inv(truth[site]) + p.scale * z)
                 for (site, p), z in zip(priors.items(), away, strict=True)}  # fmt: skip
        fixed = {site: jnp.asarray(value) for site, value in (truth | {"sigma": SIGMA, "nu": 8.0} | moved).items()}
        model = handlers.substitute(handlers.seed(bs.model(spec, runs), 0), data=fixed)
        return handlers.trace(model).get_trace()["log_loss"]["value"]

    with jax.enable_x64(True):
        slopes = np.asarray(jax.jacfwd(log_loss)(jnp.zeros(len(priors))))
    information = slopes.T @ slopes / (SIGMA**2 * 8 / 6) + np.eye(len(priors))  # 8 / 6: variance of a t of 8 freedoms
    return pd.DataFrame(np.linalg.inv(information), list(priors), list(priors))


@pytest.mark.parametrize("epochs", [[1.0, 4.0], [1.0, 2.0, 4.0, 16.0, 50.0], [1.0, 4.0, 16.0, 64.0, 200.0]])
def test_runs_tell_the_distinct_share_only_if_the_decay_of_repeats_is_known(epochs: list[float]) -> None:
    """They tell its product with the decay, whatever the epochs: see the formula of `duplicates`."""
    name = "duplicates"
    spec, *_ = made_by(name)
    runs, truth = bs.load_runs(sweep({"epochs": epochs}), loss_unit="nats"), LAW | DESIGNS[name][0]
    check_identified(spec, runs)  # they vary in all that the law reads: it is no reason to refuse them
    unknown = narrowed(spec, runs, truth, ())
    decay = unknown.loc["distinct", "R_D"] / np.sqrt(unknown.loc["distinct", "distinct"] * unknown.loc["R_D", "R_D"])
    assert decay < -0.95
    assert np.sqrt(unknown.loc["distinct", "distinct"]) > 0.45
    known = narrowed(spec, runs, truth, ("R_D", "R_N"))
    assert np.sqrt(known.loc["distinct", "distinct"]) < (0.1 if max(epochs) >= 50 else 0.15)


@pytest.mark.parametrize(("trend", "passed", "figure"), [(-0.08, True, 1.0), (0.0, False, 0.5), (0.08, True, 1.0)])
def test_sorscher_2022_whether_pruning_beats_a_power_law_is_a_finding(
    trend: float, passed: bool, figure: float
) -> None:
    spec, runs, truth = made_by("pruning")
    rng, sites = np.random.default_rng(0), truth | {"prune_trend": trend}
    scales = {site: dict(spec.settings)[site].prior.scale for site in sites}
    drawn = {site: value + 0.01 * scales[site] * rng.standard_normal((4, 250)) for site, value in sites.items()}
    drawn |= {
        site: at * np.exp(0.05 * rng.standard_normal((4, 250))) for site, at in {"sigma": SIGMA, "nu": 8.0}.items()
    }
    (finding,) = bs.check(bs.Fit.from_samples(drawn, spec, runs), "pruning")
    assert finding.passed == passed
    assert finding.figure == pytest.approx(figure, abs=0.06)


def test_sorscher_2022_a_kept_share_makes_the_loss_fall_faster_if_the_trend_is_negative() -> None:
    """In a law of tokens alone: the local exponent is that of the law times one plus the trend times ln f."""
    slopes = []
    for kept in (1.0, 0.2):
        with jax.enable_x64(True):
            worth = [Pruning().effective({"tokens": np.log(tokens), "kept": np.log(kept)}, None,
                                         prune_any=0.1, prune_share=-0.1, prune_trend=-0.08)["tokens"]
                     for tokens in (1e9, 1e11)]  # fmt: skip
        slopes.append(float(worth[1] - worth[0]) / np.log(100))
    assert slopes == pytest.approx([1.0, 1 - 0.08 * np.log(0.2)])


def test_goyal_2024_a_filter_is_worth_less_the_more_its_tokens_are_repeated() -> None:
    """It starts at the gain times the log of what it leaves out, and halves with each half-life of repeats."""
    with jax.enable_x64(True):
        for epochs, share in ((1.0, 1.0), (6.0, 0.5), (11.0, 0.25)):
            spent = {"tokens": np.log(1e10), "unique_tokens": np.log(1e10 / epochs), "kept": np.log(0.1)}
            found = Filtering.effective(spent, None, filter_gain=0.3, filter_life=5.0)
            gain = float(found["tokens"]) - spent["tokens"]
            assert gain == pytest.approx(share * 0.3 * np.log(10))
            assert float(found["tokens"] - found["unique_tokens"]) == pytest.approx(np.log(epochs))


def test_gerstgrasser_2024_synthetic_tokens_are_worth_a_share_up_to_a_cap() -> None:
    with jax.enable_x64(True):

        def worth(share: float, cap: float) -> float:
            spent = {"tokens": np.log(1e10), "synthetic": np.log(share + Synthetic.columns["synthetic"].offset)}
            return float(np.exp(Synthetic.effective(spent, None, synthetic_worth=0.5, synthetic_cap=cap)["tokens"]))

        assert worth(0.0, 1.0) == pytest.approx(1e10)
        assert worth(0.5, 1e6) == pytest.approx(5e9 + 0.5 * 5e9, rel=1e-5)  # no cap
        assert worth(0.95, 0.01) == pytest.approx(5e8 * (1 + 0.5 * 0.01), rel=1e-9)  # all above the cap
        assert worth(0.5, 1.0) == pytest.approx(5e9 * (1 + 0.5 * (1 - np.exp(-1))), rel=1e-9)


def test_ho_2024_a_year_of_progress_is_worth_its_rate_in_compute() -> None:
    with jax.enable_x64(True):
        for flops, rate in ((1e21, 2.5), (1e23, 2.5 * 100**0.05)):
            params = np.sqrt(flops / 6 / 20)
            spent = {"params": np.log(params), "tokens": np.log(20 * params), "year": np.log(2021.0)}
            found = Progress().effective(spent, None, progress=2.5, progress_scale=0.05)
            gain = sum(float(found[name]) - spent[name] for name in ("params", "tokens"))
            assert np.exp(gain) == pytest.approx(rate, rel=1e-9)


def test_deduplication_fewer_distinct_tokens_are_more_repeats() -> None:
    spent = {"params": np.log(1e9), "tokens": np.log(1e11), "unique_tokens": np.log(5e10)}
    halved = spent | {"unique_tokens": np.log(2.5e10)}
    with jax.enable_x64(True):
        found = Duplicates.effective(spent, lambda tokens: tokens - 3.0, R_D=12.0, R_N=6.0, distinct=0.5)
        known = Repetition.effective(halved, lambda tokens: tokens - 3.0, R_D=12.0, R_N=6.0)
    assert float(found["tokens"]) == pytest.approx(float(known["tokens"]), rel=1e-12)
    assert float(found["params"]) == pytest.approx(float(known["params"]), rel=1e-12)
