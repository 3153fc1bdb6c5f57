"""Problems whose most frequent answer is right, when problems differ in difficulty."""

import math

import jax.numpy as jnp
import numpy as np
from jax import nn
from jax.scipy.special import betaln

from bayescale.parts.base import AbstractResponse, Parameter
from bayescale.parts.difficulty import RISE, TAIL, probability, shapes
from bayescale.parts.priors import LogNormal

_NODES = np.linspace(-20.0, 12.0, 161)
"""Log odds of a problem over which the Beta is integrated; beyond the last one every vote is right. Errors are below
0.001 up to a thousand votes, and 0.006 at a million."""


class MajorityVote(AbstractResponse):
    r"""Number of problems of which the answer with the most of `v` votes is right.

    .. math:: p_v = \int \sigma\!\left(x + (s_v - 1)(x - \ln r)\right) \mathrm{Beta}(p; a, b)\, dp,\quad
        x = \ln\frac{p}{1 - p},\quad s_v = \sqrt{1 + \tfrac{2}{\pi} (v - 1)}

    One vote is right with probability `p`. With many votes a problem is solved where the odds of the right answer
    exceed `r`, so that the curve saturates where pass@k still rises. For two answers, `r = 1`, the slope of the vote is
    that of the Binomial at even odds. The shapes are those of `pass-at-k`.
    """

    name = "majority-vote"
    source = "this form: ours; that votes saturate: Brown et al. 2024, arXiv:2407.21787"
    use = "Scores by majority vote over several numbers of votes: they say what more votes can still gain."
    avoid = "Problems solved within k samples: a checker that knows the right answer does not saturate."
    observed = "n_correct"
    requires = ("n_items", "votes")
    ranges = {"votes": (1.0, 1e9)}
    of_one = "benchmark"
    kind = "count"
    unit = "items"
    parameters = {
        "tail": TAIL,
        "rise": RISE,
        "rival": Parameter(
            LogNormal(0.3, 0.7), "1", "odds of the right answer at which a rival is as frequent", 0.2,
            "1 if all wrong answers agree; about the largest share of one wrong answer if they do not",
        ),
    }  # fmt: skip

    @staticmethod
    def location(log_loss, columns, *, tail, rise, rival):
        nats = jnp.exp(log_loss)[..., None]
        a, b = shapes(-nats - jnp.log(-jnp.expm1(-nats)), _last(tail), _last(rise))
        sharpness = jnp.sqrt(1.0 + (columns["votes"] - 1.0) * 2.0 / math.pi)[..., None]
        x = jnp.asarray(_NODES)
        density = jnp.exp(a * nn.log_sigmoid(x) + b * nn.log_sigmoid(-x) - betaln(a, b))
        right = nn.sigmoid(x + (sharpness - 1.0) * (x - jnp.log(_last(rival))))
        step = _NODES[1] - _NODES[0]
        easy = jnp.exp(b * nn.log_sigmoid(-(_NODES[-1] + step / 2)) - betaln(a, b)) / b
        return probability(jnp.sum(density * right, axis=-1) * step + easy[..., 0])


def _last(value):
    return jnp.asarray(value)[..., None]
