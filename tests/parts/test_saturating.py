"""Laws of one input that saturate or break: what each becomes at the ends of its parameters."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescale.parts.catalogue import catalogue, part

LAWS = {name: part("laws", name) for name in catalogue("bayescale.parts.laws")}
DRAWS = 200
EPS = np.finfo(np.float64).eps


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def drawn(law: str, seed: int = 0) -> dict[str, jax.Array]:
    rows = LAWS[law].parameters.items()
    keys = jax.random.split(jax.random.key(seed), len(rows))
    return {name: row.prior.distribution().sample(key, (DRAWS,)) for (name, row), key in zip(rows, keys, strict=True)}


def inputs(seed: int = 1) -> jax.Array:
    return jax.random.uniform(jax.random.key(seed), (DRAWS,), minval=-5.0, maxval=5.0)


def test_alabdulmohsin_2022_the_plateau_law_solves_its_equation() -> None:
    """(L - E) / (L_0 - L)^shape = B X^-c, in logs. Close to an end, its distance is a difference of close numbers."""
    law, p, x = LAWS["plateau"], drawn("plateau"), inputs()
    x0, loss = jnp.log(2e9), jnp.log(0.4)
    found = law.published(x0, loss=loss, **p)
    L = jnp.exp(loss + law.log_loss(x, **p))
    left = jnp.log(L - found["E"]) - p["shape"] * jnp.log(found["L_0"] - L)
    right = jnp.log(found["B"]) - p["exponent"] * (x + x0)
    lost = EPS * (L / (L - found["E"]) + p["shape"] * L / (found["L_0"] - L))
    assert bool(jnp.all(jnp.abs(left - right) < 64 * (lost + EPS * (1 + jnp.abs(right)))))


def test_the_plateau_law_lies_between_the_floor_and_chance_and_reaches_both() -> None:
    law, p = LAWS["plateau"], drawn("plateau")
    found = law.published(0.0, loss=0.0, **p)
    low, high = (jnp.exp(law.log_loss(jnp.full(DRAWS, x), **p)) for x in (1e3, -1e3))
    np.testing.assert_allclose(low, found["E"], rtol=1e-9)
    np.testing.assert_allclose(high, found["L_0"], rtol=1e-9)


@pytest.mark.parametrize("name", ["ratio_X", "plateau", "shape", "exponent"])
def test_derivatives_of_the_solution_are_those_of_small_differences(name: str) -> None:
    law, p, x, step = LAWS["plateau"], drawn("plateau"), inputs(), 1e-5

    def loss(value: jax.Array) -> jax.Array:
        return law.log_loss(x, **(p | {name: value}))

    _, by_rule = jax.jvp(loss, (p[name],), (p[name],))
    differences = (loss(p[name] * (1 + step)) - loss(p[name] * (1 - step))) / (2 * step)
    # A central difference errs by its rounding and by the third derivative: both are below 1e-8 of the largest values.
    np.testing.assert_allclose(by_rule, differences, rtol=1e-5, atol=1e-7)
    twice = jax.grad(lambda value: jnp.sum(jax.jvp(loss, (value,), (p[name],))[1]))(p[name])
    assert bool(jnp.all(jnp.isfinite(twice)))


def test_far_below_chance_the_plateau_law_is_a_power_law_above_its_floor() -> None:
    law, p = LAWS["plateau"], drawn("plateau")
    floor = law.published(0.0, loss=0.0, **p)["E"]
    excess = [jnp.log(jnp.exp(law.log_loss(20 / p["exponent"] + step, **p)) - floor) for step in (0.0, 1.0)]
    np.testing.assert_allclose(excess[0] - excess[1], p["exponent"], rtol=1e-4)


@pytest.mark.parametrize(("law", "fixed"), [("zhai", {"offset": 1e-12}), ("broken", {"before": 1.0, "break_at": 1.0})])
def test_zhai_2021_and_caballero_2022_without_an_offset_or_a_change_are_a_power_law_above_a_floor(
    law: str, fixed: dict[str, float]
) -> None:
    p, x = drawn("power-floor"), inputs()
    np.testing.assert_allclose(
        LAWS[law].log_loss(x, **p, **fixed), LAWS["power-floor"].log_loss(x, **p), rtol=0, atol=1e-9
    )


def test_bansal_2022_without_a_limit_is_a_power_law_and_beyond_the_limit_it_is_flat() -> None:
    p, x, law = drawn("power"), inputs(), LAWS["bansal"]
    np.testing.assert_allclose(law.log_loss(x, limit=1e14, **p), LAWS["power"].log_loss(x, **p), rtol=0, atol=1e-10)
    q = drawn("bansal")
    floor = law.published(0.0, loss=0.0, **q)["E"]
    np.testing.assert_allclose(jnp.exp(law.log_loss(jnp.full(DRAWS, 200.0), **q)), floor, rtol=1e-9)


def test_caballero_2022_a_break_changes_the_exponent_by_as_much_as_it_says() -> None:
    law, p = LAWS["broken"], drawn("broken") | {"ratio_X": 1e200}
    found = law.published(0.0, loss=0.0, **p)
    for side, exponent in ((-1, found["c_0"]), (1, found["c_0"] + found["c_1"])):
        first, second = (law.log_loss(p["break_at"] + side * 60 * law.width + step, **p) for step in (0.0, 0.1))
        np.testing.assert_allclose((first - second) / 0.1, exponent, rtol=1e-6, atol=1e-6)
