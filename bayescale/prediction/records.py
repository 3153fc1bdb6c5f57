"""Measure: what was measured of a model and is kept beside it.

How often forecasts covered in backtests, by how far beyond the runs they reached; and whether it is calibrated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from bayescale.core import shipped
from bayescale.core import toml as recording
from bayescale.core.code import modules_digest
from bayescale.core.errors import QueryError, UnknownName

if TYPE_CHECKING:
    from bayescale.modelling.spec import Spec

BACKTESTS, CALIBRATION = "backtests", "calibration"
"""Folders beside the specs where records are kept."""

HORIZONS = {"inside": 1.0, "up to 3×": 3.0, "3-10×": 10.0, "10-30×": 30.0, "30-100×": 100.0, "beyond 100×": np.inf}
"""Bins of compute over the dearest fitted run's, each up to and with its upper end."""

CLASSES = {"inside": 0.0, "up to 10×": 1.0, "10-100×": 2.0, "scenario": np.inf}
"""Classes of extrapolation, each up to so many decades of compute away; two are the most that backtests support."""
FARTHEST = [*CLASSES][-1]

ENGINE = (
    *(f"bayescale.modelling.{name}" for name in ("design", "grouping", "identifiability", "interpreter", "layout")),
    *(f"bayescale.inference.{name}" for name in ("nuts", "potential", "preconditioner", "vectorized", "warm_start")),
    "bayescale.prediction.predict",
)
"""Modules that take a spec and runs to draws and forecasts."""

NEW_FAMILY = "leave-family-out"
"""The way of backtests whose forecasts were of a family without runs."""
_OF_FITTED = ("expanding", "quantile", "leave-largest-out", "beside")  # first choice first: that with the most cuts
_ORIGIN = ("way", "runs", "runs_digest", "seed", "versions", "families", "fits", "unconverged", "horizons")


class Measured(NamedTuple):
    """What backtests measured in a bin: ``coverage_90`` over so many ``backtests`` of so many ``families``."""

    coverage_90: float
    backtests: int
    families: int


OTHER = "measured with another engine than this version's"
_MEASURES = ("covered_90", "backtests", "backtest_families")
NOTHING = Measured(np.nan, 0, 0)


@dataclass(frozen=True)
class Record:
    """Backtests of one model, by way.

    Attributes
    ----------
    spec, spec_digest : str
        The model. A fit of the same digest is measured by it.
    backtests : tuple of dict
        One a way: ``way options runs runs_digest seed versions engine families fits unconverged``, and
        ``horizons``, the rows of :attr:`Backtest.horizons`.
    """

    spec: str
    spec_digest: str
    backtests: tuple[dict[str, Any], ...] = field(hash=False)

    def measured(self, horizon: str, *, new: bool = False) -> Measured:
        """What was measured in a bin of :data:`HORIZONS`, for a family with runs, or for a `new` one."""
        for way in (NEW_FAMILY,) if new else _OF_FITTED:
            for kept in self.backtests:
                for row in kept["horizons"]:
                    if kept["way"] == way and row["horizon"] == horizon:
                        return Measured(row["coverage_90"], row["n_test"], row["families"])
        return NOTHING

    @property
    def notes(self) -> list[str]:
        """What to know of the ways that another engine than this version's measured."""
        ways = [kept["way"] for kept in self.backtests if is_of_another_engine(kept)]
        return [f"backtests ({', '.join(ways)}) {OTHER}"] if ways else []

    def joined(self, other: Record) -> Record:
        """Return this record with the ways of an older one of the same model that it lacks."""
        if other.spec_digest != self.spec_digest:
            return self
        ways = {kept["way"] for kept in self.backtests}
        older = tuple(kept for kept in other.backtests if kept["way"] not in ways)
        return Record(self.spec, self.spec_digest, (*older, *self.backtests))


def engine() -> str:
    """Digest of the code that takes specs and runs to draws and forecasts, parts left out (:data:`ENGINE`)."""
    return modules_digest(*ENGINE)


def is_of_another_engine(kept: Mapping[str, Any]) -> bool:
    """Whether a record says that another engine than this version's made it."""
    return "engine" in kept and kept["engine"] != engine()


def horizon_of(reach_decades: Any) -> np.ndarray:
    """Name of the bin of :data:`HORIZONS` for each reach in decades of compute; at most 0 is inside."""
    edges = np.log10(list(HORIZONS.values())[:-1])
    return np.asarray(list(HORIZONS))[np.searchsorted(edges, np.asarray(reach_decades, float), side="left")]


def class_of(decades: np.ndarray) -> np.ndarray:
    """Class of extrapolation of queries so many decades of compute away from the runs; 0 inside."""
    return np.asarray(list(CLASSES))[np.searchsorted(list(CLASSES.values()), decades)]


def measured(queries: pd.DataFrame, record: Record | None, new: np.ndarray) -> pd.DataFrame:
    """Add what a record measured at each query's reach; of scenarios for another reason backtests measure nothing.

    That is below the runs' compute, or of another recipe.

    Parameters
    ----------
    queries : DataFrame
        With ``reach_decades`` and ``extrapolation``.
    record : Record or None
    new : ndarray of bool, shape (query,)
        Whether the query is of a family without runs.

    Returns
    -------
    DataFrame
        With ``covered_90``, ``backtests`` and ``backtest_families``; NaN, 0 and 0 where nothing was measured.
    """
    otherwise = queries["extrapolation"] != class_of(queries["reach_decades"].to_numpy())
    rows = [
        NOTHING if record is None or other else record.measured(str(horizon), new=bool(fresh))
        for horizon, other, fresh in zip(horizon_of(queries["reach_decades"]), otherwise, new, strict=True)
    ]
    return queries.assign(**dict(zip(_MEASURES, zip(*rows, strict=True), strict=True)))


def sentences(queries: pd.DataFrame) -> list[str]:
    """What was measured at some queries, in words; one for each class and bin, the nearest first."""
    columns = ["extrapolation", "horizon", *_MEASURES]
    table = queries.assign(horizon=horizon_of(queries["reach_decades"])).sort_values("reach_decades")
    return list(dict.fromkeys(_words(*row) for row in table[columns].itertuples(index=False)))


def _words(extrapolation: str, horizon: str, covered: float, backtests: int, families: int) -> str:
    name = extrapolation if extrapolation in ("inside", "scenario") else f"extrapolation {extrapolation}"
    if not backtests:
        return f"{name}: no backtest of this model measured how often its 90 % interval covers there"
    where = horizon if horizon in ("inside", "beyond 100×") else f"{horizon} beyond"
    count = f"{backtests} backtest forecasts of {families} {'family' if families == 1 else 'families'}"
    return f"{name}: 90 % interval, covered {100 * covered:.0f} % of {count} {where}"


def home() -> Path:
    """Folder of the records of shipped models."""
    return shipped.folder("models") / BACKTESTS


def record_of(specs: Sequence[Spec], record: Record | str | Path | None = None) -> Record | None:
    """Return a fit's record: the one that is given, or the shipped one of its only spec's digest; None if none ships.

    Raises
    ------
    QueryError
        If the record that is given is another model's, or the fit is an average of several.
    """
    if record is None:
        return _shipped().get(specs[0].digest) if len(specs) == 1 else None
    if len(specs) > 1:
        raise QueryError("a record is of one model, the fit an average", came=", ".join(spec.name for spec in specs),
                         do="forecast without a record, or from a fit of one model")  # fmt: skip
    record = record if isinstance(record, Record) else load_record(record)
    if record.spec_digest != specs[0].digest:
        raise QueryError(
            f"the record is of another model than {specs[0].name!r}",
            wanted=f"digest {specs[0].digest[:16]}…",
            came=f"{record.spec_digest[:16]}… ({record.spec})",
            do="backtest the model of the fit: bayescale backtest RUNS --model SPEC --out FILE",
        )
    return record


def load_record(path: str | Path) -> Record:
    """Read a record: what ``bayescale backtest --out`` wrote, by its path, or a shipped one by its model's name.

    Raises
    ------
    UnknownName
        If there is no such file.
    QueryError
        If it is no record.

    Examples
    --------
    >>> load_record("additive-unpooled").spec
    'additive-unpooled'
    """
    path = Path(path)
    if not path.suffix and not path.exists():
        path = home() / f"{path}.toml"
    record = recording.read(path, "backtests", _looked_at)
    if record is None:
        raise UnknownName(f"no record at {path}", do="make one: bayescale backtest RUNS --out FILE")
    return record


def _looked_at(content: dict[str, Any]) -> Record:
    record = Record(content["spec"], content["spec_digest"], tuple(content["backtests"]))
    for kept in record.backtests:
        for name in _ORIGIN:
            kept[name]
    for horizon in HORIZONS:
        record.measured(horizon)
    return record


def write_record(record: Record, path: str | Path) -> Path:
    """Write a record as TOML; ways that the file holds of the same model already, and the record does not, stay.

    Raises
    ------
    QueryError
        If the file holds something else, or cannot be written.
    """
    path = Path(path)
    if path.exists() and (path.is_dir() or path.stat().st_size):
        record = record.joined(load_record(path))
    path.parent.mkdir(exist_ok=True)
    heading = f"Out-of-sample backtests of {record.spec}, by `bayescale backtest`: what forecasts say of themselves."
    recording.write(asdict(record), path, heading)
    _shipped.cache_clear()
    return path


def calibration(source: str | Path) -> dict[str, Any] | None:
    """Record of the calibration of a spec of a name or path; None if there is none.

    Raises
    ------
    QueryError
        If the record is damaged.
    """

    def look(content: dict[str, Any]) -> dict[str, Any]:
        calibration_words(content, "")  # whether it holds what will be told
        return content

    return recording.read(recording.beside(source, CALIBRATION), "a calibration", look)


def calibration_words(record: dict[str, Any], digest: str) -> str:
    """What a calibration's record says of the spec with a digest, in one line."""
    made = f"{record['simulations']} simulations, seed {record['seed']}, bayescale {record['versions']['bayescale']}"
    said = f"ranks of {len(record['quantities'])} quantities inside their bands"
    said = said if record["passed"] else record["verdict"]
    stale = "" if record["spec_digest"] == digest else "STALE, of another version of this spec: "
    return f"{stale}{said} ({made}{f', {OTHER}' * is_of_another_engine(record)})"


@lru_cache
def _shipped() -> dict[str, Record]:
    records = [load_record(path) for path in sorted(home().glob("*.toml"))]
    return {record.spec_digest: record for record in records}
