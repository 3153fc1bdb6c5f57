"""Populate: how families and suites of them scatter about a middle, which moves with where they are read.

From what each family's own runs say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax import Array
from numpyro import distributions as dist
from numpyro.infer import MCMC, NUTS

from bayescale.core.dims import to_datatree
from bayescale.core.errors import FitError
from bayescale.inference.diagnostics import Criterion, criteria, summarised
from bayescale.modelling.spec import Setting
from bayescale.parts.priors import Prior, spread_prior

CHAINS = 4
_WARMUP, _DRAWS = 250, 750  # of each chain
_LONGER = 4  # times the draws, of chains that do not agree
SLOPE = 0.35
"""Prior SD of trends, about an exponent: by so much a family's own term grows towards a smaller anchor."""


class Evidence(NamedTuple):
    """What families' runs say of some parameters, whose prior is a standard Normal: likelihoods as Gaussians.

    Shapes: `precision` (family, parameter, parameter), `information` (family, parameter) its product with the mean,
    `anchors` (family, input) the natural logs of where the parameters are read. `suites` (suite, family) says which
    are of one suite; no row where each is of its own.
    """

    precision: np.ndarray
    information: np.ndarray
    anchors: np.ndarray
    suites: np.ndarray = np.zeros((0, 0))


@dataclass(frozen=True, eq=False)
class Population:
    """What is known of a family that was not seen, parameter by parameter.

    Attributes
    ----------
    priors : dict of Prior
        Of every parameter, at the reference.
    trends : dict of (ndarray, ndarray)
        Of those that move with the anchor: slopes in the inputs, and their covariance.
    spreads : dict of float
        Between families of one suite, in the priors' Gaussian coordinates; empty where no suite has several.
    verdict : str
        What the chains behind it reached.
    """

    priors: dict[str, Prior]
    trends: dict[str, tuple[np.ndarray, np.ndarray]]
    spreads: dict[str, float]
    verdict: str


class _Draws(NamedTuple):
    """Draws of a population, shapes (chain, draw, …): what is sampled, and Gaussians of the rest given that.

    `spread` (…, parameter) is sampled, and `within` (…,) if there are suites. `precision` (…, coefficient, coefficient)
    and `information` (…, coefficient) are of the middles and trends given these. `stats` are of the sampler, by name.
    """

    spread: np.ndarray
    within: np.ndarray | None
    precision: np.ndarray
    information: np.ndarray
    stats: dict[str, np.ndarray]

    def criteria(self, names: Sequence[str]) -> list[Criterion]:
        """What the chains must reach, as those of a fit."""
        scalars = {f"spread[{name}]": self.spread[..., i] for i, name in enumerate(names)}
        scalars |= {} if self.within is None else {"within": self.within}
        tree = to_datatree({"posterior": scalars, "sample_stats": self.stats}, {}, {})
        return criteria(tree, summarised(tree["posterior"].to_dataset()))

    def coefficients(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance of middles and trends: exact given what is sampled, so that only that has an error."""
        covariance = np.linalg.inv(self.precision.reshape(-1, *self.precision.shape[-2:]))
        information = self.information.reshape(len(covariance), -1)
        means = np.einsum("dij,dj->di", covariance, information)
        return means.mean(axis=0), covariance.mean(axis=0) + np.cov(means.T)


def population(
    settings: Mapping[str, Setting],
    evidence: Evidence,
    weights: np.ndarray,
    moving: Sequence[str],
    reference: np.ndarray,
    seed: int = 0,
) -> Population:
    """Priors of a family not seen, from the evidence of others.

    Four chains, drawn four times as long where they do not agree.

    Parameters
    ----------
    settings : mapping of Setting
        The parameters that the evidence is of, in its order, with the priors before.
    evidence : Evidence
        What each family's runs say.
    weights : ndarray, shape (family,)
        How much each counts: 0, not at all.
    moving : sequence of str
        Parameters that move with the anchor, and hold at the reference.
    reference : ndarray, shape (input,)
        Natural logs of the inputs there; not read where none is moving.
    seed : int
        Of the chains.

    Returns
    -------
    Population

    Raises
    ------
    FitError
        If the chains do not agree, even when they are longer.
    """
    draws, verdict = _agreeing(settings, _arguments(settings, evidence, weights, moving, reference), seed)
    names, prior = list(settings), {name: setting.prior for name, setting in settings.items()}
    mean, covariance = draws.coefficients()
    spread = draws.spread.reshape(-1, len(names))
    # Mean and variance of the population's predictive: what is not known of it is part of the prior.
    width = np.sqrt(np.diag(covariance)[: len(names)] + (spread**2).mean(axis=0))
    moved = {name: prior[name].moved(prior[name].loc + prior[name].scale * at, prior[name].scale * wide)
             for name, at, wide in zip(names, mean[: len(names)], width, strict=True)}  # fmt: skip
    trends = {}
    for k, name in enumerate(moving):
        own, scale = slice(len(names) + k, None, len(moving)), prior[name].scale
        trends[name] = scale * mean[own], scale**2 * covariance[own, own]
    priors = {name: replace(of, median=rounded(of.median), scale=rounded(of.scale)) for name, of in moved.items()}
    return Population(priors, trends, _near(draws, prior), verdict)


def _near(draws: _Draws, prior: Mapping[str, Prior]) -> dict[str, float]:
    """Root mean square of the spread between families of one suite."""
    if draws.within is None:
        return {}
    near = np.sqrt((draws.within[..., None] * draws.spread**2).mean(axis=(0, 1)))
    return {name: rounded(float(of.scale * own)) for (name, of), own in zip(prior.items(), near, strict=True)}


def rounded(number: float) -> float:
    """To four digits, which are as many as a prior can mean."""
    return float(f"{number:.4g}")


def _suites(evidence: Evidence, weights: np.ndarray) -> np.ndarray:
    """Which families are of one suite, if one has several that count."""
    several = [members @ (weights > 0) > 1 for members in evidence.suites]
    return evidence.suites if any(several) else np.zeros((0, 0))


def _arguments(
    settings: Mapping[str, Setting],
    evidence: Evidence,
    weights: np.ndarray,
    moving: Sequence[str],
    reference: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Arrays that a population is sampled from; see :func:`_families`."""
    scale = np.array([setting.prior.scale for setting in settings.values()])
    wide = [spread_prior(setting.spread) for setting in settings.values()]
    which = np.array([[name == one for one in moving] for name in settings], float)
    away = evidence.anchors - reference if moving else np.zeros((len(weights), 0))
    design = np.stack([np.hstack([np.eye(len(settings)), np.kron(steps[None], which)]) for steps in away])
    slopes = np.tile([SLOPE / settings[name].prior.scale for name in moving], away.shape[1])
    return (
        weights[:, None, None] * evidence.precision,
        weights[:, None] * evidence.information,
        design,
        np.concatenate([np.ones(len(settings)), slopes]),
        np.array([of.loc for of in wide]) - np.log(scale),
        np.array([of.scale for of in wide]),
        _suites(evidence, weights),
    )


def _agreeing(settings: Mapping[str, Setting], arguments: Sequence[np.ndarray], seed: int) -> tuple[_Draws, str]:
    """Draws of chains that agree, and in words what these reached."""
    for times in (1, _LONGER):
        draws = _sampled(arguments, seed, times)
        reached = {one.name: one for one in draws.criteria(list(settings))}
        failed = [one.sentence for one in reached.values() if not one.passed]
        if not failed:
            figures = f"R-hat {reached['r_hat'].figure:.4f}, ESS {reached['ess_bulk'].figure:.0f} and more"
            return draws, f"{CHAINS} chains of {times * _DRAWS} draws agree: {figures}"
    raise FitError(
        "the population of families cannot be learnt: its chains do not agree",
        wanted="what chains of a fit must reach",
        came="; ".join(failed),
        do="learn from more families, or under narrower priors",
    )


def _sampled(arguments: Sequence[np.ndarray], seed: int, times: int) -> _Draws:
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(seed), CHAINS)
        sites, stats = _sample_families(times * _WARMUP, times * _DRAWS, keys, *map(jnp.asarray, arguments))
    drawn = {name: np.asarray(value) for name, value in sites.items()}
    stats["n_steps"] = stats.pop("num_steps")
    within = drawn.pop("within", None)
    return _Draws(within=within, stats={name: np.asarray(value) for name, value in stats.items()}, **drawn)


@partial(jax.jit, static_argnums=(0, 1))
def _sample_families(
    warmup: int, draws: int, keys: Array, *arguments: Array
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Draws of chains, one a key, and the sampler's statistics.

    One program, whoever is left out.
    """

    def chain(key: Array) -> tuple[dict[str, Array], dict[str, Array]]:
        sampler = MCMC(NUTS(_families, dense_mass=True), num_warmup=warmup, num_samples=draws, progress_bar=False)
        sampler.run(key, *arguments, extra_fields=("diverging", "num_steps", "energy"))
        return sampler.get_samples(), sampler.get_extra_fields()

    return jax.lax.map(chain, keys)  # side by side they would wait for each other, which costs more


def _families(
    precision: Array,
    information: Array,
    design: Array,
    scale: Array,
    spread_loc: Array,
    spread_scale: Array,
    suites: Array,
) -> None:
    """Families scatter about a middle that moves with their anchors; only how much they scatter is sampled.

    The rest is linear and Gaussian, and is integrated out: families' own parameters, those of suites, and the
    `coefficients`, which are middles and trends, of prior SD `scale`. `design` (family, parameter, coefficient) takes
    them to the middle at a family's anchor. Suites' share of the variance is the same of every parameter: few suites
    have several families, and say no more.
    """
    with numpyro.plate("parameter", spread_loc.size):
        spread = numpyro.sample("spread", dist.LogNormal(spread_loc, spread_scale))
    within = numpyro.sample("within", dist.Uniform(0.0, 1.0)) if len(suites) else jnp.ones(())
    without = jax.vmap(_without, (0, 0, 0, None))
    factor, projected, logs = without(precision, precision, information, spread * jnp.sqrt(within))
    precision, total = precision - factor.mT @ factor, logs.sum()
    information -= jnp.einsum("fki,fk->fi", factor, projected)
    cross = precision @ design
    coefficients, linear = (design.mT @ cross).sum(axis=0), jnp.einsum("fic,fi->c", design, information)
    if len(suites):
        inner, cross, information = (jnp.tensordot(suites, of, 1) for of in (precision, cross, information))
        factor, projected, logs = without(inner, cross, information, spread * jnp.sqrt(1 - within))
        coefficients -= (factor.mT @ factor).sum(axis=0)
        linear -= jnp.einsum("skc,sk->c", factor, projected)
        total += logs.sum()
    numpyro.deterministic("precision", coefficients + jnp.diag(scale**-2.0))
    numpyro.deterministic("information", linear)
    numpyro.factor("families", total + _without(coefficients, coefficients, linear, scale)[2])


def _without(precision: Array, cross: Array, information: Array, scale: Array) -> tuple[Array, Array, Array]:
    """Integrate a Normal deviation of this scale out of a Gaussian likelihood of what it adds to.

    Parameters
    ----------
    precision, information : Array, shapes (parameter, parameter) and (parameter,)
        Of the likelihood.
    cross : Array, shape (parameter, coefficient)
        Product of the precision with the design that takes the coefficients to what the deviation adds to.
    scale : Array, shape (parameter,)
        SD of the deviation.

    Returns
    -------
    factor, projected : Array, shapes (parameter, coefficient) and (parameter,)
        The coefficients' precision falls by ``factor.T @ factor``, their information by ``factor.T @ projected``.
    log : Array, shape ()
        Log of the integral where the coefficients are zero.
    """
    root = jnp.linalg.cholesky(jnp.eye(scale.size) + scale[:, None] * precision * scale)
    both = scale[:, None] * jnp.column_stack([cross, information])
    solved = jax.scipy.linalg.solve_triangular(root, both, lower=True)
    factor, projected = solved[:, :-1], solved[:, -1]
    return factor, projected, projected @ projected / 2 - jnp.log(jnp.diagonal(root)).sum()
