"""Decay: at which step the learning rate starts to fall."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.errors import QueryError
from bayescale.core.quantities import count
from bayescale.decisions.base import FAMILY, AbstractDecision, Details, draws_by_action, quantiles, setting
from bayescale.decisions.choice import Choice
from bayescale.decisions.surface import Scope, losses
from bayescale.inference.average import AbstractFit
from bayescale.parts.schedules import Schedule, schedule
from bayescale.prediction.queries import queries_of

_STARTS = 61  # from the end of the warm-up to the last step, evenly: the loss is flat in the start
_NEAR = 0.001  # of the loss: schedules whose expected losses differ by less are as good, as two seeds are
_DECAYING = ("linear", "geometric", "step", "cosine")


@dataclass(frozen=True)
class Decay(AbstractDecision):
    """Choose the step at which the learning rate starts to fall, for the lowest loss at the last step.

    Attributes
    ----------
    schedule : str
        The schedule with its kind of decay, such as ``"linear peak=3e-4 floor=3e-5 warmup=2160 steps=24000"``. Where
        it says at which step its own decay starts, the gain over that start is reported.
    family : str, optional
        Family of the run, as in :func:`forecast`.
    """

    schedule: str = setting("text", 'The schedule: "linear peak=3e-4 floor=3e-5 warmup=2160 steps=24000".')
    family: str | None = setting("text", FAMILY, default=None)

    name = "decay"
    source = "the loss at the end under each start of the decay; the law is that of the fit, such as multi-power"
    unit = "nats/token"
    key = ("start",)

    @cached_property
    def _given(self) -> Schedule:
        given = schedule(self.schedule)
        if given.kind not in _DECAYING:
            raise QueryError("a constant schedule has no decay", expected=f"one of: {', '.join(_DECAYING)}",
                             got=self.schedule)  # fmt: skip
        if given.steps - given.warmup < 2:
            raise QueryError("the schedule has no step between its warm-up and its end", got=self.schedule)
        return given

    def actions(self, fit: AbstractFit) -> pd.DataFrame:
        """The schedule with each start of the decay; the start of the given schedule is one of them."""
        given = self._given
        even = np.linspace(given.warmup, given.steps - 1, _STARTS).round().astype(int)
        starts = np.unique([*even, given.start])
        texts = [str(replace(given, decay=int(start))) for start in starts]
        table = self._queries(fit, texts)
        return table.assign(start=starts, share=(given.steps - starts) / given.steps)

    def outcome(self, fit: AbstractFit, actions: pd.DataFrame, scope: Scope) -> xr.DataArray:
        """The loss at the last step."""
        return draws_by_action(losses(fit, actions.drop(columns=["start", "share"]), scope))

    def utility(self, outcome: xr.DataArray, actions: pd.DataFrame) -> xr.DataArray:
        """The loss, negated."""
        return -outcome

    def details(self, choice: Choice) -> Details:
        """The starts that are as good, the best start of each draw, and the gain over the start that was given.

        Parameters
        ----------
        choice : Choice

        Returns
        -------
        Details
        """
        given, starts = self._given, choice.actions["start"].to_numpy()
        loss = self.outcome(choice.fit, choice.actions, "law").to_numpy()
        mean, chosen = loss.mean(axis=0), choice.best.action
        good = starts[mean <= mean[chosen] * (1 + _NEAR)]
        best = quantiles(starts[choice.best.by_draw].astype(float))
        gain = quantiles(loss[:, starts == given.start][:, 0] - loss[:, chosen])
        lines = [
            ("start", f"step {count(starts[chosen])} of {count(given.steps)}: the learning rate falls during the last "
                      f"{choice.action['share']:.0%} of the steps"),
            ("as good", f"step {count(good.min())} to {count(good.max())}: within {_NEAR:.1%} of the expected loss"),
            ("best", f"step {count(best['q50'])} (90% interval {count(best['q05'])} to {count(best['q95'])})"),
            ("gain", f"{gain['q50']:.3g} nats/token (90% interval {gain['q05']:.3g} to {gain['q95']:.3g}) over a start "
                     f"at step {count(given.start)}"),
        ]  # fmt: skip
        figures: dict[str, Any] = {"best_start": best, "as_good": [int(good.min()), int(good.max())], "gain": gain}
        asked = {"schedule": self.schedule, "family": self.family}
        return Details(f"Start of the decay of {given}", asked, lines, figures, notes=self._notes(choice.fit))

    def _queries(self, fit: AbstractFit, texts: list[str]) -> pd.DataFrame:
        spec = next(iter(fit.members.values())).spec
        if not any("schedule" in of.labels for of in spec.penalizing):
            raise QueryError("the decision needs a law of schedules", got=fit.name,
                             hint="fit training-curves or annealing, or give a spec their penalty")  # fmt: skip
        return queries_of(fit, pd.DataFrame({"schedule": texts, "step": self._given.steps}), self.family, {})

    def _notes(self, fit: AbstractFit) -> tuple[str, ...]:
        most = int(fit.design_frame["step"].max())
        if self._given.steps <= most:
            return ()
        return (f"the runs have up to {count(most)} steps, and this schedule has {count(self._given.steps)}",)
