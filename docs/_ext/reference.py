"""Directives that write the reference from the catalogue, and pages of the public API from the docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import catalogue
from catalogue import ENTRIES, NOTHING, SIMULATED, Part
from docutils import nodes
from numpydoc.docscrape_sphinx import SphinxDocString
from pictures import PICTURED, prior_picture
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

type Nodes = list[nodes.Node]


class Reference(SphinxDirective):
    """Writes a section for each thing of a kind, in the order of its names."""

    required_arguments = 1

    def run(self) -> Nodes:
        """Return the sections."""
        kind = self.arguments[0]
        found, write = _KINDS[kind]
        return [self.section(kind, name, write(self, name, thing)) for name, thing in found().items()]

    def section(self, kind: str, name: str, content: Nodes) -> nodes.section:
        """Return a section with an anchor of its own."""
        made = nodes.section("", nodes.title(name, name), *content, names=[name], ids=[nodes.make_id(f"{kind}-{name}")])
        self.state.document.note_implicit_target(made, made)
        return made

    def docstring(self, thing: Any) -> Nodes:
        """Return a docstring in numpydoc's form as nodes."""
        return self.parse_text_to_nodes(str(SphinxDocString(inspect.getdoc(thing) or "")))


def _part(page: Reference, name: str, part: Any) -> Nodes:
    kind, content = page.arguments[0], page.docstring(part)
    part = part() if issubclass(part, Part) else part  # the tables of a part may depend on its fields
    facts = [("Inputs", ", ".join(part.inputs))] if hasattr(part, "inputs") else []
    facts += [("Needs the columns", ", ".join(part.requires))] if getattr(part, "requires", ()) else []
    facts += [("Source", part.source)] if getattr(part, "source", "") else []
    facts += [(head, found) for key, head in _FACTS.items() if (found := getattr(part, key, ""))]
    if kind in ENTRIES:
        facts += [("Reproduced", part.reproduced or NOTHING), ("Tested on", ", ".join(part.runs) or SIMULATED)]
    content.append(_facts(facts))
    if getattr(part, "parameters", {}):
        rows = [(n, _meaning(p), _words(p.prior), p.source) for n, p in part.parameters.items()]
        content.append(_table(("parameter", "meaning", "default prior", "source of the prior"), rows))
    if getattr(part, "quantities", {}):
        content.append(_table(("reported", "meaning"), [(n, _meaning(q)) for n, q in part.quantities.items()]))
    picture = prior_picture(kind, name, part) if kind in PICTURED else ""
    return [*content, *([nodes.raw("", picture, format="html")] if picture else [])]


def _check(page: Reference, name: str, check: Any) -> Nodes:
    return [*page.docstring(check), _facts([("Question", check.asks), ("Source", check.source)])]


def _prior(page: Reference, name: str, prior: Any) -> Nodes:
    return [*page.docstring(prior), _facts([("Support of the parameter", prior.support)])]


def _documented(page: Reference, name: str, thing: Any) -> Nodes:
    return page.docstring(thing)


def _model(page: Reference, name: str, spec: Any) -> Nodes:
    if not spec.law:
        return _lawless(page, spec)
    facts = [
        ("Law", f"{spec.law}, of {', '.join(spec.inputs)}"),
        ("Resources", ", ".join(spec.resources)),
        ("Penalties", ", ".join(spec.penalties)),
        ("Discrepancies", ", ".join(spec.discrepancy)),
        ("Observes", "; ".join(f"{of.name} with {of.noise} noise" for of in spec.responses)),
        (f"Tested on {SIMULATED}", ", ".join(catalogue.simulated(spec))),
        ("Priors learned from", dict(spec.learned).get("runs", "")),
        ("Priors that move are given at", ", ".join(f"{value:.4g} {column}" for column, value in spec.reference)),
        ("Digest", spec.digest[:16]),
    ]
    rows = [
        (parameter, _meaning(spec.table[parameter]), _words(setting.prior), _trend(setting), setting.pooling)
        for parameter, setting in spec.parameters.items()
    ]
    head = ("parameter", "meaning", "prior", "change per e-fold of the anchor", "pooling")
    return [nodes.paragraph("", spec.title), _facts(facts), _table(head, rows), *_fits(spec)]


def _lawless(page: Reference, spec: Any) -> Nodes:
    """Return the page of the model of public models: its formula, its options and its benchmarks."""
    said = spec.to_dict()
    options = ", ".join(f"{key} = {value}" for key, value in said["fields"][said["model"]].items())
    facts = [
        ("Model", f"{said['model']}, of {', '.join(said['inputs']) or 'scores alone'}"),
        ("Options", options),
        ("Digest", spec.digest[:16]),
    ]
    tests = said["benchmarks"].items()
    rows = [(name, ", ".join(f"{key} {value}" for key, value in own.items())) for name, own in tests]
    made = spec.maker[0]
    return [nodes.paragraph("", spec.title), _facts(facts), _table(("benchmark", "what is said of it"), rows),
            *_fits(spec), *page.docstring(made)]  # fmt: skip


def _fits(spec: Any) -> Nodes:
    """Return a table of what fits of shipped runs take, if any were measured."""
    head = ("runs", "rows", "seconds in all", "of these, sampling", "verdict", "why it is long or has not converged")
    rows = [
        (f"{row['runs']} {row['where']}".strip(), *(row[name] for name in ("rows", "fit_s", "sampling_s")),
         row["verdict"], row["why"])
        for row in catalogue.fits(spec.name)
    ]  # fmt: skip
    if not rows:
        return []
    said = "Fits of shipped runs on two cores, with an empty cache of programs, so that compiling is included."
    return [nodes.paragraph("", said), _table(head, rows)]


def _card(page: Reference, name: str, card: dict[str, Any]) -> Nodes:
    facts = [("Rows", f"{card['rows']:,}"), ("Families", str(card["families"]))]
    facts += [(title, card[key]) for key, title in _CARD.items() if card.get(key)]
    content = [nodes.paragraph("", card["title"] + "."), nodes.paragraph("", card["summary"]), _facts(facts)]
    columns = [(name, column["unit"], column["meaning"]) for name, column in card["columns"].items()]
    content.append(_table(("column", "unit", "meaning"), columns))
    content += _listed("Known faults", card["faults"])
    content += _listed("Excluded", [f"{each['rows']} rows: {each['reason']}" for each in card["exclusions"]])
    return content


def _command(page: Reference, name: str, command: Any) -> Nodes:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    usage = " ".join([name, "[OPTIONS]", *(p.make_metavar(_context(command)) for p in arguments)])
    content: Nodes = [nodes.literal_block(usage, usage, language="text")]
    content += [_paragraph(text) for text in (command.help or "").split("\n\n")]
    rows = [p.get_help_record(_context(command)) for p in command.params]
    return [*content, _table(("option", "meaning"), [row for row in rows if row and row[1]])]


def _paragraph(text: str) -> nodes.Element:
    """Return a paragraph of a command's help; what click leaves as it is, as code."""
    kept = text.strip()
    if kept.startswith("\b"):
        lines = "\n".join(line.strip() for line in kept.splitlines()[1:])
        return nodes.literal_block(lines, lines, language="text")
    return nodes.paragraph("", " ".join(kept.split()).replace("``", ""))


def _context(command: Any) -> Any:
    return command.context_class(command)


_FACTS = {"use": "Use it when", "avoid": "Not when"}
_CARD = {
    "source": "Source",
    "source_path": "Files of the source",
    "citation": "Citation",
    "licence": "Licence",
    "licence_note": "Note on the licence",
    "params_kind": "How params are counted",
    "tokens_kind": "How tokens are counted",
    "flops_kind": "How compute is counted",
    "loss_unit": "Unit of the loss",
    "made": "How the table was made",
}
_PARTS = ("laws", "resources", "penalties", "responses", "noise", "discrepancies", "pooling", "decisions")
_KINDS: dict[str, tuple[Callable[[], dict[str, Any]], Callable[[Reference, str, Any], Nodes]]] = {
    **{kind: ((lambda kind=kind: catalogue.parts(kind)), _part) for kind in _PARTS},
    "checks": (lambda: catalogue.parts("checks"), _check),
    "priors": (catalogue.priors, _prior),
    "risks": (catalogue.risks, _documented),
    "plots": (catalogue.plots, _documented),
    "models": (catalogue.models, _model),
    "data": (catalogue.data, _card),
    "commands": (lambda: dict(catalogue.commands()), _command),
}


def _meaning(row: Any) -> str:
    return row.meaning if row.unit == "1" else f"{row.meaning} [{row.unit}]"


def _words(prior: Any) -> str:
    low, high = (_number(end) for end in prior.interval())
    return f"{type(prior).__name__}, median {_number(prior.median)}, 90% in {low} to {high}"


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _trend(setting: Any) -> str:
    return ", ".join(f"{slope:+.2g} ({column})" for column, slope in setting.trend.slopes) if setting.trend else ""


def _facts(rows: Iterable[tuple[str, str]]) -> nodes.field_list:
    """Return names with their values; those without a value are left out."""
    fields = [
        nodes.field("", nodes.field_name("", name), nodes.field_body("", nodes.paragraph("", "", *_linked(value))))
        for name, value in rows
        if value
    ]
    return nodes.field_list("", *fields)


def _listed(title: str, items: Sequence[str]) -> Nodes:
    """Return a list under a line; nothing where there are no items."""
    entries = [nodes.list_item("", nodes.paragraph("", item)) for item in items]
    return [nodes.paragraph("", "", nodes.strong("", title)), nodes.bullet_list("", *entries)] if entries else []


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> nodes.table:
    """Return a table whose first column is code; columns without content are left out."""
    kept = [i for i in range(len(head)) if any(row[i] for row in rows)]
    group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in kept), cols=len(kept))
    group += nodes.thead("", _row([nodes.paragraph("", head[i]) for i in kept]))
    group += nodes.tbody("", *(_row([_cell(row[i], code=not i) for i in kept]) for row in rows))
    return nodes.table("", group)


def _cell(text: str, *, code: bool) -> nodes.paragraph:
    return nodes.paragraph("", "", *([nodes.literal(text, text)] if code else _linked(text)))


def _linked(text: str) -> Nodes:
    """Return text with its papers on arXiv as links, and what stands between backticks as code."""
    return [node for part in re.split(r"(arXiv:\d+\.\d+|`[^`]+`)", text) if part for node in [_inline(part)]]


def _inline(part: str) -> nodes.Node:
    if part.startswith("arXiv:"):
        return nodes.reference(part, part, refuri=f"https://arxiv.org/abs/{part.removeprefix('arXiv:')}")
    return nodes.literal(part, part.strip("`")) if part.startswith("`") else nodes.Text(part)


def _row(cells: Iterable[nodes.paragraph]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", cell) for cell in cells))


_API = """\
Public functions and classes
============================

Everything that ``import bayescale as bs`` offers, by the package that defines it.

"""


def _write_api(app: Sphinx, config: object) -> None:
    """Write the page that lists the public API; autosummary makes a page of each name on it."""
    page = _API
    for package, names in catalogue.public().items():
        listed = "".join(f"   bayescale.{name}\n" for name in names)
        page += f"{package}\n{'-' * len(package)}\n\n{catalogue.about(package)}\n\n"
        page += f".. autosummary::\n   :toctree: .\n\n{listed}\n"
    path = Path(app.srcdir) / "reference" / "api" / "index.rst"
    path.parent.mkdir(exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != page:
        path.write_text(page, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive, and write the list of the public API before Sphinx looks for pages."""
    app.add_directive("catalogue", Reference)
    app.connect("config-inited", _write_api)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
