"""The glossary: one text, read by the documents and by ``bayescale explain``."""

from __future__ import annotations

import re
from pathlib import Path

from bayescale.core.errors import UnknownName, nearest

_HERE = Path(__file__).resolve().parent.parent


def entries() -> dict[str, str]:
    """Return the explanation of each term."""
    (content,) = re.findall(r"^```\{glossary\}\n(.*?)^```$", _text(), re.DOTALL | re.MULTILINE)
    found: dict[str, str] = {}
    term = ""
    for line in content.splitlines():
        if line and not line.startswith(" "):
            term = line.strip()
            found[term] = ""
        elif line.strip():
            found[term] = f"{found[term]} {line.strip()}".strip()
    return found


def words_of_tables() -> dict[str, str]:
    """Return the meaning of each word that tables print and that is no term: they are too common to be linked."""
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", _text(), re.MULTILINE)
    return dict(rows[1:])  # after the head


def _text() -> str:
    in_wheel = _HERE / "shipped_files" / "glossary.md"
    path = in_wheel if in_wheel.is_file() else _HERE.parent / "docs" / "glossary.md"
    return path.read_text(encoding="utf-8")


def explain(term: str) -> tuple[str, str]:
    """Return a term of the glossary, or a word of tables, and its explanation.

    Parameters
    ----------
    term : str
        In any case, in singular or plural.

    Returns
    -------
    tuple of str

    Raises
    ------
    UnknownName
        If the glossary has no such term.
    """
    known = entries() | words_of_tables()
    asked = term.strip().lower().replace("_", " ").replace("-", " ")
    for name in known:
        plain = name.lower().replace("_", " ").replace("-", " ")
        if asked in (plain, f"{plain}s", f"{plain.removesuffix('y')}ies", plain.removesuffix("s")):
            return name, known[name]
    mentions = [name for name, text in known.items() if asked and asked in text.lower()][:5]
    hint = nearest(term, known, otherwise="")
    if not hint.startswith("did you mean"):
        hint = f"it is mentioned under: {', '.join(mentions)}" if mentions else f"the terms are: {', '.join(entries())}"
    raise UnknownName(f"the glossary has no {term!r}", hint=hint)
