"""Mixture: which shares of the domains to train on, for one evaluation text or several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.errors import QueryError, nearest
from bayescale.decisions.base import (
    FAMILY,
    LIMITS,
    AbstractDecision,
    Details,
    draws_by_action,
    quantiles,
    setting,
)
from bayescale.decisions.choice import Choice
from bayescale.decisions.limits import number_of
from bayescale.decisions.simplex import bounded, descended
from bayescale.decisions.surface import Scope, losses
from bayescale.inference.average import AbstractFit
from bayescale.prediction.queries import queries_of, resolve_family
from bayescale.prediction.slopes import Slopes

_DRAWS = 1000  # draws × actions is the square of this: each draw brings its own best mixture as an action
_OPEN = 0.01  # of the loss: an expected regret above it leaves the choice open
_NEAR = 0.001  # of the loss: mixtures whose expected losses differ by less are as good, as two seeds are
_MOVES = np.linspace(0.0, 1.0, 33)[1:] ** 2  # towards none and all of a domain, in finer steps near the choice
_TINY = 1e-12
_SHOWN = 0.005  # smallest share that is named
_HALVINGS, _EXTREME = 14, 8.0  # bisections of the log odds of the weight of a text whose loss is limited
_PARTS = ("params", "tokens", "flops", "unique_tokens")


@dataclass(frozen=True)
class Mixture(AbstractDecision):
    """Choose shares of the domains that minimise the expected loss on some evaluation texts.

    Each draw of the posterior brings its own best mixture; these, and the mixture of least expected loss, are the
    actions. The regret is what knowing the law exactly could still gain.

    Attributes
    ----------
    texts : mapping of str to float
        Weight of each evaluation text, which is a family of the fit; by default, `family` alone.
    params, tokens : float, optional
        Size of the run, if the law reads it; by default that of the runs.
    limits : mapping of str to str
        ``max_share_web 0.5``, ``min_share_code 0.1``; ``max_loss_TEXT 2.9`` bounds the expected loss on another text.
    """

    texts: Mapping[str, float] = setting(
        "numbers", "An evaluation text and its weight; by default one text.", default_factory=dict
    )
    family: str | None = setting("text", FAMILY, default=None)
    params: float | None = setting("count", "Params of the run (70B), if the law reads them.", default=None)
    tokens: float | None = setting("count", "Tokens of the run (1.4T), if the law reads them.", default=None)
    limits: Mapping[str, str] = setting("texts", LIMITS, default_factory=dict)

    name = "mixture"
    source = (
        "expected loss over the posterior, minimised over the simplex by multiplicative steps (exponentiated gradient)"
    )
    unit = "nats/token"
    key = ("mixture",)

    def actions(self, fit: AbstractFit) -> pd.DataFrame:
        """The mixture of least expected loss, those with a limit changed, and the best mixture of each draw."""
        columns, texts = _shares(fit), self._texts(fit)
        limited = [one for one in self._limited(fit) if one not in texts]
        slopes = Slopes(fit, self._queries(fit, [*texts, *limited]), columns, _DRAWS)
        weights = np.array([*texts.values(), *[0.0] * len(limited)])
        low, high = self._bounds(self.limits, columns)
        ends = [(low, high), *(self._bounds(other, columns) for other in _loosened(self.limits))]
        found = [_expected(slopes, weights, *of) for of in dict.fromkeys((tuple(a), tuple(b)) for a, b in ends)]
        for i, text in enumerate(limited, start=len(texts)):
            found += _traded(slopes, weights, i, number_of(text, self.limits[f"max_loss_{text}"]), (low, high))
        own, _ = descended(lambda h: _weighted(slopes(h), weights), bounded(low, high, slopes.draws), low, high)
        mixtures = np.concatenate([*found, own])
        table = pd.DataFrame(mixtures / mixtures.sum(axis=1, keepdims=True), columns=columns)
        for text in limited:
            table[f"loss_{text}"] = self._losses(fit, table, text, "law").mean(axis=0)
        return table.assign(mixture=[_words(row, columns) for row in mixtures])

    def outcome(self, fit: AbstractFit, actions: pd.DataFrame, scope: Scope) -> xr.DataArray:
        """The weighted loss on the evaluation texts."""
        weighted = (weight * self._losses(fit, actions, text, scope) for text, weight in self._texts(fit).items())
        return draws_by_action(np.sum(list(weighted), axis=0))

    def utility(self, outcome: xr.DataArray, actions: pd.DataFrame) -> xr.DataArray:
        """The loss, negated."""
        return -outcome

    def details(self, choice: Choice) -> Details:
        """The best mixtures of the draws, the shares that are as good, and the gain over the mean mixture of the runs.

        Parameters
        ----------
        choice : Choice

        Returns
        -------
        Details
        """
        fit, columns, texts = choice.fit, _shares(choice.fit), self._texts(choice.fit)
        chosen, by_draw = choice.action[columns].astype(float), choice.actions[columns].to_numpy()[choice.best.by_draw]
        near = self._as_good(fit, chosen)
        usual = fit.design_frame[columns].mean() / fit.design_frame[columns].mean().sum()
        gained = self.outcome(fit, pd.DataFrame([usual, chosen]), "law").to_numpy()
        gain = quantiles(gained[:, 0] - gained[:, 1])
        best = {name: quantiles(x) for name, x in zip(columns, by_draw.T, strict=True)}
        lines = [(name.partition("_")[2][:12], f"{chosen[name]:.1%} (best {best[name]['q05']:.1%} to "
                  f"{best[name]['q95']:.1%}; as good {near[name][0]:.1%} to {near[name][1]:.1%})")
                 for name in columns if max(chosen[name], best[name]["q95"]) >= _SHOWN]  # fmt: skip
        lines.append(("gain", f"{gain['q50']:.3g} nats/token (90% interval {gain['q05']:.3g} to {gain['q95']:.3g}) "
                      "over the mean mixture of the runs"))  # fmt: skip
        figures = {"best_shares": best, "gain_over_mean": gain, "as_good": near}
        problem = f"Mixture of {len(columns)} domains for {', '.join(f'{t} ({w:g})' for t, w in texts.items())}"
        asked = {"texts": texts, "params": self.params, "tokens": self.tokens, "limits": dict(self.limits)}
        return Details(problem, asked, lines, figures, _unsettled(choice), _notes(fit, chosen))

    def _as_good(self, fit: AbstractFit, chosen: pd.Series) -> dict[str, list[float]]:
        """Least and largest allowed share of each domain, the others in proportion, with hardly more expected loss."""
        columns, shares = list(chosen.index), chosen.to_numpy()
        steps = np.concatenate([-_MOVES[::-1], _MOVES])
        moved = []
        for i, share in enumerate(shares):
            to = share + np.where(steps < 0, share, 1 - share) * steps
            mixtures = np.outer((1 - to) / max(1 - share, _TINY), shares)
            mixtures[:, i] = to
            moved.append(mixtures)
        table = pd.DataFrame(np.concatenate([shares[None], *moved]), columns=columns)
        loss = self.outcome(fit, table, "law").mean("draw").to_numpy()
        good = (loss[1:] <= loss[0] * (1 + _NEAR)) & self._allowed(fit, table)[1:]
        good = good.reshape(len(columns), len(steps))
        half = len(_MOVES)
        down = np.logical_and.accumulate(good[:, :half][:, ::-1], axis=1).sum(axis=1)  # moves until it costs too much
        up = np.logical_and.accumulate(good[:, half:], axis=1).sum(axis=1)
        return {name: [float(moved[i][half - down[i], i]) if down[i] else float(shares[i]),
                       float(moved[i][half + up[i] - 1, i]) if up[i] else float(shares[i])]
                for i, name in enumerate(columns)}  # fmt: skip

    def _allowed(self, fit: AbstractFit, mixtures: pd.DataFrame) -> np.ndarray:
        """Which mixtures are within the limits of shares, and of expected losses on texts."""
        low, high = self._bounds(self.limits, list(mixtures))
        allowed = ((mixtures >= low - _TINY) & (mixtures <= high + _TINY)).all(axis=1).to_numpy()
        for text in self._limited(fit):
            most = number_of(text, self.limits[f"max_loss_{text}"])
            allowed = allowed & (self._losses(fit, mixtures, text, "law").mean(axis=0) <= most)
        return allowed

    def _texts(self, fit: AbstractFit) -> dict[str, float]:
        """Weights of the evaluation texts, which add up to 1."""
        given = {str(text): float(weight) for text, weight in self.texts.items()}
        given = given or {resolve_family(fit, self.family): 1.0}
        for text, weight in given.items():
            resolve_family(fit, text)
            if not 0 < weight < np.inf:
                raise QueryError(f"the weight of {text!r} is not a positive number", got=str(weight))
        return {text: weight / sum(given.values()) for text, weight in given.items()}

    def _limited(self, fit: AbstractFit) -> list[str]:
        """Evaluation texts whose expected loss a limit bounds."""
        named = [name.removeprefix("max_loss_") for name in self.limits if name.startswith("max_loss_")]
        for text in named:
            resolve_family(fit, text)
        return list(dict.fromkeys(named))

    def _bounds(self, limits: Mapping[str, Any], columns: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Least and largest share of each domain."""
        low, high = np.zeros(len(columns)), np.ones(len(columns))
        for name, value in limits.items():
            end, _, column = name.partition("_")
            if column in columns and end in ("min", "max"):
                (low if end == "min" else high)[columns.index(column)] = number_of(name, value)
            elif not name.startswith("max_loss_"):
                offered = ["max_loss_TEXT", *(f"{end}_{of}" for of in columns for end in ("max", "min"))]
                raise QueryError(f"no limit is called {name!r}", expected=f"one of: {', '.join(offered)}",
                                 hint=nearest(name, offered))  # fmt: skip
        if (low > high).any() or low.sum() > 1 or high.sum() < 1:
            raise QueryError("no mixture is within the limits", got=", ".join(f"{k} {v}" for k, v in limits.items()),
                             hint="loosen a limit")  # fmt: skip
        return low, high

    def _losses(self, fit: AbstractFit, mixtures: pd.DataFrame, text: str, scope: Scope) -> np.ndarray:
        """Losses on one evaluation text, shape (draw, mixture)."""
        query = self._queries(fit, [text]).drop(columns=_shares(fit)).iloc[0].to_dict()
        return losses(fit, mixtures[_shares(fit)].assign(**query), scope, most=_DRAWS)

    def _queries(self, fit: AbstractFit, texts: list[str]) -> pd.DataFrame:
        """A query at equal shares for each text."""
        runs, anchor = fit.design_frame, fit.meta["anchor"]
        size = {name: value for name in ("params", "tokens") if (value := getattr(self, name) or anchor.get(name))}
        known = {name: float(np.exp(np.log(runs[name]).mean())) for name in _PARTS[:3] if name in runs}
        table = pd.DataFrame({"family": texts}).assign(**{**known, **size})
        return queries_of(fit, table, None, {})


def _shares(fit: AbstractFit) -> list[str]:
    """Columns of the shares that the law reads."""
    found = [name for name, column in fit.declared.items() if column.share_of]
    if not found or len({fit.declared[name].share_of for name in found}) > 1:
        raise QueryError("the decision needs a law of the shares of one mixture",
                         got=f"{fit.name!r} reads {', '.join(fit.columns)}",
                         hint="fit mixture-additive, mixture-exponential, mixture-scaled or mixture-joint")  # fmt: skip
    return found


def _weighted(found: tuple[np.ndarray, np.ndarray], weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted loss of each draw and its slopes, of losses and slopes by text."""
    loss, slope = found
    return loss @ weights, np.einsum("dtc,t->dc", slope, weights)


def _expected(slopes: Slopes, weights: np.ndarray, low: Any, high: Any) -> np.ndarray:
    """Return the mixture of least expected loss, shape (1, domain)."""

    def mean(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        loss, slope = _weighted(slopes(np.repeat(at, slopes.draws, axis=0)), weights)
        return loss.mean(keepdims=True), slope.mean(axis=0, keepdims=True)

    low, high = np.asarray(low), np.asarray(high)
    return descended(mean, bounded(low, high, 1), low, high)[0]


def _traded(
    slopes: Slopes, weights: np.ndarray, text: int, limit: float, bounds: tuple[np.ndarray, np.ndarray]
) -> list[np.ndarray]:
    """Return mixtures that weigh one more text by ever finer steps, until its expected loss is just within a limit."""
    least, most, found = -_EXTREME, _EXTREME, []
    for _ in range(_HALVINGS):
        middle = 0.5 * (least + most)
        share = 1 / (1 + np.exp(-middle))
        found.append(
            _expected(slopes, np.where(np.arange(len(weights)) == text, share, (1 - share) * weights), *bounds)
        )
        loss = slopes(np.repeat(found[-1], slopes.draws, axis=0))[0][:, text].mean()
        least, most = (middle, most) if loss > limit else (least, middle)
    return found


def _loosened(limits: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the limits without each of them, and with each looser by a tenth."""
    found: list[dict[str, Any]] = []
    for name, value in limits.items():
        others = {other: v for other, v in limits.items() if other != name}
        times = 1.1 if name.startswith("max") else 1 / 1.1
        found += [others, {**others, name: min(number_of(name, value) * times, 1.0) if "_share_" in name else value}]
    return found


def _words(mixture: np.ndarray, columns: list[str]) -> str:
    order = np.argsort(-mixture)
    return ", ".join(f"{columns[i].partition('_')[2]} {mixture[i]:.1%}" for i in order if mixture[i] >= _SHOWN)


def _unsettled(choice: Choice) -> str:
    share = choice.regret / float(choice.outcome.to_numpy()[:, choice.best.action].mean())
    return "" if share <= _OPEN else f"the expected regret of the mixture is {share:.1%} of the loss"


def _notes(fit: AbstractFit, chosen: pd.Series) -> tuple[str, ...]:
    most = fit.design_frame[list(chosen.index)].max()
    beyond = [f"{name.partition('_')[2]} {chosen[name]:.0%} (runs up to {most[name]:.0%})"
              for name in chosen.index if chosen[name] > most[name] + _SHOWN]  # fmt: skip
    notes = ["at another size, the order of mixtures may hold; the losses do not"]
    return (*notes, *([f"beyond the shares of the runs: {', '.join(beyond)}"] if beyond else []))
