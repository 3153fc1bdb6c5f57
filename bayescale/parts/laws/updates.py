"""The law of value-based reinforcement learning: environment steps to a target, by params and updates per step."""

from bayescale.parts.base import AbstractLaw, Column, Kind, Parameter, Quantity
from bayescale.parts.laws.additive import LEVEL, RATIO_A, RATIO_B, Additive
from bayescale.parts.priors import LogNormal

FU = "Fu et al. 2025, arXiv:2508.14881"
EXPONENT = LogNormal(0.7, 0.6)


class Updates(AbstractLaw):
    r"""Environment steps that value-based reinforcement learning needs to reach a score.

    .. math:: D(N, U) = D_{min} + A N^{-\alpha} + B U^{-\beta}

    with params `N` and updates of the model per environment step `U`. The form is that of `additive`; its loss is the
    number of steps.
    """

    name = "updates"
    source = FU + ", for the question and the runs; the form: that of additive"
    use = (
        "Environment steps to a score, over sizes and ratios of updates to data: whether to train larger or more often."
    )
    avoid = "Language models, whose compute of reinforcement learning is in `sigmoid` and `stages`."
    runs = ("value-rl",)
    inputs = ("params", "utd_ratio")
    columns = {"utd_ratio": Column("count", "updates per environment step", 2.0, 0.1, 1e3, usual=(1.0, 16.0))}
    parameters = {
        "level": LEVEL,
        "ratio_A": RATIO_A,
        "ratio_B": RATIO_B,
        "alpha_N": Parameter(EXPONENT, "1", "exponent of params", 0.3, "weak: from 0.26 to 1.9", kind=Kind.EXPONENT),
        "beta_U": Parameter(EXPONENT, "1", "exponent of updates", 0.3, "weak: from 0.26 to 1.9", kind=Kind.EXPONENT),
    }
    quantities = {
        "E": Quantity(Kind.FLOOR, "steps", "least steps, for this form of law", "log"),
        "A": Quantity(Kind.PUBLISHED, "steps · params^alpha_N", "coefficient of the params term", "log"),
        "B": Quantity(Kind.PUBLISHED, "steps · updates^beta_U", "coefficient of the updates term", "log"),
    }

    @staticmethod
    def log_loss(params, updates, *, level, ratio_A, ratio_B, alpha_N, beta_U):
        return Additive.log_loss(params, updates, level=level, ratio_A=ratio_A, ratio_B=ratio_B, alpha_N=alpha_N,
                                 beta_D=beta_U)  # fmt: skip

    @staticmethod
    def published(params, updates, *, loss, level, ratio_A, ratio_B, alpha_N, beta_U):
        return Additive.published(params, updates, loss=loss, level=level, ratio_A=ratio_A, ratio_B=ratio_B,
                                  alpha_N=alpha_N, beta_D=beta_U)  # fmt: skip
