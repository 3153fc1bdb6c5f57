"""Conformance of every law in the catalogue: a new law is tested by being there."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions import biject_to
from scipy.stats import norm

import bayescale as bs
from bayescale.core import shipped
from bayescale.core.errors import DefinitionError
from bayescale.evaluation import comparison_tables
from bayescale.inference import fit as fitting
from bayescale.modelling.design import design
from bayescale.parts.base import AbstractLaw, Kind, Parameter
from bayescale.parts.catalogue import catalogue, part
from bayescale.parts.priors import JohnsonSU, LogitNormal, LogNormal, Normal
from bayescale.parts.shares import DOMAINS

LAWS = {name: part("laws", name) for name in catalogue("bayescale.parts.laws")}
PARTS = {
    f"{kind}/{name}": part(kind, name)
    for kind in ("laws", "resources", "penalties", "responses", "noise")
    for name in catalogue(f"bayescale.parts.{kind}")
}
BALANCED = sorted(name for name, law in LAWS.items() if law.balance is not None)
ENTRIES = ("laws", "resources", "penalties")
DRAWS = 200
REACH = 5.0  # e-folds on either side of the anchor: over four decades of each input
REACH_OF = {"year": 0.003}  # six years
ANCHOR_LOSS = float(np.log(2.7))

# Over the priors and the reach, the logarithms that a loss is summed from stay below 8 where they weigh on it
# (an exponent of .95 times 5 e-folds, odds of e^3), and a formula rounds them fewer than 16 times by eps / 2.
ROUNDING = 16 * 8 / 2
SAME = ROUNDING * np.finfo(np.float64).eps
# Published coefficients have logarithms up to 70 (kaplan's N_c), a balance up to 22: below 128 = 16 · 8.
PUBLISHED = 16 * SAME

MAY_RISE = {
    ("drift", "params"),
    ("kaplan-batch", "batch_tokens"),
    *(("labels", name) for name in ("params", "labelled_examples")),
    *(("routed-power", name) for name in ("params", "experts")),
    *(("routed-joint", name) for name in ("tokens", "experts")),
    *((f"mixture-{form}", f"share_{name}") for form in ("exponential", "joint") for name in DOMAINS),
}
"""A law falls in every input, except these: the tokens term of drift may grow with params, a larger batch takes fewer
steps at equal tokens, labelled examples may harm a large model, a domain may harm a text, and slopes of routed laws
change with the other inputs."""

AT = {"experts": 6.0, "granularity": 4.0, "vocab_params": 6e7, "year": 2025.0}
"""The anchor's value of inputs that are not params, tokens or compute."""


def anchor_of(law: AbstractLaw) -> list[jax.Array]:
    """Natural logs of each input at an anchor; of shares, equal ones."""
    usual = iter((2e9, 5e10, 6e20, 1.0))
    return [jnp.log(law.columns[name].default if shared(law, name) else AT.get(name, next(usual)))
            for name in law.inputs]  # fmt: skip


def shared(law: AbstractLaw, name: str) -> bool:
    """Whether an input is the share of a domain."""
    return name in law.columns and bool(law.columns[name].share_of)


def effective_experts(p: dict, experts: jax.Array) -> jax.Array:
    return 1 / (1 / (experts - 1 + 1 / (1 / p["E_start"] - 1 / p["E_max"])) + 1 / p["E_max"])


def routed_power(p: dict, t: dict, n: jax.Array, experts: jax.Array) -> jax.Array:
    x, e = jnp.log10(n), jnp.log10(effective_experts(p, experts))
    return 10 ** (p["a"] * x + p["b"] * e + p["c"] * x * e + p["d"])


def routed_joint(p: dict, t: dict, n: jax.Array, d: jax.Array, experts: jax.Array) -> jax.Array:
    e = jnp.log(effective_experts(p, experts))
    by_params = p["A"] * jnp.exp(p["delta"] * e) * n ** (p["alpha_1"] + p["gamma"] * e)
    return p["E"] + by_params + p["B"] * jnp.exp(p["omega"] * e) * d ** (p["beta"] + p["zeta"] * e)


def batched(p: dict, t: dict, params: jax.Array, tokens: jax.Array, batch: jax.Array) -> jax.Array:
    """Kaplan's loss for runs of any batch, by bisection of the equation that has it on both sides."""
    low, high = jnp.full(DRAWS, 1e-6), jnp.full(DRAWS, 1e12)
    for _ in range(80):
        loss = jnp.sqrt(low * high)
        steps = tokens / batch / (1 + p["B_star"] * loss ** (-1 / t["alpha_B"]) / batch)
        over = (p["N_c"] / params) ** t["alpha_N"] + (p["S_c"] / steps) ** t["alpha_S"] > loss
        low, high = jnp.where(over, loss, low), jnp.where(over, high, loss)
    return loss


def overtrained(p: dict, eta: jax.Array, flops: jax.Array, ratio: jax.Array) -> jax.Array:
    return p["E"] + (p["a"] * ratio**eta + p["b"] * ratio**-eta) * flops**-eta


def _mixed(p: dict, names: tuple[str, ...], shares: tuple) -> jax.Array:
    """The term of a mixture, as Shukor et al. write it."""
    return 1 / sum(p[f"C_{name}"] * h ** p[f"gamma_{name}"] for name, h in zip(names, shares, strict=True))


def _joint_term(p: dict, t: dict, size: str, shares: tuple) -> jax.Array:
    """The coefficient of a size, as Shukor et al. write it in their joint law."""
    return sum(p[f"C_{size}_{name}"] * h for name, h in zip(DOMAINS, shares, strict=True)) ** t[f"gamma_{size}"]


TEXTBOOK = {
    "additive": lambda p, t, n, d: p["E"] + p["A"] / n ** t["alpha_N"] + p["B"] / d ** t["beta_D"],
    "coupled": lambda p, t, n, d: p["E"] + (p["A"] * n ** -t["alpha_N"] + p["B"] * d ** -t["beta_D"]) ** t["kappa"],
    "floored": lambda p, t, n, d: p["E"] + p["A"] / n ** t["alpha_N"] + p["B"] / d ** t["beta_D"],
    "granular": lambda p, t, n, d, g: (
        p["E"] + (p["a"] + p["g"] / g ** t["fineness"]) / n ** t["alpha_N"] + p["B"] / d ** t["beta_D"]
    ),
    "kaplan": lambda p, t, n, d: ((p["N_c"] / n) ** (t["alpha_N"] / t["beta_D"]) + p["D_c"] / d) ** t["beta_D"],
    "bansal": lambda p, t, x: p["B"] * (1 / x + 1 / p["X_max"]) ** t["exponent"],
    "zhai": lambda p, t, x: p["E"] + p["A"] * (x + p["X_0"]) ** -t["exponent"],
    "broken": lambda p, t, x: p["E"] + p["B"] * x ** -p["c_0"] * (1 + x / p["d"]) ** -p["c_1"],
    "exposure": lambda p, t, x: jnp.exp(ANCHOR_LOSS + anchor_of(LAWS["exposure"])[0]) / x,
    "mixture-additive": lambda p, t, *h: p["E"] + _mixed(p, DOMAINS, h),
    "mixture-scaled": lambda p, t, n, d, *h: (
        p["E"]
        + p["A_params"] * n ** -t["exponent_params"]
        + p["A_tokens"] * d ** -t["exponent_tokens"]
        + _mixed(p, DOMAINS, h)
    ),
    "mixture-joint": lambda p, t, n, d, *h: (
        p["E"]
        + _joint_term(p, t, "params", h) * n ** -t["exponent_params"]
        + _joint_term(p, t, "tokens", h) * d ** -t["exponent_tokens"]
        + _mixed(p, DOMAINS, h)
    ),
    "mixture-exponential": lambda p, t, *h: (
        p["c"] + p["k"] * jnp.exp(sum(p[f"t_{name}"] * x for name, x in zip(DOMAINS, h, strict=True)))
    ),
    "power": lambda p, t, x: (p["X_c"] / x) ** t["exponent"],
    "power-floor": lambda p, t, x: p["E"] + (p["x_0"] / x) ** t["exponent"],
    "routed-power": routed_power,
    "routed-joint": routed_joint,
    "kaplan-batch": lambda p, t, n, d, b: batched(p, t, n, d, b),
    "kaplan-steps": lambda p, t, n, s: (p["N_c"] / n) ** t["alpha_N"] + (p["S_c"] / s) ** t["alpha_S"],
    "tied": lambda p, t, n, d: overtrained(p, t["exponent"] / 2, 6 * n * d, d / n),
    "vocabulary": lambda p, t, n, v, d: (
        p["A_1"] / n ** t["alpha_ND"] + p["A_2"] / v ** t["alpha_V"] + p["B"] / d ** t["alpha_ND"]
    ),
}
"""Each law as its paper writes it: published coefficients, parameters, absolute inputs → loss."""

every_law = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def prior_draws(law: AbstractLaw, seed: int = 0) -> dict[str, jax.Array]:
    keys = jax.random.split(jax.random.key(seed), len(law.parameters))
    rows = zip(law.parameters.items(), keys, strict=True)
    return {name: row.prior.distribution().sample(key, (DRAWS,)) for (name, row), key in rows}


def level_of(p: dict[str, jax.Array]) -> jax.Array:
    """Loss at the anchor: a parameter, or the floor with its terms' odds; that of the anchor without parameters."""
    if not p:
        return jnp.ones(DRAWS)
    return p["level"] if "level" in p else p["floor"] * (1 + p["ratio_A"] + p["ratio_B"])


def points(law: AbstractLaw, seed: int = 1) -> tuple[jax.Array, ...]:
    """Inputs in anchor units, one point a draw: uniform over the reach, or the shares of mixtures over equal shares."""
    keys = jax.random.split(jax.random.key(seed), len(law.inputs))
    spread = {name: REACH_OF.get(name, REACH) * jax.random.uniform(key, (DRAWS,), minval=-1, maxval=1)
              for name, key in zip(law.inputs, keys, strict=True)}  # fmt: skip
    if mixed := [name for name in law.inputs if shared(law, name)]:
        shares = jax.random.dirichlet(keys[0], jnp.full(len(mixed), 0.5), (DRAWS,))
        spread |= {
            name: jnp.log(len(mixed) * (shares[:, i] + law.columns[name].offset)) for i, name in enumerate(mixed)
        }
    return tuple(spread.values())


def slopes(law: AbstractLaw, inputs: tuple, parameters: dict) -> tuple[tuple, dict]:
    """Gradients of log loss by inputs and by parameters, draw by draw."""

    def total(inputs: tuple, parameters: dict) -> jax.Array:
        return jnp.sum(law.log_loss(*inputs, **parameters))

    return jax.grad(total, argnums=(0, 1))(inputs, parameters)


@every_law
def test_loss_and_gradients_are_finite_over_the_prior(law):
    inputs, parameters = points(law), prior_draws(law)
    loss = jnp.exp(law.log_loss(*inputs, **parameters))
    assert loss.shape == (DRAWS,)
    assert bool(jnp.all(jnp.isfinite(loss) & (loss > 0)))
    for gradient in jax.tree.leaves(slopes(law, inputs, parameters)):
        assert bool(jnp.all(jnp.isfinite(gradient)))


@every_law
def test_at_the_anchor_the_loss_is_the_level(law):
    parameters = prior_draws(law)
    anchor = [jnp.zeros(DRAWS)] * len(law.inputs)
    np.testing.assert_allclose(law.log_loss(*anchor, **parameters), jnp.log(level_of(parameters)), rtol=0, atol=SAME)


@every_law
def test_loss_falls_in_every_input(law):
    by_input, _ = slopes(law, points(law), prior_draws(law))
    for name, slope in zip(law.inputs, by_input, strict=True):
        falls = bool(jnp.all(slope < 0))
        assert falls != ((law.name, name) in MAY_RISE), name  # an exception that is not needed fails too


@every_law
def test_every_parameter_moves_the_loss(law):
    _, by_parameter = slopes(law, points(law), prior_draws(law))
    for name, slope in by_parameter.items():
        assert bool(jnp.any(slope != 0)), name


@every_law
def test_float32_agrees_with_float64(law):
    bound = ROUNDING * np.finfo(np.float32).eps
    inputs, parameters = points(law), prior_draws(law)
    narrow = jax.tree.map(lambda x: x.astype(jnp.float32), (inputs, parameters))
    wide = jax.tree.map(lambda x: x.astype(jnp.float64), narrow)  # the same numbers, so that only arithmetic differs
    single = law.log_loss(*narrow[0], **narrow[1])
    assert single.dtype == jnp.float32
    relative = jnp.expm1(single.astype(jnp.float64) - law.log_loss(*wide[0], **wide[1]))
    assert float(jnp.max(jnp.abs(relative))) < bound


@every_law
def test_jit_does_not_trace_again_for_other_values(law):
    traces = []

    @jax.jit
    def loss(inputs: tuple, parameters: dict) -> jax.Array:
        traces.append(1)
        return law.log_loss(*inputs, **parameters)

    first = loss(points(law, 1), prior_draws(law, 2))
    second = loss(points(law, 3), prior_draws(law, 4))
    assert len(traces) == 1
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("name", TEXTBOOK)
def test_published_coefficients_give_the_loss_of_the_textbook_formula(name):
    law = LAWS[name]
    parameters, inputs = prior_draws(law), points(law)
    anchor = anchor_of(law)
    published = law.published(*anchor, loss=ANCHOR_LOSS, **parameters)
    absolute = [jnp.exp(x + x0) for x, x0 in zip(inputs, anchor, strict=True)]
    np.testing.assert_allclose(
        TEXTBOOK[name](published, parameters, *absolute),
        jnp.exp(ANCHOR_LOSS + law.log_loss(*inputs, **parameters)),
        rtol=PUBLISHED,
    )


@every_law
def test_what_a_law_reports_is_declared_with_kind_unit_and_meaning(law: AbstractLaw) -> None:
    """By name: nobody reads from prose, or from the names of its parameters, what a number is."""
    parameters = prior_draws(law)
    found = dict(law.published(*anchor_of(law), loss=jnp.log(2.7), **parameters))
    effective = law.effective(**parameters) if law.effective else {}
    assert (found | effective).keys() == law.quantities.keys()
    for name, one in law.quantities.items():
        assert one.unit
        assert one.meaning
        assert (one.kind is Kind.EFFECTIVE) == (name in effective), name
        assert one.scale in ("linear", "log")
        if one.scale == "log":
            assert (found[name] > 0).all(), name


@pytest.mark.parametrize("name", sorted(name for name, law in LAWS.items() if law.effective))
def test_effective_exponents_are_the_slopes_far_from_balance(name: str) -> None:
    """Where the floor and the other term are nothing, the reducible loss falls by that power of an input."""
    law, far = LAWS[name], 200.0
    medians = {k: jnp.asarray(row.prior.median) for k, row in law.parameters.items()}
    lowest = law.log_loss(*[jnp.asarray(4 * far)] * 2, **medians)  # the floor, or as good as none
    for i, key in enumerate(("effective alpha_N", "effective beta_D")):
        at = [[jnp.asarray(-far + step if j == i else 4 * far) for j in range(2)] for step in (0.0, 1.0)]
        high, low = (jnp.log(jnp.exp(law.log_loss(*inputs, **medians)) - jnp.exp(lowest)) for inputs in at)
        np.testing.assert_allclose(high - low, law.effective(**medians)[key], rtol=1e-9)


def test_the_kind_of_a_parameter_is_declared_and_not_read_from_its_meaning(comparison: bs.Comparison) -> None:
    fit = comparison.fits["coupled"]
    law = LAWS["coupled"]
    exponents = {name for name, row in law.parameters.items() if row.kind is Kind.EXPONENT}
    assert exponents == {"alpha_N", "beta_D", "kappa"}
    renamed = {name: replace(row, meaning="an exponent, in words") for name, row in law.parameters.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(law), "parameters", renamed)
        table = comparison_tables.coefficients({"coupled": fit}, {})
    assert set(table["name"][table["kind"] == Kind.EXPONENT]) == exponents
    of = table.set_index("name")
    assert (of.loc["E", "kind"], of.loc["E", "unit"]) == ("floor", "nats/token")
    assert of.loc["A", "unit"] == "(nats/token)^(1/kappa) · params^alpha_N"


def test_a_law_that_reports_what_it_does_not_declare_is_refused(chinchilla: bs.Runs, monkeypatch) -> None:
    spec, law = bs.load_spec("additive"), LAWS["additive"]
    monkeypatch.setattr(type(law), "quantities", {})
    with pytest.raises(DefinitionError, match="declare each coefficient in quantities"):
        fitting._published(spec, design(spec, chinchilla), prior_draws(law))


def test_published_coefficients_of_drift_are_those_at_the_anchors_params():
    law = LAWS["drift"]
    parameters, (_, tokens) = prior_draws(law), points(law)
    n0, d0, anchor_loss = jnp.log(2e9), jnp.log(5e10), jnp.log(2.7)
    published = law.published(n0, d0, loss=anchor_loss, **parameters)
    loss = jnp.exp(anchor_loss + law.log_loss(jnp.zeros(DRAWS), tokens, **parameters))
    textbook = TEXTBOOK["additive"](published, parameters, jnp.exp(n0), jnp.exp(d0 + tokens))
    np.testing.assert_allclose(loss, textbook, rtol=PUBLISHED)


@pytest.mark.parametrize(("name", "fixed"), [("coupled", {"kappa": 1.0}), ("drift", {"c_x": 0.0, "c_xy": 0.0})])
def test_a_wider_law_nests_the_additive_law(name, fixed):
    additive, law = LAWS["additive"], LAWS[name]
    inputs, parameters = points(additive), prior_draws(additive)
    wider = law.log_loss(*inputs, **parameters, **fixed)
    np.testing.assert_allclose(wider, additive.log_loss(*inputs, **parameters), rtol=0, atol=SAME)


# A floor of 1e-14 of the anchor loss, under losses that fall to no less than e^-5 of it: 1.5e-12 at most.
FLOORLESS, FLOOR = 1e14, 1e-14 * np.exp(5.0)


def test_the_coupled_law_without_a_floor_is_kaplans():
    kaplan = LAWS["kaplan"]
    inputs, p = points(kaplan), prior_draws(kaplan)
    loss = kaplan.log_loss(*inputs, **p)
    assert float(jnp.min(loss - jnp.log(p["level"]))) > -5.0
    coupled = LAWS["coupled"].log_loss(
        *inputs,
        level=p["level"],
        ratio_A=FLOORLESS,
        ratio_B=FLOORLESS * p["ratio_D"],
        alpha_N=p["alpha_N"] / p["beta_D"],
        beta_D=1.0,
        kappa=p["beta_D"],
    )
    np.testing.assert_allclose(coupled, loss, rtol=0, atol=FLOOR + SAME)


def test_the_power_law_with_a_vanishing_floor_is_the_power_law():
    inputs, p = points(LAWS["power"]), prior_draws(LAWS["power"])
    floored = LAWS["power-floor"].log_loss(*inputs, ratio_X=FLOORLESS, **p)
    np.testing.assert_allclose(floored, LAWS["power"].log_loss(*inputs, **p), rtol=0, atol=FLOOR + SAME)


@pytest.mark.parametrize("name", BALANCED)
def test_at_balance_an_efold_of_params_is_worth_one_of_tokens(name):
    law = LAWS[name]
    (_, tokens), parameters = points(law), prior_draws(law)
    params = law.balance(tokens, **parameters)
    (by_params, by_tokens), _ = slopes(law, (params, tokens), parameters)
    np.testing.assert_allclose(by_params, by_tokens, rtol=PUBLISHED)


@pytest.mark.parametrize("name", ["additive", "coupled"])
def test_balance_is_the_published_condition_on_the_two_terms(name):
    law = LAWS[name]
    (_, tokens), parameters = points(law), prior_draws(law)
    n0, d0 = jnp.log(2e9), jnp.log(5e10)
    published = law.published(n0, d0, loss=jnp.log(2.7), **parameters)
    params = n0 + law.balance(tokens, **parameters)
    left = parameters["alpha_N"] * published["A"] * jnp.exp(-parameters["alpha_N"] * params)
    right = parameters["beta_D"] * published["B"] * jnp.exp(-parameters["beta_D"] * (d0 + tokens))
    np.testing.assert_allclose(left, right, rtol=PUBLISHED)


@pytest.mark.parametrize("asked", ["level", "level, surplus"])
def test_a_table_and_a_formula_that_disagree_are_refused(asked):
    row = Parameter(Normal(0.0, 1.0), "1", "a row of the table", 0.1)
    scope: dict = {}
    exec(f"def log_loss(x, *, {asked}): return x", scope)
    body = {
        "formula": "log_loss",
        "parameters": {"level": row, "missing": row},
        "log_loss": staticmethod(scope["log_loss"]),
    }
    with pytest.raises(DefinitionError, match="missing"):
        type("Broken", (AbstractLaw,), body)


@pytest.mark.parametrize("one", PARTS.values(), ids=PARTS.keys())
def test_every_part_says_its_source_and_every_parameter_what_a_prior_needs(one):
    assert one.source
    for name, row in one.parameters.items():
        assert row.unit, name
        assert row.meaning, name
        assert row.spread > 0, name
        low, high = row.prior.interval()
        assert low < row.prior.median < high, name


@pytest.mark.parametrize(
    "prior",
    [
        Normal(1.0, 2.0),
        LogNormal(0.3, 1.0),
        LogNormal(10.0, 1.2, 1.0),
        LogitNormal(0.9, 1.0),
        JohnsonSU(0.1, 0.02, 0.7),
    ],
)
def test_a_prior_puts_half_below_its_median_and_90_percent_inside_its_interval(prior):
    n = 10_000
    draws = prior.distribution().sample(jax.random.key(0), (n,))
    low, high = prior.interval()
    inside = float(jnp.mean((draws > low) & (draws < high)))
    below = float(jnp.mean(draws < prior.median))
    assert abs(inside - 0.9) < 4 * np.sqrt(0.9 * 0.1 / n)  # 4 standard errors of a share
    assert abs(below - 0.5) < 4 * np.sqrt(0.5 * 0.5 / n)


def test_a_heavy_tailed_prior_is_a_density_that_samplers_see_as_a_normal():
    prior = JohnsonSU(0.1, 0.02, 1.5)
    x = np.linspace(-60.0, 60.0, 2_000_001)
    assert np.trapezoid(np.exp(prior.distribution().log_prob(x)), x) == pytest.approx(1.0, abs=1e-4)
    coordinate = np.linspace(-0.1, 0.3, 8)
    to = biject_to(prior.distribution().support)
    seen = prior.distribution().log_prob(to(coordinate)) + to.log_abs_det_jacobian(coordinate, to(coordinate))
    np.testing.assert_allclose(seen, norm.logpdf(coordinate, 0.1, 0.02), rtol=1e-9)
    np.testing.assert_allclose(to.inv(to(coordinate)), coordinate, rtol=1e-9)


@every_law
def test_prior_anchor_loss_is_between_1_5_and_8_nats(law):
    level = 3.0 * level_of(prior_draws(law))
    # A level's prior puts .989 there, a floor's with its terms .96; 200 draws have standard errors of .007 and .014.
    least = 0.989 - 4 * 0.007 if "level" in law.parameters else 0.96 - 4 * 0.014
    assert float(jnp.mean((level > 1.5) & (level < 8.0))) > least


@pytest.mark.parametrize("name", ["additive", "coupled"])
def test_prior_optimum_at_1e21_flop_is_a_model_that_could_exist(name):
    law, p = LAWS[name], prior_draws(LAWS[name])
    n0, d0 = np.log(1e9), np.log(2e10)
    budget = np.log(1e21 / 6) - n0 - d0  # ln params + ln tokens that it buys, in anchor units
    at_zero, slope = law.balance(0.0, **p), law.balance(1.0, **p) - law.balance(0.0, **p)
    params = (at_zero + slope * budget) / (1 + slope)  # balance is linear in ln tokens
    np.testing.assert_allclose(params, law.balance(budget - params, **p), rtol=1e-9)
    optimum = jnp.exp(n0 + params)
    assert float(jnp.mean((optimum > 1e6) & (optimum < 1e14))) >= 0.9


# Figures of published tables: a user who fits nothing must never be handed them. Of E, A and B none is sampled, so that
# the exponents and the decays are what a default could equal.
PUBLISHED_CONSTANTS = {
    0.34, 0.28, 0.3392, 0.2849, 0.46, 0.54,  # Hoffmann et al. 2022, rounded and not, and its shares of compute
    0.3478, 0.3658,  # Besiroglu et al. 2024
    0.336, 0.283,  # Sardana et al. 2024
    0.3526596, 15.387756, 5.309743,  # Muennighoff et al. 2023
    0.076, 0.095, 0.103, 0.21,  # Kaplan et al. 2020
    0.18, 0.38,  # Hernandez et al. 2021
    0.47,  # Zhang et al. 2024, of the critical batch
}  # fmt: skip
CENTRED = {("critical-batch", "beta_B"), ("kaplan-batch", "alpha_B"), ("transfer", "transfer_params")}
"""Exponents of which nearly one value is published: for want of others the prior is around it, a fifth wide or more."""


def test_no_default_is_a_published_constant():
    priors = {
        (spec, name): setting.prior for spec in shipped.names("models") for name, setting in bs.load_spec(spec).settings
    }
    published = np.array(sorted(PUBLISHED_CONSTANTS))
    found = {key for key, prior in priors.items() if np.isclose(prior.median, published, rtol=1e-6, atol=0.0).any()}
    assert found == CENTRED
    assert min(priors[key].scale for key in CENTRED) >= 0.2


@pytest.mark.parametrize("one", [of for key, of in PARTS.items() if key.partition("/")[0] in ENTRIES],
                         ids=[key for key in PARTS if key.partition("/")[0] in ENTRIES])  # fmt: skip
def test_every_law_resource_and_penalty_says_when_to_use_it_and_names_runs_that_ship(one):
    assert one.use
    assert one.avoid
    assert set(one.runs) <= set(shipped.names("data"))
