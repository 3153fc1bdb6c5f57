"""The verb ``decide``: one command for each decision, made from the decision's settings."""

from __future__ import annotations

import ast
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import click

from bayescale.cli.examples import epilog
from bayescale.cli.options import BUDGETS, Bought, Budget, Quantity, Real, Target, as_json_option, command_of, spending
from bayescale.cli.printing import LOADING, finish, print_json, print_wrapped, waiting
from bayescale.core.errors import QueryError, why_unwritten

_FOLDER = Path(__file__).parent.parent / "decisions"
_BASE = "AbstractDecision"
_TYPES: dict[str, Any] = {"count": Quantity(), "number": Real(), "integer": int, "text": str}
_PAIRS: dict[str, Any] = {"numbers": (str, Real()), "texts": (str, str)}
_RISKS = ("mean", "cvar", "quantile", "minimax")


class Decisions(click.Group):
    """Commands found by the files of decisions, and made from their source: to import one would wait for JAX."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the decisions."""
        found = (module.name for module in pkgutil.iter_modules([str(_FOLDER)]))
        return sorted(name.replace("_", "-") for name in found if f"({_BASE}):" in _text(name))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Command of a decision, or None if no file has the name."""
        if cmd_name not in self.list_commands(ctx):
            return None

        def load() -> Any:
            from bayescale.parts.catalogue import find

            return find("bayescale.decisions", cmd_name)

        about, settings = written(cmd_name)
        return command(cmd_name, about, settings, load)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one line per decision: the first sentence of its file."""
        with formatter.section("Decisions"):
            formatter.write_dl([(name, _first_line(_source(name))) for name in self.list_commands(ctx)])


def written(name: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """Return the help of a decision and its settings, as the source of its file has them.

    The settings are those of :func:`bayescale.decisions.base.settings_of`.
    """
    classes = [node for node in _source(name).body if isinstance(node, ast.ClassDef)]
    decision = next(
        node for node in classes if any(isinstance(base, ast.Name) and base.id == _BASE for base in node.bases)
    )
    settings = {}
    for node in decision.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(node.value, ast.Call):
            kind, about = (_literal(one) for one in node.value.args)
            given = {one.arg: one.value for one in node.value.keywords}
            default = ast.literal_eval(given["default"]) if "default" in given else None
            settings[node.target.id] = {"kind": kind, "about": about, "required": not given, "default": default}
    return (ast.get_docstring(decision) or "").partition("\n\n")[0].replace("``", ""), settings


def _literal(node: ast.expr) -> str:
    """Return a text, or one of the texts that decisions share, by its name."""
    return _shared()[node.id] if isinstance(node, ast.Name) else ast.literal_eval(node)


@cache
def _shared() -> dict[str, str]:
    """Return the texts that the core of decisions defines."""
    assigned = [(node.targets[0], node.value) for node in _source("base").body if isinstance(node, ast.Assign)]
    return {
        to.id: str(text.value) for to, text in assigned if isinstance(to, ast.Name) and isinstance(text, ast.Constant)
    }


def _source(name: str) -> ast.Module:
    return ast.parse(_text(name))


def _text(name: str) -> str:
    return (_FOLDER / f"{name.replace('-', '_')}.py").read_text(encoding="utf-8")


def _first_line(source: ast.Module) -> str:
    first = (ast.get_docstring(source) or "").partition("\n")[0]
    return first.partition(": ")[2] or first


def command(name: str, about: str, settings: Mapping[str, Mapping[str, Any]], load: Callable[[], Any]) -> click.Command:
    """Make the command of a decision: the fit, an option for each setting, the attitude to risk.

    Parameters
    ----------
    name, about : str
        Name and help.
    settings : mapping of str to mapping
        ``kind about required default`` of each setting.
    load : callable
        Returns the decision's class.
    """

    def run(fit_file: str, risk: str, plot: Path | None, page: Path | None, as_json: bool, **given: Any) -> None:
        values: dict[str, Any] = {
            key: dict(given[key]) if how["kind"] in _PAIRS else given[key] for key, how in settings.items()
        }
        if isinstance(values.get("flops"), Bought):
            values |= {"flops": None, **spending(values["flops"], settings, values.get("hardware"))}
        with waiting(LOADING):
            from bayescale.decisions.risk import risk_of
            from bayescale.decisions.solver import decide
            from bayescale.inference.fit_io import load_fit

            if page:
                from bayescale import reporting

                reporting.check_target(page)
            loaded = load_fit(fit_file)
        with waiting("comparing every action under every draw"):
            choice = decide(load()(**values), loaded, risk_of(risk))
            said = choice.to_dict() if as_json else f"{choice!r}"  # both compute which runs move the choice
        written_to = _written(choice, plot, page, command_of(click.get_current_context()), fit_file)
        if as_json:
            print_json(said)
        else:
            print_wrapped("\n".join([str(said), *map(str, written_to)]))
        finish(loaded.converged, str(loaded.verdict))
        finish(choice.settled, f"these runs do not settle what to choose: {choice.unsettled}")

    options = [_option(key, how) for key, how in settings.items()]
    options.append(click.Option(["--risk"], type=click.Choice(_RISKS), default="mean", show_default=True,
                                help="Attitude to risk: the mean utility (mean), that of the worst tenth of the "
                                "draws (cvar), the utility that nine draws of ten reach (quantile), or the "
                                "smallest maximum regret (minimax)."))  # fmt: skip
    options.append(click.Option(["--plot"], type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
                                help="Folder for the figures of the choice, one PNG file each."))  # fmt: skip
    options.append(click.Option(["--report", "page"], type=Target(), metavar="PAGE",
                                help="Report to write: HTML, or JSON or Markdown by its suffix."))  # fmt: skip
    fit_file = click.Argument(["fit_file"], metavar="FIT.nc")
    return as_json_option(
        click.Command(name, params=[fit_file, *options], callback=run, help=about, epilog=epilog(f"decide {name}"))
    )


def _written(choice: Any, plot: Path | None, page: Path | None, command: str, fit_file: str) -> list[Path]:
    """Write the figures and the report of a choice; return their paths."""
    from bayescale.decisions.choice import Choice

    found = []
    if plot and isinstance(choice, Choice):
        with waiting("drawing the choice"):
            found += _draw(choice, plot)
    if page and isinstance(choice, Choice):
        from bayescale import reporting

        with waiting("checking the fit and drawing the report"):
            found.append(reporting.report(choice, page, command=command, fit_file=fit_file))
    return found


def _draw(choice: Any, folder: Path) -> list[Path]:
    """Write the figures of a choice; return their paths."""
    from bayescale.reporting.choices import pictures
    from bayescale.reporting.plots.figures import save

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise QueryError(f"cannot write figures to {folder}", **why_unwritten(error)) from None
    found = {folder / f"{name.replace('-', '_')}.png": ax for name, ax in pictures(choice).items()}
    for path, ax in found.items():
        save(ax, path)
    return list(found)


def _option(name: str, how: Any) -> click.Option:
    flag, kind = f"--{name.replace('_', '-')}", how["kind"]
    if name == "flops":
        given = {"required": True} if how["required"] else {"default": how["default"]}
        return click.Option([flag], type=Budget(), help=f"{how['about']} {BUDGETS}", **given)
    if kind == "flag":
        return click.Option([flag], is_flag=True, help=how["about"])
    if kind in _PAIRS:
        return click.Option([flag], type=_PAIRS[kind], multiple=True, metavar="NAME VALUE", help=how["about"])
    given = {"required": True} if how["required"] else {"default": how["default"]}
    return click.Option([flag], type=_TYPES[kind], help=how["about"], **given)


@click.group(cls=Decisions)
def decide() -> None:
    """Choose an action by its expected utility, and print its regret."""
