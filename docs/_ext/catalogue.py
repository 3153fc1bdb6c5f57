"""What the reference pages show: the only module of the site that knows where bayescale keeps things."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import click

import bayescale
from bayescale.cli import main
from bayescale.cli.show import ENTRIES as ENTRIES
from bayescale.cli.show import NOTHING as NOTHING
from bayescale.cli.show import SIMULATED as SIMULATED
from bayescale.cli.show import simulated as simulated
from bayescale.core import shipped
from bayescale.decisions.risk import RISKS
from bayescale.modelling.spec_io import load_spec
from bayescale.parts.base import Part as Part
from bayescale.parts.catalogue import catalogue
from bayescale.parts.priors import PRIORS
from bayescale.prediction.predictive import swept as swept
from bayescale.reporting import plots as figures
from bayescale.reporting.plots.priors import plot_prior_loss as plot_prior_loss
from bayescale.reporting.plots.priors import plot_prior_response as plot_prior_response

_OF_CONSTANTS = "bayescale.prediction"  # bayescale.NEW, a string, does not say where it is from
_HOMES = {"checks": "bayescale.evaluation.checks", "decisions": "bayescale.decisions"}


def parts(kind: str) -> dict[str, Any]:
    """Classes of a kind by name: a kind of part such as laws, or checks or decisions."""
    return catalogue(_HOMES.get(kind, f"bayescale.parts.{kind}"))


def priors() -> dict[str, Any]:
    """Kinds of prior by name."""
    return PRIORS


def risks() -> dict[str, Any]:
    """Attitudes to risk by name."""
    return RISKS


def plots() -> dict[str, Any]:
    """Functions that draw a figure, by name."""
    return figures.catalogue()


def spec_with(kind: str, name: str) -> Any:
    """Return the simplest shipped spec that has a part: that with the fewest parts; None if there is none."""
    found = [spec for spec in models().values() if spec.law and spec.named.get(name) == kind]
    return min(found, key=lambda spec: (spec.name != name, len(spec.named)), default=None)


def models() -> dict[str, Any]:
    """Specs that ship, by name."""
    return {name: load_spec(name) for name in shipped.names("models")}


def fits(spec: str) -> list[dict[str, str]]:
    """Measured fits of shipped tables under a spec: rows, seconds, and whether the fit has converged."""
    with (shipped.folder("models").parent / "benchmarks" / "shipped.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["spec"] == spec]


def data() -> dict[str, dict[str, Any]]:
    """Cards of the tables that ship, by name."""
    folder = shipped.folder("data")
    cards = {name: folder / name / "card.toml" for name in shipped.names("data")}
    return {name: tomllib.loads(path.read_text(encoding="utf-8")) for name, path in cards.items()}


def public() -> dict[str, list[str]]:
    """Names of :data:`bayescale.__all__` by the package that defines them, in order."""
    by_package: dict[str, list[str]] = {}
    for name in bayescale.__all__:
        if not name.startswith("__"):
            thing = getattr(bayescale, name)
            home = getattr(thing, "__module__", getattr(thing, "__name__", _OF_CONSTANTS))
            by_package.setdefault(home.split(".")[1], []).append(name)
    return dict(sorted(by_package.items()))


def about(package: str) -> str:
    """First line of a package's docstring."""
    return (import_module(f"bayescale.{package}").__doc__ or "").strip().splitlines()[0]


def commands() -> Iterator[tuple[str, click.Command]]:
    """Each command of the command line that does something, with the words that call it."""
    yield from _leaves("bayescale", main)


def _leaves(words: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield words, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        yield from _leaves(f"{words} {name}", command.get_command(context, name))
