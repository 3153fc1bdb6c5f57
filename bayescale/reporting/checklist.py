"""The reproducibility checklist of Li, Kudugunta, Zettlemoyer (2025), filled in from the objects."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from bayescale.evaluation.comparison import Comparison
from bayescale.inference.fit import Fit
from bayescale.modelling.model import Model
from bayescale.parts.base import AbstractLaw
from bayescale.reporting.words import SILENT, Section, counted, interval, number

SOURCE = "Li, Kudugunta, Zettlemoyer 2025, arXiv:2502.18969"
_ROLE = re.compile(r":\w+:`([^`]*)`")  # of reStructuredText
Answers = tuple[tuple[str, str], ...]


def section(c: Comparison, formulas: Mapping[str, str]) -> Section:
    """The checklist, question by question; answers that no object holds are marked as not stated."""
    says = (
        f"After {SOURCE}, in this project's words. Answers come from the card of the runs, the specs and the fits; "
        f"if the card has no answer, it says “{SILENT}”.",
    )
    groups = (
        ("The law", _law(c, formulas)), ("Training", _training(c)), ("Data collection", _data(c)),
        ("Fitting", _fitting(c)),
    )  # fmt: skip
    return Section("checklist", "Reproducibility checklist", says, pairs=groups)


def _law(c: Comparison, formulas: Mapping[str, str]) -> Answers:
    laws = {law.name: law for fit in c.fits.values() if (law := fit.spec.law_part)}
    forms = "; ".join(f"{name}: {_form(law, formulas.get(name, ''))}" for name, law in laws.items())
    return (
        ("What is the form of the law?", forms or SILENT),
        ("Which variables does it relate?", _each(c, _variables)),
        ("Which parameters are fitted?", _each(c, lambda f: ", ".join(f.spec.parameters))),
        ("Where does the form come from?", "; ".join(f"{name}: {law.source}" for name, law in laws.items())),
        ("What does it assume?", f"{_each(c, lambda f: _dependence(f.spec))}; noise is on log loss; the law holds at "
         f"all scales, except for discrepancies: {_each(c, lambda f: ', '.join(f.spec.discrepancy) or 'none')}"),
    )  # fmt: skip


def _form(law: AbstractLaw, formula: str) -> str:
    """Name of a law's form, from its docstring, and where its formula is drawn."""
    about = (inspect.getdoc(law) or SILENT).split("\n\n")[0].replace("\n", " ").removesuffix(".")
    return f"{_ROLE.sub(r'\1', about)}{' (its formula is under Models)' * bool(formula)}"


def _training(c: Comparison) -> Answers:
    runs = _first(c).design_frame
    sizes = [
        f"{k} {interval(runs[k].min(), runs[k].max(), counted)}" for k in ("params", "tokens", "examples") if k in runs
    ]
    if "flops" in runs:
        sizes.append(f"compute {interval(runs['flops'].min(), runs['flops'].max(), number)} FLOP")
    return (
        (
            "How many models were trained?",
            f"{len(runs)} runs are fitted; rows in the card: {c.card.get('rows', SILENT)}",
        ),
        ("At which sizes, on how much data?", "; ".join(sizes)),
        ("On what data? Is any repeated?", _card(c, "training_data", "eval_set", "summary")),
        ("How are params counted?", _card(c, "params_kind")),
        ("How are tokens counted?", _card(c, "tokens_kind")),
        ("How is compute counted?", _flops(c)),
        ("How were hyperparameters chosen, and do they change with scale?", _card(c, "hyperparameters")),
        ("Is the training code open?", _card(c, "training_code")),
    )


def _data(c: Comparison) -> Answers:
    faults = c.card.get("faults", ())
    return (
        ("Where do the figures come from?", _card(c, "source")),
        ("How was the table made?", _card(c, "made")),
        ("Final runs, or intermediate checkpoints?", _card(c, "point_kind")),
        ("What is the loss, in what unit?", f"{_loss_meaning(c)}; {_loss_unit(c)}"),
        ("Are points excluded, and why?", _exclusions(c)),
        ("What is known to be wrong?", f"{len(faults)} known faults, listed in the data card" if faults else SILENT),
        ("Which licence, and how to cite?", f"{_card(c, 'licence')}; {_card(c, 'citation')}"),
        ("Which data exactly?", f"{c.runs}, SHA-256 of the fitted runs {_first(c).meta['runs_digest']}"),
    )


def _fitting(c: Comparison) -> Answers:
    return (
        ("What objective?", f"the posterior; {_each(c, _likelihood)}"),
        ("Which priors?", f"listed under Models; learned from: {_each(c, _learned)}"),
        ("Which algorithm?", f"NUTS (NumPyro): {_each(c, _engine)}"),
        ("With which settings?", _each(c, _draws)),
        ("How was it initialised?", "at the mode, or around the prior's median where no mode is used (see the "
         "algorithm); never at published values"),
        ("Which seeds?", _each(c, lambda f: str(f.meta["seed"]))),
        ("Did it converge?", "; ".join(f"{name}: {verdict}" for name, verdict in c.verdicts.items())),
        ("Do all points have the same weight?", "yes, one likelihood without weights"),
        ("How was the law tested beyond the fitted data?", _tested(c)),
        ("Which spec exactly?", _each(c, lambda f: f"SHA-256 {f.spec.digest}")),
        ("Which versions, on what?", _each(c, _machine)),
    )  # fmt: skip


def _first(c: Comparison) -> Fit:
    return next(iter(c.fits.values()))


def _each(c: Comparison, say: Callable[[Fit], str]) -> str:
    """Return one answer if all models agree, else one per model."""
    answers = {name: say(fit) for name, fit in c.fits.items()}
    if len(set(answers.values())) == 1:
        return next(iter(answers.values()))
    return "; ".join(f"{name}: {answer}" for name, answer in answers.items())


def fitted_sources(c: Comparison) -> list[dict[str, Any]]:
    """Return the card's sources of the fitted families."""
    return [source for source in c.card.get("sources", ()) if source["family"] in _first(c).families]


def _card(c: Comparison, *keys: str) -> str:
    """Return the card's text at the first key that it or its sources have."""
    for key in keys:
        if c.card.get(key):
            return str(c.card[key])
        by_family = [f"{s['family']}: {s[key]}" for s in fitted_sources(c) if s.get(key)]
        if by_family:
            return "; ".join(by_family)
    return SILENT


def _flops(c: Comparison) -> str:
    assumed = _first(c).meta.get("flops_assumed")
    return "6·params·tokens, since the table has no column of compute" if assumed else _card(c, "flops_kind")


def _loss_meaning(c: Comparison) -> str:
    return str(c.card.get("columns", {}).get("loss", {}).get("meaning", SILENT))


def _loss_unit(c: Comparison) -> str:
    assumed = _first(c).meta.get("loss_unit_assumed")
    return "assumed to be nats/token, since its unit is not stated" if assumed else _card(c, "loss_unit")


def _exclusions(c: Comparison) -> str:
    fitted, rows = len(_first(c).design_frame), c.card.get("rows")
    marked = "; ".join(f"{e['rows']} runs ({e['reason']})" for e in c.card.get("exclusions", ()))
    said = f"marked as excluded on the card: {marked}" if marked else "the card marks none"
    if rows is None:
        return f"{fitted} runs are fitted; the total number is {SILENT}"
    out = rows - fitted
    kept = f"{out} of {rows} were removed by the caller before fitting" if out else "none: all are fitted"
    return f"{kept}; {said}"


def _variables(fit: Fit) -> str:
    return f"{', '.join(fit.spec.inputs)} to {', '.join(fit.responses)}"


def _likelihood(fit: Fit) -> str:
    return ", ".join(f"{of.noise} likelihood of {of.name}" for of in fit.spec.responses)


def _dependence(spec: Model) -> str:
    shared = ", ".join(name for name in spec.discrepancy if spec.part("discrepancies", name).coordinates)
    return "runs are independent given the law" + (f" and the errors that they share ({shared})" if shared else "")


def _learned(fit: Fit) -> str:
    return str(dict(fit.spec.learned).get("runs", "nothing, set by hand"))


def _engine(fit: Fit) -> str:
    return ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in dict(fit.meta["engine"]).items())


def _draws(fit: Fit) -> str:
    sizes = fit.tree["posterior"].sizes
    return f"{sizes['chain']} chains of {sizes['draw']} draws, {fit.meta.get('precision', 'float64')}"


def _machine(fit: Fit) -> str:
    versions = ", ".join(f"{name} {v}" for name, v in fit.meta["versions"].items())
    return f"{versions}; on {fit.meta.get('device', 'cpu')}"


def _tested(c: Comparison) -> str:
    if not c.backtests:
        return "not in this report"
    results = "; ".join(
        f"{r.model}: {r.n_test} runs, 90% intervals covered {r.coverage_90:.0%}" for r in c.beyond.itertuples()
    )
    return (
        f"fitted up to the {c.settings['train_quantile']:.0%} quantile of each family's compute, scored on its runs "
        f"above {c.settings['beyond']:g} times the largest fitted compute. {results}"
    )
