"""Problems solved within k samples, when problems differ in difficulty."""

import jax.numpy as jnp

from bayescale.parts.base import AbstractResponse, Parameter
from bayescale.parts.difficulty import RISE, TAIL, log_unsolved, probability, shapes
from bayescale.parts.priors import LogNormal


def _share(nats, samples, tail, rise):
    """Return the share of problems that `samples` solve, if one sample solves a share of ``exp(-nats)`` of them."""
    a, b = shapes(-nats - jnp.log(-jnp.expm1(-nats)), tail, rise)
    return probability(-jnp.expm1(log_unsolved(a, b, samples)))


class PassAtK(AbstractResponse):
    r"""Number of tries that solve a problem, or of problems solved within `k` samples.

    .. math:: p_k = 1 - \frac{B(a, b + k)}{B(a, b)},\quad \frac{a}{a + b} = e^{-L},\quad
        a = a_{1\%} \left(99\, \frac{a}{b}\right)^{r}

    The loss `L` of the law is that of the benchmark: minus the log of the share of tries that are right. Difficulties
    of problems have a Beta distribution with the shapes `a` and `b`. At many samples failures fall as :math:`k^{-a}`.
    """

    name = "pass-at-k"
    source = "Brown et al. 2024, arXiv:2407.21787; Schaeffer et al. 2025, arXiv:2502.17578"
    use = (
        "Counts of tries that solve each of many problems, one problem a row with `samples = 1`. A forecast with "
        "`samples = 100` is of problems solved within 100 samples. The law is of the benchmark itself."
    )
    avoid = "Scores by majority vote, which saturate. An observed loss on text: use `pass-at-k-of-loss`."
    runs = ("monkeys",)
    reproduced = (
        "Slopes of minus the log of pass@k against k, from 1 to 10,000 samples, are -0.19 (70 million params) to "
        "-0.37 (12 billion), by least squares of the logs."
    )
    observed = "n_correct"
    requires = ("n_items", "samples")
    ranges = {"samples": (1.0, 1e12)}
    of_one = "benchmark"
    kind = "count"
    unit = "items"
    parameters = {"tail": TAIL, "rise": RISE}

    @staticmethod
    def location(log_loss, columns, *, tail, rise):
        return _share(jnp.exp(log_loss), columns["samples"], tail, rise)


class PassAtKOfLoss(AbstractResponse):
    r"""Problems solved within `k` samples, by the loss on text.

    .. math:: p_k = 1 - \frac{B(a, b + k)}{B(a, b)},\quad -\ln \frac{a}{a + b} = \left(\frac{L}{L_1}\right)^{s}

    with the loss on text :math:`L_1` at which one try in `e` is right, and the shapes as in `pass-at-k`.
    """

    name = "pass-at-k-of-loss"
    source = (
        PassAtK.source + "; per-problem difficulty by the loss: the idea of arXiv:2604.01411, whose formula was not "
        "verified; the form: ours"
    )
    use = "Params and tokens decide the loss on text, and the loss decides how many problems samples solve."
    avoid = "Tables without the loss on text: the scale of the loss is then its prior."
    observed = "n_correct"
    requires = ("n_items", "samples")
    ranges = {"samples": (1.0, 1e12)}
    of_one = "benchmark"
    kind = "count"
    unit = "items"
    parameters = {
        "fair_loss": Parameter(LogNormal(1.8, 0.3), "nats/token", "loss at which one try in e is right", 0.1),
        "steepness": Parameter(LogNormal(3.0, 0.7), "1", "power by which minus the log of the share falls", 0.3,
                               "wide: from in proportion to the loss to its tenth power"),
        "tail": TAIL,
        "rise": RISE,
    }  # fmt: skip

    @staticmethod
    def location(log_loss, columns, *, fair_loss, steepness, tail, rise):
        nats = jnp.exp(steepness * (log_loss - jnp.log(fair_loss)))
        return _share(nats, columns["samples"], tail, rise)
