"""The engine's posteriors against long chains of another sampler, made by benchmarks/references.py."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayescale as bs

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import references

TABLE = pd.read_csv(references.TABLE, keep_default_na=False)
ERRORS = (
    4.5  # Monte Carlo errors: one of a hundred comparisons of correct posteriors exceeds it with probability 0.0007
)


def test_the_long_chains_agree_and_their_draws_are_nearly_independent() -> None:
    """The criteria of posteriordb: what engine changes are held to must itself be known."""
    kept = references.CHAINS * references.DRAWS / references.THIN
    assert set(TABLE["case"]) == set(references.CASES)
    assert TABLE["rhat"].max() < references.WORST_RHAT
    assert TABLE["ess"].min() > references.LEAST_ESS * kept
    assert (TABLE["divergent"] == 0).all()


@pytest.mark.parametrize("name", references.CASES)
def test_means_and_sds_are_those_of_long_chains_within_monte_carlo_error(name: str) -> None:
    spec, runs = references.case(name)
    mine = TABLE[TABLE["case"] == name]
    made_of = {"spec_digest": spec.digest, "runs_digest": runs.digest}
    assert all((mine[key] == digest).all() for key, digest in made_of.items()), "run benchmarks/references.py again"
    fit = bs.fit(runs, spec, seed=0)
    assert fit.converged
    drawn = {site: fit.tree["posterior"][site].to_numpy() for site in mine["site"].unique()}
    found = references.summarised(drawn).set_index(["site", "place"])
    known = mine.assign(place=mine["place"].astype(str)).set_index(["site", "place"])
    assert set(found.index) == set(known.index)
    for figure in ("mean", "sd"):
        error = np.hypot(found[f"{figure}_error"], known[f"{figure}_error"])
        away = ((found[figure] - known[figure]) / error).abs()
        assert away.max() < ERRORS, away.sort_values().tail(3)
