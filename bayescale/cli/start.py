"""The verbs before a fit: ``init`` writes a template, ``validate`` looks at a table, ``explain`` at a word."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bayescale.cli.options import Target, as_json_option, reading_options
from bayescale.cli.printing import LABELS, echo, paragraph, print_json, read_runs, states, waiting
from bayescale.cli.reading import Reading
from bayescale.core.errors import QueryError, why_unwritten

_TEMPLATE = """\
# Runs for bayescale: one training run per row. Lines that start with # are comments.
# params, tokens   counts, such as 125M or 1.4T; count params one way for all runs, and the tokens of every epoch
# loss             of a held-out text, in nats per token (say --loss-unit bits or perplexity if it is not)
# family           runs that share data, tokenizer, architecture and recipe
# run_id           a name of your own for each run
# flops            optional column; by default 6 x params x tokens
# exclusion        optional; a reason marks a run that an analysis may leave out (--where 'exclusion=""')
# The row below is made up. Replace it with your runs, then: bayescale validate {name}
family,run_id,params,tokens,loss,exclusion
ours,example,125M,2.5B,3.384,
"""


@click.command()
@click.argument("path", metavar="[RUNS.csv]", default="runs.csv", type=Target())
def init(path: Path) -> None:
    """Write a template for a table of runs: a CSV file with comments and one made-up row."""
    try:
        if path.exists():
            raise QueryError(f"{path} exists; it will not be overwritten", hint="choose another name")
        path.write_text(_TEMPLATE.format(name=path), encoding="utf-8")
    except OSError as error:
        raise QueryError(f"cannot write {path}", **why_unwritten(error)) from None
    echo(f"wrote {path}\n\nNext: replace the made-up row with your runs, then\n  bayescale validate {path}")


@click.command()
@click.argument("runs")
@reading_options
@as_json_option
def validate(runs: str, reading: Reading, as_json: bool) -> None:
    """Look at RUNS before a fit: columns, units, duplicates, marked runs, outliers, and what the runs identify.

    Exit 2 if the table cannot be read, and 1 if the made-up row of the template is still in it.
    """
    with waiting("reading the table"):
        from bayescale.runs.survey import FAIL, survey

        table = read_runs(runs, reading)
        found = survey(table)
    fine = all(remark.state != FAIL for remark in found)
    if as_json:
        print_json({"runs": table.name, "n_runs": table.n_runs, "families": table.families, "passed": fine,
                    "understood": table.understood, "remarks": [vars(remark) for remark in found]})  # fmt: skip
    else:
        echo(paragraph(f"{table.name}: {table.words}"))
        states((remark.state, remark.subject, remark.sentence, remark.action) for remark in found)
        echo(f"\nNext: bayescale fit {runs} --out fit.nc")
    sys.exit(0 if fine else 1)


@click.command()
@click.argument("term", nargs=-1, required=True)
def explain(term: tuple[str, ...]) -> None:
    """Explain a TERM of the glossary, or a column of a table."""
    from bayescale.core import glossary

    asked = " ".join(term)
    name, text = glossary.explain(LABELS.get(asked, asked))  # JSON and CSV have other names of columns
    echo(f"{name}\n{paragraph(text, indent='  ')}")
