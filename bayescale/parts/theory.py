"""Theory: priors of an exponent from what is known about the data, before any run.

A theory gives an exponent and no likelihood. Each function returns a prior with the exponent of its theory as the
median. Its scale holds the uncertainty of the inputs and that of the theory itself, `misfit`, in quadrature.
"""

from __future__ import annotations

import math
import sys
from numbers import Real

from bayescale.core.arguments import check_kind
from bayescale.core.errors import SpecError
from bayescale.parts.priors import LogNormal

MISFIT = 0.3
"""E-folds by which a measured exponent may differ from that of a theory whose inputs are known exactly."""

_MOST = sys.float_info.max  # an integer beyond it is below infinity, and no double


def exponent_from_dimension(dimension: float, sd: float = 0.0, *, misfit: float = MISFIT) -> LogNormal:
    r"""Return a prior of the exponent of params from the intrinsic dimension of the data.

    .. math:: \alpha \approx 4 / d

    for a network that regresses on a manifold of dimension `d` (Sharma and Kaplan 2020, arXiv:2004.10802). The
    exponent is that of the reducible loss, so that it belongs to a law with a floor. Estimates of the dimension of text
    are uncertain and tend to be too low, which makes the exponent too high.

    Parameters
    ----------
    dimension : float
        Estimated intrinsic dimension.
    sd : float
        Standard deviation of the estimate.
    misfit : float
        Uncertainty of the theory, in e-folds of the exponent.

    Returns
    -------
    LogNormal

    Raises
    ------
    SpecError
        If the dimension is no positive number, or an uncertainty is negative.

    Examples
    --------
    >>> bs.exponent_from_dimension(16, sd=4).median
    0.25
    """
    return _prior(4 / _positive("dimension", dimension), {"sd": (sd, 1 / dimension)}, misfit)


def exponent_from_zipf(a: float, sd: float = 0.0, *, misfit: float = MISFIT) -> LogNormal:
    r"""Return a prior of the exponent of data from the Zipf exponent of what is to be learned.

    .. math:: \beta = \frac{a}{1 + a} \quad\text{if}\quad \theta_i \propto i^{-(1 + a)}

    with the frequency :math:`\theta_i` of the i-th most common feature, each of which is learned when it is first seen
    (Hutter 2021, arXiv:2102.04074). A Zipf plot of frequency against rank has the slope :math:`-(1 + a)`.

    Parameters
    ----------
    a : float
        Zipf exponent minus one.
    sd : float
        Standard deviation of the estimate.
    misfit : float
        Uncertainty of the theory, in e-folds of the exponent.

    Returns
    -------
    LogNormal

    Raises
    ------
    SpecError
        If `a` is no positive number, or an uncertainty is negative.

    Examples
    --------
    >>> bs.exponent_from_zipf(1.0).median
    0.5
    """
    return _prior(_positive("a", a) / (1 + a), {"sd": (sd, 1 / (a * (1 + a)))}, misfit)


def exponent_from_statistics(
    entropy_decay: float,
    correlation_decay: float,
    entropy_sd: float = 0.0,
    correlation_sd: float = 0.0,
    *,
    misfit: float = MISFIT,
) -> LogNormal:
    r"""Return a prior of the exponent of tokens from two statistics of a text.

    .. math:: \alpha_D = \frac{\gamma}{2 \beta}

    with the power :math:`\gamma` by which the conditional entropy of the next token approaches its limit as the context
    grows, and the power :math:`\beta` by which the correlation of two tokens falls with their distance (Cagnetta et al.
    2026, arXiv:2602.07488).

    Parameters
    ----------
    entropy_decay, correlation_decay : float
        The powers :math:`\gamma` and :math:`\beta`, measured on the text.
    entropy_sd, correlation_sd : float
        Their standard deviations.
    misfit : float
        Uncertainty of the theory, in e-folds of the exponent.

    Returns
    -------
    LogNormal

    Raises
    ------
    SpecError
        If a power is no positive number, or an uncertainty is negative.

    Examples
    --------
    >>> bs.exponent_from_statistics(0.5, 0.9).interval()[0] < 0.5 / (2 * 0.9)
    True
    """
    exponent = _positive("entropy_decay", entropy_decay) / (2 * _positive("correlation_decay", correlation_decay))
    unsure = {"entropy_sd": (entropy_sd, 1 / entropy_decay), "correlation_sd": (correlation_sd, 1 / correlation_decay)}
    return _prior(exponent, unsure, misfit)


def _prior(exponent: float, unsure: dict[str, tuple[float, float]], misfit: float) -> LogNormal:
    """Return the prior, from the SD of each input and the e-folds of the exponent per unit of that input."""
    for name, (sd, _) in unsure.items():
        check_kind(sd, Real, SpecError, f"{name} as a number")
        if not 0 <= sd <= _MOST:
            raise SpecError(f"{name} is not a standard deviation", expected="a number of at least 0", got=repr(sd))
    return LogNormal(exponent, math.hypot(_positive("misfit", misfit), *(sd * by for sd, by in unsure.values())))


def _positive(name: str, value: float) -> float:
    check_kind(value, Real, SpecError, f"{name} as a number")
    if not 0 < value <= _MOST:
        raise SpecError(f"{name} is out of range", expected="a positive, finite number", got=repr(value))
    return value
