"""Fit: runs + spec → posterior draws and their convergence; saved by :meth:`Fit.save`."""

from __future__ import annotations

import json
import secrets
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.arguments import check_count, check_seed
from bayescale.core.dims import CHAIN, DRAW, FAMILY, RUN, SUITE, runs_of, to_datatree
from bayescale.core.errors import ConvergenceWarning, DefinitionError, FitError
from bayescale.core.precision import float64
from bayescale.core.progress import Stages, on_terminal
from bayescale.core.quantities import counted
from bayescale.inference import nuts, ordinary
from bayescale.inference.aot import TRACING, devices_for, use_cache
from bayescale.inference.average import SCHEMA, AbstractFit
from bayescale.inference.container import CHECKED_FROM, data_digest, digests_of
from bayescale.inference.diagnostics import Criterion, criteria, summarised
from bayescale.inference.nuts import Care
from bayescale.inference.vectorized import sample_side_by_side
from bayescale.modelling.custom import CustomModel
from bayescale.modelling.design import Design, conformed, design
from bayescale.modelling.grouping import lots_of, suites_of, ways_of
from bayescale.modelling.layout import layout
from bayescale.modelling.model import Model
from bayescale.modelling.sites import declared_sites, labels_of
from bayescale.modelling.spec import Spec
from bayescale.modelling.spec_io import DEFAULT, load_spec
from bayescale.parts.base import AbstractPooling
from bayescale.runs.columns import SPANS
from bayescale.runs.readers import load_runs
from bayescale.runs.table import Runs

_KEEP = (*SPANS, "loss", "run_id", "exclusion")
_PACKAGES = ("bayescale", "jax", "numpyro", "arviz", "numpy", "xarray")


@dataclass(frozen=True, eq=False)
class Fit(AbstractFit):
    """Posterior draws with their spec, runs and seed; made by :func:`fit`.

    Attributes
    ----------
    tree : xarray.DataTree
        ArviZ groups ``posterior``, ``sample_stats``, ``log_likelihood``, ``log_prior``, ``observed_data``
        and ``constant_data``; dims ``chain draw run family``. The ``log_likelihood`` of a site that some runs have no
        value of is over the others (dim ``run_of_SITE``). For large tables, ``log_likelihood`` is summed
        by family (dims ``chain draw family``), because draws × runs would not fit into memory.
    spec : Spec or CustomModel
        The model.
    meta : dict
        Seed, anchor, digests, versions, device, engine, and seconds by stage.
    """

    tree: xr.DataTree
    spec: Model
    meta: dict[str, Any]

    @classmethod
    def from_samples(
        cls, samples: Any, model: Model | str | Path, runs: Runs | str | Path | pd.DataFrame, *, seed: int = 0
    ) -> Fit:
        """Make a fit from posterior draws of any origin, so that forecasts, checks and decisions work on them.

        Parameters
        ----------
        samples : xarray.DataTree, xarray.Dataset, numpyro.infer.MCMC, or mapping of str to array
            Draws of every latent site of the model, for example of ``bs.model(model, runs)`` under plain NumPyro:
            arrays of shape (chain, draw, ...). From a DataTree, the group ``posterior`` is read, and ``sample_stats``
            if it has one.
        model : Spec, CustomModel, or what :func:`load_spec` takes
            The model that was sampled.
        runs : Runs, or what :func:`load_runs` takes
            The runs that the model was fitted to.
        seed : int
            Random seed of forecasts.

        Returns
        -------
        Fit
            Its verdict uses R-hat and effective sample sizes of the draws, and the sampler's statistics if they are
            known.

        Raises
        ------
        FitError
            If draws of a site are missing, do not have its shape, or are not finite, or the model has no density there.

        Examples
        --------
        >>> again = bs.Fit.from_samples(fit.tree, fit.spec, runs)
        >>> bool((again.posterior["alpha_N"] == fit.posterior["alpha_N"]).all())
        True
        """
        spec = model if isinstance(model, Model) else load_spec(model)
        runs = conformed(spec, runs if isinstance(runs, Runs) else load_runs(runs))
        with use_cache(), float64(), jax.default_device(devices_for("cpu", len(runs))[0]):
            points = design(spec, runs)
            draws, stats = ordinary.drawn_of(samples)
            latent = _latent(spec, runs, points, draws)
            found = ordinary.replayed(spec, points, latent, stats, {"warm_start": ordinary.GIVEN})
            ordinary.check_allowed(spec, points, latent)
            return _collect(runs, spec, points, found, seed)

    @property
    def name(self) -> str:
        """Name of the spec."""
        return self.spec.name

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of runs that the spec reads."""
        return self.spec.columns

    @property
    def covariates(self) -> tuple[str, ...]:
        """Covariates of the spec."""
        return tuple(dict(self.spec.covariates))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Columns that the law's inputs are read from."""
        return self.spec.inputs

    @property
    def responses(self) -> tuple[str, ...]:
        """Names of the spec's responses."""
        return tuple(of.name for of in self.spec.instances)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of chains, and of draws per chain."""
        sizes = self.tree["posterior"].sizes
        return sizes[CHAIN], sizes[DRAW]

    @property
    def members(self) -> dict[str, Fit]:
        """The fit itself, by the name of its spec."""
        return {self.spec.name: self}

    def lenders(self, draws: np.ndarray) -> list[tuple[Fit, np.ndarray]]:
        """Return the fit itself, with a mask of all draws, shape (draw,)."""
        return [(self, np.ones(len(draws), bool))]

    @property
    def posterior(self) -> xr.Dataset:
        """Draws of every parameter and of every published coefficient; dims ``chain draw [family | suite]``."""
        return self.tree["posterior"].to_dataset()

    @property
    def design_frame(self) -> pd.DataFrame:
        """The fitted runs: family, params, tokens, flops, loss, and every other column that the spec reads."""
        data = self.tree["constant_data"].to_dataset()
        frame = pd.DataFrame({name: data[name].to_numpy() for name in data.data_vars})
        frame["family"] = np.asarray(self.families)[frame["family"].to_numpy()]
        for name, values in self.tree["observed_data"].data_vars.items():
            frame[name] = values.to_numpy()
        return frame

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Mean, SD, 5% and 95% quantiles, R-hat and effective sample sizes of every scalar."""
        return summarised(self.posterior)

    @cached_property
    def convergence(self) -> list[Criterion]:
        """Criteria of convergence, each with its limit and the figure reached; see :func:`criteria`."""
        return criteria(self.tree, self.summary[[name.split("[")[0] in self.sampled for name in self.summary.index]])

    @cached_property
    def ways(self) -> dict[str, AbstractPooling]:
        """How the families share each parameter."""
        return ways_of(self.spec, len(self.families), lots_of(self.spec, self.design_frame))

    @property
    def sampled(self) -> set[str]:
        """Names of the posterior's variables, except published coefficients."""
        return {str(name) for name in self.posterior.data_vars} - set(self.meta["published"])

    def __repr__(self) -> str:
        size = self.tree["posterior"].sizes
        said = (
            f"Fit({self.spec.name!r} on {self.meta['runs']!r}: {len(self.tree['constant_data'][RUN])} runs, "
            f"{counted(len(self.families), 'family')}, {size[CHAIN]} × {size[DRAW]} draws, {self.verdict.status})"
        )
        return self.verdict.above("\n".join(filter(None, [said, self.floor_words])))

    def stored(self) -> xr.DataTree:
        """Return everything that is saved.

        Returns
        -------
        DataTree
        """
        tree = self.tree.copy()
        said = {"spec": _spec_dict(self.spec), **self.meta}
        if isinstance(self.spec, Spec) and self.spec.digest == self.meta["spec_digest"]:  # not of an older version
            said["spec_code"] = self.spec.code
        lacking = digests_of(said["spec"]) - {"data_digest"} - said.keys()
        said["schema"] = CHECKED_FROM - 1 if lacking else SCHEMA
        said["data_digest"] = data_digest(tree, "" if lacking else said["runs_digest"])
        tree.attrs["bayescale"] = json.dumps(said, default=str)  # a card may hold dates
        return tree


def fit(
    runs: Runs | str | Path | pd.DataFrame,
    spec: Model | str | Path = DEFAULT,
    *,
    seed: int | None = None,
    chains: int = 4,
    warmup: int | None = None,
    draws: int = 1000,
    device: str = "auto",
    progress: bool | None = None,
    stages: Stages | None = None,
) -> Fit:
    """Sample the posterior of a spec given runs, with NUTS.

    Parameters
    ----------
    runs : Runs, or what :func:`load_runs` takes
        The runs.
    spec : Spec, or what :func:`load_spec` takes
        The model; by default the shipped ``default``.
    seed : int, optional
        The same seed on the same backend gives the same draws. By default, a random seed is drawn and recorded.
    chains, warmup, draws : int
        Number of chains, warm-up iterations, and kept draws per chain. By default, the warm-up has 300 iterations in
        whitened coordinates, 500 for a hierarchy, and 1000 if whitening failed. Chains that fail a criterion are then
        sampled again: with smaller steps if divergences are the only failure; with smaller steps and six times as long
        if draws still diverge or the chains mix slowly (``meta["engine"]`` says so). If `warmup` is given, chains are
        never sampled again.
    device : {"auto", "cpu", "gpu", "tpu"}
        Where to sample; chains are distributed over its devices. ``"auto"`` uses an accelerator for large
        tables and the CPU for others. Arithmetic is float64 everywhere, although accelerators are slow at it:
        in float32, the terms of a law cancel to fewer digits than runs are measured to.
    progress : bool, optional
        Show the stages and the time left; by default, on a terminal only.
    stages : Stages, optional
        Stopwatch to use, in seconds by stage.

    Returns
    -------
    Fit

    Warns
    -----
    ConvergenceWarning
        If the chains have not converged.

    Raises
    ------
    RunsError
        If the runs cannot identify the law.
    FitError
        If a setting is out of range, or no finite start exists.

    Examples
    --------
    >>> result = bs.fit("hoffmann2022", "additive", seed=0)
    >>> round(float(result.posterior["alpha_N"].mean()), 2)
    0.34
    """
    stages = stages or Stages(show=on_terminal() if progress is None else progress)
    with stages.shown():
        result = sampled(runs, spec, seed=seed, chains=chains, warmup=warmup, draws=draws, device=device, stages=stages)
    if not result.converged:
        warnings.warn(f"{result.verdict}; raise warmup and draws, or see check()", ConvergenceWarning, 2)
    return result


def sampled(
    runs: Runs | str | Path | pd.DataFrame,
    spec: Model | str | Path = DEFAULT,
    *,
    seed: int | None,
    chains: int,
    warmup: int | None,
    draws: int,
    device: str,
    stages: Stages,
    shape: tuple[int, int] | None = None,
    threads: int = nuts.THREADS,
) -> Fit:
    """Sample as :func:`fit` does, without its warning; `shape` and `threads` are as in :func:`.nuts.sample`."""
    runs = runs if isinstance(runs, Runs) else load_runs(runs)
    spec = spec if isinstance(spec, Model) else load_spec(spec)
    seed = secrets.randbits(31) if seed is None else seed
    (result,) = sampled_many(
        [(runs, spec, seed)], chains=chains, warmup=warmup, draws=draws, devices=devices_for(device, len(runs)),
        stages=stages, shape=shape, threads=threads,
    )  # fmt: skip
    if isinstance(result, FitError):
        raise result
    return result


def sampled_many(
    tables: Sequence[tuple[Runs, Model, int]],
    *,
    chains: int,
    warmup: int | None,
    draws: int,
    devices: Sequence[jax.Device],
    stages: Stages,
    shape: tuple[int, int] | None = None,
    threads: int = nuts.THREADS,
) -> list[Fit | FitError]:
    """Fit tables of runs: one after another on a single CPU, else in one program.

    The total seconds are divided equally among the fits.

    Parameters
    ----------
    tables : sequence of (Runs, Model, int)
        Runs, spec and seed of each fit. All specs, and all designs, have the same structure.
    chains, warmup, draws, stages
        As in :func:`fit`.
    devices : sequence of jax.Device
    shape, threads
        As in :func:`.nuts.sample`.

    Returns
    -------
    list of Fit or FitError
        By table; an error if its fit failed.

    Raises
    ------
    FitError
        If a setting is out of range.
    """
    check_settings((seed for _, _, seed in tables), chains, warmup, draws)
    made: dict[int, Fit | FitError] = {}
    with use_cache(), float64(), jax.default_device(devices[0]):
        tables = [(conformed(spec, runs), spec, seed) for runs, spec, seed in tables]
        inputs: list[Any] = [(jax.random.key(seed), design(spec, runs), spec) for runs, spec, seed in tables]
        settings: dict[str, Any] = {"chains": chains, "warmup": warmup, "draws": draws, "stages": stages}
        settings["shape"] = shape or layout([points for _, points, _ in inputs])
        for care in Care if warmup is None else (Care.USUAL,):
            now = [i for i in range(len(tables)) if _wants(made.get(i), care)]
            if not now:
                continue
            mine = [inputs[i] for i in now]
            found: Iterable[nuts.Samples | FitError]
            if isinstance(tables[0][1], CustomModel):
                own = {name: value for name, value in settings.items() if name != "shape"}
                found = (_traced(ordinary.sample, *each, **own, care=care) for each in mine)
            elif len(devices) == 1 and devices[0].platform == "cpu":
                found = (nuts.sample(*each, **settings, threads=threads, care=care) for each in mine)
            else:
                found = sample_side_by_side(mine, **settings, devices=devices, care=care)
            for i, samples in zip(now, found, strict=True):
                if isinstance(samples, FitError):
                    made[i] = samples
                    continue
                runs, spec, seed = tables[i]
                with stages("checks"):
                    made[i] = _traced(_collect, runs, spec, inputs[i][1], samples, seed)
    for fit in made.values():
        if isinstance(fit, Fit):
            fit.meta["seconds"] = {name: round(value / len(tables), 3) for name, value in stages.seconds.items()}
    return [made[i] for i in range(len(tables))]


def _traced(function: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
    """Call a function that traces a custom model: one at a time, because all threads share one stack of handlers."""
    with TRACING:
        return function(*arguments, **settings)


def _wants(fit: Fit | FitError | None, care: Care) -> bool:
    """Whether to sample a table with this care, given its result with less care."""
    if not isinstance(fit, Fit):
        return fit is None
    failed = {criterion.name for criterion in fit.convergence if not criterion.passed}
    return failed == {"divergences"} if care is Care.SMALL_STEPS else bool(failed)


def check_settings(seeds: Iterable[int], chains: int, warmup: int | None, draws: int) -> None:
    """Check the settings of fits.

    Parameters
    ----------
    seeds : iterable of int
    chains, warmup, draws
        As in :func:`fit`.

    Raises
    ------
    FitError
        If a setting is out of range, or of another type.
    """
    for name, value, least in (("chains", chains, 1), ("draws", draws, 4), ("warmup", warmup or 20, 20)):
        check_count(name, value, least, FitError)
    for seed in seeds:
        check_seed(seed, FitError)


def _collect(runs: Runs, spec: Model, points: Design, samples: nuts.Samples, seed: int) -> Fit:
    sites = {k: np.asarray(v) for k, v in samples.sites.items()}
    declared, published = declared_sites(spec, points), _published(spec, points, sites)
    posterior = {k: v for k, v in sites.items() if declared[k].kept} | published
    prior = {k: v for k, v in samples.log_prior.items() if declared[k].at_top}
    derived = [k for k in posterior if k in declared and not spec.law and not declared[k].latent]
    sorting = [column for column in spec.sorting if column in runs.frame]
    kept = dict.fromkeys((*_KEEP, *spec.columns, *spec.labels, *sorting))
    constant = {k: runs[k] for k in kept if k in runs.frame and k not in points.observed}
    constant |= {k: points.columns[k] for k in dict(spec.covariates)} | {"family": points.family}
    # A run without a value has no likelihood: ArviZ refuses one that is the same in all draws.
    seen = {k: np.flatnonzero(there) for k, there in points.present.items()} if samples.pointwise else {}
    groups = {
        "posterior": posterior,
        "sample_stats": samples.stats,
        "log_likelihood": {k: v[..., seen[k]] if k in seen else v for k, v in samples.log_likelihood.items()},
        # Power-scaling needs only the priors at the top of the hierarchy; with the families' it flags everything.
        "log_prior": prior if spec.law else {k: v.sum(axis=tuple(range(2, v.ndim))) for k, v in prior.items()},
        "observed_data": {k: np.asarray(runs[k]) for k in points.observed},
        "constant_data": constant,
    }
    dims = {k: site.dims for k, site in declared.items()} | dict.fromkeys([*samples.log_likelihood, *constant], (RUN,))
    dims |= {k: (FAMILY,) if v.ndim > 2 else () for k, v in published.items()}
    dims |= {} if spec.law else {f"log_prior/{name}": () for name in prior}
    if not samples.pointwise:
        dims |= {f"log_likelihood/{name}": (FAMILY,) for name in samples.log_likelihood}
    dims |= {f"log_likelihood/{name}": (runs_of(name),) for name in seen}
    coords: dict[str, Any] = {FAMILY: runs.families, SUITE: suites_of(spec, runs.frame), **labels_of(spec)}
    coords |= {runs_of(name): rows for name, rows in seen.items()}
    tree = to_datatree(groups, dims, coords)
    made = {"created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    inference = {"inference_library": "numpyro", "inference_library_version": version("numpyro")}
    tree["posterior"].attrs |= inference | made | {"creation_library": "bayescale"}
    how = {"seed": seed, "engine": samples.engine, "precision": str(next(iter(sites.values())).dtype)}
    return Fit(tree, spec, made | _about(runs, spec, points) | {"published": sorted([*published, *derived])} | how)


def _latent(spec: Model, runs: Runs, points: Design, draws: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Draws of the latent sites: as given, or computed from the sites that a fit keeps of pooled parameters."""
    found, lots = dict(draws), lots_of(spec, runs.frame)
    for name, way in ways_of(spec, points.families, points.lot).items():
        sites = way.sites(name)
        if all(site.name in draws for site in sites if site.latent):
            continue
        kept = {site.name: draws[site.name] for site in sites if site.kept and site.name in draws}
        if len(kept) < sum(site.kept for site in sites):
            continue  # the later error names the missing site
        ordinary.check_even(kept)
        lead = next(iter(kept.values())).shape[:2]
        flat = {key: jnp.asarray(value.reshape(-1, *value.shape[2:])) for key, value in kept.items()}
        made = way.given(name, flat, lots.get(way.name, []))
        found |= {key: np.asarray(value).reshape(*lead, *value.shape[1:]) for key, value in made.items()}
    return found


def _published(spec: Model, points: Design, sites: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Coefficients in the form in which the literature publishes them; none without a law."""
    if not spec.law:
        return {}
    law = spec.part("laws", spec.law)
    values = [sites[name] for name in law.parameters]
    wide = max((v.ndim for v in values), default=0)
    aligned = {k: v if v.ndim == wide else v[..., None] for k, v in zip(law.parameters, values, strict=True)}
    found = law.published(*(points.anchor[name] for name in spec.inputs), loss=points.anchor_loss, **aligned)
    unknown = found.keys() - law.quantities.keys()
    if unknown:
        raise DefinitionError(f"{type(law).__name__}.published and {type(law).__name__}.quantities disagree",
                              expected=f"coefficients among {sorted(law.quantities)}", got=f"{sorted(unknown)}",
                              hint="declare each coefficient in quantities, with kind, unit and meaning")  # fmt: skip
    return {k: np.asarray(v) for k, v in found.items()}


def _about(runs: Runs, spec: Model, points: Design) -> dict[str, Any]:
    """Return the fit's metadata: its runs and spec, the versions and the device."""
    return {
        "runs": runs.name,
        "runs_digest": runs.digest,
        "runs_source": {k: runs.card[k] for k in ("title", "licence", "citation") if k in runs.card},
        "runs_faults": runs.faults,
        "flops_assumed": runs.flops_assumed,
        "loss_unit_assumed": runs.loss_unit_assumed,
        "excluded": runs.excluded,
        "spec_digest": spec.digest,
        "families": runs.families,
        "anchor": {k: float(np.exp(v)) for k, v in points.anchor.items()} | {"loss": float(np.exp(points.anchor_loss))},
        "versions": {name: version(name) for name in _PACKAGES},
        "device": jax.config.jax_default_device.platform,
    }


def _spec_dict(spec: Model) -> dict[str, Any]:
    return {"name": spec.name, "title": spec.title, "learned": dict(spec.learned), **spec.to_dict()}
