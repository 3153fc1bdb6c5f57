"""Fits and forecasts as a terminal shows them: sentences first, then a table, then what comes next."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayescale.cli.printing import echo, paragraph, print_table, print_wrapped
from bayescale.core.quantities import count

if TYPE_CHECKING:
    import pandas as pd

# Columns of a forecast that a terminal shows; --json and --out write all of them.
_FORECAST = ("family", "params", "tokens", "q50", "q05", "q95", "epred_q05", "epred_q95", "reach_decades")
_TIMES = 10.0  # the largest run's compute: the budget of the next step
_POSTERIOR = ("Posterior of the parameters: mean, standard deviation and 90% interval. R-hat is near 1 if the chains "
              "agree, ESS counts effective draws.")  # fmt: skip
_MEMBERS = "Weights of the models in the average, with their standard errors:"
_FORECAST_HEAD = "Median and 90% interval of a run, with its noise; the interval of the curve leaves the noise out."
_REACH = " Reach is the {sized} as a multiple of the largest run's."
_FEW = 3  # queries that are answered with a sentence each


def print_posterior(table: pd.DataFrame, *, several: bool, about: str, marked: str) -> None:
    """Print the table of a fit, or of the weights of an average, and what it is of.

    Parameters
    ----------
    table : DataFrame
    several : bool
        Whether it is of an average.
    about, marked : str
        The fit in words; and its runs that are marked as excluded, with what they change.
    """
    echo(paragraph(_MEMBERS if several else _POSTERIOR))
    print_table(table)
    echo("\n".join([*map(paragraph, [*about.splitlines(), *([marked] if marked else [])])]))


def marked_words(fit: Any, out: Path) -> str:
    """Return which fitted runs are marked as excluded, how to leave them out, and what that would change.

    Parameters
    ----------
    fit : Fit or Average
    out : Path
        File of the fit.

    Returns
    -------
    str
        Empty if there are none.
    """
    from bayescale.evaluation.marked import without_marked
    from bayescale.inference.average import LEAVE_OUT

    if not fit.excluded:
        return ""
    said = f"{fit.excluded_words}; {LEAVE_OUT}"
    if not fit.converged or not {"params", "tokens"} <= set(fit.columns):
        return said  # nothing is decided by such a fit
    if len(fit.members) > 1 or len(fit.families) > 1:
        # Each member and family costs the posterior of a best split: seconds for several, under one for one.
        return f"{said}; what that would change is under 'excluded runs' in: bayescale check {out}"
    return ". ".join(filter(None, [said, without_marked(fit)]))


def _decide(out: Path, runs: pd.DataFrame) -> str:
    return f"bayescale decide allocation {out} --flops {_TIMES * float(runs['flops'].max()):.1e}"


def print_next(out: Path, columns: Iterable[str], runs: pd.DataFrame) -> None:
    """Print the commands that come after a fit; the budget is ten times the largest run's."""
    lines = [f"  bayescale check {out}"]
    if {"params", "tokens"} <= set(columns):
        lines.append(f"  {_decide(out, runs)}")
    echo("\n".join(["", "Next:", *lines]))


def print_forecast(result: Any, table: pd.DataFrame, reach: str, sized: str) -> None:
    """Print forecasts: in sentences, with their reach and measured coverage, then as a table.

    Parameters
    ----------
    result : Forecast
        Its ``response``, ``unit``, ``evidence`` and ``verdict`` are printed.
    table : DataFrame
        One forecast per row.
    reach : str
        How far the queries lie beyond the runs, in words.
    sized : str
        What says how large the runs are; dates have no multiple.
    """
    for sentence in (*_forecast_words(result, table), reach, *result.evidence, f"fit {result.verdict.status}"):
        echo(paragraph(sentence))
    multiple = sized != "dates"
    echo("\n" + paragraph(_FORECAST_HEAD + _REACH.format(sized=sized) * multiple))
    print_table(table[[c for c in _FORECAST if c in table and (multiple or c != "reach_decades")]])


def _forecast_words(result: Any, table: Any) -> list[str]:
    """Return a sentence for each forecast, if there are few."""
    if len(table) > _FEW:
        return [f"{len(table)} forecasts of {result.response} in {result.unit}"]
    found = []
    for row in table.to_dict("records"):
        sizes = [f"{count(row[name])} {name}" for name in ("params", "tokens") if name in row]
        of = f" of {' on '.join(sizes)}" if sizes else ""
        found.append(f"{result.response}{of}: {row['q50']:.4g} {result.unit}, 90% interval {row['q05']:.4g} to "
                     f"{row['q95']:.4g}")  # fmt: skip
    return found


def warn(verdict: Any) -> None:
    """Print first whether the numbers that follow are provisional, why, and what to do."""
    if verdict.caution:
        print_wrapped(verdict.caution)
        echo("")
