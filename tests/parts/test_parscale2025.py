"""Parallel streams against the figures of Chen et al. 2025, on its 48 losses.

The recipe of the point fit: least squares of the loss, for each text by itself, with the part's own formula.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
import pytest
from scipy.optimize import least_squares

import bayescale as bs
from bayescale.core.errors import SpecError
from bayescale.parts.resources.parallel import Parallel

PUBLISHED = {  # k and R² by least squares, and k as the paper prints it
    "ParScale-Pile": (0.334, 0.9988, 0.33),
    "ParScale-Stack": (0.396, 0.9979, 0.39),
}


class Point(NamedTuple):
    """Worth of streams, irreducible loss, exponent, and explained variance."""

    k: float
    floor: float
    exponent: float
    explained: float


@pytest.fixture(scope="module")
def runs() -> bs.Runs:
    return bs.load_runs("parallel")


def point_fit(runs: bs.Runs) -> Point:
    spent = {"params": np.log(runs["params"] / 1e9), "streams": np.log(runs["streams"].astype(float))}

    def predicted(logs: np.ndarray) -> np.ndarray:
        floor, coefficient, k, exponent = np.exp(logs)
        with jax.enable_x64(True):
            worth = np.asarray(Parallel.effective(spent, None, stream_worth=k)["params"])
        return floor + coefficient * np.exp(-exponent * worth)

    start = np.log([1.0, 0.5, 0.3, 0.2])
    found = least_squares(lambda logs: predicted(logs) - runs["loss"], start, xtol=1e-12, ftol=1e-12)
    floor, _, k, exponent = np.exp(found.x)
    return Point(k, floor, exponent, 1 - 2 * found.cost / np.sum((runs["loss"] - runs["loss"].mean()) ** 2))


@pytest.mark.parametrize("family", PUBLISHED)
def test_parscale_2025_the_worth_of_streams(runs: bs.Runs, family: str) -> None:
    k, explained, printed = PUBLISHED[family]
    found = point_fit(runs.where(family=family))
    assert found.k == pytest.approx(k, abs=5e-4)
    assert found.explained == pytest.approx(explained, abs=5e-5)
    assert found.k == pytest.approx(printed, abs=0.01)


def test_parscale_2025_floors_and_exponents(runs: bs.Runs) -> None:
    pile, stack = (point_fit(runs.where(family=family)) for family in PUBLISHED)
    assert (pile.floor, stack.floor) == (pytest.approx(1.291, abs=5e-4), pytest.approx(0.7085, abs=5e-4))
    assert (pile.exponent, stack.exponent) == (pytest.approx(0.196, abs=5e-4), pytest.approx(0.199, abs=5e-4))


def test_parscale_2025_eight_streams_are_worth_as_much_as_the_logarithm_says() -> None:
    with jax.enable_x64(True):
        found = Parallel.effective({"params": 0.0, "streams": np.log(8.0)}, None, stream_worth=0.334)["params"]
    assert float(np.exp(found)) == pytest.approx(1.695, abs=1e-3)


def test_a_law_of_one_input_is_of_the_resource_that_it_reads() -> None:
    parallel = {"law": "power-floor", "resources": ["parallel"]}
    assert bs.make_spec("one", inputs=["params"], **parallel).columns[:2] == ("params", "streams")
    for column in ("tokens", "flops"):
        with pytest.raises(SpecError, match="the law does not read params"):
            bs.make_spec("one", inputs=[column], **parallel)


@pytest.mark.slow
def test_parscale_2025_the_posterior_has_the_point_fit_inside(runs: bs.Runs) -> None:
    """Its residuals are of log loss, with a Student-t: constants agree within their errors."""
    fit = bs.fit(runs, "parallel", seed=0)
    assert fit.converged, fit.verdict
    for family in PUBLISHED:
        found = point_fit(runs.where(family=family))
        drawn = fit.posterior["stream_worth"].sel(family=family).to_numpy()
        assert abs(drawn.mean() - found.k) < 2 * drawn.std()
        assert drawn.std() < 0.1
