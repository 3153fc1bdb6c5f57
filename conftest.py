"""The fit of the README's example, for tests and for examples in docstrings; made once a session, with seed 0."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from xdist.scheduler import LoadFileScheduling

import bayescale as bs

FIRST = (
    "tests/transfer/test_learn.py", "tests/test_notebooks.py", "tests/reporting/test_choices.py",
    "tests/outside/test_custom_model.py", "tests/decisions/test_core.py",
)  # fmt: skip
"""Files that take longest. They are first, so that no worker waits for the last file of another."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first."""
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(FIRST)))


class ByPage(LoadFileScheduling):
    """Gives a worker all tests of a file; of the pages in a browser, all tests of a page, so that it is made once."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        if not file.endswith("test_browser.py"):
            return file
        page = nodeid.rstrip("]").rpartition("[")[2].rpartition("-")[2]  # the last of a test's parameters
        return f"{file} {page if page.isalpha() else 'additive'}"


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByPage | None:
    """The scheduler of `--dist loadfile`, which is the default here; another that is asked for stays."""
    return ByPage(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def chinchilla() -> bs.Runs:
    return bs.load_runs("hoffmann2022")


@pytest.fixture(scope="session")
def chinchilla_fit(chinchilla: bs.Runs) -> bs.Fit:
    """The additive law on all 245 runs."""
    return bs.fit(chinchilla, "additive", seed=0)


@pytest.fixture(autouse=True)
def example_names(request: pytest.FixtureRequest) -> None:
    """Names of a docstring's example: `bs`, `np`, `pd`, and `runs` and `fit` where a line that runs uses them."""
    if not isinstance(request.node, pytest.DoctestItem):
        return
    names = request.getfixturevalue("doctest_namespace")
    names |= {"bs": bs, "np": np, "pd": pd}
    lines = [example.source for example in request.node.dtest.examples if "SKIP" not in example.source]
    for name, fixture in (("runs", "chinchilla"), ("fit", "chinchilla_fit")):
        if any(re.search(rf"(?<![\w.]){name}\b(?! *[=(])", line) for line in lines):
            names[name] = request.getfixturevalue(fixture)
