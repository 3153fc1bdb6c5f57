"""Resolution: the unit of the last digit to which a column is given."""

from __future__ import annotations

import numpy as np

_MOST_DIGITS = 9  # decimals; more are those of a computation, not of a table


def resolution(values: np.ndarray) -> float:
    """Return the largest power of ten of which all values are multiples: 0.01 for 2.35 and 3.1.

    Parameters
    ----------
    values : ndarray
        Missing values are left out.

    Returns
    -------
    float
        At most 1; 0 if the values have more than nine decimals.

    Examples
    --------
    >>> resolution(np.array([2.35, 3.1])), resolution(np.array([1 / 3]))
    (0.01, 0.0)
    """
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    for digits in range(_MOST_DIGITS + 1):
        if np.allclose(known, np.round(known, digits), rtol=1e-12, atol=1e-13):
            return float(f"1e-{digits}")
    return 0.0
