"""Load: a file written by ``save`` → the fit or average, or what is wrong with the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from bayescale.core.errors import BayescaleError, FitError
from bayescale.core.files import kind_of, path_of
from bayescale.core.jsons import loads
from bayescale.inference.average import MEMBER, SCHEMA, average
from bayescale.inference.container import MOST_BYTES, unpacked
from bayescale.inference.fit import Fit
from bayescale.inference.stored import check_arrays, check_digests, check_meta, check_sites
from bayescale.inference.weights import Weights
from bayescale.modelling.spec_io import make_spec, permit_code
from bayescale.parts.catalogue import CODE_ALLOWED

SEALED_FROM = 3
"""First format whose files have a seal."""


def load_fit(path: str | Path, *, allow_code: bool = False) -> Any:
    """Read what :meth:`Fit.save` or :meth:`Average.save` wrote.

    Parameters
    ----------
    path : str or Path
        The netCDF file.
    allow_code : bool
        Whether to import parts that the fit's spec names as ``"module:Class"``. Importing runs their code.

    Returns
    -------
    Fit or Average

    Raises
    ------
    FitError
        If the file does not exist, is damaged, is not a fit, or has a newer format.
    """
    path = path_of(path, FitError)
    if kind_of(path, FitError) != "file":
        raise FitError(f"no fit at {path}", hint="make one: bayescale fit RUNS --model SPEC --out FIT.nc")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
        opened = unpacked(path.read_bytes())
    except (OSError, ValueError) as error:
        raise FitError(f"{path} is damaged, or not a netCDF file", got=str(error), hint="fit again") from None
    tree, meta = opened.tree, _meta(opened.tree, path, opened.sealed)
    if "members" not in meta:
        return _read(tree, meta, path, allow_code)
    try:
        weights = Weights.from_dict(meta["weights"])
        members = {str(name): tree.children[MEMBER.format(k)].copy() for k, name in enumerate(meta["members"])}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        came = f"an average whose weights or members cannot be read ({error})"
        raise FitError(f"{path} does not hold a complete fit", got=came, hint="fit again") from None
    return average(
        {name: _read(member, _meta(member, path, opened.sealed), path, allow_code) for name, member in members.items()},
        weights,
    )


def _meta(tree: xr.DataTree, path: Path, sealed: bool) -> dict[str, Any]:
    """Return the metadata of a file, if this version of bayescale reads its format."""
    try:
        meta = loads(tree.attrs["bayescale"])
        schema = meta["schema"]
        if type(schema) is not int or schema < 1:
            raise ValueError
    except (AttributeError, KeyError, TypeError, ValueError):
        raise FitError(f"{path} does not hold a bayescale fit", expected="a file that Fit.save wrote") from None
    if schema > SCHEMA:
        raise FitError(f"{path} has a newer format than this bayescale reads", expected=f"format {SCHEMA} or older",
                       got=f"format {schema}", hint="pip install --upgrade bayescale")  # fmt: skip
    if schema >= SEALED_FROM and not sealed:
        raise FitError(f"{path} is damaged, or not a netCDF file", expected="the seal that Fit.save writes at the end",
                       got="a file that was cut, or changed by another program", hint="fit again")  # fmt: skip
    return meta


def _read(tree: xr.DataTree, meta: dict[str, Any], path: Path, allow_code: bool) -> Fit:
    try:
        check_meta(meta)
        check_arrays(tree, meta)
        check_digests(tree, meta)
    except ValueError as error:
        raise FitError(f"{path} does not hold a complete fit", got=str(error), hint="fit again") from None
    try:
        content = meta.pop("spec")
        meta = {name: value for name, value in meta.items() if name not in ("data_digest", "schema")}
        if allow_code or CODE_ALLOWED.get():
            permit_code(content)
        spec = make_spec(content.pop("name"), **content)
    except (BayescaleError, AttributeError, KeyError, TypeError) as error:
        raise FitError(f"{path}: its spec cannot be read: {error}") from None
    if spec.digest == meta.get("spec_digest"):  # else the code is kept that made the fit, to be saved with it again
        meta.pop("spec_code", None)
    fit = Fit(tree, spec, meta)
    try:
        check_sites(fit)
    except (BayescaleError, ValueError, LookupError, TypeError) as error:
        raise FitError(f"{path} does not hold a complete fit", got=str(error), hint="fit again") from None
    return fit
