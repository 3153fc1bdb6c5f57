"""Next run: which pilots to buy before a decision, in batches, and when to stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.dims import ACTION, DRAW
from bayescale.core.errors import QueryError
from bayescale.core.quantities import count, quantity
from bayescale.decisions.base import FAMILY, REALISED, AbstractDecision, AbstractDetails, draws_by_action, setting
from bayescale.decisions.choice import Choice
from bayescale.decisions.engines import Value
from bayescale.decisions.solver import named
from bayescale.decisions.stakes import Stakes, stakes_of
from bayescale.decisions.surface import Scope, recipe_of, with_needed
from bayescale.decisions.value import FANTASIES, value_of, values_of
from bayescale.inference.average import AbstractFit
from bayescale.prediction.queries import resolve_family
from bayescale.runs.columns import FLOPS_PER_PARAM_TOKEN

_STEPS = 14  # sizes along each side of the plane
_BEYOND = 10**0.5  # how far the plane reaches beyond the runs on either side: half a decade
_SMALLEST = 1e-3  # smallest compute of a candidate, relative to the largest: smaller runs hardly differ in cost
_SHORTLIST = 24  # best single candidates that may become a later pilot of a batch
_SHOWN = ("evsi", "mcse", "plug_in", "level_share", "per_cost", "pareto_k", "reliable")
_STEP = 0.1  # relative step of the budget by which the worth of the utility is read
_FRESH = 1  # seed of the outcomes that a chosen batch is valued on; the search has 0


@dataclass(frozen=True)
class NextRun(AbstractDecision):
    """Choose the pilot runs whose expected gain to another decision most exceeds their cost.

    The candidates are a grid over params and tokens, with tokens per param in the range of the fitted runs. The outcome
    of a candidate is what its result would add to the expected utility of the purpose, with one value for each
    simulated result. Its utility is that gain in FLOP, less the candidate's own compute; to buy nothing has a utility
    of 0.

    Attributes
    ----------
    flops : float or str
        Budget in FLOP of the run that the pilots inform.
    purpose : str or AbstractDecision
        The decision that the pilots inform: the name of one with a budget in FLOP, or a decision.
    family : str, optional
        Family of the pilots and of the purpose, as in :func:`forecast`.
    most_flops : float or str, optional
        Largest compute of one pilot; by default that of the largest fitted run.
    budget : float or str, optional
        Compute of all pilots together; by default `batch` times `most_flops`.
    batch : int
        Largest number of pilots.
    worth : float, optional
        FLOP that one unit of the purpose's utility is worth. By default, how much more budget raises the expected
        utility of the purpose by as much. At 0, candidates are ranked by their value per FLOP.
    least : float
        Smallest net value that justifies a pilot, in FLOP; at a `worth` of 0, smallest value per FLOP.
    recipe : mapping
        How every pilot is made and scored: values of covariates and of columns that parts or responses of the model
        read, such as the items of a benchmark. Those that differ between the fitted runs are needed.
    """

    flops: float | str = setting("count", "Budget in FLOP of the run that the pilots inform.")
    purpose: str | object = setting("text", "The decision that the pilots inform.", default="allocation")
    family: str | None = setting("text", FAMILY, default=None)
    most_flops: float | str | None = setting(
        "count", "Largest compute of one pilot; by default that of the largest fitted run.", default=None
    )
    budget: float | str | None = setting(
        "count", "Compute of all pilots together; by default batch times the largest pilot.", default=None
    )
    batch: int = setting("integer", "Largest number of pilots.", default=1)
    worth: float | None = setting(
        "number", "FLOP that one unit of utility is worth; 0 ranks by value per FLOP.", default=None
    )
    least: float = setting("number", "Smallest net value that justifies a pilot, in FLOP.", default=0.0)
    recipe: Mapping[str, float] = setting(
        "numbers", "Value of a covariate, or of a column that the model reads (n_items 1000).", default_factory=dict
    )

    name = "next-run"
    source = "expected value of sample information: Raiffa and Schlaifer 1961"
    unit = "FLOP"
    key = ("params", "tokens")
    scoped = False

    def __post_init__(self) -> None:
        if not (np.isfinite(self.least) and (self.worth is None or 0 <= self.worth < np.inf)):
            raise QueryError("worth or least is out of range", expected="finite numbers, a worth not below 0",
                             got=f"worth {self.worth}, least {self.least}")  # fmt: skip
        if self.purpose == self.name or isinstance(self.purpose, NextRun):
            raise QueryError("pilots inform another decision", expected="a purpose such as allocation", got=self.name)

    def problem(self) -> AbstractDecision:
        """Return the decision that the pilots inform.

        Returns
        -------
        AbstractDecision

        Raises
        ------
        UnknownName
            If no decision has the name.
        """
        if isinstance(self.purpose, AbstractDecision):
            return self.purpose
        return named(str(self.purpose), flops=self.flops, family=self.family)

    def most(self, fit: AbstractFit) -> tuple[float, float]:
        """Return the largest compute of one pilot and of all, in FLOP.

        Parameters
        ----------
        fit : Fit or Average

        Returns
        -------
        one, all : float

        Raises
        ------
        QueryError
            If a limit is not positive, or no pilot is allowed.
        """
        most = float(fit.design_frame["flops"].max()) if self.most_flops is None else quantity(self.most_flops)
        budget = self.batch * most if self.budget is None else quantity(self.budget)
        if not (most > 0 and budget > 0 and self.batch >= 1):
            raise QueryError("no pilot is allowed", expected="positive compute and a batch of at least 1",
                             got=f"{most:g} FLOP each, {budget:g} together, batch {self.batch}")  # fmt: skip
        return min(most, budget), budget

    def actions(self, fit: AbstractFit) -> pd.DataFrame:
        """To buy nothing, then a grid of candidates over params and tokens."""
        if not {"params", "tokens"} <= set(fit.columns):
            raise QueryError(f"pilots need a model of params and tokens; {fit.name!r} reads {fit.inputs}")
        most, _ = self.most(fit)
        sides = [_side(fit.design_frame[column].to_numpy(float)) for column in ("params", "tokens")]
        params, tokens = (grid.ravel() for grid in np.meshgrid(*sides, indexing="ij"))
        flops, ratio = FLOPS_PER_PARAM_TOKEN * params * tokens, fit.design_frame.eval("tokens / params")
        # Beyond these ratios no run has tested the law: it would promise most where it is most likely to be wrong.
        kept = (tokens >= ratio.min() * params) & (tokens <= ratio.max() * params)
        kept &= (flops <= most) & (flops >= _SMALLEST * min(most, flops[kept].max()))
        if not kept.any():
            raise QueryError("no pilot near the fitted runs is within the limits", got=f"{count(most)} FLOP")
        table = pd.DataFrame({"params": params, "tokens": tokens, "flops": flops})[kept]
        return pd.concat([table.iloc[:1] * 0.0, table], ignore_index=True)

    def outcome(self, fit: AbstractFit, actions: pd.DataFrame, scope: Scope) -> xr.DataArray:
        """Gain to the purpose after each simulated result, with the values of the candidates as coordinates.

        Results are those of runs. The purpose gains in the scope in which it chooses. The gains have controls of mean
        zero, for a smaller error of their mean. Other attitudes to risk read the realised gains.
        """
        problem, experiments = self.problem(), self._experiments(fit, actions.iloc[1:])
        stakes = stakes_of(problem, fit)
        values = values_of(experiments, problem, fit, count=_even(fit), stakes=stakes)
        nothing = np.zeros(len(values[0].gains))
        gains = np.column_stack([nothing, *(one.gains for one in values)])
        realised = np.column_stack([nothing, *(one.realised for one in values)])
        coords: dict[str, Any] = {name: (ACTION, [0.0, *(getattr(one, name) for one in values)]) for name in _SHOWN}
        coords[REALISED] = ((DRAW, ACTION), realised)
        return draws_by_action(gains).assign_coords(coords | {"worth": self._worth(fit, stakes), "evpi": stakes.evpi})

    def utility(self, outcome: xr.DataArray, actions: pd.DataFrame) -> xr.DataArray:
        """The gain in FLOP less the candidate's compute, above the smallest that justifies it."""
        cost = xr.DataArray(actions["flops"].to_numpy(), dims=ACTION)
        bought = cost > 0
        worth = float(outcome["worth"])
        if worth:
            return outcome * worth - cost - self.least * bought
        return outcome / cost.where(bought, 1.0) - self.least * bought

    def details(self, choice: Choice) -> Pilots:
        """Value the chosen candidate on fresh simulated results, and add pilots until one more is not worth its cost.

        Parameters
        ----------
        choice : Choice

        Returns
        -------
        Pilots
        """
        fit, actions, outcome, best = choice.fit, choice.actions, choice.outcome, choice.best
        net = self.utility(outcome, actions).mean("draw").to_numpy()
        plane = actions.iloc[1:].assign(**{name: outcome[name].to_numpy()[1:] for name in _SHOWN}, net=net[1:])
        plane = plane.astype({"reliable": bool})
        worth, problem = float(outcome["worth"]), self.problem()
        stakes = stakes_of(problem, fit)
        chosen, bought, why = plane.iloc[:0], list[Value](), "no candidate is worth its cost"
        candidate: pd.DataFrame | None = actions.iloc[[best.action]] if best.action else None
        while candidate is not None:
            more = pd.concat([chosen, candidate])[["params", "tokens", "flops"]]
            (batch,) = self._experiments(fit, more, together=True)
            value = value_of(batch, problem, fit, count=_even(fit), seed=_FRESH, stakes=stakes)
            if self._net(value, worth) <= (self._net(bought[-1], worth) if bought else 0.0):
                why = "the next pilot is not worth its cost"
                break
            chosen, bought = more, [*bought, value]
            candidate, why = self._next(fit, stakes, plane, chosen, worth)
        return Pilots(self, fit, plane.reset_index(drop=True), chosen, tuple(bought), worth, float(outcome["evpi"]),
                      problem.unit, why)  # fmt: skip

    def _next(
        self, fit: AbstractFit, stakes: Stakes, plane: pd.DataFrame, chosen: pd.DataFrame, worth: float
    ) -> tuple[pd.DataFrame | None, str]:
        """Return the best addition to a batch, from the best single candidates; None and the reason if it is full."""
        if len(chosen) >= self.batch:
            return None, "the batch is full"
        left = self.most(fit)[1] - chosen["flops"].sum()
        short = plane[plane["flops"] <= left].nlargest(_SHORTLIST, "net")
        if short.empty:
            return None, "the budget is spent"
        batches = [pd.concat([chosen, short.iloc[[i]][list(chosen)]]) for i in range(len(short))]
        experiments = [self._experiments(fit, one, together=True)[0] for one in batches]
        values = values_of(experiments, self.problem(), fit, count=_even(fit), stakes=stakes)
        i = int(np.argmax([self._net(one, worth) for one in values]))
        return short.iloc[[i]], ""

    def _net(self, value: Value, worth: float) -> float:
        return value.net(worth) - self.least if worth else value.per_cost - self.least

    def _experiments(self, fit: AbstractFit, table: pd.DataFrame, *, together: bool = False) -> Sequence[pd.DataFrame]:
        made = {"family": resolve_family(fit, self.family), **recipe_of(fit, self.recipe)}
        table = with_needed(fit, table[["params", "tokens"]].assign(**made), fit.responses)
        return [table] if together else [table.iloc[[i]] for i in range(len(table))]

    def _worth(self, fit: AbstractFit, stakes: Stakes) -> float:
        """FLOP per unit of utility: how much more budget would raise the purpose's expected utility by a unit."""
        problem = self.problem()
        budget = getattr(problem, "flops", None)
        if self.worth is not None:
            return self.worth
        if budget is None:
            return 1.0 if problem.unit == "FLOP" else 0.0
        flops = quantity(budget)
        more = stakes_of(replace(problem, flops=flops * (1 + _STEP)), fit)  # type: ignore[type-var]
        gained = float(more.utility.mean(axis=0).max() - stakes.utility.mean(axis=0).max())
        if not gained > 0:
            raise QueryError(f"more budget does not raise the utility of {problem.name}", expected="a worth in FLOP",
                             got="no worth", hint="0 ranks pilots by value per FLOP")  # fmt: skip
        return flops * _STEP / gained


@dataclass(frozen=True, eq=False)
class Pilots(AbstractDetails):
    """The pilots to buy, with the value of each larger batch, and why the batch ends there.

    Attributes
    ----------
    decision : NextRun
    fit : Fit or Average
    plane : DataFrame
        One candidate per row: ``params tokens flops``, its value ``evsi`` with ``mcse``, ``plug_in``, ``level_share``,
        ``per_cost``, ``pareto_k``, ``reliable`` and ``net``.
    chosen : DataFrame
        Pilots to buy, in the order in which they were added; without rows if there are none.
    values : tuple of Value
        Values of the first pilot, the first two, …, on simulated results that did not choose them.
    worth : float
        FLOP per unit of utility; 0 if pilots are ranked by value per FLOP.
    evpi : float
        Value of perfect information to the purpose: a bound.
    utility_unit : str
        Unit of the value.
    why : str
        Why no further pilot is bought.
    """

    decision: NextRun
    fit: AbstractFit
    plane: pd.DataFrame
    chosen: pd.DataFrame
    values: tuple[Value, ...]
    worth: float
    evpi: float
    utility_unit: str
    why: str

    @property
    def problem(self) -> str:
        """The purpose, and the number of candidates."""
        purpose = self.decision.problem()
        return (
            f"Next run for {purpose.name} of {count(quantity(self.decision.flops))} FLOP: {len(self.plane)} candidates "
            f"of up to {count(self.decision.most(self.fit)[0])} FLOP, at most {self.decision.batch}"
        )

    @property
    def asked(self) -> dict[str, Any]:
        """The settings, with the defaults filled in."""
        most, budget = self.decision.most(self.fit)
        return {
            "purpose": self.decision.problem().name,
            "flops": quantity(self.decision.flops),
            "family": resolve_family(self.fit, self.decision.family),
            "most_flops": most,
            "budget": budget,
            "batch": self.decision.batch,
            "worth": self.worth,
            "least": self.decision.least,
        }

    @property
    def unsettled(self) -> str:
        """Why the draws cannot value the batch: its weights are not reliable, and a fit again was not possible."""
        if not self.values or self.value.reliable:
            return ""
        return f"the weights of the draws are not reliable (Pareto k {self.value.pareto_k:.2f})"

    @property
    def notes(self) -> tuple[str, ...]:
        """How many candidates have unreliable weights, and whether the batch may be worth less than it costs."""
        poor = int((~self.plane["reliable"]).sum())
        found = [f"the value of {poor} of {len(self.plane)} candidates is not reliable"] * bool(poor)
        if self.values and self.worth and self.net < 2 * self.value.mcse * self.worth:
            found.append("the net value is within two standard errors of zero")
        if not self.worth:
            found.append("pilots are ranked by value per FLOP: nothing says whether they are worth their cost")
        return tuple(found)

    @property
    def value(self) -> Value:
        """Value of the batch; without pilots there is none."""
        return self.values[-1]

    @property
    def net(self) -> float:
        """Value of the batch less its cost, in FLOP; 0 without pilots, NaN if nothing says what utility is worth."""
        if not self.values:
            return 0.0
        return self.value.net(self.worth) if self.worth else float("nan")

    @property
    def stop(self) -> bool:
        """Whether to buy no pilot."""
        return not self.values

    @cached_property
    def steps(self) -> pd.DataFrame:
        """The pilots, one per row, each with the value of the batch up to it."""
        table = self.chosen[["params", "tokens", "flops"]].reset_index(drop=True)
        for name in ("evsi", "mcse", "pareto_k", "level_share"):
            table[name] = [getattr(value, name) for value in self.values]
        return table

    @property
    def figures(self) -> dict[str, Any]:
        """Plain numbers for JSON."""
        return {
            "stop": self.stop,
            "why": self.why,
            "pilots": self.steps.to_dict("records"),
            "cost": float(self.chosen["flops"].sum()),
            "net": None if np.isnan(self.net) else self.net,
            "value": self.value.to_dict() if self.values else None,
            "value_of_perfect_information": self.evpi,
            "unit": self.utility_unit,
            "plane": self.plane.to_dict("records"),
        }

    @property
    def lines(self) -> list[tuple[str, str]]:
        """The pilots and what they are worth; or why none is bought."""
        return self._stopped if self.stop else self._bought

    @property
    def _stopped(self) -> list[tuple[str, str]]:
        top = self.plane.loc[self.plane["net"].idxmax()]
        return [
            ("buy", f"nothing: {self.why}"),
            ("closest", f"{_size(top)}: {self._said(top['evsi'], top['mcse'])}, Pareto k {top['pareto_k']:.2f}"),
            ("bound", f"perfect information is worth {self._said(self.evpi)}"),
        ]

    @property
    def _bought(self) -> list[tuple[str, str]]:
        value = self.value
        weights = f"Pareto k {value.pareto_k:.2f}" if value.engine == "reweight" else "the model fitted again"
        net = f"{count(self.net)} FLOP above the cost; " if self.worth else ""
        return [
            *(("buy", _size(row)) for _, row in self.chosen.iterrows()),
            ("cost", f"{count(value.cost)} FLOP"),
            ("value", f"{self._said(value.evsi, value.mcse)} by a better choice ({weights})"),
            ("bound", f"perfect information is worth {self._said(self.evpi)}"),
            ("level", f"the variance of the outcome under the law is expected to fall by {value.level_share:.0%}"),
            ("stop", f"{net}{self.why}"),
        ]

    def _said(self, utility: float, mcse: float | None = None) -> str:
        error = "" if mcse is None else f" ± {mcse:.1g}"
        flops = f" ({count(max(utility * self.worth, 0.0))} FLOP)" if self.worth else ""
        return f"{utility:.2g}{error} {self.utility_unit}{flops}"


def _side(values: np.ndarray) -> np.ndarray:
    return np.geomspace(values.min() / _BEYOND, values.max() * _BEYOND, _STEPS)


def _even(fit: AbstractFit) -> int:
    """Number of simulated results, the same from each chain."""
    return FANTASIES // fit.shape[0] * fit.shape[0]


def _size(row: pd.Series) -> str:
    return f"{count(row['params'])} params on {count(row['tokens'])} tokens ({count(row['flops'])} FLOP)"
