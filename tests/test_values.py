"""Public values: compared, hashed and called without surprises."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pkgutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.evaluation.sbc import RANKED
from bayescale.inference.batch import FitOptions, fit_many
from bayescale.inference.weights import given
from bayescale.parts.catalogue import part
from bayescale.prediction.records import load_record
from bayescale.runs.table import Runs
from bayescale.transfer.learn import study

ARRAYS = ("ndarray", "DataFrame", "Series", "Dataset", "DataArray", "DataTree", "Array")
MODULES = [import_module(info.name) for info in pkgutil.walk_packages(bs.__path__, "bayescale.")
           if not info.name.endswith("__main__")]  # fmt: skip
VALUES = sorted(
    {thing for module in MODULES for thing in vars(module).values()
     if inspect.isclass(thing) and dataclasses.is_dataclass(thing) and thing.__module__ == module.__name__},
    key=lambda thing: thing.__qualname__,
)  # fmt: skip
VERBS = (bs.fit, bs.fit_many, bs.backtest, bs.backtest_average, bs.stack, bs.leave_future_out, bs.compare, bs.learn,
         study, bs.calibrate)  # fmt: skip
NEEDED = {"runs": "no-such-runs", "spec": "no-such-spec", "specs": ["no-such-spec"], "base": "no-such-spec"}


# Equality and hashes


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__qualname__)
def test_no_value_compares_arrays_field_by_field(value: type) -> None:
    """Generated equality would ask an array whether it is true, which raises."""
    types = {field.name: str(field.type) for field in dataclasses.fields(value)}
    fields = [
        name for name, held in types.items() if not held.startswith("Callable") and any(a in held for a in ARRAYS)
    ]
    generated = value.__dict__.get("__eq__") is not None and value.__dataclass_params__.eq
    assert not (fields and generated), f"{fields}: give it eq=False"


@pytest.fixture(scope="module")
def values(chinchilla: bs.Runs, chinchilla_fit: bs.Fit, comparison: bs.Comparison) -> dict[str, Any]:
    """One of each public value."""
    average = bs.average({"additive": chinchilla_fit})
    choice = bs.decide(bs.Allocation("1e24"), chinchilla_fit)
    spec = bs.load_spec("default")
    findings = bs.check(chinchilla_fit, "convergence")
    ranks = pd.DataFrame({"alpha_N": np.arange(20)})
    return {
        "Runs": chinchilla, "Spec": spec, "Setting": spec.settings[0][1], "Prior": bs.LogNormal(1.0, 0.3),
        "Parameter": spec.table["alpha_N"], "Fit": chinchilla_fit, "Average": average,
        "Forecast": bs.forecast(chinchilla_fit, params=7e10, tokens=1.4e12), "Allocation": bs.Allocation("1e24"),
        "Choice": choice, "Best": choice.best, "Findings": findings, "Finding": findings.findings[0],
        "Verdict": chinchilla_fit.verdict, "Criterion": chinchilla_fit.convergence[0], "Comparison": comparison,
        "Backtest": comparison.backtests["additive"], "LeaveFutureOut": comparison.forecasts,
        "Weights": comparison.weights, "Record": load_record("additive-unpooled"), "Batch": bs.Batch({}, {}, {}, {}),
        "Calibration": bs.Calibration(spec, ranks, pd.DataFrame(), {}, {}, {}), "FitOptions": FitOptions(),
        "Quantity": part("laws", "additive").quantities["E"],
    }  # fmt: skip


BY_CONTENT = {"Runs", "Spec", "Setting", "Prior", "Parameter", "Allocation", "Findings", "Finding", "Verdict",
              "Criterion", "Weights", "Record", "FitOptions", "Quantity"}  # fmt: skip
"""Values that equal a copy of themselves. The others hold draws or tables, and each equals only itself."""


def test_public_values_that_are_equal_have_one_hash(values: dict[str, Any]) -> None:
    for name, value in values.items():
        other = copy.copy(value)
        assert other is not value, name
        assert (value == other) is (name in BY_CONTENT), name
        assert value != "something else", name
        assert len({value, other}) == (1 if name in BY_CONTENT else 2), name


def test_runs_are_equal_by_what_they_hold(chinchilla: bs.Runs) -> None:
    again = bs.load_runs("hoffmann2022")
    assert again == chinchilla
    assert hash(again) == hash(chinchilla)
    assert len({again, chinchilla}) == 1
    frame = chinchilla.frame
    assert Runs(frame[frame.columns[::-1]], chinchilla.name, chinchilla.card) == chinchilla  # in whatever order
    others = (
        chinchilla.take(np.arange(10)),
        Runs(frame.assign(loss=frame["loss"] + 1e-9), chinchilla.name, chinchilla.card),
        Runs(frame, "another", chinchilla.card),
        Runs(frame, chinchilla.name, {}),
        Runs(frame, chinchilla.name, chinchilla.card, not chinchilla.flops_assumed),
    )
    for other in others:
        assert other != chinchilla
    assert chinchilla != frame.shape


def test_weights_are_equal_by_what_they_say() -> None:
    assert given({"a": 1.0, "b": 3.0}) == given({"a": 1.0, "b": 3.0}) != given({"a": 3.0, "b": 1.0})
    assert len({given({"a": 1.0}), given({"a": 1.0})}) == 1


# Options by name


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_a_misspelt_option_is_refused_before_any_work(verb: Callable[..., Any]) -> None:
    parameters = inspect.signature(verb).parameters
    assert not [p for p in parameters.values() if p.kind is p.VAR_KEYWORD]
    required = {name: NEEDED[name] for name, p in parameters.items() if p.default is p.empty}
    with pytest.raises(TypeError, match="unexpected keyword argument 'drawz'"):
        verb(**required, drawz=5)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb is not bs.fit], ids=lambda verb: verb.__name__)
def test_every_verb_takes_the_options_of_fit_many(verb: Callable[..., Any]) -> None:
    """By the same names and defaults, except that calibrations take fewer draws of many more fits."""
    usual = inspect.signature(fit_many).parameters
    for field in dataclasses.fields(FitOptions):
        mine = inspect.signature(verb).parameters[field.name]
        assert mine.kind is mine.KEYWORD_ONLY
        assert usual[field.name].default == field.default
        if (verb, field.name) != (bs.calibrate, "draws"):
            assert mine.default == field.default


def test_options_reach_the_fits(trio: bs.Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each verb hands on every option that it was given, to every fit."""
    from bayescale.evaluation import backtest as backtesting
    from bayescale.evaluation import comparison as comparing
    from bayescale.evaluation import sbc
    from bayescale.evaluation import stacking as averaging
    from bayescale.transfer import learn as learning

    class Asked(Exception):
        pass

    def spy(tables, spec, *, seed, progress, longer=1, made=None, **options):
        assert options.pop("folder") is not None
        raise Asked(options | {"seed": seed, "progress": progress})

    for module in (backtesting, sbc, comparing, learning):
        monkeypatch.setattr(module, "fit_many", spy)
    monkeypatch.setattr(averaging, "fit_once", None)
    options = {"chains": 3, "warmup": 33, "draws": RANKED, "device": "cpu", "workers": 2, "scheduler": None}
    asked = options | {"seed": 7, "progress": False, "folder": "kept"}
    spec = bs.load_spec("additive-unpooled")
    both = {"one": spec, "other": spec.with_prior(alpha_N=bs.LogNormal(0.4, 0.3))}
    for call in (
        lambda: bs.backtest(trio, spec, **asked),
        lambda: bs.backtest_average(trio, both, **asked),
        lambda: bs.leave_future_out(trio, both, **asked),
        lambda: bs.stack(trio, both, **asked),
        lambda: bs.compare(trio, ["additive", "coupled"], **asked),
        lambda: bs.learn(trio, spec, **asked),
        lambda: bs.calibrate(spec, simulations=20, **asked),
    ):
        with pytest.raises(Asked) as found:
            call()
        assert found.value.args[0] == options | {"seed": 7, "progress": False}


def test_models_kept_in_one_folder_do_not_meet(tmp_path) -> None:
    assert FitOptions().within("coupled") == FitOptions()
    assert FitOptions(folder=tmp_path).within("a/b", "c").folder == tmp_path / "a%2Fb" / "c"


def test_one_place_turns_on_float64() -> None:
    root = Path(bs.__file__).parent
    switches = [path.name for path in root.rglob("*.py") if "enable_x64(True)" in path.read_text(encoding="utf-8")]
    assert switches == ["precision.py"]
