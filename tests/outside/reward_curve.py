"""A NumPyro model of somebody's own, outside the package: reward by training compute, a saturating curve."""

from __future__ import annotations

import jax.numpy as jnp
import numpyro
from numpyro import distributions as dist

import bayescale as bs


@bs.custom_model(columns=("flops",), observes={"reward": bs.Observes("real", "reward")})
def reward_curve(design):
    """Reward that saturates with training compute."""
    log_flops = jnp.log(design.columns["flops"] / 1e20)
    top = numpyro.sample("top", dist.Normal(1.0, 0.5))
    gap = numpyro.sample("gap", dist.LogNormal(-0.7, 0.5))
    rate = numpyro.sample("rate", dist.LogNormal(-0.9, 0.4))
    scatter = numpyro.sample("scatter", dist.LogNormal(-4.0, 0.7))
    numpyro.deterministic("half_way", jnp.log(2.0) / rate)
    center = numpyro.deterministic("reward_location", top - gap * jnp.exp(-rate * log_flops))
    with numpyro.plate("run", len(log_flops)):
        numpyro.sample("reward", dist.Normal(center, scatter), obs=design.observed.get("reward"))
