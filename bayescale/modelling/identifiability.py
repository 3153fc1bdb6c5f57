"""Identifiability: whether runs can inform a law at all."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayescale.core.errors import RunsError
from bayescale.core.quantities import counted
from bayescale.modelling.custom import CustomModel
from bayescale.modelling.grouping import together
from bayescale.modelling.model import Instance, Model
from bayescale.parts.base import AbstractLaw
from bayescale.runs.table import Runs

_ROUNDING = 1e-9  # relative to the largest value: differences from rounding only
_POINT = ("family", "run_id", "params", "tokens", "examples")
PROBLEM = "problem"
"""Column that says which problem a row of tries is about."""
_DIFFICULTY = "difficulty"  # the noise that takes a row with one sample for tries at one problem
_ROWS = 2  # a run at least, on average, where a row is one problem
_SHOWN = 3
_LEAST_SCATTER = 0.02  # e-folds: rounding of counts scatters a fixed ratio by about a percent


def check_identified(spec: Model, runs: Runs) -> None:
    """Refuse runs that cannot identify the law, whatever the prior.

    Raises
    ------
    RunsError
        If a value is missing or invalid, a run has several rows, the runs are of several benchmarks that share one
        parameter, counts over all problems are given as if they were tries at one, the loss of a run is repeated for
        each of its problems, there are fewer runs than the law has parameters, or an input or the ratio of inputs does
        not vary.
    """
    law = spec.part("laws", spec.law)
    frame = runs.frame
    for of in spec.instances:
        _check_one_test(spec, of, runs)
        if counts_tries(of):
            _check_problems(spec, of, runs)
            _check_loss_once(spec, runs)
    _check_one_row(runs)
    several = {column for of in spec.instances for column in of.columns} if len(spec.instances) > 1 else set()
    for name in (*spec.columns, *spec.labels):
        if name not in several:  # with several responses, a run may lack some of them
            _check_complete(spec, runs, name)
    _check_observed(spec, runs)
    for lot in dict.fromkeys(together([spec], frame).values()):
        group = frame[frame["family"].isin(lot)]
        family = runs.name if lot == frozenset(runs.families) and len(lot) > 1 else ", ".join(sorted(lot))
        if not spec.learned:  # learned priors supply what these runs lack
            _check_enough(law, group, family)
            _check_varied(spec, group, family)
    for column in dict(spec.covariates):
        check_covariate(runs, column, alone=not spec.learned)


def _check_enough(law: AbstractLaw, group: pd.DataFrame, family: str) -> None:
    """Refuse fewer runs than the law has parameters."""
    if len(group) < len(law.parameters):
        raise RunsError(
            f"{family!r} has fewer runs than law {law.name!r} has parameters",
            expected=f"at least {len(law.parameters)} runs",
            got=str(len(group)),
            hint='add runs, or pool the family with others (pooling = "partial")',
        )


def _check_varied(spec: Model, group: pd.DataFrame, family: str) -> None:
    """Refuse runs in which an input, or the ratio of two inputs, does not vary."""
    logs = spec.logs(group, spec.inputs)
    for name, spread in zip(spec.inputs, logs.std(axis=0), strict=True):
        usual = spec.declared[name].usual if name in spec.declared else None
        # A column with a narrow usual range, such as a year, varies if it spans a part of that range.
        if spread < _LEAST_SCATTER * (min(1.0, np.log(usual[1] / usual[0])) if usual else 1.0):
            raise RunsError(
                f"{family!r}: every run has about the same {name}, so its exponent is not identified",
                got=f"{name} from {group[name].min():.4g} to {group[name].max():.4g}",
                hint=f"add runs with other {name}, or fit a power law in the other input",
            )
    if len(spec.inputs) == 2 and (logs[:, 1] - logs[:, 0]).std() < _LEAST_SCATTER:
        raise RunsError(
            f"{family!r}: every run has the same {spec.inputs[1]} per {spec.inputs[0].removesuffix('s')}, "
            "so the two exponents are not identified",
            expected="runs with several ratios, ideally from 2 to 300",
            got=f"{np.exp((logs[:, 1] - logs[:, 0]).mean()):.3g} in all of them",
            hint='add runs with other ratios, or fit law power-floor with inputs = ["flops"]',
        )


def check_observed(model: CustomModel, runs: Runs) -> None:
    """Refuse runs that lack a column or value that a custom model reads or observes.

    Raises
    ------
    RunsError
        If a value is missing or invalid, or a run has several rows.
    """
    _check_one_row(runs)
    for name in model.reads:
        _check_complete(model, runs, name)
    _check_observed(model, runs)


def _check_complete(spec: Model, runs: Runs, name: str) -> None:
    """Refuse runs if some have no value in a column that the spec needs."""
    missing = pd.isna(runs[name])
    if not missing.any():
        return
    row, some = int(np.flatnonzero(missing)[0]), not missing.all()
    which = f"run {row} of {runs.name!r} has no" if some else f"no run of {runs.name!r} has"
    raise RunsError(
        f"{which} {name}, which spec {spec.name!r} needs",
        hint=f"remove the runs that have none, for example with runs.where({name}_above=0)"
        if some
        else "choose other runs",
    )


def _check_observed(spec: Model, runs: Runs) -> None:
    """Refuse values that are invalid for a response or lack a column of its noise, and runs without any response."""
    seen = np.zeros(len(runs), bool)
    for of in spec.instances:
        values = _numbers(runs, of.site)
        columns = {name: _numbers(runs, column) for name, column in of.requires.items()}
        present = np.isfinite(values)
        if not present.any():
            raise RunsError(f"no run of {runs.name!r} has {of.site}, which spec {spec.name!r} observes",
                            hint="choose other runs, or remove the response")  # fmt: skip
        for name, needed in columns.items():
            if (lacking := present & ~np.isfinite(needed)).any():
                raise RunsError(f"run {int(np.flatnonzero(lacking)[0])} of {runs.name!r} has {of.site} and no "
                                f"{of.requires[name]}, which spec {spec.name!r} needs",
                                hint=f"fill in {of.requires[name]}, or leave {of.site} of that run empty")  # fmt: skip
        with np.errstate(invalid="ignore"):
            wrong = present & ~of.scale.valid(values, columns)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise RunsError(f"run {row} of {runs.name!r}: {of.site} cannot be observed",
                            expected=of.scale.must_be, got=f"{values[row]:g}", hint=of.scale.hint)  # fmt: skip
        seen |= present
    if not seen.all():
        raise RunsError(
            f"run {int(np.flatnonzero(~seen)[0])} of {runs.name!r} has none of what spec {spec.name!r} observes",
            expected=f"a value of: {', '.join(spec.observed)}",
            hint="remove the runs that have none",
        )


def _numbers(runs: Runs, column: str) -> np.ndarray:
    """Return the cells of a column as numbers; NaN for a cell that is not a number."""
    return pd.to_numeric(pd.Series(runs[column]), errors="coerce").to_numpy(float)


def _check_one_row(runs: Runs) -> None:
    """Refuse several rows of one run at one point, which would count as several runs."""
    frame = runs.frame
    if not runs.rows_by or not frame.duplicated([column for column in _POINT if column in frame]).any():
        return
    raise RunsError(
        f"{runs.name!r} has several rows per run, so that each run would count several times",
        expected="one row per run",
        got=f"{len(frame):,} rows for {runs.n_runs:,} runs",
        hint=_choose(next((c for c in runs.rows_by if frame[c].nunique() > 1), runs.rows_by[0]), frame),
    )


def _check_one_test(spec: Model, of: Instance, runs: Runs) -> None:
    """Refuse runs of several tests, such as benchmarks, if the response's parameters describe one test."""
    response, frame, column = of.response, runs.frame, of.response.of_one
    if not column or column not in frame or of.own:
        return
    shared = any(spec.parameters[of.parameter(name)].pooling == "complete" for name in response.parameters)
    groups = [frame] if shared else [mine for _, mine in frame.groupby("family")]
    tests = max((group[column].unique() for group in groups), key=len)
    if len(tests) < 2:
        return
    complete = frame.dropna(subset=[c for c in (response.observed, *response.requires) if c in frame])
    raise RunsError(
        f"response {response.name!r} describes one {column}, with one {', one '.join(response.parameters)}",
        expected=f"runs of one {column}",
        got=f"{len(tests)} in {runs.name!r}: {', '.join(map(str, tests[:_SHOWN]))}{', …' * (len(tests) > _SHOWN)}",
        hint=_choose(column, complete if len(complete) else frame),
    )


def counts_tries(of: Instance) -> bool:
    """Whether a response takes a row with one sample for tries at one problem.

    Parameters
    ----------
    of : Instance

    Returns
    -------
    bool
    """
    return bool(of.noise.name == _DIFFICULTY)


def _check_problems(spec: Model, of: Instance, runs: Runs) -> None:
    """Refuse counts over all problems of a benchmark, which would be taken for tries at one problem."""
    frame = runs.frame
    seen, items, samples = (_numbers(runs, name) for name in (of.site, of.requires["n_items"], of.requires["samples"]))
    tries = np.isfinite(seen) & (samples == 1) & (items > 1)
    points = frame.loc[tries, _place(spec, frame)]
    if PROBLEM in frame or len(points) >= _ROWS * len(points.drop_duplicates()):
        return
    raise RunsError(
        f"{runs.name!r} has one row a run with {of.requires['samples']} = 1, which counts tries at one problem",
        expected=f"one row for each run and problem, with its tries ({of.requires['n_items']}) and how many are right "
        f"({of.site})",
        got=f"up to {items[tries].max():,.0f} items in a row",
        hint="give one problem a row; if a row already is one problem, name it in a column 'problem'; counts over all "
        "problems do not tell how these differ: use the noise beta-binomial",
    )


def _check_loss_once(spec: Model, runs: Runs) -> None:
    """Refuse a loss that several rows of one run repeat, one for each problem: it was measured once."""
    frame = runs.frame
    for loss in (of.site for of in spec.instances if of.is_loss):
        known = frame[np.isfinite(_numbers(runs, loss))]
        again = known.duplicated([*_place(spec, frame), loss])
        if again.any():
            row = int(again.idxmax())
            raise RunsError(
                f"row {row} of {runs.name!r} repeats the {loss} of an earlier row of the same run, so that it would "
                "count once for each problem",
                expected=f"the {loss} of a run in one of its rows",
                got=f"{counted(int(again.sum()), 'row')} that repeat one",
                hint=f"leave the column {loss} out, and give the loss of each run once, in a table of observations",
            )


def _place(spec: Model, frame: pd.DataFrame) -> list[str]:
    """Return the columns that say which run a row is of, whatever it is called."""
    return [name for name in dict.fromkeys((*_POINT, *spec.inputs)) if name in frame and name != "run_id"]


def _choose(column: str, frame: pd.DataFrame) -> str:
    value = frame[column].iloc[0]
    return f"choose one: runs.where({column}={repr(value) if isinstance(value, str) else f'{value:g}'})"


def check_covariate(runs: Runs, column: str, alone: bool = True) -> None:
    """Refuse a covariate that is not a number, or whose effect the runs cannot inform. Zero is its usual value.

    Parameters
    ----------
    runs : Runs
    column : str
        Name of the covariate.
    alone : bool
        Whether these runs alone must inform the effect.

    Raises
    ------
    RunsError
        If a value is not a finite number; or, if `alone`, all values are equal or their range does not include zero.
    """
    cells = pd.Series(runs[column])
    values = pd.to_numeric(cells, errors="coerce").to_numpy(float)
    what = f"covariate {column!r} of {runs.name!r}"
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise RunsError(
            f"{what}, run {row}: expected a number, got {cells[row]!r}", hint="fill it in, or remove the run"
        )
    low, high = values.min(), values.max()
    if alone and high - low <= _ROUNDING * max(abs(low), abs(high)):
        raise RunsError(f"{what} is {low:g} in every run, so its effect is not identified",
                        hint="add runs that differ in it, or remove the covariate")  # fmt: skip
    if alone and not low <= 0 <= high:
        raise RunsError(f"the range of {what} does not include 0, the value for usual runs",
                        got=f"{low:g} to {high:g}", hint="subtract a usual value from the column")  # fmt: skip
