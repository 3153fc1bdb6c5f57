"""Saved fits whose runs or spec were changed to others that could be, with a right seal: only the digests show it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import h5py
from fuzz_fits import good
from harness import Case, Shortfall

import bayescale as bs
from bayescale.inference.container import sealed


def _runs(file: h5py.File, rng: random.Random) -> str:
    path = rng.choice(["observed_data/loss", "constant_data/params", "constant_data/tokens"])
    file[path][rng.randrange(len(file[path]))] *= 1 + 10 ** -rng.uniform(1, 12)
    return f"one of {path}"


def _spec(file: h5py.File, rng: random.Random) -> str:
    meta = json.loads(file.attrs["bayescale"])
    name = rng.choice(sorted(meta["spec"]["parameters"]))
    prior = meta["spec"]["parameters"][name]["prior"]
    key = rng.choice([key for key, value in prior.items() if isinstance(value, float)])
    prior[key] += rng.uniform(0.01, 0.5)
    file.attrs["bayescale"] = json.dumps(meta)
    return f"the {key} of the prior of {name}"


def make(rng: random.Random, folder: Path) -> Case:
    """A saved fit with one plausible change, which must be refused, or with none, which must be read."""
    path, change = folder / "case.nc", rng.choice([_runs, _spec, None])
    path.write_bytes(good(folder)["fit"])
    with h5py.File(path, "r+") as file:
        label = change(file, rng) if change else "nothing"
    path.write_bytes(sealed(path.read_bytes()))

    def load() -> None:
        bs.load_fit(path)
        if change:
            raise Shortfall("read, although it is not what its digests say")

    return Case(f"{label}, sealed; load", load)
