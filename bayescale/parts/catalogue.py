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
    AbstractPenalty,
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
    "penalties": AbstractPenalty,
    "responses": AbstractResponse,
    "noise": AbstractNoise,
    "discrepancies": AbstractDiscrepancy,
    "pooling": AbstractPooling,
}
MOST = 1000
"""Largest count that a field of a discrepancy or a penalty may be given, such as knots or bins: ten times the largest
default. Each is a column of the basis of every run, and a discrepancy's is a coordinate that every family samples."""
CODE_ALLOWED = ContextVar("code_allowed", default=False)
"""Whether specs that are read from files may name code. ``bayescale --allow-code`` sets it."""
_ALLOWED: dict[str, type[Part]] = {}  # custom parts that the user has allowed in this process, by "module:Class"
FOLDERS: dict[str, Path] = {}
"""Folder in which allowed code was found, by ``"module:thing"``, if it is not on Python's path."""


@cache
def catalogue(package: str) -> dict[str, Any]:
    """Return the classes with a `name` that the modules of a package define, by that name.

    A new file in the package is found without registration.

    Parameters
    ----------
    package : str
        Dotted name of the package.

    Returns
    -------
    dict of str to class

    Raises
    ------
    DefinitionError
        If two classes have the same name.
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
    """Return a part by its kind and name.

    Parameters
    ----------
    kind : str
        ``"laws"``, ``"noise"``, ….
    name : str
        Name of the part, or ``"module:Class"`` of a custom part that is allowed.
    **fields : int, float or tuple of str
        Values of fields; the other fields have their defaults.

    Returns
    -------
    Part

    Raises
    ------
    UnknownName
        If no part of the kind has the name.
    SpecError
        If it has no such field, a value is not valid for its field, or a custom part is not allowed or not of the kind.

    Examples
    --------
    >>> part("discrepancies", "local", knots=12).coordinates
    {'local': 13}
    """
    of = _outside(kind, name) if ":" in name else find(f"bayescale.parts.{kind}", name)
    return _instance(of, tuple(sorted(of.changed(fields).items())))


@cache
def _instance(of: type[Part], fields: tuple[tuple[str, Any], ...]) -> Part:
    for field, value in fields if issubclass(of, AbstractDiscrepancy | AbstractPenalty) else ():
        default = of.defaults()[field]
        if isinstance(value, int) and default <= MOST < value:  # a larger default, such as of a year, counts no columns
            raise SpecError(f"field {field!r} of part {of.name!r} has a value that is out of range",
                            expected=f"an integer from 1 to {MOST}", got=repr(value),
                            hint=f"its default is {default!r}")  # fmt: skip
    return of(**dict(fields))


def find(package: str, name: str) -> Any:
    """Return a class by its name, among those that the modules of a package define or an installed package adds.

    Parameters
    ----------
    package : str
        Dotted name of the package of the kind, such as ``"bayescale.parts.laws"``.
    name : str

    Returns
    -------
    class

    Raises
    ------
    UnknownName
        If there is no such class.
    """
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
    """Return the parts of a kind that installed packages declare as entry points, by name; their base sets the kind."""
    found = [point.load() for point in entry_points(group=ENTRY_POINTS)] if kind in _BASES else []
    return {of.name: of for of in found if issubclass(of, _BASES[kind])}


def allow(of: type[Part]) -> str:
    """Allow specs to name a custom part, for the rest of the process.

    Parameters
    ----------
    of : class
        The custom part.

    Returns
    -------
    str
        ``"module:Class"``, by which a spec names the part.
    """
    name = f"{of.__module__}:{of.__qualname__}"
    _ALLOWED[name] = of
    return name


def permit(name: str, folder: Path | None = None) -> None:
    """Import the module of a ``"module:Class"``, which runs its code, and allow the class.

    Parameters
    ----------
    name : str
    folder : Path, optional
        Searched for the module before the usual places.

    Raises
    ------
    SpecError
        If there is no such module or class, or the class is not a part.
    """
    if name in _ALLOWED:
        return
    found = imported(name, folder)
    if not (inspect.isclass(found) and issubclass(found, Part)):
        raise SpecError(f"the code {name!r} is not a part", expected="a subclass of a part, for example of AbstractLaw",
                        got=repr(found))  # fmt: skip
    _ALLOWED[name] = found


def imported(name: str, folder: Path | None = None) -> Any:
    """Import the module of a ``"module:thing"``, which runs its code, and return the thing.

    Parameters
    ----------
    name : str
        ``"module:thing"``.
    folder : Path, optional
        Searched for the module before the usual places.

    Returns
    -------
    object
        The thing; None if the module does not define it.

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
                        hint="put the module next to the spec, or on Python's path") from None  # fmt: skip


def not_allowed(name: str) -> SpecError:
    """Return the error for code that is not allowed to run."""
    return SpecError(f"the spec names code that is not allowed to run: {name!r}", expected="your permission",
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
            f"the code {name!r} is not one of the {kind}", expected=f"a subclass of {_BASES[kind].__name__}"
        )
    return _ALLOWED[name]
