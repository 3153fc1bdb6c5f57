"""Files are written completely or not at all, and leave nothing behind."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bayescale.core import files, jsons
from bayescale.core.errors import RunsError
from bayescale.core.files import atomic_write, kind_of


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


def test_a_link_stays_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "target").write_text("old", encoding="utf-8")
    (tmp_path / "link").symlink_to("far/target")
    (tmp_path / "dangling").symlink_to("far/fresh")
    for name in ("link", "dangling"):
        with atomic_write(tmp_path / name) as temporary:
            temporary.write_text("new", encoding="utf-8")
        assert (tmp_path / name).is_symlink()
    assert {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "far").iterdir()} == {
        "target": "new", "fresh": "new"}  # fmt: skip


def test_a_pipe_is_sent_what_was_written(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_text(encoding="utf-8")))
    reader.start()
    with atomic_write(tmp_path / "pipe") as temporary:
        temporary.write_text("table", encoding="utf-8")
    reader.join(timeout=10)
    assert received == ["table"]
    assert (tmp_path / "pipe").is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_terminal_is_sent_what_was_written() -> None:
    ours, terminal = os.openpty()  # a character device of our own
    with atomic_write(os.ttyname(terminal)) as temporary:
        temporary.write_text("table", encoding="utf-8")
    assert os.read(ours, 100) == b"table"
    assert stat.S_ISCHR(os.stat(os.ttyname(terminal)).st_mode)
    os.close(terminal)
    os.close(ours)


def test_an_output_that_is_a_file_keeps_what_is_printed(tmp_path: Path) -> None:
    script = """
from bayescale.core.errors import RunsError
from bayescale.core.files import atomic_write, kind_of
print("before", flush=True)
with atomic_write("/dev/stdout") as temporary:
    temporary.write_text("table\\n", encoding="utf-8")
print("after")
"""
    with (tmp_path / "out.txt").open("w") as file:
        subprocess.run([sys.executable, "-c", script], stdout=file, check=True)
    assert (tmp_path / "out.txt").read_text(encoding="utf-8") == "before\ntable\nafter\n"


def test_a_folder_and_a_socket_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "socket"))
        for name in ("folder", "socket"):
            with pytest.raises(OSError, match=name), atomic_write(tmp_path / name):
                raise AssertionError
        assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "socket"]


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100 + "1" + "}" * 100, "[" * 50 + "]" * 50])
def test_deep_json_is_not_parsed(text: str) -> None:
    with pytest.raises(ValueError, match="nested"):
        jsons.loads(text)


def test_marks_inside_text_are_no_depth() -> None:
    text = '["' + "[" * 1000 + '\\"' + "{" * 1000 + '"]'
    assert jsons.loads(text) == ["[" * 1000 + '"' + "{" * 1000]


def test_what_is_at_a_path_is_said_and_what_nobody_can_say_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to("circle")
    os.mkfifo(tmp_path / "pipe")
    found = {name: kind_of(tmp_path / name, RunsError) for name in ("", "file", "pipe", "none", "file/below")}
    assert list(found.values()) == ["folder", "file", "pipe", "", ""]
    for name in ("circle", "a" * 300, "a\0b"):
        with pytest.raises(RunsError, match=r"cannot be read\n(?s:.*)got: (?s:.*)choose another path"):
            kind_of(tmp_path / name, RunsError)


def _written(path: Path) -> int:
    with atomic_write(path) as temporary:
        temporary.write_text("new", encoding="utf-8")
        while_written = stat.S_IMODE(temporary.stat().st_mode)
    found = stat.S_IMODE(path.stat().st_mode)
    assert while_written == found | stat.S_IRUSR | stat.S_IWUSR
    return found


@pytest.mark.parametrize("left", [False, True], ids=["", "left by a dead process"])
@pytest.mark.parametrize("locks", [True, False])
def test_a_new_file_has_the_permissions_that_the_process_gives(
    locks: bool, left: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_LOCKS", locks)
    before = os.umask(0o077)
    try:
        if left:
            (tmp_path / ".a.partial").touch()
        assert _written(tmp_path / "a") == 0o600
        os.umask(0o022)
        assert _written(tmp_path / "b") == 0o644
        if left:
            (tmp_path / ".c.partial").touch(0o600)
        assert _written(tmp_path / "c") == 0o644
    finally:
        os.umask(before)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
def test_a_file_that_is_replaced_keeps_its_permissions(mode: int, tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    (tmp_path / "x").chmod(mode)
    assert _written(tmp_path / "x") == mode
