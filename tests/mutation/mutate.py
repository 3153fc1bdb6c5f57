"""Mutation testing: change the code of a module in one place after another, and see whether its tests fail.

    python tests/mutation/mutate.py [MODULE …] [--sample 200] [--seed 0]

A module is one of :data:`TESTS`. The mutants are cosmic-ray's, without those of annotations, which no code reads. They
are made in a copy of the repository, so that the tree stays as it is. It prints the share of mutants that the tests
found, with its standard error if they are a sample, and each that they did not find.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TESTS = {
    "bayescale/evaluation/scores.py": ["tests/evaluation/test_scores.py"],
    "bayescale/inference/preconditioner.py": ["tests/inference/test_preconditioner.py"],
    "bayescale/decisions/surface.py": ["tests/decisions/test_surface.py"],
}
"""The tests of each module: those that fail first if it is wrong, and end in seconds."""

_COPIED = ("bayescale", "tests", "models", "data", "docs/glossary.md", "conftest.py", "pyproject.toml")
_PATIENCE_S = 150.0  # tests of a module end in seconds: a mutant that takes longer hangs, and counts as found


def copied(folder: Path) -> Path:
    """Copy what the tests need."""
    for name in _COPIED:
        to = folder / name
        to.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, to)
    return folder


def annotated(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Start and end of every annotation: line, and column."""
    found: list[ast.expr | None] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.AnnAssign | ast.arg):
            found.append(node.annotation)
        elif isinstance(node, ast.FunctionDef):
            found.append(node.returns)
    return [((x.lineno, x.col_offset), (x.end_lineno or 0, x.end_col_offset or 0)) for x in found if x]


def narrow(session: Path, source: str, sample: int | None, seed: int) -> None:
    """Skip mutants of annotations, and all but a random sample of the others."""
    from cosmic_ray.work_db import use_db
    from cosmic_ray.work_item import WorkerOutcome, WorkResult

    outside = annotated(source)
    with use_db(str(session)) as db:
        items = sorted(db.work_items, key=lambda item: (item.mutations[0].start_pos, item.mutations[0].operator_name))
        kept = [x for x in items if not any(a <= tuple(x.mutations[0].start_pos) < b for a, b in outside)]
        if sample is not None and sample < len(kept):
            kept = random.Random(seed).sample(kept, sample)
        ids = {item.job_id for item in kept}
        for item in items:
            if item.job_id not in ids:
                db.set_result(item.job_id, WorkResult(worker_outcome=WorkerOutcome.SKIPPED))


def mutated(
    module: str, tests: list[str], folder: Path, sample: int | None = None, seed: int = 0
) -> list[dict[str, Any]]:
    """Run the tests on mutants of a module; one dict a mutant, with its outcome and its change."""
    command = f"{sys.executable} -m pytest -q -x -n 0 -p no:cacheprovider {' '.join(tests)}"
    (folder / "mutation.toml").write_text(
        f'[cosmic-ray]\nmodule-path = "{module}"\ntimeout = {_PATIENCE_S}\nexcluded-modules = []\n'
        f'test-command = "{command}"\n\n[cosmic-ray.distributor]\nname = "local"\n',
        encoding="utf-8",
    )
    session = folder / "session.sqlite"
    session.unlink(missing_ok=True)
    tool = [sys.executable, "-m", "cosmic_ray.cli"]
    for step in (["baseline", "mutation.toml"], ["init", "mutation.toml", session.name]):
        subprocess.run([*tool, *step], cwd=folder, check=True)
    narrow(session, (folder / module).read_text(encoding="utf-8"), sample, seed)
    subprocess.run([*tool, "exec", "mutation.toml", session.name], cwd=folder, check=True)
    said = subprocess.run([*tool, "dump", session.name], cwd=folder, check=True, capture_output=True, text=True)
    pairs = map(json.loads, said.stdout.splitlines())
    return [
        {"mutation": item["mutations"][0], **result}
        for item, result in pairs
        if result and result["worker_outcome"] != "skipped"
    ]


def main() -> int:
    """Parse the command line, run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", choices=[*TESTS, []], metavar="MODULE")
    parser.add_argument("--sample", type=int, help="mutants of each module, chosen at random; by default all")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = copied(Path(made))
        for module in given.modules or TESTS:
            found = mutated(module, TESTS[module], folder, given.sample, given.seed)
            alive = [one for one in found if one.get("test_outcome") == "survived"]
            share = 1 - len(alive) / max(len(found), 1)
            error = math.sqrt(share * (1 - share) / max(len(found), 1)) if given.sample else 0.0
            print(f"{module}: {len(found)} mutants, {share:.1%} ± {error:.1%} found", flush=True)
            for one in alive:
                print("  survived:", one["mutation"].get("operator_name"), one["mutation"].get("start_pos"))
                print(*(f"    {line}" for line in (one.get("diff") or "").splitlines()[2:]), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
