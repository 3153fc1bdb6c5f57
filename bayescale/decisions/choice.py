"""Choice: the action of highest expected utility, its regret, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.base import array_stats

from bayescale.core.quantities import count
from bayescale.core.rich import paired, rich
from bayescale.core.verdict import Verdict
from bayescale.decisions.base import REALISED, AbstractDecision, Details, quantiles
from bayescale.decisions.bills import bill, card_of, uncertain
from bayescale.decisions.influence import ROUGH, STEADY, Change, Effect, Sway, effects, swayed
from bayescale.decisions.limits import Binding, allowed_by, bindings, limits_of, shape_lines
from bayescale.decisions.risk import RISKS, AbstractRisk, Mean, risk_of
from bayescale.decisions.surface import Scope
from bayescale.decisions.unknowns import partial_information, unknowns_of
from bayescale.decisions.words import DOLLARS, labelled, measured, most_saved, wrapped
from bayescale.inference.average import LEAVE_OUT, AbstractFit
from bayescale.prediction.queries import resolve_family

USE = "use with care"
MOVED = "leaving out a few runs changes the answer"
MARKED_MOVE = "the fit includes runs that the table marks as not to be fitted, and they change the answer"
_FEW_UNKNOWNS = 3  # in text
_CLEAR = 2.0  # Monte Carlo errors by which the worth of an unknown must exceed zero to be named


@dataclass(frozen=True, eq=False)
class Best:
    """Solution of a matrix of utilities, draws × actions.

    Attributes
    ----------
    action : int
        Column with the highest score.
    expected : float
        Its mean utility.
    regret : float
        Mean over draws of the best action's utility minus this one's.
    regret_mcse : float
        Monte Carlo standard error of the regret, from paired differences.
    by_draw : ndarray of int, shape (draw,)
        Best action of each draw.
    """

    action: int
    expected: float
    regret: float
    regret_mcse: float
    by_draw: np.ndarray


def best(utility: np.ndarray, chains: int, action: int | None = None, allowed: np.ndarray | None = None) -> Best:
    """Solve a matrix of utilities, shape (chain·draw, action).

    Parameters
    ----------
    utility : ndarray, shape (chain·draw, action)
    chains : int
        Number of chains, for the Monte Carlo error.
    action : int, optional
        An action that was chosen in another way; by default, that of highest expected utility.
    allowed : ndarray of bool, shape (action,), optional
        Which actions the limits allow; by default, all.

    Returns
    -------
    Best
    """
    columns = np.arange(utility.shape[1]) if allowed is None else np.flatnonzero(allowed)
    expected = utility.mean(axis=0)
    if action is None:
        action = int(columns[expected[columns].argmax()])
    by_draw = columns[utility[:, columns].argmax(axis=1)]
    regret = utility[np.arange(len(utility)), by_draw] - utility[:, action]
    mcse = float(array_stats.mcse(regret.reshape(chains, -1))) if np.ptp(regret) else 0.0
    return Best(action, float(expected[action]), float(regret.mean()), mcse, by_draw)


def preferred(risk: AbstractRisk, utility: np.ndarray, allowed: np.ndarray) -> int:
    """Return the allowed action that an attitude to risk prefers.

    Parameters
    ----------
    risk : AbstractRisk
    utility : ndarray, shape (draw, action)
        In the scope of the attitude.
    allowed : ndarray of bool, shape (action,)

    Returns
    -------
    int
        The column of the action.
    """
    columns = np.flatnonzero(allowed)
    return int(columns[risk.score(utility[:, columns]).argmax()])


@dataclass(frozen=True, eq=False)
class Choice:
    """The chosen action, with its expected regret and its verdict.

    Attributes and figures of the details are attributes of the choice, such as ``choice.waste_fraction`` of an
    allocation.

    Attributes
    ----------
    decision, fit, risk
        The problem, the posterior and the attitude to risk.
    actions : DataFrame
        Possible actions, one per row.
    allowed : ndarray of bool, shape (action,)
        Which actions the limits allow.
    outcome, utility : DataArray
        Dims ``draw action``, under the law.
    best : Best
        The solution.
    details : AbstractDetails or None
        What the decision reports beyond the utility.
    """

    decision: AbstractDecision
    fit: AbstractFit
    risk: AbstractRisk
    actions: pd.DataFrame
    allowed: np.ndarray
    outcome: xr.DataArray
    utility: xr.DataArray
    best: Best
    details: Any = None

    @property
    def action(self) -> pd.Series:
        """The chosen action."""
        return self.actions.iloc[self.best.action]

    @cached_property
    def run_outcome(self) -> xr.DataArray:
        """Outcome of each action with discrepancies and noise, and without control variates; dims ``draw action``."""
        if self._controlled:
            return self.outcome.copy(data=self.outcome[REALISED].to_numpy())
        return self.decision.outcome(self.fit, self.actions, "run") if self.decision.scoped else self.outcome

    @cached_property
    def run_utility(self) -> xr.DataArray:
        """Utility of each action with discrepancies and noise; dims ``draw action``."""
        return self.decision.utility(self.run_outcome, self.actions)

    @property
    def expected(self) -> dict[str, float]:
        """Quantiles over draws of the chosen action's outcome, with discrepancies and noise."""
        return quantiles(self.run_outcome.to_numpy()[:, self.best.action])

    @property
    def regret(self) -> float:
        """Expected utility lost under the law against each draw's best action, in the decision's unit."""
        return self.best.regret

    @property
    def evpi(self) -> float:
        """Expected value of perfect information on the law: the regret of the action of highest expected utility."""
        return best(self.utility.to_numpy(), self.fit.shape[0], allowed=self.allowed).regret

    @property
    def hindsight(self) -> dict[str, dict[str, float]]:
        """Quantiles over draws of each numeric column of the draw's best action."""
        chosen = self.actions.select_dtypes("number").iloc[self.best.by_draw]
        return {str(name): quantiles(chosen[name].to_numpy()) for name in chosen}

    @cached_property
    def by_risk(self) -> dict[str, dict[str, Any]]:
        """The action that each attitude to risk would choose, by the attitude's name."""
        return {name: _plain(self.actions.iloc[self.preferred(name)]) for name in RISKS}

    def preferred(self, risk: AbstractRisk | str) -> int:
        """Return the allowed action that an attitude to risk prefers.

        Parameters
        ----------
        risk : AbstractRisk or str
            The attitude, or the name of one.

        Returns
        -------
        int
            Row of the actions.
        """
        risk = risk_of(risk) if isinstance(risk, str) else risk
        return preferred(risk, self.read_by(risk), self.allowed)

    @property
    def score(self) -> np.ndarray:
        """Score of each action under the attitude to risk, shape (action,): the chosen one has the highest allowed."""
        return self.risk.score(self.read)

    @property
    def read(self) -> np.ndarray:
        """Utilities by which the action was chosen, shape (draw, action), in the scope :attr:`read_in`."""
        return self.read_by(self.risk)

    @property
    def read_in(self) -> Scope:
        """Scope of the utilities by which the action was chosen: that of the law, or that of a run."""
        return self._scope_of(self.risk)

    def read_by(self, risk: AbstractRisk) -> np.ndarray:
        """Return the utilities that an attitude to risk reads.

        Parameters
        ----------
        risk : AbstractRisk

        Returns
        -------
        ndarray, shape (draw, action)
            Under the law, or of a run: in the scope of the attitude.
        """
        return (self.utility if self._scope_of(risk) == "law" else self.run_utility).to_numpy()

    def _scope_of(self, risk: AbstractRisk) -> Scope:
        scope = self.decision.chosen_in if risk == Mean() else risk.scope
        return "law" if scope == "law" and (risk.linear or not self._controlled) else "run"

    @property
    def _controlled(self) -> bool:
        """Whether the outcome has control variates, which only a mean may read."""
        return REALISED in self.outcome.coords

    @cached_property
    def limits(self) -> list[Binding]:
        """Limits that cost more than Monte Carlo error, each with what it costs; the most costly one is first."""
        limits = limits_of(self.decision)
        utility = self.read

        def choose(limits: Mapping[str, str]) -> int:
            allowed = allowed_by(limits, self.actions)
            return preferred(self.risk, utility, allowed) if allowed.any() else self.best.action

        found = bindings(limits, self.best.action, choose, self.score)
        return [one for one in found if one.worth > self.best.regret_mcse]

    @property
    def sways(self) -> list[Sway]:
        """What would be chosen without the runs that decide the choice, and without the marked runs.

        Empty if nothing is settled, and for an allocation, whose details have the change of the split itself.
        """
        return [one for one in self._left_out or [] if one.matters or one.runs.all_marked]

    @cached_property
    def _left_out(self) -> list[Sway] | None:
        """What leaving out runs does, whether it matters or not; None if it is not known."""
        if self.unsettled or not self.decision.scoped or hasattr(self.details, "influence"):
            return None
        family = resolve_family(self.fit, self.decision.family) if hasattr(self.decision, "family") else None
        return swayed(self.fit, family, self.read_by(self.risk), self.risk, self.best.action, self.regret, self.allowed)

    @property
    def effects(self) -> list[Effect]:
        """What leaving out the runs that move the answer most does, and the marked runs; empty if it is not known."""
        if hasattr(self.details, "influence"):
            return effects(self.details.influence, self.settled)
        said = [Effect(one.runs, self.without(one), one.runs.to_do(matters=one.matters, reliable=one.reliable),
                       one.matters, one.matters and bool(one.runs.moves)) for one in self.sways]  # fmt: skip
        known = self._left_out is not None and not any(one.matters for one in self._left_out)
        return [*said, *[Effect(None, STEADY)] * known]

    @property
    def _influence(self) -> list[tuple[str, str]]:
        """The effects of runs on a choice; an allocation has them among its own lines."""
        return [] if hasattr(self.details, "influence") else [("influence", one.line) for one in self.effects]

    @property
    def care(self) -> list[str]:
        """Reasons to use a settled choice with care: its reach, its width, and runs that change it."""
        return [] if self.unsettled else [*getattr(self.details, "care", ()), *self.moved]

    @property
    def moved(self) -> list[str]:
        """Reasons to use a choice with care that hold at any budget: runs that change it, and marked runs that may."""
        changes: list[Change | Sway] = [*getattr(self.details, "influence", ()), *self.sways]
        move = {one.runs.all_marked for one in changes if one.matters}
        # Where no influence is known, the marked runs may change the answer.
        marked = bool(self.fit.excluded) and (True in move or not changes)
        return [MOVED] * (False in move) + [MARKED_MOVE] * marked

    @property
    def depends(self) -> str:
        """What the choice would be without the runs on which it depends most, if it is not settled or needs care."""
        said = next((one.changed for one in self.effects if one.most), "")
        return said * bool(self.unsettled or self.care)

    def without(self, sway: Sway) -> str:
        """Return what would be chosen without some runs, in words.

        Parameters
        ----------
        sway : Sway

        Returns
        -------
        str
        """
        rough = "" if sway.reliable else f"; {ROUGH}"
        if sway.action == self.best.action:
            return f"the choice is the same{rough}"
        chosen, unit = self.name_of(self.best.action), self.decision.unit
        return f"choose {self.name_of(sway.action)}; {chosen} would cost {measured(sway.cost, unit)} more{rough}"

    @cached_property
    def unknowns(self) -> pd.DataFrame:
        """What it is worth to settle each unknown, and what would be chosen if it were low or high.

        Returns
        -------
        DataFrame
            One unknown per row, the most valuable one first: its 5% and 95% quantiles, the chosen action in the lowest
            and the highest tenth of its draws (``choose_low``, ``choose_high``), and ``worth``: the expected value of
            knowing it exactly, in the unit of the utility, with its Monte Carlo error. ``bias`` is the estimate for an
            unknown that says nothing: a small worth is too low by about as much. An allocation adds
            ``worth_compute``, relative to the budget, and with a price ``worth_dollars``, that share of the mean
            bill.
        """
        if not self.decision.scoped:
            return pd.DataFrame()
        found = self._uncertain
        if card := card_of(self.decision):
            found |= uncertain(card, len(self.utility))
        one = resolve_family(self.fit, self.decision.family) if hasattr(self.decision, "family") else None
        known = {**unknowns_of(self.fit, len(self.utility), one), **found}
        table = partial_information(self.utility.to_numpy(), known, self.allowed)
        for name in ("choose_low", "choose_high"):
            table[name] = [self.name_of(i) for i in table[name]]
        if hasattr(self.details, "nats_per_efold"):
            table["worth_compute"] = table["worth"] / self.details.nats_per_efold
            if "dollars" in self.bill[1]:
                table["worth_dollars"] = table["worth_compute"] * self.bill[1]["dollars"]["mean"]
        return table

    @property
    def unsettled(self) -> str:
        """Why the runs do not settle the choice; empty if they do."""
        return self.details.unsettled if self.details else ""

    @property
    def settled(self) -> bool:
        """Whether the runs are enough to name one action."""
        return not self.unsettled

    @property
    def verdict(self) -> Verdict:
        """Convergence of the fit, and other caveats on the choice."""
        found, notes = self.fit.verdict, self.details.notes if self.details else ()
        return replace(found, notes=(*found.notes, *notes))

    @property
    def problem(self) -> str:
        """What was asked, in words."""
        return (self.details.problem if self.details else "") or f"Decision {self.decision.name}"

    @property
    def asked(self) -> dict[str, Any]:
        """What was asked, as plain values: the part of :meth:`to_dict` that is not an answer."""
        settings = {one.name: getattr(self.decision, one.name) for one in fields(self.decision)}  # type: ignore[arg-type]
        return dict(self.details.asked if self.details else {}) or settings

    @cached_property
    def bill(self) -> tuple[list[tuple[str, str]], dict[str, Any]]:
        """What the chosen action costs on the hardware: lines of text, and figures. Both are empty without hardware."""
        card = card_of(self.decision)
        if card is None or "flops" not in self.actions:
            return [], {}
        spent = self.details.spent if hasattr(self.details, "spent") else self.action["flops"]
        return bill(card, spent, len(self.utility))

    def name_of(self, action: int) -> str:
        """Return an action in words.

        Parameters
        ----------
        action : int
            Row of the actions.

        Returns
        -------
        str
        """
        row = _plain(self.actions.iloc[action])
        named = [name for name in self.decision.key or row if name in row]
        if not any(row[name] for name in named):
            return "nothing"  # such as to buy no run
        return ", ".join(labelled(name, row[name]) for name in named)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON.

        Returns
        -------
        dict
        """
        usual = {
            **_plain(self.action),
            "expected_utility": self.best.expected,
            "unit": self.decision.unit,
            "outcome": self.expected,
            "regret": self.regret,
            "regret_mcse": self.best.regret_mcse,
            "regret_over": list(self.fit.members),
            "value_of_perfect_information": self.evpi,
            "hindsight": self.hindsight,
        }
        return {
            "decision": self.decision.name,
            "risk": self.risk.label,
            **self.asked,
            "settled": self.settled,
            "unsettled": self.unsettled,
            "care": self.care,
            **({} if self.details and self.details.complete else usual),
            **(self.details.figures if self.details else {}),
            **({"cost": self.bill[1]} if self.bill[1] else {}),
            "by_risk": self.by_risk,
            "settle": [] if self.unsettled else self.unknowns.reset_index().to_dict("records"),
            "limits_that_bind": [one.to_dict() for one in self.limits],
            **({} if hasattr(self.details, "influence") else {"influence": [self._sway(one) for one in self.sways]}),
            "excluded": self.fit.excluded,
            "verdict": str(self.verdict),
        }

    def _sway(self, one: Sway) -> dict[str, Any]:
        """Plain numbers of a sway, for JSON."""
        return {"runs": one.runs.to_dict(), "choose": _plain(self.actions.iloc[one.action]), "cost": one.cost,
                "matters": one.matters, "pareto_shape": one.shape if np.isfinite(one.shape) else None}  # fmt: skip

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "details":
            raise AttributeError(name)
        if isinstance(self.details, Details) and name in self.details.figures:
            return self.details.figures[name]
        return getattr(self.details, name)

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Label and sentence of each line of the text, in order."""
        words = self.fit.excluded_words
        own = self.details.lines if self.details else []
        return [
            *[("care", f"{USE}: {'; '.join(self.care)}")] * bool(self.care),
            *(own if self.details and self.details.complete else [*self._lines, *own]),
            *[line for line in self.bill[0] if line[0] not in dict(own)],
            *self._worth_knowing,
            *shape_lines(limits_of(self.decision), self.action),
            *[("limit", one.sentence(partial(measured, unit=self.decision.unit), self.name_of)) for one in self.limits],
            *([] if self.risk == Mean() else [("risk", f"chosen by {self.risk.about}")]),
            *self._other_attitudes,
            *self._influence,
            ("verdict", str(self.verdict)),
            *([("excluded", f"{words}; {LEAVE_OUT}")] if words else []),
        ]

    def __repr__(self) -> str:
        rows = [wrapped(f"  {label:<12} {text}", 15) for label, text in self.lines]
        return self.verdict.above("\n".join([wrapped(self.problem, 2), *rows]))

    def _repr_html_(self) -> str:
        return rich(self.verdict.above(self.problem)) + paired(self.lines)

    @property
    def _other_attitudes(self) -> list[tuple[str, str]]:
        """What other attitudes to risk would choose, where they prefer it by more than Monte Carlo error."""
        if self.unsettled:
            return []
        different = []
        for name, risk in ((name, of()) for name, of in RISKS.items() if name != self.risk.label):
            utility = self.read_by(risk)
            score = np.full(len(self.allowed), -np.inf)
            score[self.allowed] = risk.score(utility[:, self.allowed])
            if score.max() - score[self.best.action] > self.best.regret_mcse:
                different.append(f"{name}: {self.name_of(int(score.argmax()))}")
        return [("other risks", "; ".join(different) or "the other attitudes to risk choose the same")]

    @property
    def _worth_knowing(self) -> list[tuple[str, str]]:
        """The unknowns that are worth more than Monte Carlo error, in words."""
        table = self.unknowns
        table = table[table["worth"] > _CLEAR * table["mcse"]] if len(table) else table
        if self.unsettled or table.empty:
            return []
        said, meanings = [], {k: v for fit in self.fit.members.values() for k, v in fit.spec.meanings.items()}
        for name, row in table.head(_FEW_UNKNOWNS).iterrows():
            meaning = meanings.get(str(name).partition("[")[0], "")
            worth = measured(row["worth"], self.decision.unit)
            if "worth_compute" in row:
                worth = f"{row['worth_compute']:.2%} of compute"
            dollars = f", {measured(row['worth_dollars'], DOLLARS)}" if "worth_dollars" in row else ""
            said.append(f"{name}{f' ({meaning})' if meaning else ''} {worth}{dollars}")
        low = table.iloc[0]  # unknowns with many values have the same one
        low_by = f"; small ones are too low by about {measured(-low['bias'], self.decision.unit)}" * _biased(low)
        dated = self._dated or self._date * ("worth_dollars" in table)
        return [("settle", "; ".join(said) + low_by + dated)]

    @property
    def _date(self) -> str:
        """The date of the hardware's price, in words; empty without one."""
        card = card_of(self.decision)
        return f" (price as of {card.price.as_of})" if card and card.price else ""

    @property
    def _dated(self) -> str:
        """The date of the price if the utility is in dollars."""
        return self._date if self.decision.unit == DOLLARS else ""

    @property
    def _lines(self) -> list[tuple[str, str]]:
        unit, outcome = self.decision.unit, self.decision.outcome_unit or self.decision.unit
        saved = most_saved(self.law_words, None if self.regret == self.evpi else measured(self.evpi, unit))
        low, middle, high = (count(self.expected[q], 4) for q in ("q05", "q50", "q95"))
        return [
            ("choose", self.name_of(self.best.action)),
            ("expected", f"{middle} {outcome} (90% interval {low} to {high})"),
            ("regret", f"{measured(self.regret, unit)} (Monte Carlo error {measured(self.best.regret_mcse, unit)})"
             f"{saved}{self._dated}"),
        ]  # fmt: skip

    @property
    def _uncertain(self) -> dict[str, np.ndarray]:
        """The decision's own unknowns, without those that are known after all: a number, not a distribution."""
        found = self.decision.unknowns(self.fit) if self.decision.unknowns else {}
        return {name: x for name, x in found.items() if np.ptp(x) > 0}

    @property
    def law_words(self) -> str:
        """What is uncertain in the regret: the law, in an average its form, and what else the decision draws."""
        card = card_of(self.decision)
        more = self._uncertain
        priced = uncertain(card, 1) if card and self.decision.unit == DOLLARS else {}
        known = list(dict.fromkeys(["the law", *["its form"] * (len(self.fit.members) > 1), *more, *priced]))
        return f"{', '.join(known[:-1])} and {known[-1]}" if len(known) > 1 else known[0]


@dataclass(frozen=True, eq=False)
class Withheld:
    """No recommendation, because the fit has not converged; says why and what to do.

    Attributes
    ----------
    provisional : Choice
        The choice from the draws as they are, for diagnosis only. Chains that disagree have no common posterior, so its
        regret is that of an arbitrary mixture.
    """

    provisional: Choice

    @property
    def verdict(self) -> Verdict:
        """Why there is no recommendation."""
        return self.provisional.verdict

    @property
    def problem(self) -> str:
        """What was asked, in words."""
        return self.provisional.problem

    @property
    def asked(self) -> dict[str, Any]:
        """What was asked, as plain values."""
        return self.provisional.asked

    @property
    def settled(self) -> bool:
        """Whether the runs are enough to name one action: always False, as the chains disagree."""
        return False

    @property
    def reason(self) -> str:
        """Why there is no recommendation and what to do, on one line."""
        to_do = f"; to do: {'; '.join(self.verdict.advice)}" if self.verdict.advice else ""
        return f"no recommendation: {self.verdict}{to_do}"

    def to_dict(self) -> dict[str, Any]:
        """The keys of a choice; its answers are under ``provisional``.

        Returns
        -------
        dict
        """
        found = self.provisional.to_dict()
        answers = {key: value for key, value in found.items() if key not in (*self.asked, "verdict")}
        return {
            **self.asked,
            **dict.fromkeys(answers),
            "verdict": str(self.verdict),
            "reasons": list(self.verdict.problems),
            "advice": list(self.verdict.advice),
            "provisional": answers,
        }

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError(f"there is no recommendation, so there is no {name}: {self.verdict}")

    @property
    def _rows(self) -> list[tuple[str, str]]:
        """Why there is no recommendation, and what to do, each with its label."""
        reasons, to_do = self.verdict.problems, self.verdict.advice
        return [*(("reason", one) for one in reasons), *(("to do", one) for one in to_do)]

    def __repr__(self) -> str:
        rows = [wrapped(f"  {label:12} {said}", 15) for label, said in self._rows]
        return "\n".join([f"{self.verdict.status}: no recommendation", wrapped(self.problem, 2), *rows])

    def _repr_html_(self) -> str:
        return rich(f"{self.verdict.status}: no recommendation\n{self.problem}") + paired(self._rows)


def _plain(action: pd.Series) -> dict[str, Any]:
    return {str(name): value.item() if hasattr(value, "item") else value for name, value in action.items()}


def _biased(row: pd.Series) -> bool:
    """Whether the bias of a worth is clear, by its own error, and larger than the error of the worth."""
    return bool(row["bias"] < -_CLEAR * row["bias_mcse"] and -row["bias"] > row["mcse"])
