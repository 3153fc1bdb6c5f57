"""Precision: the one place that turns on float64, and only for the time of a computation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax


@contextmanager
def float64() -> Iterator[None]:
    """Compute in float64 within the context; the setting of the host program returns afterwards.

    In float32 the terms of a law cancel to fewer digits than runs are measured to.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> with float64():
    ...     str(jnp.zeros(1).dtype)
    'float64'
    """
    with jax.enable_x64(True):
        yield
