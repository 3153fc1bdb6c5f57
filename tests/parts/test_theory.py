"""Theory as prior generators: each gives the exponent of its theory, and as much uncertainty as it was given."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import zeta

import bayescale as bs
from bayescale.core.errors import SpecError

SEEDS = range(200)
SIZES = np.geomspace(300, 3e4, 12).astype(int)


def unseen_mass(a: float, seed: int) -> np.ndarray:
    """Error after n samples of features of frequency i^-(1+a) / zeta, each learned when it is first seen."""
    drawn = np.random.default_rng(seed).zipf(1 + a, SIZES[-1])
    feature, first = np.unique(drawn, return_index=True)
    mass = feature.astype(float) ** -(1 + a) / zeta(1 + a)
    return np.array([1 - mass[first < n].sum() for n in SIZES])


def slope_of(curve: np.ndarray) -> float:
    return -np.polyfit(np.log(SIZES), np.log(curve), 1)[0]


@pytest.mark.parametrize(("a", "published"), [(0.5, 0.335), (1.0, 0.500), (2.0, 0.667)])
def test_hutter_the_error_of_zipf_data_falls_by_the_exponent_of_the_prior(a: float, published: float) -> None:
    """Figures to three digits: their rounding and the curve's bend at few samples are within 0.004."""
    curves = np.stack([unseen_mass(a, seed) for seed in SEEDS])
    total, count = curves.sum(axis=0), len(curves)
    slope, *left_out = (slope_of(of) for of in (total / count, *((total - one) / (count - 1) for one in curves)))
    error = np.std(left_out) * np.sqrt(count - 1)  # jackknife
    assert error < 0.01  # the simulation says something
    assert abs(slope - published) < 4 * error + 0.004
    assert bs.exponent_from_zipf(a).median == pytest.approx(published, abs=0.004)


def test_sharma_and_kaplan_the_exponent_is_four_over_the_dimension() -> None:
    assert bs.exponent_from_dimension(20).median == pytest.approx(4 / 20)


def test_cagnetta_the_exponent_is_that_of_the_entropy_over_twice_that_of_the_correlation() -> None:
    assert bs.exponent_from_statistics(0.6, 1.2).median == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("make", "at", "sd"),
    [
        (bs.exponent_from_dimension, (16.0,), 4.0),
        (bs.exponent_from_zipf, (0.8,), 0.1),
        (lambda value, sd, misfit: bs.exponent_from_statistics(value, 0.9, sd, misfit=misfit), (0.5,), 0.05),
        (lambda value, sd, misfit: bs.exponent_from_statistics(0.5, value, 0.0, sd, misfit=misfit), (0.9,), 0.1),
    ],
)
def test_uncertainty_of_the_input_and_of_the_theory_add_in_quadrature(make, at, sd) -> None:
    """The e-folds of the exponent per unit of the input are those of a small difference."""
    step = 1e-6
    slope = (np.log(make(at[0] + step, 0.0, misfit=0.2).median) - np.log(make(*at, 0.0, misfit=0.2).median)) / step
    assert make(*at, 0.0, misfit=0.2).scale == pytest.approx(0.2)
    assert make(*at, sd, misfit=0.2).scale == pytest.approx(np.hypot(0.2, slope * sd), rel=1e-4)


def test_a_theory_refuses_what_is_no_measurement() -> None:
    with pytest.raises(SpecError, match="dimension is out of range"):
        bs.exponent_from_dimension(0)
    with pytest.raises(SpecError, match="a is out of range"):
        bs.exponent_from_zipf(-1.0)
    with pytest.raises(SpecError, match="sd is not a standard deviation"):
        bs.exponent_from_zipf(1.0, sd=-0.1)
    with pytest.raises(SpecError, match="misfit is out of range"):
        bs.exponent_from_statistics(0.5, 0.9, misfit=0.0)


def test_a_prior_of_a_theory_is_a_prior_of_a_spec() -> None:
    spec = bs.load_spec("additive").with_prior(alpha_N=bs.exponent_from_dimension(16, sd=4))
    assert spec.parameters["alpha_N"].prior.median == 0.25
    assert spec.digest != bs.load_spec("additive").digest
