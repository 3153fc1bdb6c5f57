"""Frames: data frames of pandas, and of libraries that hand out Arrow, as plain frames of pandas."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bayescale.core.errors import RunsError
from bayescale.runs.formats import Table

_EXPECTED = "the name of a built-in table, a path, or a data frame of pandas, polars or Arrow"


def from_frame(source: Any) -> Table:
    """Return a data frame as a plain frame with rows numbered from 0.

    Categories become their values, and nullable numbers become plain ones. An index that has names is kept as columns.

    Parameters
    ----------
    source : DataFrame, or any table with ``__arrow_c_stream__``, as polars and pyarrow have
        The source is not changed.

    Returns
    -------
    Table

    Raises
    ------
    RunsError
        If the source is not a table.
    """
    frame = source if isinstance(source, pd.DataFrame) else _from_arrow(source)
    if frame.columns.nlevels > 1:
        raise RunsError(
            "the columns of the data frame have several levels", expected="one name per column",
            hint="join the levels: frame.columns = ['_'.join(names) for names in frame.columns]",
        )  # fmt: skip
    for name in (*frame.columns, *frame.index.names):
        try:
            str(name)
        except Exception:  # a name may be any object
            raise RunsError("a column has a name that is no text", got=f"a {type(name).__name__}",
                            hint="rename it") from None  # fmt: skip
    named = [level for level in frame.index.names if level is not None and level not in frame]
    if len(set(named)) < len(named):
        raise RunsError("the index of the data frame has two levels of one name", got=", ".join(map(str, named)),
                        hint="rename one of them: frame.index.names = […]")  # fmt: skip
    kept = frame.reset_index(level=named) if named else frame
    kept = kept.reset_index(drop=True)
    columns = [_plain(kept.iloc[:, place]) for place in range(kept.shape[1])]
    notes = (f"index {', '.join(map(str, named))} kept as columns",) if named else ()
    return Table(pd.concat(columns, axis=1) if columns else kept, notes)


def _plain(cells: pd.Series) -> pd.Series:
    """Return cells without types that arithmetic does not know: nullable numbers, categories, numbers of Arrow."""
    if isinstance(cells.dtype, pd.CategoricalDtype):
        return cells.astype(object)
    if pd.api.types.is_bool_dtype(cells.dtype) or not pd.api.types.is_numeric_dtype(cells.dtype):
        return cells
    if not pd.api.types.is_extension_array_dtype(cells.dtype):
        return cells.astype(cells.dtype.newbyteorder("="))
    integers = pd.api.types.is_integer_dtype(cells.dtype) and not cells.isna().any()
    return cells.astype("int64" if integers and cells.max() < 2**63 else "float64")


def _from_arrow(source: Any) -> pd.DataFrame:
    got = f"{type(source).__module__}.{type(source).__qualname__}"
    try:
        import pyarrow as pa

        table = pa.table(source)
        table.validate(full=True)  # text of others may not be UTF-8
        return table.to_pandas()
    except ImportError:
        hint = "give source.to_pandas(), or pip install 'bayescale[parquet]'"
        raise RunsError("reading this table needs pyarrow", expected=_EXPECTED, got=got, hint=hint) from None
    except Exception as error:  # a library may raise anything for what has no equal in pandas
        got = f"{got}: {(str(error).splitlines() or [type(error).__name__])[0]}"
        hint = "make a data frame: pandas.DataFrame(…)"
        raise RunsError("this is not a table of runs", expected=_EXPECTED, got=got, hint=hint) from None
