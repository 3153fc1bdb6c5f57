"""The site's own extensions: what the reference shows, and which words are linked."""

from __future__ import annotations

from pathlib import Path

import catalogue
import glossary_links
import pytest
import reference

import bayescale as bs

DOCS = Path(__file__).parents[1] / "docs"
TERMS = ["family", "draw", "safe range", "loss"]


@pytest.mark.parametrize("kind", sorted(reference._KINDS))
def test_a_page_of_the_reference_shows_a_kind_that_is_not_empty(kind: str) -> None:
    found, _ = reference._KINDS[kind]
    assert found()
    assert any(f".. catalogue:: {kind}\n" in page.read_text() for page in (DOCS / "reference").glob("*.rst"))


def test_the_list_of_the_public_api_is_complete() -> None:
    listed = [name for names in catalogue.public().values() for name in names]
    assert sorted([*listed, "__version__"]) == bs.__all__
    assert all(catalogue.about(package) for package in catalogue.public())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Two families differ.", "families"),
        ("Draws are kept.", "Draws"),
        ("the safe range of a budget", "safe range"),
        ("lossless, a cross-family drawing", None),
    ],
)
def test_a_word_of_the_glossary_is_found_in_its_forms(text: str, found: str | None) -> None:
    match = glossary_links.pattern_of(TERMS).search(text)
    assert (match and match[0]) == found
    assert not match or glossary_links.entry_of(match[0], TERMS) in TERMS


def test_a_word_is_linked_once_a_page() -> None:
    left = ["loss", "draw"]
    parts = glossary_links._linked("A loss of a draw is a loss.", left, "page")
    linked = [part.astext() for part in parts if part.tagname == "pending_xref"]
    assert linked == ["loss", "draw"]
    assert "".join(part.astext() for part in parts) == "A loss of a draw is a loss."
    assert not left


def test_the_glossary_is_read_as_it_is_written() -> None:
    terms = glossary_links.terms_of((DOCS / "glossary.md").read_text(encoding="utf-8"))
    assert {"run", "family", "anchor", "regret", "EVSI", "safe range", "verdict"} <= set(terms)
