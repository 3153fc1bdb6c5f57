"""Verdict: whether a result can be relied on and, if it cannot, why and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """The word that a verdict opens with."""

    CONVERGED = "converged"
    PASSED = "passed"
    NOT_CONVERGED = "NOT CONVERGED"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Verdict:
    """Whether a result can be relied on; every result carries one. ``str`` of it is one line.

    Attributes
    ----------
    status : Status
        ``converged`` (of fits, and of what is computed from them) or ``passed`` (of tests), or their opposites.
    problems : tuple of str
        What is wrong, a sentence each; empty if nothing is.
    advice : tuple of str
        What to do about the problems.
    notes : tuple of str
        What a reader should know although the result stands.

    Examples
    --------
    >>> str(of_chains([])), str(of_chains(["R-hat 1.203 (alpha_N), wanted at most 1.01"]))
    ('converged', 'NOT CONVERGED: R-hat 1.203 (alpha_N), wanted at most 1.01')
    """

    status: Status
    problems: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the result can be relied on."""
        return self.status in (Status.CONVERGED, Status.PASSED)

    @property
    def caution(self) -> str:
        """Lines to print above provisional numbers; empty where the result can be relied on."""
        if self.ok:
            return ""
        to_do = f" To do: {'; '.join(self.advice)}." if self.advice else ""
        return f"{self}\nThe numbers are provisional: do not rely on them.{to_do}"

    def above(self, words: str) -> str:
        """Words about the result, under a line with the verdict where it is bad."""
        return words if self.ok else f"{self}\n{words}"

    def __str__(self) -> str:
        said = f"{self.status}: {'; '.join(self.problems)}" if self.problems else str(self.status)
        return "; ".join([said, *self.notes])


def of_chains(problems: Iterable[str], advice: Iterable[str] = (), notes: Iterable[str] = ()) -> Verdict:
    """Verdict on chains: converged unless there are problems. Repeated advice is given once."""
    found = tuple(problems)
    return Verdict(Status.NOT_CONVERGED if found else Status.CONVERGED, found, tuple(dict.fromkeys(advice)),
                   tuple(notes))  # fmt: skip


def of_tests(problems: Iterable[str]) -> Verdict:
    """Verdict on tests: passed unless there are problems."""
    found = tuple(problems)
    return Verdict(Status.FAILED if found else Status.PASSED, found)


def joined(verdicts: Mapping[str, Verdict]) -> Verdict:
    """Verdict on what was computed from several fits, with the name of the fit before each problem.

    It has failed if the fit of one could not be made, and has not converged if one has not.
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
