"""The figures of the page on common errors, each computed from its source."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from bayescale.parts.laws.kaplan_steps import KaplanBatch
from bayescale.parts.modalities import PARAMS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "common-errors.md"
CHINCHILLA = 5.76e23  # FLOP


def tokens_per_param(A: float, B: float, alpha: float, beta: float) -> float:
    params = (alpha * A / (beta * B)) ** (1 / (alpha + beta)) * (CHINCHILLA / 6) ** (beta / (alpha + beta))
    return float(CHINCHILLA / (6 * params**2))


def spent(params: float) -> float:
    return 6 * params * 20 * params


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (spent(np.sqrt(1e21 / 6)) / 1e21, "spends 20 times"),
        (spent(np.sqrt(1e21 / 120)) / 1e20, "N = √(C/120)"),
        (10 ** (1 / 0.73), "costs 23 times"),
        (10 ** (1 / 0.5), "costs 100 times"),
        (1000 / (1 + 0.076 / 0.103), "implies 0.575"),
        (tokens_per_param(406.4, 410.7, 0.34, 0.28), "imply 93 tokens"),
        (tokens_per_param(*np.exp([6.0073404, 6.0179186]), 0.33917084, 0.2849083), "unrounded ones 59"),
        (tokens_per_param(482.01, 2085.43, 0.3478, 0.3658), "the same runs 18"),
    ],
)
def test_a_figure_of_the_page_is_computed(value: float, written: str) -> None:
    number = {"N = √(C/120)": 10.0, "implies 0.575": 575.0}.get(written) or float(
        next(word for word in written.split() if word.isdigit())
    )
    assert round(value) == number
    assert written in PAGE.read_text(encoding="utf-8")


def test_what_the_law_of_steps_implies_is_on_the_page() -> None:
    found = KaplanBatch.published(0.0, 0.0, 0.0, loss=0.0, level=1.0, ratio_S=0.1, ratio_B=1.0, alpha_N=0.077,
                                  alpha_S=0.76, alpha_B=0.21)  # fmt: skip
    assert f"implies {float(found['optimal alpha']):.2f} (they print 0.71)" in PAGE.read_text(encoding="utf-8")


def test_the_exponent_that_is_quoted_for_vision_is_that_of_params_for_small_images() -> None:
    written = f"{PARAMS['image_32x32'].exponent} is an exponent of params, for generated images of 32 × 32 pixels"
    assert written in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("error", "source"),
    [
        (r"√\(C/6\)", "algebra"),
        (r"\b63 times", "arXiv:2203.15556"),
        (r"smaller models and more data", "arXiv:2203.15556"),
        (r"vision\W[^|]{0,60}0?\.13\b|0?\.13\b[^|]{0,60}\Wvision\b", "arXiv:2010.14701"),
    ],
)
def test_each_error_of_the_sources_is_corrected_once_with_its_source(error: str, source: str) -> None:
    """Over the pages and the docstrings, from which the reference is made."""
    files = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "bayescale").rglob("*.py")]
    texts = [path.read_text(encoding="utf-8") for path in files if "_build" not in path.parts]
    pieces = [piece for text in texts for piece in re.split(r"\n\n|\n(?=\|)", text)]  # paragraphs, and rows of tables
    (row,) = [piece for piece in pieces if re.search(error, piece)]
    assert row in PAGE.read_text(encoding="utf-8")
    assert source in row.split("|")[-2]
