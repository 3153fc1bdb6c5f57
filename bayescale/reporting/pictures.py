"""Pictures of a report's pages: the cost of another size, loss by compute, coverage by reach, and residuals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter

import numpy as np
import pandas as pd

from bayescale.decisions.choice import Choice
from bayescale.decisions.surface import interpolate
from bayescale.decisions.tabulated import SIZES, Tabulated
from bayescale.evaluation.checks.residuals import BINS
from bayescale.prediction.queries import NEW
from bayescale.prediction.records import HORIZONS, Measured
from bayescale.reporting.drawing import Drawing, log_ticks
from bayescale.reporting.sentences import say
from bayescale.reporting.words import PERCENT, Column, Table, counted, integer, loss, number, percent, tabled, text
from bayescale.runs.columns import FLOPS_PER_PARAM_TOKEN

NEAR, FAR = float(np.log(1.5)), float(np.log(3.0))
"""E-folds of params from the best size of a run's compute: nearer than the first, and farther than the second."""
KINDS = ("near", "middle", "far")
_LEAST_SHOWN, _TIMES_LEAST, _MOST_SHOWN = 0.2, 3.0, 2.0  # of waste: heights of the first picture
_ROWS = 9  # of a picture's table
_FEWEST = 5  # runs of a bin
_TIMES_NOISE = 3.0  # height of a picture of residuals, in which a drift of the size of the noise can be seen
_PROMISED = 0.9
_MOST_POINTS = 100  # of a curve
_MOST_RUNS = 400  # that a picture draws, thinned evenly
_TOPMOST = 0.98  # share of the runs whose loss sets the height of the second picture


@dataclass(frozen=True)
class Shown:
    """A picture of a page with its title, one line about it, and its numbers as a table."""

    name: str
    title: str
    svg: str
    note: str
    table: Table
    keys: tuple[tuple[str, str], ...] = ()
    """What its marks mean: the kind of mark, as the page's style names it, and words. Marks may come with a slider."""


BANDS = (("band50", "50% of the draws"), ("band90", "90% of the draws"))
"""Keys of the bands of a picture."""
_COST_KEYS = (("mean", "expected"), *BANDS, ("safe", "under 1% extra in half of the draws"), ("mark", "chosen size"),
              ("plan", "your plan"))  # fmt: skip
_LOSS_KEYS = (
    ("mean", "median of one run at the best split"),
    *BANDS,
    ("run near", "run near the best split"),
    ("run middle", "run farther from it"),
    ("run far", "run over 3 times too large or too small"),
)


def run_interval(choice: Choice, table: Tabulated) -> tuple[float, float]:
    """Return the 90% interval of the loss of one run at the best split of a budget.

    Parameters
    ----------
    choice : Choice
        Of an allocation.
    table : Tabulated

    Returns
    -------
    (float, float)
    """
    at = np.log(choice.details.flops)
    low, high = (float(interpolate(table.ln_flops, row, at)) for row in table.curve[[0, 4]])
    return low, high


def cost_of_sizes(choice: Choice) -> Shown:
    """Draw the compute that each size wastes, with 50% and 90% of the draws.

    Parameters
    ----------
    choice : Choice
        Of an allocation.

    Returns
    -------
    Shown
    """
    of = choice.details
    sizes, waste = np.exp(of.ln_params[:SIZES]), of.waste[:, :SIZES]
    mean = waste.mean(axis=0)
    most = min(max(_LEAST_SHOWN, _TIMES_LEAST * float(mean.min())), _MOST_SHOWN)
    seen = np.flatnonzero(mean <= most) if mean.min() <= most else np.arange(SIZES)
    seen = seen[np.unique(np.linspace(0, len(seen) - 1, _MOST_POINTS).astype(int))]
    x, levels = sizes[seen], np.quantile(waste[:, seen], [0.05, 0.25, 0.75, 0.95], axis=0)
    drawn = Drawing((x[0], x[-1]), (0.0, most))
    low, high = of.band
    if not np.isnan(low):
        drawn.span("safe", low, high)
    drawn.band("band90", x, levels[0], levels[3]).band("band50", x, levels[1], levels[2])
    for row in levels:
        drawn.line("edge", x, row)
    drawn.line("mean", x, mean[seen])
    if not choice.unsettled:
        drawn.upright("mark", of.params, counted(of.params))
    drawn.axes("parameters", "extra compute", counted, percent)
    tokens = of.flops / FLOPS_PER_PARAM_TOKEN
    ticks = [(tokens / at, counted(at)) for at in log_ticks(tokens / x[-1], tokens / x[0])]
    drawn.top("tokens (fewer for larger sizes)", ticks)
    rows = seen[np.linspace(0, len(seen) - 1, _ROWS).astype(int)]
    frame = pd.DataFrame({"params": sizes[rows], "tokens": tokens / sizes[rows], "ratio": tokens / sizes[rows] ** 2,
                          "mean": mean[rows], "low": np.quantile(waste[:, rows], 0.05, axis=0),
                          "high": np.quantile(waste[:, rows], 0.95, axis=0)})  # fmt: skip
    columns: list[Column] = [
        ("parameters", "", counted, lambda r: r.params), ("tokens", "", counted, lambda r: r.tokens),
        ("tokens per parameter", "", number, lambda r: r.ratio),
        ("expected", "extra compute", percent, lambda r: r.mean),
        (f"5{PERCENT}", "", percent, lambda r: r.low), (f"95{PERCENT}", "", percent, lambda r: r.high),
    ]  # fmt: skip
    alt = f"expected extra compute by size: least at {counted(of.params)} parameters"
    alt = "expected extra compute by size: no size is settled" if choice.unsettled else alt
    note = say("note_open") if choice.unsettled else say("note_a", params=counted(of.params))
    return Shown("a", "The cost of choosing another size", drawn.svg("picture-a", alt), note,
                 replace(tabled("Extra compute by size", frame, columns), id="table-a"), _COST_KEYS)  # fmt: skip


def runs_of(choice: Choice, table: Tabulated) -> pd.DataFrame:
    """Return the runs that the second picture shows, with their distance from the best size of their compute.

    Parameters
    ----------
    choice : Choice
    table : Tabulated

    Returns
    -------
    DataFrame
        ``flops params tokens loss away kind``; empty if the table of runs has no loss.
    """
    runs, family = choice.fit.design_frame, choice.details.family
    mine = runs if family == NEW else runs[runs["family"] == family]
    if "loss" not in mine:
        return pd.DataFrame(columns=["flops", "params", "tokens", "loss", "away", "kind"])
    found = mine[["params", "tokens", "loss"]].dropna().astype(float).reset_index(drop=True)
    found["flops"] = FLOPS_PER_PARAM_TOKEN * found["params"] * found["tokens"]
    ln_flops = np.log(found["flops"].to_numpy())
    best = table.best_sizes
    at = interpolate(table.ln_flops, np.broadcast_to(best, (len(found), len(best))), ln_flops)
    found["away"] = np.log(found["params"]) - at
    if len(found):  # thinned, but never without the largest run
        kept = {*range(0, len(found), -(-len(found) // _MOST_RUNS)), int(found["flops"].argmax())}
        found = found.iloc[sorted(kept)].reset_index(drop=True)
    away = found["away"].abs()
    found["kind"] = np.where(away < NEAR, KINDS[0], np.where(away < FAR, KINDS[1], KINDS[2]))
    return found


def loss_by_compute(choice: Choice, table: Tabulated) -> Shown:
    """Draw the loss of a run at the best split by compute, with 50% and 90% of the draws, and the runs.

    Parameters
    ----------
    choice : Choice
        Of an allocation.
    table : Tabulated

    Returns
    -------
    Shown
    """
    of, runs, curve = choice.details, runs_of(choice, table), table.curve
    flops = np.exp(table.ln_flops)
    largest = of.flops / 10**of.reach_decades
    seen = flops <= 10 * max(of.flops, largest)
    bottom, top = float(curve[0, seen].min()), float(curve[4, seen].max())
    top = max(top, float(runs["loss"].quantile(_TOPMOST))) if len(runs) else top
    pad = 0.04 * (top - bottom)
    drawn = Drawing((float(flops[seen][0]), float(flops[seen][-1])), (bottom - pad, top + pad))
    drawn.band("band90", flops[seen], curve[0, seen], curve[4, seen])
    drawn.band("band50", flops[seen], curve[1, seen], curve[3, seen])
    for i in (0, 1, 3, 4):
        drawn.line("edge", flops[seen], curve[i, seen])
    drawn.line("mean", flops[seen], curve[2, seen])
    drawn.points((f"run {kind}" for kind in runs["kind"]), runs["flops"], runs["loss"])
    drawn.upright("rule", largest, "largest run").upright("mark", of.flops, "budget", 1)
    drawn.axes("compute (FLOP)", "loss (nats/token)", number, lambda y: f"{y:.1f}" if top - bottom > 1 else f"{y:.2f}")
    i = int(np.abs(flops - of.flops).argmin())
    low, high = run_interval(choice, table)
    frame = pd.DataFrame({"flops": flops[seen], **{f"q{k}": curve[k, seen] for k in range(5)}})
    columns: list[Column] = [("compute", "FLOP", number, lambda r: r.flops)]
    for k, level in enumerate((5, 25, 50, 75, 95)):
        columns.append((f"{level}{PERCENT}", "nats/token", loss, attrgetter(f"q{k}")))
    alt = f"loss by compute of {len(runs)} runs, and of a run at the best split: {loss(curve[2, i])} near the budget"
    note = say("note_b", flops=number(of.flops), low=loss(low), high=loss(high), largest=largest_note(choice, table))
    shown = replace(tabled("Loss at the best split", frame, columns), id="table-b")
    return Shown("b", "Loss by compute", drawn.svg("picture-b", alt), note, shown, _LOSS_KEYS)


def coverage(found: Mapping[str, Measured], title: str) -> Shown | None:
    """Draw how often 90% intervals held, by reach, with an interval of the share.

    Parameters
    ----------
    found : mapping of str to Measured
        By horizon.
    title : str

    Returns
    -------
    Shown or None
        None if nothing was measured.
    """
    names = [name for name in HORIZONS if name in found and found[name].backtests]
    if not names:
        return None
    rows = []
    for k, name in enumerate(names):
        low, high = found[name].likely
        rows.append({"at": k + 0.5, "reach": name, "runs": found[name].backtests, "families": found[name].families,
                     "held": found[name].coverage_90, "low": low, "high": high})  # fmt: skip
    frame = pd.DataFrame(rows)
    drawn = Drawing((0.0, len(names) + 0.0), (0.0, 1.0), log=False).level("rule", _PROMISED)
    for row in frame.itertuples():
        drawn.error("bar", row.at, row.low, row.high)
    drawn.points(["dot"] * len(frame), frame["at"], frame["held"], 4.5)
    drawn.axes("compute over the largest fitted run", "share inside the 90% interval", str, percent,
               list(zip(frame["at"], frame["reach"], strict=True)))  # fmt: skip
    columns: list[Column] = [
        ("reach", "", text, lambda r: r.reach), ("forecasts", "", integer, lambda r: r.runs),
        ("families", "", integer, lambda r: r.families), ("held", "", percent, lambda r: r.held),
        ("90% interval from", "", percent, lambda r: r.low), ("to", "", percent, lambda r: r.high),
    ]  # fmt: skip
    said = "; ".join(f"{row.reach}: {percent(row.held)} of {row.runs}" for row in frame.itertuples())
    note = "Note: bars are 90% intervals of the share, by the spread of families; the line is what 90% promises."
    return Shown("coverage", title, drawn.svg("picture-coverage", f"coverage by reach. {said}"), note,
                 tabled("Coverage of the 90% interval by reach", frame, columns))  # fmt: skip


def residuals(choice: Choice, table: Tabulated, drifting: Iterable[str] = ()) -> tuple[Shown, ...]:
    """Draw what the law's median leaves of each run's loss, against each column with which the residuals drift.

    Parameters
    ----------
    choice : Choice
        Of an allocation.
    table : Tabulated
    drifting : iterable of str
        Columns for which the check of residuals failed; without any, the picture is by compute.

    Returns
    -------
    tuple of Shown
        Empty for a new family, and for a law of more than params and tokens.
    """
    runs = runs_of(choice, table)
    if not len(runs) or not _predicts(choice):
        return ()
    runs = runs.assign(left=100 * np.expm1(_residual(runs, table)), ratio=runs["tokens"] / runs["params"])
    axes = [_AXES[name] for name in drifting if name in _AXES] or [_AXES["compute"]]
    return tuple(_drifting(runs, table, *axis) for axis in axes)


def _predicts(choice: Choice) -> bool:
    """Whether the table predicts the loss of each run: not for a new family, nor a law of more than its two inputs."""
    return choice.details.family != NEW and set(choice.fit.inputs) == {"params", "tokens"}


def _residual(runs: pd.DataFrame, table: Tabulated) -> np.ndarray:
    """Log of the observed loss minus the median of the law's, shape (run,)."""
    ln_flops, ln_params = np.log(runs["flops"].to_numpy()), np.log(runs["params"].to_numpy())
    return np.log(runs["loss"].to_numpy()) - np.median(table.log_loss(ln_flops, ln_params), axis=0)


def _noise(table: Tabulated) -> tuple[float, float]:
    """90% interval of a run's noise, relative to its loss."""
    low, high = np.expm1(np.quantile(table.noise, [0.05, 0.95]))
    return float(low), float(high)


def _drifting(runs: pd.DataFrame, table: Tabulated, column: str, words: str, write: Callable[[float], str]) -> Shown:
    """Draw the residuals against one column, with their median in bins of equally many runs."""
    at, left, (low, high) = runs[column], runs["left"].to_numpy(), (100 * end for end in _noise(table))
    most = _TIMES_NOISE * max(high, -low)
    ends = (0.8 * float(at.min()), 1.25 * float(at.max()))
    drawn = Drawing(ends, (-most, most)).band("band90", ends, [low, low], [high, high]).level("rule", 0.0)
    drawn.points((f"run {kind}" for kind in runs["kind"]), at, np.clip(left, -most, most))
    bins = pd.qcut(at, max(1, min(BINS, len(runs) // _FEWEST)), labels=False, duplicates="drop")
    middles = runs.groupby(bins)[[column, "left"]].median()
    drawn.line("mark", middles[column], middles["left"])
    drawn.axes(words, "observed minus predicted loss (%)", write, lambda y: f"{y:.3g}")
    largest = np.argsort(-np.abs(left), kind="stable")[:_ROWS]
    frame = runs.iloc[largest]
    columns: list[Column] = [
        ("parameters", "", counted, lambda r: r.params), ("tokens", "", counted, lambda r: r.tokens),
        ("tokens per parameter", "", number, lambda r: r.ratio),
        ("loss", "nats/token", loss, lambda r: r.loss), ("residual", "of loss", percent, lambda r: r.left / 100),
    ]  # fmt: skip
    outside = int((np.abs(left) > most).sum())
    note = ("Note: the band holds 90% of the noise that the model expects. The line joins medians of bins with equally "
            "many runs; without drift it stays near zero. "
            f"Number of runs outside the picture, drawn at its edge: {outside}.")  # fmt: skip
    note += " Errors that runs share are part of these residuals." * bool(table.error.any())
    name = f"residuals-{column}"
    drawn_svg = drawn.svg(f"picture-{name}", f"residuals of {len(runs)} runs by {words}")
    return Shown(name, f"Residuals by {words.partition(' (')[0]}", drawn_svg, note,
                 tabled(f"The largest residuals, by {words.partition(" (")[0]}", frame, columns))  # fmt: skip


_AXES: dict[str, tuple[str, str, Callable[[float], str]]] = {
    "compute": ("flops", "compute (FLOP)", number),
    "params": ("params", "parameters", counted),
    "tokens": ("tokens", "tokens", counted),
    "tokens per param": ("ratio", "tokens per parameter", lambda x: number(x, 2)),
}
"""Columns of the pictures of residuals by what the check calls them: column, words and writer of the axis."""


def largest_run(choice: Choice, table: Tabulated) -> tuple[str, bool]:
    """Return how far the largest run is from its own prediction, in words, and whether that is outside the noise.

    Parameters
    ----------
    choice : Choice
        Of an allocation.
    table : Tabulated

    Returns
    -------
    (str, bool)
        An empty text where the table predicts no runs.
    """
    runs = runs_of(choice, table)
    if not len(runs) or not _predicts(choice):
        return "", False
    one = runs.loc[[runs["flops"].idxmax()]]
    off, (low, high) = float(np.expm1(_residual(one, table)[0])), _noise(table)
    (params, tokens) = one[["params", "tokens"]].to_numpy(float)[0]
    inside, below = low <= off <= high, off < 0
    said = say("largest_run", params=counted(params), ratio=number(tokens / params, 2), off=percent(abs(off)),
               side="below" if below else "above", place="inside" if inside else "outside", low=percent(low),
               high=percent(high))  # fmt: skip
    means = say("largest_in") if inside else say("largest_out", lower="lower" if below else "higher")
    return said + means, not inside


def largest_note(choice: Choice, table: Tabulated) -> str:
    """Return what the note of a picture says of the largest run.

    Parameters
    ----------
    choice : Choice
        Of an allocation.
    table : Tabulated

    Returns
    -------
    str
    """
    said, outside = largest_run(choice, table)
    return say("largest_see") if outside else f" {said}" * bool(said)
