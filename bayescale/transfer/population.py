"""Populate: how families and suites of them scatter about a middle, which moves with where they are read.

From what each family's own runs say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax import Array
from numpyro import distributions as dist
from numpyro.infer import MCMC, NUTS

from bayescale.modelling.spec import Setting
from bayescale.parts.priors import Prior, spread_prior

_WARMUP, _DRAWS = 500, 2000
_TREND = 0.35  # prior SD of trends, about an exponent: by so much a family's own term grows towards a smaller anchor


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


class Population(NamedTuple):
    """What is known of a family that was not seen, parameter by parameter.

    `trends` are of those that move with the anchor: slopes in the inputs, and their covariance. `spreads` are between
    families of one suite, in the priors' Gaussian coordinates; empty where no suite has several.
    """

    priors: list[Prior]
    trends: list[tuple[np.ndarray, np.ndarray]]
    spreads: list[float]


def population(
    settings: Sequence[Setting], evidence: Evidence, weights: np.ndarray, moving: tuple[int, ...], reference: np.ndarray
) -> Population:
    """Priors of a family not seen, from the evidence of others; each counts by its weight.

    Those that are `moving` hold at the `reference` (logs of inputs).
    """
    priors = [setting.prior for setting in settings]
    wide = [spread_prior(setting.spread) for setting in settings]
    scale = np.array([prior.scale for prior in priors])
    spread_loc = np.array([w.loc for w in wide]) - np.log(scale)
    away = evidence.anchors - reference if moving else np.zeros((len(weights), 0))
    trend_scale = _TREND / scale[list(moving)]
    several = [members @ (weights > 0) > 1 for members in evidence.suites]
    suites = evidence.suites if any(several) else np.zeros((0, 0))
    with jax.enable_x64(True):
        precision, information = weights[:, None, None] * evidence.precision, weights[:, None] * evidence.information
        spreads = spread_loc, np.array([w.scale for w in wide])
        arguments = (precision, information, away, *spreads, trend_scale, suites)
        draws = _sample_families(moving, jax.random.key(0), *map(jnp.asarray, arguments))
    middle, spread, trend, within = map(np.asarray, draws)
    # Mean and variance of the population's predictive: what is not known of it is part of the prior.
    loc, width = middle.mean(axis=0), np.sqrt(middle.var(axis=0) + (spread**2).mean(axis=0))
    places = [(prior.loc + prior.scale * at, prior.scale * w) for prior, at, w in zip(priors, loc, width, strict=True)]
    moved = [prior.moved(*place) for prior, place in zip(priors, places, strict=True)]
    found = [replace(prior, median=rounded(prior.median), scale=rounded(prior.scale)) for prior in moved]
    slopes = [trend[..., k] * priors[i].scale for k, i in enumerate(moving)]
    near = np.sqrt((within[:, None] * spread**2).mean(axis=0)) if len(suites) else []
    return Population(
        found,
        [(own.mean(axis=0), np.atleast_2d(np.cov(own.T))) for own in slopes],
        [rounded(float(prior.scale * own)) for prior, own in zip(priors, near, strict=False)],
    )


def rounded(number: float) -> float:
    """To four digits, which are as many as a prior can mean."""
    return float(f"{number:.4g}")


@partial(jax.jit, static_argnums=0)
def _sample_families(moving: tuple[int, ...], key: Array, *arguments: Array) -> tuple[Array, Array, Array, Array]:
    """Draws of the families' middle and spread, of trends, and of the share of variance within suites.

    Shapes: (draw, parameter) twice, (draw, input, moving parameter), (draw,). One program, whoever is left out.
    """
    kernel = NUTS(partial(_families, moving), dense_mass=True, target_accept_prob=0.95)
    sampler = MCMC(kernel, num_warmup=_WARMUP, num_samples=_DRAWS, progress_bar=False)
    sampler.run(key, *arguments)
    draws = sampler.get_samples()
    trend, within = draws.get("trend", jnp.zeros((_DRAWS, 0, 0))), draws.get("within", jnp.ones(_DRAWS))
    return draws["middle"], draws["spread"], trend, within


def _families(
    moving: tuple[int, ...],
    precision: Array,
    information: Array,
    away: Array,
    spread_loc: Array,
    spread_scale: Array,
    trend_scale: Array,
    suites: Array,
) -> None:
    """Families scatter about a middle that moves with their anchors; their own parameters are integrated out.

    So are those of suites. Their share of the variance is the same of every parameter: few suites have several
    families, and say no more.
    """
    with numpyro.plate("parameter", spread_loc.size):
        middle = numpyro.sample("middle", dist.Normal(0.0, 1.0))
        spread = numpyro.sample("spread", dist.LogNormal(spread_loc, spread_scale))
    middles = jnp.broadcast_to(middle, information.shape)
    if moving:
        with numpyro.plate("input", away.shape[1], dim=-2), numpyro.plate("moving", len(moving), dim=-1):
            trend = numpyro.sample("trend", dist.Normal(0.0, trend_scale))
        middles = middles.at[:, jnp.array(moving)].add(away @ trend)
    known = jnp.einsum("fij,fj->fi", precision, middles)
    total = jnp.sum((information - known / 2) * middles)
    within = numpyro.sample("within", dist.Uniform(0.0, 1.0)) if len(suites) else jnp.ones(())
    seen, told, each = jax.vmap(_without, (0, 0, None))(precision, information - known, spread * jnp.sqrt(within))
    total += each.sum()
    if len(suites):
        of_suite = jnp.einsum("sf,fij->sij", suites, seen), suites @ told
        total += jax.vmap(_without, (0, 0, None))(*of_suite, spread * jnp.sqrt(1 - within))[2].sum()
    numpyro.factor("families", total)


def _without(precision: Array, information: Array, scale: Array) -> tuple[Array, Array, Array]:
    """Integrate a Normal deviation of this scale out of a Gaussian likelihood of what it adds to.

    Return the likelihood's precision and information about the rest, and the log of the integral where that is zero.
    """
    root = jnp.linalg.cholesky(jnp.eye(scale.size) + scale[:, None] * precision * scale)
    seen = jax.scipy.linalg.solve_triangular(root, scale[:, None] * precision, lower=True)
    told = jax.scipy.linalg.solve_triangular(root, scale * information, lower=True)
    return precision - seen.T @ seen, information - seen.T @ told, told @ told / 2 - jnp.log(jnp.diagonal(root)).sum()
