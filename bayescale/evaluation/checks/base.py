"""Check → Finding: a check of a fit: whether it passed, a figure, a sentence of advice."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from typing import Any, ClassVar

import pandas as pd

from bayescale.core.errors import UnknownName, nearest
from bayescale.core.quantities import counted
from bayescale.core.verdict import Verdict
from bayescale.evaluation.marked import without_marked
from bayescale.inference.average import LEAVE_OUT, AbstractFit, check_fit
from bayescale.parts.catalogue import catalogue
from bayescale.prediction.extrapolation import size_name
from bayescale.prediction.records import NEW_FAMILY, NOTHING, Measured, horizon_of, record_of

PASS, REVIEW, FAIL = "PASS", "REVIEW", "FAIL"
"""States of a question: nothing to do; look at what failed; do not rely on it."""
EXCLUDED = "excluded runs"
"""Question whether the fit includes runs that their table marks as not to be fitted."""

_QUESTIONS = {
    "convergence": "converged",
    "identification": "identified",
}  # by check; other questions have the check's name
_SHOWN = 2  # failed findings that a status quotes
_DEFAULT_REACH = 1.0  # decades beyond the runs: the reach of the default budget
_PROMISED = 0.9  # coverage of a 90% interval
_POOR = 0.8  # coverage of an interval that misses twice as often as it should
_FEWEST = 10  # forecasts: in fewer, a 90% interval is expected to miss less than one


@dataclass(frozen=True)
class Finding:
    """The result of one check: its subject, whether it passed, the figure behind it, and advice.

    Attributes
    ----------
    check, subject : str
        Name of the check, and what it examined.
    passed : bool
    figure, limit : float
        The figure, and the limit at which it fails.
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
    """The state of one question about a fit, over all of its findings.

    Attributes
    ----------
    question : str
        What was asked: ``converged``, ``identified``, ``residuals``, ``sensitivity``, ``influence``,
        ``coverage``, ``excluded runs``.
    state : str
        :data:`PASS`, :data:`REVIEW` or :data:`FAIL`.
    sentence, action : str
        What was found, and what to do about it.
    failed : tuple of str
        Subjects of the findings that failed, such as the columns with which residuals drift.
    """

    question: str
    state: str
    sentence: str
    action: str
    failed: tuple[str, ...] = ()


class AbstractCheck(ABC):
    """A question asked of a fit.

    Attributes
    ----------
    of_each : bool
        Whether it is about parameters; if so, each member of an average is checked.
    decisive : bool
        Whether one failed finding makes every figure of the fit provisional.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    asks: ClassVar[str]
    of_each: ClassVar[bool] = False
    decisive: ClassVar[bool] = False

    @staticmethod
    @abstractmethod
    def ask(fit: Any) -> list[Finding]:
        """Return the findings; none if the question does not apply.

        Parameters
        ----------
        fit : Fit or Average

        Returns
        -------
        list of Finding
        """


@dataclass(frozen=True)
class Findings:
    """All findings on a fit, with its convergence."""

    findings: tuple[Finding, ...]
    verdict: Verdict
    excluded: dict[str, int] = field(default_factory=dict, hash=False)
    """Number of fitted runs that the table marks as excluded, by reason."""
    further: tuple[Answer, ...] = ()
    """States of questions that no check answers: coverage and excluded runs; empty if only some checks were run."""

    @property
    def status(self) -> tuple[Answer, ...]:
        """State of each question; see :func:`statuses`."""
        return (*statuses(self.findings), *self.further)

    @property
    def passed(self) -> bool:
        """Whether every finding passed."""
        return all(f.passed for f in self.findings)

    @property
    def table(self) -> pd.DataFrame:
        """One finding per row."""
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
    """Check a fit: convergence, identifiability, residuals, prior sensitivity.

    Parameters
    ----------
    fit : Fit or Average
        The posterior.
    *names : str
        Names of the checks to run; by default every check that ships.

    Returns
    -------
    Findings
        One finding per check and subject, with the state of each question.

    Raises
    ------
    UnknownName
        If no check has a name.

    Examples
    --------
    >>> bs.check(fit, "convergence").passed
    True
    """
    check_fit(fit)
    checks = catalogue("bayescale.evaluation.checks")
    for name in names:
        if name not in checks:
            raise UnknownName(f"no check is called {name!r}", hint=nearest(name, checks))
    found = [finding for name in names or checks for finding in _asked(checks[name], fit)]
    coverage = covered(_DEFAULT_REACH, _measured(fit), fit.name, sized=size_name(fit))
    further = () if names else (coverage, *marked(fit, without_marked(fit)))
    return Findings(tuple(found), fit.verdict, fit.excluded, further)


def statuses(findings: Iterable[Finding]) -> tuple[Answer, ...]:
    """Return the state of each question that a check answers, in the order of the findings.

    A question passes if all of its findings pass. It fails if a decisive finding fails (convergence), or if at least
    half of the findings with a figure fail. Otherwise it is to be reviewed.

    Parameters
    ----------
    findings : iterable of Finding

    Returns
    -------
    tuple of Answer
    """
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.check, []).append(finding)
    return tuple(_status(name, group) for name, group in groups.items())


def marked(fit: AbstractFit, changed: str = "") -> tuple[Answer, ...]:
    """Return a state that names fitted runs marked as excluded by their table; empty if there are none.

    Parameters
    ----------
    fit : Fit or Average
    changed : str
        What leaving them out would change.

    Returns
    -------
    tuple of Answer
    """
    said = ". ".join(filter(None, [fit.excluded_words, changed]))
    return (Answer(EXCLUDED, REVIEW, said, LEAVE_OUT),) if fit.excluded else ()


def covered(reach_decades: float, found: Measured, model: str, *, new: bool = False, sized: str = "compute") -> Answer:
    """Return the state of the question whether intervals hold this many decades beyond the runs, from backtests.

    For a `new` family, `found` comes from backtests that left a family out. The question fails if 90% intervals
    certainly miss more than twice as often as they should. It passes from ten forecasts of two families on if coverage
    may be 90% and they did not miss twice as often.

    Parameters
    ----------
    reach_decades : float
        Powers of ten of compute beyond the largest run.
    found : Measured
        Coverage in backtests at this reach.
    model : str
        Name of the model.
    new : bool
        Whether the family has no runs.
    sized : str
        What says how large the runs are, see :func:`bayescale.prediction.extrapolation.size_name`.

    Returns
    -------
    Answer
    """
    bin_ = str(horizon_of(reach_decades))
    largest = "the time from the first run to the last" if sized == "dates" else f"the largest run's {sized}"
    place = "inside the runs" if bin_ == "inside" else f"at {bin_.replace('beyond', 'over')} {largest}"
    if new:
        place += ", of a family without runs"
    if not found.backtests:
        way = f" --way {NEW_FAMILY}" * new
        return Answer("coverage", REVIEW, f"no backtest of {model} measured how often its intervals hold {place}",
                      f"measure it: bayescale backtest RUNS --model {model}{way}")  # fmt: skip
    low, high = found.likely
    several = found.families > 1
    by = f"90% interval {low:.0%} to {high:.0%}, by the spread of {found.families} families"
    sentence = (
        f"90% intervals held in {found.coverage_90:.0%} of {found.backtests} backtest forecasts {place} "
        f"({by if several else 'of one family, whose errors are correlated'})"
    )
    if several and high < _POOR:
        return Answer("coverage", FAIL, sentence, "do not rely on its intervals at this reach: choose another model")
    poor = high < _PROMISED or found.coverage_90 <= _POOR
    if poor or not several or found.backtests < _FEWEST:
        return Answer("coverage", REVIEW, sentence, "treat its intervals as too narrow, or as barely tested")
    return Answer("coverage", PASS, sentence, "none")


def _status(name: str, group: list[Finding]) -> Answer:
    question, failed = _QUESTIONS.get(name, name), [f for f in group if not f.passed]
    if not failed:
        return Answer(question, PASS, f"{len(group)} of {len(group)} findings passed", "none")
    answered = [f.passed for f in group if isfinite(f.figure)]
    most = bool(answered) and 2 * sum(answered) <= len(answered)
    state = FAIL if most or catalogue("bayescale.evaluation.checks")[name].decisive else REVIEW
    shown = [f.sentence for f in failed[:_SHOWN]] + [f"and {len(failed) - _SHOWN} more"] * (len(failed) > _SHOWN)
    missed = f"{len(failed)} of {counted(len(group), 'finding')} failed"
    return Answer(question, state, f"{missed}: {'; '.join(shown)}", failed[0].advice,
                  tuple(f.subject for f in failed))  # fmt: skip


def _measured(fit: AbstractFit) -> Measured:
    """Return what the shipped backtests of the model measured at the default reach, for a family with runs."""
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
