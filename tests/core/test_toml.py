"""The one writer of TOML: what it writes is read again as it was, completely or not at all."""

from __future__ import annotations

import os
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import bayescale as bs
from bayescale.cli import main
from bayescale.core import shipped, toml
from bayescale.core.errors import QueryError
from bayescale.decisions.rules import rules

HOSTILE = [
    'a "quote" and a \\ backslash',
    "two\nlines",
    "tab\t, bell\x07, zero\x00",
    "'''",
    '"""',
    "] = [",
    "#",
    "漢 ü ",
]


@pytest.mark.parametrize("name", shipped.names("models"))
def test_a_shipped_spec_is_read_again_as_it_was(name: str, tmp_path: Path) -> None:
    spec = bs.load_spec(name)
    again = bs.load_spec(bs.write_spec(spec, tmp_path / "again.toml"))
    assert (again.digest, again.title, again.learned) == (spec.digest, spec.title, spec.learned)


@pytest.mark.parametrize("path", sorted(shipped.folder("models").rglob("*.toml")), ids=lambda path: path.stem)
def test_a_shipped_file_is_written_again_as_it_was(path: Path) -> None:
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    assert tomllib.loads(toml.dumps(content, digits=17)) == content


@pytest.mark.parametrize("title", HOSTILE)
def test_a_title_may_hold_any_text(title: str, tmp_path: Path) -> None:
    spec = replace(bs.load_spec("additive"), title=title)
    assert bs.load_spec(bs.write_spec(spec, tmp_path / "mine.toml")).title == title


PLAIN = st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.integers(-(2**62), 2**62), st.booleans(),
                  st.floats(allow_nan=False))  # fmt: skip
KEYS = st.text(st.characters(exclude_categories=["Cs"]))
NESTED = st.recursive(PLAIN, lambda inner: st.one_of(st.lists(inner), st.dictionaries(KEYS, inner)), max_leaves=12)


@settings(derandomize=True, database=None, deadline=None)
@given(st.dictionaries(KEYS, NESTED))
def test_nested_values_are_read_again_as_they_were(content: dict) -> None:
    assert tomllib.loads(toml.dumps(content, digits=17)) == content


DEEP = {
    "parts of a key": ".".join("a" * 17) + " = 1",
    "parts of a quoted key": " . ".join(['"a.b"'] * 17) + " = 1",
    "parts of a heading": f"[{'.'.join('a' * 17)}]",
    "parts of a key in a table": f"a = {{{'.'.join('a' * 17)} = 1}}",
    "lists": f"a = {'[' * 17}{']' * 17}",
    "tables": f"a = {'{a=' * 17}1{'}' * 17}",
    "after text": f'a = """ " ""\\""" """\nb = \'\'\' \' \'\'\'\n# "\nc = {"[" * 17}{"]" * 17}',
}


@pytest.mark.parametrize("name", DEEP)
def test_a_deep_text_is_refused_before_it_is_parsed(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tomllib, "loads", None)
    (tmp_path / "a.toml").write_text(DEEP[name], encoding="utf-8")
    with pytest.raises(ValueError, match=r"more than 16 deep at line [14]$"):
        toml.load(tmp_path / "a.toml")


@pytest.mark.parametrize("read", [bs.load_spec, bs.hardware, rules], ids=["spec", "hardware", "rules"])
def test_a_key_of_many_parts_is_refused_in_one_error(read, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(".".join(["a"] * 10**6) + " = 1", encoding="utf-8")
    with pytest.raises(bs.BayescaleError, match="more than 16 deep at line 1"):
        read(str(tmp_path / "a.toml"))


@pytest.mark.parametrize("read", [bs.load_spec, bs.load_record, bs.hardware, rules, toml.load],
                         ids=["spec", "record", "hardware", "rules", "file"])  # fmt: skip
@pytest.mark.parametrize("path", ["pipe.toml", "folder.toml"])
def test_what_is_no_file_is_refused_and_not_waited_for(read, path: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ValueError, match="a folder, a pipe or a device, not a file"):
        read(str(tmp_path / path))


MARKS = "[{." * 20
SHALLOW = [
    f"# {MARKS}",
    rf'a = "{MARKS} \" {MARKS}"',
    rf"b = '{MARKS}\'",
    f'c = """{MARKS} \\" "" \\\\\n{MARKS}"""""',
    f"d = '''{MARKS} ''\n{MARKS}'''''",
    "e = 1979-05-27T07:32:00.5",
    f'"{MARKS}" = [{", ".join(["1.5"] * 20)}]',
]


def test_marks_in_text_and_comments_are_not_depth(tmp_path: Path) -> None:
    text = "\n".join(SHALLOW)
    (tmp_path / "a.toml").write_text(text, encoding="utf-8")
    assert toml.load(tmp_path / "a.toml") == tomllib.loads(text)


def test_what_is_too_deep_to_be_read_is_not_written() -> None:
    deep: object = 1
    for _ in range(17):
        deep = [deep]
    with pytest.raises(QueryError, match="cannot be written as TOML"):
        toml.dumps({"a": deep})


def test_text_that_is_no_unicode_is_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    path = bs.write_spec(bs.load_spec("additive"), tmp_path / "mine.toml")
    before = path.read_bytes()
    with pytest.raises(QueryError, match="cannot be written as TOML"):
        bs.write_spec(replace(bs.load_spec("additive"), title="\ud800"), path)
    assert path.read_bytes() == before


def test_a_spec_that_cannot_be_moved_into_place_leaves_the_old_one(tmp_path: Path, monkeypatch) -> None:
    path = bs.write_spec(bs.load_spec("additive"), tmp_path / "mine.toml")
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(QueryError, match="No space left"):
        bs.write_spec(bs.load_spec("coupled"), path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["mine.toml"]


def test_learn_refuses_a_title_that_cannot_be_written_before_any_fit(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("bayescale.transfer.learn.study", None)  # nothing may be fitted
    command = ["learn", "open-families", "--out", str(tmp_path / "mine.toml"), "--title", "\ud800"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_floats_are_written_to_so_many_digits() -> None:
    assert tomllib.loads(toml.dumps({"a": 0.123456789, "b": [2 / 3]}, digits=3)) == {"a": 0.123, "b": [0.667]}
