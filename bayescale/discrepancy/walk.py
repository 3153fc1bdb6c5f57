"""Walk: a law goes wrong along params and along tokens, by steps that add up."""

import jax.numpy as jnp
import numpy as np

from bayescale.law import AbstractDiscrepancy, LogNormal, Parameter

_KNOTS = 8  # over a family's runs, in each input: four decades of compute then have about a knot an e-fold
# Under a prior three times as wide, the cheaper runs of ten open families put it between .0034 and .034, half of them
# under .007. Much wider than this it makes a funnel: a law is free where walks are large, held where they are small.
_SCALE = LogNormal(0.007, 0.25)
_POINT = 1e-9  # e-folds: runs of one size have no extent to divide by
_ALONG = _KNOTS + 1  # steps between knots, and one beyond either end


class Walk(AbstractDiscrepancy):
    r"""A random walk in log params and one in log tokens.

    .. math:: \delta(N, D) = s_N W_1(\ln N) + s_D W_2(\ln D)

    with Wiener processes that are zero at the anchor and piecewise linear between knots. Runs of one size share the
    error of their size, and training curves that of their point of training. Beyond the runs the variance grows
    with every e-fold, and keeps its sign.
    """

    name = "walk"
    source = "residuals of the open families: runs of near params or tokens err together"
    informed = True
    coordinates = {"walk_N": _ALONG, "walk_D": _ALONG}
    parameters = {
        "walk_N": Parameter(_SCALE, "log loss per root of an e-fold", "error of the law along params", spread=0.2),
        "walk_D": Parameter(_SCALE, "log loss per root of an e-fold", "error of the law along tokens", spread=0.2),
    }

    @staticmethod
    def basis(at, fitted):
        return np.concatenate([_steps(x, y) for x, y in zip(at.inputs.T, fitted.inputs.T, strict=True)], axis=1)

    @staticmethod
    def shift(basis, coordinates, *, walk_N, walk_D):
        terms = basis * coordinates
        return walk_N * jnp.sum(terms[..., :_ALONG], axis=-1) + walk_D * jnp.sum(terms[..., _ALONG:], axis=-1)


def _steps(x: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """How much of each step lies between the anchor and `x`; (row, step)."""
    low, high = fitted.min(), fitted.max()
    width = max(high - low, _POINT) / (_KNOTS - 1)

    def from_low(x: np.ndarray) -> np.ndarray:
        inside = np.clip((x[:, None] - low) / width - np.arange(_KNOTS - 1), 0.0, 1.0) * np.sqrt(width)
        beyond = np.sqrt(np.maximum([x - high, low - x], 0.0))
        return np.concatenate([inside, beyond.T], axis=1)

    return from_low(x) - from_low(np.zeros(1))
