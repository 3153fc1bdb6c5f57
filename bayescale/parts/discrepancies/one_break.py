"""Break: the law bends once, at some compute beyond the runs."""

import jax.numpy as jnp
import numpy as np

from bayescale.parts.base import AbstractDiscrepancy, Parameter
from bayescale.parts.priors import LogNormal, Normal


class Break(AbstractDiscrepancy):
    r"""One break beyond the data: a scenario that no fitted run can rule out.

    .. math:: \delta(C) = c \max(0, \ln(C / C_\max) - b)

    for compute :math:`C` beyond that of the largest-compute run. The prior alone sets where the law bends and by how
    much: about one break in ten decades, up or down.
    """

    name = "break"
    source = "one segment of a broken law, Caballero et al. 2022, arXiv:2210.14891; a hazard of 0.1 per decade"
    informed = False
    parameters = {
        "break_at": Parameter(
            LogNormal(15.0, 1.3),
            "e-folds of compute beyond the runs",
            "where the law bends",
            spread=0.1,
            source="7% within a decade, 18% within two; a hazard of 0.1 per decade gives 10% and 18%",
        ),
        "break_slope": Parameter(
            Normal(0.0, 0.03),
            "log loss per e-fold of compute",
            "decrease in the slope of the loss beyond the break",
            spread=0.03,
            source="about half of the 0.05 to 0.1 by which log loss falls per e-fold of compute in the open families",
        ),
    }
    coordinates = {}

    def basis(self, at, fitted):
        return np.maximum(at.flops - fitted.flops.max(), 0.0)[:, None]

    def shift(self, basis, coordinates, *, break_at, break_slope):
        return break_slope * jnp.maximum(basis[..., 0] - break_at, 0.0)
