"""Figures of a law: effects, slopes, components, prior and families are those of the closed form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

import bayescale as bs
from bayescale.core.errors import QueryError
from bayescale.core.quantities import count
from bayescale.reporting.plots import effects, figures
from bayescale.reporting.plots.figures import _BLUE, _GREY, _ORANGE
from bayescale.reporting.plots.keys import STYLES

# What protanopes and deuteranopes see of linear RGB: Viénot, Brettel and Mollon 1999.
PROTANOPE = np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]])
DEUTERANOPE = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
FIGURES = (_BLUE, _ORANGE, _GREY)
MODELS = tuple(str(style["color"]) for style in STYLES)
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def lab(colour: str | np.ndarray, seen: np.ndarray) -> np.ndarray:
    rgb = np.array(to_rgb(colour))
    linear = seen @ np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = XYZ @ linear / XYZ.sum(axis=1)
    f = np.where(xyz > 0.008856, np.cbrt(np.clip(xyz, 1e-9, None)), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("seen", [np.eye(3), PROTANOPE, DEUTERANOPE], ids=["usual", "protanope", "deuteranope"])
@pytest.mark.parametrize("colours", [effects.PALETTE, FIGURES, MODELS], ids=["lines", "figures", "models"])
def test_colours_stay_apart_for_everyone(colours: tuple[str, ...], seen: np.ndarray) -> None:
    at = [lab(colour, seen) for colour in colours]
    apart = [np.linalg.norm(a - b) for i, a in enumerate(at) for b in at[:i]]
    assert min(apart) > 20  # 2.3 is just noticeable; the worst pair of matplotlib's usual colours has 7


@pytest.mark.parametrize("seen", [np.eye(3), PROTANOPE, DEUTERANOPE], ids=["usual", "protanope", "deuteranope"])
def test_budgets_differ_from_their_neighbours_for_everyone(seen: np.ndarray) -> None:
    at = [lab(colour, seen) for colour in figures.in_order(figures._MOST_BUDGETS)[:, :3]]
    assert min(np.linalg.norm(a - b) for a, b in pairwise(at)) > 10
    assert (np.diff([light for light, *_ in at]) > 0).all()  # the order is seen in grey, too


def test_no_figure_has_a_colour_that_was_not_tested() -> None:
    tested = {*effects.PALETTE, *FIGURES, *MODELS}
    for path in Path(effects.__file__).parent.glob("*.py"):
        source = path.read_text("utf-8")
        assert set(re.findall(r"#[0-9a-fA-F]{6}", source)) <= tested, path.name
        assert set(re.findall(r"""\b(?:color|c|cmap|ecolor|facecolor|edgecolor|mfc)="([a-z]\w*)\"""", source)) <= {
            "black", "white", "none", "viridis"}, path.name  # fmt: skip
        assert not re.findall(r"\btab\d|\bC\d\b|get_cmap\((?!\"viridis\")", source), path.name


def closed_form(fit: bs.Fit, params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    E, A, B, alpha, beta = (fit.posterior[name].to_numpy()[:, ::2].reshape(-1, 1)
                            for name in ("E", "A", "B", "alpha_N", "beta_D"))  # fmt: skip
    return E + A * params**-alpha + B * tokens**-beta


def test_effects_and_slopes_are_the_law(chinchilla_fit: bs.Fit) -> None:
    runs = chinchilla_fit.design_frame
    levels = np.quantile(runs["params"], [0.1, 0.5, 0.9])
    for draw, exact in (
        (effects.plot_effects, lambda n, d: closed_form(chinchilla_fit, n, d)),
        (effects.plot_slopes, lambda n, d: closed_form(chinchilla_fit, n, d) - closed_form(chinchilla_fit, n, 2 * d)),
    ):
        ax = draw(chinchilla_fit)
        lines = [line for line in ax.get_lines() if not line.get_label().startswith("_")]
        assert len(lines) == 3
        for line, level in zip(lines, levels, strict=True):
            x, y = (np.asarray(values) for values in line.get_data())
            assert y == pytest.approx(np.median(exact(level, x), axis=0), rel=1e-5)


@pytest.fixture(scope="module")
def repeated() -> bs.Fit:
    """Ready-made draws of Muennighoff's law, on runs of which some see their tokens eight times."""
    rng, cells = np.random.default_rng(0), np.meshgrid(np.geomspace(1e8, 1e10, 5), np.geomspace(2e9, 2e11, 5), [1, 8])
    params, tokens, epochs = (cell.ravel() for cell in cells)
    frame = pd.DataFrame({"params": params, "tokens": tokens, "unique_tokens": tokens / epochs, "family": "one"})
    frame["loss"] = 1.8 + 480 * params**-0.35 + 2100 * frame["unique_tokens"] ** -0.37
    spec = bs.make_spec("mine", law="additive", resources=["repetition"], pooling={"default": "none"})
    draws = {name: of.prior.median * np.exp(0.02 * rng.normal(size=(4, 250))) for name, of in spec.settings}
    return bs.Fit.from_samples(draws, spec, bs.load_runs(frame, loss_unit="nats"))


def muennighoff(fit: bs.Fit, params: float, tokens: float, unique: np.ndarray) -> np.ndarray:
    """Equations 5 and 6 of arXiv:2305.16264, with the params for which the unique tokens are compute-optimal."""
    names = ("E", "A", "B", "alpha_N", "beta_D", "R_D", "R_N")
    E, A, B, alpha, beta, of_tokens, of_params = (fit.posterior[name].to_numpy().reshape(-1, 1) for name in names)
    unique = np.minimum(unique, tokens)
    enough = np.minimum((alpha * A / (beta * B) * unique**beta) ** (1 / alpha), params)
    worth = unique * (1 + of_tokens * (1 - np.exp(-(tokens / unique - 1) / of_tokens)))
    sized = enough * (1 + of_params * (1 - np.exp(-(params / enough - 1) / of_params)))
    return E + A * sized**-alpha + B * worth**-beta


def drawn(ax: Axes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Medians of an effect, one a level."""
    return [tuple(np.asarray(values) for values in line.get_data())
            for line in ax.get_lines() if not line.get_label().startswith("_")]  # fmt: skip


@pytest.mark.parametrize("by", [None, "tokens"])
def test_an_effect_of_any_column_holds_the_others_where_the_title_says(repeated: bs.Fit, by: str | None) -> None:
    runs = repeated.design_frame
    ax = effects.plot_effects(repeated, "unique_tokens", by=by)
    by, other = (by, "params") if by else ("params", "tokens")
    held = runs[other].median()
    assert ax.get_title().endswith(f"\nat {other} {count(held, 2)}")
    levels = np.quantile(runs[by], [0.1, 0.5, 0.9])
    for (x, y), level in zip(drawn(ax), levels, strict=True):
        sizes = {by: level, other: held}
        assert y == pytest.approx(np.median(muennighoff(repeated, **sizes, unique=x), axis=0), rel=1e-6)
        assert x.min() == pytest.approx(runs["unique_tokens"].min() / 2)


def test_a_slope_of_any_column_is_what_its_doubling_saves(repeated: bs.Fit) -> None:
    runs = repeated.design_frame
    (_, (x, y), _) = drawn(effects.plot_slopes(repeated, "unique_tokens"))
    once, twice = (muennighoff(repeated, runs["params"].median(), runs["tokens"].median(), n * x) for n in (1, 2))
    assert y == pytest.approx(np.median(once - twice, axis=0), rel=1e-5, abs=1e-9)


def test_no_token_is_repeated_unless_it_is_asked_for(repeated: bs.Fit) -> None:
    ax = effects.plot_effects(repeated)
    assert ax.get_title().endswith("\nat no token repeated")
    for (x, y), level in zip(drawn(ax), np.quantile(repeated.design_frame["params"], [0.1, 0.5, 0.9]), strict=True):
        exact = [np.median(muennighoff(repeated, level, at, np.array([at]))) for at in x]
        assert y == pytest.approx(exact, rel=1e-6)


def test_components_add_up_to_the_loss(chinchilla_fit: bs.Fit) -> None:
    ax = effects.plot_components(chinchilla_fit)
    floor, sized, full = (np.asarray(line.get_ydata()) for line in ax.get_lines())
    assert floor == pytest.approx(np.median(chinchilla_fit.posterior["E"].to_numpy()[:, ::2]), rel=1e-6)
    assert (np.diff([floor, sized, full], axis=0) > 0).all()


def test_the_prior_is_wider_than_the_runs(chinchilla_fit: bs.Fit) -> None:
    ax = effects.plot_prior_predictive(chinchilla_fit)
    low, high, *_ = (np.asarray(line.get_ydata()) for line in ax.get_lines())
    losses = chinchilla_fit.design_frame["loss"]
    assert low.min() < losses.min()
    assert high.max() > losses.max()


def test_each_family_has_a_panel_of_its_own_runs(trio_fit: bs.Fit) -> None:
    figure = effects.plot_families(trio_fit).get_figure()
    assert [ax.get_title() for ax in figure.axes] == trio_fit.families
    runs = trio_fit.design_frame
    for ax, family in zip(figure.axes, trio_fit.families, strict=True):
        drawn = np.asarray(ax.collections[-1].get_offsets())[:, 1]
        assert sorted(drawn) == pytest.approx(sorted(runs["loss"][runs["family"] == family]))


def test_an_effect_of_what_the_law_does_not_read_is_refused(chinchilla_fit: bs.Fit) -> None:
    for column, by in (("flops", None), ("tokens", "flops"), ("tokens", "tokens")):
        with pytest.raises(QueryError, match=r"cannot draw effects of .*\n.*params or tokens"):
            effects.plot_effects(chinchilla_fit, column, by=by)
