"""Options, argument types and error handling shared by all commands."""

from __future__ import annotations

import errno
import functools
import io
import math
import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from bayescale.cli.interrupts import ended_by_interrupt
from bayescale.cli.printing import echo
from bayescale.cli.reading import Reading
from bayescale.core.errors import BayescaleError, ConvergenceWarning
from bayescale.core.quantities import LEAST, MOST, quantity
from bayescale.core.units import LOSS_UNITS

_BOUGHT_IN = {"$": "dollars", "dollar": "dollars", "usd": "dollars", "hour": "hours", "gpu-hour": "hours",
              "accelerator-hour": "hours", "day": "days"}  # fmt: skip
_BOUGHT = re.compile(
    r"(?P<amount>.*?)\s*(?P<unit>\$|(?:dollar|usd|gpu-hour|accelerator-hour|hour|day)s?)\s*(?:@|\bon\b)\s*(?P<hardware>.+)",
    re.IGNORECASE,
)
BUDGETS = ("Also dollars, GPU-hours or days on hardware: '2M dollars @ 512xH100', '50k gpu-hours @ H100', "
           "'30 days @ 8xH100'.")  # fmt: skip
"""What every help of a budget says of its other units."""
BUDGET = f"Budget in FLOP; by default, ten times the largest run's. {BUDGETS}"
_NO_BACKEND = "Unable to initialize backend"  # what JAX says if JAX_PLATFORMS names what is not there
_DRAWS = 4000  # of the hardware's figures: their median is known to about a percent


class Quantity(click.ParamType):
    """A count such as 70e9, 70B or 1.4T, and also ``inf`` if it may be without bound."""

    name = "number"

    def __init__(self, *, unbounded: bool = False) -> None:
        self.unbounded = unbounded

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Parse the number, or fail as wrong usage."""
        if self.unbounded and str(value).strip().lower() == "inf":
            return math.inf
        try:
            number = quantity(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not LEAST <= number <= MOST:
            self.fail(f"expected a positive, finite number from {LEAST:g} to {MOST:g}, got {value!r}", param, ctx)
        return number


class Bought(float):
    """FLOP that an amount buys, with the amount, its unit and hardware, and the text in which they were given."""

    amount: float
    unit: str
    hardware: str
    said: str

    def __new__(cls, flops: float, amount: float, unit: str, hardware: str, said: str) -> Bought:
        """Keep what was asked for next to its FLOP."""
        bought = super().__new__(cls, flops)
        bought.amount, bought.unit, bought.hardware, bought.said = amount, unit, hardware, said
        return bought


class Budget(Quantity):
    """Compute as FLOP, or as dollars, accelerator-hours or days on hardware: ``2M dollars @ 512xH100``."""

    name = "budget"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Parse FLOP; convert other amounts at the median of the hardware's figures, and say so."""
        match = _BOUGHT.fullmatch(str(value))
        if match is None:
            return super().convert(value, param, ctx)
        from bayescale.decisions.hardware import hardware

        amount, unit = super().convert(match["amount"], param, ctx), _BOUGHT_IN[match["unit"].lower().removesuffix("s")]
        draws = getattr(hardware(match["hardware"].strip()).drawn(_DRAWS, 0), f"flops_of_{unit}")(amount)[:, 0]
        low, middle, high = (sorted(draws)[int(level * _DRAWS)] for level in (0.05, 0.5, 0.95))
        of = "accelerator-hours" if unit == "hours" else unit
        click.echo(f"{match['amount'].strip()} {of} on {match['hardware'].strip()}: {middle:.3g} FLOP, the median "
                   f"(90% interval {low:.3g} to {high:.3g})", err=True)  # fmt: skip
        return Bought(middle, amount, unit, match["hardware"].strip(), str(value))


def spending(flops: float | None, known: Container[str], hardware: str | None = None) -> dict[str, Any]:
    """Return a budget as settings of a decision: in its own unit if the decision has it, else in FLOP.

    Parameters
    ----------
    flops : float, optional
        What :class:`Budget` has read.
    known : container of str
        Names of the decision's settings.
    hardware : str, optional
        As given by another option.

    Returns
    -------
    dict
    """
    given = {"hardware": hardware} if hardware else {}
    if not isinstance(flops, Bought):
        return given if flops is None else {"flops": flops, **given}
    if hardware not in (None, flops.hardware):
        raise click.UsageError(f"--flops is on {flops.hardware}, and --hardware is {hardware}: give one of them")
    on = {"hardware": flops.hardware} if "hardware" in known else given
    return {flops.unit: flops.amount, **on} if flops.unit in known else {"flops": float(flops), **on}


class Condition(click.ParamType):
    """A condition on a column of the runs, such as ``family=OPT`` or ``exclusion=""``."""

    name = "condition"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, str]:
        """Separate the column from its value and remove quotes; without an equals sign, fail as wrong usage."""
        column, equals, wanted = value.partition("=")
        if not equals or not column.strip():
            self.fail(f"expected COLUMN=VALUE, got {value!r}", param, ctx)
        wanted = wanted.strip()
        quoted = len(wanted) > 1 and wanted[0] == wanted[-1] and wanted[0] in "\"'"
        return column.strip(), wanted[1:-1] if quoted else wanted


class Real(click.FloatRange):
    """A finite number of a range."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Parse the number; NaN, which lies in every range, infinity and 1_0 fail as wrong usage."""
        if "_" in str(value):
            self.fail(f"expected a number without _, got {value!r}", param, ctx)
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"expected a finite number, got {value!r}", param, ctx)
        return number


class Target(click.Path):
    """A file to write."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the path; a dash, which many programs take for standard output, fails as wrong usage."""
        if str(value) == "-":
            self.fail("expected the name of a file, or /dev/stdout, got '-'", param, ctx)
        return super().convert(value, param, ctx)


class Melted(click.ParamType):
    """A column that is a response, with what is the same in all runs: ``hellaswag:n_items=10042,chance=0.25``."""

    name = "melted column"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, dict[str, float]]:
        """Separate the column from the numbers; where one is not NAME=NUMBER, fail as wrong usage."""
        column, _, said = value.partition(":")
        try:
            pairs = [one.partition("=")[::2] for one in said.split(",")] if said else []
            return column.strip(), {name.strip(): quantity(number) for name, number in pairs}
        except ValueError:
            self.fail(f"expected COLUMN, or COLUMN:NAME=NUMBER,NAME=NUMBER, got {value!r}", param, ctx)


class Group(click.Group):
    """A group that turns bayescale's own errors into exit code 2, and lists commands in the order of their use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in the order in which they were added."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the first sentence of each command's help in full."""
        with formatter.section("Commands"):
            listed = ((name, command.help or "") for name, command in self.commands.items())
            formatter.write_dl([(name, " ".join(text.split("\n\n")[0].split())) for name, text in listed])

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line on terminals of any encoding: what they cannot show becomes a question mark."""
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:  # the process was started without it
                setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        if sys.flags.optimize > 1:  # without docstrings there is no help, no list of laws, and JAX fails
            echo("bayescale: Python runs without docstrings, which the commands read\n"
                 "  hint:     unset PYTHONOPTIMIZE, or leave out the option -OO", err=True)  # fmt: skip
            sys.exit(2)
        os.environ["MPLBACKEND"] = "agg"  # figures are files here, whatever else draws on this machine
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() not in ("utf-8", "utf8"):
                stream.reconfigure(errors="replace")
        try:
            with ended_by_interrupt():
                return super().main(*args, **kwargs)
        except OSError as error:
            if error.filename is not None:  # not of a stream
                raise
            if error.errno == errno.ENOENT:  # libraries look for their settings there when they are imported
                echo("bayescale: the working folder does not exist any more\n  hint:     change to another", err=True)
            else:
                _give_up_output()
                click.echo(f"bayescale: cannot write the output: {error.strerror}", err=True)
            sys.exit(2)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the group's own options; wrong usage is printed as that of a command."""
        with _printed():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; print a typed error without a traceback."""
        with _printed(ctx), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the verdict is printed instead
            return super().invoke(ctx)


@contextmanager
def _printed(ctx: click.Context | None = None) -> Iterator[None]:
    """Print typed errors and wrong usage on standard error, and end with exit code 2."""
    try:
        yield
    except BayescaleError as error:
        echo(f"bayescale: {error}", err=True)
        raise click.exceptions.Exit(2) from None
    except RuntimeError as error:
        if _NO_BACKEND not in str(error):
            raise
        echo(f"bayescale: {error}\n  hint:     unset JAX_PLATFORMS, or name what this machine has: cpu", err=True)
        raise click.exceptions.Exit(2) from None
    except click.exceptions.NoArgsIsHelpError:
        raise  # click prints the help
    except click.UsageError as error:
        asked = error.ctx or ctx
        hint = f"\n  hint:     {asked.command_path} --help" if asked else ""
        echo(f"bayescale: {error.format_message()}{hint}", err=True)
        raise click.exceptions.Exit(2) from None


def command_of(ctx: click.Context) -> str:
    """Return the command line that has the values of a context, without options that were left at their defaults.

    Parameters
    ----------
    ctx : click.Context

    Returns
    -------
    str
    """
    parts = [ctx.command_path]
    for one in ctx.command.params:
        value: Any = ctx.params.get(one.name or "")
        if ctx.get_parameter_source(one.name or "") is not click.core.ParameterSource.COMMANDLINE:
            continue
        flag = [] if isinstance(one, click.Argument) else [one.opts[0]]
        if isinstance(one, click.Option) and one.is_flag:
            parts += flag
            continue
        for each in value if getattr(one, "multiple", False) or one.nargs == -1 else [value]:
            parts += [*flag, *map(_written, _given(one.type, each))]
    return " ".join(parts)


def _given(kind: click.ParamType, value: Any) -> tuple[Any, ...]:
    """Return the words of a value on a command line."""
    if isinstance(kind, Condition):
        return ("=".join(value),)
    if isinstance(kind, Melted):
        column, same = value
        return (f"{column}{':' * bool(same)}{','.join(f'{name}={number:.15g}' for name, number in same.items())}",)
    return value if isinstance(value, tuple) else (value,)


def _written(value: Any) -> str:
    if isinstance(value, Bought):
        return shlex.quote(value.said)
    return shlex.quote(f"{value:.6g}" if isinstance(value, float) else str(value))


def _give_up_output() -> None:
    """Send standard output nowhere: at exit, Python would try once more to write what is left of it."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
seed_option = click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Random seed."
)
response_option = click.option(
    "--response", help="Response whose forecasts are scored; by default the loss, or else the first response."
)
models_option = click.option(
    "--model", "specs", multiple=True, default=("default",), show_default=True,
    help="Model: a built-in name, or the path of a TOML file. Several are averaged.",
)  # fmt: skip
_READING = (
    click.option("--columns", type=Condition(), multiple=True, metavar="NAME=COLUMN",
                 help="What RUNS calls a column: params=n_params. Usual names are recognized without it."),
    click.option("--unit", "units", type=Condition(), multiple=True, metavar="COLUMN=UNIT",
                 help="Unit of a column: params=millions, tokens=billions, flops=EFLOP, flops=PF-days."),
    click.option("--loss-unit", type=click.Choice(tuple(LOSS_UNITS)),
                 help="Unit of the losses in RUNS; by default, the unit on the table's card, else nats per token."),
    click.option("--bytes-per-token", type=Real(0, min_open=True),
                 help="Average bytes of a token, for losses in bits per byte; by default a column of RUNS."),
    click.option("--decimal", type=click.Choice((".", ",")),
                 help="Mark of decimals in RUNS, if its numbers can be read either way."),
    click.option("--where", "conditions", type=Condition(), multiple=True, metavar="COLUMN=VALUE",
                 help="Read only runs that meet a condition: 'exclusion=\"\"' (an empty cell), params_below=1B, "
                 "family=OPT. Conditions on several columns must all hold; several values of one column are "
                 "alternatives."),
    click.option("--exclude", "excluded", multiple=True, metavar="RUN_ID",
                 help="Leave out a run, by its run_id. May be repeated."),
    click.option("--observations", type=click.Path(dir_okay=False),
                 help="CSV of what was observed of RUNS, one observation per row: run_id, response, value. By "
                 "default, observations.csv if RUNS is a folder."),
    click.option("--melt", type=Melted(), multiple=True, metavar="COLUMN",
                 help="A column of RUNS that holds a response, as in a wide table of scores. May be repeated. Add what "
                 "is the same in all runs after a colon: hellaswag:n_items=10042,chance=0.25."),
)  # fmt: skip


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of verbs that read runs; the command takes them as one argument ``reading``."""

    @functools.wraps(command)
    def gathered(**given: Any) -> Any:
        return command(reading=Reading(**{name: given.pop(name) for name in Reading._fields}), **given)

    wrapped: Callable[..., Any] = gathered
    for option in reversed(_READING):
        wrapped = option(wrapped)
    return wrapped


def sweep_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of commands that run many fits."""
    for option in (
        click.option("--folder", type=click.Path(file_okay=False),
                     help="Cache directory for fits: finished fits are read from it."),
        click.option("--scheduler", help="Address of a Dask scheduler to run the fits on (tcp://host:8786)."),
        click.option("--workers", type=click.IntRange(1), help="Worker processes for the fits; by default, none."),
    ):  # fmt: skip
        command = option(command)
    return command
