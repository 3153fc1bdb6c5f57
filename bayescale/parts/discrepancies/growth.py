"""Growth: an error of one sign that grows with distance beyond the runs, and faster if the runs span little."""

import math

import numpy as np

from bayescale.parts.base import AbstractDiscrepancy, Parameter
from bayescale.parts.priors import JohnsonSU


class Growth(AbstractDiscrepancy):
    r"""An error beyond the runs, like that of a random walk whose drift was estimated from them.

    .. math:: \delta(C) = g \sqrt{(h + 3 h^2 / T) / 2}, \qquad h = \ln(C / C_\max), \quad T = \ln(C_\max / C_\min)

    for compute :math:`C`, which is :math:`h` e-folds beyond the largest-compute run; :math:`h` is 0 inside the runs.
    The variance of the walk itself grows with :math:`h`. The variance from its drift, estimated over a span :math:`T`,
    grows with :math:`h^2 / T`. The drift has three times its weight in a single walk, because other discrepancies walk
    too. At a third of the span beyond the runs the two terms are equal, and :math:`\delta = g \sqrt{h}`. Runs that
    span less than a decade count as spanning one, because priors inform the drift as well. Other families that share
    the law also inform it, so :math:`T` is the widest span among them. A family's runs share one :math:`g`, so that the
    errors of its forecasts have one sign, as they do in backtests.

    Attributes
    ----------
    drift : float
        Weight of the drift relative to its weight in a single walk.
    span : float
        Minimum span of the runs that is assumed, in e-folds of compute.
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
            source="an error of 3% at two decades beyond runs that span two",
        ),
    }
    coordinates = {}

    def basis(self, at, fitted):
        beyond = np.maximum(at.flops - fitted.flops.max(), 0.0)
        span = max(np.ptp(fitted.flops), fitted.law_span, self.span)
        return np.sqrt(beyond * (1 + self.drift * beyond / span) / 2)[:, None]

    def shift(self, basis, coordinates, *, growth):
        return growth * basis[..., 0]
