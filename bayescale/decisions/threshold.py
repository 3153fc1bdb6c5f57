"""Threshold: the largest budget below a compute threshold in law, and what it can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.errors import QueryError
from bayescale.core.quantities import count
from bayescale.decisions.amounts import amount, drawn
from bayescale.decisions.base import FAMILY, AbstractDecision, Details, draws_by_action, quantiles, setting
from bayescale.decisions.choice import Choice
from bayescale.decisions.goals import Goal, goal
from bayescale.decisions.hardware import hardware
from bayescale.decisions.rules import Rule, rule, rules
from bayescale.decisions.surface import Scope, draws_of, frontier, losses, others_of, recipe_of
from bayescale.inference.average import AbstractFit
from bayescale.prediction.extrapolation import reach_words
from bayescale.prediction.queries import resolve_family
from bayescale.runs.columns import FLOPS_PER_PARAM_TOKEN

_DECADES = np.arange(-2.0, 0.01, 0.25)  # below the largest budget, of the budgets that are offered
_TIMES = (0.001, 0.01, 0.1, 0.5, 0.8, 1.25, 2.0)  # times the rule's threshold, at which probabilities are reported
_SEED = 0  # of the draws of the amounts
_FALLS = "falls"  # attribute of an outcome: whether lower is better; a loss has none


@dataclass(frozen=True)
class Threshold(AbstractDecision):
    """Find the largest budget whose training compute stays below a rule's threshold with a given probability.

    All compute of the model counts: that of the planned run, times restarts, and that after pre-training.

    Attributes
    ----------
    rule : str
        Name of a rule of :func:`bayescale.decisions.rules.rules`.
    rules_file : str, optional
        A TOML file with rules of your own.
    probability : float
        Probability with which the compute is to stay below the threshold.
    flops : float, optional
        A planned budget, in FLOP of pre-training without restarts.
    restarts, post_training : Amount, float or str
        Compute of pre-training with restarts relative to that without, and compute after pre-training relative to it.
    hours_on : str, optional
        Hardware on which accelerator-hours are fixed in advance, so that the compute follows the utilisation.
    params : float, optional
        A size that is given; by default each budget has its best split.
    loss, score, response
        A capability, as in a target. If a score is given, it is what the budgets buy; a model without a law, such as
        one of public models, needs one.
    recipe : mapping
        Values of covariates and of columns that parts or responses of the model read, such as the date of release, or
        the items of a benchmark.
    """

    rule: str = setting("text", "Rule to stay below, such as eu-ai-act.", default="eu-ai-act")
    rules_file: str | None = setting("text", "A TOML file with rules of your own.", default=None)
    probability: float = setting("number", "Probability of staying below.", default=0.9)
    flops: float | None = setting("count", "A planned budget in FLOP (9e24), to be judged.", default=None)
    restarts: str = setting("text", "Compute with restarts, relative to that without: 1.05.", default="1")
    post_training: str = setting("text", "Compute after pre-training, relative to it: 0.1.", default="0")
    hours_on: str | None = setting(
        "text", "Hardware on which hours, not FLOP, are fixed: FLOP follow utilisation.", default=None
    )
    params: float | None = setting("count", "A size; by default the best split of each budget.", default=None)
    loss: float | None = setting("number", "A capability: the loss to reach, in nats/token.", default=None)
    score: float | None = setting("number", "A capability: the score to reach, such as 0.7.", default=None)
    response: str | None = setting("text", "Response that has the score; by default the only one.", default=None)
    family: str | None = setting("text", FAMILY, default=None)
    recipe: Mapping[str, float] = setting(
        "numbers", "Value of a covariate, or of a column that the model reads (released 2025.5).", default_factory=dict
    )

    name = "threshold"
    source = "a rule binds by the compute that was spent, which is uncertain when a run is planned"
    key = ("flops", "params", "tokens")

    @property
    def unit(self) -> str:
        """Nats per token, or the score if one is asked for."""
        return "nats/token" if self.score is None else "score"

    def actions(self, fit: AbstractFit) -> pd.DataFrame:
        """Budgets that stay below the threshold with the probability; the last one is the largest."""
        if not _has_law(fit):
            self._bought(fit)
        return self._plans(fit, self._largest(self._rule, fit) * 10.0**_DECADES)

    def outcome(self, fit: AbstractFit, actions: pd.DataFrame, scope: Scope) -> xr.DataArray:
        """The loss that a budget buys, or the score if one is asked for."""
        queries = self._queries(fit, actions)
        if self.score is None:
            return draws_by_action(losses(fit, queries, scope))
        goal = self._bought(fit)
        return draws_by_action(goal.values(fit, queries, "law")).assign_attrs({_FALLS: goal.falls})

    def utility(self, outcome: xr.DataArray, actions: pd.DataFrame) -> xr.DataArray:
        """The score, or what is better lower, negated: more compute is better as long as the rule allows it."""
        return -outcome if outcome.attrs.get(_FALLS, True) else outcome

    def details(self, choice: Choice) -> Details:
        """The rules, with the largest budget below each and the probability of crossing it, and the capability.

        Parameters
        ----------
        choice : Choice

        Returns
        -------
        Details
        """
        fit, known, goal = choice.fit, rules(self.rules_file), self._goal(choice.fit)
        chosen = float(choice.action["flops"])
        found = {
            "compute_per_flop": quantiles(self.multiple(fit)),
            "most_tokens": self.params and self._largest(self._rule, fit) / (FLOPS_PER_PARAM_TOKEN * self.params),
            "capability": goal and str(goal),
            "rules": [self._judged(fit, name, of, chosen) for name, of in known.items()],
            "by_budget": self._by_budget(fit, known, goal, chosen).to_dict("records"),
        }
        asked = {"rule": self.rule, "probability": self.probability, "family": resolve_family(fit, self.family),
                 "restarts": self.restarts, "post_training": self.post_training}  # fmt: skip
        query = choice.actions.iloc[[choice.best.action]].assign(family=asked["family"])
        problem = (f"Threshold {self.rule} with probability {self.probability:g}, family {asked['family']!r}, "
                   f"{reach_words(fit, query)}")  # fmt: skip
        other = () if self._rule.binding else (f"{self.rule} is {self._rule.status}: it does not bind",)
        return Details(problem, asked, self._lines(found, goal), found, notes=(*other, "this is not legal advice"))

    @property
    def _rule(self) -> Rule:
        if not 0 < self.probability < 1:
            raise QueryError("the probability is out of range", expected="between 0 and 1", got=str(self.probability))
        return rule(self.rule, self.rules_file)

    def _goal(self, fit: AbstractFit) -> Goal | None:
        return goal(fit, self.loss, self.score, self.response)

    def _bought(self, fit: AbstractFit) -> Goal:
        """Return the score that is asked for."""
        found = self._goal(fit)
        if found is None or found.log:
            raise QueryError("a threshold on a model without a law needs a score to reach",
                             expected=f"a score, and a response of: {', '.join(fit.responses)}")  # fmt: skip
        return found

    def _others(self, fit: AbstractFit) -> dict[str, Any]:
        """Return the columns of a query other than what is spent."""
        recipe, goal = recipe_of(fit, self.recipe), self._goal(fit)
        if _has_law(fit):
            return others_of(fit, self.family, recipe, goal.response if goal else None)
        return {"family": resolve_family(fit, self.family), **recipe}

    def multiple(self, fit: AbstractFit) -> np.ndarray:
        """Return draws of the compute that counts, relative to the FLOP of the plan; shape (draw,).

        Parameters
        ----------
        fit : Fit or Average

        Returns
        -------
        ndarray, shape (draw,)

        Raises
        ------
        QueryError
            If restarts can be zero, or compute after pre-training can be negative.
        """
        restarts, after = amount(self.restarts), amount(self.post_training)
        if min(restarts.support[0], after.support[0]) < 0 or restarts.mean <= 0:
            raise QueryError("compute is negative or zero", got=f"restarts {self.restarts}, after {self.post_training}",
                             hint="write a lognormal")  # fmt: skip
        draws = drawn({"restarts": restarts, "post_training": after}, draws_of(fit), _SEED)
        found = draws["restarts"] * (1 + draws["post_training"])
        if self.hours_on:
            rate = hardware(self.hours_on).drawn(len(found), _SEED).flops_per_hour.ravel()
            found = found * rate / np.median(rate)
        return found

    def _largest(self, of: Rule, fit: AbstractFit) -> float:
        """Largest budget that stays below a rule with the probability, in FLOP of the plan."""
        return of.flops / float(np.quantile(self.multiple(fit), self.probability, method="inverted_cdf"))

    def _plans(self, fit: AbstractFit, flops: np.ndarray) -> pd.DataFrame:
        if not fit.inputs:
            raise QueryError(f"{fit.name!r} does not read compute: no budget buys more than another under it",
                             expected="a model that reads flops, or params and tokens")  # fmt: skip
        if not self.params and not _has_law(fit):
            if "params" in fit.inputs:
                raise QueryError(f"{fit.name!r} has no law that splits a budget", expected="a size in params")
            return pd.DataFrame({"flops": flops})
        params = np.full(len(flops), self.params, float) if self.params else frontier(
            fit, flops, self._others(fit))[0]  # fmt: skip
        return pd.DataFrame({"flops": flops, "params": params, "tokens": flops / (FLOPS_PER_PARAM_TOKEN * params)})

    def _queries(self, fit: AbstractFit, plans: pd.DataFrame) -> pd.DataFrame:
        spent = {"unique_tokens": plans["tokens"]} if "tokens" in plans else {}
        return plans.assign(**spent, **self._others(fit))

    def _judged(self, fit: AbstractFit, name: str, of: Rule, chosen: float) -> dict[str, Any]:
        """What a rule says, and how likely the chosen and the planned budget cross it."""
        said = {"rule": name, "title": of.title, "threshold": of.flops, "status": of.status, "as_of": str(of.as_of),
                "verified": of.verified, "source": of.source, "note": of.note}  # fmt: skip
        multiple, largest = self.multiple(fit), self._largest(of, fit)
        planned = {"planned_crosses": of.probability(self.flops * multiple)} if self.flops else {}
        return {**said, "largest_flops": largest, "crosses": of.probability(chosen * multiple), **planned}

    def _by_budget(self, fit: AbstractFit, known: Mapping[str, Rule], goal: Goal | None, chosen: float) -> pd.DataFrame:
        """Probability of crossing each rule, and of the capability: of a run, and by the law alone, by budget."""
        flops = np.unique([*(self._rule.flops * np.array(_TIMES)), chosen, self.flops or chosen])
        table, multiple = self._plans(fit, flops), self.multiple(fit)
        for name, of in known.items():
            table[name] = [of.probability(x * multiple) for x in flops]
        if goal:
            queries = self._queries(fit, table)
            scopes: dict[str, Scope] = {"capability": "run", "capability_by_law": "law"}
            for name, scope in scopes.items():
                table[name] = goal.reached(goal.values(fit, queries, scope)).mean(axis=0)
        return table

    def _lines(self, found: Mapping[str, Any], goal: Goal | None) -> list[tuple[str, str]]:
        low, middle, high = found["compute_per_flop"].values()
        interval = f" (90% interval {low:.3g} to {high:.3g})" if low < high else ""
        used = f", utilisation of {self.hours_on}" if self.hours_on else ""
        lines = [("counted", f"{middle:.3g} times the FLOP of the plan{interval}"),
                 ("from", f"restarts {self.restarts}, after pre-training {self.post_training}{used}")]  # fmt: skip
        for one in found["rules"]:
            checked = "" if one["verified"] else ", unverified"
            planned = f", as planned {one['planned_crosses']:.0%}" if self.flops else ""
            lines.append(("rule", f"{one['rule']} ({one['status']} as of {one['as_of']}{checked}), "
                          f"{count(one['threshold'])} FLOP: crossed in {one['crosses']:.0%}{planned}"))  # fmt: skip
        if self.params:
            lines.append(("at this size", f"{count(self.params)} params stay below with probability "
                          f"{self.probability:g} up to {count(found['most_tokens'])} tokens"))  # fmt: skip
        for row in found["by_budget"]:
            able = (f", {goal.response} {goal.level:g} reached in {row['capability']:.0%} "
                    f"({row['capability_by_law']:.0%})" if goal else "")  # fmt: skip
            size = f"{count(row['params'])} params on {count(row['tokens'])} tokens: " if "params" in row else ""
            lines.append((count(row["flops"]), f"{size}{self.rule} crossed in {row[self.rule]:.0%}{able}"))  # fmt: skip
        lines.append(("shares", "of draws of the compute that is counted, and of the law with its noise"))
        said = [("capability", str(goal)), ("in brackets", "of the law without its noise")]
        return [*lines, *(said if goal else [])]


def _has_law(fit: AbstractFit) -> bool:
    return all(one.spec.law for one in fit.members.values())
