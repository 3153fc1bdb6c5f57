"""Batch: many tables under one spec, each with its own findings."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.core.errors import ConvergenceWarning, FitError, RunsError
from bayescale.core.verdict import Status, Verdict
from bayescale.inference import batch as batches
from bayescale.inference import nuts
from bayescale.inference.fit import Fit
from bayescale.inference.nuts import run_chain
from bayescale.modelling import spec as specs
from bayescale.modelling.design import design
from bayescale.modelling.layout import layout
from bayescale.runs.readers import load_runs

SETTINGS = {"chains": 2, "draws": 500, "progress": False}


@pytest.fixture(scope="module")
def tables():
    runs = bs.load_runs("hoffmann2022")
    third = np.arange(len(runs)) % 3
    # A table on one ray, which no law of two exponents can be fitted to, in the midst of good ones.
    ray = runs.take(np.flatnonzero(third == 0)).frame.assign(tokens=lambda t: 20 * t["params"]).drop(columns="flops")
    return {
        "most": runs.take(np.flatnonzero(third != 0)),
        "ray": bs.load_runs(ray),
        "half": runs.take(np.flatnonzero(np.arange(len(runs)) % 2 == 0)),
    }


@pytest.fixture(scope="module")
def batch(tables):
    with pytest.warns(ConvergenceWarning, match="ray: "):
        return bs.fit_many(tables, "additive", seed=5, **SETTINGS)


def test_a_failure_is_reported_alone(batch):
    assert list(batch.fits) == ["most", "half"]
    assert isinstance(batch.failed["ray"], RunsError)
    assert list(batch.problems) == ["ray"]
    assert "ray" in repr(batch)


def test_a_fit_in_a_batch_has_the_posterior_of_a_fit_alone(batch, tables):
    for name, together in batch.fits.items():
        alone = bs.fit(tables[name], "additive", seed=11, **SETTINGS)
        assert len(together.design_frame) == len(tables[name])
        for site in ("alpha_N", "beta_D", "E", "sigma"):
            one, other = alone.summary.loc[site], together.summary.loc[site]
            error = np.hypot(*(row["sd"] / np.sqrt(row["ess_bulk"]) for row in (one, other)))
            assert abs(one["mean"] - other["mean"]) < 4 * error, (name, site)


def test_pointwise_likelihoods_are_in_the_order_of_the_runs(batch, tables):
    fit = batch.fits["half"]
    density = fit.tree["log_likelihood"]["loss"].to_numpy()
    posterior, runs = fit.posterior, tables["half"]
    at = {name: posterior[name].to_numpy()[0, 0] for name in ("E", "A", "B", "alpha_N", "beta_D")}
    curve = at["E"] + at["A"] * runs["params"] ** -at["alpha_N"] + at["B"] * runs["tokens"] ** -at["beta_D"]
    misfit = np.abs(np.log(runs["loss"] / curve))
    # Under one symmetric noise the density of log loss falls with the misfit.
    order = np.argsort(misfit)
    assert (np.diff((density[0, 0] + np.log(runs["loss"]))[order]) <= 1e-9).all()


def test_tables_of_other_sizes_share_one_compiled_chain(tables, monkeypatch):
    seen = []
    original = nuts.compiled

    def spy(program, settings, *arguments):
        if program is run_chain:
            seen.append(original(program, settings, *arguments))
        return original(program, settings, *arguments)

    monkeypatch.setattr("bayescale.inference.nuts.compiled", spy)
    good = {name: tables[name] for name in ("most", "half")}
    bs.fit_many(good, "additive", seed=5, **SETTINGS)
    assert len(seen) == 4  # twice a fit: when it may be needed, and when it is
    assert all(program is seen[0] for program in seen)


def test_an_empty_batch_is_refused():
    with pytest.raises(FitError, match="nothing to fit"):
        bs.fit_many({}, "additive")


def test_a_fit_that_was_kept_under_other_code_is_another_s(chinchilla, chinchilla_fit, monkeypatch):
    """A kept fit's spec is read anew and has the digest of today's code, whatever code fitted it."""
    asked = {"runs": chinchilla, "seed": 0, "chains": 4, "draws": 1000}
    batches._check_same("mine", chinchilla_fit, spec=bs.load_spec("additive"), **asked)
    own = specs._code_of
    monkeypatch.setattr(specs, "_code_of", lambda part: own(part) + "changed")
    again = replace(chinchilla_fit, spec=bs.load_spec("additive"))
    with pytest.raises(FitError, match="holds another fit"):
        batches._check_same("mine", again, spec=bs.load_spec("additive"), **asked)


def test_tables_whose_chains_do_not_agree_are_fitted_longer_if_asked(tables):
    few = SETTINGS | {"draws": 60, "warmup": 300}  # too few for an ESS of 400
    one = {"half": tables["half"]}
    with pytest.warns(ConvergenceWarning, match="half: "):
        short = bs.fit_many(one, "additive", seed=5, **few)
    long = bs.fit_many(one, "additive", seed=5, longer=16, **few)
    assert short.fits["half"].posterior.sizes["draw"] == 60
    assert long.fits["half"].posterior.sizes["draw"] == 16 * 60
    assert not long.problems
    assert long.seconds["sampling"] > long.fits["half"].meta["seconds"]["sampling"]  # of both
    with pytest.raises(FitError, match=r"(?s)longer is too small.*at least 1"):
        bs.fit_many(one, "additive", longer=0, **few)


def test_only_a_fit_that_does_not_converge_takes_the_last_rung(tables, monkeypatch):
    few, draws, fitted = SETTINGS | {"draws": 20, "warmup": 20}, batches.sampled, []

    def spy(**task):
        fitted.append((len(task["runs"]), task["draws"]))
        return draws(**task)

    def verdict(fit):
        good = len(fit.design_frame) == len(tables["most"]) or fit.posterior.sizes["draw"] > 20
        return Verdict(Status.CONVERGED if good else Status.NOT_CONVERGED)

    monkeypatch.setattr(batches, "sampled", spy)
    monkeypatch.setattr(Fit, "verdict", property(verdict))
    found = bs.fit_many({name: tables[name] for name in ("most", "half")}, "additive", seed=5, longer=4, **few)
    assert sorted(fitted) == sorted([(len(tables["most"]), 20), (len(tables["half"]), 20), (len(tables["half"]), 80)])
    assert {name: fit.posterior.sizes["draw"] for name, fit in found.fits.items()} == {"most": 20, "half": 80}


def test_a_large_table_does_not_pad_small_ones(chinchilla):
    spec = bs.load_spec("additive")
    frame = pd.concat([chinchilla.frame] * 7, ignore_index=True)
    apart = 1 + 1e-6 * np.arange(len(frame))  # no two rows are one run
    large = load_runs(frame.assign(run_id=frame.index.map(str), params=frame["params"] * apart).drop(columns="flops"))
    designs = {f"small {i}": design(spec, chinchilla.take(np.arange(40 + i))) for i in range(9)}
    shapes = batches._shapes(designs | {"large": design(spec, large)})
    assert {shapes[name] for name in designs} == {layout(list(designs.values()))}
    assert shapes["large"] == layout([design(spec, large)])


def test_tables_of_other_numbers_of_families_do_not_pad_each_other(chinchilla, trio):
    spec = bs.load_spec("additive")
    several = {"all": design(spec, trio), "some": design(spec, trio.take(np.arange(0, len(trio), 2)))}
    single = design(spec, chinchilla)
    shapes = batches._shapes({"single": single} | several)
    assert shapes == {"single": layout([single])} | dict.fromkeys(several, layout(list(several.values())))
    assert len(set(shapes.values())) == 2


def test_a_fit_is_handed_on_while_others_are_made(tables, chinchilla_fit, monkeypatch):
    """The second fit ends only after the first was handed on."""
    handed = threading.Event()

    def sampled(*, seed, **_):
        assert seed == 0 or handed.wait(60)
        return chinchilla_fit

    monkeypatch.setattr(batches, "sampled", sampled)
    monkeypatch.setattr(batches, "_check_same", lambda *_, **__: None)
    names: list[str] = []
    two = {name: tables[name] for name in ("most", "half")}
    bs.fit_many(two, "additive", made=lambda name, _: (names.append(name), handed.set()), **SETTINGS)
    assert names == ["most", "half"]


@pytest.mark.parametrize("seed", range(5))
def test_classes_of_tables_are_those_with_the_fewest_padded_runs(seed):
    rng = np.random.default_rng(seed)
    tables = dict(zip(rng.integers(5, 1200, 6).tolist(), rng.integers(1, 30, 6).tolist(), strict=True))
    sizes = sorted(tables)

    def cost(classes):
        padded = [most * sum(tables[size] for size in sizes if least <= size <= most) for least, most in classes]
        return sum(padded) + batches._PROGRAM * len(classes)

    def every(start=0):
        if start == len(sizes):
            yield []
        for end in range(start + 1, len(sizes) + 1):
            yield from ([(sizes[start], sizes[end - 1]), *rest] for rest in every(end))

    assert cost(batches._classes(tables)) == min(map(cost, every()))
