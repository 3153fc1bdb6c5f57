"""Fixed params: how many tokens to train a given size on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.errors import QueryError
from bayescale.core.quantities import MOST, count, quantity
from bayescale.decisions.amounts import amount, drawn
from bayescale.decisions.base import (
    FAMILY,
    LIMITS,
    AbstractDecision,
    AbstractDetails,
    draws_by_action,
    quantiles,
    setting,
)
from bayescale.decisions.bills import card_of, flop_price, unit_of
from bayescale.decisions.choice import Choice
from bayescale.decisions.hardware import Hardware
from bayescale.decisions.plans import beyond, interval, least, least_training, token_grid
from bayescale.decisions.surface import Scope, check_law, draws_of, losses, recipe_of, surface
from bayescale.decisions.words import DOLLARS
from bayescale.inference.average import AbstractFit
from bayescale.prediction.queries import resolve_family
from bayescale.runs.columns import FLOPS_PER_PARAM_TOKEN

_TOKENS = np.arange(np.log(1e6), np.log(1e17), 0.03)  # log tokens of the actions
_SIZES = 0.08 * np.arange(-40, 80)  # log params over the given size: among them is the compute-optimal one
_MORE = 50.0  # tokens of the compute-optimal model over those of the choice, at most


@dataclass(frozen=True)
class FixedParams(AbstractDecision):
    """Choose the tokens of a model of given params: stop where more of them cost more than the lower loss is worth.

    Attributes
    ----------
    params : float or str
        Params, for example the most that fit in memory.
    worth : float or str
        What a loss lower by 1 nat/token is worth, in the unit of the costs; a number or a distribution.
    hardware : str, optional
        Accelerators; costs and worth are then in dollars, otherwise in FLOP.
    recipe : mapping, optional
        Covariates, and columns of the model's parts, such as the bits to which weights are rounded: as for an
        allocation.
    """

    params: float | str = setting("count", "Params (8B).")
    worth: float | str = setting("text", "Worth of a loss lower by 1 nat/token: FLOP, or dollars with hardware.")
    hardware: str | None = setting("text", "Accelerators (512xH100, or a TOML file): costs in dollars.", default=None)
    family: str | None = setting("text", FAMILY, default=None)
    recipe: Mapping[str, float] = setting(
        "numbers", "A covariate, or a column of a part, and its value; by default the usual one.", default_factory=dict
    )
    limits: Mapping[str, str] = setting("texts", LIMITS, default_factory=dict)

    name = "fixed-params"
    source = "worth of a lower loss against the cost of tokens, over the posterior's curves"
    outcome_unit = "nats/token"
    key = ("tokens",)

    def __post_init__(self) -> None:
        if amount(self.worth).support[0] < 0 or not amount(self.worth).mean > 0:
            raise QueryError("a lower loss must be worth something", expected="a positive worth", got=str(self.worth))

    @property
    def unit(self) -> str:
        """FLOP, or dollars with hardware."""
        return unit_of(self.hardware)

    @cached_property
    def card(self) -> Hardware | None:
        """The hardware's card."""
        return card_of(self)

    def actions(self, fit: AbstractFit) -> pd.DataFrame:
        """Tokens in even steps of their log, from a million on."""
        check_law(fit)
        tokens, params = np.exp(_TOKENS), quantity(self.params)
        flops = FLOPS_PER_PARAM_TOKEN * params * tokens
        return pd.DataFrame({"params": params, "tokens": tokens, "tokens_per_param": tokens / params, "flops": flops})

    def outcome(self, fit: AbstractFit, actions: pd.DataFrame, scope: Scope) -> xr.DataArray:
        """The loss."""
        return draws_by_action(losses(fit, self.queries(fit, actions), scope))

    def queries(self, fit: AbstractFit, actions: pd.DataFrame) -> pd.DataFrame:
        """Return actions as queries: of tokens that are seen once.

        Parameters
        ----------
        fit : Fit or Average
        actions : DataFrame
            Has ``params`` and ``tokens``.

        Returns
        -------
        DataFrame
        """
        own = actions[["params", "tokens"]]
        recipe = recipe_of(fit, self.recipe)
        return own.assign(unique_tokens=own["tokens"], family=resolve_family(fit, self.family), **recipe)

    def utility(self, outcome: xr.DataArray, actions: pd.DataFrame) -> xr.DataArray:
        """Minus the worth of the loss, minus the cost of the tokens."""
        of = self._drawn(len(outcome))
        return draws_by_action(
            -of["worth"][:, None] * outcome.to_numpy() - of["price"][:, None] * actions["flops"].to_numpy()
        )

    def _drawn(self, n: int) -> dict[str, np.ndarray]:
        """Draw the worth of a nat and the price of a FLOP; each of shape (draw,)."""
        return drawn({"worth": amount(self.worth)}, n, seed=0) | {"price": flop_price(self.card, n)}

    def unknowns(self, fit: AbstractFit) -> dict[str, np.ndarray]:
        """Return draws of the worth of a lower loss and the price of a FLOP, where these are distributions.

        Parameters
        ----------
        fit : Fit or Average

        Returns
        -------
        dict of ndarray, shape (draw,)
            By name.
        """
        return {name: x for name, x in self._drawn(draws_of(fit)).items() if np.ptp(x) > 0}

    def details(self, choice: Choice) -> Stop:
        """Each draw's own optimum, the compute-optimal model of the same loss, and the loss of endless tokens.

        Parameters
        ----------
        choice : Choice

        Returns
        -------
        Stop
        """
        fit, tokens = choice.fit, float(choice.action["tokens"])
        fixed = {"family": resolve_family(fit, self.family), **recipe_of(fit, self.recipe)}
        loss = choice.outcome.to_numpy()[:, choice.best.action]
        sizes = np.log(quantity(self.params)) + _SIZES
        found = surface(fit, sizes, token_grid(_MORE * tokens), fixed)
        optimal = least_training(sizes, found.tokens_for(np.log(loss)[:, None]))
        endless = losses(fit, self.queries(fit, pd.DataFrame({"params": [quantity(self.params)], "tokens": MOST})))
        return Stop(self, choice, *least(_TOKENS, -choice.utility.to_numpy()), *optimal, endless[:, 0])


@dataclass(frozen=True, eq=False)
class Stop(AbstractDetails):
    """What a choice of tokens reports. Arrays have shape (draw,), under the law.

    Attributes
    ----------
    ln_optimum, least_cost : ndarray
        Log tokens that are best in the draw, and the cost with the worth of the loss there.
    ln_optimal_params, ln_optimal_flops : ndarray
        The compute-optimal model of the same loss as the choice.
    endless : ndarray
        Loss of the params with endless tokens.
    """

    decision: FixedParams
    choice: Choice
    ln_optimum: np.ndarray
    least_cost: np.ndarray
    ln_optimal_params: np.ndarray
    ln_optimal_flops: np.ndarray
    endless: np.ndarray

    complete = False
    unsettled = ""

    @property
    def loss(self) -> np.ndarray:
        """Loss of the choice, in each draw."""
        return self.choice.outcome.to_numpy()[:, self.choice.best.action]

    @property
    def overhead(self) -> np.ndarray:
        """Compute over that of the compute-optimal model of the same loss, minus 1."""
        return self.choice.action["flops"] / np.exp(self.ln_optimal_flops) - 1

    @property
    def notes(self) -> tuple[str, ...]:
        """In how many draws the best tokens are at an end of those considered."""
        ends = np.isin(self.ln_optimum, _TOKENS[[0, -1]]).mean()
        return (f"in {ends:.1%} of draws the best tokens lie beyond those considered",) if ends else ()

    @property
    def problem(self) -> str:
        """The params, the worth and the family."""
        what = self.decision
        family = resolve_family(self.choice.fit, what.family)
        worth = f"a nat/token is worth {'$' * (what.unit == DOLLARS)}{what.worth}{' FLOP' * (what.unit != DOLLARS)}"
        return f"Tokens of {count(quantity(what.params))} params, {worth}, family {family!r}, {self.reach[0]}"

    @cached_property
    def reach(self) -> tuple[str, float]:
        """How far the plan lies beyond the runs: in words, and in decades of compute."""
        words, decades = beyond(
            self.choice.fit, self.decision.queries(self.choice.fit, self.choice.action.to_frame().T)
        )
        return words, float(decades[0])

    @property
    def asked(self) -> dict[str, Any]:
        """The settings: all are plain values."""
        return {}

    @property
    def lines(self) -> list[tuple[str, str]]:
        """The ratio, the cost, each draw's own optimum, what is left to gain, and what a larger size would need."""
        action, card = self.choice.action, self.decision.card
        cost = self.decision._drawn(len(self.loss))["price"] * action["flops"]
        low, middle, high = quantiles(self.overhead).values()
        return [
            ("ratio", f"{count(action['tokens_per_param'])} tokens per param"),
            ("cost", card.priced(cost) if card else f"{count(action['flops'])} FLOP"),
            ("best tokens", f"{interval(np.exp(self.ln_optimum))}, if all unknowns were known"),
            ("left to gain", f"{interval(self.loss - self.endless)} nats/token with endless tokens")
            if np.median(self.loss - self.endless) >= 0
            else ("left to gain", "nothing: beyond some tokens, more tokens raise the loss"),
            ("overhead", f"{middle:.0%} (90% interval {low:.0%} to {high:.0%}) more compute than the compute-optimal"),
            ("", f"model of this loss ({count(float(np.median(np.exp(self.ln_optimal_params))))} params)"),
        ]  # fmt: skip

    @property
    def figures(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return {
            "best_tokens": quantiles(np.exp(self.ln_optimum)),
            "endless_loss": quantiles(self.endless),
            "overhead": quantiles(self.overhead),
            "compute_optimal_params": quantiles(np.exp(self.ln_optimal_params)),
            "reach_decades": self.reach[1],
        }
