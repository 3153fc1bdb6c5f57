"""Specs that once ended in a traceback, hung, or changed when they were written and read again."""

from __future__ import annotations

from pathlib import Path

import pytest

import bayescale as bs
from bayescale.core.errors import BayescaleError

CASES = sorted((Path(__file__).parents[1] / "cases" / "specs").glob("*.toml"))
VALID = {"differs.toml", "unreadable.toml"}
"""Ends of the names of valid specs; the other files are refused."""


def test_there_are_cases() -> None:
    assert len(CASES) == 10


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_spec_that_once_failed_is_refused_or_survives_writing(path: Path, tmp_path: Path) -> None:
    if path.name.rpartition("__")[2] in VALID:
        spec = bs.load_spec(path)
        again = bs.load_spec(bs.write_spec(spec, tmp_path / path.name))
        assert again.to_dict() == spec.to_dict()
    else:
        with pytest.raises(BayescaleError, match=r"(?i)spec|toml"):
            bs.load_spec(path)
