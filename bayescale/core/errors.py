"""The exceptions of bayescale: each says what was expected, what it got instead, and what to do."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

from bayescale.core.escapes import printable


class BayescaleError(Exception):
    """Base class of the errors that bayescale raises deliberately.

    Parameters
    ----------
    what : str
        What is wrong, in one sentence.
    expected, got, hint : str, optional
        What was expected, what it got instead, and what to do about it.
    """

    def __init__(self, what: str, *, expected: str = "", got: str = "", hint: str = ""):
        rows = [("expected", expected), ("got", got), ("hint", hint)]
        text = "\n".join([what, *(f"  {key + ':':10}{text}" for key, text in rows if text)])
        super().__init__(printable(text))


class RunsError(BayescaleError, ValueError):
    """A table of runs is not valid, so that no law can be fitted to it."""


class SpecError(BayescaleError, ValueError):
    """A spec names or sets something that does not exist."""


class FitError(BayescaleError, ValueError):
    """A fit cannot be made, or a file does not hold one."""


class QueryError(BayescaleError, ValueError):
    """A forecast or decision is requested for which the fit has no answer."""


class UnknownName(BayescaleError, KeyError):
    """A name is not in the catalogue."""

    __str__ = Exception.__str__  # KeyError would print the repr, with newlines escaped


class DefinitionError(BayescaleError, TypeError):
    """The table and the formula of a law, or of another part, disagree."""


_WRITABLE = "choose a folder that can be written"
_UNWRITTEN = {
    errno.ENOENT: "choose a folder that exists",
    errno.ENOTDIR: "choose a folder that exists",
    errno.EISDIR: "name a file: this is a folder",
    errno.ENAMETOOLONG: "choose a shorter name",
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _WRITABLE),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free space, or choose a folder on another disk"),
}


def why_unwritten(error: OSError) -> dict[str, str]:
    """Return what an error says of a file or folder that could not be written, and what to do about it.

    Parameters
    ----------
    error : OSError

    Returns
    -------
    dict
        ``got`` and ``hint``, for an exception of this module.
    """
    hint = _UNWRITTEN.get(error.errno or 0, _WRITABLE)
    return {"got": error.strerror or str(error), "hint": hint}


class ConvergenceWarning(UserWarning):
    """The chains of a fit have not converged: its numbers are provisional."""


_SIMILAR = 0.75  # ratio of difflib: accepts "partly" for "partial" (0.77), rejects "loss" for "flops" (0.67)


def nearest(name: str, names: Iterable[str], otherwise: str = "") -> str:
    """Return a hint for a misspelled name.

    Parameters
    ----------
    name : str
        The misspelled name.
    names : iterable of str
        The names that exist.
    otherwise : str
        Hint where no name is similar; by default a list of all names.

    Returns
    -------
    str

    Examples
    --------
    >>> nearest("partly", ["none", "partial"])
    "did you mean 'partial'?"
    """
    name, names = str(name), sorted(map(str, names))  # a caller may give anything as a name
    close = [other for other in names if other.lower() == name.lower()]
    close = close or difflib.get_close_matches(name, names, n=1, cutoff=_SIMILAR)
    if close or otherwise or not names:
        return f"did you mean {close[0]!r}?" if close else otherwise
    return "choose one of: " + ", ".join(names)
