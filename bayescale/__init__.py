"""bayescale: Bayesian scaling laws, from a table of training runs to a compute decision.

>>> import bayescale as bs
>>> fit = bs.fit("hoffmann2022", "additive", seed=0)  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Rooms of verbs are named in the gerund (fitting.py holds fit): a submodule would hide its function.
_EXPORTS = {
    "AbstractCheck": "checking",
    "AbstractDecision": "deciding",
    "AbstractLaw": "law",
    "Allocation": "decisions.allocation",
    "Average": "mixing",
    "Backtest": "backtesting",
    "Batch": "batching",
    "BayescaleError": "errors",
    "Calibration": "calibrating",
    "Comparison": "comparing",
    "ConvergenceWarning": "errors",
    "Finding": "checking",
    "Fit": "fitting",
    "Forecast": "forecasting",
    "LeaveFutureOut": "averaging",
    "LogNormal": "law",
    "LogitNormal": "law",
    "NEW": "forecasting",
    "Normal": "law",
    "Parameter": "law",
    "Record": "measuring",
    "Runs": "runs",
    "Spec": "spec",
    "Weights": "stacking",
    "average": "mixing",
    "backtest": "backtesting",
    "backtest_average": "averaging",
    "calibrate": "calibrating",
    "check": "checking",
    "compare": "comparing",
    "decide": "deciding",
    "fit": "fitting",
    "fit_many": "batching",
    "forecast": "forecasting",
    "learn": "learning",
    "leave_future_out": "averaging",
    "load_fit": "loading",
    "load_record": "measuring",
    "load_runs": "runs",
    "load_spec": "specifying",
    "make_spec": "specifying",
    "model": "modelling",
    "predictive": "predicting",
    "quantity": "quantities",
    "report": "reporting",
    "stack": "averaging",
    "write_spec": "specifying",
}

__all__ = sorted([*_EXPORTS, "__version__"])

if TYPE_CHECKING:
    from bayescale.averaging import LeaveFutureOut, backtest_average, leave_future_out, stack
    from bayescale.backtesting import Backtest, backtest
    from bayescale.batching import Batch, fit_many
    from bayescale.calibrating import Calibration, calibrate
    from bayescale.checking import AbstractCheck, Finding, check
    from bayescale.comparing import Comparison, compare
    from bayescale.deciding import AbstractDecision, decide
    from bayescale.decisions.allocation import Allocation
    from bayescale.errors import BayescaleError, ConvergenceWarning
    from bayescale.fitting import Fit, fit
    from bayescale.forecasting import NEW, Forecast, forecast
    from bayescale.law import AbstractLaw, LogitNormal, LogNormal, Normal, Parameter
    from bayescale.learning import learn
    from bayescale.loading import load_fit
    from bayescale.measuring import Record, load_record
    from bayescale.mixing import Average, average
    from bayescale.modelling import model
    from bayescale.predicting import predictive
    from bayescale.quantities import quantity
    from bayescale.reporting import report
    from bayescale.runs import Runs, load_runs
    from bayescale.spec import Spec
    from bayescale.specifying import load_spec, make_spec, write_spec
    from bayescale.stacking import Weights


def __getattr__(name: str) -> Any:
    """Import on first use, so that a command's help need not wait for JAX."""
    if name == "__version__":
        return import_module("importlib.metadata").version("bayescale")
    if name not in _EXPORTS:
        raise AttributeError(f"module 'bayescale' has no attribute {name!r}")
    return getattr(import_module(f"bayescale.{_EXPORTS[name]}"), name)


def __dir__() -> list[str]:
    return __all__
