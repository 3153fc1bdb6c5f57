"""Batch: fit one spec to many tables of runs, with one compiled program."""

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

from bayescale.core.arguments import check_count, check_kind
from bayescale.core.errors import BayescaleError, ConvergenceWarning, FitError
from bayescale.core.executors import AbstractEngine, Shelf, Tasks, Threads, engine, sweep
from bayescale.core.files import path_of
from bayescale.core.progress import FINISHED, Stages, on_terminal
from bayescale.core.verdict import Status, Verdict, joined
from bayescale.inference.aot import devices_for
from bayescale.inference.fit import Fit, check_settings, sampled, sampled_many
from bayescale.inference.fit_io import load_fit
from bayescale.inference.vectorized import at_a_time
from bayescale.modelling.design import Design, conformed, design
from bayescale.modelling.layout import layout
from bayescale.modelling.model import Model
from bayescale.modelling.spec import Spec
from bayescale.modelling.spec_io import load_spec
from bayescale.parts import catalogue
from bayescale.runs.table import Runs

_PROGRAM = 2000
"""Runs of tables that are sampled while one program compiles; between a coupled law and the default on a CPU."""


@dataclass(frozen=True)
class FitOptions:
    """How many tables are fitted, and where: options of :func:`fit_many`, with its defaults.

    Functions that fit many tables take these options one by one and pass them on as this one value.
    """

    chains: int = 4
    warmup: int | None = None
    draws: int = 1000
    device: str = "auto"
    workers: int | None = None
    scheduler: str | None = None
    folder: str | Path | None = None

    def within(self, *names: str) -> FitOptions:
        """Return the options with a subfolder, if fits are kept: several models use the same names of tables.

        Parameters
        ----------
        *names : str
            Names of the nested subfolders.

        Returns
        -------
        FitOptions
        """
        if self.folder is None:
            return self
        return replace(self, folder=Path(self.folder, *(quote(name, safe=" ") for name in names)))


@dataclass(frozen=True)
class Kept(Mapping[str, Fit]):
    """Fits in a folder. Each is read when it is asked for, so that only those in use take memory.

    Attributes
    ----------
    paths : dict of Path
        Files by name.
    """

    paths: dict[str, Path]

    def __getitem__(self, name: str) -> Fit:
        """Read a fit."""
        fit: Fit = load_fit(self.paths[name])
        return fit

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self.paths)

    def __len__(self) -> int:
        """Return the number of fits."""
        return len(self.paths)


@dataclass(frozen=True, eq=False)
class Batch:
    """Fits by name, and the errors of tables that could not be fitted.

    Attributes
    ----------
    fits : mapping of str to Fit
        In the order of the tables. A batch with a folder reads each fit when it is asked for.
    verdicts : dict of Verdict
        Convergence of each fit, by name.
    failed : dict of BayescaleError
        Errors by name, for tables that could not be fitted.
    seconds : dict of float
        Seconds by stage, summed over the fits, which run in parallel.
    """

    fits: Mapping[str, Fit]
    verdicts: dict[str, Verdict]
    failed: dict[str, BayescaleError]
    seconds: dict[str, float]

    @property
    def problems(self) -> dict[str, str]:
        """Problems by name: the error of a failure, or the verdict of a fit that has not converged."""
        unconverged = {name: str(verdict) for name, verdict in self.verdicts.items() if not verdict.ok}
        return {name: str(error) for name, error in self.failed.items()} | unconverged

    @property
    def verdict(self) -> Verdict:
        """Whether every table was fitted and every fit has converged."""
        failed = {name: Verdict(Status.FAILED, (str(error),)) for name, error in self.failed.items()}
        return joined(failed | self.verdicts)

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
    made: Callable[[str, Fit], object] | None = None,
) -> Batch:
    """Fit one spec to each of many tables of runs: data sets, or splits of one.

    Tables with as many families and about as many runs are padded to one shape and share one compiled program.
    Padding is masked: a fit has the same posterior as that of :func:`bayescale.fit`, but different draws from it.
    On a CPU, tables are fitted on two threads. On an accelerator, tables with the same structure are fitted in
    parallel.

    Parameters
    ----------
    runs : mapping of str to Runs
        Tables by name.
    spec
        As in :func:`bayescale.fit`, or a mapping with one Spec per table. Specs that differ only in the location of
        their priors share a program.
    chains, warmup, draws, device, progress
        As in :func:`bayescale.fit`; ``"auto"`` depends on the total number of runs.
    longer : int
        Last step after the retries of :class:`.nuts.Care`: tables whose chains still do not agree are fitted once
        more with this multiple of the draws, and with seeds that count up from `seed`. By default, they are not.
    seed : int
        Random seed of the first table; the others count up from it.
    workers : int, optional
        Number of worker processes for the fits; by default, threads of this process. If a process dies, only its
        own fit is lost and reported as failed.
    scheduler : str, optional
        Address of a Dask scheduler (``tcp://host:8786``) whose workers make the fits instead of local processes.
    folder : path, optional
        Folder that keeps every finished fit, one netCDF file each; fits that an earlier call finished are read from it.
        Only the fits that are being made or used then take memory.
    made : callable, optional
        Called with the name of a table and its fit as soon as it is made, in the order in which fits end.

    Returns
    -------
    Batch

    Warns
    -----
    ConvergenceWarning
        If fits have failed or have not converged; one warning names all.

    Raises
    ------
    FitError
        If there is no table or a table has no spec, a setting is out of range or of another type, no scheduler answers,
        or the folder holds fits of other calls.

    Examples
    --------
    >>> table = load_runs("open-families")  # doctest: +SKIP
    >>> fit_many({name: table.where(family=name) for name in table.families}, "additive")  # doctest: +SKIP
    """
    _check_tables(runs)
    check_count("longer", longer, 1, FitError)
    check_settings([seed], chains, warmup, draws)
    check_kind(made, Callable | None, FitError, "made as a function of a name and a fit")
    spec = _specs_of(spec, runs)
    how = FitOptions(chains, warmup, draws, device, workers, scheduler, folder)
    batch = _fit_once(runs, spec, how, seed=seed, progress=progress, made=made)
    # Under new names, because a folder keeps fits by name.
    apart = {f"{name}, longer": name for name, verdict in batch.verdicts.items() if longer > 1 and not verdict.ok}
    if apart:
        tables = {long: runs[name] for long, name in apart.items()}
        specs = {long: spec[name] for long, name in apart.items()}
        again = _fit_once(tables, specs, replace(how, draws=longer * draws), seed=seed, progress=progress)
        batch = _with_longer(batch, again, apart)
    if batch.problems:
        warnings.warn(repr(batch), ConvergenceWarning, 2)
    return batch


def _check_tables(runs: Any) -> None:
    check_kind(runs, Mapping, FitError, "a mapping of names to tables of runs", "fit one table with bs.fit")
    for table in runs.values():
        check_kind(table, Runs, FitError, "every table as runs", "read it first: bs.load_runs(…)")
    if not runs:
        raise FitError("there is nothing to fit", expected="at least one table of runs", got="an empty mapping")


def _specs_of(spec: Any, runs: Mapping[str, Runs]) -> Mapping[str, Model]:
    """Return the spec of each table."""
    if not isinstance(spec, Mapping):
        return dict.fromkeys(runs, spec if isinstance(spec, Model) else load_spec(spec))
    for one in spec.values():
        check_kind(one, Model, FitError, "every spec as a Spec", "read it first: bs.load_spec(…)")
    if absent := [name for name in runs if name not in spec]:
        raise FitError("a table has no spec", expected=", ".join(map(str, runs)), got=", ".join(map(str, spec)),
                       hint=f"add a spec for {absent[0]!r}, or give one spec for all")  # fmt: skip
    return spec


def _with_longer(batch: Batch, again: Batch, apart: Mapping[str, str]) -> Batch:
    """Return a batch with the fits that were made again, under other names, in place of the first ones."""
    fits: Mapping[str, Fit]
    if isinstance(batch.fits, Kept) and isinstance(again.fits, Kept):
        fits = Kept(batch.fits.paths | {apart[long]: path for long, path in again.fits.paths.items()})
    else:
        fits = {**batch.fits, **{apart[long]: fit for long, fit in again.fits.items()}}
    verdicts = batch.verdicts | {apart[long]: verdict for long, verdict in again.verdicts.items()}
    seconds = Counter(batch.seconds)
    seconds.update(again.seconds)
    return Batch(fits, verdicts, batch.failed, dict(seconds))


def _fit_once(
    runs: Mapping[str, Runs], spec: Mapping[str, Model], how: FitOptions, *, seed: int, progress: bool | None,
    made: Callable[[str, Fit], object] | None = None,
) -> Batch:  # fmt: skip
    """Fit each of many tables by its spec, without the last retry."""
    failed, tables, designs = dict[str, BayescaleError](), dict[str, Runs](), dict[str, Design]()
    for name, table in runs.items():
        try:
            tables[name] = conformed(spec[name], table)
            designs[name] = design(spec[name], tables[name])
        except BayescaleError as error:
            failed[name] = error
    shapes = _shapes(designs)
    settings = {"chains": how.chains, "warmup": how.warmup, "draws": how.draws, "device": how.device}
    tasks = {
        name: settings | {"runs": tables[name], "spec": spec[name], "seed": seed + i, "shape": shapes[name]}
        for i, name in enumerate(designs)
    }
    shelf = _shelf(how.folder)
    total = Stages(show=on_terminal() if progress is None else progress)
    fits, verdicts, seconds = dict[str, Fit](), dict[str, Verdict](), Counter[str]()
    # Warning filters belong to the process: fits that set them in parallel threads can restore the wrong ones.
    with warnings.catch_warnings(), total.shown(), total("fits", len(tasks)) as advance:
        for name, result in sweep(partial(_one, _code(spec.values())), tasks, _engine(how, designs), shelf):
            if isinstance(result, Fit):
                _check_same(name, result, **tasks[name])
                verdicts[name] = result.verdict
                FINISHED["fits"] += 1
                seconds.update(result.meta["seconds"])
                if shelf is None:
                    fits[name] = result
                if made is not None:
                    made(name, result)
            elif isinstance(result, BayescaleError):
                failed[name] = result
            else:
                raise result
            advance()
    names = [name for name in tasks if name in verdicts]
    held = {name: fits[name] for name in names} if shelf is None else Kept({name: shelf.path(name) for name in names})
    return Batch(held, {name: verdicts[name] for name in names}, failed, dict(seconds))


def fit_once(name: str, task: Mapping[str, Any], folder: str | Path | None) -> Fit:
    """Fit one table with all threads, or read its fit from the folder that keeps it.

    Parameters
    ----------
    name : str
        Name of the fit in the folder.
    task : mapping
        Arguments of :func:`.fit.sampled`.
    folder : path, optional
        As in :func:`fit_many`.

    Returns
    -------
    Fit
    """
    ((_, result),) = sweep(sampled, {name: task}, Threads(1), _shelf(folder))
    if isinstance(result, BaseException):
        raise result
    _check_same(name, result, **task)
    FINISHED["fits"] += 1
    return result


def _shelf(folder: str | Path | None) -> Shelf | None:
    return None if folder is None else Shelf(path_of(folder, FitError), ".nc", Fit.save, load_fit)


def _shapes(designs: Mapping[str, Design]) -> dict[str, tuple[int, int]]:
    """Return the layout of each table. Tables with as many families and about as many runs share one."""
    by_families: dict[int, list[str]] = defaultdict(list)
    for name, points in designs.items():
        by_families[points.families].append(name)
    shapes: dict[str, tuple[int, int]] = {}
    for names in by_families.values():
        counts = {name: len(designs[name].family) for name in names}
        for least, most in _classes(Counter(counts.values())):
            members = [name for name, count in counts.items() if least <= count <= most]
            shapes |= dict.fromkeys(members, layout([designs[name] for name in members]))
    return shapes


def _classes(tables: Mapping[int, int]) -> list[tuple[int, int]]:
    """Return the least and the greatest number of runs of each class of tables that share a program.

    A table is padded to the greatest number of its class. The classes are those with the smallest total number of
    padded runs, where each class counts for as many runs as could be sampled while its program compiles.

    Parameters
    ----------
    tables : mapping of int to int
        How many tables have each number of runs.
    """
    sizes = sorted(tables)
    least: list[tuple[int, list[tuple[int, int]]]] = [(0, [])]
    for end in range(1, len(sizes) + 1):
        found = []
        for start, (cost, before) in enumerate(least):
            count = sum(tables[size] for size in sizes[start:end])
            found.append((cost + _PROGRAM + count * sizes[end - 1], [*before, (sizes[start], sizes[end - 1])]))
        least.append(min(found, key=lambda one: one[0]))
    return least[-1][1]


def _engine(how: FitOptions, designs: Mapping[str, Design]) -> AbstractEngine:
    """Return where tables are fitted. Other processes choose their devices; those of this process are used together."""
    on = engine(how.workers, how.scheduler)
    if not isinstance(on, Threads):
        return on
    devices = devices_for(how.device, sum(len(points.family) for points in designs.values()))
    return on if devices[0].platform == "cpu" else _SideBySide(devices, designs)


@dataclass(frozen=True)
class _SideBySide(AbstractEngine):
    """Accelerators: tables with the same structure are fitted in one program, as many at a time as memory allows."""

    devices: Sequence[jax.Device]
    designs: Mapping[str, Design]

    def run(self, function: Callable[..., Any], tasks: Tasks) -> Iterator[tuple[str, Any]]:
        """Yield fits as their programs end. They are the fits that `function` makes, but several at a time."""
        by_program: dict[Any, list[str]] = defaultdict(list)
        for name, task in tasks.items():
            by_program[task["spec"].structure, task["shape"], jax.tree.structure(self.designs[name])].append(name)
        for names in by_program.values():
            settings = {k: tasks[names[0]][k] for k in ("chains", "warmup", "draws", "shape")}
            count = at_a_time(settings["chains"], settings["draws"], settings["shape"])
            for few in (names[i : i + count] for i in range(0, len(names), count)):
                tables = [(tasks[name]["runs"], tasks[name]["spec"], tasks[name]["seed"]) for name in few]
                made = sampled_many(tables, **settings, devices=self.devices, stages=Stages())
                yield from zip(few, made, strict=True)


def _code(models: Iterable[Model]) -> list[tuple[str, Path | None]]:
    """Return the code that specs name and the user allows, each with the folder in which it was found."""
    named = {name for model in models if isinstance(model, Spec) for name in model.named if ":" in name}
    return [(name, catalogue.FOLDERS.get(name)) for name in sorted(named)]


def _one(code: Sequence[tuple[str, Path | None]], **task: Any) -> Fit:
    """Fit one table with its chains one after another, because other tables use the other cores.

    A worker process has to be given the `code` that the user allows: the spec's custom parts, with their folders.
    """
    for name, folder in code:
        catalogue.permit(name, folder)
    return sampled(**task, threads=1, stages=Stages())


def _check_same(name: str, fit: Fit, **task: Any) -> None:
    """Refuse a fit that another call kept in the folder."""
    draws = fit.posterior.sizes
    kept = (fit.meta["runs_digest"], fit.meta["spec_digest"], fit.meta["seed"], draws["chain"], draws["draw"])
    asked = (task["runs"].digest, task["spec"].digest, task["seed"], task["chains"], task["draws"])
    if kept != asked:
        raise FitError(
            f"the folder holds another fit {name!r}: its runs, spec, seed, chains or draws differ",
            hint="choose an empty folder, or repeat the call that filled this one",
        )
