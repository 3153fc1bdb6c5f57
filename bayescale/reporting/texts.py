"""A report as JSON and as Markdown: what the page says, without its pictures."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from bayescale.core.escapes import printable
from bayescale.reporting.pages import Content
from bayescale.reporting.words import Section, Table, rewritten

GENERATOR = "bayescale report"
"""Text in the head of each report; only a file that has it there is replaced."""
MARKDOWN = f"<!-- {GENERATOR} -->"
"""First line of a report in Markdown."""
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
    front = content.front
    shown = {one.name: asdict(one.table) for one in (*front.pictures, *content.evidence.pictures)}
    said = {
        "generator": GENERATOR, "title": front.title, "state": front.word, "why": front.why,
        "headline": front.headline, "confidence": front.confidence,
        "cards": [asdict(one) for one in front.cards], "questions": [asdict(one) for one in front.chips],
        "could_be_wrong": [asdict(one) for one in front.wrong], "worth_knowing": list(front.worth),
        "tables": shown, "decision": content.figures, "version": content.version, "command": content.command,
    }  # fmt: skip
    return json.dumps(_finite(said), indent=2, allow_nan=False) + "\n"


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
    command, content = content.command, rewritten(content, plain)
    front = content.front
    lines = [MARKDOWN, f"# {front.title}", front.subtitle, f"**{front.word}**{f': {front.why}' if front.why else ''}",
             f"**{front.headline}** {front.confidence}",
             "\n".join(f"- {one.title}: {one.value}{f' ({one.range})' * bool(one.range)}" for one in front.cards),
             "## What could be wrong",
             "\n".join(f"- {one.state} {one.question}: {one.sentence}. Action: {one.action}." for one in front.wrong)
             or "Every question passes.", *["## Is it worth knowing more?"] * bool(front.worth), *front.worth,
             "## Evidence", *content.evidence.sentences]  # fmt: skip
    for one in (*front.pictures, *content.evidence.pictures):
        lines += [f"### {one.title}", one.note, _table(one.table)]
    for section in (*content.evidence.sections, *content.appendix):
        lines += _section(section)
    lines.append(f"bayescale {content.version}; made by {_code(command)}")
    return "\n\n".join(line for line in lines if line) + "\n"


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
    lines += [f"$$\n{one.tex}\n$$" if one.tex else f"Figure: {one.alt}." for one in section.pictures]
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
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
