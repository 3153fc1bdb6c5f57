"""Swap: whether to change the recipe of a run under way for its remaining tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.errors import QueryError, nearest
from bayescale.core.quantities import count
from bayescale.decisions.base import AbstractDecision, Details, draws_by_action, setting
from bayescale.decisions.choice import Choice
from bayescale.decisions.draws import chances, ends, unsettled, written
from bayescale.decisions.surface import MOST_DRAWS, Scope, Surface, noise, others_of
from bayescale.inference.average import AbstractFit
from bayescale.modelling.sites import LAW, LOG_LOSS
from bayescale.prediction.extrapolation import reach_words
from bayescale.prediction.predict import predict
from bayescale.runs.columns import FLOPS_PER_PARAM_TOKEN

_BELOW, _ABOVE = 1e-3, 30.0  # times the tokens so far and at the end: ends of the tokens that are looked through
_LENGTH = 64  # steps of 0.2 e-folds


@dataclass(frozen=True)
class Swap(AbstractDecision):
    """Stay with the recipe of a run under way, or swap it for the remaining tokens.

    The tokens so far count as the tokens of the new recipe that give the loss reached so far, or a share of these; the
    remaining tokens are added. What was spent so far is spent in either case.

    Attributes
    ----------
    params, done, remaining : float
        The run: its params, its tokens so far, and the tokens to come.
    recipe : str
        Family of the recipe so far.
    to : str, optional
        Families to swap to, separated by commas.
    carried : float
        Share of the equivalent tokens that the new recipe carries over.
    """

    params: float = setting("count", "Params of the run (70B).")
    done: float = setting("count", "Tokens that it was trained on so far.")
    remaining: float = setting("count", "Tokens that are still to come.")
    recipe: str = setting("text", "Its recipe: a fitted family.")
    to: str | None = setting("text", "Recipes to swap to, as A,B; by default all others.", default=None)
    carried: float = setting("number", "Share of the equivalent tokens that a swap carries over.", default=1.0)

    name = "swap"
    source = "effective tokens: the new recipe's tokens for the loss so far, and the remaining tokens"
    unit = "nats/token"
    key = ("recipe",)

    def actions(self, fit: AbstractFit) -> pd.DataFrame:
        """To stay, in the first row, and each recipe to swap to."""
        others = [x for x in fit.families if x != self.recipe]
        others = list(dict.fromkeys(one.strip() for one in self.to.split(","))) if self.to else others
        for family in (self.recipe, *others):
            if family not in fit.families:
                raise QueryError(f"no recipe {family!r} in the fit", expected=f"families: {', '.join(fit.families)}",
                                 hint=nearest(family, fit.families))  # fmt: skip
        if not others or self.recipe in others or not 0 <= self.carried <= 1:
            raise QueryError("a swap needs another recipe, and a share that is carried over between 0 and 1",
                             got=f"recipes {', '.join(fit.families)}; carried {self.carried}")  # fmt: skip
        flops = FLOPS_PER_PARAM_TOKEN * float(self.params) * float(self.remaining)
        return pd.DataFrame({"recipe": [self.recipe, *others], "params": float(self.params),
                             "tokens": float(self.remaining), "flops": flops})  # fmt: skip

    def outcome(self, fit: AbstractFit, actions: pd.DataFrame, scope: Scope) -> xr.DataArray:
        """The loss at the end of the run."""
        curves = self._curves(fit, actions, scope)
        tokens = np.logaddexp(np.log(self.remaining), self._counted(curves))
        end = self._queries(fit, actions, [self.done + self.remaining])
        each = (noise(fit, end.iloc[[i]]) for i in range(len(end)))
        return draws_by_action(np.exp(curves.at(tokens) + (np.column_stack([*each]) if scope == "run" else 0.0)))

    def utility(self, outcome: xr.DataArray, actions: pd.DataFrame) -> xr.DataArray:
        """The loss, negated."""
        return -outcome

    def details(self, choice: Choice) -> Details:
        """How sure it is, what the swap saves, and how much must carry over for it to pay.

        Parameters
        ----------
        choice : Choice

        Returns
        -------
        Details
        """
        fit, actions = choice.fit, choice.actions
        curves = self._curves(fit, actions, "run")
        counted = self._counted(curves)
        end = curves.at(np.logaddexp(np.log(self.remaining), counted))
        stay = np.exp(curves.tokens_for(end[:, :1])) - self.remaining  # tokens that must count for the loss of staying
        own = Surface(curves.ln_params, curves.ln_tokens, curves.log_loss[:, [0] * len(actions)])
        more = np.maximum(np.exp(own.tokens_for(end)) - self.done, 0.0) / self.remaining
        full = np.exp(self._counted(curves, 1.0))
        swaps = [
            {"recipe": name, "probability_better": float((end[:, i] < end[:, 0]).mean()),
             "tokens_counted": ends(np.exp(counted[:, i])), "compute_needed_by_staying": ends(more[:, i]),
             "carried_to_pay": ends(np.maximum(stay[:, i] / full[:, i], 0.0)),
             "loss_so_far_out_of_reach": float(np.isinf(curves.tokens_for(self._so_far(curves))[:, i]).mean())}
            for i, name in enumerate(actions["recipe"]) if i
        ]  # fmt: skip
        query = self._queries(fit, actions, [self.done + self.remaining])
        problem = (f"Swap at {count(self.done)} of {count(self.done + self.remaining)} tokens, {count(self.params)} "
                   f"params, from {self.recipe}, {reach_words(fit, query)}")  # fmt: skip
        best = dict(zip(actions["recipe"], chances(end).tolist(), strict=True))
        figures = {"probability_best": best,
                   "sunk_flops": FLOPS_PER_PARAM_TOKEN * self.params * self.done, "swaps": swaps}  # fmt: skip
        note = "losses must be on one evaluation text and tokenizer; a text that a recipe trains on favours it"
        open_ = unsettled(choice, best[choice.action["recipe"]])
        lines = [*([("unsettled", open_)] if open_ else []), *self._lines(figures)]
        return Details(problem, {}, lines, figures, open_, (note,))

    def _queries(self, fit: AbstractFit, actions: pd.DataFrame, tokens: Any) -> pd.DataFrame:
        """Each recipe at each number of tokens, one query per row; those of one recipe are next to each other."""
        split = pd.DataFrame({"params": self.params, "tokens": tokens, "unique_tokens": tokens})
        return pd.concat([split.assign(**others_of(fit, name)) for name in actions["recipe"]], ignore_index=True)

    def _curves(self, fit: AbstractFit, actions: pd.DataFrame, scope: Scope) -> Surface:
        """Log loss of each recipe over tokens at the size of the run, without noise."""
        least, most = np.log(self.done * _BELOW), np.log((self.done + self.remaining) * _ABOVE)
        ln_tokens = np.linspace(least, most, _LENGTH)
        found = predict(fit, self._queries(fit, actions, np.exp(ln_tokens)), only=LAW if scope == "law" else LOG_LOSS,
                        most=MOST_DRAWS)  # fmt: skip
        return Surface(np.zeros(len(actions)), ln_tokens, found.reshape(len(found), len(actions), -1))

    def _so_far(self, curves: Surface) -> np.ndarray:
        """Log loss of the run so far, shape (draw, 1)."""
        return curves.at(np.log(self.done))[:, :1]

    def _counted(self, curves: Surface, carried: float | None = None) -> np.ndarray:
        """Log tokens that count as done for each recipe; all of the run's own, shape (draw, recipe)."""
        share = self.carried if carried is None else carried
        equivalent = np.minimum(curves.tokens_for(self._so_far(curves)), curves.ln_tokens[-1])
        found = equivalent + (np.log(share) if share else -np.inf)
        found[:, 0] = np.log(self.done)
        return found

    def _lines(self, found: Mapping[str, Any]) -> list[tuple[str, str]]:
        lines = [("best", ", ".join(f"{k} {p:.1%}" for k, p in found["probability_best"].items()) + " of draws")]
        for one in found["swaps"]:
            name, out = one["recipe"], one["loss_so_far_out_of_reach"]
            low, middle, high = (written(x, f"over {_ABOVE:g}") for x in one["compute_needed_by_staying"].values())
            needed = f"{middle} (90% interval {low} to {high}) times the remaining tokens"
            lines.append(("to stay", f"{needed} to match {name}"))
            low, middle, high = (f"{x:.0%}" if x is not None else "over 100%" for x in one["carried_to_pay"].values())
            lines.append(("carried", f"{name} pays if {middle} of its equivalent tokens carry over "
                          f"(90% interval {low} to {high})"))  # fmt: skip
            if out > 0:
                lines.append(("beyond", f"{name} does not reach the loss so far in {out:.1%} of draws"))
        lines.append(("assumed", f"{self.carried:.0%} of the new recipe's tokens for the loss so far count; so do "
                      "all remaining tokens"))  # fmt: skip
        return [*lines, ("spent", f"{count(found['sunk_flops'])} FLOP so far, in either case")]
