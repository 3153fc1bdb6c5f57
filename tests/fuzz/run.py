"""Run malformed inputs of every kind, and count those that fall short: ``make fuzz``.

    python tests/fuzz/run.py [KIND …] [--cases N] [--seed S] [--first I]

A kind runs in a process of its own, which is started again after a case that ended it or hung. The exit code is 1 if a
case fell short. ``--first I --cases 1`` runs case I alone.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

CASES = {
    "tables": 2000,
    "specs": 1000,
    "fits": 1000,
    "digests": 100,
    "records": 300,
    "frames": 100,
    "kills": 200,
    "sweeps": 200,
    "disks": 60,
}
"""Number of cases by kind."""
_PATIENCE_S = 300.0  # of the parent: longer than a case's own limit, and than the first compilation


def worker(kind: str, folder: Path, seed: int, first: int, last: int) -> None:
    """Run cases, and print the outcome of each as a line of JSON."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no outcome
    import importlib

    from harness import ignore_overflow, outcome

    ignore_overflow()

    make = importlib.import_module(f"fuzz_{kind}").make
    for case in range(first, last):
        print(json.dumps(outcome(make, seed, case, folder).to_dict()), file=out, flush=True)


def outcomes(kind: str, folder: Path, seed: int, first: int, last: int) -> list[dict[str, Any]]:
    """Return the outcome of every case, whether or not it ends its process or hangs."""
    found: list[dict[str, Any]] = []
    while first + len(found) < last:
        args = [sys.executable, __file__, "--worker", kind, str(folder), str(seed), str(first + len(found)), str(last)]
        with subprocess.Popen(args, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            while True:
                ready, _, _ = select.select([process.stdout], [], [], _PATIENCE_S)
                line = process.stdout.readline() if ready else ""
                if not line:
                    break
                found.append(json.loads(line))
            process.kill()
        if first + len(found) < last:
            ended = "hangs" if not ready else f"ends the process, code {process.returncode}"
            found.append({"case": first + len(found), "label": "", "kind": "fell short", "detail": ended})
    return found


def report(kind: str, found: list[dict[str, Any]], seconds: float) -> int:
    """Print how many cases fell short, and each distinct way once; return their number."""
    counts = Counter(one["kind"] for one in found)
    short = [one for one in found if one["kind"] == "fell short"]
    print(
        f"{kind}: {len(found)} tried, {counts['accepted']} accepted, {counts['refused']} refused, {len(short)} fell "
        f"short; {seconds:.0f} s",
        flush=True,
    )
    ways = Counter(one["detail"].split(": ")[0] for one in short)
    for way, count in ways.most_common():
        first = next(one for one in short if one["detail"].split(": ")[0] == way)
        print(f"  {count} × {first['detail']}\n      case {first['case']}: {first['label']}", flush=True)
    return len(short)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=list(CASES))
    parser.add_argument("--cases", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--fit", type=Path, help="a saved fit of one family, instead of a new one")
    asked = parser.parse_args()
    short = 0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        if asked.fit:
            shutil.copy(asked.fit, Path(name) / "good-fit.nc")
        for kind in asked.kinds:
            folder, started = Path(name) / kind, time.monotonic()
            folder.mkdir()
            found = outcomes(kind, folder, asked.seed, asked.first, asked.first + (asked.cases or CASES[kind]))
            short += report(kind, found, time.monotonic() - started)
    return short > 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], Path(sys.argv[3]), *map(int, sys.argv[4:]))
    else:
        sys.exit(main())
