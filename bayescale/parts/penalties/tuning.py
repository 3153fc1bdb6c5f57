"""Tuning: what a learning rate and a batch away from their best values cost."""

import jax.numpy as jnp
import numpy as np

from bayescale.parts.base import AbstractPenalty, Column, Kind, Parameter
from bayescale.parts.priors import LogNormal, Normal

STEP_LAW = "Li et al. 2025, arXiv:2503.04715"
CELLS = "0.004-0.009 in the 17 cells of params and tokens of Li et al. 2025"
_NONE = {"lr": 1e-12, "batch_tokens": 1e-3}
"""Offsets of columns in which zero stands for the best value; far below any real one."""
_PARAMS, _TOKENS = np.log(1e9), np.log(1e11)  # where the best values are written: 1B params and 100B tokens


def _away(name, spent, at, by_params, by_tokens):
    """Return e-folds from the best value, which is given at 1B params and 100B tokens; 0 for a value of zero."""
    best = jnp.log(at) + by_params * (spent["params"] - _PARAMS) + by_tokens * (spent["tokens"] - _TOKENS)
    return jnp.where(spent[name] > np.log(2 * _NONE[name]), spent[name] - best, 0.0)


class Tuning(AbstractPenalty):
    r"""Shortfall of runs whose learning rate or batch size is not the best, by the step law of Li et al. (2025).

    .. math::
        \ln L = \ln L_0(N, D) + h_\eta \left(\ln \frac{\eta}{\eta^*}\right)^2
        + h_B \left(\ln \frac{B}{B^*}\right)^2,\quad
        \eta^* = \eta_1 N^{a} D^{b},\quad B^* = B_1 D^{c}

    The base law is then that of tuned runs, and runs that are not tuned inform it too. The best values are parameters:
    at 1B params and 100B tokens, and how they move with params and tokens. A learning rate or a batch of 0, the default
    of a query, stands for the best one.
    """

    name = "tuning"
    source = STEP_LAW
    use = "Learning rates and batch sizes vary between runs, so that some runs are not tuned."
    avoid = "Every run has the learning rate and batch of one rule: the best values are then not identified."
    reproduced = (
        "From the best runs of 17 cells of params and tokens: exponents -0.82 and 0.29 of the learning rate (published "
        "-0.713 and 0.307), and 0.50 of the batch (0.571), each within two standard errors. Over the 947 dense runs "
        "within 2% of the best of their cell, the posterior is -0.62 (-0.71 to -0.52), 0.11 (0.05 to 0.16) and "
        "0.56 (0.50 to 0.61). Those runs have no licence, so they are not shipped."
    )
    reads = ("params", "tokens")
    requires = ("lr", "batch_tokens")
    columns = {
        "lr": Column(
            "1", "peak learning rate", default=0.0, low=0.0, high=10.0, offset=_NONE["lr"], usual=(3e-4, 1e-2)
        ),
        "batch_tokens": Column(
            "tokens",
            "tokens of a batch",
            default=0.0,
            low=0.0,
            high=1e10,
            offset=_NONE["batch_tokens"],
            usual=(1e5, 1e7),
        ),
    }
    parameters = {
        "lr_best": Parameter(LogNormal(1.6e-3, 0.7), "1", "best learning rate at 1B params and 100B tokens", 0.3,
                             STEP_LAW + ": 1.63e-3"),
        "lr_params": Parameter(Normal(-0.6, 0.2), "1", "exponent of params in the best learning rate", 0.1,
                               STEP_LAW + ": -0.713; DeepSeek 2024, by compute: -0.125", kind=Kind.EXPONENT),
        "lr_tokens": Parameter(Normal(0.2, 0.2), "1", "exponent of tokens in the best learning rate", 0.1,
                               STEP_LAW + ": 0.307; arXiv:2409.19913: -0.32", kind=Kind.EXPONENT),
        "batch_best": Parameter(LogNormal(1.1e6, 0.7), "tokens", "best batch at 100B tokens", 0.3,
                                STEP_LAW + ": 1.1M"),
        "batch_growth": Parameter(Normal(0.5, 0.15), "1", "exponent of tokens in the best batch", 0.1,
                                  STEP_LAW + ": 0.571; arXiv:2505.13738: 0.383", kind=Kind.EXPONENT),
        "lr_cost": Parameter(LogNormal(0.006, 1.0), "1 per squared e-fold", "log loss of another rate", 0.3, CELLS),
        "batch_cost": Parameter(LogNormal(0.005, 1.0), "1 per squared e-fold", "log loss of another batch", 0.3, CELLS),
    }  # fmt: skip

    @staticmethod
    def penalized(
        log_loss, spent, basis, *, lr_best, lr_params, lr_tokens, batch_best, batch_growth, lr_cost, batch_cost
    ):
        lr = _away("lr", spent, lr_best, lr_params, lr_tokens)
        batch = _away("batch_tokens", spent, batch_best, 0.0, batch_growth)
        return log_loss + lr_cost * lr**2 + batch_cost * batch**2
