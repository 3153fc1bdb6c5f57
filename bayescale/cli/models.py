"""Commands about models: backtest, calibrate, compare, learn, and show what ships."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bayescale.cli.interrupts import keeping
from bayescale.cli.options import (
    BUDGET,
    Budget,
    Real,
    Target,
    as_json_option,
    command_of,
    models_option,
    reading_options,
    response_option,
    seed_option,
    sweep_options,
)
from bayescale.cli.printing import (
    LOADING,
    as_text,
    check_out,
    echo,
    finish,
    paragraph,
    print_json,
    print_table,
    print_tables,
    print_wrapped,
    read_runs,
    waiting,
    write_csv,
)
from bayescale.cli.reading import Reading
from bayescale.core.errors import QueryError
from bayescale.core.quantities import counted

if TYPE_CHECKING:
    import pandas as pd

    from bayescale.core.verdict import Verdict
    from bayescale.evaluation.backtest import Backtest
    from bayescale.inference.batch import Batch

_KINDS = ("models", "data", "laws", "resources", "penalties", "responses", "noise", "discrepancies", "decisions",
          "checks")  # fmt: skip
# The names in runs.splits.WAYS, which cannot be imported without NumPy.
_WAYS = ("quantile", "expanding", "leave-largest-out", "leave-family-out", "by-date", "alongside")


@click.command()
@click.argument("runs")
@models_option
@reading_options
@response_option
@click.option("--way", type=click.Choice(_WAYS), metavar="WAY", default="quantile", show_default=True,
              help="Which runs are fitted: those below a quantile of compute (quantile); the same at several quantiles "
              "(expanding); all but the largest model size (leave-largest-out); only other families "
              "(leave-family-out); what was released first (by-date); a family's smallest runs and other families "
              "(alongside).")  # fmt: skip
@click.option("--train-quantile", type=Real(0, 1, min_open=True, max_open=True), default=0.7,
              show_default=True, help="Quantile of a family's compute up to which runs are fitted.")  # fmt: skip
@click.option("--smallest", type=click.IntRange(2),
              help="Fit this many of each family's smallest-compute runs instead.")  # fmt: skip
@click.option("--beyond", type=Real(1), default=1.05, show_default=True,
              help="Score runs above this multiple of the largest fitted compute.")  # fmt: skip
@click.option("--family", help="Score this family only.")
@sweep_options
@click.option("--out", type=Target(),
              help="TOML record to write, for forecast --record; results of other ways in it are kept.")  # fmt: skip
@click.option("--keep", is_flag=True, help="Write the record next to a built-in model; its forecasts then show it.")
@click.option("--verbose", is_flag=True, help="Print every score.")
@seed_option
@as_json_option
def backtest(
    runs: str, specs: tuple[str, ...], reading: Reading,
    response: str | None, way: str, train_quantile: float, smallest: int | None,
    beyond: float, family: str | None, workers: int | None,
    scheduler: str | None, folder: str | None, out: Path | None, keep: bool, verbose: bool, seed: int, as_json: bool,
) -> None:  # fmt: skip
    """Fit on smaller runs, and score forecasts of larger ones: a loss on the log scale, a count as a share.

    Several models are scored as one average. Its weights are learned without the runs that are scored.
    """
    with waiting(LOADING):
        written = _record_paths(runs, specs, out, keep, response)
        from bayescale.evaluation import backtest as backtesting
        from bayescale.evaluation import stacking
        from bayescale.prediction import records

        table = read_runs(runs, reading)
    settings: dict[str, Any] = {
        "way": way, "train_quantile": train_quantile, "smallest": smallest, "beyond": beyond, "family": family,
        "response": response, "seed": seed, "workers": workers, "scheduler": scheduler, "folder": folder,
        "each": _print_scored,
    }  # fmt: skip
    with keeping(folder):
        if len(specs) == 1:
            result = backtesting.backtest(table, specs[0], **settings)
        else:
            result = stacking.backtest_average(table, specs, **settings)
    for name, why in result.left_out.items():
        echo(f"left out: {name} ({why})", err=True)
    for path in written:
        echo(f"record: {records.write_record(result.record, path)}", err=True)
    if as_json:
        print_json(result.to_dict())
    else:
        _print_backtest(result, verbose)
    finish(result.converged, str(result.verdict))


def _print_scored(rows: pd.DataFrame) -> None:
    """Print the scores of families whose fit is made, as a message: what is finished is known if the rest is not."""
    for row in rows.itertuples():
        cut = f" ({row.cut})" if row.cut else ""
        echo(f"done: {row.family}{cut}: {row.n_test} forecasts, {row.coverage_90:.0%} inside their 90% interval, "
             f"CRPS {row.crps:.3g}, bias {row.bias:+.2g}", err=True)  # fmt: skip


def _record_paths(runs: str, specs: tuple[str, ...], out: Path | None, keep: bool, response: str | None) -> list[Path]:
    """Return where to write a backtest's record; refuse a bad path before any work."""
    if len(specs) > 1 and (keep or out):
        raise click.UsageError("a record holds one model: use --keep and --out with one --model")
    if response not in (None, "loss") and (keep or out):
        raise click.UsageError("a record holds forecasts of the loss: drop --keep and --out, or drop --response")
    from bayescale.core import shipped
    from bayescale.prediction import records

    spec = specs[0]
    if keep and spec not in shipped.names("models"):
        raise QueryError(
            f"{spec} is not a built-in model: its record is not kept", hint="write the record with --out FILE"
        )
    if out is not None:
        check_out(out, runs, spec, kind="a record")
        if out.is_file() and out.stat().st_size:
            records.load_record(out)
    return [*([out] if out else []), *([records.home() / f"{spec}.toml"] if keep else [])]


# Columns of a backtest that a terminal shows.
_BACKTEST = ("family", "horizon", "families", "n_train", "n_test", "coverage_50", "coverage_90", "coverage_90_se",
             "width_90", "crps", "bias")  # fmt: skip
_SCORED = ("Forecasts of runs that were not fitted. 'in 90%' is the share inside their 90% interval, with its standard "
           "error over families; width (of that interval), CRPS and bias (median minus observed) are on {scale}, where "
           "0.05 is about 5% of {of}. Width and CRPS: lower is better.")  # fmt: skip


def _print_backtest(result: Backtest, verbose: bool = False) -> None:
    import pandas as pd

    mean = pd.DataFrame([{"family": "MEAN", **result.mean}])
    of = result.meta.get("response", "loss")
    echo(paragraph(_SCORED.format(scale="log loss" if of == "loss" else f"the scale of {of}", of=of)))
    families = pd.concat([result.families, mean]).astype({"n_train": "Int64", "n_test": "Int64"})
    print_table(families if verbose else families[[c for c in _BACKTEST if c in families]])
    echo(paragraph("By compute beyond each family's largest fitted run, mean over forecasts:"))
    horizons = result.horizons
    print_table(horizons if verbose else horizons[[c for c in _BACKTEST if c in horizons]])
    for name, weights in result.weights.items():
        print_wrapped(f"{name}: {weights!r}")
    if not verbose:
        echo("--verbose prints every score")


@click.command()
@click.argument("spec")
@click.option(
    "--simulations", type=click.IntRange(20), default=200, show_default=True, help="Number of tables to simulate."
)
@click.option("--runs", help="Simulate at the params and tokens of these runs; by default, at those of a plain sweep.")
@reading_options
@click.option("--chains", type=click.IntRange(1), default=4, show_default=True, help="Markov chains.")
@click.option(
    "--warmup", type=click.IntRange(20), help="Warm-up iterations per chain; if given, chains are never redrawn."
)
@click.option("--draws", type=click.IntRange(25), default=500, show_default=True, help="Draws per chain.")
@sweep_options
@click.option("--out", type=Target(), help="TOML record to write.")
@seed_option
@as_json_option
def calibrate(
    spec: str, simulations: int, runs: str | None, reading: Reading, chains: int, warmup: int | None, draws: int,
    workers: int | None, scheduler: str | None, folder: str | None, out: Path | None, seed: int, as_json: bool,
) -> None:  # fmt: skip
    """Calibrate SPEC: fit runs simulated from its prior, and test the ranks of the true values. Exit 1 on failure."""
    if out is not None:
        check_out(out, spec, *([runs] if runs else []), kind="a calibration")
    with waiting(LOADING):
        from bayescale.core import toml as recording
        from bayescale.evaluation import sbc

        table = read_runs(runs, reading) if runs else None
    ranked: Counter[str] = Counter()

    def each(batch: Batch) -> None:
        """Print how many simulations are done, as a message: what is finished is known if the rest is not."""
        ranked.update(done=len(batch.verdicts), bad=sum(not verdict.ok for verdict in batch.verdicts.values()))
        echo(f"done: {ranked['done']} of {counted(simulations, 'simulation')}, {ranked['bad']} not converged", err=True)

    with keeping(folder):
        result = sbc.calibrate(spec, runs=table, simulations=simulations, seed=seed, chains=chains, warmup=warmup,
                               draws=draws, workers=workers, scheduler=scheduler, folder=folder, each=each)  # fmt: skip
    if out is not None:
        recording.write(result.to_dict(), out)
    if as_json:
        print_json(result.to_dict())
    else:
        first, *others = result.lines
        echo(paragraph(first))
        print_table(result.table)
        print_wrapped("\n".join(others))
    finish(result.passed, str(result.verdict))


@click.command()
@click.argument("runs")
@click.option("--model", "specs", multiple=True, required=True,
              help="Model to compare, given twice or more: a built-in name, or the path of a TOML file.")  # fmt: skip
@reading_options
@response_option
@click.option("--flops", type=Budget(), help=BUDGET)
@click.option(
    "--family", help="Family whose budget is split and whose forecasts are scored, or 'new'; by default, all."
)
@sweep_options
@click.option("--report", "page", type=Target(), help="HTML report to write.")
@click.option("--out", type=Target(), help="CSV file to write, one model per row.")
@seed_option
@as_json_option
def compare(
    runs: str, specs: tuple[str, ...], reading: Reading,
    response: str | None, flops: float | None, family: str | None, workers: int | None, scheduler: str | None,
    folder: str | None, page: Path | None, out: Path | None, seed: int, as_json: bool,
) -> None:  # fmt: skip
    """Fit several models to RUNS, test their forecasts, and compare their decisions."""
    if out is not None:
        if page is not None and out.absolute() == page.absolute():
            raise click.UsageError("--out and --report name the same file")
        check_out(out, runs, *specs, kind="a table of results")
    with waiting(LOADING):
        from bayescale import reporting
        from bayescale.evaluation import comparison

        if page is not None:
            reporting.check_target(page)
        table = read_runs(runs, reading)
    with keeping(folder):
        result = comparison.compare(table, specs, flops=flops, family=family, response=response, seed=seed,
                                    workers=workers, scheduler=scheduler, folder=folder, each=_print_model)  # fmt: skip
    if out is not None:
        write_csv(result.table, out)
    if page is not None:
        with waiting("checking the fits and drawing the report"):
            reporting.report(result, page, command=command_of(click.get_current_context()))
    if as_json:
        print_json(result.to_dict())
    else:
        print_tables(result.tables)
        print_wrapped(f"{result!r}" + f"\nreport: {page}" * (page is not None))
    finish(result.converged, str(result.verdict))


def _print_model(name: str, verdict: Verdict, test: Backtest | None) -> None:
    """Print a model that is fitted and tested, as a message: what is finished is known if the rest is not."""
    said = f"done: {name}: {verdict}"
    if test is not None:
        mean = test.mean
        said += (f"; {len(test.runs)} forecasts, {mean['coverage_90']:.0%} inside their 90% interval, CRPS "
                 f"{mean['crps']:.3g}, bias {mean['bias']:+.2g}")  # fmt: skip
    echo(said, err=True)


@click.command()
@click.argument("runs")
@click.option("--model", "spec", default="coupled-unpooled", show_default=True,
              help="Model with wide priors and no pooling: a built-in name, or the path of a TOML file.")  # fmt: skip
@reading_options
@click.option("--out", required=True, type=Target(), help="TOML model to write.")
@click.option("--title", help="Title of the new model; by default, that of the model with wide priors.")
@click.option("--keep", is_flag=True, help="Keep each family's evidence in learned/ next to the new model.")
@sweep_options
@seed_option
def learn(
    runs: str, spec: str, reading: Reading, out: Path, title: str | None, keep: bool, workers: int | None,
    scheduler: str | None, folder: str | None, seed: int,
) -> None:  # fmt: skip
    """Learn priors from the families of RUNS, for a family that is not among them."""
    check_out(out, runs, spec, kind="a learned model")
    with waiting(LOADING):
        from bayescale.core import toml
        from bayescale.modelling.spec_io import load_spec, write_spec
        from bayescale.transfer import evidence_io
        from bayescale.transfer import learn as learning

        toml.dumps({"title": title or "", "runs": runs, "model": spec})  # refuse what TOML cannot hold before any fit
        table, base = read_runs(runs, reading), load_spec(spec)
    with keeping(folder):
        learner = learning.study(table, base, seed=seed, workers=workers, scheduler=scheduler, folder=folder)
        for name, why in learner.left_out.items():
            echo(f"left out: {name} ({why})", err=True)
        with waiting("sampling the population of the families"):
            learned = learner.learn()[0]
    # Names as given: a backtest learns the priors again without some families.
    named = {"model": spec, "runs": runs} | as_text(reading)
    origin = dict(learned.learned) | named
    path = write_spec(replace(learned, title=title or learned.title, learned=tuple(origin.items())), out)
    of = counted(len(learner.families), "family")
    echo(paragraph(f"{path}: priors learned from {of} of {runs}; {origin['population']}"))
    if keep:
        echo(f"kept {evidence_io.remember(learner, out.parent / evidence_io.FOLDER / out.name)}")


@click.command()
@click.argument("kind", metavar="KIND", type=click.Choice([*_KINDS, "model", "law", "decision", "check"]))
@click.argument("name", required=False)
@click.option("--head", is_flag=True, help="Print the first runs of a table, as they are read, after its card.")
@as_json_option
def show(kind: str, name: str | None, head: bool, as_json: bool) -> None:
    """List what ships, or show one NAME in full.

    KIND is models, data, laws, resources, penalties, responses, noise, discrepancies, decisions or checks.
    """
    kind = kind if kind in _KINDS else f"{kind}s"
    if head and (kind != "data" or name is None):
        raise click.UsageError("--head is of one table: show data NAME --head")
    with waiting(LOADING):
        from bayescale.cli import show as showing

        content = showing.list_of(kind) if name is None else showing.one(kind, name)
        words = showing.list_words(kind, content) if isinstance(content, list) else showing.words(kind, content)
        first = read_runs(str(name)).frame.head() if head else None
    if as_json:
        head_of = {} if first is None else {"head": first.to_dict("records")}
        print_json(content | head_of if isinstance(content, dict) else content)
        return
    print_wrapped(words)
    if first is not None:
        echo("first runs")
        print_table(first)
