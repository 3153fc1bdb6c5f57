"""Tables of runs: where they come from, what they hold, what is taken from them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.errors import RunsError, UnknownName


@pytest.fixture
def frame() -> pd.DataFrame:
    """Six runs of two families."""
    return pd.DataFrame(
        {
            "family": ["A", "A", "A", "B", "B", "B"],
            "run_id": [f"r{i}" for i in range(6)],
            "params": [1e8, 1e9, 7e10, 1e8, 1e9, 7e10],
            "tokens": [2e9, 2e10, 1.4e12, 4e9, 4e10, 1e11],
            "flops": [1.2e18, 1.3e20, 5.9e23, 2.4e18, 2.4e20, 4.2e22],
            "loss": [3.5, 2.8, 1.95, 3.4, 2.7, 2.1],
            "exclusion": ["", "too hot", "", "", "", "too cold"],
        }
    )


def write_csv(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_csv(path, index=False)
    return path


def write_parquet(frame: pd.DataFrame, path: Path) -> Path:
    path = path.with_suffix(".parquet")
    frame.to_parquet(path)
    return path


@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_a_file_holds_the_same_runs_as_its_frame(
    write: Callable[[pd.DataFrame, Path], Path], frame: pd.DataFrame, tmp_path: Path
) -> None:
    path = write(frame, tmp_path / "mine.csv")
    runs = bs.load_runs(path)
    assert runs.name == "mine"
    assert runs.digest == bs.load_runs(str(path)).digest == bs.load_runs(frame).digest
    pd.testing.assert_frame_equal(runs.frame[list(frame)], frame, check_dtype=False)


def test_a_frame_is_named_by_its_reader(frame: pd.DataFrame) -> None:
    assert bs.load_runs(frame).name == "runs"
    assert bs.load_runs(frame, name="mine").name == "mine"


def test_a_shipped_table_comes_by_name_with_its_card() -> None:
    runs = bs.load_runs("hoffmann2022")
    assert runs.name == "hoffmann2022"
    assert runs.card["citation"]
    assert len(runs) == runs.card["rows"]


def test_a_folder_with_a_card_gives_its_name(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_csv(tmp_path / "runs.csv", index=False)
    (tmp_path / "card.toml").write_text('name = "carded"\ntitle = "Six runs"\n', encoding="utf-8")
    runs = bs.load_runs(tmp_path)
    assert (runs.name, runs.card["title"], len(runs)) == ("carded", "Six runs", 6)
    assert bs.load_runs(tmp_path, name="mine").name == "mine"


def test_a_file_in_the_way_of_a_shipped_name_is_read(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    frame.to_csv("hoffmann2022.csv", index=False)
    assert len(bs.load_runs("hoffmann2022.csv")) == 6
    assert len(bs.load_runs("hoffmann2022")) == 245


def test_a_byte_order_mark_of_a_spreadsheet_is_no_part_of_a_name(frame: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    frame[["params", "tokens", "loss"]].to_csv(path, index=False, encoding="utf-8-sig")
    assert len(bs.load_runs(path)) == 6


def test_blanks_around_names_and_cells_are_no_part_of_them(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("family , params, tokens , loss\nA b , 70B , 1.4T, 1.95 \n", encoding="utf-8")
    runs = bs.load_runs(path)
    assert runs.families == ["A b"]
    assert runs["params"][0] == 7e10


def test_three_columns_are_enough() -> None:
    runs = bs.load_runs(pd.DataFrame({"params": [1e8, 1e9], "tokens": [2e9, 2e10], "loss": [3.5, 2.8]}), name="mine")
    assert runs.families == ["mine"]
    assert runs.flops_assumed
    np.testing.assert_allclose(runs["flops"], 6 * runs["params"] * runs["tokens"])


def test_flops_that_are_given_are_kept(frame: pd.DataFrame) -> None:
    runs = bs.load_runs(frame)
    assert not runs.flops_assumed
    np.testing.assert_array_equal(runs["flops"], frame["flops"])


def test_flops_of_routed_experts_count_active_params(frame: pd.DataFrame) -> None:
    routed = frame.drop(columns="flops").assign(active_params=frame["params"] / 8)
    runs = bs.load_runs(routed)
    np.testing.assert_allclose(runs["flops"], 6 * routed["active_params"] * routed["tokens"])


def test_counts_are_read_as_people_write_them(frame: pd.DataFrame) -> None:
    texts = frame.assign(params=["100M", "1B", "70B", "100_000_000", "1,000,000,000", "7e10"])
    assert bs.load_runs(texts).digest == bs.load_runs(frame).digest


def test_whole_numbers_are_the_same_runs_as_floats(frame: pd.DataFrame) -> None:
    whole = frame.astype({"params": "int64", "tokens": "int64"})
    assert bs.load_runs(whole).digest == bs.load_runs(frame).digest


def test_optional_columns_are_kept_and_may_have_holes(frame: pd.DataFrame) -> None:
    scored = frame.assign(n_items=[100, None, 100, 100, 100, 100], n_correct=[50, None, 60, 70, 80, 90], chance=0.25)
    runs = bs.load_runs(scored)
    assert np.isnan(runs["n_items"]).tolist() == [False, True, False, False, False, False]
    assert runs["n_correct"][5] == 90


def test_a_column_that_no_law_knows_is_kept_as_it_is(frame: pd.DataFrame) -> None:
    notes = ["", "a", None, "b", "c", "d"]
    runs = bs.load_runs(frame.assign(note=notes, seed=range(6)))
    assert runs["note"].tolist() == ["", "a", "", "b", "c", "d"]
    assert runs["seed"].tolist() == list(range(6))


def test_families_that_are_numbers_become_names(frame: pd.DataFrame) -> None:
    assert bs.load_runs(frame.assign(family=[1, 1, 1, 2, 2, 2])).families == ["1", "2"]


@pytest.mark.parametrize(
    ("conditions", "kept"),
    [
        ({"flops_below": 1e21}, ["r0", "r1", "r3", "r4"]),
        ({"params_below": "70B"}, ["r0", "r1", "r3", "r4"]),
        ({"params_above": "1B"}, ["r2", "r5"]),
        ({"params_above": "100M", "params_below": "70B"}, ["r1", "r4"]),
        ({"family": "B"}, ["r3", "r4", "r5"]),
        ({"family": ["A", "B"], "loss_below": 2.5}, ["r2", "r5"]),
        ({"run_id": ("r5", "r0")}, ["r0", "r5"]),
        ({"run_id": np.array(["r1"])}, ["r1"]),
        ({"params": 1e9}, ["r1", "r4"]),
        ({"exclusion": ""}, ["r0", "r2", "r3", "r4"]),
        ({"exclusion": ["too hot", "too cold"], "family": "A"}, ["r1"]),
        ({}, ["r0", "r1", "r2", "r3", "r4", "r5"]),
    ],
)
def test_where_keeps_the_runs_that_meet_every_condition(conditions: dict, kept: list[str], frame: pd.DataFrame) -> None:
    assert bs.load_runs(frame).where(**conditions)["run_id"].tolist() == kept


def test_where_reads_numbers_as_they_are_written(frame: pd.DataFrame) -> None:
    runs = bs.load_runs(frame.assign(n_items=[10, 20, None, 10, 20, 30]))
    assert runs.where(params="70B")["run_id"].tolist() == ["r2", "r5"]
    assert runs.where(n_items=["10", ""])["run_id"].tolist() == ["r0", "r2", "r3"]
    with pytest.raises(RunsError, match="is no number"):
        runs.where(params="many")


def test_runs_that_the_table_marks_as_excluded_are_counted_by_reason(frame: pd.DataFrame) -> None:
    frame.loc[2, "exclusion"] = "too hot"
    runs = bs.load_runs(frame)
    assert runs.excluded == {"too hot": 2, "too cold": 1}
    assert runs.where(exclusion="").excluded == {}
    assert bs.load_runs(frame.drop(columns="exclusion")).excluded == {}


def test_where_takes_a_column_whose_name_ends_like_a_condition(frame: pd.DataFrame) -> None:
    runs = bs.load_runs(frame.assign(tokens_above=["x", "y", "x", "x", "x", "x"]))
    assert runs.where(tokens_above="y")["run_id"].tolist() == ["r1"]


def test_where_keeps_name_card_and_how_flops_came(frame: pd.DataFrame) -> None:
    some = bs.load_runs("hoffmann2022").where(flops_below=1e20)
    assert (some.name, some.card["name"]) == ("hoffmann2022", "hoffmann2022")
    assert bs.load_runs(frame.drop(columns="flops")).where(family="A").flops_assumed


@pytest.mark.parametrize(
    ("conditions", "fragments"),
    [
        ({"flop_below": 1e21}, ["'flop'", "'flops'"]),
        ({"famly": "A"}, ["'famly'", "'family'"]),
        ({"loss_below": 0.1}, ["no run", "loss_below"]),
        ({"params_below": "big"}, ["params_below", "'big'"]),
        ({"family_below": 3}, ["family"]),
    ],
)
def test_where_says_what_it_cannot_do(conditions: dict, fragments: list[str], frame: pd.DataFrame) -> None:
    with pytest.raises(RunsError) as caught:
        bs.load_runs(frame).where(**conditions)
    assert all(fragment in str(caught.value) for fragment in fragments)


def test_take_goes_by_mask_or_position(frame: pd.DataFrame) -> None:
    runs = bs.load_runs(frame)
    assert runs.take(runs["loss"] < 2.5)["run_id"].tolist() == ["r2", "r5"]
    assert runs.take(np.array([4, 0]))["run_id"].tolist() == ["r4", "r0"]
    assert runs.take(np.array([4, 0])).frame.index.tolist() == [0, 1]


def test_runs_do_not_change_with_what_was_handed_out(frame: pd.DataFrame) -> None:
    runs = bs.load_runs(frame)
    before = runs.frame
    handed = runs.frame
    handed.loc[0, "loss"] = 9.0
    with contextlib.suppress(ValueError):  # pandas 3 hands out arrays that cannot be written
        runs["loss"][1] = 9.0
    pd.testing.assert_frame_equal(runs.frame, before)


def test_runs_and_the_frame_they_came_from_go_their_own_ways(frame: pd.DataFrame) -> None:
    original = frame.assign(params=["100M", "1B", "70B", "100M", "1B", "70B"])
    kept = original.copy(deep=True)
    runs = bs.load_runs(original)
    pd.testing.assert_frame_equal(original, kept)
    original.loc[0, "loss"] = 9.0
    assert runs["loss"][0] == 3.5


def test_runs_cannot_be_reassigned(frame: pd.DataFrame) -> None:
    runs = bs.load_runs(frame)
    with pytest.raises(AttributeError):
        runs.name = "other"


def test_the_digest_is_of_the_content_alone(frame: pd.DataFrame) -> None:
    digest = bs.load_runs(frame).digest
    assert bs.load_runs(frame[sorted(frame)], name="other").digest == digest
    assert bs.load_runs(frame.set_index(pd.Index(range(10, 16)))).digest == digest


@pytest.mark.parametrize(("column", "value"), [("loss", 3.5000000001), ("params", 100000001.0), ("run_id", "r9")])
def test_the_digest_changes_with_a_value(column: str, value: object, frame: pd.DataFrame) -> None:
    changed = frame.copy()
    changed.loc[0, column] = value
    assert bs.load_runs(changed).digest != bs.load_runs(frame).digest


def test_the_digest_changes_with_the_runs_that_are_kept(frame: pd.DataFrame) -> None:
    runs = bs.load_runs(frame)
    assert runs.where(family="A").digest != runs.digest


def test_the_repr_says_how_many_runs_and_how_far_they_span(frame: pd.DataFrame) -> None:
    shown = repr(bs.load_runs(frame, name="mine"))
    for fragment in ("'mine'", "6 runs", "2 families", "100M", "70.0B", "2.00B", "1.40T", "5.9e+23"):
        assert fragment in shown


def test_a_column_that_is_not_there_is_named_with_the_nearest(frame: pd.DataFrame) -> None:
    with pytest.raises(RunsError, match="did you mean 'tokens'"):
        bs.load_runs(frame)["token"]


def test_an_unknown_table_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'open-families'"):
        bs.load_runs("open-family")


def test_every_fault_is_counted_and_the_first_are_named(frame: pd.DataFrame) -> None:
    with pytest.raises(RunsError) as caught:
        bs.load_runs(frame.assign(loss=[-1, -2, -3, -4, -5, -6], tokens=0))
    assert "12 failure" in str(caught.value)
    assert "row 0, tokens" in str(caught.value)


def test_a_cell_that_is_no_number_is_one_fault(frame: pd.DataFrame) -> None:
    with pytest.raises(RunsError) as caught:
        bs.load_runs(frame.assign(params=["big", *frame["params"].iloc[1:]]))
    assert "1 failure" in str(caught.value)
    assert str(caught.value).count("row 0") == 1


def test_repeats_with_names_of_their_own_are_runs(frame: pd.DataFrame) -> None:
    twice = pd.concat([frame, frame.assign(run_id=[f"s{i}" for i in range(6)])])
    assert len(bs.load_runs(twice)) == 12


def test_a_run_may_stand_once_for_each_benchmark(frame: pd.DataFrame) -> None:
    scored = pd.concat([frame.assign(benchmark=name) for name in ("arc", "hellaswag")])
    assert len(bs.load_runs(scored)) == 12
