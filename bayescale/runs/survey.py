"""Survey: what a table of runs can say, before any fit and without JAX."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayescale.core.quantities import count, counted
from bayescale.runs.columns import LABELS, NUMBERS, RUN_KEY, TEXTS
from bayescale.runs.resolution import resolution
from bayescale.runs.table import Runs
from bayescale.runs.validation import NO_FAMILY

PASS, REVIEW, FAIL = "PASS", "REVIEW", "FAIL"

EXAMPLE = "example"
"""The ``run_id`` of the made-up row in the template."""

# A law of params and tokens has five parameters; with fewer sizes or ratios its exponents rest on the prior.
_FEWEST_RUNS, _FEWEST_SIZES = 8, 3
_LEAST_RATIO, _LEAST_SPAN = 2.0, 10.0  # largest over smallest tokens per param, and FLOP
_ROUNDS, _FAR = 20, 6.0  # of reweighting, and robust standard deviations of an outlier
_LEAST_SCALE = 0.003  # of log loss: a law is no quadratic surface, and differs from the best one by about as much
_ENOUGH = 12  # runs of a family: twice the coefficients of the surface
_SHOWN = 5


@dataclass(frozen=True)
class Remark:
    """What was found about one aspect of a table.

    Attributes
    ----------
    subject : str
    state : str
        :data:`PASS`, :data:`REVIEW` or :data:`FAIL`.
    sentence, action : str
        What was found, and what to do; the action is empty if there is nothing to do.
    """

    subject: str
    state: str
    sentence: str
    action: str = ""


def survey(runs: Runs) -> tuple[Remark, ...]:
    """Return what was found about a table that was read, in the order in which a person would ask.

    Parameters
    ----------
    runs : Runs

    Returns
    -------
    tuple of Remark
    """
    asked: tuple[Callable[[Runs], Iterator[Remark]], ...] = (
        _example, _columns, _families, _units, _digits, _repeats, _marked, _identified, _outliers,
    )  # fmt: skip
    return tuple(remark for ask in asked for remark in ask(runs))


def _example(runs: Runs) -> Iterator[Remark]:
    if "run_id" in runs.frame and EXAMPLE in {str(name) for name in runs["run_id"]}:
        yield Remark("example", FAIL, f"the made-up row {EXAMPLE!r} of the template is among the runs",
                     "remove that row")  # fmt: skip


def _columns(runs: Runs) -> Iterator[Remark]:
    known = {*NUMBERS, *TEXTS, *LABELS, *RUN_KEY, "exclusion", *runs.responses}
    used = [column for column in runs.frame if column in known]
    kept = [str(column) for column in runs.frame if column not in known]
    more = f"; kept for specs that name them: {', '.join(kept)}" if kept else ""
    yield Remark("columns", PASS, f"{', '.join(used)}{more}")


def _families(runs: Runs) -> Iterator[Remark]:
    """Say which runs may be in the wrong family: names that look the same, and runs that name none."""
    known: dict[str, list[str]] = {}
    for family in runs.families:
        known.setdefault(_folded(family), []).append(family)
    for names in [names for names in known.values() if len(names) > 1][:_SHOWN]:
        yield Remark("families", REVIEW, f"{', '.join(map(ascii, names))} are {len(names)} families, and differ only "
                     "in case, spaces or the encoding of letters",
                     "give them one name if they are one family")  # fmt: skip
    for note in runs.understood:
        if NO_FAMILY in note:
            yield Remark("families", REVIEW, note, "name the family of every run: runs without one count as one family")


def _folded(name: str) -> str:
    """Return a name without what a reader does not see: case, kinds of spaces, letters of no width."""
    letters = unicodedata.normalize("NFKC", name).casefold()
    return " ".join("".join(letter for letter in letters if unicodedata.category(letter) != "Cf").split())


def _units(runs: Runs) -> Iterator[Remark]:
    if "loss" in runs.frame:
        low, high = runs["loss"].min(), runs["loss"].max()
        sentence = f"losses of {low:.4g} to {high:.4g} nats/token"
        if runs.loss_unit_assumed:
            yield Remark("units", REVIEW, f"{sentence}; this unit is assumed, because nothing states their unit",
                         "state it: --loss-unit nats, or the unit that they have")  # fmt: skip
        else:
            yield Remark("units", PASS, sentence)
    if runs.flops_assumed:
        yield Remark("FLOP", PASS, "6·params·tokens, because the table has no column flops")


def _digits(runs: Runs) -> Iterator[Remark]:
    """Say to which digit losses are given: coarser ones than the scatter of runs hide what the law says."""
    if "loss" not in runs.frame or runs.loss_unit != "nats":  # converted losses have digits of their own
        return
    losses = runs["loss"]
    unit = resolution(losses)
    error = unit / 12**0.5 / float(np.median(losses))
    if losses.min() == losses.max():
        yield Remark("digits", REVIEW, f"every loss is {losses[0]:.4g}: nothing depends on params or tokens",
                     "is this the right column?")  # fmt: skip
    elif error > _LEAST_SCALE:
        yield Remark("digits", REVIEW, f"losses are given to {unit:g}, an error of {100 * error:.1g}% by rounding",
                     "give more digits; without them, rounding is taken as noise")  # fmt: skip
    else:
        yield Remark("digits", PASS, f"losses are given to {unit:g}" if unit else "losses are given to all digits")


def _repeats(runs: Runs) -> Iterator[Remark]:
    frame = runs.frame
    point = [column for column in ("family", "params", "tokens") if column in frame]
    times = int(frame.duplicated(point).sum()) if len(point) == 3 and not runs.rows_by else 0
    if times:
        yield Remark("duplicates", REVIEW, f"{counted(times, 'run')} repeat{'s' * (times == 1)} the params and "
                     "tokens of an earlier run of the family",
                     "keep them if they are separate runs, such as other seeds")  # fmt: skip
    else:
        yield Remark("duplicates", PASS, "no run is given twice")


def _marked(runs: Runs) -> Iterator[Remark]:
    if runs.excluded:
        reasons = "; ".join(f"{n}: {reason}" for reason, n in runs.excluded.items())
        few = sum(runs.excluded.values())
        said = f"{counted(few, 'run')} {'is' if few == 1 else 'are'} marked as excluded ({reasons})"
        yield Remark("marked", REVIEW, said,
                     "leave them out with --where 'exclusion=\"\"', or fit both ways")  # fmt: skip


def _identified(runs: Runs) -> Iterator[Remark]:
    """Say for each family whether its runs alone can tell params from tokens."""
    frame = runs.frame
    if not {"params", "tokens"} <= set(frame):
        yield Remark("identified", PASS, "no params and tokens in the table: laws of compute, examples or steps only")
        return
    faults = {str(family): _faults(rows) for family, rows in frame.groupby("family")}
    weak = {family: found for family, found in faults.items() if found}
    for family, found in list(weak.items())[:_SHOWN]:
        yield Remark("identified", REVIEW, f"{family}: {'; '.join(found)}",
                     "add such runs, or use priors learned from other families: --model default")  # fmt: skip
    if len(weak) > _SHOWN:
        yield Remark("identified", REVIEW, f"{len(weak) - _SHOWN} more families have such gaps", "see above")
    if not weak:
        ratio = frame["tokens"] / frame["params"]
        flops = f"{count(frame['flops'].min())} to {count(frame['flops'].max())} FLOP"
        words = f"{frame['params'].nunique()} sizes, {ratio.min():.3g} to {ratio.max():.3g} tokens per param, {flops}"
        yield Remark("identified", PASS, words)


def _faults(rows: pd.DataFrame) -> list[str]:
    ratio, sizes = rows["tokens"] / rows["params"], rows["params"].nunique()
    span = rows["flops"].max() / rows["flops"].min()
    found = [
        (len(rows) < _FEWEST_RUNS, f"{len(rows)} run{'s' * (len(rows) > 1)}, a law has about five parameters"),
        (sizes < _FEWEST_SIZES, f"{sizes} model size{'s' * (sizes > 1)}, so the exponent of params rests on the prior"),
        (ratio.max() / ratio.min() < _LEAST_RATIO,
         f"about one ratio of tokens to params ({ratio.median():.3g}), so the best split rests on the prior"),
        (span < _LEAST_SPAN, f"compute spans only {span:.2g}×"),
    ]  # fmt: skip
    return [words for fails, words in found if fails]


def _outliers(runs: Runs) -> Iterator[Remark]:
    frame = runs.frame
    if not {"params", "tokens", "loss"} <= set(frame) or runs.rows_by:
        return
    far = [at for _, rows in frame.groupby("family") if len(rows) >= _ENOUGH for at in _far(rows)]
    if not far:
        yield Remark("outliers", PASS, "no loss is far from a smooth surface of params and tokens")
        return
    named = [_called(frame.loc[at]) for at in far[:_SHOWN]]
    more = f" and {len(far) - _SHOWN} more" if len(far) > _SHOWN else ""
    yield Remark("outliers", REVIEW, f"far from a smooth surface of params and tokens: {', '.join(named)}{more}",
                 "look at these runs; mark or leave out those that failed (--exclude RUN_ID)")  # fmt: skip


def _far(rows: pd.DataFrame) -> list[int]:
    """Return the rows whose log loss is far from a quadratic surface in ln params and ln tokens, fitted robustly."""
    x, y = np.log(rows["params"].to_numpy()), np.log(rows["tokens"].to_numpy())
    x, y, target = x - x.mean(), y - y.mean(), np.log(rows["loss"].to_numpy())
    surface = np.column_stack([np.ones_like(x), x, y, x * x, x * y, y * y])
    weight, residual, scale = np.ones_like(x), target, 1.0
    for _ in range(_ROUNDS):  # reweighted least squares with Tukey's biweight
        found = np.linalg.lstsq(surface * weight[:, None], target * weight, rcond=None)[0]
        residual = target - surface @ found
        scale = max(1.4826 * float(np.median(np.abs(residual))), _LEAST_SCALE)
        weight = np.clip(1 - (residual / (4.685 * scale)) ** 2, 0, None)
    return [int(at) for at in rows.index[np.abs(residual) > _FAR * scale]]


def _called(row: pd.Series) -> str:
    named = str(row.get("run_id", "")) or row["family"]
    return f"{named} ({count(row['params'])} params, {count(row['tokens'])} tokens, loss {row['loss']:.4g})"
