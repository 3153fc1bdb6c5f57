"""Batches: runs of different batch sizes on one scale, by the critical batch of Kaplan et al. (2020)."""

from __future__ import annotations

import numpy as np

KAPLAN_B_STAR, KAPLAN_ALPHA_B = 2.1e8, 0.21
"""Critical batch in tokens at a loss of 1 nat/token, and its exponent (Kaplan et al. 2020, arXiv:2001.08361)."""


def critical_batch(
    loss: np.ndarray | float, b_star: float = KAPLAN_B_STAR, alpha_b: float = KAPLAN_ALPHA_B
) -> np.ndarray:
    r"""Return the critical batch at a loss, :math:`B_* L^{-1/\alpha_B}`.

    Parameters
    ----------
    loss : float or ndarray
        Nats/token.
    b_star : float
        Critical batch at 1 nat/token, in tokens.
    alpha_b : float
        Exponent of the loss by the critical batch.

    Returns
    -------
    ndarray
        Tokens.

    Examples
    --------
    >>> round(float(critical_batch(3.0) / 1e6), 2)
    1.12
    """
    return (b_star * np.asarray(loss, float) ** (-1 / alpha_b))[()]


def least_steps(
    steps: np.ndarray | float, batch_tokens: np.ndarray | float, critical: np.ndarray | float
) -> np.ndarray:
    """Return the steps in which a batch far above the critical one would have reached the same loss.

    Parameters
    ----------
    steps, batch_tokens : float or ndarray
        Steps of the run, and tokens in its batch.
    critical : float or ndarray
        Critical batch at the loss of the run, in tokens.

    Returns
    -------
    ndarray
        Steps.

    Examples
    --------
    >>> least_steps(1000, 5e5, critical=5e5)
    np.float64(500.0)
    """
    return (np.asarray(steps, float) / (1 + np.asarray(critical) / np.asarray(batch_tokens)))[()]


def least_compute(
    spent: np.ndarray | float, batch_tokens: np.ndarray | float, critical: np.ndarray | float
) -> np.ndarray:
    """Return the tokens or FLOP with which a batch far below the critical one would have reached the same loss.

    Parameters
    ----------
    spent : float or ndarray
        Tokens or FLOP of the run.
    batch_tokens : float or ndarray
        Tokens in its batch.
    critical : float or ndarray
        Critical batch at the loss of the run, in tokens.

    Returns
    -------
    ndarray
        In the unit of `spent`.

    Examples
    --------
    >>> least_compute(6e18, 5e5, critical=5e5)
    np.float64(3e+18)
    """
    return (np.asarray(spent, float) / (1 + np.asarray(batch_tokens) / np.asarray(critical)))[()]
