"""Time spent in each stage, and a progress bar with the remaining time on a terminal."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

_WORDS = {
    "trace and compile": "compiling the search for the mode",
    "warm start": "searching for the mode",
    "sampling": "sampling chains",
    "checks": "diagnosing the chains",
    "fits": "fitting (the first one compiles)",
    "simulations": "simulating tables of runs",
    "comparison": "scoring and deciding under each model",
    "weighting": "scoring the average's forecasts",
}
"""What a stage waits for, by its name in ``meta["seconds"]``."""
_ONCE_FOUND = {"trace and compile": "compiling the sampler (if it is new)"}
"""What a stage of the same name waits for once the mode is found."""

FINISHED = Counter[str]()
"""How many ``"fits"`` the process has finished since a command began: what one that is ended says it has done."""

_BAR = 20  # characters: with the longest words and both times, a line of 80


def words(name: str, *, found: bool = False) -> str:
    """Return what a stage waits for, as a terminal shows it.

    Parameters
    ----------
    name : str
        Name of the stage.
    found : bool
        Whether the mode is found: what compiles before and after it shares a name, so that seconds add up.

    Returns
    -------
    str
    """
    return (_WORDS | (_ONCE_FOUND if found else {})).get(name, name)


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
    _found: bool = False

    @contextmanager
    def __call__(self, name: str, steps: int = 1) -> Iterator[Any]:
        """Time a stage. Call the function that it yields once after each step."""
        started = time.perf_counter()
        # A bar of one step could not move: without a total it pulses.
        total = steps if steps > 1 else None
        task = self._bar.add_task(words(name, found=self._found), total=total) if self._bar else None
        self._found = name == "warm start" or (self._found and name != "checks")  # a retry searches again

        def advance() -> None:
            if self._bar:
                self._bar.advance(task)

        try:
            yield advance
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
            if self._bar:
                self._bar.update(task, total=steps, completed=steps)

    @contextmanager
    def shown(self) -> Iterator[Stages]:
        """Draw the progress bars inside this block."""
        if not self.show:
            yield self
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description:36}"), BarColumn(_BAR), TimeElapsedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as self._bar:
            yield self
        self._bar = None


def on_terminal() -> bool:
    """Whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()  # None if the process was started without it
