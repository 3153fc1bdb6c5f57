"""Growth: a law goes wrong in one direction, the farther the more, and the more the less its runs span."""

import math

import numpy as np

from bayescale.parts.base import AbstractDiscrepancy, Parameter
from bayescale.parts.priors import JohnsonSU


class Growth(AbstractDiscrepancy):
    r"""An error beyond the runs, as of a random walk whose drift was found from them.

    .. math:: \delta(C) = g \sqrt{(h + 3 h^2 / T) / 2}, \qquad h = \ln(C / C_\max), \quad T = \ln(C_\max / C_\min)

    of compute :math:`C`, :math:`h` e-folds beyond the dearest run, 0 inside. A walk's own variance grows with
    :math:`h`; that of its drift, found over a span :math:`T`, with :math:`h^2 / T`. The drift weighs three times as
    much as in one walk: other discrepancies walk too. A third of the span beyond, the two are alike, and
    :math:`\delta = g \sqrt{h}`. Runs that span less than a decade count as if they spanned one, since priors tell of
    the drift as well, and so do other families that have the law in common with this one: the widest span counts.
    A family's runs share one :math:`g`, so that the errors of its forecasts have one sign, as they
    do in backtests.

    Attributes
    ----------
    drift : float
        How many times as much the drift weighs as in one walk.
    span : float
        E-folds of compute that runs count as spanning at least.
    """

    drift: float = 3.0
    span: float = math.log(10.0)

    name = "growth"
    informed = False
    source = "backtests of the open families, near and far: errors beyond the runs have one sign in each and grow"
    parameters = {
        "growth": Parameter(
            JohnsonSU(0.0, 0.01),
            "log loss per root of an e-fold of compute",
            "error of the law beyond the runs",
            spread=0.01,
            source="three per cent two decades beyond runs that span two",
        ),
    }
    coordinates = {}

    def basis(self, at, fitted):
        beyond = np.maximum(at.flops - fitted.flops.max(), 0.0)
        span = max(np.ptp(fitted.flops), fitted.told, self.span)
        return np.sqrt(beyond * (1 + self.drift * beyond / span) / 2)[:, None]

    def shift(self, basis, coordinates, *, growth):
        return growth * basis[..., 0]
