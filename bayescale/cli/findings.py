"""Findings of the checks as a terminal shows them: what failed first, passes in one line a check."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bayescale.cli.printing import echo, states
from bayescale.core.quantities import counted

if TYPE_CHECKING:
    from bayescale.evaluation.checks.base import Finding, Findings


def print_findings(findings: Findings, *, verbose: bool) -> None:
    """Print the state of each question, failures first, then the findings behind them.

    Parameters
    ----------
    findings : Findings
    verbose : bool
        Whether to print each finding that passed; otherwise they are one line a check.
    """
    passed = [finding for finding in findings if finding.passed]
    echo(f"{len(passed)} of {len(findings.findings)} findings passed; {findings.verdict}")
    states(
        (one.state, one.question, one.sentence, "" if one.state == "PASS" else one.action) for one in findings.status
    )
    echo("\nfindings, those that failed first:")
    failed = [("FAIL", one.check, one.sentence, one.advice) for one in findings if not one.passed]
    states([*failed, *(_each(passed) if verbose else _folded(passed))])
    if passed and not verbose:
        echo("\n--verbose prints each finding that passed")


def _each(passed: Iterable[Finding]) -> list[tuple[str, str, str, str]]:
    return [("PASS", one.check, one.sentence, "") for one in passed]


def _folded(passed: list[Finding]) -> list[tuple[str, str, str, str]]:
    checks = list(dict.fromkeys(one.check for one in passed))
    counts = {check: sum(one.check == check for one in passed) for check in checks}
    return [("PASS", check, f"{counted(n, 'finding')} passed", "") for check, n in counts.items()]
