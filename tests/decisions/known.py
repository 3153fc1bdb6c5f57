"""Fits whose every draw is one known law, to test decisions against published and closed-form answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

import bayescale as bs
from bayescale.decisions.surface import MOST_DRAWS
from bayescale.modelling.design import anchor_of

SARDANA = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.336, "beta": 0.283}
"""Constants of Sardana et al. 2024, arXiv:2401.00448."""
MUENNIGHOFF = {
    "E": np.exp(0.6254804),
    "A": np.exp(6.255414),
    "B": np.exp(7.3049974),
    "alpha": 0.3526596,
    "beta": 0.3526596,
}
"""Constants of Muennighoff et al. 2023, arXiv:2305.16264, for tokens that are seen once."""
DECAYS = {"R_D": 15.387756, "R_N": 5.309743}
"""The two decays of the same paper."""
CHAINS, DRAWS = 4, 250


def known_fit(runs: bs.Runs, spec: str, law: Mapping[str, float | np.ndarray], **others: float | np.ndarray) -> bs.Fit:
    """Make a fit of an additive law from constants, or from arrays of one value per draw.

    Constants are spread by 1e-9 of themselves: draws without any spread have no R-hat, and fail the diagnostics.

    Parameters
    ----------
    runs : Runs
        Of one family; they set the anchor.
    spec : str
        ``additive``, or ``repetition`` with its decays in `others`.
    law : mapping
        ``E A B alpha beta``.
    **others
        Further latent sites.
    """
    rng = np.random.default_rng(0)

    def drawn(value: float | np.ndarray) -> np.ndarray:
        return value if np.ndim(value) else value * np.exp(1e-9 * rng.standard_normal((CHAINS, DRAWS)))

    E, A, B, alpha, beta = (drawn(law[key]) for key in ("E", "A", "B", "alpha", "beta"))
    anchor = {name: float(np.exp(value)) for name, value in anchor_of(bs.load_spec(spec), runs.frame).items()}
    a, b = A * anchor["params"] ** -alpha, B * anchor["tokens"] ** -beta
    sites = {"level": (E + a + b) / anchor["loss"], "ratio_A": a / E, "ratio_B": b / E, "alpha_N": alpha,
             "beta_D": beta, "sigma": 0.005, "nu": 5.0, **others}  # fmt: skip
    return bs.Fit.from_samples({name: drawn(value) for name, value in sites.items()}, spec, runs)


def additive(fit: bs.Fit) -> tuple[np.ndarray, ...]:
    """Return E, A, B, alpha and beta of the draws that decisions use, each of shape (draw, 1)."""
    thin = -(-fit.shape[0] * fit.shape[1] // MOST_DRAWS)
    names = ("E", "A", "B", "alpha_N", "beta_D")
    return tuple(fit.posterior[name].to_numpy()[:, ::thin].reshape(-1, 1) for name in names)


def bisected(function: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return where functions, negative at `low` and positive at `high`, are zero."""
    for _ in range(100):
        middle = 0.5 * (low + high)
        below = function(middle) < 0
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return low


def slope(values: Sequence[np.ndarray], step: float) -> np.ndarray:
    """Return the derivative from values at -2, -1, 1 and 2 steps, of order 4."""
    return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
