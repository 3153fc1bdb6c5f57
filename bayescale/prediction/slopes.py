"""Slopes: the loss of each draw at mixtures of its own, and how it changes with each share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array
from numpyro import handlers

from bayescale.core.precision import float64
from bayescale.inference.aot import call, use_cache
from bayescale.inference.average import AbstractFit
from bayescale.modelling.interpreter import interpret
from bayescale.modelling.model import Model
from bayescale.modelling.sites import LAW
from bayescale.prediction.predict import design_at, lent_draws, merged, substitutes
from bayescale.prediction.queries import NEW

_CHUNK = 100  # draws evaluated at a time


class Slopes:
    """Loss under the law at queries whose values in some columns differ between draws.

    Parameters
    ----------
    fit : Fit or Average
    table : DataFrame
        Validated queries, one per row.
    columns : sequence of str
        Columns whose values are given with each call, such as the shares of a mixture.
    most : int
        Largest number of draws to use; draws are thinned evenly within chains.
    """

    def __init__(self, fit: AbstractFit, table: pd.DataFrame, columns: Sequence[str], most: int) -> None:
        new = NEW not in fit.families and bool((table["family"] == NEW).any())
        thin, lent = lent_draws(fit, most)
        _, family_key = jax.random.split(jax.random.key(0))  # the new family of a forecast
        self.offsets = np.array([fit.declared[name].offset for name in columns])
        self.columns, self.draws = tuple(columns), len(lent[0][1])
        with use_cache(), float64():
            self._members: list[Any] = [
                (member.spec.structure, mine, design_at(member, table, {}, new),
                 {name: value[mine] for name, value in substitutes(member, family_key, new, thin).items()})
                for member, mine in lent
            ]  # fmt: skip

    def __call__(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return losses and slopes.

        Parameters
        ----------
        values : ndarray, shape (draw, column)
            The same for all queries.

        Returns
        -------
        loss : ndarray, shape (draw, query)
            Nats/token.
        slope : ndarray, shape (draw, query, column)
            Derivatives of the loss by the columns.
        """
        logs, found = np.log(values + self.offsets), []
        with use_cache(), float64():
            for spec, mine, points, draws in self._members:
                found.append((mine, call(_slopes, logs[mine], draws, points, spec=spec, columns=self.columns)))
        loss, slope = (merged([(mine, piece[i]) for mine, piece in found]) for i in range(2))
        return loss, slope / (values + self.offsets)[:, None, :]


@partial(jax.jit, static_argnames=("spec", "columns"))
def _slopes(
    logs: Array, draws: dict[str, Array], points: Any, *, spec: Model, columns: tuple[str, ...]
) -> tuple[Array, Array]:
    rows = points.family.shape[0]

    def losses(at: Array, own: dict[str, Array]) -> Array:
        moved = {name: at[:, i] for i, name in enumerate(columns)}
        there = jax.tree.map(lambda x: x, points)
        there.spent.update(moved)
        model = handlers.substitute(handlers.seed(partial(interpret, spec), 0), data=own)
        return jnp.exp(handlers.trace(model).get_trace(there)[LAW]["value"])

    def one(drawn: tuple[Array, dict[str, Array]]) -> tuple[Array, Array]:
        at = jnp.broadcast_to(drawn[0], (rows, len(columns)))  # a row is its own query: one pass gives all slopes
        loss, back = jax.vjp(lambda at: losses(at, drawn[1]), at)
        return loss, back(jnp.ones_like(loss))[0]

    return jax.lax.map(one, (logs, draws), batch_size=_CHUNK)
