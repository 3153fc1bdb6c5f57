"""Tables as people have them: one and the same table of runs, as exporters, spreadsheets and trackers write it."""

from __future__ import annotations

import gzip
import json
import re
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.core.errors import RunsError

PLAIN = ("params", "tokens", "loss")


def plain() -> pd.DataFrame:
    """Fifteen runs, every cell as text."""
    params, ratio = (x.ravel() for x in np.meshgrid([60e6, 125e6, 350e6, 760e6, 13e8], [10, 20, 40], indexing="ij"))
    loss = 1.8 + 480 * params**-0.35 + 2100 * (ratio * params) ** -0.37
    return pd.DataFrame({"params": params.astype(int), "tokens": (ratio * params).astype(int), "loss": loss.round(4)})


def text(frame: pd.DataFrame | None = None, **options: object) -> str:
    return (plain() if frame is None else frame).to_csv(index=False, **options)  # type: ignore[call-overload]


def tracked() -> pd.DataFrame:
    names = {"params": "num_params", "tokens": "train_tokens", "loss": "eval/loss"}
    return plain().rename(columns=names).assign(Name=[f"run-{i}" for i in range(15)], _step=1000, Tags="")


def in_units(**sizes: float) -> str:
    frame = plain()
    return text(frame.assign(**{column: frame[column] / size for column, size in sizes.items()}))


def with_flops(size: float = 1.0, drop: str | None = None) -> str:
    frame = plain()
    frame = frame.assign(flops=6.0 * frame["params"] * frame["tokens"] / size)
    return text(frame.drop(columns=drop) if drop else frame)


EITHER = text(plain().assign(loss=[f"{loss:.3f}" for loss in plain()["loss"]]), sep=";")
EURO = text(sep=";", decimal=",")
NESTED = [
    {"config": {"num_params": p, "train_tokens": t}, "summary": {"eval/loss": y}} for p, t, y in plain().to_numpy()
]

# Name and content of the file, arguments of the reader, and what it says that it understood.
FILES: dict[str, tuple[str, str | bytes, dict, tuple[str, ...]]] = {
    "plain": ("a.csv", text(), {}, ()),
    "no suffix of a table": ("a.dat.csv", text(), {}, ()),
    "byte order mark": ("a.csv", text().encode("utf-8-sig"), {}, ()),
    "CRLF": ("a.csv", text(lineterminator="\r\n"), {}, ()),
    "quoted": ("a.csv", text(quoting=1), {}, ()),
    "suffixes": ("a.csv", text().replace("000000,", "M,"), {}, ()),
    "suffixes in lower case": ("a.csv", text().replace("000000,", "m,").replace("00m,", "00mn,"), {},
                               ("params: '60m' is 6e+07", "tokens: '600mn' is 6e+08")),
    "thousands": ("a.csv", text(plain().assign(params=[f"{p:,}" for p in plain()["params"]])), {}, ()),
    "underscores": ("a.csv", text(plain().assign(params=[f"{p:_}" for p in plain()["params"]])), {}, ()),
    "gzip": ("a.csv.gz", gzip.compress(text().encode()), {}, ("compressed with gzip",)),
    "tabs": ("a.tsv", text(sep="\t"), {}, ("columns separated by tabs",)),
    "bars": ("a.txt", text(sep="|"), {}, ("columns separated by vertical bars",)),
    "semicolons": ("a.csv", text(sep=";"), {}, ("columns separated by semicolons", "decimal points")),
    "decimal commas": ("a.csv", EURO, {}, ("columns separated by semicolons", "decimal commas")),
    "decimal commas with suffixes": (
        "a.csv", EURO.replace("\n60000000;", "\n0,06B;"), {}, ("columns separated by semicolons", "decimal commas")
    ),
    "points for thousands": (
        "a.csv", EURO.replace("\n60000000;", "\n60.000.000;"), {}, ("columns separated by semicolons", "decimal commas")
    ),
    "quoted decimal commas": ("a.csv", text(decimal=","), {}, ("decimal commas",)),
    "decimal points as stated": (
        "a.csv", EITHER, {"decimal": "."}, ("columns separated by semicolons", "decimal points")
    ),
    "comments": ("a.csv", "# of May\n" + text() + "# the end\n", {}, ("2 comment lines skipped (from #)",)),
    "blank lines": ("a.csv", text().replace("\n125", "\n\n  \n,,\n125", 1), {}, ("3 empty lines skipped",)),
    "sep line": ("a.csv", "sep=,\n" + text(), {}, ("the line sep=, of Excel",)),
    "sep line of semicolons": (
        "a.csv", '"sep=;"\n' + EURO, {},
        ("the line sep=; of Excel", "columns separated by semicolons", "decimal commas"),
    ),
    "UTF-16": ("a.csv", text().encode("utf-16"), {}, ("encoded in UTF-16",)),
    "UTF-16 without a mark": ("a.csv", text().encode("utf-16-be"), {}, ("encoded in UTF-16",)),
    "Windows-1252": (
        "a.csv", text(plain().assign(note="naïve")).encode("cp1252"), {}, ("encoded in Windows-1252",)
    ),
    "formulas": ("a.csv", re.sub(r"(\d+\.\d+)", r'="\1"', text()), {}, ('cells written as ="…"',)),
    "a number of the row": ("a.csv", plain().to_csv(), {}, ("a column without a name that numbers the rows left out",)),
    "a comma at the end": ("a.csv", text().replace("\n", ",\n"), {}, ("a column without a name or content left out",)),
    "a comma at the end of runs": ("a.csv", text().replace("\n", ",\n").replace("loss,", "loss"), {}, ()),
    "JSON": ("a.json", plain().to_json(orient="records"), {}, ("JSON",)),
    "JSON by columns": ("a.json", plain().to_json(), {}, ("JSON, one list per column",)),
    "JSON split": ("a.json", plain().to_json(orient="split"), {}, ("JSON",)),
    "JSON below a key": ("a.json", json.dumps({"of": "a", "runs": plain().to_dict("records")}), {}, ("JSON",)),
    "JSON of a tracker": (
        "a.json", json.dumps(NESTED), {}, ("JSON", "params from 'config.num_params'",
                                           "tokens from 'config.train_tokens'", "loss from 'summary.eval/loss'")
    ),
    "JSON Lines": ("a.jsonl", plain().to_json(orient="records", lines=True), {}, ("JSON Lines",)),
    "capitals": ("a.csv", text(plain().rename(columns=str.title)), {},
                 ("params from 'Params'", "tokens from 'Tokens'", "loss from 'Loss'")),
    "a tracker's names": ("a.csv", text(tracked()), {}, ("params from 'num_params'", "tokens from 'train_tokens'",
                                                        "loss from 'eval/loss'", "step from '_step'")),
    "names as stated": ("a.csv", text(plain().set_axis(["N", "D", "y"], axis=1)),
                        {"columns": {"params": "N", "tokens": "D", "loss": "y"}},
                        ("params from 'N'", "tokens from 'D'", "loss from 'y'")),
    "another loss as stated": ("a.csv", text(plain().assign(other=plain()["loss"], loss=1.0)),
                               {"columns": {"loss": "other"}}, ("loss from 'other'", "column 'loss' left out")),
    "FLOP and params": ("a.csv", with_flops(drop="tokens"), {}, ("tokens = flops / (6·params)",)),
    "FLOP and tokens": ("a.csv", with_flops(drop="params"), {}, ("params = flops / (6·tokens)",)),
    "EFLOP": ("a.csv", with_flops(1e18), {"units": {"flops": "EFLOPs"}}, ("flops × 1e+18 (EFLOPs)",)),
    "exa": ("a.csv", with_flops(1e18), {"units": {"flops": "exa"}}, ("flops × 1e+18 (exa)",)),
    "PF-days": ("a.csv", with_flops(8.64e19), {"units": {"flops": "PF-days"}}, ("flops × 8.64e+19 (PF-days)",)),
    "petaFLOP/s-days": ("a.csv", with_flops(8.64e19), {"units": {"flops": "petaFLOP/s-days"}},
                        ("flops × 8.64e+19 (petaFLOP/s-days)",)),
    "millions and billions": (
        "a.csv", in_units(params=1e6, tokens=1e9), {"units": {"params": "millions", "tokens": "billions"}},
        ("params × 1e+06 (millions)", "tokens × 1e+09 (billions)"),
    ),
    "units in names": (
        "a.csv", in_units(params=1e6, tokens=1e9).replace("params,tokens", "Params (M),tokens_in_billions"), {},
        ("params from 'Params (M)'", "tokens from 'tokens_in_billions'", "params × 1e+06 (M)",
         "tokens × 1e+09 (billions)"),
    ),
    "perplexities": ("a.csv", text(plain().assign(loss=np.exp(plain()["loss"]))), {"loss_unit": "perplexity"},
                     ("loss converted from perplexity to nats/token",)),
    "perplexities by name": (
        "a.csv", text(plain()[["params", "tokens"]].assign(ppl=np.exp(plain()["loss"]))), {},
        ("loss from 'ppl'", "loss converted from perplexity to nats/token"),
    ),
    "bits": ("a.csv", in_units(loss=np.log(2)), {"loss_unit": "bits"},
             ("loss converted from bits/token to nats/token",)),
    "bits per byte": (
        "a.csv", in_units(loss=np.log(2) * 4.3), {"loss_unit": "bits-per-byte", "bytes_per_token": 4.3},
        ("loss converted from bits/byte to nats/token",),
    ),
    "bits per byte of a column": (
        "a.csv", text(plain().assign(bytes_per_token=4.3, loss=plain()["loss"] / np.log(2) / 4.3)),
        {"loss_unit": "bits-per-byte"}, ("loss converted from bits/byte to nats/token",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_one_table_is_read_from_every_file_and_what_was_understood_is_said(name: str, tmp_path: Path) -> None:
    file, content, given, said = FILES[name]
    path = tmp_path / file
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    runs = bs.load_runs(path, **given)
    expected = plain()
    for column in PLAIN:
        tolerance = 5e-4 if column == "loss" else 1e-12  # of the rounded losses
        np.testing.assert_allclose(runs[column], expected[column], rtol=tolerance)
    assert runs.understood == said
    assert all(note in repr(runs) for note in said)
    np.testing.assert_allclose(runs["flops"], 6 * runs["params"] * runs["tokens"])


@pytest.mark.parametrize("suffix", ["parquet", "pq", "feather", "csv"])
def test_parquet_and_feather_are_known_by_their_first_bytes(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    (plain().to_feather if suffix == "feather" else plain().to_parquet)(path)
    assert bs.load_runs(path).digest == bs.load_runs(plain(), name="a").digest


@pytest.mark.parametrize("compression", ["uncompressed", "lz4", "zstd"])
def test_texts_and_gaps_of_parquet_and_feather_are_read(compression: str, tmp_path: Path) -> None:
    feather, parquet = pytest.importorskip("pyarrow.feather"), pytest.importorskip("pyarrow.parquet")
    pa = pytest.importorskip("pyarrow")
    frame = plain().assign(
        family="a", note=["a", None, "b" * 3000] * 5, kind=pd.Categorical(["x", "y", None] * 5), seed=[1, None, 2] * 5
    )
    table = pa.Table.from_pandas(frame)
    views = table.set_column(table.schema.get_field_index("note"), "note", table["note"].cast("string_view"))
    for name, held in {"plain": table, "views": views}.items():
        feather.write_feather(held, tmp_path / f"{name}.feather", compression=compression, chunksize=4)
        parquet.write_table(held, tmp_path / f"{name}.parquet", row_group_size=4)
    expected = bs.load_runs(frame)
    for path in tmp_path.iterdir():
        pd.testing.assert_frame_equal(bs.load_runs(path).frame, expected.frame, check_dtype=False)


def spread(kind: str) -> object:
    """A column of much that takes almost nothing in a file."""
    pa = pytest.importorskip("pyarrow")
    if kind == "numbers":
        return pa.array(np.zeros(1 << 23))
    return pa.DictionaryArray.from_arrays(np.zeros(100, "i4"), pa.array(["x" * (1 << 20)]))


@pytest.mark.parametrize("kind", ["numbers", "texts"])
@pytest.mark.parametrize("file", ["feather", "parquet"])
def test_a_small_file_of_much_is_refused(file: str, kind: str, tmp_path: Path, monkeypatch) -> None:
    feather, parquet = pytest.importorskip("pyarrow.feather"), pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("bayescale.runs.formats._MOST_BYTES", 1 << 25)
    table, path = pytest.importorskip("pyarrow").table({"loss": spread(kind)}), tmp_path / f"a.{file}"
    if file == "feather":
        feather.write_feather(table, path, compression="zstd", chunksize=1 << 23)
    else:
        parquet.write_table(table, path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 1 << 17
    with pytest.raises(RunsError, match=r"cells of \d+ bytes, more than 33554432"):
        bs.load_runs(path)


@pytest.mark.parametrize("file", ["a.csv.gz", "a.xlsx"])
def test_a_small_archive_of_much_is_refused(file: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("bayescale.runs.formats._MOST_BYTES", 1 << 20)
    path, much = tmp_path / file, b"0" * (1 << 21)
    if file.endswith("gz"):
        path.write_bytes(gzip.compress(much))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("xl/worksheets/sheet1.xml", much)
    assert path.stat().st_size < 1 << 12
    with pytest.raises(RunsError, match="more than 1048576 bytes"):
        bs.load_runs(path)


def test_excel_is_read_from_its_only_sheet(tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    path = tmp_path / "a.xlsx"
    with pd.ExcelWriter(path) as book:
        plain().to_excel(book, sheet_name="mine", index=False, startrow=2)
        pd.DataFrame().to_excel(book, sheet_name="empty")
    runs = bs.load_runs(path)
    assert runs.understood == ("Excel sheet 'mine'",)
    assert runs.digest == bs.load_runs(plain(), name="a").digest
    with pd.ExcelWriter(path) as book:
        plain().to_excel(book, sheet_name="mine", index=False)
        plain().to_excel(book, sheet_name="yours", index=False)
    with pytest.raises(RunsError, match=r"one sheet with runs\n.*mine, yours\n.*save it as CSV"):
        bs.load_runs(path)


def test_without_openpyxl_excel_is_refused_with_what_to_install(tmp_path: Path, monkeypatch) -> None:
    def absent(*_: object, **__: object) -> None:
        raise ImportError("openpyxl")

    with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as archive:
        archive.writestr("sheet", "")
    monkeypatch.setattr(pd, "read_excel", absent)
    with pytest.raises(RunsError, match=r"bayescale\[excel\]"):
        bs.load_runs(tmp_path / "a.xlsx")


def test_runs_without_a_family_are_one_named_after_the_file(tmp_path: Path) -> None:
    path = tmp_path / "sweep.csv"
    path.write_text(text(plain().assign(family=["", *"aaaabbbbbcccc", ""])), encoding="utf-8")
    runs = bs.load_runs(path)
    assert runs.families == ["a", "b", "c", "sweep"]
    assert runs.understood == ("family 'sweep' where there is none (2 of 15 rows)",)


REFUSED = {
    "two losses": (text(plain().rename(columns={"loss": "eval/loss"}).assign(test_loss=2.0)), {}, ""),
    "an unknown column": (text(), {"columns": {"loss": "los"}}, "no column 'los' to take loss from"),
    "one column twice": (text(), {"columns": {"loss": "loss", "params": "loss"}}, "is given two names"),
    "an unknown unit": (text(), {"units": {"params": "dozens"}}, "unknown unit of params"),
    "a unit of a text": (text(plain().assign(family="a")), {"units": {"family": "millions"}}, "unknown unit of family"),
    "a unit and a suffix": (text().replace("000000,", "M,"), {"units": {"params": "millions"}}, "leave out the suffix"),
    "an unknown mark": (text(), {"decimal": ";"}, "unknown mark of decimals"),
    "losses per byte": (text(), {"loss_unit": "bits-per-byte"}, "bytes_per_token=4.3"),
    "suspected bits": (in_units(loss=np.log(2)), {}, "bits per token"),
    "suspected bits per byte": (in_units(loss=np.log(2) * 4.3), {}, "bits per byte"),
    "EFLOP": (with_flops(1e18), {}, "they look like EFLOP"),
    "PF-days": (with_flops(8.64e19), {}, "they look like PF-days"),
    "either mark": (EITHER, {}, "can be read as"),
    "a comma in a table of tabs": (EITHER.replace(";", "\t").replace(".", ","), {}, "can be read as"),
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in REFUSED if name != "two losses"])
def test_what_can_be_meant_in_two_ways_is_refused_with_a_hint(name: str, tmp_path: Path) -> None:
    content, given, fragment = REFUSED[name]
    (tmp_path / "a.csv").write_text(content, encoding="utf-8")
    with pytest.raises(RunsError) as caught:
        bs.load_runs(tmp_path / "a.csv", **given)
    assert fragment in str(caught.value)


def test_of_two_columns_that_could_be_the_loss_none_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(REFUSED["two losses"][0], encoding="utf-8")
    runs = bs.load_runs(tmp_path / "a.csv")
    assert runs.understood == ()
    with pytest.raises(RunsError, match=r"no column 'loss'(?s:.*)--columns loss='eval/loss'"):
        runs["loss"]


def test_letters_are_refused_with_every_name_that_the_table_needs(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("N,D,value\n1e8,2e9,3.1\n2e8,4e9,2.9\n", encoding="utf-8")
    with pytest.raises(RunsError) as caught:
        bs.load_runs(tmp_path / "a.csv")
    assert "--columns params=N --columns tokens=D --columns loss=NAME" in str(caught.value)
    assert len(bs.load_runs(tmp_path / "a.csv", columns={"params": "N", "tokens": "D", "loss": "value"})["loss"]) == 2


def nullable(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.convert_dtypes().assign(family=pd.Categorical(["a"] * 15), seed=pd.array([1, None] * 7 + [2], "Int8"))


FRAMES: dict[str, Callable[[pd.DataFrame], object]] = {
    "nullable": nullable,
    "unsigned": lambda frame: frame.astype({"params": "uint64", "tokens": "uint64"}),
    "half precision apart": lambda frame: frame.astype({"loss": "float64"}),
    "Decimal": lambda frame: frame.assign(loss=[Decimal(str(loss)) for loss in frame["loss"]]),
    "categories of numbers": lambda frame: frame.assign(params=pd.Categorical(frame["params"])),
    "types of Arrow": lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
    "an index with a name": lambda frame: frame.set_index("params"),
    "Arrow": lambda frame: pytest.importorskip("pyarrow").Table.from_pandas(frame),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_of_any_type_holds_the_same_runs(name: str) -> None:
    runs = bs.load_runs(FRAMES[name](plain()))
    for column in PLAIN:
        np.testing.assert_array_equal(runs[column], plain()[column].astype(float))
        assert runs[column].dtype == float
    if name == "nullable":
        assert runs.where(seed="1").n_runs == 7
        assert runs.where(seed_above=1).n_runs == 1


class Streamed:
    """A frame of another library, as polars has them: it hands out Arrow and nothing else that is known here."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        import pyarrow as pa

        return pa.Table.from_pandas(self.frame).__arrow_c_stream__(requested_schema)


def test_a_frame_that_hands_out_arrow_is_read() -> None:
    pytest.importorskip("pyarrow")
    assert bs.load_runs(Streamed(plain())).digest == bs.load_runs(plain()).digest


@pytest.mark.parametrize(
    "source", [3, [1, 2], {"params": 1}, plain()["loss"], np.zeros((3, 3))], ids=lambda x: type(x).__name__
)
def test_what_is_no_frame_is_refused_in_words(source: object) -> None:
    with pytest.raises(RunsError, match=r"not a table of runs\n.*a data frame of pandas, polars or Arrow"):
        bs.load_runs(source)


def test_levels_of_columns_are_refused_in_words() -> None:
    with pytest.raises(RunsError, match="several levels"):
        bs.load_runs(pd.concat({"a": plain()}, axis=1))


def test_a_frame_is_not_changed() -> None:
    frame = nullable(plain()).rename(columns={"loss": "eval/loss"})
    kept = frame.copy(deep=True)
    bs.load_runs(frame)
    pd.testing.assert_frame_equal(frame, kept)
