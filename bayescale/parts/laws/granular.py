"""The granular law: routed models whose experts are finer than the dense layer that they replace."""

import jax.numpy as jnp

from bayescale.parts.base import AbstractLaw, Column, Kind, Parameter, Quantity, log_sum
from bayescale.parts.laws.additive import IRREDUCIBLE, LEVEL
from bayescale.parts.priors import LogNormal

KRAJEWSKI = "Krajewski et al. 2024: 0.115 and 0.147, dense 0.126 and 0.127, with a floor of 0.47; others 0.28 to 0.37"
_EXPONENT = LogNormal(0.2, 0.5)


def _ratio(size: str) -> Parameter:
    # With a floor as low as the printed one, both terms are larger than it: 3.8 and 2.1 times at small runs.
    meaning = f"{size} term over irreducible loss, at the anchor"
    return Parameter(LogNormal(0.8, 1.2), "1", meaning, spread=0.3, at_anchor=True)


class Granular(AbstractLaw):
    r"""Law of Krajewski et al. (2024): finer experts lower the params term.

    .. math:: L(N, D, G) = c + \left(\frac{g}{G^{\gamma}} + a\right) \frac{1}{N^{\alpha}} + \frac{b}{D^{\beta}}

    `N` counts **all** params without embeddings, at a fixed ratio of all expert params to those of the dense layer (64
    in the paper). The granularity `G` is the width of the dense layer over that of an expert: with `G` a token uses `G`
    experts of a `G`-th of the width, so that neither its compute nor the params change.
    """

    name = "granular"
    source = "Krajewski et al. 2024, arXiv:2402.07871"
    use = "Routed runs at one ratio of all params to those that a token uses, with several granularities."
    avoid = (
        "Runs of several ratios of all params to those that a token uses, and params that a token uses: at 64 times "
        "fewer params the printed law gives 4.00 nats/token where it should give 3.03. At very fine experts routing "
        "itself costs compute, which the law does not count."
    )
    reproduced = (
        "The printed constants give 3.03 nats/token for 64 times 25 million params, 16 billion tokens and endlessly "
        "fine experts."
    )
    inputs = ("params", "tokens", "granularity")
    columns = {
        "granularity": Column("1", "width of the dense layer over that of an expert", default=1.0, low=1.0, high=256.0)
    }
    parameters = {
        "level": LEVEL,
        "ratio_A": _ratio("params"),
        "ratio_B": _ratio("tokens"),
        "alpha_N": Parameter(_EXPONENT, "1", "exponent of params", 0.1, KRAJEWSKI, kind=Kind.EXPONENT),
        "beta_D": Parameter(_EXPONENT, "1", "exponent of tokens", 0.1, KRAJEWSKI, kind=Kind.EXPONENT),
        "coarse": Parameter(
            LogNormal(0.1, 1.0),
            "1",
            "what the params term loses with endlessly fine experts, over what is left, at the anchor",
            0.3,
            "Krajewski et al. 2024: 0.12 at granularity 1",
            True,
        ),
        "fineness": Parameter(
            LogNormal(0.5, 0.5), "1", "exponent of granularity", 0.1, "Krajewski et al. 2024: 0.58", kind=Kind.EXPONENT
        ),
    }
    quantities = {
        "E": IRREDUCIBLE,
        "a": Quantity(Kind.PUBLISHED, "nats/token · params^alpha_N", "params term with endlessly fine experts", "log"),
        "g": Quantity(Kind.PUBLISHED, "nats/token · params^alpha_N", "what granularity 1 adds to it", "log"),
        "B": Quantity(Kind.PUBLISHED, "nats/token · tokens^beta_D", "coefficient of the tokens term", "log"),
    }

    @staticmethod
    def log_loss(params, tokens, granularity, *, level, ratio_A, ratio_B, alpha_N, beta_D, coarse, fineness):
        a, b, c = jnp.log(ratio_A), jnp.log(ratio_B), jnp.log(coarse)
        finer = log_sum(0.0, c - fineness * granularity) - log_sum(0.0, c)
        terms = log_sum(0.0, a + finer - alpha_N * params, b - beta_D * tokens)
        return jnp.log(level) + terms - log_sum(0.0, a, b)

    @staticmethod
    def published(params, tokens, granularity, *, loss, level, ratio_A, ratio_B, alpha_N, beta_D, coarse, fineness):
        E = jnp.exp(loss) * level / (1 + ratio_A + ratio_B)
        a = E * ratio_A * jnp.exp(alpha_N * params) / (1 + coarse)
        return {
            "E": E,
            "a": a,
            "g": a * coarse * jnp.exp(fineness * granularity),
            "B": E * ratio_B * jnp.exp(beta_D * tokens),
        }
