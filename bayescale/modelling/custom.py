"""Custom models: a user's NumPyro model with the same interface as a spec."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from numpyro import distributions as dist
from numpyro.primitives import Messenger

from bayescale.core.code import code_digest
from bayescale.core.errors import DefinitionError, SpecError
from bayescale.modelling.model import Instance, Model
from bayescale.parts import catalogue
from bayescale.parts.base import Column, Field, Parameter
from bayescale.parts.noise.count import Binomial
from bayescale.parts.scales import SCALES

_ALLOWED: dict[str, CustomModel] = {}  # models that the user has allowed in this process, by "module:function"


class Observes(NamedTuple):
    """What a custom model declares about a site that it observes.

    Attributes
    ----------
    kind : {"log", "count", "share", "real"}
        A positive number scored on its log, a count out of ``n_items``, a share from 0 to 1, or a real number; see
        :data:`bayescale.parts.scales.SCALES`.
    unit : str
        Unit of the observations.
    requires : tuple of str
        What else is known of each observation: ``n_items`` of a count, which is always needed. The site ``hellaswag``
        finds it in the column ``hellaswag_n_items``.
    """

    kind: str
    unit: str = ""
    requires: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Response:
    """The interface of a response: a name, a column and a scale, without parameters."""

    name: str
    observed: str
    kind: str
    unit: str
    requires: tuple[str, ...]
    parameters: ClassVar[Mapping[str, Parameter]] = {}
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {}
    falls: ClassVar[bool] = False


@dataclass(frozen=True)
class _Noise:
    """The interface of a noise, for noise that the model itself defines."""

    name: str = "own"
    requires: tuple[str, ...] = ()
    basis: None = None
    parameters: ClassVar[Mapping[str, Parameter]] = {}
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {}


@dataclass(frozen=True, eq=False)
class CustomModel(Model):
    """A custom NumPyro model; make one with :func:`custom_model`.

    Attributes
    ----------
    name : str
        ``"module:function"``.
    title : str
        For display.
    function : callable
        The model. It takes a :class:`.Design`, reads ``design.columns[NAME]``, ``design.family`` and
        ``design.families``, and observes its sites by ``obs=design.observed.get(NAME)``.
    reads : mapping of str to Column or None
        Columns of the runs that it reads, in base units, each with its definition if bayescale does not know it.
    observes : mapping of str to Observes
        The sites that it observes, each a column of the runs.
    inputs : tuple of str
        Columns along whose logs the distance of a forecast from the runs is measured.
    responses : tuple
        Name and kind of each response.
    said : mapping
        What the spec of a shipped model says besides its name; empty for a model of the user.
    maker : tuple, optional
        Function and arguments that make a shipped model again, in a worker process.
    whitened : bool
        Whether it is sampled with its curvature as mass matrix.
    """

    name: str
    title: str
    function: Callable[[Any], None]
    reads: Mapping[str, Column | None]
    observes: Mapping[str, Observes]
    inputs: tuple[str, ...]
    responses: tuple[Any, ...]
    said: Mapping[str, Any] = field(default_factory=dict)
    maker: tuple[Callable[..., CustomModel], tuple[Any, ...]] | None = None
    whitened: bool = False
    law: str = field(default="", init=False)
    resources: tuple[str, ...] = field(default=(), init=False)
    settings: tuple[tuple[str, Any], ...] = field(default=(), init=False)
    discrepancy: tuple[str, ...] = field(default=(), init=False)
    anchor: tuple[tuple[str, float], ...] = field(default=(), init=False)
    learned: tuple[tuple[str, str], ...] = field(default=(), init=False)
    reference: tuple[tuple[str, float], ...] = field(default=(), init=False)
    range: tuple[tuple[str, tuple[float, float]], ...] = field(default=(), init=False)
    covariates: tuple[tuple[str, tuple[str, ...]], ...] = field(default=(), init=False)
    fields: tuple[tuple[str, tuple[tuple[str, Field], ...]], ...] = field(default=(), init=False)
    penalties: tuple[str, ...] = field(default=(), init=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by name: a worker process imports the code, which its author or user has allowed here."""
        return self.maker or (_restored, (self.name, catalogue.FOLDERS.get(self.name)))

    def __call__(self, design: Any) -> None:
        """Run the NumPyro model on a design."""
        _Bounded(self.function, self.observes)(design)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of numbers that the runs must have."""
        needed = [column for of in self.instances for column in of.columns]
        return tuple(dict.fromkeys([*self.reads, *needed]))

    @property
    def declared(self) -> dict[str, Column]:
        """Columns that it declares, by name."""
        return {name: column for name, column in self.reads.items() if column is not None}

    @property
    def instances(self) -> list[Instance]:
        """Its observations, as responses."""
        return [
            Instance(name, _Response(name, name, of.kind, of.unit, of.requires), _Noise(), own=True)
            for name, of in self.observes.items()
        ]

    @property
    def table(self) -> dict[str, Parameter]:
        """Empty: its parameters are sites of the function."""
        return {}

    @property
    def structure(self) -> CustomModel:
        """The model itself: its priors are in its code."""
        return self

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the code of the function and of its declarations of columns and sites."""
        reads = {name: None if of is None else vars(of) for name, of in self.reads.items()}
        sites = {name: list(of) for name, of in self.observes.items()}
        said = json.dumps([reads, sites, *([dict(self.said)] if self.said else [])], sort_keys=True)
        return hashlib.sha256((code_digest(self.function) + said).encode()).hexdigest()

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CustomModel) and self.digest == other.digest

    def at(self, anchor: Mapping[str, float]) -> CustomModel:
        """Return the model itself: its priors do not depend on the anchor."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return the location of its code, or the name of a shipped model with its options, as in the TOML file."""
        return {"model": self.said.get("model", self.name), **self.said}


class _Bounded(Messenger):
    """A handler that draws NaN for a count whose probability is outside 0 to 1, where NumPyro's sampler may not end."""

    def __init__(self, fn: Callable[..., None], sites: Collection[str]) -> None:
        self.sites = sites
        super().__init__(fn)

    def process_message(self, msg: dict[str, Any]) -> None:
        """Bound the distribution of a site that the model observes, where it is drawn."""
        if msg["type"] == "sample" and not msg["is_observed"] and msg["name"] in self.sites:
            msg["fn"] = _bounded(msg["fn"])


def _bounded(of: dist.Distribution) -> dist.Distribution:
    """Return a distribution in which a Binomial, under any mask or expansion, has a probability from 0 to 1, or NaN."""
    if isinstance(of, dist.BinomialProbs):
        return Binomial.distribution(of.probs, {"n_items": jnp.asarray(of.total_count)})
    if isinstance(base := getattr(of, "base_dist", None), dist.Distribution):
        of = copy(of)
        of.base_dist = _bounded(base)
    return of


class _Named(NamedTuple):
    """A response, with the same fields as :class:`.Observed`."""

    name: str
    response: str
    noise: str


def named(sites: Mapping[str, Observes]) -> tuple[Any, ...]:
    """Return the name and kind of each response, as a spec lists them.

    Parameters
    ----------
    sites : mapping of str to Observes

    Returns
    -------
    tuple
    """
    return tuple(_Named(site, of.kind, "own") for site, of in sites.items())


def custom_model(
    *, columns: Mapping[str, Column | None] | tuple[str, ...], observes: Mapping[str, Observes | str], title: str = ""
) -> Callable[[Callable[[Any], None]], CustomModel]:
    """Turn your own NumPyro model into a model that bayescale can fit, forecast, check, backtest and compare.

    Parameters
    ----------
    columns : tuple of str, or mapping of str to Column
        Columns of the runs that the model reads, in base units. A column that bayescale does not know needs a
        :class:`.Column`, which defines its unit, its range and its default in a query.
    observes : mapping of str to Observes or str
        Kind of each site that the model observes, by name: ``"log"``, ``"count"`` or ``"real"``. Each site is a column
        of the runs.
    title : str
        For display; by default the first line of the function's docstring.

    Returns
    -------
    callable
        A decorator that turns the function into an :class:`CustomModel`.

    Raises
    ------
    DefinitionError
        If a kind is unknown, or nothing is read or observed.

    Notes
    -----
    Forecasts report the deterministic site ``NAME_location`` as ``epred``: the log of a ``"log"`` site, the probability
    of a ``"count"`` or the mean of a ``"real"``. Without that site, ``epred`` is the mean of the site's distribution.
    Because the model may link families, all families are fitted together. A site that is drawn in a plate ``"family"``
    of size ``design.families`` has one more value for a family that was not fitted, drawn from its distribution given
    the other sites. A model without such a site cannot forecast such a family. A site that is drawn in the plate
    ``"run"`` keeps its value for a query that names a fitted run (``family`` and ``run_id``), and is drawn again for
    any other.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import numpyro
    >>> from numpyro import distributions as dist
    >>> @bs.custom_model(columns=("flops",), observes={"reward": "real"})
    ... def reward_curve(design):
    ...     slope = numpyro.sample("slope", dist.HalfNormal(1.0))
    ...     center = slope * jnp.log(design.columns["flops"] / 1e20)
    ...     numpyro.sample("reward", dist.Normal(center, 0.1), obs=design.observed.get("reward"))
    >>> reward_curve.inputs
    ('flops',)
    """
    reads = dict(columns) if isinstance(columns, Mapping) else dict.fromkeys(columns)
    sites = {name: of if isinstance(of, Observes) else Observes(of) for name, of in observes.items()}
    if not reads or not sites:
        raise DefinitionError("a custom model reads no column, or observes nothing",
                              expected='for example columns=("flops",), observes={"reward": "real"}',
                              got=f"columns {list(reads)}, observes {list(sites)}")  # fmt: skip
    for name, of in sites.items():
        if of.kind not in SCALES:
            raise DefinitionError(f"site {name!r} has an unknown kind", expected=f"one of: {', '.join(SCALES)}",
                                  got=repr(of.kind))  # fmt: skip
        if of.kind == "count":
            sites[name] = of._replace(requires=tuple(dict.fromkeys(("n_items", *of.requires))))

    def made(function: Callable[[Any], None]) -> CustomModel:
        name = f"{function.__module__}:{function.__qualname__}"
        about = (function.__doc__ or name).strip().partition("\n")[0]
        model = CustomModel(name, title or about, function, reads, sites, tuple(reads), named(sites))
        _ALLOWED[name] = model  # its code has already run
        return model

    return made


def permit_model(name: str, folder: Path | None = None) -> None:
    """Import the module of a ``"module:function"``, which runs its code, and allow the model.

    Parameters
    ----------
    name : str
        ``"module:function"``.
    folder : Path, optional
        Searched for the module before the usual places.

    Raises
    ------
    SpecError
        If there is no such module, or it does not define such a model.
    """
    found = _ALLOWED[name] if name in _ALLOWED else catalogue.imported(name, folder)
    if not isinstance(found, CustomModel):
        raise SpecError(f"the code {name!r} is not a model", expected="a function decorated with @bs.custom_model(…)",
                        got=repr(found))  # fmt: skip
    _ALLOWED[name] = found


def _restored(name: str, folder: Path | None) -> CustomModel:
    permit_model(name, folder)
    return found_model(name)


def found_model(name: str) -> CustomModel:
    """Return an allowed model by its name.

    Parameters
    ----------
    name : str
        ``"module:function"``.

    Returns
    -------
    CustomModel

    Raises
    ------
    SpecError
        If its code is not allowed to run.
    """
    if name not in _ALLOWED:
        raise catalogue.not_allowed(name)
    return _ALLOWED[name]
