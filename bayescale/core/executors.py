"""Sweep: run one function on many tasks, on this machine or on others, and keep finished results."""

from __future__ import annotations

import os
import queue
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bayescale.core.arguments import check_count, check_kind
from bayescale.core.errors import FitError, why_unwritten

Tasks = Mapping[str, Mapping[str, Any]]
_THREADS = 2  # one fit alone leaves a core idle part of the time


class AbstractEngine(ABC):
    """A way to run tasks."""

    @abstractmethod
    def run(self, function: Callable[..., Any], tasks: Tasks) -> Iterator[tuple[str, Any]]:
        """Run a function on every task.

        Parameters
        ----------
        function : callable
            Called with the keyword arguments of a task.
        tasks : mapping of str to mapping
            Keyword arguments by name of the task.

        Yields
        ------
        (str, object)
            Name of a task with its result, or with the exception that ended it, in order of completion.
        """


@dataclass(frozen=True)
class Threads(AbstractEngine):
    """Threads of this process, which share compiled programs."""

    count: int = _THREADS

    def run(self, function: Callable[..., Any], tasks: Tasks) -> Iterator[tuple[str, Any]]:
        """Yield results as they come; a thread waits if its next result would have nobody to take it."""
        rest, names = iter(tasks.items()), dict[Future[Any], str]()
        with ThreadPoolExecutor(self.count) as pool:
            try:
                while True:
                    for name, task in islice(rest, 2 * self.count - len(names)):
                        names[pool.submit(function, **task)] = name
                    if not names:
                        return
                    future = wait(names, return_when=FIRST_COMPLETED).done.pop()
                    yield names.pop(future), future.exception() or future.result()  # what is yielded is not kept
            finally:
                pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class Processes(AbstractEngine):
    """Processes of this machine. A process that dies loses only the task that it runs."""

    count: int

    def run(self, function: Callable[..., Any], tasks: Tasks) -> Iterator[tuple[str, Any]]:
        """Yield results as they come."""
        idle: queue.SimpleQueue[ProcessPoolExecutor] = queue.SimpleQueue()
        for _ in range(self.count):
            idle.put(self._fresh())

        def elsewhere(**task: Any) -> Any:
            process = idle.get()
            if hasattr(signal, "pthread_sigmask"):  # inherited by the worker that this thread starts
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                return process.submit(function, **task).result()
            except BrokenProcessPool:
                process = self._fresh()
                raise _died() from None
            finally:
                idle.put(process)

        try:
            yield from Threads(self.count).run(elsewhere, tasks)
        finally:
            for _ in range(self.count):
                idle.get().shutdown()

    @staticmethod
    def _fresh() -> ProcessPoolExecutor:
        context = get_context("spawn")  # the threads of JAX do not survive a fork
        return ProcessPoolExecutor(1, mp_context=context, initializer=_led_by_parent)


def _died() -> FitError:
    return FitError("its worker process died", got="killed, or out of memory",
                    hint="run the sweep again with the same folder: finished tasks are not repeated")  # fmt: skip


def _led_by_parent() -> None:
    """Ignore Ctrl-C, which a terminal sends to workers too, and end with the parent, which decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # what it computes has nobody to go to


@dataclass(frozen=True)
class Dask(AbstractEngine):
    """Workers of a Dask cluster. A task whose worker dies moves to another worker; one that ends several is given up.

    Attributes
    ----------
    address : str
        Address of the scheduler.
    patience_s : float
        Time to wait for the scheduler, in seconds.
    """

    address: str
    patience_s: float = 10.0

    def run(self, function: Callable[..., Any], tasks: Tasks) -> Iterator[tuple[str, Any]]:
        """Yield results as they come."""
        try:
            from dask.distributed import Client, KilledWorker, as_completed
        except ImportError:
            raise FitError("Dask is not installed", hint="pip install 'bayescale[dask]'") from None
        try:
            client = Client(self.address, timeout=self.patience_s)
        except (OSError, ValueError) as error:
            raise FitError(f"no Dask scheduler answers at {self.address}", got=str(error)) from None
        with client:
            # Task names are not unique across sweeps, so that Dask must not reuse results by name.
            run = partial(client.submit, _apply, pure=False)
            names = {run(function, task): name for name, task in tasks.items()}
            for future in as_completed(names):
                failure = future.exception()
                yield names.pop(future), _died() if isinstance(failure, KilledWorker) else failure or future.result()


def _apply(function: Callable[..., Any], task: Mapping[str, Any]) -> Any:
    return function(**task)


def engine(workers: int | None = None, scheduler: str | None = None) -> AbstractEngine:
    """Return the engine for a number of local processes or for a scheduler.

    Parameters
    ----------
    workers : int, optional
        Number of local processes.
    scheduler : str, optional
        Address of a Dask scheduler. If neither is given, threads of this process are used.

    Returns
    -------
    AbstractEngine

    Raises
    ------
    FitError
        If both are given, `workers` is no integer or less than 1, or `scheduler` is no text.
    """
    if workers is not None and scheduler is not None:
        raise FitError("a sweep runs either on local workers or on a scheduler", expected="one of the two", got="both")
    if workers is not None:
        check_count("workers", workers, 1, FitError)
    if scheduler is not None:
        check_kind(scheduler, str, FitError, "the address of a scheduler, such as tcp://host:8786")
        return Dask(scheduler)
    return Threads() if workers is None else Processes(workers)


@dataclass(frozen=True)
class Shelf:
    """A folder of finished results with one file per task. Each file is written completely or not at all.

    Attributes
    ----------
    folder : Path
    suffix : str
        Suffix of the files, such as ``".nc"``.
    save, load : callable
        Write a result to a path, and read it back.
    """

    folder: Path
    suffix: str
    save: Callable[[Any, Path], Any]
    load: Callable[[Path], Any]

    def path(self, name: str) -> Path:
        """Return the path of a task's file; unusual characters in the name are percent-encoded."""
        return self.folder / (quote(name, safe=" ()+,=@") + self.suffix)


def sweep(
    function: Callable[..., Any], tasks: Tasks, on: AbstractEngine, shelf: Shelf | None = None
) -> Iterator[tuple[str, Any]]:
    """Run a function on every task that is not finished.

    Parameters
    ----------
    function : callable
        Called with the keyword arguments of a task. It must be importable if other processes run it.
    tasks : mapping of str to mapping
        Keyword arguments by name of the task.
    on : AbstractEngine
        Where the tasks run.
    shelf : Shelf, optional
        Keeps results as tasks finish. Results that it already holds are yielded first and not computed again.

    Yields
    ------
    (str, object)
        Name of a task with its result or its exception, in order of completion.

    Raises
    ------
    FitError
        If the folder of the shelf cannot be created.
    """
    finished = {}
    if shelf:
        try:
            shelf.folder.mkdir(parents=True, exist_ok=True)
            finished = {name: shelf.path(name) for name in tasks if shelf.path(name).is_file()}
        except OSError as error:
            raise FitError(f"cannot keep results in {shelf.folder}", **why_unwritten(error)) from None
        for name, path in finished.items():
            yield name, shelf.load(path)
    for name, result in on.run(function, {name: task for name, task in tasks.items() if name not in finished}):
        if shelf and not isinstance(result, BaseException):
            shelf.save(result, shelf.path(name))
        yield name, result
