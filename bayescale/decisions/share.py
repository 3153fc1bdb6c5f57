"""Share: whether two modalities share one model or get a model each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.errors import QueryError
from bayescale.core.quantities import count
from bayescale.decisions.base import FAMILY, AbstractDecision, Details, draws_by_action, setting
from bayescale.decisions.choice import Choice
from bayescale.decisions.draws import ends, unsettled, written
from bayescale.decisions.surface import Scope, losses, others_of
from bayescale.inference.average import AbstractFit
from bayescale.runs.columns import FLOPS_PER_PARAM_TOKEN

_ACTIONS = ("share", "split")
_DECADES, _LENGTH = 3.0, 61  # of params on either side of the target, where equal losses are looked for
_MODALITY = "modality"


@dataclass(frozen=True)
class Share(AbstractDecision):
    """Train one model on two modalities, or a model of the same params on each with the same tokens.

    Attributes
    ----------
    params, tokens : float
        Size of a model, and tokens of each modality.
    family : str, optional
        Family to train in, as in :func:`forecast`.
    """

    params: float = setting("count", "Params of a model (30B).")
    tokens: float = setting("count", "Tokens of each modality (45B).")
    family: str | None = setting("text", FAMILY, default=None)

    name = "share"
    source = "synergy against competition: Aghajanyan et al. 2023, arXiv:2301.03728"
    unit = "nats/token"
    key = ("model",)

    def actions(self, fit: AbstractFit) -> pd.DataFrame:
        """One model for both modalities, or one for each."""
        params, tokens = float(self.params), float(self.tokens)
        flops = 2 * FLOPS_PER_PARAM_TOKEN * params * tokens
        return pd.DataFrame({"model": _ACTIONS, "params": params, "tokens": tokens, "flops": flops})

    def outcome(self, fit: AbstractFit, actions: pd.DataFrame, scope: Scope) -> xr.DataArray:
        """The mean loss of the two modalities."""
        at = np.array([float(self.params)])
        return draws_by_action(np.stack(self._pair(fit, at, scope), axis=2)[:, 0])

    def utility(self, outcome: xr.DataArray, actions: pd.DataFrame) -> xr.DataArray:
        """The loss, negated."""
        return -outcome

    def details(self, choice: Choice) -> Details:
        """How probable it is that sharing is better, and the size from which it is.

        Parameters
        ----------
        choice : Choice

        Returns
        -------
        Details
        """
        shared, apart = choice.outcome.to_numpy().T
        sizes = float(self.params) * np.logspace(-_DECADES, _DECADES, _LENGTH)
        saved = np.subtract(*self._pair(choice.fit, sizes, "law")[::-1])
        even = ends(_first_above(np.log(sizes), saved))
        even = {name: None if x is None else float(np.exp(x)) for name, x in even.items()}
        probability = float((shared < apart).mean())
        sure = max(probability, 1 - probability)
        low, middle, high = (written(x, f"over {count(sizes[-1])}", least=sizes[0]) for x in even.values())
        ratio = float(self.tokens) / float(self.params)
        lines = [("share", f"the lower loss in {probability:.1%} of draws"),
                 ("break-even", f"{middle} params (90% interval {low} to {high}), at {ratio:.3g} tokens of each "
                  "modality per param")]  # fmt: skip
        problem = f"Share or split two modalities at {count(self.params)} params on {count(self.tokens)} tokens of each"
        often = (saved > 0).mean(axis=0)
        by_size = pd.DataFrame({"params": sizes, "saved": saved.mean(axis=0), "probability": often})
        found: dict[str, Any] = {"probability_share": probability, "break_even_params": even,
                                 "by_size": by_size.to_dict("records")}  # fmt: skip
        return Details(problem, {"params": self.params, "tokens": self.tokens}, lines, found, unsettled(choice, sure))

    def _pair(self, fit: AbstractFit, params: np.ndarray, scope: Scope) -> list[np.ndarray]:
        """Loss of a shared model, and mean loss of two models, by params; each of shape (draw, size)."""
        spec = next(iter(fit.members.values())).spec
        if "modalities" not in spec.penalties:
            raise QueryError("the decision needs a fit of two modalities", got=fit.name,
                             hint="fit the spec modalities")  # fmt: skip
        first, second = spec.part("penalties", "modalities").pair
        tokens = params * float(self.tokens) / float(self.params)
        others = others_of(fit, self.family, {_MODALITY: first})
        table = pd.DataFrame({"params": params, "tokens": tokens}).assign(**others)
        found = [losses(fit, table.assign(**{_MODALITY: one}), scope) for one in (first, second, "both")]
        return [found[2], 0.5 * (found[0] + found[1])]


def _first_above(x: np.ndarray, saved: np.ndarray) -> np.ndarray:
    """Where each row of savings first becomes positive, by linear interpolation; infinite if it does not."""
    above = saved > 0
    i = np.argmax(above, axis=1)
    rows, before = np.arange(len(saved)), np.maximum(i - 1, 0)
    low, high = saved[rows, before], saved[rows, i]
    part = np.where(i > 0, -low / np.where(high > low, high - low, 1.0), 0.0)
    return np.where(above.any(axis=1), x[before] + part * (x[i] - x[before]), np.inf)
