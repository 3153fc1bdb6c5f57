"""Commands that make a fit or read one."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import Any

import click

from bayescale.cli.interrupts import keeping
from bayescale.cli.options import (
    BUDGET,
    BUDGETS,
    Budget,
    Condition,
    Quantity,
    Real,
    Target,
    as_json_option,
    command_of,
    models_option,
    reading_options,
    seed_option,
    spending,
    sweep_options,
)
from bayescale.cli.printing import (
    LOADING,
    check_out,
    echo,
    finish,
    paragraph,
    print_json,
    print_table,
    read_queries,
    read_runs,
    waiting,
    write_csv,
)
from bayescale.cli.reading import Reading
from bayescale.cli.results import marked_words, print_forecast, print_next, print_posterior, warn


@click.command()
@click.argument("runs")
@models_option
@reading_options
@click.option("--horizon", type=Real(1, min_open=True),
              help="Weight models by forecasts at this multiple of the fitted compute; by default, all.")  # fmt: skip
@sweep_options
@click.option("--out", required=True, type=Target(), help="File to write.")
@seed_option
@click.option("--chains", type=click.IntRange(1), default=4, show_default=True, help="Markov chains.")
@click.option("--warmup", type=click.IntRange(20), help="Warm-up iterations per chain; by default, as many as needed.")
@click.option("--draws", type=click.IntRange(4), default=1000, show_default=True, help="Draws per chain.")
@click.option("--device", type=click.Choice(("auto", "cpu", "gpu", "tpu")), default="auto", show_default=True,
              help="Where to sample; auto uses an accelerator for large tables only.")  # fmt: skip
@as_json_option
def fit(
    runs: str, specs: tuple[str, ...], reading: Reading, horizon: float | None, workers: int | None,
    scheduler: str | None, folder: str | None, out: Path, seed: int, chains: int, warmup: int | None, draws: int,
    device: str, as_json: bool,
) -> None:  # fmt: skip
    """Fit a model to RUNS (a built-in name, or a file: CSV, TSV, JSON, Excel, Parquet) and save the posterior.

    Several models are each fitted, then averaged: a model's weight says how well it forecasts larger runs from smaller
    ones.
    """
    of_several: dict[str, Any] = {"horizon": horizon, "workers": workers, "scheduler": scheduler, "folder": folder}
    if len(specs) == 1 and (given := [name for name, value in of_several.items() if value is not None]):
        raise click.UsageError(f"--{given[0]} is for several models: give --model more than once")
    check_out(out, runs, *specs, kind="a fit")
    started = time.perf_counter()
    with waiting(LOADING):
        from bayescale.core import progress
        from bayescale.inference import fit as fitting
        from bayescale.inference.average import Average

        stages = progress.Stages(show=progress.on_terminal())
        stages.seconds["import"] = time.perf_counter() - started
        table = read_runs(runs, reading)
    settings: dict[str, Any] = {"seed": seed, "chains": chains, "warmup": warmup, "draws": draws, "device": device}
    if len(specs) == 1:
        result: fitting.Fit | Average = fitting.fit(table, specs[0], stages=stages, **settings)
    else:
        with waiting(LOADING):
            from bayescale.evaluation import stacking
        with keeping(folder):
            result = stacking.stack(table, specs, stages=stages, **of_several, **settings)
    for one in result.members.values():
        one.meta["command"] = command_of(click.get_current_context())  # for reports: only this verb knows it
    with stages("save"), waiting("saving the fit"):
        result.save(out)
    seconds = {name: round(value, 3) for name, value in stages.seconds.items()}
    if as_json:
        about = _average_dict(result) if isinstance(result, Average) else _fit_dict(result)
        print_json(_said(result, out) | about | {"seconds": seconds})
    else:
        _print_fit(result, out, time.perf_counter() - started)
    finish(result.converged, str(result.verdict))


def _print_fit(result: Any, out: Path, took: float) -> None:
    """Print a fit or an average, its runs that are marked as excluded, the time that it took, and what comes next."""
    warn(result.verdict)
    several = len(result.members) > 1
    named = result.summary if several else result.summary.rename_axis("parameter")
    print_posterior(named.reset_index(), several=several, about=repr(result), marked=marked_words(result, out))
    echo(f"took {took:.0f} s\nsaved {out}")  # --json has the seconds of each stage
    print_next(out, result.columns, result.design_frame)


def _said(result: Any, out: Path) -> dict[str, Any]:
    about = {"model": result.name, "runs": result.meta["runs"], "out": str(out)}
    about |= {"converged": result.converged, "verdict": str(result.verdict), "excluded": result.excluded}
    about |= {"noise_floor": result.floor_words} if result.floor_words else {}
    return about | {name: result.meta[name] for name in ("seed", "device")}


def _fit_dict(fit: Any) -> dict[str, Any]:
    return {"engine": fit.meta["engine"], "parameters": fit.summary.drop(columns="ess_tail").to_dict("index")}


def _average_dict(average: Any) -> dict[str, Any]:
    members = {name: {"verdict": str(fit.verdict), **_fit_dict(fit)} for name, fit in average.members.items()}
    return {"weights": average.weights.to_dict(), "members": members}


@click.command()
@click.argument("fit_file", metavar="FIT.nc")
@click.option("--verbose", is_flag=True, help="Print each finding that passed, not only how many did.")
@as_json_option
def check(fit_file: str, verbose: bool, as_json: bool) -> None:
    """Check a fit: convergence, identifiability, residuals, prior sensitivity. Exit 1 if a finding fails."""
    from bayescale.cli.findings import print_findings

    with waiting(LOADING):
        from bayescale.evaluation.checks import base
        from bayescale.inference import fit_io

        loaded = fit_io.load_fit(fit_file)
    with waiting("checking the fit (compiles the first time)"):
        findings = base.check(loaded)
    if as_json:
        print_json(findings.to_dict())
    else:
        print_findings(findings, verbose=verbose)
    finish(loaded.converged, str(loaded.verdict))
    sys.exit(0 if findings.passed else 1)


@click.command()
@click.argument("fit_file", metavar="FIT.nc")
@click.option("--params", type=Quantity(unbounded=True),
              help="Parameters of the run (70e9, 70B); inf for the least loss that its tokens allow.")  # fmt: skip
@click.option("--tokens", type=Quantity(unbounded=True),
              help="Tokens of the run (1.4e12, 1.4T); inf for the least loss that its params allow.")  # fmt: skip
@click.option("--flops", type=Budget(), help="Compute (5.76e23), without params and tokens: the least loss for it, or "
              f"the forecast of a model that reads compute alone. {BUDGETS}")  # fmt: skip
@click.option("--family", help="A fitted family, or 'new'; by default the only family, else 'new'.")
@click.option(
    "--at", type=click.Path(path_type=Path), help="CSV file of queries, one per row, instead of --params and --tokens."
)
@click.option("--set", "settings", type=Condition(), multiple=True, metavar="COLUMN=VALUE",
              help="Another column of the query that the model reads: flops=1e23, experts=64.")  # fmt: skip
@click.option("--response", help="What to forecast; by default the model's first response.")
@click.option("--out", type=Target(), help="CSV file to write.")
@click.option("--record", type=click.Path(path_type=Path),
              help="Record written by backtest --out; by default, the one that ships with the model.")  # fmt: skip
@seed_option
@as_json_option
def forecast(
    fit_file: str, params: float | None, tokens: float | None, flops: float | None, family: str | None,
    at: Path | None, settings: tuple[tuple[str, str], ...], response: str | None, out: Path | None,
    record: Path | None, seed: int, as_json: bool,
) -> None:  # fmt: skip
    """Forecast a run's loss, with its noise.

    It prints how far the run lies beyond the fitted runs, and how often such intervals held in backtests.

    With --params inf, --tokens inf or --flops, print what the law alone says: a limit, or the frontier of compute.
    """
    _check_columns(settings, {"params": params, "tokens": tokens, "flops": flops})
    of_law = flops is not None or math.inf in (params, tokens)
    if of_law and (at is not None or (flops is not None and (params, tokens) != (None, None))):
        raise click.UsageError("give --flops alone, or --params and --tokens with at least one of them inf")
    if not of_law and (at is None) == (params is None and tokens is None and not settings):
        raise click.UsageError("give either --params and --tokens (or --set COLUMN=VALUE), or --at QUERIES.csv")
    if out is not None:
        check_out(out, fit_file, kind="a table of results")
    with waiting(LOADING):
        from bayescale.inference import fit_io
        from bayescale.prediction import extrapolation, forecast

        loaded = fit_io.load_fit(fit_file)
    columns: dict[str, Any] = {k: v for k, v in (("params", params), ("tokens", tokens)) if v is not None}
    columns |= dict(settings)
    if of_law and (flops is None or not _reads_compute_alone(loaded)):
        _print_law(loaded, flops, columns, family, out, as_json)
        return
    if flops is not None:
        columns["flops"] = flops
    table = None if at is None else read_queries(at)
    with waiting("forecasting"):
        result = forecast.forecast(loaded, table, family=family, response=response, seed=seed, record=record, **columns)
    summary = result.table
    if out is not None:
        write_csv(summary, out)
    if as_json:
        print_json(summary.to_dict("records"))
    else:
        warn(result.verdict)
        print_forecast(result, summary, extrapolation.reach_words(loaded, result.queries),
                       extrapolation.size_name(loaded))  # fmt: skip
    finish(loaded.converged, str(loaded.verdict))


def _reads_compute_alone(fit: Any) -> bool:
    """Whether the compute of a run is a query of the model: it reads no params, which a frontier could vary."""
    read = set(fit.columns)
    return "flops" in read and not read & {"params", "tokens"}


def _check_columns(settings: tuple[tuple[str, str], ...], given: dict[str, float | None]) -> None:
    """Refuse a column that is set twice, or that is an option of its own."""
    names = [name for name, _ in settings]
    twice = [name for name in names if names.count(name) > 1 or given.get(name) is not None]
    if twice:
        raise click.UsageError(f"{twice[0]} is given twice")
    if own := {"family", "response", "seed", "record"} & set(names):
        raise click.UsageError(f"{min(own)} is not a column to set: give --{min(own)}")
    if own := {"fit", "queries"} & set(names):  # names of arguments of the function
        raise click.UsageError(f"{min(own)} is not a column to set: write it to a file, and give --at")


def _print_law(
    fit: Any, flops: float | None, columns: dict[str, Any], family: str | None, out: Path | None, as_json: bool
) -> None:
    """Print what the law alone says: its frontier at a compute, or else its limit."""
    with waiting("asking the law alone"):
        from bayescale.decisions import derived

        if flops is not None:
            found = derived.frontier(fit, flops, family=family, **columns)
        else:
            finite = {name: value for name, value in columns.items() if value != math.inf}
            found = derived.limit(fit, family=family, **finite)
        table = found.summary.assign(verdict=str(found.verdict))
    if out is not None:
        write_csv(table, out)
    if as_json:
        print_json({"kind": found.kind, "rows": table.to_dict("records")})
    else:
        warn(found.verdict)
        echo(paragraph(f"{found.kind} of the law alone, without the noise of a run; fit {found.verdict.status}"))
        print_table(found.table)
    finish(fit.converged, str(fit.verdict))


@click.command()
@click.argument("fit_file", metavar="FIT.nc")
@click.option("--out", required=True, type=Target(), help="File to write.")
@click.option("--flops", type=Budget(), help=BUDGET)
@click.option("--family", help="A fitted family, or 'new'; by default the only family, else 'new'.")
@click.option("--hardware", help="Accelerators (512xH100, or a TOML file): costs in accelerator-days and dollars.")
@click.option(
    "--decision", default="allocation", show_default=True, help="Decision to report: bayescale decide --help."
)
@click.option("--set", "settings", type=(str, str), multiple=True, metavar="NAME VALUE",
              help="Setting of another decision; may be repeated.")  # fmt: skip
@click.option("--format", "written_as", type=click.Choice(("html", "json", "md")),
              help="By default that of the file's suffix; HTML without one.")  # fmt: skip
@click.pass_context
def report(
    ctx: click.Context, fit_file: str, out: Path, flops: float | None, family: str | None, hardware: str | None,
    decision: str, settings: tuple[tuple[str, str], ...], written_as: str | None,
) -> None:  # fmt: skip
    """Write a self-contained report: the answer on one page, the evidence on the next, and an appendix."""
    with waiting(LOADING):
        from bayescale import reporting
        from bayescale.decisions.base import settings_of
        from bayescale.decisions.solver import decide, named, read_settings
        from bayescale.inference import fit_io
        from bayescale.parts.catalogue import find

        reporting.check_target(out, written_as)
        own = read_settings(decision, settings)
        given = spending(flops, settings_of(find("bayescale.decisions", decision)), hardware)
        given |= {"family": family} if family else {}
        loaded = fit_io.load_fit(fit_file)
    with waiting("checking and drawing the fit for its report"):
        plain = decision == "allocation" and not settings
        thing, asked = (loaded, given) if plain else (decide(named(decision, **given | own), loaded), {})
        written = reporting.report(thing, out, command=command_of(ctx), fit_file=fit_file, format=written_as, **asked)
    echo(f"{written}")
    finish(loaded.converged, str(loaded.verdict))
