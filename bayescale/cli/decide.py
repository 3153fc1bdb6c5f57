"""The verb ``decide``: one command for each decision, made from the decision's settings."""

from __future__ import annotations

import ast
import pkgutil
from pathlib import Path
from typing import Any

import click

from bayescale.cli.options import Quantity, as_json_option
from bayescale.cli.printing import finish, print_json

_FOLDER = Path(__file__).parent.parent / "decisions"
_NO_DECISION = ("base", "risk", "costs")
_TYPES: dict[str, Any] = {"count": Quantity(), "number": float, "whole": int, "text": str, "numbers": (str, float)}
_RISKS = ("mean", "cvar", "quantile", "minimax")


class Decisions(click.Group):
    """Commands found by the files of decisions. None is imported before it is chosen: that waits for JAX."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the decisions."""
        found = (module.name.replace("_", "-") for module in pkgutil.iter_modules([str(_FOLDER)]))
        return sorted(name for name in found if name not in _NO_DECISION)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Command of a decision, or None if no file has the name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        from bayescale.parts.catalogue import find

        return _command(find("bayescale.decisions", cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a line for each decision: the first sentence of its file."""
        with formatter.section("Decisions"):
            formatter.write_dl([(name, _about(name)) for name in self.list_commands(ctx)])


def _about(name: str) -> str:
    source = (_FOLDER / f"{name.replace('-', '_')}.py").read_text(encoding="utf-8")
    first = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
    return first.partition(": ")[2] or first


def _command(decision: Any) -> click.Command:
    """One command: the fit, an option for each setting, the attitude to risk."""
    from bayescale.decisions.base import settings_of

    settings = settings_of(decision)

    def run(fit_file: str, risk: str, as_json: bool, **given: Any) -> None:
        from bayescale.decisions.base import decide
        from bayescale.decisions.risk import risk_of
        from bayescale.inference.fit_io import load_fit

        loaded = load_fit(fit_file)
        values = {
            name: dict(given[name]) if how["kind"] == "numbers" else given[name] for name, how in settings.items()
        }
        choice = decide(decision(**values), loaded, risk_of(risk))
        if as_json:
            print_json(choice.to_dict())
        else:
            click.echo(f"{choice!r}")
        finish(loaded.converged, str(loaded.verdict))
        finish(choice.settled, f"these runs do not settle what to choose: {choice.unsettled}")

    options = [_option(name, how) for name, how in settings.items()]
    help_of_risk = "Attitude to risk: what is largest over draws of the utility, or least of the regret."
    options.append(
        click.Option(["--risk"], type=click.Choice(_RISKS), default="mean", show_default=True, help=help_of_risk)
    )
    command = click.Command(
        decision.name,
        params=[click.Argument(["fit_file"], metavar="FIT.nc"), *options],
        callback=run,
        help=(decision.__doc__ or "").partition("\n\n")[0],
    )
    return as_json_option(command)


def _option(name: str, how: Any) -> click.Option:
    flag, kind = f"--{name.replace('_', '-')}", how["kind"]
    if kind == "flag":
        return click.Option([flag], is_flag=True, help=how["about"])
    if kind == "numbers":
        return click.Option([flag], type=(str, float), multiple=True, metavar="NAME VALUE", help=how["about"])
    return click.Option([flag], type=_TYPES[kind], required=how["required"], default=how["default"], help=how["about"])


@click.group(cls=Decisions)
def decide() -> None:
    """Choose an action by its expected utility, with its regret."""
