"""Convergence: do the chains agree, and are there enough effective draws? Criteria with limits and figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.base import array_stats

from bayescale.core.dims import CHAIN, DRAW
from bayescale.inference import nuts
from bayescale.modelling.sites import COORDINATES

_FEW_DIVERGENCES = 0.001  # of all draws: so few cannot bias a 90% interval
_FEW_CUT = 0.05  # of all draws


@dataclass(frozen=True)
class Criterion:
    """One criterion of convergence: its limit, and the figure reached.

    Attributes
    ----------
    name, figure, limit : str, float, float
        Name of the figure, its worst value, and its limit.
    passed : bool
        Whether the figure is within the limit; NaN is not.
    sentence, advice : str
        The finding in words, and what to do if it fails.
    """

    name: str
    figure: float
    limit: float
    passed: bool
    sentence: str
    advice: str


def criteria(tree: xr.DataTree, summary: pd.DataFrame) -> list[Criterion]:
    """Compare the worst R-hat, ESS and E-BFMI, divergences and tree depth with their limits.

    Limits are from Vehtari et al. (2021), arXiv:1903.08008.

    Parameters
    ----------
    tree : DataTree
        Groups ``posterior`` and ``sample_stats``; dims ``chain draw``.
    summary : DataFrame
        From :func:`summarised`, of the sampled scalars only.

    Returns
    -------
    list of Criterion
    """
    longer = "raise warmup and draws, and look at the trace of the parameter"
    bulk, tail = summary["ess_bulk"].idxmin(), summary["ess_tail"].idxmin()
    agree = [
        _of_r_hat(summary["r_hat"].to_dict() | _coordinates_r_hat(tree), longer),
        _at_least("ess_bulk", summary["ess_bulk"].min(), 400, f"bulk ESS {{:.0f}} ({bulk})", longer),
        _at_least("ess_tail", summary["ess_tail"].min(), 400, f"tail ESS {{:.0f}} ({tail})", longer),
    ]
    return agree + _of_sampler({str(name): of.to_numpy() for name, of in tree["sample_stats"].data_vars.items()})


def _of_r_hat(hats: Mapping[str, float], longer: str) -> Criterion:
    """Return the criterion of the worst R-hat; one that is not finite is worse than any number."""
    worst = max(hats, key=lambda name: hats[name] if np.isfinite(hats[name]) else np.inf)
    if np.isfinite(hats[worst]):
        return _at_most("r_hat", hats[worst], 1.01, f"R-hat {{:.3f}} ({worst})", longer)
    return _at_most(
        "r_hat", np.nan, 1.01, f"no R-hat of {worst}, whose draws do not vary or are of one chain",
        "sample at least two chains; a parameter whose draws are all the same was not sampled",
    )  # fmt: skip


def _of_sampler(stats: Mapping[str, np.ndarray]) -> list[Criterion]:
    """Criteria from the sampler's statistics; draws of another sampler may lack some."""
    found = []
    if "diverging" in stats:
        diverging = stats["diverging"]
        found.append(_at_most(
            "divergences", diverging.mean(), _FEW_DIVERGENCES, f"{diverging.sum()} draws diverged, {{:.2%}}",
            "tighten priors of parameters that the runs do not determine (the check identification names them)",
        ))  # fmt: skip
    if "energy" in stats:
        bfmi = float(np.min(array_stats.bfmi(stats["energy"])))
        found.append(_at_least("e_bfmi", bfmi, 0.3, "E-BFMI {:.2f}", "the tails are heavy: raise warmup"))
    if "n_steps" in stats:
        cut = float((stats["n_steps"] >= nuts.MOST_STEPS).mean())
        found.append(_at_most(
            "tree_depth", cut, _FEW_CUT, "{:.1%} of draws cut off at the maximum tree depth",
            "the posterior is a narrow ridge: tighten a prior, or pool",
        ))  # fmt: skip
    return found


def _coordinates_r_hat(tree: xr.DataTree) -> dict[str, float]:
    """Worst R-hat of the coordinates of discrepancies, which the summary leaves out."""
    posterior = tree["posterior"]
    if COORDINATES not in posterior:
        return {}
    hats = array_stats.rhat(posterior[COORDINATES].to_numpy(), chain_axis=0, draw_axis=1)
    return {COORDINATES: float(np.max(hats))}


def summarised(posterior: xr.Dataset) -> pd.DataFrame:
    """Summarise every scalar of a posterior.

    Parameters
    ----------
    posterior : xarray.Dataset
        Dims ``chain draw`` and others.

    Returns
    -------
    DataFrame
        One scalar per row: mean, SD, 5% and 95% quantiles, R-hat, bulk and tail effective sample sizes.
    """
    return pd.DataFrame({name: _summary(x) for name, x in scalars(posterior).items()}).T.astype(float)


def scalars(posterior: xr.Dataset | Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Split a posterior into scalars, except the coordinates of discrepancies.

    Parameters
    ----------
    posterior : xarray.Dataset, or mapping of str to xarray.DataArray

    Returns
    -------
    dict of array, shape (chain, draw)
        By name, such as ``alpha_N``, or ``alpha_N[OPT]`` for a family or suite.
    """
    found = {}
    for name in sorted(set(map(str, posterior)) - {COORDINATES}):
        array = posterior[name]
        own = [dim for dim in array.dims if dim not in (CHAIN, DRAW)]
        for at in product(*(range(array.sizes[dim]) for dim in own)):
            labels = [str(array[dim].to_numpy()[i]) for dim, i in zip(own, at, strict=True)]
            called = f"{name}[{', '.join(labels)}]" if own else name
            found[called] = array.isel(dict(zip(own, at, strict=True))).to_numpy()
    return found


def _at_most(name: str, figure: float, limit: float, sentence: str, advice: str) -> Criterion:
    passed = bool(figure <= limit)  # NaN fails
    return Criterion(
        name, float(figure), limit, passed, f"{sentence.format(figure)}, should be at most {limit:g}", advice
    )


def _at_least(name: str, figure: float, limit: float, sentence: str, advice: str) -> Criterion:
    passed = bool(figure >= limit)
    return Criterion(
        name, float(figure), limit, passed, f"{sentence.format(figure)}, should be at least {limit:g}", advice
    )


def _summary(x: np.ndarray) -> dict[str, float]:
    return {
        "mean": x.mean(),
        "sd": x.std(ddof=1),
        "q05": np.quantile(x, 0.05),
        "q95": np.quantile(x, 0.95),
        "r_hat": array_stats.rhat(x),
        "ess_bulk": array_stats.ess(x, method="bulk"),
        "ess_tail": array_stats.ess(x, method="tail", prob=(0.05, 0.95)),
    }
