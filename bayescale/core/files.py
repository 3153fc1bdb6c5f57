"""Save: a file that is written completely or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from bayescale.core.arguments import check_kind
from bayescale.core.errors import BayescaleError

try:
    import fcntl
except ImportError:  # Windows has no such locks
    _LOCKS = False
else:
    _LOCKS = True

_WRITE = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)  # Windows has neither
_MODE = 0o666  # of which the system takes what the umask of the process forbids
_SHOWN = 80  # characters of a path in a message


def path_of(path: str | Path, error: type[BayescaleError]) -> Path:
    """Return what a caller gave as a path.

    Parameters
    ----------
    path : str or Path
    error : type
        The exception to raise.

    Returns
    -------
    Path

    Raises
    ------
    BayescaleError
        Of the type `error`, if it is no path.
    """
    check_kind(path, (str, os.PathLike), error, "a path")
    return Path(path)


def kind_of(path: str | Path, error: type[BayescaleError]) -> Literal["file", "folder", "pipe", "other", ""]:
    """Return what is at a path that is to be read.

    Parameters
    ----------
    path : str or Path
    error : type
        The exception to raise.

    Returns
    -------
    {"file", "folder", "pipe", "other", ""}
        Other is a device or a socket; empty where nothing is.

    Raises
    ------
    BayescaleError
        Of the type `error`, if nobody can say: the folder is not readable, the name is too long, links form a circle.
    """
    try:
        found = os.stat(path_of(path, error)).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError) as reason:
        said = (reason.strerror if isinstance(reason, OSError) else None) or str(reason)
        raise error(f"{_shown(path)} cannot be read", expected="a path that this user can read", got=said,
                    hint="choose another path, or allow this user to read its folder") from None  # fmt: skip
    if stat.S_ISDIR(found) or stat.S_ISREG(found):
        return "folder" if stat.S_ISDIR(found) else "file"
    return "pipe" if stat.S_ISFIFO(found) else "other"


def _shown(path: str | Path) -> str:
    return str(path) if len(str(path)) <= _SHOWN else f"{str(path)[:_SHOWN]}…"


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Write a file completely or not at all.

    A process that is killed leaves at most one temporary file for each target, ``.NAME.partial``. The next process that
    writes the target takes it over: its lock shows that nobody is writing it. Processes that write one target at the
    same time write one after another.

    A file that is replaced keeps its permissions; a new one has those that the process gives to its files.

    A link stays, and the file that it names is written. A pipe, a character device and this process's own output are
    never replaced: what was written is sent there.

    Parameters
    ----------
    path : str or Path
        The file to write.

    Yields
    ------
    Path
        An empty temporary file in the same folder. It replaces the target if the block ends without an exception.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written, or the path is a folder, a disk or a socket.
    """
    if takes_a_stream(path):
        with _sent(path) as temporary:
            yield temporary
        return
    path = Path(os.path.realpath(path))
    mode = None
    with suppress(FileNotFoundError):
        mode = os.stat(path).st_mode & 0o777
    handle, temporary = _opened(path)
    try:
        if mode is not None:
            os.chmod(temporary, mode | 0o600)  # what only some may read is never open to others; its owner writes it
        yield temporary
        os.fsync(handle)  # else a power failure soon after the move may leave an empty file
        if mode is not None:
            os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)  # last: whoever waits for the lock must find the file moved or removed


def takes_a_stream(path: str | Path) -> bool:
    """Whether a path is a pipe, a character device or this process's own output: what is written there is sent.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    bool
        False for a regular file, and for a path where nothing is.

    Raises
    ------
    OSError
        If the path is a folder, a disk or a socket, or cannot be looked at.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    if stat.S_ISFIFO(found.st_mode) or stat.S_ISCHR(found.st_mode) or _own(found) is not None:
        return True
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "neither a file nor a pipe", str(path))
    return False


def _own(found: os.stat_result) -> int | None:
    """Return which of standard output and standard error this is; None if neither."""
    for handle in (1, 2):
        with suppress(OSError):  # it may be closed
            if os.path.samestat(found, os.fstat(handle)):
                return handle
    return None


@contextmanager
def _sent(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file; send its content to a stream once it is complete."""
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / "content"
        temporary.touch()
        yield temporary
        own = _own(os.stat(path))
        # /dev/stdout that is a file must go on where it is: opened once more, it would begin at its start.
        with open(path if own is None else os.dup(own), "wb") as stream:
            stream.write(temporary.read_bytes())


def _opened(path: Path) -> tuple[int, Path]:
    """Open the temporary file of a target with its lock; one of another name where that is not possible."""
    temporary = path.parent / f".{path.name}.partial"
    if _LOCKS:
        with suppress(OSError):
            return _locked(temporary), temporary
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}.partial"
    return os.open(temporary, _WRITE | os.O_CREAT | os.O_EXCL, _MODE), temporary


def _locked(temporary: Path) -> int:
    """Open a file of this user, new and empty, once no other process has its lock; OSError if it is not to be had."""
    while True:
        try:
            handle, new = os.open(temporary, _WRITE | os.O_CREAT | os.O_EXCL, _MODE), True
        except FileExistsError:
            try:
                handle, new = os.open(temporary, _WRITE), False
            except FileNotFoundError:
                continue
        try:
            if os.fstat(handle).st_uid != os.geteuid():
                raise PermissionError(f"{temporary} belongs to another user")
            fcntl.flock(handle, fcntl.LOCK_EX)
            if temporary.exists() and os.path.samestat(os.fstat(handle), os.stat(temporary)):
                if new:
                    return handle
                temporary.unlink()  # a dead process left it, perhaps with other permissions
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # whoever had the lock has moved the file or removed it, or it was left: begin again
