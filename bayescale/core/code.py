"""Digests of code, which depend on what a class or function computes and not on how or where it is written.

Formulas, constants, defaults and every helper that they use, inherited ones included, enter the digest. Comments,
docstrings, annotations, formatting, imports, names of modules and helpers, and the wording of errors do not.
"""

from __future__ import annotations

import ast
import hashlib
import linecache
from collections import namedtuple
from collections.abc import Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import fields, is_dataclass, make_dataclass
from functools import cache, cached_property, lru_cache, partial, singledispatch
from importlib import import_module
from importlib.util import find_spec
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

_PACKAGE = __name__.partition(".")[0]
_MACHINERY = {"__annotate__", "__annotate_func__", "__class_getitem__", "__init_subclass__", "_abc_impl"}
_GENERATED = {*vars(make_dataclass("Made", (), frozen=True, order=True)), *vars(namedtuple("Made", ()))}
# Fields of syntax trees that do not affect what the code computes.
_UNREAD = {"annotation", "ctx", "kind", "returns", "type_comment", "type_params"}
_IDLE = (ast.Import, ast.ImportFrom, ast.Pass)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_STARRED = 0x0C  # flags of a code object that takes *args or **kwargs
_NOTHING = object()


def code_digest(*things: Any, without: Collection[str] = ()) -> str:
    """Return the SHA-256 of what classes, instances or functions compute.

    It covers everything that they use from this package and from their own packages. It is computed from the source,
    so that it is the same under every version of Python. Where there is no source, it is computed from the bytecode.

    Parameters
    ----------
    *things : class, instance of a class, or function
    without : collection of str
        Attributes of classes and fields of dataclasses to leave out, such as prose.

    Returns
    -------
    str
        Hexadecimal digits.
    """
    return _sha(_Graph(things, without).texts())


@cache
def modules_digest(*modules: str) -> str:
    """Return the SHA-256 of the statements of some modules, whatever their order and the module that holds each.

    Parameters
    ----------
    *modules : str
        Dotted names of modules.

    Returns
    -------
    str
        Hexadecimal digits; the rules are those of :func:`code_digest`.
    """
    return _sha(sorted(line for name in modules for line in _statements(ast.parse(_source(name)))))


def _sha(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()


def _source(module: str) -> str:
    """Return the source of a module without importing it; empty if only compiled code is installed."""
    spec = find_spec(module)
    loader: Any = spec.loader if spec else None
    return (loader.get_source(module) if loader else None) or ""


def _statements(tree: ast.Module) -> Iterator[str]:
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if node.level or str(node.module).partition(".")[0] == _PACKAGE]
    modules = {name.asname or name.name for node in ours for name in node.names if name.name.islower()}
    dump = _Graph(()).dump
    return (dump(node, dict.fromkeys(modules, _PACKAGE)) for node in tree.body if _computes(node))


class _Graph:
    """Definitions and everything that they use, each identified by the order in which it is first visited."""

    def __init__(self, roots: Iterable[Any], without: Collection[str] = ()) -> None:
        self.roots, self.without = list(roots), frozenset(without)
        self.packages = {_PACKAGE, *(str(root.__module__).partition(".")[0] for root in self.roots)} - {"builtins"}
        self.things: list[Any] = []
        self.places: dict[int, int] = {}

    def texts(self) -> Iterator[str]:
        """Yield each definition in canonical form. `things` grows while this loop runs."""
        for root in self.roots:
            self.refer(root)
        for thing in self.things:
            if isinstance(thing, type):
                yield self._class(thing)
            elif isinstance(thing, FunctionType):
                yield self._function(thing)
            else:
                held = getattr(thing, "__dict__", {})
                counted = {name: value for name, value in held.items() if name not in self.without}
                yield self.value({"type": type(thing), **counted})

    def value(self, thing: Any) -> str:
        """Return a value in canonical form."""
        return _canonical(thing, self)

    def refer(self, thing: Any) -> str:
        """Return a reference to a thing, which is described once however often it is used."""
        if id(thing) not in self.places:
            self.places[id(thing)] = len(self.things)
            self.things.append(thing)
        return f"#{self.places[id(thing)]}"

    def owns(self, module: str | None) -> bool:
        """Whether the definitions in a module enter the digest."""
        return not module or module.partition(".")[0] in self.packages

    def _class(self, cls: type) -> str:
        own = [base for base in cls.__mro__ if base in self.roots or self.owns(base.__module__)]
        outside = [_called(base) for each in own for base in each.__bases__ if base not in own]
        names = sorted({name for base in own for name in vars(base)} - self.without - _MACHINERY)
        members = {name: list(self._definitions(own, name)) for name in names}
        return f"class {outside} {self.value({name: found for name, found in members.items() if found})}"

    def _definitions(self, bases: list[type], name: str) -> Iterator[Any]:
        """Yield the definition of a name in a class, then each definition that it reaches through ``super()``."""
        for found in (vars(base)[name] for base in bases if name in vars(base)):
            function = getattr(found, "__func__", found)
            if self._is_written(name, function):
                yield found
            if not (isinstance(function, FunctionType) and "__class__" in function.__code__.co_freevars):
                return

    def _is_written(self, name: str, found: Any) -> bool:
        """Whether a person wrote this member, rather than Python or a decorator."""
        if not isinstance(found, FunctionType):
            return not (name.startswith("__") and name.endswith("__")) or name == "__match_args__"
        return self.owns(found.__globals__.get("__name__")) and not (name in _GENERATED and _node(found) is None)

    def _function(self, function: FunctionType) -> str:
        code, node = function.__code__, _node(function)
        starred = code.co_flags & _STARRED
        counts = (code.co_posonlyargcount, code.co_argcount, code.co_kwonlyargcount, starred)
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + starred.bit_count()]
        known = _known(function, node)
        if node is None:
            body = _compiled(code) + self.value({name: known[name] for name in sorted(known)})
        else:
            body = self.dump(node.body, known)
        return f"def {counts} {names} {self.value([function.__defaults__, function.__kwdefaults__])} {body}"

    def dump(self, node: Any, known: Mapping[str, Any]) -> str:
        """Return a syntax tree in canonical form, with each name in `known` replaced by its value."""
        if isinstance(node, list):
            return f"[{', '.join(self.dump(each, known) for each in node if _computes(each))}]"
        if not isinstance(node, ast.AST):
            return repr(node)
        if isinstance(node, ast.Raise):
            return "Raise"
        found = self._found(node, known)
        if found is not _NOTHING:
            return self.value(found)
        if isinstance(node, ast.AnnAssign) and node.value:
            node = ast.Assign([node.target], node.value)
        parts = [(name, getattr(node, name, None)) for name in _read(type(node).__name__)]
        said = [f"{name}={self.dump(value, known)}" for name, value in parts if value is not None and value != []]
        return f"{type(node).__name__}({', '.join(said)})"

    def _found(self, node: ast.AST, known: Mapping[str, Any]) -> Any:
        """Return the value of a name, or of an attribute of one of our modules or classes."""
        if isinstance(node, ast.Name):
            return known.get(node.id, _NOTHING)
        if not isinstance(node, ast.Attribute):
            return _NOTHING
        of = self._found(node.value, known)
        if isinstance(of, ModuleType) and self.owns(of.__name__):
            return getattr(of, node.attr, _NOTHING)
        if isinstance(of, type) and self.owns(of.__module__):
            return next((vars(base)[node.attr] for base in of.__mro__ if node.attr in vars(base)), _NOTHING)
        return _NOTHING


@cache
def _read(kind: str) -> tuple[str, ...]:
    return tuple(name for name in getattr(ast, kind)._fields if name not in _UNREAD)


@singledispatch
def _canonical(thing: Any, graph: _Graph) -> str:
    if is_dataclass(thing):
        names = [field.name for field in fields(thing) if field.name not in graph.without]
        return _canonical({"type": type(thing)} | {name: getattr(thing, name) for name in names}, graph)
    if hasattr(thing, "__wrapped__"):
        return _canonical(thing.__wrapped__, graph)
    if hasattr(thing, "__array__"):
        return _canonical(np.asarray(thing), graph)
    if graph.owns(type(thing).__module__) or getattr(thing, "__dict__", None):
        return graph.refer(thing)
    return _called(thing if hasattr(thing, "__name__") else type(thing))


@_canonical.register(type(None) | bool | int | float | complex | str | bytes)
def _(thing: Any, graph: _Graph) -> str:
    return repr(thing)


@_canonical.register
def _(thing: np.generic, graph: _Graph) -> str:
    return _canonical(thing.item(), graph)


@_canonical.register
def _(thing: np.ndarray, graph: _Graph) -> str:
    return f"array({thing.dtype}, {_canonical(thing.tolist(), graph)})"


@_canonical.register
def _(thing: list | tuple, graph: _Graph) -> str:
    kind = f"{_canonical(type(thing), graph)} " if hasattr(thing, "_fields") else ""
    return f"{kind}[{', '.join(_canonical(each, graph) for each in thing)}]"


@_canonical.register
def _(thing: Mapping, graph: _Graph) -> str:
    return f"{{{', '.join(f'{_canonical(k, graph)}: {_canonical(v, graph)}' for k, v in thing.items())}}}"


@_canonical.register(AbstractSet)
def _(thing: Any, graph: _Graph) -> str:
    return f"{{{', '.join(sorted(_canonical(each, graph) for each in thing))}}}"


@_canonical.register
def _(thing: staticmethod | classmethod, graph: _Graph) -> str:
    return f"{type(thing).__name__} {_canonical(thing.__func__, graph)}"


@_canonical.register
def _(thing: property, graph: _Graph) -> str:
    return f"property {_canonical([thing.fget, thing.fset], graph)}"


@_canonical.register
def _(thing: cached_property, graph: _Graph) -> str:
    return f"property {_canonical(thing.func, graph)}"


@_canonical.register
def _(thing: partial, graph: _Graph) -> str:
    return f"partial {_canonical([thing.func, thing.args, thing.keywords], graph)}"


@_canonical.register
def _(thing: ModuleType, graph: _Graph) -> str:
    return _PACKAGE if graph.owns(thing.__name__) else thing.__name__


@_canonical.register
def _(thing: type, graph: _Graph) -> str:
    return graph.refer(thing) if graph.owns(thing.__module__) else _called(thing)


@_canonical.register
def _(thing: FunctionType, graph: _Graph) -> str:
    if graph.owns(thing.__globals__.get("__name__")):
        return graph.refer(thing)
    return _canonical(thing.__wrapped__, graph) if hasattr(thing, "__wrapped__") else _called(thing)


def _called(thing: Any) -> str:
    """Return the name of a definition in another package, without the module, which that package may change."""
    return f"{str(getattr(thing, '__module__', '')).partition('.')[0]}.{getattr(thing, '__name__', '')}"


def _computes(node: Any) -> bool:
    """Whether a statement has an effect when it runs; docstrings, imports and annotations have none."""
    said = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return not (said or isinstance(node, _IDLE) or (isinstance(node, ast.AnnAssign) and node.value is None))


def _node(function: FunctionType) -> Any:
    """Return the syntax tree of a function, or None if its source is not available."""
    code = function.__code__
    linecache.checkcache(code.co_filename)
    source = "".join(linecache.getlines(code.co_filename, function.__globals__))
    return _functions_in(source).get((code.co_firstlineno, code.co_name))


@lru_cache(maxsize=64)
def _functions_in(source: str) -> dict[tuple[int, str], Any]:
    """Return the functions in a source by first line and name; None if a line has two of the same name."""
    found: dict[tuple[int, str], Any] = {}
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return found
    for node in ast.walk(tree):
        if isinstance(node, _FUNCTIONS):
            line = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
            key = line, getattr(node, "name", "<lambda>")
            found[key] = None if key in found else node
    return found


def _known(function: FunctionType, node: Any) -> dict[str, Any]:
    """Return the values of the names that a function reads and does not define itself."""
    names = set(_names_in(function.__code__))
    known = {name: function.__globals__[name] for name in names if name in function.__globals__}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # the name is not bound yet
            known[name] = cell.cell_contents
    imports = (each for each in ast.walk(node) if isinstance(each, ast.ImportFrom)) if node else ()
    for each in imports:
        module = import_module("." * each.level + (each.module or ""), function.__globals__.get("__package__"))
        known |= {alias.asname or alias.name: getattr(module, alias.name) for alias in each.names}
    return known


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _names_in(const)


def _compiled(code: CodeType) -> str:
    """Return bytecode, constants and names, for a function whose source is not available."""
    consts = [_compiled(const) if isinstance(const, CodeType) else repr(const) for const in code.co_consts]
    return f"{code.co_code.hex()} {consts} {code.co_names} {code.co_varnames}"
