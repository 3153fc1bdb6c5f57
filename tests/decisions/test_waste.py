"""The range of sizes that waste little: one range, around the size that is most likely to."""

from __future__ import annotations

import numpy as np
import pytest

from bayescale.decisions.waste import BELOW, safe_range, wasted, why_care, why_unsettled

LN_PARAMS = np.log(np.geomspace(1e9, 1e10, 11))


def range_of(probabilities: list[float]) -> tuple[float, float]:
    """The safe range if each size wastes under 1% in this share of ten draws."""
    waste = np.array([[0.0 if draw < 10 * p else 0.5 for p in probabilities] for draw in range(10)])
    return safe_range(LN_PARAMS, waste)


@pytest.mark.parametrize(
    ("probabilities", "first", "last"),
    [
        ([0.0] * 3 + [0.5, 0.9, 0.6, 0.5] + [0.4] * 4, 3, 6),
        ([0.6] * 2 + [0.2] * 2 + [0.7, 0.9, 0.5] + [0.0] * 4, 4, 6),  # two ranges: the sizes between them waste more
        ([0.5] * 11, 0, 10),
        ([0.9] + [0.0] * 10, 0, 0),
        ([0.0] * 10 + [0.9], 10, 10),
    ],
)
def test_every_size_of_the_safe_range_wastes_little_in_half_of_the_draws(
    probabilities: list[float], first: int, last: int
) -> None:
    assert np.log(range_of(probabilities)) == pytest.approx(LN_PARAMS[[first, last]])


def test_without_a_size_that_wastes_little_in_half_of_the_draws_there_is_no_safe_range() -> None:
    assert np.isnan(range_of([0.4] * 11)).all()


def test_the_waste_of_a_loss_is_the_compute_beyond_what_the_best_split_needs_for_it() -> None:
    """Two draws of least losses that are straight lines over log compute, so that every budget is known exactly."""
    ln_budget = np.log(10) * np.array(BELOW)
    assert (np.diff(ln_budget) > 0).all()
    assert ln_budget[-1] == 0.0
    slopes = np.array([0.1, 0.2])
    least = 2 - slopes[:, None] * ln_budget
    shares = np.array([1.0, 0.8, 0.5, 0.03])  # of the budget, that would do
    waste = wasted(2 - slopes[:, None] * np.log(shares), least, ln_budget)
    np.testing.assert_allclose(waste, np.tile(1 / shares - 1, (2, 1)), atol=1e-12)
    np.testing.assert_allclose(wasted(np.full((2, 1), 9.0), least, ln_budget), 99.0)


def test_a_split_needs_care_if_it_may_waste_more_than_the_tolerance_on_average_or_in_one_draw_of_twenty() -> None:
    ratio, few = {"q05": 12.0, "q95": 31.0}, np.zeros(100)
    assert why_care(ratio, np.full(100, 0.05)) == ""
    said = (
        "the best ratio is 12 to 31 tokens per param (90% interval), and the choice may waste {}% of compute, over the "
        "tolerance of 5%"
    )
    assert why_care(ratio, np.full(100, 0.062)) == said.format("6.2")
    few[:6] = 0.3  # 1.8% on average
    assert why_care(ratio, few) == said.format(30)
    few[:6] = 0.0
    few[0] = 7.0  # in 1 of 100 draws
    assert why_care(ratio, few) == said.format(7)


def test_a_split_is_not_settled_if_it_wastes_half_or_its_ratio_is_known_to_a_factor_of_thirty() -> None:
    assert why_unsettled({"q05": 2.0, "q95": 60.0}, 0.5) == ""
    of_waste, of_ratio = "expected waste is 51% of compute", "the 90% interval of tokens per param spans a factor of 32"
    assert why_unsettled({"q05": 2.0, "q95": 60.0}, 0.51) == of_waste
    assert why_unsettled({"q05": 2.0, "q95": 64.0}, 0.5) == of_ratio
    assert why_unsettled({"q05": 2.0, "q95": 64.0}, 0.51) == f"{of_waste} and {of_ratio}"
    assert why_unsettled({"q05": np.nan, "q95": 64.0}, 0.0)  # a ratio that is not known is not settled
