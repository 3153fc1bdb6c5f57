"""How long the page is, and how soon its reader sees a picture."""

from __future__ import annotations

import re

import pytest

import bayescale as bs

A4 = 600  # words of small print that fill a page; two pages are printed
FIRST_SCREEN = 500  # words that are read in two minutes


@pytest.fixture(scope="module")
def body(chinchilla_fit: bs.Fit, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = bs.report(chinchilla_fit, tmp_path_factory.mktemp("page") / "page.html", flops=5.76e23)
    return path.read_text(encoding="utf-8").partition("<body")[2]


def words_of(markup: str) -> list[str]:
    """What is read, without scripts, drawings and tags."""
    return re.sub(r"<(script|style|svg)\b.*?</\1>|<[^>]+>", " ", markup, flags=re.DOTALL).split()


def unfolded(markup: str) -> str:
    """What is seen before anything is unfolded."""
    while (outer := re.sub(r"<details(?:(?!<details).)*?</details>", " ", markup, flags=re.DOTALL)) != markup:
        markup = outer
    return markup


def test_the_first_figure_comes_before_the_evidence_and_within_two_minutes(body: str) -> None:
    before, figure, after = body.partition("<figure")
    assert figure
    assert len(words_of(before)) < FIRST_SCREEN
    assert "What could be wrong" in after  # the answer and its picture, then the doubts
    assert "What could be wrong" not in before


def test_what_is_not_folded_fits_two_pages_and_figures(body: str) -> None:
    shown = words_of(unfolded(body))
    assert 200 < len(shown) < 2.5 * A4
    assert len(words_of(body)) > 2 * len(shown)  # the appendix is there, and folded


def test_a_page_of_one_family_says_nothing_of_pooling(body: str) -> None:
    assert "Chinchilla&#39;s additive law" in body
    assert "pooled over families" not in body
