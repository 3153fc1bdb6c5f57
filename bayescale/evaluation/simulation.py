"""Simulate: tables of runs from a spec's prior, with the true parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
import pandas as pd

from bayescale.core.arguments import check_count
from bayescale.core.dims import FAMILY, SUITE, to_datatree
from bayescale.core.errors import FitError, RunsError
from bayescale.core.precision import float64
from bayescale.inference.aot import use_cache
from bayescale.inference.diagnostics import scalars
from bayescale.modelling.custom import CustomModel
from bayescale.modelling.design import USUAL_SLOPE, Design, anchor_of, conformed, design
from bayescale.modelling.grouping import lots_of, suites_of
from bayescale.modelling.identifiability import PROBLEM, check_identified, counts_tries
from bayescale.modelling.model import Model
from bayescale.modelling.sites import LOG_LOSS, declared_sites, log_density_of, sites_of
from bayescale.modelling.spec import Spec
from bayescale.parts.base import Role
from bayescale.prediction.predictive import from_prior
from bayescale.runs.columns import DATE, FLOPS_PER_PARAM_TOKEN, SPANS, size_column
from bayescale.runs.readers import load_runs
from bayescale.runs.table import Runs

FEWEST_SIMULATIONS = 20
"""Fewest simulations whose summary figures mean anything."""

BEYOND = 50.0
"""Compute of the target, as a multiple of the family's largest run: 1.7 decades, a usual reach of decisions."""

_LATER = 2.0  # years by which the target is later than the last run, for models known by their dates alone
_RATIO = 20.0  # tokens per param of the target, and of the middle action
_ACTIONS, _DECADES = 81, 2.0  # splits of the target's compute: params on either side of the middle, 12% apart
_STREAM = 0x5BC  # separates the simulations' key from the keys of the fits, which count up from the seed

# The sweep: fans at fixed compute over 2.5 decades, tokens per param from 5 to 320.
_BUDGETS = np.geomspace(1e18, 3e20, 6)
_RATIOS = np.geomspace(5, 320, 5)
_RUNS_PER_PARAMETER = 2  # at least, of a law of many parameters: it has more ratios
# Families by the step at which they take runs of the sweep: 30, 15 and 6 runs. In a hierarchy one family is then
# determined by its own runs and one by the others, and the engine samples these in different coordinates.
_STEPS = {"all": 1, "half": 2, "fifth": 5}
_LOSS = (
    3.0  # nats/token at the anchor, typical of small runs on web text; only the midpoint of an accuracy depends on it
)
_EPOCHS = (1.0, 4.0, 16.0, 60.0)  # from no repeats to far beyond the decay of their value
_FIRST_STEP, _LAST_STEP = 500, 30_000  # of training curves
_ITEMS, _CHANCE = 1000, 0.25  # of a benchmark with four answers
_KL = (0.3, 1.0, 3.0, 9.0, 27.0, 81.0)  # nats
_VOTES = (1.0, 4.0, 16.0, 64.0, 256.0)
_TASKS = (0.1, 1.0, 8.0, 60.0, 480.0)  # minutes: from a question to a day of work
_ERROR_RATE = 0.3
_ENV_STEPS = 1e6
_PLACEHOLDERS = {"count": 0, "share": 0.5}  # observed values by kind; other kinds have a loss
_EVENNESS = 0.5  # of a Dirichlet distribution of shares: most mixtures have much of some domains and little of others
_LOSS_ERROR = 0.003  # nats/token: for a million tokens whose losses have an SD of 3 nats


@dataclass(frozen=True, eq=False)
class Simulated:
    """Tables of runs simulated from a spec, with their true parameters; made by :func:`simulate`.

    Attributes
    ----------
    spec : Spec
        The spec, its anchor fixed.
    tables : dict of Runs
        Simulated runs by name.
    truths : DataFrame
        One simulation per row, one quantity per column: parameters, and the log likelihood of the runs.
    log_loss : DataFrame
        One simulation per row: true log loss at the probes.
    probes : DataFrame
        Queries in one family: the target beyond the runs, then the splits of its compute (none for a law
        without params and tokens).
    dropped : dict of str
        Simulations whose runs are not finite numbers, and why.
    """

    spec: Model
    tables: dict[str, Runs]
    truths: pd.DataFrame
    log_loss: pd.DataFrame
    probes: pd.DataFrame
    dropped: dict[str, str]


def simulate(spec: Model, runs: Runs | None = None, *, simulations: int, seed: int) -> Simulated:
    """Draw parameters from the prior, and from them observations at the columns of some runs.

    The anchor is fixed at that of the given runs, and the slope that discrepancies use at a usual value. A fit that
    took them from a simulated table's own losses would have a different prior from the one behind the table.

    Parameters
    ----------
    spec : Spec
    runs : Runs, optional
        By default :func:`sweep_for`.
    simulations, seed : int
        Number of simulations, and the random seed.

    Returns
    -------
    Simulated

    Raises
    ------
    FitError
        If there are too few simulations, or their number is no integer.
    RunsError
        If the runs lack a column, or cannot identify the law.
    """
    check_count("simulations", simulations, FEWEST_SIMULATIONS, FitError)
    if isinstance(spec, CustomModel):
        return _simulate_custom(spec, runs, simulations, seed)
    if not isinstance(spec, Spec):
        raise TypeError(f"not a model: {spec!r}")
    runs = sweep_for(spec) if runs is None else conformed(spec, runs)
    spec, probes, count = anchored(spec, runs), _probes(spec, runs), len(runs)
    points = Design.build(spec, pd.concat([runs.frame, probes], ignore_index=True), runs.frame)
    names = pd.Index([f"{i:04d}" for i in range(simulations)], name="simulation")
    with use_cache(), float64():
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), _STREAM), simulations)
        drawn = from_prior(keys, points, spec=spec.structure)
        sites = {name: np.asarray(value) for name, value in drawn.items()}
    observed = {name: sites[name][:, :count] for name in sorted(spec.observed)}
    likelihood = np.sum([sites[log_density_of(name)][:, :count] for name in observed], axis=(0, 2))
    fine = np.isfinite(likelihood) & np.all([np.isfinite(x).all(axis=1) for x in observed.values()], axis=0)
    kept = ("family", PROBLEM, *SPANS, *spec.columns, *spec.labels, *spec.sorting)
    frame = runs.frame[[column for column in dict.fromkeys(kept) if column in runs.frame]]
    # Not through load_runs: its bound on a loss, which finds wrong units, would truncate the prior.
    tables = {
        names[i]: Runs(frame.assign(**{k: x[i] for k, x in observed.items()}), f"simulation {names[i]}")
        for i in np.flatnonzero(fine)
    }
    return Simulated(
        spec=spec,
        tables=tables,
        truths=pd.DataFrame(_parameters(spec, runs, sites), names).assign(log_likelihood=likelihood),
        log_loss=pd.DataFrame(sites[LOG_LOSS][:, count:], names),
        probes=probes,
        dropped={names[i]: "a simulated run is zero, infinite or not a number" for i in np.flatnonzero(~fine)},
    )


def _simulate_custom(model: CustomModel, runs: Runs | None, simulations: int, seed: int) -> Simulated:
    """Draw a custom model from its prior at the given runs; nothing beyond them is predicted.

    What a run lacks is missing in every simulation too, so that ranks tell whether the fit integrates it out.
    """
    if runs is None:
        raise RunsError(f"model {model.name!r} is custom: no default sweep is known to suit it",
                        hint="name your own runs (--runs)")  # fmt: skip
    runs = conformed(model, runs)
    points = design(model, runs)
    names = pd.Index([f"{i:04d}" for i in range(simulations)], name="simulation")
    with use_cache(), float64():
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), _STREAM), simulations)
        drawn = from_prior(keys, replace(points, observed={}, present={}), spec=model)
        sites = {name: np.asarray(value) for name, value in drawn.items()}
    for name, has in points.present.items():
        sites[log_density_of(name)] = np.where(has, sites[log_density_of(name)], 0.0)
    likelihood = np.sum(
        [sites[log_density_of(name)].reshape(simulations, -1).sum(axis=1) for name in model.observed], axis=0
    )
    fine = np.isfinite(likelihood) & np.all([np.isfinite(sites[name]).all(axis=1) for name in model.observed], axis=0)
    observed = {name: np.where(points.present.get(name, True), sites[name], np.nan) for name in model.observed}
    latent = {name: site for name, site in declared_sites(model, points).items() if site.latent}
    truths = {"posterior": {name: sites[name][None] for name in latent}}
    tree = to_datatree(truths, {name: site.dims for name, site in latent.items()}, {FAMILY: runs.families})
    found = {name: values[0] for name, values in scalars(tree["posterior"].to_dataset()).items()}
    frame = runs.frame
    tables = {
        names[i]: Runs(frame.assign(**{k: x[i] for k, x in observed.items()}), f"simulation {names[i]}")
        for i in np.flatnonzero(fine)
    }
    return Simulated(
        spec=model,
        tables=tables,
        truths=pd.DataFrame(found, names).assign(log_likelihood=likelihood),
        log_loss=pd.DataFrame(index=names),
        probes=frame[:1],
        dropped={names[i]: "a simulated run is infinite or not a number" for i in np.flatnonzero(~fine)},
    )


def sweep_for(spec: Spec) -> Runs:
    """Runs of a plain sweep with the columns that a spec reads; the observed values are placeholders.

    Six budgets over 2.5 decades of compute, each with five ratios of tokens to params from 5 to 320, or more for a law
    of more than fifteen parameters. One family; for a pooled spec, three families of 30, 15 and 6 runs.

    Parameters
    ----------
    spec : Spec

    Returns
    -------
    Runs

    Raises
    ------
    RunsError
        If the spec reads a column that no plain sweep has.
    """
    most = _RUNS_PER_PARAMETER * len(spec.part("laws", spec.law).parameters) // len(_BUDGETS)
    spaced = np.geomspace(_RATIOS[0], _RATIOS[-1], max(len(_RATIOS), most))
    budgets, ratios = (grid.ravel() for grid in np.meshgrid(_BUDGETS, spaced, indexing="ij"))
    params = np.sqrt(budgets / (FLOPS_PER_PARAM_TOKEN * ratios))
    frame = pd.DataFrame({"params": params, "tokens": params * ratios, "flops": budgets, "loss": _LOSS})
    more = _more(spec, frame)
    for of in spec.instances:
        more.setdefault(of.site, _PLACEHOLDERS.get(of.response.kind, _LOSS))
        more |= {column: more[name] for name, column in of.requires.items() if name in more}
    lacking = sorted({*spec.columns, *spec.labels, *spec.sorting} - set(frame))
    for column in lacking:
        if column not in more:
            raise RunsError(f"no plain sweep has the column {column!r}, which spec {spec.name!r} reads",
                            hint="give your own runs (--runs)")  # fmt: skip
    found = pd.DataFrame({column: more[column] for column in lacking}, index=frame.index)
    frame = pd.concat([frame, found], axis=1)
    if any(map(counts_tries, spec.instances)):
        frame[PROBLEM] = [f"{i}" for i in range(len(frame))]
    pools = any(setting.pooling != "none" for _, setting in spec.settings)
    steps = _STEPS if pools else {"all": 1}
    families = pd.concat([frame[::step].assign(family=name) for name, step in steps.items()])
    return load_runs(families, name="sweep", loss_unit="nats")


def _more(spec: Spec, frame: pd.DataFrame) -> dict[str, Any]:
    """Return further columns that a plain sweep can have, by name; a spec reads some of them."""
    epochs = np.resize(_EPOCHS, len(frame))
    return {
        "active_params": frame["params"],
        "unique_tokens": frame["tokens"] / epochs,
        "step": np.round(np.geomspace(_FIRST_STEP, _LAST_STEP, len(frame))),
        "examples": frame["tokens"],
        "error_rate": _ERROR_RATE,
        "env_steps": _ENV_STEPS,
        "n_items": _ITEMS,
        "n_correct": 0,
        "chance": _CHANCE,
        "samples": 1.0,
        "kl": np.resize(_KL, len(frame)),
        "gold_score": 0.0,
        "votes": np.resize(_VOTES, len(frame)),
        "task_minutes": np.resize(_TASKS, len(frame)),
        "loss_error": _LOSS_ERROR,
        "group": [f"{flops:.3g}" for flops in frame["flops"]],
        "eval_set": "text",
        "tokenizer": "words",
        "suite": "sweep",
        **{
            column: np.random.default_rng(i).permutation(np.resize([0.0, 1.0], len(frame)))
            for i, (column, _) in enumerate(spec.covariates)
        },
        **{
            name: np.random.default_rng(i).permutation(of.spanned(len(frame)))
            for i, (name, of) in enumerate(spec.declared.items())
        },
        **_shares(spec, len(frame)),
        **{name: np.resize(texts, len(frame)) for of in spec.penalizing for name, texts in of.texts.items()},
    }


def _shares(spec: Spec, count: int) -> dict[str, np.ndarray]:
    """Return the shares of random mixtures, with much of some domains and little of others."""
    found: dict[str, np.ndarray] = {}
    for i, shared in enumerate(sorted({of.share_of for of in spec.declared.values()} - {""})):
        parts = [name for name, of in spec.declared.items() if of.share_of == shared]
        drawn = np.random.default_rng(i).dirichlet(np.full(len(parts), _EVENNESS), count)
        found |= dict(zip(parts, drawn.T, strict=True))
    return found


def anchored(spec: Spec, runs: Runs) -> Spec:
    """Return the spec with its anchor fixed at that of the runs; discrepancies use a usual slope.

    Parameters
    ----------
    spec : Spec
    runs : Runs

    Returns
    -------
    Spec

    Raises
    ------
    RunsError
        If the runs cannot identify the law.
    """
    check_identified(spec, runs)
    anchor = {column: float(np.exp(value)) for column, value in anchor_of(spec, runs.frame).items()}
    slope = {"slope": USUAL_SLOPE} if spec.discrepancy else {}
    return replace(spec, anchor=tuple((slope | dict(spec.anchor) | anchor).items()))


def extremes(runs: Runs) -> list[str]:
    """Return the families with the most and the fewest runs; one name if they are the same."""
    sizes = {name: int((runs["family"] == name).sum()) for name in runs.families}
    return list(dict.fromkeys((max(sizes, key=sizes.__getitem__), min(sizes, key=sizes.__getitem__))))


def _probes(spec: Spec, runs: Runs) -> pd.DataFrame:
    """Queries in the family with the fewest runs; other columns have the values of its first run."""
    mine = runs.frame[runs["family"] == extremes(runs)[-1]]
    if (size := size_column(mine)) != "flops":
        beyond = _LATER + mine[size].max() if size == DATE else BEYOND * mine[size].max()
        return mine[:1].assign(**{size: beyond}).drop(columns="group", errors="ignore")
    flops = BEYOND * mine["flops"].max()
    middle = np.sqrt(flops / (FLOPS_PER_PARAM_TOKEN * _RATIO))
    splits = middle * np.logspace(-_DECADES, _DECADES, _ACTIONS)
    params = np.append(middle, splits if {"params", "tokens"} <= set(spec.columns) else [])
    table = pd.DataFrame([mine.iloc[0]] * len(params)).reset_index(drop=True)
    used = {"active_params": params} if "active_params" in table else {}
    table = table.assign(params=params, tokens=flops / (FLOPS_PER_PARAM_TOKEN * params), flops=flops, **used)
    more = dict.fromkeys(("unique_tokens", *({"examples"} & set(mine))), table["tokens"])
    return table.assign(**more).drop(columns="group", errors="ignore")  # of no fitted group


def _parameters(spec: Spec, runs: Runs, sites: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """True parameters by the names of :func:`bayescale.inference.fit.scalars`; of families, the extremes'."""
    found: dict[str, np.ndarray] = {}
    members = {
        FAMILY: {name: runs.families.index(name) for name in extremes(runs)},
        SUITE: {name: i for i, name in enumerate(suites_of(spec, runs.frame))},
        **{battery: {of.name: i for i, of in enumerate(own)} for battery, own in spec.batteries.items()},
    }
    for site in sites_of(spec, len(runs.families), lots_of(spec, runs.frame)).values():
        if site.role is Role.COORDINATE:
            continue
        if not site.kept or site.role is Role.OFFSET:  # which says what the value says
            continue
        if not site.dims:
            found[site.name] = sites[site.name]
        for dim in site.dims:
            found |= {f"{site.name}[{name}]": sites[site.name][:, i] for name, i in members[dim].items()}
    return found
