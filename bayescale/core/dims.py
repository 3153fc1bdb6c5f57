"""Arrays with stated dims → an ArviZ 1.x DataTree, and the names of those dims.

Shapes are stated here and never guessed: a converter that guesses reads a vector as draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

CHAIN, DRAW, RUN, FAMILY, QUERY, ACTION, BUDGET = "chain", "draw", "run", "family", "query", "action", "budget"
KNOT, TEXT, SUITE = "knot", "text", "suite"
DIMS = (CHAIN, DRAW, RUN, FAMILY, QUERY, ACTION, BUDGET, KNOT, TEXT, SUITE)
"""Every dim that an output may have. Names are public interface; ArviZ reserves others."""

QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}
KINDS = {"predictive": "", "epred": "epred_"}
"""Prefixes of the columns of a forecast."""

# A table of queries that holds them is an earlier forecast's output.
MADE = {prefix + name for prefix in KINDS.values() for name in ("mean", "sd", *QUANTILES)}
MADE |= {"reach_decades", "distance", "extrapolation", "covered_90", "backtests", "backtest_families"}
VERDICT, PROVISIONAL = "verdict", "provisional"
"""Columns that say whether a forecast's numbers can be relied on; the second is there only where they cannot."""
MADE |= {VERDICT, PROVISIONAL}
"""Columns that a forecast makes."""

DATA_GROUPS = ("observed_data", "constant_data")


def to_datatree(
    groups: Mapping[str, Mapping[str, Any]],
    dims: Mapping[str, Sequence[str]],
    coords: Mapping[str, Any],
) -> xr.DataTree:
    """Build a DataTree; draws lead with (chain, draw), data groups with neither.

    `dims` names the other dims of an array by its name, or by ``group/name`` where groups differ.

    Raises
    ------
    ValueError
        If an array's shape is not that of its dims.
    """
    tree = {}
    for group, arrays in groups.items():
        lead = () if group in DATA_GROUPS else (CHAIN, DRAW)
        variables = {}
        for name, value in arrays.items():
            array, names = np.asarray(value), (*lead, *dims.get(f"{group}/{name}", dims.get(name, ())))
            if array.ndim != len(names):
                raise ValueError(f"{group}/{name}: shape {array.shape} for dims {names}")
            variables[name] = (names, array)
        dataset = xr.Dataset(variables)
        known = {d: coords.get(str(d), np.arange(n)) for d, n in dataset.sizes.items()}
        tree[group] = dataset.assign_coords(known)
    return xr.DataTree.from_dict(tree)
