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
PACKAGE = ROOT / "bayescale"
PAGES = [path for path in (PACKAGE / "reporting/page").iterdir() if path.suffix in (".j2", ".js")]
FILES = sorted([*PACKAGE.rglob("*.py"), *PAGES, *(ROOT / "models").glob("*.toml")])


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


def page_prose(text: str) -> Iterator[tuple[str, int]]:
    """What a template or a script of the page says: its lines without tags, expressions and what is set as code."""
    for code in (r"\{[{%#].*?[%}#]\}|\$\{[^}]*\}", r"<[^>]*>|`[^`\n]*`|https?://\S+|[\d.]+(?:rem|em|px|s)\b"):
        text = re.sub(code, lambda match: "\n" * match[0].count("\n"), text, flags=re.DOTALL)
    for line, said in enumerate(text.splitlines(), 1):
        yield said, line


def spec_prose(text: str) -> Iterator[tuple[str, int]]:
    """Title and comments of a spec."""
    for line, said in enumerate(text.splitlines(), 1):
        title = re.match(r'title = "(.*)"', said)
        yield title[1] if title else said.partition("#")[2], line


READ = {".py": prose, ".j2": page_prose, ".js": page_prose, ".toml": spec_prose}


def faults(path: Path) -> list[str]:
    text, found = path.read_text(encoding="utf-8"), []
    for name, line in identifiers(ast.parse(text)) if path.suffix == ".py" else ():
        found += [f"{line}: identifier {name} holds {word!r}" for word in parts_of(name) if word in WORDS]
    for said, line in READ[path.suffix](text):
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


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("page.j2", "<p>{{ say }} of the <b>dearest</b> run</p>\n"),
        ("page.js", 'const said = "the loss in hindsight";\n'),
        ("spec.toml", 'title = "Each router for itself"\n'),
        ("spec.toml", "# Less is better.\n"),
    ],
)
def test_pages_and_specs_are_read_too(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert len(faults(tmp_path / name)) == 1


REVIEWED = (
    "Ask every check of a fit", "Fit some of each family's runs", "the dearest fitted run", "runs err together",
    "every family for itself", "the runs take away 99% of the variance", "Less is better",
    "what knowing the law would be worth",
    "indifferent 64.5B", "the ratio in hindsight", "1.7 decades of compute beyond the runs", "a shipped name",
    "mend the row", "Choosing by the wrong law costs 1%", "observed over predicted loss",
)  # fmt: skip


@pytest.mark.parametrize("said", REVIEWED)
def test_what_a_review_stumbled_on_does_not_come_back(said: str, tmp_path: Path) -> None:
    (tmp_path / "said.py").write_text(f'SAID = "{said}."\n')
    assert faults(tmp_path / "said.py")
