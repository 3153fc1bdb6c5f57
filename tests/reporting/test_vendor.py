"""The script that a report contains is the one whose licence, versions and digest are stated next to it."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from bayescale.core import toml

VENDOR = files("bayescale.reporting") / "vendor"


def test_the_script_and_its_entry_have_the_stated_digests() -> None:
    about = toml.load(VENDOR / "d3lite.toml")
    for name, key in (("d3lite.js", "sha256"), ("d3lite.entry.js", "entry_sha256")):
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == about[key]


def test_the_licence_names_every_module() -> None:
    about, licence = toml.load(VENDOR / "d3lite.toml"), (VENDOR / "d3lite.LICENSE.txt").read_text("utf-8")
    assert all(name in licence for name in about["modules"])
    assert "Permission to use, copy, modify" in licence
    readme = (VENDOR / "README.md").read_text("utf-8")
    direct = [f"{name}@{version}" for name, version in about["modules"].items() if f"{name}@" in readme]
    assert len(direct) == 6
    assert all(one in readme for one in direct)


def test_the_script_can_stand_in_a_page() -> None:
    assert "</script" not in (VENDOR / "d3lite.js").read_text("utf-8").lower()
