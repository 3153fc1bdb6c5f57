"""The container of a saved fit: a tree of arrays ↔ the bytes of a netCDF file with a seal.

The seal is a SHA-256 of all bytes before it. HDF5 ignores what stands after its own end, so that every reader of
netCDF 4 opens the file. A file with a wrong seal is not parsed: the parser of HDF5 is not safe on damaged files. Every
other file is inspected before its arrays are read, because a seal says nothing about who made it.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import h5py
import numpy as np
import xarray as xr

from bayescale.core.dims import DATA_GROUPS
from bayescale.core.errors import FitError

_SEAL = b"\nbayescale SHA-256 of all bytes before:\n"
_SEALED = len(_SEAL) + hashlib.sha256().digest_size

MOST_BYTES = 1 << 33
"""Largest file that is read. A fit of 4 × 1000 draws at 20,000 runs takes 0.3 GB."""

# Draws do not compress below half of their size. Constant columns do, by up to 1000, but they are few.
_MOST_RATIO, _MOST_FREE = 64, 1 << 26
CHECKED_FROM = 4
"""First format whose files must have every digest."""
_DEEPEST = 3  # levels of groups: root, member of an average, group of ArviZ
_MOST_OBJECTS = 50_000
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}  # others load plugins
# Attributes of an array that xarray writes here; others, such as scale_factor, would change its numbers.
_ATTRIBUTES = {"_FillValue", "dtype", "DIMENSION_LIST", "REFERENCE_LIST", "CLASS", "NAME", "_Netcdf4Dimid",
               "_Netcdf4Coordinates"}  # fmt: skip
_STRINGS_AT_A_TIME = 64


class Opened(NamedTuple):
    """The content of a file: its arrays, and whether it has a seal."""

    tree: xr.DataTree
    sealed: bool


def packed(tree: xr.DataTree) -> bytes:
    """Return a tree as the bytes of a netCDF file with a seal.

    It is made in memory, because HDF5 may end the process where a disk is full.

    Parameters
    ----------
    tree : DataTree

    Returns
    -------
    bytes

    Raises
    ------
    FitError
        If the format cannot hold an array of the tree, such as one of objects.
    """
    try:
        return sealed(bytes(tree.to_netcdf(None, engine="h5netcdf", encoding=_encoding(tree))))
    except (TypeError, ValueError) as error:
        raise FitError("this fit cannot be written as netCDF", expected="arrays of numbers, and of text without NUL",
                       got=str(error), hint="change what is named; this fit is still usable") from None  # fmt: skip


def sealed(content: bytes) -> bytes:
    """Return the bytes of a netCDF file with the seal of these bytes.

    Parameters
    ----------
    content : bytes
        An earlier seal is replaced.

    Returns
    -------
    bytes
    """
    content = content[:-_SEALED] if content[-_SEALED:].startswith(_SEAL) else content
    return content + _SEAL + hashlib.sha256(content).digest()


def unpacked(content: bytes) -> Opened:
    """Read the bytes of a netCDF file, with limits on what they may hold.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    Opened

    Raises
    ------
    ValueError
        If they are not a netCDF file, were changed after they were written, or hold something else than a tree of
        arrays of numbers and text.
    """
    has_seal = content[-_SEALED:].startswith(_SEAL)
    if has_seal and sealed(content) != content:
        raise ValueError("the file has changed since it was written")
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            _inspect(file, _MOST_RATIO * len(content) + _MOST_FREE)
        with xr.open_datatree(io.BytesIO(content), engine="h5netcdf") as opened:
            return Opened(opened.load(), has_seal)
    except Exception as error:  # the parsers raise whatever a malformed file makes them meet
        raise ValueError(str(error).partition("\n")[0] or type(error).__name__) from None


def data_digest(tree: xr.DataTree, table: str = "") -> str:
    """Return the SHA-256 of the fitted runs and their observations.

    Parameters
    ----------
    tree : DataTree
        With the groups :data:`~bayescale.core.dims.DATA_GROUPS`.
    table : str
        Digest of the table that they were read from; empty up to format 3.

    Returns
    -------
    str
        It does not depend on the types in which numbers and text are kept.
    """
    found = hashlib.sha256(table.encode())
    for group in DATA_GROUPS:
        for name, array in sorted(tree[group].data_vars.items()):
            values = array.to_numpy()
            found.update(json.dumps([group, name, *array.dims, *array.shape]).encode())
            if values.dtype.kind in "iufb":
                found.update(values.astype("<f8" if values.dtype.kind == "f" else "<i8").tobytes())
            else:
                found.update(json.dumps([str(value) for value in values.ravel()]).encode())
    return found.hexdigest()


def digests_of(spec: Mapping[str, Any]) -> set[str]:
    """Return the names of the digests that a file has from format :data:`CHECKED_FROM` on.

    Parameters
    ----------
    spec : mapping
        Content of the spec. A custom model, which is code, has no parts.

    Returns
    -------
    set of str
    """
    return {"runs_digest", "data_digest", "spec_digest"} | (set() if "model" in spec else {"spec_code"})


def _inspect(file: h5py.File, most: int) -> None:
    """Refuse what is no tree of plain arrays: links, cycles, data elsewhere, plugins, odd types, and too much."""
    seen: set[int] = set()
    for name, thing in _objects(file, seen):
        if isinstance(thing, h5py.Group):
            continue
        if not isinstance(thing, h5py.Dataset) or thing.is_virtual or thing.external:
            raise ValueError(f"{name} is not an array that the file holds")
        plan = thing.id.get_create_plist()
        if not {plan.get_filter(i)[0] for i in range(plan.get_nfilters())} <= _FILTERS:
            raise ValueError(f"{name} is compressed in an unusual way")
        if odd := {*thing.attrs} - _ATTRIBUTES:
            raise ValueError(f"{name} has the attribute {min(odd)!r}")
        if "_FillValue" in thing.attrs and not np.all(np.isnan(thing.attrs["_FillValue"])):
            raise ValueError(f"{name} stands for missing numbers by a number")
        most -= _size(name, thing)
        if most < 0:
            raise ValueError("the arrays are much larger than the file")


def _objects(group: Any, seen: set[int], name: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield every object of a group with its path; each is reached by one hard link only."""
    if depth > _DEEPEST:
        raise ValueError("groups are nested too deeply")
    for own in group:
        path = f"{name}/{own}"
        if not isinstance(group.get(own, getlink=True), h5py.HardLink):
            raise ValueError(f"{path} is a link")
        thing = group[own]
        address = h5py.h5o.get_info(thing.id).addr
        if address in seen or len(seen) > _MOST_OBJECTS:
            raise ValueError(f"{path} is a second name of an object, or one of too many objects")
        seen.add(address)
        yield path, thing
        if isinstance(thing, h5py.Group):
            yield from _objects(thing, seen, path, depth + 1)


def _size(name: str, array: h5py.Dataset) -> int:
    """Return the bytes of an array in memory; refuse types other than numbers and text."""
    if h5py.check_string_dtype(array.dtype) is not None:
        if array.ndim > 1:
            raise ValueError(f"{name} is a table of text")
        count, room = math.prod(array.shape), 0
        for start in range(0, count if array.ndim else 0, _STRINGS_AT_A_TIME):
            room += sum(map(len, array[start : start + _STRINGS_AT_A_TIME]))
        return room + 8 * count
    if array.dtype.kind not in "iuf" or array.dtype.names or array.dtype.shape or array.dtype.itemsize > 8:
        raise ValueError(f"{name} holds neither numbers nor text")
    return math.prod(array.shape) * array.dtype.itemsize


def _encoding(tree: xr.DataTree) -> dict[str, Any]:
    """Compress every array, with checksums; store pointwise likelihoods as float32."""
    checked = {"zlib": True, "complevel": 4, "fletcher32": True}
    encoding: dict[str, Any] = {}
    for node in tree.subtree:
        narrow = {"dtype": "float32"} if node.name == "log_likelihood" else {}
        encoding[node.path] = {
            name: checked | narrow for name, v in node.data_vars.items() if v.dtype.kind in "fi" and v.ndim
        }
    return encoding
