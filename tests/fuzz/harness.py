"""One harness of every kind of malformed input: what a case is, when it falls short, and how cases are run.

A case falls short if it raises anything but bayescale's own errors, runs longer than its limit, accepts something and
writes back something else, or answers with NaN and success.
"""

from __future__ import annotations

import copy
import math
import random
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from click.testing import CliRunner, Result

from bayescale.cli import main
from bayescale.core.errors import BayescaleError

LIMIT_S = 60.0
"""Seconds of a case: none should take one, but machines are busy."""
ACCEPTED, REFUSED, SHORT = "accepted", "refused", "fell short"


class Shortfall(Exception):
    """An answer that is wrong, without an exception."""


class Case(NamedTuple):
    """A malformed input: its description, and a function that uses it."""

    label: str
    run: Callable[[], object]


@dataclass(frozen=True)
class Outcome:
    """What came of a case."""

    case: int
    label: str
    kind: str
    detail: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


Maker = Callable[[random.Random, Path], Case]
"""Makes a case from random numbers, with its files in a folder."""


def outcome(make: Maker, seed: int, case: int, folder: Path) -> Outcome:
    """Make a case and run it. It depends on nothing but its kind, the seed and its number."""
    rng = random.Random(f"{seed} {case}")
    made = make(rng, folder)
    try:
        with limited(LIMIT_S):
            made.run()
    except BayescaleError as error:
        return Outcome(case, made.label, REFUSED, str(error).partition("\n")[0])
    except Shortfall as error:
        return Outcome(case, made.label, SHORT, str(error))
    except Exception as error:  # exactly what this looks for
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "/bayescale/" in f.filename]
        where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        return Outcome(case, made.label, SHORT, f"{type(error).__name__}{where}: {str(error)[:200]}")
    return Outcome(case, made.label, ACCEPTED)


def ignore_overflow() -> None:
    """Silence NumPy where a number that no run has overflows as it is cast; any other warning stays."""
    warnings.filterwarnings("ignore", "overflow encountered in cast", RuntimeWarning)


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """End the block with an exception if it takes too long."""

    def ended(*_: object) -> None:
        raise TimeoutError(f"more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ended)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def command(*args: object) -> Result:
    """Run a command, and raise what it should not have raised; exit codes 0, 1 and 2 are answers."""
    result = CliRunner().invoke(main, [str(one) for one in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code not in (0, 1, 2):
        raise Shortfall(f"exit code {result.exit_code}")
    if "Traceback" in result.output:
        raise Shortfall("a traceback in the output")
    return result


def numbers(thing: Any) -> Iterator[Any]:
    """Every number in plain values, and every None, which stands for NaN in JSON."""
    if isinstance(thing, dict):
        for value in thing.values():
            yield from numbers(value)
    elif isinstance(thing, list):
        for value in thing:
            yield from numbers(value)
    elif thing is None or isinstance(thing, int | float):
        yield thing


def finite(values: Any) -> bool:
    """Whether all numbers in plain values are finite."""
    return all(value is not None and math.isfinite(value) for value in numbers(values))


def changed_bytes(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Change a file as bytes: flips, cuts, insertions, repeats, swaps, other encodings."""
    data, how = bytearray(content), rng.choice(_BYTES)
    at = rng.randrange(len(data)) if data else 0
    if how == "flip":
        data[at] ^= 1 << rng.randrange(8)
    elif how == "flips":
        for _ in range(rng.randrange(2, 40)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif how == "cut":
        del data[at:]
    elif how == "delete":
        del data[at : at + rng.randrange(1, 60)]
    elif how == "insert":
        data[at:at] = rng.choice([b"\x00", b"[", b'"', b"{", b",", b"\r", b"nan", b"-", rng.randbytes(20)])
    elif how == "repeat":
        data[at:at] = data[at : at + 200] * rng.randrange(1, 4)
    elif how == "zeros":
        data[at : at + 64] = bytes(len(data[at : at + 64]))
    elif how == "random":
        data = bytearray(rng.randbytes(rng.randrange(3000)))
    elif how == "append":
        data += rng.randbytes(rng.randrange(1, 100))
    else:
        data = bytearray()
    return f"bytes: {how}", bytes(data)


_BYTES = ("flip", "flip", "flips", "flips", "cut", "delete", "insert", "repeat", "zeros", "random", "append", "empty")


def places(thing: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values in plain values, except the root."""
    if path:
        yield path
    for key, value in thing.items() if isinstance(thing, dict) else enumerate(thing) if isinstance(thing, list) else ():
        yield from places(value, (*path, key))


def changed_values(content: Any, values: list[Any], rng: random.Random) -> str:
    """Change plain values in place at one to three places: another value, none, or one more key."""
    said = []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        path = rng.choice(list(places(content)) or [()])
        if not path:
            break
        at = content
        for key in path[:-1]:
            at = at[key]
        how, value = rng.choice(["set", "set", "set", "drop", "add"]), copy.deepcopy(rng.choice(values))
        if how == "drop":
            del at[path[-1]]
        elif how == "add" and isinstance(at, dict):
            at[rng.choice(["x", "", "name", "__class__", "spec"])] = value
        else:
            at[path[-1]] = value
        said.append(f"{how} {'.'.join(map(str, path))[:40]} {str(value)[:20]!r}")
    return "; ".join(said)
