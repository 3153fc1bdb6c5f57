"""The house: eleven packages at the top, and a fit that enters five of them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import bayescale as bs

PACKAGES = {"cli", "core", "decisions", "evaluation", "inference", "modelling", "parts", "prediction", "reporting",
            "runs", "transfer"}  # fmt: skip
OF_A_FIT = {"core", "inference", "modelling", "parts", "runs"}


def test_the_top_level_is_the_packages_and_the_two_entries() -> None:
    home = Path(bs.__file__).parent
    found = {path.name for path in home.iterdir() if path.name not in ("__pycache__", "py.typed")}
    assert found == {*PACKAGES, "__init__.py", "__main__.py"}


def test_a_fit_enters_five_packages(chinchilla: bs.Runs) -> None:
    entered = set()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        package, _, room = frame.f_globals.get("__name__", "").partition(".")
        if event == "call" and package == "bayescale":
            entered.add(room.partition(".")[0])

    spec = bs.load_spec("additive")
    with pytest.warns(bs.ConvergenceWarning):  # of 50 draws a chain
        bs.fit(chinchilla, spec, seed=0, draws=50, warmup=100)  # what is compiled once enters them too
    sys.setprofile(note)
    try:
        with pytest.warns(bs.ConvergenceWarning):
            bs.fit(chinchilla, spec, seed=0, draws=50, warmup=100)
    finally:
        sys.setprofile(None)
    assert entered - {""} == OF_A_FIT
