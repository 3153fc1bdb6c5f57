"""Arrow: frames of Parquet and Feather files, with limits on what a small file may hold.

Equal cells take no room in these files, and compressed ones little. So the size of the cells is found before they are
made: from the metadata of Parquet, from the lengths that precede compressed parts of Feather, and from the texts that
cells refer to.
"""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from flatbuffers.table import Table as Entries

from bayescale.runs.limits import check_shape

_MAGIC = 8  # bytes of a Feather file before its messages
# Places of the entries of a message and of a batch in the format of Arrow: Message.fbs and Schema.fbs.
_HEADER, _DATA, _BUFFERS, _COMPRESSION = (4 + 2 * place for place in (2, 1, 2, 3))


def from_parquet(content: bytes, most: int) -> pd.DataFrame:
    """Return the frame of a Parquet file.

    Parameters
    ----------
    content : bytes
    most : int
        Bytes that its cells may take.

    Returns
    -------
    DataFrame

    Raises
    ------
    Exception
        ValueError if its cells are larger, and whatever the parser raises on a damaged file.
    """
    from pyarrow import parquet, types

    file = parquet.ParquetFile(io.BytesIO(content))
    about = file.metadata
    check_shape(about.num_rows, len(file.schema_arrow))
    _check_names(file.schema_arrow.names)
    sizes = [about.row_group(i).total_byte_size for i in range(about.num_row_groups)]
    _check(sum(sizes), most)
    texts = [one.name for one in file.schema_arrow if types.is_string(one.type) or types.is_binary(one.type)]
    return _frame(parquet.read_table(io.BytesIO(content), read_dictionary=texts), most)


def from_feather(content: bytes, most: int) -> pd.DataFrame:
    """Return the frame of a Feather file.

    Parameters
    ----------
    content, most
        As in :func:`from_parquet`.

    Returns
    -------
    DataFrame

    Raises
    ------
    Exception
        As in :func:`from_parquet`.
    """
    from pyarrow import ipc, py_buffer

    messages = py_buffer(content)[_MAGIC:]
    _check(sum(map(_size, ipc.MessageReader.open_stream(messages))), most)
    return _frame(ipc.open_stream(messages).read_all(), most)


def _check(size: int, most: int) -> None:
    if size > most:
        raise ValueError(f"cells of {size} bytes, more than {most}")


def _check_names(names: list[str]) -> None:
    ((name, times),) = Counter(names).most_common(1) or [("", 0)]
    if times > 1:
        raise ValueError(f"{times} columns called {name!r}; rename or remove one")


def _size(message: Any) -> int:
    """Return the bytes of a message of Arrow after decompression."""
    if message.type == "schema":
        return 0
    content = bytes(message.metadata)
    batch = _entries(Entries(content, int.from_bytes(content[:4], "little")), _HEADER)
    if message.type == "dictionary":
        batch = _entries(batch, _DATA)
    place = batch.Offset(_BUFFERS)
    spans = np.frombuffer(content, "<i8", 2 * batch.VectorLen(place), batch.Vector(place)).reshape(-1, 2)
    if not batch.Offset(_COMPRESSION):
        return int(spans[:, 1].sum())
    return sum(_decompressed(message.body[start : start + length]) for start, length in spans.tolist() if length)


def _entries(of: Entries, place: int) -> Entries:
    return Entries(of.Bytes, of.Indirect(of.Pos + of.Offset(place)))


def _decompressed(part: Any) -> int:
    """Return the length that precedes a compressed part; it is -1 if the part is stored as it is."""
    said = int.from_bytes(bytes(part[:8]), "little", signed=True)
    return part.size if said == -1 else said


def _frame(table: Any, most: int) -> pd.DataFrame:
    """Return the frame of a table of Arrow whose cells may refer to the same text many times."""
    check_shape(table.num_rows, table.num_columns)
    _check_names(table.schema.names)
    table.validate(full=True)
    _check(sum(int(_lengths(part).sum()) for column in table.columns for part in column.chunks), most)
    return table.to_pandas()


def _lengths(array: Any) -> np.ndarray:
    """Return the bytes of the text of each cell, which other cells may share; 0 for other types."""
    from pyarrow import compute, types

    of = array.type
    if types.is_dictionary(of):
        return _lengths(array.dictionary)[np.asarray(array.indices.drop_null())]
    if types.is_string_view(of) or types.is_binary_view(of):
        views = np.frombuffer(array.buffers()[1], "<i4").reshape(-1, 4)  # the first number of each is a length
        return views[array.offset : array.offset + len(array), 0].astype("i8")
    if any(is_text(of) for is_text in (types.is_string, types.is_binary, types.is_large_string, types.is_large_binary)):
        return np.asarray(compute.fill_null(compute.binary_length(array), 0), "i8")
    return np.zeros(len(array), "i8")
