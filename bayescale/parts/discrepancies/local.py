"""Local: runs with similar params and tokens have correlated errors."""

import numpy as np

from bayescale.parts._coordinates import at_runs
from bayescale.parts._inducing import through_knots
from bayescale.parts.base import AbstractDiscrepancy, Parameter
from bayescale.parts.priors import LogNormal

_POINT = 1e-9  # e-folds: runs of one size have no extent to divide by


class Local(AbstractDiscrepancy):
    r"""An error that is similar for similar params and tokens, with the same variance everywhere.

    .. math:: \delta(N, D) = s\, Z(\ln N, \ln D)

    with a standard Gaussian process whose correlation falls exponentially with the distance in each input. Its
    correlation length is a fifth of the extent of the runs. Many checkpoints of one training run, or runs of one
    budget, then carry the information of a small number. The process is represented by its values at some of the runs.
    The variance that these do not explain is left to the noise at the other runs. Elsewhere, for example beyond the
    runs, it goes into one more coordinate.

    Attributes
    ----------
    knots : int
        Maximum number of a family's runs that represent all of them.
    lengths : float
        Extent of a family's runs in each input, in correlation lengths.
    """

    knots: int = 24
    lengths: float = 5.0

    name = "local"
    source = "training curves of the open families: neighbouring checkpoints have correlated errors"
    informed = True
    parameters = {
        "local": Parameter(LogNormal(0.004, 0.1), "log loss", "error that nearby runs share", spread=0.1),
    }

    @property
    def coordinates(self):
        return {"local": self.knots + 1}

    def basis(self, at, fitted):
        width = np.maximum(np.ptp(fitted.inputs, axis=0), _POINT) / self.lengths
        return through_knots(at.inputs / width, fitted.inputs / width, _correlation, self.knots)

    def shift(self, basis, coordinates, *, local):
        return local * at_runs(basis, coordinates)


def _correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.exp(-np.abs(x[:, None] - y[None]).sum(axis=-1))
