"""Reading and writing of TOML files, such as the records of what was measured for a spec.

A record names the spec and its digest (``spec``, ``spec_digest``). If the spec has another digest, the record is stale.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tomlkit

from bayescale.core import shipped
from bayescale.core.errors import QueryError, why_unwritten
from bayescale.core.files import atomic_write, kind_of, path_of

_MOST_BYTES = 4_000_000  # the largest built-in file has 50,000
_HEADED = 2  # levels of nested tables with their own heading, such as [parameters.level]

# Built-in files nest brackets four deep, and their keys have three parts. The product of both limits bounds the depth
# of what is read, far below the recursion limit of Python.
_DEEPEST = 16
_BETWEEN = frozenset("[{,=\n")  # marks between keys
_MARKS = re.compile(
    r"""
      "{3} (?: [^"\\] | \\. | "(?!"") )*+ (?: "{3,5} )?  # text, which may hold every other mark
    | '{3} (?: [^'] | '(?!'') )*+ (?: '{3,5} )?
    | " (?: [^"\\\n] | \\. )*+ "?
    | ' [^'\n]*+ '?
    | \#[^\n]*+
    | [\[\]{}.,=\n]
    """,
    re.DOTALL | re.VERBOSE,
)


def record_path(source: str | Path, folder: str) -> Path:
    """Return the path of the record of a spec, in a folder next to the spec.

    Parameters
    ----------
    source : str or Path
        Name of a built-in spec, or path of a spec.
    folder : str
        Name of the folder.

    Returns
    -------
    Path

    Raises
    ------
    UnknownName
        If there is no such spec.
    """
    path = path_of(source, QueryError)
    if path.suffix != ".toml" and kind_of(path, QueryError) != "file":
        path = shipped.locate("models", str(source))
    return path.parent / folder / f"{path.stem}.toml"


def load(path: str | Path) -> dict[str, Any]:
    """Read a TOML file, with limits on its size, on its depth and on the parts of a key.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    dict

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not TOML, is larger or more deeply nested than any file of bayescale, or is a pipe or a device.
    """
    path = Path(path)
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe may never end
        raise ValueError("a folder, a pipe or a device, not a file")
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"more than {_MOST_BYTES} bytes")
    return _parsed(content.decode("utf-8"))


def _parsed(text: str) -> dict[str, Any]:
    """Parse TOML after a check of its depth: the parser calls itself, and is quadratic in the parts of a key."""
    depth, parts = 0, 1
    for mark in _MARKS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(mark[0], 0)
        parts = parts + 1 if mark[0] == "." else 1 if mark[0] in _BETWEEN else parts
        if max(depth, parts) > _DEEPEST:
            line = text.count("\n", 0, mark.start()) + 1
            raise ValueError(
                f"lists and tables are nested, or a key has parts, more than {_DEEPEST} deep at line {line}"
            )
    return tomllib.loads(text)


def read[Content](path: str | Path, kind: str, look: Callable[[dict[str, Any]], Content]) -> Content | None:
    """Read a record.

    Parameters
    ----------
    path : str or Path
    kind : str
        What the record is of, for messages.
    look : callable
        Converts the content of the file.

    Returns
    -------
    object or None
        What `look` returns; None if there is no file.

    Raises
    ------
    QueryError
        If the file is not TOML, or `look` does not find what it needs.
    """
    path = Path(path)
    try:
        return look(load(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        got = f"a file without {error.args[0]!r}" if isinstance(error, KeyError) else str(error)
        raise QueryError(f"{path} is not a record of {kind}", expected="a TOML file that bayescale wrote", got=got,
                         hint="create it again, or choose another file") from None  # fmt: skip


def write(content: Mapping[str, Any], path: str | Path, heading: str = "", *, digits: int = 6) -> Path:
    """Write nested plain values as TOML, under a comment, completely or not at all.

    Parameters
    ----------
    content : mapping
        Strings, numbers, NumPy scalars, lists and mappings.
    path : str or Path
    heading : str
        A comment on the first line.
    digits : int
        Significant digits of floats; 17 keep the exact value.

    Returns
    -------
    Path
        The path of the file.

    Raises
    ------
    QueryError
        If a value cannot be written as TOML, or the file cannot be written.
    """
    path, text = Path(path), dumps(content, heading, digits=digits)
    try:
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise QueryError(f"cannot write {path}", **why_unwritten(error)) from None
    return path


def dumps(content: Mapping[str, Any], heading: str = "", *, digits: int = 6) -> str:
    """Return nested plain values as TOML text.

    Parameters
    ----------
    content, heading, digits
        As in :func:`write`.

    Returns
    -------
    str

    Raises
    ------
    QueryError
        If a value cannot be written so that reading it returns the same value.
    """
    document = tomlkit.document()
    if heading:
        document.add(tomlkit.comment(heading))
    try:
        _fill(document, content, digits)
        text = tomlkit.dumps(document)
        _parsed(text.encode("utf-8").decode("utf-8"))
    except (TypeError, ValueError, tomlkit.exceptions.TOMLKitError) as error:
        raise QueryError("a value cannot be written as TOML", expected="text, numbers, lists and tables",
                         got=str(error), hint="remove unusual characters from names and titles") from None  # fmt: skip
    return text


def _fill(table: Any, content: Mapping[str, Any], digits: int, depth: int = 0) -> None:
    """Fill a table with its own values first, then its tables, as TOML requires; the deepest tables are inline."""
    for name, value in sorted(content.items(), key=lambda pair: _is_table(pair[1]) or _is_tables(pair[1])):
        if _is_table(value) and depth < _HEADED:
            inner = tomlkit.table(is_super_table=bool(value) and all(map(_is_table, value.values())))
            _fill(inner, value, digits, depth + 1)
            table.add(name, inner)
        elif _is_tables(value) and not depth and all(map(_is_table, value)):
            rows = tomlkit.aot()
            for row in value:
                rows.append(tomlkit.table())
                _fill(rows[-1], row, digits, _HEADED)
            table.add(name, rows)
        else:
            table.add(name, _inline(value, digits))


def _inline(value: Any, digits: int) -> Any:
    """Return a value on one line, or a list of tables with one table per line."""
    value = value.item() if hasattr(value, "item") else value
    if _is_table(value):
        inner = tomlkit.inline_table()
        for name, one in value.items():
            inner.add(name, _inline(one, digits))
        return inner
    if isinstance(value, list | tuple):
        array = tomlkit.array().multiline(_is_tables(value))
        for one in value:
            array.append(_inline(one, digits))
        return array
    return tomlkit.item(float(f"{value:.{digits}g}") if isinstance(value, float) else value)


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and any(map(_is_table, value))
