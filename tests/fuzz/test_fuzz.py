"""A few malformed inputs of every kind, as `make fuzz` runs them by the thousand."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from harness import SHORT, ignore_overflow, outcome

import bayescale as bs

HERE = Path(__file__).parent
SEED = int(os.environ.get("BAYESCALE_FUZZ_SEED", "7"))  # another seed makes other inputs
CASES = {"tables": 60, "specs": 40, "frames": 60, "records": 40, "fits": 10, "digests": 6}


@pytest.fixture(scope="session")
def kept(chinchilla_fit: bs.Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good fit, next to which cases are made."""
    folder = tmp_path_factory.mktemp("fuzz")
    chinchilla_fit.save(folder / "good-fit.nc")
    return folder


@pytest.mark.parametrize("kind", CASES)
def test_a_malformed_input_is_refused_or_read_as_it_is(kind: str, kept: Path) -> None:
    make = importlib.import_module(f"fuzz_{kind}").make
    folder = kept / kind
    folder.mkdir()
    with warnings.catch_warnings():
        ignore_overflow()
        found = [outcome(make, SEED, case, folder) for case in range(CASES[kind])]
    assert [one for one in found if one.kind == SHORT] == []
    assert len({one.kind for one in found}) == 2  # some are refused, some are accepted


def test_a_killed_process_and_a_full_disk_lose_nothing(kept: Path) -> None:
    args = [sys.executable, HERE / "run.py", "kills", "disks", "--cases", "4", "--seed", str(SEED),
            "--fit", kept / "good-fit.nc"]  # fmt: skip
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("4 tried") == 2


@pytest.mark.slow
def test_a_sweep_that_is_killed_or_made_twice_ends_with_every_fit() -> None:
    args = [sys.executable, HERE / "run.py", "sweeps", "--cases", "10", "--seed", str(SEED)]
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 tried, 10 accepted" in done.stdout
