"""Local: runs that lie near one another in params and tokens err together."""

import jax.numpy as jnp
import numpy as np

from bayescale.law import AbstractDiscrepancy, LogNormal, Parameter

_KNOTS = 6  # in each input, over a family's runs
_POINT = 1e-9  # e-folds: runs of one size have no extent to divide by


class Local(AbstractDiscrepancy):
    r"""An error that is alike for near params and tokens, of the same variance everywhere.

    .. math:: \delta(N, D) = s\, Z(\ln N, \ln D)

    with independent standard Normal values on a grid of knots, interpolated. Checkpoints of one training run, or
    runs of one budget, then count as few. Beyond the runs the nearest edge's error goes on.
    """

    name = "local"
    source = "training curves of the open families: neighbouring checkpoints err together"
    informed = True
    coordinates = {"local": _KNOTS**2}
    parameters = {
        "local": Parameter(LogNormal(0.004, 0.25), "log loss", "error that near runs share", spread=0.2),
    }

    @staticmethod
    def basis(at, fitted):
        params, tokens = (_hats(x, y) for x, y in zip(at.inputs.T, fitted.inputs.T, strict=True))
        both = (params[:, :, None] * tokens[:, None, :]).reshape(len(params), -1)
        return both / np.linalg.norm(both, axis=1, keepdims=True)  # interpolation lessens a variance between knots

    @staticmethod
    def shift(basis, coordinates, *, local):
        return local * jnp.sum(basis * coordinates, axis=-1)


def _hats(x: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Weights of linear interpolation between knots; (row, knot)."""
    low, high = fitted.min(), fitted.max()
    at = np.clip((x - low) / max(high - low, _POINT), 0.0, 1.0) * (_KNOTS - 1)
    return np.maximum(0.0, 1.0 - np.abs(at[:, None] - np.arange(_KNOTS)))
