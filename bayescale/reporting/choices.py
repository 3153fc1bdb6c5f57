"""What a report says of a choice below its first page: other risks, what is worth knowing, what was asked, figures."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import fields

import pandas as pd
from matplotlib.axes import Axes

from bayescale.core.errors import QueryError
from bayescale.decisions.allocation import CUSTOMARY
from bayescale.decisions.base import AbstractDecision
from bayescale.decisions.choice import Choice
from bayescale.decisions.risk import RISKS
from bayescale.reporting.front import budget_words
from bayescale.reporting.plots import of_choices
from bayescale.reporting.sentences import say
from bayescale.reporting.words import (
    PERCENT,
    Column,
    Picture,
    Section,
    counted,
    drawn,
    number,
    percent,
    signed,
    tabled,
    text,
)


def sections(choice: Choice) -> list[Section]:
    """Return what the appendix says of a choice.

    Parameters
    ----------
    choice : Choice

    Returns
    -------
    list of Section
    """
    found = [_decision(choice), _risks(choice), _unknowns(choice), _asked(choice)]
    return [one for one in found if one is not None]


def options(decision: AbstractDecision) -> str:
    """Return the settings of a decision that are not its defaults, as options of its command.

    Parameters
    ----------
    decision : AbstractDecision

    Returns
    -------
    str
        Begins with a space, unless it is empty. A setting that no option can give, such as a distribution, is written
        as it is.
    """
    written: list[tuple[str, ...]] = []
    for one in fields(decision):  # type: ignore[arg-type]  # every decision is a dataclass
        value, flag = getattr(decision, one.name), f"--{one.name.replace('_', '-')}"
        if value in (None, one.default) or value == {}:
            continue
        several = value.items() if isinstance(value, Mapping) else [(value,)]
        written += [(flag,)] if value is True else [(flag, *map(str, each)) for each in several]
    return "".join(f" {shlex.join(each)}" for each in written)


def pictures(choice: Choice) -> dict[str, Axes]:
    """Draw every figure that a choice has.

    Parameters
    ----------
    choice : Choice

    Returns
    -------
    dict of Axes
        By the name of the kind of figure.
    """
    found = {}
    for name, function in of_choices().items():
        try:
            found[name] = function(choice)
        except QueryError:  # the figure is of another decision
            continue
    return found


def _decision(choice: Choice) -> Section:
    return Section("lines", "The choice in full", pairs=(("", tuple(choice.lines)),))


def _risks(choice: Choice) -> Section:
    chosen = {name: choice.name_of(choice.preferred(name)) for name in RISKS}
    rows = pd.DataFrame([{"attitude": name, "prefers": RISKS[name].about, "chooses": chosen[name]} for name in RISKS])
    says = (
        "The regret compares actions under the law alone. The worst draws and the quantile are of a run, with "
        "discrepancies and noise.",
    )
    columns = [_words("attitude"), _words("prefers"), _words("chooses")]
    return Section("risk", "Other attitudes to risk", says, (tabled("The choice under each attitude", rows, columns),))


def _unknowns(choice: Choice) -> Section | None:
    table = choice.unknowns.reset_index()
    if table.empty:
        return None
    unit = choice.decision.unit
    columns: list[Column] = [
        _words("unknown"), ("5%", "", number, lambda r: r.q05), ("95%", "", number, lambda r: r.q95),
        ("if low", "", text, lambda r: r.choose_low), ("if high", "", text, lambda r: r.choose_high),
        ("worth of knowing it", unit, number, lambda r: r.worth), ("Monte Carlo error", unit, number, lambda r: r.mcse),
        ("bias", unit, number, lambda r: r.bias),
    ]  # fmt: skip
    if "worth_compute" in table:
        columns.append(("worth", "of compute", number, lambda r: r.worth_compute))
    says = (
        "Worth is the expected gain from knowing one unknown exactly before the choice, with nothing else known. No "
        "experiment that informs only this unknown can be worth more. The bias is the estimate for an unknown that "
        "says nothing: a small worth is too low by about as much.",
    )
    return Section("unknowns", "What would change it", says, (tabled("Unknowns", table, columns),))


def _asked(choice: Choice) -> Section:
    settings = {one.name: getattr(choice.decision, one.name) for one in fields(choice.decision)}  # type: ignore[arg-type]
    pairs = [("decision", f"{choice.decision.name}: {choice.decision.source}"),
             *[(name.replace("_", " "), str(value)) for name, value in settings.items() if value],
             ("digest of the runs", choice.fit.meta["runs_digest"])]  # fmt: skip
    figures = choice.bill[1].get("hardware", {})
    card = [(f"{name} of the hardware", f"{one['value']}, as of {one['as_of'] or 'no date'}: {one['source']}")
            for name, one in figures.items() if isinstance(one, dict)]  # fmt: skip
    return Section("asked", "What was asked", pairs=(("", (*pairs, *card)),))


def customary(choice: Choice) -> list[Section]:
    """Return what the budget of an allocation costs at the customary tokens per param, next to the choice.

    Parameters
    ----------
    choice : Choice
        Of an allocation.

    Returns
    -------
    list of Section
        Empty with limits, which may forbid that size.
    """
    of, kept = choice.details, choice.details.customary
    if of.limited or not kept:
        return []
    own = [] if choice.unsettled else [of.at_ratio(of.tokens / of.params)]
    rows = pd.DataFrame([{"size": "this choice", **one} for one in own] + [{"size": "kept ratio", **kept}])
    ratio, budget = number(CUSTOMARY, 2), budget_words(choice)
    says = say("kept", ratio=ratio, budget=budget, params=counted(kept["params"]), tokens=counted(kept["tokens"]),
               waste=percent(kept["waste_fraction"]), loss=number(kept["extra_loss"]))  # fmt: skip
    said = [say("kept_own", waste=percent(one["waste_fraction"]), loss=number(one["extra_loss"])) for one in own]
    columns: list[Column] = [
        ("size", "", text, lambda r: r.size), ("tokens per parameter", "", number, lambda r: r.tokens_per_param),
        ("parameters", "", counted, lambda r: r.params), ("tokens", "", counted, lambda r: r.tokens),
        ("extra compute", "expected", percent, lambda r: r.waste_fraction),
        (f"95{PERCENT} of draws", "under", percent, lambda r: r.waste["q95"]),
        ("extra loss", "nats/token", signed, lambda r: r.extra_loss),
    ]  # fmt: skip
    caption = f"The cost over each draw's best split, with {budget}"
    return [Section("ratio", f"If you keep {ratio} tokens per parameter instead", (says, *said),
                    (tabled(caption, rows, columns),))]  # fmt: skip


def figures(choice: Choice) -> Section:
    """Return the figures of a choice.

    Parameters
    ----------
    choice : Choice

    Returns
    -------
    Section
    """
    drawn_ones = [_picture(choice, name, ax) for name, ax in pictures(choice).items()]
    return Section("choice-figures", "Figures of the choice", pictures=tuple(drawn_ones))


def _picture(choice: Choice, name: str, ax: Axes) -> Picture:
    return drawn(ax, f"{name} of the choice: {choice.name_of(choice.best.action)}", "")


def _words(key: str) -> Column:
    return key, "", text, lambda r: getattr(r, key)
