"""Repeated data: the published law's worked losses, and its explained variance on the published runs."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import handlers
from scipy.optimize import minimize, minimize_scalar

import bayescale as bs
from bayescale.parts.laws.additive import Additive
from bayescale.parts.resources.repetition import Repetition

# Muennighoff et al. 2023, arXiv:2305.16264: ln A, ln B, ln E, both exponents, and the two decays.
LN_A, LN_B, LN_E, EXPONENT = 6.255414, 7.3049974, 0.6254804, 0.3526596
R_D, R_N = 15.387756, 5.309743
NEVER = 1e12  # a decay so slow that repeats are worth as much as fresh tokens: 1e-9 in repeats at 1000 epochs

# The same law in anchor units, its anchor run being 1 param, 1 token and a loss of 1 nat/token.
LAW = {
    "level": np.exp(LN_E) + np.exp(LN_A) + np.exp(LN_B),
    "ratio_A": np.exp(LN_A - LN_E),
    "ratio_B": np.exp(LN_B - LN_E),
    "alpha_N": EXPONENT,
    "beta_D": EXPONENT,
}
DELTA = 1e-3  # of Huber, in log loss


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def runs() -> bs.Runs:
    """The 182 runs of the published fit."""
    found = bs.load_runs("datablations").where(in_published_fit="true")
    assert len(found) == 182
    return found


def effective(params, tokens, unique, r_d=R_D, r_n=R_N) -> dict[str, jax.Array]:
    """Effective params and tokens, in logs."""
    columns = {"params": params, "tokens": tokens, "unique_tokens": unique}
    spent = {name: jnp.log(jnp.asarray(value)) for name, value in columns.items()}
    return Repetition.effective(spent, lambda tokens: Additive.balance(tokens, **LAW), R_D=r_d, R_N=r_n)


def loss(params, tokens, unique, r_d=R_D, r_n=R_N) -> jax.Array:
    worth = effective(params, tokens, unique, r_d, r_n)
    return jnp.exp(Additive.log_loss(worth["params"], worth["tokens"], **LAW))


def geometric_loss(params, tokens, unique, gamma_d, gamma_n) -> np.ndarray:
    """Each repeat is worth gamma of the one before, instead of the exponential's decay."""

    def worth(once: np.ndarray, total: np.ndarray, gamma: float) -> np.ndarray:
        return once * (1 - gamma ** (total / once)) / (1 - gamma)

    enough = np.minimum(np.exp(Additive.balance(np.log(unique), **LAW)), params)
    return np.exp(
        Additive.log_loss(np.log(worth(enough, params, gamma_n)), np.log(worth(unique, tokens, gamma_d)), **LAW)
    )


def explained(predicted: np.ndarray, runs: bs.Runs) -> float:
    """R² of the raw loss."""
    observed = runs["loss"]
    return 1 - np.sum((observed - predicted) ** 2) / np.sum((observed - observed.mean()) ** 2)


def sum_of_huber(predicted: np.ndarray, runs: bs.Runs) -> float:
    size = np.abs(np.log(np.asarray(predicted)) - np.log(runs["loss"]))
    return float(np.sum(np.where(size < DELTA, size**2 / 2, DELTA * (size - DELTA / 2))))


def spent(runs: bs.Runs) -> tuple[np.ndarray, ...]:
    return tuple(runs[name] for name in (*Repetition.changes, *Repetition.requires))


@pytest.mark.parametrize(
    ("params", "tokens", "wanted"), [(6.34e9, 242e9, 2.2256440889984477), (8.67e9, 178e9, 2.2269634075)]
)
def test_muennighoff_2023_worked_losses_with_25_billion_unique_tokens(params, tokens, wanted):
    assert float(loss(params, tokens, 25e9)) == pytest.approx(wanted, abs=1e-9)


def test_muennighoff_2023_fewer_params_and_more_epochs_beat_more_params_at_equal_compute():
    assert loss(6.34e9, 242e9, 25e9) < loss(8.67e9, 178e9, 25e9)


@pytest.mark.parametrize(
    ("epochs", "wanted", "half_a_digit"),
    [(1, 1, 1e-12), (2, 1.97, 5e-3), (4, 3.73, 5e-3), (8, 6.62, 5e-3), (16, 10.6, 5e-2), (40, 15.2, 5e-2)],
)
def test_muennighoff_2023_worth_of_epochs_in_unique_tokens(epochs, wanted, half_a_digit):
    worth = effective(1e9, 25e9 * epochs, 25e9)["tokens"]
    assert float(jnp.exp(worth)) / 25e9 == pytest.approx(wanted, abs=half_a_digit)


def test_endless_epochs_are_worth_one_and_the_decay():
    worth = effective(1e9, 25e9 * 10_000, 25e9)["tokens"]
    assert float(jnp.exp(worth)) / 25e9 == pytest.approx(1 + R_D, rel=1e-12)


def test_params_up_to_what_unique_tokens_can_use_are_worth_themselves():
    enough = np.exp(Additive.balance(np.log(25e9), **LAW))
    for share in (0.1, 1.0):
        worth = effective(share * enough, 242e9, 25e9)["params"]
        assert float(jnp.exp(worth)) == pytest.approx(share * enough, rel=1e-12)


def test_excess_params_are_worth_less_and_never_more_than_the_decay():
    enough = np.exp(Additive.balance(np.log(25e9), **LAW))
    twice, endless = (float(jnp.exp(effective(k * enough, 242e9, 25e9)["params"])) / enough for k in (2, 1e4))
    assert twice == pytest.approx(1 + R_N * (1 - np.exp(-1 / R_N)), rel=1e-12)
    assert endless == pytest.approx(1 + R_N, rel=1e-12)


def test_unique_tokens_beyond_those_seen_change_nothing():
    assert float(loss(1e9, 1e10, 1e12)) == float(loss(1e9, 1e10, 1e10))


def test_gradients_are_finite_where_nothing_is_repeated():
    slope = jax.grad(lambda r: loss(1e9, 1e10, 1e10, *r))((R_D, R_N))
    assert all(bool(jnp.isfinite(g)) for g in slope)


@pytest.mark.parametrize(
    ("wanted", "predict"),
    [
        pytest.param(0.445, lambda n, d, u: loss(n, d, d, r_n=NEVER), id="every token as if unique"),
        pytest.param(0.772, loss, id="published decays"),
    ],
)
def test_muennighoff_2023_explained_variance_of_published_constants(runs, wanted: float, predict: Callable):
    assert explained(predict(*spent(runs)), runs) == pytest.approx(wanted, abs=1e-3)


def test_muennighoff_2023_explained_variance_of_data_decay_alone(runs):
    """Decay of tokens alone, refitted.

    The source's figure for decay of params alone (.449) is not reproduced and has no test. With tokens
    raw and R_N* refitted to the sum of Huber: .793 (R_N* .74, a second minimum at .89); with all five
    constants refitted: .931; with the published R_N*: .681, or .472 if the params in excess are counted
    against all tokens instead of unique ones. It takes a decay of about 670 there, hardly any, to get .449.
    """

    def predict(ln_r: float) -> np.ndarray:
        return loss(*spent(runs), r_d=np.exp(ln_r), r_n=NEVER)

    found = minimize_scalar(lambda ln_r: sum_of_huber(predict(ln_r), runs), bounds=(-2.0, 8.0))
    assert np.exp(found.x) == pytest.approx(2.9149, abs=1e-3)
    assert explained(predict(found.x), runs) == pytest.approx(0.735, abs=1e-3)


def test_muennighoff_2023_explained_variance_of_geometric_decay(runs):
    def predict(logits: np.ndarray) -> np.ndarray:
        return geometric_loss(*spent(runs), *(1 / (1 + np.exp(-logits))))

    tight = {"xatol": 1e-7, "fatol": 1e-13}  # the objective is .0155, its decrease near the optimum far less
    found = minimize(lambda z: sum_of_huber(predict(z), runs), [3.0, 1.0], method="Nelder-Mead", options=tight)
    np.testing.assert_allclose(1 / (1 + np.exp(-found.x)), [0.98952, 0.63262], rtol=0, atol=1e-4)
    assert explained(predict(found.x), runs) == pytest.approx(0.799, abs=1e-3)


def test_the_interpreter_gives_the_published_law_whatever_the_anchor(runs):
    params, tokens, unique = spent(runs)
    at_n0, at_d0 = (np.exp(ln_c - EXPONENT * np.log(x).mean()) for ln_c, x in ((LN_A, params), (LN_B, tokens)))
    floor = np.exp(LN_E)
    values = {
        "level": (floor + at_n0 + at_d0) / np.median(runs["loss"]),
        "ratio_A": at_n0 / floor,
        "ratio_B": at_d0 / floor,
        "alpha_N": EXPONENT,
        "beta_D": EXPONENT,
        "R_D": R_D,
        "R_N": R_N,
    }
    model = handlers.seed(bs.model(bs.load_spec("repetition"), runs), 0)
    values = {name: jnp.asarray(value) for name, value in values.items()}
    trace = handlers.trace(handlers.substitute(model, data=values)).get_trace()
    # Logarithms up to 30 are rounded a dozen times; the exponent shrinks what that makes.
    tolerance = 12 * 30 * np.finfo(np.float64).eps
    np.testing.assert_allclose(np.exp(trace["log_loss"]["value"]), loss(params, tokens, unique), rtol=tolerance)
