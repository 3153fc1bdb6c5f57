"""Sort: which families are in one lot, by what runs say of them, and so how they share a parameter."""

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

_SHARED_RUNS = 0.2  # of the runs of the smaller of two families, which both must hold to be one


def lots_of(spec: Model, table: pd.DataFrame) -> dict[str, list[Any]]:
    """Lot of each family of a table, by what names it, for each way of pooling of a spec that sorts families.

    Raises
    ------
    RunsError
        If runs of a family differ in it.
    """
    ways = [part("pooling", name) for name in sorted({setting.pooling for _, setting in spec.settings})]
    found = {way.name: lots_by(way, table) for way in ways if way.lots}
    return {name: keys for name, keys in found.items() if keys}


def lots_by(way: AbstractPooling, table: pd.DataFrame) -> list[Any]:
    """Lot of each family of a table, by what a way of pooling sorts them by; empty where runs name none.

    Raises
    ------
    RunsError
        If runs of a family differ in it.
    """
    columns = list(way.lots)
    if not set(columns) <= set(table) or not (way.named or (table[columns] != "").to_numpy().any()):
        return []
    return [_lot(family, columns, mine) for family, mine in table.groupby("family")]


def law_keys(spec: Model, table: pd.DataFrame) -> list[Any]:
    """What each family of a table has its law from, but for what is its own: alike families, the same.

    Families that scatter by a spread which is still to be learnt are not alike.
    """
    law = part("laws", spec.law).parameters
    ways = {spec.parameters[name].pooling for name, of in law.items() if not of.own}
    names = sorted(table["family"].unique())
    if ways == {Complete.name}:
        return [""] * len(names)
    return next((keys for way, keys in lots_of(spec, table).items() if ways == {way}), names)


def members(way: AbstractPooling, table: pd.DataFrame) -> np.ndarray:
    """Which families are in each lot; shape (lot, family), without a row if each is in its own, or all in one.

    Those of one suite are the population that a next family of it comes from, and say nothing of other suites.
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
            expected=f"one {' and one '.join(columns)} a family",
            got="; ".join(" in ".join(map(repr, key)) for key in sorted(keys)),
            hint="make a family of each",
        )
    (key,) = keys
    return key if all(key) else (family, *key)  # without a name, a lot of its own


def ways_of(spec: Model, families: int, lots: Collection[str]) -> dict[str, AbstractPooling]:
    """How so many families, of which these ways find lots, share each parameter of a spec."""
    found = {}
    for name, setting in spec.settings:
        way = spec.part("pooling", setting.pooling if families > 1 else Complete.name)
        found[name] = Unpooled() if way.lots and way.name not in lots else way
    return found


def centered(spec: Model) -> dict[str, AbstractCentered]:
    """How families share each parameter of which they scatter about a centre that is learnt, if there are several."""
    ways = {name: spec.part("pooling", setting.pooling) for name, setting in spec.settings}
    return {name: way for name, way in ways.items() if way.centered}


def spreads(spec: Model) -> dict[str, np.ndarray]:
    """Spread of each parameter of which it is known, as an array."""
    return {name: np.asarray(s.spread) for name, s in spec.settings if part("pooling", s.pooling).known}


def suites_of(spec: Model, table: pd.DataFrame) -> list[str]:
    """Suites over which a table's families are pooled; one without a name is called as its family."""
    keys = lots_of(spec, table).get(BySuite.name, [])
    return [key[0] for key in dict.fromkeys(keys)]


def is_pooled(spec: Model) -> bool:
    """Whether any family's parameters depend on every other's."""
    if not spec.law:  # a model of one's own may tie families together in ways that only its code says
        return True
    return any(part("pooling", setting.pooling).together for _, setting in spec.settings)


def together(specs: Sequence[Model], table: pd.DataFrame) -> dict[str, frozenset[str]]:
    """Families of a table that a family's parameters depend on under any of some specs, itself among them."""
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
    """Which families of `learned` hold runs of each family of `runs`, whatever they are called there.

    A family is one of them if it has the name, or a fifth of the runs of either are the other's: families on
    one grid of params and tokens have a run or two of the same loss by chance.
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
    """Runs by what they are, to a few digits: the same run is rounded otherwise in another table."""
    digits = {"params": 2, "tokens": 2, "loss": 3}
    columns = [runs[name] for name in digits]
    return [
        tuple(f"{x:.{n}e}" for x, n in zip(row, digits.values(), strict=True)) for row in zip(*columns, strict=True)
    ]
