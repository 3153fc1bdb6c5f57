"""List and describe what ships: models, data, laws and the other catalogues."""

from __future__ import annotations

import inspect
import re
from typing import Any, NamedTuple

import bayescale
from bayescale.core import shipped, toml
from bayescale.core.quantities import count, counted
from bayescale.modelling.spec import Spec
from bayescale.modelling.spec_io import load_spec
from bayescale.parts.base import Parameter
from bayescale.parts.catalogue import catalogue, find, part
from bayescale.parts.priors import Prior
from bayescale.prediction import records

ENTRIES = ("laws", "resources", "penalties", "responses", "noise")
"""Kinds of part of which each says on which runs it was tested."""
_PARTS = (*ENTRIES, "discrepancies")
_HOMES = {"checks": "bayescale.evaluation.checks", "decisions": "bayescale.decisions"}

_FACTS = {"use": "use it when", "avoid": "not when", "reproduced": "reproduced"}
SIMULATED = "simulated runs only"
NOTHING = "no published figure"


class _Tool(NamedTuple):
    """A public function or class that is no part: a prior of a law, what follows from a law, or what a law reads."""

    name: str
    source: str
    reproduced: str = ""


_TOOLS = (
    _Tool("exponent_from_dimension", "Sharma and Kaplan 2020, arXiv:2004.10802, abstract"),
    _Tool("exponent_from_zipf", "Hutter 2021, arXiv:2102.04074", "Slopes 0.335, 0.500 and 0.667 of simulated data."),
    _Tool("exponent_from_statistics", "Cagnetta et al. 2026, arXiv:2602.07488"),
    _Tool("exponent_from_modality", "Henighan et al. 2020, arXiv:2010.14701", "Its Table 1."),
    _Tool("limit", "Kaplan et al. 2020, arXiv:2001.08361: L(N) and L(D) of a joint law", "Closed forms of the limits."),
    _Tool("frontier", "Kaplan et al. 2020, arXiv:2001.08361: L(C) of a joint law", "Closed forms of the optimum."),
    _Tool("lower_envelope", "Hoffmann et al. 2022, arXiv:2203.15556: approach 1"),
    _Tool("isoflop_minima", "Hoffmann et al. 2022, arXiv:2203.15556: approach 2"),
    _Tool("Shape", "shapes of published models", "Params of GPT-3, Llama 2 and Llama 3, to the printed digits."),
    _Tool("Accounting", "Porian et al. 2024, arXiv:2406.19146",
          "Exponents of the best params by step of their recipe, 0.835 to 0.497 and 0.864 to 0.519, within 0.01."),
)  # fmt: skip


def _home(kind: str) -> str:
    """Return the package that holds a kind; each kind of part has its own."""
    return _HOMES.get(kind, f"bayescale.parts.{kind}")


def list_of(kind: str) -> list[dict[str, str]]:
    """Return the name and one line of description for each entry of a kind."""
    if kind == "models":
        specs = map(load_spec, shipped.names("models"))
        return [{"name": of.name, "about": of.title, "simulated": ", ".join(simulated(of))} for of in specs]
    if kind == "data":
        return [{"name": n, "about": _card(n)["title"]} for n in shipped.names("data")]
    found = catalogue(_home(kind))
    rows = [{"name": name, "about": _first_line(thing)} for name, thing in found.items()]
    if kind in ENTRIES:
        return [row | {"source": of.source, "reproduced": of.reproduced, "runs": ", ".join(of.runs)}
                for row, of in zip(rows, found.values(), strict=True)]  # fmt: skip
    return rows


def simulated(spec: Any) -> list[str]:
    """Return the names of the parts of a model that were tested on simulated runs only.

    Parameters
    ----------
    spec : Spec or CustomModel
        A model without a law has no such parts.

    Returns
    -------
    list of str
    """
    named = spec.named.items() if spec.law else ()
    return [name for name, kind in named if kind in ENTRIES and not part(kind, name).runs]


def list_words(kind: str, rows: list[dict[str, str]]) -> str:
    """Return what :func:`list_of` returns as text; laws are followed by the other entries and by what serves them.

    Parameters
    ----------
    kind : str
    rows : list of dict

    Returns
    -------
    str
    """
    if kind not in ENTRIES:
        width = max(len(row["name"]) for row in rows)
        listing = [[f"{row['name']:{width}}  {row['about']}", *_only_simulated(row)] for row in rows]
        return "\n".join(line for own in listing for line in own)
    listed = {kind: rows} | ({other: list_of(other) for other in ENTRIES[1:]} if kind == ENTRIES[0] else {})
    heads = len(listed) > 1
    lines = [line for head, found in listed.items() for line in [f"{head}:"] * heads + _entries(found)]
    return "\n".join([*lines, *(_tools() if heads else [])])


def _only_simulated(row: dict[str, str]) -> list[str]:
    return [f"    tested on {SIMULATED}: {row['simulated']}"] if row.get("simulated") else []


def _entries(rows: list[dict[str, str]]) -> list[str]:
    found = []
    for row in rows:
        found += [f"{row['name']}  {row['about']}", f"    source: {row['source']}"]
        found += [f"    reproduced: {row['reproduced'] or NOTHING}", f"    tested on: {row['runs'] or SIMULATED}"]
    return found


def _tools() -> list[str]:
    """Return the priors by theory, and what counts params, tokens and FLOP, as lines."""
    lines = ["priors by theory, and counts:"]
    for tool in _TOOLS:
        lines += [f"{tool.name}  {_first_line(getattr(bayescale, tool.name))}", f"    source: {tool.source}",
                  f"    reproduced: {tool.reproduced or NOTHING}"]  # fmt: skip
    return lines


def one(kind: str, name: str) -> dict[str, Any]:
    """Return everything about one entry of a kind, as plain data."""
    if kind == "data":
        shipped.locate("data", name)
        return _card(name)
    if kind == "models":
        spec = load_spec(name)
        return {"name": spec.name, "title": spec.title, "digest": spec.digest, **spec.to_dict(),
                "simulated": simulated(spec), "learned": dict(spec.learned), "calibration": records.calibration(name),
                "backtests": _backtests(spec),
                "in_words": {n: _prior_words(spec, n) for n in spec.parameters}}  # fmt: skip
    thing = find(_home(kind), name)
    thing = part(kind, name) if kind in _PARTS else thing
    content = {"name": name, "about": inspect.getdoc(thing) or "", "source": thing.source}
    if kind in _PARTS:
        content |= {key: value for key in ("use", "avoid", "reproduced") if (value := getattr(thing, key))}
        content |= {"runs": list(thing.runs)} if kind in ENTRIES else {}
        content["parameters"] = {k: _row_words(p) for k, p in thing.parameters.items()}
        content |= {"fields": thing.defaults()} if thing.defaults() else {}
    if kind == "laws":
        content["inputs"] = list(thing.inputs)
    return content


def observed_words(name: str, said: str | dict[str, str]) -> str:
    """Return in words what a spec says about one response.

    Parameters
    ----------
    name : str
        Name of the response.
    said : str or dict of str
        Its noise; or its ``response``, the kind, and ``noise``.

    Returns
    -------
    str
    """
    if isinstance(said, str):
        return f"{name} with {said} noise"
    return f"{name}, of kind {said['response']}, with {said['noise']} noise"


def words(kind: str, content: dict[str, Any]) -> str:
    """Write what :func:`one` returns as text."""
    if kind == "data":
        return _card_words(content)
    lines = [content.get("title", content["name"])]
    if kind == "models" and "law" not in content:
        return "\n".join([*lines, *_model_lines(content)])
    if kind == "models":
        learned, reference = content["learned"], content.get("reference", {})
        at = ", ".join(f"{count(value)} {column}" for column, value in reference.items())
        where = f"; those with a trend, at a family's reference run of {at}" if reference else ""
        lines += [
            f"digest     {content['digest'][:16]}…",
            f"law        {content['law']} of {', '.join(content['inputs'])}",
            f"resources  {', '.join(content['resources']) or 'none'}",
            *(f"penalties  {', '.join(found)}" for found in [content.get("penalties")] if found),
            *(f"observes   {observed_words(name, said)}" for name, said in content["responses"].items()),
            *(
                f"errors     of the law, added to it: {', '.join(found)}; larger where loss falls steeply"
                for found in [content.get("discrepancy")]
                if found
            ),
            *(f"fields     {name}: {_fields_words(own)}" for name, own in content.get("fields", {}).items()),
            *(f"tested     on {SIMULATED}: {', '.join(found)}" for found in [content["simulated"]] if found),
            *(f"calibrated {records.calibration_words(r, content['digest'])}" for r in [content["calibration"]] if r),
            *(f"backtested {_backtest_words(kept)}" for kept in content["backtests"]),
            *([f"learned    from {learned['runs']}, starting from {learned['model']}"] if learned else []),
            *([f"population {learned['population']}"] if "population" in learned else []),
            *(
                f"range      {column} {count(low)} to {count(high)} on average; outside, priors are wider"
                for column, (low, high) in content.get("range", {}).items()
            ),
            f"priors (90% interval){where}",
        ]
        rows = content["in_words"]
    else:
        lines += _part_lines(content)
        rows = content.get("parameters", {})
        lines += ["", "parameters"] if rows else []
    width = max(map(len, rows), default=0)
    return "\n".join([*lines, *(f"  {name:{width}}  {text}" for name, text in rows.items())])


def _part_lines(content: dict[str, Any]) -> list[str]:
    """Return what a part says of itself, before its parameters."""
    lines = ["", *_flowed(content["about"]), "", f"source: {content['source']}"]
    lines += [f"{head}: {content[key]}" for key, head in _FACTS.items() if content.get(key)]
    if "runs" in content:
        lines += [f"tested on: {', '.join(content['runs']) or SIMULATED}"]
    return lines + ([f"fields: {_fields_words(content['fields'])}"] if "fields" in content else [])


def _flowed(about: str) -> list[str]:
    """Return a docstring with one line a paragraph, which a terminal wraps; what is indented keeps its lines."""
    found: list[str] = []
    for paragraph in about.split("\n\n"):
        kept = re.search(r"^ |::|^---|^- ", paragraph, re.MULTILINE)
        found += ["", *(paragraph.splitlines() if kept else [" ".join(paragraph.split())])]
    return found[1:]


def _model_lines(content: dict[str, Any]) -> list[str]:
    """Return what a model without a law says: the model of public models and its benchmarks."""
    calibrated = content["calibration"]
    tests = {name: ", ".join(f"{key} {value}" for key, value in said.items()) or "from 0 to 1"
             for name, said in content["benchmarks"].items()}  # fmt: skip
    width = max(map(len, tests))
    return [
        f"digest     {content['digest'][:16]}…",
        f"model      {content['model']} of {', '.join(content['inputs']) or 'scores alone'}",
        *(f"fields     {name}: {_fields_words(own)}" for name, own in content["fields"].items() if own),
        *(f"calibrated {records.calibration_words(r, content['digest'])}" for r in [calibrated] if r),
        *(f"backtested {_backtest_words(kept)}" for kept in content["backtests"]),
        "benchmarks",
        *(f"  {name:{width}}  {said}" for name, said in tests.items()),
    ]


def _backtests(spec: Spec) -> list[dict[str, Any]]:
    """Return the shipped backtests of a spec's current code, one per way."""
    record = records.record_of([spec])
    return [] if record is None else list(record.backtests)


def _backtest_words(kept: dict[str, Any]) -> str:
    rows = (f"{100 * row['coverage_90']:.0f}% {row['horizon']}" for row in kept["horizons"])
    note = f" ({records.OTHER})" if records.is_of_another_engine(kept) else ""
    return f"{kept['way']}, on {kept['runs']}: the 90% interval covered {', '.join(rows)}{note}"


def _prior_words(spec: Spec, name: str) -> str:
    setting, row = spec.parameters[name], spec.table[name]
    spread = f"{setting.spread:.2g} {_coordinate(setting.prior)}"
    pooled = part("pooling", setting.pooling).about.format(spread=spread)
    if name in spec.across:
        pooled = pooled.replace("families", f"the responses of {spec.across[name]}")
    slopes = setting.trend.slopes if setting.trend else ()
    moves = f", changing by {' and '.join(f'{slope:+.2g} per e-fold of {c}' for c, slope in slopes)}" if slopes else ""
    return f"{row.meaning} [{row.unit}]: {_describe(setting.prior)}{moves}; {pooled}"


def _fields_words(fields: dict[str, Any]) -> str:
    written = {
        field: ", ".join(value) if isinstance(value, tuple | list) else f"{value:.4g}"
        for field, value in fields.items()
    }
    return "; ".join(f"{field} = {value}" for field, value in written.items())


def _row_words(row: Parameter) -> str:
    source = f" ({row.source})" if row.source else ""
    return f"{row.meaning} [{row.unit}]: {_describe(row.prior)}{source}"


def _describe(prior: Prior) -> str:
    low, high = prior.interval()
    return f"{type(prior).__name__}, median {prior.median:g}, {low:.3g} to {high:.3g}"


def _coordinate(prior: Prior) -> str:
    return {"LogNormal": "e-folds", "LogitNormal": "logits"}.get(type(prior).__name__, "its own unit")


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").splitlines()[0]


def _card(name: str) -> dict[str, Any]:
    return toml.load(shipped.folder("data") / name / "card.toml")


def _card_words(card: dict[str, Any]) -> str:
    plain = ("summary", "source", "citation", "licence", "licence_note", "made")
    lines = [
        card["title"],
        f"{card['rows']} rows, {counted(card['families'], 'family')}; sha256 {card['sha256'][:16]}…",
    ]
    lines += [f"{key + ':':14} {card[key]}" for key in plain if card.get(key)]
    lines += ["columns"] + [f"  {name:16} [{c['unit']}] {c['meaning']}" for name, c in card["columns"].items()]
    lines += ["exclusions"] * bool(card["exclusions"])
    lines += [f"  {e['rows']} runs: {e['reason']}" for e in card["exclusions"]]
    return "\n".join([*lines, "known faults", *(f"  - {fault}" for fault in card["faults"])])
