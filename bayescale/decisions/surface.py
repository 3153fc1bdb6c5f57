"""Surface: the loss of every draw over a grid of params and tokens, interpolated, inverted and minimised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import numpy as np
import pandas as pd

from bayescale.core.errors import QueryError, nearest
from bayescale.core.quantities import LEAST, MOST, quantity
from bayescale.inference.average import AbstractFit
from bayescale.modelling.sites import LAW, LOG_LOSS, location_of
from bayescale.prediction.predict import predict
from bayescale.prediction.queries import bounds_of, queries_of
from bayescale.runs.columns import FLOPS_PER_PARAM_TOKEN

Scope = Literal["law", "run"]
"""What a loss includes: the law alone, or also discrepancies and the noise of the run."""

MOST_DRAWS = 2000
"""Largest number of draws that a decision uses, thinned evenly: it bounds draws × actions."""
LOSS = "loss"
"""Name of the response that is the law's own loss."""
SPLIT = ("params", "tokens", "unique_tokens", "flops")
"""Columns of a query that a split of compute sets."""
_TAIL = 0.001  # of the noise on each side, as in the mean of a forecast: a Student-t on log loss has no mean loss
_SIZES, _DECADES = 81, 2.5  # of a frontier: steps of 0.14 e-folds, between which minima are exact to 1e-8
_STENCIL = 6  # points of a local polynomial, of degree 5: on 64 points over 12 e-folds, errors are below 1e-9
_STEPS = np.arange(_STENCIL)
_COEFFICIENTS = np.linalg.inv(np.vander(_STEPS, increasing=True)).T  # values at the steps → powers of the polynomial


def budget_of(flops: float | str) -> float:
    """Read a budget in FLOP.

    Parameters
    ----------
    flops : float or str

    Returns
    -------
    float

    Raises
    ------
    QueryError
        If it is not a plausible number of FLOP.
    """
    try:
        value = quantity(flops)
    except (TypeError, ValueError):
        value = np.nan
    if not LEAST <= value <= MOST:
        raise QueryError(
            "the budget is not a plausible number of FLOP",
            expected=f"{LEAST:g} to {MOST:g} FLOP, such as 5.76e23",
            got=repr(flops),
        )
    return value


def draws_of(fit: AbstractFit) -> int:
    """Return the number of draws that a decision on a fit uses.

    Parameters
    ----------
    fit : Fit or Average

    Returns
    -------
    int
    """
    chains, length = fit.shape
    return chains * -(-length // max(1, -(-chains * length // MOST_DRAWS)))


def losses(
    fit: AbstractFit, actions: pd.DataFrame, scope: Scope = "law", *, run: int = 0, most: int = MOST_DRAWS
) -> np.ndarray:
    """Return the loss of each action under each draw.

    Parameters
    ----------
    fit : Fit or Average
    actions : DataFrame
        Queries, one per row.
    scope : {"law", "run"}
        ``"law"`` is the law alone. ``"run"`` adds discrepancies and noise. A draw has one draw of noise, that of a run
        in the middle of the actions of a family, which all these share: otherwise, the choice would follow the luck of
        an action. The noise of families has one source, and each family's own scale.
    run : int
        Number of the run. Runs with different numbers have different noise, as runs that are all made do.
    most : int
        Largest number of draws.

    Returns
    -------
    ndarray, shape (draw, action)
        Nats/token.
    """
    return np.exp(_log_losses(fit, actions, scope, run, most))


def _log_losses(
    fit: AbstractFit, actions: pd.DataFrame, scope: Scope, run: int = 0, most: int = MOST_DRAWS
) -> np.ndarray:
    if scope == "law":
        return predict(fit, actions, only=LAW, most=most)
    found = np.array(predict(fit, actions, only=LOG_LOSS, most=most))
    for rows in actions.groupby("family", sort=False).indices.values():
        found[:, rows] += noise(fit, actions.iloc[rows], run=run, most=most)[:, None]
    return found


def noise(
    fit: AbstractFit, actions: pd.DataFrame, response: str = LOSS, *, run: int = 0, most: int = MOST_DRAWS
) -> np.ndarray:
    """Return one draw of the noise of a response per draw; zero if the fit does not observe it.

    Parameters
    ----------
    fit : Fit or Average
    actions : DataFrame
        Queries, of which the middle one is the run whose noise is drawn.
    response : str
        By default the loss, whose noise is on the log.
    run : int
        As in :func:`losses`.
    most : int
        Largest number of draws.

    Returns
    -------
    ndarray, shape (draw,)
        On the scale that the response is scored on; 0.1% of each tail is set to its quantile.
    """
    middle = actions.iloc[[len(actions) // 2]]
    asked = fit.response(response).site if response in fit.responses else LOG_LOSS
    sites = predict(fit, fit.with_unread(middle, asked), most=most, seed=run)
    if response not in fit.responses:
        return np.zeros(len(sites[LOG_LOSS]))
    of = fit.response(response)
    location = LOG_LOSS if response == LOSS else location_of(response)
    drawn = of.scored(sites[of.site], middle)[:, 0] - sites[location][:, 0]
    return np.clip(drawn, *np.quantile(drawn, [_TAIL, 1 - _TAIL]))


def check_law(fit: AbstractFit) -> None:
    """Raise unless a fit has a law of params and tokens.

    Parameters
    ----------
    fit : Fit or Average

    Raises
    ------
    QueryError
    """
    lawless = [name for name, one in fit.members.items() if not one.spec.law]
    if lawless or not {"params", "tokens"} <= set(fit.columns):
        got = f"{lawless[0]!r} has no law" if lawless else f"{fit.name!r} reads {', '.join(fit.columns)}"
        raise QueryError("the decision needs a law of params and tokens", got=got, hint="fit additive or coupled")


def others_of(
    fit: AbstractFit,
    family: str | None = None,
    recipe: Mapping[str, Any] | None = None,
    response: str | None = None,
) -> dict[str, Any]:
    """Return the columns of a query other than its params, tokens and compute, with their usual values.

    Parameters
    ----------
    fit : Fit or Average
    family : str, optional
        As in :func:`bayescale.prediction.queries.resolve_family`.
    recipe : mapping, optional
        Values that are not the usual ones: of covariates, and of columns that parts or responses read.
    response : str, optional
        Response that is asked for; by default only the loss is.

    Returns
    -------
    dict
        The family, covariates, and what the response needs, such as the items of a benchmark.

    Raises
    ------
    QueryError
        If the fit has no law of params and tokens, the family or a covariate is unknown, or the response needs a
        column that differs between the fitted runs and is not given.
    """
    check_law(fit)
    anchor, asked = fit.meta["anchor"], [response] if response in fit.responses else []
    given = pd.DataFrame([{"params": anchor["params"], "tokens": anchor["tokens"], **(recipe or {})}])
    known = with_needed(fit, given, asked)
    at = fit.with_unread(given, fit.response(response).site if asked else LAW)
    found = queries_of(fit, None, family, at.iloc[0].to_dict())
    return found.drop(columns=[*SPLIT, *set(at) - set(known)], errors="ignore").iloc[0].to_dict()


def with_needed(fit: AbstractFit, table: pd.DataFrame, responses: Iterable[str]) -> pd.DataFrame:
    """Add defaults to queries, and check that they have what responses need, such as the items of a benchmark.

    Parameters
    ----------
    fit : Fit or Average
    table : DataFrame
        Queries, one per row.
    responses : iterable of str
        Names of the responses that are asked for.

    Returns
    -------
    DataFrame

    Raises
    ------
    QueryError
        If a response needs a column that differs between the fitted runs and is not given.
    """
    known = fit.with_defaults(table)
    for response in responses:
        if lacking := sorted(fit.needed([response]) - set(known)):
            name = lacking[0]
            raise QueryError(f"{response!r} needs {name!r}, which differs between the fitted runs",
                             expected=f"a value of {name} in the recipe",
                             hint=f"recipe={{{name!r}: …}}, on the command line --recipe {name} …")  # fmt: skip
    return known


def recipe_of(fit: AbstractFit, said: Mapping[str, float]) -> dict[str, float]:
    """Return the columns of a query that say how a run is made and scored: covariates, and given columns.

    Columns of the model's parts can be given, and those that its responses need, such as the items of a benchmark.

    Parameters
    ----------
    fit : Fit or Average
    said : mapping of str to float
        Values that are not the usual ones.

    Returns
    -------
    dict of str to float
        Every covariate, and the columns that are given.

    Raises
    ------
    QueryError
        If the model reads no such column, or a value is out of range.
    """
    known = [*fit.covariates, *fit.declared, *sorted(fit.needed(fit.responses))]
    for column, value in said.items():
        if column not in known:
            expected = f"one of: {', '.join(known)}" if known else "no covariate, as the model reads none"
            raise QueryError(f"{fit.name!r} has no covariate {column!r}", expected=expected,
                             hint=nearest(column, known))  # fmt: skip
        low, high = bounds_of(fit, column)
        if not (isinstance(value, Real) and low <= value <= high):
            any_ = "a finite number" if column in fit.covariates else f"a number from {low:g} to {high:g}"
            raise QueryError(f"{column!r} of a recipe has no valid value", got=repr(value), expected=any_)
    return dict.fromkeys(fit.covariates, 0.0) | {column: float(value) for column, value in said.items()}


def sizes_around(fit: AbstractFit, flops: np.ndarray, count: int, decades: float) -> np.ndarray:
    """Return log params around the anchor's path of equal growth of params and tokens, with even steps.

    Parameters
    ----------
    fit : Fit or Average
    flops : ndarray, shape (budget,)
        Compute of a run.
    count : int
        Number of sizes.
    decades : float
        How far the sizes reach on either side of the path.

    Returns
    -------
    ndarray, shape (budget, size)
    """
    anchor = fit.meta["anchor"]
    growth = np.log(flops / (FLOPS_PER_PARAM_TOKEN * anchor["params"] * anchor["tokens"]))
    middle = np.log(anchor["params"]) + 0.5 * growth
    return middle[:, None] + np.linspace(-1, 1, count) * decades * np.log(10)


def frontier(
    fit: AbstractFit, flops: np.ndarray, fixed: Mapping[str, Any], scope: Scope = "law", *, run: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the loss of the best split at each budget: the one of lowest expected loss under the law.

    Parameters
    ----------
    fit : Fit or Average
    flops : ndarray, shape (budget,)
    fixed : mapping
        Other columns of the queries, such as the family.
    scope : {"law", "run"}
    run : int
        As in :func:`losses`.

    Returns
    -------
    params : ndarray, shape (budget,)
        The same for all draws.
    loss : ndarray, shape (draw, budget)
        Nats/token.
    """
    grid = sizes_around(fit, flops, _SIZES, _DECADES)
    mean = losses(fit, _splits(flops, np.exp(grid), fixed)).mean(axis=0).reshape(grid.shape)
    params = np.exp(minimise(grid, mean)[0])
    return params, losses(fit, _splits(flops, params[:, None], fixed), scope, run=run)


def _splits(flops: np.ndarray, params: np.ndarray, fixed: Mapping[str, Any]) -> pd.DataFrame:
    """Return queries at budgets, one per row, from params of shape (budget, size)."""
    spent = np.broadcast_to(flops[:, None], params.shape).ravel()
    tokens = spent / (FLOPS_PER_PARAM_TOKEN * params.ravel())
    queries = pd.DataFrame({"params": params.ravel(), "tokens": tokens, "flops": spent, "unique_tokens": tokens})
    return queries.assign(**fixed)


@dataclass(frozen=True, eq=False)
class Surface:
    """Log loss of every draw on a grid of log params and log tokens, with even steps.

    Attributes
    ----------
    ln_params : ndarray, shape (size,)
    ln_tokens : ndarray, shape (length,)
    log_loss : ndarray, shape (draw, size, length)
    """

    ln_params: np.ndarray
    ln_tokens: np.ndarray
    log_loss: np.ndarray

    def at(self, ln_tokens: np.ndarray) -> np.ndarray:
        """Return the log loss of each size at tokens of its own.

        Parameters
        ----------
        ln_tokens : ndarray, broadcast to shape (draw, size)

        Returns
        -------
        ndarray, shape (draw, size)
        """
        return interpolate(self.ln_tokens, self.log_loss, np.broadcast_to(ln_tokens, self.log_loss.shape[:2]))

    def tokens_for(self, log_loss: np.ndarray) -> np.ndarray:
        """Return the log tokens with which each size reaches a loss.

        Parameters
        ----------
        log_loss : ndarray, broadcast to shape (draw, size)

        Returns
        -------
        ndarray, shape (draw, size)
            Infinite if more tokens than the grid has would be needed; the first of the grid if it has already passed.
        """
        wanted = np.broadcast_to(log_loss, self.log_loss.shape[:2])[..., None]
        x, y = self.ln_tokens, self.log_loss
        i = (np.minimum.accumulate(y, axis=-1) > wanted).sum(axis=-1)  # the first point at which the loss is reached
        first = np.clip(i - _STENCIL // 2, 0, len(x) - _STENCIL)  # of the polynomial that `interpolate` has there
        powers = (np.take_along_axis(y, first[..., None] + _STEPS, axis=-1) - wanted) @ _COEFFICIENTS
        left = (i - 1 - first).astype(float)
        right = left + 1
        for _ in range(40):  # bisections of one step of the grid, to 1e-12 of it
            middle = 0.5 * (left + right)
            over = np.polynomial.polynomial.polyval(middle, np.moveaxis(powers, -1, 0), tensor=False) > 0
            left, right = np.where(over, middle, left), np.where(over, right, middle)
        reached = x[0] + (x[1] - x[0]) * (first + left)
        return np.where(i == 0, x[0], np.where(i == len(x), np.inf, reached))


def surface(
    fit: AbstractFit, ln_params: np.ndarray, ln_tokens: np.ndarray, fixed: Mapping[str, Any], scope: Scope = "law"
) -> Surface:
    """Evaluate the loss of every draw on a grid of params and tokens.

    Parameters
    ----------
    fit : Fit or Average
    ln_params : ndarray, shape (size,)
    ln_tokens : ndarray, shape (length,)
        Both with even steps.
    fixed : mapping
        Other columns of the queries, such as the family; without ``unique_tokens``, no token is repeated.
    scope : {"law", "run"}

    Returns
    -------
    Surface
    """
    params, tokens = (x.ravel() for x in np.meshgrid(np.exp(ln_params), np.exp(ln_tokens), indexing="ij"))
    queries = pd.DataFrame({"params": params, "tokens": tokens, "unique_tokens": tokens}).assign(**fixed)
    log_loss = np.array(predict(fit, queries, only=LAW if scope == "law" else LOG_LOSS, most=MOST_DRAWS))
    if scope == "run":  # the noise of the longest run of the middle size: that of short runs may be larger
        log_loss += noise(fit, queries.iloc[[(len(ln_params) // 2 + 1) * len(ln_tokens) - 1]])[:, None]
    return Surface(ln_params, ln_tokens, log_loss.reshape(-1, len(ln_params), len(ln_tokens)))


def interpolate(x: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Interpolate functions, each at a point of its own, by the polynomial through the six nearest points.

    Parameters
    ----------
    x : ndarray, shape (length,)
        With even steps.
    values : ndarray, shape (..., length)
    at : ndarray, shape (...)
        Points inside the grid; the polynomial of the edge is used beyond it.

    Returns
    -------
    ndarray, shape (...)
    """
    step = x[1] - x[0]
    first = np.clip(np.floor((at - x[0]) / step).astype(int) - _STENCIL // 2 + 1, 0, len(x) - _STENCIL)
    u = (at - x[0]) / step - first
    found = np.zeros(np.shape(at))
    for j in range(_STENCIL):  # Lagrange's polynomials
        weight = np.prod([(u - k) / (j - k) for k in range(_STENCIL) if k != j], axis=0)
        found += weight * np.take_along_axis(values, (first + j)[..., None], axis=-1)[..., 0]
    return found


def minimise(x: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where each function on a grid is smallest, and its value there, between the points of the grid.

    The polynomial of degree 4 through the five points around the smallest is minimised by Newton's method.

    Parameters
    ----------
    x : ndarray, shape (..., length)
        With even steps.
    values : ndarray, shape (..., length)

    Returns
    -------
    at : ndarray, shape (...)
    least : ndarray, shape (...)
    """
    smallest = np.argmin(values, axis=-1)
    i = np.clip(smallest, 2, values.shape[-1] - 3)[..., None]
    a, b, c, d, e = (np.take_along_axis(values, i + k, axis=-1)[..., 0] for k in (-2, -1, 0, 1, 2))
    # Coefficients of u, u², u³, u⁴, with u the steps from the smallest point.
    c1, c2 = (a - 8 * b + 8 * d - e) / 12, (-a + 16 * b - 30 * c + 16 * d - e) / 24
    c3, c4 = (-a + 2 * b - 2 * d + e) / 12, (a - 4 * b + 6 * c - 4 * d + e) / 24
    u = (smallest - i[..., 0]).astype(float)
    for _ in range(6):  # quadratic convergence from within one step
        bend = 2 * c2 + u * (6 * c3 + 12 * c4 * u)
        slope = c1 + u * (2 * c2 + u * (3 * c3 + 4 * c4 * u))
        u = np.clip(u - np.where(bend > 0, slope / np.where(bend > 0, bend, 1.0), 0.0), -2.0, 2.0)
    grid = np.broadcast_to(x, values.shape)
    at = np.take_along_axis(grid, i, axis=-1)[..., 0] + u * (grid[..., 1] - grid[..., 0])
    return at, c + u * (c1 + u * (c2 + u * (c3 + c4 * u)))
