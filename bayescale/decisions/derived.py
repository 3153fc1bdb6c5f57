"""Derived: what a law says where params or tokens are not limited, and on the frontier of compute, with a posterior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.core.dims import DRAW, QUANTILES, QUERY
from bayescale.core.errors import QueryError
from bayescale.core.quantities import LEAST, MOST, quantity
from bayescale.core.verdict import Verdict
from bayescale.decisions.surface import MOST_DRAWS, budget_of, losses, minimise, others_of
from bayescale.inference.average import AbstractFit, check_fit
from bayescale.modelling.sites import LAW
from bayescale.prediction.predict import predict
from bayescale.runs.columns import FLOPS_PER_PARAM_TOKEN

Counts = float | str | Sequence[float | str] | np.ndarray

_DECADES = 6.0  # of params on either side of a usual size, in which a best one is sought
_COARSE, _FINE = 0.25, 0.07  # e-folds between sizes: to find the range of the best ones, and to find them to 1e-5
_FEW, _MARGIN = 200, 1.0  # draws that show the range, and e-folds around it
_FAR = (1e150, 1e300)  # params or tokens at which a law has come to its limit, if it has one
_SETTLED = 1e-6  # of the loss, between the two: at the second, a power that falls is then within 1e-12 of its limit
_STEP = 0.25  # in ln(FLOP), over which exponents are measured on either side of a budget
_SHOWN = ("q05", "q50", "q95")
_UNITS = {"loss": "nats/token", "params": "params", "tokens": "tokens", "tokens_per_param": "tokens per param"}


@dataclass(frozen=True, eq=False)
class Derived:
    """A posterior of what the law alone says, without noise and discrepancies.

    Attributes
    ----------
    kind : str
        ``"information limit"``, ``"capacity limit"``, ``"floor"`` or ``"frontier"``.
    queries : DataFrame
        One row per query: the family and what was given, such as ``tokens``.
    draws : xarray.Dataset
        Dims ``draw query``: ``loss`` in nats/token and, on a frontier, ``params``, ``tokens``, ``tokens_per_param`` and
        the local exponents of the best params and of the loss by compute, ``params_exponent`` and ``loss_exponent``.
    verdict : Verdict
        Convergence of the fit. Without convergence, all numbers are provisional.
    """

    kind: str
    queries: pd.DataFrame
    draws: xr.Dataset
    verdict: Verdict

    @property
    def summary(self) -> pd.DataFrame:
        """Queries with the 5%, 50% and 95% quantiles of each quantity, such as ``loss_q50``."""
        table = self.queries.copy()
        for name, values in self.draws.data_vars.items():
            for label in _SHOWN:
                table[f"{name}_{label}"] = values.quantile(QUANTILES[label], DRAW).to_numpy()
        return table

    @property
    def table(self) -> pd.DataFrame:
        """The summary with one quantity per row: ``quantity unit q05 q50 q95`` after the columns of the query."""
        rows = []
        for i, query in enumerate(self.queries.to_dict("records")):
            for name, values in self.draws.data_vars.items():
                shown = np.quantile(values[:, i], [QUANTILES[label] for label in _SHOWN])
                rows.append({**query, "quantity": name, "unit": values.attrs["units"],
                             **dict(zip(_SHOWN, shown, strict=True))})  # fmt: skip
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        fit = f"fit {self.verdict}" if self.verdict.ok else "provisional"
        said = f"{self.kind} at {len(self.queries)} {'query' if len(self.queries) == 1 else 'queries'}, {fit}"
        return "\n".join(filter(None, [self.verdict.caution, said]))


def limit(
    fit: AbstractFit, *, tokens: Counts | None = None, params: Counts | None = None, family: str | None = None,
    **columns: Any,
) -> Derived:  # fmt: skip
    """Return the loss that the law approaches as params, tokens or both grow without bound.

    Given tokens, it is the information limit: what these tokens can teach a model of any size. Given params, it is the
    capacity limit: what a model of this size can learn. Given neither, it is the floor of the law, which is an
    extrapolation far beyond any runs and depends on the form of the law.

    Parameters
    ----------
    fit : Fit or Average
        Its law is of params and tokens.
    tokens, params : float, str or sequence, optional
        One of them, or neither; ``"70B"`` is accepted.
    family : str, optional
        As in :func:`bayescale.forecast`.
    **columns
        Other columns of the queries, such as ``unique_tokens``.

    Returns
    -------
    Derived
        Its draws hold ``loss`` in nats/token.

    Raises
    ------
    QueryError
        If both are given, a number is out of range, or the law has no such limit.

    Examples
    --------
    >>> fit = bs.fit("hoffmann2022", "additive", seed=0)
    >>> found = bs.limit(fit, tokens=["100B", "1T"]).summary
    >>> bool(found["loss_q50"].iloc[0] > found["loss_q50"].iloc[1])
    True
    """
    if tokens is not None and params is not None:
        raise QueryError("a limit has params or tokens without bound", expected="tokens, params, or neither",
                         hint="forecast has both")  # fmt: skip
    given = {name: _counts(name, value) for name, value in (("tokens", tokens), ("params", params))
             if value is not None}  # fmt: skip
    size = max([1, *map(len, given.values())])
    table = pd.DataFrame({"params": np.full(size, np.inf), "tokens": np.full(size, np.inf)}).assign(**given)
    table = table.assign(unique_tokens=table["tokens"]).assign(**_others(fit, family, columns))
    table["flops"] = FLOPS_PER_PARAM_TOKEN * table["params"] * table["tokens"]
    loss = _at_the_end(fit, table, [name for name in ("params", "tokens") if name not in given])
    if not np.isfinite(loss).all():
        grown = " and ".join(name for name in ("params", "tokens") if name not in given)
        raise QueryError(f"the law has no limit as {grown} grow without bound",
                         got=f"{np.isfinite(loss).all(axis=1).mean():.0%} of draws have one",
                         hint="some terms of laws such as drift grow with params")  # fmt: skip
    kind = {"tokens": "information limit", "params": "capacity limit"}.get(next(iter(given), ""), "floor")
    return _derived(kind, table[["family", *given, *columns]], {"loss": loss}, fit)


def _at_the_end(fit: AbstractFit, table: pd.DataFrame, grown: list[str]) -> np.ndarray:
    """Return losses at rows whose `grown` columns are infinite; infinite where a draw has no limit.

    Where two terms of one exponent have opposite signs, as in `routed-joint`, their sum at infinity is not a number.
    Such a draw has a limit if it no longer changes between two very large sizes.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # of positions at infinity, which the law alone does not read
        loss = losses(fit, table)
        if np.isfinite(loss).all():
            return loss
        tables = [table.assign(**dict.fromkeys([*grown, *(["unique_tokens"] * ("tokens" in grown))], far))
                  for far in _FAR]  # fmt: skip
        near, far = (losses(fit, one) for one in tables)
        settled = np.abs(near - far) <= _SETTLED * (1 + far)
    return np.where(np.isfinite(loss), loss, np.where(settled, far, np.inf))


def frontier(fit: AbstractFit, flops: Counts, *, family: str | None = None, **columns: Any) -> Derived:
    """Return the least loss of each budget of compute, and the split that has it, under every draw of the law.

    Each draw has its own best split. A decision (:class:`bayescale.Allocation`) instead chooses one split for all.

    Parameters
    ----------
    fit : Fit or Average
        Its law is of params and tokens.
    flops : float, str or sequence
        Budgets in FLOP; 6·params·tokens are spent.
    family : str, optional
        As in :func:`bayescale.forecast`.
    **columns
        Other columns of the queries.

    Returns
    -------
    Derived
        Its draws hold ``loss``, ``params``, ``tokens``, ``tokens_per_param``, ``params_exponent`` and
        ``loss_exponent``. The exponents are slopes of ln(params) and of -ln(loss) by ln(FLOP), at the budget.

    Raises
    ------
    QueryError
        If a budget is not plausible, or a draw has no best split within six decades of params around a usual one.

    Examples
    --------
    >>> fit = bs.fit("hoffmann2022", "additive", seed=0)
    >>> found = bs.frontier(fit, "5.76e23").summary
    >>> bool(5e10 < found["params_q50"].iloc[0] < 1e11)
    True
    """
    each = flops if isinstance(flops, Sequence | np.ndarray) and not isinstance(flops, str) else [flops]
    budgets = np.array([budget_of(one) for one in each])
    others = _others(fit, family, columns)
    steps = np.array([-_STEP, 0.0, _STEP])
    ln_n, ln_loss = _optima(fit, (np.log(budgets)[:, None] + steps).ravel(), others)
    ln_n, ln_loss = (values.reshape(-1, len(budgets), 3) for values in (ln_n, ln_loss))
    params = np.exp(ln_n[..., 1])
    tokens = budgets / (FLOPS_PER_PARAM_TOKEN * params)
    found = {
        "loss": np.exp(ln_loss[..., 1]), "params": params, "tokens": tokens, "tokens_per_param": tokens / params,
        "params_exponent": (ln_n[..., 2] - ln_n[..., 0]) / (2 * _STEP),
        "loss_exponent": (ln_loss[..., 0] - ln_loss[..., 2]) / (2 * _STEP),
    }  # fmt: skip
    table = pd.DataFrame({"flops": budgets}).assign(**others)
    return _derived("frontier", table[["family", "flops", *columns]], found, fit)


def _optima(fit: AbstractFit, ln_flops: np.ndarray, others: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return ln(params) and ln(loss) of the best split of each budget under each draw; shapes (draw, budget)."""
    anchor = fit.meta["anchor"]
    ratio = np.log(anchor["params"] / anchor["tokens"])
    middle = 0.5 * (ln_flops - np.log(FLOPS_PER_PARAM_TOKEN) + ratio)[:, None]  # of the runs' own tokens per param
    reach = _DECADES * np.log(10)
    sizes = middle + np.linspace(-reach, reach, round(2 * reach / _COARSE))
    at, _ = minimise(sizes, _log_losses(fit, ln_flops, sizes, others, _FEW))
    low, high = (at - middle[:, 0]).min() - _MARGIN, (at - middle[:, 0]).max() + _MARGIN
    for ends in ((max(low, -reach), min(high, reach)), (-reach, reach)):
        sizes = middle + np.linspace(*ends, round((ends[1] - ends[0]) / _FINE))
        values = _log_losses(fit, ln_flops, sizes, others, MOST_DRAWS)
        at_edge = np.isin(values.argmin(axis=-1), (0, sizes.shape[1] - 1)).any(axis=-1)
        if not at_edge.any():
            return minimise(sizes, values)
    raise QueryError("some draws of the law have no best split of these budgets",
                     expected=f"a best split within {_DECADES:g} decades of params around the runs' ratio",
                     got=f"{at_edge.mean():.1%} of draws have none",
                     hint="fit more runs, or a law of which both terms fall")  # fmt: skip


def _log_losses(
    fit: AbstractFit, ln_flops: np.ndarray, ln_params: np.ndarray, others: dict[str, Any], most: int
) -> np.ndarray:
    """Return log losses of sizes at budgets, from ln(params) of shape (budget, size); shape (draw, budget, size)."""
    spent, params = np.broadcast_to(np.exp(ln_flops)[:, None], ln_params.shape).ravel(), np.exp(ln_params).ravel()
    tokens = spent / (FLOPS_PER_PARAM_TOKEN * params)
    table = pd.DataFrame({"params": params, "tokens": tokens, "flops": spent, "unique_tokens": tokens})
    found = predict(fit, table.assign(**others), only=LAW, most=most)
    return found.reshape(-1, *ln_params.shape)


def _others(fit: AbstractFit, family: str | None, columns: dict[str, Any]) -> dict[str, Any]:
    """Return the other columns of queries, with their usual values or those that are given."""
    check_fit(fit)
    unique = {name: float(_counts(name, columns[name])[0]) for name in ("unique_tokens",) if name in columns}
    return others_of(fit, family, columns) | unique


def _counts(name: str, value: Counts) -> np.ndarray:
    """Return counts as numbers, in range."""
    each = value if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str) else [value]
    try:
        found = np.array([quantity(one) for one in each], float)
    except (TypeError, ValueError) as error:
        raise QueryError(f"{name}: {error}") from None
    if not found.size or not ((found >= LEAST) & (found <= MOST)).all():
        raise QueryError(f"{name} are out of range", expected=f"{LEAST:g} to {MOST:g}", got=str(value))
    return found


def _derived(kind: str, queries: pd.DataFrame, found: dict[str, np.ndarray], fit: AbstractFit) -> Derived:
    arrays = {name: xr.DataArray(values, dims=(DRAW, QUERY), attrs={"units": _UNITS.get(name, "1")})
              for name, values in found.items()}  # fmt: skip
    return Derived(kind, queries.reset_index(drop=True), xr.Dataset(arrays), fit.verdict)
