"""Layout: runs in blocks of one family each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bayescale.modelling.design import Design

_WIDTHS = (1, 2, 4, 8, 16, 32, 64, 128)

_OVER_RUNS = ("spent", "columns", "observed", "present", "basis")

_BLOCK_COST = 4  # cost of looking up a block's parameters, in units of one run, as measured on a CPU


def blocked(design: Design, shape: tuple[int, int]) -> tuple[Design, np.ndarray]:
    """Lay out runs in blocks of one family each.

    Families' parameters are then looked up, and their gradients summed, once per block instead of once per run, which
    would be half of the cost of a gradient. Tables of other sizes fit the same shape and reuse a compiled program.

    Parameters
    ----------
    design : Design
    shape : (int, int)
        Number of blocks and of slots per block, which :func:`layout` chooses.

    Returns
    -------
    Design
        Arrays over runs as (block, slot), with a mask.
    rows : ndarray of int, shape (run,)
        Position of each run in the flattened (block, slot).
    """
    blocks, width = shape
    order = np.argsort(design.family, kind="stable")
    sizes = np.bincount(design.family, minlength=design.families)
    counts = -(-sizes // width)
    counts[-1] += blocks - counts.sum()  # the remaining blocks are empty and belong to the last family
    family = np.repeat(np.arange(design.families), counts)
    slot = np.arange(blocks * width) - np.repeat(np.cumsum(counts) - counts, counts * width) * width
    mine = np.repeat(family, width)
    taken = slot < sizes[mine]
    first = np.cumsum(sizes) - sizes
    source = order[first[mine] + slot % sizes[mine]].reshape(shape)  # an empty slot repeats a run
    rows = np.empty(len(order), int)
    rows[source.ravel()[taken]] = np.flatnonzero(taken)
    spread: dict[str, Any] = {part: {k: v[source] for k, v in getattr(design, part).items()} for part in _OVER_RUNS}
    return replace(design, **spread, family=family[:, None], mask=taken.reshape(shape)), rows


def layout(designs: Sequence[Design]) -> tuple[int, int]:
    """Return the (block, slot) of least cost that fits the runs of each of several designs.

    Both numbers are rounded up by at most an eighth, so that a table with slightly more runs reuses a compiled program.

    Parameters
    ----------
    designs : sequence of Design

    Returns
    -------
    blocks, width : int
    """
    sizes = [np.bincount(design.family, minlength=design.families) for design in designs]

    def blocks(width: int) -> int:
        return max(int(np.sum(-(-size // width))) for size in sizes)

    if all(design.families == 1 for design in designs):
        return 1, _rounded(max(int(size[0]) for size in sizes))
    width = min(_WIDTHS, key=lambda width: blocks(width) * (width + _BLOCK_COST))
    return _rounded(blocks(width)), width


def _rounded(count: int) -> int:
    step = 2 ** max(count.bit_length() - 4, 0)
    return -(-count // step) * step
