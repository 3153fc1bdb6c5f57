"""Record: what a study of a spec measured, as a small TOML file kept beside the spec.

It names the spec and its digest (``spec``, ``spec_digest``): of another digest it is stale.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from bayescale.core import shipped
from bayescale.core.errors import QueryError
from bayescale.core.files import whole


def beside(source: str | Path, folder: str) -> Path:
    """Where the record of a spec of a name or path is kept: in a folder beside it."""
    path = Path(source)
    if path.suffix != ".toml" and not path.is_file():
        path = shipped.locate("models", str(source))
    return path.parent / folder / f"{path.stem}.toml"


def read[Content](path: str | Path, kind: str, look: Callable[[dict[str, Any]], Content]) -> Content | None:
    """Return what `look` makes of a record; None if there is no file.

    Raises
    ------
    QueryError
        If the file is no TOML, or `look` misses something in it.
    """
    path = Path(path)
    try:
        return look(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise QueryError(f"{path} is no record of {kind}", came=f"{type(error).__name__}: {error}",
                         do="make it again, or choose another file") from None  # fmt: skip


def write(content: Mapping[str, Any], path: str | Path, heading: str = "", *, digits: int = 6) -> Path:
    """Write nested plain values as TOML, under a comment; floats to so many `digits` (17 keep all).

    Raises
    ------
    QueryError
        If the file cannot be written.
    """
    path = Path(path)
    lines = [f"# {heading}"] * bool(heading) + _lines(content, (), partial(_value, digits=digits))
    try:
        with whole(path) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise QueryError(f"cannot write {path}", came=str(error), do="choose a folder that exists") from None
    return path


def _lines(table: Mapping[str, Any], path: tuple[str, ...], said: Callable[[Any], str]) -> list[str]:
    """Lines of a table, and of the tables in it; what lists of tables hold is written inline."""
    plain = {k: v for k, v in table.items() if not isinstance(v, Mapping) and not _is_tables(v)}
    lines = ["", f"[{'.'.join(map(_key, path))}]"] if path and plain else []
    lines += [f"{_key(k)} = {said(v)}" for k, v in plain.items()]
    for name, inner in table.items():
        if isinstance(inner, Mapping):
            lines += _lines(inner, (*path, name), said)
        elif _is_tables(inner):
            for row in inner:
                lines += ["", f"[[{'.'.join(map(_key, (*path, name)))}]]"]
                lines += [f"{_key(k)} = {said(v)}" for k, v in row.items()]
    return lines


def _is_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and any(isinstance(row, Mapping) for row in value)


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else json.dumps(name)


def _value(value: Any, digits: int) -> str:
    """Strings are written alike in TOML and JSON."""
    said = partial(_value, digits=digits)
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {said(v)}" for k, v in value.items()) + "}"
    if _is_tables(value):
        return "\n".join(["[", *(f"  {said(row)}," for row in value), "]"])
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(said, value)) + "]"
    if isinstance(value, float):
        return f"{float(f'{value:.{digits}g}')!r}"
    return json.dumps(value, ensure_ascii=False)
