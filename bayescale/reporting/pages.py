"""The content of a report: the answer first, then the evidence, then all that others need to check it."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from bayescale.core import glossary
from bayescale.core.errors import QueryError
from bayescale.core.quantities import quantity
from bayescale.decisions.allocation import Allocation, Split
from bayescale.decisions.choice import Choice, Withheld
from bayescale.decisions.lifetime import Life
from bayescale.decisions.solver import decide
from bayescale.decisions.tabulated import Tabulated, tabulated
from bayescale.decisions.thinned import thinned
from bayescale.evaluation.checks.base import REVIEW, Answer, check
from bayescale.evaluation.comparison import Comparison, examine
from bayescale.inference.average import AbstractFit
from bayescale.inference.fit import Fit
from bayescale.parts.catalogue import part
from bayescale.prediction.records import Measured
from bayescale.reporting import checklist, choices, evidence
from bayescale.reporting.actions import actions_of, regret_of
from bayescale.reporting.checklist import fitted_sources
from bayescale.reporting.explorer import explorer_of
from bayescale.reporting.front import Front, demand_of, front, measured_by, none, served, withheld
from bayescale.reporting.glosses import glossed
from bayescale.reporting.pictures import (
    Shown,
    cost_of_sizes,
    coverage,
    largest_run,
    loss_by_compute,
    residuals,
    run_interval,
)
from bayescale.reporting.plots import comparison as figures
from bayescale.reporting.sentences import TAILS, say
from bayescale.reporting.words import (
    MODEL,
    PERCENT,
    SILENT,
    Column,
    Picture,
    Section,
    counted,
    drawn,
    interval,
    loss,
    number,
    percent,
    raised,
    rewritten,
    svg,
    tabled,
    text,
    unit,
)
from bayescale.runs.columns import FLOPS_PER_PARAM_TOKEN

_POOLED = re.compile(r", (?:partially )?pooled (?:over families|within suites)")  # of titles of specs
_RIVALS = ("additive", "coupled")  # laws of params and tokens that most tables can feed
_CARD = ("source", "citation", "url", "licence", "licence_note", "params_kind", "tokens_kind", "flops_kind",
         "loss_unit", "made")  # fmt: skip
_SOURCES = ("family", "rows", "source", "licence", "citation", "params_kind", "loss_kind", "point_kind")


@dataclass(frozen=True)
class Evidence:
    """The second page: sentences, pictures and tables that say how far the first can be relied on."""

    sentences: tuple[str, ...]
    pictures: tuple[Shown, ...]
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Content:
    """All that a report says, whatever it is written as.

    Attributes
    ----------
    front : Front
    evidence : Evidence
    appendix : tuple of Section
    explorer : dict
        What the page's script reads; empty if there are no sliders.
    figures : dict
        Plain numbers, for JSON.
    version, created, command : str
        Of bayescale, of the fits, and what makes the report again.
    """

    front: Front
    evidence: Evidence
    appendix: tuple[Section, ...]
    explorer: dict[str, Any]
    figures: dict[str, Any]
    version: str
    created: str
    command: str


def of_fit(
    fit: AbstractFit, *, flops: float | str | None = None, dollars: float | str | None = None,
    days: float | str | None = None, family: str | None = None, hardware: str | None = None,
) -> Content:  # fmt: skip
    """Return the report of an allocation of a fit or of an average.

    Parameters
    ----------
    fit : Fit or Average
    flops, dollars, days, family, hardware
        As in :class:`bayescale.Allocation`; by default ten times the largest run's compute.

    Returns
    -------
    Content
    """
    given = {"flops": flops, "dollars": dollars, "days": days, "family": family, "hardware": hardware}
    asked: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    bought = float(np.median(Allocation(**asked).spent(fit))) if {"dollars", "days"} & set(asked) else flops
    members = fit.members
    c = examine(dict(members), flops=bought, family=family)
    answers = next(iter(c.status.values())) if len(members) == 1 else check(fit).status
    spent = asked if bought is not flops else {**asked, "flops": c.settings["flops"]}
    command = f"report FIT.nc --out PAGE.html{_options(spent)}"
    try:
        choice = decide(Allocation(**spent), fit)
    except QueryError as error:
        return _content(c, str(error).splitlines()[0], answers, "report FIT.nc --out PAGE.html")
    return _content(c, choice, answers, command)


def _options(settings: Mapping[str, Any]) -> str:
    """Settings as options of a command; an amount that buys FLOP is written with its hardware."""
    given = {name: value for name, value in settings.items() if value is not None}
    for bought in ("dollars", "days"):
        if bought in given:
            given["flops"] = f"{given.pop(bought)} {bought} @ {given.pop('hardware')}"
    written = {name: f"{value:.6g}" if isinstance(value, float) else str(value) for name, value in given.items()}
    return "".join(f" --{name} {shlex.quote(value)}" for name, value in written.items())


def of_comparison(c: Comparison) -> Content:
    """Return the report of a comparison; its first page is that of the model with the best forecasts.

    Parameters
    ----------
    c : Comparison

    Returns
    -------
    Content
    """
    models, given = "".join(f" --model {name}" for name in c.models), ("flops", "family", "seed")
    options = _options({name: c.settings[name] for name in given if c.settings[name] != 0})
    command = f"compare {shlex.quote(c.runs)}{models}{options} --report PAGE.html"
    if not c.choices:
        why = "; ".join(f"{name}: {said}" for name, said in c.left_out["budget"].items())
        return _content(c, why, next(iter(c.status.values())), command)
    name, why = lead(c)
    found = {r.horizon: Measured(r.coverage_90, r.n_test, r.families, r.coverage_90_se)
             for r in c.horizons.itertuples() if r.model == name}  # fmt: skip
    led = f"The first page is that of {name}, which has {why}." if why else ""
    return _content(c, c.choices[name], c.status[name], command, measured=found, led=led)


def of_choice(choice: Choice) -> Content:
    """Return the report of any choice.

    Parameters
    ----------
    choice : Choice

    Returns
    -------
    Content
    """
    fit = choice.fit
    flops = getattr(choice.details, "flops", None)
    c = examine(dict(fit.members), flops=flops, family=getattr(choice.details, "family", None))
    answers = next(iter(c.status.values())) if len(fit.members) == 1 else check(fit).status
    asked = choices.options(choice.decision)
    return _content(c, choice, answers, f"decide {choice.decision.name} FIT.nc{asked} --report PAGE.html")


def _content(
    c: Comparison, choice: Choice | Withheld | str, answers: Sequence[Answer], command: str,
    measured: Mapping[str, Measured] | None = None, led: str = "",
) -> Content:  # fmt: skip
    title = str(c.card.get("title", c.runs))
    shown, explorer, pictures = front_of(choice, answers, title, measured, _other_laws(c, choice))
    several = len(c.models) > 1
    sections = [
        *(choices.sections(choice) if isinstance(choice, Choice) else []),
        _data(c), _models(c), _questions(shown), evidence.checks(c), evidence.loo(c),
        *((evidence.beyond(c), evidence.weights(c)) if several and c.backtests else ()),
        evidence.exponents(c), evidence.budget(c), *([_pictures(c)] if several else ()),
        checklist.section(c, formulas(c)), _glossary(),
    ]  # fmt: skip
    states = tuple(replace(one, sentence="", action="", failed=()) for one in shown.chips)  # the rest is in a section
    side = []
    if several and c.choices:
        splits = evidence.splits(c, "The split under each model", short=True)
        side = [Section("side", "Models side by side", tuple(_disagreement(c)), (splits,))]
    if isinstance(choice, Choice):
        own = choices.customary(choice) if isinstance(choice.details, Split) else [choices.figures(choice)]
        side = [*own, *side]
    found = measured or (measured_by(choice) if isinstance(choice, Choice) else {})
    held = coverage(found, "How often past intervals held")
    silent = () if held else ("No backtest of this model measured how often its intervals hold beyond the runs.",)
    second = Evidence((*filter(None, [led]), *silent), tuple(filter(None, (held, *pictures))), tuple(side))
    content = Content(
        replace(shown, chips=states), second, tuple(sections), explorer,
        {} if isinstance(choice, str) else choice.to_dict(),
        next(iter(c.fits.values())).meta["versions"]["bayescale"],
        max(fit.meta["created_at"] for fit in c.fits.values()), f"bayescale {command}",
    )  # fmt: skip
    meanings = {name: words for fit in c.fits.values() for name, words in fit.spec.meanings.items()}
    return rewritten(glossed(content, meanings), raised)  # one style of large numbers, whoever wrote them


def _other_laws(c: Comparison, choice: Choice | Withheld | str) -> list[Answer]:
    """What other laws say: the range of the answer over them, or the command that fits one."""
    if not isinstance(choice, Choice):
        return []
    if len(c.fits) == 1:
        (name,), rival = c.fits, next(law for law in _RIVALS if law not in c.fits)
        budget = f" --flops {choice.details.flops:.4g}" if isinstance(choice.details, Split) else ""
        command = f"bayescale compare RUNS --model {name} --model {rival}{budget} --report PAGE.html"
        return [Answer("other laws", REVIEW, "This page is of one model: no other law was fitted to these runs, so the "
                       "cost of a wrong law is not known", f"fit another law: {command}")]  # fmt: skip
    if not isinstance(choice.details, Split):
        return []
    said = [one.removesuffix(".") for one in (*_range_over_laws(c), *_disagreement(c)[:1])]
    return [Answer("other laws", REVIEW, ". ".join(said), "read the evidence of each model below")] * bool(said)


def _range_over_laws(c: Comparison) -> list[str]:
    """The range of the split and of its loss over the laws that settle it, on one line."""
    settled = c.budget[[not why for why in c.budget["unsettled"]]] if len(c.budget) else c.budget
    silent = len(c.fits) - len(settled)
    not_all = f" {silent} more {'does' if silent == 1 else 'do'} not settle the split." * bool(silent)
    if len(settled) < 2:
        return [f"Of {len(c.fits)} laws, {len(settled) or 'none'} settle{'s' * (len(settled) == 1)} the split."]
    params, ratio, losses = ((settled[name].min(), settled[name].max())
                             for name in ("params", "tokens_per_param", "expected_loss"))  # fmt: skip
    return [f"Over {len(settled)} laws, the best choice is {interval(*params, counted)} parameters, "
            f"{interval(*ratio)} tokens per parameter, with an expected loss of {interval(*losses, loss)} "
            f"nats/token.{not_all}"]  # fmt: skip


def _largest(choice: Choice, table: Tabulated) -> list[Answer]:
    """What could be wrong if the largest run lies outside its own prediction."""
    said, outside = largest_run(choice, table)
    return [Answer("largest run", REVIEW, said, say("largest_do"))] * outside


def front_of(
    choice: Choice | Withheld | str, answers: Sequence[Answer], title: str,
    measured: Mapping[str, Measured] | None = None, others: Sequence[Answer] = (),
) -> tuple[Front, dict[str, Any], tuple[Shown, ...]]:  # fmt: skip
    """Return the first page, what its script reads, and the pictures that belong to the second.

    Parameters
    ----------
    choice : Choice, Withheld or str
        A text says why there is no choice.
    answers : sequence of Answer
    title : str
    measured : mapping of str to Measured, optional
    others : sequence of Answer

    Returns
    -------
    front : Front
    explorer : dict
    pictures : tuple of Shown
    """
    if isinstance(choice, str):
        return none(choice, answers, title=title), {}, ()
    if isinstance(choice, Withheld):
        return withheld(choice, answers, title=title), {}, ()
    if isinstance(choice.details, Life) and choice.details.decision.plain:
        return _served(choice, answers, title, measured, others)
    if not isinstance(choice.details, Split):
        return _any(choice, answers, title, measured, others)
    table = tabulated(choice.fit, choice.details.flops, choice.details.family, choice.details.recipe)
    pictures = cost_of_sizes(choice), loss_by_compute(choice, table)
    others = [*_largest(choice, table), *others]
    run = run_interval(choice, table)
    shown = front(choice, answers, title=title, measured=measured, pictures=pictures, others=others, run=run)
    drifting = next((one.failed for one in answers if one.question == "residuals"), ())
    left = residuals(choice, table, drifting)
    if not choice.details.limited:
        return shown, explorer_of(choice, table, shown, measured), left
    return *_with_actions(choice, shown), left


def _any(
    choice: Choice, answers: Sequence[Answer], title: str, measured: Mapping[str, Measured] | None,
    others: Sequence[Answer],
) -> tuple[Front, dict[str, Any], tuple[Shown, ...]]:  # fmt: skip
    """First page of any decision: its script knows the utilities of the actions, and nothing else."""
    return *_with_actions(choice, front(choice, answers, title=title, measured=measured, others=others)), ()


def _with_actions(choice: Choice, shown: Front) -> tuple[Front, dict[str, Any]]:
    """A first page with the picture of what other actions would cost, which replaces one that knows no limits."""
    found = thinned(choice, TAILS)
    if isinstance(found, str):
        return replace(shown, static=say("no_actions", why=found)), {}
    picture, places = regret_of(choice, found)
    return replace(shown, pictures=(picture, *shown.pictures[1:]), static=""), actions_of(choice, found, places)


def _served(
    choice: Choice, answers: Sequence[Answer], title: str, measured: Mapping[str, Measured] | None,
    others: Sequence[Answer],
) -> tuple[Front, dict[str, Any], tuple[Shown, ...]]:  # fmt: skip
    """First page of a lifetime: its sliders begin with the tokens that it serves."""
    of = choice.details
    flops = FLOPS_PER_PARAM_TOKEN * quantity(of.decision.like) * float(np.median(of.optimal["tokens"]))
    same = decide(Allocation(flops, of.decision.family), choice.fit)
    if not isinstance(same, Choice) or same.unsettled:
        return _any(choice, answers, title, measured, others)
    shown, explorer, pictures = front_of(same, answers, title, measured, others)
    demand = demand_of(choice)
    said = explorer["printed"].replace("no tokens served", f"{counted(demand)} tokens served")
    cost, *rest = shown.pictures
    alone = replace(cost, note=say("note_life", params=counted(same.params)))
    depends = explorer["depends"][1] * bool(shown.depends)
    shown = replace(shown, pictures=(alone, *rest), depends=depends)
    return served(choice, shown, measured), explorer | {"start": {"serve": demand}, "printed": said}, pictures


def _questions(shown: Front) -> Section:
    """What was found for each question, with what to do: the first page has the states of all, and the worst lines."""
    lines = {one.question: [line for line in shown.wrong if line.question == one.question] for one in shown.chips}
    found = tuple(
        (f"{one.question}: {one.state}", " ".join(map(_found, lines[one.question] or [one]))) for one in shown.chips
    )
    return Section("questions", "What was found for each question", pairs=(("", found),))


def _found(one: Answer) -> str:
    about = f" (about: {', '.join(one.failed)})" * bool(one.failed)
    return f"{one.sentence}{about}. Action: {one.action}."


def _glossary() -> Section:
    words = tuple(glossary.entries().items())
    return Section("glossary", "Glossary", pairs=(("", words),))


def lead(c: Comparison) -> tuple[str, str]:
    """Return the model whose split the summary shows, and the reason."""
    able = list(c.choices)
    if c.weights is not None and c.weights.method == "stacking" and set(able) & set(c.weights.weights):
        weights = c.weights.weights
        name = max((m for m in weights if m in able), key=weights.__getitem__)
        among = "" if weights[name] == max(weights.values()) else " among models with a recommendation"
        return name, f"the largest stacking weight{among} from forecasts beyond the fitted runs, {weights[name]:.2f}"
    scored = c.beyond[c.beyond["model"].isin(able)] if len(c.beyond) else c.beyond
    if len(scored):
        return str(scored.sort_values("crps")["model"].iloc[0]), "the lowest CRPS of forecasts beyond the fitted runs"
    return able[0], "no rival with a better forecast: none was scored" if len(c.models) > 1 else ""


def formulas(c: Comparison) -> dict[str, str]:
    """TeX of each law's formula, from its docstring; empty if it has none."""
    found = {}
    for law in dict.fromkeys(fit.spec.law for fit in c.fits.values() if fit.spec.law):
        words = inspect.getdoc(part("laws", law)) or ""
        shown = re.search(r"\.\. math::(.*?)(?:\n\s*\n|$)", words, re.DOTALL)
        found[law] = " ".join(shown[1].split()) if shown else ""
    return found


def _disagreement(c: Comparison) -> list[str]:
    if len(c.choices) < 2 or not all(choice.settled for choice in c.choices.values()):
        return []
    worst = c.cross.loc[c.cross["extra_waste"].idxmax()]
    span = c.budget["expected_loss"].max() - c.budget["expected_loss"].min()
    return [
        f"If another law is right, the choice wastes at most {percent(worst['waste'])} of compute, relative to "
        f"the best split for the same loss: when {worst['chosen_by']} chooses and {worst['judged_by']} is right "
        f"({number(worst['extra_loss'], 2)} nats/token more). The choice of {worst['judged_by']} itself wastes "
        f"{percent(worst['waste'] - worst['extra_waste'])}, because its parameters are uncertain.",
        f"The models' expected losses at this budget differ by {loss(span)} nats/token.",
    ]


def _data(c: Comparison) -> Section:
    fit = next(iter(c.fits.values()))
    runs = fit.design_frame
    spans = (
        (name, interval(runs[name].min(), runs[name].max(), counted))
        for name in ("params", "tokens", "examples")
        if name in runs
    )
    about = (
        ("table", c.runs), ("about", c.card.get("summary", SILENT)), ("runs fitted", _size(c)), *spans,
        *[("compute", f"{interval(runs[c].min(), runs[c].max())} FLOP") for c in ("flops",) if c in runs],
        *((key.replace("_", " "), str(c.card.get(key, SILENT))) for key in _CARD),
        ("digest of the runs", fit.meta["runs_digest"]),
    )  # fmt: skip
    excluded = tuple(f"{e['rows']} runs: {e['reason']}" for e in c.card.get("exclusions", ()))
    lists = (
        ("Marked as excluded on the card, with the reason", excluded or ("none",)),
        ("Known faults", tuple(c.card.get("faults", ())) or (SILENT,)),
    )
    sources = pd.DataFrame(fitted_sources(c))
    columns = [_plain(key) for key in _SOURCES if key in sources]
    tables = (tabled("Sources by family", sources, columns),) if columns else ()
    return Section("data", "Data card", tables=tables, lists=lists, pairs=(("", about),))


def _models(c: Comparison) -> Section:
    says = tuple(f"{name}: its fit failed. {why}" for name, why in c.left_out["fits"].items())
    priors = pd.DataFrame([_prior_row(name, fit, p) for name, fit in c.fits.items() for p in fit.spec.parameters])
    pooled = [_plain("families")] if len(next(iter(c.fits.values())).families) > 1 else []
    columns: Iterable[Column] = (
        MODEL, _plain("parameter"), _plain("meaning"), ("unit", "", unit, lambda r: r.unit), _plain("kind"),
        ("median", "", number, lambda r: r.median), (f"90{PERCENT} from", "", number, lambda r: r.low),
        ("to", "", number, lambda r: r.high), *pooled,
    )  # fmt: skip
    pairs = tuple((name, _spec_words(fit)) for name, fit in c.fits.items())
    pictures = tuple(_formula(law, tex) for law, tex in formulas(c).items())
    return Section("models", "Models", says, (tabled("Priors", priors, columns),), pairs=pairs, pictures=pictures)


def _plain(key: str) -> Column:
    return key.replace("_", " "), "", text, lambda r: getattr(r, key)


def _spec_words(fit: Fit) -> tuple[tuple[str, str], ...]:
    spec, learned, law = fit.spec, dict(fit.spec.learned), fit.spec.law_part
    return (
        ("title", spec.title if len(fit.families) > 1 else _POOLED.sub("", spec.title)),
        ("law", f"{law.name} of {', '.join(spec.inputs)}; {law.source}" if law else "none: a custom NumPyro model"),
        ("resources", ", ".join(spec.resources) or "none"),
        ("penalties", ", ".join(spec.penalties) or "none"),
        ("observed", "; ".join(f"{of.name} with {of.noise} noise" for of in spec.responses)),
        ("discrepancies of the law", ", ".join(spec.discrepancy) or "none"),
        ("priors learned from", f"{learned['runs']}, starting from {learned['model']}" if learned else "not learned"),
        ("digest of the spec", spec.digest),
        ("verdict of the fit", str(fit.verdict)),
        *[("command of the fit", str(fit.meta.get("command")))] * ("command" in fit.meta),
    )


def _prior_row(model: str, fit: Fit, name: str) -> dict[str, Any]:
    setting, row = fit.spec.at(fit.meta["anchor"]).parameters[name], fit.spec.table[name]
    low, high = setting.prior.interval()
    return {"model": model, "parameter": name, "meaning": row.meaning, "unit": row.unit,
            "kind": type(setting.prior).__name__, "median": setting.prior.median, "low": low, "high": high,
            "families": part("pooling", setting.pooling).about.format(spread=f"{setting.spread:.2g}")}  # fmt: skip


def _formula(law: str, tex: str) -> Picture:
    figure = plt.figure(figsize=(6.4, 0.5))
    try:
        figure.text(0, 0.5, f"{law}:   ${tex}$", va="center", fontsize=12)
        address = svg(figure, bbox_inches="tight")
    except ValueError:  # TeX that mathtext cannot parse is shown as text
        figure.texts[0].set_text(f"{law}:   {tex}".replace("$", r"\$"))
        address = svg(figure, bbox_inches="tight")
    return Picture(address, f"formula of the law {law}", "", tex=tex)


def _pictures(c: Comparison) -> Section:
    if not c.choices:
        return Section("figures", "Loss under each model", ("No model has a choice.",))
    alt = f"loss against compute past the budget of {number(c.settings['flops'])} FLOP, 90{PERCENT} by model"
    caption = "Loss of a run at each model's near-optimal split, noise included. Runs with other splits lie above."
    return Section(
        "figures", "Loss under each model", pictures=(drawn(figures.plot_losses(c, beyond=True), alt, caption),)
    )


def _size(c: Comparison) -> str:
    fit = next(iter(c.fits.values()))
    families = len(fit.families)
    return f"{len(fit.design_frame)} runs of {families} famil{'ies' if families > 1 else 'y'}"
