"""A command that is interrupted or takes too long ends soon, with a code of its own, and writes nothing by halves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
