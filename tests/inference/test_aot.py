"""Compiled programs: what a process leaves for the next."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescale.inference import aot
from bayescale.inference.potential import initial
from bayescale.modelling.design import design
from bayescale.modelling.layout import blocked, layout
from bayescale.modelling.spec_io import load_spec


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache folder, and a process that has compiled nothing."""
    monkeypatch.setenv("BAYESCALE_CACHE", str(tmp_path))
    aot._program.cache_clear()
    yield tmp_path / "traced"
    aot._program.cache_clear()


def begin(chinchilla):
    spec = load_spec("additive")
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        points = design(spec, chinchilla)
        points, _ = blocked(points, layout([points]))
        return aot.call(initial, points, spec=spec)


def test_models_are_traced_one_after_the_other(folder):
    """NumPyro's handlers are one stack for all threads: a model that is traced would meet another's."""
    inside, most = [], []

    def slow(x, *, name):
        inside.append(name)
        time.sleep(0.05)
        most.append(len(inside))
        inside.remove(name)
        return x + 1

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda name: aot.compiled(slow, {"name": name}, jnp.zeros(1)), "abc"))
    assert most
    assert max(most) == 1


def test_what_is_read_back_is_what_was_traced(chinchilla, folder, monkeypatch):
    made = begin(chinchilla)
    assert len(list(folder.iterdir())) == 1
    aot._program.cache_clear()
    monkeypatch.setattr(aot.export, "export", None)  # nothing may be traced again
    assert begin(chinchilla) == made


def test_a_trace_is_of_the_platform_it_is_kept_for(chinchilla, folder, monkeypatch):
    """Where JAX has an accelerator it would export for that, and no fit on the CPU beside it would run."""
    said, export = [], aot.export.export
    monkeypatch.setattr(aot.export, "export", lambda *a, **k: said.append(k) or export(*a, **k))
    begin(chinchilla)
    assert [kinds["platforms"] for kinds in said] == [("cpu",)]


def test_a_damaged_trace_is_made_anew(chinchilla, folder):
    made = begin(chinchilla)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    for content in (b"", whole[:-9], whole[:40] + bytes(64) + whole[104:]):
        path.write_bytes(content)
        aot._program.cache_clear()
        assert begin(chinchilla) == made
        assert path.read_bytes() != content


def test_another_version_of_the_sources_is_traced_anew(chinchilla, folder, monkeypatch):
    begin(chinchilla)
    aot._program.cache_clear()
    monkeypatch.setattr(aot, "_sources", lambda: "other")
    begin(chinchilla)
    assert len(list(folder.iterdir())) == 2


def test_functions_of_others_are_not_kept(folder):
    assert aot.call(jax.jit(lambda x: x + 1), jnp.zeros(3)).tolist() == [1, 1, 1]
    assert not folder.exists()


def test_shapes_of_the_result_are_known_before_it_has_run(folder):
    program = aot.compiled(jax.jit(lambda x: {"sum": x.sum()}), {}, np.zeros(3, np.float32))
    assert program.out["sum"].shape == ()
    assert program.out["sum"].dtype == np.float32


def test_a_program_is_traced_though_arviz_came_first():
    """ArviZ imports NumPyro lazily, and a module that is imported under it by its full name runs twice."""
    code = (
        "import arviz, bayescale as bs; "
        "from bayescale.inference.potential import initial; from bayescale.modelling.design import design; "
        "spec = bs.load_spec('additive'); print(len(initial(design(spec, bs.load_runs('hoffmann2022')), spec=spec)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "7", done.stderr[-500:]


AT_ONCE = """
import jax
from bayescale.inference import aot
from bayescale.inference.potential import initial
from bayescale.modelling.design import design
from bayescale.modelling.spec_io import load_spec
from bayescale.runs.readers import load_runs
spec = load_spec("additive")
with aot.use_cache(), jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
    print(aot.call(initial, design(spec, load_runs("hoffmann2022")), spec=spec))
"""


def test_two_processes_that_fill_one_cache_at_once_find_the_same(folder):
    begun = [subprocess.Popen([sys.executable, "-c", AT_ONCE], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) for _ in range(2)]  # fmt: skip
    (one, quiet), (other, silent) = (process.communicate(timeout=200) for process in begun)
    assert one == other != ""
    assert quiet == silent == ""
    (trace,) = folder.iterdir()  # and no temporary file
    assert aot._read(trace) is not None
