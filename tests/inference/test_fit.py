"""Fits: the posterior of the reference runs, its reproducibility, and its way to disk and back."""

import warnings
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import bayescale as bs
from bayescale.evaluation.simulation import simulate
from bayescale.inference import aot, nuts, preconditioner, warm_start
from bayescale.inference.batch import fit_many


def mean_sd(fit: bs.Fit, name: str) -> tuple[float, float]:
    row = fit.summary.loc[name]
    return row["mean"], row["sd"]


@pytest.mark.parametrize(
    ("name", "mean", "sd"), [("E", 1.804, 0.016), ("alpha_N", 0.342, 0.010), ("beta_D", 0.362, 0.010)]
)
def test_posterior_of_the_245_runs_is_the_published_one(chinchilla_fit, name, mean, sd):
    found, spread = mean_sd(chinchilla_fit, name)
    assert abs(found - mean) < 0.3 * sd  # the reference's own tolerance: medians within .3 posterior SD
    assert abs(spread / sd - 1) < 0.15  # the reference is rounded to two digits


def test_the_chains_agree_without_a_divergence(chinchilla_fit):
    figures = {c.name: c.figure for c in chinchilla_fit.convergence}
    assert chinchilla_fit.converged
    assert figures["r_hat"] <= 1.01
    assert figures["divergences"] == 0


def test_the_law_of_240_and_of_245_runs_agrees_within_one_sd(chinchilla, chinchilla_fit):
    kept = bs.fit(chinchilla.where(exclusion=""), "additive", seed=0)
    for name in ("E", "A", "B", "alpha_N", "beta_D"):  # the rest is about the anchor, which moves with the runs
        mean, sd = mean_sd(chinchilla_fit, name)
        assert abs(mean_sd(kept, name)[0] - mean) < sd


def test_same_seed_same_draws_and_another_seed_others(chinchilla):
    first, again = (bs.fit(chinchilla, "additive", seed=3, draws=400) for _ in range(2))
    other = bs.fit(chinchilla, "additive", seed=4, draws=400)
    xr.testing.assert_identical(first.posterior["alpha_N"], again.posterior["alpha_N"])
    assert not np.array_equal(first.posterior["alpha_N"], other.posterior["alpha_N"])


def test_another_table_of_the_same_shape_reuses_the_program(chinchilla):
    bs.fit(chinchilla, "additive", seed=0)
    compiled = aot._program.cache_info().misses
    frame = chinchilla.frame.assign(loss=lambda f: f.loss * 1.01)
    bs.fit(bs.load_runs(frame.drop(columns=["group", "exclusion"])), "additive", seed=0)
    assert aot._program.cache_info().misses == compiled


def test_where_newton_fails_window_adaptation_gives_the_same_posterior(chinchilla, chinchilla_fit, monkeypatch):
    search, newton = warm_start.find_mode.__wrapped__, preconditioner.newton

    def lost(*arguments, **options):
        """Return what the search finds, and that it did not arrive."""
        mode, curvature, report = newton(*arguments, **options)
        return mode, curvature, {**report, "arrived": jnp.asarray(False)}

    @partial(jax.jit, static_argnames="spec")
    def failing(begin, design, *, spec):
        with monkeypatch.context() as patch:
            patch.setattr(warm_start, "newton", lost)
            return search(begin, design, spec=spec)

    for module in (nuts, warm_start):
        monkeypatch.setattr(module, "find_mode", failing)
    fallback = bs.fit(chinchilla, "additive", seed=0)
    assert not fallback.meta["engine"]["whitened"]
    assert "full window adaptation" in fallback.meta["engine"]["warm_start"]
    for name in ("E", "alpha_N", "beta_D"):
        mean, sd = mean_sd(chinchilla_fit, name)
        errors = [sd / f.summary.loc[name, "ess_bulk"] ** 0.5 for f in (chinchilla_fit, fallback)]
        assert abs(mean_sd(fallback, name)[0] - mean) < 4 * np.hypot(*errors)


def test_save_and_load_give_the_fit_back(chinchilla_fit, tmp_path):
    loaded = bs.load_fit(chinchilla_fit.save(tmp_path / "fit.nc"))
    xr.testing.assert_identical(loaded.posterior, chinchilla_fit.posterior)
    assert loaded.spec.digest == chinchilla_fit.spec.digest
    assert loaded.meta == chinchilla_fit.meta
    assert [p.name for p in tmp_path.iterdir()] == ["fit.nc"]


def test_a_damaged_byte_in_the_draws_is_seen(chinchilla_fit, tmp_path):
    path = chinchilla_fit.save(tmp_path / "fit.nc")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)
    with pytest.raises(bs.BayescaleError, match="damaged"):
        bs.load_fit(path)


def test_groups_and_dims_are_those_of_the_contract(trio_fit):
    assert {"posterior", "sample_stats", "log_likelihood", "log_prior", "observed_data", "constant_data"} <= set(
        trio_fit.tree.children
    )
    assert trio_fit.posterior["level"].dims == ("chain", "draw", "family")
    assert trio_fit.posterior["E"].dims == ("chain", "draw", "family")
    assert trio_fit.tree["log_likelihood"]["loss"].dims == ("chain", "draw", "run")


@pytest.mark.slow
def test_a_large_table_keeps_log_likelihoods_by_family_and_they_add_up(trio, monkeypatch):
    # One law for all families compiles in a third of a hierarchy's time, and its likelihoods are kept in the same way.
    def draw(draws):  # with a warm-up given nothing is drawn again, so that the first 100 draws are the same
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", bs.ConvergenceWarning)  # 100 draws are few
            found = bs.fit(trio, "additive-complete", seed=0, warmup=100, draws=draws, chains=2)
        return found.tree["log_likelihood"]["loss"]

    expected = draw(100)
    # The same program under another setting: neither cache may know it, so that it draws one more.
    monkeypatch.setattr(nuts, "_POINTWISE", 1)
    monkeypatch.setattr(aot, "_program", aot._program.__wrapped__)
    monkeypatch.setenv("BAYESCALE_CACHE", "")
    found = draw(101).isel(draw=slice(100))
    assert expected.dims == ("chain", "draw", "run")
    assert found.dims == ("chain", "draw", "family")
    for family in trio.families:
        mine = expected.isel(run=np.flatnonzero(trio.frame["family"] == family)).sum("run")
        np.testing.assert_allclose(found.sel(family=family), mine, rtol=1e-9, atol=1e-9)


def test_a_warning_says_that_chains_have_not_converged(chinchilla):
    with pytest.warns(bs.ConvergenceWarning, match="NOT CONVERGED"):
        bs.fit(chinchilla, "additive", seed=0, draws=20, warmup=20, chains=2)


@pytest.mark.parametrize(
    ("diverging", "apart", "cares"),
    [
        ([], [], ["USUAL"]),
        (["USUAL"], [], ["USUAL", "SMALL_STEPS"]),
        (["USUAL", "SMALL_STEPS"], [], ["USUAL", "SMALL_STEPS", "LONG"]),
        (["USUAL"], ["USUAL"], ["USUAL", "LONG"]),
    ],
)
def test_chains_that_only_diverged_are_drawn_in_smaller_steps_and_others_longer(
    chinchilla, monkeypatch, diverging, apart, cares
):
    usual, taken = nuts.sample, []

    def sample(*arguments, care, **settings):
        taken.append(care.name)
        samples = usual(*arguments, **settings, care=care)
        samples.stats["diverging"][:, :5] |= care.name in diverging
        samples.sites["nu"][0] += 10 * (care.name in apart)
        return samples

    monkeypatch.setattr(nuts, "sample", sample)
    fit = bs.fit(chinchilla, "additive", seed=0, draws=500)
    assert fit.converged
    assert taken == cares
    assert fit.meta["engine"]["thinning"] == (6 if "LONG" in cares else 1)
    assert fit.meta["engine"]["target_accept"] == (nuts.TARGET_ACCEPT if cares == ["USUAL"] else nuts.CAREFUL_ACCEPT)


def test_chains_that_stood_still_leave_the_sensitivity_open(chinchilla_fit):
    tree = chinchilla_fit.tree.copy(deep=True)
    for name in tree["log_prior"].data_vars:
        tree["log_prior"][name] = 0 * tree["log_prior"][name]
    (finding,) = bs.check(replace(chinchilla_fit, tree=tree), "sensitivity")
    assert not finding.passed
    assert "too few draws" in finding.sentence


def test_priors_of_other_families_add_nothing_to_the_sensitivity_of_one_that_is_fitted_alone(trio: bs.Runs) -> None:
    """Wide draws of the others make the total of the log priors scatter, and would pass for sensitivity."""
    random, count = np.random.default_rng(0), len(trio.families)
    middle = {"level": 1.0, "ratio_A": 1.0, "ratio_B": 1.0, "alpha_N": 0.33, "beta_D": 0.33, "sigma": 0.01, "nu": 5.0}
    spread = np.array([0.05, 1.0, 1.0])  # of the logs, by family
    draws = {name: x * np.exp(spread * random.standard_normal((4, 500, count))) for name, x in middle.items()}
    draws["nu"] = 1.0 + draws["nu"]
    of_all = bs.check(bs.Fit.from_samples(draws, "additive-unpooled", trio), "sensitivity")
    name = trio.families[0]
    alone = bs.Fit.from_samples({k: v[..., 0] for k, v in draws.items()}, "additive-unpooled", trio.where(family=name))
    found = {one.subject.removesuffix(f"[{name}]"): one.figure for one in of_all if one.subject.endswith(f"[{name}]")}
    assert found == pytest.approx({one.subject: one.figure for one in bs.check(alone, "sensitivity")}, rel=1e-6)
    assert len(found) == 5


@pytest.mark.slow
def test_chains_do_not_begin_at_a_mode_that_the_prior_all_but_excludes() -> None:
    """Full Newton steps from the prior's median leapt to such modes in ten of 200 tables; four are here."""
    spec = bs.load_spec("majority-vote")
    made = simulate(spec, None, simulations=200, seed=0)
    tables = {name: made.tables[name] for name in ("0038", "0106", "0147", "0171")}
    found = fit_many(tables, replace(spec, anchor=made.spec.anchor), seed=0, chains=2, draws=500, progress=False)
    for name, fit in found.fits.items():
        (likelihood,) = fit.tree["log_likelihood"].data_vars.values()
        of_draws = likelihood.sum(likelihood.dims[2:]).to_numpy()
        # Twice the log ratio to the best is chi-square with five degrees of freedom: 30 has a probability of 1e-5.
        assert of_draws.max() > made.truths.loc[name, "log_likelihood"] - 15, name
