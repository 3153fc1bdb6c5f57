"""What another action of a decision would cost: its picture, and what the script of its control reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from textwrap import shorten
from typing import Any

import numpy as np
import pandas as pd

from bayescale.decisions.choice import Choice
from bayescale.decisions.risk import CVaR, Mean
from bayescale.decisions.thinned import FEW, Thinned
from bayescale.decisions.words import DOLLARS
from bayescale.reporting.drawing import BOTTOM, HEIGHT, TOP, Drawing
from bayescale.reporting.pictures import BANDS, Shown
from bayescale.reporting.sentences import TAILS, WORDS, say
from bayescale.reporting.words import PERCENT, Column, counted, number, percent, tabled, text

_TIMES, _SHARE = 10.0, 0.5  # height of the picture: times the least regret, or the regret of this share of the actions
_LOG_SPAN, _ROWS, _LETTERS = 2.0, 9, 54  # ratio from which an axis is logarithmic; rows of a table; letters of a label
_TIMES_MEAN = 3.0  # width of rows: times the largest mean, beyond which bars are cut
_PLAIN = 0.1, 1e3  # between them ticks are written as they are
_COUNTS = ("params", "tokens", "flops")
Keys = tuple[tuple[str, str], ...]
_NEAR = "at most twice the least expected regret"
_CURVE_KEYS: Keys = (("mean", "expected"), *BANDS, ("safe", _NEAR), ("mark", "chosen"), ("plan", "yours"))
_ROW_KEYS: Keys = (("dot chosen", "chosen"), ("dot taken", "yours"), ("dot near", _NEAR), ("dot beyond", "more"),
                   ("bar", "90% of the draws"))  # fmt: skip
_WORDS = ("regret_shown", "judged", "written", "taken", "all_draws", "worst_draws", "thinned")


def regret_of(choice: Choice, found: Thinned) -> tuple[Shown, list[float | None]]:
    """Draw the regret of each action, and say where each of them is in the picture.

    Parameters
    ----------
    choice : Choice
    found : Thinned

    Returns
    -------
    Shown
    list of float or None
        Place along the axis of the actions, in the picture's unit; None if an action is outside.
    """
    mean = found.regret.mean(axis=0)
    drawn, places, keys = (_curve if found.axis else _rows)(choice, found, mean)
    order = np.argsort(mean, kind="stable")[:_ROWS]
    low, _, _, high = found.levels
    frame = pd.DataFrame({"action": [choice.name_of(int(i)) for i in found.columns], "mean": mean, "low": low,
                          "high": high}).iloc[order]  # fmt: skip
    unit = choice.decision.unit
    columns: list[Column] = [
        ("action", "", text, lambda r: r.action), ("expected regret", unit, number, lambda r: r.mean),
        (f"5{PERCENT}", unit, number, lambda r: r.low), (f"95{PERCENT}", unit, number, lambda r: r.high),
    ]  # fmt: skip
    near, chosen = int(found.near.sum()), "" if choice.unsettled else choice.name_of(choice.best.action)
    note = say("regret_note", draws=str(len(found.most)))
    note += say("regret_near", near=str(near), count=str(len(mean))) * (near > 1)
    note += say("regret_run") * (found.mean_of == "run") + say("regret_open") * bool(choice.unsettled)
    alt = f"regret of {len(mean)} actions, {near} of them near the best" + f"; chosen: {chosen}" * bool(chosen)
    table = replace(tabled("The actions of least expected regret", frame, columns), id="table-regret")
    return Shown(
        "regret", "What another action would cost", drawn.svg("picture-regret", alt), note, table, keys
    ), places


def _curve(choice: Choice, found: Thinned, mean: np.ndarray) -> tuple[Drawing, list[float | None], Keys]:
    """Draw regret along the axis of the actions, as far as it is of interest."""
    top = max(_TIMES * float(mean.min()), float(np.quantile(mean, _SHARE))) or 1.0
    chosen = int(np.flatnonzero(found.columns == choice.best.action)[0])
    asked = [chosen, *(found.judged(tail)["action"] for tail in TAILS)]
    low, high = min(np.flatnonzero(mean <= top)[0], *asked), max(np.flatnonzero(mean <= top)[-1], *asked)
    low, high = max(low - 1, 0), min(high + 1, len(mean) - 1)  # at least two
    seen = np.arange(low, high + 1)
    x, levels = found.x[seen].tolist(), found.levels[:, seen].tolist()
    drawn = Drawing((x[0], x[-1]), (0.0, top), log=0 < _LOG_SPAN * x[0] < x[-1])
    near = np.flatnonzero(found.near)
    drawn.span("safe", float(found.x[near[0]]), float(found.x[near[-1]]))
    drawn.band("band90", x, levels[0], levels[3]).band("band50", x, levels[1], levels[2])
    for row in levels:
        drawn.line("edge", x, row)
    drawn.line("mean", x, mean[seen])
    write: Callable[[float], str] = counted if found.axis in _COUNTS else lambda value: number(value, 2)
    if not choice.unsettled:
        drawn.upright("mark", float(found.x[chosen]), "chosen")
    words, scaled = _unit_of(choice, top)
    drawn.axes("parameters" if found.axis == "params" else found.axis.replace("_", " "), words, write, scaled)
    places = [drawn.across(float(at)) if low <= k <= high else None for k, at in enumerate(found.x)]
    spread, several = bool(np.ptp(levels, axis=0).max()), len(near) > 1
    keys = tuple(key for key in _CURVE_KEYS if (spread or key not in BANDS) and (several or key[0] != "safe"))
    return drawn, places, keys


def _rows(choice: Choice, found: Thinned, mean: np.ndarray) -> tuple[Drawing, list[float | None], Keys]:
    """Draw the actions of least regret, and those that some attitude to risk prefers, in rows."""
    chosen = int(np.flatnonzero(found.columns == choice.best.action)[0])
    best = np.argsort(mean, kind="stable")[:FEW]
    shown = sorted({*best.tolist(), chosen, *(found.judged(tail)["action"] for tail in TAILS)}, key=lambda k: mean[k])
    low, _, _, high = found.levels
    top = min(float(high[shown].max()), _TIMES_MEAN * float(mean[shown].max())) or 1.0
    drawn = Drawing((0.0, top), (0.0, 1.0), log=False)
    step, places = (HEIGHT - BOTTOM - TOP) / len(shown), dict[int, float]()
    for row, k in enumerate(shown):
        places[k] = TOP + step * (row + 0.7)
        kind = "dot near" if found.near[k] else "dot beyond"
        kind = "dot chosen" if k == chosen and not choice.unsettled else kind
        label = shorten(choice.name_of(int(found.columns[k])), _LETTERS, placeholder="…")
        drawn.row(kind, places[k], label, float(low[k]), float(mean[k]), float(high[k]))
    words, write = _unit_of(choice, top)
    return drawn.below(words, write), [places.get(k) for k in range(len(mean))], _ROW_KEYS


def _unit_of(choice: Choice, top: float) -> tuple[str, Callable[[float], str]]:
    """Words of the axis of a regret, and a writer of its ticks: a power of ten is in the words."""
    power = 1.0 if _PLAIN[0] <= top < _PLAIN[1] else 10.0 ** int(np.floor(np.log10(top)))
    factor = f"{number(power, 1).removeprefix('1×')} " * (power != 1)
    return f"regret ({factor}{choice.decision.unit})", lambda value: f"{value / power:.3g}"


def actions_of(choice: Choice, found: Thinned, places: list[float | None]) -> dict[str, Any]:
    """Return what the script reads: utilities, the names of the actions, their places in the picture and the words.

    Parameters
    ----------
    choice : Choice
    found : Thinned
    places : list of float or None
        As :func:`regret_of` returns them.

    Returns
    -------
    dict
        Empty for a choice that the runs do not settle.
    """
    if choice.unsettled:
        return {}
    risk = choice.risk
    tail = 1.0 if risk == Mean() else risk.tail if isinstance(risk, CVaR) and risk.tail in TAILS else 0.0
    how = say("neutral") if tail == 1 else say("cautious", tail=percent(tail)) if tail else f"chosen by {risk.about}"
    names = [choice.name_of(int(i)) for i in found.columns]
    return {
        "kind": "actions", **found.to_dict(TAILS), "tails": TAILS, "names": names, "axis": found.axis,
        "near": found.near.tolist(), "chosen": found.columns.tolist().index(choice.best.action), "tail": tail,
        "places": [at if at is None else round(at, 1) for at in places], "other": "" if tail else risk.about,
        "unit": choice.decision.unit, "dollars": choice.decision.unit == DOLLARS, "hash": True,
        "words": {name: WORDS[name] for name in _WORDS}, "printed": f"Set: {how}.",
    }  # fmt: skip
