"""Portfolio: how to split one budget between the models of several families."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.errors import QueryError
from bayescale.core.quantities import count, nats
from bayescale.decisions.base import LIMITS, AbstractDecision, Details, draws_by_action, quantiles, setting
from bayescale.decisions.choice import Choice
from bayescale.decisions.plans import beyond
from bayescale.decisions.simplex import LEAST_SHARE, MOST_PARTS, ends_reached, lattice
from bayescale.decisions.surface import Scope, budget_of, frontier, interpolate
from bayescale.inference.average import AbstractFit
from bayescale.prediction.queries import resolve_family

_LEVELS = 24  # budgets of a family, evenly spaced in the log: the loss between them is interpolated to 1e-8


@dataclass(frozen=True)
class Portfolio(AbstractDecision):
    """Split a FLOP budget between one model in each of several families, each trained at its best split.

    Attributes
    ----------
    flops : float or str
        Budget in FLOP for all models together.
    worth : mapping of str to float
        Families, and what a nat/token less loss is worth in each; by default, 1 in every fitted family.
    limits : mapping of str to str
        Columns are the families: ``min_OPT 0.2`` gives OPT at least a fifth of the budget.
    """

    flops: float = setting("count", "Budget in FLOP (5.76e23) for all models together.")
    worth: Mapping[str, float] = setting(
        "numbers", "A family and what a loss lower by 1 nat/token is worth there; by default, 1 in every family.",
        default_factory=dict,
    )  # fmt: skip
    limits: Mapping[str, str] = setting("texts", LIMITS, default_factory=dict)

    name = "portfolio"
    source = "the sum of expected losses, by family, is smallest where a FLOP saves the same in every family"
    unit = "weighted nats/token"

    def actions(self, fit: AbstractFit) -> pd.DataFrame:
        """Shares of the budget by family, on a lattice."""
        return pd.DataFrame(lattice(len(self.worths(fit))), columns=list(self.worths(fit)))

    def outcome(self, fit: AbstractFit, actions: pd.DataFrame, scope: Scope) -> xr.DataArray:
        """Sum over families of worth times loss. All runs are made, so the run of each family has its own noise."""
        total = sum(worth * self.loss(fit, family, actions, scope) for family, worth in self.worths(fit).items())
        return draws_by_action(np.asarray(total))

    def utility(self, outcome: xr.DataArray, actions: pd.DataFrame) -> xr.DataArray:
        """The sum, negated."""
        return -outcome

    def details(self, choice: Choice) -> Details:
        """Each family's budget, params, tokens and loss.

        Parameters
        ----------
        choice : Choice

        Returns
        -------
        Details
        """
        lines, plans = [], []
        for run, (family, share) in enumerate(choice.action.items()):
            flops = float(share) * budget_of(self.flops)
            params, loss = frontier(choice.fit, np.array([flops]), {"family": family}, "run", run=run)
            tokens, interval = flops / (6 * params[0]), quantiles(loss[:, 0])
            shares = choice.hindsight[str(family)]
            plans.append({"family": family, "share": share, "flops": flops, "params": params[0], "tokens": tokens,
                          "loss": interval, "best_share": shares})  # fmt: skip
            lines.append((str(family)[:12], f"{share:.1%} of the budget (best share {shares['q05']:.0%} to "
                          f"{shares['q95']:.0%}): {count(params[0])} params on {count(tokens)} tokens, loss "
                          f"{nats(interval['q50'])} ({nats(interval['q05'])} to {nats(interval['q95'])})"))  # fmt: skip
        where, decades = beyond(choice.fit, pd.DataFrame(plans))
        plans = [{**plan, "reach_decades": float(far)} for plan, far in zip(plans, decades, strict=True)]
        problem = f"Portfolio of {count(budget_of(self.flops))} FLOP over {len(plans)} families, {where}"
        asked, notes = {"flops": self.flops, "worth": self.worths(choice.fit)}, ends_reached(dict(choice.action))
        return Details(problem, asked, lines, {"plans": plans}, notes=notes)

    def worths(self, fit: AbstractFit) -> dict[str, float]:
        """Return what a nat less loss is worth, by family.

        Parameters
        ----------
        fit : Fit or Average

        Returns
        -------
        dict of float

        Raises
        ------
        QueryError
            If there are fewer than two families, one was not fitted, or a worth is not positive.
        """
        worth = dict(self.worth) or dict.fromkeys(fit.families, 1.0)
        for family, value in worth.items():
            resolve_family(fit, family)
            if not 0 < value < np.inf:
                raise QueryError(f"the worth of family {family!r} is not positive", got=repr(value),
                                 hint="leave the family out if it is worth nothing")  # fmt: skip
        if len(worth) < 2:
            raise QueryError("a portfolio needs at least two families", got=", ".join(worth),
                             hint="for one family, decide allocation")  # fmt: skip
        if len(worth) > MOST_PARTS:
            raise QueryError("a portfolio has too many families", got=str(len(worth)), hint="name fewer in worth")
        return worth

    def loss(self, fit: AbstractFit, family: str, actions: pd.DataFrame, scope: Scope) -> np.ndarray:
        """Return the loss of a family's best split at each action's share of the budget.

        Parameters
        ----------
        fit : Fit or Average
        family : str
            A column of the actions.
        actions : DataFrame
        scope : {"law", "run"}

        Returns
        -------
        ndarray, shape (draw, action)
        """
        levels = np.linspace(np.log(LEAST_SHARE), 0.0, _LEVELS) + np.log(budget_of(self.flops))
        _, loss = frontier(fit, np.exp(levels), {"family": family}, scope, run=actions.columns.get_loc(family))
        shares, where = np.unique(actions[family].to_numpy(float), return_inverse=True)
        at = np.broadcast_to(np.log(shares * budget_of(self.flops)), (len(loss), len(shares)))
        return interpolate(levels, np.repeat(loss[:, None], len(shares), axis=1), at)[:, where]
