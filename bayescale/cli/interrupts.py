"""Interrupts: a command that is interrupted, or that takes too long, ends within a second."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import util
from pathlib import Path
from typing import Any

import click

from bayescale.core.progress import FINISHED
from bayescale.core.quantities import counted

INTERRUPTED, TIMED_OUT = 130, 124
"""Exit codes: those of a shell after Ctrl-C, and of the command ``timeout``."""
_RUNNING: list[str | None] = []
"""The folder of the sweep that runs now, or None for a sweep without one; the thread that ends the process reads it."""
_PATIENCE_S = 0.7  # for what is being written to be removed or moved; then threads that compute are left


@contextmanager
def ended_by_interrupt() -> Iterator[None]:
    """End the process with exit code 130 within a second of Ctrl-C, although threads may still compute.

    What was finished before is kept: files are written completely or not at all, and the folder of a sweep holds every
    finished fit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = threading.Event()

    def interrupted(number: int, frame: Any) -> None:
        asked.set()
        after(_PATIENCE_S, INTERRUPTED)
        raise KeyboardInterrupt

    def unraisable(error: sys.UnraisableHookArgs) -> None:
        # Python cannot pass on what is raised in a callback of its garbage collector (JAX has one): the timer, which
        # runs already, ends the process.
        if not (asked.is_set() and isinstance(error.exc_value, KeyboardInterrupt)):
            hook(error)

    hook, sys.unraisablehook = sys.unraisablehook, unraisable
    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook = hook
        if asked.is_set():
            _leave(INTERRUPTED)


@contextmanager
def keeping(folder: str | None) -> Iterator[None]:
    """Say how many fits were finished, and where they are kept, if this block of many fits fails or is ended.

    Parameters
    ----------
    folder : str or None
        Folder of the finished fits; None if they are not kept.
    """
    _RUNNING.append(folder)
    FINISHED.clear()
    try:
        yield
    except Exception:
        if folder is not None or FINISHED["fits"]:  # else the error is of the input
            click.echo(_kept(folder), err=True)
        _RUNNING.clear()
        raise
    _RUNNING.clear()  # an interrupt leaves it for the end of the process


def _kept(folder: str | None) -> str:
    if folder is None:
        return f"bayescale: {counted(FINISHED['fits'], 'fit')} finished, none kept: --folder FOLDER keeps finished fits"
    finished = sum(1 for _ in Path(folder).rglob("*.nc"))
    return f"bayescale: {counted(finished, 'finished fit')} kept in {folder}; the same command reads them from there"


def after(seconds: float, code: int, message: str = "") -> None:
    """End the process with an exit code after a time, unless it has ended before."""
    timer = threading.Timer(seconds, _leave, (code, message))
    timer.daemon = True
    timer.start()


def _leave(code: int, message: str = "") -> None:
    for line in [*([message] if message else []), *map(_kept, _RUNNING)]:
        click.echo(line, err=True)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # As at any other exit: else the semaphores of worker processes are left, with a warning.
    util._run_finalizers(0)  # type: ignore[attr-defined]  # what multiprocessing itself registers at exit
    os._exit(code)  # threads of XLA cannot be interrupted
