"""Mutation testing: change the code of a module in one place after another, and see whether its tests fail.

    python tests/mutation/mutate.py [MODULE …]

A module is one of :data:`TESTS`. The mutants are cosmic-ray's. They are made in a copy of the repository, so that the
tree stays as it is. It prints the share of mutants that the tests found, and each that they did not.
"""

from __future__ import annotations

import argparse
import json
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


def mutated(module: str, tests: list[str], folder: Path) -> list[dict[str, Any]]:
    """Run the tests on every mutant of a module; one dict a mutant, with its outcome and its change."""
    command = f"{sys.executable} -m pytest -q -x -n 0 -p no:cacheprovider {' '.join(tests)}"
    (folder / "mutation.toml").write_text(
        f'[cosmic-ray]\nmodule-path = "{module}"\ntimeout = {_PATIENCE_S}\nexcluded-modules = []\n'
        f'test-command = "{command}"\n\n[cosmic-ray.distributor]\nname = "local"\n',
        encoding="utf-8",
    )
    session = folder / "session.sqlite"
    session.unlink(missing_ok=True)
    tool = [sys.executable, "-m", "cosmic_ray.cli"]
    for step in (["baseline", "mutation.toml"], ["init", "mutation.toml", session.name],
                 ["exec", "mutation.toml", session.name]):  # fmt: skip
        subprocess.run([*tool, *step], cwd=folder, check=True)
    said = subprocess.run([*tool, "dump", session.name], cwd=folder, check=True, capture_output=True, text=True)
    pairs = map(json.loads, said.stdout.splitlines())
    return [{"mutation": item["mutations"][0], **(result or {})} for item, result in pairs]


def main() -> int:
    """Parse the command line, run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", choices=[*TESTS, []], metavar="MODULE")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = copied(Path(made))
        for module in given.modules or TESTS:
            found = mutated(module, TESTS[module], folder)
            alive = [one for one in found if one.get("test_outcome") == "survived"]
            print(f"{module}: {len(found)} mutants, {1 - len(alive) / max(len(found), 1):.1%} found", flush=True)
            for one in alive:
                print("  survived:", one["mutation"].get("operator_name"), one["mutation"].get("start_pos"))
                print(*(f"    {line}" for line in (one.get("diff") or "").splitlines()[2:]), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
