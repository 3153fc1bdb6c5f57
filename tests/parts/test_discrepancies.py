"""Discrepancies: their bases, what they add inside and beyond the runs, and how the sampler sees them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.core.errors import RunsError
from bayescale.inference.potential import flatten, initial
from bayescale.modelling.design import design, slope_at
from bayescale.modelling.layout import blocked, layout
from bayescale.modelling.sites import COORDINATES
from bayescale.parts.base import Rows
from bayescale.parts.catalogue import catalogue, part
from bayescale.parts.discrepancies.growth import Growth
from bayescale.parts.priors import Normal

GROWTH = Normal(-0.01, 0.02)
DISCREPANCIES = [part("discrepancies", name) for name in catalogue("bayescale.parts.discrepancies")]
parts = pytest.mark.parametrize("of", DISCREPANCIES, ids=lambda of: of.name)


def rows_at(inputs: np.ndarray, groups: tuple[str | None, ...] = ("one", "two", "three")) -> Rows:
    return Rows(inputs, inputs.sum(axis=1) + 40.0, np.resize(np.array(groups, object), len(inputs)))


def rows(count: int, seed: int, wide: float = 4.0) -> Rows:
    return rows_at(np.random.default_rng(seed).uniform(-wide, wide, (count, 2)))


def covariance(of, at: Rows, fitted: Rows) -> np.ndarray:
    """Covariance of the shift at rows under its standard Normal coordinates, scales one."""
    basis = of.basis(at, fitted)
    ones = dict.fromkeys(of.parameters, 1.0)
    shifts = np.stack([of.shift(basis, z, **ones) for z in np.eye(basis.shape[1])])
    return shifts.T @ shifts


@pytest.fixture(scope="module")
def fits(chinchilla):
    plain = bs.make_spec("plain", law="coupled", pooling={"default": "none"})
    grown = bs.make_spec("grown", law="coupled", pooling={"default": "none"}, discrepancy="growth")
    return {spec.name: bs.fit(chinchilla, spec, seed=0) for spec in (plain, grown.with_prior(growth=GROWTH))}


@parts
def test_a_basis_is_as_wide_as_its_coordinates_and_finite(of):
    basis = of.basis(rows(9, 0, wide=8.0), rows(20, 1))
    assert basis.shape == (9, sum(of.coordinates.values()) or 1)
    assert np.isfinite(basis).all()
    alone = of.basis(rows(9, 0), rows_at(np.zeros((1, 2))))  # a family without an extent
    assert np.isfinite(alone).all()


@parts
def test_a_discrepancy_is_linear_in_its_scales(of):
    basis, z = of.basis(rows(9, 0, wide=8.0), rows(20, 1)), np.random.default_rng(2).standard_normal(200)
    z, scales = z[: basis.shape[1]], [*of.coordinates] or [*of.parameters][-1:]
    once, twice = (
        of.shift(basis, z, **dict.fromkeys(of.parameters, 1.0) | dict.fromkeys(scales, scale)) for scale in (0.3, 0.6)
    )
    np.testing.assert_allclose(2 * once, twice, rtol=1e-6)


@parts
def test_rows_far_from_the_runs_vary_no_less_than_those_amid_them(of):
    fitted = rows(50, 1)
    away = np.array([[0.5, -0.5], [3.9, 3.9], [6.0, 6.0], [9.0, 9.0]])
    variance = np.diag(covariance(of, rows_at(away), fitted))
    assert (np.diff(variance) >= -1e-6).all()  # of float32


def test_a_walk_is_nothing_at_the_anchor_and_its_variance_is_the_e_folds_from_it():
    walk = part("discrepancies", "walk")
    sizes = np.array([-3.0, -1.0, 0.0, 0.5, 2.5])
    fitted = np.stack(np.meshgrid(sizes, [-1.0, 1.0]), axis=-1).reshape(-1, 2)
    along = np.concatenate([sizes, [-4.0, 3.5, 7.5]])  # every size is a knot; beyond the ends it walks on
    at = np.stack([along, np.zeros(len(along))], axis=1)
    found = covariance(walk, rows_at(at), rows_at(fitted))
    tokens = found[2, 2]  # of the other walk, the same in all rows
    np.testing.assert_allclose(np.diag(found) - tokens, np.abs(along), atol=1e-5)
    shared = np.where(np.sign(along[:, None]) == np.sign(along), np.minimum(*np.abs(np.meshgrid(along, along))), 0.0)
    np.testing.assert_allclose(found[:5, :5] - tokens, shared[:5, :5], atol=1e-5)


def test_a_local_error_has_one_variance_everywhere_and_only_nearby_runs_share_it():
    local, grid = part("discrepancies", "local", knots=36), np.linspace(-2.5, 2.5, 6)  # as many runs as it has knots
    fitted = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    at = np.concatenate([fitted, [[0.0, 0.0], [0.1, 0.1], [9.0, 9.0]]])
    found = covariance(local, rows_at(at), rows_at(fitted))
    np.testing.assert_allclose(np.diag(found), 1.0, rtol=1e-5)
    # At the runs its correlation falls by an e-fold over a fifth of their extent in either input.
    distance = np.abs(fitted[:, None] - fitted[None]).sum(axis=-1)
    np.testing.assert_allclose(found[:36, :36], np.exp(-distance), atol=1e-5)
    assert found[36, 37] > 0.9
    assert np.abs(found[:36, 38]).max() < 1e-5  # far away it says nothing of the runs


def test_a_forecast_shares_no_more_error_with_the_runs_than_the_process_says():
    """Of many runs few are knots, and what these leave unexplained does not reach a forecast."""
    local, fitted = part("discrepancies", "local", knots=24), rows(168, 1)
    away = np.array([[0.3, 0.4], [4.0, 4.0], [9.0, 9.0]])  # among the runs, beyond them and far away
    found = covariance(local, rows_at(np.concatenate([away, fitted.inputs])), fitted)
    np.testing.assert_allclose(np.diag(found)[:3], 1.0, rtol=1e-5)
    distance = np.abs(away[:, None] - fitted.inputs[None]) / np.ptp(fitted.inputs, axis=0) * local.lengths
    exact = np.exp(-distance.sum(axis=-1))
    assert np.abs(found[:3, 3:]).mean(axis=1) == pytest.approx(exact.mean(axis=1), abs=0.05)
    assert (np.diag(found)[3:] <= 1 + 1e-5).all()


def test_runs_of_one_group_share_an_error_and_others_none():
    group = part("discrepancies", "group")
    fitted = rows_at(np.zeros((3, 2)), ("a", "b", ""))
    found = covariance(group, rows_at(np.ones((6, 2)), ("a", "a", "b", "", "unseen", None)), fitted)
    shared = np.diag([1.0, 1.0, 1.0, 0.0, 1.0, 1.0])
    shared[0, 1] = shared[1, 0] = shared[4, 5] = shared[5, 4] = 1.0  # all groups not yet seen share one error
    np.testing.assert_array_equal(found, shared)
    with pytest.raises(RunsError, match=r"(?s)more groups than .* at most 64.*got: +65.*curve"):
        group.basis(fitted, rows_at(np.zeros((65, 2)), tuple(f"g{i}" for i in range(65))))


def test_checkpoints_of_one_curve_share_an_error_that_fades_with_tokens():
    curve, tokens = part("discrepancies", "curve"), np.linspace(-2.0, 2.0, 9)
    inputs = np.column_stack([np.zeros(18), np.tile(tokens, 2)])
    fitted = Rows(inputs, inputs.sum(axis=1), np.repeat(np.array(["a", "b"], object), 9))
    found = covariance(curve, fitted, fitted)
    same = fitted.group[:, None] == fitted.group
    fading = np.exp(-np.abs(inputs[:, None, 1] - inputs[None, :, 1]) / 0.5)  # an e-fold over half an e-fold of tokens
    np.testing.assert_allclose(found, same * fading, atol=1e-5)
    others = rows_at(inputs[:4], ("c", "", None, "a"))
    beside = covariance(curve, others, fitted)
    np.testing.assert_allclose(np.diag(beside), [1.0, 0.0, 1.0, 1.0], atol=1e-5)
    assert abs(beside[0, 3]) < 1e-5  # an unseen curve says nothing of a fitted checkpoint
    none = rows_at(inputs, ("",))
    assert not curve.basis(none, none).any()


def test_a_break_bends_the_law_beyond_the_runs_alone():
    of = part("discrepancies", "break")
    flops = np.array([38.0, 40.0, 42.0, 45.0])
    basis = of.basis(rows_at(np.column_stack([flops - 40.0, np.zeros(4)])), rows_at(np.zeros((1, 2))))
    shift = of.shift(basis, None, break_at=3.0, break_slope=0.02)
    np.testing.assert_allclose(shift, [0.0, 0.0, 0.0, 0.04], atol=1e-7)


@pytest.fixture(scope="module")
def grouped():
    """Twenty budgets of five runs each, whose errors they share; and a fit that knows of it."""
    rng = np.random.default_rng(0)
    budgets, ratios = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e18, 1e21, 20), np.geomspace(5, 160, 5)))
    params = np.sqrt(budgets / (6 * ratios))
    group = np.unique(budgets, return_inverse=True)[1]
    effect = 0.01 * rng.standard_normal(20)
    loss = (1.8 + 480 / params**0.34 + 2100 / (params * ratios) ** 0.37) * np.exp(
        effect[group] + 0.002 * rng.standard_normal(100)
    )
    table = pd.DataFrame({"params": params, "tokens": params * ratios, "loss": loss, "group": group})
    parameters = {"group_effect": {"prior": {"kind": "LogNormal", "median": 0.006, "scale": 0.3}}}
    spec = bs.make_spec("grouped", law="additive", discrepancy="group", parameters=parameters)
    return effect, bs.load_runs(table), bs.fit(bs.load_runs(table), spec, seed=0)


@pytest.mark.slow
def test_the_error_that_groups_share_is_recovered(grouped):
    effect, _, fit = grouped
    assert fit.converged
    posterior = fit.posterior
    low, high = np.quantile(posterior["group_effect"], [0.005, 0.995])
    assert low < effect.std() < high
    drawn = (posterior["group_effect"] * posterior["coordinates"]).mean(("chain", "draw"))[0].to_numpy()
    drawn = drawn[[sorted(map(str, range(20))).index(str(g)) for g in range(20)]]  # coordinates go by names
    assert np.corrcoef(drawn, effect)[0, 1] > 0.95


def test_the_law_beside_groups_is_the_one_that_made_the_runs(grouped):
    _, _, fit = grouped
    for name, truth in (("E", 1.8), ("alpha_N", 0.34), ("beta_D", 0.37)):
        row = fit.summary.loc[name]
        assert abs(row["mean"] - truth) < 3 * row["sd"], name


def test_a_forecast_is_of_a_new_group_unless_it_names_a_fitted_one(grouped, tmp_path):
    effect, _, fit = grouped
    fit = bs.load_fit(fit.save(tmp_path / "fit.nc"))
    at = {"params": [1e9] * 4, "tokens": [2e10] * 4}
    queries = pd.DataFrame(at | {"group": ["7", "8", "", "unseen"]})
    epred = np.log(bs.forecast(fit, queries, seed=0).draws["epred"].to_numpy().reshape(-1, 4))
    unnamed = np.log(bs.forecast(fit, params=1e9, tokens=2e10, seed=0).draws["epred"].to_numpy().ravel())
    np.testing.assert_allclose((epred[:, 0] - epred[:, 1]).mean(), effect[7] - effect[8], atol=0.003)
    np.testing.assert_allclose(epred[:, 3], unnamed)
    assert unnamed.std() > 1.5 * epred[:, 2].std()  # of no group: the law alone


def test_a_spec_of_groups_wants_the_column(chinchilla):
    spec = bs.make_spec("grouped", law="additive", discrepancy="group")
    table = chinchilla.frame.drop(columns="group")
    with pytest.raises(RunsError, match="no column 'group'"):
        bs.fit(bs.load_runs(table), spec)


def test_its_posterior_is_its_prior_and_the_law_is_not_touched(fits):
    grown, plain = fits["grown"].summary, fits["plain"].summary
    row = grown.loc["growth"]
    error = GROWTH.scale / np.sqrt(row["ess_bulk"])
    assert abs(row["mean"] - GROWTH.median) < 4 * error
    for name in plain.index:
        errors = [table.loc[name, "sd"] / np.sqrt(table.loc[name, "ess_bulk"]) for table in (plain, grown)]
        assert abs(plain.loc[name, "mean"] - grown.loc[name, "mean"]) < 4 * np.hypot(*errors), name


def test_inside_the_runs_growth_is_nothing_and_beyond_them_a_walk_with_a_drift(fits, chinchilla):
    fit, most = fits["grown"], chinchilla["flops"].max()
    params = np.sqrt(most * np.array([0.5, 1.0, np.e, np.e**4]) / 120)
    forecast = bs.forecast(fit, params=params, tokens=20 * params)
    posterior = fit.posterior.stack(sample=("chain", "draw"))
    x = np.log(params) - np.log(fit.meta["anchor"]["params"])
    y = np.log(20 * params) - np.log(fit.meta["anchor"]["tokens"])
    values = {name: posterior[name].to_numpy()[:, None] for name in bs.load_spec("coupled").parameters}
    from bayescale.parts.laws.coupled import Coupled

    law = Coupled.log_loss(x, y, **{name: values[name] for name in Coupled.parameters})
    law = np.asarray(law) + np.log(fit.meta["anchor"]["loss"])
    epred = np.log(forecast.draws["epred"].to_numpy().reshape(-1, 4))
    plane = np.column_stack([np.ones(len(chinchilla)), np.log(chinchilla["params"]), np.log(chinchilla["tokens"])])
    slope = np.hypot(*np.linalg.lstsq(plane, np.log(chinchilla["loss"]), rcond=None)[0][1:])
    assert slope < 0.1  # else errors would be larger
    growth, span = posterior["growth"].to_numpy(), np.ptp(np.log(chinchilla["flops"]))
    wanted = growth[:, None] * np.sqrt([0.0, 0.0, (1 + 3 / span) / 2, (4 + 48 / span) / 2])
    np.testing.assert_allclose(epred - law, wanted, atol=3e-5)


def test_runs_that_span_less_than_a_decade_count_as_one():
    def of(span):
        fitted = Rows(np.zeros((2, 0)), np.array([0.0, span]), np.zeros(2))
        return Growth().basis(Rows(np.zeros((1, 0)), np.array([span + 3.0]), np.zeros(1)), fitted).item()

    decade = np.log(10.0)
    assert of(0.0) == of(1.0) == of(decade) == pytest.approx(np.sqrt((3.0 + 27.0 / decade) / 2))
    assert of(4 * decade) == pytest.approx(np.sqrt((3.0 + 27.0 / (4 * decade)) / 2))


def test_a_family_that_spans_less_than_its_like_counts_as_they_do():
    few, at = Rows(np.zeros((2, 0)), np.array([0.0, 3.0]), np.zeros(2)), Rows(np.zeros((1, 0)), np.array([6.0]), [0.0])
    assert Growth().basis(at, few._replace(law_span=9.0)).item() == pytest.approx(np.sqrt((3.0 + 27.0 / 9.0) / 2))
    assert Growth().basis(at, few._replace(law_span=2.0)) == Growth().basis(at, few)


def test_what_other_families_decide_is_not_asked_of_the_runs(fits):
    asked = {finding.subject for finding in bs.check(fits["grown"], "identification")}
    assert "growth" not in asked
    assert {"alpha_N", "sigma"} <= asked


def test_laws_err_by_more_where_loss_falls_more_steeply_than_usual(pool):
    """A power of the loss is so many times as steep in logs; errors grow in proportion."""
    spec = bs.make_spec("wrong", law="coupled", discrepancy=["walk", "local", "growth"], pooling={"default": "none"})

    def basis_of(name, power):
        runs = pool.where(family=name)
        return design(spec, bs.load_runs(runs.frame.assign(loss=runs["loss"] ** power), loss_unit="nats")).basis

    steep, steeper = (basis_of("Porian-RefinedWeb", power) for power in (0.8, 1.2))
    flat, flatter = (basis_of("OPT", power) for power in (1.0, 0.9))
    for name in spec.discrepancy:
        np.testing.assert_allclose(steeper[name], 1.5 * steep[name], rtol=2e-3, err_msg=name)  # a ridge
        np.testing.assert_array_equal(flatter[name], flat[name], err_msg=name)
    anchors = [{"params": 1e8, "tokens": 1e10, "loss": 3.0, "slope": slope} for slope in (0.4, 0.1, 0.05)]
    fixed = [bs.make_spec("fixed", law="coupled", discrepancy="local", anchor=anchor) for anchor in anchors]
    four, once, still = (design(one, pool).basis["local"] for one in fixed)
    np.testing.assert_allclose(four, 4 * once)
    np.testing.assert_array_equal(still, once)


def test_runs_of_one_budget_leave_the_slope_across_budgets_as_is_usual(chinchilla):
    """Else rounding of compute decides it, and errors beyond every measure."""
    spec, few = bs.load_spec("default"), chinchilla.take(np.argsort(chinchilla["flops"], kind="stable")[:5])
    logs = [np.log(few[name]) for name in ("params", "tokens", "loss")]
    budget = (logs[0] + logs[1]).mean() + 0.001 * np.random.default_rng(0).standard_normal(5)
    assert slope_at(spec, np.stack([logs[0], budget - logs[0]], axis=1), logs[2]) < 0.2
    inputs, log_loss = np.log(np.stack([chinchilla[name] for name in spec.inputs], axis=1)), np.log(chinchilla["loss"])
    plane = np.column_stack([np.ones(len(inputs)), inputs])
    bare = np.linalg.norm(np.linalg.lstsq(plane, log_loss, rcond=None)[0][1:])
    assert slope_at(spec, inputs, log_loss) == pytest.approx(bare, rel=1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::bayescale.ConvergenceWarning")  # a few draws are enough to forecast from
def test_a_fit_of_accuracies_alone_knows_how_steeply_loss_fell(pool):
    table = pool.where(family="OPT").frame
    right = np.round(1000 * (0.25 + 0.75 / (1 + np.exp(4 * (table["loss"] - 2.7))))).astype(int)
    runs = bs.load_runs(table.assign(n_items=1000, n_correct=right, chance=0.25))
    spec = bs.make_spec("seen", law="coupled", discrepancy="growth", responses={"accuracy": "beta-binomial"})
    fit = bs.fit(runs, spec, seed=0, chains=1, warmup=50, draws=50, progress=False)
    forecast = bs.forecast(fit, params="66B", tokens="3T", n_items=1000, chance=0.25)
    assert np.isfinite(forecast.draws["epred"]).all()


def test_specs_that_differ_in_their_priors_alone_share_a_program(fits, chinchilla):
    from bayescale.inference import aot

    compiled = aot._program.cache_info().misses
    spec = fits["grown"].spec.with_prior(growth=Normal(0.0, 0.5), kappa=bs.LogNormal(0.5, 0.05))
    other = bs.fit(chinchilla, spec, seed=0)
    assert aot._program.cache_info().misses == compiled
    assert abs(other.summary.loc["growth", "sd"] / 0.5 - 1) < 0.1
    assert other.summary.loc["kappa", "mean"] < fits["grown"].summary.loc["kappa", "mean"]


@pytest.mark.parametrize("families", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_coordinates_that_follow_the_law_keep_the_density(pool, families):
    """The sampler's coordinates are a shear of the model's: its density, and no other volume than the scale's."""
    runs = pool.where(family=["OpenLM-C4", "OpenLM-RedPajama"][:families])
    spec = bs.make_spec("sheared", law="additive", discrepancy=["walk", "local"], pooling={"default": "none"})
    with jax.enable_x64(True):
        points = design(spec, runs)
        points, _ = blocked(points, layout([points]))
        begin = initial(points, spec=spec)
        flat = flatten(spec, points, begin)
        white = 0.3 * jax.random.normal(jax.random.key(1), flat.scale.shape)

        def natural(white):
            sites = flat.constrain(white)
            logs = [value if name == COORDINATES else jnp.log(value - (name == "nu")) for name, value in sites.items()]
            return jnp.concatenate([jnp.ravel(value) for value in logs])

        moved = natural(white) - natural(jnp.zeros_like(white))
        assert np.abs(moved).max() > 0.1
        _, volume = np.linalg.slogdet(jax.jacobian(natural)(white))
        assert volume == pytest.approx(float(jnp.sum(jnp.log(flat.scale))), abs=1e-8)
        # The same point of the model, reached by the coordinates of another beginning, has the same density.
        other = flatten(spec, points, flat.constrain(white), flat.scale)
        assert other.potential(jnp.zeros_like(white)) == pytest.approx(float(flat.potential(white)), rel=1e-10)


def test_an_unknown_discrepancy_is_named():
    with pytest.raises(bs.BayescaleError, match="no part of discrepancies"):
        bs.make_spec("x", law="additive", discrepancy="grwth")


def test_a_discrepancy_named_twice_or_without_two_inputs_is_refused():
    with pytest.raises(bs.BayescaleError, match="twice"):
        bs.make_spec("x", law="additive", discrepancy=["walk", "walk"])
    with pytest.raises(bs.BayescaleError, match="two inputs"):
        bs.make_spec("x", law="power-floor", inputs=["flops"], discrepancy=["walk"])


@pytest.mark.slow
def test_a_law_of_compute_alone_takes_errors_of_groups_and_of_near_runs(chinchilla):
    runs = chinchilla.where(exclusion="")
    content = {"law": "power-floor", "inputs": ["flops"], "pooling": {"default": "none"}}
    fit = bs.fit(runs, bs.make_spec("x", **content, discrepancy=["group"]), seed=0, draws=500)
    assert fit.converged
    effect = fit.posterior[COORDINATES].isel(family=0).std(("chain", "draw"))
    assert float(effect.min()) < 0.8  # of a standard Normal: runs of a budget say what theirs is
    near = design(bs.make_spec("x", **content, discrepancy=["local"]), runs).basis["local"]
    dearest = np.argsort(runs["flops"])[[-1, -2, 0]]
    shared = near @ near.T
    assert shared[dearest[0], dearest[1]] > 2 * shared[dearest[0], dearest[2]]
