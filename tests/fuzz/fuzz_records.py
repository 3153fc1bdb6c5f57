"""Malformed files that bayescale reads back: records of backtests and of calibration, cards, and the cache."""

from __future__ import annotations

import hashlib
import json
import pickle
import random
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

from fuzz_specs import VALUES, toml
from fuzz_tables import as_text, good
from harness import Case, Shortfall, changed_bytes, changed_values, command

import bayescale as bs
from bayescale.core import shipped
from bayescale.inference import aot
from bayescale.prediction.records import HORIZONS, load_record


def _changed(source: Path, rng: random.Random) -> tuple[str, bytes]:
    if rng.random() < 0.4:
        return changed_bytes(source.read_bytes(), rng)
    values = tomllib.loads(source.read_text(encoding="utf-8"))
    label = changed_values(values, VALUES, rng)
    return label, toml(values)


def _backtests(rng: random.Random, folder: Path) -> Case:
    label, content = _changed(shipped.folder("models") / "backtests" / "additive-unpooled.toml", rng)
    path = folder / "record.toml"
    path.write_bytes(content)

    def use() -> None:
        record = load_record(path)
        for horizon in HORIZONS:
            covered, count, families, _ = record.measured(horizon)
            if count and not (0 <= covered <= 1 and 0 <= families <= count):
                raise Shortfall("a coverage that is no share")

    return Case(f"backtests: {label}", use)


def _calibration(rng: random.Random, folder: Path) -> Case:
    label, content = _changed(shipped.folder("models") / "calibration" / "additive.toml", rng)
    (folder / "calibration").mkdir(exist_ok=True)
    shutil.copy(shipped.locate("models", "additive"), folder / "mine.toml")
    (folder / "calibration" / "mine.toml").write_bytes(content)
    args = ("--json",) * rng.randrange(2)
    return Case(f"calibration: {label}", lambda: command("show", "models", folder / "mine.toml", *args))


def _card(rng: random.Random, folder: Path) -> Case:
    label, content = _changed(shipped.folder("data") / "hoffmann2022" / "card.toml", rng)
    home = folder / "mine"
    home.mkdir(exist_ok=True)
    (home / "runs.csv").write_bytes(as_text(good()))
    (home / "card.toml").write_bytes(content)

    def use() -> None:
        runs = bs.load_runs(home)
        repr(runs), json.dumps({key: str(value) for key, value in runs.card.items()})
        command("validate", home)

    return Case(f"card: {label}", use)


def _signed(content: bytes) -> bytes:
    return hashlib.sha256(content).digest() + content


def _trace(rng: random.Random, folder: Path) -> Case:
    """A trace in the cache: whatever it holds, the function is compiled and gives the same numbers."""
    path, odd = (
        folder / "trace",
        rng.choice(
            [
                b"",
                b"x",
                _signed(b""),
                _signed(pickle.dumps(None)),
                _signed(pickle.dumps("text")),
                _signed(pickle.dumps((b"x", None))),
                _signed(b"cno_such_module\nThing\n."),
                _signed(pickle.dumps([1, 2])),
                _signed(pickle.dumps((b"", ()))),
                rng.randbytes(rng.randrange(300)),
                _signed(rng.randbytes(rng.randrange(300))),
            ]
        ),
    )
    path.write_bytes(odd)

    def use() -> None:
        if aot._read(path) is not None:
            raise Shortfall("a damaged trace is used")

    return Case(f"trace: {odd[:20]!r}", use)


_MAKERS: tuple[Callable[[random.Random, Path], Case], ...] = (_backtests, _calibration, _card, _trace)


def make(rng: random.Random, folder: Path) -> Case:
    """A malformed record, card or entry of the cache, read as bayescale reads it."""
    return rng.choice(_MAKERS)(rng, folder)
