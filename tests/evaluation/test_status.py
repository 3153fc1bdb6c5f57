"""Status: where each question about a fit stands, PASS, REVIEW or FAIL, and what to do about it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

import bayescale as bs
from bayescale.evaluation.checks.base import FAIL, PASS, REVIEW, Finding, covered, statuses
from bayescale.prediction.records import NOTHING, Measured, horizon_of


def found(check: str, *passed: bool, figure: float = 0.5) -> list[Finding]:
    return [
        Finding(check, f"subject {i}", ok, figure, 1.0, f"sentence {i}", f"advice {i}") for i, ok in enumerate(passed)
    ]


@pytest.mark.parametrize(
    ("findings", "state"),
    [
        (found("residuals", True, True), PASS),
        (found("residuals", True, True, False), REVIEW),
        (found("residuals", True, False), FAIL),
        (found("convergence", True, True, True, True, True, False), FAIL),
        (found("sensitivity", False, figure=np.nan), REVIEW),
        (found("sensitivity", False, figure=np.nan) + found("sensitivity", True, True), REVIEW),
    ],
    ids=["all passed", "few failed", "half failed", "convergence failed", "none answered", "one not answered"],
)
def test_a_question_stands_by_its_findings(findings: list[Finding], state: str) -> None:
    (status,) = statuses(findings)
    assert status.state == state
    failed = [f for f in findings if not f.passed]
    assert status.action == (failed[0].advice if failed else "none")
    assert all(f.sentence in status.sentence for f in failed)


def test_many_failures_are_counted_and_not_listed() -> None:
    (status,) = statuses(found("identification", *[False] * 9))
    assert status.question == "identified"
    assert status.sentence == "9 of 9 findings failed: sentence 0; sentence 1; and 7 more"


@pytest.mark.parametrize(
    ("coverage", "forecasts", "families", "se", "state"),
    [
        (0.93, 165, 10, 0.03, PASS),
        (0.9, 30, 3, 0.05, PASS),
        (1.0, 30, 3, 0.0, PASS),
        (0.8, 10, 5, 0.12, REVIEW),  # twice as many misses as promised
        (0.85, 400, 11, 0.01, REVIEW),
        (0.69, 414, 11, 0.124, REVIEW),  # eleven families: 49% to 84%
        (0.6, 406, 11, 0.05, FAIL),
        (1.0, 1, 1, np.nan, REVIEW),
        (0.93, 68, 1, np.nan, REVIEW),  # 68 errors that are correlated
    ],
)
def test_coverage_stands_by_what_backtests_measured(
    coverage: float, forecasts: int, families: int, se: float, state: str
) -> None:
    status = covered(1.7, Measured(coverage, forecasts, families, se), "default")
    assert status.state == state
    assert f"of {forecasts} backtest forecasts at 30-100× the largest run" in status.sentence


def test_the_interval_of_coverage_is_wilsons_of_as_many_forecasts_as_have_the_error_over_families() -> None:
    exact = binomtest(45, 50).proportion_ci(0.9, "wilson")
    assert Measured(0.9, 400, 8, (0.09 / 50) ** 0.5).likely == pytest.approx((exact.low, exact.high))
    assert Measured(0.9, 50, 8, 0.001).likely == pytest.approx((exact.low, exact.high))  # no more than there are


def test_coverage_over_dates_speaks_of_dates_and_not_of_compute() -> None:
    status = covered(0.6, Measured(0.9, 30, 1), "time-horizon", sized="dates")
    assert "backtest forecasts at 3-10× the time from the first run to the last (" in status.sentence


def test_coverage_that_nobody_measured_is_to_be_reviewed() -> None:
    status = covered(1.0, NOTHING, "mine", new=True)
    assert status.state == REVIEW
    assert "backtest RUNS --model mine --way leave-family-out" in status.action


def test_a_check_says_where_every_question_stands(chinchilla_fit: bs.Fit) -> None:
    """A fit that converged is no good fit yet: the five runs that its table marks are named beside the checks."""
    findings = bs.check(chinchilla_fit)
    asked = ["converged", "identified", "influence", "residuals", "sensitivity", "coverage", "excluded runs"]
    assert [s.question for s in findings.status] == asked
    by = {s.question: s for s in findings.status}
    assert by["converged"].state == PASS
    assert by["excluded runs"].state == REVIEW
    assert "5 of these 245 runs" in by["excluded runs"].sentence
    printed = repr(findings)
    for status in findings.status:
        assert status.sentence in printed
        assert status.state == PASS or status.action in printed
    assert [s["state"] for s in findings.to_dict()["status"]] == [s.state for s in findings.status]
    assert [s.question for s in bs.check(chinchilla_fit, "residuals").status] == ["residuals"]


def test_a_comparison_asks_its_own_backtests_for_coverage(comparison: bs.Comparison) -> None:
    bin_ = horizon_of(comparison.choices["additive"].reach_decades)
    row = {
        "model": "additive",
        "horizon": str(bin_),
        "coverage_90": 0.5,
        "n_test": 40,
        "families": 11,
        "coverage_90_se": 0.05,
    }
    horizons = pd.DataFrame([row | {"horizon": "inside", "coverage_90": 0.9}, row])
    by = {status.question: status for status in replace(comparison, horizons=horizons).status["additive"]}
    status = by["coverage"]
    assert status.state == FAIL
    assert "held in 50% of 40" in status.sentence
