"""Value of information: what runs that are not yet made are expected to add to a decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from bayescale.core.errors import QueryError, nearest
from bayescale.decisions.base import AbstractDecision
from bayescale.decisions.engines import Value, covariance, gaussian, jackknife, regressed, reweighted, sources
from bayescale.decisions.stakes import Stakes, allowed_actions, stakes_at, stakes_of
from bayescale.inference.average import AbstractFit, check_fit
from bayescale.inference.batch import fit_many
from bayescale.inference.fit import Fit
from bayescale.modelling.spec import Spec
from bayescale.prediction.fantasies import at_a_time, fantasies, log_densities
from bayescale.prediction.queries import flops_of, queries_of
from bayescale.runs.table import Runs

FANTASIES = 512
"""Default number of simulated outcomes of an experiment."""

REFITS = 16
"""Default number of simulated outcomes to which the model is fitted again, where reweighting fails."""


def value_of(
    experiment: pd.DataFrame,
    decision: AbstractDecision,
    fit: AbstractFit,
    *,
    engine: str = "reweight",
    count: int = FANTASIES,
    refits: int = REFITS,
    seed: int = 0,
    stakes: Stakes | None = None,
) -> Value:
    """Value an experiment by what it is expected to add to a decision.

    Parameters
    ----------
    experiment : DataFrame
        Runs that may be made together, one per row, with the columns of a query.
    decision : AbstractDecision
        The decision that the runs inform.
    fit : Fit or Average
        The posterior. An experiment also moves weight between the members of an average.
    engine : str
        A key of :data:`ENGINES`, or ``"refit"``.
    count : int
        Number of simulated outcomes.
    refits : int
        Number of simulated outcomes to which the model is fitted again if the weights are not reliable; 0 for none. An
        average is never fitted again.
    seed : int
        Random seed of the noise, which also sets the draws that outcomes are simulated from.
    stakes : Stakes, optional
        What :func:`stakes_of` returns for the decision, if it is known.

    Returns
    -------
    Value

    Raises
    ------
    QueryError
        If the experiment is not valid, or the engine is unknown.

    Examples
    --------
    >>> pilot = pd.DataFrame({"params": [1e9], "tokens": [3e8]})
    >>> found = value_of(pilot, bs.Allocation(flops="5.76e23"), fit)
    >>> 0 < found.evsi < found.evpi
    True
    """
    check_fit(fit)
    if engine != "refit":
        (found,) = values_of([experiment], decision, fit, engine=engine, count=count, seed=seed,
                             stakes=stakes)  # fmt: skip
        if found.reliable or not refits or not isinstance(fit, Fit):
            return found
    return _refitted(_query(fit, experiment), decision, fit, max(refits, 2), seed)


def values_of(
    experiments: Sequence[pd.DataFrame],
    decision: AbstractDecision,
    fit: AbstractFit,
    *,
    engine: str = "reweight",
    count: int = FANTASIES,
    seed: int = 0,
    stakes: Stakes | None = None,
) -> list[Value]:
    """Value experiments of the same number of runs, with the same draws and random numbers; see :func:`value_of`.

    Parameters
    ----------
    experiments : sequence of DataFrame
        Experiments, all with the same number of rows.
    decision, fit, engine, count, seed
        As in :func:`value_of`.
    stakes : Stakes, optional
        What :func:`stakes_of` returns for the decision, if it is known.

    Returns
    -------
    list of Value
        In the order of the experiments.

    Raises
    ------
    QueryError
        As in :func:`value_of`.
    """
    if engine not in ENGINES:
        raise QueryError(f"no engine is called {engine!r}", expected=f"one of: {', '.join(ENGINES)}, refit",
                         hint=nearest(engine, ENGINES))  # fmt: skip
    stakes, tables = stakes or stakes_of(decision, fit), [_query(fit, one) for one in experiments]
    draws = len(stakes.utility)
    size = at_a_time(draws, min(count, draws), len(tables[0])) if tables else 1
    found: list[Value] = []
    for few in (tables[i : i + size] for i in range(0, len(tables), size)):
        padded = [*few, *few[:1] * (size - len(few))]  # one shape, one program
        found += ENGINES[engine](stakes, fit, padded, count, seed)[: len(few)]
    return [replace(one, cost=float(flops_of(table).sum())) for one, table in zip(found, tables, strict=True)]


def _query(fit: AbstractFit, experiment: pd.DataFrame) -> pd.DataFrame:
    table = queries_of(fit, experiment.drop(columns=list(fit.observed), errors="ignore"), None, {})
    return table.assign(flops=flops_of(table))


def _reweighted(stakes: Stakes, fit: AbstractFit, tables: Sequence[pd.DataFrame], count: int, seed: int) -> list[Value]:
    draws = len(stakes.utility)
    seen, source = _simulated(stakes, fit, tables, seed), sources(draws, count, seed)
    densities = log_densities(fit, tables, {site: y[source] for site, y in seen.items()}, most=draws)
    return [reweighted(stakes, densities[:, i], source) for i in range(len(tables))]


def _by_regression(engine: Callable[[Stakes, np.ndarray], Value]) -> Callable[..., list[Value]]:
    def values(stakes: Stakes, fit: AbstractFit, tables: Sequence[pd.DataFrame], count: int, seed: int) -> list[Value]:
        seen = _simulated(stakes, fit, tables, seed)
        scored = {name: fit.response(name) for name in fit.responses}
        return [
            engine(stakes, np.hstack([of.scored(seen[of.site][:, i], table) for of in scored.values()]))
            for i, table in enumerate(tables)
        ]

    return values


def _simulated(stakes: Stakes, fit: AbstractFit, tables: Sequence[pd.DataFrame], seed: int) -> dict[str, np.ndarray]:
    """Simulate one outcome per draw of the utility; shape (chain·draw, experiment, run)."""
    draws = len(stakes.utility)
    seen = fantasies(fit, tables, seed=seed, most=draws)
    (found,) = {len(y) for y in seen.values()}
    if found != draws:
        raise QueryError("the decision's draws are not those of its predictions", expected=f"{found} draws",
                         got=f"{draws} draws", hint="thin draws as predict(…, most=…) does")  # fmt: skip
    return seen


ENGINES: dict[str, Callable[..., list[Value]]] = {
    "reweight": _reweighted,
    "regress": _by_regression(regressed),
    "gaussian": _by_regression(gaussian),
}
"""Engines that value experiments from the draws of one fit, by name."""


def _refitted(table: pd.DataFrame, decision: AbstractDecision, fit: AbstractFit, count: int, seed: int) -> Value:
    """Value an experiment by fitting the model to the runs and each simulated outcome: slow, without weights."""
    if not isinstance(fit, Fit):
        raise QueryError("an average cannot be fitted again", expected="a fit of one model", hint="use reweight")
    actions = allowed_actions(decision, fit)
    stakes = stakes_at(decision, fit, actions)
    # From even quantiles of the main gain: few outcomes then represent the draws better than draws at random.
    source = np.argsort(stakes.gain @ stakes.directions[:, -1])[sources(len(stakes.utility), count, seed)]
    seen = {site: y[source, 0] for site, y in _simulated(stakes, fit, [table], seed).items()}
    after = [stakes_at(decision, one, actions, stakes.action) for one in refits(fit, table, seen, seed=seed)]
    gains = np.array([_split_gain(one, stakes.action) for one in after])
    means = [np.array([one.outcome[one.half == h].mean() for one in after]) for h in (0, 1)]
    others = [np.delete(means, m, axis=1) for m in range(len(gains))]
    level, level_mcse = covariance(*means), jackknife(np.array([covariance(*both) for both in others]))
    replicates = (gains.sum() - gains) / (len(gains) - 1)
    plug_in = np.mean([one.utility.mean(axis=0).max() - one.utility[:, stakes.action].mean() for one in after])
    return Value(float(gains.mean()), jackknife(replicates), float(plug_in), stakes.evpi, level, level_mcse,
                 level / float(stakes.outcome.var()), float(table["flops"].sum()), "refit", gains,
                 replicates, realised=gains)  # fmt: skip


def refits(
    fit: Fit, table: pd.DataFrame, observed: dict[str, np.ndarray], *, seed: int = 0, draws: int = 1000
) -> list[Fit]:
    """Fit the model of a fit again, to its runs and simulated outcomes of an experiment.

    The anchor stays that of the fit, so that the priors do.

    Parameters
    ----------
    fit : Fit
    table : DataFrame
        The experiment: validated queries.
    observed : dict of ndarray, shape (fantasy, run)
        Simulated outcomes by column.
    seed, draws : int
        Random seed of the first fit, and draws per chain.

    Returns
    -------
    list of Fit
        By fantasy.
    """
    runs, spec = fit.design_frame.drop(columns=["run_id", "exclusion"], errors="ignore"), fit.spec
    if isinstance(spec, Spec):
        spec = replace(spec, anchor=tuple((dict(spec.anchor) | fit.meta["anchor"]).items()))
    tables = {
        str(m): Runs(pd.concat([runs, table.assign(**{site: y[m] for site, y in observed.items()})[list(runs)]],
                               ignore_index=True), f"{fit.meta['runs']} and fantasy {m}")
        for m in range(len(next(iter(observed.values()))))
    }  # fmt: skip
    batch = fit_many(tables, spec, seed=seed, chains=fit.shape[0], draws=draws, progress=False)
    if batch.failed:
        raise next(iter(batch.failed.values()))
    return list(batch.fits.values())


def _split_gain(after: Stakes, now: int) -> float:
    """Expected gain after an outcome: the action chosen on each half of the draws, scored on the other."""
    gain = after.utility - after.utility[:, [now]]
    by_half = [gain[after.half == h].mean(axis=0) for h in (0, 1)]
    return float(np.mean([by_half[h][by_half[1 - h].argmax()] for h in (0, 1)]))
