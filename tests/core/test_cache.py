"""The cache folder: JAX's settings are the host's again, what is old or too much is removed, and it is optional."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
import warnings
import zlib
from pathlib import Path

import jax
import pytest
from click.testing import CliRunner

import bayescale as bs
from bayescale.cli import main
from bayescale.core import cache
from bayescale.inference.aot import use_cache

NAMES = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs",
         "jax_persistent_cache_min_entry_size_bytes", "jax_enable_x64")  # fmt: skip
BRIEF = {"chains": 2, "warmup": 50, "draws": 50, "seed": 0, "progress": False}


def settings() -> dict:
    return {name: getattr(jax.config, name) for name in NAMES}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    """A folder of its own, as the environment names it."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "kept"))
    cache._prepared.cache_clear()
    return tmp_path / "kept"


@pytest.mark.filterwarnings("ignore::bayescale.core.errors.ConvergenceWarning")  # fifty draws are few
def test_the_host_program_keeps_its_settings(chinchilla: bs.Runs, folder: Path) -> None:
    before = settings()
    fit = bs.fit(chinchilla, "additive", **BRIEF)
    assert settings() == before
    bs.forecast(fit, params="70B", tokens="1.4T")
    assert settings() == before
    assert cache.entries(folder)


def test_a_cache_that_the_host_has_set_is_used_and_left(tmp_path: Path, folder: Path) -> None:
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "host"))
    try:
        with use_cache():
            assert jax.config.jax_compilation_cache_dir == str(tmp_path / "host")
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "host")
    finally:
        jax.config.update("jax_compilation_cache_dir", None)


def test_scopes_may_be_nested_and_end_with_an_error(folder: Path) -> None:
    before = settings()

    def fail() -> None:
        with use_cache():
            with use_cache():
                assert jax.config.jax_compilation_cache_dir == str(folder)
            assert jax.config.jax_compilation_cache_dir == str(folder)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert settings() == before


def named(name: str) -> str:
    """Name of a file as JAX calls its own, or as traces are called."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"{cache.TRACES}/{digest}" if name.startswith(cache.TRACES) else f"jit_{name}-{digest}-cache"


def filled(folder: Path, ages_days: dict[str, float]) -> None:
    (folder / cache.TRACES).mkdir(parents=True)
    for name, age in ages_days.items():
        path = folder / named(name)
        path.write_bytes(zlib.compress(os.urandom(989)))  # 1000 bytes
        os.utime(path, (time.time() - age * 86400,) * 2)


AGES = {"new": 0.0, "week": 7.0, f"{cache.TRACES}/month": 29.0, f"{cache.TRACES}/old": 31.0}


def names(folder: Path) -> list[str]:
    return [entry.path.relative_to(folder).as_posix() for entry in cache.entries(folder)]


@pytest.mark.parametrize("clears", [cache.sweep, cache.clear])
def test_what_is_not_of_the_caches_stays(clears, folder: Path) -> None:
    """The folder may be named by a person, who has other things in it."""
    filled(folder, AGES)
    for name in ("thesis.tex", f"{cache.TRACES}/notes.txt", ".bashrc"):
        (folder / name).write_text("mine")
        os.utime(folder / name, (0, 0))
    clears(folder)
    assert {path.name for path in folder.rglob("*")} >= {"thesis.tex", "notes.txt", ".bashrc"}


def test_what_was_not_used_for_a_month_is_removed(folder: Path) -> None:
    filled(folder, AGES)
    assert cache.sweep(folder) == 1
    assert names(folder) == [named(name) for name in (f"{cache.TRACES}/month", "week", "new")]


def test_the_least_recently_used_go_first_where_it_is_too_much(folder: Path) -> None:
    filled(folder, AGES)
    assert cache.sweep(folder, most_bytes=2500) == 2
    assert names(folder) == [named("week"), named("new")]


def test_a_first_use_sweeps_and_a_second_on_the_same_day_does_not(folder: Path) -> None:
    filled(folder, AGES)
    assert cache.usable() == folder
    assert len(cache.entries(folder)) == 3
    old = folder / named("again")
    old.write_bytes(b"x")
    os.utime(old, (0, 0))
    cache._prepared.cache_clear()
    assert cache.usable() == folder
    assert old.exists()


CUT = {"empty": lambda code: b"", "cut": lambda code: code[:500], "junk": lambda code: b"x" * 1000,
       "flipped": lambda code: code[:500] + bytes([code[500] ^ 1]) + code[501:]}  # fmt: skip


@pytest.mark.parametrize("kind", CUT)
def test_an_entry_that_a_killed_process_left_cut_is_removed_by_the_next(kind: str, folder: Path) -> None:
    filled(folder, {"week": 7.0, "new": 0.0, f"{cache.TRACES}/new": 0.0})
    assert cache.usable() == folder
    assert len(cache.entries(folder)) == 3
    hurt = folder / named("new")
    hurt.write_bytes(CUT[kind](hurt.read_bytes()))
    assert cache.remove_cut(folder) == 1
    assert not hurt.exists()
    assert len(cache.entries(folder)) == 2


def test_entries_are_read_once(folder: Path, monkeypatch) -> None:
    filled(folder, {"week": 7.0, "hour": 1 / 24})
    read = []
    monkeypatch.setattr(cache, "_cut", lambda path: bool(read.append(path)))
    cache.remove_cut(folder)
    assert len(read) == 2
    cache.remove_cut(folder)
    assert len(read) == 2


def test_a_process_with_a_cut_program_compiles_it_without_a_warning_and_leaves_it_whole(folder: Path) -> None:
    """JAX neither writes its entries atomically nor replaces one: without help, each process would warn and compile."""
    code = "from bayescale.inference.aot import use_cache; import jax\nwith use_cache(): jax.jit(lambda x: x + 1)(2.0)"
    command = [sys.executable, "-W", "error", "-c", code]
    subprocess.run(command, check=True)
    entries = [entry.path for entry in cache.entries(folder)]
    assert entries
    contents = {path: path.read_bytes() for path in entries}
    for path in entries:
        path.write_bytes(contents[path][:100])
    subprocess.run(command, check=True)
    assert {path: len(path.read_bytes()) > 100 for path in entries} == dict.fromkeys(entries, True)


def test_an_entry_that_is_not_a_program_is_compiled_again_with_a_warning(folder: Path) -> None:
    """It is whole, so that nothing removes it: JAX reads it, says that it cannot, and the result is right."""
    code = "import jax; from bayescale.inference.aot import use_cache\nwith use_cache(): print(jax.jit(abs)(-3.0))"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "3.0\n"
    assert cache.entries(folder)
    for entry in cache.entries(folder):
        entry.path.write_bytes(zlib.compress(b"not a program" * 100))
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == "3.0\n"
    assert "Error reading persistent compilation cache entry" in done.stderr


def test_the_command_shows_and_clears(folder: Path) -> None:
    filled(folder, AGES)
    shown = json.loads(CliRunner().invoke(main, ["cache", "--json"]).stdout)
    assert (shown["folder"], shown["entries"], shown["megabytes"]) == (str(folder), 4, 0.004)
    assert shown["oldest_days"] == pytest.approx(31.0, abs=0.1)
    assert "removed 4 entries" in CliRunner().invoke(main, ["cache", "--clear"]).stdout
    assert not cache.entries(folder)


def test_the_command_counts_one_entry_in_the_singular(folder: Path) -> None:
    filled(folder, {"new": 0.0})
    assert ": 1 entry, " in CliRunner().invoke(main, ["cache"]).stdout
    assert "removed 1 entry\n" in CliRunner().invoke(main, ["cache", "--clear"]).stdout


def test_the_command_says_that_it_is_switched_off(monkeypatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, "")
    assert "switched off" in CliRunner().invoke(main, ["cache"]).stdout


def test_a_folder_that_cannot_be_made_is_said_once_and_done_without(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file" / "kept"))
    cache._prepared.cache_clear()
    before = settings()
    with pytest.warns(UserWarning, match="no cache of compiled programs"), use_cache():
        assert settings() == before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with use_cache():
            assert settings() == before


@pytest.mark.parametrize("place", ["", cache.TRACES])
@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_a_folder_that_others_can_write_is_not_used(place: str, mode: int, folder: Path) -> None:
    (folder / place).mkdir(mode=0o700, parents=True)
    (folder / place).chmod(mode)
    with pytest.warns(UserWarning, match="others can write to"):
        assert cache.usable() is None
    cache._prepared.cache_clear()
    (folder / place).chmod(0o700)
    assert cache.usable() == folder


def test_a_folder_of_another_user_is_not_used(folder: Path, monkeypatch) -> None:
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    if folder.stat().st_uid == 0:  # what root owns is trusted
        os.chown(folder, 12345, -1)
    with pytest.warns(UserWarning, match="belongs to another user"):
        assert cache.usable() is None


def test_a_folder_that_cannot_be_written_is_not_used(folder: Path, monkeypatch) -> None:
    folder.mkdir(mode=0o500)
    if os.geteuid() == 0:  # root can write everywhere
        monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    with pytest.warns(UserWarning, match="cannot be written"):
        assert cache.usable() is None
