"""Check → Finding: a question asked of a fit; passed or not, a figure, a sentence of advice."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from typing import Any, ClassVar

import pandas as pd
from scipy.stats import binomtest

from bayescale.core.errors import UnknownName, nearest
from bayescale.core.verdict import Verdict
from bayescale.inference.average import LEAVE_OUT, AbstractFit
from bayescale.parts.catalogue import catalogue
from bayescale.prediction.records import NEW_FAMILY, NOTHING, Measured, horizon_of, record_of

PASS, REVIEW, FAIL = "PASS", "REVIEW", "FAIL"
"""States of a question: nothing to do; look at what failed; do not rely on it."""

_QUESTIONS = {"convergence": "converged", "identification": "identified"}  # by check; others are called as it is
_SHOWN = 2  # failed findings that a status names
_DEFAULT_REACH = 1.0  # decades beyond the runs: those of the budget where none is named
_PROMISED = 0.9  # coverage of a 90% interval
_POOR = 0.8  # coverage at which it misses twice as often as it promises
_FEWEST = 10  # forecasts: of fewer, a 90% interval is expected to miss less than one


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


@dataclass(frozen=True)
class Answer:
    """Where one question about a fit stands, over all of its findings.

    Attributes
    ----------
    question : str
        What was asked: ``converged``, ``identified``, ``residuals``, ``sensitivity``, ``coverage``, ``runs``.
    state : str
        :data:`PASS`, :data:`REVIEW` or :data:`FAIL`.
    sentence, action : str
        What was found, and what to do about it.
    """

    question: str
    state: str
    sentence: str
    action: str


class AbstractCheck(ABC):
    """A question asked of a fit.

    Attributes
    ----------
    of_each : bool
        Whether it is about parameters: of an average, each member is asked.
    decisive : bool
        Whether one finding that fails makes every figure of the fit provisional.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    asks: ClassVar[str]
    of_each: ClassVar[bool] = False
    decisive: ClassVar[bool] = False

    @staticmethod
    @abstractmethod
    def ask(fit: Any) -> list[Finding]:
        """Findings, or none where the question does not apply."""


@dataclass(frozen=True)
class Findings:
    """All findings on a fit, with its convergence."""

    findings: tuple[Finding, ...]
    verdict: Verdict
    excluded: dict[str, int] = field(default_factory=dict, hash=False)
    """Count of the fitted runs that their table marks as excluded, by reason."""
    beside: tuple[Answer, ...] = ()
    """Where questions stand that no check asks, of coverage and of runs; empty where only some checks were asked."""

    @property
    def status(self) -> tuple[Answer, ...]:
        """Where each question stands; see :func:`statuses`."""
        return (*statuses(self.findings), *self.beside)

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
        about = {"passed": self.passed, "verdict": str(self.verdict), "excluded": self.excluded}
        return about | {"status": [asdict(s) for s in self.status], "findings": found}

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __repr__(self) -> str:
        lines = [f"{sum(f.passed for f in self)} of {len(self.findings)} findings passed; {self.verdict}"]
        for s in self.status:
            lines.append(f"  {s.state:6}  {s.question:13} {s.sentence}")
            if s.state != PASS:
                lines.append(f"          {'':13} → {s.action}")
        lines.append("")
        for f in self:
            lines.append(f"  {'pass' if f.passed else 'FAIL'}  {f.check:15} {f.sentence}")
            if not f.passed:
                lines.append(f"        {'':15} → {f.advice}")
        return "\n".join(lines)


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
    checks = catalogue("bayescale.evaluation.checks")
    for name in names:
        if name not in checks:
            raise UnknownName(f"no check is called {name!r}", do=nearest(name, checks))
    found = [finding for name in names or checks for finding in _asked(checks[name], fit)]
    beside = () if names else (covered(_DEFAULT_REACH, _measured(fit), fit.name), *marked(fit))
    return Findings(tuple(found), fit.verdict, fit.excluded, beside)


def statuses(findings: Iterable[Finding]) -> tuple[Answer, ...]:
    """Where each question stands that a check asks, in the order of the findings.

    A question passes if all of its findings do. It fails if a decisive one does not (convergence), or at least half of
    those that could be answered do not; else it is to be reviewed.
    """
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.check, []).append(finding)
    return tuple(_status(name, group) for name, group in groups.items())


def marked(fit: AbstractFit) -> tuple[Answer, ...]:
    """Where the question stands whether the table itself marks fitted runs as excluded; empty if it marks none."""
    return (Answer("runs", REVIEW, fit.excluded_words, LEAVE_OUT),) if fit.excluded else ()


def covered(reach_decades: float, found: Measured, model: str, *, new: bool = False) -> Answer:
    """Where the question stands whether intervals hold so many decades beyond the runs, by what backtests measured.

    Of a `new` family, backtests that held a family out are asked. The question fails if intervals of 90% certainly miss
    twice as often as they promise, and passes if they may be right.
    """
    bin_ = str(horizon_of(reach_decades))
    place = "inside the runs" if bin_ == "inside" else f"{bin_.replace('beyond', 'over')} the largest run's compute"
    if new:
        place += ", of a family without runs"
    if not found.backtests:
        way = f" --way {NEW_FAMILY}" * new
        return Answer("coverage", REVIEW, f"no backtest of {model} measured how often its intervals hold {place}",
                      f"measure it: bayescale backtest RUNS --model {model}{way}")  # fmt: skip
    held = round(found.coverage_90 * found.backtests)
    likely = binomtest(held, found.backtests).proportion_ci(_PROMISED, "wilson")
    sentence = (
        f"90% intervals held {held / found.backtests:.0%} of {found.backtests} backtest forecasts {place} "
        f"(binomial 90% interval {likely.low:.0%} to {likely.high:.0%})"
    )
    if likely.high < _POOR:
        return Answer("coverage", FAIL, sentence, "do not rely on its intervals at this reach: choose another model")
    if likely.high < _PROMISED or found.backtests < _FEWEST:
        return Answer("coverage", REVIEW, sentence, "read its intervals as too narrow, or as hardly tested")
    return Answer("coverage", PASS, sentence, "none")


def _status(name: str, group: list[Finding]) -> Answer:
    question, failed = _QUESTIONS.get(name, name), [f for f in group if not f.passed]
    sentence = f"{len(group) - len(failed)} of {len(group)} findings passed"
    if not failed:
        return Answer(question, PASS, sentence, "none")
    answered = [f.passed for f in group if isfinite(f.figure)]
    most = bool(answered) and 2 * sum(answered) <= len(answered)
    state = FAIL if most or catalogue("bayescale.evaluation.checks")[name].decisive else REVIEW
    shown = [f.sentence for f in failed[:_SHOWN]] + [f"and {len(failed) - _SHOWN} more"] * (len(failed) > _SHOWN)
    return Answer(question, state, f"{sentence}: {'; '.join(shown)}", failed[0].advice)


def _measured(fit: AbstractFit) -> Measured:
    """What the shipped backtests of its model measured at the default reach, for a family with runs."""
    record = record_of([member.spec for member in fit.members.values()])
    return record.measured(str(horizon_of(_DEFAULT_REACH))) if record else NOTHING


def _asked(question: type[AbstractCheck], fit: AbstractFit) -> list[Finding]:
    if not question.of_each or len(fit.members) == 1:
        return question.ask(next(iter(fit.members.values())) if question.of_each else fit)
    return [
        replace(f, subject=f"{name}: {f.subject}", sentence=f"{name}: {f.sentence}")
        for name, member in fit.members.items()
        for f in question.ask(member)
    ]
