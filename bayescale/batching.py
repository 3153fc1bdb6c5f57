"""Batch: one spec on many tables of runs, through one compiled program."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bayescale.errors import BayescaleError, ConvergenceWarning, FitError
from bayescale.fitting import Fit, sampled
from bayescale.modelling import Design, design, layout
from bayescale.progress import Stages, on_terminal
from bayescale.runs import Runs
from bayescale.spec import Spec, load_spec


@dataclass(frozen=True)
class Batch:
    """Fits by name, and what kept others from being made.

    Attributes
    ----------
    fits : dict of Fit
        Each with its own convergence; in the order of the tables.
    failed : dict of BayescaleError
        By name, for tables that could not be fitted.
    seconds : dict of float
        By stage, of all fits together.
    """

    fits: dict[str, Fit]
    failed: dict[str, BayescaleError]
    seconds: dict[str, float]

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong, by name: a failure, or a fit that has not converged."""
        unconverged = {name: fit.verdict for name, fit in self.fits.items() if not fit.converged}
        return {name: str(error) for name, error in self.failed.items()} | unconverged

    def __repr__(self) -> str:
        wrong = "; ".join(f"{name}: {why}" for name, why in self.problems.items())
        return f"Batch of {len(self.fits)} fits, {len(self.failed)} failed" + (f" ({wrong})" if wrong else "")


def fit_many(
    runs: Mapping[str, Runs],
    spec: Spec | str | Path,
    *,
    seed: int = 0,
    chains: int = 4,
    warmup: int | None = None,
    draws: int = 1000,
    device: str = "auto",
    progress: bool | None = None,
) -> Batch:
    """Fit one spec to each of many tables of runs: data sets, or splits of one.

    Tables are padded to one shape, so that the spec is compiled once for each count of families, and
    padding is masked: a fit's posterior is the one that :func:`bayescale.fit` draws, its draws are not.

    Parameters
    ----------
    runs : mapping of str to Runs
        Tables by name.
    spec, chains, warmup, draws, device, progress
        As in :func:`bayescale.fit`.
    seed : int
        Seed of the first table; the others count on from it.

    Returns
    -------
    Batch

    Warns
    -----
    ConvergenceWarning
        If a fit has failed or has not converged; once, naming each.

    Raises
    ------
    FitError
        If there is no table.

    Examples
    --------
    >>> table = load_runs("open-families")  # doctest: +SKIP
    >>> fit_many({name: table.where(family=name) for name in table.families}, "additive")  # doctest: +SKIP
    """
    if not runs:
        raise FitError("there is nothing to fit", wanted="at least one table of runs", came="an empty mapping")
    spec = spec if isinstance(spec, Spec) else load_spec(spec)
    failed: dict[str, BayescaleError] = {}
    designs: dict[str, Design] = {}
    for name, table in runs.items():
        try:
            designs[name] = design(spec, table)
        except BayescaleError as error:
            failed[name] = error
    sizes = {points.families for points in designs.values()}
    shapes = {size: layout([points for points in designs.values() if points.families == size]) for size in sizes}
    stages, total = Stages(), Stages(show=on_terminal() if progress is None else progress)
    fits = {}
    with total.shown(), total("fits", len(designs)) as advance:
        for i, (name, points) in enumerate(designs.items()):
            try:
                fits[name] = sampled(
                    runs[name], spec, seed=seed + i,
                    chains=chains, warmup=warmup, draws=draws, device=device,
                    stages=stages, shape=shapes[points.families],
                )  # fmt: skip
            except BayescaleError as error:
                failed[name] = error
            advance()
    batch = Batch(fits, failed, stages.seconds)
    if batch.problems:
        warnings.warn(repr(batch), ConvergenceWarning, 2)
    return batch
