"""The command line: parse, call one verb, print. Heavy libraries are imported inside commands.

Data go to standard output, messages to standard error. Exit codes: 0 done, 1 a finding failed (the
fit has not converged, or a check did not pass), 2 wrong usage or bad input.
"""

from __future__ import annotations

import json
import math
import sys
import time
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bayescale.errors import BayescaleError, ConvergenceWarning, QueryError
from bayescale.quantities import LEAST, MOST, count, quantity

if TYPE_CHECKING:
    import pandas as pd

    from bayescale.backtesting import Backtest

_KINDS = ("models", "data", "laws", "resources", "responses", "noise", "discrepancy", "decisions", "checks")
# Those of splitting.WAYS, which cannot be read without NumPy.
_WAYS = ("quantile", "expanding", "leave-largest-out", "leave-family-out", "beside")
_HDF5 = b"\x89HDF\r\n\x1a\n"  # the first bytes of every file that Fit.save writes
# What a terminal shows of a forecast; --json and --out hold all.
_FORECAST = ("family", "params", "tokens", "mean", "sd", "q05", "q50", "q95", "epred_q05", "epred_q95", "reach_decades")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
_seed = click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Seed of all randomness."
)


class Quantity(click.ParamType):
    """A count such as 70e9, 70B or 1.4T."""

    name = "number"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Parse the number, or fail as wrong usage."""
        try:
            number = quantity(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not LEAST <= number <= MOST:
            self.fail(f"wanted a positive, finite number from {LEAST:g} to {MOST:g}, came {value!r}", param, ctx)
        return number


class _Group(click.Group):
    """Turns the errors that bayescale raises on purpose into exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; print a typed error without a traceback."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # the verdict is printed instead
                return super().invoke(ctx)
        except BayescaleError as error:
            click.echo(f"bayescale: {error}", err=True)
            ctx.exit(2)


_models = click.option("--model", "specs", multiple=True, default=("default",), show_default=True,
                       help="Spec: a shipped name, or the path of a TOML file. Several are averaged.")  # fmt: skip


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bayescale")
def main() -> None:
    """Bayesian scaling laws: from a table of training runs to a compute decision."""


@main.command()
@click.argument("runs")
@_models
@click.option("--horizon", type=click.FloatRange(1, min_open=True),
              help="Average by forecasts so many times beyond the fitted compute; by default by all.")  # fmt: skip
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="File to write.")
@_seed
@click.option("--chains", type=click.IntRange(1), default=4, show_default=True, help="Chains.")
@click.option("--warmup", type=click.IntRange(20), help="Warm-up iterations a chain; by default as needed.")
@click.option("--draws", type=click.IntRange(4), default=1000, show_default=True, help="Draws a chain.")
@click.option("--device", type=click.Choice(("auto", "cpu", "gpu", "tpu")), default="auto", show_default=True,
              help="Where to sample; auto takes an accelerator for large tables alone.")  # fmt: skip
@_json
def fit(
    runs: str,
    specs: tuple[str, ...],
    horizon: float | None,
    out: Path,
    seed: int,
    chains: int,
    warmup: int | None,
    draws: int,
    device: str,
    as_json: bool,
) -> None:
    """Fit a model to RUNS (a shipped name, or a CSV or Parquet file) and save the posterior.

    Of several models each is fitted, and they are averaged by how well each forecasts dearer runs from cheaper ones.
    """
    if horizon is not None and len(specs) == 1:
        raise click.UsageError("--horizon weighs several models: give --model more than once")
    _check_out(out, runs, *specs, fit=True)
    started = time.perf_counter()
    from bayescale import averaging, fitting, progress
    from bayescale.mixing import Average

    stages = progress.Stages(show=progress.on_terminal())
    stages.seconds["import"] = time.perf_counter() - started
    settings: dict[str, Any] = {"seed": seed, "chains": chains, "warmup": warmup, "draws": draws, "device": device}
    if len(specs) == 1:
        result: fitting.Fit | Average = fitting.fit(runs, specs[0], stages=stages, **settings)
    else:
        result = averaging.stack(runs, specs, horizon=horizon, stages=stages, **settings)
    with stages("save"):
        result.save(out)
    seconds = {name: round(value, 3) for name, value in stages.seconds.items()}
    if as_json:
        _print_json(
            {
                "model": result.name,
                "runs": result.meta["runs"],
                "out": str(out),
                "converged": result.converged,
                "verdict": result.verdict,
                "seed": seed,
                "device": result.meta["device"],
                **(_average_dict(result) if isinstance(result, Average) else _fit_dict(result)),
                "seconds": seconds,
            }
        )
    else:
        named = result.summary if isinstance(result, Average) else result.summary.rename_axis("parameter")
        _print_table(named.reset_index())
        shown = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
        click.echo(f"\n{result!r}\nseconds: {shown}\nsaved {out}")
    _finish(result.converged, result.verdict)


def _fit_dict(fit: Any) -> dict[str, Any]:
    return {"engine": fit.meta["engine"], "parameters": fit.summary.drop(columns="ess_tail").to_dict("index")}


def _average_dict(average: Any) -> dict[str, Any]:
    members = {name: {"verdict": fit.verdict, **_fit_dict(fit)} for name, fit in average.members.items()}
    return {"weights": average.weights.to_dict(), "members": members}


@main.command()
@click.argument("fit_file", metavar="FIT.nc")
@_json
def check(fit_file: str, as_json: bool) -> None:
    """Ask every check of a fit; exit 1 if a finding fails."""
    from bayescale import checking, fitting

    loaded = fitting.load_fit(fit_file)
    findings = checking.check(loaded)
    if as_json:
        _print_json(findings.to_dict())
    else:
        click.echo(repr(findings))
    _finish(loaded.converged, loaded.verdict)
    sys.exit(0 if findings.passed else 1)


@main.command()
@click.argument("fit_file", metavar="FIT.nc")
@click.option("--params", type=Quantity(), help="Params of the run (70e9, 70B).")
@click.option("--tokens", type=Quantity(), help="Tokens of the run (1.4e12, 1.4T).")
@click.option("--family", help="A fitted family, or 'new'; by default the only one, else 'new'.")
@click.option("--at", type=click.Path(path_type=Path), help="CSV of queries, one a row, instead.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="CSV to write.")
@click.option("--record", type=click.Path(path_type=Path),
              help="Backtests of the model, by backtest --out; by default those that ship with it.")  # fmt: skip
@_seed
@_json
def forecast(
    fit_file: str,
    params: float | None,
    tokens: float | None,
    family: str | None,
    at: Path | None,
    out: Path | None,
    record: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Forecast a run's loss, noise included, with its reach beyond the data and how often such intervals covered."""
    if (at is None) == (params is None and tokens is None):
        raise click.UsageError("give either --params and --tokens, or --at QUERIES.csv")
    if out is not None:
        _check_out(out, fit_file, fit=False)
    from bayescale import fitting, forecasting

    loaded = fitting.load_fit(fit_file)
    columns: dict[str, Any] = {k: v for k, v in (("params", params), ("tokens", tokens)) if v is not None}
    table = None if at is None else _read_queries(at)
    result = forecasting.forecast(loaded, table, family=family, seed=seed, record=record, **columns)
    summary = result.summary.assign(verdict=result.verdict)
    if out is not None:
        _write_csv(summary, out)
    if as_json:
        _print_json(summary.to_dict("records"))
    else:
        unit = f"{result.response}, {result.unit}; run noise included, epred_… without"
        _print_table(summary[[c for c in _FORECAST if c in summary]])
        click.echo(f"\n{unit}\n{forecasting.reach_words(loaded, result.queries)}; fit {result.verdict}")
        click.echo("\n".join(result.evidence))
    _finish(loaded.converged, loaded.verdict)


@main.group()
def decide() -> None:
    """Choose an action by its expected utility, with its regret."""


@decide.command()
@click.argument("fit_file", metavar="FIT.nc")
@click.option("--flops", type=Quantity(), required=True, help="Budget in FLOP (5.76e23).")
@click.option("--family", help="A fitted family, or 'new'; by default the only one, else 'new'.")
@_json
def allocation(fit_file: str, flops: float, family: str | None, as_json: bool) -> None:
    """Split a FLOP budget into params and tokens."""
    from bayescale import deciding, fitting
    from bayescale.decisions.allocation import Allocation

    loaded = fitting.load_fit(fit_file)
    choice = deciding.decide(Allocation(flops, family), loaded)
    if as_json:
        _print_json(choice.to_dict())
    else:
        click.echo(f"{choice!r}")
    _finish(loaded.converged, loaded.verdict)


@main.command()
@click.argument("runs")
@click.option("--model", "spec", default="coupled-unpooled", show_default=True,
              help="Spec with wide priors and no pooling: a shipped name, or the path of a TOML file.")  # fmt: skip
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Spec to write (TOML).")
@_seed
def learn(runs: str, spec: str, out: Path, seed: int) -> None:
    """Learn priors from the families of RUNS, for a family that is not among them."""
    _check_out(out, runs, spec, fit=False)
    from bayescale import learning
    from bayescale.runs import load_runs
    from bayescale.spec import load_spec

    learner = learning.study(load_runs(runs), load_spec(spec), seed=seed)
    for name, why in learner.left_out.items():
        click.echo(f"left out: {name} ({why})", err=True)
    origin = {"model": spec, "runs": runs}  # as they were named: a backtest learns again without some families
    path = learning.write_spec(replace(learner.learn()[0], learned=tuple(origin.items())), out)
    click.echo(f"{path}: priors learnt from {len(learner.families)} families of {runs}")


@main.command()
@click.argument("runs")
@_models
@click.option("--way", type=click.Choice(_WAYS), default="quantile", show_default=True,
              help="How to split: runs below a quantile of compute; several quantiles; all but the largest model "
              "size; other families alone; a family's cheapest runs beside other families whole.")  # fmt: skip
@click.option("--train-quantile", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.7,
              show_default=True, help="Quantile of a family's compute up to which runs are fitted.")  # fmt: skip
@click.option("--cheapest", type=click.IntRange(2), help="Fit so many of each family's cheapest runs instead.")
@click.option("--beyond", type=click.FloatRange(1), default=1.05, show_default=True,
              help="Score runs above so many times the largest compute that is fitted.")  # fmt: skip
@click.option("--family", help="Score this family alone.")
@click.option("--workers", type=click.IntRange(1), help="Processes to spread the fits over; by default none.")
@click.option("--scheduler", help="Address of a Dask scheduler to run the fits on (tcp://host:8786).")
@click.option("--folder", type=click.Path(file_okay=False), help="Keep fits here, and take finished ones from here.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path),
              help="Record to write (TOML), for forecast --record; other ways that it holds stay.")  # fmt: skip
@click.option("--keep", is_flag=True, help="Write the record beside a shipped model, whose forecasts then carry it.")
@_seed
@_json
def backtest(
    runs: str, specs: tuple[str, ...], way: str, train_quantile: float, cheapest: int | None, beyond: float,
    family: str | None, workers: int | None, scheduler: str | None, folder: str | None, out: Path | None, keep: bool,
    seed: int, as_json: bool,
) -> None:  # fmt: skip
    """Fit some of each family's runs, by default the cheaper ones, and score forecasts of others, on log loss.

    Several models are scored as their average, with weights learnt without the family that is scored.
    """
    written = _record_paths(runs, specs, out, keep)
    from bayescale import averaging, backtesting, measuring

    settings: dict[str, Any] = {
        "way": way, "train_quantile": train_quantile, "cheapest": cheapest, "beyond": beyond, "family": family,
        "seed": seed, "workers": workers, "scheduler": scheduler, "folder": folder,
    }  # fmt: skip
    if len(specs) == 1:
        result = backtesting.backtest(runs, specs[0], **settings)
    else:
        result = averaging.backtest_average(runs, specs, **settings)
    for name, why in result.left_out.items():
        click.echo(f"left out: {name} ({why})", err=True)
    for path in written:
        click.echo(f"record: {measuring.write_record(result.record, path)}", err=True)
    if as_json:
        _print_json(result.to_dict())
    else:
        _print_backtest(result)
    troubled = "; ".join(f"{k} {v}" for k, v in result.verdicts.items() if v != "converged")
    _finish(result.converged, troubled)


def _record_paths(runs: str, specs: tuple[str, ...], out: Path | None, keep: bool) -> list[Path]:
    """Where to write a backtest's record; refused before any work where it cannot be."""
    if len(specs) > 1 and (keep or out):
        raise click.UsageError("a record is of one model: --keep and --out take one --model")
    from bayescale import measuring, shipped

    spec = specs[0]
    if keep and spec not in shipped.names("models"):
        raise QueryError(f"{spec} does not ship: its record is not kept beside the models", do="write it: --out FILE")
    if out is not None:
        _check_out(out, runs, spec, fit=False)
        if out.is_file() and out.stat().st_size:
            measuring.load_record(out)
    return [*([out] if out else []), *([measuring.home() / f"{spec}.toml"] if keep else [])]


def _print_backtest(result: Backtest) -> None:
    import pandas as pd

    mean = pd.DataFrame([{"family": "MEAN", **result.mean}])
    _print_table(pd.concat([result.families, mean]).astype({"n_train": "Int64", "n_test": "Int64"}))
    click.echo("\nby compute beyond each family's dearest fitted run, mean over forecasts:")
    _print_table(result.horizons)
    for name, weights in result.weights.items():
        click.echo(f"\n{name}: {weights!r}")
    click.echo("\nscores of log loss: width, crps, are and bias (median minus observed) in log loss or as a share")
    click.echo("…_se: standard error over families, whose runs err together")


@main.command()
@click.argument("spec")
@click.option("--simulations", type=click.IntRange(20), default=200, show_default=True, help="Tables to simulate.")
@click.option("--runs", help="Simulate at these runs' params and tokens; by default at those of a plain sweep.")
@click.option("--chains", type=click.IntRange(1), default=4, show_default=True, help="Chains.")
@click.option("--warmup", type=click.IntRange(20), help="Warm-up iterations a chain; given, no chain is drawn again.")
@click.option("--draws", type=click.IntRange(25), default=500, show_default=True, help="Draws a chain.")
@click.option("--workers", type=click.IntRange(1), help="Processes to spread the fits over; by default none.")
@click.option("--scheduler", help="Address of a Dask scheduler to run the fits on (tcp://host:8786).")
@click.option("--folder", type=click.Path(file_okay=False), help="Keep fits here, and take finished ones from here.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Record to write (TOML).")
@_seed
@_json
def calibrate(
    spec: str, simulations: int, runs: str | None, chains: int, warmup: int | None, draws: int, workers: int | None,
    scheduler: str | None, folder: str | None, out: Path | None, seed: int, as_json: bool,
) -> None:  # fmt: skip
    """Simulate runs from SPEC's prior, fit them, and ask whether truths rank as they should; exit 1 if not."""
    if out is not None:
        _check_out(out, spec, *([runs] if runs else []), fit=False)
    from bayescale import calibrating, recording

    result = calibrating.calibrate(spec, runs=runs, simulations=simulations, seed=seed, chains=chains,
        warmup=warmup, draws=draws, workers=workers, scheduler=scheduler, folder=folder)  # fmt: skip
    if out is not None:
        recording.write(result.to_dict(), out)
    if as_json:
        _print_json(result.to_dict())
    else:
        click.echo(repr(result))
    _finish(result.passed, result.verdict)


@main.command()
@click.argument("runs")
@click.option("--model", "specs", multiple=True, required=True,
              help="Spec to compare, twice or more: a shipped name, or the path of a TOML file.")  # fmt: skip
@click.option("--flops", type=Quantity(), help="Budget in FLOP; by default ten times the largest run's.")
@click.option("--family", help="Whose budget is split and whose forecasts are scored, or 'new'; by default all.")
@click.option("--report", "page", type=click.Path(dir_okay=False, path_type=Path), help="HTML report to write.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="CSV to write, one model a row.")
@_seed
@_json
def compare(
    runs: str, specs: tuple[str, ...], flops: float | None, family: str | None, page: Path | None, out: Path | None,
    seed: int, as_json: bool,
) -> None:  # fmt: skip
    """Fit several models to RUNS, test their forecasts, and set their decisions side by side."""
    if out is not None:
        if page is not None and out.absolute() == page.absolute():
            raise click.UsageError("--out and --report name one file")
        _check_out(out, runs, *specs, fit=False)
    from bayescale import comparing, reporting

    if page is not None:
        reporting.check_target(page)
    result = comparing.compare(runs, specs, flops=flops, family=family, seed=seed)
    if out is not None:
        _write_csv(result.table, out)
    if page is not None:
        reporting.report(result, page)
    if as_json:
        _print_json(result.to_dict())
    else:
        for title, table in result.tables.items():
            click.echo(f"{title}:")
            _print_table(table)
        click.echo(f"{result!r}" + f"\nreport: {page}" * (page is not None))
    _finish(result.converged, result.problems)


@main.command()
@click.argument("fit_file", metavar="FIT.nc")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="HTML file to write.")
@click.option("--flops", type=Quantity(), help="Budget in FLOP; by default ten times the largest run's.")
@click.option("--family", help="A fitted family, or 'new'; by default the only one, else 'new'.")
def report(fit_file: str, out: Path, flops: float | None, family: str | None) -> None:
    """Write a self-contained HTML report of a fit: decision, data, checks, and the checklist."""
    from bayescale import fitting, reporting

    reporting.check_target(out)
    loaded = fitting.load_fit(fit_file)
    click.echo(f"{reporting.report(loaded, out, flops=flops, family=family)}")
    _finish(loaded.converged, loaded.verdict)


@main.command()
@click.argument("kind", type=click.Choice([*_KINDS, "model", "law", "decision", "check"]))
@click.argument("name", required=False)
@_json
def show(kind: str, name: str | None, as_json: bool) -> None:
    """List what ships (KIND: models, data, laws, decisions, checks …), or show one NAME whole."""
    from bayescale import showing

    kind = {"model": "models", "law": "laws", "decision": "decisions", "check": "checks"}.get(kind, kind)
    if name is None:
        rows = showing.list_of(kind)
        if as_json:
            _print_json(rows)
            return
        width = max(len(row["name"]) for row in rows)
        for row in rows:
            click.echo(f"{row['name']:{width}}  {row['about']}")
        return
    content = showing.one(kind, name)
    if as_json:
        _print_json(content)
    else:
        click.echo(showing.words(kind, content))


def _read_queries(path: Path) -> pd.DataFrame:
    from bayescale.runs import read_csv

    if not path.exists():
        raise QueryError(f"no file at {path}", wanted="a CSV file of queries, one a row")
    return read_csv(path, partial(QueryError, f"{path} is no table of queries"))


def _check_out(out: Path, *sources: str, fit: bool) -> None:
    """Refuse, before any work, a path that cannot be written or whose content would be missed."""
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise QueryError(
            f"cannot write {out}", wanted="a file in a folder that exists", came=str(out.absolute().parent)
        )
    if not out.is_file() or not out.stat().st_size:
        return
    if any(Path(source).exists() and out.samefile(source) for source in sources):
        raise QueryError(f"--out {out} would replace what is read", do="choose another name")
    with out.open("rb") as file:
        holds_fit = file.read(len(_HDF5)) == _HDF5
    if holds_fit != fit:
        kind = "a fit" if holds_fit else "no fit"
        raise QueryError(f"{out} exists and is {kind}; it is not replaced", do="choose another name, or remove it")


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    try:
        table.to_csv(path, index=False)
    except OSError as error:
        raise QueryError(f"cannot write {path}", came=str(error), do="choose a folder that exists") from None


def _print_json(content: Any) -> None:
    click.echo(json.dumps(_plain(content), indent=2, allow_nan=False))


def _plain(thing: Any) -> Any:
    """JSON has no NaN and no NumPy scalars."""
    if isinstance(thing, dict):
        return {str(k): _plain(v) for k, v in thing.items()}
    if isinstance(thing, list | tuple):
        return [_plain(v) for v in thing]
    thing = thing.item() if hasattr(thing, "item") else thing
    return None if isinstance(thing, float) and not math.isfinite(thing) else thing


def _print_table(table: pd.DataFrame) -> None:
    """Print a table with counts as people write them and four significant digits elsewhere."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table:
        text = table[column].dtype.kind not in "if"
        drawn.add_column(column, justify="left" if text else "right", no_wrap=True)
    for row in table.itertuples(index=False):
        drawn.add_row(*(_cell(name, value) for name, value in zip(table, row, strict=True)))
    wide = max(200, sum(len(c) + 12 for c in table)) if not sys.stdout.isatty() else None
    Console(width=wide).print(drawn)


def _cell(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if str(value) == "<NA>" or value != value:
        return ""
    if name in ("params", "tokens", "flops", "unique_tokens") or (abs(value) >= 1e5):
        return count(float(value))
    if name.startswith("ess") or (float(value).is_integer() and abs(value) >= 1):
        return f"{value:.0f}"
    return f"{value:.4g}"


def _finish(fine: bool, verdict: str) -> None:
    """Exit 1, saying why, if a number that was printed is provisional."""
    if not fine:
        click.echo(f"bayescale: {verdict}", err=True)
        sys.exit(1)
