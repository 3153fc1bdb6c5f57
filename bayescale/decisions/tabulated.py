"""Tabulated: thinned draws of a law as a table that needs no model, and decisions on it.

A page that is read without Python makes the same decisions from the same table. A law of any kind is smooth in log
params and log compute, so a few products of functions hold all of its draws.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from bayescale.decisions.base import quantiles
from bayescale.decisions.choice import best, preferred
from bayescale.decisions.plans import SLOPE, balance
from bayescale.decisions.risk import AbstractRisk, CVaR, Mean
from bayescale.decisions.surface import Surface, draws_of, interpolate, minimise, noise
from bayescale.decisions.waste import BELOW, FEW, MOST_WASTE, TOLERANCE, WIDEST, safe_range, wasted, why_unsettled
from bayescale.inference.average import AbstractFit
from bayescale.modelling.sites import LAW, LOG_LOSS
from bayescale.prediction.predict import predict
from bayescale.runs.columns import FLOPS_PER_PARAM_TOKEN
from bayescale.runs.shapes import FORWARD

DRAWS = 400
"""Draws that a table has: enough for the mean and the worst tenth, few enough for a page."""
TIMES = 30.0
"""Budgets that can be asked for lie up to this factor below and above the budget of the table."""
SIZES = 400
"""Sizes that a budget is spent on, in even steps of log params."""
_DECADES = 3.0  # of params on either side of the anchor's path, as in an allocation
_ACROSS, _ALONG = 27, 0.8  # sizes at a budget, and e-folds between budgets: interpolation is exact to about 1e-6
_MORE = 4.5  # e-folds of compute beyond the budgets: training on more tokens than is compute-optimal
_EXACT = 4e-6  # in log loss, which 1% of compute changes by 1.5e-4 near 1e24 FLOP
_FINE = 121  # sizes between which each draw's best one is found along all budgets
_LIKE = 0.05 * np.arange(-60, 9)  # log sizes over that of the quality: serving makes smaller ones better
_TOKENS = np.linspace(-4.0, 6.0, 50)  # log tokens over those of the quality
_SHIFT = 0.02  # e-folds of params, for the slope at constant compute
_TERMS = 28  # 200 kB of a page
_SHORT = 32767.0  # largest short integer
_MEAN = 1.0  # tail of the draws that is all of them


@dataclass(frozen=True, eq=False)
class Products:
    """A matrix of draws × points as a sum of products.

    Attributes
    ----------
    weights : ndarray, shape (draw, term)
    basis : ndarray, shape (term, across, along)
    """

    weights: np.ndarray
    basis: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Products:
        """Keep as few terms, in single precision, as reproduce the values to 4e-6; at most 28.

        Only draws that differ widely need more: what is left out is then small next to their spread.

        Parameters
        ----------
        values : ndarray, shape (draw, across, along)

        Returns
        -------
        Products
        """
        rest = values.reshape(len(values), -1).copy()
        left, sizes, right = _leading(rest)
        weights, basis = (np.float32(x).astype(float) for x in (left * sizes, right))
        terms = 0
        while terms < min(len(sizes), _TERMS) and np.abs(rest).max() > _EXACT:
            rest -= np.outer(weights[:, terms], basis[terms])
            terms += 1
        return cls(weights[:, :terms], basis[:terms].reshape(terms, *values.shape[1:]))


@dataclass(frozen=True, eq=False)
class Tabulated:
    """Log loss of thinned draws over log compute and log params.

    Attributes
    ----------
    flops, params, tokens : float
        The budget that the table is made for, and a size with its tokens on the path about which sizes are taken.
    ln_flops : ndarray, shape (along,)
        Log compute, with even steps.
    across : ndarray, shape (across,)
        Log params over those of the path, with even steps.
    law : Products
        Log loss of the law.
    error : ndarray, shape (draw, along)
        Discrepancies at the split of lowest expected loss: errors beyond the runs have no known direction, and a split
        does not follow them.
    noise : ndarray, shape (draw,)
        One draw of a run's noise, on log loss.
    """

    flops: float
    params: float
    tokens: float
    ln_flops: np.ndarray
    across: np.ndarray
    law: Products
    error: np.ndarray
    noise: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Everything that the decisions of the table read, as plain values and base64 of little-endian numbers.

        Returns
        -------
        dict
        """
        law = {"weights": self.law.weights, "basis": self.law.basis}
        small = {"error": self.error, "noise": self.noise}
        steps = {name: _step(x) for name, x in small.items()}
        return {
            **{name: _text(x.astype("<f4")) for name, x in law.items()},
            **{name: _text(np.rint(x / steps[name]).astype("<i2")) for name, x in small.items() if x.any()},
            "steps": steps,
            "params": self.params, "tokens": self.tokens, "ln_flops": self.ln_flops.tolist(),
            "across": self.across.tolist(), "terms": len(self.law.basis), "draws": len(self.noise),
            "decades": _DECADES, "sizes": SIZES, "fine": _FINE, "like": _LIKE.tolist(), "lengths": _TOKENS.tolist(),
            "shift": _SHIFT, "slope": list(SLOPE.items()), "forward": FORWARD, "few": FEW, "most_waste": MOST_WASTE,
            "widest": WIDEST, "tolerance": TOLERANCE, "below": (np.array(BELOW) * np.log(10)).tolist(),
        }  # fmt: skip

    def path(self, ln_flops: Any) -> Any:
        """Return log params of the path of equal growth of params and tokens.

        Parameters
        ----------
        ln_flops : float or ndarray

        Returns
        -------
        float or ndarray
        """
        return np.log(self.params) + 0.5 * (ln_flops - np.log(FLOPS_PER_PARAM_TOKEN * self.params * self.tokens))

    def log_loss(self, ln_flops: np.ndarray, ln_params: np.ndarray) -> np.ndarray:
        """Return the log loss of the law at points.

        Parameters
        ----------
        ln_flops, ln_params : ndarray, shape (point,)

        Returns
        -------
        ndarray, shape (draw, point)
        """
        basis = self.law.basis
        rows = np.moveaxis(np.broadcast_to(basis, (len(ln_flops), *basis.shape)), 0, 1)  # term point across along
        at = interpolate(self.ln_flops, rows, np.broadcast_to(ln_flops[:, None], rows.shape[:-1]))
        return self.law.weights @ interpolate(
            self.across, at, np.broadcast_to(ln_params - self.path(ln_flops), at.shape[:2])
        )

    def sizes(self, ln_flops: float, count: int = SIZES) -> np.ndarray:
        """Return log params of the sizes that a budget is spent on.

        Parameters
        ----------
        ln_flops : float
        count : int

        Returns
        -------
        ndarray, shape (size,)
        """
        reach = _DECADES * np.log(10)
        return self.path(ln_flops) + np.linspace(-reach, reach, count)

    @cached_property
    def frontier(self) -> np.ndarray:
        """Least loss of each draw at each compute of the table, shape (draw, along)."""
        found = []
        for ln_flops in self.ln_flops:
            sizes = self.sizes(ln_flops, _FINE)
            found.append(minimise(sizes, self.log_loss(np.full(_FINE, ln_flops), sizes))[1])
        return np.exp(np.stack(found, axis=1))

    @cached_property
    def best_sizes(self) -> np.ndarray:
        """Log params of lowest expected loss at each compute of the table, shape (along,)."""
        found = []
        for ln_flops in self.ln_flops:
            sizes = self.sizes(ln_flops, _FINE)
            losses = np.exp(self.log_loss(np.full(_FINE, ln_flops), sizes)).mean(axis=0)
            found.append(float(minimise(sizes, losses)[0]))
        return np.array(found)

    @property
    def curve(self) -> np.ndarray:
        """Loss of a run at each draw's best split, noise included, by compute: the 5, 25, 50, 75 and 95% quantiles."""
        run = self.frontier * np.exp(self.error + self.noise[:, None])
        return np.quantile(run, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)

    def between(self, values: np.ndarray, ln_flops: np.ndarray) -> np.ndarray:
        """Interpolate between the computes of the table.

        Parameters
        ----------
        values : ndarray, shape (draw, along)
        ln_flops : ndarray, shape (budget,)

        Returns
        -------
        ndarray, shape (draw, budget)
        """
        shape = (len(values), len(ln_flops))
        rows = np.broadcast_to(values[:, None], (*shape, len(self.ln_flops)))
        return interpolate(self.ln_flops, rows, np.broadcast_to(ln_flops, shape))

    def allocation(self, flops: float, tail: float = _MEAN) -> dict[str, Any]:
        """Split a budget, as :class:`bayescale.Allocation` does.

        Parameters
        ----------
        flops : float
        tail : float
            The worst share of draws whose mean loss is minimised: 1 is the expected loss under the law.

        Returns
        -------
        dict
            Numbers, and by size arrays for a figure.
        """
        ln_flops = float(np.log(flops))
        ln_params = self.sizes(ln_flops)
        at = np.full(SIZES, ln_flops)
        law, error = self.log_loss(at, ln_params), self.between(self.error, at[:1])
        losses = np.exp(law)
        found = self._chosen(-losses, -np.exp(law + error + self.noise[:, None]), tail)
        i, below = found.action, np.array(BELOW) * np.log(10)
        waste = wasted(losses, self.between(self.frontier, ln_flops + below), below)
        ln_best, _ = minimise(ln_params, losses)
        ratio = quantiles(flops / (FLOPS_PER_PARAM_TOKEN * np.exp(2 * ln_best)))
        low, high = safe_range(ln_params, waste)
        run, expected = np.exp(law[:, i] + error[:, 0]), float(waste[:, i].mean())
        params = float(np.exp(ln_params[i]))
        return {
            "params": params, "tokens": flops / (FLOPS_PER_PARAM_TOKEN * params),
            "expected_loss": float(run.mean()), "loss": quantiles(run), "regret_nats": found.regret,
            "waste_fraction": expected, "waste_q95": float(np.quantile(waste[:, i], 0.95)), "safe_low": low,
            "safe_high": high, "best_params": quantiles(np.exp(ln_best)), "best_ratio": ratio,
            "settled": not why_unsettled(ratio, expected), "sizes": np.exp(ln_params),
            "waste": [np.quantile(waste, q, axis=0) for q in (0.05, 0.25, 0.75, 0.95)] + [waste.mean(axis=0)],
        }  # fmt: skip

    def lifetime(self, flops: float, demand: float, tail: float = _MEAN) -> dict[str, float]:
        """Choose the size that costs least to train and to serve, as :class:`bayescale.Lifetime` does.

        The quality is that of a compute-optimal model of the size that the budget would be spent on. Costs are in FLOP:
        6 per param and training token, and 2 per param and served token.

        Parameters
        ----------
        flops : float
            Budget of the model whose quality is asked for.
        demand : float
            Tokens served.
        tail : float
            As in :meth:`allocation`, for the cost.

        Returns
        -------
        dict
            ``saving`` is relative to the expected cost of the compute-optimal size.
        """
        like = self.allocation(flops)
        of, target = self._plans(float(np.log(like["params"])), float(np.log(like["tokens"])))
        params = np.exp(of.ln_params)
        tokens = np.exp(np.minimum(of.tokens_for(target[:, None]), of.ln_tokens[-1]))
        cost = FLOPS_PER_PARAM_TOKEN * params * tokens + FORWARD * params * demand
        reached = (tokens < np.exp(of.ln_tokens[-1])).all(axis=0)  # a plan reaches the quality, whatever the draw
        found = self._chosen(-cost, -cost, tail, reached)
        i, own = found.action, quantiles(params[found.by_draw])
        other = int(np.abs(of.ln_params - np.log(like["params"])).argmin())
        expected = cost.mean(axis=0)
        return {
            "params": float(params[i]), "tokens": float(np.median(tokens[:, i])),
            "tokens_q05": float(np.quantile(tokens[:, i], 0.05)), "tokens_q95": float(np.quantile(tokens[:, i], 0.95)),
            "like": like["params"], "cost": float(expected[i]), "saving": float(1 - expected[i] / expected[other]),
            "regret": found.regret, "best_q05": own["q05"],
            "best_q95": own["q95"],
        }  # fmt: skip

    def _plans(self, ln_params: float, ln_tokens: float) -> tuple[Surface, np.ndarray]:
        """Return the log loss of sizes over tokens, and that of the compute-optimal model of a size, by draw."""
        sizes, lengths = ln_params + _LIKE, ln_tokens + _TOKENS
        ln_n, ln_d = (x.ravel() for x in np.meshgrid(sizes, lengths, indexing="ij"))
        six = np.log(FLOPS_PER_PARAM_TOKEN)
        values = self.log_loss(six + ln_n + ln_d, ln_n).reshape(-1, len(sizes), len(lengths))
        along = six + ln_params + lengths
        around = [self.log_loss(along, ln_params + _SHIFT * k + 0 * along) for k in SLOPE]
        slopes = np.tensordot(list(SLOPE.values()), np.array(around), axes=1) / _SHIFT
        own = self.log_loss(along, ln_params + 0 * along)
        return Surface(sizes, lengths, values), balance(lengths, own, slopes)[1]

    def _chosen(self, law: np.ndarray, run: np.ndarray, tail: float, allowed: np.ndarray | None = None) -> Any:
        """Solve a matrix of utilities, with the attitude to risk of a tail."""
        risk: AbstractRisk = Mean() if tail == _MEAN else CVaR(tail)
        columns = np.ones(law.shape[1], bool) if allowed is None else allowed
        return best(law, 1, preferred(risk, law if tail == _MEAN else run, columns), columns)


def tabulated(
    fit: AbstractFit, flops: float, family: str, recipe: Mapping[str, float] | None = None, *, draws: int = DRAWS
) -> Tabulated:
    """Tabulate the law of a fit around a budget, from its smallest run on.

    Parameters
    ----------
    fit : Fit or Average
        Its law is of params and tokens.
    flops : float
    family : str
    recipe : mapping, optional
        Values of the run's covariates.
    draws : int
        Largest number of draws.

    Returns
    -------
    Tabulated
    """
    anchor, runs = fit.meta["anchor"], fit.design_frame
    least_run = (
        runs["flops"].min() if "flops" in runs else FLOPS_PER_PARAM_TOKEN * (runs["params"] * runs["tokens"]).min()
    )
    low, high = np.log(min(float(least_run), flops / TIMES)), np.log(flops * TIMES) + _MORE
    ln_flops = np.linspace(low, high, int((high - low) / _ALONG) + 2)
    across = np.linspace(-1, 1, _ACROSS) * _DECADES * np.log(10)
    found = Tabulated(flops, anchor["params"], anchor["tokens"], ln_flops, across, Products.of(np.zeros((1, 0, 0))),
                      np.zeros((0, 0)), np.zeros(0))  # fmt: skip
    fixed, most = {"family": family, **(recipe or {})}, min(draws, draws_of(fit))
    path = across[:, None] + found.path(ln_flops)
    law = predict(fit, _splits(ln_flops, path, fixed), only=LAW, most=most).reshape(-1, *path.shape)
    best_params, _ = minimise(path.T, np.exp(law).mean(axis=0).T)
    splits = _splits(ln_flops, best_params, fixed)
    error = predict(fit, splits, only=LOG_LOSS, most=most) - predict(fit, splits, only=LAW, most=most)
    short = (np.rint(x / _step(x)) * _step(x) for x in (error, noise(fit, splits, most=most)))
    return Tabulated(flops, anchor["params"], anchor["tokens"], ln_flops, across, Products.of(law), *short)


def _leading(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the leading singular vectors, from a random sketch: Halko, Martinsson & Tropp 2011, arXiv:0909.4061."""
    if not matrix.size:
        return np.zeros((len(matrix), 0)), np.zeros(0), np.zeros((0, matrix.shape[1]))
    sketch = np.random.default_rng(0).standard_normal((matrix.shape[1], 2 * _TERMS))
    rows = np.linalg.qr(matrix @ (matrix.T @ np.linalg.qr(matrix @ sketch)[0]))[0]
    left, sizes, right = np.linalg.svd(rows.T @ matrix, full_matrices=False)
    return rows @ left, sizes, right


def _step(values: np.ndarray) -> float:
    """Return the step between values that are kept as short integers."""
    return float(np.abs(values).max()) / _SHORT or 1.0


def _text(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")


def _splits(ln_flops: np.ndarray, ln_params: np.ndarray, fixed: Mapping[str, Any]) -> pd.DataFrame:
    """Return queries, one per row, from log params of shape (size, budget) or (budget,)."""
    spent, params = np.broadcast_to(np.exp(ln_flops), ln_params.shape).ravel(), np.exp(ln_params).ravel()
    tokens = spent / (FLOPS_PER_PARAM_TOKEN * params)
    return pd.DataFrame({"params": params, "tokens": tokens, "unique_tokens": tokens, "flops": spent}).assign(**fixed)
