"""Environment steps that reinforcement learning needs to reach a score."""

from bayescale.parts.base import AbstractResponse


class EnvSteps(AbstractResponse):
    """Steps in the environment until a score is reached, with noise on their logarithm: the loss of the law."""

    name = "env-steps"
    source = "Fu et al. 2025, arXiv:2508.14881"
    observed = "env_steps"
    kind = "log"
    unit = "environment steps"
    a_loss = True
    use = "The law `updates`, whose loss is the data that a run needs."
    avoid = "Runs that never reached the score: they are censored, and to leave them out flatters the law."
    runs = ("value-rl",)

    @staticmethod
    def location(log_loss, columns):
        return log_loss
