"""Plots: functions ``plot_…`` that take and return matplotlib Axes, found by their files.

A function whose first argument is called ``fit`` or ``choice`` is drawn by ``bayescale plot`` too.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from matplotlib.axes import Axes

from bayescale.core.errors import DefinitionError

PREFIX = "plot_"


@cache
def catalogue() -> dict[str, Callable[..., Axes]]:
    """Functions of this package whose names begin with ``plot_``, by name."""
    found: dict[str, Callable[..., Axes]] = {}
    for info in pkgutil.iter_modules(__path__):
        module = import_module(f"{__name__}.{info.name}")
        for name, function in vars(module).items():
            if name.startswith(PREFIX) and inspect.isfunction(function) and function.__module__ == module.__name__:
                if name in found:
                    raise DefinitionError(f"two plots are called {name!r}")
                found[name] = function
    return dict(sorted(found.items()))


def kinds() -> dict[str, Callable[..., Axes]]:
    """Plots of a fit, or of a choice that is made for it, by the name that the command line gives them."""
    first = {name: next(iter(inspect.signature(function).parameters)) for name, function in catalogue().items()}
    return {
        name.removeprefix(PREFIX).replace("_", "-"): function
        for name, function in catalogue().items()
        if first[name] in ("fit", "choice")
    }


def others() -> dict[str, tuple[str, Callable[..., Axes]]]:
    """Plots of something else than a fit, with the class of what each draws, by the rest of their name."""
    found = {}
    for name, function in catalogue().items():
        first = next(iter(inspect.signature(function).parameters.values()))
        if first.name not in ("fit", "choice"):
            found[name.removeprefix(PREFIX)] = str(first.annotation).rpartition(".")[2], function
    return found


def of_choices() -> dict[str, Callable[..., Axes]]:
    """Plots of a choice, by the name that the command line gives them."""
    return {name: function for name, function in kinds().items()
            if next(iter(inspect.signature(function).parameters)) == "choice"}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Plots as attributes: ``bs.plots.plot_loss``."""
    if not name.startswith(PREFIX) or name not in catalogue():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return catalogue()[name]


def __dir__() -> list[str]:
    return [*catalogue(), "catalogue", "kinds", "of_choices", "others"]
