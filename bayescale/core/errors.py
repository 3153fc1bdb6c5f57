"""The tree of exceptions: each says what was wanted, what came and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BayescaleError(Exception):
    """Base of every error that bayescale raises on purpose.

    Parameters
    ----------
    what : str
        What is wrong, in one sentence.
    wanted, came, do : str, optional
        What was wanted, what came instead, and what to do about it.
    """

    def __init__(self, what: str, *, wanted: str = "", came: str = "", do: str = ""):
        rows = [("wanted", wanted), ("came", came), ("do", do)]
        text = "\n".join([what, *(f"  {key + ':':8}{text}" for key, text in rows if text)])
        super().__init__("".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text))


class RunsError(BayescaleError, ValueError):
    """A table of runs that no law may be fitted to."""


class SpecError(BayescaleError, ValueError):
    """A spec that names or sets something which does not exist."""


class FitError(BayescaleError, ValueError):
    """A fit that cannot be made, or a file that holds none."""


class QueryError(BayescaleError, ValueError):
    """A forecast or decision asked at a point where the fit has no answer."""


class UnknownName(BayescaleError, KeyError):
    """A name that the catalogue does not hold."""

    __str__ = Exception.__str__  # KeyError would print the repr, newlines escaped


class DefinitionError(BayescaleError, TypeError):
    """A law (or another part) whose table and formula disagree."""


class ConvergenceWarning(UserWarning):
    """A fit whose chains do not agree yet: its numbers are provisional."""


_ALIKE = 0.75  # of difflib's ratio: "partly" is near "partial" (0.77), "loss" is not near "flops" (0.67)


def nearest(name: str, names: Iterable[str], otherwise: str = "") -> str:
    """Hint for a misspelt name: the nearest one, or `otherwise` (by default, all of them)."""
    names = sorted(names)
    close = [other for other in names if other.lower() == name.lower()]
    close = close or difflib.get_close_matches(name, names, n=1, cutoff=_ALIKE)
    return f"did you mean {close[0]!r}?" if close else otherwise or "choose one of: " + ", ".join(names)
