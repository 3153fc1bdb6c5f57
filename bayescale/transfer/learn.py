"""Learn: the priors of a new family, from the runs of other families.

There are two steps, so that leaving out families costs little. First, each family is fitted alone, and its likelihood
is kept as a Gaussian. Then the population of families is sampled given these Gaussians.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp, softmax
from scipy.stats import norm

from bayescale.core.errors import ConvergenceWarning, RunsError, SpecError
from bayescale.core.precision import float64
from bayescale.inference.batch import FitOptions, fit_many
from bayescale.inference.fit import Fit
from bayescale.inference.potential import held
from bayescale.modelling.design import conformed
from bayescale.modelling.grouping import members
from bayescale.modelling.spec import Setting, Spec, Trend
from bayescale.parts.catalogue import part
from bayescale.parts.pooling.by_suite import BySuite
from bayescale.parts.priors import Prior, spread_prior
from bayescale.prediction.predict import design_at, scored_draws
from bayescale.runs.splits import SMALLEST, cut
from bayescale.runs.table import Runs
from bayescale.transfer.population import SLOPE, Evidence, population, rounded

WAY = "expanding"
"""How each family is cut, to learn from the runs beyond each cut how wrong the law is there, near and far."""
FEWEST_FAMILIES = 3  # smallest number of families that a population can be learned from
_MOST_VARIANCE = 0.98  # largest ratio of posterior to prior variance: above it is Monte Carlo error
_LONG_DRAWS = 16  # factor for the draws if chains do not agree: some posteriors have two modes that chains rarely leave
_FAR, _POINTS = 6.0, 2001  # range of the quadrature in SDs, and its number of points


class Missed(NamedTuple):
    """What a family's larger-compute runs say about the discrepancy that no fitted run informs.

    It is a Gaussian over the parameters of the law, whose prior is a standard Normal, followed by the error of a
    forecast from the family's smaller-compute runs, in units of the discrepancy.

    Attributes
    ----------
    mean : ndarray, shape (parameter + 1,)
    covariance : ndarray, shape (parameter + 1, parameter + 1)
    anchor : ndarray, shape (input,)
        Natural logs of the inputs at which the parameters are read.
    """

    mean: np.ndarray
    covariance: np.ndarray
    anchor: np.ndarray

    def under(self, loc: np.ndarray, scale: np.ndarray) -> tuple[float, float]:
        """Return the error of the forecast and its SD under another prior of the parameters.

        Parameters
        ----------
        loc, scale : ndarray, shape (parameter,)
            Location and scale of the other prior, in units of the first one.

        Returns
        -------
        (float, float)
            Error and its SD.
        """
        known, mean = self.covariance[:-1, :-1], self.mean[:-1]
        inverse = _precision(known)
        tighter = np.linalg.inv(inverse - np.eye(mean.size) + np.diag(scale**-2.0))
        moved = tighter @ (inverse @ mean + loc / scale**2) - mean
        gain = np.linalg.solve(known, self.covariance[:-1, -1])
        variance = self.covariance[-1, -1] + gain @ (tighter - known) @ gain
        return self.mean[-1] + gain @ moved, np.sqrt(variance)


@dataclass(frozen=True, eq=False)
class Learner:
    """Families that are fitted alone under a spec with wide priors, made by :func:`study`.

    Attributes
    ----------
    runs : Runs
        Runs of the families.
    base : Spec
        The spec with wide priors.
    families : tuple of str
        Families that could be fitted.
    evidence : Evidence
        Evidence on the learned parameters, in the order of `families`.
    misses : dict of tuple of Missed
        Evidence on the discrepancy that no fitted run informs, by family, with one entry for each cut. Empty if the
        spec has no such discrepancy.
    left_out : dict
        Families and cuts that could not be fitted, or whose chains do not agree, with the reason.
    seed : int
        Random seed of the fits, and of the chains that sample populations.
    """

    runs: Runs
    base: Spec
    families: tuple[str, ...]
    evidence: Evidence
    misses: dict[str, tuple[Missed, ...]]
    left_out: dict[str, str]
    seed: int

    def learn(self, without: Sequence[Collection[str]] = ((),)) -> list[Spec]:
        """Return specs with priors learned from the families, each spec without some of them.

        The evidence of a family is found under wide priors, which do not depend on any family. To leave out a family,
        it is therefore enough to leave out its evidence.

        Parameters
        ----------
        without : sequence of collections of str
            Families to leave out, one collection for each spec.

        Returns
        -------
        list of Spec

        Raises
        ------
        RunsError
            If fewer than three families remain.
        FitError
            If the chains that sample the population of the remaining families do not agree.
        """
        left = [frozenset(names) & set(self.families) for names in without]
        law = cache(self._law)
        known = {out: self._with_discrepancy(law, out) for out in set(left)}
        return [known[out] for out in left]

    def _with_discrepancy(self, law: Callable[[frozenset[str]], Spec], out: frozenset[str]) -> Spec:
        """Return the spec learned without some families, with a prior of the discrepancy beyond the runs.

        That prior is as wide as the errors of forecasts of each remaining family, under a law that is learned without
        that family's suite.
        """
        learned = law(out)
        kept = {name: own for name, own in self.misses.items() if name not in out}
        if len(kept) < FEWEST_FAMILIES:
            return learned
        missed = [self._missed(law, one, out | self._suite(name)) for name, own in kept.items() for one in own]
        # The cuts of a family have correlated errors, so that together they count as one forecast.
        weights = np.concatenate([np.full(len(own), 1 / len(own)) for own in kept.values()])
        beyond = _beyond(self.base)
        return learned.with_prior(**{beyond: _as_wide_as(self.base.parameters[beyond], np.array(missed), weights)})

    def _suite(self, name: str) -> frozenset[str]:
        """Return the families of the suite of a family, with the family itself."""
        suites, own = self.evidence.suites, self.families.index(name)
        shared = suites[:, own] @ suites if suites.size else np.zeros(len(self.families))
        return frozenset(mate for mate, one in zip(self.families, shared, strict=True) if one) | {name}

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
        """Return the spec with the priors of the law learned without some families."""
        kept = np.array([name not in out for name in self.families], float)
        if kept.sum() < FEWEST_FAMILIES:
            raise RunsError(
                "too few families to learn priors from",
                expected=f"at least {FEWEST_FAMILIES} in addition to the families that are left out",
                got=", ".join(name for name in self.families if name not in out) or "none",
            )
        settings = {name: self.base.parameters[name] for name in _learned(self.base)}
        moving = [] if self.base.anchor else [name for name in settings if self.base.table[name].at_anchor]
        reference = [rounded(x) for x in np.exp(self.evidence.anchors[kept > 0].mean(axis=0))] if moving else ()
        found = population(settings, self.evidence, kept, moving, np.log(reference), self.seed)
        trends = {name: _trend(self.base.inputs, *own) for name, own in found.trends.items()}
        learned = self.base.with_prior(**found.priors)
        # Families of a suite share the form of the law too, as nearly as the base spec says of families.
        forms = {name: self.base.parameters[name].spread for name in _forms(self.base) if found.spreads}
        near = found.spreads | forms
        placed = tuple((name, _placed(s, trends.get(name), near.get(name))) for name, s in learned.settings)
        return replace(
            learned,
            name=f"{self.base.name}-learned",
            title=self.base.title,
            settings=placed,
            learned=(("model", self.base.name), ("population", found.verdict), ("runs", self.runs.name)),
            reference=tuple(zip(self.base.inputs, reference, strict=False)),
            range=self._range(out) if moving else (),
        )

    def _range(self, out: frozenset[str]) -> tuple[tuple[str, tuple[float, float]], ...]:
        """Return the smallest and largest inputs of the anchors at which priors were read, for families and their cuts.

        The anchors of families lie at their smallest runs. Without the cuts, fits of the same families to all their
        runs would be out of range.
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
    """Return a spec with priors learned from families, by :func:`study` and :meth:`Learner.learn`.

    Parameters
    ----------
    runs : Runs
        Runs of at least three families.
    base : Spec
        A spec with wide priors and without pooling, such as the built-in ``coupled-unpooled``.
    without : collection of str
        Families to leave out.
    seed, chains, warmup, draws, device, progress, workers, scheduler, folder
        As in :func:`fit_many`; the seed is also that of the population.

    Returns
    -------
    Spec

    Raises
    ------
    RunsError
        If fewer than three families remain that can be fitted.
    SpecError
        If the spec pools, or its own priors were learned.
    FitError
        If the chains that sample the population do not agree.

    Examples
    --------
    >>> spec = bs.learn(bs.load_runs("open-families"), bs.load_spec("coupled-unpooled"))  # doctest: +SKIP
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
    """Fit each family alone, under priors so wide that the posterior depends on its own runs.

    Where chains do not agree, the fit is repeated with sixteen times as many draws. Nothing is learned from fits whose
    chains still do not agree.

    Parameters
    ----------
    runs : Runs
        Runs of several families.
    base : Spec
        A spec without pooling.
    seed, chains, warmup, draws, device, progress, workers, scheduler, folder
        As in :func:`fit_many`; the seed is also that of the population.

    Returns
    -------
    Learner

    Raises
    ------
    RunsError
        If there are fewer than three families that can be fitted and whose chains agree.
    SpecError
        If the spec pools, or its own priors were learned.
    """
    if not isinstance(base, Spec):
        raise SpecError(f"priors cannot be learned for {base.name!r}", expected="a spec of parts", got="a custom model")
    runs = conformed(base, runs)
    if base.reference:
        raise SpecError(f"the priors of {base.name!r} were learned: they move with the anchor",
                        hint="learn from a spec with wide priors, such as coupled-unpooled")  # fmt: skip
    pooled = [name for name, setting in base.settings if setting.pooling != "none"]
    if pooled:
        raise SpecError(
            f"priors are learned from families that are fitted alone, and {base.name!r} pools",
            expected='pooling = {default = "none"}',
            got=", ".join(pooled),
            hint="learn from coupled-unpooled, or from a similar spec of your own",
        )
    how = FitOptions(chains, warmup, draws, device, workers, scheduler, folder)
    plain = _without_discrepancy(base, base.discrepancy)
    tables = {name: runs.where(family=name) for name in runs.families}
    specs = {name: _anchored(plain, table) for name, table in tables.items()}
    fits, left_out = _converged(tables, specs, how, seed=seed, progress=progress)
    if len(fits) < FEWEST_FAMILIES:
        raise RunsError(
            "too few families to learn priors from",
            expected=f"at least {FEWEST_FAMILIES} that can be fitted alone",
            got="; ".join(f"{name}: {why}" for name, why in left_out.items()) or str(len(fits)),
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
    """Return fits whose chains agree, with more draws where necessary, and the reasons why other tables have none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the result names fits that do not converge in the end
        batch = fit_many(tables, specs, seed=seed, progress=progress, longer=_LONG_DRAWS, **vars(how))
    return {name: fit for name, fit in batch.fits.items() if fit.converged}, batch.problems


def _forecasts(
    runs: Runs, base: Spec, families: Sequence[str], how: FitOptions, *, seed: int, progress: bool | None
) -> tuple[dict[str, tuple[Missed, ...]], dict[str, str]]:
    """Return what runs beyond each cut say about the discrepancy, by family, and the reasons why other cuts do not."""
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
    """Return a setting with a learned prior, pooled by suite if the families of a suite have a spread."""
    if spread is None:
        return replace(setting, trend=trend)
    return replace(setting, trend=trend, spread=spread, pooling=BySuite.name)


def _trend(inputs: Sequence[str], slopes: np.ndarray, covariance: np.ndarray) -> Trend:
    tidy = np.vectorize(rounded)
    covariances = tuple(map(tuple, tidy(covariance).tolist()))
    return Trend(tuple(zip(inputs, tidy(slopes).tolist(), strict=True)), covariances, SLOPE)


def _learned(base: Spec) -> list[str]:
    """Return the parameters with learned priors: those of the law, and of the noise if there is no discrepancy.

    Scales of a discrepancy keep their priors, and so does noise in addition to errors that runs share. Families differ
    in these by more than an e-fold, and so wide a prior makes a funnel that chains do not explore. Parameters that the
    runs of each family determine by themselves keep their priors too, and so does the form of the law.
    """
    kept = (
        held(base)
        .union(name for name, row in base.table.items() if row.own)
        .union(_forms(base))
        .union(*(part("discrepancies", of).parameters for of in base.discrepancy))
    )
    return [name for name, _ in base.settings if name not in kept]


def _forms(base: Spec) -> tuple[str, ...]:
    return base.part("laws", base.law).forms


def _uninformed(base: Spec) -> tuple[str, ...]:
    """Return the discrepancies that no fitted run informs, and that have one parameter, which can be learned."""
    found = [(name, part("discrepancies", name)) for name in base.discrepancy]
    return tuple(name for name, of in found if not of.informed and len(of.parameters) == 1)


def _beyond(base: Spec) -> str:
    """Return the parameter of the discrepancy that no fitted run informs."""
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
    """Return the spec with its anchor at the mean of the smallest-compute runs, which a new family has first.

    The share of a term in the loss is smaller for larger-compute runs, so that an anchor at the mean of all runs would
    give too small a prior. If the spec names an anchor, it is kept, and priors are learned there.
    """
    if spec.anchor:
        return spec
    smaller = runs.take(np.argsort(runs.size, kind="stable")[:SMALLEST])
    columns = [*spec.inputs, "loss"]
    means = [*(np.exp(np.log(smaller[name]).mean()) for name in spec.inputs), np.median(smaller["loss"])]
    return replace(spec, anchor=tuple(zip(columns, map(float, means), strict=True)))


def _evidence(fits: Sequence[Fit], names: Sequence[str], suites: np.ndarray) -> Evidence:
    """Return the likelihood of each family's runs, as the Gaussian that updates the prior to the posterior."""
    draws = [_coordinates(fit, names) for fit in fits]
    precision = [_precision(np.cov(own.T)) for own in draws]
    information = [of @ own.mean(axis=0) for of, own in zip(precision, draws, strict=True)]
    anchors = np.stack([_anchor(fit) for fit in fits])
    return Evidence(np.stack(precision) - np.eye(len(names)), np.stack(information), anchors, suites)


def _precision(covariance: np.ndarray) -> np.ndarray:
    """Return the inverse of the covariance of a posterior whose prior has covariance one."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors / np.minimum(values, _MOST_VARIANCE) @ vectors.T


def _anchor(fit: Fit) -> np.ndarray:
    return np.log([fit.meta["anchor"][column] for column in fit.spec.inputs])


def _coordinates(fit: Fit, names: Sequence[str]) -> np.ndarray:
    """Return draws in the coordinates in which the prior is a standard Normal; shape (draw, parameter)."""
    columns = []
    for name in names:
        prior = fit.spec.parameters[name].prior
        with float64():
            coordinate = np.asarray(prior.transform.inv(jnp.asarray(fit.posterior[name].to_numpy().ravel())))
        columns.append((coordinate - prior.loc) / prior.scale)
    return np.stack(columns, axis=1)


def _misses(fit: Fit, runs: Runs, base: Spec) -> Missed:
    """Return what runs beyond a cut say about the discrepancy. It is linear in its parameter: the error is a slope."""
    parameter, discrepancy = _beyond(base), base.part("discrepancies", _uninformed(base)[0])
    with float64():
        basis = design_at(replace(fit, spec=base), runs.frame, {}).basis[discrepancy.name]
        unit = np.asarray(discrepancy.shift(basis, None, **{parameter: 1.0}))
    draws = scored_draws(fit, runs.frame, seed=fit.meta["seed"], response="loss")
    missed = (np.log(runs["loss"]) - draws) @ unit / (unit @ unit)
    joint = np.column_stack([_coordinates(fit, _learned(base)), missed])
    return Missed(joint.mean(axis=0), np.cov(joint.T), _anchor(fit))


def _as_wide_as(setting: Setting, missed: np.ndarray, weights: np.ndarray) -> Prior:
    """Return the prior as wide as weighted errors (cut, mean and SD) scatter about its median, by quadrature."""
    prior, wide = setting.prior, spread_prior(setting.spread)
    at = np.linspace(-_FAR, _FAR, _POINTS)
    normal = np.exp(-(at**2) / 2) / np.exp(-(at**2) / 2).sum()
    mean, sd = missed.T[:, :, None]
    scales, likely = np.exp(wide.loc + wide.scale * at[:: _POINTS // 100]), []
    with float64():
        for scale in scales:
            values = np.asarray(prior.placed((prior.loc, scale)).transform(prior.loc + scale * at))
            likely.append(weights @ logsumexp(norm.logpdf(mean, values, sd), axis=1, b=normal))
    posterior = softmax(np.array(likely) + norm.logpdf(at[:: _POINTS // 100]))
    # The mean square, so that uncertainty of the width is part of the prior.
    return replace(prior, scale=rounded(float(np.sqrt(posterior @ scales**2))))
