"""Link the first use of each word of the glossary on each page to its entry."""

from __future__ import annotations

import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

GLOSSARY = "glossary"
_LEFT_ALONE = (nodes.title, nodes.literal, nodes.literal_block, nodes.reference, nodes.term, nodes.math,
               nodes.FixedTextElement, addnodes.pending_xref, addnodes.desc_signature)  # fmt: skip


def terms_of(text: str) -> list[str]:
    """Words that a glossary page defines: the lines of its directive that are not indented."""
    (content,) = re.findall(r"^```\{glossary\}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [line.strip() for line in content.splitlines() if line.strip() and not line.startswith(" ")]


def pattern_of(terms: list[str]) -> re.Pattern[str]:
    """Match any of the words, in singular or plural; the longest first."""
    forms = {term: re.escape(term[:-1]) + "(?:y|ies)" if term.endswith("y") else re.escape(term) + "s?"
             for term in sorted(terms, key=len, reverse=True)}  # fmt: skip
    return re.compile(r"(?<![\w-])(?:" + "|".join(forms.values()) + r")(?![\w-])", re.IGNORECASE)


def entry_of(word: str, terms: list[str]) -> str:
    """Word of the glossary of which `word` is a form."""
    return next(term for term in terms if pattern_of([term]).fullmatch(word))


class LinkTerms(SphinxTransform):
    """Turns the first use of each term into a reference to its entry."""

    default_priority = 700  # after the parsing of a page, before its references are resolved

    def apply(self, **kwargs: object) -> None:
        """Link the page's first uses."""
        if self.env.docname == GLOSSARY or self.env.docname.startswith("reference/"):
            return
        terms: list[str] = self.config.glossary_terms
        left = list(terms)
        for text in list(self.document.findall(nodes.Text)):
            if left and not _inside(text, _LEFT_ALONE):
                text.parent.replace(text, _linked(text.astext(), left, self.env.docname))


def _inside(node: nodes.Node, kinds: tuple[type, ...]) -> bool:
    while node is not None:
        if isinstance(node, kinds):
            return True
        node = node.parent
    return False


def _linked(text: str, left: list[str], page: str) -> list[nodes.Node]:
    """Text as nodes; each term of `left` that it holds is linked once, and taken off the list."""
    parts, end = [], 0
    while left and (found := pattern_of(left).search(text, end)):
        term = entry_of(found[0], left)
        left.remove(term)
        parts += [nodes.Text(text[end : found.start()]), _reference(found[0], term, page)]
        end = found.end()
    return [*parts, nodes.Text(text[end:])]


def _reference(word: str, term: str, page: str) -> addnodes.pending_xref:
    about = {"refdomain": "std", "reftype": "term", "reftarget": term, "refexplicit": True, "refdoc": page}
    return addnodes.pending_xref("", nodes.inline("", word, classes=["term"]), refwarn=True, **about)


def _read_terms(app: Sphinx, config: object) -> None:
    config.glossary_terms = terms_of((Path(app.srcdir) / f"{GLOSSARY}.md").read_text(encoding="utf-8"))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transform; a changed glossary makes every page anew."""
    app.add_config_value("glossary_terms", [], "env")
    app.connect("config-inited", _read_terms)
    app.add_transform(LinkTerms)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
