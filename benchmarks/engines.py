"""Run one engine on one data set in this process; print seconds and effective sample size as JSON.

python benchmarks/engines.py ENGINE (family | pool)
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from arviz_stats.base import array_stats

import bayescale as bs

CHAINS, DRAWS, WARMUP, RESAMPLES = 4, 1000, 1000, 4000
SPEC = "additive"


def runs_of(data: str) -> bs.Runs:
    """Return the 240 runs of one family, or the runs of all families."""
    return bs.load_runs("hoffmann2022").where(exclusion="") if data == "family" else bs.load_runs("open-families")


def least_ess(draws: dict[str, np.ndarray]) -> float:
    """Return the smallest bulk ESS of all scalars; arrays have the leading dims (chain, draw)."""
    columns = [x.reshape(*x.shape[:2], -1) for x in draws.values()]
    return min(float(array_stats.ess(c[..., i], method="bulk")) for c in columns for i in range(c.shape[-1]))


def bayescale(data: str) -> dict[str, Any]:
    """Fit with this package at its defaults."""
    fit = bs.fit(runs_of(data), SPEC, seed=0, chains=CHAINS, draws=DRAWS, progress=False)
    names = {k: v.to_numpy() for k, v in fit.posterior.data_vars.items() if k in fit.sampled}
    names = {k: v for k, v in names.items() if not k.endswith("_offset")}
    return {"sampling_s": fit.meta["seconds"]["sampling"], "ess": least_ess(names), "divergences": _diverged(fit)}


def _diverged(fit: bs.Fit) -> int:
    return int(fit.tree["sample_stats"]["diverging"].sum())


def numpyro_model(data: str) -> dict[str, Any]:
    """Sample the same model with NumPyro's MCMC and a dense mass matrix."""
    import jax
    from numpyro.infer import MCMC, NUTS

    jax.config.update("jax_enable_x64", True)
    return _numpyro(MCMC, NUTS(bs.model(bs.load_spec(SPEC), runs_of(data)), dense_mass=data == "family"))


def numpyro_raw(data: str) -> dict[str, Any]:
    """As in tutorials: log A, log B and log E at one param and one token, wide priors, diagonal mass matrix."""
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import MCMC, NUTS

    jax.config.update("jax_enable_x64", True)
    runs = runs_of(data)
    params, tokens, loss = (np.log(runs[c]) for c in ("params", "tokens", "loss"))

    def model() -> None:
        a = numpyro.sample("a", dist.Normal(6, 3))
        b = numpyro.sample("b", dist.Normal(6, 3))
        e = numpyro.sample("e", dist.Normal(0.5, 0.5))
        alpha = numpyro.sample("alpha", dist.LogNormal(np.log(0.33), 0.35))
        beta = numpyro.sample("beta", dist.LogNormal(np.log(0.33), 0.35))
        sigma = numpyro.sample("sigma", dist.LogNormal(np.log(0.005), 0.7))
        nu = numpyro.sample("nu", dist.LogNormal(np.log(9), 1.2))
        terms = jnp.stack([a - alpha * params, b - beta * tokens, e + 0 * params])
        numpyro.sample("loss", dist.StudentT(1 + nu, jax.nn.logsumexp(terms, axis=0), sigma), obs=loss)

    return _numpyro(MCMC, NUTS(model))


def _numpyro(mcmc: Any, kernel: Any) -> dict[str, Any]:
    import jax

    runner = mcmc(
        kernel, num_warmup=WARMUP, num_samples=DRAWS, num_chains=CHAINS, chain_method="sequential", progress_bar=False
    )
    started = time.perf_counter()
    runner.run(jax.random.key(0), extra_fields=("diverging",))
    draws = {k: np.asarray(v) for k, v in runner.get_samples(group_by_chain=True).items()}
    seconds = time.perf_counter() - started
    latent = {k: v for k, v in draws.items() if k not in ("log_loss", "loss_location") and not k.endswith("_offset")}
    diverged = int(runner.get_extra_fields()["diverging"].sum())
    return {"sampling_s": seconds, "ess": least_ess(latent), "divergences": diverged}


def nutpie(data: str) -> dict[str, Any]:
    """Sample a PyMC model with the same priors and coordinates, with nutpie on numba."""
    import nutpie as sampler
    import pymc as pm
    import pytensor.tensor as pt

    from bayescale.parts.priors import LogNormal, spread_prior

    runs, spec = runs_of(data), bs.load_spec(SPEC)
    index, families = np.searchsorted(runs.families, runs["family"]), len(runs.families)
    x, y, z = (np.log(runs[c]) for c in ("params", "tokens", "loss"))
    x, y, z = x - x.mean(), y - y.mean(), z - np.log(np.median(runs["loss"]))
    with pm.Model() as model:
        value = {}
        for name, setting in spec.settings:
            prior = setting.prior
            assert isinstance(prior, LogNormal)
            if families == 1:
                coordinate = pm.Normal(name, prior.loc, prior.scale)
            else:
                center = pm.Normal(f"{name}_center", prior.loc, prior.scale)
                between = spread_prior(setting.spread)
                spread = pm.LogNormal(f"{name}_spread", between.loc, between.scale)
                coordinate = (center + spread * pm.Normal(f"{name}_offset", shape=families))[index]
            value[name] = prior.above + pt.exp(coordinate)
        a, b = pt.log(value["ratio_A"]), pt.log(value["ratio_B"])
        terms = pt.stack([a * 0 + 0 * x, a - value["alpha_N"] * x, b - value["beta_D"] * y])
        here = pt.logaddexp(pt.logaddexp(0.0, a), b)
        location = pt.log(value["level"]) + pt.logsumexp(terms, axis=0) - here
        pm.StudentT("log_loss", nu=value["nu"], mu=location, sigma=value["sigma"], observed=z)
    compiled = sampler.compile_pymc_model(model)
    started = time.perf_counter()
    made = sampler.sample(compiled, draws=DRAWS, tune=WARMUP, chains=CHAINS, seed=0, progress_bar=False)
    seconds = time.perf_counter() - started
    draws = {str(k): v.to_numpy() for k, v in made["posterior"].data_vars.items()}
    diverged = int(np.sum(made["sample_stats"]["diverging"].to_numpy()))
    return {"sampling_s": seconds, "ess": least_ess(draws), "divergences": diverged}


def huber(data: str) -> dict[str, Any]:
    """Bootstrap point fits: Huber loss on log loss, L-BFGS started from the fit of all runs."""
    from scipy.optimize import minimize

    runs = runs_of(data)
    params, tokens, loss = (np.log(runs[c]) for c in ("params", "tokens", "loss"))
    width = 1e-3

    def objective(theta: np.ndarray, rows: np.ndarray) -> tuple[float, np.ndarray]:
        a, b, e, alpha, beta = theta
        n, d = params[rows], tokens[rows]
        terms = np.stack([a - alpha * n, b - beta * d, np.full(n.shape, e)])
        top = terms.max(axis=0)
        weights = np.exp(terms - top)
        total = weights.sum(axis=0)
        error = top + np.log(total) - loss[rows]
        small = np.abs(error) <= width
        value = np.where(small, error**2 / 2, width * (np.abs(error) - width / 2)).sum()
        slope = np.clip(error, -width, width) * weights / total
        return value, np.array(
            [slope[0].sum(), slope[1].sum(), slope[2].sum(), -(slope[0] * n).sum(), -(slope[1] * d).sum()]
        )

    # Scaled, so that L-BFGS does not stop at the first small decrease.
    def solve(start: np.ndarray, rows: np.ndarray) -> np.ndarray:
        def scaled(t: np.ndarray) -> tuple[float, np.ndarray]:
            value, slope = objective(t, rows)
            return 1e4 * value, 1e4 * slope

        return minimize(scaled, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-12}).x

    everything = np.arange(len(loss))
    starts = [np.array([a, b, 0.5, s, s]) for a in (5.0, 10.0) for b in (5.0, 10.0) for s in (0.3, 0.5)]
    begin = min((solve(start, everything) for start in starts), key=lambda theta: objective(theta, everything)[0])
    generator = np.random.default_rng(0)
    started = time.perf_counter()
    for _ in range(RESAMPLES):
        solve(begin, generator.integers(len(loss), size=len(loss)))
    return {"sampling_s": time.perf_counter() - started, "resamples": RESAMPLES, "E": float(np.exp(begin[2]))}


def simple_scaling_laws(data: str) -> dict[str, Any]:
    """Run its command line: variable projection and a wild bootstrap on raw loss."""
    import subprocess
    import tempfile
    from pathlib import Path

    frame = runs_of(data).frame
    table = frame[["params", "tokens", "loss"]].set_axis(["model_size__n", "dataset_size__d", "test_loss__l"], axis=1)
    with tempfile.TemporaryDirectory() as folder:
        table.assign(training_run_id=range(len(table))).to_csv(Path(folder) / "runs.csv", index=False)
        command = [str(Path(sys.executable).parent / "scaling-laws"), "fit", f"{folder}/runs.csv", "--quiet"]
        started = time.perf_counter()
        subprocess.run([*command, "--output", f"{folder}/fit.slaw", "--draws", str(RESAMPLES)], check=True)
        return {"sampling_s": time.perf_counter() - started, "resamples": RESAMPLES}


ENGINES: dict[str, Callable[[str], dict[str, Any]]] = {
    "bayescale": bayescale,
    "numpyro": numpyro_model,
    "numpyro-raw": numpyro_raw,
    "nutpie": nutpie,
    "huber": huber,
    "simple-scaling-laws": simple_scaling_laws,
}

if __name__ == "__main__":
    print(json.dumps(ENGINES[sys.argv[1]](sys.argv[2])))
