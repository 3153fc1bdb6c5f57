"""Rules: thresholds of training compute, each with its status and date."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from bayescale.core.errors import QueryError, UnknownName
from bayescale.decisions.rules import STATUSES, rule, rules

OWN = '[house]\ntitle = "Board approval"\nflops = 1e24\nstatus = "in force"\nas_of = 2026-01-05\nsource = "the board"\n'


def test_thresholds_and_statuses() -> None:
    known = rules()
    assert {name: (one.flops, one.status) for name, one in known.items()} == {
        "eu-ai-act": (1e25, "in force"),
        "california-sb-53": (1e26, "in force"),
        "us-eo-14110": (1e26, "revoked"),
        "us-eo-14110-biology": (1e23, "revoked"),
        "california-sb-1047": (1e26, "vetoed"),
    }
    for one in known.values():
        assert isinstance(one.as_of, date)
        assert one.source
        assert one.status in STATUSES
        assert one.binding == (one.status == "in force")


def test_a_rule_never_prints_without_its_date() -> None:
    for one in rules().values():
        assert f"{one.status} as of {one.as_of}" in str(one)


def test_seventy_billion_params_reach_the_eu_threshold() -> None:
    """1e25 / (6 × 70e9) = 23.8e12 tokens."""
    reached = rule("eu-ai-act").flops / (6 * 70e9)
    assert reached == pytest.approx(23.8e12, rel=0.05 / 23.8)
    flops = 6 * 70e9 * np.array([20e12, 23.7e12, 23.9e12, 30e12])
    assert rule("eu-ai-act").probability(flops) == 0.5


def test_the_threshold_itself_is_not_above_it() -> None:
    flops = 1e25 * (1 + np.array([-1e-3, 0.0, 1e-15, 1e-3]))  # a product may be a rounding above what it should be
    assert rule("eu-ai-act").probability(flops) == 0.25


def test_a_file_adds_and_replaces_rules(tmp_path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(OWN + OWN.replace("[house]", "[eu-ai-act]"), encoding="utf-8")
    assert rule("house", path).flops == 1e24
    assert rule("eu-ai-act", path).title == "Board approval"
    assert set(rules(path)) == {*rules(), "house"}


@pytest.mark.parametrize(
    ("old", "new"),
    [("flops = 1e24\n", ""), ("1e24", "-1"), ("1e24", "0"), ("1e24", "inf"), ('"in force"', '"likely"'),
     ("2026-01-05", '"soon"'), ('"the board"', '""'), ('"the board"', "3"), ("title", "name"), ("[house]", "[house")],
)  # fmt: skip
def test_a_rule_that_is_incomplete_is_an_error(tmp_path, old: str, new: str) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(OWN.replace(old, new), encoding="utf-8")
    with pytest.raises(QueryError, match=r"title, flops, status \(one of: in force"):
        rules(path)


def test_an_unverified_rule_says_so(tmp_path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(OWN.replace("the board", "unverified: hearsay"), encoding="utf-8")
    assert str(rule("house", path)).endswith("(in force as of 2026-01-05, unverified)")


def test_an_unknown_rule_is_an_error(tmp_path) -> None:
    with pytest.raises(UnknownName, match="did you mean 'eu-ai-act'"):
        rule("eu-ai-acts")
    with pytest.raises(QueryError, match="does not hold rules"):
        rules(tmp_path / "nothing.toml")
