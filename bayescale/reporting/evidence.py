"""The evidence for a decision: checks, scores, weights, coefficients and splits, as sections of a page."""

from __future__ import annotations

import pandas as pd

from bayescale.evaluation.comparison import FORM_CAVEAT, INTERPOLATION_ONLY, Comparison
from bayescale.evaluation.comparison_tables import EXPONENTS
from bayescale.parts.base import Kind
from bayescale.reporting.plots import comparison as figures
from bayescale.reporting.words import (
    MODEL,
    NO_BREAK,
    NOTHING,
    PERCENT,
    VERDICT,
    Column,
    Section,
    Table,
    counted,
    drawn,
    hundredth,
    integer,
    interval,
    loss,
    number,
    percent,
    sentence,
    signed,
    tabled,
    tenth,
    text,
    written,
)

_KINDS = (*EXPONENTS, Kind.FLOOR, Kind.PUBLISHED, Kind.PARAMETER)  # of coefficients, most requested first
_COUNTS: tuple[Column, ...] = (
    ("families", "", integer, lambda r: r.families), ("runs", "", integer, lambda r: r.n_test),
)  # fmt: skip
_SCORES: tuple[Column, ...] = (
    (f"50{PERCENT} covers", "", percent, lambda r: r.coverage_50),
    (f"80{PERCENT} covers", "", percent, lambda r: r.coverage_80),
    (f"90{PERCENT} covers", "", percent, lambda r: r.coverage_90),
    (f"width of 90{PERCENT}", "log loss", number, lambda r: r.width_90),
    ("interval score", "log loss", number, lambda r: r.interval_score_90),
    ("CRPS", "log loss", number, lambda r: r.crps),
    ("log score", "nats/run", number, lambda r: r.log_score),
    ("absolute error", "of loss", percent, lambda r: r.are),
    ("bias", "log loss", signed, lambda r: r.bias),
)


def checks(c: Comparison) -> Section:
    """Counts of findings that passed, and failed findings with advice."""
    names = list(dict.fromkeys(c.checks["check"]))
    cells = {(r.model, r.check): f"{r.passed} of {r.passed + r.failed}" for r in c.checks.itertuples()}
    rows = tuple((m, *(cells.get((m, n), NOTHING) for n in names), str(c.fits[m].verdict)) for m in c.fits)
    header = (("model", ""), *((n, "passed") for n in names), ("fit", ""))
    table = Table("Findings that passed", header, rows, (False, *(True for _ in names), False))
    says = (
        "Convergence: do the chains agree? Identification: do the runs, rather than the prior, determine the "
        "parameters? Residuals (posterior predictive): do they drift with params, tokens or family? Sensitivity: would "
        "a little more weight on the prior move the posterior?",
    )
    lists = []
    for model in c.fits:
        mine = c.failures[c.failures["model"] == model]
        failed = tuple(f"{r.check}: {r.sentence}. {sentence(r.advice)}." for r in mine.itertuples())
        lists.append((f"{model}: findings that failed", failed or ("none",)))
    return Section("checks", "Checks", says, (table,), tuple(lists))


def loo(c: Comparison) -> Section:
    """PSIS-LOO with its diagnostics."""
    says = (
        f"PSIS leave-one-out, {INTERPOLATION_ONLY}. A left-out run lies among the runs that remain. Larger is better.",
        *left_out(c, "interpolation"),
    )
    if not len(c.interpolation):
        return Section("loo", "Leave-one-out", says)
    columns: tuple[Column, ...] = (
        MODEL, ("elpd", "nats", tenth, lambda r: r.elpd), ("SE", "nats", tenth, lambda r: r.se),
        ("behind the best", "nats", tenth, lambda r: r.elpd_diff), ("SE of that", "nats", tenth, lambda r: r.dse),
        ("effective parameters", "", number, lambda r: r.p),
        (f"Pareto k above {c.interpolation['k_limit'].min():.2g}", "runs", integer, lambda r: r.k_above),
        ("worst k", "", number, lambda r: r.k_worst), ("worst run", "", text, lambda r: r.worst_run), VERDICT,
    )  # fmt: skip
    table = tabled("Expected log density of log loss", c.interpolation, columns)
    return Section("loo", "Leave-one-out", says, (table,))


def beyond(c: Comparison) -> Section:
    """Leave-future-out scores, overall, by horizon and by family."""
    unscored = [
        f"{name}, not scored: {family} ({sentence(why)})."
        for name, test in c.backtests.items()
        for family, why in test.left_out.items()
    ]
    if not len(c.beyond):
        return Section("beyond", "Leave-future-out", (*left_out(c, "beyond"), *unscored, "No forecast was scored."))
    says = (
        f"Each family's runs up to the {percent(c.settings['train_quantile'])} quantile of its compute are fitted and "
        "its larger runs are forecast. Lower is better, except log score (higher) and coverage (close to nominal). "
        "Bias is the median forecast minus the observation.",
        *left_out(c, "beyond"),
        *unscored,
    )
    horizon: Column = ("beyond", "", text, lambda r: r.horizon)
    tables = [
        tabled("Means over families", c.beyond, (MODEL, *_COUNTS, *_SCORES, VERDICT)),
        tabled("By compute over the largest fitted run, means over runs", c.horizons,
               (MODEL, horizon, *_COUNTS, *_SCORES)),
    ]  # fmt: skip
    by_family = pd.concat([t.families.assign(model=name) for name, t in c.backtests.items()])
    if by_family["family"].nunique() > 1:
        family: Column = ("family", "", text, lambda r: r.family)
        ordered = by_family.sort_values("family", kind="stable")
        tables.append(tabled("By family", ordered, (family, MODEL, _COUNTS[1], *_SCORES)))
    described = "; ".join(f"{r.model}, {r.horizon}: {percent(r.coverage_90)}" for r in c.horizons.itertuples())
    picture = drawn(figures.plot_coverage(c), f"coverage of the 90{PERCENT} interval by horizon. {described}",
                    f"Filled: the 90{PERCENT} interval. Hollow: the 50{PERCENT} interval.")  # fmt: skip
    return Section("beyond", "Leave-future-out", says, tuple(tables), pictures=(picture,))


def weights(c: Comparison) -> Section:
    """Stacking weights with their errors."""
    if c.weights is None:
        return Section("weights", "Stacking weights", left_out(c, "weights"))
    w = c.weights
    rows = [{"model": m, "weight": w.weights[m], "se": w.se[m], "verdict": c.verdicts[m]} for m in w.weights]
    columns: tuple[Column, ...] = (
        MODEL, ("weight", "", hundredth, lambda r: r.weight), ("SE", "", hundredth, lambda r: r.se), VERDICT,
    )  # fmt: skip
    says = (f"{sentence(w.sentence)}. At these weights the mixture of the models' forecasts has its best log score.",)
    return Section("weights", "Stacking weights", says, (tabled("Weights", pd.DataFrame(rows), columns),))


def exponents(c: Comparison) -> Section:
    """Coefficients side by side, and a forest of the exponents."""
    if c.coefficients.empty:
        return Section("exponents", "Exponents", ("No model here has a law, and so none has exponents.",))
    table = c.coefficients.sort_values("kind", key=lambda kind: kind.map(_KINDS.index), kind="stable")
    names = list(dict.fromkeys(table["name"]))
    keys = list(table[["family", "name", "kind", "meaning", "unit"]].drop_duplicates().itertuples(index=False))
    keys.sort(key=lambda k: names.index(k.name))
    several = len({k.family for k in keys}) > 1
    if several:  # all coefficients would fill pages
        keys = [k for k in keys if k.kind in (*EXPONENTS, Kind.FLOOR)]
    cells = {(r.model, r.family, r.name, r.unit): _estimate(r.q50, r.q05, r.q95) for r in table.itertuples()}
    rows = []
    for k in keys:
        figures_of = (cells.get((m, k.family, k.name, k.unit), NOTHING) for m in c.fits)
        unit = "" if k.unit == "1" else f", in {k.unit}"
        rows.append((*([k.family] * several), k.name, f"{k.meaning}{unit}", *figures_of))
    leading = (*(["family"] * several), "name", "meaning")
    header = (*((name, "") for name in leading), *((m, f"median (90{PERCENT})") for m in c.fits))
    numeric = (*(False for _ in leading), *(True for _ in c.fits))
    says = (
        f"{sentence(FORM_CAVEAT)}. Exponents of different forms are different quantities. Effective exponents far from "
        "balance and the growth of the optimal params can be compared.",
    )
    picture = drawn(figures.plot_exponents(c), "forest plot of the exponents in the table",
                    f"Medians and 90{PERCENT} intervals.")  # fmt: skip
    posterior = Table("Posterior, by model", header, tuple(rows), numeric)
    return Section("exponents", "Exponents and coefficients", says, (posterior,), pictures=(picture,))


def _estimate(middle: float, low: float, high: float) -> str:
    """A median with its interval, without a line break inside the interval."""
    ends = interval(low, high).replace(" ", NO_BREAK)
    return f"{number(middle)} ({ends})"


def splits(c: Comparison, caption: str, short: bool = False) -> Table:
    """The split of the budget under each model."""
    weight = c.weights.weights if c.weights is not None else {}
    optimal: Column = ("optimal ratio", f"90{PERCENT}, tokens per param", written,
                       lambda r: interval(r.tokens_per_param_q05, r.tokens_per_param_q95))  # fmt: skip
    stacking: Column = ("stacking weight", "", hundredth, lambda r: weight.get(r.model))
    longer: tuple[Column, ...] = (
        optimal,
        ("loss", f"90{PERCENT}, nats/token", written, lambda r: interval(r.loss_q05, r.loss_q95, loss)),
        ("regret", "nats/token", number, lambda r: r.regret_nats),
    )
    columns: tuple[Column, ...] = (
        MODEL,
        *([stacking] if weight and short else []),
        ("params", "", counted, lambda r: r.params),
        ("tokens", "", counted, lambda r: r.tokens),
        ("tokens per param", "", number, lambda r: r.tokens_per_param),
        ("expected loss", "nats/token", loss, lambda r: r.expected_loss),
        *(() if short else longer),
        ("expected waste", "of compute", percent, lambda r: r.waste_fraction),
        (f"under 1{PERCENT} waste", "params", written, lambda r: interval(r.band_low, r.band_high, counted)),
        VERDICT,
    )
    return tabled(caption, c.budget, columns)


def budget(c: Comparison) -> Section:
    """The budget under each law, and the cost of choosing by the wrong law."""
    title = "The same budget under each law" if len(c.models) > 1 else "The budget"
    says = (
        f"{number(c.settings['flops'])} FLOP, counted as 6·params·tokens of one training run. Regret and waste are "
        "the most that knowing the law's parameters exactly could save, if the law is right.",
        *left_out(c, "budget"),
    )
    if not c.choices:
        return Section("budget", title, says)
    tables = [splits(c, "Splits")]
    if len(c.models) == 1:  # the first page draws it
        return Section("budget", title, says, tuple(tables))
    if len(c.choices) > 1:
        cost = {
            (r.chosen_by, r.judged_by): f"{percent(r.waste)} ({signed(r.extra_loss)})" for r in c.cross.itertuples()
        }
        rows = tuple((i, *(cost[i, j] for j in c.choices)) for i in c.choices)
        header = (("chosen by", ""), *((f"if {j} is right", "waste (extra nats/token)") for j in c.choices))
        numeric = (False, *(True for _ in c.choices))
        tables.append(Table("The cost of choosing by the wrong law", header, rows, numeric))
    described = "; ".join(
        f"{r.model} does not settle the split" if r.unsettled else f"{r.model} chooses {counted(r.params)} params"
        for r in c.budget.itertuples()
    )
    picture = drawn(figures.plot_splits(c), f"expected waste of compute against params under each model: {described}",
                    "Each curve is computed under its own model.")  # fmt: skip
    return Section("budget", title, says, tuple(tables), pictures=(picture,))


def left_out(c: Comparison, table: str) -> tuple[str, ...]:
    """Sentences about the models that a table lacks."""
    return tuple(f"Left out: {name}. {sentence(why)}." for name, why in c.left_out[table].items())
