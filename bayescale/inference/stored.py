"""Stored: whether what a file says of a fit can be one, before anything is computed from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np
import xarray as xr
from numpyro.distributions import constraints

from bayescale.core.dims import CHAIN, DATA_GROUPS, DRAW, FAMILY, RUN
from bayescale.inference.container import CHECKED_FROM, data_digest, digests_of
from bayescale.inference.fit import Fit
from bayescale.inference.ordinary import GIVEN, STATISTICS
from bayescale.modelling.custom import CustomModel
from bayescale.modelling.design import Design
from bayescale.modelling.sites import COORDINATES, declared_sites
from bayescale.modelling.spec import digest_of
from bayescale.parts.base import Role
from bayescale.runs.columns import AMOUNTS

GROUPS = ("posterior", "sample_stats", "log_likelihood", "log_prior", "observed_data", "constant_data")
_OF_DRAWS = tuple(name for name in GROUPS if name not in DATA_GROUPS)
_FEWEST_DRAWS = 4
# Numbers in reports; larger ones overflow where they are squared. Published coefficients are the largest, 1e30 or so.
_LARGEST = 1e150
_PROSE = ("name", "title", "learned")  # of a spec, and not in its digest


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _positive(value: Any) -> bool:
    return _number(value) and value > 0


def _table(of: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(of, value.values()))


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def _engine(value: Any) -> bool:
    """Whether this can be said of a sampler; of its entries only the floor of the noise is read."""
    floor: Any = value.get("noise_floor", 0.0) if isinstance(value, dict) else None
    return _number(floor) and floor >= 0


# What a file says of a fit, and what each can be. The first must be there.
_NEEDED: dict[str, Callable[[Any], bool]] = {
    "spec": lambda value: isinstance(value, dict) and _text(value.get("name")),
    "families": lambda value: _texts(value) and 0 < len(value) == len(set(value)) and "\0" not in "".join(value),
    "published": _texts,
    "anchor": _table(_positive),
    "seed": _count,
    "runs": _text,
}
_OTHERS: dict[str, Callable[[Any], bool]] = {
    "runs_digest": _text,
    "spec_digest": _text,
    "spec_code": _table(_text),
    "data_digest": _text,
    "runs_source": _table(_text),
    "runs_faults": _texts,
    "excluded": _table(_count),
    "flops_assumed": lambda value: isinstance(value, bool),
    "loss_unit_assumed": lambda value: isinstance(value, bool),
    "versions": _table(_text),
    "device": _text,
    "precision": _text,
    "created_at": _text,
    "command": _text,
    "engine": _engine,
    "seconds": _table(_number),
}


def _wrong(what: str) -> NoReturn:
    raise ValueError(what)


def check_meta(meta: Mapping[str, Any]) -> None:
    """Check what a file says of a fit.

    Parameters
    ----------
    meta : mapping

    Raises
    ------
    ValueError
        If something is missing or cannot be true of any fit.
    """
    for name, fits in {**_NEEDED, **_OTHERS}.items():
        if name in _NEEDED and name not in meta:
            _wrong(f"a file without {name}")
        if name in meta and not fits(meta[name]):
            _wrong(f"{name} that cannot be: {str(meta[name])[:60]}")


def check_arrays(tree: xr.DataTree, meta: Mapping[str, Any]) -> None:
    """Check the arrays of a fit: groups, dims, types, and that every number is finite.

    Parameters
    ----------
    tree : DataTree
    meta : mapping
        Checked by :func:`check_meta`.

    Raises
    ------
    ValueError
        If a group is missing, or an array cannot be one of a fit.
    """
    if lacking := [name for name in GROUPS if name not in tree.children]:
        _wrong(f"a file without {', '.join(lacking)}")
    shape = tuple(tree["posterior"].sizes.get(dim, 0) for dim in (CHAIN, DRAW))
    if shape[0] < 1 or shape[1] < _FEWEST_DRAWS:
        _wrong(f"{shape[0]} chains of {shape[1]} draws")
    for group in _OF_DRAWS:
        for name, array in tree[group].data_vars.items():
            if array.dims[:2] != (CHAIN, DRAW) or array.shape[:2] != shape:
                _wrong(f"{group}/{name} that is not one array over chains and draws")
            if array.dtype.kind not in ("iufb" if group == "sample_stats" else "iuf"):
                _wrong(f"{group}/{name} that is not of numbers")
            _check_finite(group, str(name), array.to_numpy(), meta)
    how = meta.get("engine", {}).get("warm_start", "")
    if how != GIVEN and (lacking := sorted({*STATISTICS.values()} - {*map(str, tree["sample_stats"].data_vars)})):
        _wrong(f"draws of a sampler without its {', '.join(lacking)}")
    if missing := {*meta["published"]} - {*map(str, tree["posterior"].data_vars)}:
        _wrong(f"a posterior without {min(missing)}")
    _check_data(tree, meta)


def _check_finite(group: str, name: str, values: np.ndarray, meta: Mapping[str, Any]) -> None:
    """Refuse NaN everywhere. Only densities, and coefficients computed from draws, may be infinite."""
    infinite = group in ("log_likelihood", "log_prior") or name in meta["published"]
    if np.isnan(values).any() or not (infinite or (np.abs(values) < _LARGEST).all()):
        _wrong(f"{group}/{name} with numbers that are not finite")


def _check_data(tree: xr.DataTree, meta: Mapping[str, Any]) -> None:
    """Check the fitted runs: one row per run, counts that are positive, families that exist."""
    constant, observed = (tree[group].to_dataset() for group in ("constant_data", "observed_data"))
    runs = constant.sizes.get(RUN, 0)
    for data in (constant, observed):
        for name, array in data.data_vars.items():
            if array.dims != (RUN,) or len(array) != runs or not runs:
                _wrong(f"{name} that is not one value per run")
    for name, array in constant.data_vars.items():
        values = array.to_numpy()
        if name in AMOUNTS and not (values.dtype.kind in "iuf" and (values > 0).all() and (values < _LARGEST).all()):
            _wrong(f"{name} that are not positive numbers")
        if values.dtype.kind == "f" and np.isinf(values).any():
            _wrong(f"{name} with numbers that are not finite")
    _check_observed(observed)
    family = constant["family"].to_numpy() if "family" in constant else np.array([-1])
    if family.dtype.kind not in "iu" or set(family.tolist()) != set(range(len(meta["families"]))):
        _wrong("runs of families that it does not name")
    posterior = tree["posterior"]
    if FAMILY in posterior.coords and list(posterior.coords[FAMILY].to_numpy()) != list(meta["families"]):
        _wrong("draws of families that it does not name")


def _check_observed(observed: xr.Dataset) -> None:
    """Check the observations: numbers, of which some may be missing; losses are positive."""
    if not observed.data_vars:
        _wrong("a file without observations")
    for name, array in observed.data_vars.items():
        values = array.to_numpy()
        if values.dtype.kind not in "iufb" or np.isinf(values).any() or np.isnan(values).all():
            _wrong(f"observations of {name} that are not numbers")
        if name == "loss" and (values <= 0).any():
            _wrong("losses that are not positive")


def check_digests(tree: xr.DataTree, meta: Mapping[str, Any]) -> None:
    """Check the digests of the fitted runs and of the spec, which a file of an old format may lack.

    The digest of a spec covers the code of its parts. The file says what that code was, so that a fit of another
    version, whose parts compute something else, can be checked and read.

    Parameters
    ----------
    tree : DataTree
        Checked by :func:`check_arrays`.
    meta : mapping
        Checked by :func:`check_meta`.

    Raises
    ------
    ValueError
        If a digest is not that of what the file holds.
    """
    new = meta["schema"] >= CHECKED_FROM
    if new and (lacking := digests_of(meta["spec"]) - meta.keys()):
        _wrong(f"a file without {min(lacking)}")
    if "data_digest" in meta and meta["data_digest"] != data_digest(tree, meta["runs_digest"] if new else ""):
        _wrong("runs that are not those of its data_digest")
    content = {name: value for name, value in meta["spec"].items() if name not in _PROSE}
    if "spec_code" in meta and meta.get("spec_digest") != digest_of(content, meta["spec_code"]):
        _wrong("a spec that is not the one of its spec_digest")


def check_sites(fit: Fit) -> None:
    """Check that the posterior holds every site of the model, each with its dims and in the support of its prior.

    Parameters
    ----------
    fit : Fit
        Its arrays have been checked.

    Raises
    ------
    ValueError
        If a site is missing, has other dims or values that its prior excludes.
    """
    spec, posterior, runs = fit.spec, fit.posterior, fit.design_frame
    if lacking := {*spec.observed} - {*fit.tree["observed_data"]}:
        _wrong(f"a file without observations of {min(lacking)}")
    anchored = () if isinstance(spec, CustomModel) else (*spec.inputs, "loss")
    if lacking := {*anchored} - {*fit.meta["anchor"]}:
        _wrong(f"an anchor without {min(lacking)}")
    points = Design.build(spec, runs, runs)
    for name, site in declared_sites(spec, points).items():
        if site.kept and name not in posterior:
            _wrong(f"a posterior without {name}")
        if name in posterior and posterior[name].dims[2:] != tuple(site.dims):
            _wrong(f"draws of {name} with other dims than {', '.join(site.dims) or 'none'}")
    if COORDINATES in posterior:
        width = sum(sum(of.coordinates.values()) for of in spec.discrepancies)
        if posterior[COORDINATES].shape[-1] != width:
            _wrong(f"draws of {COORDINATES} of another width than {width}")
    if not isinstance(spec, CustomModel):
        _check_support(fit)


def _check_support(fit: Fit) -> None:
    """Refuse draws outside the support of their prior, such as a negative scale of the noise."""
    settings, posterior = dict(fit.spec.settings), fit.posterior
    for name, way in fit.ways.items():
        support = {Role.SPREAD: constraints.positive}
        support |= dict.fromkeys((Role.VALUE, Role.CENTER), settings[name].prior.transform.codomain)
        for site in way.sites(name):
            if site.name in posterior and site.role in support:
                inside, values = support[site.role], posterior[site.name].to_numpy()
                rounded = values + np.finfo(float).eps * np.abs(values)  # a draw may round to the end of an interval
                if not np.all(inside(values) | inside(rounded)):
                    _wrong(f"draws of {site.name} outside the support of its prior")
