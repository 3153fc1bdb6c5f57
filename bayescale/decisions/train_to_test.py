"""Train to test: params, training tokens and samples of each problem under one budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.errors import QueryError
from bayescale.core.quantities import count, quantity
from bayescale.decisions.base import FAMILY, LIMITS, AbstractDecision, Details, draws_by_action, quantiles, setting
from bayescale.decisions.choice import Choice
from bayescale.decisions.plans import beyond
from bayescale.decisions.surface import MOST_DRAWS, Scope, budget_of, frontier, others_of, sizes_around
from bayescale.inference.average import AbstractFit
from bayescale.modelling.sites import location_of
from bayescale.prediction.predict import predict
from bayescale.prediction.queries import resolve_family
from bayescale.runs.columns import FLOPS_PER_PARAM_TOKEN

FLOPS_PER_SAMPLED_TOKEN = 2.0
"""FLOP of a forward pass per param and token, without attention."""
_SIZES, _DECADES = 61, 3.0  # steps of a quarter e-fold around equal growth of params and tokens
_PER_DECADE = 6  # numbers of samples among the actions
_LEAST = 0.01  # of the budget, for training


@dataclass(frozen=True)
class TrainToTest(AbstractDecision):
    """Choose params, tokens and samples that solve the most problems, if training and sampling share one budget.

    The budget pays ``6 N D`` for training and ``2 N t k Q`` for `Q` problems, each sampled `k` times with `t` tokens.
    It assumes that a checker finds a right sample where there is one, that tokens of a sample do not change with the
    model, that sampling costs a forward pass without attention, and that no data is repeated.

    Attributes
    ----------
    flops : float or str
        Budget in FLOP of training and sampling together.
    problems : float or str
        Problems that are sampled in the life of the model.
    sample_tokens : float or str
        Tokens of one sample.
    most_samples : float or str
        Largest number of samples of a problem.
    family : str, optional
        Family to train in, as in :func:`forecast`.
    limits : mapping of str to str
        Such as ``max_params 70B`` or ``max_samples 64``.
    """

    flops: float | str = setting("count", "Budget in FLOP (1e24) of training and sampling together.")
    problems: float | str = setting("count", "Problems that are sampled in the life of the model.")
    sample_tokens: float | str = setting("count", "Tokens of one sample.", default=1000.0)
    most_samples: float | str = setting("count", "Largest number of samples of a problem.", default=10_000.0)
    family: str | None = setting("text", FAMILY, default=None)
    limits: Mapping[str, str] = setting("texts", LIMITS, default_factory=dict)

    name = "train-to-test"
    source = "the question: arXiv:2604.01411; its answer here is derived from pass@k under the posterior"
    unit = "share of problems"
    key = ("params", "tokens", "samples")

    def actions(self, fit: AbstractFit) -> pd.DataFrame:
        """Sizes and samples whose sampling leaves at least a hundredth of the budget for training."""
        self._fixed(fit)  # refuses a fit without a law of params and tokens, or without samples
        budget, most = budget_of(self.flops), quantity(self.most_samples)
        samples = np.unique(np.round(np.geomspace(1, most, 1 + int(np.ceil(_PER_DECADE * np.log10(max(most, 1.0)))))))
        params = np.exp(sizes_around(fit, np.array([budget]), _SIZES, _DECADES)[0])
        table = pd.DataFrame([(n, k) for n in params for k in samples], columns=["params", "samples"])
        each = FLOPS_PER_SAMPLED_TOKEN * quantity(self.sample_tokens) * quantity(self.problems)
        table["sampling_flops"] = each * table["params"] * table["samples"]
        table["flops"] = budget - table["sampling_flops"]
        table["tokens"] = table["flops"] / (FLOPS_PER_PARAM_TOKEN * table["params"])
        table = table[table["flops"] >= _LEAST * budget]
        if table.empty:
            raise QueryError("sampling takes the complete budget", got=f"{count(budget)} FLOP",
                             hint="give more flops, or fewer problems")  # fmt: skip
        return table.reset_index(drop=True)

    def outcome(self, fit: AbstractFit, actions: pd.DataFrame, scope: Scope) -> xr.DataArray:
        """Share of the problems that are solved within the samples; discrepancies are in both scopes."""
        name, columns = self._sampled(fit)
        queries = actions.assign(**{**self._fixed(fit), columns["samples"]: actions["samples"]})
        queries = queries.assign(unique_tokens=actions["tokens"])
        return draws_by_action(np.asarray(predict(fit, queries, only=location_of(name), most=MOST_DRAWS)))

    def utility(self, outcome: xr.DataArray, actions: pd.DataFrame) -> xr.DataArray:
        """The share itself."""
        return outcome

    def details(self, choice: Choice) -> Details:
        """How far the model is over-trained, and what one sample of each problem would solve.

        Parameters
        ----------
        choice : Choice

        Returns
        -------
        Details
        """
        fit, best, solved = choice.fit, choice.action, choice.outcome.to_numpy()
        fixed, chosen = {"family": resolve_family(fit, self.family)}, solved[:, choice.best.action]
        optimal = float(frontier(fit, np.array([best["flops"]]), self._fixed(fit))[0][0])
        over = (optimal / best["params"]) ** 2  # tokens per param over those of the same compute at its best split
        ones = np.flatnonzero(choice.actions["samples"] == 1)
        alone = solved[:, ones[solved[:, ones].mean(axis=0).argmax()]]
        words, decades = beyond(fit, pd.DataFrame([{k: best[k] for k in ("params", "tokens")}]).assign(**fixed))
        share, each = best["sampling_flops"] / budget_of(self.flops), quantiles(chosen)
        lines = [
            ("train", f"{count(best['params'])} params on {count(best['tokens'])} tokens"),
            ("sample", f"each problem {count(best['samples'])} times, with {share:.0%} of the budget"),
            ("solved", f"{each['q50']:.3g} of the problems (90% interval {each['q05']:.3g} to {each['q95']:.3g})"),
            ("one sample", f"would solve {float(alone.mean()):.3g}, with a model of its own"),
            ("over-trained", f"{over:.3g} times the tokens per param of the best split of the same training compute"),
        ]
        figures: dict[str, Any] = {"solved": each, "solved_by_one_sample": float(alone.mean()), "over_training": over,
                                   "sampling_share": share, "reach_decades": float(decades[0])}  # fmt: skip
        notes = ("a checker is assumed to find a right sample; votes would solve fewer",)
        return Details(f"Train to test with {count(budget_of(self.flops))} FLOP, {words}", lines=lines,
                       figures=figures, notes=notes)  # fmt: skip

    def _fixed(self, fit: AbstractFit) -> dict[str, Any]:
        """Columns of a query other than params, tokens and compute, with one item and one sample."""
        name, columns = self._sampled(fit)
        return others_of(fit, self.family, {columns["n_items"]: 1.0, columns["samples"]: 1.0}, name)

    def _sampled(self, fit: AbstractFit) -> tuple[str, Mapping[str, str]]:
        """Return the response that depends on samples, and the columns that it reads."""
        found = [name for name in fit.responses if "samples" in fit.response(name).requires]
        if len(found) != 1:
            raise QueryError("the decision needs one response of problems solved within samples",
                             got=", ".join(fit.responses), hint="fit train-to-test, or add pass-at-k")  # fmt: skip
        return found[0], fit.response(found[0]).requires
