"""Walk: a law goes wrong along params and along tokens, by steps that add up."""

import jax.numpy as jnp
import numpy as np

from bayescale.parts.base import AbstractDiscrepancy, Parameter
from bayescale.parts.priors import LogNormal

_UNIT = "log loss per root of an e-fold"
_POINT = 1e-9  # e-folds: runs of one size have no extent to divide by
# Much wider than this a prior makes a funnel: a law is free where walks are large, held where they are small. Larger
# along params, and runs no longer say how to split a budget; larger along tokens, for losses amid a training run.
_ALONG_PARAMS, _ALONG_TOKENS = LogNormal(0.003, 0.1), LogNormal(0.007, 0.1)


class Walk(AbstractDiscrepancy):
    r"""A random walk in log params and one in log tokens.

    .. math:: \delta(N, D) = s_N W_1(\ln N) + s_D W_2(\ln D)

    with Wiener processes that are zero at the anchor and piecewise linear between knots. Runs of one size share the
    error of their size, and training curves that of their point of training. Beyond the runs the variance grows
    with every e-fold, and keeps its sign.

    Attributes
    ----------
    knots : int
        In each input, at quantiles of its values: families of few sizes have a knot at each.
    """

    knots: int = 24

    name = "walk"
    source = "residuals of the open families: runs of near params or tokens err together"
    informed = True
    planar = True
    parameters = {
        "walk_N": Parameter(_ALONG_PARAMS, _UNIT, "error of the law along params", spread=0.1),
        "walk_D": Parameter(_ALONG_TOKENS, _UNIT, "error of the law along tokens", spread=0.1),
    }

    @property
    def coordinates(self):
        along = self.knots + 1  # steps between knots, and one beyond either end
        return {"walk_N": along, "walk_D": along}

    def basis(self, at, fitted):
        columns = zip(at.inputs.T, fitted.inputs.T, strict=True)
        return np.concatenate([_steps(x, y, self.knots) for x, y in columns], axis=1)

    def shift(self, basis, coordinates, *, walk_N, walk_D):
        terms, along = basis * coordinates, self.coordinates["walk_N"]
        return walk_N * jnp.sum(terms[..., :along], axis=-1) + walk_D * jnp.sum(terms[..., along:], axis=-1)


def _steps(x: np.ndarray, fitted: np.ndarray, most: int) -> np.ndarray:
    """How much of each step between at most so many knots lies between the anchor and `x`; (row, step)."""
    values = np.unique(fitted.round(6))
    knots = values[np.round(np.linspace(0, len(values) - 1, min(most, len(values)))).astype(int)]
    knots = np.concatenate([knots, np.full(most - len(knots), knots[-1])])
    width = np.maximum(np.diff(knots), _POINT)

    def from_low(x: np.ndarray) -> np.ndarray:
        inside = np.clip((x[:, None] - knots[:-1]) / width, 0.0, 1.0) * np.sqrt(width)
        beyond = np.sqrt(np.maximum([x - knots[-1], knots[0] - x], 0.0))
        return np.concatenate([inside, beyond.T], axis=1)

    return from_low(x) - from_low(np.zeros(1))
