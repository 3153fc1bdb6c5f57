"""Figures: what is drawn is true of the fit, and says what it leaves out."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.legend import Legend
from scipy.stats import t as student

import bayescale as bs
from bayescale.core.errors import QueryError
from bayescale.core.quantities import quantity
from bayescale.core.verdict import of_chains
from bayescale.evaluation import comparison_tables
from bayescale.evaluation.backtest import SCORES, Backtest
from bayescale.evaluation.comparison import examine
from bayescale.evaluation.comparison_tables import POPULATION
from bayescale.evaluation.sbc import RANKED, Calibration
from bayescale.prediction.predict import predict
from bayescale.reporting.plots import comparison as compared
from bayescale.reporting.plots import figures, keys
from bayescale.reporting.words import number


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def apart(pool: bs.Runs) -> bs.Fit:
    """Two families without pooling: a parameter each."""
    two = pool.where(family=["OpenLM-C4", "OpenLM-RedPajama"])
    return bs.fit(two, "additive-unpooled", seed=0)


def residuals(fit: bs.Fit, runs: pd.DataFrame) -> np.ndarray:
    return np.log(runs["loss"].to_numpy()) - np.median(predict(fit, runs, only="log_loss"), axis=0)


def points(ax: Axes) -> list[PathCollection]:
    return [found for found in ax.collections if isinstance(found, PathCollection)]


@pytest.mark.parametrize("budgets", [None, [2.6e19, 1.3e20]], ids=["the runs' own", "given"])
def test_a_run_lies_off_its_curve_by_its_residual_alone(chinchilla_fit: bs.Fit, budgets: list[float] | None) -> None:
    """Drawn where it was, a run within 1.3 times a budget strays by an SD of 0.02 nats; its residual is 0.008."""
    runs = chinchilla_fit.design_frame
    ax = figures.plot_loss(chinchilla_fit, flops=budgets)
    known = pd.DataFrame({"params": runs["params"], "residual": residuals(chinchilla_fit, runs)})
    at = budgets or figures._budgets(runs["flops"].to_numpy())
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == [f"{number(budget, 2)} FLOP" for budget in at]
    shown = 0
    for budget, drawn in zip(at, points(ax), strict=True):
        params, loss = np.asarray(drawn.get_offsets()).T
        there = pd.DataFrame({"params": params, "tokens": budget / (6 * params), "flops": budget, "loss": loss})
        found = residuals(chinchilla_fit, there.assign(family="Chinchilla"))
        for size, residual in zip(params, found, strict=True):
            near = known["residual"][known["params"] == size]
            assert np.abs(near - residual).min() < 1e-9
        shown += len(params)
    assert f"{shown} of 245 runs" in ax.get_title()


def test_the_budgets_of_a_figure_are_those_of_the_runs(chinchilla: bs.Runs) -> None:
    """The card names the IsoFLOP budgets; their runs read off the figure lie up to a sixth below them."""
    nominal = np.array([float(x) for x in set(chinchilla["group"]) if x])
    found = np.array(figures._budgets(chinchilla["flops"]))
    assert len(found) == 8
    assert (np.abs(np.log(found[:, None] / nominal)).min(axis=1) < np.log(7 / 6)).all()


def test_runs_without_budgets_of_their_own_are_shown_where_most_are_near() -> None:
    ladder = np.geomspace(1e18, 1e22, 9)
    assert len(figures._budgets(ladder)) == 5
    assert figures._budgets(np.array([1e20])) == [pytest.approx(1e20)]


def test_an_allocation_that_is_settled_marks_its_choice(chinchilla_fit: bs.Fit) -> None:
    choice = bs.decide(bs.Allocation("5.76e23"), chinchilla_fit)
    ax = figures.plot_allocation(choice)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert any(label.startswith("chosen: ") for label in labels)
    assert ax.get_title() == "Chinchilla: 5.76×10²³ FLOP"
    assert ax.get_ylim() == (0, 20)  # 1% is a twentieth of the height
    low, high = choice.band
    assert ax.get_xlim()[0] < low < high < ax.get_xlim()[1]


def test_an_axis_of_tokens_is_beside_that_of_params(chinchilla_fit: bs.Fit) -> None:
    ax = figures.plot_allocation(bs.decide(bs.Allocation("5.76e23"), chinchilla_fit))
    ax.get_figure().canvas.draw()
    (above,) = ax.child_axes
    assert above.get_xlabel().startswith("tokens")
    shown = [
        (tick.get_loc(), tick.label1.get_text() or tick.label2.get_text()) for tick in above.xaxis.get_major_ticks()
    ]
    inside = [(tokens, said) for tokens, said in shown if min(above.get_xlim()) <= tokens <= max(above.get_xlim())]
    assert len(inside) >= 2
    for tokens, said in inside:
        assert quantity(said) == pytest.approx(tokens)
        place = above.transData.transform((tokens, 0))[0]
        params = ax.transData.inverted().transform((place, 0))[0]
        assert 6 * params * tokens == pytest.approx(5.76e23)


def test_an_allocation_that_is_not_settled_is_drawn_and_says_why(chinchilla_fit: bs.Fit) -> None:
    choice = bs.decide(bs.Allocation("5.76e23"), chinchilla_fit)
    unsure = replace(choice, details=replace(choice.details, waste=choice.waste + 10.0))
    ax = figures.plot_allocation(unsure)
    assert len(ax.get_lines()) == 5  # the edges of two bands and the expected waste, and no choice
    x, y = ax.get_lines()[-1].get_data()
    assert len(x) > 10
    assert y.min() == pytest.approx(100 * unsure.waste_fraction)
    low, high = ax.get_ylim()
    assert low < y.min() < y.max() < high
    assert "not settled: expected waste is 100" in ax.get_title()


def test_a_posterior_is_of_one_family(apart: bs.Fit) -> None:
    with pytest.raises(QueryError, match="families do not share 'level'"):
        figures.plot_prior_posterior(apart, "level")
    with pytest.raises(QueryError, match="name a fitted one"):
        figures.plot_prior_posterior(apart, "level", family="OPT")
    for family in apart.families:
        ax = figures.plot_prior_posterior(apart, "level", family=family)
        mine = apart.posterior["level"].sel(family=family).to_numpy()
        edges = [bar.get_x() for bar in ax.patches]
        assert min(edges) >= mine.min()
        assert max(edges) < mine.max()
        assert ax.get_title().startswith(f"{family}: ")


def test_a_posterior_of_the_only_family_needs_no_name(chinchilla_fit: bs.Fit) -> None:
    assert figures.plot_prior_posterior(chinchilla_fit, "alpha_N").patches


def test_prior_and_posterior_are_equally_high_without_ticks_of_density(chinchilla_fit: bs.Fit) -> None:
    """On a common scale a prior lies flat on the axis under a posterior that is thirty times narrower."""
    ax = figures.plot_prior_posterior(chinchilla_fit, "alpha_N")
    (prior,) = ax.get_lines()
    assert max(bar.get_height() for bar in ax.patches) == max(prior.get_ydata()) == 1
    assert not len(ax.get_yticks())


def test_a_heavy_tail_does_not_flatten_a_posterior(apart: bs.Fit) -> None:
    ax = figures.plot_prior_posterior(apart, "nu", family="OpenLM-C4")
    draws = apart.posterior["nu"].sel(family="OpenLM-C4").to_numpy()
    high = apart.spec.at(apart.meta["anchor"]).parameters["nu"].prior.interval()[1]
    assert max(line.get_xdata().max() for line in ax.get_lines()) <= max(np.quantile(draws, 0.995), high) * 1.001


def test_each_family_has_a_panel_of_its_residuals_in_one_colour(apart: bs.Fit) -> None:
    figure = bs.plots.plot_residuals(apart).get_figure(root=True)
    assert [ax.get_title().partition("\n")[0] for ax in figure.axes] == apart.families
    runs = apart.design_frame
    away = 100 * np.expm1(residuals(apart, runs))
    for ax, family in zip(figure.axes, apart.families, strict=True):
        mine = away[(runs["family"] == family).to_numpy()]
        limit = max(ax.get_ylim())
        drawn = np.concatenate([np.asarray(c.get_offsets())[:, 1] for c in points(ax)])
        outside = np.abs(mine) > limit
        assert len(drawn) == len(mine)
        assert np.abs(drawn).max() < limit
        assert set(np.round(mine[~outside], 9)) <= set(np.round(drawn, 9))
        number = {0: "", 1: "\n1 run outside"}.get(outside.sum(), f"\n{outside.sum()} runs outside")
        assert ax.get_title().startswith(f"{family}{number}")
        assert ("outside" in ax.get_title()) == outside.any()
    assert len({tuple(points(ax)[0].get_facecolor()[0]) for ax in figure.axes}) == 1
    assert any("outside" in ax.get_title() for ax in figure.axes)


def test_the_band_of_residuals_holds_90_percent_of_the_noise(apart: bs.Fit) -> None:
    """The closed form: a mixture of Student's distributions, one a draw. The band is made of eight runs' noise or more,
    each of 4000 draws."""
    figure = bs.plots.plot_residuals(apart).get_figure(root=True)
    error = np.sqrt(0.05 * 0.95 / (8 * 4000))
    for ax, family in zip(figure.axes, apart.families, strict=True):
        sigma, nu = (apart.posterior[name].sel(family=family).to_numpy().ravel() for name in ("sigma", "nu"))
        low, high, _ = ax.get_lines()
        for edge, share in ((low, 0.05), (high, 0.95)):
            at = np.log1p(np.unique(edge.get_ydata()) / 100)
            assert student.cdf(at[:, None] / sigma, nu).mean(axis=1) == pytest.approx(share, abs=5 * error)


@pytest.mark.parametrize("name", ["plot_residuals", "plot_families"])
def test_panels_take_the_place_of_the_axes_that_they_are_given(apart: bs.Fit, name: str) -> None:
    figure, (left, right) = plt.subplots(1, 2)
    first = bs.plots.catalogue()[name](apart, ax=left)
    figure.canvas.draw()
    panels = [ax for ax in figure.axes if ax is not right]
    assert len(panels) == len(apart.families)
    assert first is panels[0]
    assert all(ax.get_window_extent().x1 < right.get_window_extent().x0 for ax in panels)


def test_exponents_of_a_new_family_are_no_other_familys(apart: bs.Fit) -> None:
    ax = compared.plot_exponents(examine({"additive-unpooled": apart}))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["optimal params, per ln FLOP"]
    assert ax.get_title().startswith("exponents: a new family\nno fitted run informs")
    assert not any(family in ax.get_title() for family in apart.families)


def test_exponents_of_a_family_are_its_own(apart: bs.Fit) -> None:
    for family in apart.families:
        found = examine({"additive-unpooled": apart}, family=family)
        ax = compared.plot_exponents(found)
        assert ax.get_title() == f"exponents: {family}"
        mine = found.coefficients[found.coefficients["family"] == family].set_index("name")["q50"]
        row = [label.get_text() for label in ax.get_yticklabels()].index("alpha_N")
        (line,) = ax.get_lines()
        assert line.get_xdata()[row] == mine["alpha_N"]


def test_exponents_of_a_new_family_are_the_populations_where_there_is_one(apart: bs.Fit) -> None:
    found = examine({"additive-unpooled": apart})
    pooled = found.coefficients.replace({"family": {"OpenLM-C4": POPULATION}})
    ax = compared.plot_exponents(replace(found, coefficients=pooled))
    assert "alpha_N" in [label.get_text() for label in ax.get_yticklabels()]
    assert ax.get_title() == "exponents: a new family, its population"


def backtested(hits: dict[float, list[float]], families: int = 1) -> Backtest:
    """A backtest whose 90% intervals held, or did not, at each reach."""
    rows = [{"reach_decades": at, "hit": hit} for at, of in hits.items() for hit in of]
    runs = pd.DataFrame(rows)
    runs = runs.assign(family=[f"family {i % families}" for i in range(len(runs))], **dict.fromkeys(SCORES[1:], 0.5))
    runs = runs.assign(coverage_50=runs["hit"], coverage_80=runs["hit"], coverage_90=runs["hit"])
    means = runs.groupby("family")[list(SCORES)].mean().reset_index().assign(n_train=9, n_test=1)
    return Backtest(means, runs, {}, dict.fromkeys(means["family"], of_chains([])), {"spec": "additive"})


HITS = {-0.1: [1.0] * 27 + [0.0] * 3, 0.3: [1.0] * 8, 1.7: [0.0]}


def bars(ax: Axes) -> list[tuple[float, float, float, float]]:
    """Middle, low end, high end and opacity of each error bar."""
    found = []
    for container in ax.containers:
        line, _, (bar,) = container.lines
        low, high = bar.get_segments()[0][:, 1]
        found.append((float(line.get_ydata()[0]), float(low), float(high), line.get_alpha()))
    return found


def drawn_coverage(kind: str) -> Axes:
    if kind == "horizons":
        return figures.plot_horizons(backtested(HITS))
    _, horizons = comparison_tables.beyond({"additive": backtested(HITS)})
    fit = SimpleNamespace(verdict=of_chains([]), converged=True)
    return compared.plot_coverage(
        SimpleNamespace(horizons=horizons, backtests={"additive": backtested(HITS)}, fits={"additive": fit})
    )


@pytest.mark.parametrize("kind", ["horizons", "coverage"])
def test_coverage_shows_its_error_in_every_bin(kind: str) -> None:
    ax = drawn_coverage(kind)
    found = bars(ax)
    assert {middle for middle, *_ in found} == {0.0, 90.0, 100.0}
    for middle, low, high, alpha in found:
        assert 0 <= low <= middle <= high <= 100
        assert high - low > 5
        assert alpha == (figures._FAINT if middle == 0 else 1)
    assert any("1 run" in t.get_text() or "1 forecast\n" in t.get_text() for t in ax.get_xticklabels())


@pytest.mark.parametrize("kind", ["horizons", "coverage"])
def test_no_line_joins_bins(kind: str) -> None:
    ax = drawn_coverage(kind)
    assert all(line.get_linestyle() == "None" or len(set(line.get_ydata())) == 1 for line in ax.get_lines())


def test_the_error_over_families_is_shown_where_it_is_larger() -> None:
    """All runs of a family hit or miss together: the binomial error of sixty runs is too small by far."""
    hits = {0.3: [1.0, 0.0] * 30}
    result = backtested(hits, families=2)
    error = 100 * result.horizons["coverage_90_se"].iloc[0]
    for middle, low, high, _ in bars(figures.plot_horizons(result)):
        assert (middle - low, high - middle) == (pytest.approx(error), pytest.approx(error))


CUTS = {("a", "50%"): (30, 27), ("a", "80%"): (8, 8), ("b", "50%"): (6, 3), ("b", "80%"): (1, 0)}
"""Forecasts of each cut, and how many of them held."""


def test_each_cut_is_a_point_with_its_error_and_the_legend_covers_none() -> None:
    rows = [{"family": family, "cut": label, "n_train": 9, "n_test": n, **dict.fromkeys(SCORES, held / n)}
            for (family, label), (n, held) in CUTS.items()]  # fmt: skip
    result = replace(backtested(HITS), families=pd.DataFrame(rows))
    ax = figures.plot_backtest(result)
    found = {}
    for label, container in zip(ax.get_yticklabels(), ax.containers, strict=True):
        (segment,) = container.lines[2][0].get_segments()
        found[label.get_text()] = (container.lines[0].get_xdata()[0], *segment[:, 0], container.lines[0].get_alpha())
    assert ax.get_legend() is None
    for (family, label), (n, held) in CUTS.items():
        ((middle, low, high, alpha),) = (
            at for said, at in found.items() if said.startswith(f"{family} {label}: {n} run")
        )
        share = held / n
        centre, half = (
            (share + 1 / (2 * n)) / (1 + 1 / n),
            np.sqrt(share * (1 - share) / n + 1 / (4 * n**2)) / (1 + 1 / n),
        )
        assert (middle, low, high) == pytest.approx(
            (100 * share, 100 * (centre - half), 100 * (centre + half)), abs=0.01
        )
        assert alpha == (figures._FAINT if n == 1 else 1)
    middle, low, high, _ = found["mean of 2 families"]
    by_family = [(27 / 30 + 1) / 2, (3 / 6 + 0) / 2]
    assert middle == pytest.approx(100 * np.mean(by_family))
    assert high - middle == pytest.approx(100 * np.std(by_family, ddof=1) / np.sqrt(2))


def test_a_backtest_of_one_family_has_one_row_and_no_mean() -> None:
    ax = figures.plot_backtest(backtested({0.3: [1.0, 0.0]}))
    assert [label.get_text()[:10] for label in ax.get_yticklabels()] == ["family 0: "]
    assert ax.get_figure().get_figheight() < 3


def mixed() -> bs.Fit:
    """Draws of a law of two domains, of which the second is of uncertain worth."""
    rng, wide = np.random.default_rng(0), (4, 250)
    spec = bs.make_spec("mixed", law="mixture-additive", fields={"mixture-additive": {"domains": ["a", "b"]}},
                        pooling={"default": "none"})  # fmt: skip
    first = rng.uniform(0.1, 0.9, 40)
    runs = pd.DataFrame({"share_a": first, "share_b": 1 - first, "params": 1e8, "tokens": 2e9, "loss": 3.0 + first})
    sites = {"level": 1.0, "power": 0.5, "sigma": 0.005, "nu": 5.0, "part_a": 2.0, "power_a": 1.0, "power_b": 1.0}
    drawn = {name: value * np.exp(1e-9 * rng.standard_normal(wide)) for name, value in sites.items()}
    worth = np.exp(0.3 * rng.standard_normal(wide))
    return bs.Fit.from_samples(drawn | {"part_b": worth}, spec, bs.load_runs(runs, loss_unit="nats"))


@pytest.fixture(scope="module")
def subjects(chinchilla_fit: bs.Fit) -> dict[str, object]:
    """What each figure is drawn of, by the name of its first argument, or by its own where the kind matters."""
    backtests = {"additive": backtested(HITS)}
    _, horizons = comparison_tables.beyond(backtests)
    ranks = pd.DataFrame({"alpha_N": np.random.default_rng(0).integers(0, RANKED + 1, 100)})
    spec = chinchilla_fit.spec
    return {
        "fit": chinchilla_fit, "spec": spec, "result": backtests["additive"],
        "plot_calibration": Calibration(spec, ranks, pd.DataFrame(), {}, {}, {}),
        "comparison": replace(examine({"additive": chinchilla_fit}), backtests=backtests, horizons=horizons),
        "choice": bs.decide(bs.Allocation("5.76e23"), chinchilla_fit),
        "plot_information": bs.decide(bs.NextRun("5.76e23", most_flops="1e20"), chinchilla_fit),
        "plot_mixture": bs.decide("mixture", mixed()), "plot_plan": bs.decide("target", chinchilla_fit, loss=2.1),
    }  # fmt: skip


@pytest.fixture(scope="module", params=bs.plots.catalogue())
def drawn(request: pytest.FixtureRequest, subjects: dict[str, object]) -> SimpleNamespace:
    """A figure of the catalogue on the left one of two axes."""
    plot = bs.plots.catalogue()[request.param]
    figure, (left, right) = plt.subplots(1, 2)
    of = subjects.get(request.param, subjects[next(iter(inspect.signature(plot).parameters))])
    ax = plot(of, ax=left)
    return SimpleNamespace(name=request.param, figure=figure, left=left, right=right, ax=ax, open=plt.get_fignums())


def test_each_figure_is_drawn_on_the_axes_that_it_is_given_and_returns_them(drawn: SimpleNamespace) -> None:
    assert drawn.ax is drawn.left
    assert drawn.ax.has_data() or drawn.ax.texts
    assert drawn.ax.get_title()
    assert not drawn.right.has_data()
    assert not drawn.right.texts
    assert drawn.open == [drawn.figure.number]  # no figure of its own


BANDED = {"plot_allocation", "plot_approaches", "plot_calibration", "plot_components", "plot_effects", "plot_forecast",
          "plot_loss", "plot_losses", "plot_optimum", "plot_overhead", "plot_prior_loss", "plot_prior_predictive",
          "plot_prior_response", "plot_regret", "plot_residuals", "plot_slopes"}  # fmt: skip


def test_every_band_has_edges(drawn: SimpleNamespace) -> None:
    """Without edges, bands are lost where they overlap, and in grey: a light area on white has a contrast of 1.3."""
    ax = drawn.ax
    bands = [found for found in ax.collections if isinstance(found, PolyCollection)]
    lines = {tuple(np.round(at, 9)) for line in ax.get_lines() for at in line.get_xydata()}
    assert bool(bands) is (drawn.name in BANDED)
    for band in bands:
        corners = {tuple(np.round(at, 9)) for at in band.get_paths()[0].vertices if at[1] >= min(ax.get_ylim())}
        assert corners <= lines


def test_runs_are_coloured_by_their_distance_from_the_best_size(chinchilla_fit: bs.Fit) -> None:
    runs = chinchilla_fit.design_frame
    best, _ = figures.near_optimal(chinchilla_fit, "Chinchilla", runs["flops"].to_numpy())
    times = dict(zip(zip(runs["flops"], runs["loss"], strict=True), np.exp(np.abs(np.log(runs["params"] / best))),
                     strict=True))  # fmt: skip
    near, middle, far = points(figures.plot_forecast(chinchilla_fit))
    step = 30 ** (1 / 30)  # of the grid of ratios, of which params move by the root
    for drawn, low, high in ((near, 1, 1.5), (middle, 1.5, 3), (far, 3, np.inf)):
        for at in drawn.get_offsets():
            assert low / step <= times[tuple(at)] <= high * step
    assert sum(len(drawn.get_offsets()) for drawn in (near, middle, far)) == len(runs)
    assert near.get_alpha() > middle.get_alpha()
    assert not len(far.get_facecolor())  # outlines alone


def test_a_curve_ends_near_the_runs_of_its_budget(apart: bs.Fit) -> None:
    """Drawn over all sizes of a family, the loss of a few FLOP at ten billion params squeezes all others."""
    ax = figures.plot_loss(apart, family="OpenLM-C4")
    runs = apart.design_frame[apart.design_frame["family"] == "OpenLM-C4"]
    curves = [line for line in ax.get_lines() if not line.get_label().startswith("_")]
    for line, drawn in zip(curves, points(ax), strict=True):
        sizes = drawn.get_offsets()[:, 0]
        sizes = sizes if len(set(sizes)) > 1 else runs["params"]
        assert line.get_xdata().min() == pytest.approx(min(sizes) / 1.5)
        assert line.get_xdata().max() == pytest.approx(max(sizes) * 1.5)


def legends(ax: Axes) -> list[Legend]:
    return ax.get_figure(root=True).findobj(Legend)


def check_legends(ax: Axes, name: str) -> None:
    """Every legend lies inside the figure, and covers no axes, no label and no other legend."""
    figure = ax.get_figure(root=True)
    figure.canvas.draw()
    found = [legend.get_window_extent() for legend in legends(ax)]
    axes = [one.get_window_extent() for one in figure.axes]
    texts = [text.get_window_extent() for one in figure.axes for axis in (one.xaxis, one.yaxis)
             for text in (axis.label, *axis.get_ticklabels()) if text.get_text()]  # fmt: skip
    for i, box in enumerate(found):
        assert not any(box.overlaps(other) for other in (*axes, *texts, *found[:i])), name
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, name
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1, name


def test_no_legend_covers_anything(chinchilla_fit: bs.Fit) -> None:
    choice = bs.decide(bs.Allocation("5.76e23"), chinchilla_fit)
    unsettled = replace(choice, details=replace(choice.details, waste=choice.waste + 10.0))
    of_fit = ("loss", "forecast", "effects", "slopes", "prior_predictive", "residuals", "approaches", "components",
              "prior_posterior")  # fmt: skip
    kinds = {name: getattr(bs.plots, f"plot_{name}")(chinchilla_fit) for name in of_fit}
    kinds |= {
        name: getattr(bs.plots, f"plot_{name}")(choice) for name in ("allocation", "regret", "optimum", "overhead")
    }
    kinds |= {name: getattr(bs.plots, f"plot_{name}")(chinchilla_fit.spec) for name in ("prior_loss", "prior_response")}
    for name, ax in kinds.items():
        check_legends(ax, name)
        assert len(legends(ax)) == (name != "residuals"), name
    plt.close("all")
    both = examine({"additive": chinchilla_fit, "the same": chinchilla_fit})
    kinds = {name: getattr(compared, f"plot_{name}")(both) for name in ("losses", "exponents", "splits")}
    kinds |= {"not settled": figures.plot_allocation(unsettled), "unknowns": bs.plots.plot_unknowns(choice)}
    kinds |= {name: drawn_coverage(name) for name in ("horizons", "coverage")}
    for name, ax in kinds.items():
        check_legends(ax, name)
        assert len(legends(ax)) == 1, name


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_legend_stays_below_its_own_axes_in_a_figure_of_two(chinchilla_fit: bs.Fit, side: str) -> None:
    _, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    mine, other = axes if side == "left" else axes[::-1]
    check_legends(figures.plot_loss(chinchilla_fit, ax=mine), side)
    assert not legends(mine)[0].get_window_extent().overlaps(other.get_window_extent())


def told_apart(ax: Axes, families: list[str]) -> None:
    """Every family has a marker of its own, and every run is drawn with that of its family."""
    named = {found.get_label(): found for found in points(ax)}
    assert set(named) == set(families)
    shapes = [
        found.get_paths()[0].vertices.tobytes() + found.get_paths()[0].codes.tobytes() for found in named.values()
    ]
    assert len(set(shapes)) == len(families)
    (key,) = (legend for legend in legends(ax) if legend.get_title().get_text())
    assert key.get_title().get_text() == f"runs of {len(families)} families"
    assert {text.get_text() for text in key.get_texts()} == set(families)


def test_a_forecast_of_a_new_family_tells_the_families_of_its_runs_apart(apart: bs.Fit) -> None:
    ax = figures.plot_forecast(apart, family="new")
    told_apart(ax, apart.families)
    check_legends(ax, "forecast")
    for drawn in points(ax):
        mine = apart.design_frame["family"] == drawn.get_label()
        assert sorted(drawn.get_offsets()[:, 1]) == sorted(apart.design_frame["loss"][mine])
    shown = np.concatenate([drawn.get_offsets()[:, 1] for drawn in points(ax)])
    assert shown.max() < ax.get_ylim()[1] < 3 * shown.max()


def test_losses_of_a_new_family_tell_the_families_of_its_runs_apart(apart: bs.Fit) -> None:
    """A colour is a model's or a family's, never both."""
    ax = compared.plot_losses(examine({"additive-unpooled": apart}))
    told_apart(ax, apart.families)
    check_legends(ax, "losses")
    of_models = {to_hex(line.get_color()) for line in ax.get_lines() if not line.get_label().startswith("_")}
    of_families = {to_hex(drawn.get_facecolor()[0]) for drawn in points(ax)}
    assert not of_models & of_families


def test_losses_of_a_family_name_it(apart: bs.Fit) -> None:
    ax = compared.plot_losses(examine({"additive-unpooled": apart}, family="OpenLM-C4"))
    (legend,) = legends(ax)
    assert "runs of OpenLM-C4" in {text.get_text() for text in legend.get_texts()}


@pytest.mark.parametrize("number", [2, 11, 14])
@pytest.mark.parametrize("models", range(7))
def test_up_to_eleven_families_have_markers_and_the_smallest_of_more_are_one(number: int, models: int) -> None:
    names = [f"family {i}" for i in range(number)]
    runs = pd.DataFrame({"family": np.repeat(names, np.arange(number, 0, -1)), "x": 1.0, "y": 2.0})
    ax = plt.subplots()[1]
    taken = [str(style["color"]) for style in keys.STYLES[:models]]
    handles = keys.scatter_families(ax, runs, "x", "y", taken)
    assert [handle.get_label() for handle in handles] == names if number < 12 else [*names[:10], "4 families more"]
    shapes = {handle.get_paths()[0].vertices.tobytes() for handle in handles}
    assert len(shapes) == len(handles) <= 11
    assert sum(len(handle.get_offsets()) for handle in handles) == len(runs)
    assert not {to_hex(handle.get_facecolor()[0]) for handle in handles} & set(taken)
