"""The content of a report: the decision first, then the evidence."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

from bayescale.evaluation.comparison import Comparison
from bayescale.inference.average import LEAVE_OUT
from bayescale.inference.fit import Fit
from bayescale.parts.catalogue import part
from bayescale.prediction.queries import NEW
from bayescale.reporting import checklist, evidence
from bayescale.reporting.checklist import fitted_sources
from bayescale.reporting.plots import comparison as figures
from bayescale.reporting.words import (
    MODEL,
    PERCENT,
    SILENT,
    Column,
    Picture,
    Section,
    counted,
    drawn,
    integer,
    interval,
    loss,
    number,
    percent,
    svg,
    tabled,
    text,
    unit,
)

_CARD = ("source", "citation", "url", "licence", "licence_note", "params_kind", "tokens_kind", "flops_kind",
         "loss_unit", "made")  # fmt: skip
_SOURCES = ("family", "rows", "source", "licence", "citation", "params_kind", "loss_kind", "point_kind")
_SCENARIO = 2.0  # decades beyond the runs; a forecast farther out is a scenario


def page(c: Comparison) -> dict[str, Any]:
    """Return all values that the template needs."""
    several = len(c.models) > 1
    title = c.card.get("title", c.runs)
    sections = [
        _decision(c), _data(c), _models(c), evidence.checks(c), evidence.loo(c),
        *((evidence.beyond(c), evidence.weights(c)) if several else ()),
        evidence.exponents(c), evidence.budget(c), _pictures(c), checklist.section(c, formulas(c)),
    ]  # fmt: skip
    return {
        "title": f"Scaling laws compared: {title}" if several else f"Scaling law: {title}",
        "subtitle": f"{_size(c)}; model{'s' * several} {', '.join(c.models)}; "
        f"budget {number(c.settings['flops'])} FLOP",
        "status": tuple((model, verdict, c.status.get(model, ())) for model, verdict in c.verdicts.items()),
        "sections": tuple(sections),
        "version": next(iter(c.fits.values())).meta["versions"]["bayescale"],
        "created": max(fit.meta["created_at"] for fit in c.fits.values()),
    }


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


def _decision(c: Comparison) -> Section:
    if not c.choices:
        return Section("decision", "Decision", evidence.left_out(c, "budget"))
    name, why = lead(c)
    row = next(r for r in c.budget.itertuples() if r.model == name)
    whose = "a new family" if row.family == NEW else f"family {row.family}"
    excluded = c.fits[name].excluded_words
    says = [
        f"For {number(c.settings['flops'])} FLOP in {whose}{_ranges(row) if row.unsettled else _split(row)}",
        "Ranges are 90% intervals over draws: of each draw's best split, and of the law's curve at the split of lowest "
        f"expected loss; {_reach(row.reach_decades)}; fit {row.verdict}.",
        *([f"{excluded}; {LEAVE_OUT}."] if excluded else []),
        *([f"This is the split of {name}, which has {why}."] if why else []),
        f"No split wastes under 1{PERCENT} of compute with probability at least one half: the law is too uncertain."
        if pd.isna(row.band_low)
        else f"Indifference band: {interval(row.band_low, row.band_high, counted)} params waste under 1{PERCENT} of "
        "compute with probability at least one half.",
        *_disagreement(c),
        *_trust(c, name),
    ]
    table = evidence.splits(c, "The split under each model", short=True)
    return Section("decision", "Decision", tuple(says), (table,))


def _split(row: Any) -> str:
    """The split and its loss, each with its interval."""
    return (
        f": train {counted(row.params)} params (90%: {interval(row.params_q05, row.params_q95, counted)}) on "
        f"{counted(row.tokens)} tokens, {number(row.tokens_per_param)} tokens per param "
        f"(90%: {interval(row.tokens_per_param_q05, row.tokens_per_param_q95)}), for a loss of "
        f"{loss(row.expected_loss)} nats/token (90%: {interval(row.loss_q05, row.loss_q95, loss)})."
    )


def _ranges(row: Any) -> str:
    """Why there is no single split, and the known intervals."""
    return (
        f", these runs do not settle the split: {row.unsettled}. The best split has "
        f"{interval(row.params_q05, row.params_q95, counted)} params, "
        f"{interval(row.tokens_per_param_q05, row.tokens_per_param_q95)} tokens per param, and a loss of "
        f"{interval(row.loss_q05, row.loss_q95, loss)} nats/token."
    )


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


def _trust(c: Comparison, name: str) -> list[str]:
    mine = c.beyond[c.beyond["model"] == name] if len(c.beyond) else c.beyond
    says = [
        f"Past accuracy: of {integer(r.n_test)} runs forecast beyond the fitted runs, the 90{PERCENT} interval "
        f"held {percent(r.coverage_90)} and the 50{PERCENT} interval {percent(r.coverage_50)}."
        for r in mine.itertuples()
    ]
    if len(c.beyond) and len(c.interpolation):
        inside, beyond = c.interpolation["model"].iloc[0], c.beyond.sort_values("crps")["model"].iloc[0]
        if inside != beyond:
            says.append(
                f"Leave-one-out prefers {inside}; forecasts beyond the runs prefer {beyond}. A decision beyond the "
                "runs is a forecast, so leave-future-out is the relevant evidence."
            )
    failed = c.failures.groupby("model").size()
    says += [f"{model}: {verdict}." for model, verdict in c.verdicts.items() if not verdict.ok]
    return says + [f"{model}: {n} finding{'s' * (n != 1)} of its checks failed." for model, n in failed.items()]


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
        ("title", spec.title),
        ("law", f"{law.name} of {', '.join(spec.inputs)}; {law.source}" if law else "none: a custom NumPyro model"),
        ("resources", ", ".join(spec.resources) or "none"),
        ("penalties", ", ".join(spec.penalties) or "none"),
        ("observed", "; ".join(f"{of.name} with {of.noise} noise" for of in spec.responses)),
        ("discrepancies of the law", ", ".join(spec.discrepancy) or "none"),
        ("priors learned from", f"{learned['runs']}, starting from {learned['model']}" if learned else "not learned"),
        ("digest of the spec", spec.digest),
        ("verdict of the fit", str(fit.verdict)),
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
    return Picture(address, f"formula of the law {law}: {tex}", "")


def _pictures(c: Comparison) -> Section:
    pictures = []
    if c.choices:
        alt = f"loss against compute past the budget of {number(c.settings['flops'])} FLOP, 90{PERCENT} by model"
        caption = "Loss of a run at each model's near-optimal split, noise included. Runs with other splits lie above."
        pictures += [
            drawn(figures.plot_losses(c), alt, caption),
            drawn(figures.plot_losses(c, beyond=True), f"{alt}; the part beyond the runs", "The same, enlarged."),
        ]
    pictures += [
        drawn(
            figures.plot_model_residuals(c, name),
            f"residuals of log loss against tokens under {name}; fit {fit.verdict}",
            "",
        )
        for name, fit in c.fits.items()
    ]
    return Section("figures", "Figures", pictures=tuple(pictures))


def _size(c: Comparison) -> str:
    fit = next(iter(c.fits.values()))
    families = len(fit.families)
    return f"{len(fit.design_frame)} runs of {families} famil{'ies' if families > 1 else 'y'}"


def _reach(decades: float) -> str:
    if decades <= 0:
        return "inside the compute of the runs"
    scenario = ", too far for a forecast: a scenario" if decades > _SCENARIO else ""
    return f"{decades:.1f} decades of compute beyond the runs{scenario}"
