"""Commands that ask of models: their forecasts, their program, their rivals, their priors; and what ships."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bayescale.cli.options import (
    Quantity,
    as_json_option,
    loss_unit_option,
    models_option,
    seed_option,
    sweep_options,
    where_option,
)
from bayescale.cli.printing import check_out, finish, print_json, print_table, read_runs, write_csv
from bayescale.core.errors import QueryError

if TYPE_CHECKING:
    from bayescale.evaluation.backtest import Backtest

_KINDS = ("models", "data", "laws", "resources", "responses", "noise", "discrepancies", "decisions", "checks")
# Those of splitting.WAYS, which cannot be read without NumPy.
_WAYS = ("quantile", "expanding", "leave-largest-out", "leave-family-out", "alongside")


@click.command()
@click.argument("runs")
@models_option
@loss_unit_option
@where_option
@click.option("--way", type=click.Choice(_WAYS), default="quantile", show_default=True,
              help="How to split: runs below a quantile of compute; several quantiles; all but the largest model "
              "size; other families alone; a few runs of one family alongside the others.")  # fmt: skip
@click.option("--train-quantile", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.7,
              show_default=True, help="Quantile of a family's compute up to which runs are fitted.")  # fmt: skip
@click.option("--smallest", type=click.IntRange(2),
              help="Fit this many of each family's smallest-compute runs instead.")  # fmt: skip
@click.option("--beyond", type=click.FloatRange(1), default=1.05, show_default=True,
              help="Score runs above so many times the largest compute that is fitted.")  # fmt: skip
@click.option("--family", help="Score this family alone.")
@sweep_options
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path),
              help="Record to write (TOML), for forecast --record; other ways that it holds stay.")  # fmt: skip
@click.option("--keep", is_flag=True, help="Write the record beside a shipped model, whose forecasts then carry it.")
@seed_option
@as_json_option
def backtest(
    runs: str, specs: tuple[str, ...], loss_unit: str | None, conditions: tuple[tuple[str, str], ...], way: str,
    train_quantile: float, smallest: int | None, beyond: float, family: str | None, workers: int | None,
    scheduler: str | None, folder: str | None, out: Path | None, keep: bool, seed: int, as_json: bool,
) -> None:  # fmt: skip
    """Fit some of each family's runs, by default the cheaper ones, and score forecasts of others, on log loss.

    Several models are scored as their average, with weights learnt without the family that is scored.
    """
    written = _record_paths(runs, specs, out, keep)
    from bayescale.evaluation import backtest as backtesting
    from bayescale.evaluation import stacking
    from bayescale.prediction import records

    settings: dict[str, Any] = {
        "way": way, "train_quantile": train_quantile, "smallest": smallest, "beyond": beyond, "family": family,
        "seed": seed, "workers": workers, "scheduler": scheduler, "folder": folder,
    }  # fmt: skip
    table = read_runs(runs, loss_unit, conditions)
    if len(specs) == 1:
        result = backtesting.backtest(table, specs[0], **settings)
    else:
        result = stacking.backtest_average(table, specs, **settings)
    for name, why in result.left_out.items():
        click.echo(f"left out: {name} ({why})", err=True)
    for path in written:
        click.echo(f"record: {records.write_record(result.record, path)}", err=True)
    if as_json:
        print_json(result.to_dict())
    else:
        _print_backtest(result)
    finish(result.converged, str(result.verdict))


def _record_paths(runs: str, specs: tuple[str, ...], out: Path | None, keep: bool) -> list[Path]:
    """Where to write a backtest's record; refused before any work where it cannot be."""
    if len(specs) > 1 and (keep or out):
        raise click.UsageError("a record is of one model: --keep and --out take one --model")
    from bayescale.core import shipped
    from bayescale.prediction import records

    spec = specs[0]
    if keep and spec not in shipped.names("models"):
        raise QueryError(f"{spec} does not ship: its record is not kept beside the models", do="write it: --out FILE")
    if out is not None:
        check_out(out, runs, spec, fit=False)
        if out.is_file() and out.stat().st_size:
            records.load_record(out)
    return [*([out] if out else []), *([records.home() / f"{spec}.toml"] if keep else [])]


def _print_backtest(result: Backtest) -> None:
    import pandas as pd

    mean = pd.DataFrame([{"family": "MEAN", **result.mean}])
    print_table(pd.concat([result.families, mean]).astype({"n_train": "Int64", "n_test": "Int64"}))
    click.echo("\nby compute beyond each family's dearest fitted run, mean over forecasts:")
    print_table(result.horizons)
    for name, weights in result.weights.items():
        click.echo(f"\n{name}: {weights!r}")
    click.echo("\nscores of log loss: width, crps, are and bias (median minus observed) in log loss or as a share")
    click.echo("…_se: standard error over families, whose runs err together")


@click.command()
@click.argument("spec")
@click.option("--simulations", type=click.IntRange(20), default=200, show_default=True, help="Tables to simulate.")
@click.option("--runs", help="Simulate at these runs' params and tokens; by default at those of a plain sweep.")
@loss_unit_option
@click.option("--chains", type=click.IntRange(1), default=4, show_default=True, help="Chains.")
@click.option("--warmup", type=click.IntRange(20), help="Warm-up iterations a chain; given, no chain is drawn again.")
@click.option("--draws", type=click.IntRange(25), default=500, show_default=True, help="Draws a chain.")
@sweep_options
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Record to write (TOML).")
@seed_option
@as_json_option
def calibrate(
    spec: str, simulations: int, runs: str | None, loss_unit: str | None, chains: int, warmup: int | None, draws: int,
    workers: int | None, scheduler: str | None, folder: str | None, out: Path | None, seed: int, as_json: bool,
) -> None:  # fmt: skip
    """Simulate runs from SPEC's prior, fit them, and ask whether truths rank as they should; exit 1 if not."""
    if out is not None:
        check_out(out, spec, *([runs] if runs else []), fit=False)
    from bayescale.core import toml as recording
    from bayescale.evaluation import sbc

    table = read_runs(runs, loss_unit) if runs else None
    result = sbc.calibrate(spec, runs=table, simulations=simulations, seed=seed, chains=chains,
        warmup=warmup, draws=draws, workers=workers, scheduler=scheduler, folder=folder)  # fmt: skip
    if out is not None:
        recording.write(result.to_dict(), out)
    if as_json:
        print_json(result.to_dict())
    else:
        click.echo(repr(result))
    finish(result.passed, str(result.verdict))


@click.command()
@click.argument("runs")
@click.option("--model", "specs", multiple=True, required=True,
              help="Spec to compare, twice or more: a shipped name, or the path of a TOML file.")  # fmt: skip
@loss_unit_option
@where_option
@click.option("--flops", type=Quantity(), help="Budget in FLOP; by default ten times the largest run's.")
@click.option("--family", help="Whose budget is split and whose forecasts are scored, or 'new'; by default all.")
@click.option("--report", "page", type=click.Path(dir_okay=False, path_type=Path), help="HTML report to write.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="CSV to write, one model a row.")
@seed_option
@as_json_option
def compare(
    runs: str, specs: tuple[str, ...], loss_unit: str | None, conditions: tuple[tuple[str, str], ...],
    flops: float | None, family: str | None, page: Path | None, out: Path | None, seed: int, as_json: bool,
) -> None:  # fmt: skip
    """Fit several models to RUNS, test their forecasts, and set their decisions side by side."""
    if out is not None:
        if page is not None and out.absolute() == page.absolute():
            raise click.UsageError("--out and --report name one file")
        check_out(out, runs, *specs, fit=False)
    from bayescale import reporting
    from bayescale.evaluation import comparison

    if page is not None:
        reporting.check_target(page)
    table = read_runs(runs, loss_unit, conditions)
    result = comparison.compare(table, specs, flops=flops, family=family, seed=seed)
    if out is not None:
        write_csv(result.table, out)
    if page is not None:
        reporting.report(result, page)
    if as_json:
        print_json(result.to_dict())
    else:
        for title, table in result.tables.items():
            click.echo(f"{title}:")
            print_table(table)
        click.echo(f"{result!r}" + f"\nreport: {page}" * (page is not None))
    finish(result.converged, str(result.verdict))


@click.command()
@click.argument("runs")
@click.option("--model", "spec", default="coupled-unpooled", show_default=True,
              help="Spec with wide priors and no pooling: a shipped name, or the path of a TOML file.")  # fmt: skip
@loss_unit_option
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Spec to write (TOML).")
@click.option("--title", help="Title of the spec to write; by default that of the spec with wide priors.")
@click.option("--keep", is_flag=True, help="Keep what each family said in learned/ beside the spec to write.")
@seed_option
def learn(runs: str, spec: str, loss_unit: str | None, out: Path, title: str | None, keep: bool, seed: int) -> None:
    """Learn priors from the families of RUNS, for a family that is not among them."""
    check_out(out, runs, spec, fit=False)
    from bayescale.core import toml
    from bayescale.modelling.spec_io import load_spec, write_spec
    from bayescale.transfer import evidence_io
    from bayescale.transfer import learn as learning

    toml.dumps({"title": title or "", "runs": runs, "model": spec})  # what cannot be written is refused before any fit
    learner = learning.study(read_runs(runs, loss_unit), load_spec(spec), seed=seed)
    for name, why in learner.left_out.items():
        click.echo(f"left out: {name} ({why})", err=True)
    learnt = learner.learn()[0]
    # As they were named: a backtest learns again without some families.
    named = {"model": spec, "runs": runs} | ({"loss_unit": loss_unit} if loss_unit else {})
    origin = dict(learnt.learned) | named
    path = write_spec(replace(learnt, title=title or learnt.title, learned=tuple(origin.items())), out)
    click.echo(f"{path}: priors learnt from {len(learner.families)} families of {runs}; {origin['population']}")
    if keep:
        click.echo(f"kept {evidence_io.remember(learner, out.parent / evidence_io.FOLDER / out.name)}")


@click.command()
@click.argument("kind", type=click.Choice([*_KINDS, "model", "law", "decision", "check"]))
@click.argument("name", required=False)
@as_json_option
def show(kind: str, name: str | None, as_json: bool) -> None:
    """List what ships (KIND: models, data, laws, decisions, checks …), or show one NAME whole."""
    from bayescale.cli import show as showing

    kind = {
        "model": "models",
        "law": "laws",
        "discrepancy": "discrepancies",
        "decision": "decisions",
        "check": "checks",
    }.get(kind, kind)
    if name is None:
        rows = showing.list_of(kind)
        if as_json:
            print_json(rows)
            return
        width = max(len(row["name"]) for row in rows)
        for row in rows:
            click.echo(f"{row['name']:{width}}  {row['about']}")
        return
    content = showing.one(kind, name)
    if as_json:
        print_json(content)
    else:
        click.echo(showing.words(kind, content))
