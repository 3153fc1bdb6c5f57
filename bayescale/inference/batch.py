"""Batch: one spec on many tables of runs, through one compiled program."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jax

from bayescale.core.errors import BayescaleError, ConvergenceWarning, FitError
from bayescale.core.executors import AbstractEngine, Shelf, Tasks, Threads, engine, sweep
from bayescale.core.progress import Stages, on_terminal
from bayescale.core.verdict import Status, Verdict, joined
from bayescale.inference.aot import devices_for
from bayescale.inference.fit import Fit, sampled, sampled_many
from bayescale.inference.fit_io import load_fit
from bayescale.inference.vectorized import at_a_time
from bayescale.modelling.design import Design, conformed, design
from bayescale.modelling.layout import layout
from bayescale.modelling.model import Model
from bayescale.modelling.spec import Spec
from bayescale.modelling.spec_io import load_spec
from bayescale.parts import catalogue
from bayescale.runs.table import Runs


@dataclass(frozen=True)
class FitOptions:
    """How many tables are fitted, and where: what :func:`fit_many` takes, with its defaults.

    Functions that fit many tables name these options one by one, and hand them on as this one value.
    """

    chains: int = 4
    warmup: int | None = None
    draws: int = 1000
    device: str = "auto"
    workers: int | None = None
    scheduler: str | None = None
    folder: str | Path | None = None

    def within(self, *names: str) -> FitOptions:
        """The same in a folder of its own, if fits are kept: names of tables recur from model to model."""
        if self.folder is None:
            return self
        return replace(self, folder=Path(self.folder, *(quote(name, safe=" ") for name in names)))


@dataclass(frozen=True, eq=False)
class Batch:
    """Fits by name, and what kept others from being made.

    Attributes
    ----------
    fits : dict of Fit
        Each with its own convergence; in the order of the tables.
    failed : dict of BayescaleError
        By name, for tables that could not be fitted.
    seconds : dict of float
        By stage, added up over the fits, which run side by side.
    """

    fits: dict[str, Fit]
    failed: dict[str, BayescaleError]
    seconds: dict[str, float]

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong, by name: a failure, or a fit that has not converged."""
        unconverged = {name: str(fit.verdict) for name, fit in self.fits.items() if not fit.converged}
        return {name: str(error) for name, error in self.failed.items()} | unconverged

    @property
    def verdict(self) -> Verdict:
        """Whether every fit was made and has converged."""
        failed = {name: Verdict(Status.FAILED, (str(error),)) for name, error in self.failed.items()}
        return joined(failed | {name: fit.verdict for name, fit in self.fits.items()})

    def __repr__(self) -> str:
        wrong = "; ".join(f"{name}: {why}" for name, why in self.problems.items())
        return f"Batch of {len(self.fits)} fits, {len(self.failed)} failed" + (f" ({wrong})" if wrong else "")


def fit_many(
    runs: Mapping[str, Runs],
    spec: Model | str | Path | Mapping[str, Model],
    *,
    seed: int = 0,
    chains: int = 4,
    warmup: int | None = None,
    draws: int = 1000,
    longer: int = 1,
    device: str = "auto",
    progress: bool | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    folder: str | Path | None = None,
) -> Batch:
    """Fit one spec to each of many tables of runs: data sets, or splits of one.

    Tables are padded to one shape, so that the spec is compiled once for each count of families, and
    padding is masked: a fit's posterior is the one that :func:`bayescale.fit` draws, its draws are not.
    On a CPU tables take turns on two threads; on an accelerator those of one structure go side by side.

    Parameters
    ----------
    runs : mapping of str to Runs
        Tables by name.
    spec
        As in :func:`bayescale.fit`, or one Spec a table; those that differ in their priors' places alone share a
        program.
    chains, warmup, draws, device, progress
        As in :func:`bayescale.fit`; ``"auto"`` goes by the runs of all tables together.
    longer : int
        Last rung of the ladder that :class:`.nuts.Care` begins: tables whose chains do not agree after its rungs are
        fitted once more, with so many times the draws and seeds that count on from the first. By default they are not.
    seed : int
        Seed of the first table; the others count on from it.
    workers : int, optional
        Processes to spread the fits over; by default threads of this one. A process that dies costs its
        own fit alone, which is reported as failed.
    scheduler : str, optional
        Address of a Dask scheduler (``tcp://host:8786``) whose workers make the fits instead.
    folder : path, optional
        Keeps every fit as it comes, one netCDF file each, and takes from there what an earlier call finished.

    Returns
    -------
    Batch

    Warns
    -----
    ConvergenceWarning
        If a fit has failed or has not converged; once, naming each.

    Raises
    ------
    FitError
        If there is no table, a setting is out of range, no scheduler answers, or the folder holds other fits.

    Examples
    --------
    >>> table = load_runs("open-families")  # doctest: +SKIP
    >>> fit_many({name: table.where(family=name) for name in table.families}, "additive")  # doctest: +SKIP
    """
    if not runs:
        raise FitError("there is nothing to fit", expected="at least one table of runs", got="an empty mapping")
    if longer < 1:
        raise FitError("longer is too small", expected="at least 1", got=str(longer))
    if not isinstance(spec, Mapping):
        spec = dict.fromkeys(runs, spec if isinstance(spec, Model) else load_spec(spec))
    how = FitOptions(chains, warmup, draws, device, workers, scheduler, folder)
    batch = _fit_once(runs, spec, how, seed=seed, progress=progress)
    # By names of their own, since a folder keeps fits by name.
    apart = {f"{name}, longer": name for name, fit in batch.fits.items() if longer > 1 and not fit.converged}
    if apart:
        tables = {long: runs[name] for long, name in apart.items()}
        specs = {long: spec[name] for long, name in apart.items()}
        again = _fit_once(tables, specs, replace(how, draws=longer * draws), seed=seed, progress=progress)
        seconds = Counter(batch.seconds)
        seconds.update(again.seconds)
        fits = batch.fits | {apart[long]: fit for long, fit in again.fits.items()}
        batch = Batch(fits, batch.failed, dict(seconds))
    if batch.problems:
        warnings.warn(repr(batch), ConvergenceWarning, 2)
    return batch


def _fit_once(
    runs: Mapping[str, Runs], spec: Mapping[str, Model], how: FitOptions, *, seed: int, progress: bool | None
) -> Batch:
    """Fit each of many tables by its spec, once."""
    failed: dict[str, BayescaleError] = {}
    tables: dict[str, Runs] = {}
    designs: dict[str, Design] = {}
    for name, table in runs.items():
        try:
            tables[name] = conformed(spec[name], table)
            designs[name] = design(spec[name], tables[name])
        except BayescaleError as error:
            failed[name] = error
    sizes = {points.families for points in designs.values()}
    shapes = {size: layout([points for points in designs.values() if points.families == size]) for size in sizes}
    settings = {"chains": how.chains, "warmup": how.warmup, "draws": how.draws, "device": how.device}
    tasks = {
        name: settings | {"runs": tables[name], "spec": spec[name], "seed": seed + i, "shape": shapes[points.families]}
        for i, (name, points) in enumerate(designs.items())
    }
    on = _engine(how.device, how.workers, how.scheduler, designs)
    shelf = Shelf(Path(how.folder), ".nc", Fit.save, load_fit) if how.folder is not None else None
    total = Stages(show=on_terminal() if progress is None else progress)
    made: dict[str, Fit] = {}
    # Filters of warnings belong to the process: fits that set them in threads side by side can leave one another's.
    with warnings.catch_warnings(), total.shown(), total("fits", len(tasks)) as advance:
        for name, result in sweep(partial(_one, _code(spec.values())), tasks, on, shelf):
            if isinstance(result, Fit):
                _check_same(name, result, **tasks[name])
                made[name] = result
            elif isinstance(result, BayescaleError):
                failed[name] = result
            else:
                raise result
            advance()
    fits = {name: made[name] for name in tasks if name in made}
    seconds: Counter[str] = Counter()
    for fit in fits.values():
        seconds.update(fit.meta["seconds"])
    return Batch(fits, failed, dict(seconds))


def _engine(device: str, workers: int | None, scheduler: str | None, designs: Mapping[str, Design]) -> AbstractEngine:
    """Where tables are fitted: the devices of other processes are theirs to choose, those of this one go together."""
    on = engine(workers, scheduler)
    if not isinstance(on, Threads):
        return on
    devices = devices_for(device, sum(len(points.family) for points in designs.values()))
    return on if devices[0].platform == "cpu" else _SideBySide(devices, designs)


@dataclass(frozen=True)
class _SideBySide(AbstractEngine):
    """Accelerators: tables of one structure are fitted in one program, as many at a time as memory allows."""

    devices: Sequence[jax.Device]
    designs: Mapping[str, Design]

    def run(self, function: Callable[..., Any], tasks: Tasks) -> Iterator[tuple[str, Any]]:
        """Yield fits as their programs end: not `function`'s, which fits one table, but the same."""
        alike: dict[Any, list[str]] = defaultdict(list)
        for name, task in tasks.items():
            alike[task["spec"].structure, task["shape"], jax.tree.structure(self.designs[name])].append(name)
        for names in alike.values():
            settings = {k: tasks[names[0]][k] for k in ("chains", "warmup", "draws", "shape")}
            count = at_a_time(settings["chains"], settings["draws"], settings["shape"])
            for few in (names[i : i + count] for i in range(0, len(names), count)):
                tables = [(tasks[name]["runs"], tasks[name]["spec"], tasks[name]["seed"]) for name in few]
                made = sampled_many(tables, **settings, devices=self.devices, stages=Stages())
                yield from zip(few, made, strict=True)


def _code(models: Iterable[Model]) -> list[tuple[str, Path | None]]:
    """Code that specs name and the person allows, each with the folder in which it was found."""
    named = {name for model in models if isinstance(model, Spec) for name in model.named if ":" in name}
    return [(name, catalogue.FOLDERS.get(name)) for name in sorted(named)]


def _one(code: Sequence[tuple[str, Path | None]], **task: Any) -> Fit:
    """Fit one table; its chains take turns, since other tables have the other cores.

    A worker process has not been told which `code` the person allows: that of the spec's own parts, with its folders.
    """
    for name, folder in code:
        catalogue.permit(name, folder)
    return sampled(**task, threads=1, stages=Stages())


def _check_same(name: str, fit: Fit, **task: Any) -> None:
    """Refuse a fit that was kept from another call."""
    draws = fit.posterior.sizes
    kept = (fit.meta["runs_digest"], fit.meta["spec_digest"], fit.meta["seed"], draws["chain"], draws["draw"])
    asked = (task["runs"].digest, task["spec"].digest, task["seed"], task["chains"], task["draws"])
    if kept != asked:
        raise FitError(
            f"the folder's fit {name!r} is another's: its runs, spec, seed, chains or draws differ",
            hint="choose an empty folder, or repeat the call that began this one",
        )
