"""Compare: several models of one table of runs, and the decision under each."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bayescale.core import shipped
from bayescale.core.errors import BayescaleError, ConvergenceWarning, QueryError, nearest
from bayescale.core.progress import Stages, on_terminal
from bayescale.core.rich import rich
from bayescale.core.verdict import Status, Verdict, joined
from bayescale.decisions.allocation import TIMES_LARGEST, Allocation, default_budget
from bayescale.decisions.choice import Choice, Withheld
from bayescale.decisions.solver import decide
from bayescale.decisions.surface import budget_of
from bayescale.evaluation import comparison_tables
from bayescale.evaluation.backtest import Backtest, Forecasts
from bayescale.evaluation.checks.base import Answer, Finding, covered, marked, statuses
from bayescale.evaluation.stacking import CUTS, Cuts, LeaveFutureOut
from bayescale.inference.batch import FitOptions, fit_many
from bayescale.inference.fit import Fit
from bayescale.inference.weights import Weights
from bayescale.modelling.design import conformed
from bayescale.modelling.model import Model, common_response
from bayescale.modelling.spec_io import load_spec
from bayescale.parts.base import Kind
from bayescale.prediction.extrapolation import size_name
from bayescale.prediction.queries import NEW
from bayescale.prediction.records import NOTHING, Measured, horizon_of, record_of
from bayescale.runs.readers import load_runs
from bayescale.runs.splits import BEYOND, TRAIN_QUANTILE, Options
from bayescale.runs.table import Runs

INTERPOLATION_ONLY = "interpolation only: it cannot rank extrapolators"
FORM_CAVEAT = "E depends on the law's form: it is a coefficient, not a constant of nature"


Each = Callable[[str, Verdict, Backtest | None], object]
"""What is called with each model as soon as it is fitted and tested."""
_LOO = ("model", "elpd", "se", "elpd_diff", "dse", "k_above", "k_worst", "worst_run")
_SCORES = ("n_test", "coverage_50", "coverage_80", "coverage_90", "width_90", "crps", "log_score", "are", "bias")
_COEFFICIENTS = ("model", "family", "name", "q05", "q50", "q95")
_BUDGET = ("model", "family", "params", "tokens", "tokens_per_param", "tokens_per_param_q05", "tokens_per_param_q95",
           "expected_loss", "regret_nats", "waste_fraction", "band_low", "band_high", "reach_decades")  # fmt: skip
_CROSS = ("chosen_by", "judged_by", "loss", "extra_loss", "waste")


@dataclass(frozen=True, eq=False)
class Comparison:
    """A comparison of models; made by :func:`compare`, or by :func:`examine` from existing fits.

    Tables are tidy, one row per model or per finding of a model, and include the fit's ``verdict``.

    Attributes
    ----------
    runs : str
        Name of the table.
    card : dict
        Its card.
    fits, backtests, choices : dict
        By model: the fit on all runs, the leave-future-out backtest, the split of the budget.
    forecasts : LeaveFutureOut or None
        Scored forecasts of all models beyond several cuts; :func:`bayescale.stack` computes weights from the same.
    weights : Weights or None
        Stacking weights from `forecasts`, with standard errors.
    interpolation : DataFrame
        PSIS-LOO, best first; see :data:`INTERPOLATION_ONLY`.
    beyond, horizons : DataFrame
        Leave-future-out scores of log loss: means over families, and by compute beyond the fitted runs.
    findings : DataFrame
        Every finding of every check.
    coefficients : DataFrame
        Parameters and derived coefficients with 90% intervals, by family.
    budget, cross : DataFrame
        The split of one budget under each law, and each law's choice under the draws of the others.
    left_out : dict of dict
        By table, the models that it lacks, with the reason; ``fits`` has the models whose fit failed.
    settings : dict
        ``flops family seed train_quantile beyond``.
    """

    runs: str
    card: dict[str, Any] = field(repr=False)
    fits: dict[str, Fit] = field(repr=False)
    backtests: dict[str, Backtest] = field(repr=False)
    choices: dict[str, Choice] = field(repr=False)
    forecasts: LeaveFutureOut | None = field(repr=False)
    weights: Weights | None
    interpolation: pd.DataFrame
    beyond: pd.DataFrame
    horizons: pd.DataFrame
    findings: pd.DataFrame
    coefficients: pd.DataFrame
    budget: pd.DataFrame
    cross: pd.DataFrame
    left_out: dict[str, dict[str, str]]
    settings: dict[str, Any]

    @property
    def models(self) -> list[str]:
        """Names of all models, including models whose fit failed."""
        return [*self.fits, *self.left_out["fits"]]

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """By model: the convergence of its fit, or why the fit failed."""
        return {k: fit.verdict for k, fit in self.fits.items()} | {
            k: Verdict(Status.FAILED, (why,)) for k, why in self.left_out["fits"].items()
        }

    @property
    def converged(self) -> bool:
        """Whether every fit was made and converged, including the fits behind the backtests."""
        return self.verdict.ok

    @property
    def verdict(self) -> Verdict:
        """Convergence of every fit, including the fits behind the forecasts."""
        behind = {} if self.forecasts is None else self.forecasts.verdicts
        if self.settings["train_quantile"] not in CUTS:
            behind = behind | {f"{k}, {of}": v for k, test in self.backtests.items() for of, v in test.verdicts.items()}
        return joined(self.verdicts | behind)

    @property
    def checks(self) -> pd.DataFrame:
        """Number of findings passed and failed, one model and check per row."""
        groups = self.findings.groupby(["model", "check"], sort=False)["passed"]
        return groups.agg(passed="sum", failed=lambda x: int((~x).sum())).reset_index()

    @property
    def residuals(self) -> pd.DataFrame:
        """Posterior-predictive findings: do residuals drift?"""
        return self.findings[self.findings["check"] == "residuals"]

    @property
    def sensitivity(self) -> pd.DataFrame:
        """Power-scaling findings: would slightly more weight on the prior move the posterior?"""
        return self.findings[self.findings["check"] == "sensitivity"]

    @property
    def failures(self) -> pd.DataFrame:
        """Findings that did not pass."""
        return self.findings[~self.findings["passed"]]

    @property
    def status(self) -> dict[str, tuple[Answer, ...]]:
        """By model: the state of each question, with coverage at the reach of its budget; see :func:`statuses`."""
        fields = list(Finding.__dataclass_fields__)
        mine = {name: self.findings[self.findings["model"] == name][fields] for name in self.fits}
        return {
            name: (
                *statuses(Finding(*row) for row in table.itertuples(index=False)),
                self._covered(name),
                *marked(self.fits[name]),
            )
            for name, table in mine.items()
        }

    def _covered(self, name: str) -> Answer:
        """Coverage measured by this comparison's backtest; else, and for a new family, by the shipped record."""
        choice, record = self.choices.get(name), record_of([self.fits[name].spec])
        reach, new = (choice.reach_decades, choice.family == NEW) if choice else (math.log10(TIMES_LARGEST), False)
        bin_ = str(horizon_of(reach))
        found = record.measured(bin_, new=new) if record else NOTHING
        for row in () if new else self.horizons.itertuples():
            if (row.model, row.horizon) == (name, bin_):
                found = Measured(row.coverage_90, row.n_test, row.families, row.coverage_90_se)
        return covered(reach, found, name, new=new, sized=size_name(self.fits[name]))

    @property
    def table(self) -> pd.DataFrame:
        """One model per row: verdict, LOO, leave-future-out, weight, findings, and the split of the budget."""
        table = pd.DataFrame({"model": self.models, "verdict": list(map(str, self.verdicts.values()))})
        passed = self.findings.groupby("model")["passed"].agg(findings="size", passed="sum").reset_index()
        loo = self.interpolation.rename(columns={"elpd": "elpd_loo", "elpd_diff": "loo_diff", "dse": "loo_diff_se"})
        parts = [
            (passed, ["findings", "passed"]),
            (loo, ["elpd_loo", "loo_diff", "loo_diff_se", "k_above"]),
            (self.beyond, ["n_test", "coverage_50", "coverage_80", "coverage_90", "width_90", "interval_score_90",
                           "crps", "log_score", "are", "bias"]),
            (_weights_table(self.weights), ["weight", "weight_se"]),
            (self.budget, ["flops", "params", "tokens", "tokens_per_param", "expected_loss", "regret_nats",
                           "waste_fraction", "band_low", "band_high", "reach_decades"]),
        ]  # fmt: skip
        for piece, columns in parts:
            if len(piece):
                table = table.merge(piece[["model", *columns]], how="left", on="model")
        return table

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables as a terminal shows them, by what they say: their first columns."""
        weighed = "" if self.weights is None else f": {self.weights.sentence}"
        shown = {
            f"Leave-one-out: how well each model predicts a run from all others. ELPD: higher is better. It is "
            f"{INTERPOLATION_ONLY}.": (self.interpolation, _LOO),
            "Leave-future-out: forecasts of runs that were not fitted, mean over families. Width, CRPS and error: "
            "lower is better. Log score: higher is better.": (self.beyond, ("model", *_SCORES)),
            "Leave-future-out by compute beyond the fitted runs, mean over forecasts.": (
                self.horizons, ("model", "horizon", *_SCORES)),
            f"Weights of the models in an average{weighed}.": (
                _weights_table(self.weights), ("model", "weight", "weight_se")),
            "How many findings of each check passed and failed.": (
                self.checks, ("model", "check", "passed", "failed")),
            f"Exponents of each law, and E, with 90% intervals. {FORM_CAVEAT}.": (
                _asked(self.coefficients), _COEFFICIENTS),
            f"The best split of {self.settings['flops']:.3g} FLOP under each law, and the compute that it is "
            "expected to waste. Sizes from 'safe from' to 'safe to' cost under 1% extra compute in at least half of "
            "draws. Reach is the compute as a multiple of the largest run's.": (self.budget, _BUDGET),
            "What choosing by one law costs if another is right.": (self.cross, _CROSS),
        }  # fmt: skip
        return {title: table[list(columns)] for title, (table, columns) in shown.items() if len(table)}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON.

        Returns
        -------
        dict
        """
        tables = ("interpolation", "beyond", "horizons", "findings", "coefficients", "budget", "cross")
        return {
            "runs": self.runs,
            "settings": self.settings,
            "verdicts": {name: str(verdict) for name, verdict in self.verdicts.items()},
            "converged": self.converged,
            "interpolation_note": INTERPOLATION_ONLY,
            "form_note": FORM_CAVEAT,
            "weights": None if self.weights is None else self.weights.to_dict(),
            **{name: getattr(self, name).to_dict("records") for name in tables},
            "left_out": self.left_out,
        }

    def _repr_html_(self) -> str:
        return rich(repr(self), self.tables.items())

    def __repr__(self) -> str:
        lines = [f"Comparison of {len(self.models)} models on {self.runs!r}"]
        lines += [f"  {name}: {verdict}" for name, verdict in self.verdicts.items()]
        lines += [f"  {name}: {why.splitlines()[0]}" for name, why in self.left_out["budget"].items()]
        lines += [f"  {name}: no leave-one-out: {why}" for name, why in self.left_out["interpolation"].items()]
        for name, choice in self.choices.items():
            lines += [f"  {name}: these runs do not settle the split: {choice.unsettled}"] * (not choice.settled)
        return "\n".join(lines)


def compare(
    runs: Runs | str | Path | pd.DataFrame,
    specs: Iterable[Model | str | Path],
    *,
    flops: float | str | None = None,
    family: str | None = None,
    response: str | None = None,
    seed: int = 0,
    train_quantile: float = TRAIN_QUANTILE,
    beyond: float = BEYOND,
    chains: int = 4,
    warmup: int | None = None,
    draws: int = 1000,
    device: str = "auto",
    progress: bool | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    folder: str | Path | None = None,
    each: Each | None = None,
) -> Comparison:
    """Fit several models to one table of runs, test their forecasts, and compare their decisions.

    Each model is fitted once to all runs, for PSIS-LOO, checks and decisions, and once below each of
    :data:`.stacking.CUTS` and the train quantile. Stacking weights are those of :func:`stack`, from forecasts beyond
    the cuts. The leave-future-out table has the forecasts beyond the train quantile.

    Parameters
    ----------
    runs
        As in :func:`fit`.
    specs : sequence of Spec, or of what :func:`load_spec` takes
        The models, two or more.
    flops : float or str, optional
        Budget in FLOP that each law splits; by default, :data:`TIMES_LARGEST` times the largest run's compute.
    family : str, optional
        Family whose budget is split and whose forecasts are scored; by default the only family. With several, by
        default all are scored and the budget is for a new family.
    response : str, optional
        Response whose forecasts are scored; by default the loss, or the first model's first response if it has no loss.
    train_quantile, beyond : float
        As in :func:`backtest`.
    seed, chains, warmup, draws, device, progress, workers, scheduler, folder
        As in :func:`fit_many`.
    each : callable, optional
        Called with the name of each model, its verdict, and its backtest or None, as soon as they are known.

    Returns
    -------
    Comparison

    Warns
    -----
    ConvergenceWarning
        If fits have failed or have not converged; one warning names all.

    Raises
    ------
    QueryError
        If fewer than two models are given, two are the same, one lacks the response, or the budget is implausible.
    BayescaleError
        If no model can be fitted: the error of the first one.

    Examples
    --------
    >>> compare("hoffmann2022", ["additive", "coupled"], flops="1e24").budget  # doctest: +SKIP
    """
    runs = runs if isinstance(runs, Runs) else load_runs(runs)
    models = _models(specs)
    for spec in models.values():
        runs = conformed(spec, runs)
    of = common_response(models.values(), response)
    flops = _budget(runs, flops, family)
    options = Options(train_quantile, None, beyond)
    cuts = Cuts.of(runs, list(dict.fromkeys([*CUTS, train_quantile])), beyond, None if family == NEW else family, of)
    how = FitOptions(chains, warmup, draws, device, workers, scheduler, folder)
    made = _fitted_and_tested(runs, models, cuts, options, how, seed=seed, progress=progress, each=each)
    if not made.fits:
        raise next(iter(made.failed.values()))
    chosen = {"flops": flops, "family": family, "seed": seed, "train_quantile": train_quantile, "beyond": beyond,
              "response": of.name}  # fmt: skip
    left_out = {"fits": {name: str(error) for name, error in made.failed.items()}, "beyond": made.untested}
    stages = Stages(show=on_terminal() if progress is None else progress)
    with stages.shown(), stages("comparison"):
        result = _examined(runs.name, runs.card, made.fits, made.tests, cuts.joined(made.found, CUTS), chosen, left_out)
    if not result.converged:
        warnings.warn(str(result.verdict), ConvergenceWarning, 2)
    return result


@dataclass(frozen=True)
class _Made:
    """By model: the fit on all runs, its forecasts beyond every cut and their backtest, or why there is none."""

    fits: dict[str, Fit] = field(default_factory=dict)
    tests: dict[str, Backtest] = field(default_factory=dict)
    found: dict[str, Forecasts] = field(default_factory=dict)
    failed: dict[str, BayescaleError] = field(default_factory=dict)
    untested: dict[str, str] = field(default_factory=dict)


def _fitted_and_tested(
    runs: Runs, models: Mapping[str, Model], cuts: Cuts, options: Options, how: FitOptions, *, seed: int,
    progress: bool | None, each: Each | None,
) -> _Made:  # fmt: skip
    """Fit each model to all runs and below each cut; an error of one model leaves the others."""
    made = _Made()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the comparison gives one for all
        for name, spec in models.items():
            # A batch of one: tracing two structures in parallel threads would mix NumPyro's handlers.
            batch = fit_many({name: runs}, spec, seed=seed, progress=progress, **vars(how.within("all runs")))
            made.fits.update(batch.fits)
            made.failed.update(batch.failed)
            if name in batch.failed:
                _say(each, name, batch.verdict, None)
                continue
            try:
                one = cuts.forecasts(runs, spec, how.within("leave-future-out", name), seed=seed, progress=progress,
                                     backtested=options.train_quantile)  # fmt: skip
                made.tests[name] = cuts.backtest(runs, spec, one, options, seed)
                made.found[name] = one
            except BayescaleError as error:
                made.untested[name] = str(error)
            _say(each, name, batch.verdict, made.tests.get(name))
    return made


def _say(each: Each | None, name: str, verdict: Verdict, test: Backtest | None) -> None:
    if each is not None:
        each(name, verdict, test)


def examine(
    fits: Mapping[str, Fit], *, flops: float | str | None = None, family: str | None = None,
    card: Mapping[str, Any] | None = None,
) -> Comparison:  # fmt: skip
    """Compare existing fits of one table, without backtests; one fit is enough.

    Parameters
    ----------
    fits : mapping of str to Fit
        The fits, by name of the model.
    flops, family
        As in :func:`compare`.
    card : mapping, optional
        Card of the runs; by default the shipped card, if the table ships, else what the fits hold of it.

    Returns
    -------
    Comparison

    Raises
    ------
    QueryError
        If there is no fit, or the fits are of different runs.
    """
    if not fits:
        raise QueryError("there is no fit to examine")
    first = next(iter(fits.values()))
    if len({fit.meta["runs_digest"] for fit in fits.values()}) > 1:
        raise QueryError("the fits are of different runs", hint="fit every model to one table")
    chosen = {"flops": budget_of(flops or default_budget(first, family)), "family": family,
              "seed": first.meta["seed"], "train_quantile": None, "beyond": None}  # fmt: skip
    card = dict(data_card(first.meta) if card is None else card)
    return _examined(first.meta["runs"], card, dict(fits), {}, None, chosen, {"fits": {}, "beyond": {}})


def _examined(
    runs: str, card: dict[str, Any], fits: dict[str, Fit], tests: dict[str, Backtest],
    forecasts: LeaveFutureOut | None, settings: dict[str, Any], left_out: dict[str, dict[str, str]],
) -> Comparison:  # fmt: skip
    choices: dict[str, Choice] = {}
    undecided = {}
    for name, fit in fits.items():
        try:
            choice = decide(Allocation(settings["flops"], settings["family"]), fit)
        except QueryError as error:
            undecided[name] = str(error)
            continue
        if isinstance(choice, Choice):
            choices[name] = choice
        if isinstance(choice, Withheld):
            undecided[name] = choice.reason
    of = common_response([fit.spec for fit in fits.values()], settings.get("response"))
    loo, unread = comparison_tables.interpolation(fits, of.site)
    beyond, horizons = comparison_tables.beyond(tests)
    several = forecasts is not None and len(forecasts.models) > 1
    weights = forecasts.weights() if forecasts is not None and several else None
    unstacked = {} if several else {"all": "fewer than two models have scored forecasts"}
    return Comparison(
        runs=runs, card=card, fits=fits, backtests=tests, choices=choices, forecasts=forecasts, weights=weights,
        interpolation=loo, beyond=beyond, horizons=horizons,
        findings=comparison_tables.findings(fits), coefficients=comparison_tables.coefficients(fits, choices),
        budget=comparison_tables.budgets(choices), cross=comparison_tables.crossed(choices),
        left_out=left_out | {"interpolation": unread, "weights": unstacked, "budget": undecided},
        settings=settings,
    )  # fmt: skip


def data_card(meta: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the shipped card of the runs of a fit if it is that of the fit, else what the fit itself holds of a card.

    Parameters
    ----------
    meta : mapping
        Metadata of a fit.

    Returns
    -------
    mapping
    """
    carried = meta.get("runs_source", {})
    if carried and meta["runs"] in shipped.names("data"):
        card = load_runs(meta["runs"]).card
        if all(card.get(key) == value for key, value in carried.items()):
            return card
    return {**carried, "faults": meta["runs_faults"]} if meta.get("runs_faults") else carried


def _models(specs: Iterable[Model | str | Path]) -> dict[str, Model]:
    loaded = [spec if isinstance(spec, Model) else load_spec(spec) for spec in specs]
    seen: dict[str, Model] = {}
    for spec in loaded:
        same = next((other for other in seen.values() if other.digest == spec.digest or other.name == spec.name), None)
        if same is not None:
            what = "one model is given twice" if same.digest == spec.digest else "two models have one name"
            raise QueryError(what, expected="different models under different names",
                             got=f"{same.name!r} and {spec.name!r}", hint="remove one, or rename its file")  # fmt: skip
        seen[spec.name] = spec
    if len(seen) < 2:
        raise QueryError("a comparison needs at least two models", got=", ".join(seen) or "none",
                         hint="name each: --model additive --model coupled")  # fmt: skip
    return seen


def _budget(runs: Runs, flops: float | str | None, family: str | None) -> float:
    if family not in (None, NEW, *runs.families):
        raise QueryError(f"no family {family!r} in {runs.name!r}", hint=nearest(str(family), runs.families))
    mine = runs.size[runs["family"] == family] if family in runs.families else runs.size
    return budget_of(TIMES_LARGEST * float(mine.max()) if flops is None else flops)


def _asked(coefficients: pd.DataFrame) -> pd.DataFrame:
    """Keep the exponents and the irreducible loss, which a terminal shows."""
    return coefficients[coefficients["kind"].isin((*comparison_tables.EXPONENTS, Kind.FLOOR))]


def _weights_table(weights: Weights | None) -> pd.DataFrame:
    if weights is None:
        return pd.DataFrame()
    return pd.DataFrame({"model": list(weights.weights), "weight": list(weights.weights.values()),
                         "weight_se": list(weights.se.values())})  # fmt: skip
