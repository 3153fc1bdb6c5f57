"""Tables as people have them: one and the same table of runs, as exporters, spreadsheets and trackers write it."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import sys
import zipfile
from collections.abc import Callable
from contextlib import nullcontext, suppress
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
    notes = pa.array(list(frame["note"]), pa.string_view(), from_pandas=True)
    views = table.set_column(table.schema.get_field_index("note"), "note", notes)
    for name, held in {"plain": table, "views": views}.items():
        feather.write_feather(held, tmp_path / f"{name}.feather", compression=compression, chunksize=4)
        written = io.BytesIO()
        with nullcontext() if held is table else suppress(pa.ArrowNotImplementedError):  # by old versions of pyarrow
            parquet.write_table(held, written, row_group_size=4)
            (tmp_path / f"{name}.parquet").write_bytes(written.getvalue())
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
    many = "8,388,608 rows, more than 1,000,000"  # which Parquet knows before the size of its cells
    said = many if (file, kind) == ("parquet", "numbers") else r"cells of \d+ bytes, more than 33554432"
    with pytest.raises(RunsError, match=said):
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


@pytest.mark.parametrize(("length", "rows"), [(32_767, 40), (32_768, 1)], ids=["in all", "in one cell"])
def test_a_text_that_many_cells_share_counts_in_each(length: int, rows: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("bayescale.runs.formats._MOST_BYTES", 1 << 20)
    path, bomb, kind = (
        as_excel({f"D{row}": "X" for row in range(2, rows + 2)}, tmp_path / "a.xlsx"),
        tmp_path / "b.xlsx",
        (
            b'<Override PartName="/xl/sharedStrings.xml" '
            b'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"/></Types>'
        ),
    )
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.namelist():
            content = old.read(part).replace(b't="inlineStr"><is><t>X</t></is>', b't="s"><v>0</v>')
            new.writestr(part, content.replace(b"</Types>", kind))
        space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
        new.writestr("xl/sharedStrings.xml", f'<sst xmlns="{space}"><si><t>{"x" * length}</t></si></sst>')
    assert bomb.stat().st_size < 1 << 14
    with pytest.raises(
        RunsError, match="a text of more than 32,767 characters, or texts of more than 1,048,576 in all"
    ):
        bs.load_runs(bomb)


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
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as archive:
        archive.writestr("sheet", "")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
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


def save(content: str | bytes, path: Path) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def as_excel(cells: dict[str, object], path: Path) -> Path:
    """A sheet of three runs, with further cells by their places."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (PLAIN, *plain().head(3).to_numpy().tolist()):
        book.active.append(list(row))
    for place, cell in cells.items():
        book.active[place] = cell
    book.save(path)
    return path


RUN = {"params": 1e9, "tokens": 2e10, "loss": 2.8}
DAMAGED: dict[str, tuple[str, str, str]] = {
    "an open quote": ("a.csv", text() + '"3e9,4e10,2.5\n', r"never closed, in the row that starts on line 17\n.*quote"),
    "text after a quote": ("a.csv", text() + '"3"e9,4e10,2.5\n', r"expected after .* starts on line 17"),
    "a giant cell": ("a.csv", text() + f"3e9,4e10,2.5{'0' * 200_000}\n", r"131,072 characters.* starts on line 17"),
    "a denormal number": ("a.csv", text() + "3e9,4e10,1e-320\n", r"row 17, loss: .*precision, got '1e-320'"),
    "two encodings": ("a.csv", "", "UTF-8 on line 2, and other bytes"),
    "a name twice": ("a.json", json.dumps([RUN]).replace("}", ', "loss": 3}'), "names 'loss' twice"),
    "a name twice on a line": (
        "a.jsonl", json.dumps(RUN) + "\n" + json.dumps(RUN).replace("}", ', "loss": 3}'), "line 2: .*'loss' twice"
    ),
    "a nested name twice": ("a.json", json.dumps([RUN | {"a": {"b": 1}, "a.b": 2}]), "run 0 names 'a.b' twice"),
    "an integer of many digits": ("a.json", json.dumps([RUN]).replace("2.8", "9" * 5000), "has 5000 digits"),
    "columns of other lengths": (
        "a.json", '{"params": [1e9, 2e9], "tokens": [2e10], "loss": [3, 2]}', "params has 2, tokens has 1, loss has 2"
    ),
    "rows of other lengths": (
        "a.json", '{"columns": ["params", "tokens", "loss"], "data": [[1e9, 2e10]]}', "row 0 of data has 2 cells"
    ),
    "one more row in an object": (
        "a.json", '{"params": {"0": 1e9}, "tokens": {"0": 2e10}, "loss": {"0": 3, "1": 2}}', "row 1, params: .*empty"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused_with_its_place(name: str, tmp_path: Path) -> None:
    file, content, said = DAMAGED[name]
    joined = "params,tokens,loss,note\n1e9,2e10,3,naïve\n".encode() + "2e9,4e10,2.9,naïve\n".encode("cp1252")
    path = save(content or joined, tmp_path / file)
    with pytest.raises(RunsError, match=said):
        bs.load_runs(path)


@pytest.mark.parametrize("suffix", ["json", "jsonl", "xlsx", "parquet", "feather", "frame"])
@pytest.mark.parametrize("column", PLAIN)
def test_a_truth_value_is_no_number(column: str, suffix: str, tmp_path: Path) -> None:
    frame, path = plain().assign(**{column: True}), tmp_path / f"a.{suffix}"
    if suffix.startswith("json"):
        frame.to_json(path, orient="records", lines=suffix == "jsonl")
    elif suffix != "frame":
        options = {"index": False} if suffix == "xlsx" else {}
        {"xlsx": frame.to_excel, "parquet": frame.to_parquet, "feather": frame.to_feather}[suffix](path, **options)
    with pytest.raises(RunsError, match=rf"{column}: expected a number, got True; write 1 or 0"):
        bs.load_runs(frame if suffix == "frame" else path)


def test_a_line_from_a_hash_that_could_be_a_run_is_refused(tmp_path: Path) -> None:
    table = "family,params,tokens,loss\nA,1e9,2e10,2.8\n"
    with pytest.raises(RunsError, match=r'line 3, which starts with #(?s:.*)quote its first cell: "#B"'):
        bs.load_runs(save(table + "#B,1e9,2e10,2.7\n", tmp_path / "a.csv"))
    euro = table.replace(",", ";") + "#B;1B;20B;2,7\n"
    with pytest.raises(RunsError, match="line 3, which starts with #"):
        bs.load_runs(save(euro, tmp_path / "a.csv"))
    assert bs.load_runs(save(table + '"#B",1e9,2e10,2.7\n', tmp_path / "a.csv")).families == ["#B", "A"]
    for comment in ("# one, two, three, four\n", "# A,1e9\n", "# loss 2.7\n"):
        assert len(bs.load_runs(save(table + comment, tmp_path / "a.csv"))) == 1
    # The first cell of every other row is a number, which #1e9 is not.
    runs = bs.load_runs(save(text() + "#1e9,2e10,2.7\n", tmp_path / "a.csv"))
    assert (len(runs), runs.understood) == (15, ("1 comment line skipped (from #)",))


def test_of_a_sheet_only_what_has_content_counts(tmp_path: Path) -> None:
    path = as_excel({"XFD1048576": 1}, tmp_path / "a.xlsx")
    assert path.stat().st_size < 1 << 13
    with pytest.raises(RunsError, match="content in column 16,384 of row 1048576, beyond column 2,000"):
        bs.load_runs(path)
    styled = pytest.importorskip("openpyxl").load_workbook(as_excel({}, path))
    styled.active["CZ900"].number_format = "0.00"
    styled.save(path)
    runs = bs.load_runs(path)
    assert (len(runs), runs.understood) == (3, ("Excel sheet 'Sheet'",))


def test_a_formula_that_was_never_computed_is_no_empty_cell(tmp_path: Path) -> None:
    with pytest.raises(RunsError, match=r"a formula in C3 that was never computed\n.*save it"):
        bs.load_runs(as_excel({"C3": "=C2*0.9"}, tmp_path / "a.xlsx"))


def test_a_formula_whose_text_is_empty_is_an_empty_cell(tmp_path: Path) -> None:
    path, computed = as_excel({"D1": "exclusion", "D2": "hot", "D3": '=""'}, tmp_path / "a.xlsx"), tmp_path / "b.xlsx"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(computed, "w") as new:
        for part in old.namelist():  # as a spreadsheet saves it
            new.writestr(part, re.sub(rb'<c r="D3"[^>]*>', b'<c r="D3" t="str">', old.read(part)))
    assert bs.load_runs(computed).excluded == {"hot": 1}


def wide(n: int) -> str:
    return text(pd.concat([plain(), pd.DataFrame(1, range(15), [f"c{i}" for i in range(n)])], axis=1))


TOO_LARGE: dict[str, tuple[str, Callable[[], str | bytes], str]] = {
    "columns": ("a.csv", lambda: wide(2_000), "2,003 columns, more than 2,000"),
    "lines": ("a.csv.gz", lambda: gzip.compress(b"params,tokens,loss\n" + b"\n" * 2_000_000), "2,000,000 rows, more"),
    "returns": ("a.csv", lambda: "params,tokens,loss\r" + "1e9,2e10,3\r" * 1_000_001, "1,000,001 rows, more"),
    "cells": ("a.csv", lambda: "params,tokens,loss\n" + "," * 10_000_001, "10,000,003 cells, more"),
    "values": ("a.json", lambda: f"[{'1,' * 10_000_000}1]", "10,000,001 cells, more"),
    "names": ("a.jsonl", lambda: "\n".join(json.dumps({f"c{i}": 1}) for i in range(2_001)), "2,001 columns, more"),
    "objects": ("a.json", lambda: json.dumps({f"c{i}": {f"r{i}": 1} for i in range(2_001)}), "2,001 columns, more"),
}  # fmt: skip


@pytest.mark.parametrize("name", TOO_LARGE)
def test_a_table_that_would_take_minutes_is_refused_before_it_is_parsed(name: str, tmp_path: Path) -> None:
    file, content, said = TOO_LARGE[name]
    with pytest.raises(RunsError, match=said):
        bs.load_runs(save(content(), tmp_path / file))


def test_a_wide_table_within_the_limits_is_read(tmp_path: Path) -> None:
    assert bs.load_runs(save(wide(1_997), tmp_path / "a.csv")).frame.shape == (15, 2_002)  # with family and flops


@pytest.mark.parametrize("file", ["feather", "parquet"])
def test_two_columns_of_one_name_are_refused_by_it(file: str, tmp_path: Path) -> None:
    pa, path = pytest.importorskip("pyarrow"), tmp_path / f"a.{file}"
    table = pa.table([[1e9], [1e9], [2e10], [3.0]], names=["params", *PLAIN])
    write = pytest.importorskip("pyarrow.feather").write_feather
    (write if file == "feather" else pytest.importorskip("pyarrow.parquet").write_table)(table, path)
    with pytest.raises(RunsError, match="2 columns called 'params'"):
        bs.load_runs(path)


def test_what_is_no_file_is_called_what_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(RunsError, match=r"a pipe\n.*write its content to a file"):
        bs.load_runs(tmp_path / "a.csv")
    (tmp_path / "runs.csv").mkdir()
    (tmp_path / "card.toml").write_text('name = "mine"\n', encoding="utf-8")
    with pytest.raises(RunsError, match=r"got: +a folder"):
        bs.load_runs(tmp_path)


def test_a_long_name_and_a_long_cell_are_read_in_one_pass(tmp_path: Path) -> None:
    """Patterns that try every end of a run of blanks at every place would take minutes."""
    blanks = " " * 100_000
    runs = bs.load_runs(save(text(plain().assign(**{f"a{blanks}b": 1})), tmp_path / "a.csv"))
    assert f"a{blanks}b" in runs.frame
    with pytest.raises(RunsError, match="row 2, params: expected a number, got '1   "):
        bs.load_runs(save(text(plain().assign(params=f"1{blanks}!")), tmp_path / "a.csv"))
