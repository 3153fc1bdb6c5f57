"""Allocation: how to split a FLOP budget between params and tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.dims import ACTION, BUDGET, DRAW
from bayescale.core.errors import QueryError
from bayescale.core.quantities import count, nats, quantity
from bayescale.decisions.base import (
    FAMILY,
    HARDWARE,
    LIMITS,
    AbstractDecision,
    AbstractDetails,
    draws_by_action,
    quantiles,
    setting,
)
from bayescale.decisions.bills import SEED, card_of
from bayescale.decisions.choice import Best, Choice
from bayescale.decisions.influence import Change, influence, influence_lines
from bayescale.decisions.limits import menu
from bayescale.decisions.surface import (
    MOST_DRAWS,
    Scope,
    budget_of,
    check_law,
    draws_of,
    interpolate,
    losses,
    minimise,
    recipe_of,
    sizes_around,
)
from bayescale.decisions.waste import BELOW, safe_range, wasted, why_care, why_unsettled
from bayescale.decisions.words import most_saved
from bayescale.inference.average import AbstractFit
from bayescale.modelling.sites import LOG_LOSS
from bayescale.prediction.extrapolation import reach, reach_words
from bayescale.prediction.predict import predict
from bayescale.prediction.queries import resolve_family
from bayescale.runs.columns import FLOPS_PER_PARAM_TOKEN, size_column

TIMES_LARGEST = 10.0
"""Default budget, as a multiple of the largest run's compute."""
FAR = 100.0
"""Times the largest run's compute above which a forecast is a scenario, and a split is to be used with care."""
TOO_FAR = f"the budget is over {FAR:.0f} times the largest run"
CUSTOMARY = 20.0
"""Tokens per param that many keep to at any budget, after Hoffmann et al. (2022)."""
UNITS = ("flops", "dollars", "days")
"""Settings that each state the budget in a unit of its own."""
_ACTIONS = 400  # grid in ln params; the vertex of a parabola refines each draw's optimum
_DECADES = 3.0  # of params on either side of the anchor's path at this compute
_CURVE = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0)  # decades around the budget at which the optimum is reported
_AROUND = np.union1d(BELOW, _CURVE)  # decades around the budget at which each draw's optimum is sought
_SPENT = ("tokens", "unique_tokens", "flops")  # columns that grow with what is spent on a size
_LEAST_STEPS, _STEP = 6, 0.4  # of ln FLOP, between which losses are interpolated


@dataclass(frozen=True)
class Allocation(AbstractDecision):
    """Minimise a run's expected loss over params and tokens with ``flops = 6·params·tokens``.

    The budget is in FLOP, or in dollars or days on some hardware. The FLOP that dollars or days buy are uncertain, and
    the size is chosen before they are known: training goes on until the budget is spent.

    Attributes
    ----------
    flops : float or str, optional
        Budget in FLOP (``"5.76e23"`` is read).
    dollars, days : float or str, optional
        Budget in US dollars, or in days on all accelerators of the hardware.
    hardware : str, optional
        Accelerators, such as ``"512xH100"``, or a TOML file; see :func:`bayescale.decisions.hardware.hardware`.
    limits : mapping of str to str
        What an action may be; see :mod:`bayescale.decisions.limits`.
    family : str, optional
        Family to train in, as in :func:`forecast`.
    recipe : mapping, optional
        Values of the run's covariates, and of columns that the model's parts declare, such as ``weight_bits``. One
        that is not named has its usual value: 0 for a covariate.
    """

    flops: float | str | None = setting("count", "Budget in FLOP (5.76e23).", default=None)
    family: str | None = setting("text", FAMILY, default=None)
    recipe: Mapping[str, float] = setting(
        "numbers", "A covariate, or a column of a part, and its value; by default the usual one.", default_factory=dict
    )
    dollars: float | str | None = setting("count", "Budget in US dollars on the hardware.", default=None)
    days: float | str | None = setting("count", "Budget in days on all accelerators.", default=None)
    hardware: str | None = setting("text", HARDWARE, default=None)
    limits: Mapping[str, str] = setting("texts", LIMITS, default_factory=dict)

    name = "allocation"
    source = "expected loss over the posterior's curves, never the optimum of a point estimate"
    unit = "nats/token"
    key = ("params", "tokens")

    def spent(self, fit: AbstractFit) -> np.ndarray:
        """Return the FLOP that the budget buys in each draw.

        Parameters
        ----------
        fit : Fit or Average

        Returns
        -------
        ndarray, shape (draw, 1)

        Raises
        ------
        QueryError
            If the budget is not in exactly one unit, or dollars or days lack the hardware.
        """
        given = {name: getattr(self, name) for name in UNITS if getattr(self, name) is not None}
        if len(given) != 1:
            raise QueryError("an allocation has its budget in one unit", expected="flops, dollars or days",
                             got=" and ".join(given) or "none")  # fmt: skip
        (unit, value), draws = *given.items(), draws_of(fit)
        if unit == "flops":
            return np.full((draws, 1), budget_of(value))
        card = card_of(self)
        if card is None:
            raise QueryError(f"a budget in {unit} needs hardware", expected="hardware, such as 512xH100")
        flops = getattr(card.drawn(draws, SEED), f"flops_of_{unit}")(_positive(unit, value))
        budget_of(float(np.median(flops)))
        return flops

    def actions(self, fit: AbstractFit) -> pd.DataFrame:
        """A grid of params at the budget, each with the tokens that the budget then allows."""
        check_law(fit)
        budget = np.median(self.spent(fit), axis=0)
        sizes = np.log(menu(self.limits))[None]
        return self._queries(fit, budget, np.concatenate([_grid(fit, budget), sizes], axis=1))

    def outcome(self, fit: AbstractFit, actions: pd.DataFrame, scope: Scope) -> xr.DataArray:
        """The loss.

        The law alone decides. Discrepancies beyond the runs are random walks without a known direction, and a split
        should not follow their kinks.
        """
        return draws_by_action(_spending(self.spent(fit), actions, lambda queries: losses(fit, queries, scope)))

    def utility(self, outcome: xr.DataArray, actions: pd.DataFrame) -> xr.DataArray:
        """The loss, negated."""
        return -outcome

    def details(self, choice: Choice) -> Split:
        """Each draw's optimum at budgets around this one, and from it the compute that each action wastes.

        Parameters
        ----------
        choice : Choice
            The solved choice.

        Returns
        -------
        Split
        """
        fit, best, spent = choice.fit, choice.best, self.spent(choice.fit)
        budget = float(np.median(spent))
        budgets = budget * 10.0**_AROUND
        now = int(np.searchsorted(_AROUND, 0.0))
        grid, losses = _grid(fit, budgets), choice.outcome.to_numpy()
        by_budget = np.empty((len(losses), *grid.shape))
        for i in range(len(budgets)):
            queries = self._queries(fit, budgets[[i]], grid[[i]])
            by_budget[:, i] = losses[:, :_ACTIONS] if i == now else self.outcome(fit, queries, "law").to_numpy()
        ln_optimum, least_loss = minimise(grid, by_budget)
        waste = wasted(losses, least_loss[:, : now + 1], np.log(budgets[: now + 1] / budget))
        edge = np.mean(np.isin(losses[:, :_ACTIONS].argmin(axis=1), (0, _ACTIONS - 1)))
        family, recipe = resolve_family(fit, self.family), recipe_of(fit, self.recipe)
        ln_params = np.log(choice.actions["params"].to_numpy())
        return Split(budget, family, fit, ln_params, losses, waste, best, budgets, ln_optimum, least_loss,
                     float(edge), spent, recipe, self._bought, bool(self.limits), choice.evpi)  # fmt: skip

    @property
    def _bought(self) -> str:
        """The budget in words if it is not in FLOP."""
        unit = next((name for name in ("dollars", "days") if getattr(self, name) is not None), "")
        amount = count(_positive(unit, getattr(self, unit))) if unit else ""
        return {"": "", "dollars": f"${amount}", "days": f"{amount} days"}[unit] + f" on {self.hardware}" * bool(unit)

    def _queries(self, fit: AbstractFit, budgets: np.ndarray, ln_params: np.ndarray) -> pd.DataFrame:
        """Turn grids of params, shape (budget, action), into queries, one per row."""
        params = np.exp(ln_params)
        tokens = budgets[:, None] / (FLOPS_PER_PARAM_TOKEN * params)
        family, recipe = resolve_family(fit, self.family), recipe_of(fit, self.recipe)
        table = pd.DataFrame({"params": params.ravel(), "tokens": tokens.ravel(), "family": family})
        table["flops"] = FLOPS_PER_PARAM_TOKEN * table["params"] * table["tokens"]
        return table.assign(unique_tokens=table["tokens"], **recipe)


@dataclass(frozen=True, eq=False)
class Split(AbstractDetails):
    """The params and tokens of lowest expected loss, with their regret.

    The first dimension of each array is the draw (chain by chain). Actions are a grid of params at the budget.
    """

    flops: float
    family: str
    fit: AbstractFit
    ln_params: np.ndarray
    losses: np.ndarray
    waste: np.ndarray
    best: Best
    budgets: np.ndarray
    ln_optimum: np.ndarray
    least_loss: np.ndarray
    at_edge: float
    spent: np.ndarray
    recipe: dict[str, float] = field(default_factory=dict)
    bought: str = ""
    limited: bool = False
    evpi: float = 0.0

    @property
    def params(self) -> float:
        """Params of lowest expected loss."""
        return float(np.exp(self.ln_params[self.best.action]))

    @property
    def tokens(self) -> float:
        """Tokens that the budget allows with these params."""
        return self.flops / (FLOPS_PER_PARAM_TOKEN * self.params)

    @cached_property
    def run_loss(self) -> np.ndarray:
        """The curve's loss at the chosen split, discrepancies included, in nats/token; shape (draw,)."""
        most = MOST_DRAWS if np.ptp(self.spent) else None  # draws of what is spent pair with those of the losses
        found = _spending(self.spent, self._query, lambda queries: np.exp(predict(self.fit, queries, only=LOG_LOSS,
                                                                                  most=most)))  # fmt: skip
        return found[:, 0]

    @property
    def expected_loss(self) -> float:
        """Mean over draws of :attr:`run_loss`."""
        return float(self.run_loss.mean())

    @property
    def regret_nats(self) -> float:
        """Expected loss above that of each draw's best split, in nats/token.

        It is :attr:`evpi`, the value of perfect information, if the split has the highest expected utility.
        """
        return self.best.regret

    @property
    def waste_fraction(self) -> float:
        """Expected extra compute, relative to what each draw's best split needs for the same loss."""
        return float(self.waste[:, self.best.action].mean())

    @property
    def waste_q95(self) -> float:
        """95% quantile of the waste over draws."""
        return float(np.quantile(self.waste[:, self.best.action], 0.95))

    @cached_property
    def band(self) -> tuple[float, float]:
        """Smallest and largest params that waste under 1% of compute with probability at least 1/2.

        Both are NaN if there are none.
        """
        return safe_range(self.ln_params[:_ACTIONS], self.waste[:, :_ACTIONS])

    def at_ratio(self, tokens_per_param: float) -> dict[str, Any]:
        """Return what the budget costs at given tokens per param, relative to each draw's best split.

        Parameters
        ----------
        tokens_per_param : float
            At the median of what the budget buys.

        Returns
        -------
        dict
            ``tokens_per_param params tokens``; ``waste_fraction``, the expected extra compute that the best split does
            not need for the same loss, with its quantiles ``waste``; and ``extra_loss``, the expected loss above that
            of the best split, in nats/token.

        Raises
        ------
        QueryError
            If the size is not among the sizes that the decision compares.

        Examples
        --------
        >>> split = bs.decide("allocation", fit, flops="5.76e23").details
        >>> found = split.at_ratio(split.tokens / split.params)
        >>> bool(abs(found["waste_fraction"] - split.waste_fraction) < 1e-6)
        True
        """
        grid, now = self.ln_params[:_ACTIONS], int(np.flatnonzero(np.isclose(self.budgets, self.flops))[0])
        params = np.sqrt(self.flops / (FLOPS_PER_PARAM_TOKEN * tokens_per_param)) if tokens_per_param > 0 else np.nan
        if not grid[0] <= np.log(params) <= grid[-1]:
            low, high = (count(self.flops / (FLOPS_PER_PARAM_TOKEN * np.exp(2 * end))) for end in grid[[-1, 0]])
            raise QueryError("no size that was compared has these tokens per param", got=f"{tokens_per_param:g}",
                             expected=f"a number from {low} to {high}")  # fmt: skip
        at = interpolate(grid, self.losses[:, :_ACTIONS], np.full(len(self.losses), np.log(params)))[:, None]
        waste = wasted(at, self.least_loss[:, : now + 1], np.log(self.budgets[: now + 1] / self.flops))[:, 0]
        return {
            "tokens_per_param": float(tokens_per_param), "params": float(params),
            "tokens": float(tokens_per_param * params), "waste_fraction": float(waste.mean()),
            "waste": quantiles(waste), "extra_loss": float((at[:, 0] - self.least_loss[:, now]).mean()),
        }  # fmt: skip

    @property
    def customary(self) -> dict[str, Any]:
        """What the budget costs at :data:`CUSTOMARY` tokens per param; empty if no such size was compared."""
        try:
            return self.at_ratio(CUSTOMARY)
        except QueryError:
            return {}

    @property
    def curve(self) -> pd.DataFrame:
        """Optimum at several budgets: quantiles over draws of params, tokens per param and lowest loss."""
        rows = []
        reported = np.isin(np.round(np.log10(self.budgets / self.flops), 6), _CURVE)
        for i in np.flatnonzero(reported):
            flops = float(self.budgets[i])
            params = np.exp(self.ln_optimum[:, i])
            ratio = self.spent[:, 0] * (flops / self.flops) / (FLOPS_PER_PARAM_TOKEN * params**2)
            row = {"flops": flops}
            for name, x in (("params", params), ("tokens_per_param", ratio), ("loss", self.least_loss[:, i])):
                row |= {f"{name}_{q}": v for q, v in quantiles(x).items()}
            rows.append(row)
        return pd.DataFrame(rows)

    @property
    def optimum(self) -> dict[str, dict[str, float]]:
        """Quantiles of each draw's own optimum: what would be chosen if the law were known."""
        i = int(np.flatnonzero(np.isclose(self.budgets, self.flops))[0])
        params = np.exp(self.ln_optimum[:, i])
        tokens = self.spent[:, 0] / (FLOPS_PER_PARAM_TOKEN * params)
        return {
            "params": quantiles(params),
            "tokens": quantiles(tokens),
            "tokens_per_param": quantiles(tokens / params),
        }

    @property
    def unsettled(self) -> str:
        """Why the runs do not settle the split: its expected waste or the interval of tokens per param is too large.

        Limits waste compute, whatever the runs say: with limits, both are those within the limits.
        """
        ratio, waste = self._within_limits
        return why_unsettled(ratio, float(waste.mean()))

    @property
    def care(self) -> list[str]:
        """Reasons to use the split with care: its reach, and its waste where that is over the tolerance."""
        return [*[TOO_FAR] * (10**self.reach_decades > FAR), *filter(None, [why_care(*self._within_limits)])]

    @property
    def _within_limits(self) -> tuple[dict[str, float], np.ndarray]:
        """Tokens per param of each draw's best split and the waste against it: of its best allowed one, with limits."""
        waste = self.waste[:, self.best.action]
        if not self.limited:
            return self.optimum["tokens_per_param"], waste
        ratio = self.spent[:, 0] / (FLOPS_PER_PARAM_TOKEN * np.exp(2 * self.ln_params[self.best.by_draw]))
        best = self.waste[np.arange(len(self.waste)), self.best.by_draw]
        return quantiles(ratio), (1 + waste) / (1 + best) - 1

    @property
    def nats_per_efold(self) -> float:
        """Expected loss that an e-fold more compute saves at the best split, in nats/token."""
        now = int(np.argmin(np.abs(np.log(self.budgets / self.flops))))
        near = slice(now - 1, now + 1)
        slope = np.diff(self.least_loss[:, near].mean(axis=0)) / np.diff(np.log(self.budgets[near]))
        return float(-slope[0])

    @property
    def loss(self) -> dict[str, float]:
        """Quantiles of :attr:`run_loss` over draws."""
        return quantiles(self.run_loss)

    @property
    def unknown(self) -> str:
        """What is uncertain in the regret: the law's parameters, in an average its form, and what the budget buys."""
        known = ["the law", *["its form"] * (len(self.fit.members) > 1), *["what the budget buys"] * bool(self.bought)]
        return f"{', '.join(known[:-1])} and {known[-1]}" if len(known) > 1 else known[0]

    @property
    def reach_decades(self) -> float:
        """log10 of the budget over the largest fitted compute; 0 inside."""
        return float(self._query["reach_decades"].iloc[0])

    @property
    def notes(self) -> tuple[str, ...]:
        """How many draws have their optimum beyond the grid, if any."""
        return (f"{self.at_edge:.1%} of draws have no optimum inside the grid",) if self.at_edge else ()

    @property
    def problem(self) -> str:
        """The budget, the family, and how far the budget lies beyond the runs."""
        recipe = "".join(f", {column} {value:g}" for column, value in self.recipe.items())
        where = reach_words(self.fit, self._query)
        spent = f"{count(self.flops)} FLOP"
        if self.bought:
            low, _, high = quantiles(self.spent).values()
            spent = f"{self.bought}: {spent} (90% interval {count(low)} to {count(high)})"
        return f"Allocation of {spent}, family {self.family!r}{recipe}, {where}"

    @property
    def asked(self) -> dict[str, Any]:
        """The budget, the family and the recipe."""
        recipe = {"recipe": self.recipe} if self.recipe else {}
        bought = {"budget": self.bought, "flops_interval": quantiles(self.spent)} if self.bought else {}
        return {"flops": self.flops, "family": self.family, **recipe, **bought}

    @property
    def matrix(self) -> xr.DataArray:
        """The law's loss, dims ``draw action``."""
        params = np.exp(self.ln_params)
        return xr.DataArray(self.losses, dims=(DRAW, ACTION), coords={"params": (ACTION, params)})

    @property
    def least(self) -> xr.DataArray:
        """Lowest loss of each draw, dims ``draw budget``."""
        return xr.DataArray(self.least_loss, dims=(DRAW, BUDGET), coords={"flops": (BUDGET, self.budgets)})

    @property
    def _query(self) -> pd.DataFrame:
        row = {"params": self.params, "tokens": self.tokens, "family": self.family, **self.recipe}
        row["unique_tokens"] = self.tokens  # nothing is repeated, as for the actions
        return reach(self.fit, pd.DataFrame([row]).assign(flops=self.flops))

    @property
    def answer(self) -> dict[str, float]:
        """The split and its expected loss; NaN if the runs do not settle them."""
        found = {"params": self.params, "tokens": self.tokens, "tokens_per_param": self.tokens / self.params,
                 "expected_loss": self.expected_loss}  # fmt: skip
        return dict.fromkeys(found, float("nan")) if self.unsettled else found

    @property
    def figures(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return {
            **self.answer,
            "loss": self.loss,
            "regret_nats": self.regret_nats,
            "regret_mcse": self.best.regret_mcse,
            "regret_over": list(self.fit.members),
            "waste_fraction": self.waste_fraction,
            "waste_q95": self.waste_q95,
            "value_of_perfect_information_nats": self.evpi,
            "indifference_params": None if np.isnan(self.band[0]) else list(self.band),
            "optimum": self.optimum,
            "at_20_tokens_per_param": self.customary,
            "influence": [one.to_dict() for one in self.influence],
            "curve": self.curve.to_dict("records"),
            "reach_decades": self.reach_decades,
        }

    @property
    def lines(self) -> list[tuple[str, str]]:
        """The choice and its regret; if no split is settled, the known ranges. Then the runs that it depends on."""
        about = self._ranges if self.unsettled else self._chosen
        return [*about, *influence_lines(self.influence, settled=not self.unsettled)]

    @cached_property
    def influence(self) -> list[Change]:
        """Changes of the best split and its loss if a few runs are left out; of an average, see the check `influence`.

        Returns
        -------
        list of Change
            Empty for a family without runs, and for a recipe.
        """
        alone = len(self.fit.members) == 1 and self.family in self.fit.families and not self.recipe
        return influence(next(iter(self.fit.members.values())), self.family, self.flops) if alone else []

    @property
    def _chosen(self) -> list[tuple[str, str]]:
        """The choice and its regret, one line each."""
        low, high = self.band
        band = "no size costs under 1% extra compute in at least half of draws"
        if not np.isnan(low):
            band = f"{count(low)} to {count(high)} params: each costs under 1% extra compute in at least half of draws"
        ratio, free = self.optimum["tokens_per_param"], ", without the limits" * self.limited
        return [
            (
                "train",
                f"{count(self.params)} params on {count(self.tokens)} tokens "
                f"({self.tokens / self.params:.1f} tokens per param)",
            ),
            (
                "expected",
                f"loss {nats(self.expected_loss)} nats/token, "
                f"90% interval {nats(self.loss['q05'])} to {nats(self.loss['q95'])}, without the noise of a run",
            ),
            ("regret", self._regret),
            ("safe range", f"{band}{free}"),
            (
                "best ratio",
                f"{ratio['q50']:.1f} tokens per param (90% interval {ratio['q05']:.1f} to {ratio['q95']:.1f}){free}",
            ),
        ]

    @property
    def _regret(self) -> str:
        waste = f"{self.waste_fraction:.2%} of compute (95% of draws under {self.waste_q95:.1%})"
        saved = most_saved(self.unknown, None if self.regret_nats == self.evpi else f"{self.evpi:.2g} nats")
        if self.limited:
            return (
                f"{self.regret_nats:.2g} nats{saved} within the limits; {waste} more than the best split without them"
            )
        return f"{self.regret_nats:.2g} nats, {waste}{saved}"

    @property
    def _ranges(self) -> list[tuple[str, str]]:
        """What is known if no split is settled, one line each: 90% intervals over draws."""
        params, tokens, ratio = ({q: count(v) for q, v in of.items()} for of in self.optimum.values())
        return [
            ("train", f"these runs do not settle the split: {self.unsettled}"),
            (
                "best split",
                f"{params['q05']} to {params['q95']} params, {tokens['q05']} to {tokens['q95']} tokens, "
                f"{ratio['q05']} to {ratio['q95']} tokens per param (90% intervals)",
            ),
            ("loss", f"{nats(self.loss['q05'])} to {nats(self.loss['q95'])} nats/token (90% interval)"),
            ("advice", "add runs with other tokens per param, larger runs, or runs of the family itself"),
        ]


def default_budget(fit: AbstractFit, family: str | None = None) -> float:
    """Ten times the compute of the largest fitted run, in FLOP.

    Parameters
    ----------
    fit : Fit or Average
    family : str, optional
        If it is a fitted family, only its runs count.

    Returns
    -------
    float
        The budget, in FLOP.
    """
    runs = fit.design_frame
    mine = runs[runs["family"] == family] if family in fit.families else runs
    return TIMES_LARGEST * float(mine[size_column(mine)].max())  # a table without FLOP has no allocation to use it


def _positive(unit: str, value: float | str) -> float:
    try:
        found = quantity(value)
    except (TypeError, ValueError):
        found = np.nan
    if not 0 < found < np.inf:
        raise QueryError(f"the budget is not a number of {unit}", expected="a positive number, such as 5M",
                         got=repr(value))  # fmt: skip
    return found


def _spending(spent: np.ndarray, queries: pd.DataFrame, evaluate: Callable[[pd.DataFrame], np.ndarray]) -> np.ndarray:
    """Evaluate queries whose tokens each draw scales to what it spends, shape (draw, query).

    Between even steps of the log of what is spent, a polynomial is exact to 1e-8.
    """
    if not np.ptp(spent):
        return evaluate(queries)
    ln_more = np.log(spent / np.median(spent))
    low, high = ln_more.min(), ln_more.max()
    steps = np.linspace(low, high, max(_LEAST_STEPS, int((high - low) / _STEP) + 2))
    found = [evaluate(queries.assign(**{name: queries[name] * np.exp(step) for name in _SPENT if name in queries}))
             for step in steps]  # fmt: skip
    return interpolate(steps, np.stack(found, axis=-1), np.broadcast_to(ln_more, found[0].shape))


def _grid(fit: AbstractFit, budgets: np.ndarray) -> np.ndarray:
    """Ln params of the actions at each budget, shape (budget, action)."""
    return sizes_around(fit, budgets, _ACTIONS, _DECADES)
