"""Spec: law × resources × responses and noise × pooling × priors, as plain data.

A spec is one TOML file. Its resolved content, defaults filled in, has a digest; another prior is
another model.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bayescale import law as parts
from bayescale import shipped
from bayescale.errors import SpecError, UnknownName, nearest
from bayescale.law import PRIORS, Parameter, Prior

# What a key holds, what its items are, and how it is written.
_KEYS: dict[str, tuple[type | tuple[type, ...], type | tuple[type, ...], str]] = {
    "title": (str, str, 'title = "The law of my runs"'),
    "law": (str, str, 'law = "additive"'),
    "inputs": ((list, tuple), str, 'inputs = ["params", "tokens"]'),
    "resources": ((list, tuple), str, 'resources = ["repetition"]'),
    "anchor": (Mapping, (int, float), "anchor = {params = 2e8, tokens = 5e9, loss = 3.0}"),
    "discrepancy": ((list, tuple, str), str, 'discrepancy = ["walk", "growth"]'),
    "learned": (Mapping, str, 'learned = {runs = "open-families", model = "coupled-unpooled"}'),
    "responses": (Mapping, str, 'responses = {loss = "student-t"}'),
    "pooling": (Mapping, str, 'pooling = {default = "partial"}'),
    "parameters": (Mapping, Mapping, "parameters = {alpha_N = {spread = 0.1}}"),
}
DEFAULT = "default"
"""Name of the spec that is used when none is named."""

_SETTINGS = ("prior", "pooling", "spread")
_INPUTS = ("params", "tokens", "flops", "active_params", "step")


@dataclass(frozen=True)
class Setting:
    """What a spec says of one parameter: its prior, its pooling and the prior scale of its spread."""

    prior: Prior
    pooling: str
    spread: float


@dataclass(frozen=True)
class Spec:
    """A model as plain data; build one with :func:`load_spec` or :func:`make_spec`.

    Attributes
    ----------
    name, title : str
        For people; not part of the digest.
    law : str
        Name of the law.
    inputs : tuple of str
        Columns of the runs that the law's inputs are read from, in the law's order.
    resources : tuple of str
        Names of the resources, applied in order.
    responses : tuple of (str, str)
        Each response with its noise.
    settings : tuple of (str, Setting)
        Every parameter of every part, resolved.
    discrepancy : tuple of str
        Names of the discrepancies, which add up; empty, none.
    anchor : tuple of (str, float)
        The reference run's inputs and loss, and perhaps the slope that discrepancies go by; empty, the
        geometric means of the inputs and the median loss of the runs that are fitted, and each family's slope.
    learned : tuple of (str, str)
        Where the priors were learnt, if they were: the ``runs``, and the ``model`` whose priors came before.
        Not part of the digest.
    """

    name: str
    title: str
    law: str
    inputs: tuple[str, ...]
    resources: tuple[str, ...]
    responses: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, Setting], ...]
    discrepancy: tuple[str, ...] = ()
    anchor: tuple[tuple[str, float], ...] = ()
    learned: tuple[tuple[str, str], ...] = ()

    @property
    def parameters(self) -> dict[str, Setting]:
        """Settings by parameter name."""
        return dict(self.settings)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of numbers that the runs must hold."""
        wanted = [*self.inputs]
        for name in self.resources:
            wanted += parts.part("resources", name).requires
        for name, noise in self.responses:
            response = parts.part("responses", name)
            wanted += [response.observed, *response.requires, *parts.part("noise", noise).requires]
        return tuple(dict.fromkeys(wanted))

    @property
    def labels(self) -> tuple[str, ...]:
        """Columns of text that the runs must hold."""
        wanted = [parts.part("discrepancy", name).labels for name in self.discrepancy]
        wanted += [parts.part("pooling", setting.pooling).labels for _, setting in self.settings]
        return tuple(dict.fromkeys(label for labels in wanted for label in labels))

    @property
    def based(self) -> tuple[Any, ...]:
        """Parts that depend on where a run lies against its family's fitted runs."""
        noise = [parts.part("noise", name) for _, name in self.responses]
        return (*(parts.part("discrepancy", name) for name in self.discrepancy), *(of for of in noise if of.basis))

    @property
    def table(self) -> dict[str, Parameter]:
        """The rows of the parts' tables: meaning, unit and source of each parameter."""
        return _table(self.law, self.resources, self.discrepancy, self.responses)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of what defines the model."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def __hash__(self) -> int:
        return hash(self.digest)

    def to_dict(self) -> dict[str, Any]:
        """Everything that defines the model, in the shape of the TOML file."""
        parameters = {
            name: {"prior": _prior_dict(s.prior), "pooling": s.pooling, "spread": s.spread} for name, s in self.settings
        }
        optional: dict[str, Any] = {"discrepancy": list(self.discrepancy)} if self.discrepancy else {}
        optional |= {"anchor": dict(self.anchor)} if self.anchor else {}
        return {
            "law": self.law,
            "inputs": list(self.inputs),
            "resources": list(self.resources),
            **optional,
            "responses": dict(self.responses),
            "parameters": parameters,
        }

    @cached_property
    def structure(self) -> Spec:
        """The spec with standard priors and no name: what is compiled, for priors' places are data."""
        settings = tuple((name, replace(s, prior=s.prior.standard)) for name, s in self.settings)
        return replace(self, name="", title="", settings=settings, anchor=(), learned=())

    def with_prior(self, **priors: Prior) -> Spec:
        """Return the spec with other priors."""
        unknown = [name for name in priors if name not in self.parameters]
        if unknown:
            raise _unknown("parameter", unknown[0], self.parameters)
        settings = [(name, replace(s, prior=priors.get(name, s.prior))) for name, s in self.settings]
        return replace(self, settings=tuple(settings))


def load_spec(source: str | Path) -> Spec:
    """Load a spec by the path of a TOML file, or by the name of a shipped one.

    Raises
    ------
    UnknownName
        If there is neither such a file nor such a name.
    SpecError
        If the file is no TOML, or names or sets what does not exist.

    Examples
    --------
    >>> load_spec("coupled").law
    'coupled'
    """
    path = Path(source)
    if path.suffix != ".toml" and not path.is_file():
        path = shipped.locate("models", str(source))
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UnknownName(f"no spec at {path}", wanted="the path of a TOML file, or a shipped name") from None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} is not TOML", came=str(error), do="see models/additive.toml") from None
    return make_spec(path.stem, **content)


def make_spec(name: str, /, **content: Any) -> Spec:
    """Make a spec from what a TOML file would hold (see ``models/``); defaults are filled in."""
    _check_shapes(name, content)
    if "law" not in content:
        raise SpecError(f"spec {name!r} names no law", wanted='law = "additive", say')
    law = parts.part("laws", content["law"])
    inputs = tuple(content.get("inputs", law.inputs))
    _check_inputs(name, law, inputs)
    resources = tuple(content.get("resources", ()))
    for resource in map(lambda r: parts.part("resources", r), resources):
        if law.balance is None:
            raise SpecError(
                f"spec {name!r}: resource {resource.name!r} needs a law with a balance of params and tokens",
                came=f"law {law.name!r}",
                do="use additive or coupled",
            )
    responses = tuple(dict(content.get("responses", {"loss": "student-t"})).items())
    _check_responses(name, responses)
    said = content.get("discrepancy", ())
    discrepancy = (said,) if isinstance(said, str) else tuple(said)
    _check_discrepancy(name, inputs, discrepancy)
    return Spec(
        name=name,
        title=content.get("title", name),
        law=law.name,
        inputs=inputs,
        resources=resources,
        responses=responses,
        settings=_settings(
            name,
            _table(law.name, resources, discrepancy, responses),
            dict(content.get("pooling", {})),
            dict(content.get("parameters", {})),
        ),
        discrepancy=discrepancy,
        anchor=_anchor(name, inputs, dict(content.get("anchor", {}))),
        learned=tuple(sorted(dict(content.get("learned", {})).items())),
    )


def _check_shapes(spec: str, content: Mapping[str, Any]) -> None:
    for key, value in content.items():
        if key not in _KEYS:
            raise _unknown(f"key of spec {spec!r}", key, _KEYS)
        kind, items, example = _KEYS[key]
        fits = isinstance(value, kind)
        if fits and not isinstance(value, str):
            fits = all(isinstance(item, items) for item in (value.values() if isinstance(value, Mapping) else value))
        if not fits:
            raise SpecError(f"spec {spec!r}: {key} has the wrong shape", wanted=f"{example}, say", came=repr(value))


def _check_inputs(spec: str, law: type[parts.AbstractLaw], inputs: tuple[str, ...]) -> None:
    for column in inputs:
        if column not in _INPUTS:
            raise _unknown(f"input of spec {spec!r}", column, _INPUTS)
    if len(inputs) != len(law.inputs) or len(set(inputs)) != len(inputs):
        raise SpecError(
            f"spec {spec!r}: the inputs do not fit law {law.name!r}",
            wanted=f"{len(law.inputs)} of: {', '.join(_INPUTS)}",
            came=str(list(inputs)),
        )


def _anchor(spec: str, inputs: tuple[str, ...], anchor: dict[str, float]) -> tuple[tuple[str, float], ...]:
    columns = (*inputs, "loss", *({"slope"} & set(anchor)))
    if anchor and (set(anchor) != set(columns) or not all(0 < value < float("inf") for value in anchor.values())):
        raise SpecError(
            f"spec {spec!r}: the anchor does not fit the inputs",
            wanted=f"a positive number for each of: {', '.join((*inputs, 'loss'))}, and perhaps slope",
            came=repr(anchor),
        )
    return tuple((column, float(anchor[column])) for column in columns if anchor)


def _check_responses(name: str, responses: tuple[tuple[str, str], ...]) -> None:
    if not responses:
        raise SpecError(f"spec {name!r} observes nothing", wanted='[responses]\nloss = "student-t"')
    for response, noise in responses:
        kind, fits = parts.part("responses", response).kind, parts.part("noise", noise).kind
        if kind != fits:
            able = [n for n, c in parts.catalogue("bayescale.noise").items() if c.kind == kind]
            raise SpecError(
                f"spec {name!r}: noise {noise!r} does not fit response {response!r}",
                wanted=f"one of: {', '.join(able)}",
                came=noise,
            )


def _check_discrepancy(spec: str, inputs: tuple[str, ...], discrepancy: tuple[str, ...]) -> None:
    if len(set(discrepancy)) < len(discrepancy):
        raise SpecError(f"spec {spec!r} names a discrepancy twice", came=", ".join(discrepancy))
    for name in discrepancy:
        if parts.part("discrepancy", name).coordinates and len(inputs) != 2:
            raise SpecError(
                f"spec {spec!r}: discrepancy {name!r} needs a law of two inputs",
                came=", ".join(inputs),
                do="take a law of params and tokens, or leave the discrepancy out",
            )


def _table(
    law: str, resources: tuple[str, ...], discrepancy: tuple[str, ...], responses: tuple
) -> dict[str, Parameter]:
    used = [parts.part("laws", law), *(parts.part("resources", r) for r in resources)]
    used += [parts.part("discrepancy", name) for name in discrepancy]
    for response, noise in responses:
        used += [parts.part("responses", response), parts.part("noise", noise)]
    table: dict[str, Parameter] = {}
    for part in used:
        for name, parameter in part.parameters.items():
            if table.setdefault(name, parameter) is not parameter:
                raise SpecError(f"two parts of the spec have a parameter called {name!r}")
    return table


def _settings(
    spec: str, table: dict[str, Parameter], pooling: dict[str, str], overrides: dict[str, Any]
) -> tuple[tuple[str, Setting], ...]:
    ways = list(parts.catalogue("bayescale.pooling"))
    for key, way in pooling.items():
        if way not in ways:
            raise _unknown(f"way of pooling {key!r}", way, ways)
    default = pooling.pop("default", "partial")
    for key in [*pooling, *overrides]:
        if key not in table:
            raise _unknown(f"parameter of spec {spec!r}", key, table)
    settings = []
    for name, row in table.items():
        override = dict(overrides.get(name, {}))
        for key in override:
            if key not in _SETTINGS:
                raise _unknown(f"setting of parameter {name!r}", key, _SETTINGS)
        way = override.get("pooling", pooling.get(name, default))
        if way not in ways:
            raise _unknown(f"way of pooling {name!r}", way, ways)
        prior = _prior(name, override["prior"]) if "prior" in override else row.prior
        spread = override.get("spread", row.spread)
        if not (isinstance(spread, int | float) and 0 < spread < float("inf")):
            raise SpecError(f"spread of {name!r} is not a scale", wanted="a positive number", came=repr(spread))
        settings.append((name, Setting(prior, way, float(spread))))
    return tuple(settings)


def _prior(name: str, content: Mapping[str, Any]) -> Prior:
    try:
        fields = dict(content)
        kind = str(fields.pop("kind"))
        if kind not in PRIORS:
            raise _unknown("kind", kind, PRIORS)
        return PRIORS[kind](**{key: float(value) for key, value in fields.items()})
    except SpecError as error:
        raise SpecError(f"the prior of {name!r}: {error}") from None
    except (KeyError, TypeError, ValueError):
        raise SpecError(
            f"the prior of {name!r} is not one",
            wanted='{kind = "LogNormal", median = 0.33, scale = 0.35}, say',
            came=repr(content),
        ) from None


def _prior_dict(prior: Prior) -> dict[str, Any]:
    return {"kind": type(prior).__name__, **asdict(prior)}


def _unknown(what: str, name: object, names: Iterable[str]) -> SpecError:
    return SpecError(f"unknown {what}: {name!r}", wanted=f"one of: {', '.join(names)}", do=nearest(str(name), names))
