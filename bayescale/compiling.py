"""Compiled programs: kept by shape in this process, and in the user's cache folder between processes."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import platformdirs

from bayescale.errors import FitError
from bayescale.spec import Spec

PLATFORMS = ("cpu", "gpu", "tpu")
DEVICES = ("auto", *PLATFORMS)
"""What a fit may be asked to run on."""
# Below this many runs a leapfrog step is a few microseconds on a CPU, less than an accelerator takes to start one.
_LARGE = 20_000


def use_cache() -> None:
    """Keep compiled programs in the user's cache folder, unless JAX has one already.

    The folder is private to the user: compiled programs are trusted input. The environment variable
    ``BAYESCALE_CACHE`` names another folder; empty, it switches the cache off.
    """
    folder = os.environ.get("BAYESCALE_CACHE", platformdirs.user_cache_dir("bayescale"))
    if folder and jax.config.jax_compilation_cache_dir is None:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def devices_for(device: str, runs: int) -> list[Any]:
    """Devices of this process on which to fit so many runs.

    ``"auto"`` is the accelerator, if JAX has one and the table is large, else the CPU.

    Raises
    ------
    FitError
        If the name is unknown or JAX has no such device.
    """
    if device not in DEVICES:
        raise FitError(f"no device is called {device!r}", wanted=f"one of: {', '.join(DEVICES)}", came=repr(device))
    if device == "auto":
        device = jax.default_backend() if runs >= _LARGE else "cpu"
    try:
        return jax.local_devices(backend=device)
    except RuntimeError:
        raise FitError(
            f"JAX has no {device} here",
            came=f"its devices: {', '.join(map(str, jax.devices()))}",
            do=f"install JAX for the {device}, or leave the device to be chosen",
        ) from None


def call(program: Any, *arguments: Any, spec: Spec) -> Any:
    """Run a program that is static in `spec`, compiled for the shapes of its arguments."""
    return compiled(program, {"spec": spec}, *arguments)(*arguments)


def compiled(program: Any, settings: dict[str, Any], *arguments: Any) -> Any:
    """The compiled program for these shapes; kept, so that compiling is a stage of its own."""
    leaves, structure = jax.tree.flatten(arguments)
    shapes = tuple((np.shape(leaf), str(leaf.dtype)) for leaf in leaves)
    return _compile(program, tuple(settings.items()), structure, shapes, jax.config.jax_default_device)


@lru_cache(maxsize=64)
def _compile(program: Any, settings: tuple, structure: Any, shapes: tuple, device: Any) -> Any:
    leaves = [jax.ShapeDtypeStruct(shape, _dtype(name)) for shape, name in shapes]
    return program.lower(*jax.tree.unflatten(structure, leaves), **dict(settings)).compile()


def _dtype(name: str) -> Any:
    return jax.random.key(0).dtype if name.startswith("key") else jnp.dtype(name)
