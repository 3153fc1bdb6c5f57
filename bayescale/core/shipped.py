"""Location of ``models/`` and ``data/``, in a wheel or in a checkout."""

from __future__ import annotations

from pathlib import Path

from bayescale.core.errors import UnknownName, nearest

_HERE = Path(__file__).resolve().parent.parent


def folder(kind: str) -> Path:
    """Return the folder of the built-in models or data.

    Parameters
    ----------
    kind : {"models", "data"}

    Returns
    -------
    Path
    """
    in_wheel = _HERE / "shipped_files" / kind
    return in_wheel if in_wheel.is_dir() else _HERE.parent / kind


def names(kind: str) -> list[str]:
    """Return the sorted names of the built-in specs or tables of runs.

    Parameters
    ----------
    kind : {"models", "data"}

    Returns
    -------
    list of str
    """
    pattern = {"models": "*.toml", "data": "*/card.toml"}[kind]
    found = folder(kind).glob(pattern)
    return sorted(path.parent.name if kind == "data" else path.stem for path in found)


def locate(kind: str, name: str) -> Path:
    """Return the path of a built-in spec (a TOML file) or table of runs (a folder).

    Parameters
    ----------
    kind : {"models", "data"}
    name : str

    Returns
    -------
    Path

    Raises
    ------
    UnknownName
        If no built-in spec or table has this name.
    """
    if name not in names(kind):
        what = {"models": "model", "data": "table of runs"}[kind]
        raise UnknownName(
            f"no built-in {what} is called {name!r}, and there is no file at that path",
            expected=f"the path of a file, or one of: {', '.join(names(kind))}",
            got=repr(name),
            hint=nearest(name, names(kind)),
        )
    return folder(kind) / (f"{name}.toml" if kind == "models" else name)
