"""Prior, prior predictive and posterior predictive draws at the fitted runs, on demand."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
import xarray as xr
from jax import Array
from numpyro import handlers

from bayescale.core.dims import CHAIN, DRAW, FAMILY, RUN, SUITE, to_datatree
from bayescale.core.precision import float64
from bayescale.inference.aot import use_cache
from bayescale.inference.fit import Fit
from bayescale.modelling.design import Design
from bayescale.modelling.grouping import lots_of, suites_of
from bayescale.modelling.interpreter import interpret
from bayescale.modelling.model import Model
from bayescale.modelling.sites import log_density_of, sites_of
from bayescale.prediction.predict import design_at, predict


def predictive(fit: Fit, *, seed: int = 0, prior_draws: int = 500) -> xr.DataTree:
    """Return the fit's DataTree with groups ``prior``, ``prior_predictive`` and ``posterior_predictive``.

    Parameters
    ----------
    fit : Fit
    seed : int
        Random seed of parameters drawn from the prior, and of the noise.
    prior_draws : int
        Number of draws from the prior, in one chain.

    Returns
    -------
    DataTree
        The tree of the fit with three more groups.

    Examples
    --------
    >>> tree = bs.predictive(fit, prior_draws=20)
    >>> dict(tree["prior_predictive"].sizes)
    {'chain': 1, 'draw': 20, 'run': 245}
    """
    sites = set(fit.spec.observed)
    runs = fit.design_frame
    sizes = fit.tree["posterior"].sizes
    posterior = {name: predict(fit, runs, only=name, seed=seed) for name in sites}
    points = design_at(fit, runs, {})
    with use_cache(), float64():
        keys = jax.random.split(jax.random.key(seed), prior_draws)
        drawn = {k: np.asarray(v)[None] for k, v in from_prior(keys, points, spec=fit.spec.structure).items()}
    groups = {
        "prior": {k: v for k, v in drawn.items() if k in fit.sampled},
        "prior_predictive": {k: v for k, v in drawn.items() if k in sites},
        "posterior_predictive": {k: v.reshape(sizes[CHAIN], sizes[DRAW], -1) for k, v in posterior.items()},
    }
    tree = fit.tree.copy()
    coords = {FAMILY: fit.families, SUITE: suites_of(fit.spec, runs)}
    declared = sites_of(fit.spec, len(fit.families), lots_of(fit.spec, runs))
    dims = {name: site.dims for name, site in declared.items()} | dict.fromkeys(sites, (RUN,))
    made = to_datatree(groups, dims, coords)
    for name, group in made.children.items():
        tree[name] = group.copy()
    return tree


@partial(jax.jit, static_argnames="spec")
def from_prior(keys: Array, points: Design, *, spec: Model) -> dict[str, Array]:
    """Draw every site of a spec at some points from the prior, once per key.

    The observations of each response are drawn too, with their ``NAME_log_density`` under the same parameters.

    Parameters
    ----------
    keys : Array, shape (draw,)
        Random keys.
    points : Design
    spec : Spec

    Returns
    -------
    dict of Array
        Draws by site; the leading dim is the key.
    """

    def one(key: Array) -> dict[str, Array]:
        trace = handlers.trace(handlers.seed(partial(interpret, spec), key)).get_trace(points)
        values = {name: site["value"] for name, site in trace.items() if site["type"] != "plate"}
        return values | {
            log_density_of(name): trace[name]["fn"].log_prob(trace[name]["value"]) for name in spec.observed
        }

    return jax.lax.map(one, keys)
