"""The formats of a report: HTML, Markdown and JSON say the same, text by text and number by number."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import bayescale as bs
from bayescale.cli import main
from bayescale.decisions.solver import read_settings
from bayescale.reporting import html as writing
from bayescale.reporting import pages, texts
from bayescale.reporting.words import Table

NOT_SAID = {
    "svg", "address", "keys",  # a drawing, with the legend of its marks
    "id", "name", "numeric", "wide",  # where the page puts it
    "explorer",  # what the page's script reads
    "figures",  # compared as one value
}  # fmt: skip
"""Fields of a content that no reader of a text sees."""
DECISIONS = {
    "target": {"loss": "2.0"},
    "lifetime": {"demand": "2T", "like": "70B"},
    "data-cap": {"flops": "1e21", "unique_tokens": "100B"},
}


def said(thing: Any) -> Iterator[str]:
    """Every text and every table of a content, in the order of reading."""
    if isinstance(thing, Table):
        yield thing.caption
        yield from (one for head in thing.header for one in head if one)
        yield from (cell for row in thing.rows for cell in row if cell)
    elif is_dataclass(thing):
        for one in fields(thing):
            if one.name not in NOT_SAID and not (one.name == "state" and isinstance(thing, pages.Front)):
                yield from said(getattr(thing, one.name))
        yield from [thing.word] if isinstance(thing, pages.Front) else []
    elif isinstance(thing, tuple):
        for each in thing:
            yield from said(each)
    else:
        assert isinstance(thing, str), thing  # numbers are written out, except in the figures
        yield from [thing] * bool(thing)


def tables(thing: Any) -> Iterator[Table]:
    """Every table of a content."""
    if isinstance(thing, Table):
        yield thing
    elif is_dataclass(thing):
        for one in fields(thing):
            yield from tables(getattr(thing, one.name))
    elif isinstance(thing, tuple):
        for each in thing:
            yield from tables(each)


class Seen(HTMLParser):
    """What a reader of a page sees or hears: text outside scripts, style and drawings, and descriptions of figures."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.hidden, self.text = 0, ""
        self.cells: list[list[str]] = [[]]
        self.inside = ""
        self.feed(source)
        self.cells = [[spaced(cell) for cell in row] for row in self.cells]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hidden += tag in ("script", "style", "svg")
        self.text += "".join(f" {value} " for name, value in attrs if name == "alt")
        self.inside = tag if tag == "td" else self.inside
        if tag == "tr":
            self.cells.append([])
        if tag == "td":
            self.cells[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in ("script", "style", "svg")
        self.inside = "" if tag == self.inside else self.inside

    def handle_data(self, data: str) -> None:
        if self.hidden:
            return
        self.text += data
        if self.inside == "td":
            self.cells[-1][-1] += data


def spaced(text: str) -> str:
    """Text on one line, with single spaces."""
    return " ".join(text.split())


def values(thing: Any) -> Iterator[Any]:
    """Every value of parsed JSON."""
    if isinstance(thing, dict | list):
        for each in thing.values() if isinstance(thing, dict) else thing:
            yield from values(each)
    else:
        yield thing


@pytest.fixture(scope="module")
def contents(chinchilla_fit: bs.Fit, comparison: bs.Comparison) -> dict[str, pages.Content]:
    """A page of each kind: an allocation, a comparison, other decisions, and one without a choice."""
    settings = {name: read_settings(name, given.items()) for name, given in DECISIONS.items()}
    found = {name: pages.of_choice(bs.decide(name, chinchilla_fit, **given)) for name, given in settings.items()}
    found["allocation"] = pages.of_fit(chinchilla_fit, flops="5.76e23", hardware="512xH100")
    limited = bs.Allocation("5.76e23", limits={"max_params": "20B"})
    found["limited"] = pages.of_choice(bs.decide(limited, chinchilla_fit))
    return found | {"comparison": pages.of_comparison(comparison)}


@pytest.mark.parametrize("kind", [*DECISIONS, "allocation", "limited", "comparison"])
def test_every_text_of_a_report_is_in_every_format(kind: str, contents: dict[str, pages.Content]) -> None:
    content = contents[kind]
    page, plain = Seen(writing.rendered(content)), json.loads(texts.as_json_text(content), parse_constant=pytest.fail)
    marked, listed, text = texts.as_markdown(content), set(map(str, values(plain))), spaced(page.text)
    for one in said(content):
        assert one in listed, f"not in JSON: {one}"
        assert spaced(one) in text, f"not in HTML: {one}"
        as_they_are = (f"`{content.command}`", f"$$\n{one}\n$$")  # commands and formulas
        assert texts.plain(one) in marked or any(one in each and each in marked for each in as_they_are), (
            f"not in Markdown: {one}"
        )
    (numbers,) = re.findall(r"```json\n(.*?)\n```", marked, re.DOTALL)
    assert json.loads(numbers) == plain["decision"] != {}


@pytest.mark.parametrize("kind", [*DECISIONS, "allocation", "limited", "comparison"])
def test_every_row_of_every_table_is_in_html_and_markdown(kind: str, contents: dict[str, pages.Content]) -> None:
    content = contents[kind]
    rows, marked = Seen(writing.rendered(content)).cells, texts.as_markdown(content)
    for table in tables(content):
        for row in table.rows:
            assert [*map(spaced, row)] in rows, f"not in HTML: {row}"
            assert f"| {' | '.join(map(texts.plain, row))} |" in marked


def test_a_report_of_any_format_is_small(contents: dict[str, pages.Content]) -> None:
    for content in contents.values():
        for write in writing.WRITERS.values():
            assert len(write(content).encode()) < 500_000


def test_what_only_sliders_need_is_said_only_with_sliders(contents: dict[str, pages.Content]) -> None:
    for kind, content in contents.items():
        assert bool(content.front.static) is (content.explorer.get("kind", "actions") != "actions"), kind


def test_the_command_writes_each_format_whatever_the_suffix(chinchilla_fit: bs.Fit, tmp_path: Path) -> None:
    saved, begins = chinchilla_fit.save(tmp_path / "fit.nc"), {"html": "<!DOCTYPE html>", "json": "{", "md": "<!-- "}
    written = {}
    for name, first in begins.items():
        out = tmp_path / f"page_{name}.txt"
        command = ["report", str(saved), "--out", str(out), "--flops", "5.76e23", "--format", name]
        done = CliRunner().invoke(main, command, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        written[name] = out.read_text(encoding="utf-8")
        assert written[name].startswith(first)
        assert f"--format {name}" in written[name]
    headline = json.loads(written["json"])["headline"]
    assert headline in Seen(written["html"]).text
    assert texts.plain(headline) in written["md"]
    refused = CliRunner().invoke(main, ["report", str(saved), "--out", str(tmp_path / "page.pdf"), "--format", "pdf"])
    assert refused.exit_code == 2
    assert "'html', 'json', 'md'" in refused.stderr
