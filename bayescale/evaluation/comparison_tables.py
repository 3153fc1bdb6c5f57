"""Tabulate: fits, backtests and choices of several models → one tidy table per question."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats import compare as compare_elpd
from arviz_stats import loo

from bayescale.core.dims import FAMILY, RUN
from bayescale.core.quantities import count
from bayescale.decisions.choice import Choice
from bayescale.evaluation.backtest import Backtest
from bayescale.evaluation.checks.base import check
from bayescale.inference.fit import Fit
from bayescale.parts.base import AbstractLaw, Kind

POPULATION = "population"
"""The family name under which centres of partial pooling are listed."""

_K_LIMIT = 0.7  # Pareto k above which PSIS is unreliable at any number of draws (Vehtari et al. 2024)
_QUANTILES = {"q05": 0.05, "q50": 0.5, "q95": 0.95}
OPTIMUM = "optimum"
"""Kind of the growth of the optimal params; the other kinds are those of :class:`.base.Kind`."""
EXPONENTS = (Kind.EXPONENT, Kind.EFFECTIVE, OPTIMUM)
"""Kinds of exponents."""

_HALF_DECADE = 0.5  # on either side of the budget, over which the slope of the optimal params is taken


def interpolation(fits: Mapping[str, Fit], site: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """PSIS-LOO of one observed column, one model per row, best first; and the models without it, with the reason.

    It ranks interpolators: a left-out run lies among the runs that remain (Vehtari, Gelman, Gabry 2017,
    arXiv:1507.04544). `k_above` counts runs whose Pareto k is above `k_limit`; `worst_run` has the largest.

    A score follows the loss of its own run where a model observes that loss, so that the density of a left-out score is
    given the loss of the left-out run. Such models can be compared with each other, and not with models that do not
    know the loss: they are left out if there are any of these.

    Parameters
    ----------
    fits : mapping of str to Fit
    site : str
        The column.

    Returns
    -------
    table : DataFrame
    left_out : dict of str
    """
    left_out = {
        name: "its log likelihood is summed by family, as for all large tables"
        for name, fit in fits.items()
        if FAMILY in fit.tree["log_likelihood"][site].dims
    }
    given = [name for name, fit in fits.items() if _given_loss(fit, site)]
    if len(given) < len(fits):
        left_out |= dict.fromkeys(given, f"it knows the loss of the run whose {site} is left out, and others do not")
    found = {}
    with warnings.catch_warnings():
        # ArviZ warns of large Pareto k: the table counts them.
        warnings.filterwarnings("ignore", "Estimated shape parameter", UserWarning)
        for name in (name for name in fits if name not in left_out):
            try:
                found[name] = loo(_observed(fits[name], site), pointwise=True, var_name=site)
            except ValueError as reason:  # too few draws to fit a tail
                left_out[name] = f"it has too few draws: {reason}"
        ranked = compare_elpd(found, round_to="none") if len(found) > 1 else None
    if not found:
        return pd.DataFrame(), left_out
    rows = []
    for name, one in found.items():
        k, limit = one.pareto_k.to_numpy(), min(_K_LIMIT, float(one.good_k))
        difference, dse = (0.0, 0.0) if ranked is None else ranked.loc[name, ["elpd_diff", "dse"]]
        rows.append(
            {"model": name, "elpd": float(one.elpd), "se": float(one.se), "p": float(one.p),
             "elpd_diff": float(difference), "dse": float(dse),
             "k_above": int((k > limit).sum()), "k_limit": limit, "k_worst": float(k.max()),
             "worst_run": _run_words(fits[name], int(_seen(fits[name], site)[k.argmax()])),
             "verdict": str(fits[name].verdict)}
        )  # fmt: skip
    return pd.DataFrame(rows).sort_values("elpd", ascending=False, ignore_index=True), left_out


def beyond(backtests: Mapping[str, Backtest]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of leave-future-out: means over families, one model per row; and by horizon.

    Parameters
    ----------
    backtests : mapping of str to Backtest

    Returns
    -------
    by_model, by_horizon : DataFrame
    """
    rows, horizons = [], []
    for name, test in backtests.items():
        counts = {"families": len(test.families), "n_test": len(test.runs)}
        rows.append({"model": name, **counts, **test.mean, "verdict": str(test.verdict)})
        horizons.append(test.horizons.assign(model=name, verdict=str(test.verdict)))
    by_horizon = pd.concat(horizons, ignore_index=True) if horizons else pd.DataFrame()
    first = [c for c in ("model", "horizon") if c in by_horizon]
    return pd.DataFrame(rows), by_horizon[[*first, *(c for c in by_horizon if c not in first)]]


def findings(fits: Mapping[str, Fit]) -> pd.DataFrame:
    """Every finding of every check, one per row, with its model.

    Parameters
    ----------
    fits : mapping of str to Fit

    Returns
    -------
    DataFrame
    """
    tables = [check(fit).table.assign(model=name) for name, fit in fits.items()]
    table = pd.concat(tables, ignore_index=True)
    return table[["model", *(c for c in table if c != "model")]]


def coefficients(fits: Mapping[str, Fit], choices: Mapping[str, Choice]) -> pd.DataFrame:
    """Mean and 90% interval of each model's parameters and derived coefficients, by family.

    `kind` is the kind that the law declares (:class:`.base.Kind`), or ``optimum``: the exponent with which the
    optimal params grow with compute, around the budget.

    Parameters
    ----------
    fits : mapping of str to Fit
    choices : mapping of str to Choice
        Of an :class:`Allocation`.

    Returns
    -------
    DataFrame
    """
    rows = [row for name, fit in fits.items() for row in _coefficients(name, fit)]
    for name, choice in choices.items():
        slope = _growth(choice)
        meaning = "exponent of compute with which the optimal params grow, around the budget"
        rows.append(_row(name, choice.family, OPTIMUM, "d ln N* / d ln C", meaning, "1", slope, str(choice.verdict)))
    return pd.DataFrame(rows)


def budgets(choices: Mapping[str, Choice]) -> pd.DataFrame:
    """The split of the budget under each model, one per row; NaN figures if `unsettled` gives a reason.

    Parameters
    ----------
    choices : mapping of str to Choice
        Of an :class:`Allocation`.

    Returns
    -------
    DataFrame
    """
    rows = []
    for name, choice in choices.items():
        params, ratio = choice.optimum["params"], choice.optimum["tokens_per_param"]
        rows.append(
            {"model": name, "family": choice.family, "flops": choice.flops, "unsettled": choice.unsettled,
             **choice.answer, "params_q05": params["q05"], "params_q95": params["q95"],
             "tokens_per_param_q05": ratio["q05"], "tokens_per_param_q95": ratio["q95"],
             "loss_q05": choice.loss["q05"], "loss_q95": choice.loss["q95"],
             "regret_nats": choice.regret_nats, "waste_fraction": choice.waste_fraction,
             "band_low": choice.band[0], "band_high": choice.band[1],
             "reach_decades": choice.reach_decades, "verdict": str(choice.verdict)}
        )  # fmt: skip
    return pd.DataFrame(rows)


def crossed(choices: Mapping[str, Choice]) -> pd.DataFrame:
    """The cost of choosing by the wrong law: each model's choice under each model's draws.

    `loss` is the expected loss; `extra_loss` its excess over the judging model's own choice, in nats/token; `waste` the
    expected extra compute relative to each draw's best split; `extra_waste` its excess over the judging model's own.

    Parameters
    ----------
    choices : mapping of str to Choice
        Of an :class:`Allocation`.

    Returns
    -------
    DataFrame
        One pair of models per row.
    """
    rows = []
    for chosen, theirs in choices.items():
        for judge, mine in choices.items():
            loss, waste = (_at(theirs.params, mine.ln_params, draws) for draws in (mine.losses, mine.waste))
            rows.append(
                {"chosen_by": chosen, "judged_by": judge, "params": theirs.params, "loss": loss,
                 "extra_loss": loss - -mine.best.expected, "waste": waste,
                 "extra_waste": waste - mine.waste_fraction, "verdict": str(mine.verdict)}
            )  # fmt: skip
    return pd.DataFrame(rows)


def _at(params: float, grid: np.ndarray, draws: np.ndarray) -> float:
    """Mean over draws at params, between actions of the grid (a few percent apart); NaN outside it."""
    return float(np.interp(np.log(params), grid, draws.mean(axis=0), left=np.nan, right=np.nan))


def _growth(choice: Choice) -> np.ndarray:
    """Slope of each draw's ln optimal params over ln compute, across a decade around the budget."""
    decades = np.log10(choice.budgets / choice.flops)
    ends = [int(np.argmin(np.abs(decades - side * _HALF_DECADE))) for side in (-1, 1)]
    low, high = choice.ln_optimum[:, ends].T
    return (high - low) / float(np.log(choice.budgets[ends[1]] / choice.budgets[ends[0]]))


def _coefficients(model: str, fit: Fit) -> list[dict[str, Any]]:
    law, posterior = fit.spec.law_part, fit.posterior
    rows: list[dict[str, Any]] = []
    if law is None:
        return rows
    centers = {name: site for name in law.parameters if (site := fit.ways[name].population(name).name) != name}

    def add(kind: str, name: str, meaning: str, unit: str, draws: xr.DataArray, shared: str) -> None:
        for family, x in _by_family(draws, shared):
            rows.append(_row(model, family, kind, name, meaning, unit, x, str(fit.verdict)))

    alone = fit.families[0] if len(fit.families) == 1 else "all"
    for name, row in law.parameters.items():
        add(row.kind, name, row.meaning, row.unit, posterior[name], alone)
        if name in centers:
            add(row.kind, name, row.meaning, row.unit, posterior[centers[name]], POPULATION)
    derived = (
        (law.effective(**{name: posterior[name] for name in law.parameters}) if law.effective else {}, alone),
        (_of_population(law, posterior, centers), POPULATION),
        ({name: posterior[name] for name in fit.meta["published"]}, alone),
    )
    for values, shared in derived:
        for name, draws in values.items():
            one = law.quantities[name]
            add(one.kind, name, one.meaning, one.unit, draws, shared)
    return rows


def _of_population(law: AbstractLaw, posterior: xr.Dataset, centers: Mapping[str, str]) -> dict[str, xr.DataArray]:
    """Effective exponents of the centre of partial pooling that do not depend on any family's own parameter."""
    if law.effective is None or not centers:
        return {}
    found = law.effective(**{name: posterior[centers.get(name, name)] for name in law.parameters})
    return {name: draws for name, draws in found.items() if FAMILY not in draws.dims}


def _by_family(draws: xr.DataArray, shared: str) -> list[tuple[str, np.ndarray]]:
    if FAMILY not in draws.dims:
        return [(shared, draws.to_numpy())]
    return [(str(name), draws.sel({FAMILY: name}).to_numpy()) for name in draws[FAMILY].to_numpy()]


def _row(
    model: str, family: str, kind: str, name: str, meaning: str, unit: str, draws: np.ndarray, verdict: str
) -> dict[str, Any]:
    figures = {"mean": float(draws.mean())} | {q: float(np.quantile(draws, at)) for q, at in _QUANTILES.items()}
    return {"model": model, "family": family, "kind": kind, "name": name, "meaning": meaning, "unit": unit,
            **figures, "verdict": verdict}  # fmt: skip


def _given_loss(fit: Fit, site: str) -> bool:
    """Whether a model reads a column's expected value off the observed loss of the same run."""
    losses = [of.site for of in fit.spec.instances if of.is_loss]
    return bool(losses) and site != losses[0]


def _seen(fit: Fit, site: str) -> np.ndarray:
    """Return the places of the runs that have a value of a column."""
    return np.flatnonzero(fit.tree["observed_data"][site].notnull().to_numpy())


def _observed(fit: Fit, site: str) -> xr.DataTree:
    """Return the tree of a fit with the log likelihood of the runs that have a value of a column.

    A fit that an older version has saved has that of all runs.
    """
    likelihood = fit.tree["log_likelihood"].to_dataset()[[site]].isel({RUN: _seen(fit, site)}, missing_dims="ignore")
    return xr.DataTree.from_dict({"posterior": fit.tree["posterior"].to_dataset(), "log_likelihood": likelihood})


def _run_words(fit: Fit, index: int) -> str:
    run = fit.design_frame.iloc[index]
    inside = f"{run['family']}, " if len(fit.families) > 1 else ""
    if {"params", "tokens"} <= set(run.index):
        return f"{inside}{count(run['params'])} params on {count(run['tokens'])} tokens"
    return inside + ", ".join(f"{count(run[name])} {name}" for name in fit.inputs)
