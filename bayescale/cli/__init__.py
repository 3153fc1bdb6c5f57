"""The command line: parse, call one verb, print. Heavy libraries are imported inside commands.

Data go to standard output, messages to standard error. Exit codes: 0 done, 1 a finding failed (the
fit has not converged, or a check did not pass), 2 wrong usage or bad input.
"""

from __future__ import annotations

import atexit
import gc

import click

from bayescale.cli import cache, decide, fits, models, plot
from bayescale.cli.options import Group


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bayescale")
def main() -> None:
    """Bayesian scaling laws: from a table of training runs to a compute decision."""
    # An interpreter that ends looks through all that was imported for garbage, several times: half a second with JAX.
    atexit.register(gc.freeze)


for _command in (fits.fit, fits.check, fits.forecast, decide.decide, plot.plot, models.backtest, models.calibrate,
                 models.compare, fits.report, models.learn, models.show, cache.cache):  # fmt: skip
    main.add_command(_command)
