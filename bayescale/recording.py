"""Records of calibration: small TOML files kept beside the specs they are of."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bayescale import shipped
from bayescale.errors import FitError

FOLDER = "calibration"


def write(content: Mapping[str, Any], path: str | Path) -> Path:
    """Write nested plain values as TOML.

    Raises
    ------
    FitError
        If the folder does not exist or cannot be written.
    """
    path = Path(path)
    try:
        path.write_text("\n".join(_lines(content, ())) + "\n", encoding="utf-8")
    except OSError as error:
        raise FitError(f"cannot write {path}", came=str(error), do="choose a folder that exists") from None
    return path


def find(source: str | Path) -> dict[str, Any] | None:
    """Record of the spec of a name or path, from the folder ``calibration`` beside it; None if there is none.

    Raises
    ------
    FitError
        If the record is damaged.
    """
    path = Path(source)
    if path.suffix != ".toml" and not path.is_file():
        path = shipped.locate("models", str(source))
    record = path.parent / FOLDER / f"{path.stem}.toml"
    try:
        content = tomllib.loads(record.read_text(encoding="utf-8"))
        words(content, "")  # whether it holds what will be told
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FitError(f"{record} is no record of a calibration", came=repr(error), do="calibrate again") from None
    return content


def words(record: Mapping[str, Any], digest: str) -> str:
    """What a record says of the spec with a digest, in one line."""
    made = f"{record['simulations']} simulations, seed {record['seed']}, bayescale {record['versions']['bayescale']}"
    said = f"ranks of {len(record['quantities'])} quantities inside their bands"
    said = said if record["passed"] else f"FAILED: {record['verdict']}"
    stale = "" if record["digest"] == digest else "STALE, of another version of this spec: "
    return f"{stale}{said} ({made})"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    plain = {k: v for k, v in table.items() if not isinstance(v, Mapping)}
    lines = ["", f"[{'.'.join(map(_key, path))}]"] if path and plain else []
    lines += [f"{_key(k)} = {_value(v)}" for k, v in plain.items()]
    for name, inner in table.items():
        if isinstance(inner, Mapping):
            lines += _lines(inner, (*path, name))
    return lines


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else json.dumps(name)


def _value(value: Any) -> str:
    """Strings and lists are written alike in TOML and JSON; floats keep four digits."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{float(f'{value:.4g}')!r}"
    return json.dumps(value, ensure_ascii=False)
