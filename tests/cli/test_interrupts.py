"""A command that is interrupted or takes too long ends soon, with a code of its own, and writes nothing by halves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from bayescale.cli import main
from bayescale.cli.interrupts import INTERRUPTED, TIMED_OUT

FIT = ("fit", "open-families", "--model", "default", "--out", "fit.nc")  # minutes


def started(*args: str, here: Path) -> subprocess.Popen:
    """Start the command line in a process of its own, without a cache, so that it compiles for long."""
    return subprocess.Popen([sys.executable, "-m", "bayescale", *args], cwd=here, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, env=os.environ | {"BAYESCALE_CACHE": ""})  # fmt: skip


@pytest.mark.parametrize("wait", [2.0, 9.0])
def test_an_interrupt_ends_a_fit(wait: float, tmp_path: Path) -> None:
    with started(*FIT, here=tmp_path) as process:
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (INTERRUPTED, "")
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_timeout_ends_a_fit(tmp_path: Path) -> None:
    with started("--timeout", "3", *FIT, here=tmp_path) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (TIMED_OUT, "")
    assert err.endswith("bayescale: ended after --timeout 3 s\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seconds", ["nan", "inf", "1e300", "0"])
def test_a_timeout_is_a_number_of_seconds_that_can_be_waited(seconds: str) -> None:
    done = CliRunner().invoke(main, ["--timeout", seconds, "explain", "regret"])
    assert done.exit_code == 2
    assert "--timeout" in done.stderr


IN_A_COLLECTION = """
import gc, signal, time
from bayescale.cli.interrupts import ended_by_interrupt

def interrupt(phase, info):
    gc.callbacks.remove(interrupt)
    signal.raise_signal(signal.SIGINT)

with ended_by_interrupt():
    gc.callbacks.append(interrupt)
    gc.collect()
    time.sleep(60)
"""


def test_an_interrupt_ends_a_process_that_collects_garbage() -> None:
    """Python ignores what is raised in a callback of a collection, and JAX has such a callback."""
    done = subprocess.run([sys.executable, "-c", IN_A_COLLECTION], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, "", "")


OF_WORKERS = """
import os, sys, time
from pathlib import Path
from bayescale.cli.interrupts import ended_by_interrupt
from bayescale.core.executors import Processes

def work(name):
    Path(name).write_text(str(os.getpid()))
    if name != "idle.pid":
        time.sleep(120)

if __name__ == "__main__":
    with ended_by_interrupt():
        dict(Processes(2).run(work, {name: {"name": name} for name in ("idle.pid", "busy.pid")}))
"""


@pytest.fixture
def at_work(tmp_path: Path) -> Iterator[tuple[subprocess.Popen, Callable[[], bool]]]:
    """A process with an idle worker and a busy one, and whether one of these two still lives."""
    (tmp_path / "of_workers.py").write_text(OF_WORKERS, encoding="utf-8")
    marks = [tmp_path / "idle.pid", tmp_path / "busy.pid"]
    with subprocess.Popen([sys.executable, "of_workers.py"], cwd=tmp_path, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, start_new_session=True) as process:  # fmt: skip
        until(lambda: all(mark.exists() and mark.read_text(encoding="utf-8") for mark in marks))
        time.sleep(0.5)  # until the one waits for another task
        yield process, lambda: any(Path(f"/proc/{mark.read_text(encoding='utf-8')}").exists() for mark in marks)


@pytest.mark.parametrize("whom", [os.killpg, os.kill], ids=["all of them", "the parent alone"])
def test_an_interrupt_ends_workers_in_silence(whom, at_work) -> None:
    """A terminal sends Ctrl-C to the workers too."""
    process, alive = at_work
    whom(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)  # until the last of those who hold the pipes has ended
    assert (process.returncode, out, err) == (INTERRUPTED, "", "")
    until(lambda: not alive())


def test_workers_end_with_a_parent_that_is_killed(at_work) -> None:
    process, alive = at_work
    process.kill()
    process.communicate(timeout=30)
    until(lambda: not alive())


def until(happened: Callable[[], bool]) -> None:
    for _ in range(300):
        if happened():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen within half a minute")
