"""Surfaces of the loss: interpolation, inversion and minima, against closed forms."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from known import SARDANA, known_fit

import bayescale as bs
from bayescale.core.errors import QueryError
from bayescale.core.quantities import LEAST, MOST
from bayescale.decisions import surface as surfaces
from bayescale.decisions.surface import (
    MOST_DRAWS,
    Surface,
    budget_of,
    check_law,
    draws_of,
    frontier,
    interpolate,
    losses,
    minimise,
    noise,
    others_of,
    recipe_of,
    sizes_around,
    surface,
)
from bayescale.modelling.sites import LAW, LOG_LOSS

FINE = 1e-6  # relative error of the polynomials on grids of the size that decisions use
X = np.linspace(0, 1, 11)
TIMES = 3.0  # as large is the noise of family b as that of a
ITEMS, CHANCE = 1000.0, 0.25


def test_a_polynomial_of_degree_five_is_interpolated_exactly_and_beyond_the_edges_too() -> None:
    at = np.array([-0.07, 0.0, 0.031, 0.5, 0.987, 1.0, 1.06])
    values = np.broadcast_to(X**5 - 2 * X**3 + 1, (len(at), len(X)))
    assert interpolate(X, values, at) == pytest.approx(at**5 - 2 * at**3 + 1, abs=1e-12)


@pytest.mark.parametrize(("at", "first"), [(0.43, 2), (0.48, 2), (0.51, 3), (0.04, 0), (0.97, 5)])
def test_the_six_nearest_points_are_read(at: float, first: int) -> None:
    """The weight of a point is what is read off a function that is one there and zero elsewhere."""
    weights = interpolate(X, np.eye(len(X)), np.full(len(X), at))
    assert np.flatnonzero(np.abs(weights) > 1e-12).tolist() == [*range(first, first + 6)]


def test_a_minimum_between_the_points_is_exact_and_one_at_the_edge_is_found() -> None:
    x = np.linspace(-3, 3, 61)
    centre = np.array([-0.987654, 0.0, 2.91, 7.0, -3.5])[:, None]
    at, least = minimise(x, np.cosh(x - centre))
    assert at[:3] == pytest.approx(centre[:3, 0], abs=FINE)
    assert least[:3] == pytest.approx(1.0, abs=1e-8)
    assert at[3:] == pytest.approx([3.0, -3.0], abs=FINE)


def test_the_minimum_of_a_quartic_is_exact_on_grids_of_their_own() -> None:
    """Between points, in the first step and in the last."""
    grids = np.array([[1.0], [2.0], [10.0]]) * X + np.array([[-0.38], [-0.03], [-9.9]])
    values = grids**4 + 0.5 * grids**3 + 2 * grids**2 + 1.25  # least at 0, and curved upwards everywhere
    at, least = minimise(grids, values)
    assert at == pytest.approx(0.0, abs=1e-12)
    assert least == pytest.approx(1.25, abs=1e-12)
    pages = np.stack([values, values + 1.0])  # as for draws, budgets and sizes
    assert minimise(grids, pages)[1] == pytest.approx(np.array([[1.25] * 3, [2.25] * 3]), abs=1e-12)


def test_a_curve_that_bends_down_is_least_at_an_end_of_its_grid() -> None:
    at, least = minimise(X, np.array([np.sqrt(1 + X), np.sqrt(2 - X)]))
    assert at == pytest.approx([0.0, 1.0], abs=1e-12)
    assert least == pytest.approx(1.0, abs=1e-12)


def falling(x: np.ndarray) -> Surface:
    """Three curves of one draw that fall, each faster than the one before."""
    return Surface(np.zeros(3), x, np.exp(-np.array([[[0.5], [1.0], [2.0]]]) * x))


def test_the_tokens_of_a_loss_reach_it_in_every_step_of_the_grid() -> None:
    x = np.linspace(1.0, 3.0, 21)
    for exact in np.linspace(1.001, 2.999, 40):
        curves = falling(x)
        wanted = curves.at(np.asarray(exact))
        assert curves.tokens_for(wanted) == pytest.approx(np.full((1, 3), exact), abs=1e-10)


def test_a_loss_that_was_passed_needs_the_first_tokens_and_one_beyond_the_grid_cannot_be_had() -> None:
    curves = falling(np.linspace(1.0, 3.0, 21))
    first, last = curves.log_loss[..., 0], curves.log_loss[..., -1]
    assert (curves.tokens_for(1.001 * first) == 1.0).all()
    assert (curves.tokens_for(first) == 1.0).all()
    assert curves.tokens_for(1.001 * last) == pytest.approx(3.0, abs=0.01)
    assert np.isinf(curves.tokens_for(0.999 * last)).all()


def test_a_loss_that_is_passed_twice_is_reached_the_first_time() -> None:
    x = np.linspace(0.0, 10.0, 201)
    wave = Surface(np.zeros(1), x, np.cos(x)[None, None])
    assert wave.tokens_for(np.asarray(0.0)) == pytest.approx(np.pi / 2, abs=FINE)


@pytest.mark.parametrize("said", [0, -1.0, np.nan, np.inf, 0.999 * LEAST, 1.001 * MOST, "much", None])
def test_a_budget_that_cannot_be_is_refused(said: object) -> None:
    with pytest.raises(QueryError, match=r"(?s)not a plausible number of FLOP.*1 to 1e\+40 FLOP") as refused:
        budget_of(said)
    assert f"got:      {said!r}" in str(refused.value)


@pytest.mark.parametrize(("said", "flops"), [("5.76e23", 5.76e23), (1e21, 1e21), (LEAST, LEAST), (MOST, MOST)])
def test_a_budget_is_read(said: float | str, flops: float) -> None:
    assert budget_of(said) == flops


@pytest.mark.parametrize(
    ("chains", "length", "count"),
    [(4, 500, 2000), (4, 501, 1004), (4, 1000, 2000), (3, 1000, 1500), (2, 7000, 2000), (1, 1, 1), (4, 250, 1000)],
)
def test_draws_are_thinned_within_chains(chains: int, length: int, count: int) -> None:
    assert draws_of(SimpleNamespace(shape=(chains, length))) == count <= MOST_DRAWS


@pytest.mark.parametrize(
    ("law", "columns", "says"),
    [(None, ("params", "tokens"), "'one' has no law"), ("kaplan", ("params", "loss"), "'both' reads params, loss")],
)
def test_a_decision_needs_a_law_of_params_and_tokens(law: str | None, columns: tuple[str, ...], says: str) -> None:
    members = {"other": SimpleNamespace(spec=SimpleNamespace(law="additive")),
               "one": SimpleNamespace(spec=SimpleNamespace(law=law))}  # fmt: skip
    with pytest.raises(QueryError, match=f"(?s)needs a law of params and tokens.*{says}.*fit additive"):
        check_law(SimpleNamespace(name="both", members=members, columns=columns))


def drawn(families: str, response: dict[str, str], **sites: float) -> bs.Fit:
    """Draws for families with a covariate and a score, as if they had been fitted."""
    params, ratio = (x.ravel() for x in np.meshgrid(np.geomspace(3e7, 3e9, 5), [5, 20, 80, 320], indexing="ij"))
    odd, rising = np.arange(len(params)) % 2, np.linspace(0.3, 0.7, len(params))
    table = pd.DataFrame({"params": params, "tokens": params * ratio, "curated": odd, "n_items": ITEMS - 100 * odd,
                          "n_correct": (rising * ITEMS).round(), "chance": CHANCE, "brier": rising[::-1]})  # fmt: skip
    table["loss"] = 1.8 + 480 * table["params"] ** -0.35 + 2100 * table["tokens"] ** -0.37
    spec = bs.make_spec("drawn", law="additive", responses={"loss": "gaussian", **response},
                        pooling={"default": "none"}, covariates={"curated": ["tokens"]})  # fmt: skip
    values = {"level": 1.0, "ratio_A": 0.2, "ratio_B": 0.2, "alpha_N": 0.35, "beta_D": 0.37, "sigma": 0.01,
              "gain_curated_tokens": 0.4, **sites}  # fmt: skip
    rng, shape = np.random.default_rng(0), (4, 250, len(families))[: 2 + (len(families) > 1)]
    draws = {name: at * np.exp(0.01 * rng.standard_normal(shape)) for name, at in values.items()}
    if len(families) > 1:
        draws["sigma"][..., 1] = TIMES * draws["sigma"][..., 0]
    runs = pd.concat([table.assign(family=family) for family in families], ignore_index=True)
    return bs.Fit.from_samples(draws, spec, bs.load_runs(runs, loss_unit="nats", name="made"))


@pytest.fixture(scope="module")
def two() -> bs.Fit:
    return drawn("ab", {"brier": "gaussian-real"}, hardness=0.5, steepness=3.0, scatter=0.02)


@pytest.fixture(scope="module")
def accurate() -> bs.Fit:
    return drawn("a", {"accuracy": "binomial"}, midpoint=2.7, width=0.15, ceiling=0.9)


def asked(families: str, **columns: object) -> pd.DataFrame:
    return pd.DataFrame({"family": [*families], "params": 1e9, "tokens": 1e11, "curated": 0.0, **columns})


def test_the_noise_of_families_has_one_source_and_scales_of_their_own(two: bs.Fit) -> None:
    actions = asked("abab", params=[1e9, 1e9, 1e10, 1e10])
    drawn = np.log(losses(two, actions, "run") / losses(two, actions))
    assert drawn[:, 2:] == pytest.approx(drawn[:, :2], abs=1e-12)
    assert drawn[:, 1] == pytest.approx(TIMES * drawn[:, 0], abs=1e-12)
    assert drawn[:, 0].std() == pytest.approx(0.01, rel=0.1)  # four standard errors of a thousand draws


def test_the_noise_is_that_of_the_middle_of_the_actions(two: bs.Fit) -> None:
    a, b = (noise(two, asked(family)) for family in "ab")
    assert (noise(two, asked("aabaa")) == b).all()
    assert (noise(two, asked("bbabb")) == a).all()


def test_runs_of_other_numbers_have_other_noise(two: bs.Fit) -> None:
    first, again, second = (noise(two, asked("a"), run=run) for run in (0, 0, 1))
    assert (first == again).all()
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(len(first))
    law, *runs = (losses(two, asked("a"), scope, run=run)[:, 0] for scope, run in (("law", 0), ("run", 0), ("run", 1)))
    for drawn, run in zip((first, second), runs, strict=True):
        assert np.log(run / law) == pytest.approx(drawn, abs=1e-12)


def test_fewer_draws_are_used_where_fewer_are_asked_for(two: bs.Fit) -> None:
    assert draws_of(two) == 1000
    for scope in ("law", "run"):
        assert losses(two, asked("a"), scope, most=999).shape == (500, 1)


def test_the_noise_of_a_score_is_its_own_and_none_where_it_is_not_observed(two: bs.Fit) -> None:
    luck = noise(two, asked("a"), "brier")
    assert luck.std() == pytest.approx(0.02, rel=0.1)
    assert abs(luck.mean()) < 4 * 0.02 / np.sqrt(len(luck))
    assert noise(two, asked("a"), "accuracy").tolist() == [0.0] * len(luck)


@pytest.fixture(scope="module")
def law(chinchilla_fit: bs.Fit) -> dict[str, np.ndarray]:
    """E, A, B and the exponents of the draws that decisions use; each of shape (draw, 1)."""
    names = ("E", "A", "B", "alpha_N", "beta_D")
    return {name: chinchilla_fit.posterior[name].to_numpy()[:, ::2].reshape(-1, 1) for name in names}


def loss(law: dict[str, np.ndarray], params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    return law["E"] + law["A"] * params ** -law["alpha_N"] + law["B"] * tokens ** -law["beta_D"]


@pytest.fixture
def grid(chinchilla_fit: bs.Fit):
    return surface(chinchilla_fit, np.log([1e9, 7e9, 49e9]), np.linspace(np.log(1e9), np.log(1e14), 64),
                   {"family": "Chinchilla"})  # fmt: skip


def test_a_loss_between_the_points_is_the_laws(grid, law) -> None:
    tokens = np.exp(np.linspace(np.log(2e9), np.log(5e13), len(law["E"])))[:, None]
    exact = loss(law, np.array([1e9, 7e9, 49e9]), tokens)
    assert np.exp(grid.at(np.log(tokens))) == pytest.approx(exact, rel=FINE)


def test_the_tokens_of_a_loss_are_the_laws_and_infinite_below_its_asymptote(grid, law) -> None:
    params = np.array([1e9, 7e9, 49e9])
    wanted = loss(law, 7e9, 1e12)
    rest = wanted - law["E"] - law["A"] * params ** -law["alpha_N"]
    with np.errstate(invalid="ignore"):
        exact = np.where(rest > 0, (law["B"] / np.where(rest > 0, rest, np.nan)) ** (1 / law["beta_D"]), np.inf)
    found = np.exp(grid.tokens_for(np.log(wanted)))
    assert found[:, 1] == pytest.approx(1e12, rel=FINE)
    reached = exact < 1e14
    assert (np.isinf(found) == ~reached).all()
    assert not reached[:, 0].all()  # the smallest never gets there
    assert found[reached] == pytest.approx(exact[reached], rel=10 * FINE)  # flat near the asymptote


def test_a_run_has_one_noise_for_all_actions(chinchilla_fit: bs.Fit) -> None:
    actions = pd.DataFrame({"params": [1e9, 1e10, 1e11], "tokens": 1e12, "family": "Chinchilla"})
    law, run = (losses(chinchilla_fit, actions, scope) for scope in ("law", "run"))
    ratio = run / law  # this model has no discrepancy
    assert ratio[:, 0] == pytest.approx(ratio[:, 1], rel=1e-12)
    drawn = noise(chinchilla_fit, actions)
    assert np.log(ratio[:, 0]) == pytest.approx(drawn, abs=1e-12)
    sigma = float(chinchilla_fit.posterior["sigma"].mean())
    # Half of Student's t with the posterior's 1.6 degrees of freedom lies within 0.7 to 0.85 scales of its centre.
    assert 0.6 * sigma < np.median(np.abs(drawn)) < 1.0 * sigma


def test_a_recipe_of_a_model_without_covariates_says_that_there_are_none(chinchilla_fit: bs.Fit) -> None:
    with pytest.raises(QueryError, match="expected: no covariate, as the model reads none"):
        recipe_of(chinchilla_fit, {"experts": 8.0})


@pytest.mark.parametrize(("recipe", "says"), [
    ({"curate": 1.0}, r"'drawn' has no covariate 'curate'(?s:.*)one of: curated, chance, n_items(?s:.*)mean 'curated'"),
    ({"curated": np.nan}, r"'curated' of a recipe(?s:.*)a finite number(?s:.*)nan"),
    ({"curated": "1"}, r"'curated' of a recipe(?s:.*)a finite number(?s:.*)'1'"),
    ({"chance": -0.01}, r"'chance' of a recipe(?s:.*)a number from 0 to 0.99"),
    ({"chance": 0.991}, r"'chance' of a recipe(?s:.*)a number from 0 to 0.99"),
])  # fmt: skip
def test_a_recipe_that_cannot_be_is_refused(accurate: bs.Fit, recipe: dict, says: str) -> None:
    with pytest.raises(QueryError, match=says):
        recipe_of(accurate, recipe)


def test_a_recipe_has_every_covariate_and_what_is_given(accurate: bs.Fit) -> None:
    assert recipe_of(accurate, {}) == {"curated": 0.0}
    assert recipe_of(accurate, {"curated": -1}) == {"curated": -1.0}
    assert recipe_of(accurate, {"chance": 0}) == {"curated": 0.0, "chance": 0.0}
    assert recipe_of(accurate, {"chance": 0.99, "n_items": 7}) == {"curated": 0.0, "chance": 0.99, "n_items": 7.0}


def test_a_query_has_the_family_the_recipe_and_what_its_response_needs(accurate: bs.Fit, two: bs.Fit) -> None:
    assert others_of(two, "b") == {"family": "b", "curated": 0.0}
    assert others_of(two, "a", {"curated": 1.0}, "no response") == {"family": "a", "curated": 1.0}
    usual = {"family": "a", "curated": 0.0, "chance": CHANCE}  # of its items, the runs have several numbers
    assert others_of(accurate) == usual
    assert others_of(accurate, "a", {"n_items": 7.0}, "accuracy") == usual | {"n_items": 7.0}
    with pytest.raises(QueryError, match=r"(?s)'accuracy' needs 'n_items', which differs.*--recipe n_items"):
        others_of(accurate, response="accuracy")


@pytest.fixture(scope="module")
def sardana(chinchilla: bs.Runs) -> bs.Fit:
    return known_fit(chinchilla, "additive", SARDANA)


def test_sizes_lie_around_the_path_of_equal_growth(sardana: bs.Fit) -> None:
    anchor = sardana.meta["anchor"]
    flops = 6 * anchor["params"] * anchor["tokens"] * np.array([1.0, 100.0])
    sizes = np.exp(sizes_around(sardana, flops, 5, 0.5))
    relative = sizes / (anchor["params"] * np.array([[1.0], [10.0]]))
    assert relative == pytest.approx(np.tile(10.0 ** np.array([-0.5, -0.25, 0, 0.25, 0.5]), (2, 1)), rel=1e-12)


def test_the_frontier_of_one_law_is_its_closed_form(sardana: bs.Fit) -> None:
    e, a, b, alpha, beta = (SARDANA[name] for name in ("E", "A", "B", "alpha", "beta"))
    flops = np.array([1e21, 1e24])
    best = (alpha * a / (beta * b)) ** (1 / (alpha + beta)) * (flops / 6) ** (beta / (alpha + beta))
    params, found = frontier(sardana, flops, {"family": "Chinchilla"})
    assert params == pytest.approx(best, rel=1e-5)
    exact = e + a * params**-alpha + b * (flops / (6 * params)) ** -beta
    assert found == pytest.approx(np.tile(exact, (1000, 1)), rel=1e-7)  # draws are spread by 1e-9


def test_the_frontier_has_the_least_expected_loss_and_its_noise_if_asked(chinchilla_fit: bs.Fit) -> None:
    flops, fixed = np.array([1e22, 1e26]), {"family": "Chinchilla"}
    params, law = frontier(chinchilla_fit, flops, fixed)
    for times in (0.97, 1.03):
        beside = losses(chinchilla_fit, surfaces._splits(flops, times * params[:, None], fixed))
        assert (beside.mean(axis=0) > law.mean(axis=0)).all()
    for run in (0, 1):
        same, noisy = frontier(chinchilla_fit, flops, fixed, "run", run=run)
        assert (same == params).all()
        luck = noise(chinchilla_fit, pd.DataFrame({"params": params[1:], "tokens": 1e12, **fixed}), run=run)
        assert np.log(noisy / law) == pytest.approx(np.tile(luck[:, None], (1, 2)), abs=1e-12)
        if run == 0:
            assert (frontier(chinchilla_fit, flops, fixed, "run")[1] == noisy).all()


def test_splits_spend_their_budgets_and_repeat_nothing() -> None:
    table = surfaces._splits(np.array([6e20, 6e21]), np.array([[1e9, 1e10], [1e9, 2e9]]), {"family": "f", "curated": 1})
    assert table["params"].tolist() == [1e9, 1e10, 1e9, 2e9]
    assert table["flops"].tolist() == [6e20, 6e20, 6e21, 6e21]
    assert table["tokens"].to_numpy() == pytest.approx([1e11, 1e10, 1e12, 5e11])
    assert (table["unique_tokens"] == table["tokens"]).all()
    assert (table["family"] == "f").all()
    assert (table["curated"] == 1).all()


def test_a_surface_of_runs_has_the_noise_of_the_longest_run_of_the_middle_size(two: bs.Fit, monkeypatch) -> None:
    said: list[pd.DataFrame] = []
    monkeypatch.setattr(surfaces, "noise", lambda fit, actions: said.append(actions) or noise(fit, actions))
    sizes, lengths = np.log([1e8, 1e9, 1e10]), np.linspace(np.log(1e9), np.log(1e12), 8)
    fixed = others_of(two, "b")
    law, run = (surface(two, sizes, lengths, fixed, scope).log_loss for scope in ("law", "run"))
    assert law.shape == (1000, 3, 8)
    assert np.exp(law[:, 2, 7]) == pytest.approx(losses(two, pd.DataFrame([{"params": 1e10, "tokens": 1e12, **fixed}])
                                                        )[:, 0], rel=1e-12)  # fmt: skip
    (asked_for,) = said
    assert asked_for[["params", "tokens", "unique_tokens"]].to_numpy() == pytest.approx(np.array([[1e9, 1e12, 1e12]]))
    luck = noise(two, asked("b"))
    assert run - law == pytest.approx(np.broadcast_to(luck[:, None, None], law.shape), abs=1e-12)


def test_a_run_has_the_errors_of_the_law_and_the_law_alone_has_not(monkeypatch) -> None:
    """With ready predictions: a law of e to the 1, and errors of a quarter; the noise of each family is another."""
    level, luck = {LAW: 1.0, LOG_LOSS: 1.25}, {"a": 0.01, "b": 0.02}
    monkeypatch.setattr(surfaces, "predict", lambda fit, at, *, only, most: np.full((5, len(at)), level[only]))
    monkeypatch.setattr(surfaces, "noise", lambda fit, at, **_: np.full(5, luck[at["family"].iloc[0]]))
    law, run = (np.log(losses(None, asked("aba"), scope)) for scope in ("law", "run"))
    assert law == pytest.approx(np.full((5, 3), 1.0))
    assert run == pytest.approx(np.tile([1.26, 1.27, 1.26], (5, 1)))
    law, run = (surface(None, np.zeros(2), np.zeros(3), {"family": "b"}, scope).log_loss for scope in ("law", "run"))
    assert law == pytest.approx(np.full((5, 2, 3), 1.0))
    assert run == pytest.approx(np.full((5, 2, 3), 1.27))
