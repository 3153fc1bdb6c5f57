"""Time spent in each stage, and a progress bar with the remaining time on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Stages:
    """A timer for stages.

    Attributes
    ----------
    show : bool
        Whether to draw progress bars on standard error, with the remaining time.
    seconds : dict of float
        Time spent in each stage, in seconds.
    """

    show: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    _bar: Any = None

    @contextmanager
    def __call__(self, name: str, steps: int = 1) -> Iterator[Any]:
        """Time a stage. Call the function that it yields once after each step."""
        started = time.perf_counter()
        task = self._bar.add_task(name, total=steps) if self._bar else None

        def advance() -> None:
            if self._bar:
                self._bar.advance(task)

        try:
            yield advance
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
            if self._bar:
                self._bar.update(task, completed=steps)

    @contextmanager
    def shown(self) -> Iterator[Stages]:
        """Draw the progress bars inside this block."""
        if not self.show:
            yield self
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description:24}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as self._bar:
            yield self
        self._bar = None


def on_terminal() -> bool:
    """Whether standard error is a terminal."""
    return sys.stderr.isatty()
