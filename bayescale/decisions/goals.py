"""Goals: a loss or a score that a run is to reach, and the tokens with which each size reaches it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayescale.core.errors import QueryError
from bayescale.decisions.surface import LOSS, MOST_DRAWS, Scope, Surface, noise
from bayescale.inference.average import AbstractFit
from bayescale.modelling.sites import LAW, LOG_LOSS, location_of
from bayescale.prediction.predict import predict


@dataclass(frozen=True)
class Goal:
    """A level that a loss or an error is to fall to, or a score is to rise to; :func:`goal` reads one.

    Attributes
    ----------
    level : float
        In the unit of the response; of a count of items, the share of them.
    response : str
        Name of the response in the fit.
    falls : bool
        Whether lower is better.
    log : bool
        Whether its location is a log, as that of a loss is.
    unit : str
        Unit of the level; empty for a share.
    """

    level: float
    response: str = LOSS
    falls: bool = True
    log: bool = True
    unit: str = "nats/token"

    def __str__(self) -> str:
        return f"{self.response} {self.level:.4g} {self.unit}".rstrip()

    def values(self, fit: AbstractFit, queries: pd.DataFrame, scope: Scope) -> np.ndarray:
        """Return the loss or the score of runs.

        Parameters
        ----------
        fit : Fit or Average
        queries : DataFrame
            One run per row.
        scope : {"law", "run"}
            The law alone, or with discrepancies and one draw of noise per draw, that of a run near the goal. A score
            has the discrepancies in both scopes, and so has the deviation of a run under a model without a law: a draw
            has one, which all queries share.

        Returns
        -------
        ndarray, shape (draw, query)
        """
        site = location_of(self.response) if self.response != LOSS else LAW if scope == "law" else LOG_LOSS
        found = _of_one_run(fit, queries, site)
        if scope == "run":
            level = np.log(self.level) if self.log else self.level
            near = int(np.abs(np.median(found, axis=0) - level).argmin())
            found = found + noise(fit, queries.iloc[[near]], self.response)[:, None]
        return np.exp(found) if self.log else found

    def reached(self, values: np.ndarray) -> np.ndarray:
        """Return where values reach the level.

        Parameters
        ----------
        values : ndarray

        Returns
        -------
        ndarray of bool
        """
        return values <= self.level if self.falls else values >= self.level

    def tokens(
        self, fit: AbstractFit, ln_params: np.ndarray, ln_tokens: np.ndarray, fixed: Mapping[str, Any], scope: Scope
    ) -> np.ndarray:
        """Return the log tokens with which each size first reaches the level.

        Parameters
        ----------
        fit : Fit or Average
        ln_params : ndarray, shape (size,)
        ln_tokens : ndarray, shape (length,)
            With even steps.
        fixed : mapping
            Other columns of the queries.
        scope : {"law", "run"}

        Returns
        -------
        ndarray, shape (draw, size)
            Infinite if more tokens than the grid has would be needed; the first of the grid if it has already passed.
        """
        params, tokens = (x.ravel() for x in np.meshgrid(np.exp(ln_params), np.exp(ln_tokens), indexing="ij"))
        queries = pd.DataFrame({"params": params, "tokens": tokens, "unique_tokens": tokens}).assign(**fixed)
        values = self.values(fit, queries, scope).reshape(-1, len(ln_params), len(ln_tokens))
        values, level = (np.log(values), np.log(self.level)) if self.log else (values, self.level)
        sign = 1 if self.falls else -1
        return Surface(ln_params, ln_tokens, sign * values).tokens_for(np.asarray(sign * level))


def _of_one_run(fit: AbstractFit, queries: pd.DataFrame, site: str) -> np.ndarray:
    """Return a site at queries that are plans of one run, shape (draw, query).

    A model without a law may draw what is particular to a run, and draws it again for each row. Rows that are predicted
    one by one have the same random numbers; otherwise, a choice between them would follow their luck.
    """
    if all(one.spec.law for one in fit.members.values()):
        return np.asarray(predict(fit, queries, only=site, most=MOST_DRAWS))
    rows = (queries.iloc[[i]] for i in range(len(queries)))
    return np.hstack([predict(fit, row, only=site, most=MOST_DRAWS) for row in rows])


def goal(
    fit: AbstractFit, loss: float | None = None, score: float | None = None, response: str | None = None
) -> Goal | None:
    """Read a goal: a loss, or a score of a response.

    Parameters
    ----------
    fit : Fit or Average
    loss : float, optional
        Level of a loss, or of another response on a log scale such as an error rate, in its unit.
    score : float, optional
        Level of any other response: a share between 0 and 1 of items, or a number in the unit of the response.
    response : str, optional
        Response whose level it is; by default the loss, or the only response that fits.

    Returns
    -------
    Goal or None
        None if neither is given.

    Raises
    ------
    QueryError
        If both are given, the level is not possible, or the fit has no such response.
    """
    if loss is not None and score is not None:
        raise QueryError("a goal is one loss or one score", got=f"loss {loss}, score {score}")
    if loss is not None:
        return _loss(fit, float(loss), response)
    return None if score is None else _score(fit, float(score), response)


def _loss(fit: AbstractFit, level: float, response: str | None) -> Goal:
    logs = [name for name in fit.responses if fit.response(name).response.kind == "log"]
    name = response or (logs[0] if len(logs) == 1 else LOSS)
    # The law has a loss where nothing observes it.
    of = fit.response(name).response if response or name in fit.responses else None
    if of and of.kind != "log":
        raise QueryError(f"response {name!r} is a score, not a loss", got=f"loss {level}", hint="give a score")
    unit = of.unit if of else "nats/token"
    if not 0 < level < np.inf:
        raise QueryError(f"the level of {name!r} is out of range", expected=f"a positive number ({unit})",
                         got=str(level))  # fmt: skip
    return Goal(level, name, unit=_said(unit))


def _score(fit: AbstractFit, level: float, response: str | None) -> Goal:
    scores = [name for name in fit.responses if fit.response(name).response.kind != "log"]
    if response is None and len(scores) != 1:
        expected = f"one of: {', '.join(scores)}" if scores else "a fit that has a score"
        raise QueryError("which response should reach the score?", expected=expected,
                         got=f"a fit of {', '.join(fit.responses)}",
                         hint="name the response" if scores else "fit a model with a score: accuracy")  # fmt: skip
    name = response or scores[0]
    of = fit.response(name)
    if name not in scores:
        raise QueryError(f"response {name!r} is a loss, not a score", got=f"score {level}", hint="give a loss")
    share = of.response.kind != "real" or _is_share(of.response.unit)
    if not (0 < level < 1 if share else np.isfinite(level)):
        expected = "a share between 0 and 1" if share else f"a finite number ({of.response.unit})"
        hint = f"if it is in per cent, it is {level / 100:g}" if share and 1 <= level < 100 else ""
        raise QueryError(f"the level of {name!r} is out of range", expected=expected, got=str(level), hint=hint)
    return Goal(level, name, of.falls, log=False, unit="" if share else _said(of.response.unit))


def _is_share(unit: str) -> bool:
    """Whether a response is a share by its unit: a custom model may declare shares as real numbers."""
    return unit.startswith("share")


def _said(unit: str) -> str:
    """Return the unit as it is said after a number; nothing for a share or a score, which the name says."""
    return "" if _is_share(unit) or unit.endswith("score") else unit
