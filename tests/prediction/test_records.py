"""Records of backtests: kept, found again, and carried by forecasts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.core import shipped
from bayescale.core.errors import QueryError
from bayescale.modelling import spec as specs
from bayescale.prediction import records
from bayescale.prediction.records import CLASSES, HORIZONS, Record, class_of, horizon_of, load_record, write_record


def kept(way: str, **coverage: float) -> dict:
    """A backtest in one way that covered so much in some bins."""
    rows = [
        {
            "horizon": horizon.replace("_", " "),
            "n_test": 40,
            "families": 4,
            "coverage_90": share,
            "coverage_90_se": np.nan,
        }
        for horizon, share in coverage.items()
    ]
    about = {"runs": 'a "table"', "runs_digest": "ab", "seed": 0, "versions": {"jax": "0.12"}, "families": ["F", "Ü"]}
    return {"way": way, "options": {"beyond": 1.05}, **about, "fits": 2, "unconverged": [], "horizons": rows}


FITTED = kept("expanding", **{"up to 3×": 0.9, "10-30×": 0.75})
UNSEEN = kept("leave-family-out", inside=0.5)


def test_a_record_is_read_as_it_was_written(tmp_path):
    record = Record("mine", "d" * 64, (FITTED, UNSEEN))
    again = load_record(write_record(record, tmp_path / "mine.toml"))
    assert (again.spec, again.spec_digest) == (record.spec, record.spec_digest)
    for before, after in zip(record.backtests, again.backtests, strict=True):
        assert {k: v for k, v in before.items() if k != "horizons"} == {
            k: v for k, v in after.items() if k != "horizons"
        }
        pd.testing.assert_frame_equal(pd.DataFrame(before["horizons"]), pd.DataFrame(after["horizons"]))


def test_writing_keeps_the_models_other_ways_and_drops_another_models(tmp_path):
    path = tmp_path / "mine.toml"
    write_record(Record("mine", "d" * 64, (FITTED,)), path)
    write_record(Record("mine", "d" * 64, (UNSEEN,)), path)
    assert [way["way"] for way in load_record(path).backtests] == ["expanding", "leave-family-out"]
    write_record(Record("mine", "d" * 64, (kept("expanding", inside=0.1),)), path)
    assert load_record(path).measured("inside").coverage_90 == 0.1
    write_record(Record("mine", "e" * 64, (FITTED,)), path)
    assert [way["way"] for way in load_record(path).backtests] == ["expanding"]


def test_what_is_no_record_is_not_replaced(tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text('law = "additive"\n', encoding="utf-8")
    with pytest.raises(QueryError, match=r"is not a record of backtests\n.*\n  got:      a file without 'spec'"):
        write_record(Record("mine", "d" * 64, (FITTED,)), path)
    assert path.read_text(encoding="utf-8") == 'law = "additive"\n'


def test_a_new_family_is_measured_by_families_left_out_and_by_nothing_else():
    record = Record("mine", "d" * 64, (FITTED, UNSEEN))
    assert record.measured("10-30×")[:3] == (0.75, 40, 4)
    assert record.measured("inside", new=True)[:3] == (0.5, 40, 4)
    for horizon, new in (("inside", False), ("10-30×", True), ("30-100×", False)):
        found = record.measured(horizon, new=new)
        assert np.isnan(found.coverage_90)
        assert found.backtests == found.families == 0


def test_bins_and_classes_hold_their_upper_ends():
    ends = np.log10([0.1, 1.0, 1.01, 3.0, 10.0, 30.0, 100.0, 101.0])
    names = ["inside", "inside", "up to 3×", "up to 3×", "3-10×", "10-30×", "30-100×", "beyond 100×"]
    assert list(horizon_of(ends)) == names
    assert set(names) == set(HORIZONS)
    assert list(class_of(np.array([0, 0.01, 1, 1.01, 2, 2.01]))) == [
        "inside", "up to 10×", "up to 10×", "10-100×", "10-100×", "scenario",
    ]  # fmt: skip
    assert next(reversed(CLASSES)) == "scenario"


@pytest.fixture(scope="module")
def record(chinchilla_fit):
    """A record of the model that was fitted."""
    return Record("additive", chinchilla_fit.spec.digest, (FITTED | {"engine": records.engine()},))


QUERIES = pd.DataFrame({"params": ["1B", "70B", "70B", "1M", "2T"], "tokens": ["20B", "60B", "600B", "100M", "10T"]})


def test_a_forecast_says_how_often_such_intervals_covered(chinchilla_fit, record):
    forecast = bs.forecast(chinchilla_fit, QUERIES, record=record)
    table = forecast.summary
    assert list(table["backtests"]) == [0, 40, 40, 0, 0]
    assert list(table["extrapolation"][[0, 3, 4]]) == ["inside", "scenario", "scenario"]
    for row in table.itertuples():
        expected = record.measured(str(horizon_of(row.reach_decades)))
        expected = records.NOTHING if row.Index == 3 else expected  # below the runs nothing was measured
        assert (row.backtests, row.backtest_families) == expected[1:3]
        assert row.covered_90 == pytest.approx(expected[0], nan_ok=True)


def test_without_a_record_a_forecast_says_that_none_was_measured(chinchilla_fit):
    forecast = bs.forecast(chinchilla_fit, QUERIES)
    assert forecast.summary["covered_90"].isna().all()
    assert (forecast.summary["backtests"] == 0).all()
    assert all("no backtest of this model" in line for line in forecast.evidence)
    assert len(forecast.evidence) == len(set(forecast.evidence))
    begins = {line.partition(":")[0].removeprefix("extrapolation ") for line in forecast.evidence}
    assert begins == set(CLASSES)


def test_evidence_is_a_sentence(chinchilla_fit, record, tmp_path):
    path = write_record(record, tmp_path / "record.toml")
    most = chinchilla_fit.design_frame["flops"].max()
    query = {"params": "70B", "tokens": 20 * most / 6 / 70e9}
    (line,) = bs.forecast(chinchilla_fit, record=path, **query).evidence
    assert line == (
        "extrapolation 10-100×: the 90% interval covered 75% of 40 backtest forecasts of 4 families 10-30× beyond"
    )


def test_a_record_of_another_model_is_refused(chinchilla_fit):
    with pytest.raises(QueryError, match="another model than 'additive'"):
        bs.forecast(chinchilla_fit, params=1e9, tokens=1e10, record=Record("other", "0" * 64, ()))


def test_every_shipped_record_is_of_a_shipped_model_as_it_is_now():
    """If a model has changed: make backtests RECORDS=NAME."""
    paths = sorted(records.home().glob("*.toml"))
    assert [path.stem for path in paths if path.stem == "additive-unpooled"]
    for path in paths:
        record, spec = load_record(path), bs.load_spec(path.stem)
        assert (record.spec, record.spec_digest) == (spec.name, spec.digest)
        assert records.record_of([spec]) == record
        assert all(0 <= row["coverage_90"] <= 1 for way in record.backtests for row in way["horizons"])


def test_records_are_no_models():
    assert "backtests" not in shipped.names("models")
    assert all((shipped.folder("models") / f"{name}.toml").is_file() for name in shipped.names("models"))


def test_a_record_of_other_code_is_not_used(chinchilla_fit, record, monkeypatch):
    """Another formula under the same names is another model."""
    monkeypatch.setattr(records, "_shipped", lambda: {record.spec_digest: record})
    assert (bs.forecast(chinchilla_fit, QUERIES).summary["backtests"] > 0).any()
    own = specs._code_of
    monkeypatch.setattr(specs, "_code_of", lambda part: own(part) + "changed")
    changed = replace(chinchilla_fit, spec=bs.load_spec("additive"))
    assert (bs.forecast(changed, QUERIES).summary["backtests"] == 0).all()


def test_a_forecast_and_a_model_say_that_another_engine_measured(chinchilla_fit, record, monkeypatch):
    def said(engine: str) -> str:
        ways = tuple(way | {"engine": engine} for way in record.backtests)
        other = replace(record, backtests=ways)
        return "\n".join(bs.forecast(chinchilla_fit, QUERIES, record=other).evidence)

    assert "backtests (expanding) measured with another engine than this version's" in said("of old")
    assert "another engine" not in said(records.engine())
    kept = {"simulations": 200, "seed": 0, "versions": {"bayescale": "1"}, "quantities": {}, "passed": True}
    kept["spec_digest"] = ""
    assert "another engine" not in records.calibration_words(kept | {"engine": records.engine()}, "")
    assert "another engine" in records.calibration_words(kept | {"engine": "of old"}, "")
    undated = {name: value for name, value in kept.items() if name != "engine"}
    assert "another engine" in records.calibration_words(undated, "")
