"""Verdict: whether a result is reliable and, if it is not, why and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """The first word of a verdict."""

    CONVERGED = "converged"
    PASSED = "passed"
    NOT_CONVERGED = "NOT CONVERGED"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Verdict:
    """Whether a result is reliable. Every result has a verdict; its ``str`` is one line.

    Attributes
    ----------
    status : Status
        ``converged`` (for fits and results computed from them), ``passed`` (for tests), or the opposite.
    problems : tuple of str
        What is wrong, one sentence each; empty if nothing is wrong.
    advice : tuple of str
        What to do about the problems.
    notes : tuple of str
        What a reader should know even though the result is reliable.

    Examples
    --------
    >>> str(of_chains([])), str(of_chains(["R-hat 1.203 (alpha_N), should be at most 1.01"]))
    ('converged', 'NOT CONVERGED: R-hat 1.203 (alpha_N), should be at most 1.01')
    """

    status: Status
    problems: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the result is reliable."""
        return self.status in (Status.CONVERGED, Status.PASSED)

    @property
    def caution(self) -> str:
        """Lines to print above provisional numbers; empty if the result is reliable."""
        if self.ok:
            return ""
        to_do = f" To do: {'; '.join(self.advice)}." if self.advice else ""
        return f"{self}\nThe numbers are provisional: do not rely on them.{to_do}"

    def above(self, words: str) -> str:
        """Return a text about the result, with the verdict on a line above it if the result is not reliable.

        Parameters
        ----------
        words : str

        Returns
        -------
        str
        """
        return words if self.ok else f"{self}\n{words}"

    def __str__(self) -> str:
        said = f"{self.status}: {'; '.join(self.problems)}" if self.problems else str(self.status)
        return "; ".join([said, *self.notes])


def of_chains(problems: Iterable[str], advice: Iterable[str] = (), notes: Iterable[str] = ()) -> Verdict:
    """Return the verdict on chains, which have converged unless there are problems. Repeated advice is given once."""
    found = tuple(problems)
    return Verdict(Status.NOT_CONVERGED if found else Status.CONVERGED, found, tuple(dict.fromkeys(advice)),
                   tuple(notes))  # fmt: skip


def of_tests(problems: Iterable[str]) -> Verdict:
    """Return the verdict on tests, which have passed unless there are problems."""
    found = tuple(problems)
    return Verdict(Status.FAILED if found else Status.PASSED, found)


def joined(verdicts: Mapping[str, Verdict]) -> Verdict:
    """Return the verdict on a result computed from several fits, with the name of the fit before each problem.

    The result has failed if a fit has failed. Otherwise it has not converged if a fit has not converged.

    Parameters
    ----------
    verdicts : mapping of str to Verdict
        Verdicts by name of the fit.

    Returns
    -------
    Verdict
    """
    bad = {name: verdict for name, verdict in verdicts.items() if not verdict.ok}
    failed = any(verdict.status is Status.FAILED for verdict in bad.values())
    status = Status.FAILED if failed else Status.NOT_CONVERGED if bad else Status.CONVERGED
    problems = (
        f"{name}: {'; '.join(verdict.problems) if verdict.status is status else verdict}"
        for name, verdict in bad.items()
    )
    advice = dict.fromkeys(words for verdict in bad.values() for words in verdict.advice)
    return Verdict(status, tuple(problems), tuple(advice))
