"""Bayesian scaling laws, from a table of training runs to a compute decision.

>>> import bayescale as bs
>>> fit = bs.fit("hoffmann2022", "additive", seed=0)
>>> fit.converged
True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# No package has the name of an exported function, because the submodule would hide the function.
_EXPORTS = {
    "AbstractCheck": "evaluation.checks.base",
    "AbstractDecision": "decisions.base",
    "AbstractDiscrepancy": "parts.base",
    "AbstractLaw": "parts.base",
    "AbstractNoise": "parts.base",
    "AbstractPooling": "parts.base",
    "AbstractResource": "parts.base",
    "AbstractResponse": "parts.base",
    "Accounting": "runs.accounting",
    "Allocation": "decisions.allocation",
    "Approach": "runs.approaches",
    "Average": "inference.average",
    "Backtest": "evaluation.backtest",
    "Batch": "inference.batch",
    "BayescaleError": "core.errors",
    "Calibration": "evaluation.sbc",
    "Choice": "decisions.choice",
    "Column": "parts.base",
    "Comparison": "evaluation.comparison",
    "ConvergenceWarning": "core.errors",
    "CustomModel": "modelling.custom",
    "DataCap": "decisions.data_cap",
    "Decay": "decisions.decay",
    "Derived": "decisions.derived",
    "Experts": "decisions.experts",
    "Finding": "evaluation.checks.base",
    "Fit": "inference.fit",
    "FixedParams": "decisions.fixed_params",
    "Forecast": "prediction.forecast",
    "Kind": "parts.base",
    "LeaveFutureOut": "evaluation.stacking",
    "Lifetime": "decisions.lifetime",
    "LogNormal": "parts.priors",
    "LogitNormal": "parts.priors",
    "Mixture": "decisions.mixture",
    "Model": "modelling.model",
    "NEW": "prediction.queries",
    "NextRun": "decisions.next_run",
    "Normal": "parts.priors",
    "Observes": "modelling.custom",
    "Parameter": "parts.base",
    "Portfolio": "decisions.portfolio",
    "Quantity": "parts.base",
    "Recipe": "decisions.recipe",
    "Record": "prediction.records",
    "Runs": "runs.table",
    "Shape": "runs.shapes",
    "Share": "decisions.share",
    "Spec": "modelling.spec",
    "Split": "decisions.split",
    "Swap": "decisions.swap",
    "Target": "decisions.target",
    "Threshold": "decisions.threshold",
    "TrainToTest": "decisions.train_to_test",
    "Value": "decisions.engines",
    "Verdict": "core.verdict",
    "Weights": "inference.weights",
    "Withheld": "decisions.choice",
    "average": "inference.average",
    "backtest": "evaluation.backtest",
    "backtest_average": "evaluation.stacking",
    "calibrate": "evaluation.sbc",
    "check": "evaluation.checks.base",
    "compare": "evaluation.comparison",
    "custom_model": "modelling.custom",
    "decide": "decisions.solver",
    "exponent_from_dimension": "parts.theory",
    "exponent_from_statistics": "parts.theory",
    "exponent_from_zipf": "parts.theory",
    "fit": "inference.fit",
    "fit_many": "inference.batch",
    "forecast": "prediction.forecast",
    "frontier": "decisions.derived",
    "hardware": "decisions.hardware",
    "isoflop_minima": "runs.approaches",
    "learn": "transfer.learn",
    "leave_future_out": "evaluation.stacking",
    "limit": "decisions.derived",
    "load_fit": "inference.fit_io",
    "load_record": "prediction.records",
    "load_runs": "runs.readers",
    "load_spec": "modelling.spec_io",
    "lower_envelope": "runs.approaches",
    "make_spec": "modelling.spec_io",
    "model": "modelling.interpreter",
    "predictive": "prediction.predictive",
    "quantity": "core.quantities",
    "recount": "runs.accounting",
    "explore": "reporting.notebook",
    "report": "reporting",
    "stack": "evaluation.stacking",
    "value_of": "decisions.value",
    "write_spec": "modelling.spec_io",
}

_MODULES = {"plots": "reporting.plots", "risk": "decisions.risk"}

__all__ = sorted([*_EXPORTS, *_MODULES, "__version__"])

if TYPE_CHECKING:
    from bayescale.core.errors import BayescaleError, ConvergenceWarning
    from bayescale.core.quantities import quantity
    from bayescale.core.verdict import Verdict
    from bayescale.decisions import risk
    from bayescale.decisions.allocation import Allocation
    from bayescale.decisions.base import AbstractDecision
    from bayescale.decisions.choice import Choice, Withheld
    from bayescale.decisions.data_cap import DataCap
    from bayescale.decisions.decay import Decay
    from bayescale.decisions.derived import Derived, frontier, limit
    from bayescale.decisions.engines import Value
    from bayescale.decisions.experts import Experts
    from bayescale.decisions.fixed_params import FixedParams
    from bayescale.decisions.hardware import hardware
    from bayescale.decisions.lifetime import Lifetime
    from bayescale.decisions.mixture import Mixture
    from bayescale.decisions.next_run import NextRun
    from bayescale.decisions.portfolio import Portfolio
    from bayescale.decisions.recipe import Recipe
    from bayescale.decisions.share import Share
    from bayescale.decisions.solver import decide
    from bayescale.decisions.split import Split
    from bayescale.decisions.swap import Swap
    from bayescale.decisions.target import Target
    from bayescale.decisions.threshold import Threshold
    from bayescale.decisions.train_to_test import TrainToTest
    from bayescale.decisions.value import value_of
    from bayescale.evaluation.backtest import Backtest, backtest
    from bayescale.evaluation.checks.base import AbstractCheck, Finding, check
    from bayescale.evaluation.comparison import Comparison, compare
    from bayescale.evaluation.sbc import Calibration, calibrate
    from bayescale.evaluation.stacking import LeaveFutureOut, backtest_average, leave_future_out, stack
    from bayescale.inference.average import Average, average
    from bayescale.inference.batch import Batch, fit_many
    from bayescale.inference.fit import Fit, fit
    from bayescale.inference.fit_io import load_fit
    from bayescale.inference.weights import Weights
    from bayescale.modelling.custom import CustomModel, Observes, custom_model
    from bayescale.modelling.interpreter import model
    from bayescale.modelling.model import Model
    from bayescale.modelling.spec import Spec
    from bayescale.modelling.spec_io import load_spec, make_spec, write_spec
    from bayescale.parts.base import (
        AbstractDiscrepancy,
        AbstractLaw,
        AbstractNoise,
        AbstractPooling,
        AbstractResource,
        AbstractResponse,
        Column,
        Kind,
        Parameter,
        Quantity,
    )
    from bayescale.parts.priors import LogitNormal, LogNormal, Normal
    from bayescale.parts.theory import exponent_from_dimension, exponent_from_statistics, exponent_from_zipf
    from bayescale.prediction.forecast import Forecast, forecast
    from bayescale.prediction.predictive import predictive
    from bayescale.prediction.queries import NEW
    from bayescale.prediction.records import Record, load_record
    from bayescale.reporting import plots, report
    from bayescale.reporting.notebook import explore
    from bayescale.runs.accounting import Accounting, recount
    from bayescale.runs.approaches import Approach, isoflop_minima, lower_envelope
    from bayescale.runs.readers import load_runs
    from bayescale.runs.shapes import Shape
    from bayescale.runs.table import Runs
    from bayescale.transfer.learn import learn


def __getattr__(name: str) -> Any:
    """Import a name on first use, so that the help of a command does not wait for JAX."""
    if name == "__version__":
        return import_module("importlib.metadata").version("bayescale")
    if name in _MODULES:
        return import_module(f"bayescale.{_MODULES[name]}")
    if name not in _EXPORTS:
        raise AttributeError(f"module 'bayescale' has no attribute {name!r}")
    return getattr(import_module(f"bayescale.{_EXPORTS[name]}"), name)


def __dir__() -> list[str]:
    return __all__
