"""Every shipped table: its card complete, its hash right, its ranges plausible."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.core import shipped

NAMES = shipped.names("data")
TEXTS = (
    "name", "title", "summary", "source", "source_path", "citation", "url", "licence", "licence_note",
    "params_kind", "tokens_kind", "flops_kind", "made", "sha256",
)  # fmt: skip


def folder_of(name: str) -> Path:
    return shipped.folder("data") / name


def card_of(name: str) -> dict:
    return tomllib.loads((folder_of(name) / "card.toml").read_text(encoding="utf-8"))


def table_of(name: str) -> pd.DataFrame:
    return pd.read_csv(folder_of(name) / "runs.csv", dtype=str, keep_default_na=False)


def test_the_reference_table_ships() -> None:
    assert "hoffmann2022" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_everything_in_words(name: str) -> None:
    card = card_of(name)
    kinds = {"error_rate": "error_rate_kind", "loss": "loss_unit"}  # a table of benchmarks alone has neither
    texts = (*TEXTS, *(said for column, said in kinds.items() if column in table_of(name)))
    assert [key for key in texts if not isinstance(card.get(key), str) or not card[key].strip()] == []
    assert card["name"] == name
    assert card["faults"]
    assert all(isinstance(fault, str) and fault.strip() for fault in card["faults"])


@pytest.mark.parametrize("name", NAMES)
def test_a_source_is_pinned_to_a_commit_and_cited(name: str) -> None:
    card = card_of(name)
    for source in card.get("sources", [card]):
        repository, _, commit = source["source"].partition("@")
        assert repository.count("/") == 1
        assert len(commit) >= 8
        assert int(commit, 16)
        assert "arXiv:" in source["citation"]
        assert source["url"].startswith("https://")
        assert source["licence"].strip()


@pytest.mark.parametrize("name", NAMES)
def test_the_hash_is_that_of_the_table(name: str) -> None:
    assert card_of(name)["sha256"] == hashlib.sha256((folder_of(name) / "runs.csv").read_bytes()).hexdigest()


@pytest.mark.parametrize("name", NAMES)
def test_counts_of_rows_and_families_are_those_of_the_table(name: str) -> None:
    card, table = card_of(name), table_of(name)
    assert (card["rows"], card["families"]) == (len(table), table["family"].nunique())


@pytest.mark.parametrize("name", [name for name in NAMES if "sources" in card_of(name)])
def test_each_source_counts_the_rows_of_its_family(name: str) -> None:
    counted = {source["family"]: source["rows"] for source in card_of(name)["sources"]}
    assert counted == table_of(name)["family"].value_counts().to_dict()


@pytest.mark.parametrize("name", NAMES)
def test_every_column_is_described_and_no_other(name: str) -> None:
    columns = card_of(name)["columns"]
    assert sorted(columns) == sorted(table_of(name).columns)
    assert [key for key, said in columns.items() if not (said["unit"].strip() and said["meaning"].strip())] == []


@pytest.mark.parametrize("name", NAMES)
def test_exclusions_are_those_of_the_table_with_their_counts(name: str) -> None:
    said = {entry["reason"]: entry["rows"] for entry in card_of(name)["exclusions"]}
    table = table_of(name)
    marked = table["exclusion"][table["exclusion"] != ""] if "exclusion" in table else pd.Series(dtype=str)
    assert said == marked.value_counts().to_dict()


LEAST_LOSS = {"parallel": 0.5, "pile-t5": 0.5}  # of code, and of masked spans: easier than the next token of a text

# Kaplan's count of the smallest model, without its head, and large models that ended in their warm-up; first steps.
LEAST = {"related-families": (1e6, 6e6, 0.01), "porian2024": (3e5, 5e6, 0.005), "pythia": (7e7, 2e6, 1e-4)}


OF_TEXT = [name for name in NAMES if "tokens" in table_of(name)]
"""Tables of language models that count tokens; the others count examples seen or steps."""


@pytest.mark.parametrize("name", OF_TEXT)
def test_ranges_are_plausible(name: str) -> None:
    runs = bs.load_runs(name)
    params, tokens, least_ratio = LEAST.get(name, (1e6, 1e7, 0.01))
    assert runs["params"].min() >= params
    assert runs["params"].max() <= 1e12
    assert runs["tokens"].min() >= tokens
    assert runs["tokens"].max() <= 1e14
    if "loss" in runs.frame:
        assert runs["loss"].min() > LEAST_LOSS.get(name, 1.0)  # nats/token: lower than any published model of text
        assert runs["loss"].max() < np.log(256_000)  # an untrained model of the largest vocabulary in use
    ratio = runs["tokens"] / runs["params"]
    assert ratio.min() > least_ratio
    assert ratio.max() < 1e5


@pytest.mark.parametrize("name", OF_TEXT)
def test_flops_are_as_the_card_counts_them(name: str) -> None:
    runs = bs.load_runs(name)
    assert not runs.flops_assumed
    used = runs["active_params" if "active_params" in runs.frame else "params"]
    vocabulary = runs["vocab_params"].astype(float) if "vocab_params" in runs.frame else 0.0
    np.testing.assert_allclose(runs["flops"], 6 * (used + vocabulary) * runs["tokens"], rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_table_loads_whole(name: str) -> None:
    runs = bs.load_runs(name)
    card = card_of(name)
    assert (runs.name, len(runs), len(runs.families)) == (name, card["rows"], card["families"])
    assert runs.card == card
    assert (runs.loss_unit, runs.loss_unit_assumed) == ("nats", False)


@pytest.mark.parametrize("name", [name for name in NAMES if "examples" in table_of(name)])
def test_a_table_of_examples_has_error_rates_and_counts_no_flops(name: str) -> None:
    runs = bs.load_runs(name)
    assert not {"tokens", "flops", "loss"} & set(runs.frame)
    assert not runs.flops_assumed
    np.testing.assert_array_equal(runs.size, runs["examples"])
    assert runs["examples"].min() >= 1e5
    assert runs["error_rate"].min() > 0.05  # below the error of any few-shot classifier of these tasks
    assert runs["error_rate"].max() < 1.0


def test_chinchilla_has_245_runs_of_which_5_are_excluded() -> None:
    runs = bs.load_runs("hoffmann2022")
    assert len(runs) == 245
    assert len(runs) - len(runs.where(exclusion="")) == 5
    assert runs["run_id"][runs["exclusion"] != ""].tolist() == ["c000", "c001", "c002", "c003", "c004"]


def test_chinchilla_of_the_pool_is_the_table_without_its_exclusions() -> None:
    alone = bs.load_runs("hoffmann2022").where(exclusion="")
    pooled = bs.load_runs("open-families").where(family="Chinchilla")
    np.testing.assert_allclose(np.sort(pooled["loss"]), np.sort(alone["loss"]), rtol=1e-9)


@pytest.mark.parametrize("name", [name for name in NAMES if "n_items" in table_of(name)])
def test_correct_answers_make_the_score(name: str) -> None:
    runs = bs.load_runs(name)
    counted = ~np.isnan(runs["n_items"])
    correct, items = runs["n_correct"][counted], runs["n_items"][counted]
    assert (correct <= items).all()
    np.testing.assert_allclose(correct / items, runs["score"][counted], atol=1e-7)


@pytest.mark.parametrize("name", [name for name in NAMES if "epochs" in table_of(name)])
def test_epochs_are_tokens_over_unique_tokens(name: str) -> None:
    runs = bs.load_runs(name)
    assert (runs["unique_tokens"] <= runs["tokens"]).all()
    np.testing.assert_allclose(runs["epochs"], runs["tokens"] / runs["unique_tokens"], rtol=1e-3)
