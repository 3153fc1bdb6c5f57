"""Backtests: scores by how far beyond the fitted runs they lie."""

from __future__ import annotations

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bayescale as bs
from bayescale.core.errors import QueryError, RunsError
from bayescale.evaluation import backtest as backtesting
from bayescale.evaluation.backtest import SCORES, Backtest, _errors, score, score_cut, tasks_of
from bayescale.evaluation.scores import scores
from bayescale.inference.potential import initial
from bayescale.modelling.design import design
from bayescale.modelling.spec_io import make_spec
from bayescale.prediction.predict import predict
from bayescale.prediction.records import HORIZONS, horizon_of
from bayescale.reporting.plots.figures import plot_backtest, plot_horizons
from bayescale.runs.splits import EXPANDING, WAYS, Options, cut


def test_a_run_on_the_edge_of_a_bin_is_inside_the_nearer_one() -> None:
    times = np.array([1.1, 3.0, 3.1, 10.0, 1000.0])
    runs = pd.DataFrame(dict.fromkeys(SCORES, np.arange(5.0)), index=range(5))
    runs = runs.assign(reach_decades=np.log10(times), family=["a", "b", "a", "a", "b"])
    table = Backtest(pd.DataFrame(), runs, {}, {}).horizons
    assert list(table["horizon"]) == ["up to 3×", "3-10×", "beyond 100×"]
    assert list(table["n_test"]) == [2, 2, 1]
    assert list(table["families"]) == [2, 1, 1]
    assert list(table["crps"]) == [0.5, 2.5, 4.0]
    assert set(table["horizon"]) <= set(HORIZONS)


def test_intervals_of_the_true_distribution_cover_what_they_say() -> None:
    generator = np.random.default_rng(7)
    count = 4000
    table = scores(generator.normal(size=(2000, count)), generator.normal(size=count))
    for level in (50, 80, 90):
        share = level / 100
        error = np.sqrt(share * (1 - share) / count)
        # Quantiles of 2,000 draws lose about a thousandth of the coverage that is named.
        assert table[f"coverage_{level}"].mean() == pytest.approx(share, abs=4 * error + 0.001)


def test_a_miss_costs_twenty_times_what_it_lies_outside() -> None:
    draws = np.linspace(-1, 1, 2001)[:, None].repeat(3, axis=1)
    table = scores(draws, np.array([0.0, 0.95, -1.1]))
    assert table["width_90"].to_numpy() == pytest.approx(1.8)
    assert table["interval_score_90"].to_numpy() == pytest.approx([1.8, 1.8 + 20 * 0.05, 1.8 + 20 * 0.2])


def test_the_true_distribution_has_the_best_interval_score() -> None:
    generator = np.random.default_rng(3)
    observed = generator.normal(size=3000)
    quantiles = stats.norm.ppf((np.arange(1000) + 0.5) / 1000)[:, None]
    means = {s: scores(np.repeat(s * quantiles, 3000, axis=1), observed)["interval_score_90"] for s in (0.7, 1.0, 1.4)}
    for wrong in (0.7, 1.4):
        gap = means[wrong] - means[1.0]
        assert gap.mean() > 3 * gap.std() / np.sqrt(len(gap))


def clusters(generator: np.random.Generator, families: int, size: int) -> pd.DataFrame:
    """Forecasts whose families are covered more or less often, all up to 3× beyond."""
    share = generator.beta(2, 1, size=families).repeat(size)
    covered = (generator.uniform(size=share.size) < share).astype(float)
    table = pd.DataFrame(dict.fromkeys(SCORES, covered)).assign(reach_decades=0.1)
    return table.assign(family=np.arange(families).repeat(size).astype(str))


def test_the_error_of_coverage_is_that_over_families() -> None:
    table = clusters(np.random.default_rng(5), families=8, size=12)
    (row,) = Backtest(pd.DataFrame(), table, {}, {}).horizons.to_dict("records")
    by_family = table.groupby("family")["coverage_90"].mean()
    assert row["coverage_90_se"] == pytest.approx(by_family.std() / np.sqrt(8))  # families of one size
    (one,) = Backtest(pd.DataFrame(), table[table["family"] == "0"], {}, {}).horizons.to_dict("records")
    assert np.isnan(one["coverage_90_se"])


def test_the_error_of_coverage_is_its_scatter() -> None:
    generator = np.random.default_rng(11)
    tables = [clusters(generator, families=20, size=5) for _ in range(300)]
    scatter = np.var([table["coverage_80"].mean() for table in tables], ddof=1)
    claimed = np.mean([_errors(table)["coverage_80_se"] ** 2 for table in tables])
    # A variance found from 300 Normal numbers has a relative SD of the root of 2 / 299.
    assert claimed == pytest.approx(scatter, rel=4 * np.sqrt(2 / 299))


SPLIT = Options(smallest=5, beyond=3.0)


def dated(pool: bs.Runs) -> bs.Runs:
    """The pool with dates: larger runs are later."""
    rank = pool.frame.groupby("family")["flops"].rank(pct=True)
    return bs.load_runs(pool.frame.assign(released=2020 + 4 * rank), name=pool.name)


@pytest.mark.parametrize("way", WAYS)
def test_a_run_that_is_forecast_is_not_fitted(way: str, pool: bs.Runs) -> None:
    pool = dated(pool)
    options = Options(**{name: value for name, value in SPLIT._asdict().items() if name in WAYS[way].reads})
    cuts, left_out = cut(pool, way, options)
    assert cuts
    known = [*(one.name for one in cuts), *left_out]
    assert all(any(name.startswith(family) for name in known) for family in pool.families)
    for spec in map(bs.load_spec, ("additive", "additive-unpooled", "floored")):
        for task in tasks_of(pool, [spec], cuts, cuts, complete=WAYS[way].complete).values():
            for one in task.cuts:
                mine = pool["family"] == one.family
                assert not (task.train & one.test).any()
                assert (one.test & mine).sum() == one.test.sum() > 0
                assert one.family in task.unseen
                np.testing.assert_array_equal(task.train & mine, one.train & mine)


def test_expanding_cuts_reach_every_horizon_and_a_pooled_spec_is_fitted_once_a_cut(pool: bs.Runs) -> None:
    cuts, _ = cut(pool, "expanding")
    tasks = tasks_of(pool, [bs.load_spec("additive")], cuts, cuts, complete=False)
    assert len(tasks) == len(EXPANDING)
    times = np.concatenate([pool["flops"][one.test] / pool["flops"][one.train].max() for one in cuts])
    assert set(horizon_of(np.log10(times))) == set(HORIZONS) - {"inside"}


def test_the_largest_size_is_left_out_whole(pool: bs.Runs) -> None:
    for one in cut(pool, "leave-largest-out")[0]:
        assert pool["params"][one.test].min() > pool["params"][one.train].max()
        assert one.test.sum() + one.train.sum() == (pool["family"] == one.family).sum()


@pytest.mark.parametrize(("way", "own"), [("alongside", 5), ("leave-family-out", 0)])
def test_the_others_are_fitted_whole_beside_a_family(way: str, own: int, trio: bs.Runs) -> None:
    cuts, _ = cut(trio, way)
    tasks = tasks_of(trio, [bs.load_spec("additive")], cuts, cuts, complete=WAYS[way].complete)
    assert list(tasks) == trio.families
    for name, task in tasks.items():
        mine = trio["family"] == name
        assert task.train[~mine].all()
        assert task.train[mine].sum() == own
        if own:
            assert trio["flops"][task.train & mine].max() < trio["flops"][mine & ~task.train].min()
    alone = tasks_of(trio, [bs.load_spec("additive-unpooled")], cuts, cuts, complete=WAYS[way].complete)
    assert all(task.train[trio["family"] != name].any() == (own == 0) for name, task in alone.items())


@pytest.mark.parametrize("way", [way for way in WAYS if way != "by-date"])  # dates cut all families at once
def test_families_of_a_suite_are_fitted_together_and_priors_know_none_of_them(way: str, pool: bs.Runs) -> None:
    options = Options(**{name: value for name, value in SPLIT._asdict().items() if name in WAYS[way].reads})
    spec = make_spec("suites", law="additive", pooling={"default": "none", "alpha_N": "suite"})
    suite = {family: set(pool.where(family=family)["suite"]) for family in pool.families}
    cuts, _ = cut(pool, way, options)
    tasks = tasks_of(pool, [spec], cuts, cuts, complete=WAYS[way].complete)
    assert sorted(one.name for task in tasks.values() for one in task.cuts) == sorted(one.name for one in cuts)
    for task in tasks.values():
        kin = {name for name in pool.families if suite[name] == suite[task.cuts[0].family]}
        fitted = set(pool["family"][task.train])
        assert fitted <= kin if way != "leave-family-out" else len(fitted) == len(pool.families) - 1
        assert {one.family for one in task.cuts} | (fitted & kin) <= set(task.unseen) <= kin


def test_a_family_without_runs_is_scored_as_a_new_one(trio_fit: bs.Fit, pool: bs.Runs) -> None:
    (one,) = [one for one in cut(pool, "leave-family-out")[0] if one.family == "Misfitting-FineWeb"]
    table = score_cut(trio_fit, pool, one)
    assert set(table["family"]) == {one.family}
    most = trio_fit.design_frame["flops"].max()
    np.testing.assert_allclose(table["reach_decades"], np.log10(pool["flops"][one.test] / most))
    assert set(horizon_of(table["reach_decades"])) == {"inside"}
    assert table["coverage_90"].isin([0, 1]).all()


def test_forecasts_that_share_a_program_are_those_of_their_own(chinchilla_fit: bs.Fit, chinchilla: bs.Runs) -> None:
    three = chinchilla.take(np.array([3, 50, 90]))
    draws = predict(chinchilla_fit, three.frame, seed=chinchilla_fit.meta["seed"], only="loss")
    alone = scores(np.log(draws), np.log(three["loss"]))
    pd.testing.assert_frame_equal(score(chinchilla_fit, three)[list(alone)], alone)


def test_families_without_pooling_begin_at_their_priors_medians(trio: bs.Runs) -> None:
    spec = bs.load_spec("additive-unpooled")
    begin = initial(design(spec, trio), spec=spec.structure)
    for name, setting in spec.settings:
        np.testing.assert_allclose(begin[name], np.full(3, setting.prior.median), rtol=1e-5)  # float32


def test_expanding_scores_every_cut_and_makes_a_record(pool: bs.Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    two = pool.where(family=["OpenLM-C4", "OpenLM-RedPajama"])
    monkeypatch.setattr("bayescale.runs.splits.EXPANDING", (0.5, 0.7))
    seen: list[pd.DataFrame] = []
    with pytest.warns(bs.ConvergenceWarning):  # so few draws cannot agree
        result = bs.backtest(two, "additive-unpooled", way="expanding", draws=50, warmup=100, chains=2, progress=False,
                             each=seen.append)  # fmt: skip
    assert [len(rows) for rows in seen] == [1, 1, 1, 1]  # a fit each, as they end
    by = ["family", "cut"]
    pd.testing.assert_frame_equal(pd.concat(seen).sort_values(by, ignore_index=True),
                                  result.families.sort_values(by, ignore_index=True))  # fmt: skip
    assert len(result.families) == len(result.verdicts) == 4
    assert result.horizons["n_test"].sum() == result.families["n_test"].sum() == len(result.runs)
    by_family = result.families.groupby("family")["crps"].mean()
    assert result.mean["crps"] == pytest.approx(by_family.mean())
    record = result.record
    assert record.spec_digest == bs.load_spec("additive-unpooled").digest
    (kept,) = record.backtests
    assert kept["unconverged"] == sorted(result.verdicts)
    assert (kept["way"], kept["runs_digest"], kept["families"]) == ("expanding", two.digest, two.families)
    for draw in (plot_backtest, plot_horizons):
        assert draw(result).get_title()
    plt.close("all")


def test_an_option_that_a_way_does_not_read_is_refused(pool: bs.Runs) -> None:
    with pytest.raises(QueryError, match="does not use smallest"):
        cut(pool, "expanding", Options(smallest=5))
    with pytest.raises(QueryError, match="did you mean 'expanding'"):
        cut(pool, "expandin")
    with pytest.raises(QueryError, match="out of range"):
        cut(pool, options=Options(beyond=float("nan")))
    with pytest.raises(RunsError, match="too few families"):
        bs.backtest(pool.where(family=["OPT", "Chinchilla"]), "additive", way="alongside")


def test_priors_are_learned_again_without_the_other_families_of_a_suite_that_are_not_in_the_table(monkeypatch) -> None:
    """The errors of a suite are correlated: a mate's larger runs would give away the forecast runs."""
    spec, asked = bs.load_spec("default"), []
    learner = SimpleNamespace(learn=lambda without: asked.extend(without) or [spec] * len(without), left_out={})
    monkeypatch.setattr(backtesting, "recall", lambda source, base: learner)
    alone = bs.load_runs("open-families").where(family="OpenLM-C4")
    backtesting._unseen(spec, alone, {"OpenLM-C4": ["OpenLM-C4"]}, progress=False)
    assert asked == [{"OpenLM-C4", "OpenLM-RedPajama", "OpenLM-RefinedWeb"}]


@pytest.mark.parametrize("way", ["quantile", "expanding", "by-date"])
def test_models_of_many_dates_are_cut_by_date(way: str) -> None:
    runs = bs.load_runs(
        pd.DataFrame({"family": "a", "year": np.linspace(2020, 2025, 40), "n_correct": 1, "n_items": 2})
    )
    cuts, _ = cut(runs, way, Options())
    assert cuts
    for one in cuts:
        assert runs["year"][one.train].max() < runs["year"][one.test].min()
