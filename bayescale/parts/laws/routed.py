"""Laws of routed models: experts as an input, at fixed tokens and jointly with tokens."""

import jax.numpy as jnp

from bayescale.parts.base import AbstractLaw, Column, Kind, Parameter, Quantity, log_sum
from bayescale.parts.laws.additive import IRREDUCIBLE, LEVEL, RATIO_A, RATIO_B
from bayescale.parts.laws.kaplan import FLOOR_FREE
from bayescale.parts.priors import LogNormal, Normal

EXPERTS = Column("count", "routed experts of each layer; 1 for a dense model", default=1.0, low=1.0, high=4096.0)
TABLES = "Clark et al. 2022 (1.8 to 4.2, and 314 to 478); Ludziejewski et al. 2025 (2.07 and 290), at 4 to 20 experts"
ONSET = Parameter(
    LogNormal(0.1, 1.0), "1", "experts that a dense model is worth, over the anchor's experts", 0.3, TABLES, True
)
CEILING = Parameter(
    LogNormal(20.0, 1.0), "1", "effective experts of endlessly many, over the anchor's experts", 0.3, TABLES, True
)
SATURATION = {
    "E_start": Quantity(Kind.PUBLISHED, "experts", "effective experts of a dense model", "log"),
    "E_max": Quantity(Kind.PUBLISHED, "experts", "effective experts of endlessly many", "log"),
}


def effective_experts(experts, onset, ceiling):
    r"""Return the log of effective experts in anchor units: zero at the anchor, saturating on both sides.

    With :math:`x = E/E_0`, onset `s` and ceiling `m`, the effective experts are :math:`1/(1/(x + s) + 1/m)` times the
    anchor's experts. This is the transformation of Clark et al. (2022), whose form any anchor keeps.
    """
    count = jnp.exp(experts) + onset  # sums of positive numbers, so that nothing cancels
    return jnp.log(count / (1 + onset)) - jnp.log((ceiling + count) / (ceiling + 1 + onset))


def saturation(experts, onset, ceiling):
    """Return the log of the anchor's effective experts, and ``E_start`` and ``E_max`` of the literature."""
    count, most = jnp.exp(experts), ceiling * jnp.exp(experts)
    anchor = experts - jnp.log(1 / (1 + onset) + 1 / ceiling)
    return anchor, {"E_start": 1 / (1 / (1 + onset * count) + 1 / most), "E_max": most}


class RoutedPower(AbstractLaw):
    r"""Law of Clark et al. (2022) in the params that a token uses and the number of experts, at fixed tokens.

    .. math:: \log_{10} L = a \log_{10} N + b \log_{10} \hat E + c \log_{10} N \log_{10} \hat E + d,\qquad
              1/\hat E = 1/\left(E - 1 + (1/E_s - 1/E_m)^{-1}\right) + 1/E_m

    It is sampled as the loss and the two slopes at an anchor run, and their interaction.
    """

    name = "routed-power"
    source = "Clark et al. 2022, arXiv:2202.01169"
    use = (
        "Runs of dense and routed models on one number of tokens, of several sizes and numbers of experts. It says how "
        "much an expert is worth, and how this changes with size."
    )
    avoid = (
        "Runs on different numbers of tokens, and extrapolation over sizes. The law has no floor and its tokens are "
        "fixed. The size from which its experts stop helping follows from both, and is not a property of experts. "
        "Fitted to the shipped runs of up to 370 million params, it forecasts losses for 1.3 billion that are 2% too "
        "low, and its 90% intervals hold none of these 30 rows. There a law of active_params with a floor "
        "(power-floor), with sparsity as its resource, errs half as much, to the other side."
    )
    runs = ("clark2022",)
    reproduced = (
        "With the printed saturation, least squares gives a, b, c and d of all three routers within 0.005 of Table 3 "
        "of Clark et al. With a free one, S-Base has -0.0830, -0.1180, 0.0099 and 1.1136, RL-R -0.0827, -0.1234, "
        "0.0112 and 1.1070, and Hash -0.0874, -0.1384, 0.0126 and 1.1595, with errors of 0.003 on log10 of the loss."
    )
    inputs = ("params", "experts")
    columns = {"experts": EXPERTS}
    parameters = {
        "level": LEVEL,
        "alpha_N": Parameter(
            FLOOR_FREE, "1", "exponent of params at the anchor's experts", 0.1, "dense 0.078", True, kind=Kind.EXPONENT
        ),
        "alpha_E": Parameter(
            Normal(0.04, 0.03),
            "1",
            "exponent of effective experts at the anchor's params",
            0.01,
            "Clark et al. 2022: 0.05 at 10 million params, 0.00 at 100 billion",
            True,
            kind=Kind.EXPONENT,
        ),
        "fading": Parameter(
            Normal(0.0, 0.01), "per e-fold of params", "fall of alpha_E as params grow", 0.003, "weak: 0.004 to 0.006"
        ),
        "onset": ONSET,
        "ceiling": CEILING,
    }
    quantities = {
        "a": Quantity(Kind.PUBLISHED, "1", "slope of log10 loss in log10 params, at one effective expert"),
        "b": Quantity(Kind.PUBLISHED, "1", "slope of log10 loss in log10 effective experts, at one param"),
        "c": Quantity(Kind.PUBLISHED, "1", "interaction of the two log10"),
        "d": Quantity(Kind.PUBLISHED, "log10 of nats/token", "log10 loss at one param and one effective expert"),
        **SATURATION,
    }

    @staticmethod
    def log_loss(params, experts, *, level, alpha_N, alpha_E, fading, onset, ceiling):
        more = effective_experts(experts, onset, ceiling)
        return jnp.log(level) - alpha_N * params - alpha_E * more + fading * params * more

    @staticmethod
    def published(params, experts, *, loss, level, alpha_N, alpha_E, fading, onset, ceiling):
        more, ends = saturation(experts, onset, ceiling)
        constant = loss + jnp.log(level) + alpha_N * params + alpha_E * more + fading * params * more
        ten = jnp.log(10.0)
        a, b = -alpha_N - fading * more, -alpha_E - fading * params
        return {"a": a, "b": b, "c": fading * ten, "d": constant / ten, **ends}


FLOORED = LogNormal(0.25, 0.5)
JOINT = "Ludziejewski et al. 2025: 0.18 and 0.20 for dense models; other laws with a floor have 0.28 to 0.37"


class RoutedJoint(AbstractLaw):
    r"""Joint law of Ludziejewski et al. (2025) in the params that a token uses, tokens and the number of experts.

    .. math:: L = a \hat E^{\delta} N^{\alpha + \gamma \ln \hat E} + b \hat E^{\omega} D^{\beta + \zeta \ln \hat E} + c

    with the effective experts :math:`\hat E` of Clark et al. (2022). For each number of experts it is an additive law.
    It is sampled as the loss at an anchor run, the ratios of the two terms to `c` there, and their slopes.
    """

    name = "routed-joint"
    source = "Ludziejewski et al. 2025, arXiv:2502.05172"
    use = (
        "Runs with at least three values each of experts, of the params that a token uses and of tokens. It is the law "
        "behind the decision between dense and routed models under a budget and a limit of memory."
    )
    avoid = (
        "Runs on one number of tokens, which say nothing about how experts change the tokens term, and experts of "
        "another size than the dense layer that they replace."
    )
    reproduced = (
        "The printed constants give the reduced constants of Table 4 within 0.3%, and the 36 figures of Table 1 within "
        "1.5%. The exceptions are printed with two digits: at 1e20 FLOP 1.7 and 1.5 billion active params of 1 and 2 "
        "experts, where the constants give 1.73 and 1.47. Nine of the 12 best numbers of experts of Table 2 are the "
        "same; the other three are one step of two away."
    )
    inputs = ("params", "tokens", "experts")
    columns = {"experts": EXPERTS}
    parameters = {
        "level": LEVEL,
        "ratio_A": RATIO_A,
        "ratio_B": RATIO_B,
        "alpha_N": Parameter(
            FLOORED, "1", "exponent of params, at the anchor's experts", 0.1, JOINT, True, kind=Kind.EXPONENT
        ),
        "beta_D": Parameter(
            FLOORED, "1", "exponent of tokens, at the anchor's experts", 0.1, JOINT, True, kind=Kind.EXPONENT
        ),
        "gain_A": Parameter(
            Normal(0.1, 0.15),
            "e-folds per e-fold of effective experts",
            "fall of the params term, at the anchor's params",
            0.05,
            "between none and that of a model as large as all its params; the printed constants give 0.03 at 1 billion",
            True,
        ),
        "gain_B": Parameter(
            Normal(0.0, 0.2),
            "e-folds per e-fold of effective experts",
            "fall of the tokens term, at the anchor's tokens",
            0.05,
            "routed models need data; the printed constants give 0.06 at 20 billion tokens and a rise below 2 billion",
            True,
        ),
        "fade_A": Parameter(
            Normal(0.0, 0.02), "per e-fold of params", "fall of gain_A as params grow", 0.005, "weak: printed 0.0098"
        ),
        "grow_B": Parameter(
            Normal(0.0, 0.04), "per e-fold of tokens", "rise of gain_B as tokens grow", 0.01, "weak: printed 0.0259"
        ),
        "onset": ONSET,
        "ceiling": CEILING,
    }
    quantities = {
        "E": IRREDUCIBLE,
        "A": Quantity(Kind.PUBLISHED, "nats/token", "coefficient a of the params term, at one effective expert", "log"),
        "B": Quantity(Kind.PUBLISHED, "nats/token", "coefficient b of the tokens term, at one effective expert", "log"),
        "alpha_1": Quantity(Kind.PUBLISHED, "1", "power of params at one effective expert; negative"),
        "beta": Quantity(Kind.PUBLISHED, "1", "power of tokens at one effective expert; negative"),
        "gamma": Quantity(Kind.PUBLISHED, "per e-fold of effective experts", "change of the power of params"),
        "zeta": Quantity(Kind.PUBLISHED, "per e-fold of effective experts", "change of the power of tokens"),
        "delta": Quantity(Kind.PUBLISHED, "1", "power of effective experts in the params term, at one param"),
        "omega": Quantity(Kind.PUBLISHED, "1", "power of effective experts in the tokens term, at one token"),
        **SATURATION,
    }

    @staticmethod
    def log_loss(
        params,
        tokens,
        experts,
        *,
        level,
        ratio_A,
        ratio_B,
        alpha_N,
        beta_D,
        gain_A,
        gain_B,
        fade_A,
        grow_B,
        onset,
        ceiling,
    ):
        a, b = jnp.log(ratio_A), jnp.log(ratio_B)
        more = effective_experts(experts, onset, ceiling)
        by_params = a - alpha_N * params - (gain_A - fade_A * params) * more
        by_tokens = b - beta_D * tokens - (gain_B + grow_B * tokens) * more
        return jnp.log(level) + log_sum(0.0, by_params, by_tokens) - log_sum(0.0, a, b)

    @staticmethod
    def published(
        params,
        tokens,
        experts,
        *,
        loss,
        level,
        ratio_A,
        ratio_B,
        alpha_N,
        beta_D,
        gain_A,
        gain_B,
        fade_A,
        grow_B,
        onset,
        ceiling,
    ):
        more, ends = saturation(experts, onset, ceiling)
        E = jnp.exp(loss) * level / (1 + ratio_A + ratio_B)
        return {
            "E": E,
            "A": E * ratio_A * jnp.exp(alpha_N * params + (gain_A + fade_A * params) * more),
            "B": E * ratio_B * jnp.exp(beta_D * tokens + (gain_B - grow_B * tokens) * more),
            "alpha_1": -alpha_N - fade_A * more,
            "beta": -beta_D + grow_B * more,
            "gamma": fade_A,
            "zeta": -grow_B,
            "delta": -gain_A - fade_A * params,
            "omega": -gain_B + grow_B * tokens,
            **ends,
        }
