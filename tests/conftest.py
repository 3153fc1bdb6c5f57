"""Fits that several tests share: each is made once a session, with a fixed seed."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

import bayescale as bs


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    """Close what a test has drawn: pyplot keeps figures, and warns of the twenty-first."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def pool() -> bs.Runs:
    return bs.load_runs("open-families")


@pytest.fixture(scope="session")
def trio(pool: bs.Runs) -> bs.Runs:
    """Three small families: enough for a hierarchy, quick to fit."""
    return pool.where(family=["OpenLM-C4", "OpenLM-RedPajama", "OpenLM-RefinedWeb"])


@pytest.fixture(scope="session")
def trio_fit(trio: bs.Runs) -> bs.Fit:
    """The additive law, partially pooled over three families."""
    return bs.fit(trio, "additive", seed=0)


@pytest.fixture(scope="session")
def comparison(pool: bs.Runs) -> bs.Comparison:
    """Two laws on one small family, and a spec that its table cannot feed."""
    runs = pool.where(family="OpenLM-C4")
    with pytest.warns(bs.ConvergenceWarning, match="FAILED: repetition: "):
        return bs.compare(runs, ["additive", "coupled", "repetition"], flops="1e23", seed=0, draws=500)
