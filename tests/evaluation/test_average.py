"""Averages: fits of several models that forecast, decide, are checked and saved as one."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import h5py
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner

import bayescale as bs
from bayescale.cli import main
from bayescale.core.errors import FitError, QueryError, RunsError, SpecError
from bayescale.evaluation import stacking
from bayescale.evaluation.backtest import score_cut
from bayescale.evaluation.stacking import LeaveFutureOut
from bayescale.inference.container import sealed
from bayescale.inference.weights import FEWEST_FORECASTS, Weights, given
from bayescale.prediction.predict import predict

FAR = {"params": 7e10, "tokens": 1.4e12}
SHARES = {"additive": 0.3, "steep": 0.7}


@pytest.fixture(scope="module")
def steep() -> bs.Spec:
    """The additive law under a prior of its own, so that it needs no other program."""
    return bs.load_spec("additive").with_prior(alpha_N=bs.LogNormal(0.45, 0.05), beta_D=bs.LogNormal(0.45, 0.05))


@pytest.fixture(scope="module")
def fits(chinchilla, chinchilla_fit, steep) -> dict[str, bs.Fit]:
    return {"additive": chinchilla_fit, "steep": bs.fit(chinchilla, steep, seed=0)}


@pytest.fixture(scope="module")
def both(fits) -> bs.Average:
    return bs.average(fits, SHARES)


@pytest.fixture(scope="module")
def curves(both, fits) -> dict[str, xr.DataArray]:
    """The law's loss under each model; the far query beside another."""
    drawn = {
        n: bs.forecast(f, params=["1B", "70B"], tokens=["20B", "1.4T"]) for n, f in (fits | {"both": both}).items()
    }
    return {name: forecast.draws["epred"].sel(query=1) for name, forecast in drawn.items()}


def test_an_average_of_one_fit_is_that_fit(chinchilla_fit) -> None:
    one, other = (bs.forecast(f, **FAR, seed=4) for f in (chinchilla_fit, bs.average({"additive": chinchilla_fit})))
    xr.testing.assert_identical(one.draws, other.draws)


def test_a_draw_is_a_draw_of_one_member_in_proportion_to_the_weights(curves) -> None:
    whose = {name: curves["both"] == curves[name] for name in SHARES}
    assert (whose["additive"] ^ whose["steep"]).all()
    for name, share in SHARES.items():
        for chain in whose[name]:
            assert abs(int(chain.sum()) - share * chain.size) <= 2
    assert (whose["additive"][0] == whose["additive"]).all()  # whose a draw is depends on its index alone


def test_thinned_draws_are_the_same_draws_alone_or_beside_others(both, curves) -> None:
    table = pd.DataFrame([{**FAR, "family": "Chinchilla"}])
    thin = np.exp(predict(both, table, only="log_loss", most=400)).reshape(4, 100)
    np.testing.assert_allclose(thin, curves["both"].isel(draw=slice(None, None, 10)), rtol=1e-12)


@pytest.mark.parametrize("thin", range(1, 11))
@pytest.mark.parametrize("share", [0.05, 0.37, 0.5])
def test_members_keep_their_shares_however_draws_are_thinned(fits, share: float, thin: int) -> None:
    draws = np.arange(0, 1000, thin)
    lent = bs.average(fits, {"additive": share, "steep": 1 - share}).lenders(draws)
    assert sum(mine for _, mine in lent).tolist() == [1] * len(draws)
    # The discrepancy of multiples of the golden ratio grows as the logarithm of their number.
    assert abs(lent[0][1].sum() - share * len(draws)) <= 1 + np.log(len(draws)) / 2


def test_a_member_without_weight_lends_nothing(fits) -> None:
    ((fit, mine),) = bs.average(fits, {"additive": 0.0, "steep": 1.0}).lenders(np.arange(50))
    assert fit is fits["steep"]
    assert mine.all()


def test_the_mean_is_the_weighted_mean_of_the_members(curves) -> None:
    error = np.sqrt(sum(share * float(curves[n].var()) for n, share in SHARES.items()) / 1000)  # of a quarter the draws
    wanted = sum(share * float(curves[n].mean()) for n, share in SHARES.items())
    assert abs(float(curves["both"].mean()) - wanted) < 4 * error
    assert float(curves["both"].std()) > float(curves["steep"].std())  # not knowing the form widens it


def test_the_density_is_that_of_the_mixture(both, fits) -> None:
    runs = both.design_frame.nlargest(5, "flops")
    observed = {"loss": runs["loss"]}
    density = {n: np.exp(predict(f, runs, observed=observed, only="loss_log_density"))
               for n, f in (fits | {"both": both}).items()}  # fmt: skip
    wanted = sum(share * density[n].mean(axis=0) for n, share in SHARES.items())
    error = np.sqrt(sum(share * density[n].var(axis=0) for n, share in SHARES.items()) / 1000)
    assert (np.abs(density["both"].mean(axis=0) - wanted) < 4 * error).all()


def test_it_decides_over_forms(both, fits, chinchilla_fit) -> None:
    choice, single = (bs.decide(bs.Allocation("5.76e23"), f) for f in (both, chinchilla_fit))
    apart = [bs.decide(bs.Allocation("5.76e23"), f) for f in fits.values()]
    assert min(c.params for c in apart) <= choice.params <= max(c.params for c in apart)
    assert choice.to_dict()["regret_over"] == ["additive", "steep"]
    assert "the law and its form" in " ".join(repr(choice).split())
    assert "its form" not in repr(single)
    # A mixture's draws want what its members' draws want, and one split serves all of them.
    assert choice.regret_nats > sum(SHARES[n] * c.regret_nats for n, c in zip(fits, apart, strict=True))


def test_checks_name_the_members(both) -> None:
    found = bs.check(both, "convergence", "identification", "residuals")
    subjects = {f.check: {g.subject for g in found if g.check == f.check} for f in found}
    assert {"additive: alpha_N", "steep: alpha_N"} <= subjects["identification"]
    assert {"additive: r_hat", "steep: r_hat"} <= subjects["convergence"]
    assert "tokens" in subjects["residuals"]


def test_a_members_trouble_is_the_averages(chinchilla_fit, fits) -> None:
    tree = fits["steep"].tree.copy()
    tree["sample_stats"] = tree["sample_stats"].to_dataset().assign(diverging=lambda d: d["diverging"] | True)
    result = bs.average({"additive": chinchilla_fit, "hasty": bs.Fit(tree, fits["steep"].spec, fits["steep"].meta)})
    assert not result.converged
    assert str(result.verdict).startswith("NOT CONVERGED: hasty: 4000 draws diverged")
    assert len(result.verdict.problems) == 1


def test_save_and_load_give_the_average_back(both, curves, tmp_path: Path) -> None:
    loaded = bs.load_fit(both.save(tmp_path / "both.nc"))
    assert isinstance(loaded, bs.Average)
    assert loaded.meta == both.meta
    assert repr(loaded) == repr(both)
    np.testing.assert_array_equal(bs.forecast(loaded, **FAR).draws["epred"].sel(query=0), curves["both"])
    for name, fit in both.members.items():
        xr.testing.assert_identical(loaded.members[name].posterior, fit.posterior)
        assert loaded.members[name].spec.digest == fit.spec.digest
    assert [p.name for p in tmp_path.iterdir()] == ["both.nc"]


def test_a_damaged_average_is_seen(both, tmp_path: Path) -> None:
    path = both.save(tmp_path / "both.nc")
    for group, says in (("member_1/posterior", "posterior"), ("member_1", "members")):
        with h5py.File(path, "r+") as opened:
            del opened[group]
        path.write_bytes(sealed(path.read_bytes()))
        with pytest.raises(FitError, match=says):
            bs.load_fit(path)
    path = both.save(tmp_path / "both.nc")
    with h5py.File(path) as opened:
        place = opened["member_1/posterior/alpha_N"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[place + 100] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(FitError, match="damaged"):
        bs.load_fit(path)


def test_parameters_belong_to_members(both) -> None:
    for name in ("posterior", "spec", "tree"):
        assert not hasattr(both, name)
        with pytest.raises(AttributeError, match=r"average\.members"):
            getattr(both, name)
    assert set(both.summary.index.get_level_values("model")) == set(SHARES)


def test_it_is_drawn_as_a_fit_is(both) -> None:
    ax = bs.plots.plot_residuals(both)
    assert ax.has_data()
    plt.close(ax.figure)


def test_members_that_do_not_belong_together_are_refused(chinchilla_fit, fits) -> None:
    few = bs.Fit(chinchilla_fit.tree.isel(draw=slice(900)), chinchilla_fit.spec, chinchilla_fit.meta)
    elsewhere = bs.Fit(chinchilla_fit.tree, chinchilla_fit.spec, chinchilla_fit.meta | {"runs_digest": "another"})
    for members, says in (
        ({}, "nothing to average"),
        ({"one": chinchilla_fit, "other": elsewhere}, "differ in runs"),
        ({"one": chinchilla_fit, "other": few}, "differ in chains and draws"),
    ):
        with pytest.raises(FitError, match=says):
            bs.average(members)
    with pytest.raises(FitError, match="not those of the members"):
        bs.average(fits, {"additive": 1.0, "drift": 0.0})


@pytest.fixture(scope="module")
def two(trio, steep) -> dict[str, bs.Spec]:
    wide = bs.load_spec("additive-unpooled")
    return {"wide": wide, "steep": wide.with_prior(**{n: steep.parameters[n].prior for n in ("alpha_N", "beta_D")})}


@pytest.fixture(scope="module")
def tested(trio, two) -> Iterator[tuple[bs.LeaveFutureOut, bs.Backtest, dict[str, Weights]]]:
    """Scores beyond two cuts of three families, the backtest of the stack, and the weights that it scores with."""
    mixed = {}

    def recording(fit, runs, one, response=None) -> pd.DataFrame:
        if isinstance(fit, bs.Average):
            mixed[one.name] = fit.weights
        return score_cut(fit, runs, one, response)

    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore", bs.ConvergenceWarning)  # so few draws need not converge, and nothing asks it
        patch.setattr(stacking, "score_cut", recording)
        few = {"seed": 0, "cuts": (0.5, 0.7), "chains": 2, "warmup": 200, "draws": 200}
        yield bs.leave_future_out(trio, two, **few), bs.backtest_average(trio, two, **few), mixed


def test_models_are_scored_on_the_same_runs_beyond_the_cut(tested, trio) -> None:
    scores = tested[0].scores
    keys = {m: set(map(tuple, t[["family", "cut", "row"]].to_numpy())) for m, t in scores.groupby("model")}
    assert keys["wide"] == keys["steep"]
    flops = trio["flops"][scores["row"].astype(int)]
    for (family, quantile), index in scores.groupby(["family", "cut"]).indices.items():
        mine = trio["flops"][trio["family"] == family]
        most = mine[mine <= np.quantile(mine, quantile)].max()
        assert flops[index].min() > most
        np.testing.assert_allclose(scores["reach_decades"].to_numpy()[index], np.log10(flops[index] / most))
    assert set(tested[0].matched("3-10×")["horizon"]) == {"3-10×"}
    assert tested[0].matched(5.0).equals(tested[0].matched("3-10×"))


def test_weights_come_from_the_scores_at_the_horizon(tested) -> None:
    scores = tested[0]
    everything, near = scores.weights(), scores.weights(2.0)
    assert everything.method == "stacking"
    assert everything.groups == 3
    assert everything.forecasts == len(scores.matched()) > near.forecasts == len(scores.matched(2.0))
    assert "up to 3×" in near.sentence


def test_a_backtest_of_the_stack_has_weights_of_the_other_families(tested) -> None:
    scores, result, mixed = tested
    assert set(result.weights) == set(result.families["family"]) == set(result.verdicts)
    for name, weights in result.weights.items():
        assert weights == scores.weights(without=name)
        assert weights.groups == 2
    assert result.to_dict()["weights"].keys() == result.weights.keys()
    assert set(result.weights) == set(mixed)
    for name, weights in mixed.items():  # of the averages that were scored
        assert weights.weights == result.weights[name].weights
    assert max(abs(one.weights["wide"] - 0.5) for one in mixed.values()) > 0.01  # equal ones would not show which


def test_few_forecasts_have_equal_weights() -> None:
    table = pd.DataFrame({"model": np.repeat(["a", "b"], 5), "family": "f", "cut": 0.5, "row": [*range(5)] * 2,
                          "horizon": "3-10×", "log_score": np.arange(10.0)})  # fmt: skip
    found = LeaveFutureOut(("a", "b"), table, {}, {}).weights()
    assert found.weights == {"a": 0.5, "b": 0.5}
    assert f"fewer than {FEWEST_FORECASTS}" in found.sentence


def test_a_forecast_that_one_model_lacks_is_no_forecast() -> None:
    table = pd.DataFrame({"model": ["a", "a", "b"], "family": "f", "cut": 0.5, "row": [0, 1, 0], "horizon": "3-10×",
                          "log_score": [1.0, 2.0, 3.0]})  # fmt: skip
    assert len(LeaveFutureOut(("a", "b"), table, {}, {}).matched()) == 1


def test_families_too_small_to_split_leave_equal_weights(chinchilla) -> None:
    few = chinchilla.take(np.arange(0, len(chinchilla), 40))
    scores = bs.leave_future_out(few, ["additive", "coupled"], seed=0)
    assert len(scores.left_out) == 3
    assert scores.weights().method == "equal"
    assert scores.weights().forecasts == 0


def test_what_cannot_be_averaged_is_refused(chinchilla) -> None:
    for specs, error, says in (
        ([], SpecError, "no model"),
        (["additive", "additive"], SpecError, "one name"),
        ([bs.make_spec("scores", law="additive", responses={"accuracy": "binomial"})], RunsError, "n_correct"),
        (["additive", "repetition"], RunsError, "unique_tokens"),
    ):
        with pytest.raises(error, match=says):
            bs.stack(chinchilla, specs)
    for wrong in ("3×", 0.5):
        with pytest.raises(QueryError, match="no such horizon"):
            bs.stack(chinchilla, ["additive", "coupled"], horizon=wrong)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> tuple[Path, dict]:
    """An average that the command line made, and what it said."""
    here = tmp_path_factory.mktemp("stack")
    (here / "steep.toml").write_text(
        'law = "additive"\n[responses]\nloss = "student-t"\n[parameters.alpha_N]\n'
        'prior = {kind = "LogNormal", median = 0.45, scale = 0.05}\n',
        encoding="utf-8",
    )
    models = ("--model", "additive", "--model", str(here / "steep.toml"))
    result = CliRunner().invoke(main, ["fit", "hoffmann2022", *models, "--out", str(here / "fit.nc"), "--json"])
    assert result.exit_code == 0, result.output
    return here / "fit.nc", json.loads(result.stdout)


@pytest.mark.slow
def test_the_command_line_fits_an_average(saved, chinchilla_fit) -> None:
    path, said = saved
    assert set(said["members"]) == set(said["weights"]["models"]) == {"additive", "steep"}
    assert said["weights"]["method"] == "stacking"
    assert sum(m["weight"] for m in said["weights"]["models"].values()) == pytest.approx(1)
    assert all(m["se"] > 0 for m in said["weights"]["models"].values())
    mean = said["members"]["additive"]["parameters"]["alpha_N"]["mean"]
    assert mean == pytest.approx(chinchilla_fit.summary.loc["alpha_N", "mean"])
    assert bs.load_fit(path).weights.to_dict() == said["weights"]


@pytest.mark.parametrize(
    "command",
    [
        ("forecast", "--params", "70B", "--tokens", "1.4T"),
        ("decide allocation", "--flops", "5.76e23"),
    ],
    ids=lambda c: c[0],
)
def test_the_command_line_reads_an_average(saved, command) -> None:
    verb, *rest = command
    result = CliRunner().invoke(main, [*verb.split(), str(saved[0]), *rest])
    assert result.exit_code == 0, result.output
    assert "converged" in result.stdout


def test_a_horizon_needs_several_models(tmp_path: Path) -> None:
    args = ["fit", "hoffmann2022", "--model", "additive", "--horizon", "30", "--out", str(tmp_path / "fit.nc")]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 2
    assert "--model more than once" in result.stderr
    assert given({"a": 2.0, "b": 2.0}).weights == {"a": 0.5, "b": 0.5}
