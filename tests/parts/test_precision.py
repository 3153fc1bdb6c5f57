"""Few bits: what params are worth, and the tokens beyond which a penalty exceeds what they gain."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from bayescale.parts.penalties.quantization import FloatingPoint, Quantization, critical_tokens
from bayescale.parts.resources.precision import Precision

FORMAT = {"alpha_N": 0.35, "beta_D": 0.37, "format_penalty": 0.05, "format_exponent": 2.5, "format_mantissa": 1.8}
ROUNDED = {
    "rounding": 0.06,
    "rounding_tokens": 0.5,
    "rounding_params": 0.35,
    "rounding_bits": 1.8,
    "rounding_group": 0.6,
}
E, A, B = 1.8, 480.0, 2100.0


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def law(params: float, tokens: float) -> float:
    return E + A * params ** -FORMAT["alpha_N"] + B * tokens ** -FORMAT["beta_D"]


def added(penalty: type, parameters: dict, params: float, tokens: float, **columns: float) -> float:
    """What a penalty adds to the loss of the law, in nats/token."""
    spent = {"params": np.log(params), "tokens": np.log(tokens)} | {
        name: np.log(value + penalty.columns[name].offset) for name, value in columns.items()
    }
    loss = law(params, tokens)
    return float(jnp.exp(penalty.penalized(jnp.log(loss), spent, None, **parameters))) - loss


def test_kumar_2024_bits_are_worth_the_product_of_three_shares() -> None:
    spent = {
        "params": np.log(1e9),
        "weight_bits": np.log(4.0),
        "activation_bits": np.log(8.0),
        "cache_bits": np.log(16.0),
    }
    scales = {"gamma_weights": 2.2, "gamma_activations": 1.6, "gamma_caches": 0.9}
    found = float(jnp.exp(Precision.effective(spent, None, **scales)["params"]))
    wanted = 1e9 * (1 - np.exp(-4 / 2.2)) * (1 - np.exp(-8 / 1.6)) * (1 - np.exp(-16 / 0.9))
    assert found == pytest.approx(wanted, rel=1e-12)


def test_chen_2025_the_penalty_of_rounding_is_the_published_form_and_has_its_signs() -> None:
    usual = {"rounded_bits": 4.0, "group_size": 128.0}
    assert added(Quantization, ROUNDED, 1e9, 1e11, **usual) == pytest.approx(0.06, rel=1e-9)
    more = added(Quantization, ROUNDED, 2e9, 5e11, rounded_bits=3.0, group_size=1024.0)
    assert more == pytest.approx(0.06 * 5**0.5 * 2**-0.35 * np.exp(1 / 1.8) * (10 / 7) ** 0.6, rel=1e-9)
    assert added(Quantization, ROUNDED, 1e9, 1e11, rounded_bits=16.0, group_size=128.0) < 1e-4


def test_sun_2025_the_penalty_of_a_format_is_the_published_form() -> None:
    """Two bits of exponent and one of mantissa, with a scale for each 128 values, are the reference."""
    assert added(FloatingPoint, FORMAT, 1e9, 1e11, exponent_bits=2, mantissa_bits=1, block_size=128) == pytest.approx(
        0.05, rel=1e-9
    )
    found = added(FloatingPoint, FORMAT, 4e9, 3e11, exponent_bits=4, mantissa_bits=0, block_size=32)
    wanted = 0.05 * 3**0.37 * 4**-0.35 * (4.5 / 2.5) ** -2.5 * (0.5 / 1.5) ** -1.8 * 5 / 7
    assert found == pytest.approx(wanted, rel=1e-9)
    assert added(FloatingPoint, FORMAT, 1e9, 1e11, exponent_bits=2, mantissa_bits=1, block_size=1) == 0.0


@pytest.mark.parametrize(("params", "bits"), [(1e9, (2, 1)), (7e9, (2, 1)), (1e9, (4, 3))])
def test_sun_2025_critical_tokens_are_where_the_loss_is_lowest(params: float, bits: tuple[int, int]) -> None:
    """Their closed form against a numerical minimum of the law with its penalty."""
    form = dict(zip(("exponent_bits", "mantissa_bits", "block_size"), (*bits, 128), strict=True))

    def loss(ln_tokens: float) -> float:
        tokens = np.exp(ln_tokens)
        return law(params, tokens) + added(FloatingPoint, FORMAT, params, tokens, **form)

    found = minimize_scalar(loss, bounds=(18.0, 36.0), options={"xatol": 1e-9})
    each = added(FloatingPoint, FORMAT, params, 1e11, **form) / 1e11 ** FORMAT["beta_D"]
    assert np.exp(found.x) == pytest.approx(critical_tokens(B, each, FORMAT["beta_D"]), rel=1e-5)


def test_kumar_2024_critical_tokens_grow_with_params_and_with_bits() -> None:
    def critical(params: float, mantissa_bits: float) -> float:
        each = added(FloatingPoint, FORMAT, params, 1e11, exponent_bits=2, mantissa_bits=mantissa_bits, block_size=128)
        return critical_tokens(B, each / 1e11 ** FORMAT["beta_D"], FORMAT["beta_D"])

    assert critical(2e9, 1) / critical(1e9, 1) == pytest.approx(2 ** (0.35 / (2 * 0.37)), rel=1e-9)
    assert critical(1e9, 3) > critical(1e9, 1)
