"""Zhai 2022 and Alabdulmohsin 2022: extrapolation of learning curves, by their point fits and by our posteriors.

The benchmark holds all 92 curves; these tests repeat one curve of each domain.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

import bayescale as bs

FILE = Path(__file__).parents[2] / "benchmarks" / "vision.py"
CURVES = ["BiT/50/1 cal_25", "Dec-only translation", "453M language model", "unit 1-shot"]
QUICK = "error-floor"
# Posterior means of 1600 draws, of which 400 are independent at the least: their errors are a twentieth of the
# posterior's SD, which is up to 4% of an error rate at the far end of a curve.
SAMPLING = 4 * 0.04 / 20


@pytest.fixture(scope="module")
def vision() -> ModuleType:
    spec = importlib.util.spec_from_file_location("vision_benchmark", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["vision_benchmark"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.read_csv(FILE.with_suffix(".csv"), index_col="curve")


@pytest.fixture(scope="module")
def again(vision: ModuleType) -> pd.DataFrame:
    return vision.measured(bs.load_runs("revisiting"), CURVES, [QUICK], draws=400)


def test_the_table_holds_every_curve_of_every_domain(table: pd.DataFrame) -> None:
    assert table["domain"].value_counts().to_dict() == {
        "image classification": 72, "BIG-bench": 10, "language modelling": 5, "translation": 5,
    }  # fmt: skip
    assert set(CURVES) <= set(table.index)
    assert table.loc[CURVES, "domain"].nunique() == 4


def test_alabdulmohsin_2022_point_fits_of_m1_to_m4_are_those_of_the_table(
    vision: ModuleType, table: pd.DataFrame, again: pd.DataFrame
) -> None:
    """The recipe has no random numbers; its stopping rule leaves differences in the fifth decimal."""
    for name in vision.POINTS:
        pd.testing.assert_series_equal(again[name], table.loc[CURVES, name], rtol=1e-3, atol=1e-5)


def test_the_posterior_extrapolates_as_in_the_table(table: pd.DataFrame, again: pd.DataFrame) -> None:
    pd.testing.assert_series_equal(again[QUICK], table.loc[CURVES, QUICK], rtol=0, atol=SAMPLING)
    assert (again["unconverged"] == 0).all()


@pytest.mark.parametrize("domain", ["image classification", "translation", "language modelling"])
def test_alabdulmohsin_2022_the_average_extrapolates_no_worse_than_the_best_point_fit(
    vision: ModuleType, table: pd.DataFrame, domain: str
) -> None:
    mean = table[table["domain"] == domain][[*vision.POINTS, vision.AVERAGE]].mean()
    assert mean[vision.AVERAGE] <= mean[[*vision.POINTS]].min()


def test_alabdulmohsin_2022_on_big_bench_one_point_fit_extrapolates_better_than_the_average(
    vision: ModuleType, table: pd.DataFrame
) -> None:
    """M3, by less than twice the standard error of the difference over ten curves of five tasks."""
    mine = table[table["domain"] == "BIG-bench"]
    mean = mine[[*vision.POINTS, vision.AVERAGE]].mean()
    assert [*mean.index[mean < mean[vision.AVERAGE]]] == ["M3"]
    away = mine[vision.AVERAGE] - mine["M3"]
    assert away.mean() < 2 * away.std() / len(away) ** 0.5
