"""Check → Finding: a question asked of a fit; passed or not, a figure, a sentence of advice."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

import pandas as pd

from bayescale.errors import UnknownName, nearest
from bayescale.law import catalogue
from bayescale.mixing import AbstractFit


@dataclass(frozen=True)
class Finding:
    """An answer: what was asked of what, whether it passed, the figure behind it, and advice.

    Attributes
    ----------
    check, subject : str
        Name of the check, and what it looked at.
    passed : bool
    figure, limit : float
        What was found, and where the line is.
    sentence, advice : str
        The finding in words, and what to do if it did not pass.
    """

    check: str
    subject: str
    passed: bool
    figure: float
    limit: float
    sentence: str
    advice: str


class AbstractCheck(ABC):
    """A question asked of a fit.

    Attributes
    ----------
    of_each : bool
        Whether it is about parameters: of an average, each member is asked.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    asks: ClassVar[str]
    of_each: ClassVar[bool] = False

    @staticmethod
    @abstractmethod
    def ask(fit: Any) -> list[Finding]:
        """Findings, or none where the question does not apply."""


@dataclass(frozen=True)
class Findings:
    """All findings on a fit, with its convergence."""

    findings: tuple[Finding, ...]
    verdict: str
    excluded: dict[str, int] = field(default_factory=dict)
    """Count of the fitted runs that their table marks as excluded, by reason."""
    excluded_words: str = ""

    @property
    def passed(self) -> bool:
        """Whether every finding passed."""
        return all(f.passed for f in self.findings)

    @property
    def table(self) -> pd.DataFrame:
        """One finding a row."""
        return pd.DataFrame([asdict(f) for f in self.findings])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        found = [asdict(f) for f in self.findings]
        return {"passed": self.passed, "verdict": self.verdict, "excluded": self.excluded, "findings": found}

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __repr__(self) -> str:
        lines = [f"{sum(f.passed for f in self)} of {len(self.findings)} findings passed; {self.verdict}"]
        for f in self:
            lines.append(f"  {'pass' if f.passed else 'FAIL'}  {f.check:15} {f.sentence}")
            if not f.passed:
                lines.append(f"        {'':15} → {f.advice}")
        return "\n".join([*lines, *([self.excluded_words] if self.excluded else [])])


def check(fit: AbstractFit, *names: str) -> Findings:
    """Ask every shipped check, or those named, of a fit.

    Raises
    ------
    UnknownName
        If there is no check of a name.

    Examples
    --------
    >>> check(fit, "convergence").passed  # doctest: +SKIP
    True
    """
    checks = catalogue("bayescale.checks")
    for name in names:
        if name not in checks:
            raise UnknownName(f"no check is called {name!r}", do=nearest(name, checks))
    found = [finding for name in names or checks for finding in _asked(checks[name], fit)]
    return Findings(tuple(found), fit.verdict, fit.excluded, fit.excluded_words)


def _asked(question: type[AbstractCheck], fit: AbstractFit) -> list[Finding]:
    if not question.of_each or len(fit.members) == 1:
        return question.ask(next(iter(fit.members.values())) if question.of_each else fit)
    return [
        replace(f, subject=f"{name}: {f.subject}", sentence=f"{name}: {f.sentence}")
        for name, member in fit.members.items()
        for f in question.ask(member)
    ]
