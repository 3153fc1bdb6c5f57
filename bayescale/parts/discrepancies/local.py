"""Local: runs that lie near one another in params and tokens err together."""

import jax.numpy as jnp
import numpy as np

from bayescale.parts._inducing import through_knots
from bayescale.parts.base import AbstractDiscrepancy, Parameter
from bayescale.parts.priors import LogNormal

_KNOTS = 36  # at most: as many of a family's runs stand for all of them
_LENGTHS = 5  # of correlation, in the extent of a family's runs in each input
_POINT = 1e-9  # e-folds: runs of one size have no extent to divide by


class Local(AbstractDiscrepancy):
    r"""An error that is alike for near params and tokens, of the same variance everywhere.

    .. math:: \delta(N, D) = s\, Z(\ln N, \ln D)

    with a standard Gaussian process whose correlation falls exponentially with the distance in each input, by an
    e-fold over a fifth of the runs' extent. Checkpoints of one training run, or runs of one budget, then count as
    few. It is seen through its values at some of the runs. What these do not tell, as of runs beyond, is one more
    coordinate.
    """

    name = "local"
    source = "training curves of the open families: neighbouring checkpoints err together"
    informed = True
    coordinates = {"local": _KNOTS + 1}
    parameters = {
        "local": Parameter(LogNormal(0.004, 0.1), "log loss", "error that near runs share", spread=0.1),
    }

    @staticmethod
    def basis(at, fitted):
        width = np.maximum(np.ptp(fitted.inputs, axis=0), _POINT) / _LENGTHS
        return through_knots(at.inputs / width, fitted.inputs / width, _correlation, _KNOTS)

    @staticmethod
    def shift(basis, coordinates, *, local):
        return local * jnp.sum(basis * coordinates, axis=-1)


def _correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.exp(-np.abs(x[:, None] - y[None]).sum(axis=-1))
