"""The table of measured fits: rows are of shipped specs and tables, and a long or failed fit says why."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

from bayescale.core import shipped

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import shipped as measuring

FILE = measuring.FILE


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.read_csv(FILE, keep_default_na=False, dtype=str)


def test_rows_are_of_shipped_specs_and_tables(table: pd.DataFrame) -> None:
    assert set(table["spec"]) <= set(shipped.names("models"))
    assert set(table["runs"]) <= set(shipped.names("data"))
    assert not table.duplicated(["spec", "runs", "where"]).any()


def test_every_fit_that_is_to_be_measured_has_a_row(table: pd.DataFrame) -> None:
    planned = {(spec, runs, measuring.said_of(conditions)) for spec, runs, conditions in measuring.PLAN}
    assert set(zip(table["spec"], table["runs"], table["where"], strict=True)) == planned


def test_a_fit_that_is_long_or_has_not_converged_says_why(table: pd.DataFrame) -> None:
    long = table["fit_s"].replace("", "inf").astype(float) > 30  # a fit that was stopped has no time
    assert (table["why"][long | (table["verdict"] != "converged")] != "").all()
    assert ((table["converged"] == "True") == (table["verdict"] == "converged")).all()
