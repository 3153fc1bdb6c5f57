"""The cache folder of compiled programs: where it is, what it holds, and how its size is limited.

Two caches share the folder: JAX keeps machine code in it, and bayescale keeps traces in a subfolder. Both only save
time. If the folder cannot be written, there is no cache.
"""

from __future__ import annotations

import os
import re
import time
import warnings
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import platformdirs

VARIABLE = "BAYESCALE_CACHE"
"""Environment variable that names another folder. An empty value switches the cache off."""
TRACES = "traced"
MOST_BYTES = 1 << 30  # room for about four thousand programs of 0.25 MB
MOST_AGE = 30 * 86400.0  # seconds since an entry was last used
_SWEEP_EVERY = 86400.0  # seconds
# Names of the files of both caches. bayescale must not remove any other file in the folder.
_OURS = {"": re.compile(r".+-[0-9a-f]{64}-(cache|atime)"), TRACES: re.compile(r"\.?[0-9a-f]{64}(\..+)?")}
_SWEPT = ".swept"  # its modification time is the time of the last sweep
_CHECKED = ".checked"  # its modification time is the time of the last search for cut entries
_CLOCK = 2.0  # seconds by which two modification times may be off, as on some file systems
_ZSTD = b"\x28\xb5\x2f\xfd"


class Entry(NamedTuple):
    """A file of the cache, its size in bytes, and the time of its last use in seconds since the epoch."""

    path: Path
    size: int
    used: float


def folder() -> Path | None:
    """Return the folder of the cache, which may not exist yet, or None if the cache is switched off."""
    name = os.environ.get(VARIABLE, platformdirs.user_cache_dir("bayescale"))
    return Path(name) if name else None


def usable() -> Path | None:
    """Return the folder of the cache, and create it if necessary.

    The folder is private to the user, because compiled programs are trusted input.

    Returns
    -------
    Path or None
        None if the cache is switched off, or if the folder cannot be written, or if others can write to it; the
        latter two give one warning.
    """
    path = folder()
    return path if path and _prepared(path) else None


@cache
def _prepared(path: Path) -> bool:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        reason = _fault(path)
    except OSError as error:
        reason = str(error)
    if reason:
        warnings.warn(f"no cache of compiled programs at {path}: {reason}. Every process compiles its programs again; "
                      f"set {VARIABLE} to another folder, or leave it empty for no cache.", stacklevel=2)  # fmt: skip
        return False
    remove_cut(path)
    _sweep_now_and_then(path)
    return True


def _fault(path: Path) -> str:
    """Return why a folder cannot hold programs, or nothing. What others can write there would run as this user."""
    if not os.access(path, os.W_OK | os.X_OK):
        return "it cannot be written"
    for place in (path, path / TRACES):
        about = place.stat() if place.exists() else None
        if about is None or os.name == "nt":  # Windows has no such modes
            continue
        if about.st_uid not in (os.geteuid(), 0):
            return f"{place} belongs to another user, and compiled programs are trusted"
        if about.st_mode & 0o022:
            return f"others can write to {place}, and compiled programs are trusted (chmod go-w {place})"
    return ""


def entries(path: Path) -> list[Entry]:
    """Return the files of both caches, least recently used first."""
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
    """Remove old entries, then the least recently used ones until the cache is small enough.

    Parameters
    ----------
    path : Path
        Folder of the cache.
    most_bytes : float
        Largest total size to keep, in bytes.
    most_age : float
        Longest time since an entry was last used, in seconds.

    Returns
    -------
    int
        Number of entries removed.
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
    """Remove every entry, and return the number removed."""
    return sweep(path, most_bytes=-1.0)


def remove_cut(path: Path) -> int:
    """Remove the machine code that a killed process, or a full disk, left incomplete.

    JAX does not write its entries atomically, and it never replaces one. Without this, every later process would
    compile that program again and warn about it. Only entries written since the last search are read.

    Parameters
    ----------
    path : Path
        Folder of the cache.

    Returns
    -------
    int
        Number of entries removed.
    """
    marker, removed = path / _CHECKED, 0
    try:
        since = marker.stat().st_mtime - _CLOCK if marker.exists() else 0.0
        marker.touch()  # before the search: what is written meanwhile is read next time
    except OSError:
        return 0
    for entry in entries(path):
        with suppress(OSError):  # another process may have removed it
            if entry.path.name.endswith("-cache") and entry.path.stat().st_mtime >= since and _cut(entry.path):
                entry.path.unlink()
                removed += 1
    return removed


def _cut(path: Path) -> bool:
    """Return whether a file of JAX's cache does not decompress."""
    content = path.read_bytes()
    try:
        if content.startswith(_ZSTD):
            _zstandard().decompress(content)
            return False
        unpacked = zlib.decompressobj()
        unpacked.decompress(content)
        return not unpacked.eof
    except ImportError:  # JAX cannot read it here, but may elsewhere
        return False
    except Exception:  # each library has an error of its own
        return True


def _zstandard() -> Any:
    """Return the library that JAX compresses with."""
    try:
        return import_module("compression.zstd")  # from Python 3.14
    except ImportError:
        return import_module("zstandard").ZstdDecompressor()


def _sweep_now_and_then(path: Path) -> None:
    marker = path / _SWEPT
    with suppress(OSError):
        if not marker.exists() or time.time() - marker.stat().st_mtime > _SWEEP_EVERY:
            marker.touch()
            sweep(path)
