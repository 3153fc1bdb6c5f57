"""A loss that families of one evaluation text share, and what it asks of the runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from arviz_stats.base import array_stats

import bayescale as bs
from bayescale.core.errors import RunsError, SpecError
from bayescale.modelling.grouping import law_keys, lots_of
from bayescale.modelling.spec_io import make_spec
from bayescale.prediction.predict import design_at
from bayescale.reporting.pages import _prior_row


@pytest.fixture(scope="module")
def shared(pool):
    """Two families on one text, and one on another; what they do not share each has for itself, which is quicker."""
    runs = pool.where(family=["OpenLM-C4", "OpenLM-RedPajama", "Datablations-C4-1epoch"])
    spec = make_spec("shared", law="floored", pooling={"default": "none", "floor": "text", "nu": "complete"})
    return runs, bs.fit(runs, spec, seed=0)


@pytest.mark.slow
def test_families_of_one_text_and_tokenizer_share_their_floor(shared):
    _, fit = shared
    assert fit.converged
    floor = fit.posterior["floor"].to_numpy()
    other, first, second = (floor[..., fit.families.index(f)] for f in fit.families)
    np.testing.assert_array_equal(first, second)
    assert not np.isclose(other, first).any()  # one eval set, but another tokenizer


@pytest.mark.slow
def test_a_new_family_has_the_floor_of_its_text_where_that_was_fitted(shared, tmp_path):
    _, fit = shared
    fit = bs.load_fit(fit.save(tmp_path / "fit.nc"))
    huge = pd.DataFrame({"params": [1e40], "tokens": [1e40]})
    floor = fit.posterior["E"].sel(family="OpenLM-C4").to_numpy()

    def least(**named):
        return bs.forecast(fit, huge.assign(**named), family="new", seed=0).draws["epred"].to_numpy()[..., 0]

    np.testing.assert_allclose(least(eval_set="C4 val", tokenizer="gpt-neox"), floor, rtol=0.01)
    assert least().std() > 3 * floor.std()  # of a text not seen


def test_a_family_on_two_texts_is_refused(shared):
    runs, _ = shared
    table = runs.frame.assign(eval_set=np.where(np.arange(len(runs)) % 2, "C4 val", "wiki"))
    with pytest.raises(RunsError, match=r"(?s)differ in eval_set or tokenizer.*'wiki'.*make each of them a family"):
        bs.fit(bs.load_runs(table), "floored")


def test_runs_that_name_no_text_share_no_floor(pool):
    frame = pool.where(family=["OpenLM-C4", "OpenLM-RedPajama"]).frame
    spec = bs.load_spec("floored")
    assert len(set(lots_of(spec, frame)["text"])) == 1
    assert len(set(lots_of(spec, frame.assign(tokenizer=""))["text"])) == 2
    assert lots_of(bs.load_spec("additive"), frame) == {}


SUITES = {"default": "none", **dict.fromkeys(("ratio_A", "ratio_B", "alpha_N", "beta_D"), "suite")}


@pytest.fixture(scope="module")
def kin():
    """A family of six runs beside two whole ones of its suite, and one of another, all of one law."""
    random, params = np.random.default_rng(5), np.geomspace(1e7, 1e9, 5)
    sizes, ratios = (grid.ravel() for grid in np.meshgrid(params, [5.0, 20.0, 80.0]))
    tables = []
    for family, suite, rows in (("whole", "ours", 15), ("also", "ours", 15), ("few", "ours", 6), ("other", "", 15)):
        tokens = sizes * ratios
        loss = (1.7 + 400 / sizes**0.34 + 410 / tokens**0.28) * np.exp(0.002 * random.standard_normal(15))
        table = pd.DataFrame({"params": sizes, "tokens": tokens, "loss": loss}).sort_values("params")[:rows]
        tables.append(table.assign(family=family, suite=suite))
    own = {name: {"spread": 0.05} for name in SUITES if name != "default"}
    spec = make_spec("kin", law="additive", pooling=SUITES, parameters=own)
    runs = bs.load_runs(pd.concat(tables, ignore_index=True))
    return runs, spec, bs.fit(runs, spec, seed=0, draws=500)


@pytest.mark.slow
def test_a_family_of_few_runs_is_as_its_suite(kin):
    runs, spec, fit = kin
    assert fit.converged
    apart = bs.fit(bs.load_runs(runs.frame.drop(columns="suite")), spec, seed=0, draws=1500)
    assert not [name for name in apart.posterior if name.endswith("_suite")]
    for name in ("alpha_N", "beta_D"):
        near, far = (np.log(one.posterior[name].sel(family="few")).std() for one in (fit, apart))
        assert near < 0.5 * far
        other, alone = (np.log(one.posterior[name].sel(family="other")).to_numpy() for one in (fit, apart))
        error = np.sqrt(sum(0.5 / array_stats.ess(one, method="sd") for one in (other, alone)))  # of their ratio
        assert other.std() == pytest.approx(alone.std(), rel=4 * error)


def test_a_new_family_is_as_its_suite_where_one_is_named(kin, tmp_path):
    _, _, fit = kin
    fit = bs.load_fit(fit.save(tmp_path / "fit.nc"))
    two = pd.DataFrame({"params": [1e8, 1e12], "tokens": [2e9, 2e13]})

    def width(**named):
        near, far = bs.forecast(fit, two.assign(**named), family="new", seed=0).draws["epred"].to_numpy().T
        return np.log(near / far).std()  # of the level, which is not pooled, it says nothing

    assert width(suite="ours") < 0.5 * width(suite="theirs")
    assert width(suite="theirs") == pytest.approx(width(), rel=1e-6)


@pytest.mark.slow
def test_a_new_family_has_errors_of_its_own(kin):
    """Discrepancies of a family that was not fitted are drawn anew."""
    runs, spec, _ = kin
    fit = bs.fit(runs.where(family=["whole", "also"]), replace(spec, discrepancy=("walk",), settings=(
        *spec.settings, *((name, s) for name, s in bs.load_spec("default").settings if name.startswith("walk"))
    )), seed=0, draws=500)  # fmt: skip
    two = pd.DataFrame({"params": [1e8, 1e12], "tokens": [2e9, 2e13], "suite": "ours"})
    fresh, known = (
        np.log(bs.forecast(fit, two, family=family, seed=0).draws["epred"].to_numpy()) for family in ("new", "whole")
    )
    assert np.isfinite(fresh).all()
    assert np.ptp(fresh, axis=1).std() > np.ptp(known, axis=1).std()


@pytest.mark.parametrize(
    ("pooling", "like"),
    [
        (SUITES, ["also", "whole"]),
        (SUITES | {"sigma": "complete", "level": "complete"}, ["also", "whole"]),
        (SUITES | {"beta_D": "none"}, []),
        ({"default": "none", "sigma": "complete", "nu": "suite"}, []),
        ({"default": "partial"}, []),
        ({"default": "complete", "level": "none"}, ["also", "other", "whole"]),
    ],
    ids=["suites", "noise besides", "one exponent apart", "noise alone", "a spread to be learnt", "one law"],
)
def test_families_share_a_law_if_they_share_all_of_it_except_its_level(kin, pooling, like):
    runs, _, _ = kin
    spec = make_spec("shared", law="additive", pooling=pooling)
    keys = dict(zip(runs.families, law_keys(spec, runs.frame), strict=True))
    assert [name for name in runs.families if keys[name] == keys["few"] and name != "few"] == like


@pytest.mark.slow
def test_an_error_beyond_few_runs_is_what_the_span_of_their_suite_leaves(kin):
    runs, spec, _ = kin
    (growth,) = ((name, s) for name, s in bs.load_spec("default").settings if name == "growth")
    spec = replace(spec, discrepancy=("growth",), settings=(*spec.settings, growth))
    fit = bs.fit(runs, spec, seed=0, draws=500)
    span = {name: np.ptp(np.log(runs.where(family=name)["flops"])) for name in runs.families}
    assert span["few"] < 0.6 * span["whole"]

    def grows(family, **named):
        """How many times as large two places far beyond are, one farther than the other."""
        two = pd.DataFrame({"params": [1e11, 1e13], "tokens": [1e12, 1e14], "family": family, **named})
        near, far = design_at(fit, two, {}, new=family == "new").basis["growth"].ravel()
        return far / near

    def wanted(span, most):
        beyond = np.log([6e23, 6e27]) - np.log(most)
        near, far = np.sqrt(beyond + 3 * beyond**2 / span)
        return pytest.approx(far / near)

    most = {name: runs.where(family=name)["flops"].max() for name in runs.families}
    assert grows("few") == wanted(span["whole"], most["few"]) != wanted(span["few"], most["few"])
    assert grows("other") == wanted(span["other"], most["other"])
    assert grows("new", suite="ours") == wanted(span["whole"], max(most.values()))
    assert grows("new", suite="theirs") == grows("new") == wanted(np.log(10), max(most.values()))


def test_a_family_of_few_runs_needs_a_suite(kin):
    runs, spec, _ = kin
    few = runs.take(np.flatnonzero((runs["family"] != "few") | (runs["params"] < 2e7)))  # three are left
    bs.model(spec, few)
    with pytest.raises(RunsError, match="'few' has fewer runs than law 'additive' has parameters"):
        bs.model(spec, bs.load_runs(few.frame.drop(columns="suite")))


def test_suites_that_scatter_more_than_families_at_large_are_refused():
    with pytest.raises(SpecError, match=r"(?s)vary more in 'alpha_N'.*under the prior's scale, 0\.3"):
        make_spec("kin", law="additive", pooling=SUITES, parameters={"alpha_N": {"spread": 0.5}})


def test_a_report_says_how_a_text_shares(shared):
    _, fit = shared
    assert (
        _prior_row("floored", fit, "floor")["families"]
        == "one value for all families with the same evaluation text and tokenizer"
    )
