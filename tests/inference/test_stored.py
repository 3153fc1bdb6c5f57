"""A saved fit says what it holds: runs or a spec that were changed in a file are seen, although the seal is right."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

import bayescale as bs
from bayescale.core.errors import FitError
from bayescale.inference.container import packed, sealed

Meta = dict[str, Any]


def changed(path: Path, change: Callable[[h5py.File], object]) -> Path:
    """Change a saved fit, and seal it again as if it had been saved so."""
    with h5py.File(path, "r+") as file:
        change(file)
    path.write_bytes(sealed(path.read_bytes()))
    return path


def meta_of(path: Path, group: str = "/") -> Meta:
    with h5py.File(path) as file:
        return json.loads(file[group].attrs["bayescale"])


def said(change: Callable[[Meta], object], group: str = "/") -> Callable[[h5py.File], None]:
    """A change of what a file says of a fit."""

    def apply(file: h5py.File) -> None:
        meta = json.loads(file[group].attrs["bayescale"])
        change(meta)
        file[group].attrs["bayescale"] = json.dumps(meta)

    return apply


def engine(**entries: Any) -> Callable[[h5py.File], None]:
    return said(lambda meta: meta["engine"].update(entries))


def nudge(path: str) -> Callable[[h5py.File], None]:
    """Move one number by the least amount."""

    def apply(file: h5py.File) -> None:
        file[path][3] = np.nextafter(file[path][3], np.inf)

    return apply


def rename(file: h5py.File) -> None:
    file["constant_data/run_id"][3] = "another"


def halve(meta: Meta) -> None:
    meta["spec"]["parameters"]["alpha_N"]["prior"]["scale"] /= 2


@pytest.fixture
def saved(chinchilla_fit: bs.Fit, tmp_path: Path) -> Path:
    return chinchilla_fit.save(tmp_path / "fit.nc")


@pytest.mark.parametrize(
    ("change", "digest"),
    [
        (nudge("observed_data/loss"), "data_digest"),
        (nudge("constant_data/params"), "data_digest"),
        (rename, "data_digest"),
        (said(halve), "spec_digest"),
        (said(lambda meta: meta.update(spec_digest="0" * 64)), "spec_digest"),
        (said(lambda meta: meta.pop("spec_digest")), "spec_digest"),
        (said(lambda meta: meta["spec_code"].popitem()), "spec_digest"),
        (said(lambda meta: meta.update(runs_digest="0" * 64)), "data_digest"),
        *((said(lambda meta, of=of: meta.pop(of)), of) for of in ("data_digest", "runs_digest", "spec_code")),
    ],
    ids=[
        "a loss",
        "params",
        "a name",
        "a prior",
        "the digest",
        "no digest",
        "the code",
        "another table",
        "no digest of the runs",
        "no digest of the table",
        "no code",
    ],
)
def test_a_file_that_does_not_hold_what_it_says_is_refused(change, digest: str, saved: Path) -> None:
    with pytest.raises(FitError, match=rf"does not hold a complete fit\n.*{digest}\n.*fit again"):
        bs.load_fit(changed(saved, change))


def test_a_member_that_was_changed_is_refused(chinchilla_fit: bs.Fit, tmp_path: Path) -> None:
    average = bs.average({"one": chinchilla_fit, "two": chinchilla_fit}, {"one": 0.5, "two": 0.5})
    path = average.save(tmp_path / "average.nc")
    assert bs.load_fit(path).families == average.families
    with pytest.raises(FitError, match="data_digest"):
        bs.load_fit(changed(path, nudge("member_1/observed_data/loss")))


def test_a_fit_of_before_has_no_digests_and_is_read(saved: Path) -> None:
    def without(meta: Meta) -> None:
        del meta["data_digest"], meta["spec_code"]
        meta |= {"schema": 3, "spec_digest": "of code that is not known"}

    path = changed(saved, said(without))
    fit = bs.load_fit(changed(path, nudge("observed_data/loss")))
    assert fit.spec == bs.load_spec("additive")
    again = fit.save(saved.with_name("again.nc"))
    assert meta_of(again)["schema"] == 3  # the code that made it cannot be found again
    assert bs.load_fit(again).meta == fit.meta
    with pytest.raises(FitError, match="data_digest"):
        bs.load_fit(changed(again, nudge("observed_data/loss")))


def test_a_fit_of_other_code_is_read_and_keeps_its_digest(saved: Path, tmp_path: Path) -> None:
    """The digest of the spec covers the code of its parts, which another version of bayescale may have changed."""

    def other(meta: Meta) -> None:
        content = {name: value for name, value in meta["spec"].items() if name not in ("name", "title", "learned")}
        meta["spec_code"]["laws/additive"] = "0" * 64
        text = json.dumps([content, meta["spec_code"]], sort_keys=True)
        meta["spec_digest"] = hashlib.sha256(text.encode()).hexdigest()

    fit = bs.load_fit(changed(saved, said(other)))
    assert fit.spec == bs.load_spec("additive")
    assert fit.meta["spec_digest"] != fit.spec.digest
    again = fit.save(tmp_path / "again.nc")
    assert meta_of(again)["spec_code"] == meta_of(saved)["spec_code"]  # not the code of today
    assert bs.load_fit(again).meta == fit.meta


def test_a_fit_with_other_draws_can_be_saved(chinchilla_fit: bs.Fit, tmp_path: Path) -> None:
    loaded = bs.load_fit(chinchilla_fit.save(tmp_path / "fit.nc"))
    fewer = bs.Fit(loaded.tree.isel(draw=slice(100), run=slice(None)), loaded.spec, loaded.meta)
    assert bs.load_fit(fewer.save(tmp_path / "fewer.nc")).posterior.sizes["draw"] == 100


@pytest.mark.parametrize("cells", [["a\0b"], [{1}]], ids=["NUL", "an object"])
def test_what_the_format_cannot_hold_is_an_error_of_the_fit(cells: list[Any]) -> None:
    tree = xr.DataTree(xr.Dataset({"run_id": ("run", np.array(cells, object))}))
    with pytest.raises(FitError, match="cannot be written as netCDF"):
        packed(tree)


def test_draws_of_this_engine_come_with_the_statistics_of_its_sampler(drawn_fit: bs.Fit, tmp_path: Path) -> None:
    path = drawn_fit.save(tmp_path / "fit.nc")
    assert bs.load_fit(path).families == drawn_fit.families  # draws of another sampler may lack them
    with pytest.raises(FitError, match="without its acceptance_rate, diverging, energy, n_steps"):
        bs.load_fit(changed(path, engine(warm_start="Newton-Laplace")))


@pytest.mark.parametrize("floor", ["x", [1], True, -0.1, float("nan"), float("inf"), 10**200])
def test_a_floor_of_the_noise_that_cannot_be_is_refused(floor: Any, drawn_fit: bs.Fit, tmp_path: Path) -> None:
    path = drawn_fit.save(tmp_path / "fit.nc")
    assert "less noise than 0.1 of" in repr(bs.load_fit(changed(path, engine(noise_floor=0.1))))
    with pytest.raises(FitError, match="engine that cannot be"):
        bs.load_fit(changed(path, engine(noise_floor=floor)))


@pytest.mark.parametrize(("name", "value"), [("sigma", -0.01), ("sigma", 0.0), ("alpha_N", -1.0), ("nu", -3.0)])
def test_draws_outside_the_support_of_their_prior_are_refused(
    name: str, value: float, drawn_fit: bs.Fit, tmp_path: Path
) -> None:
    def outside(file: h5py.File) -> None:
        file["posterior"][name][1, 2] = value

    with pytest.raises(FitError, match=f"draws of {name} outside the support of its prior"):
        bs.load_fit(changed(drawn_fit.save(tmp_path / "fit.nc"), outside))


def put(path: str, value: float) -> Callable[[h5py.File], None]:
    """Change the fourth number of an array, or the first of its fourth row."""

    def apply(file: h5py.File) -> None:
        file[path][(3,) + (0,) * (file[path].ndim - 1)] = value

    return apply


def added(name: str, *arguments: Any, **how: Any) -> Callable[[h5py.File], None]:
    return lambda file: file.create_dataset(name, *arguments, **how)


def linked(link: object) -> Callable[[h5py.File], None]:
    return lambda file: file.__setitem__("posterior/more", link)


def noted(name: str, value: float) -> Callable[[h5py.File], None]:
    return lambda file: file["posterior/alpha_N"].attrs.__setitem__(name, value)


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((3,), float)
    layout[:] = h5py.VirtualSource("elsewhere.nc", "loss", (3,))
    file.create_virtual_dataset("posterior/more", layout)


HARMFUL: dict[str, tuple[Callable[[h5py.File], object], str]] = {
    "link": (linked(h5py.SoftLink("/posterior/alpha_N")), "posterior/more is a link"),
    "link to another file": (linked(h5py.ExternalLink("elsewhere.nc", "/loss")), "posterior/more is a link"),
    "array of two names": (lambda file: linked(file["posterior/alpha_N"])(file), "a second name of an object"),
    "cycle": (lambda file: linked(file["posterior"])(file), "a second name of an object"),
    "many levels": (lambda file: file.create_group("a/b/c/d/e"), "groups are nested too deeply"),
    "array of another file": (virtual, "posterior/more is not an array that the file holds"),
    "bytes of another file": (
        added("posterior/more", (3,), float, external=[("elsewhere.bin", 0, 24)]), "not an array that the file holds"
    ),
    "type": (lambda file: file.__setitem__("more", np.dtype(float)), "more is not an array that the file holds"),
    "plugin": (added("posterior/more", data=np.zeros(99), compression="lzf"), "more is compressed in an unusual way"),
    "records": (added("posterior/more", data=np.zeros(3, "f8,f8")), "more holds neither numbers nor text"),
    "table of text": (added("posterior/more", data=[["a"], ["b"]], dtype=h5py.string_dtype()), "is a table of text"),
    "numbers that are scaled": (noted("scale_factor", 2.0), "alpha_N has the attribute 'scale_factor'"),
    "number for nothing": (noted("_FillValue", 0.3), "alpha_N stands for missing numbers by a number"),
    "a great size": (
        added("posterior/more", (1 << 33,), float, chunks=(1 << 20,), compression="gzip"),
        "the arrays are much larger than the file",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "words"), HARMFUL.values(), ids=HARMFUL)
def test_a_file_is_inspected_before_its_arrays_are_read(change, words: str, saved: Path) -> None:
    with pytest.raises(FitError, match=words):
        bs.load_fit(changed(saved, change))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("name", ["posterior/alpha_N", "posterior/sigma", "sample_stats/energy"])
def test_draws_that_are_not_finite_are_refused(name: str, value: float, saved: Path) -> None:
    with pytest.raises(FitError, match=f"{name} with numbers that are not finite"):
        bs.load_fit(changed(saved, put(name, value)))


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1e9, 1e300])
@pytest.mark.parametrize("name", ["params", "tokens"])
def test_runs_whose_amounts_are_not_positive_are_refused(name: str, value: float, saved: Path) -> None:
    with pytest.raises(FitError, match=f"{name} that are not positive numbers"):
        bs.load_fit(changed(saved, put(f"constant_data/{name}", value)))


@pytest.mark.parametrize(("value", "words"), [(np.inf, "loss that are not numbers"), (0.0, "not positive"),
                                              (-2.0, "not positive")])  # fmt: skip
def test_losses_that_are_none_are_refused(value: float, words: str, saved: Path) -> None:
    with pytest.raises(FitError, match=words):
        bs.load_fit(changed(saved, put("observed_data/loss", value)))
