"""The code's identifiers, docstrings, comments and messages keep to the vocabulary, as the documents do."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VOCABULARY = tomllib.loads((ROOT / "docs/vocabulary.toml").read_text(encoding="utf-8"))
WORDS = set(VOCABULARY["words"])
FORMS = [re.compile(form, re.IGNORECASE) for form in VOCABULARY["forms"]]
FILES = sorted(path for path in (ROOT / "bayescale").rglob("*.py"))


def parts_of(identifier: str) -> list[str]:
    """Words of an identifier, split at underscores and changes of case."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", identifier)]


def identifiers(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Names that the code itself gives: of functions, classes, arguments, variables and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


def prose(text: str) -> Iterator[tuple[str, int]]:
    """Comments, docstrings and messages without what they quote as code, formulas and examples."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield re.sub(r"`[^`]*`", "", token.string), token.start[0]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            said = re.sub(r"``[^`]*``|`[^`]*`|:math:`[^`]*`|https?://\S+|arXiv:\S+|\{[^{}]*\}", "", node.value)
            lines = [line for line in said.splitlines() if not line.lstrip().startswith((">>>", "...", ".. math::"))]
            yield " ".join(lines), node.lineno


def faults(path: Path) -> list[str]:
    text, found = path.read_text(encoding="utf-8"), []
    for name, line in identifiers(ast.parse(text)):
        found += [f"{line}: identifier {name} holds {word!r}" for word in parts_of(name) if word in WORDS]
    for said, line in prose(text):
        found += [
            f"{line}: {word!r} in: {said.strip()[:80]}" for word in re.findall(r"[a-z]+", said.lower()) if word in WORDS
        ]
        found += [f"{line}: {form.search(said)[0]!r} in: {said.strip()[:80]}" for form in FORMS if form.search(said)]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_keeps_to_the_vocabulary(path: Path) -> None:
    assert not faults(path)


def test_the_test_finds_what_it_looks_for(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text('def dearest_run(x):\n    """It is told but for .5 of it."""\n    # a whole one\n')
    assert len(faults(tmp_path / "bad.py")) == 5
