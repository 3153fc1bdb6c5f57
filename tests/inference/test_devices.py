"""Devices: where a fit runs, and chains shared among several of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest

import bayescale as bs
from bayescale.core.errors import FitError
from bayescale.core.executors import Dask
from bayescale.core.progress import Stages
from bayescale.inference import nuts, vectorized
from bayescale.inference.aot import devices_for
from bayescale.inference.batch import FitOptions, _engine
from bayescale.inference.fit import sampled_many
from bayescale.modelling.design import design
from bayescale.modelling.layout import layout

accelerator = pytest.mark.skipif(jax.default_backend() == "cpu", reason="JAX has no accelerator here")


def assert_same(one: bs.Fit, other: bs.Fit) -> None:
    """Posterior means of every parameter within their Monte Carlo error."""
    for name, row in one.summary.iterrows():
        beside = other.summary.loc[name]
        error = np.hypot(*(of["sd"] / np.sqrt(of["ess_bulk"]) for of in (row, beside)))
        assert abs(row["mean"] - beside["mean"]) < 4.5 * error, name


SHARED = """
import json
import jax
import bayescale as bs
from bayescale.inference import vectorized

used = []
lower = vectorized.run_chains.lower

class Watched:
    @staticmethod
    def lower(*arguments, **settings):
        used.append(len(arguments[0].sharding.device_set))
        return lower(*arguments, **settings)

vectorized.run_chains = Watched
made = {}
for chains in (4, 6):
    fit = bs.fit("hoffmann2022", "additive", seed=3, chains=chains, progress=False)
    made[chains] = fit.summary[["mean", "sd", "ess_bulk"]].to_dict("index") | {"verdict": str(fit.verdict)}
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


@pytest.mark.skipif(jax.default_backend() == "gpu", reason="this machine has a gpu")
def test_a_device_of_other_machines_is_not_asked_of_this_one() -> None:
    assert isinstance(_engine(FitOptions(device="gpu", scheduler="tcp://host:8786"), {}), Dask)
    with pytest.raises(FitError, match="JAX has no gpu here"):
        _engine(FitOptions(device="gpu"), {})


@pytest.mark.parametrize("wrong", [{"chains": 0}, {"draws": 3}, {"warmup": 5}])
def test_settings_of_tables_side_by_side_are_checked(wrong: dict[str, int]) -> None:
    settings = {"chains": 2, "warmup": None, "draws": 20} | wrong
    tables = [(bs.load_runs("hoffmann2022"), bs.load_spec("additive"), 0)]
    with pytest.raises(FitError, match=f"{next(iter(wrong))} is too small"):
        sampled_many(tables, **settings, devices=jax.devices("cpu"), stages=Stages())


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(FitError, match="no device is called 'cuda'"):
        bs.fit("hoffmann2022", "additive", device="cuda")


def test_lanes_draw_what_a_table_alone_does_and_a_table_that_fails_fails_alone() -> None:
    spec, runs = bs.load_spec("additive"), bs.load_runs("hoffmann2022")
    tables = [runs.take(np.arange(start, len(runs), 3)) for start in range(3)]
    settings = {"chains": 2, "warmup": 60, "draws": 20, "stages": Stages()}
    with jax.enable_x64(True):
        designs = [design(spec, table) for table in tables]
        designs[1] = replace(designs[1], observed={"loss": np.full(len(tables[1]), np.nan)})
        inputs = [(jax.random.key(i), points, spec) for i, points in enumerate(designs)]
        settings["shape"] = layout(designs)
        found = vectorized.sample_side_by_side(inputs, **settings, devices=jax.devices("cpu")[:1])
        alone = [nuts.sample(*inputs[i], **settings) for i in (0, 2)]
    assert isinstance(found[1], FitError)
    for together, by_itself in zip((found[0], found[2]), alone, strict=True):
        assert together.engine == by_itself.engine
        assert together.log_likelihood["loss"].shape == by_itself.log_likelihood["loss"].shape
        for name, draws in by_itself.sites.items():
            np.testing.assert_allclose(together.sites[name], draws, rtol=1e-6, err_msg=name)


@accelerator
def test_an_accelerator_and_the_cpu_beside_it_say_the_same() -> None:
    fits = [bs.fit("hoffmann2022", "additive", seed=3, device=device, progress=False) for device in ("cpu", "auto")]
    assert [fit.meta["device"] for fit in fits] == ["cpu", "cpu"]
    fits.append(bs.fit("hoffmann2022", "additive", seed=4, device=jax.default_backend(), progress=False))
    assert fits[2].meta["device"] == jax.default_backend()
    assert_same(fits[0], fits[2])


@accelerator
def test_a_batch_on_an_accelerator_says_what_the_cpu_does() -> None:
    runs = bs.load_runs("hoffmann2022")
    tables = {f"{start}": runs.take(np.arange(start, len(runs), 3)) for start in range(3)}
    batch = bs.fit_many(tables, "additive", device=jax.default_backend(), progress=False)
    assert not batch.problems
    for name, fit in batch.fits.items():
        assert fit.meta["device"] == jax.default_backend()
        assert_same(fit, bs.fit(tables[name], "additive", seed=7, device="cpu", progress=False))
