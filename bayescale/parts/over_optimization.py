"""Over-optimisation of a reward model: distance from the initial policy, and the best distance (Gao et al. 2022)."""

from __future__ import annotations

import numpy as np
from scipy.special import lambertw


def kl_of_best(n: np.ndarray | float) -> np.ndarray:
    r"""Return the divergence of the best of n samples from one sample: :math:`\ln n - (n - 1) / n`.

    Parameters
    ----------
    n : array_like
        Samples, at least 1.

    Returns
    -------
    ndarray
        In nats.

    Examples
    --------
    >>> float(kl_of_best(147).round(2))
    4.0
    """
    samples = np.asarray(n, float)
    return np.log(samples) - (samples - 1) / samples


def best_for_kl(kl: np.ndarray | float) -> np.ndarray:
    """Return the number of samples whose best has a divergence: the inverse of :func:`kl_of_best`.

    Parameters
    ----------
    kl : array_like
        In nats, at least 0.

    Returns
    -------
    ndarray
        At least 1; not rounded.

    Examples
    --------
    >>> int(best_for_kl(4.0))
    147
    """
    # ln n + 1/n = c has the solution 1/n = -W(-exp(-c)), on the branch of small 1/n.
    return -1 / lambertw(-np.exp(-1.0 - np.maximum(kl, 1e-15)), 0).real


def peak_of_best(alpha: np.ndarray | float, beta: np.ndarray | float) -> np.ndarray:
    r"""Return the distance at which the gold score of the best of n peaks: :math:`d^* = \alpha / 2 \beta`.

    Parameters
    ----------
    alpha, beta : array_like
        Coefficients of :math:`d (\alpha - \beta d)`, with the root of the divergence `d`.

    Returns
    -------
    ndarray
        In the root of nats.

    Examples
    --------
    >>> float(peak_of_best(1.0, 0.25))
    2.0
    """
    return np.asarray(alpha, float) / (2 * np.asarray(beta, float))


def peak_of_rl(alpha: np.ndarray | float, beta: np.ndarray | float) -> np.ndarray:
    r"""Return the distance at which the gold score of RL peaks: :math:`d^* = e^{\alpha / \beta - 1}`.

    Parameters
    ----------
    alpha, beta : array_like
        Coefficients of :math:`d (\alpha - \beta \ln d)`.

    Returns
    -------
    ndarray
        In the root of nats.

    Examples
    --------
    >>> float(peak_of_rl(1.0, 0.5).round(3))
    2.718
    """
    return np.exp(np.asarray(alpha, float) / np.asarray(beta, float) - 1)
