"""Data cap: how to spend a FLOP budget on few unique tokens, seen in several epochs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.ndimage import minimum_filter

from bayescale.core.errors import QueryError
from bayescale.core.quantities import count, quantity
from bayescale.decisions.base import (
    FAMILY,
    LIMITS,
    AbstractDecision,
    AbstractDetails,
    draws_by_action,
    quantiles,
    setting,
)
from bayescale.decisions.choice import Choice
from bayescale.decisions.limits import SIZES, allowed_by, menu
from bayescale.decisions.plans import SLOPE, beyond, interval, least
from bayescale.decisions.surface import Scope, check_law, losses, minimise
from bayescale.inference.average import AbstractFit
from bayescale.prediction.queries import resolve_family
from bayescale.runs.columns import FLOPS_PER_PARAM_TOKEN

MOST_EPOCHS = 40.0
"""Largest number of epochs: beyond it, the law of repeated tokens is not supported (Muennighoff et al. 2023, figure 1,
arXiv:2305.16264: repeats are worth nothing from about 40 epochs on)."""
EPOCHS = "max_epochs"
"""Name of the limit."""
_RATIO, _REACH = 20.0, np.log(100)  # sizes reach by the latter around that of this many tokens per param
_STEP = 0.023  # e-folds between sizes: at most 0.01% of compute is lost to the grid
_SHIFT = 0.003  # e-folds, of derivatives: rounding errors are 1e-13 nats
_ABOVE = 100  # sizes with fewer epochs than the most, at least
_SAME = 1e-9  # relative error of epochs
_BEYOND = 1.1 * MOST_EPOCHS  # epochs of actions: what lies a tenth beyond the limit says what the limit costs
_MUCH = 100.0  # rate from which compute cannot stand in for unique tokens
_NOTHING = 1e-30  # nats/token that compute gains, so that a rate is finite
_MORE = 0.1  # share of unique tokens, of which the worth is reported
_EPOCHS, _COARSE = 31, 0.1  # numbers of epochs of plans without a budget, and e-folds between their sizes
_WIDE = -6.0, 3.0  # log params per unique token of these plans
# How a plan moves with unique tokens, and with compute: inside, and where the most epochs bind.
_INSIDE = ({"unique_tokens": 1}, {"tokens": 1})
_AT_MOST = ({"params": -1, "tokens": 1, "unique_tokens": 1}, {"params": 1})


@dataclass(frozen=True)
class DataCap(AbstractDecision):
    """Choose the params of lowest expected loss for a FLOP budget if unique tokens are limited; the epochs follow.

    The law needs the resource ``repetition`` or the penalty ``harm``. Without them, repeated tokens would count as
    fresh ones: if the best plan repeats tokens, there is no answer. Under ``harm``, some number of epochs and of params
    is best whatever the budget. It is reported if it lies within the limit on epochs.

    Attributes
    ----------
    flops : float or str
        Budget in FLOP.
    unique_tokens : float or str
        Tokens that there are, each counted once.
    limits : mapping
        As in other decisions. ``max_epochs`` is 40 unless a lower number is given.
    """

    flops: float | str = setting("count", "Budget in FLOP (5.76e23).")
    unique_tokens: float | str = setting("count", "Unique tokens that there are (25B).")
    family: str | None = setting("text", FAMILY, default=None)
    limits: Mapping[str, str] = setting("texts", LIMITS, default_factory=dict)

    name = "data-cap"
    source = "Muennighoff et al. 2023, arXiv:2305.16264, over the posterior's curves"
    unit = "nats/token"
    key = ("params", "epochs")

    def __post_init__(self) -> None:
        try:
            most = quantity(self.limits.get(EPOCHS, MOST_EPOCHS))
        except (TypeError, ValueError):
            most = np.nan
        if not 0 < most <= MOST_EPOCHS:
            raise QueryError(f"the law of repeated tokens does not reach beyond {MOST_EPOCHS:g} epochs",
                             expected=f"a positive number up to {MOST_EPOCHS:g}",
                             got=f"max_epochs {self.limits[EPOCHS]}", hint="leave max_epochs out")  # fmt: skip
        object.__setattr__(self, "limits", {EPOCHS: f"{MOST_EPOCHS:g}", **self.limits})

    def actions(self, fit: AbstractFit) -> pd.DataFrame:
        """Params in even steps of their log, each with the tokens of the budget and the epochs that they make."""
        check_law(fit)
        table = self._plans(fit, self._sizes(), quantity(self.unique_tokens))
        if not repeats(fit):
            wanted = float(table["tokens"].iloc[losses(fit, table).mean(axis=0).argmin()])
            if wanted > quantity(self.unique_tokens):
                raise QueryError("the best plan repeats tokens, and the law does not know what repeats are worth",
                                 expected=f"up to {count(quantity(self.unique_tokens))} tokens for a fit without the "
                                 "resource repetition", got=f"{count(wanted)} tokens",
                                 hint="fit the spec repetition to runs with unique_tokens")  # fmt: skip
        return table[table["epochs"] <= (_BEYOND if repeats(fit) else 1.0)].reset_index(drop=True)

    def _sizes(self) -> np.ndarray:
        """Params in even steps of their log, among them the size with the most epochs; then those of the menu."""
        budget = quantity(self.flops) / FLOPS_PER_PARAM_TOKEN
        usual = 0.5 * np.log(budget / _RATIO)
        edge = np.log(budget / quantity(self.unique_tokens) / quantity(self.limits[EPOCHS]))
        steps = np.arange(np.floor((usual - edge - _REACH) / _STEP), max((usual - edge + _REACH) / _STEP, _ABOVE))
        return np.concatenate([np.exp(edge + _STEP * steps), menu(self.limits)])

    def _plans(self, fit: AbstractFit, params: np.ndarray, unique: float) -> pd.DataFrame:
        """Return plans of the budget, one per row; those of up to one epoch use their tokens only."""
        tokens = quantity(self.flops) / (FLOPS_PER_PARAM_TOKEN * params)
        used = np.minimum(unique, tokens)
        return pd.DataFrame({"params": params, "tokens": tokens, "unique_tokens": used, "epochs": tokens / used,
                             "family": resolve_family(fit, self.family)})  # fmt: skip

    def outcome(self, fit: AbstractFit, actions: pd.DataFrame, scope: Scope) -> xr.DataArray:
        """The loss."""
        return draws_by_action(losses(fit, actions, scope))

    def utility(self, outcome: xr.DataArray, actions: pd.DataFrame) -> xr.DataArray:
        """The loss, negated."""
        return -outcome

    def details(self, choice: Choice) -> Cap:
        """Each draw's own optimum, what more unique tokens and more compute are worth, and the loss without the cap.

        Parameters
        ----------
        choice : Choice

        Returns
        -------
        Cap
        """
        params, found = choice.actions["params"].to_numpy(), choice.outcome.to_numpy()
        length = len(params) - int(np.isclose(params[:, None], menu(self.limits)).any(axis=0).sum())
        between = {name: value for name, value in self.limits.items() if name != SIZES}  # a draw may lie between sizes
        allowed = np.where(allowed_by(between, choice.actions), found, np.inf)[:, :length]
        others = {name: value for name, value in self.limits.items() if name != EPOCHS}
        fresh = self._plans(choice.fit, self._sizes(), np.inf)
        uncapped = self.outcome(choice.fit, fresh[allowed_by(others, fresh)], "law").mean("draw").min()
        at_most = choice.action["epochs"] > (1 - _SAME) * quantity(self.limits[EPOCHS])
        unique, compute = _AT_MOST if at_most else _INSIDE
        return Cap(self, choice, *least(np.log(params[:length]), allowed), self._slope(choice, unique),
                   self._slope(choice, compute), float(uncapped), self._ceiling(choice))  # fmt: skip

    def _ceiling(self, choice: Choice) -> Ceiling | None:
        """Return the plan with repeated tokens that neither more params nor more epochs improve; None without one."""
        unique = quantity(self.unique_tokens)
        sizes = np.log(unique) + np.arange(*_WIDE, _COARSE)
        epochs = np.linspace(0.0, np.log(quantity(self.limits[EPOCHS])), _EPOCHS)
        params, times = (np.exp(x.ravel()) for x in np.meshgrid(sizes, epochs, indexing="ij"))
        table = pd.DataFrame({"params": params, "tokens": unique * times, "unique_tokens": unique})
        found = losses(choice.fit, table.assign(family=choice.action["family"])).mean(axis=0)
        found = found.reshape(len(sizes), len(epochs))
        lowest = (found == minimum_filter(found, size=3, mode="nearest"))[2:-2, 2:-2]
        if not repeats(choice.fit) or not lowest.any():
            return None
        i, j = np.argwhere(lowest)[0] + 2
        at, least_of = minimise(epochs[j - 2 : j + 3], found[i - 2 : i + 3, j - 2 : j + 3])
        size, loss = minimise(sizes[i - 2 : i + 3], least_of)
        best = np.exp(np.interp(size, sizes[i - 2 : i + 3], at))
        return Ceiling(float(np.exp(size)), float(best), unique, float(loss))

    def _slope(self, choice: Choice, direction: Mapping[str, int]) -> np.ndarray:
        """Return how the loss of the choice falls as its plan moves in a direction, per e-fold; shape (draw,)."""
        plan = {**choice.action[["params", "tokens"]], "unique_tokens": quantity(self.unique_tokens)}
        moved = {
            name: value * np.exp(_SHIFT * direction.get(name, 0) * np.array([*SLOPE])) for name, value in plan.items()
        }
        table = pd.DataFrame(moved).assign(family=choice.action["family"])
        table["unique_tokens"] = np.minimum(table["unique_tokens"], table["tokens"])
        return -losses(choice.fit, table) @ np.array([*SLOPE.values()]) / _SHIFT


@dataclass(frozen=True)
class Ceiling:
    """The plan with some unique tokens that neither more params nor more epochs improve, whatever its compute.

    Under the penalty ``harm`` there is one. A single epoch does no harm at any size in that law, so that endless params
    on fresh tokens may have a lower loss still. No run is evidence for that.

    Attributes
    ----------
    params, epochs, unique_tokens : float
    loss : float
        Expected loss, in nats/token.
    """

    params: float
    epochs: float
    unique_tokens: float
    loss: float

    @property
    def flops(self) -> float:
        """Its compute."""
        return FLOPS_PER_PARAM_TOKEN * self.params * self.epochs * self.unique_tokens


def repeats(fit: AbstractFit) -> bool:
    """Whether the law of a fit, and of each member of an average, knows what repeated tokens are worth.

    Parameters
    ----------
    fit : Fit or Average

    Returns
    -------
    bool
    """
    return all("unique_tokens" in one.columns for one in fit.members.values())


@dataclass(frozen=True, eq=False)
class Cap(AbstractDetails):
    """What a choice under a cap of unique tokens reports. Arrays have shape (draw,), under the law.

    Attributes
    ----------
    ln_optimum, least_loss : ndarray
        Log params that are best in the draw, and their loss.
    unique_price, compute_price : ndarray
        How the loss of the choice falls per e-fold of unique tokens and of compute: the former at the same compute. If
        the limit on epochs binds, more unique tokens also allow more tokens, and more compute only more params.
    uncapped : float
        Lowest expected loss if all tokens were fresh, in nats/token.
    ceiling : Ceiling, optional
        The plan that no more compute improves; None if more of it always helps within the limit on epochs.
    """

    decision: DataCap
    choice: Choice
    ln_optimum: np.ndarray
    least_loss: np.ndarray
    unique_price: np.ndarray
    compute_price: np.ndarray
    uncapped: float
    ceiling: Ceiling | None = None

    complete = False
    unsettled = ""

    @property
    def more_epochs(self) -> float:
        """Probability that a smaller model for more epochs, at the same compute, would have a lower loss."""
        found, i = self.choice.outcome.to_numpy(), self.choice.best.action
        order = np.argsort(self.choice.actions["params"].to_numpy())
        place = int(np.flatnonzero(order == i)[0])
        return float((found[:, order[place - 1]] < found[:, i]).mean()) if place else 0.0

    @property
    def epochs(self) -> np.ndarray:
        """Epochs that are best in the draw."""
        tokens = quantity(self.decision.flops) / (FLOPS_PER_PARAM_TOKEN * np.exp(self.ln_optimum))
        return np.maximum(tokens / quantity(self.decision.unique_tokens), 1.0)

    @property
    def rate(self) -> float:
        """Percent more compute that lowers the expected loss as much as 1% more unique tokens."""
        return float(self.unique_price.mean() / max(float(self.compute_price.mean()), _NOTHING))

    @property
    def problem(self) -> str:
        """The budget, the unique tokens and the family."""
        what = self.decision
        return (f"Data cap of {count(quantity(what.unique_tokens))} unique tokens, {count(quantity(what.flops))} FLOP, "
                f"family {self.choice.action['family']!r}, {self.reach[0]}")  # fmt: skip

    @cached_property
    def reach(self) -> tuple[str, float]:
        """How far the plan lies beyond the runs: in words, and in decades of compute."""
        words, decades = beyond(self.choice.fit, self.choice.actions.iloc[[self.choice.best.action]])
        return words, float(decades[0])

    @property
    def asked(self) -> dict[str, Any]:
        """The settings: all are plain values."""
        return {}

    @property
    def notes(self) -> tuple[str, ...]:
        """Where the choice leaves what the law, or its runs, know of repeats."""
        fit, epochs = self.choice.fit, float(self.choice.action["epochs"])
        if not repeats(fit):
            return ()
        most = float((fit.design_frame["tokens"] / fit.design_frame["unique_tokens"]).max())
        limit = quantity(self.decision.limits[EPOCHS])
        beyond = float((self.epochs > (1 - _SAME) * limit).mean())
        unknown = "; beyond it, nothing is known" * (limit == MOST_EPOCHS)
        notes = [f"in {beyond:.0%} of draws the limit of {limit:g} epochs binds{unknown}"] * (beyond > 0)
        if self.ceiling and self.ceiling.flops < quantity(self.decision.flops):
            notes.append(f"a smaller budget of {count(self.ceiling.flops)} FLOP would do better")
        return (*notes, *[f"{epochs:.0f} epochs are more than any run has ({most:.0f})"] * (epochs > most))

    @property
    def lines(self) -> list[tuple[str, str]]:
        """The plan, each draw's own optimum, and what more unique tokens are worth."""
        plan, unique = self.choice.action, quantity(self.decision.unique_tokens)
        gain = float(np.log1p(_MORE) * self.unique_price.mean())
        cost = float(self.choice.outcome.to_numpy()[:, self.choice.best.action].mean()) - self.uncapped
        replaced = f"{self.rate:.3g}% more compute" if self.rate < _MUCH else f"over {_MUCH:g}% more compute"
        used = f"{count(plan['unique_tokens'])} unique ones ({plan['unique_tokens'] / unique:.0%} of what there is)"
        more = [
            ("best epochs", f"{interval(self.epochs)}; with probability {self.more_epochs:.2g} more epochs would help"),
            ("more data", f"{_MORE:.0%} more unique tokens would lower the loss by {count(gain, 2)} nats/token"),
            ("", f"1% more of them is worth {replaced}"),
            ("the cap", f"costs {count(cost, 2)} nats/token against fresh tokens only"),
        ]
        if most := self.ceiling:
            best = f"{count(most.params)} params, {count(most.epochs, 2)} epochs, {count(most.flops, 2)} FLOP"
            more.append(("most", f"{best}: beyond it, more params and more epochs are harmful"))
        train = ("train", f"on {count(plan['tokens'])} tokens: {used}")
        return [train, *(more if gain > 0 else [("the cap", "does not bind: all tokens are fresh")])]

    @property
    def figures(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return {
            "best_epochs": quantiles(self.epochs),
            "probability_that_more_epochs_help": self.more_epochs,
            "loss_per_efold_of_unique_tokens": float(self.unique_price.mean()),
            "loss_per_efold_of_compute": float(self.compute_price.mean()),
            "unique_tokens_in_compute": self.rate,
            "loss_without_cap": self.uncapped,
            "reach_decades": self.reach[1],
            "best_without_budget": asdict(self.ceiling) if self.ceiling else None,
        }
