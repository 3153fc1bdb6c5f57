"""Observations: a long table beside the runs, several responses of one kind, runs that lack some, no loss at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import bayescale as bs
from bayescale.cli import main
from bayescale.cli.options import Reading
from bayescale.cli.printing import as_text
from bayescale.core.errors import RunsError, SpecError
from bayescale.runs.readers import load_again

ITEMS, CHANCE = 2000, 0.25
MIDPOINTS = {"easy": 3.0, "hard": 2.5}
WIDTH, CEILING = 0.12, 0.96


def _tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs under a known law, and what two benchmarks observed of them: the hard one of half of the runs alone."""
    random, rows, seen = np.random.default_rng(0), [], []
    for params in (3e7, 1e8, 3e8, 1e9, 3e9):
        for ratio in (5, 20, 80, 320):
            tokens = params * ratio
            curve = 1.8 + 480 * params**-0.35 + 2100 * tokens**-0.37
            run = f"r{len(rows)}"
            rows.append({"run_id": run, "params": params, "tokens": tokens,
                         "loss": curve * np.exp(0.004 * random.standard_normal())})  # fmt: skip
            for name, midpoint in MIDPOINTS.items():
                if name == "easy" or len(rows) % 2:
                    rise = 1 / (1 + np.exp(-(np.log(midpoint) - np.log(curve)) / WIDTH))
                    correct = random.binomial(ITEMS, CHANCE + (CEILING - CHANCE) * rise)
                    seen.append({"run_id": run, "response": name, "value": correct, "n_items": ITEMS, "chance": CHANCE})
    return pd.DataFrame(rows), pd.DataFrame(seen)


RUNS, SEEN = _tables()
RESPONSES = {name: {"response": "accuracy", "noise": "binomial"} for name in MIDPOINTS}
TIGHT = {f"ceiling_{name}": {"prior": {"kind": "LogitNormal", "median": CEILING, "scale": 0.05}} for name in MIDPOINTS}


@pytest.fixture(scope="module")
def runs() -> bs.Runs:
    return bs.load_runs(RUNS, observations=SEEN, loss_unit="nats")


@pytest.fixture(scope="module")
def fit(runs: bs.Runs) -> bs.Fit:
    spec = bs.make_spec("both", law="additive", responses={"loss": "gaussian", **RESPONSES}, parameters=TIGHT)
    return bs.fit(runs, spec, seed=0, draws=500)


def test_a_long_table_becomes_columns_and_comes_back(runs: bs.Runs) -> None:
    assert runs.responses == ("easy", "hard")
    assert runs["hard_n_items"][0] == ITEMS
    assert np.isnan(runs["hard"]).sum() == len(RUNS) // 2
    again = runs.observations.merge(SEEN, on=["run_id", "response"], suffixes=("", "_before"))
    assert len(again) == len(SEEN) == len(runs.observations)
    assert (again["value"] == again["value_before"]).all()


def test_a_response_whose_name_begins_with_another_keeps_its_own_columns() -> None:
    easy = SEEN[SEEN["response"] == "easy"]
    both = pd.concat([easy, easy.assign(response="easy_law", value=1)], ignore_index=True)
    found = bs.load_runs(RUNS, observations=both, loss_unit="nats").observations
    assert set(found.columns) == {"family", "run_id", "response", "value", "n_items", "chance"}
    assert (found[found["response"] == "easy_law"]["value"] == 1).all()
    assert len(found) == len(both)
    with pytest.raises(RunsError, match="would be called 'easy_law'"):
        bs.load_runs(RUNS, observations=both.assign(law=2.0), loss_unit="nats")


def test_a_folder_holds_observations_beside_its_runs(tmp_path: Path, runs: bs.Runs) -> None:
    RUNS.to_csv(tmp_path / "runs.csv", index=False)
    SEEN.to_csv(tmp_path / "observations.csv", index=False)
    (tmp_path / "card.toml").write_text('loss_unit = "nats/token"\n')
    found = bs.load_runs(tmp_path)
    assert found.responses == runs.responses
    np.testing.assert_array_equal(found["easy"], runs["easy"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.assign(run_id="r99"), "to no run"),
        (lambda t: pd.concat([t, t[:1]], ignore_index=True), "repeat an earlier observation"),
        (lambda t: t.assign(response="two words"), "cannot name a column"),
        (lambda t: t.drop(columns="value"), "no column 'value'"),
        (lambda t: t.assign(n_items=100.5), "row 0 of the observations, n_items: expected a count of items, got 100.5"),
        (lambda t: t.assign(n_items=0), "row 0 of the observations, n_items: expected a count of items, got 0"),
        (lambda t: t.assign(chance=1.5), "row 0 of the observations, chance: expected a share"),
        (lambda t: t.assign(samples=1, k=1), "two columns of one meaning, k and samples"),
        (lambda t: t.assign(value="many"), "row 0 of the observations, value"),
        (lambda t: t[t["response"] == "easy"].assign(response="loss"), "both in its runs and in"),
    ],
)
def test_observations_that_do_not_fit_the_runs_are_refused(change, words: str) -> None:
    with pytest.raises(RunsError, match=words):
        bs.load_runs(RUNS, observations=change(SEEN), loss_unit="nats")


COUNTED = pd.DataFrame({"run_id": ["r0", "r1"], "response": "easy", "n_items": 1000, "n_correct": [401, 523]})


@pytest.mark.parametrize("value", [None, [401, 523], [0.401, 0.523], [0.4, 0.52], [401 / 1000, ""]])
def test_a_count_is_the_value_and_its_share_may_stand_beside_it(value) -> None:
    seen = COUNTED if value is None else COUNTED.assign(value=value)
    runs = bs.load_runs(RUNS, observations=seen, loss_unit="nats")
    np.testing.assert_array_equal(runs["easy"][:2], [401, 523])
    assert set(runs.observations) == {"family", "run_id", "response", "value", "n_items"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"value": [0.401, 0.532]}, "row 1 of the observations, value: expected the 523 right answers of n_correct"),
        ({"value": [0.8, 0.523]}, "row 0 of the observations, value"),
        ({"value": [400, 523]}, "row 0 of the observations, value"),
        ({"value": 0.401, "n_items": ""}, "row 0 of the observations, value"),
        ({"n_correct": [401, 1001]}, "row 1 of the observations, n_correct: expected at most n_items, 1000, got 1001"),
        ({"n_correct": [401, 0.5]}, "row 1 of the observations, n_correct: expected a count"),
        ({"n_correct": [401, ""]}, "row 1 of the observations, value: expected a number, got an empty cell"),
    ],
)
def test_a_value_that_is_not_that_of_its_count_is_refused(change, words: str) -> None:
    with pytest.raises(RunsError, match=words):
        bs.load_runs(RUNS, observations=COUNTED.assign(**change), loss_unit="nats")


def test_k_is_the_number_of_samples_and_two_of_one_run_are_no_repeats() -> None:
    seen = pd.DataFrame({"run_id": "r0", "response": "math", "value": [30, 70], "n_items": 164, "k": [1, 10]})
    with pytest.raises(RunsError, match=r"rows 1 .* another number of samples \(k\)") as refused:
        bs.load_runs(RUNS, observations=seen, loss_unit="nats")
    assert "repeat" not in str(refused.value)
    runs = bs.load_runs(RUNS, observations=seen.assign(item=["k1", "k10"]), loss_unit="nats")
    assert (runs["math_k1_samples"][0], runs["math_k10_samples"][0]) == (1, 10)
    spec = {"response": "pass-at-k-of-loss", "noise": "binomial"}
    assert "math_k10_samples" in bs.make_spec("m", law="additive", responses={"math_k10": spec}).columns


def test_a_score_of_a_checkpoint_belongs_to_the_row_of_its_step() -> None:
    points = pd.DataFrame({"run_id": ["a", "a", "b", "b"], "step": [1000, 20_000, 1000, 20_000], "params": 1e8,
                           "tokens": [2e9, 4e10] * 2, "loss": [3.9, 3.1, 3.8, 3.0]})  # fmt: skip
    seen = pd.DataFrame({"run_id": ["b", "a", "a"], "step": ["20k", "1000", 20_000.0], "response": "easy",
                         "n_items": 100, "n_correct": [52, 26, 47]})  # fmt: skip
    runs = bs.load_runs(points, observations=seen, loss_unit="nats", rows_by="step")
    np.testing.assert_array_equal(runs["easy"], [26, 47, np.nan, 52])
    assert "easy_step" not in runs.frame
    assert runs.observations["step"].to_list() == [1000, 20_000, 20_000]
    with pytest.raises(RunsError, match=r"row 0 .* belongs to no run.*(?s:.*)a run_id and step"):
        bs.load_runs(points, observations=seen.assign(step=7), loss_unit="nats", rows_by="step")
    with pytest.raises(RunsError, match=r"several rows called a: .*(?s:.*)step"):
        bs.load_runs(points, observations=seen.drop(columns="step"), loss_unit="nats", rows_by="step")
    with pytest.raises(RunsError, match=r"rows 2 of the observations are of a run and response .* another step"):
        bs.load_runs(points[1:3].drop(columns="step"), observations=seen, loss_unit="nats")


@pytest.mark.parametrize(("column", "cell"), [("n_items", 100.5), ("n_items", 0), ("chance", 1.5)])
def test_what_is_known_of_a_score_in_a_wide_table_is_checked_as_without_its_name(
    tmp_path: Path, column: str, cell: float
) -> None:
    """The third run is on line 4 of a file."""
    plain = RUNS.assign(n_items=100.0, chance=0.25, n_correct=30)
    own = plain.rename(columns={"n_items": "e_n_items", "chance": "e_chance", "n_correct": "e"})
    said = []
    for table, name in ((plain, column), (own, f"e_{column}")):
        table.loc[2, name] = cell
        table.to_csv(tmp_path / "runs.csv", index=False)
        with pytest.raises(RunsError, match=f"row 4, {name}: expected a .*, got {cell}") as refused:
            bs.load_runs(tmp_path / "runs.csv", loss_unit="nats", name="ours")
        said.append(str(refused.value).replace("e_", ""))
    assert said[0] == said[1]


def test_each_response_has_parameters_of_its_own_and_finds_them(fit: bs.Fit) -> None:
    assert fit.responses == ("loss", "easy", "hard")
    assert fit.converged, fit.verdict
    for name, midpoint in MIDPOINTS.items():
        found = fit.summary.loc[f"midpoint_{name}"]
        assert abs(found["mean"] - midpoint) < 4 * found["sd"]
    assert fit.summary.loc["midpoint_hard", "sd"] < 0.3 * MIDPOINTS["hard"] * 0.3  # of the prior's


def test_a_missing_value_says_nothing(fit: bs.Fit) -> None:
    likelihood = fit.tree["log_likelihood"]["hard"]
    there = fit.tree["observed_data"]["hard"].notnull().to_numpy()
    assert not there.all()
    np.testing.assert_array_equal(likelihood["run_of_hard"], np.flatnonzero(there))
    assert (likelihood.to_numpy() != 0).all()


def test_forecasts_know_what_is_the_same_in_all_runs(fit: bs.Fit) -> None:
    found = bs.forecast(fit, params="10B", tokens="200B", response="hard")
    assert found.unit == "items"
    half = bs.forecast(fit, params="10B", tokens="200B", response="hard", hard_n_items=ITEMS / 2)
    ratio = (found.draws["epred"] / half.draws["epred"]).to_numpy()
    np.testing.assert_allclose(ratio, 2.0)
    assert 0.25 * ITEMS < found.summary["q50"].item() < ITEMS


def test_any_response_is_backtested_on_its_own_scale(runs: bs.Runs, fit: bs.Fit) -> None:
    tested = bs.backtest(runs, fit.spec, response="easy", seed=0, draws=500)
    assert tested.meta["response"] == "easy"
    assert {"easy", "log_score", "crps"} <= set(tested.runs)
    assert 0 < tested.mean["crps"] < 0.05  # of the share of items
    # The log score is the mean probability of the count that came, in logs: each is under one.
    assert (tested.runs["log_score"] < 0).all()


def test_a_run_without_a_value_is_not_scored(runs: bs.Runs, fit: bs.Fit) -> None:
    tested = bs.backtest(runs, fit.spec, response="hard", seed=0, draws=500)
    assert tested.runs["hard"].notna().all()
    assert 0 < len(tested.runs) < (runs["flops"] > 1.5 * np.quantile(runs["flops"], 0.7)).sum()


def test_no_loss_is_needed_where_the_spec_observes_none() -> None:
    table = RUNS.drop(columns="loss")
    runs = bs.load_runs(table, observations=SEEN[SEEN["response"] == "easy"])
    spec = bs.make_spec("easy", law="additive", responses={"easy": RESPONSES["easy"]})
    fit = bs.fit(runs, spec, seed=0, draws=500)
    found = bs.forecast(fit, params="10B", tokens="200B").draws["epred"] / ITEMS
    curve = 1.8 + 480 * 1e10**-0.35 + 2100 * 2e11**-0.37
    truth = CHANCE + (CEILING - CHANCE) / (1 + np.exp(-(np.log(MIDPOINTS["easy"]) - np.log(curve)) / WIDTH))
    low, high = np.quantile(found, [0.005, 0.995])
    assert low < truth < high
    with pytest.raises(RunsError, match="no column 'loss'"):
        bs.fit(runs, "additive")


def test_a_share_where_counts_are_wanted_is_refused(runs: bs.Runs, fit: bs.Fit) -> None:
    shares = bs.load_runs(RUNS, observations=SEEN.assign(value=SEEN["value"] / ITEMS), loss_unit="nats")
    with pytest.raises(RunsError, match="multiply it by n_items"):
        bs.fit(shares, fit.spec)


def test_the_names_of_responses_are_columns_of_ones_own() -> None:
    for name in ("params", "two words", "loss_error"):
        with pytest.raises(SpecError, match="cannot name a response"):
            bs.make_spec("mine", law="additive", responses={name: RESPONSES["easy"]})
    with pytest.raises(SpecError, match="its kind and its noise"):
        bs.make_spec("mine", law="additive", responses={"easy": {"response": "accuracy"}})


def test_a_spec_with_named_responses_is_written_and_read(fit: bs.Fit, tmp_path: Path) -> None:
    assert bs.load_spec(bs.write_spec(fit.spec, tmp_path / "both.toml")).digest == fit.spec.digest
    assert bs.load_fit(fit.save(tmp_path / "fit.nc")).spec.digest == fit.spec.digest


def test_the_command_line_reads_observations_and_scores_a_response(tmp_path: Path) -> None:
    RUNS.to_csv(tmp_path / "runs.csv", index=False)
    SEEN.to_csv(tmp_path / "seen.csv", index=False)
    lines = ['law = "additive"', "[responses]", 'loss = "gaussian"',
             'easy = {response = "accuracy", noise = "binomial"}']  # fmt: skip
    (tmp_path / "spec.toml").write_text("\n".join(lines))
    words = ["backtest", str(tmp_path / "runs.csv"), "--model", str(tmp_path / "spec.toml"), "--loss-unit", "nats"]
    more = ["--observations", str(tmp_path / "seen.csv"), "--response", "easy"]
    done = CliRunner().invoke(main, [*words, *more])
    assert done.exit_code in (0, 1), done.output  # 1: a fit did not converge
    assert "the scale of easy" in done.output
    refused = CliRunner().invoke(main, [*words, *more, "--out", str(tmp_path / "record.toml")])
    assert refused.exit_code == 2
    assert "a record holds forecasts of the loss" in refused.stderr


def test_the_command_line_forecasts_a_response_and_its_figures_show_it(fit: bs.Fit, tmp_path: Path) -> None:
    saved = fit.save(tmp_path / "fit.nc")
    words = ["forecast", str(saved), "--params", "10B", "--tokens", "200B", "--response", "hard", "--seed", "1"]
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code in (0, 1), done.output
    (row,) = json.loads(done.stdout)
    same = bs.forecast(fit, params="10B", tokens="200B", response="hard", seed=1).summary
    assert row["q50"] == pytest.approx(same["q50"].item())
    assert f"{row['q50']:.0f} items, 90% interval" in CliRunner().invoke(main, words).output
    collections = bs.plots.plot_residuals(fit, response="hard").collections
    assert (SEEN["response"] == "hard").sum() in {len(one.get_offsets()) for one in collections}


def test_an_item_is_a_part_of_the_name_and_a_date_becomes_a_year() -> None:
    """2 July is day 183 of the 366 of 2024: half of the year is over."""
    seen = pd.DataFrame({"run_id": "r0", "response": "mmlu", "item": ["law", "physics", ""], "value": [395, 40, 435],
                         "date": ["2024-07-02", pd.Timestamp("2023-01-01"), 2022.25]})  # fmt: skip
    runs = bs.load_runs(RUNS, observations=seen, loss_unit="nats")
    assert runs.responses == ("mmlu_law", "mmlu_physics", "mmlu")
    found = runs.observations.set_index("response")
    assert found["value"].to_dict() == {"mmlu_law": 395, "mmlu_physics": 40, "mmlu": 435}
    assert found["date"].to_dict() == {"mmlu_law": 2024.5, "mmlu_physics": 2023.0, "mmlu": 2022.25}
    with pytest.raises(RunsError, match="row 1 of the observations, date: expected a date such as 2024-07-01"):
        bs.load_runs(RUNS, observations=seen.assign(date=["2024-07-02", "02/07/2024", ""]), loss_unit="nats")


@pytest.mark.parametrize(
    ("column", "cell", "words"),
    [
        ("value", "many", "row 4 of the observations, value: expected a number, got 'many'"),
        ("date", "May", "row 4 of the observations, date: expected a date"),
        ("run_id", "r99", "row 4 of the observations of 'runs' belongs to no run"),
        ("response", "two words", "row 4 of the observations has a response that cannot name a column"),
    ],
)
def test_an_error_names_the_line_of_a_file_of_observations(tmp_path: Path, column: str, cell: str, words: str) -> None:
    """The third observation is on line 4: the first line has the names."""
    table = SEEN.assign(date="2024-07-02").astype(object)
    table.loc[2, column] = cell
    table.to_csv(tmp_path / "seen.csv", index=False)
    with pytest.raises(RunsError, match=words):
        bs.load_runs(RUNS, observations=tmp_path / "seen.csv", loss_unit="nats")


@pytest.mark.slow
def test_models_are_compared_on_a_response_of_its_own_kind(runs: bs.Runs, fit: bs.Fit) -> None:
    """A model that has the ceiling far too low forecasts the larger runs worse, on the scale of the share of items."""
    low = {"ceiling_easy": {"prior": {"kind": "LogitNormal", "median": 0.6, "scale": 0.05}}}
    wrong = bs.make_spec("wrong", law="additive", responses={"loss": "gaussian", **RESPONSES}, parameters=TIGHT | low)
    found = bs.compare(runs, [fit.spec, wrong], response="easy", seed=0, draws=500)
    beyond = found.beyond.set_index("model")
    assert beyond.loc["both", "crps"] < beyond.loc["wrong", "crps"] < 1
    assert beyond.loc["both", "crps"] < 0.05  # of the share of items
    assert (beyond["log_score"] < 0).all()  # of a count: a probability, in logs
    assert beyond.loc["both", "log_score"] > beyond.loc["wrong", "log_score"]


WIDE = pd.DataFrame({"run_id": ["a", "b", "c"], "params": [1e8, 2e8, 4e8], "tokens": [2e9, 4e9, 8e9],
                     "loss": [3.2, 3.0, 2.8], "easy": [500, 600, None], "hard": [260, 270, 300],
                     "hard_n_items": [1000, 1000, 500], "note": "x"})  # fmt: skip
GIVEN = {"easy": {"n_items": 1000, "chance": 0.25}, "hard": {"chance": 0.25}}


def test_a_wide_table_is_melted_into_the_observations_that_a_long_one_states() -> None:
    long = pd.DataFrame([
        {"run_id": run, "response": name, "value": value, "n_items": items, "chance": 0.25}
        for name, values, sizes in (("easy", [500, 600], [1000] * 2), ("hard", [260, 270, 300], [1000, 1000, 500]))
        for run, value, items in zip("abc", values, sizes, strict=False)
    ])  # fmt: skip
    runs = WIDE.drop(columns=["easy", "hard", "hard_n_items"])
    expected = bs.load_runs(runs, name="ours", observations=long, loss_unit="nats")
    found = bs.load_runs(WIDE, name="ours", melt=GIVEN, loss_unit="nats")
    assert found.responses == expected.responses == ("easy", "hard")
    pd.testing.assert_frame_equal(found.observations, expected.observations)
    assert bs.load_runs(WIDE, melt="hard", loss_unit="nats").responses == ("hard",)
    assert bs.load_runs(WIDE, melt=None, loss_unit="nats").responses == ()


def test_a_wide_table_may_have_observations_beside_it() -> None:
    more = pd.DataFrame({"run_id": ["b"], "response": ["rare"], "value": [3]})
    found = bs.load_runs(WIDE, melt=["easy", "hard"], observations=more, loss_unit="nats")
    assert found.responses == ("easy", "hard", "rare")
    assert found.observations["response"].value_counts().to_dict() == {"hard": 3, "easy": 2, "rare": 1}


@pytest.mark.parametrize(
    ("change", "melt", "words"),
    [
        ({}, ["piqa"], "no column 'piqa'"),
        ({}, ["note"], "row 0, note: .*number"),
        ({"hard_n_items": ["1000", "many", "500"]}, ["hard"], "row 1, hard_n_items: .*number"),
        ({}, {"hard": {"n_items": 1000}}, "hard_n_items as a column, and a value for all runs is given too"),
        ({}, ["loss"], "'loss' of 'runs' cannot be melted"),
        ({"two words": 1}, ["two words"], "'two words' of 'runs' cannot be melted"),
        ({"run_id": None}, ["hard"], "no column 'run_id'"),
    ],
)
def test_columns_that_cannot_be_melted_are_refused_in_words(change, melt, words: str) -> None:
    table = WIDE.assign(**change)
    table = table.drop(columns=[name for name, value in change.items() if value is None])
    with pytest.raises(RunsError, match=words):
        bs.load_runs(table, melt=melt, loss_unit="nats")


def test_the_command_line_melts_a_wide_table(tmp_path: Path) -> None:
    WIDE.to_csv(tmp_path / "wide.csv", index=False)
    words = ["validate", str(tmp_path / "wide.csv"), "--loss-unit", "nats"]
    done = CliRunner().invoke(main, [*words, "--melt", "easy:n_items=1000,chance=0.25", "--melt", "hard"])
    assert done.exit_code in (0, 1), done.output  # 1: so few runs identify no law
    assert "easy" in done.stdout
    refused = CliRunner().invoke(main, [*words, "--melt", "note"])
    assert refused.exit_code == 2
    assert "row 2, note: expected a number, got 'x'" in refused.stderr  # a line of the file
    wrong = CliRunner().invoke(main, [*words, "--melt", "easy:n_items"])
    assert wrong.exit_code == 2
    assert "COLUMN:NAME=NUMBER" in wrong.stderr
    origin = as_text(Reading(loss_unit="nats", melt=(("easy", {"chance": 0.25}),)))
    again = load_again({"runs": str(tmp_path / "wide.csv"), **origin})
    assert (again.responses, set(again["easy_chance"])) == (("easy",), {0.25})


ACTIVE = RUNS.assign(active_params=RUNS["params"] / 2)


@pytest.mark.parametrize("name", ["run", "active", "exclusion_of"])
def test_a_column_of_the_runs_belongs_to_no_response_whose_name_it_begins_with(name: str) -> None:
    table = ACTIVE.assign(exclusion_of_mine="x")
    seen = pd.DataFrame({"run_id": ["r0", "r1"], "response": name, "value": [0.1, 0.2], "n_items": 100})
    runs = bs.load_runs(table, observations=seen, loss_unit="nats")
    assert list(runs.observations) == ["family", "run_id", "response", "value", "n_items"]
    assert runs.observations["value"].tolist() == [0.1, 0.2]
    assert runs.response_columns == {name: (f"{name}_n_items",)}


@pytest.mark.parametrize("name", ["run", "active", "loss_of"])
def test_a_melted_column_takes_no_column_with_a_meaning_of_its_own(name: str) -> None:
    runs = bs.load_runs(ACTIVE.assign(**{name: 0.5, f"{name}_n_items": 100}), melt=name, loss_unit="nats")
    assert runs["run_id"][7] == "r7"
    assert runs.response_columns == {name: (f"{name}_n_items",)}
    assert list(runs.observations) == ["family", "run_id", "response", "value", "n_items"]


@pytest.mark.parametrize(("name", "column"), [("eval", "set"), ("active", "params"), ("family", "value")])
def test_observations_make_no_column_with_a_meaning_of_its_own(name: str, column: str) -> None:
    seen = pd.DataFrame({"run_id": ["r0", "r1"], "response": name, "value": [0.1, 0.2]}).assign(**{column: [1.0, 2.0]})
    with pytest.raises(RunsError, match=f"'{name}(_{column})?' of the observations of 'runs' is another column"):
        bs.load_runs(RUNS, observations=seen, loss_unit="nats")


def test_a_further_column_that_would_be_called_as_another_keeps_its_whole_name() -> None:
    seen = pd.DataFrame({"run_id": ["r0", "r1"], "response": "x", "value": [0.1, 0.2], "x_value": [3, 4]})
    found = bs.load_runs(RUNS, observations=seen, loss_unit="nats").observations
    assert found["value"].tolist() == [0.1, 0.2]
    assert found["x_value"].tolist() == [3.0, 4.0]


@pytest.mark.parametrize("column", ["run_id", "response"])
def test_a_text_of_an_observation_that_is_none_is_an_error_of_its_row(column: str) -> None:
    seen = SEEN.astype(object)
    seen.loc[3, column] = "a\0b"
    with pytest.raises(RunsError, match="row 3 of the observations: expected text"):
        bs.load_runs(RUNS, observations=seen, loss_unit="nats")


@pytest.mark.parametrize("value", ["1e308", "-1e200"])
def test_an_observation_whose_square_is_no_number_is_refused(value: str) -> None:
    with pytest.raises(RunsError, match=r"row 0 of the observations, value: expected a number of at most 1e\+150"):
        bs.load_runs(RUNS, observations=SEEN.astype(object).assign(value=value), loss_unit="nats")
    with pytest.raises(RunsError, match=r"row 0, easy: expected a number of at most 1e\+150"):
        bs.load_runs(RUNS.assign(easy=value), melt="easy", loss_unit="nats")


@pytest.mark.parametrize(
    "how",
    [{"columns": [1]}, {"units": 3}, {"rows_by": 3}, {"melt": 3}, {"melt": {"loss": 3}}, {"units": {"params": None}}],
    ids=str,
)
def test_a_way_of_reading_of_another_type_is_refused_in_words(how: dict[str, object]) -> None:
    with pytest.raises(RunsError, match=r"got: .*(of type|None)"):
        bs.load_runs(RUNS, loss_unit="nats", **how)


def test_thousands_of_items_come_back_as_they_were() -> None:
    n = 4000
    seen = pd.DataFrame({"run_id": ["r0", "r3"] * n, "response": "quiz", "item": np.repeat(np.arange(n), 2)})
    seen = seen.assign(value=np.arange(2 * n) / (2 * n), n_items=1.0).astype({"item": str})
    runs = bs.load_runs(RUNS, observations=seen, loss_unit="nats")
    assert len(runs.responses) == n
    found = runs.observations
    assert found["response"].tolist() == ("quiz_" + seen["item"]).tolist()
    pd.testing.assert_frame_equal(found[["run_id", "value", "n_items"]], seen[["run_id", "value", "n_items"]],
                                  check_dtype=False)  # fmt: skip


def test_observations_that_make_too_large_a_table_are_refused() -> None:
    many = pd.concat([RUNS] * 50, ignore_index=True).assign(run_id=[f"r{i}" for i in range(50 * len(RUNS))])
    seen = pd.DataFrame({"run_id": "r0", "response": [f"i{i}" for i in range(10_001)], "value": 1.0})
    with pytest.raises(RunsError, match="make too large a table"):
        bs.load_runs(many, observations=seen, loss_unit="nats")
