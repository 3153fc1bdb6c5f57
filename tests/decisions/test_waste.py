"""The range of sizes that waste little: one range, around the size that is most likely to."""

from __future__ import annotations

import numpy as np
import pytest

from bayescale.decisions.waste import safe_range

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
