"""The catalogue: parts are found by their files; nothing is registered by hand."""

from __future__ import annotations

import inspect
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from bayescale.core.errors import DefinitionError, SpecError, UnknownName, nearest
from bayescale.parts.base import (
    AbstractDiscrepancy,
    AbstractLaw,
    AbstractNoise,
    AbstractPooling,
    AbstractResource,
    AbstractResponse,
    Part,
)

ENTRY_POINTS = "bayescale.parts"
"""Group of entry points in which installed packages name their parts."""

_BASES: dict[str, type[Part]] = {
    "laws": AbstractLaw,
    "resources": AbstractResource,
    "responses": AbstractResponse,
    "noise": AbstractNoise,
    "discrepancies": AbstractDiscrepancy,
    "pooling": AbstractPooling,
}
CODE_ALLOWED = ContextVar("code_allowed", default=False)
"""Whether specs that are read from files may name code: set by ``bayescale --allow-code``."""
_ALLOWED: dict[str, type[Part]] = {}  # parts of people's own that they let run in this process, by "module:Class"
FOLDERS: dict[str, Path] = {}
"""Folder in which allowed code was found, by ``"module:thing"``, where it is not on Python's path."""


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
    of = _outside(kind, name) if ":" in name else find(f"bayescale.parts.{kind}", name)
    return _instance(of, tuple(sorted(of.changed(fields).items())))


@cache
def _instance(of: type[Part], fields: tuple[tuple[str, Any], ...]) -> Part:
    return of(**dict(fields))


def find(package: str, name: str) -> Any:
    """Class of a name among those that the modules of a package define, or that an installed package adds."""
    found = catalogue(package) | _installed(package.rpartition(".")[2])
    if name not in found:
        raise UnknownName(
            f"no part of {package.rpartition('.')[2]} is called {name!r}",
            expected=f"one of: {', '.join(found)}",
            got=repr(name),
            hint=nearest(name, found),
        )
    return found[name]


@cache
def _installed(kind: str) -> dict[str, type[Part]]:
    """Parts of a kind that installed packages name in the entry-point group, by name; their base says the kind."""
    found = [point.load() for point in entry_points(group=ENTRY_POINTS)] if kind in _BASES else []
    return {of.name: of for of in found if issubclass(of, _BASES[kind])}


def allow(of: type[Part]) -> str:
    """Let specs name a part of anybody's own by the returned ``"module:Class"``, for the rest of the process."""
    name = f"{of.__module__}:{of.__qualname__}"
    _ALLOWED[name] = of
    return name


def permit(name: str, folder: Path | None = None) -> None:
    """Import the module of a ``"module:Class"``, which runs its code, and allow the class.

    Parameters
    ----------
    name : str
    folder : Path, optional
        Where the module is looked for before the usual places.

    Raises
    ------
    SpecError
        If there is no such module or class, or the class is no part.
    """
    if name in _ALLOWED:
        return
    found = imported(name, folder)
    if not (inspect.isclass(found) and issubclass(found, Part)):
        raise SpecError(f"the code {name!r} is not a part", expected="a class that derives from AbstractLaw, say",
                        got=repr(found))  # fmt: skip
    _ALLOWED[name] = found


def imported(name: str, folder: Path | None = None) -> Any:
    """Import the module of a ``"module:thing"``, which runs its code; return the thing, None without it.

    Raises
    ------
    SpecError
        If there is no such module.
    """
    module, _, qualname = name.partition(":")
    try:
        with _first_on_path(folder):
            found = getattr(import_module(module), qualname, None)
        if folder is not None:
            FOLDERS[name] = folder
        return found
    except ImportError as error:
        raise SpecError(f"the code {name!r} cannot be imported", got=str(error),
                        hint="put the module beside the spec, or on the path of Python") from None  # fmt: skip


def not_allowed(name: str) -> SpecError:
    """Return the error of code that nobody has allowed to run."""
    return SpecError(f"the spec names code, {name!r}, which nobody has allowed to run", expected="your permission",
                     hint="if you trust it: `bayescale --allow-code VERB`, or allow_code=True in Python")  # fmt: skip


@contextmanager
def _first_on_path(folder: Path | None) -> Iterator[None]:
    places = [str(folder)] if folder else []
    sys.path[:0] = places
    try:
        yield
    finally:
        for place in places:
            sys.path.remove(place)


def _outside(kind: str, name: str) -> type[Part]:
    if name not in _ALLOWED:
        raise not_allowed(name)
    if not issubclass(_ALLOWED[name], _BASES[kind]):
        raise SpecError(
            f"the code {name!r} is not one of {kind}", expected=f"a class that derives from {_BASES[kind].__name__}"
        )
    return _ALLOWED[name]
