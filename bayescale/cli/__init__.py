"""The command line: parse, call one verb, print. Heavy libraries are imported inside commands.

Data go to standard output, messages to standard error. Exit codes: 0 done, 1 a finding failed (the
fit has not converged, a check did not pass, or a choice is not settled), 2 wrong usage or bad input, 124 the time of
--timeout has passed, 130 interrupted.
"""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import click

from bayescale.cli import cache, decide, fits, interrupts, models, plot, start
from bayescale.cli.examples import epilog
from bayescale.cli.options import Group, Real


@contextmanager
def _set(variable: ContextVar[bool]) -> Iterator[None]:
    token = variable.set(True)
    try:
        yield
    finally:
        variable.reset(token)


# The longest lines of help, in characters: as wide as the terminal, but still easy to read.
_WIDEST = 160
_LONGEST = 366 * 86_400  # seconds: a year; a timer counts no more than some hundred of them


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": _WIDEST})
@click.version_option(package_name="bayescale")
@click.option("--allow-code", is_flag=True, help="Let specs and fits import the code that they name as module:Class.")
@click.option(
    "--timeout",
    type=Real(0, _LONGEST, min_open=True),
    metavar="SECONDS",
    help="End a command that takes longer than this, and exit with code 124; finished fits of a --folder are kept.",
)
@click.pass_context
def main(ctx: click.Context, allow_code: bool, timeout: float | None) -> None:
    """Bayesian scaling laws: from a table of training runs to a compute decision."""
    if timeout is not None:
        interrupts.after(timeout, interrupts.TIMED_OUT, f"bayescale: ended after --timeout {timeout:g} s")
    if allow_code:  # imported then alone: no help waits for JAX
        from bayescale.parts.catalogue import CODE_ALLOWED

        ctx.with_resource(_set(CODE_ALLOWED))
    # At exit the interpreter collects garbage several times over all imported objects: half a second with JAX.
    atexit.register(gc.freeze)


for _command in (
    start.init, start.validate, fits.fit, fits.check, fits.forecast, decide.decide, plot.plot, fits.report,
    models.compare, models.backtest, models.calibrate, models.learn, models.show, start.explain, cache.cache,
):  # fmt: skip
    _command.epilog = epilog(str(_command.name))
    main.add_command(_command)
