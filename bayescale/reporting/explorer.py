"""What the script of a report's first page reads, and the script itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from bayescale.decisions.allocation import FAR
from bayescale.decisions.bills import card_of
from bayescale.decisions.choice import Choice
from bayescale.decisions.tabulated import TIMES, Tabulated
from bayescale.prediction.records import Measured
from bayescale.reporting.front import NO_HARDWARE, Front, budget_words, devices, failing, if_right, trust_by_horizon
from bayescale.reporting.pictures import largest_note, runs_of
from bayescale.reporting.sentences import TAILS, WORDS, say

_SCRIPTS = {
    "budget": ("vendor/d3lite.js", "page/tools.js", "page/law.js", "page/explorer.js"),
    "actions": ("page/tools.js", "page/actions.js"),
}
"""Files of the scripts by kind of page: a budget that is split again, or the actions of any decision."""
_DIGITS = 6  # of the runs in the picture


@cache
def scripts(kind: str) -> str:
    """Return the scripts that a page contains.

    Parameters
    ----------
    kind : {"budget", "actions"}

    Returns
    -------
    str
    """
    return "\n".join((files("bayescale.reporting") / name).read_text("utf-8") for name in _SCRIPTS[kind])


@cache
def style() -> str:
    """Return the style of a page.

    Returns
    -------
    str
    """
    return (files("bayescale.reporting") / "page" / "page.css").read_text("utf-8")


def as_json(explorer: Mapping[str, Any]) -> str:
    """Return JSON that can stand in a page.

    Parameters
    ----------
    explorer : mapping

    Returns
    -------
    str
    """
    return json.dumps(explorer, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def explorer_of(
    choice: Choice, table: Tabulated, front: Front, measured: Mapping[str, Measured] | None = None
) -> dict[str, Any]:  # fmt: skip
    """Return what the script reads: the table of draws, the runs, the hardware and the words.

    Parameters
    ----------
    choice : Choice
        Of an allocation.
    table : Tabulated
    front : Front
    measured : mapping of str to Measured, optional

    Returns
    -------
    dict
        An allocation with limits has none: the script does not know them.
    """
    of = choice.details
    runs = runs_of(choice, table)
    return {
        "kind": "budget", "table": table.to_dict(),
        "flops": of.flops, "times": TIMES, "largest": of.flops / 10**of.reach_decades
        if of.reach_decades else max(of.flops, float(runs["flops"].max() if len(runs) else of.flops)),
        "tails": TAILS, "far": FAR, "words": WORDS,
        "runs": [[_rounded(r.flops), _rounded(r.loss), r.kind] for r in runs.itertuples()],
        "trust": trust_by_horizon(choice, measured), "reasons": [*choice.moved, *failing(front.chips)],
        "depends": [front.depends, say("depends_at", said=front.depends, budget=budget_words(choice))],
        "largestRun": largest_note(choice, table), "hardware": _hardware(choice), "noHardware": NO_HARDWARE,
        "hash": True, "right": if_right(choice),
        "printed": f"Set: budget {budget_words(choice)}; no tokens served; {say('neutral')}.",
    }  # fmt: skip


def _hardware(choice: Choice) -> dict[str, Any] | None:
    card, figures = card_of(choice.decision), choice.bill[1]
    if card is None:
        return None
    hours = figures["accelerator_hours"]
    dollars = figures.get("dollars") if card.price else None
    return {
        "accelerator": card.accelerator, "hours": hours, "days": figures.get("days"), "dollars": dollars,
        "devices": devices(card),
        "flops_per_hour": choice.details.flops / hours["q50"], "utilisation": card.utilisation.amount.mean,
        "price": dollars["q50"] / hours["q50"] if dollars else 0.0,
        "as_of": str(card.price.as_of if card.price else ""),
    }  # fmt: skip


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
