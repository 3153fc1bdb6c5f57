"""Load: a file written by ``save`` → the fit or average, or what is wrong with the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import xarray as xr

from bayescale.core.errors import BayescaleError, FitError
from bayescale.inference.average import MEMBER, SCHEMA, average
from bayescale.inference.fit import Fit
from bayescale.inference.weights import Weights
from bayescale.modelling.spec_io import make_spec, permit_code
from bayescale.parts.catalogue import CODE_ALLOWED

_GROUPS = ("posterior", "sample_stats", "log_likelihood", "log_prior", "observed_data", "constant_data")
_META = ("spec", "families", "published", "anchor", "seed", "runs")


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
    path = Path(path)
    if not path.is_file():
        raise FitError(f"no fit at {path}", hint="make one: bayescale fit RUNS --model SPEC --out FIT.nc")
    try:
        with xr.open_datatree(path, engine="h5netcdf") as opened:
            tree = opened.load()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        came = str(error).partition("\n")[0] or type(error).__name__
        raise FitError(f"{path} is damaged, or not a netCDF file", got=came, hint="fit again") from None
    meta = _meta(tree, path)
    if "members" not in meta:
        return _read(tree, meta, path, allow_code)
    try:
        weights = Weights.from_dict(meta["weights"])
        members = {name: tree.children[MEMBER.format(k)].copy() for k, name in enumerate(meta["members"])}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        came = f"an average whose weights or members cannot be read ({error})"
        raise FitError(f"{path} does not hold a complete fit", got=came, hint="fit again") from None
    return average(
        {name: _read(member, _meta(member, path), path, allow_code) for name, member in members.items()}, weights
    )


def _meta(tree: xr.DataTree, path: Path) -> dict[str, Any]:
    """Return the metadata of a file, if this version of bayescale reads its format."""
    try:
        meta = json.loads(tree.attrs["bayescale"])
        schema = int(meta.pop("schema"))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise FitError(f"{path} does not hold a bayescale fit", expected="a file that Fit.save wrote") from None
    if schema > SCHEMA:
        raise FitError(f"{path} has a newer format than this bayescale reads", expected=f"format {SCHEMA} or older",
                       got=f"format {schema}", hint="pip install --upgrade bayescale")  # fmt: skip
    return meta


def _read(tree: xr.DataTree, meta: dict[str, Any], path: Path, allow_code: bool) -> Fit:
    lacking = [name for name in _GROUPS if name not in tree.children] + [name for name in _META if name not in meta]
    if lacking:
        raise FitError(
            f"{path} does not hold a complete fit", got=f"a file without {', '.join(lacking)}", hint="fit again"
        )
    try:
        content = meta.pop("spec")
        if allow_code or CODE_ALLOWED.get():
            permit_code(content)
        return Fit(tree, make_spec(content.pop("name"), **content), meta)
    except (BayescaleError, AttributeError, KeyError, TypeError) as error:
        raise FitError(f"{path}: its spec cannot be read: {error}") from None
