"""Records: what was measured for a model, kept in files next to its spec.

One record holds the coverage of forecasts in backtests, by how far beyond the runs they reached. Another says whether
the model is calibrated.
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
from bayescale.core.errors import QueryError, UnknownName, why_unwritten
from bayescale.core.files import kind_of, path_of

if TYPE_CHECKING:
    from bayescale.modelling.model import Model

BACKTESTS, CALIBRATION = "backtests", "calibration"
"""Folders next to the specs, where records are kept."""

HORIZONS = {"inside": 1.0, "up to 3×": 3.0, "3-10×": 10.0, "10-30×": 30.0, "30-100×": 100.0, "beyond 100×": np.inf}
"""Bins of compute divided by that of the largest-compute fitted run. Each bin includes its upper end."""

CLASSES = {"inside": 0.0, "up to 10×": 1.0, "10-100×": 2.0, "scenario": np.inf}
"""Classes of extrapolation by largest distance in decades of compute. Backtests support at most two decades."""
FARTHEST = [*CLASSES][-1]

ENGINE = (
    "bayescale.core.lookup",
    *(f"bayescale.modelling.{name}" for name in ("design", "grouping", "identifiability", "interpreter", "layout")),
    *(f"bayescale.inference.{name}" for name in ("nuts", "potential", "preconditioner", "vectorized", "warm_start")),
    "bayescale.prediction.predict",
)
"""Modules that compute draws and forecasts from a spec and runs."""

NEW_FAMILY = "leave-family-out"
"""The way of backtests that forecast a family without runs."""
_OF_FITTED = ("expanding", "quantile", "leave-largest-out", "alongside")  # in order of preference: most cuts first
_ORIGIN = ("way", "runs", "runs_digest", "seed", "versions", "families", "fits", "unconverged", "horizons")


class Measured(NamedTuple):
    """What backtests measured in a bin.

    Attributes
    ----------
    coverage_90 : float
        Share of forecasts whose 90% interval contained the loss.
    backtests, families : int
        Number of forecasts, and of the families that they are of.
    se : float
        Standard error of the coverage over families; NaN for one family.
    """

    coverage_90: float
    backtests: int
    families: int
    se: float = np.nan

    @property
    def likely(self) -> tuple[float, float]:
        """90% interval of the coverage (Wilson 1927).

        Forecasts of one family share errors, so that families are the sample: the interval is that of as many
        independent forecasts as have the standard error over families. Of one family it is too narrow.
        """
        p, n = self.coverage_90, float(self.backtests)
        if self.families > 1:
            n = min(n, p * (1 - p) / self.se**2) if self.se > 0 else self.families
        middle, half = p + _Z**2 / (2 * n), _Z * np.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
        return float((middle - half) / (1 + _Z**2 / n)), float((middle + half) / (1 + _Z**2 / n))


OTHER = "measured with another engine than this version's"
_MEASURES = ("covered_90", "backtests", "backtest_families")
NOTHING = Measured(np.nan, 0, 0)
_Z = 1.6448536269514722  # standard Normal, 95%


@dataclass(frozen=True)
class Record:
    """Backtests of one model, by way.

    Attributes
    ----------
    spec, spec_digest : str
        Name and digest of the model. The record applies to fits with the same digest.
    backtests : tuple of dict
        One for each way: ``way options runs runs_digest seed versions engine families fits unconverged``, and
        ``horizons``, the rows of :attr:`Backtest.horizons`.
    """

    spec: str
    spec_digest: str
    backtests: tuple[dict[str, Any], ...] = field(hash=False)

    def measured(self, horizon: str, *, new: bool = False) -> Measured:
        """Return what was measured in a bin.

        Parameters
        ----------
        horizon : str
            Name of a bin of :data:`HORIZONS`.
        new : bool
            Whether the forecasts are of a family without runs.

        Returns
        -------
        Measured
            :data:`NOTHING` if no backtest is in the bin.
        """
        for way in (NEW_FAMILY,) if new else _OF_FITTED:
            for kept in self.backtests:
                for row in kept["horizons"]:
                    if kept["way"] == way and row["horizon"] == horizon:
                        return Measured(
                            row["coverage_90"], row["n_test"], row["families"], row.get("coverage_90_se", np.nan)
                        )
        return NOTHING

    @property
    def notes(self) -> list[str]:
        """Sentences on the ways that another engine than that of this version measured."""
        ways = [kept["way"] for kept in self.backtests if is_of_another_engine(kept)]
        return [f"backtests ({', '.join(ways)}) {OTHER}"] if ways else []

    def joined(self, other: Record) -> Record:
        """Return this record with the missing ways of an older record of the same model.

        Parameters
        ----------
        other : Record
            The older record. It is ignored if it is of another model.

        Returns
        -------
        Record
        """
        if other.spec_digest != self.spec_digest:
            return self
        ways = {kept["way"] for kept in self.backtests}
        older = tuple(kept for kept in other.backtests if kept["way"] not in ways)
        return Record(self.spec, self.spec_digest, (*older, *self.backtests))


def engine() -> str:
    """Return the digest of the code that computes draws and forecasts, without parts (:data:`ENGINE`)."""
    return modules_digest(*ENGINE)


def is_of_another_engine(kept: Mapping[str, Any]) -> bool:
    """Whether another engine than that of this version made a record; so did one from before engines had digests."""
    return kept.get("engine") != engine()


def horizon_of(reach_decades: Any) -> np.ndarray:
    """Return the bin of each reach.

    Parameters
    ----------
    reach_decades : array_like, shape (query,)
        Log10 of the compute over that of the largest run; at most 0 is inside.

    Returns
    -------
    ndarray of str, shape (query,)
        Names of bins of :data:`HORIZONS`.
    """
    edges = np.log10(list(HORIZONS.values())[:-1])
    return np.asarray(list(HORIZONS))[np.searchsorted(edges, np.asarray(reach_decades, float), side="left")]


def class_of(decades: np.ndarray) -> np.ndarray:
    """Return the class of extrapolation of each query.

    Parameters
    ----------
    decades : ndarray, shape (query,)
        Decades of compute away from the runs; 0 is inside.

    Returns
    -------
    ndarray of str, shape (query,)
        Names of :data:`CLASSES`.
    """
    return np.asarray(list(CLASSES))[np.searchsorted(list(CLASSES.values()), decades)]


def measured(queries: pd.DataFrame, record: Record | None, new: np.ndarray) -> pd.DataFrame:
    """Add what a record measured at the reach of each query.

    Backtests measure nothing for queries below the compute of the runs, or with another recipe.

    Parameters
    ----------
    queries : DataFrame
        With ``reach_decades`` and ``extrapolation``.
    record : Record or None
    new : ndarray of bool, shape (query,)
        Whether each query is of a family without runs.

    Returns
    -------
    DataFrame
        With ``covered_90``, ``backtests`` and ``backtest_families``; NaN, 0 and 0 if nothing was measured.
    """
    otherwise = queries["extrapolation"] != class_of(queries["reach_decades"].to_numpy())
    rows = [
        (NOTHING if record is None or other else record.measured(str(horizon), new=bool(fresh)))[: len(_MEASURES)]
        for horizon, other, fresh in zip(horizon_of(queries["reach_decades"]), otherwise, new, strict=True)
    ]
    return queries.assign(**dict(zip(_MEASURES, zip(*rows, strict=True), strict=True)))


def sentences(queries: pd.DataFrame) -> list[str]:
    """Describe what was measured at some queries.

    Parameters
    ----------
    queries : DataFrame
        As returned by :func:`measured`.

    Returns
    -------
    list of str
        One sentence for each class and bin, nearest first.
    """
    columns = ["extrapolation", "horizon", *_MEASURES]
    table = queries.assign(horizon=horizon_of(queries["reach_decades"])).sort_values("reach_decades")
    return list(dict.fromkeys(_words(*row) for row in table[columns].itertuples(index=False)))


def _words(extrapolation: str, horizon: str, covered: float, backtests: int, families: int) -> str:
    name = extrapolation if extrapolation in ("inside", "scenario") else f"extrapolation {extrapolation}"
    if not backtests:
        return f"{name}: no backtest of this model measured how often its 90% interval covers there"
    where = horizon if horizon in ("inside", "beyond 100×") else f"{horizon} beyond"
    count = f"{backtests} backtest forecasts of {families} {'family' if families == 1 else 'families'}"
    return f"{name}: the 90% interval covered {100 * covered:.0f}% of {count} {where}"


def home() -> Path:
    """Return the folder of the records of built-in models."""
    return shipped.folder("models") / BACKTESTS


def record_of(specs: Sequence[Model], record: Record | str | Path | None = None) -> Record | None:
    """Return the record of a fit.

    Parameters
    ----------
    specs : sequence of Spec
        The specs of the fit; several for an average.
    record : Record or path, optional
        By default the built-in record with the digest of the spec.

    Returns
    -------
    Record or None
        None if no record is given and there is no built-in one.

    Raises
    ------
    QueryError
        If the given record is of another model, or if a record is given for an average of several models.
    """
    if record is None:
        return _shipped().get(specs[0].digest) if len(specs) == 1 else None
    if len(specs) > 1:
        raise QueryError("a record is of one model, the fit is an average", got=", ".join(spec.name for spec in specs),
                         hint="forecast without a record, or from a fit of one model")  # fmt: skip
    record = record if isinstance(record, Record) else load_record(record)
    if record.spec_digest != specs[0].digest:
        raise QueryError(
            f"the record is of another model than {specs[0].name!r}",
            expected=f"digest {specs[0].digest[:16]}…",
            got=f"{record.spec_digest[:16]}… ({record.spec})",
            hint="backtest the model of the fit: bayescale backtest RUNS --model SPEC --out FILE",
        )
    return record


def load_record(path: str | Path) -> Record:
    """Read a record of backtests.

    Parameters
    ----------
    path : str or Path
        Path of a file that ``bayescale backtest --out`` wrote, or name of a built-in model.

    Returns
    -------
    Record

    Raises
    ------
    UnknownName
        If there is no such file.
    QueryError
        If the file is not a record.

    Examples
    --------
    >>> bs.load_record("additive-unpooled").spec
    'additive-unpooled'
    """
    path = path_of(path, QueryError)
    if not path.suffix and not kind_of(path, QueryError):
        path = home() / f"{path}.toml"
    record = recording.read(path, "backtests", _looked_at)
    if record is None:
        raise UnknownName(f"no record at {path}", hint="create one: bayescale backtest RUNS --out FILE")
    return record


def _looked_at(content: dict[str, Any]) -> Record:
    record = Record(content["spec"], content["spec_digest"], tuple(content["backtests"]))
    for kept in record.backtests:
        for name in _ORIGIN:
            kept[name]
        for row in kept["horizons"]:
            counts = row["n_test"], row["families"]
            if not (all(type(n) is int for n in counts) and 0 <= counts[1] <= counts[0] and row["horizon"] in HORIZONS):
                raise ValueError("the number of backtests in a bin is no count")
            error = row.get("coverage_90_se", np.nan)
            if counts[0] and not (0 <= row["coverage_90"] <= 1 and (np.isnan(error) or 0 <= error <= 1)):
                raise ValueError("a coverage is no share")
    if not (isinstance(record.spec, str) and isinstance(record.spec_digest, str)):
        raise TypeError("the name or the digest of the spec is no text")
    return record


def write_record(record: Record, path: str | Path) -> Path:
    """Write a record as TOML.

    If the file already holds a record of the same model, its other ways are kept.

    Parameters
    ----------
    record : Record
    path : str or Path

    Returns
    -------
    Path
        The path of the file.

    Raises
    ------
    QueryError
        If the file exists and is not a record, or if it cannot be written.
    """
    path = path_of(path, QueryError)
    try:
        kept = path.exists() and (path.is_dir() or path.stat().st_size)
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise QueryError(f"cannot write {path}", **why_unwritten(error)) from None
    record = record.joined(load_record(path)) if kept else record
    heading = f"Out-of-sample backtests of {record.spec}, by `bayescale backtest`: what forecasts say of themselves."
    recording.write(asdict(record), path, heading)
    _shipped.cache_clear()
    return path


def calibration(source: str | Path) -> dict[str, Any] | None:
    """Read the record of the calibration of a spec.

    Parameters
    ----------
    source : str or Path
        Name or path of the spec.

    Returns
    -------
    dict or None
        None if there is no record.

    Raises
    ------
    QueryError
        If the record is damaged.
    """

    def look(content: dict[str, Any]) -> dict[str, Any]:
        calibration_words(content, "")  # raises if an entry is missing
        return content

    return recording.read(recording.record_path(source, CALIBRATION), "a calibration", look)


def calibration_words(record: dict[str, Any], digest: str) -> str:
    """Describe in one line what the record of a calibration says about the spec with a digest.

    Parameters
    ----------
    record : dict
        As returned by :func:`calibration`.
    digest : str
        Digest of the spec. If the record has another digest, it is stale.

    Returns
    -------
    str
    """
    made = f"{record['simulations']} simulations, seed {record['seed']}, bayescale {record['versions']['bayescale']}"
    said = f"ranks of {len(record['quantities'])} quantities inside their bands"
    said = said if record["passed"] else record["verdict"]
    stale = "" if record["spec_digest"] == digest else "STALE, of another version of this spec: "
    return f"{stale}{said} ({made}{f', {OTHER}' * is_of_another_engine(record)})"


@lru_cache
def _shipped() -> dict[str, Record]:
    records = [load_record(path) for path in sorted(home().glob("*.toml"))]
    return {record.spec_digest: record for record in records}
