"""Files of ``tests/cases/tables``: one and the same runs, as exporters, spreadsheets and trackers write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.core.errors import RunsError

FOLDER = Path(__file__).parents[1] / "cases" / "tables"
FILES = sorted(path.name for path in FOLDER.iterdir() if path.suffix not in (".md", "") and path.name[0] != ".")
BASE = pd.read_csv(FOLDER / "base.csv")
ROUNDED = 0.5e-4  # of a loss with four decimals
BYTES = 4.3  # per token, in bpb.csv

# What is said of a file that is read as it is; nothing of one that a plain reader would read in the same way.
UNDERSTOOD: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("base.csv", "bom.csv", "crlf.csv", "extra.csv", "padded.csv", "quoted.csv", "sci.csv",
                     "suffix.csv", "thousands.csv", "underscore.csv"), ()),
    "base.csv.gz": ("compressed with gzip",),
    "blank.csv": ("4 empty lines skipped",),
    "comment.csv": ("1 comment line skipped (from #)",),
    "excel_formula.csv": ('cells written as ="…"',),
    "excel_sep.csv": ("the line sep=, of Excel",),
    "flops_params_loss.csv": ("tokens = flops / (6·params)",),
    "index.csv": ("a column without a name that numbers the rows left out",),
    "mixedcase.csv": ("params from 'Params'", "tokens from 'Tokens'", "loss from 'Loss'"),
    "nofamily.csv": ("family 'nofamily' where there is none (1 of 15 rows)",),
    "runs.json": ("JSON",),
    "runs.jsonl": ("JSON Lines",),
    "runs.parquet": ("Parquet",),
    "runs.pq": ("Parquet",),
    "runs.xlsx": ("Excel sheet 'Sheet1'",),
    "semicolon.csv": ("columns separated by semicolons", "decimal points"),
    "semicolon_decimalcomma.csv": ("columns separated by semicolons", "decimal commas"),
    "suffix_lower.csv": ("params: '60m' is 6e+07", "tokens: '0.6bn' is 6e+08"),
    "tab.tsv": ("columns separated by tabs",),
    "trailing.csv": ("a column without a name or content left out",),
    "utf16.csv": ("encoded in UTF-16",),
    "wandb.csv": ("params from 'num_params'", "tokens from 'train_tokens'", "loss from 'eval/loss'",
                  "step from '_step'"),
}  # fmt: skip

# What is said of a file whose units nothing states; the arguments that state them; and what is then understood.
DECLARED: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "billions.csv": (
        "if they are millions or billions, say so", {"units": {"params": "billions", "tokens": "billions"}},
        ("params × 1e+09 (billions)", "tokens × 1e+09 (billions)"),
    ),
    "millions.csv": (
        "if they are millions or billions, say so", {"units": {"params": "millions", "tokens": "billions"}},
        ("params × 1e+06 (millions)", "tokens × 1e+09 (billions)"),
    ),
    "flops_exa.csv": ("they look like EFLOP", {"units": {"flops": "EFLOP"}}, ("flops × 1e+18 (EFLOP)",)),
    "flops_pfdays.csv": (
        "they look like PF-days", {"units": {"flops": "PF-days"}}, ("flops × 8.64e+19 (PF-days)",)
    ),
    "bits.csv": (
        "are the losses of 'bits' bits per token", {"loss_unit": "bits"},
        ("loss converted from bits/token to nats/token",),
    ),
    "bpb.csv": (
        "are the losses of 'bpb' bits per byte", {"loss_unit": "bits-per-byte", "bytes_per_token": BYTES},
        ("loss converted from bits/byte to nats/token",),
    ),
    "ppl.csv": (
        "if it is a perplexity, set loss_unit='perplexity'", {"loss_unit": "perplexity"},
        ("loss converted from perplexity to nats/token",),
    ),
}  # fmt: skip

REFUSED = {
    "nanloss.csv": "row 5, loss: expected a number, got an empty cell; fill it in or remove the row",
    "nanflops.csv": "row 5, flops: expected a number, got an empty cell; fill it in or remove the row",
}

# Largest error of a loss in nats/token that comes of rounding it in another unit.
NATS = {"bits.csv": ROUNDED * np.log(2), "bpb.csv": ROUNDED * np.log(2) * BYTES}

OF_OTHER_RUNS = ("euro.csv", "flops_loss.csv", "ppl_under15.csv")


def assert_same_runs(runs: bs.Runs, name: str) -> None:
    """Counts are exact, losses within half of their last digit in the file."""
    np.testing.assert_array_equal(runs["params"], BASE["params"])
    np.testing.assert_allclose(runs["tokens"], BASE["tokens"], rtol=1e-12)
    np.testing.assert_allclose(runs["loss"], BASE["loss"], rtol=0, atol=NATS.get(name, 0) + 1e-9)
    np.testing.assert_allclose(runs["flops"], 6.0 * BASE["params"] * BASE["tokens"], rtol=1e-12)


def refusal(name: str) -> str:
    with pytest.raises(RunsError) as caught:
        bs.load_runs(FOLDER / name)
    return str(caught.value)


@pytest.mark.parametrize("name", [name for name in FILES if name not in OF_OTHER_RUNS])
def test_each_file_is_read_as_the_same_runs_or_refused_in_words(name: str) -> None:
    if name in REFUSED:
        assert REFUSED[name] in refusal(name)
        return
    advice, given, understood = DECLARED.get(name, ("", {}, UNDERSTOOD.get(name, ("what this file should be",))))
    if advice:
        assert advice in refusal(name)
    runs = bs.load_runs(FOLDER / name, **given)
    assert_same_runs(runs, name)
    assert runs.understood == understood
    assert all(f"understood: {note}" in repr(runs) for note in understood)


def test_decimal_commas_with_points_for_thousands_are_read() -> None:
    runs = bs.load_runs(FOLDER / "euro.csv")
    assert runs.frame[["params", "tokens", "loss"]].to_numpy().tolist() == [[125e6, 2.5e9, 3.384]]
    assert runs.understood == ("columns separated by semicolons", "decimal commas")


def test_perplexities_that_could_be_nats_are_asked_for_and_converted() -> None:
    assert "are the losses of 'ppl_under15' perplexities?" in refusal("ppl_under15.csv")
    runs = bs.load_runs(FOLDER / "ppl_under15.csv", loss_unit="perplexity")
    np.testing.assert_allclose(runs["loss"], np.log(pd.read_csv(FOLDER / "ppl_under15.csv")["loss"]), rtol=1e-12)


def test_of_flops_alone_params_and_tokens_do_not_follow() -> None:
    """A law of compute alone can read such a table; an error says what to add to one that is to have params."""
    runs = bs.load_runs(FOLDER / "flops_loss.csv")
    np.testing.assert_allclose(runs["flops"], 6.0 * BASE["params"] * BASE["tokens"], rtol=1e-12)
    for column in ("params", "tokens"):
        with pytest.raises(RunsError, match=rf"no column '{column}'(?s:.*)--columns params=NAME --columns tokens=NAME"):
            runs[column]
