"""Devices: where a fit runs, and chains shared among several of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import bayescale as bs
from bayescale.compiling import devices_for
from bayescale.errors import FitError

SHARED = """
import json
import jax
import bayescale as bs
from bayescale import sampling

used = []
lower = sampling.run_chains.lower

class Watched:
    @staticmethod
    def lower(*arguments, **settings):
        used.append(len(arguments[0].sharding.device_set))
        return lower(*arguments, **settings)

sampling.run_chains = Watched
made = {}
for chains in (4, 6):
    fit = bs.fit("hoffmann2022", "additive", seed=3, chains=chains, progress=False)
    made[chains] = fit.summary[["mean", "sd", "ess_bulk"]].to_dict("index") | {"verdict": fit.verdict}
print(json.dumps({"devices": len(jax.devices()), "used": used, "made": made}))
"""


def test_chains_are_shared_among_four_devices_and_say_the_same() -> None:
    flags = "--xla_force_host_platform_device_count=4"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", SHARED], env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["devices"] == 4
    assert said["used"] == [4, 2]  # six chains fall equally on two
    alone = bs.fit("hoffmann2022", "additive", seed=11, progress=False).summary
    for made in said["made"].values():
        assert made.pop("verdict") == "converged"
        for name, shared in made.items():
            row = alone.loc[name]
            error = np.hypot(row["sd"] / np.sqrt(row["ess_bulk"]), shared["sd"] / np.sqrt(shared["ess_bulk"]))
            assert abs(shared["mean"] - row["mean"]) < 4.5 * error, name


def test_small_tables_stay_on_the_cpu() -> None:
    assert {device.platform for device in devices_for("auto", 240)} == {"cpu"}


@pytest.mark.parametrize("device", ["gpu", "tpu"])
def test_an_absent_device_is_named(device: str) -> None:
    if jax.default_backend() == device:
        pytest.skip(f"this machine has a {device}")
    with pytest.raises(FitError, match=f"JAX has no {device} here"):
        bs.fit("hoffmann2022", "additive", device=device)


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(FitError, match="no device is called 'cuda'"):
        bs.fit("hoffmann2022", "additive", device="cuda")
