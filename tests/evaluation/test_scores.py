"""Scores of predictive draws by hand; mutants of the code showed what no other quick test would have found."""

from __future__ import annotations

import numpy as np
import pytest

from bayescale.evaluation.scores import scores

DRAWS = np.array([[1.0], [2.0], [3.0], [4.0], [5.0]])


def test_the_log_score_is_the_log_of_the_mean_density() -> None:
    density = np.array([[0.1], [0.2], [0.3], [0.4], [0.5]])
    found = scores(DRAWS, np.array([4.0]), np.log(density))
    assert found["log_score"].item() == pytest.approx(np.log(0.3))


def test_the_error_of_the_median_is_relative_to_what_was_observed() -> None:
    found = scores(DRAWS, np.array([4.0]), logs=False)
    assert found["are"].item() == pytest.approx(0.25)
    assert found["bias"].item() == -1.0
    assert scores(DRAWS, np.array([4.0]))["are"].item() == pytest.approx(1 - np.exp(-1))


@pytest.mark.parametrize(
    ("observed", "inside"),
    [
        (3.0, (1, 1, 1)),
        (2.0, (1, 1, 1)),
        (4.0, (1, 1, 1)),
        (4.3, (0, 1, 1)),
        (4.7, (0, 0, 1)),
        (4.9, (0, 0, 0)),
        (1.1, (0, 0, 0)),
    ],
)
def test_a_run_is_inside_the_intervals_whose_ends_are_quantiles(observed: float, inside: tuple[int, ...]) -> None:
    """Quantiles of these draws are 1 + 4 p: the ends are 2 and 4, 1.4 and 4.6, 1.2 and 4.8."""
    found = scores(DRAWS, np.array([observed]))
    assert tuple(found[[f"coverage_{level}" for level in (50, 80, 90)]].iloc[0]) == inside
    assert found["width_90"].item() == pytest.approx(3.6)


def test_a_share_that_every_draw_has_is_inside_every_interval() -> None:
    """Shares of few items have ties: the ends belong to an interval."""
    found = scores(np.full((5, 1), 0.25), np.array([0.25]), logs=False)
    assert found.filter(like="coverage").to_numpy().tolist() == [[1.0, 1.0, 1.0]]
    assert found["width_90"].item() == 0.0


def test_the_interval_score_is_the_width_and_twenty_times_the_miss() -> None:
    """Gneiting and Raftery 2007, equation 43, at a level of 0.1."""
    found = [scores(DRAWS, np.array([observed]))["interval_score_90"].item() for observed in (3.0, 5.3, 1.0)]
    assert found == pytest.approx([3.6, 3.6 + 20 * 0.5, 3.6 + 20 * 0.2])
