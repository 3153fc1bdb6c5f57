"""Population: how families and suites scatter about a mean that moves with the anchor.

It is learned from the evidence of each family's own runs.
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
from bayescale.core.precision import float64
from bayescale.inference.diagnostics import Criterion, criteria, summarised
from bayescale.modelling.spec import Setting
from bayescale.parts.priors import Prior, spread_prior

CHAINS = 4
_WARMUP, _DRAWS = 250, 750  # of each chain
_LONGER = 4  # factor for the draws of chains that do not agree
TAIL = 4.0
"""Degrees of freedom of the Student-t distribution of suites about their mean.

A suite that is unlike the others moves the mean less, and makes priors wider. With 3 or 8 degrees instead, no median of
`default` moves by a fifth of the scale of its prior.
"""
SLOPE = 0.35
"""Prior SD of trends, of the size of an exponent, at which the term of a family grows towards a smaller anchor."""


class Evidence(NamedTuple):
    """Gaussian likelihoods of families' runs, over parameters whose prior is a standard Normal.

    Attributes
    ----------
    precision : ndarray, shape (family, parameter, parameter)
    information : ndarray, shape (family, parameter)
        Product of the precision and the mean.
    anchors : ndarray, shape (family, input)
        Natural logs of the inputs at which the parameters are read.
    suites : ndarray, shape (suite, family)
        Which families belong to each suite; no rows if every family is its own suite.
    """

    precision: np.ndarray
    information: np.ndarray
    anchors: np.ndarray
    suites: np.ndarray = np.zeros((0, 0))


@dataclass(frozen=True, eq=False)
class Population:
    """What is known about a new family, parameter by parameter.

    Attributes
    ----------
    priors : dict of Prior
        Priors of every parameter, at the reference.
    trends : dict of (ndarray, ndarray)
        Slopes in the inputs and their covariance, for parameters that move with the anchor.
    spreads : dict of float
        Spread between families of one suite, in the Gaussian coordinates of the priors; empty if no suite has several
        families.
    verdict : str
        Convergence of the chains.
    """

    priors: dict[str, Prior]
    trends: dict[str, tuple[np.ndarray, np.ndarray]]
    spreads: dict[str, float]
    verdict: str


class _Draws(NamedTuple):
    """Draws of a population, and Gaussians of everything else given each draw; leading dims are (chain, draw).

    `spread` (…, parameter) and `weight` (…, suite) are sampled, and so is `within` (…,) if there are suites.
    `precision` (…, coefficient, coefficient) and `information` (…, coefficient) describe means and trends given these.
    `stats` holds the statistics of the sampler by name.
    """

    spread: np.ndarray
    weight: np.ndarray
    within: np.ndarray | None
    precision: np.ndarray
    information: np.ndarray
    stats: dict[str, np.ndarray]

    def criteria(self, names: Sequence[str]) -> list[Criterion]:
        """Return the convergence criteria, which are those of a fit."""
        scalars = {f"spread[{name}]": self.spread[..., i] for i, name in enumerate(names)}
        scalars |= {f"weight[{i}]": np.log(own) for i, own in enumerate(np.moveaxis(self.weight, -1, 0))}
        scalars |= {} if self.within is None else {"within": self.within}
        tree = to_datatree({"posterior": scalars, "sample_stats": self.stats}, {}, {})
        return criteria(tree, summarised(tree["posterior"].to_dataset()))

    def variance(self) -> np.ndarray:
        """Return the variance between new families, shape (chain, draw, parameter)."""
        return self.spread**2 * TAIL / (TAIL - 2)

    def coefficients(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and covariance of means and trends. Given the sampled spreads they have no Monte Carlo error."""
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
    """Return the priors of a new family, from the evidence of other families.

    Four chains are sampled. If they do not agree, they are sampled again with four times as many draws.

    Parameters
    ----------
    settings : mapping of Setting
        Parameters of the evidence, in the same order, with their wide priors.
    evidence : Evidence
        Likelihoods of the families.
    weights : ndarray, shape (family,)
        Weight of each family; 0 leaves it out.
    moving : sequence of str
        Parameters that move with the anchor. Their priors apply at the reference.
    reference : ndarray, shape (input,)
        Natural logs of the inputs at the reference; ignored if no parameter moves.
    seed : int
        Random seed of the chains.

    Returns
    -------
    Population

    Raises
    ------
    FitError
        If the chains do not agree, even with more draws.
    """
    draws, verdict = _agreeing(settings, _arguments(settings, evidence, weights, moving, reference), seed)
    names, prior = list(settings), {name: setting.prior for name, setting in settings.items()}
    mean, covariance = draws.coefficients()
    # Mean and variance of the predictive: uncertainty of the population is part of the prior.
    width = np.sqrt(np.diag(covariance)[: len(names)] + draws.variance().mean(axis=(0, 1)))
    moved = {name: prior[name].moved(prior[name].loc + prior[name].scale * at, prior[name].scale * wide)
             for name, at, wide in zip(names, mean[: len(names)], width, strict=True)}  # fmt: skip
    trends = {}
    for k, name in enumerate(moving):
        own, scale = slice(len(names) + k, None, len(moving)), prior[name].scale
        trends[name] = scale * mean[own], scale**2 * covariance[own, own]
    priors = {name: replace(of, median=rounded(of.median), scale=rounded(of.scale)) for name, of in moved.items()}
    return Population(priors, trends, _near(draws, prior), verdict)


def _near(draws: _Draws, prior: Mapping[str, Prior]) -> dict[str, float]:
    """Return the root mean square of the spread between families of one suite."""
    if draws.within is None:
        return {}
    near = np.sqrt((draws.within[..., None] * draws.variance()).mean(axis=(0, 1)))
    return {name: rounded(float(of.scale * own)) for (name, of), own in zip(prior.items(), near, strict=True)}


def rounded(number: float) -> float:
    """Round to four significant digits, as many as are meaningful in a prior."""
    return float(f"{number:.4g}")


def _suites(evidence: Evidence, weights: np.ndarray) -> np.ndarray:
    """Return which families belong to each suite, if a suite has several families of positive weight."""
    several = [members @ (weights > 0) > 1 for members in evidence.suites]
    return evidence.suites if any(several) else np.zeros((0, 0))


def _arguments(
    settings: Mapping[str, Setting],
    evidence: Evidence,
    weights: np.ndarray,
    moving: Sequence[str],
    reference: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Return the arguments of the model of a population; see :func:`_families`."""
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
    """Return draws of chains that agree, and a sentence on their convergence."""
    for times in (1, _LONGER):
        draws = _sampled(arguments, seed, times)
        reached = {one.name: one for one in draws.criteria(list(settings))}
        failed = [one.sentence for one in reached.values() if not one.passed]
        if not failed:
            figures = f"R-hat {reached['r_hat'].figure:.4f}, ESS {reached['ess_bulk'].figure:.0f} and more"
            return draws, f"{CHAINS} chains of {times * _DRAWS} draws agree: {figures}"
    raise FitError(
        "the population of families cannot be learned: its chains do not agree",
        expected="the convergence criteria of a fit",
        got="; ".join(failed),
        hint="learn from more families, or with narrower priors",
    )


def _sampled(arguments: Sequence[np.ndarray], seed: int, times: int) -> _Draws:
    with float64():
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
    """Return draws of one chain per key, and the statistics of the sampler.

    One program serves all choices of families to leave out.
    """
    dense = [("spread", "within") if len(arguments[-1]) else ("spread",)]

    def chain(key: Array) -> tuple[dict[str, Array], dict[str, Array]]:
        sampler = MCMC(NUTS(_families, dense_mass=dense), num_warmup=warmup, num_samples=draws, progress_bar=False)
        sampler.run(key, *arguments, extra_fields=("diverging", "num_steps", "energy"))
        return sampler.get_samples(), sampler.get_extra_fields()

    return jax.lax.map(chain, keys)  # vectorized chains would wait for each other, which takes longer


def _families(
    precision: Array,
    information: Array,
    design: Array,
    scale: Array,
    spread_loc: Array,
    spread_scale: Array,
    suites: Array,
) -> None:
    """Model in which families scatter about a mean that moves with their anchors.

    Only the spreads are sampled, and the weights of suites: a suite of weight w scatters with 1/√w times the spread,
    and so do its families, which makes the scatter a Student-t distribution. The rest is linear and Gaussian, and is
    integrated out: the parameters of families and of suites, and the `coefficients`, which are means and trends with
    prior SD `scale`. `design` (family, parameter, coefficient) maps the coefficients to the mean at the anchor of a
    family. The share of suites in the variance is the same for every parameter, because few suites have several
    families.
    """
    with numpyro.plate("parameter", spread_loc.size):
        spread = numpyro.sample("spread", dist.LogNormal(spread_loc, spread_scale))
    with numpyro.plate("suite", len(suites) or len(precision)):
        far = numpyro.sample("weight", dist.Gamma(TAIL / 2, TAIL / 2)) ** -0.5
    own = suites.T @ far if len(suites) else far
    within = numpyro.sample("within", dist.Uniform(0.0, 1.0)) if len(suites) else jnp.ones(())
    without = jax.vmap(_without)
    factor, projected, logs = without(precision, precision, information, jnp.outer(own, spread) * jnp.sqrt(within))
    precision, total = precision - factor.mT @ factor, logs.sum()
    information -= jnp.einsum("fki,fk->fi", factor, projected)
    cross = precision @ design
    coefficients, linear = (design.mT @ cross).sum(axis=0), jnp.einsum("fic,fi->c", design, information)
    if len(suites):
        inner, cross, information = (jnp.tensordot(suites, of, 1) for of in (precision, cross, information))
        factor, projected, logs = without(inner, cross, information, jnp.outer(far, spread) * jnp.sqrt(1 - within))
        coefficients -= (factor.mT @ factor).sum(axis=0)
        linear -= jnp.einsum("skc,sk->c", factor, projected)
        total += logs.sum()
    numpyro.deterministic("precision", coefficients + jnp.diag(scale**-2.0))
    numpyro.deterministic("information", linear)
    numpyro.factor("families", total + _without(coefficients, coefficients, linear, scale)[2])


def _without(precision: Array, cross: Array, information: Array, scale: Array) -> tuple[Array, Array, Array]:
    """Integrate a Normal deviation out of a Gaussian likelihood of a sum with that deviation.

    Parameters
    ----------
    precision, information : Array, shapes (parameter, parameter) and (parameter,)
        Precision and information of the likelihood.
    cross : Array, shape (parameter, coefficient)
        Product of the precision with the design that maps the coefficients to the other term of the sum.
    scale : Array, shape (parameter,)
        SD of the deviation.

    Returns
    -------
    factor, projected : Array, shapes (parameter, coefficient) and (parameter,)
        The precision of the coefficients falls by ``factor.T @ factor``, and their information by
        ``factor.T @ projected``.
    log : Array, shape ()
        Natural log of the integral if the coefficients are zero.
    """
    root = jnp.linalg.cholesky(jnp.eye(scale.size) + scale[:, None] * precision * scale)
    both = scale[:, None] * jnp.column_stack([cross, information])
    solved = jax.scipy.linalg.solve_triangular(root, both, lower=True)
    factor, projected = solved[:, :-1], solved[:, -1]
    return factor, projected, projected @ projected / 2 - jnp.log(jnp.diagonal(root)).sum()
