"""Conformance of every penalty in the catalogue: a new penalty is tested by being there."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.core.errors import SpecError
from bayescale.parts.base import AbstractPenalty, Column
from bayescale.parts.catalogue import catalogue, part
from bayescale.parts.penalties.harm import Harm

PENALTIES = {name: part("penalties", name) for name in catalogue("bayescale.parts.penalties")}
DRAWS = 200
TEXTS = {"schedule": "cosine peak=1e-3 floor=1e-4 warmup=50 steps=1000"}
SPANS = {"step": (10.0, 1e5), "params": (1e7, 1e11), "tokens": (1e9, 1e13), "unique_tokens": (1e8, 1e12)}
every_penalty = pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES.keys())


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def rows_of(penalty: AbstractPenalty, seed: int = 1) -> dict[str, jax.Array]:
    """Natural logs of what the penalty reads, over wide ranges and one row a draw."""
    spans = {name: SPANS.get(name) for name in (*penalty.reads, *penalty.requires)}
    spans |= {name: _span(of) for name, of in penalty.columns.items()}
    keys = jax.random.split(jax.random.key(seed), len(spans))
    return {name: jax.random.uniform(key, (DRAWS,), minval=np.log(span[0]), maxval=np.log(span[1]))
            for key, (name, span) in zip(keys, spans.items(), strict=True)}  # fmt: skip


def _span(of: Column) -> tuple[float, float]:
    low, high = of.usual or (of.low, of.high)
    return low + of.offset, high + of.offset


def draws_of(penalty: AbstractPenalty, seed: int = 0) -> dict[str, jax.Array]:
    keys = jax.random.split(jax.random.key(seed), len(penalty.parameters))
    rows = zip(penalty.parameters.items(), keys, strict=True)
    return {name: row.prior.distribution().sample(key, (DRAWS,)) for (name, row), key in rows}


def basis_of(penalty: AbstractPenalty) -> np.ndarray | None:
    """What the penalty knows about rows whose text is of a usual kind, at different steps."""
    steps = np.linspace(1, 1000, DRAWS).astype(int)
    return penalty.basis(pd.DataFrame({"step": steps, **{label: TEXTS[label] for label in penalty.labels}}))


@every_penalty
def test_loss_and_gradients_are_finite_over_the_prior_and_every_parameter_moves_the_loss(penalty):
    rows, parameters = rows_of(penalty), draws_of(penalty)
    basis = basis_of(penalty)
    law = jnp.full(DRAWS, jnp.log(2.7))

    def total(law: jax.Array, rows: dict, parameters: dict) -> jax.Array:
        return jnp.sum(penalty.penalized(law, rows, basis, **parameters))

    loss = penalty.penalized(law, rows, basis, **parameters)
    assert loss.shape == (DRAWS,)
    assert bool(jnp.all(jnp.isfinite(loss)))
    slopes = jax.grad(total, argnums=(0, 1, 2))(law, rows, parameters)
    for gradient in jax.tree.leaves(slopes):
        assert bool(jnp.all(jnp.isfinite(gradient)))
    for name, slope in slopes[2].items():
        assert bool(jnp.any(slope != 0)), name


@every_penalty
def test_it_reads_only_what_it_declares(penalty):
    read: set[str] = set()

    class Spied(dict):
        def __getitem__(self, name: str) -> jax.Array:
            read.add(name)
            return super().__getitem__(name)

    penalty.penalized(jnp.zeros(DRAWS), Spied(rows_of(penalty)), basis_of(penalty), **draws_of(penalty))
    asked = {*penalty.reads, *penalty.requires}
    assert read <= asked
    assert read == asked or penalty.labels  # what a text says may depend on a column, such as the step of a schedule


def test_a_penalty_that_reads_what_the_law_does_not_is_refused():
    with pytest.raises(SpecError, match="reads params and tokens"):
        bs.make_spec("one", law="power", penalties=["harm"])
    with pytest.raises(SpecError, match="names a penalty twice"):
        bs.make_spec("two", law="additive", penalties=["harm", "harm"])


def test_harm_is_zero_for_unique_tokens_and_the_published_formula_for_repeated_ones():
    parameters = {"harm": 0.05, "harm_epochs": 0.37, "harm_params": 0.74}
    spent = {name: jnp.log(jnp.array(value)) for name, value in
             {"params": [1e9, 1e9], "tokens": [2e10, 2e10], "unique_tokens": [2e10, 4e9]}.items()}  # fmt: skip
    unique, repeated = jnp.exp(Harm.penalized(jnp.log(jnp.array([3.0, 3.0])), spent, None, **parameters))
    assert float(unique) == 3.0
    # 4 repeats, and a quarter of a param per unique token; the power is smoothed by 1e-6 repeats at zero.
    assert float(repeated) == pytest.approx(3.0 + 0.05 * (4.0**0.37 - 1e-6**0.37) * 0.25**0.74, rel=1e-6)


def test_harm_makes_the_best_number_of_epochs_finite():
    parameters = {"harm": 0.05, "harm_epochs": 0.9, "harm_params": 0.74}
    epochs = jnp.geomspace(1.0, 1e4, 200)
    spent = {"params": jnp.full(200, jnp.log(1e9)), "unique_tokens": jnp.full(200, jnp.log(4e9))}
    tokens = spent["unique_tokens"] + jnp.log(epochs)
    law = jnp.log(1.9 + 480.0 * jnp.exp(-0.35 * spent["params"]) + 2090.0 * jnp.exp(-0.37 * tokens))
    loss = Harm.penalized(law, spent | {"tokens": tokens}, None, **parameters)
    assert 0 < int(jnp.argmin(loss)) < 199
