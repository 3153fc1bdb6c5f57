"""Quantization: few bits raise the loss; the penalty grows with tokens, and falls with params."""

import jax.numpy as jnp
import numpy as np

from bayescale.parts.base import AbstractPenalty, Column, Kind, Parameter
from bayescale.parts.laws.additive import ALPHA_N, BETA_D
from bayescale.parts.priors import LogNormal

PARAMS, TOKENS, BITS, GROUP = 1e9, 1e11, 4.0, 128.0  # of the run whose penalty is a parameter
SIGNS = "the published forms agree in sign, and have exponents of the size of those of a law"


def _exponent(meaning: str) -> Parameter:
    return Parameter(LogNormal(0.4, 0.5), "1", meaning, 0.1, SIGNS, kind=Kind.EXPONENT)


class Quantization(AbstractPenalty):
    r"""Weights that are rounded to few bits, after or during training.

    .. math:: L = L_0 + k\, \frac{D^{\gamma_D}}{N^{\gamma_N}}\, e^{-P/\gamma_P} (\log_2 G)^{\gamma_G}

    for `P` bits, each scale shared by `G` values. The exponents are positive: the penalty grows with tokens, and falls
    with params and bits. Its size is that of 1 billion params on 100 billion tokens, in 4 bits and groups of 128.
    So a longer training can raise the loss of the rounded model.
    """

    name = "quantization"
    source = "Kumar et al. 2024, arXiv:2411.04330; Chen et al. 2025, arXiv:2505.14302"
    use = "Trained models are rounded to few bits, or trained to be rounded, in at least three widths."
    avoid = "Training in few bits from the start: use the resource `precision`."
    reproduced = "No published figure; the printed formula with its signs, to 1e-9, and recovery from simulated runs."
    reads = ("params", "tokens")
    requires = ("rounded_bits", "group_size")
    columns = {
        "rounded_bits": Column("bits", "bits of a rounded weight", default=16.0, low=1.0, high=16.0),
        "group_size": Column("count", "values that share one scale", default=128.0, low=2.0, high=65536.0),
    }
    parameters = {
        "rounding": Parameter(LogNormal(0.05, 1.5), "nats/token", "penalty at the reference run", 0.3),
        "rounding_tokens": _exponent("exponent of tokens in the penalty"),
        "rounding_params": _exponent("exponent of params in the penalty, which falls"),
        "rounding_bits": Parameter(
            LogNormal(0.8, 0.5),
            "bits",
            "bits by which the penalty falls e-fold",
            0.1,
            "the squared error of rounding falls as 4 to the power of minus the bits: e-fold in 0.72 bits",
        ),
        "rounding_group": _exponent("exponent of the log of the group size in the penalty"),
    }

    @staticmethod
    def penalized(log_loss, spent, basis, *, rounding, rounding_tokens, rounding_params, rounding_bits, rounding_group):
        power = rounding_tokens * (spent["tokens"] - np.log(TOKENS))
        power -= rounding_params * (spent["params"] - np.log(PARAMS))
        power -= (jnp.exp(spent["rounded_bits"]) - BITS) / rounding_bits
        power += rounding_group * (jnp.log(spent["group_size"]) - np.log(np.log(GROUP)))
        return log_loss + jnp.log1p(rounding * jnp.exp(power - log_loss))


class FloatingPoint(AbstractPenalty):
    r"""Training in a floating-point format of few bits, of Sun et al. (2025).

    .. math:: L = L_0 + \frac{D^\beta}{N^\alpha} \frac{\log_2 B}{\gamma\, (e + 1/2)^\delta (m + 1/2)^\nu}

    for `e` bits of exponent, `m` of mantissa, and one scale for each `B` values. The exponents :math:`\alpha` and
    :math:`\beta` are those of the additive law. Its size is that of 1 billion params on 100 billion tokens in 2 bits of
    exponent and 1 of mantissa, with a scale for each 128 values. Beyond :func:`critical_tokens`, more tokens raise the
    loss.
    """

    name = "floating-point"
    source = "Sun et al. 2025, arXiv:2501.02423"
    use = "Models are trained in floating-point formats of few bits, with several exponents and mantissas."
    avoid = "Laws other than `additive`, whose exponents it shares."
    reproduced = (
        "No published figure; the printed formula, to 1e-9, and its critical tokens at the numerical minimum of the "
        "loss."
    )
    reads = ("params", "tokens")
    requires = ("exponent_bits", "mantissa_bits", "block_size")
    columns = {
        "exponent_bits": Column("bits", "bits of exponent", default=8.0, low=0.0, high=8.0, offset=0.5),
        "mantissa_bits": Column("bits", "bits of mantissa", default=7.0, low=0.0, high=23.0, offset=0.5),
        "block_size": Column("count", "values that share one scale", default=128.0, low=1.0, high=65536.0),
    }
    parameters = {
        "alpha_N": ALPHA_N,
        "beta_D": BETA_D,
        "format_penalty": Parameter(LogNormal(0.05, 1.5), "nats/token", "penalty at the reference run", 0.3),
        "format_exponent": Parameter(
            LogNormal(2.0, 0.5), "1", "exponent of the bits of exponent, by which it falls", 0.1, kind=Kind.EXPONENT
        ),
        "format_mantissa": Parameter(
            LogNormal(2.0, 0.5), "1", "exponent of the bits of mantissa, by which it falls", 0.1, kind=Kind.EXPONENT
        ),
    }

    @staticmethod
    def penalized(log_loss, spent, basis, *, alpha_N, beta_D, format_penalty, format_exponent, format_mantissa):
        power = beta_D * (spent["tokens"] - np.log(TOKENS)) - alpha_N * (spent["params"] - np.log(PARAMS))
        power -= format_exponent * (spent["exponent_bits"] - np.log(2.5))
        power -= format_mantissa * (spent["mantissa_bits"] - np.log(1.5))
        share = format_penalty * spent["block_size"] / np.log(GROUP)
        return log_loss + jnp.log1p(share * jnp.exp(power - log_loss))


def critical_tokens(tokens_term, penalty, beta_D):
    r"""Return the tokens beyond which a penalty that grows with them exceeds what they gain.

    .. math:: D^* = (B / K)^{1 / 2\beta}\quad\text{minimises}\quad B D^{-\beta} + K D^{\beta}

    Parameters
    ----------
    tokens_term : float or Array
        Coefficient `B` of the tokens term of the law, in nats/token times tokens to the `beta_D`.
    penalty : float or Array
        Coefficient `K` of the penalty at the params and in the format: a run of `D` tokens has a penalty of
        ``penalty * D**beta_D`` nats/token.
    beta_D : float or Array
        Exponent of tokens in both.

    Returns
    -------
    float or Array
        Tokens.
    """
    return (tokens_term / penalty) ** (1 / (2 * beta_D))
