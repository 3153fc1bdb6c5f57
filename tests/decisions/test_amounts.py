"""Amounts: what may be written, what it means, and joint draws of several."""

from __future__ import annotations

import numpy as np
import pytest

from bayescale.core.errors import QueryError
from bayescale.decisions.amounts import Amount, amount, drawn

N = 20_000


@pytest.mark.parametrize(
    ("text", "mean", "sd", "support"),
    [
        (2.95, 2.95, 0.0, (2.95, 2.95)),
        ("70B", 7e10, 0.0, (7e10, 7e10)),
        ("lognormal(2.95, 0.35)", 2.95 * np.exp(0.35**2 / 2),
         2.95 * np.exp(0.35**2 / 2) * np.sqrt(np.expm1(0.35**2)), (0.0, np.inf)),
        ("LogNormal( 1T , 0.5 )", 1e12 * np.exp(0.125), 1e12 * np.exp(0.125) * np.sqrt(np.expm1(0.25)), (0.0, np.inf)),
        ("beta(0.40, 0.06)", 0.40, 0.06, (0.0, 1.0)),
        ("normal(3, 0.5)", 3.0, 0.5, (-np.inf, np.inf)),
        ("uniform(2, 4)", 3.0, 2 / np.sqrt(12), (2.0, 4.0)),
    ],
)  # fmt: skip
def test_an_amount_is_the_distribution_that_it_names(text, mean: float, sd: float, support: tuple) -> None:
    found = amount(text)
    draws = found.draws(N, seed=1)
    assert found.mean == pytest.approx(mean, rel=1e-12)
    assert found.support == support
    assert draws.shape == (N,)
    # The error of independent draws bounds that of stratified ones; the SD's is larger for the heavy tail of 0.5.
    assert draws.mean() == pytest.approx(mean, abs=3 * sd / np.sqrt(N) + 1e-12 * mean)
    assert draws.std() == pytest.approx(sd, rel=5 * np.sqrt(3 / N), abs=1e-12 * mean)
    assert found.fixed == (sd == 0)
    assert amount(str(found)) == found
    assert amount(found) is found


def test_a_median_and_the_sd_of_the_log_make_a_lognormal() -> None:
    price = amount("lognormal(2.95, 0.35)")
    assert price.quantile([0.5, 0.8413447460685429]) == pytest.approx([2.95, 2.95 * np.exp(0.35)])
    assert np.log(price.draws(N)).std() == pytest.approx(0.35, rel=5 / np.sqrt(2 * N))


def test_draws_are_one_from_each_part() -> None:
    draws = amount("uniform(0, 1)").draws(100, seed=3)
    assert sorted(np.floor(draws * 100)) == list(range(100))
    assert not (np.diff(draws) > 0).all()


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("many", "expected:"),
        ("", "expected:"),
        (None, "expected:"),
        (True, "expected:"),
        (float("nan"), "finite"),
        ("1e999", "finite"),
        ("lognormal(2.95)", "give 2 finite numbers"),
        ("lognormal(1,000, 0.3)", "give 2 finite numbers"),
        ("lognormal(2.95, 0.35) + 1", "expected:"),
        ("lognormal(two, 0.35)", "expected:"),
        ("lognormal(-1, 0.35)", "positive median"),
        ("lognormal(1, 0)", "positive median"),
        ("beta(0.4, 0.6)", "SD below the root"),
        ("beta(40, 6)", "mean between 0 and 1"),
        ("beta(0.4, 1e-10)", "not below 1e-06"),
        ("lognormal(1, 10.1)", "positive SD of at most 10"),
        ("normal(3, -1)", "positive SD"),
        ("1e41", "1e-40 to 1e+40"),
        ("-1e41", "1e-40 to 1e+40"),
        ("-1e-41", "1e-40 to 1e+40"),
        ("normal(0, 1e-320)", "1e-40 to 1e+40"),
        ("uniform(4, 2)", "low below high"),
        ("logormal(1, 0.3)", "did you mean 'lognormal'"),
        ("__import__(os, 1)", "expected:"),
        ("exp(1, 2)", "choose one of"),
        ("number(2)", "choose one of"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_says_what_can(text, hint: str) -> None:
    with pytest.raises(QueryError) as error:
        amount(text)
    assert hint in str(error.value)
    assert "lognormal(median, SD of the log)" in str(error.value)


def test_an_amount_is_checked_however_it_is_made() -> None:
    with pytest.raises(QueryError):
        Amount("cauchy", (0.0, 1.0))
    with pytest.raises(QueryError):
        Amount("uniform", (1.0, 0.0))


@pytest.mark.parametrize("text", ["lognormal(1e40, 10)", "lognormal(1e-40, 10)", "beta(0.5, 0.49999999)",
                                  "beta(1e-6, 1e-6)", "normal(0, 1e40)", "uniform(-1e40, 1e40)"])  # fmt: skip
def test_squares_of_the_widest_figures_are_finite(text: str) -> None:
    found = amount(text)
    assert np.isfinite(found.draws(N) ** 2).all()
    assert np.isfinite(found.mean**2)


def test_a_figure_more_leaves_the_draws_of_the_others() -> None:
    few = {"price": amount("lognormal(2.95, 0.35)"), "utilisation": amount("beta(0.4, 0.06)")}
    more = {"demand": amount("lognormal(1T, 1)"), **few, "overhead": amount(1.15)}
    first, second = drawn(few, N, seed=7), drawn(more, N, seed=7)
    assert list(second) == list(more)
    for name in few:
        np.testing.assert_array_equal(first[name], second[name])
    assert (second["overhead"] == 1.15).all()
    assert not np.array_equal(first["price"], drawn(few, N, seed=8)["price"])


def test_figures_are_independent_of_each_other() -> None:
    """Rank correlations of independent draws have an SD of 1/√(n - 1)."""
    same = amount("uniform(0, 1)")
    draws = np.array(list(drawn(dict.fromkeys(("price", "prices", "count", "peak"), same), N, seed=0).values()))
    between = np.corrcoef(draws)[np.triu_indices(4, 1)]
    assert np.abs(between).max() < 4 / np.sqrt(N)
