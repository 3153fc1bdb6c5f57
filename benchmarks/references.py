"""References: long chains of three posteriors, to which changes of the engine are held.

The protocol is that of posteriordb (Magnusson et al. 2024, arXiv:2407.04967): ten chains, 10,000 draws after thinning,
no divergences, R-hat below 1.01, and draws that are nearly independent. NumPyro's own NUTS with a dense mass matrix
samples the model that `bs.model` returns, without the engine's coordinates, warm start and adaptation. Families that
are pooled and errors that runs share are not among the cases: in NumPyro's own coordinates their posteriors are funnels
and ridges. Ten chains of them were not sampled in nine minutes.

    python benchmarks/references.py

It writes `tests/inference/references.csv`: means and SDs with their Monte Carlo errors.
"""

from __future__ import annotations

from pathlib import Path

import arviz_stats
import jax
import numpy as np
import pandas as pd
import xarray as xr
from numpyro.infer import MCMC, NUTS

import bayescale as bs
from bayescale.modelling.design import design
from bayescale.modelling.sites import COORDINATES, sites_of

TABLE = Path(__file__).parents[1] / "tests" / "inference" / "references.csv"
CASES = {
    "one family": ("additive", "hoffmann2022", {"exclusion": ""}),
    "coupled law": ("coupled-unpooled", "open-families", {"family": "OpenLM-C4"}),
    "few runs": ("additive-unpooled", "open-families", {"family": "Datablations-C4-1epoch"}),
}
"""Spec, runs, and which of them."""
CHAINS, WARMUP, DRAWS, THIN = 10, 5000, 10_000, 10
WORST_RHAT, LEAST_ESS = 1.01, 0.8  # of the draws that are kept


def case(name: str) -> tuple[bs.Spec, bs.Runs]:
    """Return the spec and the runs of a case."""
    spec, table, which = CASES[name]
    return bs.load_spec(spec), bs.load_runs(table).where(**which)


def reference(name: str) -> pd.DataFrame:
    """Sample one posterior, and return one row per scalar parameter."""
    spec, runs = case(name)
    with jax.enable_x64(True):
        kernel = NUTS(bs.model(spec, runs), dense_mass=True, target_accept_prob=0.95, max_tree_depth=12)
        chains = MCMC(kernel, num_warmup=WARMUP, num_samples=DRAWS, thinning=THIN, num_chains=CHAINS,
                      chain_method="vectorized", progress_bar=False)  # fmt: skip
        chains.run(jax.random.key(0), extra_fields=("diverging",))
        drawn = {site: np.asarray(x) for site, x in chains.get_samples(group_by_chain=True).items()}
        divergent = int(np.asarray(chains.get_extra_fields()["diverging"]).sum())
    known = design(spec, runs)
    drawn = {site: drawn[site] for site in sites_of(spec, known.families, known.lot) if site != COORDINATES}
    rows = summarised(drawn).assign(case=name, spec_digest=spec.digest, runs_digest=runs.digest, divergent=divergent)
    good = (rows["rhat"] < WORST_RHAT) & (rows["ess"] > LEAST_ESS * CHAINS * DRAWS / THIN)
    print(f"{name}: {len(rows)} parameters, {divergent} divergences, R-hat up to {rows['rhat'].max():.4f}, ESS from "
          f"{rows['ess'].min():.0f}, {int((~good).sum())} short", flush=True)  # fmt: skip
    return rows


def summarised(drawn: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return mean and SD of every scalar, with their Monte Carlo errors."""
    rows = []
    for site, x in drawn.items():
        for place in np.ndindex(x.shape[2:]):
            one = xr.DataArray(x[(slice(None), slice(None), *place)], dims=("chain", "draw"))
            of = {key: float(getattr(arviz_stats, kind)(one, **given)) for key, kind, given in (
                ("ess", "ess", {}), ("rhat", "rhat", {}), ("mean_error", "mcse", {"method": "mean"}),
                ("sd_error", "mcse", {"method": "sd"}))}  # fmt: skip
            rows.append({"site": site, "place": " ".join(map(str, place)), "mean": float(one.mean()),
                         "sd": float(one.std()), **of})  # fmt: skip
    return pd.DataFrame(rows)


def main() -> None:
    """Sample every case and write the table."""
    rows = pd.concat([reference(name) for name in CASES], ignore_index=True)
    order = ["case", "spec_digest", "runs_digest", "divergent"]
    rows[[*order, *rows.columns.drop(order)]].to_csv(TABLE, index=False, float_format="%.8g")


if __name__ == "__main__":
    main()
