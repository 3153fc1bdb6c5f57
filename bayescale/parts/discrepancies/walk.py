"""Walk: errors that accumulate along params and along tokens, in random steps."""

import numpy as np

from bayescale.parts._coordinates import at_runs
from bayescale.parts.base import AbstractDiscrepancy, Parameter
from bayescale.parts.priors import LogNormal

_UNIT = "log loss per root of an e-fold"
_POINT = 1e-9  # e-folds: runs of one size have no extent to divide by
# A much wider prior makes a funnel: the law is free where walks are large and constrained where they are small. A
# larger walk along params leaves the runs uninformative about how to split a budget. The walk along tokens is larger
# because it covers losses in the middle of a training run.
_ALONG_PARAMS, _ALONG_TOKENS = LogNormal(0.003, 0.1), LogNormal(0.007, 0.1)


class Walk(AbstractDiscrepancy):
    r"""A random walk in log params and one in log tokens.

    .. math:: \delta(N, D) = s_N W_1(\ln N) + s_D W_2(\ln D)

    with Wiener processes that are zero at the anchor and piecewise linear between knots. Runs with equal params share
    the error along params, and runs at the same number of tokens the error along tokens. Beyond the runs the variance
    grows with every e-fold, and the added error keeps its sign.

    Attributes
    ----------
    knots : int
        Number of knots in each input, at quantiles of its values. A family with fewer sizes has a knot at each.
    """

    knots: int = 12

    name = "walk"
    source = "residuals of the open families: runs with similar params or tokens have correlated errors"
    informed = True
    planar = True
    parameters = {
        "walk_N": Parameter(_ALONG_PARAMS, _UNIT, "error of the law along params", spread=0.1),
        "walk_D": Parameter(_ALONG_TOKENS, _UNIT, "error of the law along tokens", spread=0.1),
    }

    @property
    def coordinates(self):
        along = self.knots + 1  # the steps between knots, and one beyond each end
        return {"walk_N": along, "walk_D": along}

    def basis(self, at, fitted):
        columns = zip(at.inputs.T, fitted.inputs.T, strict=True)
        return np.concatenate([_steps(x, y, self.knots) for x, y in columns], axis=1)

    def shift(self, basis, coordinates, *, walk_N, walk_D):
        along = self.coordinates["walk_N"]
        return walk_N * at_runs(basis[..., :along], coordinates[..., :along]) + walk_D * at_runs(
            basis[..., along:], coordinates[..., along:]
        )


def _steps(x: np.ndarray, fitted: np.ndarray, most: int) -> np.ndarray:
    """Return the part of each step between at most `most` knots that lies between the anchor and `x`; (row, step)."""
    values = np.unique(fitted.round(6))
    knots = values[np.round(np.linspace(0, len(values) - 1, min(most, len(values)))).astype(int)]
    knots = np.concatenate([knots, np.full(most - len(knots), knots[-1])])
    width = np.maximum(np.diff(knots), _POINT)

    def from_low(x: np.ndarray) -> np.ndarray:
        inside = np.clip((x[:, None] - knots[:-1]) / width, 0.0, 1.0) * np.sqrt(width)
        beyond = np.sqrt(np.maximum([x - knots[-1], knots[0] - x], 0.0))
        return np.concatenate([inside, beyond.T], axis=1)

    return from_low(x) - from_low(np.zeros(1))
