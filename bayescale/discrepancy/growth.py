"""Growth: a law goes wrong in one direction, the farther the more."""

import numpy as np

from bayescale.law import AbstractDiscrepancy, JohnsonSU, Parameter


class Growth(AbstractDiscrepancy):
    r"""An error whose variance is proportional to the e-folds of compute beyond the runs.

    .. math:: \delta(C) = g \sqrt{\ln(C / C_\max)}

    of compute :math:`C` beyond the dearest run, 0 inside. The variance is that of a random walk. A family's runs
    share one :math:`g`, so that the errors of its forecasts have one sign, as they do in backtests.
    """

    name = "growth"
    informed = False
    source = "backtests of the open families: errors beyond the runs have one sign in each and grow"
    parameters = {
        "growth": Parameter(
            JohnsonSU(0.0, 0.01),
            "log loss per root of an e-fold of compute",
            "error of the law beyond the runs",
            spread=0.01,
            source="two per cent at two decades; open families: -.023 to .006",
        ),
    }

    @staticmethod
    def basis(at, fitted):
        return np.sqrt(np.maximum(at.flops - fitted.flops.max(), 0.0))[:, None]

    @staticmethod
    def shift(basis, coordinates, *, growth):
        return growth * basis[..., 0]
