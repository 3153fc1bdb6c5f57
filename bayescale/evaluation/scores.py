"""Proper scores and errors of predictive draws."""

from __future__ import annotations

import numpy as np
import pandas as pd

_LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


def scores(
    draws: np.ndarray, observed: np.ndarray, log_density: np.ndarray | None = None, *, logs: bool = True
) -> pd.DataFrame:
    """Proper scores and errors of predictive draws, one observation per row.

    Parameters
    ----------
    draws : ndarray, shape (draw, query)
        Predictive draws.
    observed : ndarray, shape (query,)
        Observed values.
    log_density : ndarray, shape (draw, query), optional
        Log density of the observed values under each draw.
    logs : bool
        Whether draws and observed values are natural logs, as those of a loss are.

    Returns
    -------
    DataFrame
        ``coverage_50``, ``coverage_80``, ``coverage_90`` (0 or 1), ``width_90``, ``interval_score_90`` (the
        width, plus twenty times the distance of a miss), ``crps``, ``log_score`` (log of the predictive
        density, larger is better), ``are`` (absolute relative error of the median), ``bias`` (median minus observed).
    """
    import scoringrules  # compiles for two seconds: a fit that scores nothing should not wait

    q05, q10, q25, q50, q75, q90, q95 = np.quantile(draws, _LEVELS, axis=0)
    table = pd.DataFrame(
        {
            "coverage_50": ((q25 <= observed) & (observed <= q75)).astype(float),
            "coverage_80": ((q10 <= observed) & (observed <= q90)).astype(float),
            "coverage_90": ((q05 <= observed) & (observed <= q95)).astype(float),
            "width_90": q95 - q05,
            "interval_score_90": scoringrules.interval_score(observed, q05, q95, 0.1),
            "crps": scoringrules.crps_ensemble(observed, draws.T, estimator="pwm"),
        }
    )
    if log_density is not None:
        table["log_score"] = np.logaddexp.reduce(log_density, axis=0) - np.log(len(log_density))
    with np.errstate(divide="ignore", invalid="ignore"):  # relative to zero, an error is infinite or NaN
        relative = np.expm1(q50 - observed) if logs else (q50 - observed) / observed
    return table.assign(are=np.abs(relative), bias=q50 - observed)
