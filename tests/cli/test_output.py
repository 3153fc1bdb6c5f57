"""Outputs that cannot take what is printed: a full disk, a small encoding, a home without room."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure

import bayescale as bs
from bayescale.cli import main
from bayescale.cli.printing import check_out, write_csv
from bayescale.core import progress, shipped
from bayescale.core.errors import QueryError
from bayescale.reporting.plots.figures import save

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


@pytest.fixture(scope="module")
def fit_file(drawn_fit: bs.Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_fit.save(tmp_path_factory.mktemp("fits") / "fit.nc")


@pytest.mark.parametrize("closed", [1, 2], ids=["standard output", "standard error"])
def test_a_closed_stream_ends_no_command(closed: int, tmp_path: Path) -> None:
    shell = f"exec '{sys.executable}' -m bayescale init runs.csv {closed}>&-"
    done = subprocess.run(["/bin/sh", "-c", shell], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("wrote runs.csv") == (closed != 1)
    assert (tmp_path / "runs.csv").is_file()


def test_a_working_folder_that_was_removed_is_a_message(fit_file: Path, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    shell = f"rmdir ../gone; exec '{sys.executable}' -m bayescale check '{fit_file}'"
    done = subprocess.run(["/bin/sh", "-c", shell], cwd=tmp_path / "gone", capture_output=True, text=True, check=False,
                          env=os.environ | {"PYTHONPATH": str(Path(bs.__file__).parents[1])})  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "bayescale: the working folder does not exist any more\n  hint:     change to another\n"


def test_a_wait_is_not_shown_where_there_is_no_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert not progress.on_terminal()


def test_figures_need_no_backend_that_draws_on_a_screen(fit_file: Path, tmp_path: Path) -> None:
    done = run("plot", str(fit_file), "loss", "--out", ".", here=tmp_path, MPLBACKEND="bogus")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_platform_that_is_not_here_is_a_message(fit_file: Path, tmp_path: Path) -> None:
    done = run("forecast", str(fit_file), *FORECAST[2:], here=tmp_path, JAX_PLATFORMS="nowhere")
    assert done.returncode == 2
    assert done.stderr.startswith("bayescale: Unable to initialize backend 'nowhere'")
    assert done.stderr.endswith("hint:     unset JAX_PLATFORMS, or name what this machine has: cpu\n")


@pytest.mark.skipif(not Path("/proc").exists(), reason="no folder that nobody can write to")
def test_a_figure_that_cannot_be_written_is_a_message(fit_file: Path) -> None:
    done = CliRunner().invoke(main, ["plot", str(fit_file), "loss", "--out", "/proc"])
    assert done.exit_code == 2
    assert done.stderr.startswith("bayescale: cannot write /proc/loss.png")


def test_a_figure_that_fails_keeps_the_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_text("old", encoding="utf-8")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    ax = Figure().subplots()
    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(QueryError, match="free space"):
        save(ax, tmp_path / "a.png")
    assert [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()] == ["old"]


def test_a_result_is_written_again_over_itself_and_into_a_pipe(fit_file: Path, tmp_path: Path) -> None:
    command = ["forecast", str(fit_file), *FORECAST[2:], "--out", str(tmp_path / "f.csv")]
    assert [CliRunner().invoke(main, command).exit_code for _ in range(2)] == [0, 0]
    os.mkfifo(tmp_path / "pipe")
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_text(encoding="utf-8")), daemon=True)
    reader.start()
    assert CliRunner().invoke(main, [*command[:-1], str(tmp_path / "pipe")]).exit_code == 0
    reader.join(timeout=10)
    assert got == [(tmp_path / "f.csv").read_text(encoding="utf-8")]
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize(
    ("kind", "path"),
    [("a calibration", shipped.locate("models", "additive").parent / "calibration" / "additive.toml"),
     ("a learned model", shipped.locate("models", "default"))],
    ids=["calibration", "learned"],
)  # fmt: skip
def test_what_a_command_wrote_may_be_written_again(kind: str, path: Path) -> None:
    check_out(path, kind=kind)
    with pytest.raises(QueryError, match="is not a fit"):
        check_out(path, kind="a fit")


@pytest.mark.parametrize("command", [("init", "-"), ("forecast", "fit.nc", "--params", "7B", "--out", "-")])
def test_a_dash_is_no_name_of_a_file(command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert "expected the name of a file, or /dev/stdout, got '-'" in done.stderr
    assert list(tmp_path.iterdir()) == []
