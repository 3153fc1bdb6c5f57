"""Where ``models/`` and ``data/`` are, in a wheel or in a checkout."""

from __future__ import annotations

from pathlib import Path

from bayescale.core.errors import UnknownName, nearest

_HERE = Path(__file__).resolve().parent.parent


def folder(kind: str) -> Path:
    """Folder of what ships: `kind` is ``"models"`` or ``"data"``."""
    in_wheel = _HERE / "shipped_files" / kind
    return in_wheel if in_wheel.is_dir() else _HERE.parent / kind


def names(kind: str) -> list[str]:
    """Names of the shipped specs or tables of runs, sorted."""
    pattern = {"models": "*.toml", "data": "*/card.toml"}[kind]
    found = folder(kind).glob(pattern)
    return sorted(path.parent.name if kind == "data" else path.stem for path in found)


def locate(kind: str, name: str) -> Path:
    """Path of a shipped spec (a TOML file) or table of runs (a folder)."""
    if name not in names(kind):
        what = {"models": "model", "data": "table of runs"}[kind]
        raise UnknownName(
            f"no shipped {what} is called {name!r}, and no file is at that path",
            wanted=f"the path of a file, or one of: {', '.join(names(kind))}",
            came=repr(name),
            do=nearest(name, names(kind)),
        )
    return folder(kind) / (f"{name}.toml" if kind == "models" else name)
