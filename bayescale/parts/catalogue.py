"""The catalogue: parts are found by their files; nothing is registered by hand."""

from __future__ import annotations

import inspect
import pkgutil
from functools import cache
from importlib import import_module
from typing import Any

from bayescale.core.errors import DefinitionError, UnknownName, nearest
from bayescale.parts.base import Part


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


def part(kind: str, name: str, **fields: Any) -> Any:
    """Part of a kind (``"laws"``, ``"noise"``, …) by its name, with some of its fields; the others are as by default.

    Raises
    ------
    UnknownName
        If no part of the kind has the name.
    SpecError
        If it has no such field, or a value is not of the field's kind.

    Examples
    --------
    >>> part("discrepancies", "local", knots=12).coordinates
    {'local': 13}
    """
    of = find(f"bayescale.parts.{kind}", name)
    return _instance(of, tuple(sorted(of.changed(fields).items())))


@cache
def _instance(of: type[Part], fields: tuple[tuple[str, Any], ...]) -> Part:
    return of(**dict(fields))


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
