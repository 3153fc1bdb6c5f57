"""Text of others: names and titles that would control a terminal, a page, a spreadsheet or a figure."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest
from click.testing import CliRunner
from fuzz_tables import as_text, good
from markdown_it import MarkdownIt

import bayescale as bs
from bayescale.cli import main, printing
from bayescale.core import toml
from bayescale.core.escapes import printable
from bayescale.evaluation.comparison import examine
from bayescale.modelling.spec_io import write_spec
from bayescale.reporting import texts
from bayescale.reporting.words import Section, Table, rewritten

PAYLOADS = [
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "a\rb",
    "a\nb",
    "\x08\x08\x08",
    "a\u202eb",
    "a\u200bb",
    "[bold]x[/bold]",
    "[/]",
    "[link=http://x]y[/link]",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{7*7}}",
    "{% x %}",
    "=1+1",
    "@SUM(A1)",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "\tx",
    "$x$",
    "$\\frac{$",
    "\\input{x}",
    "%s%n",
    "'; drop table",
    "&amp;",
    "a" * 300,
    "../../etc/passwd",
    'x"""y',
    "x'''y",
    "😀",
    "```",
    "](http://x)",
    "~!@#$%^&*()",
]
JOINED = " ".join(PAYLOADS)
MARKDOWN = ["*x* _y_ __z__", "[a](http://x)", "![a](http://x)", "<http://x>", "# x", "- x", "1. x", "> x", "~~x~~",
            "a | b", "a\\|b", "in_a_word", "&#42;", "===", "---", "a\n\n# b", "    x", "`x`", "``"]  # fmt: skip
MARKUP = re.compile(r"<script>alert|<img src=x")
READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
BLOCKS = {"heading", "paragraph", "inline", "bullet_list", "list_item", "table", "thead", "tbody", "tr", "th", "td"}
UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202e\u2028]")
ASKED = ("--params", "7B", "--tokens", "1T")


def of_family(fit: bs.Fit, name: str) -> bs.Fit:
    """The fit, with its family called so, and every other name that a table gives to a fit."""
    source = {"title": name, "licence": name, "citation": name}
    return dataclasses.replace(fit, meta=fit.meta | {"families": [name], "runs": name, "runs_source": source})


@pytest.fixture(scope="session")
def small(chinchilla_fit: bs.Fit) -> bs.Fit:
    """Few draws: only the words matter."""
    return dataclasses.replace(chinchilla_fit, tree=chinchilla_fit.tree.isel(draw=slice(50)))


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_name_is_text_in_what_is_printed_and_in_a_spreadsheet(name: str, tmp_path: Path, capsys) -> None:
    table = pd.DataFrame({"family": [name, "x"], name: [1.5, 2.5]})
    printing.print_table(table)
    printing.echo(f"model {name}")
    printing.states([("PASS", name, name, name)])
    said = capsys.readouterr().out
    assert not UNSAFE.search(said)
    assert printable(name, newlines=False)[:40] in said
    printing.write_csv(table, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
    said = printable(name, newlines=False)
    assert rows[1][0] in (said, f"'{said}")


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_name_is_text_in_toml(name: str, tmp_path: Path) -> None:
    assert toml.load(toml.write({"name": name, name: {name: [name]}}, tmp_path / "x.toml"))[name] == {name: [name]}
    spec = dataclasses.replace(bs.load_spec("additive"), title=name)
    assert bs.load_spec(write_spec(spec, tmp_path / "spec.toml")).title == name


def test_a_name_is_text_in_what_commands_print_and_draw(small: bs.Fit, tmp_path: Path) -> None:
    fit = of_family(small, JOINED).save(tmp_path / "fit.nc")
    for args in (("forecast", *ASKED, "--out", tmp_path / "out.csv"), ("plot", "--out", tmp_path), ("check",)):
        verb, *options = map(str, args)
        kind = ["loss"] if verb == "plot" else []
        result = CliRunner().invoke(main, [verb, str(fit), *kind, *options])
        assert result.exit_code in (0, 1), (result.output, result.exception)
        assert not UNSAFE.search(result.output)
    said = CliRunner().invoke(main, ["forecast", str(fit), *ASKED, "--json"])
    assert json.loads(said.stdout)[0]["family"] == JOINED
    assert mpl.rcParams["text.parse_math"]  # the host program keeps its setting


def test_a_name_is_text_on_a_page_and_in_a_notebook(chinchilla_fit: bs.Fit, tmp_path: Path) -> None:
    fit = of_family(chinchilla_fit, JOINED)
    choice = bs.decide(bs.Allocation("1e22", family=JOINED), fit)
    page = bs.report(choice, tmp_path / "page.html").read_text(encoding="utf-8")
    for thing in (bs.forecast(fit, params="7B", tokens="1T"), fit, choice, examine({JOINED: fit}, flops=1e22)):
        shown = thing._repr_html_()
        assert "alert(1)" in shown
        assert not MARKUP.search(shown)
    assert "alert(1)" in page
    assert not MARKUP.search(page)
    pytest.importorskip("anywidget", reason="anywidget is not installed: pip install bayescale[explore]")
    assert not MARKUP.search(fit.explore(flops=1e22).page)


@pytest.mark.parametrize("name", [*PAYLOADS, JOINED, *MARKDOWN])
def test_a_name_is_text_in_markdown(name: str) -> None:
    """CommonMark, with the tables and the strikethrough of GitHub."""
    section = Section("x", name, (name, f"a {name} b"), (Table(name, ((name, name),), ((name,),), (False,)),),
                      lists=((name, (name,)),), pairs=((name, ((name, name),)),))  # fmt: skip
    lines = texts._section(rewritten(section, texts.plain))
    blocks = READER.parse("\n\n".join(lines))
    assert {one.type.removesuffix("_open").removesuffix("_close") for one in blocks} == BLOCKS
    shown = [one.children for one in blocks if one.type == "inline"]
    assert {one.type for children in shown for one in children} == {"text"}
    assert len(shown) == 10
    for children in shown:
        assert printable(" ".join(name.split("\n")).strip(), newlines=False) in "".join(one.content for one in children)


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_name_is_text_in_a_table_of_runs(name: str, tmp_path: Path) -> None:
    rows = good()
    for row in rows[1:]:
        row[1] = name
    (tmp_path / "runs.csv").write_bytes(as_text(rows))
    result = CliRunner().invoke(main, ["validate", str(tmp_path / "runs.csv")])
    assert result.exit_code in (0, 1, 2), result.output
    assert not UNSAFE.search(result.output)
    assert result.exception is None or isinstance(result.exception, SystemExit)
