"""The verb ``plot``: figures of a saved fit, as PNG files."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import click

from bayescale.cli.options import BUDGET, Budget, spending
from bayescale.cli.printing import LOADING, echo, finish, print_wrapped, waiting
from bayescale.core.errors import QueryError, nearest, why_unwritten


@click.command()
@click.argument("fit_file", metavar="FIT.nc")
@click.argument("kinds", nargs=-1, metavar="[KIND]...")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=".", show_default=True,
              help="Folder for the figures, one PNG file each.")  # fmt: skip
@click.option("--family", help="A fitted family, or 'new'; by default the only family, else 'new'.")
@click.option("--flops", type=Budget(), help=BUDGET)
@click.option(
    "--parameter", help="Parameter to show, in figures of one parameter; by default, the law's first exponent."
)
@click.option("--column", help="Column to draw against, in figures of one column, such as residuals and effects.")
@click.option("--by", help="Column whose three values are drawn, in effects and slopes.")
@click.option("--list", "only_list", is_flag=True, help="List the kinds of figure without drawing.")
def plot(
    fit_file: str, kinds: tuple[str, ...], out: Path, family: str | None, flops: float | None, parameter: str | None,
    column: str | None, by: str | None, only_list: bool,
) -> None:  # fmt: skip
    """Draw figures of a fit; without KIND, every kind that the fit has."""
    with waiting(LOADING):
        import matplotlib.pyplot as plt

        from bayescale.inference.fit_io import load_fit
        from bayescale.reporting import plots
        from bayescale.reporting.plots.figures import save

        available = plots.kinds()
    given = {"family": family, "name": parameter, "column": column, "by": by}
    if only_list:
        print_wrapped("\n".join(_listed(available, plots.others())))
        return
    for kind in kinds:
        if kind not in available:
            raise QueryError(f"no kind of figure is called {kind!r}", expected=f"one of: {', '.join(available)}",
                             hint=nearest(kind, available))  # fmt: skip
    with waiting("reading the fit"):
        loaded = load_fit(fit_file)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise QueryError(f"cannot make {out}", **why_unwritten(error)) from None
    for kind in kinds or available:
        with waiting(f"drawing {kind}"):
            try:
                drawn = _draw(available[kind], loaded, flops, given)
            except QueryError as error:
                if kinds:  # it was asked for by name
                    raise
                drawn = str(error).partition("\n")[0]
            path = out / f"{kind.replace('-', '_')}.png"
            if not isinstance(drawn, str):
                save(drawn, path)
                plt.close("all")  # of twenty kinds and more
        if isinstance(drawn, str):
            echo(f"{kind}: {drawn}", err=True)
        else:
            echo(path)
    finish(loaded.converged, str(loaded.verdict))


def _listed(available: dict[str, Any], others: dict[str, tuple[str, Any]]) -> list[str]:
    """Return a line for each figure: those of a fit, then those that Python draws of something else."""
    lines = [f"{name:20}  {_first_line(function)}" for name, function in available.items()]
    lines += ["", "in Python, as bs.plots.plot_NAME of a comparison, a backtest, a calibration or a spec:"]
    return lines + [f"{name:20}  {_first_line(function)} Of a {of.lower()}." for name, (of, function) in others.items()]


def _first_line(function: Any) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]


def _draw(function: Any, fit: Any, flops: float | None, given: dict[str, str | None]) -> Any:
    """Call a plot with the options that it takes; return a sentence if there is no choice to draw."""
    from bayescale.decisions.allocation import UNITS, Allocation, default_budget
    from bayescale.decisions.choice import Choice
    from bayescale.decisions.solver import decide

    first, *others = inspect.signature(function).parameters
    family = given["family"]
    options = {name: value for name, value in given.items() if name in others and value is not None}
    if first == "fit":
        return function(fit, **options)
    spent = spending(flops or default_budget(fit, family), (*UNITS, "hardware"))
    choice = decide(Allocation(family=family, **spent), fit)
    return function(choice, **options) if isinstance(choice, Choice) else choice.reason
