"""Simulation-based calibration: do intervals of fits to simulated runs cover the truth as often as they should?

Parameters are drawn from a spec's prior, runs from the parameters, and the spec is fitted to the runs. If prior,
likelihood, sampler and forecasts agree, the rank of the true value among posterior draws is uniform, for any
quantity (Talts et al. 2018, arXiv:1804.06788).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import batched
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import ttest_1samp

from bayescale.core.arguments import check_kind
from bayescale.core.errors import ConvergenceWarning, FitError
from bayescale.core.progress import Stages, on_terminal
from bayescale.core.verdict import Verdict, of_tests
from bayescale.decisions.choice import best
from bayescale.evaluation import uniformity
from bayescale.evaluation.simulation import Simulated, simulate
from bayescale.inference.batch import Batch, FitOptions, fit_many
from bayescale.inference.diagnostics import scalars
from bayescale.inference.fit import Fit, check_settings
from bayescale.modelling.model import Model
from bayescale.modelling.spec import Spec
from bayescale.modelling.spec_io import DEFAULT, load_spec
from bayescale.prediction.predict import predict
from bayescale.prediction.records import engine
from bayescale.runs.readers import load_runs
from bayescale.runs.table import Runs

RANKED = 99
"""Number of posterior draws among which a truth is ranked. Draws are thinned evenly, so chains with an ESS of a few
hundred give nearly independent ones. The hundred possible ranks divide into tens and quarters."""

LEVEL = 0.99
"""Probability that a correct computation passes. Of ten correct specs, one fails in about one round of ten."""

_LEVELS = (0.5, 0.8, 0.9)
_AT_A_TIME = 100  # fits held in memory: about 300 MB for hierarchies


@dataclass(frozen=True, eq=False)
class Calibration:
    """Ranks of truths among posterior draws, with tests of uniformity; made by :func:`calibrate`.

    Attributes
    ----------
    spec : Spec
        The spec that was calibrated.
    ranks : DataFrame of int
        One simulation per row, one quantity per column: how many of :data:`RANKED` thinned draws are below the truth.
    regret : DataFrame
        One simulation per row: regret in nats/token of the split that the posterior chooses, ``expected`` under the
        posterior and ``realised`` under the truth. Empty if the law has no split to choose.
    unconverged, dropped : dict of str
        Simulations whose fit has not converged (they are ranked too), and simulations without ranks, because the
        fit failed or the runs were not finite; by name, with the reason.
    meta : dict
        Seed, chains, draws, the simulated runs, versions.
    """

    spec: Model
    ranks: pd.DataFrame
    regret: pd.DataFrame
    unconverged: dict[str, str]
    dropped: dict[str, str]
    meta: dict[str, Any] = field(repr=False)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One quantity per row: ``p`` of its rank band, ``chi2_p``, coverage at 50, 80 and 90%, ``passed``."""
        rows = []
        for name in self.ranks:
            ranks = self.ranks[name].to_numpy()
            p = uniformity.band_p(ranks, RANKED)
            row = {"quantity": name, "p": p, "chi2_p": uniformity.chi_square_p(ranks, RANKED)}
            row |= {f"coverage_{100 * level:.0f}": uniformity.coverage(ranks, RANKED, level) for level in _LEVELS}
            rows.append(row | {"passed": bool(p >= self.alpha)})
        return pd.DataFrame(rows)

    @property
    def alpha(self) -> float:
        """P-value below which one quantity fails: one minus :data:`LEVEL`, over the number of tests (Bonferroni)."""
        return (1 - LEVEL) / (self.ranks.shape[1] + (not self.regret.empty))

    @cached_property
    def regret_check(self) -> dict[str, Any]:
        """Mean expected and realised regret; their difference with Monte Carlo error and p-value; ``passed``."""
        if self.regret.empty:
            return {}
        difference = (self.regret["realised"] - self.regret["expected"]).to_numpy()
        p = float(ttest_1samp(difference, 0.0).pvalue)
        means = {name: float(self.regret[name].mean()) for name in ("expected", "realised")}
        error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
        return means | {"difference": float(difference.mean()), "mcse": error, "p": p, "passed": bool(p >= self.alpha)}

    @property
    def problems(self) -> dict[str, str]:
        """Quantities outside their band, unexpected regret and dropped simulations, with the reason."""
        bad = self.table[~self.table["passed"]]
        found = {str(row.quantity): f"ranks leave their band, p = {row.p:.2g}" for row in bad.itertuples()}
        check = self.regret_check
        if check and not check["passed"]:
            found["mean regret"] = f"realised minus expected {check['difference']:.2g} nats, p = {check['p']:.2g}"
        return found | self.dropped

    @property
    def passed(self) -> bool:
        """Whether there are no problems."""
        return self.verdict.ok

    @property
    def verdict(self) -> Verdict:
        """Whether every quantity passed, and the problems."""
        return of_tests(f"{name}: {why}" for name, why in self.problems.items())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and for the record kept with the spec.

        Returns
        -------
        dict
        """
        return {
            "spec": self.spec.name,
            "spec_digest": self.spec.digest,
            "passed": self.passed,
            "verdict": str(self.verdict),
            "simulations": len(self.ranks) + len(self.dropped),
            "unconverged": len(self.unconverged),
            "dropped": len(self.dropped),
            "ranked_among": RANKED,
            "level": LEVEL,
            "alpha": self.alpha,
            **self.meta,
            "regret": self.regret_check,
            "quantities": self.table.set_index("quantity").to_dict("index"),
        }

    @property
    def lines(self) -> list[str]:
        """What was simulated, and below its table: the regret, and the verdict."""
        lines = [
            f"Calibration of {self.spec.name!r}: {len(self.ranks)} simulations ranked, {len(self.dropped)} dropped, "
            f"{len(self.unconverged)} not converged",
        ]
        if check := self.regret_check:
            lines.append(
                f"mean regret  expected {check['expected']:.2g}, realised {check['realised']:.2g} nats; "
                f"difference {check['difference']:.2g} ± {check['mcse']:.1g}, p = {check['p']:.3f}"
            )
        return [*lines, f"verdict      {self.verdict} (a quantity fails below p = {self.alpha:.2g})"]

    def __repr__(self) -> str:
        first, *others = self.lines
        return "\n".join([first, self.table.to_string(index=False, float_format="{:.3f}".format), *others])


def calibrate(
    spec: Model | str | Path = DEFAULT,
    *,
    runs: Runs | str | Path | pd.DataFrame | None = None,
    simulations: int = 200,
    seed: int = 0,
    chains: int = 4,
    warmup: int | None = None,
    draws: int = 500,
    device: str = "auto",
    progress: bool | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    folder: str | Path | None = None,
    each: Callable[[Batch], object] | None = None,
) -> Calibration:
    """Test by simulation whether a spec's posteriors, forecasts and decisions are calibrated under its prior.

    Each simulation draws parameters from the prior and runs from the parameters, fits the runs, and ranks the truth
    among the draws. Ranked are every parameter, the log likelihood, the loss and the best params at fifty times the
    largest run's compute, and the regret of the split that the posterior chooses there.

    Parameters
    ----------
    spec : Spec, or what :func:`load_spec` takes
        By default the built-in ``default``.
    runs : Runs, or what :func:`load_runs` takes, optional
        Simulate at these runs. Of their observations only the median loss is used, for the anchor. By default, a
        plain sweep (:func:`bayescale.evaluation.simulation.sweep_for`).
    simulations : int
        At least 20. With 200, draws that are 0.7 times as wide as they should be, or biased by 0.4 SD, are detected
        in 84% of cases or more.
    seed : int
        Seed of the simulations; the seeds of the fits count up from it.
    chains, warmup, draws, device, progress, workers, scheduler, folder
        As in :func:`bayescale.fit_many`, with 500 draws per chain by default. If `warmup` is given (500 for a
        hierarchy), chains that do not agree are not redrawn: a hierarchy then takes a third of the time, and more
        fits count as not converged.
    each : callable, optional
        Called with every batch of fits once they are ranked.

    Returns
    -------
    Calibration

    Warns
    -----
    ConvergenceWarning
        If fits have not converged. They are ranked too: leaving them out would select among truths.

    Raises
    ------
    FitError
        If there are too few simulations or draws, or an argument is of another type.
    RunsError
        If the runs lack a column, or cannot identify the law.

    Examples
    --------
    >>> calibrate("additive-unpooled", simulations=20, seed=0).passed  # doctest: +SKIP
    True
    """
    spec = spec if isinstance(spec, Model) else load_spec(spec)
    if runs is not None and not isinstance(runs, Runs):
        runs = load_runs(runs)
    check_settings([seed], chains, warmup, draws)
    check_kind(each, Callable | None, FitError, "each as a function of a batch")
    how = FitOptions(chains, warmup, draws, device, workers, scheduler, folder)
    stages = Stages(show=on_terminal() if progress is None else progress)
    with stages.shown(), stages("simulations"):
        made = simulate(spec, runs, simulations=simulations, seed=seed)
    result = ranked(made, spec, how, seed=seed, progress=progress, each=each)
    if result.unconverged:
        first = next(iter(result.unconverged.values()))
        found = f"{len(result.unconverged)} of {len(result.ranks)} fits have not converged: {first}"
        warnings.warn(found, ConvergenceWarning, 2)
    return result


def ranked(
    simulated: Simulated, spec: Model, how: FitOptions, *, seed: int, progress: bool | None = None,
    each: Callable[[Batch], object] | None = None,
) -> Calibration:  # fmt: skip
    """Fit a spec to simulated tables and rank their truths; the tables may come from another spec.

    Parameters
    ----------
    simulated : Simulated
    spec : Spec
    how : FitOptions
    seed : int
    progress : bool, optional
    each : callable, optional
        As in :func:`calibrate`.

    Returns
    -------
    Calibration

    Raises
    ------
    FitError
        If there are too few draws, or every fit fails.
    """
    if how.chains * how.draws < RANKED:
        came = f"{how.chains} chains of {how.draws}"
        raise FitError("there are too few draws to rank a truth", expected=f"at least {RANKED} in all", got=came)
    fixed = replace(spec, anchor=simulated.spec.anchor) if isinstance(spec, Spec) else spec
    rng = np.random.default_rng(seed)
    ranks, regrets, unconverged, dropped = {}, {}, {}, dict(simulated.dropped)
    meta: dict[str, Any] = {"seed": seed, "chains": how.chains, "draws": how.draws, "warmup": how.warmup or "auto"}
    meta["engine"] = engine()
    for name, fit in _fits(simulated, fixed, dropped, how, seed=seed, progress=progress, each=each):
        truth, drawn = _parameters(simulated, name, fit)
        regret = _beyond(simulated, name, fit, truth, drawn)
        ranks[name] = {key: uniformity.rank_of(truth[key], _thinned(drawn[key]), rng) for key in truth}
        if regret:
            regrets[name] = regret
        if not fit.converged:
            unconverged[name] = str(fit.verdict)
        meta["versions"] = fit.meta["versions"]
    if not ranks:
        name, why = next(iter(dropped.items()))
        raise FitError("no simulation could be fitted", got=f"{name}: {why}")
    runs = next(iter(simulated.tables.values()))
    sizes = {family: int((runs["family"] == family).sum()) for family in runs.families}
    meta |= {"runs": sizes, "anchor": dict(simulated.spec.anchor), "beyond_in": str(simulated.probes["family"][0])}
    table, regret = (pd.DataFrame.from_dict(rows, orient="index") for rows in (ranks, regrets))
    return Calibration(spec, table, regret, unconverged, dropped, meta)


def _fits(
    simulated: Simulated, spec: Model, dropped: dict[str, str], how: FitOptions, *, seed: int, progress: bool | None,
    each: Callable[[Batch], object] | None,
) -> Iterator[tuple[str, Fit]]:  # fmt: skip
    """Yield the fits in batches; failed fits are added to `dropped`."""
    for first, names in enumerate(batched(simulated.tables, _AT_A_TIME)):
        tables = {name: simulated.tables[name] for name in names}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # one warning for all, in calibrate
            batch = fit_many(tables, spec, seed=seed + first * _AT_A_TIME, progress=progress, **vars(how))
        dropped |= {name: str(error).partition("\n")[0] for name, error in batch.failed.items()}
        yield from batch.fits.items()
        if each is not None:
            each(batch)


def _parameters(simulated: Simulated, name: str, fit: Fit) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Return truth and draws of each quantity in the table of truths."""
    truth = simulated.truths.loc[name].to_dict()
    likelihood = fit.tree["log_likelihood"].data_vars.values()
    total = sum(value.to_numpy().sum(axis=-1) for value in likelihood)
    return truth, {**scalars(fit.posterior), "log_likelihood": np.asarray(total)}


def _beyond(
    simulated: Simulated, name: str, fit: Fit, truth: dict[str, float], drawn: dict[str, np.ndarray]
) -> dict[str, float]:
    """Add the loss at the target, the best params and the regret there; return expected and realised regret."""
    if simulated.log_loss.empty:  # a custom model has no law to evaluate
        return {}
    true, draws = simulated.log_loss.loc[name].to_numpy(), predict(fit, simulated.probes, only="log_loss")
    truth["loss_beyond"], drawn["loss_beyond"] = true[0], draws[:, 0]
    true, draws = np.exp(true[1:]), np.exp(draws[:, 1:])
    if not len(true):
        return {}
    solved = best(-draws, fit.posterior.sizes["chain"])  # the utility of a loss
    # Both are indices on the same coarse grid of splits; ties are broken at random.
    truth["params_beyond"], drawn["params_beyond"] = true.argmin(), solved.by_draw
    truth["regret_beyond"] = true[solved.action] - true.min()
    drawn["regret_beyond"] = draws[:, solved.action] - draws.min(axis=1)
    return {"expected": solved.regret, "realised": float(truth["regret_beyond"])}


def _thinned(draws: np.ndarray) -> np.ndarray:
    """Return :data:`RANKED` draws, evenly spaced along the chains."""
    return draws.ravel()[np.linspace(0, draws.size - 1, RANKED).round().astype(int)]
