"""The first page of a report: the answer with its confidence, what could be wrong, and what more runs are worth."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import Any

import numpy as np
import pandas as pd

from bayescale.core.quantities import count, quantity
from bayescale.decisions.allocation import FAR, Split
from bayescale.decisions.amounts import amount
from bayescale.decisions.base import quantiles
from bayescale.decisions.bills import card_of
from bayescale.decisions.choice import Choice, Withheld
from bayescale.decisions.hardware import Hardware
from bayescale.evaluation.checks.base import EXCLUDED, FAIL, PASS, REVIEW, Answer, covered
from bayescale.evaluation.comparison import data_card
from bayescale.inference.average import LEAVE_OUT
from bayescale.prediction.extrapolation import size_name
from bayescale.prediction.queries import NEW
from bayescale.prediction.records import HORIZONS, NOTHING, Measured, horizon_of, record_of
from bayescale.reporting.pictures import Shown
from bayescale.reporting.sentences import say
from bayescale.reporting.words import Column, Table, counted, loss, number, percent, tabled, text
from bayescale.runs.columns import FLOPS_PER_PARAM_TOKEN, size_column

GOOD, CARE, OPEN = "good", "care", "open"
"""States of a page: rely on it; rely on it with care; it names no single answer."""
NO_HARDWARE = "6 × parameters × tokens; with --hardware also accelerator-days and dollars"
_LINES = 5  # of what could be wrong
_FAULT = 160  # characters of a fault of a card
_RESTS_ON = (
    ("peak", "a peak of {} FLOP/s", number),
    ("utilisation", "{} of that peak in training", percent),
    ("overhead", "{} hours paid for an hour of training", number),
)
_ORDER = {FAIL: 0, REVIEW: 1, PASS: 2}
_NO_CARD = ("care", "choose", "verdict", "excluded", "settle", "other risks")  # lines that are said elsewhere
_LONGEST, _UNIT = 40, 20  # characters of a card's figure, and of what follows its interval


@dataclass(frozen=True)
class Card:
    """One figure of the first page: its title, the figure, and its range in words."""

    name: str
    title: str
    value: str
    range: str


@dataclass(frozen=True)
class Front:
    """What the first page says, in the order of reading."""

    title: str
    subtitle: str
    state: str
    why: str
    depends: str
    headline: str
    confidence: str
    cards: tuple[Card, ...]
    chips: tuple[Answer, ...]
    wrong: tuple[Answer, ...]
    worth: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    pictures: tuple[Shown, ...] = ()
    assumed: str = ""
    """What the cost rests on, with sources and dates; empty without hardware."""
    static: str = ""
    """For which budget the parts hold that no slider changes."""

    @property
    def word(self) -> str:
        """The state in words."""
        return say(self.state)


def front(choice: Choice, answers: Sequence[Answer], *, title: str, measured: Mapping[str, Measured] | None = None,
          pictures: Sequence[Shown] = (), others: Sequence[Answer] = (),
          run: tuple[float, float] | None = None) -> Front:  # fmt: skip
    """Return the first page of a choice.

    Parameters
    ----------
    choice : Choice
    answers : sequence of Answer
        States of the questions about its fit, without that of coverage.
    title : str
        Of the runs.
    measured : mapping of str to Measured, optional
        Coverage by horizon; by default that of the shipped record of the model.
    pictures : sequence of Shown
    others : sequence of Answer
        Further lines of what could be wrong, such as what another law says.
    run : (float, float), optional
        90% interval of the loss of one run at the best split.

    Returns
    -------
    Front
    """
    split = isinstance(choice.details, Split)
    trust = trusted(choice, measured)
    asked = [one for one in answers if one.question not in ("coverage", EXCLUDED)] + ([trust] if trust else [])
    effects = _influential(choice)
    lines = [*[one for one in effects if one.state != PASS], *_marked(choice), *others]
    known = {one.question for one in lines}
    asked = [replace(one, state=REVIEW) if one.question in known and one.state == PASS else one for one in asked]
    states = {one.question: one.state for one in asked}
    lines = [replace(one, state=states.get(one.question, one.state)) for one in lines]
    # That nothing was measured is on the card of the track record, with its action.
    said = [trust] if split and not measured_at(choice, choice.details.reach_decades, measured).backtests else []
    failed = [one for one in asked if one.state != PASS and one.question not in known and one not in said]
    wrong = sorted([*lines, *failed], key=lambda one: _ORDER[one.state])
    steady = [] if any(one.question == "influence" for one in wrong) else [one for one in effects if one.state == PASS]
    chips = (*asked, *{one.question: one for one in [*lines, *steady] if one.question not in states}.values())
    state, why = _state(choice, [*asked, *lines])
    headline, confidence = _split_words(choice) if split else _words(choice)
    return Front(
        title, _subtitle(choice), state, why, _stopped(choice.depends), headline, confidence,
        _cards(choice, trust, run, measured), chips, (*_most(wrong), *steady)[:_LINES],
        _worth(choice, modelled=any(one.state == FAIL for one in asked)),
        () if split else _tables(choice), tuple(pictures), _assumed(choice),
        say("static", budget=budget_words(choice)) if split else "",
    )  # fmt: skip


def withheld(choice: Withheld, answers: Sequence[Answer], *, title: str) -> Front:
    """Return the first page of a choice that is withheld: why, and what to do.

    Parameters
    ----------
    choice : Withheld
    answers : sequence of Answer
    title : str

    Returns
    -------
    Front
    """
    reason = f"{choice.reason[:1].upper()}{choice.reason[1:]}."
    return _without_choice(title, choice.problem, "the fit has not converged", reason, answers)


def served(choice: Choice, allocated: Front, measured: Mapping[str, Measured] | None = None) -> Front:
    """Return the first page of a lifetime: that of the allocation of its quality, with what serving changes.

    Parameters
    ----------
    choice : Choice
        Of a lifetime.
    allocated : Front
        Of the budget with which the size of its quality is compute-optimal.
    measured : mapping of str to Measured, optional
        As in :func:`front`.

    Returns
    -------
    Front
    """
    of = choice.details
    low, middle, high = quantiles(of.run_tokens).values()
    cost = float(np.add(*of.run_costs).mean())
    least, _, most = quantiles(np.exp(of.ln_optimum)).values()
    like = counted(quantity(of.decision.like))
    headline = say("lifetime", demand=counted(demand_of(choice)), like=like, params=counted(of.params),
                   tokens=counted(middle), tokens_low=counted(low), tokens_high=counted(high))  # fmt: skip
    saving = say("saving", right=if_right(choice), cost=number(cost), saving=percent(of.saving), like=like,
                 low=counted(least), high=counted(most), scope=say("scope_run"))  # fmt: skip
    ratio = say("served_ratio", low=number(low / of.params), high=number(high / of.params))
    far = of.reach[1]  # of what is trained, which takes more compute than the compute-optimal model
    cards = {"ratio": Card("ratio", "", number(middle / of.params), ratio),
             "cost": Card("cost", "", f"{number(cost)} FLOP", say("served_cost") + NO_HARDWARE),
             "reach": _reach_card(far, FLOPS_PER_PARAM_TOKEN * of.params * middle)}  # fmt: skip
    found = measured_at(choice, far, measured)
    cards["trust"] = _trust_card(found, _covered(choice, far, found))
    return replace(
        allocated, headline=headline, confidence=saving, worth=_worth(choice),
        static=say("static", budget=f"{counted(demand_of(choice))} tokens served, and the split for training alone"),
        cards=tuple(replace(cards.get(one.name, one), title=one.title) for one in allocated.cards),
    )  # fmt: skip


def demand_of(choice: Choice) -> float:
    """Return the expected tokens served of a lifetime.

    Parameters
    ----------
    choice : Choice

    Returns
    -------
    float
    """
    return float(amount(choice.details.decision.demand).mean * amount(choice.details.decision.years).mean)


def none(why: str, answers: Sequence[Answer], *, title: str) -> Front:
    """Return the first page where there is nothing to choose.

    Parameters
    ----------
    why : str
    answers : sequence of Answer
    title : str

    Returns
    -------
    Front
    """
    return _without_choice(title, "", "there is no choice", f"{why}.", answers)


def if_right(choice: Choice) -> str:
    """Return under which condition the cost of a choice holds: that its model, or one of them, is right.

    Parameters
    ----------
    choice : Choice

    Returns
    -------
    str
    """
    return say("one_right" if len(choice.fit.members) > 1 else "right")


def _without_choice(title: str, problem: str, why: str, reason: str, answers: Sequence[Answer]) -> Front:
    """A first page without a recommendation."""
    wrong = sorted((one for one in answers if one.state != PASS), key=lambda one: _ORDER[one.state])
    return Front(
        title, problem, OPEN, why, "", "There is no recommendation.", reason, (), tuple(answers), _most(wrong), ()
    )


def _most(wrong: Sequence[Answer]) -> tuple[Answer, ...]:
    """The first lines of what could be wrong; the last of them says which questions are left out."""
    shown = tuple(wrong[:_LINES])
    if len(wrong) <= _LINES:
        return shown
    rest = ", ".join(dict.fromkeys(one.question for one in wrong[_LINES - 1 :]))
    return (*shown[:-1], Answer("more", wrong[_LINES - 1].state, rest, "read the checks in the appendix"))


def budget_words(choice: Choice) -> str:
    """Return the budget of an allocation in words, with what it buys if it is not in FLOP.

    Parameters
    ----------
    choice : Choice

    Returns
    -------
    str
    """
    spent = f"{number(choice.details.flops)} FLOP"
    return f"{choice.details.bought} ({spent})" if choice.details.bought else spent


def _split_words(choice: Choice) -> tuple[str, str]:
    """Headline and confidence of an allocation."""
    of, ratio, best = choice.details, choice.optimum["tokens_per_param"], choice.optimum["params"]
    if choice.unsettled:
        return (
            say("unsettled", budget=budget_words(choice), low=counted(best["q05"]), high=counted(best["q95"])),
            say("ranges", ratio_low=number(ratio["q05"]), ratio_high=number(ratio["q95"])),
        )
    low, high = of.band
    safe = say("unsafe") if np.isnan(low) else say("safe", low=counted(low), high=counted(high))
    costs = {"waste": percent(of.waste_fraction), "most": percent(of.waste_q95), "safe": safe}
    return (
        say(
            "allocation",
            budget=budget_words(choice),
            params=counted(of.params),
            tokens=counted(of.tokens),
            low=counted(best["q05"]),
            high=counted(best["q95"]),
            free=say("free") * of.limited,
        ),
        say("confidence", right=if_right(choice), **costs),
    )


def _words(choice: Choice) -> tuple[str, str]:
    """Headline and confidence of any other decision."""
    lines = dict(choice.lines)
    if choice.unsettled:
        return f"These runs do not settle what to choose: {choice.unsettled}.", lines.get("advice", "")
    chosen = lines.get("choose") or lines.get("train") or choice.name_of(choice.best.action)
    expected = f"Expected: {lines['expected']}. " if "expected" in lines else ""
    regret = f"Expected regret: {lines['regret']}." if "regret" in lines else ""
    asked = choice.problem.partition(", family")[0]
    return f"{asked}: choose {chosen}.", f"{expected}{regret}"


def _subtitle(choice: Choice) -> str:
    fit = choice.fit
    whose = "a new family" if getattr(choice.details, "family", "") == NEW else ""
    named = whose or f"family {getattr(choice.details, 'family', '')}".removesuffix("family ")
    faults = data_card(fit.meta).get("faults", ())
    known = say("faults", count=str(len(faults)), first=shorten(faults[0], _FAULT, placeholder="…")) if faults else ""
    parts = [named, f"{len(fit.design_frame)} runs of {fit.meta['runs']}", f"model {fit.name}", known]
    return "; ".join(part for part in parts if part)


def _state(choice: Choice, answers: Sequence[Answer]) -> tuple[str, str]:
    """State of the page, and why."""
    if choice.unsettled:
        return OPEN, choice.unsettled
    reasons = [*choice.care, *failing(answers)]
    return (CARE if reasons else GOOD), "; ".join(dict.fromkeys(reasons))


def failing(answers: Sequence[Answer]) -> list[str]:
    """Return the checks that fail, as reasons to use a choice with care.

    Parameters
    ----------
    answers : sequence of Answer

    Returns
    -------
    list of str
    """
    return [f"the check of {one.question} fails" for one in answers if one.state == FAIL]


def trusted(choice: Choice, found: Mapping[str, Measured] | None = None) -> Answer | None:
    """Return the state of the question of how often intervals held at the reach of a choice.

    Parameters
    ----------
    choice : Choice
    found : mapping of str to Measured, optional
        By horizon.

    Returns
    -------
    Answer or None
        None for a decision that says nothing of its reach.
    """
    reach = getattr(choice.details, "reach_decades", None)
    if reach is None:
        return None
    return _covered(choice, float(reach), measured_at(choice, reach, found))


def _covered(choice: Choice, reach: float, of: Measured) -> Answer:
    """State of the question of coverage; the action for an average names its members."""
    fit, members = choice.fit, choice.fit.members
    answer = covered(reach, of, fit.name, new=_is_new(choice), sized=size_name(fit))
    if of.backtests or len(members) == 1:
        return answer
    named = " ".join(f"--model {name}" for name in members)
    return replace(answer, action=f"measure it: bayescale backtest RUNS {named}")


def measured_at(choice: Choice, reach_decades: float, found: Mapping[str, Measured] | None = None) -> Measured:
    """Return what backtests measured at a reach.

    Parameters
    ----------
    choice : Choice
    reach_decades : float
    found : mapping of str to Measured, optional
        By horizon; by default that of the shipped record of the model.

    Returns
    -------
    Measured
    """
    bin_ = str(horizon_of(reach_decades))
    if found and bin_ in found:
        return found[bin_]
    record = record_of([one.spec for one in choice.fit.members.values()])
    return record.measured(bin_, new=_is_new(choice)) if record else NOTHING


def measured_by(choice: Choice) -> dict[str, Measured]:
    """Return what the shipped backtests of a model measured, by horizon.

    Parameters
    ----------
    choice : Choice

    Returns
    -------
    dict of Measured
    """
    record = record_of([one.spec for one in choice.fit.members.values()])
    return {name: record.measured(name, new=_is_new(choice)) for name in HORIZONS} if record else {}


def trust_by_horizon(choice: Choice, found: Mapping[str, Measured] | None = None) -> list[dict[str, Any]]:
    """Return the words of the card of trust at every reach.

    Parameters
    ----------
    choice : Choice
    found : mapping of str to Measured, optional

    Returns
    -------
    list of dict
        ``times`` is the largest reach of the horizon.
    """
    rows = []
    for times in HORIZONS.values():
        reach = np.log10(times) if np.isfinite(times) else np.log10(FAR) + 1.0
        of = measured_at(choice, float(reach), found)
        card = _trust_card(of, _covered(choice, float(reach), of))
        rows.append({"times": times if np.isfinite(times) else 1e300, "value": card.value, "range": card.range})
    return rows


def _is_new(choice: Choice) -> bool:
    return getattr(choice.details, "family", None) == NEW


def _trust_card(of: Measured, answer: Answer) -> Card:
    if not of.backtests:
        return Card(
            "trust", "Track record", "not measured", f"no backtest of this model at this reach; {answer.action}"
        )
    held = round(of.coverage_90 * of.backtests)
    return Card("trust", "Track record", f"{held / of.backtests:.0%} of {of.backtests}", answer.sentence)


def _cards(choice: Choice, trust: Answer | None, run: tuple[float, float] | None,
           found: Mapping[str, Measured] | None) -> tuple[Card, ...]:  # fmt: skip
    if not isinstance(choice.details, Split):
        return _usual_cards(choice, trust, found)
    of, ratio = choice.details, choice.optimum["tokens_per_param"]
    open_ = bool(choice.unsettled)
    spread = say("run_range", low=loss(run[0]), high=loss(run[1])) if run else ""
    spread += say("loss_range", low=loss(of.loss["q05"]), high=loss(of.loss["q95"]))
    ratios = say("ratio_range", low=number(ratio["q05"]), high=number(ratio["q95"]))
    return (
        Card("loss", "Expected loss", "not settled" if open_ else f"{loss(of.expected_loss)} nats/token", spread),
        Card("ratio", "Tokens per parameter", "not settled" if open_ else number(of.tokens / of.params), ratios),
        _cost_card(choice),
        _reach_card(of.reach_decades, of.flops),
        _trust_card(measured_at(choice, of.reach_decades, found), trust)
        if trust
        else Card("trust", "Track record", "", ""),
    )


def _usual_cards(
    choice: Choice, trust: Answer | None, found: Mapping[str, Measured] | None
) -> tuple[Card, ...]:  # fmt: skip
    lines = {name: said for name, said in choice.lines if name not in _NO_CARD}
    shown = [Card(name, name.capitalize(), *_parted(said)) for name, said in lines.items()]
    reach = getattr(choice.details, "reach_decades", None)
    last = [_trust_card(measured_at(choice, reach, found), trust)] if trust and reach is not None else []
    return (*shown[: 5 - len(last)], *last)


def _parted(said: str) -> tuple[str, str]:
    """Split a line into its figure and the rest."""
    marks = [(said.find(mark), mark) for mark in (" (", "; ", ": ", ", ") if 0 < said.find(mark) < _LONGEST]
    if not marks:
        return said, ""
    head, mark, rest = said.partition(min(marks)[1])
    if mark != " (":
        return head, rest
    inside, _, after = rest.partition(")")
    unit, _, further = after.partition(", ")
    if unit and len(unit) < _UNIT and ":" not in unit:
        return head + unit, "; ".join(filter(None, [inside, further]))
    return head, f"{inside}; {after.lstrip(':; ')}".removesuffix("; ")


def _cost_card(choice: Choice) -> Card:
    figures, card = choice.bill[1], card_of(choice.decision)
    if card is None:
        return Card("cost", "Compute", f"{number(choice.details.flops)} FLOP", NO_HARDWARE)
    hours = figures["accelerator_hours"]
    days = f"{count(hours['q50'] / 24)} {card.accelerator}-days"
    spread = say("hours_range", low=count(hours["q05"] / 24), high=count(hours["q95"] / 24))
    if "dollars" in figures and card.price:
        dollars = figures["dollars"]
        priced = f"${count(dollars['q50'])} (90% interval ${count(dollars['q05'])} to ${count(dollars['q95'])})"
        spread = say("cost_range", dollars=priced, as_of=str(card.price.as_of))
    long = say("days", days=count(figures["days"]["q50"]), devices=devices(card)) if "days" in figures else ""
    return Card("cost", "Cost", days, spread + long)


def devices(card: Hardware) -> str:
    """Return how many accelerators there are, in words.

    Parameters
    ----------
    card : Hardware

    Returns
    -------
    str
        Empty if the card does not say.
    """
    return f"{count(card.count.amount.mean)} {card.accelerator}s" if card.count else ""


def _reach_card(decades: float, flops: float) -> Card:
    times, largest = 10**decades, number(flops / 10**decades)
    if decades <= 0:
        return Card("reach", "Reach", "inside the runs", "no more compute than your largest run")
    far = f"; {say('scenario')}" if times > FAR else ""
    return Card("reach", "Reach", f"{count(times, 2)}×", say("reach_over", largest=largest) + far)


def _influential(choice: Choice) -> list[Answer]:
    """What leaving out the runs that move the answer most does, as the command line says it."""
    return [Answer("influence", REVIEW if one.large else PASS, _sentence(one.sentence), one.action)
            for one in choice.effects if one.runs is None or not one.runs.all_marked or one.before]  # fmt: skip


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _stopped(words: str) -> str:
    return f"{_sentence(words)}." * bool(words)


def _marked(choice: Choice) -> list[Answer]:
    """That the fit includes runs that their table marks, where they lie, and what leaving them out changes."""
    words = choice.fit.excluded_words
    if not words:
        return []
    changed = "".join(
        f". Without {'them' if few.count > 1 else 'it'}: {one.answer}; "
        f"{'; '.join(filter(None, [few.place, few.moving]))}"
        for one in choice.effects if (few := one.runs) and few.all_marked and not one.before
    )  # fmt: skip
    return [Answer(EXCLUDED, REVIEW, _sentence(words) + changed, LEAVE_OUT)]


def _assumed(choice: Choice) -> str:
    """What accelerator-days rest on: figures of the hardware with their sources and dates; empty without hardware."""
    card = card_of(choice.decision)
    if card is None or not choice.bill[1]:
        return ""
    said = []
    for name, words, write in _RESTS_ON:
        of = card.figures[name]
        low, middle, high = (write(x) for x in of.amount.quantile((0.05, 0.5, 0.95)))
        spread = f"90% interval {low} to {high}; " * (low != high)
        said.append(f"{words.format(middle)} ({spread}{of.source}, as of {of.as_of or 'no date'})")
    return say("assumed", accelerator=card.accelerator, figures="; ".join(said))


def _worth(choice: Choice, *, modelled: bool = False) -> tuple[str, ...]:
    """What it is worth to know more, in compute and, with hardware, in dollars; `modelled` if the model fails."""
    if choice.unsettled:
        return ("More runs come first: without them, no split is better than another by more than chance.",)
    lines = dict(choice.lines)
    said = [f"Worth of settling one unknown (they do not add up): {lines['settle']}."] if "settle" in lines else []
    if isinstance(choice.details, Split):
        dollars = choice.bill[1].get("dollars")
        money = f"${count(dollars['mean'] * choice.waste_fraction)}, " if dollars else ""
        saved = f"{money}{percent(choice.waste_fraction)} of the compute"
        most = choice.waste_fraction * choice.details.flops
        runs, family = choice.fit.design_frame, choice.details.family
        mine = runs if family == NEW else runs[runs["family"] == family]
        times = most / float(mine[size_column(runs)].max())  # a budget inside the runs has no reach to divide by
        worth = [say("most_worth", right=if_right(choice), saved=saved, flops=number(most), times=percent(times),
                     unknown=choice.details.unknown),
                 say("may_pay" if times >= 1 else "too_dear"), *[say("model_first")] * modelled]  # fmt: skip
        asked = f"--flops {choice.details.flops:.6g} --family {shlex.quote(family)}"
        command = f"bayescale decide next-run FIT.nc {asked}"
        return (" ".join(worth), *said, say("next_run", command=command))
    return tuple(said)


def _tables(choice: Choice) -> tuple[Table, ...]:
    """The chosen action and its neighbours by expected utility."""
    utility = choice.score
    order = np.argsort(np.where(choice.allowed, -utility, np.inf), kind="stable")[:8]
    named = [{"action": choice.name_of(int(i)), "behind": float(utility[order[0]] - utility[i])} for i in order]
    unit = choice.decision.unit
    columns: list[Column] = [("action", "", text, lambda r: r.action),
                             ("behind the best", unit, number, lambda r: r.behind)]  # fmt: skip
    return (tabled("The best actions by expected utility", pd.DataFrame(named), columns),)
