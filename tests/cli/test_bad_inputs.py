"""Malformed inputs through the command line: exit 2, a message that names the fault, and nothing written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner

import bayescale as bs
from bayescale.cli import main
from bayescale.core.errors import BayescaleError, FitError, QueryError
from bayescale.decisions.fixed_params import FixedParams
from bayescale.decisions.solver import read_settings
from bayescale.inference.container import sealed
from bayescale.prediction import records

FIT = ("fit", "runs.csv", "--model", "additive", "--out", "fit.nc")
Change = Callable[[pd.DataFrame], object]


def good_runs() -> pd.DataFrame:
    """Twenty plausible runs on a grid, every cell as text; run i stands on line i + 2 of its file."""
    params, tokens = (x.ravel() for x in np.meshgrid([1e8, 3e8, 1e9, 3e9], [2e9, 6e9, 2e10, 6e10, 2e11]))
    loss = 1.8 + 480 * params**-0.35 + 2100 * tokens**-0.37
    frame = pd.DataFrame({"run_id": [f"r{i}" for i in range(20)], "family": "F", "params": params, "tokens": tokens})
    return frame.assign(flops=6 * params * tokens, loss=loss.round(4)).astype(str)


def cell(row: int, column: str, text: str) -> Change:
    """The good runs with one other cell."""
    return lambda frame: frame.assign(**{column: frame[column].where(frame.index != row, text)})


def scaled(column: str, factor: float) -> Change:
    """The good runs without FLOP, a column in another unit."""
    return lambda frame: frame.drop(columns="flops").assign(**{column: (frame[column].astype(float) * factor)})


def spec(text: str, law: str = 'law = "additive"\n') -> dict[str, str]:
    """A spec of this text beside the good runs."""
    return {"spec.toml": law + text, "runs.csv": good_runs().to_csv(index=False)}


def folder(path: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder below one, hidden ones too, with size and time of the last change."""
    return {str(p.relative_to(path)): (p.stat().st_size, p.stat().st_mtime_ns) for p in path.rglob("*")}


def assert_refused(args: tuple[str, ...], expected: tuple[str, ...], here: Path) -> None:
    """Run a command where it must fail as bad input."""
    before = folder(here)
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 2, repr(result.exception or result.output)
    assert "Traceback" not in result.stderr
    for fragment in expected:
        assert fragment in result.stderr
    assert result.stdout == ""
    assert folder(here) == before


# What is done to twenty good runs, and what the message must name.
TABLES: dict[str, tuple[Change, tuple[str, ...]]] = {
    "no params": (lambda f: f.drop(columns=["params", "flops"]), ("no column 'params'", "got")),
    "no tokens": (lambda f: f.drop(columns=["tokens", "flops"]), ("no column 'tokens'", "got")),
    "no loss": (lambda f: f.drop(columns="loss"), ("no column 'loss'", "got", "add the column")),
    "misspelt column": (lambda f: f.rename(columns={"params": "parmas"}), ("no column 'params'", "'parmas'")),
    "two columns that could be tokens": (
        lambda f: f.rename(columns={"tokens": "train_tokens"}).assign(Tokens=f["tokens"]),
        ("no column 'tokens'", "--columns tokens='train_tokens'"),
    ),
    "zero params": (cell(3, "params", "0"), ("row 5, params", "a positive number", "got 0")),
    "zero tokens": (cell(0, "tokens", "0"), ("row 2, tokens", "a positive number", "got 0")),
    "zero loss": (cell(0, "loss", "0.0"), ("row 2, loss", "a positive number", "got 0")),
    "negative params": (cell(4, "params", "-1e9"), ("row 6, params", "a positive number", "got -1e+09")),
    "negative tokens": (cell(4, "tokens", "-2T"), ("row 6, tokens", "a positive number", "got -2e+12")),
    "negative loss": (cell(19, "loss", "-2.5"), ("row 21, loss", "a positive number", "got -2.5")),
    "NaN loss": (cell(7, "loss", "NaN"), ("row 9, loss", "'NaN'")),
    "empty params": (cell(7, "params", ""), ("row 9, params", "an empty cell")),
    "empty tokens": (cell(7, "tokens", "  "), ("row 9, tokens", "an empty cell")),
    "empty loss": (cell(7, "loss", ""), ("row 9, loss", "an empty cell")),
    "empty flops": (cell(7, "flops", ""), ("row 9, flops", "an empty cell")),
    "inf": (cell(1, "tokens", "inf"), ("row 3, tokens", "'inf'")),
    "overflow": (cell(1, "tokens", "1e999"), ("row 3, tokens", "a finite number", "'1e999'")),
    "text in params": (cell(1, "params", "seven billion"), ("row 3, params", "a number", "'seven billion'")),
    "unknown suffix": (cell(1, "params", "7Q"), ("row 3, params", "a number", "'7Q'")),
    "decimal comma": (cell(1, "tokens", "1,4B"), ("row 3, tokens", "a number", "'1,4B'")),
    "duplicate run": (
        lambda f: pd.concat([f, f.iloc[[2]]]).drop(columns="run_id"),
        ("row 22", "a repeat of an earlier row"),
    ),
    "duplicate run_id": (cell(5, "run_id", "r4"), ("row 7", "run_id", "a repeat")),
    "params in billions": (scaled("params", 1e-9), ("row 2, params", "least 1e+04", "got 0.1", "--unit params=bill")),
    "tokens in billions": (scaled("tokens", 1e-9), ("row 2, tokens", "at least 1e+05", "got 2;", "billions")),
    "FLOP as tokens": (scaled("tokens", 1e10), ("row 2, tokens", "at most 1e18", "FLOP")),
    "perplexity": (
        lambda f: f.assign(loss=np.exp(f["loss"].astype(float) + 1)),
        ("row 2, loss", "nats/token", "perplexity", "logarithm"),
    ),
    "perplexity under 15": (
        lambda f: f.iloc[[13, 14, 18, 19]].assign(loss=["12.7", "11.5", "10.9", "9.8"]),
        ("losses of 'runs' perplexities?", "loss_unit='perplexity'", "--loss-unit"),
    ),
    "several rows per run": (
        lambda f: pd.concat([f.assign(benchmark=name) for name in ("arc", "hellaswag")]),
        ("several rows per run", "40 rows for 20 runs", "benchmark", "rows_by"),
    ),
    "flops far from 6ND": (cell(2, "flops", "1e15"), ("row 4, flops", "6·params·tokens", "got 1e+15")),
    "flops in ZFLOP": (
        lambda f: f.assign(flops=f["flops"].astype(float) / 1e21),
        ("row 2, flops", "6·params·tokens", "ZFLOP", "--unit flops=ZFLOP"),
    ),
    "too few runs": (lambda f: f.iloc[[0, 6, 12, 18]], ("fewer runs", "at least 5", "4")),
    "fixed ratio": (
        lambda f: f.drop(columns="flops").assign(tokens=20 * f["params"].astype(float) * np.arange(1, 21),
                                                 params=f["params"].astype(float) * np.arange(1, 21)),
        ("same tokens per param", "20 in all of them", "not identified"),
    ),
    "same params": (
        lambda f: f[f["params"] == f["params"].iloc[0]].assign(run_id=range(5)),
        ("same params", "not identified", "1e+08"),
    ),
    "same tokens": (
        lambda f: pd.concat([f[f["tokens"] == f["tokens"].iloc[0]]] * 2).assign(run_id=range(8)),
        ("same tokens", "not identified", "2e+09"),
    ),
    "header only": (lambda f: f.iloc[:0], ("'runs'", "no runs")),
    "duplicate column": (lambda f: f.set_axis(["run_id", "family", "params", "tokens", "loss", "loss"], axis=1),
                         ("two columns", "'loss'")),
    "duplicate params": (lambda f: f.set_axis(["run_id", "family", "params", "tokens", "params", "loss"], axis=1),
                         ("two columns", "'params'")),
    "more correct than items": (
        lambda f: f.assign(n_items="100", chance="0.25", n_correct=["101", *["50"] * 19]),
        ("row 2, n_correct", "n_items", "101"),
    ),
    "chance in percent": (lambda f: f.assign(chance="25"), ("row 2, chance", "from 0 to below 1", "0.25")),
    "more unique tokens than tokens": (
        lambda f: f.assign(unique_tokens=f["tokens"].astype(float) * ([2.0] + [1.0] * 19)),
        ("row 2, unique_tokens", "tokens"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_fit_refuses_a_table_and_names_the_place(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change, wanted = TABLES[name]
    monkeypatch.chdir(tmp_path)
    pd.DataFrame(change(good_runs())).to_csv("runs.csv", index=False)
    assert_refused(FIT, wanted, tmp_path)


# Files that are no tables of runs: what lies in the folder, and what the message must name.
FILES: dict[str, tuple[dict[str, str | bytes], tuple[str, ...]]] = {
    "empty file": ({"runs.csv": ""}, ("runs.csv",)),
    "binary": ({"runs.csv": bytes(range(256)) * 8}, ("runs.csv is not a table of runs",)),
    "null bytes": ({"runs.csv": b"\0" * 400}, ("runs", "not text")),
    "absent": ({}, ("no file at runs.csv", "built-in table")),
    "two separators": (
        {"runs.csv": "params;tokens,loss\n1e8;2e9,3.5\n"},
        ("one separator of columns", "commas and semicolons"),
    ),
    "spaces as separators": (
        {"runs.csv": "params tokens loss\n1e8 2e9 3.5\n"},
        ("no column 'params'", "separate the columns with commas"),
    ),
    "numbers that can be read in two ways": (
        {"runs.csv": "params;tokens;loss\n125000000;2500000000;3.384\n"},
        ("'3.384' can be read as 3.384 and as 3384", "--decimal"),
    ),
    "no header": ({"runs.csv": "1e8,2e9,3.5\n1e9,2e9,3.4\n"}, ("names of columns in the first row", "add a header")),
    "a commented header": ({"runs.csv": "#params,tokens,loss\n1e8,2e9,3.5\n1e9,2e9,3.4\n"}, ("the # before it",)),
    "an old Excel file": ({"runs.csv": b"\xd0\xcf\x11\xe0" + bytes(100)}, ("an old Excel file", ".xlsx")),
    "damaged gzip": ({"runs.csv": b"\x1f\x8b" + bytes(9)}, ("damaged gzip",)),
    "other JSON": ({"runs.csv": '{"params": 1e9}\n[1, 2]\n'}, ("a list of runs",)),
    "broken JSON Lines": ({"runs.csv": '{"params": 1e9}\n{"params": \n'}, ("JSON Lines", "on line 2")),
    "a cell too few": (
        {"runs.csv": "params,tokens,loss\n1e8,2e9,3.5\n1e8,4e9\n"},
        ("runs.csv is not a table of runs", "3 cells", "2 on line 3"),
    ),
    "a row after a cell of two lines": (
        {"runs.csv": 'note,params,tokens,loss\n"a\nb",1e8,2e9,3.5\n,1e8,none,3.4\n'},
        ("row 4, tokens", "'none'"),
    ),
    "an open quote": ({"runs.csv": 'params,tokens,loss\n"1e8,2e9,3.5\n'}, ("runs.csv is not a table of runs",)),
    "ragged": (
        {"runs.csv": good_runs().to_csv(index=False).replace("r7,F,", "r7,F,extra,")},
        ("runs.csv is not a table of runs", "line 9"),
    ),
    "a cell too many in every row": (
        {"runs.csv": "params,tokens,loss\n" + "".join(f"{i}e8,{i * i}e10,{4 - i / 9},1\n" for i in range(1, 9))},
        ("runs.csv is not a table of runs",),
    ),
    "a fault below an empty line": (
        {"runs.csv": "params,tokens,loss\n1e8,2e9,3.5\n\n\n1e8,none,3.4\n"},
        ("row 5, tokens", "'none'"),
    ),
    "a folder without a table": ({"runs.csv/notes.txt": "none"}, ("runs.csv",)),
    "a folder without a card": (
        {"runs.csv/runs.csv": good_runs().to_csv(index=False)},
        ("no file at runs.csv/card.toml",),
    ),
    "a folder with a broken card": (
        {"runs.csv/card.toml": "name = [", "runs.csv/runs.csv": good_runs().to_csv(index=False)},
        ("card.toml",),
    ),
    "a folder with a card without a name": (
        {"runs.csv/card.toml": 'title = "none"', "runs.csv/runs.csv": good_runs().drop(columns="loss").to_csv()},
        ("no column 'loss'",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_fit_refuses_a_file_that_is_no_table(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, wanted = FILES[name]
    monkeypatch.chdir(tmp_path)
    for path, content in files.items():
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert_refused(FIT, wanted, tmp_path)


def test_fit_refuses_a_file_that_is_no_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    good_runs().to_csv("runs.parquet", index=False)
    args = ("fit", "runs.parquet", "--model", "additive", "--out", "fit.nc")
    assert_refused(args, ("runs.parquet is not a table of runs",), tmp_path)


def test_rows_of_a_parquet_file_count_from_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cell(3, "params", "0")(good_runs()).to_parquet("runs.parquet")
    args = ("fit", "runs.parquet", "--model", "additive", "--out", "fit.nc")
    assert_refused(args, ("row 3, params", "got 0"), tmp_path)


# Specs beside good runs: the rest of the file after `law = "additive"`, and what the message must name.
SPECS: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "broken TOML": (spec("[pooling\n"), ("spec.toml is not TOML", "line 2")),
    "unknown prior": (
        spec('[parameters.alpha_N]\nprior = {kind = "LogNorm", median = 0.3, scale = 0.3}'),
        ("alpha_N", "'LogNorm'", "'LogNormal'"),
    ),
    "prior without a scale": (
        spec('[parameters.alpha_N]\nprior = {kind = "LogNormal", median = 0.3}'),
        ("alpha_N", "scale"),
    ),
    "prior outside its support": (
        spec('[parameters.alpha_N]\nprior = {kind = "LogNormal", median = -0.3, scale = 0.3}'),
        ("alpha_N", "-0.3"),
    ),
    **{
        f"prior with {figures}": (
            spec(f'[parameters.alpha_N]\nprior = {{kind = "LogNormal", {figures}}}'),
            ("the prior of 'alpha_N' is not valid", "finite numbers of a usual size"),
        )
        for figures in (
            'median = "0.3", scale = 0.3',
            "median = 0.3, scale = true",
            "median = 0.3, scale = 1e-320",
            "median = 0.3, scale = 1e300",
            "median = 1e300, scale = 1",
        )
    },
    "prior as text": (spec('[parameters.alpha_N]\nprior = "LogNormal"'), ("alpha_N", "kind", "'LogNormal'")),
    "parameter as a number": (spec("[parameters]\nalpha_N = 0.3"), ("alpha_N", "0.3")),
    "misspelt parameter": (spec("[parameters.alpha]\nspread = 0.1"), ("'alpha'", "'alpha_N'")),
    "misspelt law": (spec("", law='law = "aditive"'), ("'aditive'", "'additive'")),
    "law as a list": (spec("", law='law = ["additive"]'), ("law", "additive")),
    "no law": (spec("", law='title = "none"'), ("no law", 'law = "additive"')),
    "unknown key": (spec('[response]\nloss = "gaussian"'), ("'response'", "'responses'")),
    "misspelt noise": (spec('[responses]\nloss = "student"'), ("'student'", "'student-t'")),
    "noise of another kind": (spec('[responses]\nloss = "binomial"'), ("'binomial'", "'loss'", "student-t")),
    "pooling as text": (spec('pooling = "none"'), ("pooling", "default")),
    "responses as text": (spec('responses = "loss"'), ("responses", "student-t")),
    "unknown pooling": (spec('[pooling]\ndefault = "partially"'), ("'partially'", "'partial'")),
    "inputs said twice": (spec('inputs = ["params", "params"]'), ("inputs", "2 of:", "['params', 'params']")),
    "prior without a kind": (
        spec("[parameters.alpha_N]\nprior = {median = 0.3, scale = 0.3}"),
        ("alpha_N", "kind", "LogNormal"),
    ),
    "pooling of a parameter as a list": (spec('[parameters.alpha_N]\npooling = ["none"]'), ("alpha_N", "['none']")),
    "a name of its own": (spec('name = "mine"'), ("'name'",)),
    "a column that the runs lack": (spec('resources = ["repetition"]'), ("no column 'unique_tokens'", "got")),
}


@pytest.mark.parametrize("name", SPECS)
def test_fit_refuses_a_spec_and_names_the_fault(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, wanted = SPECS[name]
    monkeypatch.chdir(tmp_path)
    for path, content in files.items():
        Path(path).write_text(content, encoding="utf-8")
    assert_refused(("fit", "runs.csv", "--model", "spec.toml", "--out", "fit.nc"), wanted, tmp_path)


USAGE = {
    "unknown table": (("fit", "hofmann2022", *FIT[2:]), ("'hofmann2022'", "'hoffmann2022'")),
    "unknown model": (("fit", "runs.csv", "--model", "aditive", "--out", "fit.nc"), ("'aditive'", "'additive'")),
    "absent spec": (("fit", "runs.csv", "--model", "mine.toml", "--out", "fit.nc"), ("no spec at mine.toml",)),
    "no out": (FIT[:4], ("--out",)),
    "out in no folder": ((*FIT[:5], "nowhere/fit.nc"), ("cannot write nowhere/fit.nc", "a folder that exists")),
    "out over the runs": (("fit", "runs.csv", "--model", "additive", "--out", "runs.csv"), ("runs.csv",)),
    "out over the spec": (("fit", "runs.csv", "--model", "mine.TOML", "--out", "mine.TOML"), ("mine.TOML", "an input")),
    "out over another table": ((*FIT[:5], "few.csv"), ("few.csv exists and is not a fit", "another name")),
    "empty out": ((*FIT[:5], ""), ("cannot write", "a file in a folder that exists")),
    "no name of runs": (("fit", "", *FIT[2:]), ("''", "hoffmann2022")),
    "seed of 64 bits": ((*FIT, "--seed", str(2**63)), ("--seed", str(2**63))),
    "out is a folder": ((*FIT[:5], "."), ("--out", "directory")),
    "no draws": ((*FIT, "--draws", "0"), ("--draws", "0")),
    "no chains": ((*FIT, "--chains", "0"), ("--chains", "0")),
    "little warmup": ((*FIT, "--warmup", "1"), ("--warmup", "1")),
    "negative seed": ((*FIT, "--seed", "-1"), ("--seed", "-1")),
    "vast seed": ((*FIT, "--seed", "9" * 30), ("seed",)),
    "seed as text": ((*FIT, "--seed", "one"), ("--seed", "'one'")),
    "backtest unknown family": (
        ("backtest", "hoffmann2022", "--model", "additive", "--family", "Chinchila"),
        ("'Chinchila'", "'Chinchilla'"),
    ),
    "backtest quantile above 1": (
        ("backtest", "runs.csv", "--model", "additive", "--train-quantile", "1.5"),
        ("--train-quantile", "1.5"),
    ),
    "backtest quantile 0": (
        ("backtest", "runs.csv", "--model", "additive", "--train-quantile", "0"),
        ("--train-quantile", "0"),
    ),
    "backtest quantile NaN": (
        ("backtest", "runs.csv", "--model", "additive", "--train-quantile", "nan"),
        ("--train-quantile", "a finite number", "'nan'"),
    ),
    "backtest quantile as text": (
        ("backtest", "runs.csv", "--model", "additive", "--train-quantile", "most"),
        ("--train-quantile", "'most'"),
    ),
    "backtest with too few runs": (
        ("backtest", "few.csv", "--model", "additive"),
        ("no family of 'few' can be backtested", "at least 8 runs", "F: 6 runs to fit"),
    ),
    "backtest of an absent file": (("backtest", "none.csv", "--model", "additive"), ("no file at none.csv",)),
    "backtest of an unknown model": (("backtest", "runs.csv", "--model", "copled"), ("'copled'", "'coupled'")),
    "backtest in an unknown way": (
        ("backtest", "runs.csv", "--model", "additive", "--way", "expandng"), ("--way", "'expandng'", "expanding"),
    ),
    "backtest with an option that its way does not read": (
        ("backtest", "runs.csv", "--model", "additive", "--way", "expanding", "--smallest", "5"),
        ("does not use smallest", "quantile, alongside"),
    ),
    "backtest without the only family": (
        ("backtest", "runs.csv", "--model", "additive", "--way", "leave-family-out"), ("too few families", "F"),
    ),
    "keep of a model that does not ship": (
        ("backtest", "runs.csv", "--model", "mine.TOML", "--keep"), ("mine.TOML is not a built-in model", "--out"),
    ),
    "backtest over what is no record": (
        ("backtest", "runs.csv", "--model", "additive", "--out", "few.csv"), ("few.csv is not a record of backtests",),
    ),
    "calibration over what is none": (
        ("calibrate", "additive", "--out", "few.csv"), ("few.csv exists and is not a calibration",),
    ),
    "learned model over a spec of one's own": (
        ("learn", "open-families", "--out", "mine.TOML"), ("mine.TOML exists and is not a learned model",),
    ),
    "compare over a table of runs": (
        ("compare", "runs.csv", "--model", "additive", "--model", "coupled", "--out", "few.csv"),
        ("few.csv exists and is not a table of results",),
    ),
    "backtest out in no folder": (
        ("backtest", "runs.csv", "--model", "additive", "--out", "nowhere/a.toml"), ("cannot write nowhere/a.toml",),
    ),
    "show an unknown model": (("show", "models", "aditive"), ("'aditive'", "'additive'")),
    "show an unknown table": (("show", "data", "hofmann2022"), ("'hofmann2022'", "'hoffmann2022'")),
    "show an unknown law": (("show", "laws", "chinchilla"), ("'chinchilla'", "additive")),
    "show an unknown check": (("show", "check", "residual"), ("'residual'", "'residuals'")),
    "show an unknown kind": (("show", "priors"), ("'priors'", "models")),
    "unknown command": (("forcast", "fit.nc"), ("forcast",)),
}  # fmt: skip


@pytest.mark.parametrize("name", USAGE)
def test_a_command_refuses_wrong_usage(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    args, wanted = USAGE[name]
    monkeypatch.chdir(tmp_path)
    good_runs().to_csv("runs.csv", index=False)
    Path("mine.TOML").write_text('law = "additive"', encoding="utf-8")
    good_runs().iloc[::2].iloc[:8].to_csv("few.csv", index=False)
    assert_refused(args, wanted, tmp_path)


def _with_meta(path: Path, change: Callable[[dict], object]) -> None:
    with h5py.File(path, "r+") as opened:
        meta = json.loads(opened.attrs["bayescale"])
        opened.attrs["bayescale"] = json.dumps(change(meta))
    path.write_bytes(sealed(path.read_bytes()))  # as if it had been saved so


@pytest.fixture(scope="session")
def fits(chinchilla_fit: bs.Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good fit, damaged copies of it, and tables of queries."""
    here = tmp_path_factory.mktemp("fits")
    good = chinchilla_fit.save(here / "fit.nc")
    for name in ("future", "stranger", "listed", "gutted", "flipped", "misnamed", "anchorless", "unsealed"):
        shutil.copy(good, here / f"{name}.nc")
    content = good.read_bytes()
    (here / "truncated.nc").write_bytes(content[: len(content) // 2])
    (here / "empty.nc").write_bytes(b"")
    (here / "text.nc").write_text("params,tokens,loss\n", encoding="utf-8")
    xr.Dataset({"x": ("i", [1.0, 2.0])}).to_netcdf(here / "other.nc", engine="h5netcdf")
    _with_meta(here / "future.nc", lambda meta: meta | {"schema": 99})
    _with_meta(here / "stranger.nc", lambda meta: {"schema": 99, "contents": "of another shape"})
    _with_meta(here / "listed.nc", lambda meta: list(meta))
    older = ("spec_code", "data_digest")  # which a file of format 3 may lack
    _with_meta(here / "misnamed.nc", lambda meta: {key: meta[key] for key in meta if key not in older} | {
        "schema": 3, "spec": meta["spec"] | {"law": "of the future"}})  # fmt: skip
    _with_meta(here / "anchorless.nc", lambda meta: {key: meta[key] for key in meta if key != "anchor"})
    with h5py.File(here / "gutted.nc", "r+") as opened:
        del opened["posterior"]
    (here / "gutted.nc").write_bytes(sealed((here / "gutted.nc").read_bytes()))
    with h5py.File(here / "unsealed.nc", "r+") as opened:
        opened["posterior"]["alpha_N"][...] = 0.5
    with h5py.File(here / "flipped.nc") as opened:
        place = opened["posterior"]["alpha_N"].id.get_chunk_info(0).byte_offset
    flipped = bytearray(content)
    flipped[place + 100] ^= 0xFF
    (here / "flipped.nc").write_bytes(flipped)
    queries = {
        "no-tokens": "params\n7e9\n",
        "header": "params,tokens\n",
        "text": "params,tokens\n7B,1T\nseven,1T\n",
        "zero": "params,tokens\n0,1T\n",
        "hole": "params,tokens\n7B,\n",
        "family": "family,params,tokens\nGopher,7B,1T\n",
        "nan": "params,tokens\n\n7B,nan\n",
        "vast": "params,tokens\n7B,1T\n7B,1e300\n",
        "twice": "params,tokens,tokens\n7B,1T,2T\n",
        "ragged": "params,tokens\n7B,1T\n7B,1T,2T\n",
        "empty": "",
        "good": "params,tokens\n7B,1T\n",
        "compute": "params,tokens,flops\n7B,1T,1e20\n",
        "active": "params,tokens,active_params\n7B,1T,seven\n",
    }
    for name, text in queries.items():
        (here / f"{name}.csv").write_text(text, encoding="utf-8")
    (here / "binary.csv").write_bytes(bytes(range(128, 256)) * 4)
    records.write_record(records.Record("other", "0" * 64, ()), here / "record.toml")
    return here


ASKED = {
    "forecast": ("--params", "7B", "--tokens", "1T"),
    "decide allocation": ("--flops", "1e24"),
    "check": (),
}
DAMAGED = {
    "absent": ("no fit at absent.nc", "bayescale fit"),
    "text": ("text.nc is damaged, or not a netCDF file",),
    "empty": ("empty.nc is damaged, or not a netCDF file",),
    "truncated": ("truncated.nc is damaged, or not a netCDF file",),
    "unsealed": ("unsealed.nc is damaged, or not a netCDF file", "changed by another program"),
    "flipped": ("flipped.nc is damaged, or not a netCDF file",),
    "other": ("other.nc does not hold a bayescale fit",),
    "listed": ("listed.nc does not hold a bayescale fit",),
    "gutted": ("gutted.nc", "posterior"),
    "anchorless": ("anchorless.nc", "anchor"),
    "misnamed": ("misnamed.nc", "'of the future'", "one of:"),
    "future": ("future.nc has a newer format", "format 99", "upgrade"),
    "stranger": ("stranger.nc has a newer format", "format 99", "upgrade"),
}


@pytest.mark.parametrize("verb", ASKED)
@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_fit_is_refused(verb: str, damage: str, fits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(fits)
    assert_refused((*verb.split(), f"{damage}.nc", *ASKED[verb]), DAMAGED[damage], fits)


FORECAST, DECIDE = ("forecast", "fit.nc"), ("decide", "allocation", "fit.nc")
QUERIES = {
    "unknown family": ((*FORECAST, *ASKED["forecast"], "--family", "Chinchila"), ("'Chinchila'", "'Chinchilla'")),
    "a new family of one": (
        (*FORECAST, *ASKED["forecast"], "--family", "new"),
        ("one family", "'Chinchilla'", "partial pooling"),
    ),
    "zero params": ((*FORECAST, "--params", "0", "--tokens", "1T"), ("--params", "'0'", "positive")),
    "negative tokens": ((*FORECAST, "--params", "7B", "--tokens", "-1T"), ("--tokens", "positive")),
    "text params": ((*FORECAST, "--params", "big", "--tokens", "1T"), ("--params", "'big'", "70B")),
    "params beyond any number": ((*FORECAST, "--params=-1e999k", "--tokens", "1T"), ("--params", "-1e999k")),
    "infinite params": ((*FORECAST, "--params", "1e999", "--tokens", "1T"), ("--params", "finite")),
    "no tokens": ((*FORECAST, "--params", "7B"), ("'tokens'", "got", "give tokens")),
    "no params": ((*FORECAST, "--tokens", "1T"), ("'params'", "got", "give params")),
    "nothing asked": (FORECAST, ("--params and --tokens", "--at")),
    "asked twice": ((*FORECAST, *ASKED["forecast"], "--at", "good.csv"), ("either", "--params", "--at")),
    "params and a file": ((*FORECAST, "--params", "7B", "--at", "good.csv"), ("either", "--params", "--at")),
    "file without tokens": ((*FORECAST, "--at", "no-tokens.csv"), ("'tokens'", "got", "params")),
    "file without rows": ((*FORECAST, "--at", "header.csv"), ("no queries", "at least one row")),
    "file with text": ((*FORECAST, "--at", "text.csv"), ("row 3", "params", "'seven'")),
    "file with zero": ((*FORECAST, "--at", "zero.csv"), ("row 2", "params", "'0'")),
    "file with a hole": ((*FORECAST, "--at", "hole.csv"), ("row 2", "tokens", "an empty cell")),
    "file with an unknown family": ((*FORECAST, "--at", "family.csv"), ("row 2", "'Gopher'", "Chinchilla")),
    "empty file": ((*FORECAST, "--at", "empty.csv"), ("empty.csv is not a table of queries",)),
    "binary file": ((*FORECAST, "--at", "binary.csv"), ("binary.csv is not a table of queries",)),
    "absent file": ((*FORECAST, "--at", "absent.csv"), ("no file at absent.csv",)),
    "file with nan": ((*FORECAST, "--at", "nan.csv"), ("row 3", "tokens", "'nan'")),
    "file beyond all counts": ((*FORECAST, "--at", "vast.csv"), ("row 3", "tokens", "1e+40", "'1e300'")),
    "file with a column twice": ((*FORECAST, "--at", "twice.csv"), ("two columns", "params, tokens, tokens")),
    "ragged file": ((*FORECAST, "--at", "ragged.csv"), ("ragged.csv is not a table of queries", "line 3")),
    "part of a param": ((*FORECAST, "--params", "0.5", "--tokens", "1T"), ("--params", "from 1 to", "'0.5'")),
    "params beyond all counts": ((*FORECAST, "--params", "1e300", "--tokens", "1T"), ("--params", "1e+40", "'1e300'")),
    "a column given twice": ((*FORECAST, *ASKED["forecast"], "--set", "params=8B"), ("params is given twice",)),
    "a column that the model does not read": (
        (*FORECAST, *ASKED["forecast"], "--set", "tokns=1"),
        ("the model reads no column 'tokns'", "did you mean 'tokens'?"),
    ),
    "a column of the law alone that it does not read": (
        (*FORECAST, "--flops", "1e24", "--set", "foo=1"),
        ("the model reads no column 'foo'", "leave it out"),
    ),
    "compute that is not that of params and tokens": (
        (*FORECAST, *ASKED["forecast"], "--set", "flops=1"),
        ("row 0, flops", "within a factor of 4 of 6·params·tokens, 4.2e+22", "got:      1"),
    ),
    "compute of a file that is not that of params and tokens": (
        (*FORECAST, "--at", "compute.csv"),
        ("row 2, flops", "within a factor of 4"),
    ),
    "a file with other params in words": (
        (*FORECAST, "--at", "active.csv"),
        ("row 2, active_params", "'seven'"),
    ),
    "a loss with _": (("decide", "target", "fit.nc", "--loss", "1_0"), ("--loss", "'1_0'")),
    "a loss that is no number": (("decide", "target", "fit.nc", "--loss", "nan"), ("--loss", "finite")),
    "a worth without bound": (
        ("decide", "fixed-params", "fit.nc", "--params", "7B", "--worth", "lognormal(1e25, 1e300)"),
        ("a figure cannot be read", "1e+40"),
    ),
    "an option as a column": (
        (*FORECAST, *ASKED["forecast"], "--set", "family=X"),
        ("family is not a column to set", "--family"),
    ),
    "the fit as a column": ((*FORECAST, *ASKED["forecast"], "--set", "fit=1"), ("fit is not a column to set", "--at")),
    "the queries as a column": ((*FORECAST, "--set", "queries=1"), ("queries is not a column to set", "--at")),
    **{
        f"the {name} as a setting of a report": (
            ("report", "fit.nc", "--out", "r.html", "--decision", "target", "--set", name, "x"),
            (f"decision 'target' has no setting '{name}'",),
        )
        for name in ("fit", "risk", "decision", "name")
    },
    "empty out": ((*FORECAST, *ASKED["forecast"], "--out", ""), ("cannot write", "a file in a folder that exists")),
    "out over the fit": ((*FORECAST, *ASKED["forecast"], "--out", "fit.nc"), ("fit.nc", "an input")),
    "out over another fit": (
        (*FORECAST, *ASKED["forecast"], "--out", "other.nc"),
        ("other.nc exists and is not a table of results",),
    ),
    "out over a table of runs": (
        (*FORECAST, *ASKED["forecast"], "--out", "good.csv"),
        ("good.csv exists and is not a table of results", "will not be overwritten"),
    ),
    "a report of a suffix that it cannot have": (
        ("report", "fit.nc", "--out", "r.pdf"),
        ("r.pdf cannot be a report", ".html", "got:      .pdf"),
    ),
    "budget beyond all counts": ((*DECIDE, "--flops", "1e300"), ("--flops", "1e+40", "'1e300'")),
    "out in no folder": (
        (*FORECAST, *ASKED["forecast"], "--out", "nowhere/a.csv"),
        ("cannot write nowhere/a.csv", "folder that exists"),
    ),
    "record of another model": (
        (*FORECAST, *ASKED["forecast"], "--record", "record.toml"),
        ("another model than 'additive'", "00000000", "(other)", "bayescale backtest"),
    ),
    "absent record": ((*FORECAST, *ASKED["forecast"], "--record", "no.toml"), ("no record at no.toml", "--out")),
    "what is no record": ((*FORECAST, *ASKED["forecast"], "--record", "good.csv"), ("good.csv is not a record",)),
    "a record in bytes": ((*FORECAST, *ASKED["forecast"], "--record", "binary.csv"), ("binary.csv is not a record",)),
    "negative seed": ((*FORECAST, *ASKED["forecast"], "--seed", "-1"), ("--seed", "-1")),
    "no budget": (DECIDE, ("flops, dollars or days",)),
    "budget 0": ((*DECIDE, "--flops", "0"), ("--flops", "'0'", "positive")),
    "negative budget": ((*DECIDE, "--flops", "-1e24"), ("--flops", "positive")),
    "budget as text": ((*DECIDE, "--flops", "plenty"), ("--flops", "'plenty'", "5.76e23")),
    "decide for an unknown family": ((*DECIDE, "--flops", "1e24", "--family", "Chinchila"), ("'Chinchilla'",)),
    "unknown decision": (("decide", "alocation", "fit.nc"), ("alocation",)),
}


@pytest.mark.parametrize("name", QUERIES)
def test_a_question_without_an_answer_is_refused(name: str, fits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    args, wanted = QUERIES[name]
    monkeypatch.chdir(fits)
    assert_refused(args, wanted, fits)


def test_nothing_near_is_no_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    good_runs().drop(columns="loss").to_csv("runs.csv", index=False)
    assert "did you mean" not in CliRunner().invoke(main, FIT).stderr


def test_a_message_escapes_what_a_terminal_would_not_show() -> None:
    with pytest.raises(BayescaleError) as caught:
        raise BayescaleError("a\x00b", got="\x1b[2J")
    assert str(caught.value) == "a\\x00b\n  got:      \\x1b[2J"


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_the_library_bounds_its_seed_too(seed: int) -> None:
    with pytest.raises(FitError, match="from 0 to 2147483647"):
        bs.fit("hoffmann2022", seed=seed)


def test_a_forecast_needs_the_compute_that_its_reach_is_told_in() -> None:
    spec = bs.make_spec("tokens alone", law="power", inputs=["tokens"])
    fit = bs.fit("hoffmann2022", spec, seed=0)
    with pytest.raises(QueryError, match="a query needs 'params'"):
        bs.forecast(fit, tokens="1T")
    assert bs.forecast(fit, tokens="1T", flops=1e24).summary["reach_decades"][0] > 1


def test_a_good_table_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or every refusal above might be of something else."""
    monkeypatch.chdir(tmp_path)
    good_runs().to_csv("runs.csv", index=False)
    assert len(bs.load_runs("runs.csv")) == 20


def test_a_forecast_without_finite_draws_is_refused(drawn_fit: bs.Fit, tmp_path: Path) -> None:
    """Draws that a file may hold, of a fit that the seal and the digests do not contradict."""
    path = drawn_fit.save(tmp_path / "fit.nc")
    with h5py.File(path, "r+") as opened:
        opened["posterior"]["sigma"][...] = opened["posterior"]["sigma"][...] * 1e5
    path.write_bytes(sealed(path.read_bytes()))
    done = CliRunner().invoke(main, ["forecast", str(path), "--params", "7B", "--tokens", "1T"])
    assert (done.exit_code, done.stdout) == (2, ""), done.exception
    assert "the fit gives no finite forecast" in done.stderr
    assert "predictive from 0 to inf at query 0" in done.stderr


def test_queries_come_as_a_table_or_as_columns(drawn_fit: bs.Fit) -> None:
    with pytest.raises(QueryError, match="a table and params"):
        bs.forecast(drawn_fit, pd.DataFrame({"params": [7e9], "tokens": [1e12]}), params="8B")
    table = pd.DataFrame({"params": [7e9], "tokens": [1e12], "note": ["mine"], "flops": [6.1 * 7e21]})
    assert bs.forecast(drawn_fit, table).queries["note"].item() == "mine"


def test_more_queries_than_fit_into_memory_are_refused_before_they_are_computed(drawn_fit: bs.Fit) -> None:
    """The fit has a thousand draws."""
    table = pd.DataFrame({"params": np.full(20_001, 7e9), "tokens": 1e12})
    with pytest.raises(QueryError, match=r"20,001 queries of 1,000 draws(?s:.*)at most 20,000 queries(?s:.*)split"):
        bs.forecast(drawn_fit, table)


NO_COLUMNS: dict[str, tuple[dict[str, object], str]] = {
    "lengths": ({"params": [1e9, 2e9], "tokens": [1e10] * 3}, "different lengths(?s:.*)params: 2, tokens: 3"),
    "two dims": ({"params": np.full((2, 2), 1e9), "tokens": 1e10}, "params is no column(?s:.*)ndarray"),
    "a set": ({"params": {1e9, 2e9}, "tokens": 1e10}, "params is no column(?s:.*)set"),
    "a mapping": ({"params": {"a": 1e9}, "tokens": 1e10}, "params is no column(?s:.*)dict"),
    "indexes": (
        {"params": pd.Series([1e9, 2e9]), "tokens": pd.Series([1e10, 2e10], index=[1, 0])},
        "Series with different indexes",
    ),
    **{f"seed {seed}": ({"seed": seed}, "seed is out of range") for seed in ("x", np.nan, -1, 2**70, 1.5)},
    "a response": ({"response": 3}, "no response 3"),
    "a family": ({"family": 3}, "no family 3 in the fit"),
    "an array": ({"family": np.array([1, 2])}, "no family(?s:.*) in the fit"),
    "families": ({"family": ["ours"]}, "no family \\['ours'\\] in the fit"),
    "a record": ({"record": 3}, "expected: a path\n  got:      3, of type int"),
    **{
        f"queries of type {type(table).__name__}": ({"queries": table}, "queries as a data frame of pandas")
        for table in ({"params": [1e9], "tokens": [1e10]}, [1], "x", 3)
    },
    "two levels": (
        {"queries": pd.DataFrame([[1e9, 1e10]], columns=pd.MultiIndex.from_tuples([("params", 1), ("tokens", 1)]))},
        "columns of the queries have several levels",
    ),
}


@pytest.mark.parametrize("name", NO_COLUMNS)
def test_what_is_no_query_is_refused_in_words(name: str, drawn_fit: bs.Fit) -> None:
    given, words = NO_COLUMNS[name]
    usual = {} if {"params", "queries"} & set(given) else {"params": 7e9, "tokens": 1e12}
    with pytest.raises(BayescaleError, match=words):
        bs.forecast(drawn_fit, **usual | given)


def test_columns_of_any_sequence_are_paired_by_position(drawn_fit: bs.Fit) -> None:
    params, tokens = [1e9, 2e9], [1e10, 3e10]
    wanted = bs.forecast(drawn_fit, params=params, tokens=tokens).queries
    again = pd.Index([5, 5])
    for given in (
        {"params": tuple(params), "tokens": np.array(tokens)},
        {"params": iter(params), "tokens": pd.Series(tokens, index=[7, 3])},
        {"params": pd.Series(params, again), "tokens": pd.Series(tokens, again)},
    ):
        pd.testing.assert_frame_equal(bs.forecast(drawn_fit, **given).queries, wanted)
    one = bs.forecast(drawn_fit, params=np.array(1e9), tokens=tokens[:1]).queries
    pd.testing.assert_frame_equal(one, wanted[:1])


@pytest.mark.parametrize("fit", ["fit.nc", None, [1]], ids=str)
@pytest.mark.parametrize(
    "use",
    [
        lambda fit: bs.forecast(fit, params=7e9, tokens=1e12), bs.check,
        lambda fit: bs.decide(bs.Allocation(1e21), fit),
        lambda fit: bs.limit(fit, params=7e9), lambda fit: bs.frontier(fit, 1e21), lambda fit: bs.average({"a": fit}),
        lambda fit: bs.predictive(fit),
        lambda fit: bs.value_of(pd.DataFrame({"params": [7e9], "tokens": [1e12]}), bs.Allocation(1e21), fit),
    ],
    ids=["forecast", "check", "decide", "limit", "frontier", "average", "predictive", "value_of"],
)  # fmt: skip
def test_what_is_no_fit_is_refused_in_words(use: Callable[[object], object], fit: object) -> None:
    with pytest.raises(FitError, match=r"a fit or an average(?s:.*)load_fit"):
        use(fit)


@pytest.mark.parametrize("path", [3, None, [1]], ids=str)
@pytest.mark.parametrize("load", [bs.load_fit, bs.load_spec, bs.load_record, bs.hardware])
def test_what_is_no_path_is_refused_in_words(load: Callable[[object], object], path: object) -> None:
    with pytest.raises(BayescaleError, match=r"expected: a path\n  got: "):
        load(path)


WRONG_TYPES: dict[str, tuple[Callable[[bs.Runs], object], str]] = {
    "a dimension as text": (lambda runs: bs.exponent_from_dimension("16"), "dimension as a number\n  got:      '16'"),
    "no dimension": (lambda runs: bs.exponent_from_dimension(None), "dimension as a number"),
    "an endless dimension": (lambda runs: bs.exponent_from_dimension(10**400), "dimension is out of range"),
    "dimensions": (lambda runs: bs.exponent_from_dimension(np.array([8.0, 16.0])), "dimension as a number"),
    "an SD as text": (lambda runs: bs.exponent_from_zipf(1.0, "0.1"), "sd as a number"),
    "an endless SD": (lambda runs: bs.exponent_from_zipf(1.0, 10**400), "sd is not a standard deviation"),
    "a misfit as text": (lambda runs: bs.exponent_from_statistics(0.5, 0.9, misfit="0.3"), "misfit as a number"),
    "a decay as text": (lambda runs: bs.exponent_from_statistics(0.5, "0.9"), "correlation_decay as a number"),
    "a list to fit": (lambda runs: bs.fit_many([runs], "additive"), "mapping of names to tables(?s:.*)bs.fit"),
    "one table to fit": (lambda runs: bs.fit_many(runs, "additive"), "mapping of names to tables of runs"),
    "nothing to fit": (lambda runs: bs.fit_many(None, "additive"), "mapping of names to tables of runs"),
    "a name to fit": (lambda runs: bs.fit_many({"a": "hoffmann2022"}, "additive"), "as runs(?s:.*)bs.load_runs"),
    "a spec's name": (lambda runs: bs.fit_many({"a": runs}, {"a": "additive"}), "every spec as(?s:.*)bs.load_spec"),
    "another spec": (
        lambda runs: bs.fit_many({"a": runs}, {"b": bs.load_spec("additive")}),
        "a table has no spec\n  expected: a\n  got:      b\n  hint:     add a spec for 'a'",
    ),
    **{
        f"{of}, {name}": (partial(lambda call, given, runs: call(runs, **given), call, {name: value}), words)
        for of, call in {
            "many": lambda runs, **given: bs.fit_many({"a": runs}, "additive", **given),
            "calibrate": lambda runs, **given: bs.calibrate("additive", runs=runs, simulations=20, **given),
        }.items()
        for name, value, words in (
            ("chains", "4", "chains as an integer\n  got:      '4'"),
            ("draws", 500.5, "draws as an integer\n  got:      500.5"),
            ("warmup", "500", "warmup as an integer"),
            ("seed", "x", "an integer from 0 to 2147483647\n  got:      'x'"),
        )
    },
    "longer as text": (lambda runs: bs.fit_many({"a": runs}, "additive", longer="2"), "longer as an integer"),
    "made as text": (lambda runs: bs.fit_many({"a": runs}, "additive", made="x"), "a function of a name and a fit"),
    "workers as text": (lambda runs: bs.fit_many({"a": runs}, "additive", workers="2"), "workers as an integer"),
    "a scheduler": (lambda runs: bs.fit_many({"a": runs}, "additive", scheduler=3), "the address of a scheduler"),
    "a folder": (lambda runs: bs.fit_many({"a": runs}, "additive", folder=3), "a path\n  got:      3, of type int"),
    "simulations": (lambda runs: bs.calibrate("additive", simulations="200"), "simulations as an integer"),
    "each": (lambda runs: bs.calibrate("additive", simulations=20, each=3), "each as a function of a batch"),
    **{
        f"rows, {name}": (partial(lambda keep, runs: runs.take(keep), keep), words)
        for name, keep, words in (
            ("none", None, "selects no rows(?s:.*)a mask of 245 values, or positions below 245\n  got:      None"),
            ("one", 3, "selects no rows(?s:.*)3, of type int"),
            ("a name", "x", "selects no rows(?s:.*)'x', of type str"),
            ("a short mask", np.array([True]), "selects no rows(?s:.*)ndarray: (?s:.*)245"),
            ("a row beyond", np.array([245]), "selects no rows(?s:.*)245 is out of bounds"),
            ("part of a row", np.array([1.5]), "selects no rows(?s:.*)integer"),
            ("two dims", np.array([[1]]), "selects no rows(?s:.*)hint: (?s:.*)where"),
        )
    },
}


@pytest.mark.parametrize("name", WRONG_TYPES)
def test_an_argument_of_another_type_is_refused_in_words(name: str) -> None:
    call, words = WRONG_TYPES[name]
    with pytest.raises(BayescaleError, match=words):
        call(bs.load_runs("hoffmann2022"))


def test_rows_come_as_any_sequence_of_truth_values_or_positions() -> None:
    runs = bs.load_runs("hoffmann2022")
    first = [True, True] + [False] * 243
    for keep in ([0, 1], (0, 1), np.array([0, 1]), first, np.array(first), pd.Series(first), range(2)):
        assert list(runs.take(keep)["params"]) == list(runs["params"][:2])


SETTINGS: dict[str, tuple[object, str]] = {
    "no limits": (bs.Allocation(1e21, limits=None), "limits is of another type(?s:.*)mapping of names to texts"),
    "limits as a list": (bs.Allocation(1e21, limits=[1]), "limits is of another type"),
    "a limit without a name": (bs.Allocation(1e21, limits={3: "4"}), "limits is of another type"),
    "a recipe": (bs.Allocation(1e21, recipe=3), "recipe is of another type(?s:.*)mapping of names to numbers"),
    "a truth value": (bs.Allocation(True), "flops is of another type(?s:.*)True, of type bool"),
    "no number": (bs.Allocation(np.nan), "flops is of another type"),
    "a loss as text": (bs.Target(loss="3"), "expected: a number\n  got:      '3', of type str"),
    "losses": (bs.Target(loss=[3.0]), "loss is of another type"),
    "no probability": (bs.Target(loss=3.0, probability=None), "probability is of another type"),
    "no params": (bs.FixedParams(None, 1e25), "params is of another type"),
    "worths as a list": (bs.Portfolio(1e21, ["ours"]), "worth is of another type"),
    "pilots as text": (bs.NextRun(1e22, batch="3"), "batch is of another type(?s:.*)an integer"),
    "a part of a pilot": (bs.NextRun(1e22, batch=1.5), "batch is of another type"),
    "rules of a number": (bs.Threshold(rules_file=3), "3 does not hold rules(?s:.*)a int, not a path"),
    "a number": (3, "a decision, such as"),
    "a class": (bs.Allocation, "a decision, such as"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_of_another_type_is_refused_in_words(name: str, drawn_fit: bs.Fit) -> None:
    decision, words = SETTINGS[name]
    with pytest.raises(QueryError, match=words):
        bs.decide(decision, drawn_fit)


@pytest.mark.parametrize("risk", [bs.risk.CVaR, 3, 0], ids=str)
def test_what_is_no_attitude_to_risk_is_refused_in_words(risk: object, drawn_fit: bs.Fit) -> None:
    with pytest.raises(QueryError, match="an attitude to risk, such as"):
        bs.decide(bs.Allocation(1e21), drawn_fit, risk)


@pytest.mark.parametrize(
    ("decision", "key", "text", "words"),
    [
        ("target", "loss", "1_0", "loss is not a number"),
        ("target", "loss", "nan", "loss is not a number"),
        ("next-run", "batch", "2.5", "batch is not an integer"),
        ("allocation", "recipe", "x=1_0", "recipe is not a number"),
    ],
)
def test_a_setting_in_words_is_read_as_it_is_or_refused(decision: str, key: str, text: str, words: str) -> None:
    with pytest.raises(QueryError, match=words):
        read_settings(decision, [(key, text)])


def test_parts_of_a_table_have_the_same_laws(drawn_fit: bs.Fit) -> None:
    table = pd.DataFrame({"params": [7e9, 8e9, 9e9], "tokens": 1e12})
    whole = bs.forecast(drawn_fit, table, seed=3).draws["epred"]
    part = bs.forecast(drawn_fit, table[1:], seed=3).draws["epred"]
    np.testing.assert_allclose(part, whole[..., 1:], rtol=1e-12)


def test_a_choice_without_finite_utilities_is_refused(drawn_fit: bs.Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FixedParams, "utility", lambda self, outcome, actions: outcome * np.nan)
    with pytest.raises(QueryError, match="'fixed-params' has no finite utility"):
        bs.decide(FixedParams(params="7B", worth=1e25), drawn_fit)


LONG = "a" * 300  # more than the 255 bytes of a name
READS: list[tuple[str, ...]] = [
    ("validate", "{}"), ("validate", "{}.csv"), ("validate", "runs.csv", "--observations", "{}"), ("check", "{}"),
    ("show", "models", "{}"), ("decide", "target", "{}", "--loss", "3"), ("backtest", "runs.csv", "--model", "{}"),
    ("forecast", "{}", "--params", "1B", "--tokens", "1B"),
]  # fmt: skip
WRITES: list[tuple[str, ...]] = [
    ("init", "{}"), ("fit", "runs.csv", "--model", "additive", "--out", "{}"),
    ("backtest", "runs.csv", "--model", "additive", "--out", "{}"), ("calibrate", "additive", "--out", "{}"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "why"), [(LONG, "File name too long"), ("circle", "Too many levels of symbolic links")]
)
@pytest.mark.parametrize("args", [*READS, *WRITES], ids=" ".join)
def test_a_path_that_cannot_be_looked_at_is_wrong_input(
    args: tuple[str, ...], name: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good_runs().to_csv("runs.csv", index=False)
    for link in ("circle", "circle.csv"):
        Path(link).symlink_to(link)
    result = CliRunner().invoke(main, [arg.format(name) for arg in args])
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == 2
    assert why in result.stderr
    assert "Traceback" not in result.output
