"""Reading and writing specs: a TOML file, or its content, ↔ a Spec."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bayescale.core import shipped, toml
from bayescale.core.dims import DIMS, MADE
from bayescale.core.errors import SpecError, UnknownName
from bayescale.core.files import kind_of, path_of
from bayescale.modelling import capability
from bayescale.modelling.custom import CustomModel, found_model, permit_model
from bayescale.modelling.model import Model, gains_of
from bayescale.modelling.spec import Observed, Setting, Spec, Trend, inputs_of, table_of, unknown
from bayescale.parts import base, catalogue
from bayescale.parts.base import Parameter
from bayescale.parts.priors import PRIORS, Prior
from bayescale.runs.columns import LABELS, NUMBERS

# For each key, the type of its value, the type of its items, and an example.
_KEYS: dict[str, tuple[type | tuple[type, ...], type | tuple[type, ...], str]] = {
    "title": (str, str, 'title = "The law of my runs"'),
    "model": (str, str, 'model = "my_module:my_model"'),
    "benchmarks": (Mapping, Mapping, "benchmarks = {mmlu = {chance = 0.25}}"),
    "law": (str, str, 'law = "additive"'),
    "inputs": ((list, tuple), str, 'inputs = ["params", "tokens"]'),
    "resources": ((list, tuple), str, 'resources = ["repetition"]'),
    "penalties": ((list, tuple), str, 'penalties = ["harm"]'),
    "anchor": (Mapping, (int, float), "anchor = {params = 2e8, tokens = 5e9, loss = 3.0}"),
    "discrepancy": ((list, tuple, str), str, 'discrepancy = ["walk", "growth"]'),
    "reference": (Mapping, (int, float), "reference = {params = 1e8, tokens = 2e9}"),
    "range": (Mapping, (list, tuple), "range = {params = [1e7, 1e9], tokens = [1e8, 1e11]}"),
    "learned": (Mapping, str, 'learned = {runs = "open-families", model = "coupled-unpooled"}'),
    "covariates": (Mapping, (list, tuple), 'covariates = {curated = ["tokens"]}'),
    "fields": (Mapping, Mapping, "fields = {local = {knots = 12}}"),
    "responses": (Mapping, (str, Mapping), 'responses = {loss = "student-t"}'),
    "pooling": (Mapping, str, 'pooling = {default = "partial"}'),
    "parameters": (Mapping, Mapping, "parameters = {alpha_N = {spread = 0.1}}"),
}
_CODE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
"""Name of a custom model: ``module:function``."""
_DEEPEST = 6  # levels of tables and lists; a trend's covariance has five
_LEAST = 1e-100  # size of a figure of a prior, whose square is a number; the largest is its inverse
_SHOWN = 200  # characters of a value that a message quotes
_ALL_DIGITS = 17  # digits of a double, so that reading returns what was written
DEFAULT = "default"
"""Name of the spec that is used by default."""

_INPUTS = ("params", "tokens", "flops", "examples", "active_params", "step")
# Columns that have a meaning, and names that forecasts and fits use.
_NO_COVARIATES = {*NUMBERS, *LABELS, *MADE, *DIMS, "family", "run_id", "benchmark", "fit", "queries", "record",
                  "response", "seed"}  # fmt: skip
_NOT_OWN = _NO_COVARIATES - {"score"}
"""Names that a custom response cannot have, because other columns have them."""
_OF_PARTS = ("law", "resources", "penalties", "responses", "discrepancy", "pooling")
"""Keys whose values name parts."""
_SETTINGS = ("prior", "pooling", "spread", "trend")


def load_spec(source: str | Path, *, allow_code: bool = False) -> Any:
    """Load a spec from a TOML file, or a shipped one by its name.

    Parameters
    ----------
    source : str or Path
        Path of the file, name of a shipped spec, or ``"module:function"`` of a custom model.
    allow_code : bool
        Whether parts that the file names as ``"module:Class"`` may be imported, which runs their code. Modules are
        searched next to the file and on Python's path.

    Returns
    -------
    Spec or CustomModel

    Raises
    ------
    UnknownName
        If there is no such file and no shipped spec of that name.
    SpecError
        If the file is not TOML, names or sets something that does not exist, or names code that is not allowed.

    Examples
    --------
    >>> load_spec("coupled").law
    'coupled'
    """
    if _CODE.fullmatch(str(source)):
        content = {"model": str(source)}
        if allow_code or catalogue.CODE_ALLOWED.get():
            permit_code(content, Path.cwd())
        return make_spec(str(source), **content)
    path = path_of(source, SpecError)
    if path.suffix != ".toml" and kind_of(path, SpecError) != "file":
        path = shipped.locate("models", str(source))
    try:
        content = toml.load(path)
    except FileNotFoundError:
        raise UnknownName(f"no spec at {path}", expected="the path of a TOML file, or a built-in name") from None
    except (OSError, ValueError) as error:
        raise SpecError(f"{path} is not TOML", got=str(error), hint="see models/additive.toml") from None
    if allow_code or catalogue.CODE_ALLOWED.get():
        permit_code(content, path.absolute().parent)
    return make_spec(path.stem, **content)


def permit_code(content: Mapping[str, Any], folder: Path | None = None) -> None:
    """Import the parts that a spec's content names as ``"module:Class"``, which runs their code.

    Parameters
    ----------
    content : mapping
        Content of the TOML file.
    folder : Path, optional
        Searched for the modules before the usual places.

    Raises
    ------
    SpecError
        If a module or class does not exist, or is not a part or a model.
    """
    if "model" in content and content["model"] != capability.NAME:
        permit_model(str(content["model"]), folder)
    for name in _texts([content.get(key) for key in _OF_PARTS]):
        if ":" in name:
            catalogue.permit(name, folder)


def _texts(value: Any) -> Iterator[str]:
    """Yield the strings in a value, including keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        yield from (
            text for one in ([*value, *value.values()] if isinstance(value, Mapping) else value) for text in _texts(one)
        )


def _named(value: Any) -> Any:
    """Return the value with the name of each part in place of its class. The caller's own classes are allowed."""
    if isinstance(value, type) and issubclass(value, base.Part):
        return catalogue.allow(value)
    if isinstance(value, Mapping):
        return {_named(key): _named(one) for key, one in value.items()}
    return [_named(one) for one in value] if isinstance(value, list | tuple) else value


def make_spec(name: str, /, **content: Any) -> Any:
    """Make a spec from the content of a TOML file (see ``models/``); defaults are filled in.

    Parameters
    ----------
    name : str
        Name of the spec.
    **content
        Keys of the TOML file. Your own class can replace the name of a part: ``law=Tied``.

    Returns
    -------
    Spec or CustomModel

    Raises
    ------
    SpecError
        If it names or sets something that does not exist, or names code that is not allowed.
    """
    content |= {key: _named(content[key]) for key in _OF_PARTS if key in content}
    _check_shapes(name, content)
    if "model" in content:
        return _own(name, content)
    named = _of_parts(name, content)
    law = named.part("laws", named.law)
    inputs = tuple(content.get("inputs", law.inputs))
    _check_inputs(named, law, inputs)
    _check_resources(name, law, inputs, named.resources)
    _check_penalties(named, law, inputs)
    _check_discrepancy(name, inputs, named.discrepancy)
    covariates = tuple((column, tuple(worth)) for column, worth in content.get("covariates", {}).items())
    _check_covariates(name, law, inputs, covariates)
    table = table_of([*named.spending, *named.discrepancies], named.instances, gains_of(covariates))
    settings = _settings(name, table, dict(content.get("pooling", {})), dict(content.get("parameters", {})))
    _check_across(named, dict(settings))
    reference = dict(content.get("reference", {}))
    _check_reference(name, inputs, reference, settings)
    ends = _range(name, reference, dict(content.get("range", {})))
    spec = replace(
        named,
        title=content.get("title", name),
        inputs=inputs,
        settings=settings,
        anchor=_anchor(name, inputs, dict(content.get("anchor", {}))),
        learned=tuple(sorted(dict(content.get("learned", {})).items())),
        covariates=covariates,
        reference=tuple((column, float(reference[column])) for column in inputs if reference),
        range=tuple((column, ends[column]) for column in inputs if ends),
    )
    return replace(spec, fields=_fields(spec, content.get("fields", {})))


def _of_parts(name: str, content: Mapping[str, Any]) -> Spec:
    """Return a spec that names its parts, with their fields, and nothing else yet."""
    if "law" not in content:
        raise SpecError(f"spec {name!r} names no law", expected='for example law = "additive"')
    responses = tuple(_observed(name, *one) for one in content.get("responses", {"loss": "student-t"}).items())
    _check_responses(name, responses)
    said = content.get("discrepancy", ())
    discrepancy = (said,) if isinstance(said, str) else tuple(said)
    resources, penalties = (tuple(content.get(key, ())) for key in ("resources", "penalties"))
    named = Spec(name, name, content["law"], (), resources, responses, (), discrepancy, penalties=penalties)
    fields = {part: given for part, given in content.get("fields", {}).items() if part in named.named}
    return replace(named, fields=_fields(named, fields))


def _own(spec: str, content: Mapping[str, Any]) -> CustomModel:
    if content["model"] == capability.NAME:
        return capability.read_capability(spec, content)
    if more := set(content) - {"model", "title", "learned"}:
        raise SpecError(f"spec {spec!r} names a custom model, which has no {', '.join(sorted(more))}",
                        hint="remove these keys, or compose a model of parts")  # fmt: skip
    found = found_model(content["model"])
    return replace(found, title=content.get("title", found.title))


def _check_shapes(spec: str, content: Mapping[str, Any]) -> None:
    for key, value in content.items():
        if key not in _KEYS:
            raise unknown(f"key of spec {spec!r}", key, _KEYS)
        kind, items, example = _KEYS[key]
        fits = isinstance(value, kind)
        if fits and not isinstance(value, str):
            fits = all(isinstance(item, items) for item in (value.values() if isinstance(value, Mapping) else value))
        if not fits:
            raise SpecError(
                f"spec {spec!r}: {key} has the wrong shape", expected=f"for example {example}", got=_short(value)
            )
        _check_values(f"spec {spec!r}: {key}", value)


def _check_values(what: str, value: Any, depth: int = 0) -> None:
    """Refuse values that no spec can have, at any depth: numbers beyond a double's range, dates, deep nesting."""
    if depth > _DEEPEST:
        raise SpecError(f"{what} is nested too deeply", expected=f"at most {_DEEPEST} levels")
    if isinstance(value, Mapping | list | tuple):
        for one in value.values() if isinstance(value, Mapping) else value:
            _check_values(what, one, depth + 1)
    elif isinstance(value, int) and abs(value) > sys.float_info.max:
        raise SpecError(f"{what} holds a number that is too large", expected=f"at most {sys.float_info.max:.2g}",
                        got=f"a number of {value.bit_length()} bits")  # fmt: skip
    elif not isinstance(value, str | int | float | None):
        raise SpecError(f"{what} is neither text nor a number", got=_short(value))


def _short(value: Any) -> str:
    return text if len(text := repr(value)) <= _SHOWN else f"{text[:_SHOWN]}…"


def _check_inputs(named: Spec, law: base.AbstractLaw, inputs: tuple[str, ...]) -> None:
    spec, known = named.name, tuple(dict.fromkeys([*_INPUTS, *(name for of in named.spending for name in of.columns)]))
    for column in inputs:
        if column not in known:
            raise unknown(f"input of spec {spec!r}", column, known)
    if len(inputs) != len(law.inputs) or len(set(inputs)) != len(inputs):
        raise SpecError(
            f"spec {spec!r}: the inputs do not fit law {law.name!r}",
            expected=f"{len(law.inputs)} of: {', '.join(known)}",
            got=str(list(inputs)),
        )


def _anchor(spec: str, inputs: tuple[str, ...], anchor: dict[str, float]) -> tuple[tuple[str, float], ...]:
    columns = (*inputs, "loss", *({"slope"} & set(anchor)))
    if anchor and (set(anchor) != set(columns) or not all(0 < value < float("inf") for value in anchor.values())):
        raise SpecError(
            f"spec {spec!r}: the anchor does not fit the inputs",
            expected=f"a positive number for each of: {', '.join((*inputs, 'loss'))}, and optionally slope",
            got=repr(anchor),
        )
    return tuple((column, float(anchor[column])) for column in columns if anchor)


def _check_resources(spec: str, law: base.AbstractLaw, inputs: tuple[str, ...], resources: tuple[str, ...]) -> None:
    columns = inputs_of(law, inputs)
    for resource in map(lambda r: catalogue.part("resources", r), resources):
        lost = [name for name, able in resource.changes.items() if columns.get(name) not in able]
        if lost:
            fitting = " and ".join(f"{name} (column {' or '.join(able)})" for name, able in resource.changes.items())
            raise SpecError(
                f"spec {spec!r}: resource {resource.name!r} would have no effect, because the law does not read "
                + " or ".join(lost),
                expected=f"a law of {' and '.join(resource.changes)}, whose inputs are {fitting}",
                got=f"law {law.name!r} of {', '.join(inputs)}",
                hint=f"use a column of {' and of '.join(lost)} as an input"
                if set(lost) <= set(law.inputs)
                else "use additive or coupled",
            )
        if resource.balanced and law.balance is None:
            raise SpecError(
                f"spec {spec!r}: resource {resource.name!r} needs a law with a balance of params and tokens",
                got=f"law {law.name!r}",
                hint="use additive or coupled",
            )


def _check_penalties(named: Spec, law: base.AbstractLaw, inputs: tuple[str, ...]) -> None:
    if len(set(named.penalties)) < len(named.penalties):
        raise SpecError(f"spec {named.name!r} names a penalty twice", got=", ".join(named.penalties))
    for penalty in named.penalizing:
        if lost := [name for name in penalty.reads if name not in inputs_of(law, inputs)]:
            raise SpecError(
                f"spec {named.name!r}: penalty {penalty.name!r} reads {' and '.join(lost)}, which the law does not",
                expected=f"a law of {' and '.join(penalty.reads)}",
                got=f"law {law.name!r} of {', '.join(inputs)}",
                hint="use additive or coupled",
            )


def _check_reference(
    spec: str, inputs: tuple[str, ...], reference: Mapping[str, float], settings: tuple[tuple[str, Setting], ...]
) -> None:
    if reference and (set(reference) != set(inputs) or not all(0 < x < float("inf") for x in reference.values())):
        raise SpecError(
            f"spec {spec!r}: the reference does not fit the inputs",
            expected=f"a positive number for each of: {', '.join(inputs)}",
            got=repr(reference),
        )
    for name, setting in settings:
        columns = set(dict(setting.trend.slopes)) if setting.trend else set()
        if not columns <= set(reference):
            raise SpecError(
                f"spec {spec!r}: the trend of {name!r} has no reference to start from",
                expected=f"a reference of: {', '.join(inputs)}; and a trend in some of these",
                got=f"a trend in {', '.join(sorted(columns))}, a reference of {', '.join(reference) or 'nothing'}",
            )


def _range(spec: str, reference: Mapping[str, float], content: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return the smallest and largest value of each input among the anchors from which trends were learned."""
    try:
        ends = {column: (float(low), float(high)) for column, (low, high) in content.items()}
        right = all(0 < low <= reference[column] <= high < float("inf") for column, (low, high) in ends.items())
        if ends and not (right and set(ends) == set(reference)):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise SpecError(
            f"spec {spec!r}: the range does not fit the reference",
            expected=f"smallest and largest for each of: {', '.join(reference) or 'a reference'}; with it between them",
            got=repr(dict(content)),
        ) from None
    return ends


def _check_covariates(
    spec: str,
    law: base.AbstractLaw,
    inputs: tuple[str, ...],
    covariates: tuple[tuple[str, tuple[str, ...]], ...],
) -> None:
    able = [column for column in inputs if column in ("params", "tokens", "active_params")]
    for column, worth in covariates:
        if not (column.isascii() and column.isidentifier()) or column in _NO_COVARIATES:
            raise SpecError(
                f"spec {spec!r}: {column!r} is not a valid name of a covariate",
                expected="your own column of numbers, with a name of letters, digits and underscores",
                hint="rename the column",
            )
        if not worth or not all(one in able for one in worth) or len(set(worth)) < len(worth):
            raise SpecError(
                f"spec {spec!r}: covariate {column!r} does not say what it makes worth more",
                expected=f"some of: {', '.join(able) or f'params, tokens, which law {law.name!r} does not read'}",
                got=repr(list(worth)),
            )


def _observed(spec: str, name: str, said: str | Mapping[str, Any]) -> Observed:
    """Return the setting of one response, from its noise alone or from its kind and noise."""
    if isinstance(said, str):
        return Observed(name, name, said)
    columns, kinds = said.get("of", []), {key: value for key, value in said.items() if key != "of"}
    named = isinstance(columns, list | tuple) and all(isinstance(column, str) for column in columns)
    if set(kinds) != {"response", "noise"} or not named or not all(isinstance(value, str) for value in kinds.values()):
        raise SpecError(
            f"spec {spec!r}: response {name!r} does not name its kind and its noise",
            expected=f'for example {name} = {{response = "accuracy", noise = "beta-binomial"}}, '
            'and of = ["hellaswag", "piqa"] for a battery of several columns',
            got=_short(dict(said)),
        )
    for own in columns if "of" in said else [name] * (said["response"] != name):
        if not (own.isascii() and own.isidentifier()) or own in _NOT_OWN:
            raise SpecError(
                f"spec {spec!r}: {own!r} cannot name a response",
                expected="your own column, with a name of letters, digits and underscores",
                hint="rename the column",
            )
    if "of" in said:
        _check_battery(spec, name, said["response"], columns)
    return Observed(name, **kinds, of=tuple(columns))


def _check_battery(spec: str, name: str, kind: str, columns: Sequence[str]) -> None:
    if len(columns) < 2 or len(set(columns)) < len(columns):
        raise SpecError(f"spec {spec!r}: the battery {name!r} does not name different columns",
                        expected="at least two", got=", ".join(columns) or "none")  # fmt: skip
    if name in (kind, *columns) or not (name.isascii() and name.isidentifier()) or name in _NOT_OWN:
        raise SpecError(f"spec {spec!r}: {name!r} cannot name a battery",
                        expected="a name of letters, digits and underscores that no response has")  # fmt: skip


def _check_responses(spec: str, responses: tuple[Observed, ...]) -> None:
    if not responses:
        raise SpecError(f"spec {spec!r} observes nothing", expected='[responses]\nloss = "student-t"')
    names = [name for of in responses for name in of.of or (of.name,)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SpecError(f"spec {spec!r} names a response twice", got=", ".join(twice))
    for of in responses:
        kind, fits = catalogue.part("responses", of.response).kind, catalogue.part("noise", of.noise).kind
        if kind != fits:
            able = [n for n, c in catalogue.catalogue("bayescale.parts.noise").items() if c.kind == kind]
            raise SpecError(
                f"spec {spec!r}: noise {of.noise!r} does not fit response {of.name!r}",
                expected=f"one of: {', '.join(able)}",
                got=of.noise,
            )


def _check_discrepancy(spec: str, inputs: tuple[str, ...], discrepancy: tuple[str, ...]) -> None:
    if len(set(discrepancy)) < len(discrepancy):
        raise SpecError(f"spec {spec!r} names a discrepancy twice", got=", ".join(discrepancy))
    for name in discrepancy:
        if catalogue.part("discrepancies", name).planar and len(inputs) != 2:
            raise SpecError(
                f"spec {spec!r}: discrepancy {name!r} needs a law of two inputs",
                got=", ".join(inputs),
                hint="use a law of params and tokens, or remove the discrepancy",
            )


def _settings(
    spec: str, table: dict[str, Parameter], pooling: dict[str, str], overrides: dict[str, Any]
) -> tuple[tuple[str, Setting], ...]:
    ways = list(catalogue.catalogue("bayescale.parts.pooling"))
    for key, way in pooling.items():
        if way not in ways:
            raise unknown(f"way of pooling {key!r}", way, ways)
    default = pooling.pop("default", "partial")
    for key in [*pooling, *overrides]:
        if key not in table:
            raise unknown(f"parameter of spec {spec!r}", key, table)
    settings = []
    for name, row in table.items():
        override = dict(overrides.get(name, {}))
        for key in override:
            if key not in _SETTINGS:
                raise unknown(f"setting of parameter {name!r}", key, _SETTINGS)
        way = override.get("pooling", pooling.get(name, default))
        if way not in ways:
            raise unknown(f"way of pooling {name!r}", way, ways)
        prior = _prior(name, override["prior"]) if "prior" in override else row.prior
        spread = override.get("spread", row.spread)
        if not (isinstance(spread, int | float) and 0 < spread < float("inf")):
            raise SpecError(f"spread of {name!r} is not a scale", expected="a positive number", got=repr(spread))
        if catalogue.part("pooling", way).known and spread >= prior.scale:
            raise SpecError(
                f"families of one suite would vary more in {name!r} than all families",
                expected=f"a spread under the prior's scale, {prior.scale:g}",
                got=f"{spread:g}",
            )
        settings.append((name, Setting(prior, way, float(spread), _trend(name, override.get("trend")))))
    return tuple(settings)


def _check_across(named: Spec, settings: Mapping[str, Setting]) -> None:
    """Refuse a parameter of a battery that is pooled in lots: its responses are in none."""
    for name, battery in named.across.items():
        if catalogue.part("pooling", settings[name].pooling).lots:
            raise SpecError(
                f"spec {named.name!r}: {name!r} has one value for each response of the battery {battery!r}, "
                f"and cannot be pooled by {settings[name].pooling}",
                expected='"partial", "complete" or "none"',
            )


def _trend(name: str, content: Mapping[str, Any] | None) -> Trend | None:
    if content is None:
        return None
    try:
        fields = dict(content)
        slopes = tuple((str(column), float(slope)) for column, slope in fields.pop("slopes").items())
        covariance, before = np.array(fields.pop("covariance"), float), float(fields.pop("before"))
        right = not fields and covariance.shape == (len(slopes),) * 2 and np.isfinite([s for _, s in slopes]).all()
        if (
            not (right and 0 <= before < float("inf"))
            or (covariance != covariance.T).any()
            or np.linalg.eigvalsh(covariance).min() < 0
        ):
            raise ValueError
    except (AttributeError, KeyError, TypeError, ValueError, np.linalg.LinAlgError):
        raise SpecError(
            f"the trend of {name!r} is not valid",
            expected="for example {slopes = {params = -0.5, tokens = 0.3}, covariance = [[0.01, 0.0], [0.0, 0.01]], "
            "before = 0.35}: e-folds of the prior per e-fold of the anchor, their covariance, and their earlier SD",
            got=repr(content),
        ) from None
    return Trend(slopes, tuple(map(tuple, covariance.tolist())), before)


def _fields(spec: Spec, content: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[str, tuple], ...]:
    """Return the fields of the spec's parts that differ from their defaults."""
    found = {}
    for name, given in content.items():
        if name not in spec.named:
            raise unknown(f"part of spec {spec.name!r}", name, spec.named)
        found[name] = catalogue.find(f"bayescale.parts.{spec.named[name]}", name).changed(given)
    return tuple((name, tuple(sorted(own.items()))) for name, own in sorted(found.items()) if own)


def _prior(name: str, content: Mapping[str, Any]) -> Prior:
    try:
        fields = dict(content)
        kind = str(fields.pop("kind"))
        if kind not in PRIORS:
            raise unknown("kind", kind, PRIORS)
        return PRIORS[kind](**{key: _figure(value) for key, value in fields.items()})
    except SpecError as error:
        raise SpecError(f"the prior of {name!r}: {error}") from None
    except (KeyError, TypeError, ValueError):
        raise SpecError(
            f"the prior of {name!r} is not valid",
            expected='finite numbers of a usual size, such as {kind = "LogNormal", median = 0.33, scale = 0.35}',
            got=repr(content),
        ) from None


def _figure(value: Any) -> float:
    """Return a figure of a prior; raise ValueError for text, a truth value, or a number whose square is none."""
    if isinstance(value, bool | np.bool_ | str) or not (value == 0 or _LEAST <= abs(value) <= 1 / _LEAST):
        raise ValueError
    return float(value)


def write_spec(spec: Model, path: str | Path) -> Path:
    """Write a spec as TOML, which :func:`load_spec` reads.

    Parameters
    ----------
    spec : Spec or CustomModel
    path : str or Path
        The file, which is written completely or not at all.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    QueryError
        If the file cannot be written, or a name or title cannot be written as TOML.

    Examples
    --------
    >>> write_spec(load_spec("additive"), "mine.toml")  # doctest: +SKIP
    """
    content = spec.to_dict()
    last = {key: content.pop(key) for key in ("parameters", "benchmarks") if key in content}
    head = {"title": spec.title} | content | ({"learned": dict(spec.learned)} if spec.learned else {})
    return toml.write(head | last, path, digits=_ALL_DIGITS)
