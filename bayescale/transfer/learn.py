"""Learn: the priors of a family that was not seen, from families that were.

In two steps, so that any of the families can be left out at little cost. Each is fitted alone, and what
its runs say is kept as a Gaussian; then the population of families is sampled, given those.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp, softmax
from scipy.stats import norm

from bayescale.core.errors import ConvergenceWarning, RunsError, SpecError
from bayescale.inference.batch import FitOptions, fit_many
from bayescale.inference.fit import Fit
from bayescale.inference.potential import held
from bayescale.modelling.grouping import members
from bayescale.modelling.spec import Setting, Spec, Trend
from bayescale.parts.catalogue import part
from bayescale.parts.pooling.by_suite import BySuite
from bayescale.parts.priors import Prior, spread_prior
from bayescale.prediction.predict import design_at, log_draws
from bayescale.runs.splits import CHEAPEST, cut
from bayescale.runs.table import Runs
from bayescale.transfer.population import SLOPE, Evidence, population, rounded

WAY = "expanding"
"""How each family is cut, to learn from the runs beyond how wrong the law is there: near, and far."""
FEWEST_FAMILIES = 3  # families that a population can be learnt from
_MOST_VARIANCE = 0.98  # posterior variance of a prior's, at most: beyond it lies Monte Carlo error alone
_LONG_DRAWS = 16  # times the draws, of chains that do not agree: some posteriors have two modes that are seldom left
_FAR, _POINTS = 6.0, 2001  # SDs to which quadrature goes, and in how many points


class Missed(NamedTuple):
    """What a family's dearer runs say of the discrepancy that no fit informs, by a forecast from its cheaper ones.

    A Gaussian over the law's parameters, whose prior is a standard Normal, and last of how wrong the forecast is given
    them, in the discrepancy's unit: `mean` (parameter + 1,), `covariance`. `anchor` (input,) is the natural logs of
    where the parameters are read.
    """

    mean: np.ndarray
    covariance: np.ndarray
    anchor: np.ndarray

    def under(self, loc: np.ndarray, scale: np.ndarray) -> tuple[float, float]:
        """Return how wrong the forecast is, and its own SD, where the parameters' prior has another place."""
        known, mean = self.covariance[:-1, :-1], self.mean[:-1]
        inverse = _precision(known)
        tighter = np.linalg.inv(inverse - np.eye(mean.size) + np.diag(scale**-2.0))
        moved = tighter @ (inverse @ mean + loc / scale**2) - mean
        gain = np.linalg.solve(known, self.covariance[:-1, -1])
        variance = self.covariance[-1, -1] + gain @ (tighter - known) @ gain
        return self.mean[-1] + gain @ moved, np.sqrt(variance)


@dataclass(frozen=True, eq=False)
class Learner:
    """Families fitted alone under a spec with wide priors; made by :func:`study`.

    Attributes
    ----------
    runs : Runs
        Their runs.
    base : Spec
        The spec with the priors before.
    families : tuple of str
        Those that could be fitted.
    evidence : Evidence
        Of the parameters that are learnt, in the order of `families`.
    misses : dict of tuple of Missed
        Of the discrepancy that no fit informs, by family: one for each cut of it. Empty if the spec has none.
    left_out : dict
        Families, and cuts of them, that could not be fitted or whose chains do not agree, and why.
    seed : int
        Of the fits, and of the chains that populations are sampled by.
    """

    runs: Runs
    base: Spec
    families: tuple[str, ...]
    evidence: Evidence
    misses: dict[str, tuple[Missed, ...]]
    left_out: dict[str, str]
    seed: int

    def learn(self, without: Sequence[Collection[str]] = ((),)) -> list[Spec]:
        """Specs with the priors learnt on the families, each without some of them.

        What a family says is found under the priors before, which know no family: to leave one out is to
        leave out what it said.

        Parameters
        ----------
        without : sequence of collections of str
            Families to leave out, one collection a spec.

        Raises
        ------
        RunsError
            If fewer than three families are left.
        FitError
            If the chains that sample the population of those that are left do not agree.
        """
        left = [frozenset(names) & set(self.families) for names in without]
        law = cache(self._law)
        known = {out: self._with_discrepancy(law, out) for out in set(left)}
        return [known[out] for out in left]

    def _with_discrepancy(self, law: Callable[[frozenset[str]], Spec], out: frozenset[str]) -> Spec:
        """Return `law` learnt without some families; beyond runs it is wrong as their forecasts under it are.

        Each family's forecast is under a law that was learnt without it.
        """
        learnt = law(out)
        kept = {name: own for name, own in self.misses.items() if name not in out}
        if len(kept) < FEWEST_FAMILIES:
            return learnt
        missed = [self._missed(law, one, out | {name}) for name, own in kept.items() for one in own]
        # The cuts of a family say much the same: together they count as one forecast.
        weights = np.concatenate([np.full(len(own), 1 / len(own)) for own in kept.values()])
        beyond = _beyond(self.base)
        return learnt.with_prior(**{beyond: _as_wide_as(self.base.parameters[beyond], np.array(missed), weights)})

    def _missed(
        self, law: Callable[[frozenset[str]], Spec], missed: Missed, out: frozenset[str]
    ) -> tuple[float, float]:
        few = len(set(self.families) - out) < FEWEST_FAMILIES
        spec = self.base if few else law(out)
        places = spec.places(dict(zip(spec.inputs, missed.anchor, strict=True)))
        before = [(places[name], self.base.parameters[name].prior) for name in _learned(self.base)]
        moved = [((loc - prior.loc) / prior.scale, scale / prior.scale) for (loc, scale), prior in before]
        return missed.under(*np.array(moved).T)

    def _law(self, out: frozenset[str]) -> Spec:
        """Return the spec with the law's priors learnt without some families."""
        kept = np.array([name not in out for name in self.families], float)
        if kept.sum() < FEWEST_FAMILIES:
            raise RunsError(
                "too few families to learn priors from",
                wanted=f"at least {FEWEST_FAMILIES} besides those left out",
                came=", ".join(name for name in self.families if name not in out) or "none",
            )
        settings = {name: self.base.parameters[name] for name in _learned(self.base)}
        moving = [] if self.base.anchor else [name for name in settings if self.base.table[name].at_anchor]
        reference = [rounded(x) for x in np.exp(self.evidence.anchors[kept > 0].mean(axis=0))] if moving else ()
        found = population(settings, self.evidence, kept, moving, np.log(reference), self.seed)
        trends = {name: _trend(self.base.inputs, *own) for name, own in found.trends.items()}
        learnt = self.base.with_prior(**found.priors)
        placed = tuple((name, _placed(s, trends.get(name), found.spreads.get(name))) for name, s in learnt.settings)
        return replace(
            learnt,
            name=f"{self.base.name}-learned",
            title=self.base.title,
            settings=placed,
            learned=(("model", self.base.name), ("population", found.verdict), ("runs", self.runs.name)),
            reference=tuple(zip(self.base.inputs, reference, strict=False)),
            range=self._range(out) if moving else (),
        )

    def _range(self, out: frozenset[str]) -> tuple[tuple[str, tuple[float, float]], ...]:
        """Least and largest inputs of the anchors at which families' priors were read: of families, and of their cuts.

        Those of families lie at their smallest runs: without the cuts the families' own fits would be out of range.
        """
        anchors = [own for name, own in zip(self.families, self.evidence.anchors, strict=True) if name not in out]
        anchors += [one.anchor for name, own in self.misses.items() if name not in out for one in own]
        ends = np.exp([np.min(anchors, axis=0), np.max(anchors, axis=0)]).T
        return tuple((column, (rounded(low), rounded(high)))
                     for column, (low, high) in zip(self.base.inputs, ends, strict=True))  # fmt: skip


def learn(
    runs: Runs,
    base: Spec,
    without: Collection[str] = (),
    *,
    seed: int = 0,
    chains: int = 4,
    warmup: int | None = None,
    draws: int = 1000,
    device: str = "auto",
    progress: bool | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    folder: str | Path | None = None,
) -> Spec:
    """Return a spec with priors learnt on families, as :func:`study` and :meth:`Learner.learn` do.

    Parameters
    ----------
    runs : Runs
        At least three families.
    base : Spec
        A spec with wide priors and without pooling (``coupled-unpooled`` is shipped).
    without : collection of str
        Families to leave out.
    seed, chains, warmup, draws, device, progress, workers, scheduler, folder
        As in :func:`fit_many`; the seed is also that of the population that is then learnt.

    Returns
    -------
    Spec

    Examples
    --------
    >>> spec = learn(load_runs("open-families"), load_spec("coupled-unpooled"))  # doctest: +SKIP
    """
    found = study(
        runs, base, seed=seed, chains=chains, warmup=warmup, draws=draws, device=device, progress=progress,
        workers=workers, scheduler=scheduler, folder=folder,
    )  # fmt: skip
    return found.learn([without])[0]


def study(
    runs: Runs,
    base: Spec,
    *,
    seed: int = 0,
    chains: int = 4,
    warmup: int | None = None,
    draws: int = 1000,
    device: str = "auto",
    progress: bool | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    folder: str | Path | None = None,
) -> Learner:
    """Fit each family alone, under priors wide enough that its own runs speak.

    Chains that do not agree are drawn sixteen times as long, and nothing is learnt from those that do not agree then.

    Parameters
    ----------
    runs : Runs
        Several families.
    base : Spec
        A spec without pooling.
    seed, chains, warmup, draws, device, progress, workers, scheduler, folder
        As in :func:`fit_many`; the seed is also that of the population that is then learnt.

    Returns
    -------
    Learner

    Raises
    ------
    RunsError
        If fewer than three families can be fitted, and their chains agree.
    SpecError
        If the spec pools.
    """
    if base.reference:
        raise SpecError(f"the priors of {base.name!r} move with the anchor, as those that were learnt do",
                        do="learn from the spec whose priors came before, or one of your own like it")  # fmt: skip
    pooled = [name for name, setting in base.settings if setting.pooling != "none"]
    if pooled:
        raise SpecError(
            f"priors are learnt from families fitted alone, and {base.name!r} pools",
            wanted='pooling = {default = "none"}',
            came=", ".join(pooled),
            do="learn from coupled-unpooled, or a spec of your own like it",
        )
    how = FitOptions(chains, warmup, draws, device, workers, scheduler, folder)
    plain = _without_discrepancy(base, base.discrepancy)
    tables = {name: runs.where(family=name) for name in runs.families}
    specs = {name: _anchored(plain, table) for name, table in tables.items()}
    fits, left_out = _converged(tables, specs, how, seed=seed, progress=progress)
    if len(fits) < FEWEST_FAMILIES:
        raise RunsError(
            "too few families to learn priors from",
            wanted=f"at least {FEWEST_FAMILIES} that can be fitted alone",
            came="; ".join(f"{name}: {why}" for name, why in left_out.items()) or str(len(fits)),
        )
    families = tuple(fits)
    suites = members(BySuite(), runs.where(family=list(families)).frame)
    misses, unread = _forecasts(runs, base, families, how, seed=seed, progress=progress)
    return Learner(
        runs=runs,
        base=base,
        families=families,
        evidence=_evidence([*fits.values()], _learned(base), suites),
        misses=misses,
        left_out=left_out | unread,
        seed=seed,
    )


def _converged(
    tables: Mapping[str, Runs], specs: Mapping[str, Spec], how: FitOptions, *, seed: int, progress: bool | None
) -> tuple[dict[str, Fit], dict[str, str]]:
    """Fits whose chains agree, long ones if need be; and why other tables have none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # those that do not agree in the end are told
        batch = fit_many(tables, specs, seed=seed, progress=progress, longer=_LONG_DRAWS, **vars(how))
    return {name: fit for name, fit in batch.fits.items() if fit.converged}, batch.problems


def _forecasts(
    runs: Runs, base: Spec, families: Sequence[str], how: FitOptions, *, seed: int, progress: bool | None
) -> tuple[dict[str, tuple[Missed, ...]], dict[str, str]]:
    """What the dearer runs of each family say of the discrepancy beyond those that are fitted; and why cuts do not."""
    beyond = _uninformed(base)
    cuts = {found.name: found for found in cut(runs, WAY)[0] if found.family in families}
    if not beyond or not cuts:
        return {}, {}
    tables = {name: runs.take(found.train) for name, found in cuts.items()}
    specs = dict.fromkeys(tables, _without_discrepancy(base, beyond))
    fits, left_out = _converged(tables, specs, how, seed=seed, progress=progress)
    misses: dict[str, tuple[Missed, ...]] = {}
    for name, fit in fits.items():
        family, test = cuts[name].family, cuts[name].test
        misses[family] = (*misses.get(family, ()), _misses(fit, runs.take(test), base))
    return misses, left_out


def _placed(setting: Setting, trend: Trend | None, spread: float | None) -> Setting:
    """Return a setting whose prior was learnt; where suites of families have a spread, they share it."""
    if spread is None:
        return replace(setting, trend=trend)
    return replace(setting, trend=trend, spread=spread, pooling=BySuite.name)


def _trend(inputs: Sequence[str], slopes: np.ndarray, covariance: np.ndarray) -> Trend:
    tidy = np.vectorize(rounded)
    covariances = tuple(map(tuple, tidy(covariance).tolist()))
    return Trend(tuple(zip(inputs, tidy(slopes).tolist(), strict=True)), covariances, SLOPE)


def _learned(base: Spec) -> list[str]:
    """Parameters whose priors are learnt from whole families: those of the law, and of the noise if it is alone.

    A discrepancy's scales keep the prior that they have, and so does noise beside errors that runs share. Families
    differ in them by more than an e-fold, and a prior that wide makes a funnel that chains do not explore. What a
    family's own runs tell, whoever the others are, keeps its prior too.
    """
    kept = (
        held(base)
        .union(name for name, row in base.table.items() if row.own)
        .union(*(part("discrepancies", of).parameters for of in base.discrepancy))
    )
    return [name for name, _ in base.settings if name not in kept]


def _uninformed(base: Spec) -> tuple[str, ...]:
    """Discrepancies that no run that is fitted says anything of, and of one parameter, which can be learnt."""
    found = [(name, part("discrepancies", name)) for name in base.discrepancy]
    return tuple(name for name, of in found if not of.informed and len(of.parameters) == 1)


def _beyond(base: Spec) -> str:
    """The parameter of the discrepancy that no run that is fitted says anything of."""
    (parameter,) = part("discrepancies", _uninformed(base)[0]).parameters
    return parameter


def _without_discrepancy(spec: Spec, without: Collection[str]) -> Spec:
    own = [name for of in without for name in part("discrepancies", of).parameters]
    kept = tuple((name, setting) for name, setting in spec.settings if name not in own)
    return replace(
        spec,
        settings=kept,
        discrepancy=tuple(name for name in spec.discrepancy if name not in without),
        fields=tuple((name, fields) for name, fields in spec.fields if name not in without),
    )


def _anchored(spec: Spec, runs: Runs) -> Spec:
    """Return the spec with its anchor amid a family's cheapest runs, where a new family has its first ones.

    A term's share of the loss falls towards dearer runs: amid all of them it would be too small a prior. An anchor that
    the spec names stays, and what is learnt is learnt there.
    """
    if spec.anchor:
        return spec
    cheaper = runs.take(np.argsort(runs["flops"], kind="stable")[:CHEAPEST])
    columns = [*spec.inputs, "loss"]
    means = [*(np.exp(np.log(cheaper[name]).mean()) for name in spec.inputs), np.median(cheaper["loss"])]
    return replace(spec, anchor=tuple(zip(columns, map(float, means), strict=True)))


def _evidence(fits: Sequence[Fit], names: Sequence[str], suites: np.ndarray) -> Evidence:
    """What each family's runs say of some parameters, as the Gaussian that takes the prior to the posterior."""
    draws = [_coordinates(fit, names) for fit in fits]
    precision = [_precision(np.cov(own.T)) for own in draws]
    information = [of @ own.mean(axis=0) for of, own in zip(precision, draws, strict=True)]
    anchors = np.stack([_anchor(fit) for fit in fits])
    return Evidence(np.stack(precision) - np.eye(len(names)), np.stack(information), anchors, suites)


def _precision(covariance: np.ndarray) -> np.ndarray:
    """Inverse of a posterior's covariance, whose prior's is the identity."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors / np.minimum(values, _MOST_VARIANCE) @ vectors.T


def _anchor(fit: Fit) -> np.ndarray:
    return np.log([fit.meta["anchor"][column] for column in fit.spec.inputs])


def _coordinates(fit: Fit, names: Sequence[str]) -> np.ndarray:
    """Draws of parameters in Gaussian coordinates where their prior is a standard Normal; shape (draw, parameter)."""
    columns = []
    for name in names:
        prior = fit.spec.parameters[name].prior
        with jax.enable_x64(True):
            coordinate = np.asarray(prior.transform.inv(jnp.asarray(fit.posterior[name].to_numpy().ravel())))
        columns.append((coordinate - prior.loc) / prior.scale)
    return np.stack(columns, axis=1)


def _misses(fit: Fit, runs: Runs, base: Spec) -> Missed:
    """What a family's dearer runs say of its discrepancy, which is linear in its parameter: a miss is a slope."""
    parameter, discrepancy = _beyond(base), base.part("discrepancies", _uninformed(base)[0])
    with jax.enable_x64(True):
        basis = design_at(replace(fit, spec=base), runs.frame, {}).basis[discrepancy.name]
        unit = np.asarray(discrepancy.shift(basis, None, **{parameter: 1.0}))
    draws = log_draws(fit, runs.frame, seed=fit.meta["seed"])
    missed = (np.log(runs["loss"]) - draws) @ unit / (unit @ unit)
    joint = np.column_stack([_coordinates(fit, _learned(base)), missed])
    return Missed(joint.mean(axis=0), np.cov(joint.T), _anchor(fit))


def _as_wide_as(setting: Setting, missed: np.ndarray, weights: np.ndarray) -> Prior:
    """Return the prior as wide as misses (cut, mean and SD) of some weights scatter about its median, by quadrature."""
    prior, wide = setting.prior, spread_prior(setting.spread)
    at = np.linspace(-_FAR, _FAR, _POINTS)
    normal = np.exp(-(at**2) / 2) / np.exp(-(at**2) / 2).sum()
    mean, sd = missed.T[:, :, None]
    scales, likely = np.exp(wide.loc + wide.scale * at[:: _POINTS // 100]), []
    with jax.enable_x64(True):
        for scale in scales:
            values = np.asarray(prior.placed((prior.loc, scale)).transform(prior.loc + scale * at))
            likely.append(weights @ logsumexp(norm.logpdf(mean, values, sd), axis=1, b=normal))
    posterior = softmax(np.array(likely) + norm.logpdf(at[:: _POINTS // 100]))
    # The mean square: what is not known of the width is part of the prior.
    return replace(prior, scale=rounded(float(np.sqrt(posterior @ scales**2))))
