"""Compiled programs: kept by shape in this process, and between processes in the user's cache folder.

A process that finds both the trace (kept here) and the machine code (kept by JAX) neither traces nor
compiles. Up to two programs compile in threads while the caller traces the next.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock, RLock
from typing import Any

import jax
import jax.numpy as jnp
from jax import export
from jax.experimental.compilation_cache import compilation_cache

from bayescale.core import cache as cache_folder
from bayescale.core.errors import FitError
from bayescale.core.files import atomic_write
from bayescale.modelling.spec import Spec

PLATFORMS = ("cpu", "gpu", "tpu")
DEVICES = ("auto", *PLATFORMS)
"""Values of the option that says where to sample."""
# With fewer runs, a CPU finishes the fit before an accelerator has compiled it (benchmarks/devices.md).
_LARGE = 20_000
_DIGEST = 32  # bytes of a SHA-256
_KEEP_ALL = {"jax_persistent_cache_min_compile_time_secs": 0.0, "jax_persistent_cache_min_entry_size_bytes": -1}
_KEPT = ("cpu",)  # platforms whose traces are kept; named, because JAX otherwise chooses one itself

TRACING = RLock()  # NumPyro's handlers are one stack for all threads: models traced in parallel would mix them


_SCOPES, _SCOPE_LOCK = [0], Lock()
_HOSTS: dict[str, Any] = {}


@contextmanager
def use_cache() -> Iterator[None]:
    """Keep compiled programs in the user's cache folder, unless JAX already has a cache folder.

    JAX's settings apply to the entire process. On exit, the settings of the host program are restored.
    """
    with _SCOPE_LOCK:
        _SCOPES[0] += 1
        if _SCOPES[0] == 1 and jax.config.jax_compilation_cache_dir is None and (folder := cache_folder.usable()):
            ours = {"jax_compilation_cache_dir": str(folder), **_KEEP_ALL}
            _HOSTS.update({name: getattr(jax.config, name) for name in ours})
            _set(ours)
    try:
        yield
    finally:
        with _SCOPE_LOCK:
            _SCOPES[0] -= 1
            if not _SCOPES[0] and _HOSTS:
                _set(_HOSTS)
                _HOSTS.clear()


def _set(settings: Mapping[str, Any]) -> None:
    """Set JAX's settings and make it look for its cache again: otherwise it looks once per process."""
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def devices_for(device: str, runs: int) -> list[Any]:
    """Return the devices of this process for a fit.

    Parameters
    ----------
    device : {"auto", "cpu", "gpu", "tpu"}
        ``"auto"`` is the accelerator if JAX has one and there are many runs, else the CPU.
    runs : int
        Number of runs.

    Returns
    -------
    list of jax.Device

    Raises
    ------
    FitError
        If the name is unknown or JAX has no such device.
    """
    if device not in DEVICES:
        raise FitError(f"no device is called {device!r}", expected=f"one of: {', '.join(DEVICES)}", got=repr(device))
    if device == "auto":
        device = jax.default_backend() if runs >= _LARGE else "cpu"
    try:
        return jax.local_devices(backend=device)
    except RuntimeError:
        raise FitError(
            f"JAX has no {device} here",
            got=f"its devices: {', '.join(map(str, jax.devices()))}",
            hint=f"install JAX for the {device}, or let the device be chosen (auto)",
        ) from None


class Program:
    """A function compiled for the shapes of its arguments; it compiles in a thread while the caller goes on.

    Attributes
    ----------
    out : pytree of jax.ShapeDtypeStruct
        Shapes of the result: enough to compile the next program before this one has run.
    """

    def __init__(self, lowered: Any, out: Any) -> None:
        self.out = out
        x64, device = jax.config.jax_enable_x64, jax.config.jax_default_device
        self._compiled = _workers().submit(_compile, lowered, x64, device)

    def wait(self) -> None:
        """Wait until it is compiled, or loaded from the cache."""
        self._compiled.result()

    def __call__(self, *arguments: Any) -> Any:
        """Wait until it is compiled, and run it; the result has the structure of `out`."""
        leaves = self._compiled.result()(*jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(self.out), leaves)


def call(function: Any, *arguments: Any, **settings: Any) -> Any:
    """Run a function, compiled for the shapes of its arguments.

    Parameters
    ----------
    function : callable
    *arguments : pytree of Array
    **settings
        Static arguments.

    Returns
    -------
    pytree of Array
    """
    return compiled(function, settings, *arguments)(*arguments)


def compiled(function: Any, settings: dict[str, Any], *arguments: Any) -> Program:
    """Return the program of a function; it may still compile.

    Parameters
    ----------
    function : callable
    settings : dict
        Static arguments.
    *arguments : pytree
        Arrays, or anything with a shape and a dtype.

    Returns
    -------
    Program
    """
    leaves, structure = jax.tree.flatten(arguments)
    shapes = tuple((tuple(leaf.shape), str(leaf.dtype)) for leaf in leaves)
    with TRACING:
        return _program(function, tuple(sorted(settings.items())), structure, shapes, jax.config.jax_default_device)


@lru_cache(maxsize=64)
def _program(function: Any, settings: tuple, structure: Any, shapes: tuple, device: Any) -> Program:
    """Trace a function, or read the trace of an earlier process."""
    leaves = [jax.ShapeDtypeStruct(shape, _dtype(name)) for shape, name in shapes]
    path = _path(function, settings, structure, shapes, device)
    found = _read(path)
    if found is None:
        structures: list[Any] = []

        def flat(*leaves: Any) -> list[Any]:
            result = function(*jax.tree.unflatten(structure, leaves), **dict(settings))
            results, found = jax.tree.flatten(result)
            structures.append(found)
            return results

        flat.__name__ = function.__name__
        if path is None:
            lowered = jax.jit(flat).lower(*leaves)
            return Program(lowered, jax.tree.unflatten(structures[0], _like(lowered.out_info)))
        traced = export.export(jax.jit(flat), platforms=_KEPT)(*leaves)
        content = bytes(traced.serialize()), structures[0]
        _write(path, content)
        found = _restored(content)
    return Program(jax.jit(found[0].call).lower(*leaves), found[1])


def _restored(content: Any) -> tuple[Any, Any]:
    """Return a trace and the shapes of its result."""
    traced = export.deserialize(bytearray(content[0]))
    return traced, jax.tree.unflatten(content[1], _like(traced.out_avals))


def _like(avals: Any) -> list[Any]:
    return [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals]


def _compile(lowered: Any, x64: bool, device: Any) -> Any:
    with jax.enable_x64(x64), jax.default_device(device):  # JAX's settings are set by thread
        return lowered.compile()


@cache
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2, thread_name_prefix="compile")


def _path(function: Any, settings: tuple, structure: Any, shapes: tuple, device: Any) -> Path | None:
    """Return where the trace is kept; None if it is not: on other platforms, and for functions of other packages.

    The file's name is a digest of everything that a trace depends on: bayescale's sources, JAX, NumPyro, Python, the
    settings and the shapes.
    """
    folder = cache_folder.usable()
    package = __name__.partition(".")[0]
    ours = function.__module__.partition(".")[0] == package
    plain = all(isinstance(value, str | int | float | Spec | None) for _, value in settings)
    platform = device.platform if device is not None else jax.default_backend()
    if not (folder and ours and plain and platform in _KEPT):
        return None
    said = [(name, value.digest if isinstance(value, Spec) else value) for name, value in settings]
    flags = sorted((name, str(value)) for name, value in jax.config.values.items() if "cache" not in name)
    made_of = [_sources(), version("jax"), version("jaxlib"), version("numpyro"), sys.version, flags]
    made_of += [function.__module__, function.__qualname__, said, str(structure), shapes]
    return folder / cache_folder.TRACES / hashlib.sha256(repr(made_of).encode()).hexdigest()


@cache
def _sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _read(path: Path | None) -> tuple[Any, Any] | None:
    """Read what :func:`_write` wrote; None if it does not exist, is damaged, or is something else."""
    try:
        content = path.read_bytes() if path else b""
        if path:
            os.utime(path)  # mark it as used: the least recently used files are removed first
    except OSError:
        return None
    digest, content = content[:_DIGEST], content[_DIGEST:]
    if digest != hashlib.sha256(content).digest():
        return None
    try:
        return _restored(pickle.loads(content))
    except Exception:  # a foreign entry may raise anything; it is traced again, and replaced
        return None


def _write(path: Path, found: Any) -> None:
    """Write a trace atomically. A full disk only costs the next process time."""
    content = pickle.dumps(found)
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            temporary.write_bytes(hashlib.sha256(content).digest() + content)


def _dtype(name: str) -> Any:
    return jax.random.key(0).dtype if name.startswith("key") else jnp.dtype(name)
