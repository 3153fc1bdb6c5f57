"""Outputs that cannot take what is printed: a full disk, a small encoding, a home without room."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import bayescale as bs
from bayescale.cli.printing import write_csv
from bayescale.core.errors import QueryError

FORECAST = ("forecast", "fit.nc", "--params", "7B", "--tokens", "1T")


def run(*args: str, here: Path, stdout: str = "out.txt", **env: str) -> subprocess.CompletedProcess:
    """Run the command line in a process of its own."""
    with (here / stdout).open("w") as file:
        return subprocess.run(
            [sys.executable, "-m", "bayescale", *args], cwd=here, env=os.environ | env, stdout=file,
            stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("args", [("show", "laws"), ("--help",), ("explain", "regret")])
def test_a_full_output_is_a_message(args: tuple[str, ...], tmp_path: Path) -> None:
    done = run(*args, here=tmp_path, stdout="/dev/full")
    assert (done.returncode, done.stderr) == (2, "bayescale: cannot write the output: No space left on device\n")


def test_a_terminal_of_few_characters_shows_question_marks(tmp_path: Path, chinchilla_fit: bs.Fit) -> None:
    chinchilla_fit.save(tmp_path / "fit.nc")
    done = run(*FORECAST, here=tmp_path, PYTHONIOENCODING="latin-1")
    assert done.returncode == 0, done.stderr
    printed = (tmp_path / "out.txt").read_text(encoding="latin-1")
    assert "7.00B params" in printed
    assert "10×" in printed  # what the encoding has is kept


def test_a_home_that_cannot_be_written_costs_the_cache_only(tmp_path: Path, chinchilla_fit: bs.Fit) -> None:
    chinchilla_fit.save(tmp_path / "fit.nc")
    nowhere = str(tmp_path / "out.txt" / "home")  # below a file
    done = run(*FORECAST, here=tmp_path, HOME=nowhere, XDG_CACHE_HOME=nowhere, BAYESCALE_CACHE=nowhere)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("no cache of compiled programs") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("number", "hint"),
    [(errno.ENOENT, "a folder that exists"), (errno.EISDIR, "name a file"), (errno.EROFS, "can be written"),
     (errno.ENOSPC, "free space"), (errno.EDQUOT, "free space"), (errno.EIO, "can be written")],
)  # fmt: skip
def test_a_file_that_cannot_be_written_says_why_and_what_to_do(
    number: int, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), ".table.csv.partial")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(QueryError, match=hint) as raised:
        write_csv(pd.DataFrame({"x": [1]}), tmp_path / "table.csv")
    assert os.strerror(number) in str(raised.value)
    assert "partial" not in str(raised.value)  # the file that was asked for is named
    assert list(tmp_path.iterdir()) == []
