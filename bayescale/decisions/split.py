"""Split: how to divide one budget between pre-training and what follows it, such as reinforcement learning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.errors import QueryError
from bayescale.core.quantities import count
from bayescale.decisions.amounts import Amount, amount, drawn
from bayescale.decisions.base import FAMILY, LIMITS, AbstractDecision, Details, draws_by_action, quantiles, setting
from bayescale.decisions.choice import Choice
from bayescale.decisions.plans import beyond
from bayescale.decisions.simplex import LEAST_SHARE, MOST_PARTS, ends_reached, lattice
from bayescale.decisions.surface import MOST_DRAWS, Scope, budget_of, draws_of, frontier, interpolate
from bayescale.inference.average import AbstractFit
from bayescale.modelling.sites import LAW
from bayescale.parts.laws.stages import SUFFIX, Stages
from bayescale.prediction.predict import predict
from bayescale.prediction.queries import resolve_family

FIRST = "pretraining"
"""Name of the stage whose gain is the law of the fit."""
_LEVELS = 40  # budgets of pre-training, evenly spaced in the log: the loss between them is interpolated to 1e-8
_BISECTIONS = 60
_STEP = 1e-3  # e-folds, of the central difference of a loss: its error is of the order of 1e-8


@dataclass(frozen=True)
class Split(AbstractDecision):
    """Divide a FLOP budget between pre-training and stages whose gain is proportional to the log of their compute.

    Pre-training gains what the law of the fit says, at its best split of params and tokens. What an e-fold more compute
    gains in another stage is given, as a number or a distribution, if the runs do not tell it. If they do, the fit has
    the law `stages`: then each draw has the gains of all stages, in log odds of success, and none is given. The budget
    of inference is that of all answers.

    Attributes
    ----------
    flops : float or str
        Budget in FLOP for all stages together.
    gains : mapping of str to str
        A stage, and the nats/token that an e-fold more compute there is worth, such as ``"lognormal(0.01, 0.5)"``.
        Empty if the fit has the law `stages`.
    family : str, optional
        Family to train in, as in :func:`forecast`.
    limits : mapping of str to str
        Columns are the stages: ``max_inference 0.3``.
    """

    flops: float = setting("count", "Budget in FLOP (5.76e23) for all stages together.")
    gains: Mapping[str, str] = setting(
        "texts",
        "A stage and the nats that an e-fold of compute there is worth: inference lognormal(0.01,0.5). None if the fit "
        "has the law stages.",
        default_factory=dict,
    )
    family: str | None = setting("text", FAMILY, default=None)
    limits: Mapping[str, str] = setting("texts", LIMITS, default_factory=dict)

    name = "split"
    source = "a stage gets compute in proportion to what an e-fold of it gains: Cobb-Douglas where gains are log-linear"

    @property
    def unit(self) -> str:
        """Nats per token, or log odds if the law measures every stage."""
        return "nats/token" if self.gains else "log odds"

    def actions(self, fit: AbstractFit) -> pd.DataFrame:
        """Shares of the budget by stage, on a lattice."""
        stages = list(self._measured(fit)) or [FIRST, *self._amounts()]
        return pd.DataFrame(lattice(len(stages)), columns=stages)

    def outcome(self, fit: AbstractFit, actions: pd.DataFrame, scope: Scope) -> xr.DataArray:
        """Loss after pre-training, less what the other stages gain relative to the complete budget.

        Of a law of stages: log odds of failure, relative to those with the complete budget in every stage.
        """
        if measured := self._measured(fit):
            logs = np.log(actions[list(measured)].to_numpy())
            return draws_by_action(-np.stack(list(measured.values()), axis=1) @ logs.T)
        levels, loss = self._pretrained(fit, scope)
        ln_first = np.log(actions[FIRST].to_numpy() * budget_of(self.flops))
        shares, where = np.unique(ln_first, return_inverse=True)
        repeated = np.repeat(loss[:, None], len(shares), axis=1)
        total = interpolate(levels, repeated, np.broadcast_to(shares, repeated.shape[:2]))[:, where]
        gained = sum(gain[:, None] * np.log(actions[stage].to_numpy()) for stage, gain in self._drawn(fit).items())
        return draws_by_action(total - gained)

    def utility(self, outcome: xr.DataArray, actions: pd.DataFrame) -> xr.DataArray:
        """The loss, negated."""
        return -outcome

    def unknowns(self, fit: AbstractFit) -> Mapping[str, np.ndarray]:
        """Return draws of what an e-fold of compute gains in each stage.

        Parameters
        ----------
        fit : Fit or Average

        Returns
        -------
        dict of ndarray, shape (draw,)
            By name.
        """
        return {f"gain of {stage}": gain for stage, gain in (self._drawn(fit) if self.gains else {}).items()}

    def details(self, choice: Choice) -> Details:
        """The best shares of each draw.

        Parameters
        ----------
        choice : Choice

        Returns
        -------
        Details
        """
        budget, share = budget_of(self.flops), choice.action
        best = {stage: quantiles(of) for stage, of in self.optimum(choice.fit).items()}
        if self._measured(choice.fit):
            problem = f"Split of {count(budget)} FLOP over {', '.join(best)}"
            notes = ("the law of stages is linear in logs: no stage saturates, and none changes what another gains",
                     *ends_reached({stage: share[stage] for stage in best}))  # fmt: skip
            return Details(problem, lines=_shares(share, budget, best), figures={"best_share": best}, notes=notes)
        params, _ = frontier(choice.fit, np.array([share[FIRST] * budget]), self._fixed(choice.fit))
        lines = _shares(share, budget, best)
        tokens = share[FIRST] * budget / (6 * params[0])
        lines.append(("train", f"{count(params[0])} params on {count(tokens)} tokens"))
        plan = pd.DataFrame({"params": params, "tokens": tokens}).assign(**self._fixed(choice.fit))
        where, decades = beyond(choice.fit, plan)
        problem = f"Split of {count(budget_of(self.flops))} FLOP over {', '.join(best)}, {where}"
        found = {"best_share": best, "params": params[0], "tokens": tokens, "reach_decades": float(decades[0])}
        return Details(problem, lines=lines, figures=found, notes=ends_reached({stage: share[stage] for stage in best}))

    def optimum(self, fit: AbstractFit) -> dict[str, np.ndarray]:
        """Return each draw's best shares under the law: proportional to what an e-fold of compute gains.

        Parameters
        ----------
        fit : Fit or Average

        Returns
        -------
        dict of ndarray, shape (draw,)
            By stage.
        """
        if measured := self._measured(fit):
            total = sum(measured.values())
            return {stage: gain / total for stage, gain in measured.items()}
        levels, loss = self._pretrained(fit, "law")
        gains = self._drawn(fit)
        others, ln_budget = sum(gains.values()), np.log(budget_of(self.flops))

        def slope(at: np.ndarray) -> np.ndarray:
            return (interpolate(levels, loss, at - _STEP) - interpolate(levels, loss, at + _STEP)) / (2 * _STEP)

        low, high = (np.full(len(loss), levels[i]) for i in (0, -1))
        for _ in range(_BISECTIONS):  # share of pre-training minus slope / (slope + others) grows with the share
            middle = 0.5 * (low + high)
            gain = np.maximum(slope(middle), 0.0)
            over = np.exp(middle - ln_budget) * (gain + others) > gain
            low, high = np.where(over, low, middle), np.where(over, middle, high)
        first = np.exp(0.5 * (low + high) - ln_budget)
        return {FIRST: first, **{stage: (1 - first) * gain / others for stage, gain in gains.items()}}

    def _measured(self, fit: AbstractFit) -> dict[str, np.ndarray]:
        """Draws of what an e-fold of each stage gains, if the law of the fit is of stages; otherwise empty."""
        if any(member.spec.law != Stages.name for member in fit.members.values()):
            return {}
        if self.gains:
            raise QueryError("the fit has measured what every stage gains", got=", ".join(self.gains),
                             hint="leave gains out")  # fmt: skip
        (law,) = {member.spec.law_part for member in fit.members.values()}
        return {stage: gain_of(fit, stage, self.family) for stage in law.stages}

    def _fixed(self, fit: AbstractFit) -> dict[str, str]:
        return {"family": resolve_family(fit, self.family)}

    def _pretrained(self, fit: AbstractFit, scope: Scope) -> tuple[np.ndarray, np.ndarray]:
        """Log FLOP of pre-training, and the loss of the best split there; shapes (level,) and (draw, level)."""
        levels = np.linspace(np.log(LEAST_SHARE) - 2 * _STEP, 2 * _STEP, _LEVELS) + np.log(budget_of(self.flops))
        return levels, frontier(fit, np.exp(levels), self._fixed(fit), scope)[1]

    def _amounts(self) -> dict[str, Amount]:
        amounts = {str(stage): amount(gain) for stage, gain in self.gains.items()}
        if not 1 <= len(amounts) < MOST_PARTS or FIRST in amounts:
            raise QueryError("a split needs stages that follow pre-training", expected=f"1 to {MOST_PARTS - 1} stages",
                             got=", ".join(amounts) or "none", hint="give gains, such as inference 0.01")  # fmt: skip
        for stage, one in amounts.items():
            if one.support[0] < 0 or not one.mean > 0:
                raise QueryError(f"the gain of {stage} can be negative, or is nothing", got=str(one),
                                 expected="a positive number or distribution",
                                 hint="write a lognormal, or leave the stage out")  # fmt: skip
        return amounts

    def _drawn(self, fit: AbstractFit) -> dict[str, np.ndarray]:
        return drawn(self._amounts(), draws_of(fit), 0)


def _shares(
    share: Mapping[str, float], budget: float, best: Mapping[str, Mapping[str, float]]
) -> list[tuple[str, str]]:
    """Return a line for each stage: its share of the budget, and the best shares of the draws."""
    return [(stage[:12], f"{share[stage]:.1%} of the budget, {count(share[stage] * budget)} FLOP "
             f"(best share {of['q05']:.1%} to {of['q95']:.1%})") for stage, of in best.items()]  # fmt: skip


def gain_of(fit: AbstractFit, stage: str, family: str | None = None) -> np.ndarray:
    """Return draws of the log odds of success that an e-fold of a stage gains, under a law of stages.

    Parameters
    ----------
    fit : Fit or Average
        With the law `stages`.
    stage : str
    family : str, optional

    Returns
    -------
    ndarray, shape (draw,)
    """
    columns = next(iter(fit.members.values())).spec.inputs
    table = pd.DataFrame({column: [1e20, 1e20] for column in columns}).assign(family=resolve_family(fit, family))
    table.loc[1, f"{stage}{SUFFIX}"] *= np.e
    found = predict(fit, table, only=LAW, most=MOST_DRAWS)
    return found[:, 0] - found[:, 1]
