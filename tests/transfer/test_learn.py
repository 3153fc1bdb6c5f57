"""Learning: priors from families that were seen, for one that was not."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from numpyro.infer.util import log_density
from scipy.linalg import block_diag
from scipy.stats import multivariate_normal

import bayescale as bs
from bayescale.cli import main
from bayescale.core import shipped
from bayescale.core.errors import FitError, RunsError, SpecError
from bayescale.evaluation import backtest as backtesting
from bayescale.modelling.grouping import members, shared_families
from bayescale.modelling.spec import Setting
from bayescale.modelling.spec_io import write_spec
from bayescale.parts.pooling.by_suite import BySuite
from bayescale.parts.priors import JohnsonSU, LogNormal, Normal
from bayescale.transfer import learn as learning
from bayescale.transfer import population as populating
from bayescale.transfer.evidence_io import recall, remember
from bayescale.transfer.learn import study
from bayescale.transfer.population import Evidence, population

QUICK = {"draws": 500, "progress": False}


def simulated(families: int, seed: int = 0) -> bs.Runs:
    """Runs of the additive law in families whose exponents scatter by a tenth of an e-fold."""
    random = np.random.default_rng(seed)
    tables = []
    for i in range(families):
        alpha, beta = 0.34 * np.exp(0.1 * random.standard_normal(2))
        params, ratio = np.meshgrid(np.geomspace(1e7, 1e9, 5), [5, 20, 80])
        params, tokens = params.ravel(), (params * ratio).ravel()
        loss = 1.8 + 0.7 * (params / 1e8) ** -alpha + 0.5 * (tokens / 1e10) ** -beta
        loss *= np.exp(0.003 * random.standard_normal(loss.size))
        tables.append(pd.DataFrame({"params": params, "tokens": tokens, "loss": loss, "family": f"family-{i}"}))
    return bs.load_runs(pd.concat(tables, ignore_index=True))


def scattered(random, spread, shape):
    """Student-t deviations of an SD; those of one row have one weight."""
    weight = random.gamma(populating.TAIL / 2, 2 / populating.TAIL, (shape[0], 1))
    return spread * np.sqrt((populating.TAIL - 2) / populating.TAIL / weight) * random.standard_normal(shape)


@pytest.fixture(scope="module")
def base():
    return bs.make_spec("wide", law="additive", discrepancy="growth", pooling={"default": "none"})


@pytest.fixture(scope="module")
def learner(base):
    return study(simulated(5), base, **QUICK)


@pytest.fixture(scope="module")
def learnt(learner):
    """The spec learned from all families: several populations are sampled, so that it is made once."""
    return learner.learn()[0]


@pytest.mark.slow
def test_a_prior_is_as_wide_as_misses_scatter():
    rng, count = np.random.default_rng(0), 400
    true, sd = JohnsonSU(0.0, 0.006), np.full(count, 0.002)
    with jax.enable_x64(True):
        beyond = np.asarray(true.distribution().sample(jax.random.key(0), (count,)))
    missed = np.stack([beyond + sd * rng.standard_normal(count), sd], axis=1)
    found = learning._as_wide_as(Setting(JohnsonSU(0.0, 0.01), "none", 0.01), missed, np.ones(count))
    assert (found.median, found.tail) == (0.0, 1.0)
    # The information on a log scale from one draw is at most the Normal's, 2.
    assert abs(np.log(found.scale / true.scale)) < 4 / np.sqrt(count)
    assert (
        learning._as_wide_as(Setting(Normal(0.0, 0.01), "none", 0.01), missed, np.ones(count)).scale > 1.2 * found.scale
    )


@pytest.mark.slow
def test_a_population_is_found_within_its_own_error():
    random = np.random.default_rng(1)
    count, middle, spread, error = 300, 0.4, 0.2, 0.1
    seen = middle + scattered(random, spread, (count, 1)) + error * random.standard_normal((count, 1))
    evidence = Evidence(np.full((count, 1, 1), error**-2), seen / error**2, np.zeros((count, 0)))
    found = population({"a": Setting(Normal(0.0, 1.0), "none", 0.3)}, evidence, np.ones(count), (), np.zeros(0))
    found = found.priors["a"]
    standard_error = np.hypot(spread, error) / np.sqrt(count)
    assert abs(found.median - middle) < 4 * standard_error
    assert abs(found.scale - spread) < 4 * standard_error


@pytest.mark.slow
def test_a_suite_unlike_the_others_hardly_moves_the_mean_and_widens_the_prior():
    random = np.random.default_rng(6)
    seen = np.append(0.2 * random.standard_normal(12), 5.0)[:, None]
    evidence = Evidence(np.full((13, 1, 1), 100.0), 100.0 * seen, np.zeros((13, 0)))
    settings = {"a": Setting(Normal(0.0, 1.0), "none", 0.3)}
    both = [population(settings, evidence, weights, (), np.zeros(0)).priors["a"]
            for weights in (np.append(np.ones(12), 0.0), np.ones(13))]  # fmt: skip
    # Normal families would move the mean by a thirteenth of 5, and make the scale 1.4.
    assert abs(both[1].median - both[0].median) < 5 / 13 / 2
    assert both[0].scale < both[1].scale < 1.0


def test_families_that_say_nothing_leave_the_prior():
    evidence = Evidence(np.full((5, 1, 1), 1e-9), np.zeros((5, 1)), np.arange(5.0)[:, None])
    prior = LogNormal(0.3, 0.5)
    learnt = population({"a": Setting(prior, "none", 0.1)}, evidence, np.ones(5), ["a"], np.full(1, 2.0))
    found, ((slope,), ((variance,),)) = learnt.priors["a"], learnt.trends["a"]
    draws = 400  # effective, at least: else the chains would not count as converged
    assert abs(found.loc - prior.loc) < 4 * prior.scale / np.sqrt(draws)
    assert found.scale > prior.scale * (1 - 4 / np.sqrt(2 * draws))
    assert abs(slope) < 4 * populating.SLOPE / np.sqrt(draws)
    assert abs(np.sqrt(variance) / populating.SLOPE - 1) < 4 / np.sqrt(2 * draws)


@pytest.mark.slow
def test_a_prior_follows_the_anchor_as_families_do():
    random = np.random.default_rng(2)
    count, slopes, spread, error = 200, np.array([-0.5, 0.3]), 0.2, 0.1
    steps = random.standard_normal((count, 2)) @ np.linalg.cholesky([[1.0, 0.6], [0.6, 1.0]]).T
    anchors = np.array([18.0, 22.0]) + steps
    true = np.array([0.4, -0.3]) + np.stack([(anchors - [18.0, 22.0]) @ slopes, np.zeros(count)], axis=1)
    seen = true + scattered(random, spread, (count, 2)) + error * random.standard_normal((count, 2))
    evidence = Evidence(np.tile(np.eye(2) / error**2, (count, 1, 1)), seen / error**2, anchors)
    settings = dict.fromkeys(["moving", "still"], Setting(Normal(0.0, 1.0), "none", 0.3))
    learnt = population(settings, evidence, np.ones(count), ["moving"], np.array([18.0, 22.0]))
    moving, still = learnt.priors["moving"], learnt.priors["still"]
    standard_error = np.hypot(spread, error) / np.sqrt(count)
    assert abs(moving.median - 0.4) < 4 * standard_error
    assert abs(still.median + 0.3) < 4 * standard_error
    assert abs(moving.scale - spread) < 4 * standard_error
    found, covariance = learnt.trends["moving"]
    exact = standard_error**2 * count * np.linalg.inv(steps.T @ steps)  # of a regression
    np.testing.assert_array_less(np.abs(found - slopes), 4 * np.sqrt(np.diag(exact)))
    np.testing.assert_allclose(covariance, exact, rtol=0.3)  # of a spread that is known


@pytest.mark.slow
def test_a_suite_is_found_as_alike_as_its_families_are():
    random = np.random.default_rng(4)
    suites, each, alone, spread, within, error = 150, 2, 100, 0.3, 0.2, 0.05
    far = scattered(random, spread, (suites, 1 + each)) * np.sqrt([1 - within] + each * [within])
    several = (far[:, :1] + far[:, 1:]).ravel()
    true = 0.4 + np.concatenate([several, scattered(random, spread, (alone, 1)).ravel()])
    seen = (true + error * random.standard_normal(true.size))[:, None]
    of = block_diag(np.repeat(np.eye(suites), each, axis=1), np.eye(alone))
    evidence = Evidence(np.full((true.size, 1, 1), error**-2), seen / error**2, np.zeros((true.size, 0)), of)
    learnt = population({"a": Setting(Normal(0.0, 1.0), "none", 0.3)}, evidence, np.ones(true.size), (), np.zeros(0))
    found, near = learnt.priors["a"], learnt.spreads["a"]
    assert abs(found.scale - spread) < 4 * spread / np.sqrt(suites + alone)
    exact = np.hypot(spread * np.sqrt(within), error)  # of a pair's difference, over the root of two
    assert abs(near - spread * np.sqrt(within)) < 4 * exact / np.sqrt(2 * suites) * exact / near


def test_what_is_integrated_out_of_a_population_is_what_a_gaussian_says():
    """Up to a constant, by the covariance of what families' runs estimate."""
    random = np.random.default_rng(5)
    scale = np.array([0.5, 2.0])
    roots = random.standard_normal((4, 2, 2)) + 2 * np.eye(2)
    precision, anchors, seen = roots @ roots.mT, random.standard_normal((4, 2)), random.standard_normal((4, 2))
    suites = np.array([[1.0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    evidence = Evidence(precision, np.einsum("fij,fj->fi", precision, seen), anchors, suites)
    settings = {name: Setting(Normal(0.0, s), "none", 0.1) for name, s in zip("ab", scale, strict=True)}
    arguments = populating._arguments(settings, evidence, np.ones(4), ["b"], np.zeros(2))
    slopes = (populating.SLOPE / scale[1]) ** 2 * anchors @ anchors.T
    middles = np.kron(np.ones((4, 4)), np.eye(2)) + np.kron(slopes, np.diag([0.0, 1.0]))

    def exact(spread, within, weight):
        share = (1 - within) * suites.T @ suites + within * np.eye(4)
        shared = np.kron(share / (suites.T @ weight), np.diag(spread**2))
        covariance = middles + shared + block_diag(*np.linalg.inv(precision))
        return multivariate_normal(np.zeros(8), covariance).logpdf(seen.ravel())

    def found(spread, within, weight):
        with jax.enable_x64(True):
            values = {"spread": spread, "within": within, "weight": weight}
            joint, sites = log_density(populating._families, arguments, {}, values)
            return float(joint - sum(sites[name]["fn"].log_prob(sites[name]["value"]).sum() for name in values))

    one = np.array([0.3, 0.8]), 0.2, np.array([0.5, 1.5, 2.0])
    other = np.array([1.1, 0.1]), 0.7, np.array([1.0, 0.2, 0.8])
    assert found(*one) - found(*other) == pytest.approx(exact(*one) - exact(*other))


@pytest.mark.slow
def test_chains_of_a_population_are_those_of_the_seed_and_agree_with_those_of_another(learner):
    law = replace(learner, misses={})  # one population
    same, again, one, other = (replace(law, seed=seed).learn()[0] for seed in (0, 0, 1, 2))
    assert same == again
    assert one.settings != other.settings
    assert_alike(one, other)


@pytest.mark.slow
def test_chains_of_a_population_that_do_not_agree_are_drawn_longer_and_then_refused(learner, monkeypatch):
    law = replace(learner, misses={})  # one population
    monkeypatch.setattr(populating, "_DRAWS", 40)  # too few for an ESS of 400
    monkeypatch.setattr(populating, "_LONGER", 1)
    with pytest.raises(FitError, match=r"chains do not agree\n.*\n.*bulk ESS"):
        law.learn()
    monkeypatch.setattr(populating, "_LONGER", 20)
    assert dict(law.learn()[0].learned)["population"].startswith("4 chains of 800 draws agree")


@pytest.mark.slow
def test_the_seed_of_a_study_is_that_of_the_population(base, monkeypatch):
    asked, population = [], learning.population

    def spy(*arguments):
        asked.append(arguments[-1])
        return population(*arguments)

    monkeypatch.setattr(learning, "population", spy)
    learning.learn(simulated(3), base, seed=7, **QUICK)
    assert set(asked) == {7}


def test_a_miss_under_another_prior_is_what_a_gaussian_says():
    """Two parameters of which runs say little, and a miss that is linear in them and in nothing else but noise."""
    random = np.random.default_rng(3)
    design, noise, slope = random.standard_normal((4, 2)), 0.7, np.array([0.02, -0.01])
    seen = design @ [1.5, -0.5] + noise * random.standard_normal(4)
    loc, scale = np.array([1.0, -1.0]), np.array([0.4, 0.8])

    def exact(loc, scale):
        covariance = np.linalg.inv(design.T @ design / noise**2 + np.diag(scale**-2.0))
        return covariance @ (design.T @ seen / noise**2 + loc / scale**2), covariance

    mean, covariance = exact(np.zeros(2), np.ones(2))
    joint = np.block(
        [[covariance, (covariance @ slope)[:, None]], [slope @ covariance, 0.003**2 + slope @ covariance @ slope]]
    )
    missed = learning.Missed(np.append(mean, 0.01 + slope @ mean), joint, np.zeros(2))
    mean, covariance = exact(loc, scale)
    wanted = 0.01 + slope @ mean, np.sqrt(0.003**2 + slope @ covariance @ slope)
    assert missed.under(loc, scale) == pytest.approx(wanted)
    assert missed.under(np.zeros(2), np.ones(2)) == pytest.approx((missed.mean[-1], np.sqrt(joint[-1, -1])))


@pytest.mark.parametrize(("suites", "rows"), [
    (["a", "a", "b", ""], [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), (["a", "b", "", ""], []), (["a"] * 4, []),
])  # fmt: skip
def test_suites_are_a_level_where_some_have_several_families_and_there_are_others(suites, rows):
    families = list("wxyz")
    table = pd.DataFrame({"family": families, "suite": suites, "params": 1e8, "tokens": 1e10, "loss": 3.0})
    found = members(BySuite(), table)
    np.testing.assert_array_equal(found, np.reshape(rows, found.shape))
    assert len(found) == len(rows)


@pytest.mark.slow
def test_a_family_unlike_those_that_were_learnt_from_is_told_so(learner):
    spec = learner.learn()[0].with_prior(alpha_N=LogNormal(1.2, 0.1))
    fit = bs.fit(simulated(1, seed=9), spec, seed=0, draws=500)
    found = {finding.subject: finding for finding in bs.check(fit, "sensitivity")}
    assert not found["alpha_N"].passed
    assert "differs from the families" in found["alpha_N"].advice
    assert found["beta_D"].passed
    assert found["beta_D"].figure < found["alpha_N"].figure
    assert "SDs" not in found["level"].sentence  # not learnt


@pytest.mark.slow
def test_a_family_left_out_is_not_looked_at(learner):
    left, other = learner.families[:2]
    precision, information, anchors, _ = (part.copy() for part in learner.evidence)
    information[0] += 100.0
    anchors[0] += 1.0
    misses = learner.misses | {left: tuple(one._replace(mean=one.mean + 0.1) for one in learner.misses[left])}
    changed = replace(learner, evidence=Evidence(precision, information, anchors), misses=misses)
    before, after = learner.learn([[left], [other]]), changed.learn([[left], [other]])
    assert after[0].settings == before[0].settings
    assert after[1].parameters["growth"].prior.scale > before[1].parameters["growth"].prior.scale
    assert after[1].parameters["alpha_N"].prior != before[1].parameters["alpha_N"].prior


@pytest.mark.slow
def test_each_family_is_forecast_from_near_and_far_and_counts_once(learner):
    assert {len(own) for own in learner.misses.values()} == {2}  # of fifteen runs two cuts leave enough on either side
    far, near = ([own[i].mean[-1] for own in learner.misses.values()] for i in (0, 1))
    assert far != near
    thrice = replace(learner, misses={name: own * 3 for name, own in learner.misses.items()})
    assert thrice.learn() == learner.learn()


def test_families_are_fitted_under_priors_that_know_none(base, monkeypatch):
    """Else leaving a family out would have to fit the others again."""
    asked, fit_many = [], learning.fit_many

    def spy(tables, spec, **settings):
        asked.extend(spec.values())
        return fit_many(tables, spec, **settings)

    monkeypatch.setattr(learning, "fit_many", spy)
    study(simulated(3), base, **QUICK)
    assert len(asked) == 3 + 3 * 2  # whole families, then runs up to two quantiles of each
    for spec in asked:
        assert spec.settings == tuple(pair for pair in base.settings if pair[0] != "growth")


def test_what_was_learnt_is_narrower_and_says_where_it_came_from(learner, learnt, base):
    origin = dict(learnt.learned)
    assert origin.pop("population").startswith("4 chains of 750 draws agree: R-hat 1.00")
    assert origin == {"model": "wide", "runs": learner.runs.name}
    assert learnt.parameters["alpha_N"].prior.scale < base.parameters["alpha_N"].prior.scale
    # Simulated runs follow the law beyond the cut too: what was learnt of its error is less than was thought before.
    growth = learnt.parameters["growth"].prior
    assert growth.median == 0
    moving = {name: setting.trend for name, setting in learnt.settings if setting.trend}
    assert set(moving) == {"ratio_A", "ratio_B"}
    assert all([column for column, _ in trend.slopes] == ["params", "tokens"] for trend in moving.values())
    assert learnt.parameters["level"] == base.parameters["level"]  # five runs tell it
    assert list(dict(learnt.reference)) == ["params", "tokens"]
    anchors = np.concatenate([learner.evidence.anchors, [one.anchor for own in learner.misses.values() for one in own]])
    ends = np.array([own for _, own in learnt.range])
    np.testing.assert_allclose(ends, np.exp([anchors.min(axis=0), anchors.max(axis=0)]).T, rtol=1e-3)
    assert growth.scale < base.parameters["growth"].prior.scale


@pytest.mark.slow
def test_how_alike_suites_are_is_learnt_where_one_is_left_that_has_several(learner):
    suites = np.identity(len(learner.families))[:-1]
    suites[0, -1] = 1
    paired = replace(learner, evidence=learner.evidence._replace(suites=suites))
    both, one = (spec.parameters["alpha_N"] for spec in paired.learn([(), learner.families[:1]]))
    assert both.pooling == "suite"
    assert both.spread < both.prior.scale
    assert one.pooling == "none"


def test_each_miss_is_that_of_a_forecast_without_the_suite(learner, monkeypatch):
    suites = np.identity(len(learner.families))[:-1]
    suites[0, -1] = 1
    paired = replace(learner, evidence=learner.evidence._replace(suites=suites))
    first, *others, last = learner.families
    left = []

    def missed(self, law, one, out):
        left.append(out)
        return 0.0, 0.01

    monkeypatch.setattr(learning.Learner, "_missed", missed)
    paired._with_discrepancy(lambda out: learner.base, frozenset())
    assert set(left) == {frozenset({first, last}), *(frozenset({name}) for name in others)}


def test_the_form_of_the_law_is_not_learned_and_is_shared_within_suites():
    base, learned = bs.load_spec("shared-unpooled"), bs.load_spec("default")
    assert learned.parameters["kappa"].prior == base.parameters["kappa"].prior
    assert learned.parameters["kappa"].spread == base.parameters["kappa"].spread
    assert learned.parameters["kappa"].pooling == learned.parameters["alpha_N"].pooling == "suite"
    assert learned.parameters["alpha_N"].prior != base.parameters["alpha_N"].prior


@pytest.mark.slow
def test_chains_that_do_not_agree_are_drawn_longer_before_anything_is_learnt_from_them(monkeypatch):
    base = bs.make_spec("wide", law="additive", pooling={"default": "none"})
    short = {"draws": 50, "warmup": 300, "progress": False}  # too few for an ESS of 400
    longer = study(simulated(3), base, **short)
    assert longer.left_out == {}
    assert len(longer.families) == 3
    monkeypatch.setattr(learning, "_LONG_DRAWS", 1)
    with pytest.raises(RunsError, match="family-0: NOT CONVERGED"):
        study(simulated(3), base, **short)


def test_nothing_is_learnt_from_a_cut_whose_chains_do_not_agree(learner, base, monkeypatch):
    name, fit_many = "family-1 up to 50 %", learning.fit_many

    def briefly(tables, specs, draws, **settings):
        """As `fit_many`, but that one table's chains are never long enough."""
        batch = fit_many(tables, specs, draws=draws, **settings)
        mine = {k: table for k, table in tables.items() if k.startswith(name)}
        own = fit_many(mine, {k: specs[k] for k in mine}, draws=20, **settings | {"longer": 1}).fits if mine else {}
        verdicts = batch.verdicts | {k: fit.verdict for k, fit in own.items()}
        return replace(batch, fits=batch.fits | own, verdicts=verdicts)

    monkeypatch.setattr(learning, "fit_many", briefly)
    found = study(learner.runs, base, **QUICK)
    assert list(found.left_out) == [name]
    assert found.left_out[name].startswith("NOT CONVERGED")
    assert found.families == learner.families
    assert [len(found.misses[family]) for family in found.families] == [2, 1, 2, 2, 2]
    np.testing.assert_array_equal(found.misses["family-1"][0].mean, learner.misses["family-1"][1].mean)


@pytest.mark.slow
def test_few_runs_of_a_new_family_are_enough_with_learnt_priors(learnt, base):
    runs = simulated(1, seed=9)
    four = runs.take(np.array([0, 2, 6, 10]))  # two sizes and more at three ratios
    with pytest.raises(RunsError, match="fewer runs"):
        bs.fit(four, base, **QUICK)
    fit = bs.fit(four, learnt, seed=0, **QUICK)
    assert fit.converged
    # The four say nothing of the noise's tails, so that these stay as they were learnt.
    low, high = fit.spec.parameters["nu"].prior.interval()
    assert low < fit.summary.loc["nu", "mean"] < high


def test_a_saved_fit_remembers_where_its_priors_were_learnt(learnt, tmp_path):
    fit = bs.fit(simulated(1, seed=9), learnt, seed=0, **QUICK)
    again = bs.load_fit(fit.save(tmp_path / "fit.nc"))
    assert again.spec.learned == learnt.learned
    assert again.spec.digest == learnt.digest


def test_a_spec_written_is_the_spec_read(learnt, tmp_path):
    again = bs.load_spec(write_spec(learnt, tmp_path / "mine.toml"))
    assert again.digest == learnt.digest
    assert again.learned == learnt.learned
    for name in ("repetition", "accuracy", "coupled", "default"):
        spec = bs.load_spec(name)
        assert bs.load_spec(write_spec(spec, tmp_path / f"{name}.toml")).digest == spec.digest


def test_what_a_spec_says_of_its_anchor_holds_where_priors_are_learnt(base):
    runs = simulated(1)
    own = dict(learning._anchored(base, runs).anchor)
    smallest = np.argsort(runs["flops"], kind="stable")[:5]
    assert own["params"] == pytest.approx(np.exp(np.log(runs["params"][smallest]).mean()))
    said = bs.make_spec("said", law="additive", anchor={"params": 1e8, "tokens": 1e10, "loss": 3.0})
    assert learning._anchored(said, runs).anchor == said.anchor


def test_too_few_families_and_pooled_specs_are_refused(learner):
    with pytest.raises(RunsError, match="at least 3 in addition"):
        learner.learn([learner.families[:3]])
    with pytest.raises(SpecError, match="pools"):
        study(simulated(3), bs.load_spec("additive"), **QUICK)
    with pytest.raises(SpecError, match="move with the anchor"):
        study(simulated(3), bs.load_spec("default"), **QUICK)


def test_the_same_runs_under_another_name_are_found(pool):
    chinchilla = bs.load_runs("hoffmann2022")
    assert shared_families(pool, chinchilla) == {chinchilla.families[0]: {"Chinchilla"}}
    renamed = bs.load_runs(pool.where(family="OPT").frame.assign(family="mine"))
    assert shared_families(pool, renamed) == {"mine": {"OPT"}}
    assert shared_families(pool, simulated(1)) == {"family-0": set()}


def test_the_default_spec_was_learnt_from_shipped_runs(pool):
    spec = bs.load_spec("default")
    origin = dict(spec.learned)
    assert set(bs.load_runs(origin["runs"]).families) == set(pool.families)
    assert bs.load_spec(origin["model"]).parameters.keys() == spec.parameters.keys()


@pytest.mark.slow
def test_a_backtest_learns_again_without_the_runs_that_it_scores(learner, learnt, base, tmp_path, monkeypatch):
    learner.runs.frame.to_csv(tmp_path / "runs.csv", index=False)
    origin = {"model": str(write_spec(base, tmp_path / "wide.toml")), "runs": str(tmp_path / "runs.csv")}
    spec = replace(learnt, learned=tuple(origin.items()))
    asked, learn = [], learning.Learner.learn

    def spy(self, without=((),)):
        asked.extend(map(set, without))
        return learn(self, without)

    monkeypatch.setattr(learning.Learner, "learn", spy)
    renamed = bs.load_runs(learner.runs.where(family="family-2").frame.assign(family="mine"))
    result = bs.backtest(renamed, spec, progress=False)
    assert asked == [{"family-2"}]
    assert list(result.families["family"]) == ["mine"]
    unseen = bs.load_runs(simulated(1, seed=9).frame.assign(family="unseen"))
    new = bs.backtest(unseen, spec, progress=False)
    assert asked == [{"family-2"}]  # these runs it never saw
    assert new.converged
    partial = replace(learner, left_out={"family-0 up to 30 %": "NOT CONVERGED"})
    monkeypatch.setattr(backtesting, "study", lambda runs, base, progress: partial)
    said = bs.backtest(renamed, spec, progress=False)
    assert said.left_out == {"priors from family-0 up to 30 %": "NOT CONVERGED"}


def test_what_families_said_is_remembered_and_nothing_is_fitted_anew(learner, tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "folder", lambda kind: tmp_path)
    assert recall(learner.runs, learner.base) is None
    remember(learner, tmp_path / "learned" / "mine.toml")
    monkeypatch.setattr(learning, "fit_many", None)  # nothing may be fitted again
    again = recall(learner.runs, learner.base)
    assert again.families == learner.families
    assert again.seed == learner.seed
    np.testing.assert_equal(again.misses, learner.misses)
    # Without misses one population is sampled and not one for each family.
    law, own = (replace(one, misses={}).learn([learner.families[:1]]) for one in (again, learner))
    assert law == own
    assert recall(learner.runs.take(np.arange(20)), learner.base) is None
    assert recall(learner.runs, learner.base.with_prior(alpha_N=LogNormal(0.3, 0.1))) is None


@pytest.mark.slow
def test_the_command_line_learns_a_spec_by_a_title_and_keeps_what_families_said(learner, learnt, tmp_path, monkeypatch):
    learner.runs.frame.to_csv(tmp_path / "runs.csv", index=False)
    write_spec(learner.base, tmp_path / "wide.toml")

    partial = replace(learner, left_out={"family-0 up to 30 %": "NOT CONVERGED"})
    monkeypatch.setattr(learning, "study", lambda runs, base, **_: partial)
    said = ["--model", str(tmp_path / "wide.toml"), "--out", str(tmp_path / "mine.toml"), "--title", "Mine", "--keep"]
    said += ["--loss-unit", "nats"]
    done = CliRunner().invoke(main, ["learn", str(tmp_path / "runs.csv"), *said])
    assert done.exit_code == 0, done.output
    assert "priors learned from 5 families" in done.output
    assert "; 4 chains of 750 draws agree: R-hat 1.00" in done.output
    assert "left out: family-0 up to 30 % (NOT CONVERGED)" in done.stderr
    spec = bs.load_spec(tmp_path / "mine.toml")
    assert spec.title == "Mine"
    origin = {"model": str(tmp_path / "wide.toml"), "runs": str(tmp_path / "runs.csv"), "loss_unit": "nats"}
    assert dict(spec.learned) == origin | {"population": dict(learnt.learned)["population"]}
    assert spec.parameters["alpha_N"].prior == learnt.parameters["alpha_N"].prior
    monkeypatch.setattr(shipped, "folder", lambda kind: tmp_path)
    assert recall(learner.runs, learner.base).families == learner.families
    assert recall(learner.runs, learner.base).left_out == partial.left_out


def test_runs_that_priors_were_learnt_from_are_read_again_in_their_unit(base, tmp_path):
    """A backtest reads them by their name, and the spec says what their losses are."""
    path, runs = tmp_path / "runs.csv", simulated(1, seed=1)
    far = {"params": 30 * runs["params"], "tokens": 60 * runs["tokens"], "loss": np.linspace(14, 10, len(runs))}
    pd.DataFrame(far).to_csv(path, index=False)
    origin = {"model": "wide", "runs": str(path)}
    with pytest.raises(RunsError, match="perplexities"):
        backtesting._unseen(replace(base, learned=tuple(origin.items())), runs, {"all": runs.families}, False)
    spec = replace(base, learned=tuple((origin | {"loss_unit": "perplexity"}).items()))
    assert backtesting._unseen(spec, runs, {"all": runs.families}, False) == ({"all": spec}, {})


@pytest.mark.slow
def test_the_default_spec_is_what_remembered_families_say(pool):
    default = bs.load_spec("default")
    origin = dict(default.learned)
    remembered = recall(bs.load_runs(origin["runs"]), bs.load_spec(origin["model"]))
    assert_alike(remembered.learn()[0], default)


@pytest.mark.slow
def test_the_default_spec_is_what_its_script_makes():
    default = bs.load_spec("default")
    origin = dict(default.learned)
    runs, base = bs.load_runs(origin["runs"]), bs.load_spec(origin["model"])
    learner = study(runs, base, progress=False)
    assert_alike(learner.learn()[0], default)
    without = [["Chinchilla"], ["OpenLM-C4", "OpenLM-RedPajama", "OpenLM-RefinedWeb"]]
    for new, kept in zip(learner.learn(without), recall(runs, base).learn(without), strict=True):
        assert_alike(new, kept)


def assert_alike(learnt: bs.Spec, kept: bs.Spec) -> None:
    """Priors within the Monte Carlo error of two runs."""
    for name, setting in kept.settings:
        found = learnt.parameters[name].prior
        assert abs(found.loc - setting.prior.loc) < 0.1 * setting.prior.scale, name
        assert abs(found.scale / setting.prior.scale - 1) < 0.1, name
        if setting.trend:
            new = learnt.parameters[name].trend
            width = np.sqrt(np.diag(setting.trend.covariance))
            slopes = [np.array([slope for _, slope in trend.slopes]) for trend in (setting.trend, new)]
            np.testing.assert_array_less(np.abs(slopes[0] - slopes[1]), 0.2 * width)
            np.testing.assert_allclose(new.covariance, setting.trend.covariance, atol=0.2 * width.max() ** 2)
    assert learnt.reference == kept.reference
