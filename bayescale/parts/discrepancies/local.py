"""Local: runs that lie near one another in params and tokens err together."""

import jax.numpy as jnp
import numpy as np

from bayescale.parts._inducing import through_knots
from bayescale.parts.base import AbstractDiscrepancy, Parameter
from bayescale.parts.priors import LogNormal

_POINT = 1e-9  # e-folds: runs of one size have no extent to divide by


class Local(AbstractDiscrepancy):
    r"""An error that is alike for near params and tokens, of the same variance everywhere.

    .. math:: \delta(N, D) = s\, Z(\ln N, \ln D)

    with a standard Gaussian process whose correlation falls exponentially with the distance in each input, by an
    e-fold over a fifth of the runs' extent. Checkpoints of one training run, or runs of one budget, then count as
    few. It is seen through its values at some of the runs. What these do not tell, as of runs beyond, is one more
    coordinate.

    Attributes
    ----------
    knots : int
        At most: as many of a family's runs stand for all of them.
    lengths : float
        How many lengths of correlation the extent of a family's runs in each input is.
    """

    knots: int = 36
    lengths: float = 5.0

    name = "local"
    source = "training curves of the open families: neighbouring checkpoints err together"
    informed = True
    parameters = {
        "local": Parameter(LogNormal(0.004, 0.1), "log loss", "error that near runs share", spread=0.1),
    }

    @property
    def coordinates(self):
        return {"local": self.knots + 1}

    def basis(self, at, fitted):
        width = np.maximum(np.ptp(fitted.inputs, axis=0), _POINT) / self.lengths
        return through_knots(at.inputs / width, fitted.inputs / width, _correlation, self.knots)

    def shift(self, basis, coordinates, *, local):
        return local * jnp.sum(basis * coordinates, axis=-1)


def _correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.exp(-np.abs(x[:, None] - y[None]).sum(axis=-1))
