"""The cache folder of compiled programs: where it is, what it holds, and how it stays small.

Two caches share it: machine code, which JAX keeps, and traces (in a folder of their own), which bayescale keeps. Both
save time and nothing else: where the folder cannot be written, there is no cache.
"""

from __future__ import annotations

import os
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import platformdirs

VARIABLE = "BAYESCALE_CACHE"
"""Environment variable that names another folder; empty, it switches the cache off."""
TRACES = "traced"
MOST_BYTES = 1 << 30  # some four thousand programs of a quarter of a megabyte
MOST_AGE = 30 * 86400.0  # seconds since an entry was last used
_SWEEP_EVERY = 86400.0  # seconds
# How the files of both caches are called: whatever else a folder holds is not bayescale's to remove.
_OURS = {"": re.compile(r".+-[0-9a-f]{64}-(cache|atime)"), TRACES: re.compile(r"\.?[0-9a-f]{64}(\..+)?")}
_SWEPT = ".swept"  # its time of change is that of the last sweep


class Entry(NamedTuple):
    """A file of the cache: its size in bytes, and when it was last used, in seconds since the epoch."""

    path: Path
    size: int
    used: float


def folder() -> Path | None:
    """Folder of the cache, whether it exists or not; None if it is switched off."""
    name = os.environ.get(VARIABLE, platformdirs.user_cache_dir("bayescale"))
    return Path(name) if name else None


def usable() -> Path | None:
    """Folder of the cache, made if need be; None if it is switched off or cannot be written, which is said once.

    The folder is private to the user: compiled programs are trusted input.
    """
    path = folder()
    return path if path and _prepared(path) else None


@cache
def _prepared(path: Path) -> bool:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        reason = "" if os.access(path, os.W_OK | os.X_OK) else "it cannot be written"
    except OSError as error:
        reason = str(error)
    if reason:
        warnings.warn(f"no cache of compiled programs at {path}: {reason}. Programs are compiled in every process; "
                      f"set {VARIABLE} to another folder, or to nothing to do without.", stacklevel=2)  # fmt: skip
        return False
    _sweep_now_and_then(path)
    return True


def entries(path: Path) -> list[Entry]:
    """Files of both caches, the least recently used first."""
    return sorted(_found(path), key=lambda entry: entry.used)


def _found(path: Path) -> Iterator[Entry]:
    for place, called in _OURS.items():
        with suppress(OSError):  # another process may have removed it
            for file in os.scandir(path / place):
                with suppress(OSError):
                    if called.fullmatch(file.name) and file.is_file(follow_symlinks=False):
                        about = file.stat(follow_symlinks=False)
                        yield Entry(Path(file.path), about.st_size, max(about.st_atime, about.st_mtime))


def sweep(path: Path, *, most_bytes: float = MOST_BYTES, most_age: float = MOST_AGE) -> int:
    """Remove what was not used for so many seconds, then the least recently used down to so many bytes.

    Returns
    -------
    int
        How many entries were removed.
    """
    kept, removed = entries(path), 0
    size, now = sum(entry.size for entry in kept), time.time()
    for entry in kept:
        if now - entry.used <= most_age and size <= most_bytes:
            break
        with suppress(OSError):
            entry.path.unlink()
            removed += 1
        size -= entry.size
    return removed


def clear(path: Path) -> int:
    """Remove every entry; return how many there were."""
    return sweep(path, most_bytes=-1.0)


def _sweep_now_and_then(path: Path) -> None:
    marker = path / _SWEPT
    with suppress(OSError):
        if not marker.exists() or time.time() - marker.stat().st_mtime > _SWEEP_EVERY:
            marker.touch()
            sweep(path)
