"""A report as JSON and as Markdown: what the page says, without its pictures."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from bayescale.core.escapes import printable
from bayescale.reporting.pages import Content
from bayescale.reporting.pictures import Shown
from bayescale.reporting.sentences import say
from bayescale.reporting.words import Section, Table, rewritten

GENERATOR = "bayescale report"
"""Text in the head of each report; only a file that has it there is replaced."""
MARKDOWN = f"<!-- {GENERATOR} -->"
"""First line of a report in Markdown."""
NUMBERS = "Every number of the decision"
"""Title of what a page and Markdown show of the decision as JSON."""
_DRAWN = ("svg", "address", "keys", "numeric", "wide")  # drawings with their legends, and how a page lays them out
_MARKUP = re.compile(r"[\\`*\[\]<>|~$]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)|^(?:[-+#=]|\d+(?=[.)](?:\s|$)))")
"""Characters that begin or end markup of CommonMark and of GitHub. An underscore inside a word does not."""


def as_json_text(content: Content) -> str:
    """Return a report as JSON.

    Parameters
    ----------
    content : Content

    Returns
    -------
    str
    """
    named = {"wrong": "could_be_wrong", "worth": "worth_knowing"}
    front = {named.get(name, name): value for name, value in _said(content.front).items() if name != "chips"}
    states = [{"question": one.question, "state": one.state} for one in content.front.chips]
    said = {
        "generator": GENERATOR, **front, "questions": states, "state": content.front.word, "states": say("states"),
        "evidence": _said(content.evidence), "appendix": _said(content.appendix), "decision": content.figures,
        "version": content.version, "created": content.created, "command": content.command,
    }  # fmt: skip
    return json.dumps(_finite(said), indent=2, allow_nan=False) + "\n"


def numbers(figures: Mapping[str, Any]) -> str:
    """Return the numbers of a decision as the JSON that Markdown shows.

    Parameters
    ----------
    figures : mapping

    Returns
    -------
    str
        Without markup of HTML; empty if there are none.
    """
    text = json.dumps(_finite(figures), indent=0, allow_nan=False) if figures else ""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _said(thing: Any) -> Any:
    """Values of dataclasses by their names, without drawings and what only places them."""
    if is_dataclass(thing):
        named = ((one.name, getattr(thing, one.name)) for one in fields(thing) if one.name not in _DRAWN)
        return {name: _said(value) for name, value in named}
    return [_said(one) for one in thing] if isinstance(thing, tuple) else thing


def _finite(value: Any) -> Any:
    """Return plain values; what is not a finite number is null."""
    if isinstance(value, Mapping):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    return float(value) if math.isfinite(float(value)) else None


def as_markdown(content: Content) -> str:
    """Return a report as Markdown.

    Parameters
    ----------
    content : Content

    Returns
    -------
    str
    """
    command, figures, content = content.command, numbers(content.figures), rewritten(content, plain)
    front, evidence = content.front, content.evidence
    lines = [MARKDOWN, f"# {front.title}", front.subtitle, f"**{front.word}**{f': {front.why}' if front.why else ''}",
             front.depends,
             f"**{front.headline}** {front.confidence}",
             "\n".join(f"- {one.title}: {one.value}{f' ({one.range})' * bool(one.range)}" for one in front.cards),
             front.assumed, *_pictures(front.pictures), *map(_table, front.tables),
             "## What could be wrong", front.static, plain(say("states")),
             "\n".join(f"- {one.state}: {one.question}" for one in front.chips),
             "\n".join(f"- {one.state} {one.question}: {one.sentence}. Action: {one.action}." for one in front.wrong)
             or "Every question passes.", *["## Is it worth knowing more?"] * bool(front.worth), *front.worth,
             *["## Evidence"] * bool(evidence.sentences or evidence.pictures),
             *evidence.sentences, *_pictures(evidence.pictures)]  # fmt: skip
    for section in (*evidence.sections, *content.appendix):
        lines += _section(section)
    lines += [f"## {NUMBERS}", f"```json\n{figures}\n```"] * bool(figures)
    lines.append(f"bayescale {content.version}, fits made {content.created}; made by {_code(command)}")
    return "\n\n".join(line for line in lines if line) + "\n"


def _pictures(shown: Iterable[Shown]) -> list[str]:
    """Pictures as their numbers, each with its title and its note."""
    return [line for one in shown for line in (f"### {one.title}", one.note, _table(one.table))]


def plain(words: str) -> str:
    """Return a text on one line that Markdown shows as it is.

    Parameters
    ----------
    words : str

    Returns
    -------
    str
    """
    line = printable(" ".join(words.split("\n")).strip(), newlines=False)
    return _MARKUP.sub(lambda found: f"{found[0]}\\" if found[0].isdigit() else f"\\{found[0]}", line)


def _code(words: str) -> str:
    """A text as code, between more backticks than it has in a row."""
    line = printable(words, newlines=False)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{fence} {line} {fence}" if len(fence) > 1 else f"`{line}`"


def _section(section: Section) -> list[str]:
    lines = [f"## {section.title}", *section.sentences]
    for one in section.pictures:
        lines += [f"Figure: {one.alt}.", f"$$\n{one.tex}\n$$" * bool(one.tex), one.caption]
    for title, answers in section.pairs:
        lines += [f"### {title}"] * bool(title)
        lines.append("\n".join(f"- {question}: {answer}" for question, answer in answers))
    lines += [_table(one) for one in section.tables]
    for title, items in section.lists:
        lines += [f"### {title}", "\n".join(f"- {item}" for item in items)]
    return lines


def _table(table: Table) -> str:
    head = [f"{name} ({unit})" if unit else name for name, unit in table.header]
    rows = [head, ["---:" if numeric else "---" for numeric in table.numeric], *table.rows]
    return "\n".join([f"{table.caption}:\n", *(f"| {' | '.join(row)} |" for row in rows)])
