"""Sweep: one function on many tasks, here or on other machines; finished work is kept."""

from __future__ import annotations

import queue
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bayescale.core.errors import FitError

Tasks = Mapping[str, Mapping[str, Any]]
_THREADS = 2  # one fit leaves a core idle between its chains


class AbstractEngine(ABC):
    """Where tasks are run."""

    @abstractmethod
    def run(self, function: Callable[..., Any], tasks: Tasks) -> Iterator[tuple[str, Any]]:
        """Yield each task's name with its result, or with the exception that ended it, as they come."""


@dataclass(frozen=True)
class Threads(AbstractEngine):
    """Threads of this process: they share compiled programs."""

    count: int = _THREADS

    def run(self, function: Callable[..., Any], tasks: Tasks) -> Iterator[tuple[str, Any]]:
        """Yield results as they come."""
        with ThreadPoolExecutor(self.count) as pool:
            names = {pool.submit(function, **task): name for name, task in tasks.items()}
            try:
                for future in as_completed(names):
                    yield names[future], future.exception() or future.result()
            finally:
                pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class Processes(AbstractEngine):
    """Processes of this machine, each with tasks of its own, so that one that dies costs its own task alone."""

    count: int

    def run(self, function: Callable[..., Any], tasks: Tasks) -> Iterator[tuple[str, Any]]:
        """Yield results as they come."""
        idle: queue.SimpleQueue[ProcessPoolExecutor] = queue.SimpleQueue()
        for _ in range(self.count):
            idle.put(self._fresh())

        def elsewhere(**task: Any) -> Any:
            process = idle.get()
            try:
                return process.submit(function, **task).result()
            except BrokenProcessPool:
                process = self._fresh()
                raise FitError(
                    "its worker process died",
                    came="killed, or out of memory",
                    do="run the sweep again in the same folder: what is finished is not done again",
                ) from None
            finally:
                idle.put(process)

        try:
            yield from Threads(self.count).run(elsewhere, tasks)
        finally:
            for _ in range(self.count):
                idle.get().shutdown()

    @staticmethod
    def _fresh() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, mp_context=get_context("spawn"))  # JAX's threads do not survive a fork


@dataclass(frozen=True)
class Dask(AbstractEngine):
    """Workers of a Dask cluster, by its scheduler's address; a task whose worker dies moves to another."""

    address: str
    patience_s: float = 10.0

    def run(self, function: Callable[..., Any], tasks: Tasks) -> Iterator[tuple[str, Any]]:
        """Yield results as they come."""
        try:
            from dask.distributed import Client, as_completed
        except ImportError:
            raise FitError("Dask is not installed", do="pip install 'bayescale[dask]'") from None
        try:
            client = Client(self.address, timeout=self.patience_s)
        except (OSError, ValueError) as error:
            raise FitError(f"no Dask scheduler answers at {self.address}", came=str(error)) from None
        with client:
            # Names of tasks say nothing of what they hold: the same name elsewhere is another task.
            run = partial(client.submit, _apply, pure=False)
            futures = {name: run(function, task) for name, task in tasks.items()}
            names = {future.key: name for name, future in futures.items()}
            for future in as_completed(futures.values()):
                yield names[future.key], future.exception() or future.result()


def _apply(function: Callable[..., Any], task: Mapping[str, Any]) -> Any:
    return function(**task)


def engine(workers: int | None = None, scheduler: str | None = None) -> AbstractEngine:
    """Engine for so many local processes or a scheduler's address; threads of this process for neither.

    Raises
    ------
    FitError
        If both are given, or there is to be no worker.
    """
    if workers is not None and scheduler is not None:
        raise FitError("a sweep runs on local workers or on a scheduler's", wanted="one of the two", came="both")
    if workers is not None and workers < 1:
        raise FitError("workers is too small", wanted="at least 1", came=str(workers))
    if scheduler is not None:
        return Dask(scheduler)
    return Threads() if workers is None else Processes(workers)


@dataclass(frozen=True)
class Shelf:
    """A folder of finished results, one file a task, written whole or not at all.

    Attributes
    ----------
    folder : Path
    suffix : str
        Ending of the files (``".nc"``).
    save, load : callable
        Write a result to a path; read it back.
    """

    folder: Path
    suffix: str
    save: Callable[[Any, Path], Any]
    load: Callable[[Path], Any]

    def path(self, name: str) -> Path:
        """File of a task; a name with odd characters is spelt in percents."""
        return self.folder / (quote(name, safe=" ()+,=@") + self.suffix)


def sweep(
    function: Callable[..., Any], tasks: Tasks, on: AbstractEngine, shelf: Shelf | None = None
) -> Iterator[tuple[str, Any]]:
    """Run a function on every task that is not finished; yield names with results or exceptions, as they come.

    Parameters
    ----------
    function : callable
        Called with a task's keyword arguments; importable, if it is to run in other processes.
    tasks : mapping of str to mapping
        Keyword arguments by name.
    on : AbstractEngine
    shelf : Shelf, optional
        Keeps results as they come; what it holds is yielded first and not done again.

    Raises
    ------
    FitError
        If the shelf's folder cannot be made.
    """
    finished = {}
    if shelf:
        try:
            shelf.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FitError(f"cannot make {shelf.folder}", came=str(error), do="choose another folder") from None
        finished = {name: shelf.path(name) for name in tasks if shelf.path(name).is_file()}
        for name, path in finished.items():
            yield name, shelf.load(path)
    for name, result in on.run(function, {name: task for name, task in tasks.items() if name not in finished}):
        if shelf and not isinstance(result, BaseException):
            shelf.save(result, shelf.path(name))
        yield name, result
