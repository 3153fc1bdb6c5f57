"""The catalogue: parts are found by their files; nothing is registered by hand."""

from __future__ import annotations

import inspect
import pkgutil
from functools import cache
from importlib import import_module
from typing import Any

from bayescale.core.errors import DefinitionError, UnknownName, nearest


@cache
def catalogue(package: str) -> dict[str, Any]:
    """Classes with a `name` that the modules of `package` define, by that name.

    A new file is found by being there; nothing is registered by hand.
    """
    found: dict[str, Any] = {}
    for info in pkgutil.iter_modules(import_module(package).__path__):
        module = import_module(f"{package}.{info.name}")
        for thing in vars(module).values():
            mine = inspect.isclass(thing) and thing.__module__ == module.__name__
            if mine and "name" in vars(thing):
                if thing.name in found:
                    raise DefinitionError(f"two parts of {package} are called {thing.name!r}")
                found[thing.name] = thing
    return dict(sorted(found.items()))


def part(kind: str, name: str) -> Any:
    """Class of a part by its kind (``"laws"``, ``"noise"``, …) and name."""
    return find(f"bayescale.parts.{kind}", name)


def find(package: str, name: str) -> Any:
    """Class of a name among those that the modules of a package define."""
    found = catalogue(package)
    if name not in found:
        raise UnknownName(
            f"no part of {package.rpartition('.')[2]} is called {name!r}",
            wanted=f"one of: {', '.join(found)}",
            came=repr(name),
            do=nearest(name, found),
        )
    return found[name]
