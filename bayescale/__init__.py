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
    "exponent_from_modality": "parts.modalities",
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

if TYPE_CHECKING:  # `as` exports a name to type checkers
    from bayescale.core.errors import BayescaleError as BayescaleError, ConvergenceWarning as ConvergenceWarning
    from bayescale.core.quantities import quantity as quantity
    from bayescale.core.verdict import Verdict as Verdict
    from bayescale.decisions import risk as risk
    from bayescale.decisions.allocation import Allocation as Allocation
    from bayescale.decisions.base import AbstractDecision as AbstractDecision
    from bayescale.decisions.choice import Choice as Choice, Withheld as Withheld
    from bayescale.decisions.data_cap import DataCap as DataCap
    from bayescale.decisions.decay import Decay as Decay
    from bayescale.decisions.derived import Derived as Derived, frontier as frontier, limit as limit
    from bayescale.decisions.engines import Value as Value
    from bayescale.decisions.experts import Experts as Experts
    from bayescale.decisions.fixed_params import FixedParams as FixedParams
    from bayescale.decisions.hardware import hardware as hardware
    from bayescale.decisions.lifetime import Lifetime as Lifetime
    from bayescale.decisions.mixture import Mixture as Mixture
    from bayescale.decisions.next_run import NextRun as NextRun
    from bayescale.decisions.portfolio import Portfolio as Portfolio
    from bayescale.decisions.recipe import Recipe as Recipe
    from bayescale.decisions.share import Share as Share
    from bayescale.decisions.solver import decide as decide
    from bayescale.decisions.split import Split as Split
    from bayescale.decisions.swap import Swap as Swap
    from bayescale.decisions.target import Target as Target
    from bayescale.decisions.threshold import Threshold as Threshold
    from bayescale.decisions.train_to_test import TrainToTest as TrainToTest
    from bayescale.decisions.value import value_of as value_of
    from bayescale.evaluation.backtest import Backtest as Backtest, backtest as backtest
    from bayescale.evaluation.checks.base import AbstractCheck as AbstractCheck, Finding as Finding, check as check
    from bayescale.evaluation.comparison import Comparison as Comparison, compare as compare
    from bayescale.evaluation.sbc import Calibration as Calibration, calibrate as calibrate
    from bayescale.evaluation.stacking import (
        LeaveFutureOut as LeaveFutureOut,
        backtest_average as backtest_average,
        leave_future_out as leave_future_out,
        stack as stack,
    )
    from bayescale.inference.average import Average as Average, average as average
    from bayescale.inference.batch import Batch as Batch, fit_many as fit_many
    from bayescale.inference.fit import Fit as Fit, fit as fit
    from bayescale.inference.fit_io import load_fit as load_fit
    from bayescale.inference.weights import Weights as Weights
    from bayescale.modelling.custom import (
        CustomModel as CustomModel,
        Observes as Observes,
        custom_model as custom_model,
    )
    from bayescale.modelling.interpreter import model as model
    from bayescale.modelling.model import Model as Model
    from bayescale.modelling.spec import Spec as Spec
    from bayescale.modelling.spec_io import load_spec as load_spec, make_spec as make_spec, write_spec as write_spec
    from bayescale.parts.base import (
        AbstractDiscrepancy as AbstractDiscrepancy,
        AbstractLaw as AbstractLaw,
        AbstractNoise as AbstractNoise,
        AbstractPooling as AbstractPooling,
        AbstractResource as AbstractResource,
        AbstractResponse as AbstractResponse,
        Column as Column,
        Kind as Kind,
        Parameter as Parameter,
        Quantity as Quantity,
    )
    from bayescale.parts.modalities import exponent_from_modality as exponent_from_modality
    from bayescale.parts.priors import LogitNormal as LogitNormal, LogNormal as LogNormal, Normal as Normal
    from bayescale.parts.theory import (
        exponent_from_dimension as exponent_from_dimension,
        exponent_from_statistics as exponent_from_statistics,
        exponent_from_zipf as exponent_from_zipf,
    )
    from bayescale.prediction.forecast import Forecast as Forecast, forecast as forecast
    from bayescale.prediction.predictive import predictive as predictive
    from bayescale.prediction.queries import NEW as NEW
    from bayescale.prediction.records import Record as Record, load_record as load_record
    from bayescale.reporting import plots as plots, report as report
    from bayescale.reporting.notebook import explore as explore
    from bayescale.runs.accounting import Accounting as Accounting, recount as recount
    from bayescale.runs.approaches import (
        Approach as Approach,
        isoflop_minima as isoflop_minima,
        lower_envelope as lower_envelope,
    )
    from bayescale.runs.readers import load_runs as load_runs
    from bayescale.runs.shapes import Shape as Shape
    from bayescale.runs.table import Runs as Runs
    from bayescale.transfer.learn import learn as learn


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
