"""Mutation testing: change the code of a module in one place after another, and see whether its tests fail.

    python tests/mutation/mutate.py [MODULE …] [--sample 200] [--seed 0]

A module is one of :data:`TESTS`. The mutants are cosmic-ray's, without those of annotations, which no code reads. All
are judged in one process, so that imports, fits and compiled programs are made once: what a mutant defines takes the
place of what the module defined, in every module that imported it, and no file is changed. It prints each mutant that
the tests did not find, and then the share that they found, with its standard error if it is a sample.
``survivors.md`` says why those that are known are not found.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import math
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
_COMPILES = "test_the_search_does_not_end_where_the_noise_of_a_family_vanishes"  # half a minute, for each mutant anew
TESTS = {
    "bayescale/evaluation/scores.py": ["tests/evaluation/test_scores.py"],
    "bayescale/inference/preconditioner.py": [
        "tests/inference/test_preconditioner.py",
        f"--deselect=tests/inference/test_preconditioner.py::{_COMPILES}",
    ],
    "bayescale/inference/weights.py": ["tests/inference/test_weights.py"],
    "bayescale/decisions/amounts.py": ["tests/decisions/test_amounts.py"],
    "bayescale/decisions/costs.py": ["tests/decisions/test_costs.py"],
    "bayescale/decisions/rules.py": ["tests/decisions/test_rules.py"],
    "bayescale/decisions/surface.py": ["tests/decisions/test_surface.py"],
    "bayescale/decisions/thinned.py": ["tests/decisions/test_thinned.py"],
    "bayescale/decisions/waste.py": ["tests/decisions/test_waste.py"],
}
"""The tests of each module: those that fail first if it is wrong, and end in seconds.

Their fixtures of a wider scope than a test are made before the first mutant, and must not depend on the module.
"""
_PATIENCE_S = 60  # of the processor; the tests of a module need a few: a mutant that takes longer hangs, and is found


def annotated(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Start and end of every annotation: line, and column."""
    found: list[ast.expr | None] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.AnnAssign | ast.arg):
            found.append(node.annotation)
        elif isinstance(node, ast.FunctionDef):
            found.append(node.returns)
    return [((x.lineno, x.col_offset), (x.end_lineno or 0, x.end_col_offset or 0)) for x in found if x]


def mutations(module: str, sample: int | None, seed: int) -> list[Any]:
    """List the mutations of a module, or a random sample, without those of annotations."""
    from cosmic_ray.commands import init
    from cosmic_ray.work_db import WorkDB

    outside = annotated((ROOT / module).read_text(encoding="utf-8"))
    db = WorkDB(":memory:", WorkDB.Mode.create)
    init([ROOT / module], db, {})
    found = sorted((item.mutations[0] for item in db.work_items), key=lambda x: (x.start_pos, x.operator_name))
    found = [x for x in found if not any(a <= tuple(x.start_pos) < b for a, b in outside)]
    return found if sample is None or sample >= len(found) else random.Random(seed).sample(found, sample)


@contextmanager
def in_place_of(real: ModuleType, source: str) -> Iterator[None]:
    """Run a changed source in a module, and let every module that imported from it see what it now defines."""
    was, seen = dict(vars(real)), list[tuple[dict[str, Any], str, Any]]()
    own = {id(value): name for name, value in was.items() if getattr(value, "__module__", None) == real.__name__}
    try:
        exec(compile(source, str(real.__file__), "exec"), vars(real))
        for space in [vars(module) for module in list(sys.modules.values()) if module is not real]:
            seen += [(space, name, value) for name, value in space.items() if id(value) in own]
        for space, name, value in seen:
            space[name] = vars(real)[own[id(value)]]
        yield
    finally:
        vars(real).update(was)
        for space, name, value in seen:
            space[name] = value


class Judge:
    """A plugin of pytest that runs the tests once for each mutant."""

    def __init__(self, module: str, given: argparse.Namespace) -> None:
        self.module, self.given, self.number = module, given, -1
        self.found = mutations(module, given.sample, given.seed)

    def passes(self, items: list[pytest.Item]) -> bool:
        """Whether all tests pass; it stops at the first that fails, and keeps the fixtures of modules."""
        from _pytest.runner import runtestprotocol

        following = [*items[1:], items[0]]
        return all(
            report.passed
            for item, after in zip(items, following, strict=True)
            for report in runtestprotocol(item, log=False, nextitem=after)
        )

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Judge every mutant."""
        from cosmic_ray.mutating import mutate_code
        from cosmic_ray.plugins import get_operator

        real = sys.modules[self.module.removesuffix(".py").replace("/", ".")]
        source = (ROOT / self.module).read_text(encoding="utf-8")
        for text in (source, source + "\n"):  # the second time with the fixtures that are kept
            with in_place_of(real, text):
                if not self.passes(session.items):
                    raise pytest.UsageError(f"the tests of {self.module} fail without a mutation")
        for number in range(self.given.first, len(self.found)):
            self.number, mutation = number, self.found[number]
            operator = get_operator(mutation.operator_name)(**(mutation.operator_args or {}))
            text = mutate_code(source, operator, mutation.occurrence)
            threading.Thread(target=self.watch, args=(number,), daemon=True).start()
            with suppress(Exception), in_place_of(real, text):  # a module that cannot be run is found, too
                if self.passes(session.items):
                    self.given.missed += 1
                    lines = difflib.unified_diff(source.splitlines(), text.splitlines(), n=0, lineterm="")
                    print(f"\n{mutation.operator_name} survived", *list(lines)[2:], sep="\n", flush=True)
        self.number = -1
        count, missed = len(self.found), self.given.missed
        error = math.sqrt(missed * (count - missed) / count**3) if self.given.sample else 0.0
        print(f"\n{self.module}: {count} mutants, {1 - missed / count:.1%} ± {error:.1%} found", flush=True)
        return True

    def watch(self, number: int) -> None:
        """Begin anew after a mutant that hangs: nothing else ends a loop of a compiled program."""
        began = time.process_time()
        while self.number == number:
            if time.process_time() - began > _PATIENCE_S:
                state = ["--first", str(number + 1), "--missed", str(self.given.missed)]
                os.execv(sys.executable, [sys.executable, *sys.argv, *state])
            time.sleep(0.5)


def main() -> int:
    """Parse the command line, run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", choices=[*TESTS, []], metavar="MODULE")
    parser.add_argument("--sample", type=int, help="mutants of each module, chosen at random; by default all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--missed", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if len(given.modules) != 1:  # each in a process of its own
        options = ["--seed", str(given.seed), *(["--sample", str(given.sample)] if given.sample else [])]
        return max(subprocess.call([sys.executable, __file__, one, *options]) for one in given.modules or TESTS)
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    (module,) = given.modules
    return pytest.main(["-q", "-s", "-n", "0", "-p", "no:cacheprovider", *TESTS[module]], [Judge(module, given)])


if __name__ == "__main__":
    sys.exit(main())
