"""Target: the least compute that reaches a loss or a score with a given probability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.errors import QueryError
from bayescale.core.quantities import count
from bayescale.decisions.base import FAMILY, HARDWARE, LIMITS, AbstractDecision, Details, draws_by_action, setting
from bayescale.decisions.choice import Choice
from bayescale.decisions.draws import ends, finite, written
from bayescale.decisions.goals import Goal, goal
from bayescale.decisions.limits import menu
from bayescale.decisions.surface import Scope, minimise, others_of, recipe_of
from bayescale.inference.average import AbstractFit
from bayescale.prediction.extrapolation import reach_words
from bayescale.prediction.queries import flops_of, resolve_family
from bayescale.runs.columns import FLOPS_PER_PARAM_TOKEN

TIMES_LARGEST = 1e4
"""Default of the largest compute considered, as a multiple of the largest run's."""
_PROBABILITIES = (0.5, 0.8, 0.9, 0.95)  # at which the compute is reported
_MOST_RATIO = 1e4  # tokens per param, of the longest run considered; the largest size has 1
_BELOW = 10.0  # times smaller than any run, of the smallest size and the shortest run considered
_LENGTHS = 80  # of runs, over some 18 e-folds: tokens between them are exact to 1e-7
_COARSE, _STEP = 0.5, 0.11  # e-folds between sizes: of all sizes, and around the best
_AROUND = 25  # steps on either side of the best size: minima between them are exact to 1e-6, and most draws' inside
_LN_6 = np.log(FLOPS_PER_PARAM_TOKEN)


@dataclass(frozen=True)
class Target(AbstractDecision):
    """Find the run of least compute that reaches a loss, or a score, with a given probability.

    Each size is trained on as many tokens as reach the goal with that probability, discrepancies and noise included.

    Attributes
    ----------
    loss, score : float, optional
        The goal, of which one is given.
    response : str, optional
        Response whose score it is.
    probability : float
        Probability with which the plan is to reach the goal.
    within : float, optional
        Largest compute considered, in FLOP.
    recipe : mapping
        Values of covariates and of columns that parts or responses of the model read, such as the items of a benchmark.
    """

    loss: float | None = setting("number", "Loss to reach, in nats/token.", default=None)
    score: float | None = setting("number", "Score to reach, such as 0.7 of a benchmark's items.", default=None)
    response: str | None = setting("text", "Response that has the score; by default the only one.", default=None)
    probability: float = setting("number", "Probability with which the plan is to reach it.", default=0.9)
    within: float | None = setting(
        "count", "Largest compute considered, in FLOP; by default 10,000 times the largest run's.", default=None
    )
    family: str | None = setting("text", FAMILY, default=None)
    hardware: str | None = setting("text", HARDWARE, default=None)
    limits: Mapping[str, str] = setting("texts", LIMITS, default_factory=dict)
    recipe: Mapping[str, float] = setting(
        "numbers", "Value of a covariate, or of a column that the model reads (n_items 1000).", default_factory=dict
    )

    name = "target"
    source = "the tokens of a size are the quantile over draws of the tokens that each draw needs"
    unit = "FLOP"
    key = ("params", "tokens")

    def actions(self, fit: AbstractFit) -> pd.DataFrame:
        """One plan per size; a size that cannot reach the goal so often has the tokens of the largest compute."""
        sizes = self._sizes(fit)
        needed = self.needed(fit, sizes)
        best, _ = minimise(sizes, sizes + np.minimum(_quantile(needed, self.probability), self._longest(fit, sizes)))
        params = np.concatenate([np.exp(sizes), [np.exp(best)], menu(self.limits)])
        needed = np.append(needed, self.needed(fit, np.log(params[len(sizes) :])), axis=1)
        plans = np.minimum(_quantile(needed, self.probability), self._longest(fit, np.log(params)))
        tokens = np.exp(plans)
        return pd.DataFrame({"params": params, "tokens": tokens, "flops": FLOPS_PER_PARAM_TOKEN * params * tokens,
                             "reached": (needed <= plans).mean(axis=0)})  # fmt: skip

    def outcome(self, fit: AbstractFit, actions: pd.DataFrame, scope: Scope) -> xr.DataArray:
        """The loss or the score of the plan."""
        queries = actions[["params", "tokens"]].assign(unique_tokens=actions["tokens"], **self._others(fit))
        return draws_by_action(self.goal(fit).values(fit, queries, scope))

    def utility(self, outcome: xr.DataArray, actions: pd.DataFrame) -> xr.DataArray:
        """The compute of the plan, negated; per success, if the plan reaches the goal less often than asked."""
        short = np.maximum(1.0, self.probability / np.maximum(actions["reached"], 1 / len(outcome)))
        return xr.zeros_like(outcome) - (actions["flops"] * short).to_numpy()

    def details(self, choice: Choice) -> Details:
        """The plan, what it costs to be surer, what each draw's own best needs, and what the option to stop saves.

        Parameters
        ----------
        choice : Choice

        Returns
        -------
        Details
        """
        fit, plan = choice.fit, choice.action
        actions = choice.actions[choice.allowed]
        sizes = np.log(actions["params"].to_numpy())
        needed = _LN_6 + sizes + self.needed(fit, sizes)  # log FLOP of each draw, by size
        stopped = np.minimum(np.exp(needed), actions["flops"].to_numpy()).mean(axis=0)
        least = np.exp(needed.min(axis=1) if self.limits else _least(sizes, needed))
        levels = sorted({*_PROBABILITIES, self.probability})
        found = {
            "reached": float(plan["reached"]),
            "draws": len(least),
            "no_plan": float(np.isinf(least).mean()),
            "within": self.most(fit),
            "outcome": choice.expected,
            "flops_by_probability": {f"{p:g}": finite(np.exp(_quantile(needed, p).min())) for p in levels},
            "flops_in_hindsight": ends(least),
            "sequential_params": float(actions["params"].iloc[stopped.argmin()]),
            "sequential_flops": float(stopped.min()),
            "option_to_stop": float(plan["flops"] - stopped.min()),
        }
        unsettled = self._unsettled(found)
        answer = dict.fromkeys(plan.index) if unsettled else dict(plan)
        return Plan(self._problem(choice), self._asked(fit), _lines(plan, found, unsettled),
                    {**answer, **found}, unsettled)  # fmt: skip

    def goal(self, fit: AbstractFit) -> Goal:
        """Return what is to be reached.

        Parameters
        ----------
        fit : Fit or Average

        Returns
        -------
        Goal

        Raises
        ------
        QueryError
            If nothing is, or the probability is out of range.
        """
        found = goal(fit, self.loss, self.score, self.response)
        if found is None or not 0 < self.probability < 1:
            raise QueryError("a target needs a loss or a score, and a probability between 0 and 1",
                             got=f"probability {self.probability}", hint="give a loss, such as 2.0")  # fmt: skip
        return found

    def most(self, fit: AbstractFit) -> float:
        """Return the largest compute considered.

        Parameters
        ----------
        fit : Fit or Average

        Returns
        -------
        float
            FLOP.

        Raises
        ------
        QueryError
            If it is less than the compute of every run.
        """
        runs = fit.design_frame
        flops = flops_of(runs)
        found = float(self.within or TIMES_LARGEST * flops.max())
        if found < flops.min():
            raise QueryError("the largest compute considered is less than that of every run", got=count(found),
                             expected=f"at least {count(float(flops.min()))} FLOP")  # fmt: skip
        return found

    def needed(self, fit: AbstractFit, sizes: np.ndarray) -> np.ndarray:
        """Return the log tokens that each draw needs, with discrepancies and noise.

        Parameters
        ----------
        fit : Fit or Average
        sizes : ndarray, shape (size,)
            Log params.

        Returns
        -------
        ndarray, shape (draw, size)
            Infinite if the size does not reach the goal within the largest compute.
        """
        least = np.log(fit.design_frame["tokens"].min() / _BELOW)
        lengths = np.linspace(least, 0.5 * (np.log(self.most(fit) * _MOST_RATIO) - _LN_6), _LENGTHS)
        found = self.goal(fit).tokens(fit, sizes, lengths, self._others(fit), "run")
        return np.where(found <= self._longest(fit, sizes), found, np.inf)

    def _others(self, fit: AbstractFit) -> dict[str, Any]:
        """Return the columns of a query other than what is spent."""
        return others_of(fit, self.family, recipe_of(fit, self.recipe), self.goal(fit).response)

    def _longest(self, fit: AbstractFit, sizes: np.ndarray) -> np.ndarray:
        """Log tokens of each size at the largest compute."""
        return np.log(self.most(fit)) - _LN_6 - sizes

    def _sizes(self, fit: AbstractFit) -> np.ndarray:
        """Even steps of log params around the size of the least compute, or else of the most successes."""
        least = np.log(fit.design_frame["params"].min() / _BELOW)
        coarse = np.arange(least, 0.5 * (np.log(self.most(fit)) - _LN_6) + _COARSE, _COARSE)
        needed = self.needed(fit, coarse)
        flops = coarse + _quantile(needed, self.probability)
        middle = coarse[np.argmin(flops) if np.isfinite(flops).any() else np.isfinite(needed).mean(axis=0).argmax()]
        return middle + _STEP * np.arange(-_AROUND, _AROUND + 1)

    def _problem(self, choice: Choice) -> str:
        family = resolve_family(choice.fit, self.family)
        where = reach_words(choice.fit, choice.actions.iloc[[choice.best.action]].assign(family=family))
        return f"Target {self.goal(choice.fit)} with probability {self.probability:g}, family {family!r}, {where}"

    def _asked(self, fit: AbstractFit) -> dict[str, Any]:
        goal = self.goal(fit)
        return {"response": goal.response, "level": goal.level, "probability": self.probability,
                "family": resolve_family(fit, self.family)}  # fmt: skip

    def _unsettled(self, found: Mapping[str, Any]) -> str:
        if found["reached"] >= self.probability:
            return ""
        return (f"no plan within {count(found['within'])} FLOP reaches the goal with probability {self.probability:g}; "
                f"the most that any does is {found['reached']:.3g}")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Plan(Details):
    """A plan, said in full: its cost is certain, so that the usual regret is zero and says nothing."""

    complete = True


def _quantile(needed: np.ndarray, probability: float) -> np.ndarray:
    """Return the least of the draws that the given share of draws does not exceed; shape (size,)."""
    return np.quantile(needed, probability, axis=0, method="inverted_cdf")


def _least(sizes: np.ndarray, needed: np.ndarray) -> np.ndarray:
    """Return the least log compute of each draw, between sizes where those around it reach the goal; shape (draw,)."""
    even = needed[:, : 2 * _AROUND + 1]
    around = np.clip(even.argmin(axis=1), 2, even.shape[1] - 3)[:, None] + np.arange(-2, 3)
    inside = np.isfinite(np.take_along_axis(even, around, axis=1)).all(axis=1)
    finite_ = np.where(np.isfinite(even), even, even[np.isfinite(even)].max(initial=0.0))
    return np.where(inside, minimise(sizes[: even.shape[1]], finite_)[1], needed.min(axis=1))


def _lines(plan: pd.Series, found: Mapping[str, Any], unsettled: str) -> list[tuple[str, str]]:
    low, middle, high = (written(x, f"over {count(found['within'])}") for x in found["flops_in_hindsight"].values())
    first, *more = ((p, written(x, "none")) for p, x in found["flops_by_probability"].items())
    by = "; ".join([f"probability {first[0]}: {first[1]} FLOP", *(f"{p}: {x}" for p, x in more)])
    ends, saved = found["outcome"], found["option_to_stop"] / plan["flops"]
    run = (f"{count(plan['params'])} params on {count(plan['tokens'])} tokens "
           f"({plan['tokens'] / plan['params']:.1f} tokens per param)")  # fmt: skip
    reached = (f"in {found['reached']:.1%} of {found['draws']} draws; ends at {ends['q50']:.4g} "
               f"(90% interval {ends['q05']:.4g} to {ends['q95']:.4g})")  # fmt: skip
    known = [("no plan", f"in {found['no_plan']:.1%} of draws, none within {count(found['within'])} FLOP reaches it"),
             ("needed", by)]  # fmt: skip
    if unsettled:
        return [("train", f"nothing: {unsettled}"), ("at best", run), ("reaches it", reached), *known]
    return [
        ("train", run),
        ("cost", f"{count(plan['flops'])} FLOP"),
        ("reaches it", reached),
        *known,
        ("if known", f"with the law known, {middle} FLOP would do (90% interval {low} to {high})"),
        ("stop early", f"{count(found['sequential_flops'])} FLOP on average, {saved:.0%} less, if it stops once there: "
         f"{count(found['sequential_params'])} params"),
    ]  # fmt: skip
