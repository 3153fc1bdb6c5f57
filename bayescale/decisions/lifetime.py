"""Lifetime: the size that costs least to train to a quality and then to serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.errors import QueryError
from bayescale.core.quantities import count, quantity
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
from bayescale.decisions.bills import SEED, card_of, flop_price, unit_of
from bayescale.decisions.choice import Choice
from bayescale.decisions.draws import ends
from bayescale.decisions.hardware import Hardware
from bayescale.decisions.limits import SHAPES, buildable, menu
from bayescale.decisions.plans import balanced, beyond, interval, least, least_training, slope, token_grid
from bayescale.decisions.serving import Served, Server, break_even, flop_equivalent, served_like
from bayescale.decisions.surface import Scope, Surface, check_law, draws_of, interpolate, losses, surface
from bayescale.decisions.words import measured
from bayescale.inference.average import AbstractFit
from bayescale.prediction.queries import resolve_family
from bayescale.runs.columns import FLOPS_PER_PARAM_TOKEN
from bayescale.runs.shapes import FORWARD

_LIKE = 0.025 * np.arange(-400, 41)  # log sizes over that of the quality: serving only makes smaller ones better
_SEARCHED = np.arange(np.log(1e5), np.log(1e15), 0.05)  # log sizes among which the smallest is sought
_KEPT = 115  # of these, from the smallest that reaches the loss: up to 300 times its size
MEMORY = "max_memory_gb"
"""Name of the limit of memory of one accelerator."""
_USUAL = "kv_heads=8"  # shapes of the served models: 8 key and value heads, as in Llama 3 of any size
_BYTES = {"fp8": 1.0}  # per param; otherwise 2
_BETTER = 0.01  # nats/token: the better quality whose cost is reported
_MOST_BETTER = 0.9  # of the loss that is asked for


@dataclass(frozen=True)
class Lifetime(AbstractDecision):
    """Minimise the cost of training and serving a model of given quality, over its params.

    A plan trains one size until the quality is reached, or until ``most_tokens`` are spent. Then it serves the demand.
    The tokens of a plan are therefore not the same in all draws. Training takes 6 FLOP per param and token. Serving
    takes 2, a lower bound; with ``prompt``, ``generated`` and ``batch``, the time of a server that reads prompts,
    weights and caches.

    A plan's probability of reaching the quality and its cost are computed for a run, with discrepancies and noise. If
    the quality is a loss, the chosen size is the one whose run costs least on average. The regret and the comparison
    with the compute-optimal model are under the law alone.

    Attributes
    ----------
    demand, years : float or str
        Tokens served; with ``years``, tokens a year, until the model retires.
    loss, like : float or str
        The quality, as a loss or as that of a model of ``like`` params that is trained compute-optimally. The latter
        is another loss in each draw; it can be reached in all of them.
    prompt, generated : float or str, optional
        Tokens of a request and of its answer, all of which are served tokens. Each size then has the caches of a usual
        shape, or of those of the limit ``shapes``. Limits may bound ``latency`` (seconds between two tokens of a
        sequence), ``most_batch`` (sequences whose caches fit in memory), and ``memory_gb`` (of one accelerator; at most
        what the hardware has, unless the limit is given).
    """

    demand: float | str = setting("text", "Tokens served, a number (2T) or lognormal(2e12, 0.5).")
    years: float | str = setting("text", "Years until retirement; the demand is tokens a year.", default="1")
    loss: float | None = setting("number", "Quality as a loss, in nats/token.", default=None)
    like: float | str | None = setting("count", "Quality of a compute-optimal model of these params.", default=None)
    serving: float | str = setting("text", "Cost of a FLOP in serving over one in training.", default="1")
    hardware: str | None = setting("text", "Accelerators (512xH100, or a TOML file): costs in dollars.", default=None)
    batch: int | None = setting("integer", "Sequences served at a time; they set the serving cost.", default=None)
    prompt: float | str | None = setting("count", "Tokens of a request that is served.", default=None)
    generated: float | str | None = setting("count", "Tokens of its answer, generated one by one.", default=None)
    accelerators: int = setting("integer", "Accelerators that hold one copy of the served model.", default=1)
    most_tokens: float | str = setting("count", "A plan trains on at most these tokens.", default=1e14)
    probability: float = setting("number", "Least probability that a run reaches the quality.", default=0.9)
    family: str | None = setting("text", FAMILY, default=None)
    limits: Mapping[str, str] = setting("texts", LIMITS, default_factory=dict)

    name = "lifetime"
    source = "Sardana et al. 2024, arXiv:2401.00448"
    outcome_unit = "training tokens"
    key = ("params",)

    def __post_init__(self) -> None:
        if (self.loss is None) == (self.like is None):
            raise QueryError("a lifetime needs one quality", expected="either loss or like",
                             got=f"loss {self.loss}, like {self.like}")  # fmt: skip
        if self.loss is not None and not 0 < self.loss < np.inf:
            raise QueryError("the loss is out of range", expected="a positive number", got=str(self.loss))
        if self.batch is not None and self.batch < 1:
            raise QueryError("the batch is out of range", expected="at least 1 sequence", got=str(self.batch))
        if self.batch and str(self.serving) != "1":
            raise QueryError("the serving cost is given twice", got=f"batch {self.batch}, serving {self.serving}")
        self._check_requests()
        if not 0 < self.probability <= 1:
            raise QueryError("probability is out of range", expected="above 0, up to 1", got=str(self.probability))
        if self.batch and not self.hardware:
            raise QueryError("the serving cost of a batch depends on the hardware", hint="give hardware")
        for name in ("demand", "years", "serving"):
            if amount(getattr(self, name)).support[0] < 0:
                raise QueryError(f"{name} can be negative", got=str(getattr(self, name)), hint="write a lognormal")

    def _check_requests(self) -> None:
        given = [name for name in ("prompt", "generated", "batch") if getattr(self, name) is not None]
        if self.accelerators < 1 or any(not quantity(getattr(self, name)) > 0 for name in given):
            raise QueryError(
                "requests are out of range",
                expected="positive numbers of tokens and accelerators",
                got=f"prompt {self.prompt}, generated {self.generated}, {self.accelerators} accelerators",
            )
        if not self.described and {"prompt", "generated"} & set(given):
            raise QueryError("the description of requests is incomplete", expected="prompt, generated and batch",
                             got=", ".join(given))  # fmt: skip
        if self.described and self.card:
            memory = {MEMORY: f"{self.card.memory.amount.mean:g}"}
            object.__setattr__(self, "limits", {**memory, **self.limits})

    @property
    def described(self) -> bool:
        """Whether requests are described, so that serving is that of a server."""
        return None not in (self.prompt, self.generated, self.batch)

    @property
    def context(self) -> float:
        """Tokens of a complete request."""
        return quantity(self.prompt or 0.0) + quantity(self.generated or 0.0)

    @cached_property
    def _shapes(self) -> pd.DataFrame:
        return buildable(self.limits.get(SHAPES, _USUAL))

    def server(self, params: Any, n: int) -> Server:
        """Return the server of models, as requests are described.

        Parameters
        ----------
        params : float or ndarray
        n : int
            Number of draws of the hardware.

        Returns
        -------
        Server

        Raises
        ------
        QueryError
            Without hardware.
        """
        if self.card is None:
            raise QueryError("serving needs hardware", hint="give hardware, such as H100")
        bytes_each = _BYTES.get(self.card.precision, 2.0)
        return Server(served_like(params, self._shapes, trend=SHAPES not in self.limits, weight_bytes=bytes_each),
                      self.card.drawn(n, SEED),
                      self.accelerators)  # fmt: skip

    def _service(self, params: np.ndarray, n: int) -> dict[str, np.ndarray]:
        """Latency, largest batch in memory, and memory of sizes, on average over draws; empty if not described."""
        if not self.described:
            return {}
        server = self.server(params, n)
        return {"latency": server.decode_seconds(self.batch, self.context).mean(axis=0),
                "most_batch": server.batch_in_memory(self.context).mean(axis=0),
                MEMORY.removeprefix("max_"): server.memory_bytes(self.batch, self.context) / 1e9}  # fmt: skip

    @property
    def plain(self) -> bool:
        """Whether the quality is that of a size, the demand is known, and there are no limits or hardware."""
        said = [amount(getattr(self, name)) for name in ("demand", "years", "serving")]
        return self.like is not None and not self.hardware and not self.limits and all(one.fixed for one in said)

    @property
    def chosen_in(self) -> Scope:
        """A run if the quality is a loss: tokens grow faster the lower it is. Noise cancels between two models."""
        return "law" if self.loss is None else "run"

    @property
    def unit(self) -> str:
        """FLOP, or dollars with hardware."""
        return unit_of(self.hardware)

    @cached_property
    def card(self) -> Hardware | None:
        """The hardware's card."""
        return card_of(self)

    def actions(self, fit: AbstractFit) -> pd.DataFrame:
        """Sizes that reach the quality with the least probability or more, in even steps, then those of the menu."""
        check_law(fit)
        sizes = _SEARCHED if self.like is None else np.log(quantity(self.like)) + _LIKE
        reach = self._reach(fit, sizes)
        if not (reach >= self.probability).any():
            raise QueryError(f"no size reaches {self.quality} with probability {self.probability:g}",
                             got=f"{reach.max():.3g} at most, up to {count(np.exp(sizes[-1]))} params and "
                             f"{count(quantity(self.most_tokens))} tokens",
                             hint="ask for a higher loss, a lower probability, or more tokens")  # fmt: skip
        smallest = int(np.argmax(reach >= self.probability))
        kept = slice(smallest, smallest + _KEPT if self.like is None else None)
        offered = menu(self.limits)
        own = self._reach(fit, np.log(offered)) if len(offered) else offered
        table = pd.DataFrame({"params": np.concatenate([np.exp(sizes[kept]), offered[own >= self.probability]])})
        table["probability"] = np.concatenate([reach[kept], own[own >= self.probability]])
        return table.assign(**self._service(table["params"].to_numpy(), draws_of(fit)))

    def outcome(self, fit: AbstractFit, actions: pd.DataFrame, scope: Scope) -> xr.DataArray:
        """Tokens with which each size reaches the quality, at most ``most_tokens``."""
        found, target = self.surface(fit, np.log(actions["params"].to_numpy()), scope)
        tokens = np.exp(found.tokens_for(target))[:, : len(actions)]
        return draws_by_action(np.minimum(tokens, quantity(self.most_tokens)))

    def surface(self, fit: AbstractFit, ln_params: np.ndarray, scope: Scope) -> tuple[Surface, np.ndarray]:
        """Return the loss of sizes over tokens, and the log loss that is asked for, shape (draw, 1).

        The last size is the one whose quality is asked for, if it is one of a model.

        Parameters
        ----------
        fit : Fit or Average
        ln_params : ndarray, shape (size,)
        scope : {"law", "run"}

        Returns
        -------
        surface : Surface
        log_loss : ndarray, shape (draw, 1)
        """
        grid, fixed = token_grid(quantity(self.most_tokens)), {"family": resolve_family(fit, self.family)}
        if self.loss is not None:
            return surface(fit, ln_params, grid, fixed, scope), np.log([[self.loss]])
        ln_tokens, _ = self._balanced(fit)
        found = surface(fit, np.append(ln_params, np.log(quantity(self.like or 0.0))), grid, fixed, scope)
        return found, found.at(ln_tokens[:, None])[:, -1:]

    def _balanced(self, fit: AbstractFit) -> tuple[np.ndarray, np.ndarray]:
        """Log tokens and log loss of the compute-optimal model of the quality; each of shape (draw,)."""
        fixed = {"family": resolve_family(fit, self.family)}
        grid = token_grid(quantity(self.most_tokens))
        found = balanced(fit, quantity(self.like or 0.0), grid, fixed)
        if (beyond := float((found[0] > grid[-2]).mean())) > 0:
            raise QueryError(f"{self.quality} takes more tokens than a plan has", got=f"more in {beyond:.1%} of draws",
                             expected=f"up to {count(np.exp(grid[-2]))} tokens",
                             hint="give more most_tokens, or the quality as a loss")  # fmt: skip
        return found

    def utility(self, outcome: xr.DataArray, actions: pd.DataFrame) -> xr.DataArray:
        """The cost of training and serving, negated."""
        training, serving = self.costs(outcome.to_numpy(), actions["params"].to_numpy())
        return draws_by_action(-(training + serving))

    def costs(self, tokens: np.ndarray, params: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the cost of training and that of serving.

        Parameters
        ----------
        tokens : ndarray, shape (draw, action)
            Training tokens.
        params : ndarray, shape (action,) or (draw, action)

        Returns
        -------
        training, serving : ndarray, shape (draw, action)
            In dollars with hardware, else in training FLOP.
        """
        of = self._drawn(len(tokens))
        training = FLOPS_PER_PARAM_TOKEN * params * tokens * of["price"][:, None]
        return training, self.token_cost(params, len(tokens)) * of["demand"][:, None]

    def token_cost(self, params: np.ndarray, n: int) -> np.ndarray:
        """Return the cost of a served token.

        Parameters
        ----------
        params : ndarray, shape (action,) or (draw, action)
        n : int
            Number of draws.

        Returns
        -------
        ndarray, shape (draw, action)
            In dollars with hardware, else in training FLOP.
        """
        if self.described:
            dollars = self.server(params, n).request_dollars(
                quantity(self.prompt or 0), quantity(self.generated or 0), self.batch
            )
            return dollars / self.context
        of = self._drawn(n)
        return FORWARD * params * (of["serving"] * of["price"])[:, None]

    def unknowns(self, fit: AbstractFit) -> dict[str, np.ndarray]:
        """Return draws of the demand and of the prices of a FLOP, in training and in serving, if they are uncertain.

        Parameters
        ----------
        fit : Fit or Average

        Returns
        -------
        dict of ndarray, shape (draw,)
            By name.
        """
        return {name: x for name, x in self._drawn(draws_of(fit)).items() if np.ptp(x) > 0}

    def _drawn(self, n: int) -> dict[str, np.ndarray]:
        """Draw tokens served, the relative cost of a FLOP in serving, and the price of one in training."""
        said = {name: amount(getattr(self, name)) for name in ("demand", "years", "serving")}
        draws = drawn(said, n, seed=0)
        demand = draws["demand"] * draws["years"]
        # A mean without Monte Carlo error: an expected cost, linear in demand, then depends on its mean alone.
        demand *= said["demand"].mean * said["years"].mean / (demand.mean() or 1.0)
        found = {"demand": demand, "serving": draws["serving"], "price": flop_price(self.card, n)}
        if self.card:
            rates = self.card.drawn(n, SEED)
            if self.described:
                more = {name: getattr(rates, name)[:, 0] for name in ("serving_utilisation", "bandwidth_utilisation")}
                found |= more
            elif self.batch:  # all terms are proportional to params, so any size gives the ratio
                served = Server(Served(1e9, 1e9, 0.0), rates).decode_dollars(self.batch, 0.0)
                found["serving"] = (flop_equivalent(served, rates) / (FORWARD * 1e9))[:, 0]
        return found

    def _reach(self, fit: AbstractFit, ln_params: np.ndarray) -> np.ndarray:
        """Share of draws in which a run of each size reaches the quality with the most tokens; shape (size,)."""
        grid = token_grid(quantity(self.most_tokens))
        plans = pd.DataFrame({"params": np.exp(ln_params), "tokens": np.exp(grid[-1])})
        if self.like is not None:  # one table, so that the model and the plans have the same noise
            model = pd.DataFrame({"params": quantity(self.like), "tokens": np.exp(grid)})
            plans = pd.concat([plans, model], ignore_index=True)
        table = plans.assign(unique_tokens=plans["tokens"], family=resolve_family(fit, self.family))
        found, wanted = np.log(losses(fit, table, "run")), np.log(self.loss or 1.0)
        if self.like is not None:
            wanted = interpolate(grid, found[:, len(ln_params) :], self._balanced(fit)[0])[:, None]
        return (found[:, : len(ln_params)] <= wanted).mean(axis=0)

    @property
    def quality(self) -> str:
        """The quality, in words."""
        return (
            f"a loss of {self.loss:g}" if self.like is None else f"the quality of {count(quantity(self.like))} params"
        )

    def details(self, choice: Choice) -> Life:
        """Each draw's own optimum, and the compute-optimal model of the same quality.

        Parameters
        ----------
        choice : Choice

        Returns
        -------
        Life
        """
        params, tokens = choice.actions["params"].to_numpy(), choice.outcome.to_numpy()
        on_menu = np.isclose(params[:, None], menu(self.limits)).any(axis=0).sum()
        ln_params = np.log(params[: len(params) - on_menu])
        reached = np.where(tokens < quantity(self.most_tokens), tokens, np.inf)[:, : len(ln_params)]
        cost = np.add(*self.costs(reached, np.exp(ln_params)))
        optimal, ln_flops = least_training(ln_params, np.log(reached))
        found, target = self.surface(choice.fit, np.log([choice.action["params"]]), "law")
        return Life(
            self,
            choice,
            np.exp(target[:, 0]) + np.zeros(len(tokens)),
            slope(found, target)[:, 0],
            np.exp(found.tokens_for(target + np.log1p(-np.minimum(_BETTER * np.exp(-target), _MOST_BETTER)))[:, 0]),
            *least(ln_params, np.log(cost)),
            optimal,
            ln_flops - optimal - np.log(FLOPS_PER_PARAM_TOKEN),
        )


@dataclass(frozen=True, eq=False)
class Life(AbstractDetails):
    """What a lifetime reports beyond its cost. Arrays have shape (draw,), under the law.

    Attributes
    ----------
    quality : ndarray
        The loss that is asked for.
    slope : ndarray
        Log tokens of the chosen size per unit of log loss; negative.
    better_tokens : ndarray
        Tokens with which the chosen size reaches a loss that is lower by 0.01 nats/token; infinite if it does not.
    ln_optimum, ln_least_cost : ndarray
        The size with the least cost in the draw, and this cost; infinite if no size reaches the quality.
    ln_optimal_params, ln_optimal_tokens : ndarray
        The compute-optimal model of the same quality: the one of least training compute.
    """

    decision: Lifetime
    choice: Choice
    quality: np.ndarray
    slope: np.ndarray
    better_tokens: np.ndarray
    ln_optimum: np.ndarray
    ln_least_cost: np.ndarray
    ln_optimal_params: np.ndarray
    ln_optimal_tokens: np.ndarray

    complete = False
    unsettled = ""

    @property
    def params(self) -> float:
        """The chosen params."""
        return float(self.choice.action["params"])

    @cached_property
    def tokens(self) -> np.ndarray:
        """Training tokens of the plan in each draw."""
        return self.choice.outcome.to_numpy()[:, self.choice.best.action]

    @cached_property
    def run_tokens(self) -> np.ndarray:
        """Training tokens of a run of the plan in each draw, with discrepancies and noise."""
        return self.choice.run_outcome.to_numpy()[:, self.choice.best.action]

    @cached_property
    def run_costs(self) -> tuple[np.ndarray, np.ndarray]:
        """Cost of training and of serving a run of the plan, in each draw."""
        training, serving = self.decision.costs(self.run_tokens[:, None], np.array([self.params]))
        return training[:, 0], serving[:, 0]

    @property
    def run_ratio(self) -> np.ndarray:
        """Tokens per param of a run of the plan, in the draws in which it reaches the quality."""
        return (self.run_tokens / self.params)[self.run_tokens < quantity(self.decision.most_tokens)]

    @cached_property
    def reached(self) -> np.ndarray:
        """Whether the plan reaches the quality, in each draw."""
        return self.tokens < quantity(self.decision.most_tokens)

    @cached_property
    def costs(self) -> tuple[np.ndarray, np.ndarray]:
        """Cost of training and of serving, in each draw."""
        training, serving = self.decision.costs(self.tokens[:, None], np.array([self.params]))
        return training[:, 0], serving[:, 0]

    @cached_property
    def optimal(self) -> dict[str, np.ndarray]:
        """Params, tokens and cost of the compute-optimal model, in the draws in which the plan reaches the quality."""
        params, tokens = (np.exp(x) for x in (self.ln_optimal_params, self.ln_optimal_tokens))
        cost = np.add(*self.decision.costs(tokens[:, None], params[:, None]))[:, 0]
        return {name: x[self.reached] for name, x in (("params", params), ("tokens", tokens), ("cost", cost))}

    @property
    def saving(self) -> float:
        """Share of the expected cost of the compute-optimal model that is saved, if the plan reaches the quality."""
        return float(1 - np.add(*self.costs)[self.reached].mean() / self.optimal["cost"].mean())

    @property
    def over_training(self) -> np.ndarray:
        """Tokens over those of the compute-optimal model, in the draws in which the plan reaches the quality."""
        return self.tokens[self.reached] / self.optimal["tokens"]

    @property
    def price_of_loss(self) -> np.ndarray:
        """Cost of a lower loss at the chosen size, per nat/token: -d cost / d loss, where the plan reaches the quality.

        NaN where the tokens are close to the most.
        """
        return (-self.costs[0] * self.slope / self.quality)[self.reached]

    @property
    def price_of_better(self) -> dict[str, float | None]:
        """Quantiles of what a loss lower by 0.01 nats/token costs at the chosen size; None if it is out of reach."""
        better = self.decision.costs(self.better_tokens[:, None], np.array([self.params]))[0][:, 0]
        return ends((better - self.costs[0])[self.reached])

    def break_even(self, small: float | str, large: float | str) -> np.ndarray:
        """Return the demand above which the smaller of two sizes costs less, if both are trained to the quality.

        Parameters
        ----------
        small, large : float or str
            Params.

        Returns
        -------
        ndarray, shape (draw,)
            Tokens served; infinite if the smaller size does not reach the quality.
        """
        params = np.sort([quantity(small), quantity(large)])
        tokens = self.decision.outcome(self.choice.fit, pd.DataFrame({"params": params}), "law").to_numpy()
        training, _ = self.decision.costs(tokens, params)
        each = self.decision.token_cost(params, len(tokens))
        found = break_even((training[:, 0], each[:, 0]), (training[:, 1], each[:, 1]))
        return np.where(tokens[:, 0] < quantity(self.decision.most_tokens), found, np.inf)

    @property
    def problem(self) -> str:
        """The quality, the demand and the family."""
        what = self.decision
        years = "" if str(what.years) == "1" else f" a year for {what.years} years"
        family = resolve_family(self.choice.fit, what.family)
        said = amount(what.demand)
        demand = count(said.mean) if said.fixed else str(said)
        return f"Lifetime of {what.quality}, {demand} tokens{years} served, family {family!r}, {self.reach[0]}"

    @cached_property
    def reach(self) -> tuple[str, float]:
        """How far the plan, with its median tokens, lies beyond the runs: in words, and in decades of compute."""
        fit = self.choice.fit
        plan = {"params": self.params, "tokens": float(np.median(self.run_tokens))}
        words, decades = beyond(fit, pd.DataFrame([plan]).assign(family=resolve_family(fit, self.decision.family)))
        return words, float(decades[0])

    @property
    def asked(self) -> dict[str, Any]:
        """The settings: all are plain values."""
        return {}

    @property
    def notes(self) -> tuple[str, ...]:
        """In how many draws no size reaches the quality, or the smallest allowed size costs least."""
        possible = np.isfinite(self.ln_least_cost)
        first = self.ln_optimum[possible] == np.log(self.choice.actions["params"].iloc[0])
        shares = {
            "no size reaches the quality": 1 - possible.mean(),
            "the smallest size considered costs least": first.mean() if len(first) else 0.0,
        }
        return tuple(f"under the law, in {share:.1%} of draws {what}" for what, share in shares.items() if share > 0)

    @cached_property
    def _against(self) -> tuple[float, np.ndarray]:
        """The median compute-optimal size, and the demand above which the chosen one costs less than that."""
        other = float(np.median(self.optimal["params"]))
        return other, self.break_even(self.params, other)[self.reached]

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Training, costs, and how the plan compares with the compute-optimal model."""
        what, (training, serving) = self.decision, self.run_costs
        cost, share = training + serving, float(training.mean() / (training + serving).mean())
        return [
            ("train", f"{interval(self.run_ratio)} tokens per param, until the quality is reached"),
            ("reached", f"with probability {self.choice.action['probability']:.3g} by a run, within "
             f"{count(quantity(what.most_tokens))} tokens; {self.reached.mean():.3g} under the law alone"),
            ("cost", what.card.priced(cost) if what.card else f"{interval(cost)} FLOP"),
            ("of which", f"{share:.0%} training, {1 - share:.0%} serving, on average"),
            *self._served,
            *(self._compared if self.reached.any() else []),
        ]  # fmt: skip

    @property
    def _served(self) -> list[tuple[str, str]]:
        """How the model is served; empty unless requests are described."""
        what, chosen = self.decision, self.choice.action
        if not what.described:
            return []
        return [("serve", f"{what.batch} sequences at a time, {1e3 * chosen['latency']:.3g} ms between two tokens; "
                 f"{count(chosen['most_batch'])} sequences fit in memory")]  # fmt: skip

    @property
    def _compared(self) -> list[tuple[str, str]]:
        """The compute-optimal model, what is saved, the demand that decides, and what a better quality costs."""
        other, demand = self._against
        low, middle, high = (
            "more than any number of tokens" if x is None else measured(x, self.decision.unit)
            for x in self.price_of_better.values()
        )
        side = "from" if self.params <= other else "up to"  # of two sizes, more demand favours the smaller one
        return [
            ("optimal", f"compute-optimal for the same quality: {count(other)} params on "
             f"{count(float(np.median(self.optimal['tokens'])))} tokens"),
            ("over-trained", f"on {interval(self.over_training)} times the tokens of that model"),
            ("saving", f"{self.saving:.1%} of the expected cost of that model"),
            ("break-even", f"costs less than that model {side} {interval(demand)} tokens served"),
            ("quality", f"a loss lower by {_BETTER} nats/token would cost {middle} more (90% interval {low} to "
             f"{high})"),
        ]  # fmt: skip

    @property
    def figures(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        training, serving = self.run_costs
        return {
            "probability_under_law": float(self.reached.mean()),
            "training_tokens": quantiles(self.run_tokens),
            "tokens_per_param": quantiles(self.run_ratio),
            "training_cost": float(training.mean()),
            "serving_cost": float(serving.mean()),
            "probability_possible": float(np.isfinite(self.ln_least_cost).mean()),
            "reach_decades": self.reach[1],
            **(self._comparison if self.reached.any() else {}),
        }

    @property
    def _comparison(self) -> dict[str, Any]:
        other, demand = self._against
        return {
            "over_training": quantiles(self.over_training),
            "saving": self.saving,
            "compute_optimal": {name: quantiles(x) for name, x in self.optimal.items()},
            "break_even": {"against_params": other, "tokens_served": quantiles(demand)},
            "price_of_loss": float(np.nanmean(self.price_of_loss)),
            "price_of_better": self.price_of_better,
        }
