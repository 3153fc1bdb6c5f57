"""Stacking: weights of models from the log scores of their forecasts, with standard errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import logsumexp

from bayescale.core.errors import FitError

FEWEST_FORECASTS = 20
"""Number of scored forecasts below which weights are equal: their error would be as large as any difference."""

_REPLICATES = 400  # of the bootstrap: a standard error to 4% (1 / sqrt(2·400)), some milliseconds each
_SEED = 0
_FLOOR = -500.0  # nats below the best model; the density is still above zero in float64
_TOLERANCE = 1e-6  # nats per forecast from the optimum: far below the error of any score
_MOST_STEPS = 100_000  # of the EM; the hardest of 400 random problems took 30,000, most take a few hundred


@dataclass(frozen=True)
class Weights:
    """Weights of models, their standard errors, and how they were made.

    Attributes
    ----------
    weights : dict of float
        By model; they sum to 1.
    se : dict of float
        Standard errors by model; NaN if the weights were not learned.
    method : {"stacking", "equal", "given"}
        Learned from scores; equal because there were too few scores; or given by the caller.
    forecasts, groups : int
        Number of scored forecasts, and of their groups.
    sentence : str
        What was done, in words.
    """

    weights: dict[str, float] = field(hash=False)
    se: dict[str, float] = field(hash=False)
    method: str
    forecasts: int
    groups: int
    sentence: str

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name} {w:.2f}" + (f" ± {self.se[name]:.2f}" if np.isfinite(self.se[name]) else "")
            for name, w in self.weights.items()
        )
        return f"Weights({shown}; {self.sentence})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; an unknown standard error is None.

        Returns
        -------
        dict
        """
        models = {
            name: {"weight": w, "se": self.se[name] if np.isfinite(self.se[name]) else None}
            for name, w in self.weights.items()
        }
        return {
            "models": models, "method": self.method, "forecasts": self.forecasts, "groups": self.groups,
            "sentence": self.sentence,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Weights:
        """Make weights from what :meth:`to_dict` returned.

        Parameters
        ----------
        content : dict

        Returns
        -------
        Weights

        Raises
        ------
        KeyError, TypeError, ValueError
            If the content is not what :meth:`to_dict` returns.
        """
        models = content["models"]
        return cls(
            {name: float(m["weight"]) for name, m in models.items()},
            {name: np.nan if m["se"] is None else float(m["se"]) for name, m in models.items()},
            str(content["method"]), int(content["forecasts"]), int(content["groups"]), str(content["sentence"]),
        )  # fmt: skip


def weigh(
    log_scores: np.ndarray,
    groups: Sequence[str] | np.ndarray,
    names: Sequence[str],
    blocks: Sequence[str] | np.ndarray | None = None,
) -> Weights:
    r"""Stacking weights: those with which the mixture of the models' predictive densities has the best log score.

    .. math:: \max_w \sum_g \frac{1}{n_g} \sum_{i \in g} \ln \sum_k w_k p_{ik}, \quad w_k \ge 0, \sum_k w_k = 1

    Every group (family) counts equally, because forecasts of one family have correlated errors: a family of two hundred
    runs says little more than one of twenty. Standard errors are from a Bayesian bootstrap over groups. With a single
    group, it is over the blocks of that group; it treats them as independent, so the errors are too small.

    Parameters
    ----------
    log_scores : array, shape (forecast, model)
        Log predictive densities of the observations, in the same unit for all models.
    groups : sequence of str, length forecast
        The group (family) of each forecast.
    names : sequence of str, length model
        The models.
    blocks : sequence of str, length forecast, optional
        Forecasts of a single group with the same block are resampled together; by default, each separately.

    Returns
    -------
    Weights
        Equal if there are fewer than :data:`FEWEST_FORECASTS` forecasts.

    Raises
    ------
    FitError
        If shapes do not match, two models have the same name, a score is NaN, or an observation has zero density under
        every model.

    References
    ----------
    Yao, Vehtari, Simpson, Gelman 2018, arXiv:1704.02030.

    Examples
    --------
    >>> weigh(np.zeros((40, 2)) + [0.0, -5.0], ["a"] * 40, ["one", "other"]).weights["one"] > 0.99
    True
    """
    scores, labels = np.asarray(log_scores, float), np.asarray(groups)
    _check(scores, labels, names)
    members, index = np.unique(labels, return_inverse=True)
    count, several = len(scores), len(members) > 1
    made = f"{count} forecast{'s' * (count != 1)} of {len(members)} famil{'y' if len(members) == 1 else 'ies'}"
    if count < FEWEST_FORECASTS or len(names) == 1:
        why = f"{made}, fewer than {FEWEST_FORECASTS}" if len(names) > 1 else "one model"
        return Weights(
            dict.fromkeys(names, 1 / len(names)), dict.fromkeys(names, np.nan), "equal", count, len(members),
            f"equal weights: {why}",
        )  # fmt: skip
    best = optimum(scores, (1 / np.bincount(index))[index])
    lots = labels if several else np.asarray(blocks) if blocks is not None else np.arange(count)
    units = np.unique(lots, return_inverse=True)[1]
    # Every group has the same share, whatever its size; blocks of one group have shares proportional to their sizes, as
    # in the optimum.
    each = (1 / np.bincount(units))[units] if several else np.ones(count)
    shares = np.random.default_rng(_SEED).dirichlet(np.ones(units.max() + 1), _REPLICATES)
    again = np.stack([optimum(scores, share[units] * each) for share in shares])
    # One unit cannot be resampled.
    error = again.std(axis=0, ddof=1) if units.any() else np.full(len(names), np.nan)
    over = "families" if several else f"{units.max() + 1} blocks of one family (too small: their errors are correlated)"
    how = f"standard errors by a bootstrap over {over}" if units.any() else "one family at one reach: errors not known"
    return Weights(
        dict(zip(names, map(float, best), strict=True)),
        dict(zip(names, map(float, error), strict=True)),
        "stacking", count, len(members),
        f"stacked on {made}{', each counted equally' * several}; {how}",
    )  # fmt: skip


def given(weights: dict[str, float]) -> Weights:
    """Make weights from given numbers, scaled to sum to 1; their standard errors are not known.

    Parameters
    ----------
    weights : dict of float
        By model.

    Returns
    -------
    Weights

    Raises
    ------
    FitError
        If a weight is negative or not a finite number, or all are zero.
    """
    values = np.array(list(weights.values()), float)
    if not (np.isfinite(values).all() and (values >= 0).all() and values.sum() > 0):
        raise FitError("weights cannot be used", expected="numbers of at least 0, not all 0", got=str(weights))
    scaled = dict(zip(weights, map(float, values / values.sum()), strict=True))
    return Weights(scaled, dict.fromkeys(scaled, np.nan), "given", 0, 0, "weights as given")


def equal(names: Sequence[str], why: str) -> Weights:
    """Make equal weights.

    Parameters
    ----------
    names : sequence of str
        The models.
    why : str
        The reason, for the sentence.

    Returns
    -------
    Weights
    """
    return Weights(
        dict.fromkeys(names, 1 / len(names)), dict.fromkeys(names, np.nan), "equal", 0, 0, f"equal weights: {why}"
    )


def mixture(log_scores: np.ndarray, weights: Weights) -> np.ndarray:
    """Log density of the mixture at each forecast.

    Parameters
    ----------
    log_scores : array, shape (forecast, model)
        Columns in the order of the weights.
    weights : Weights

    Returns
    -------
    array, shape (forecast,)
    """
    return logsumexp(log_scores, axis=-1, b=list(weights.weights.values()))


def optimum(log_scores: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Weights of the mixture with the best log score, with each forecast weighted by its share.

    Expectation-maximisation maximises the concave score, starting from equal weights. It stops by a bound on the
    score: no mixture is better by more than the largest slope minus one (Cover 1984, IEEE Trans. Inf. Theory 30).

    Parameters
    ----------
    log_scores : array, shape (forecast, model)
    share : array, shape (forecast,)
        Positive; scaled here to sum to 1.

    Returns
    -------
    array, shape (model,)
    """
    density = np.exp(np.maximum(log_scores - log_scores.max(axis=1, keepdims=True), _FLOOR))
    share, w = share / share.sum(), np.full(log_scores.shape[1], 1 / log_scores.shape[1])
    for _ in range(_MOST_STEPS):
        slope = (share / (density @ w)) @ density
        if slope.max() - 1 < _TOLERANCE:
            break
        w = w * slope
    return w / w.sum()


def _check(scores: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> None:
    if scores.ndim != 2 or scores.shape != (len(labels), len(names)) or not len(names):
        raise FitError("the scores do not have the shape forecasts × models",
                       expected=f"({len(labels)}, {len(names)})", got=str(scores.shape))  # fmt: skip
    if len(set(names)) < len(names):
        raise FitError("two models have the same name", got=", ".join(names), hint="give each model its own name")
    if np.isnan(scores).any() or np.isposinf(scores).any() or (scores.size and np.isneginf(scores).all(axis=1).any()):
        raise FitError("a forecast has no finite log score", expected="under at least one model, and no NaN",
                       hint="check that run's loss and the convergence of the fits")  # fmt: skip
