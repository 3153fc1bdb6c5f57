"""Files are written completely or not at all, and leave nothing behind."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from bayescale.core import jsons
from bayescale.core.files import atomic_write


def test_what_a_dead_process_left_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / ".x.partial").write_text("half a fi", encoding="utf-8")
    with atomic_write(tmp_path / "x") as temporary:
        assert temporary == tmp_path / ".x.partial"
        temporary.write_text("new", encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_text(encoding="utf-8") == "new"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), ValueError("odd")])
def test_an_exception_keeps_the_earlier_file(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "x").write_text("old", encoding="utf-8")

    def interrupted() -> None:
        with atomic_write(tmp_path / "x") as temporary:
            temporary.write_text("new", encoding="utf-8")
            raise error

    with pytest.raises(type(error)):
        interrupted()
    assert [(path.name, path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()] == [("x", "old")]


def test_two_writers_of_one_file_write_one_after_another(tmp_path: Path) -> None:
    def write(text: str) -> None:
        for _ in range(20):
            with atomic_write(tmp_path / "x") as temporary:
                for character in text:
                    with temporary.open("a", encoding="utf-8") as file:
                        file.write(character)
                    time.sleep(0)

    threads = [threading.Thread(target=write, args=(letter * 50,)) for letter in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "x").read_text(encoding="utf-8") in ("a" * 50, "b" * 50)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_link_in_place_of_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("keep", encoding="utf-8")
    os.symlink(tmp_path / "victim", tmp_path / ".x.partial")
    with atomic_write(tmp_path / "x") as temporary:
        temporary.write_text("new", encoding="utf-8")
    assert (tmp_path / "victim").read_text(encoding="utf-8") == "keep"
    assert (tmp_path / "x").read_text(encoding="utf-8") == "new"


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100 + "1" + "}" * 100, "[" * 50 + "]" * 50])
def test_deep_json_is_not_parsed(text: str) -> None:
    with pytest.raises(ValueError, match="nested"):
        jsons.loads(text)


def test_marks_inside_text_are_no_depth() -> None:
    text = '["' + "[" * 1000 + '\\"' + "{" * 1000 + '"]'
    assert jsons.loads(text) == ["[" * 1000 + '"' + "{" * 1000]
