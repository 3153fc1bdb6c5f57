"""Digests of code: of what a class or function computes, not of how or where it is written.

Comments, docstrings, annotations, formatting, imports and the module's place do not count. Formulas, constants, and
every helper that they use do.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import linecache
import pkgutil
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import is_dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

_PACKAGE = __name__.partition(".")[0]


def code_digest(*things: Any, without: Collection[str] = ()) -> str:
    """SHA-256 of what classes or functions compute, with all that they use of this package and of their own.

    Parameters
    ----------
    *things : class or function
    without : collection of str
        Attributes of classes that do not count, such as prose.

    Returns
    -------
    str
        Hexadecimal digits.
    """
    found: dict[Any, str] = {}
    homes = {_PACKAGE, *(thing.__module__.partition(".")[0] for thing in things)}
    for thing in things:
        _collect(thing, homes, frozenset(without), found)
    return hashlib.sha256("\n".join(sorted(found.values())).encode()).hexdigest()


@cache
def package_digest(*packages: str) -> str:
    """SHA-256 of all code of some packages, by the same rules."""
    found = []
    for package in packages:
        for info in pkgutil.iter_modules(import_module(package).__path__):
            tree = ast.parse(Path(info.module_finder.path, f"{info.name}.py").read_text(encoding="utf-8"))  # type: ignore[union-attr]
            found.append(f"{info.name} {ast.dump(_Stripper(frozenset()).visit(tree))}")
    return hashlib.sha256("\n".join(found).encode()).hexdigest()


def _collect(thing: Any, homes: set[str], without: frozenset[str], found: dict[Any, str]) -> None:
    """Add a definition, and those that it uses, to what was found."""
    if thing in found:
        return
    node = _node(thing)
    if node is None:
        found[thing] = f"{thing.__qualname__} {_compiled(thing)}"
        return
    node = _stripped(node, without)
    found[thing] = ast.dump(node)
    names = vars(sys.modules[thing.__module__]) if thing.__module__ in sys.modules else {}
    for name, value in _used(node, names):
        if inspect.isclass(value) or inspect.isfunction(value):
            if value.__module__.partition(".")[0] in homes and not inspect.isabstract(value):
                _collect(value, homes, without, found)
        elif (text := _text(value)) is not None:
            found[(thing.__module__, name)] = f"{name} = {text}"


def _used(node: ast.AST, names: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Global names that code reads, with their values; of a module the attribute that is read."""
    for one in ast.walk(node):
        if isinstance(one, ast.Name) and one.id in names and not isinstance(names[one.id], ModuleType):
            yield one.id, inspect.unwrap(names[one.id]) if callable(names[one.id]) else names[one.id]
        elif isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name):
            module = names.get(one.value.id)
            if isinstance(module, ModuleType) and hasattr(module, one.attr):
                yield one.attr, getattr(module, one.attr)


def _text(value: Any) -> str | None:
    """A constant as text that says all of it; None of what is no constant."""
    if isinstance(value, set | frozenset):
        return _text(sorted(value, key=repr))
    if isinstance(value, Mapping):
        return _text(sorted(value.items(), key=repr))
    if isinstance(value, tuple | list):
        texts = [_text(one) for one in value]
        return None if None in texts else f"({', '.join(map(str, texts))})"
    plain = isinstance(value, bool | int | float | complex | str | bytes | None)
    return repr(value) if plain or (is_dataclass(value) and not isinstance(value, type)) else None


def _node(thing: Any) -> ast.AST | None:
    """Definition of a class or function, or None where its source is not to be had."""
    tree: ast.AST | None = _tree(thing.__module__)
    for name in thing.__qualname__.split("."):
        body = getattr(tree, "body", ())
        tree = next((one for one in body if getattr(one, "name", None) == name), None)
    if tree is None:
        try:
            (tree,) = ast.parse(inspect.cleandoc(inspect.getsource(thing))).body
        except (OSError, TypeError, SyntaxError, ValueError):
            return None
    return tree


@cache
def _tree(module: str) -> ast.Module | None:
    path = getattr(sys.modules.get(module), "__file__", None)
    source = "".join(linecache.getlines(path)) if path else ""
    return ast.parse(source) if source else None


class _Stripper(ast.NodeTransformer):
    """Takes out docstrings, annotations, imports, and attributes of classes that do not count."""

    def __init__(self, without: frozenset[str]) -> None:
        self.without = without

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node

    def visit_Import(self, node: ast.AST) -> None:
        return None

    def visit_ImportFrom(self, node: ast.AST) -> None:
        return None

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body = [one for one in node.body if not self._is_left_out(one)]
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(node.arg)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        return None if node.value is None else self.generic_visit(ast.Assign([node.target], node.value))

    def _is_left_out(self, node: ast.AST) -> bool:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        return any(isinstance(one, ast.Name) and one.id in self.without for one in targets)


def _stripped(node: ast.AST, without: frozenset[str]) -> ast.AST:
    return _Stripper(without).visit(ast.parse(ast.unparse(node)).body[0])


def _compiled(thing: Any) -> str:
    """What stands in for a source that is not to be had: byte code, constants and names."""
    functions = [thing] if isinstance(thing, FunctionType) else [
        value.__func__ if isinstance(value, staticmethod | classmethod) else value for value in vars(thing).values()
    ]  # fmt: skip
    return repr([_code(function.__code__) for function in functions if isinstance(function, FunctionType)])


def _code(code: CodeType) -> tuple:
    inner = tuple(_code(one) if isinstance(one, CodeType) else repr(one) for one in code.co_consts)
    return code.co_code, inner, code.co_names
