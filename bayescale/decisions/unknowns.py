"""Unknowns: what it is worth to settle each one, and what would be chosen if it were low or high."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from bayescale.inference.average import AbstractFit
from bayescale.inference.diagnostics import scalars
from bayescale.parts.base import Kind

_BINS = 10  # of 200 draws each: the gain that is left inside a bin is second order in its width
_SHUFFLES = 20  # orders of the draws at random: unknowns that say nothing
_COLUMNS = {"q05": float, "q95": float, "choose_low": int, "choose_high": int, "worth": float, "mcse": float,
            "bias": float, "bias_mcse": float}  # fmt: skip
_OF_INTEREST = (Kind.EXPONENT, Kind.FLOOR)
FORM = "form of the law"
"""Name of the unknown that says which member of an average holds."""


def unknowns_of(fit: AbstractFit, draws: int, family: str | None = None) -> dict[str, np.ndarray]:
    """Return draws of what is not known of the law: its exponents and floor, or its form in an average.

    Parameters
    ----------
    fit : Fit or Average
    draws : int
        Number of draws that the decision uses, thinned evenly within chains.
    family : str, optional
        The family that is decided on; a new one has no parameters of its own yet. By default, all families: the names
        then include the family.

    Returns
    -------
    dict of ndarray, shape (draw,)
        By name.
    """
    chains, length = fit.shape
    kept = np.arange(length)[:: -(-length * chains // draws)]
    if len(fit.members) > 1:
        form = np.zeros(len(kept))
        for k, (_, mine) in enumerate(fit.lenders(kept)):
            form[mine] = k
        return {FORM: np.tile(form, chains)}
    (member,) = fit.members.values()
    if not member.spec.law:
        return {}
    law = member.spec.part("laws", member.spec.law)
    wanted = {name for name, of in {**law.parameters, **law.quantities}.items() if of.kind in _OF_INTEREST}
    one = family or (fit.families[0] if len(fit.families) == 1 else None)
    found = {}
    for name, x in scalars(member.posterior).items():
        bare, _, label = name.partition("[")
        if bare in wanted and (not label or one is None or name == f"{bare}[{one}]"):
            found[name if one is None else bare] = x[:, kept].ravel()
    return found


def partial_information(utility: np.ndarray, unknowns: Mapping[str, np.ndarray], allowed: np.ndarray) -> pd.DataFrame:
    """Estimate the expected value of knowing each unknown exactly, with nothing else known.

    The draws are sorted by the unknown into bins. In each bin, half of the draws choose an action and the other half
    score it, and the reverse, so that the best of noisy means is not scored by its own noise. A choice by noisy means
    is slightly worse than one by exact means, so the estimate is too low. For an unknown that says nothing, every other
    choice than the present one is an error. Draws in random order show how low the estimate then is.

    Parameters
    ----------
    utility : ndarray, shape (draw, action)
    unknowns : mapping of str to ndarray, shape (draw,)
    allowed : ndarray of bool, shape (action,)

    Returns
    -------
    DataFrame
        Index ``unknown``, in descending order of ``worth``; columns ``q05 q95 choose_low choose_high worth mcse bias
        bias_mcse``. ``choose_low`` and ``choose_high`` are rows of the actions. ``bias``, negative, is the estimate for
        an unknown that says nothing, with its standard error: a small worth is too low by about as much.
    """
    columns = np.flatnonzero(allowed)
    u = np.ascontiguousarray(utility[:, columns])  # rows are gathered over and over
    now = int(u.mean(axis=0).argmax())
    rows, biases = {}, dict[tuple[int, ...], tuple[float, float]]()
    for name, x in unknowns.items():
        bins = _bins(x)
        gains, sizes = _gains(u, bins, now), tuple(map(len, bins))
        if sizes not in biases:
            biases[sizes] = _bias(u, sizes, now)
        low, high = (int(columns[u[of].mean(axis=0).argmax()]) for of in (bins[0], bins[-1]))
        rows[name] = {"q05": np.quantile(x, 0.05), "q95": np.quantile(x, 0.95), "choose_low": low, "choose_high": high,
                      "worth": gains.mean(), "mcse": gains.std(ddof=1) / np.sqrt(len(gains)),
                      **dict(zip(("bias", "bias_mcse"), biases[sizes], strict=True))}  # fmt: skip
    table = pd.DataFrame.from_dict(rows, orient="index", columns=[*_COLUMNS]).rename_axis("unknown")
    return table.astype(_COLUMNS).sort_values("worth", ascending=False)


def _gains(u: np.ndarray, bins: Sequence[np.ndarray], now: int) -> np.ndarray:
    """Gain of each draw from a choice by the other half of its bin, over the present choice; shape (draw,)."""
    gains = np.empty(len(u))
    for rows in bins:
        for mine, other in ((rows[::2], rows[1::2]), (rows[1::2], rows[::2])):
            gains[other] = u[other, u[mine].mean(axis=0).argmax() if len(mine) else now] - u[other, now]
    return gains


def _bias(u: np.ndarray, sizes: Sequence[int], now: int) -> tuple[float, float]:
    """Mean gain, with its standard error, of bins of these sizes that are filled at random."""
    rng, ends = np.random.default_rng(0), np.cumsum(sizes)[:-1]
    found = [_gains(u, np.split(rng.permutation(len(u)), ends), now).mean() for _ in range(_SHUFFLES)]
    return float(np.mean(found)), float(np.std(found, ddof=1) / np.sqrt(_SHUFFLES))


def _bins(x: np.ndarray) -> list[np.ndarray]:
    """Split draws into bins: one per value if there are few values, otherwise equal shares in ascending order."""
    values = np.unique(x)
    if len(values) <= _BINS:
        return [np.flatnonzero(x == value) for value in values]
    return np.array_split(np.argsort(x, kind="stable"), _BINS)
