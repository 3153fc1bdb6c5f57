"""Grouping: which families are in the same lot, according to columns of the runs, and how they share parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bayescale.core.errors import RunsError
from bayescale.modelling.model import Model
from bayescale.parts.base import AbstractCentered, AbstractPooling
from bayescale.parts.catalogue import part
from bayescale.parts.pooling.by_suite import BySuite
from bayescale.parts.pooling.complete import Complete
from bayescale.parts.pooling.none import Unpooled
from bayescale.runs.table import Runs

_SHARED_RUNS = 0.2  # share of the smaller family's runs that two families must have in common to count as one


def lots_of(spec: Model, table: pd.DataFrame) -> dict[str, list[Any]]:
    """Return the lot of each family, for each pooling of a spec that sorts families.

    Parameters
    ----------
    spec : Model
    table : DataFrame
        Runs.

    Returns
    -------
    dict of str to list
        Key of each family's lot, by pooling; families are in the order of their names.

    Raises
    ------
    RunsError
        If runs of one family are in different lots.
    """
    ways = [part("pooling", name) for name in sorted({setting.pooling for _, setting in spec.settings})]
    found = {way.name: lots_by(way, table) for way in ways if way.lots}
    return {name: keys for name, keys in found.items() if keys}


def lots_by(way: AbstractPooling, table: pd.DataFrame) -> list[Any]:
    """Return the lot of each family for one pooling.

    Parameters
    ----------
    way : AbstractPooling
    table : DataFrame
        Runs.

    Returns
    -------
    list
        Key of each family's lot, in the order of the families' names; empty if the runs name no lot.

    Raises
    ------
    RunsError
        If runs of one family are in different lots.
    """
    columns = list(way.lots)
    if not set(columns) <= set(table) or not (way.named or (table[columns] != "").to_numpy().any()):
        return []
    return [_lot(family, columns, mine) for family, mine in table.groupby("family")]


def law_keys(spec: Model, table: pd.DataFrame) -> list[Any]:
    """Return a key for each family of a table; families with equal keys share a law, except for its `own` parameters.

    Families whose spread is yet to be learned do not share a law.

    Parameters
    ----------
    spec : Spec
    table : DataFrame
        Runs.

    Returns
    -------
    list
        In the order of the families' names.
    """
    law = spec.part("laws", spec.law).parameters
    ways = {spec.parameters[name].pooling for name, of in law.items() if not of.own}
    names = sorted(table["family"].unique())
    if ways == {Complete.name}:
        return [""] * len(names)
    return next((keys for way, keys in lots_of(spec, table).items() if ways == {way}), names)


def members(way: AbstractPooling, table: pd.DataFrame) -> np.ndarray:
    """Return which families are in each lot.

    Families of one suite are the population of the suite's next family, and do not inform other suites.

    Returns
    -------
    ndarray of float, shape (lot, family)
        1 for members, otherwise 0. It has no rows if each family is in its own lot, or all are in one.
    """
    mine = lots_by(way, table)
    lots = list(dict.fromkeys(mine))
    several = 1 < len(lots) < len(mine)
    return np.array([[own == one for own in mine] for one in lots], float) if several else np.zeros((0, 0))


def _lot(family: Any, columns: list[str], runs: pd.DataFrame) -> Any:
    keys = set(runs[columns].itertuples(index=False, name=None))
    if len(keys) > 1:
        raise RunsError(
            f"runs of family {family!r} differ in {' or '.join(columns)}, by which families are pooled",
            expected=f"one {' and one '.join(columns)} per family",
            got="; ".join(" in ".join(map(repr, key)) for key in sorted(keys)),
            hint="make each of them a family",
        )
    (key,) = keys
    return key if all(key) else (family, *key)  # a family without a name of its lot is a lot of its own


def ways_of(spec: Model, families: int, lots: Collection[str]) -> dict[str, AbstractPooling]:
    """Return the pooling of each parameter of a spec.

    Parameters
    ----------
    spec : Spec
    families : int
        Number of families.
    lots : collection of str
        Names of the poolings that sort these families into lots.

    Returns
    -------
    dict of str to AbstractPooling
    """
    found: dict[str, AbstractPooling] = {}
    across = spec.across
    for name, setting in spec.settings:
        if name in across:  # the members of a battery take the place of families
            found[name] = spec.part("pooling", setting.pooling)
            continue
        way = spec.part("pooling", setting.pooling if families > 1 else Complete.name)
        found[name] = Unpooled() if way.lots and way.name not in lots else way
    return found


def sizes_of_centering(spec: Model, families: int) -> dict[str, int]:
    """Return how many values vary around a learned centre, for each parameter for which several do.

    Parameters
    ----------
    spec : Model
    families : int
        Number of families.

    Returns
    -------
    dict of str to int
        Families, or the responses of a battery, by parameter.
    """
    across, members = spec.across, spec.batteries
    sizes = {name: len(members[across[name]]) if name in across else families for name in centered(spec)}
    return {name: size for name, size in sizes.items() if size > 1}


def centered(spec: Model) -> dict[str, AbstractCentered]:
    """Return the pooling of each parameter for which families vary around a learned centre."""
    ways = {name: spec.part("pooling", setting.pooling) for name, setting in spec.settings}
    return {name: way for name, way in ways.items() if way.centered}


def spreads(spec: Model) -> dict[str, np.ndarray]:
    """Return the spread of each parameter whose spread is known, as an array of shape ()."""
    return {name: np.asarray(s.spread) for name, s in spec.settings if part("pooling", s.pooling).known}


def suites_of(spec: Model, table: pd.DataFrame) -> list[str]:
    """Return the suites over which a table's families are pooled; an unnamed suite has the name of its family."""
    keys = lots_of(spec, table).get(BySuite.name, [])
    return [key[0] for key in dict.fromkeys(keys)]


def is_pooled(spec: Model) -> bool:
    """Return whether the parameters of any family depend on those of every other."""
    if not spec.law or spec.across:  # a custom model may link families in its code; a battery's values are theirs all
        return True
    return any(part("pooling", setting.pooling).together for _, setting in spec.settings)


def together(specs: Sequence[Model], table: pd.DataFrame) -> dict[str, frozenset[str]]:
    """Return, for each family, the families (itself included) on which its parameters depend under any spec."""
    families = sorted(table["family"].unique())
    if any(is_pooled(spec) for spec in specs):
        return dict.fromkeys(families, frozenset(families))
    found = {name: frozenset([name]) for name in families}
    for keys in (keys for spec in specs for keys in lots_of(spec, table).values()):
        for key in set(keys):
            mine = [name for name, own in zip(families, keys, strict=True) if own == key]
            joined = frozenset().union(*(found[name] for name in mine))
            found |= dict.fromkeys(joined, joined)
    return found


def shared_families(learned: Runs, runs: Runs) -> dict[str, set[str]]:
    """Return which families of `learned` hold runs of each family of `runs`, whatever their names.

    Two families match if they have the same name, or share a fifth of the runs of the smaller one. Below that, families
    on one grid of params and tokens may have one or two runs of equal loss by chance.

    Parameters
    ----------
    learned, runs : Runs

    Returns
    -------
    dict of str to set of str
        Families of `learned`, by family of `runs`.
    """
    owners: dict[tuple, set[str]] = {}
    for key, family in zip(_keys(learned), learned["family"], strict=True):
        owners.setdefault(key, set()).add(family)
    keys, sizes, found = _keys(runs), Counter(learned["family"]), {}
    for name in runs.families:
        mine = [keys[i] for i in np.flatnonzero(runs["family"] == name)]
        held = Counter(owner for key in mine for owner in owners.get(key, ()))
        found[name] = {owner for owner, count in held.items() if count >= _SHARED_RUNS * min(len(mine), sizes[owner])}
        found[name] |= {name} & set(learned.families)
    return found


def _keys(runs: Runs) -> list[tuple[str, ...]]:
    """Return a key for each run from a few digits of its values, because tables round the same run differently."""
    digits = {"params": 2, "tokens": 2, "loss": 3}
    columns = [runs[name] for name in digits]
    return [
        tuple(f"{x:.{n}e}" for x, n in zip(row, digits.values(), strict=True)) for row in zip(*columns, strict=True)
    ]
