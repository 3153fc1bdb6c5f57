"""Populate: how families scatter about a middle that moves with where they are read, from what each one's runs say."""

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

from bayescale.law import Prior
from bayescale.pooling.ways import spread_prior
from bayescale.spec import Setting

_WARMUP, _DRAWS = 500, 2000
_TREND = 0.35  # prior SD of trends, about an exponent: by so much a family's own term grows towards a smaller anchor


class Evidence(NamedTuple):
    """What families' runs say of some parameters, whose prior is a standard Normal: likelihoods as Gaussians.

    Shapes: `precision` (family, parameter, parameter), `information` (family, parameter) its product with the mean,
    `anchors` (family, input) the natural logs of where the parameters are read.
    """

    precision: np.ndarray
    information: np.ndarray
    anchors: np.ndarray


def population(
    settings: Sequence[Setting], evidence: Evidence, weights: np.ndarray, moving: tuple[int, ...], reference: np.ndarray
) -> tuple[list[Prior], list[tuple[np.ndarray, np.ndarray]]]:
    """Priors of a family not seen, from the evidence of others; each counts by its weight.

    Those that are `moving` hold at the `reference` (logs of inputs), and have a trend: slopes in the inputs, and their
    covariance.
    """
    priors = [setting.prior for setting in settings]
    wide = [spread_prior(setting.spread) for setting in settings]
    scale = np.array([prior.scale for prior in priors])
    spread_loc = np.array([w.loc for w in wide]) - np.log(scale)
    away = evidence.anchors - reference if moving else np.zeros((len(weights), 0))
    trend_scale = _TREND / scale[list(moving)]
    with jax.enable_x64(True):
        arguments = (*evidence[:2], weights, away, spread_loc, np.array([w.scale for w in wide]), trend_scale)
        draws = _sample_families(moving, jax.random.key(0), *map(jnp.asarray, arguments))
    middle, spread, trend = map(np.asarray, draws)
    # Mean and variance of the population's predictive: what is not known of it is part of the prior.
    loc, width = middle.mean(axis=0), np.sqrt(middle.var(axis=0) + (spread**2).mean(axis=0))
    places = [(prior.loc + prior.scale * at, prior.scale * w) for prior, at, w in zip(priors, loc, width, strict=True)]
    moved = [prior.moved(*place) for prior, place in zip(priors, places, strict=True)]
    found = [replace(prior, median=rounded(prior.median), scale=rounded(prior.scale)) for prior in moved]
    slopes = [trend[..., k] * priors[i].scale for k, i in enumerate(moving)]
    return found, [(own.mean(axis=0), np.atleast_2d(np.cov(own.T))) for own in slopes]


def rounded(number: float) -> float:
    """To four digits, which are as many as a prior can mean."""
    return float(f"{number:.4g}")


@partial(jax.jit, static_argnums=0)
def _sample_families(moving: tuple[int, ...], key: Array, *arguments: Array) -> tuple[Array, Array, Array]:
    """Draws of the families' middle and spread (draw, parameter), and of trends (draw, input, moving parameter).

    One program, whoever is left out.
    """
    kernel = NUTS(partial(_families, moving), dense_mass=True, target_accept_prob=0.95)
    sampler = MCMC(kernel, num_warmup=_WARMUP, num_samples=_DRAWS, progress_bar=False)
    sampler.run(key, *arguments)
    draws = sampler.get_samples()
    return draws["middle"], draws["spread"], draws.get("trend", jnp.zeros((_DRAWS, 0, 0)))


def _families(
    moving: tuple[int, ...],
    precision: Array,
    information: Array,
    weights: Array,
    away: Array,
    spread_loc: Array,
    spread_scale: Array,
    trend_scale: Array,
) -> None:
    """Families scatter about a middle that moves with their anchors; each one's own parameters are integrated out."""
    with numpyro.plate("parameter", spread_loc.size):
        middle = numpyro.sample("middle", dist.Normal(0.0, 1.0))
        spread = numpyro.sample("spread", dist.LogNormal(spread_loc, spread_scale))
    middles = jnp.broadcast_to(middle, information.shape)
    if moving:
        with numpyro.plate("input", away.shape[1], dim=-2), numpyro.plate("moving", len(moving), dim=-1):
            trend = numpyro.sample("trend", dist.Normal(0.0, trend_scale))
        middles = middles.at[:, jnp.array(moving)].add(away @ trend)

    def family(precision: Array, information: Array, middle: Array) -> Array:
        slope = spread * (information - precision @ middle)
        curvature = jnp.eye(spread.size) + spread[:, None] * precision * spread
        root = jnp.linalg.cholesky(curvature)
        half = jax.scipy.linalg.solve_triangular(root, slope, lower=True)
        quadratic = information @ middle - middle @ precision @ middle / 2
        return quadratic + half @ half / 2 - jnp.sum(jnp.log(jnp.diagonal(root)))

    numpyro.factor("families", weights @ jax.vmap(family)(precision, information, middles))
