"""The vocabulary law against the constants of Tao et al. 2024, on its 1,054 checkpoints."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayescale as bs
from bayescale.parts.laws.vocabulary import Vocabulary, best_vocabulary
from bayescale.parts.priors import LogNormal
from bayescale.parts.responses.normalized_loss import NormalizedLoss

# As printed, for params in millions and tokens in billions: two exponents are equal.
A_1, A_2, B, GAIN, ALPHA, ALPHA_V = 1.905, 0.126, 1.334, 5.537, 0.440, 1.07
IN_BASE_UNITS = {"A_2": A_2 * 1e6**ALPHA_V, "B": B * 1e9**ALPHA, "alpha_ND": ALPHA, "alpha_V": ALPHA_V}


@pytest.fixture(scope="module")
def runs() -> bs.Runs:
    found = bs.load_runs("vocabulary").where(in_published_fit="true")
    assert len(found) == 1054
    assert len(set(found["group"])) == 60
    return found


def test_tao_2024_the_printed_constants_explain_the_published_share(runs: bs.Runs) -> None:
    """R² of 0.968. The parts compute it, with the anchor at a million params and a billion tokens."""
    sizes = [np.log(runs[name].astype(float) / unit) for name, unit in
             (("params", 1e6), ("vocab_params", 1e6), ("tokens", 1e9))]  # fmt: skip
    total = A_1 + A_2 + B
    with jax.enable_x64(True):
        loss = Vocabulary.log_loss(
            *sizes, level=total, ratio_V=A_2 / A_1, ratio_T=B / A_1, alpha_ND=ALPHA, alpha_V=ALPHA_V
        )
        found = np.asarray(NormalizedLoss.location(loss, {}, most_gain=GAIN))
    observed = runs["normalized_loss"].astype(float)
    left = np.sum((observed - found) ** 2) / np.sum((observed - observed.mean()) ** 2)
    assert 1 - left == pytest.approx(0.968, abs=5e-4)


@pytest.mark.parametrize(("params", "flops"), [(1e8, 1e19), (3e9, 1e22), (7e10, 5e24)])
def test_tao_2024_the_best_vocabulary_has_the_lowest_loss_at_fixed_compute(params: float, flops: float) -> None:
    best = best_vocabulary(params, flops, **IN_BASE_UNITS)
    around = best * np.exp(np.linspace(-0.5, 0.5, 101))
    tokens = flops / (6 * (params + around))
    loss = IN_BASE_UNITS["A_2"] * around**-ALPHA_V + IN_BASE_UNITS["B"] * tokens**-ALPHA
    assert np.argmin(loss) == 50


def test_tao_2024_the_best_vocabulary_grows_more_slowly_than_the_model() -> None:
    """With params and tokens growing as fast, as this law's equal exponents have it. The paper's rule is gamma < 1."""
    params = np.geomspace(1e8, 1e12, 9)
    best = best_vocabulary(params, 6 * 20 * params**2, **IN_BASE_UNITS)
    growth = np.diff(np.log(best)) / np.diff(np.log(params))
    assert (growth > 0).all()
    assert (growth < 1).all()
    assert growth[-1] == pytest.approx((1 + ALPHA) / (1 + ALPHA_V), abs=0.01)


def test_a_larger_gain_over_a_unigram_model_is_a_lower_response() -> None:
    found = NormalizedLoss.location(jnp.log(2.0), {}, most_gain=5.5)
    assert float(found) == pytest.approx(-3.5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::bayescale.core.errors.ConvergenceWarning")  # without a prior, chains need not
def test_tao_2024_the_vocabulary_term_is_identified_by_its_prior_alone(runs: bs.Runs) -> None:
    """Without one, its exponent may be zero and the term a constant, which the gain over a unigram model cancels."""
    spec = bs.load_spec("vocabulary")
    fit = bs.fit(runs, spec, seed=0)
    assert fit.converged, fit.verdict
    assert bs.check(fit, "identification").passed
    assert fit.summary.loc["most_gain", "mean"] == pytest.approx(GAIN, rel=0.1)
    free = bs.fit(runs, spec.with_prior(alpha_V=LogNormal(0.7, 10.0)), seed=0, draws=250)
    failed = {finding.subject for finding in bs.check(free, "identification") if not finding.passed}
    assert failed == {"ratio_V"}
