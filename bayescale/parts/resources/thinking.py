"""Thinking: tokens that a model writes before it answers, which are worth less the more there are."""

import jax.numpy as jnp

from bayescale.parts.base import AbstractResource, Column, Parameter
from bayescale.parts.priors import LogNormal


class Thinking(AbstractResource):
    r"""Effective thinking tokens of an answer.

    .. math:: T' = \frac{T}{1 + T / T_{max}}

    Far below the limit the score follows the law, such as a power law of the error. Beyond it the curve has a plateau:
    a model that may think longer does not, or gains nothing.
    """

    name = "thinking"
    source = (
        "curves of scores over token budgets: about linear in the log, then flat (Snell et al. 2024, arXiv:2408.03314)"
    )
    use = 'Scores of one model over budgets of thinking tokens, with `inputs = ["thinking_tokens"]` or among stages.'
    avoid = "Budgets over less than a decade: the limit is then its prior, and the law alone does as well."
    changes = {"thinking_tokens": ("thinking_tokens",)}
    balanced = False
    columns = {
        "thinking_tokens": Column(
            "tokens", "tokens that an answer takes, thinking included", 1e3, 1.0, 1e9, usual=(1e2, 1e5)
        )
    }
    parameters = {
        "most_thinking": Parameter(
            LogNormal(3e4, 1.5), "tokens", "thinking tokens beyond which more hardly help", 0.5,
            "wide: from 2,500 to 350,000, around the longest answers that models are trained to give",
        )
    }  # fmt: skip

    @staticmethod
    def effective(spent, balance, *, most_thinking):
        thought = -jnp.logaddexp(-spent["thinking_tokens"], -jnp.log(most_thinking))
        return {**spent, "thinking_tokens": thought}
