"""Names of dims, and the conversion of arrays with stated dims to an ArviZ 1.x DataTree.

Dims are always stated and never guessed: a converter that guesses may take a vector for draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

CHAIN, DRAW, RUN, FAMILY, QUERY, ACTION, BUDGET = "chain", "draw", "run", "family", "query", "action", "budget"
KNOT, TEXT, SUITE = "knot", "text", "suite"
DIMS = (CHAIN, DRAW, RUN, FAMILY, QUERY, ACTION, BUDGET, KNOT, TEXT, SUITE)
"""Every dim that an output may have. The names are part of the public interface; ArviZ reserves other names."""

QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}
KINDS = {"predictive": "", "epred": "epred_"}
"""Prefixes of the columns of a forecast."""

# A table of queries that has these columns is the output of an earlier forecast.
MADE = {prefix + name for prefix in KINDS.values() for name in ("mean", "sd", *QUANTILES)}
MADE |= {"reach_decades", "distance", "extrapolation", "covered_90", "backtests", "backtest_families"}
VERDICT, PROVISIONAL = "verdict", "provisional"
"""Columns that say whether the numbers of a forecast are reliable; the second exists only if they are not."""
MADE |= {VERDICT, PROVISIONAL}
"""Columns that a forecast makes."""

DATA_GROUPS = ("observed_data", "constant_data")


def runs_of(site: str) -> str:
    """Return the dim of the runs that have a value of a site, where others have none.

    Parameters
    ----------
    site : str
        An observed site.

    Returns
    -------
    str
        Its labels are the places of these runs among all runs, which are the labels of the dim ``run``.
    """
    return f"{RUN}_of_{site}"


def to_datatree(
    groups: Mapping[str, Mapping[str, Any]],
    dims: Mapping[str, Sequence[str]],
    coords: Mapping[str, Any],
) -> xr.DataTree:
    """Build a DataTree from arrays.

    Parameters
    ----------
    groups : mapping of str to mapping of str to array
        Arrays by group and name. Arrays of draws have leading dims (chain, draw); those of :data:`DATA_GROUPS` do not.
    dims : mapping of str to sequence of str
        Other dims of each array, by name, or by ``group/name`` where groups differ.
    coords : mapping of str to array
        Labels of dims; by default integers from 0.

    Returns
    -------
    DataTree

    Raises
    ------
    ValueError
        If the shape of an array does not match its dims.
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
