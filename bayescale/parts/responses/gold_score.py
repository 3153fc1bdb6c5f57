"""The gold score of a policy that was optimised against a reward model, by its distance from the initial policy."""

import jax.numpy as jnp

from bayescale.parts.base import AbstractResponse, Parameter
from bayescale.parts.priors import LogNormal, Normal

GAO = "Gao et al. 2022, arXiv:2210.10760"
START = Parameter(
    Normal(0.0, 1.0), "score", "gold score of the initial policy", 0.3, "scores are usually centred there"
)
ALPHA = Parameter(LogNormal(0.7, 0.8), "score per root of nats", "initial gain alpha", 0.3, "weak: from 0.2 to 2.6")


class GoldOfBest(AbstractResponse):
    r"""Gold score of the best of n samples by a reward model, of Gao et al. (2022).

    .. math:: R(d) = R_0 + d\,(\alpha - \beta d),\quad d = \sqrt{KL},\quad KL = \ln n - \frac{n - 1}{n}

    The loss of the law is :math:`\beta`, the harm of optimising too far, which falls as reward models grow. The score
    peaks at :math:`d^* = \alpha / 2 \beta`. KL is in nats: the logarithm is the natural one.
    """

    name = "gold-of-best"
    source = GAO
    use = "Gold scores of the best of n samples, over divergences and sizes of the reward model."
    avoid = (
        "Policies trained by RL: use `gold-of-rl`. Sweeps that end before the peak, where the harm is its prior. "
        "Reward models of very different sizes: `alpha_best` is one number, and Gao et al. saw it change with params."
    )
    reproduced = "At alpha 1 and beta 0.25 the peak is at d = 2: a KL of 4 nats, the best of 147 samples."
    observed = "gold_score"
    requires = ("kl",)
    ranges = {"kl": (0.0, 1e6)}
    kind = "real"
    unit = "score"
    parameters = {"start": START, "alpha_best": ALPHA}

    @staticmethod
    def location(log_loss, columns, *, start, alpha_best):
        d = jnp.sqrt(columns["kl"])
        return start + d * (alpha_best - jnp.exp(log_loss) * d)


class GoldOfRl(AbstractResponse):
    r"""Gold score of a policy trained by RL against a reward model, of Gao et al. (2022).

    .. math:: R(d) = R_0 + d\,(\alpha - \beta \ln d),\quad d = \sqrt{\mathrm{KL}}

    The loss of the law is :math:`\beta`. The score peaks at :math:`d^* = e^{\alpha / \beta - 1}`. At the origin the
    slope of this form is infinite: it says nothing of the first steps.
    """

    name = "gold-of-rl"
    source = GAO
    use = "Gold scores of policies trained by RL, over divergences and sizes of the reward model."
    avoid = "The best of n samples: use `gold-of-best`. A divergence near zero, where the form is infinitely steep."
    reproduced = (
        "No published figure; the peak of the printed formula is at the numerical one, and both coefficients are "
        "recovered from simulated scores."
    )
    observed = "gold_score"
    requires = ("kl",)
    ranges = {"kl": (0.0, 1e6)}
    kind = "real"
    unit = "score"
    parameters = {"start": START, "alpha_rl": ALPHA}

    @staticmethod
    def location(log_loss, columns, *, start, alpha_rl):
        d = jnp.sqrt(columns["kl"])
        return start + d * (alpha_rl - jnp.exp(log_loss) * jnp.log(jnp.maximum(d, 1e-12)))
