"""Glosses: the meaning of each symbol of a model, next to its first use on a page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from bayescale.reporting.words import Table

_UNTOUCHED = (
    "svg",
    "explorer",
    "figures",
    "command",
    "address",
    "name",
    "id",
    "title",
    "question",
    "state",
    "failed",
)
_SYMBOL_COLUMN = "unknown"  # of tables whose first column holds symbols without their meaning


def glossed(thing: Any, meanings: Mapping[str, str]) -> Any:
    """Add to each text the meaning of the symbols that it is the first to use, in the order of reading.

    A symbol counts as one where a message names it: at the beginning of a clause or in brackets. So the words "level"
    and "A" stay as they are.

    Parameters
    ----------
    thing : Content, or any value made of dataclasses, tuples and texts
    meanings : mapping of str to str
        By symbol.

    Returns
    -------
    object
        Of the same kind.
    """
    return _Glosses(meanings).walked(thing) if meanings else thing


class _Glosses:
    """The meanings, and the symbols that were used already."""

    def __init__(self, meanings: Mapping[str, str]) -> None:
        self.meanings, self.used = dict(meanings), set[str]()
        names = "|".join(sorted(map(re.escape, meanings), key=len, reverse=True))
        self.symbol = re.compile(rf"(^|\(|[;:,.] )({names})((?:\[[^\]]*\])?)(?=:|\)|$| \d| \$)")

    def walked(self, thing: Any) -> Any:
        if isinstance(thing, str):
            return self.symbol.sub(self._first, thing)
        if isinstance(thing, tuple):
            return tuple(map(self.walked, thing))
        if isinstance(thing, Table):
            return self._in_table(thing)
        if is_dataclass(thing) and not isinstance(thing, type):
            names = (of.name for of in fields(thing) if of.name not in _UNTOUCHED)
            return replace(thing, **{name: self.walked(getattr(thing, name)) for name in names})
        return thing

    def _in_table(self, table: Table) -> Table:
        """Every symbol, as a table is not read from its beginning."""
        if table.header[0][0] != _SYMBOL_COLUMN:
            return table
        rows = ((self.symbol.sub(self._meant, first), *rest) for first, *rest in table.rows)
        return replace(table, rows=tuple(rows))

    def _first(self, found: re.Match[str]) -> str:
        if found[2] in self.used:
            return found[0]
        self.used.add(found[2])
        return self._meant(found)

    def _meant(self, found: re.Match[str]) -> str:
        before, name, label = found.groups()
        meaning = self.meanings[name]
        return f"{before}{name}{label}, {meaning}" if before == "(" else f"{before}{name}{label} ({meaning})"
