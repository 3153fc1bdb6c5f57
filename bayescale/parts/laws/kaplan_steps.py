"""Kaplan's laws of params and steps, with the batch size either far above the critical one or taken into account."""

import jax
import jax.numpy as jnp

from bayescale.parts.base import AbstractLaw, Column, Kind, Parameter, Quantity, log_sum
from bayescale.parts.laws.additive import LEVEL
from bayescale.parts.laws.kaplan import FLOOR_FREE
from bayescale.parts.priors import LogNormal

STEPS = Column("steps", "least steps: those that a batch far above the critical one would need", 1e5, 1e2, 1e7)
BATCH = Column("tokens", "tokens in a batch", 1e6, 1e4, 1e8)

ALPHA_N = Parameter(FLOOR_FREE, "1", "exponent of params", 0.1, "Kaplan et al. 2020: 0.077", kind=Kind.EXPONENT)
ALPHA_S = Parameter(
    LogNormal(0.7, 0.25), "1", "exponent of least steps", 0.1, "Kaplan et al. 2020: 0.76", kind=Kind.EXPONENT
)
# Where compute is spent best, the terms are in the inverse ratio of their exponents: about 0.1.
RATIO_S = Parameter(LogNormal(0.2, 1.0), "1", "steps term over params term, at the anchor", 0.3, at_anchor=True)
COEFFICIENTS = {
    "N_c": Quantity(Kind.PUBLISHED, "params", "params at which the params term is 1 nat/token", "log"),
    "S_c": Quantity(Kind.PUBLISHED, "steps", "least steps at which the steps term is 1 nat/token", "log"),
}
# Newton's steps, which only rise: over the prior and ten e-folds 6 leave no error in float64. Two more carry the
# slopes of first and second order; to differentiate all of them would take minutes to compile.
_SOLVE, _SLOPES = 6, 2


def _published(params, steps, *, loss, ratio_S, alpha_N, alpha_S):
    """Return the coefficients from the logs of an anchor's params, least steps and loss."""
    term = loss - log_sum(0.0, jnp.log(ratio_S))
    return {
        "N_c": jnp.exp(params + term / alpha_N),
        "S_c": jnp.exp(steps + (term + jnp.log(ratio_S)) / alpha_S),
    }


class KaplanSteps(AbstractLaw):
    r"""Law of params and least steps of Kaplan et al. (2020), equation 5.6.

    .. math:: L(N, S_{min}) = (N_c / N)^{\alpha_N} + (S_c / S_{min})^{\alpha_S}

    The column `steps` holds the steps that a batch far above the critical size would need. For runs of other batches,
    :func:`bayescale.runs.batches.least_steps` converts their steps, or the law `kaplan-batch` does so in the fit.
    """

    name = "kaplan-steps"
    source = "Kaplan et al. 2020, arXiv:2001.08361"
    inputs = ("params", "steps")
    columns = {"steps": STEPS}
    parameters = {"level": LEVEL, "ratio_S": RATIO_S, "alpha_N": ALPHA_N, "alpha_S": ALPHA_S}
    quantities = COEFFICIENTS
    use = "Training curves under large batches, or steps that were converted to a large batch, to study Kaplan's law."
    avoid = (
        "Runs whose learning rate decays to the end: a point inside such a run is not the end of a shorter one. "
        "The law has no floor, so its exponents are not those of other laws. It has no tokens, so it cannot split "
        "budgets of compute: kaplan-batch has tokens."
    )
    reproduced = "Kaplan's losses from the printed constants 0.077, 6.5e13, 0.76 and 2.1e3, to 1e-9."

    @staticmethod
    def log_loss(params, steps, *, level, ratio_S, alpha_N, alpha_S):
        r = jnp.log(ratio_S)
        return jnp.log(level) + log_sum(-alpha_N * params, r - alpha_S * steps) - log_sum(0.0, r)

    @staticmethod
    def published(params, steps, *, loss, level, ratio_S, alpha_N, alpha_S):
        return _published(params, steps, loss=loss + jnp.log(level), ratio_S=ratio_S, alpha_N=alpha_N, alpha_S=alpha_S)


class KaplanBatch(AbstractLaw):
    r"""Law of params and least steps of Kaplan et al. (2020), for runs of any batch size.

    .. math::
        L = (N_c / N)^{\alpha_N} + (S_c / S_{min})^{\alpha_S},\quad
        S_{min} = \frac{D / B}{1 + B_{crit} / B},\quad B_{crit} = B_* L^{-1/\alpha_B}

    The loss is on both sides. Newton's method solves for it, from below, in a fixed number of steps.
    """

    name = "kaplan-batch"
    source = "Kaplan et al. 2020, arXiv:2001.08361; McCandlish et al. 2018, arXiv:1812.06162"
    inputs = ("params", "tokens", "batch_tokens")
    columns = {"batch_tokens": BATCH}
    parameters = {
        "level": LEVEL,
        "ratio_S": RATIO_S,
        "ratio_B": Parameter(LogNormal(1.0, 1.0), "1", "critical batch over batch, at the anchor", 0.3, at_anchor=True),
        "alpha_N": ALPHA_N,
        "alpha_S": ALPHA_S,
        "alpha_B": Parameter(
            LogNormal(0.21, 0.25),
            "1",
            "exponent of the loss by the critical batch",
            0.1,
            "Kaplan et al. 2020: 0.21",
            kind=Kind.EXPONENT,
        ),
    }
    quantities = COEFFICIENTS | {
        "B_star": Quantity(Kind.PUBLISHED, "tokens", "critical batch at a loss of 1 nat/token", "log"),
        "alpha_C": Quantity(Kind.PUBLISHED, "1", "exponent of the loss by compute, best spent at small batches"),
        "optimal alpha": Quantity(Kind.PUBLISHED, "1", "exponent of the best params by compute, at small batches"),
    }
    use = "Runs without a decay of the learning rate, at three or more batch sizes on both sides of the critical one."
    avoid = (
        "Runs of one batch size, which do not identify the critical batch; and runs whose learning rate decays. Later "
        "work finds that the critical batch follows tokens, not loss: the resource critical-batch says so and adds to "
        "any law of tokens. Do not use both."
    )
    reproduced = (
        "From the printed exponents 0.077, 0.76 and 0.21: an exponent of the loss by compute of 0.0525 (the paper has "
        "0.054, from exponents that it does not round), and best params by compute to the power 0.68 (0.71)."
    )

    @staticmethod
    def log_loss(params, tokens, batch_tokens, *, level, ratio_S, ratio_B, alpha_N, alpha_S, alpha_B):
        r, q = jnp.log(ratio_S), jnp.log(ratio_B)
        params_term = -alpha_N * params - log_sum(0.0, r)
        ample = r - alpha_S * (tokens - batch_tokens + log_sum(0.0, q)) - log_sum(0.0, r)  # of a batch that is ample

        def newton(loss, terms):
            params_term, ample, q, alpha_S, alpha_B, batch_tokens = terms
            over = q - loss / alpha_B - batch_tokens  # ln(critical batch / batch)
            steps_term = ample + alpha_S * log_sum(0.0, over)
            found = log_sum(params_term, steps_term)
            fall = jnp.exp(steps_term - found) * alpha_S / alpha_B * jax.nn.sigmoid(over)
            return loss + (found - loss) / (1 + fall)

        terms = (params_term, ample, q, alpha_S, alpha_B, batch_tokens)
        fixed = jax.lax.stop_gradient(terms)
        start, *_ = jnp.broadcast_arrays(log_sum(*fixed[:2]), *fixed)  # in units of the anchor's, from below
        loss = jax.lax.fori_loop(0, _SOLVE, lambda _, loss: newton(loss, fixed), start)
        for _ in range(_SLOPES):
            loss = newton(loss, terms)
        return jnp.log(level) + loss

    @staticmethod
    def published(params, tokens, batch_tokens, *, loss, level, ratio_S, ratio_B, alpha_N, alpha_S, alpha_B):
        loss = loss + jnp.log(level)
        steps = tokens - batch_tokens - log_sum(0.0, jnp.log(ratio_B))
        alpha_C = 1 / (1 / alpha_S + 1 / alpha_B + 1 / alpha_N)
        return {
            **_published(params, steps, loss=loss, ratio_S=ratio_S, alpha_N=alpha_N, alpha_S=alpha_S),
            "B_star": ratio_B * jnp.exp(batch_tokens + loss / alpha_B),
            "alpha_C": alpha_C,
            "optimal alpha": alpha_C / alpha_N,
        }
