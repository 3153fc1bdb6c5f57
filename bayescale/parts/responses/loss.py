"""The loss itself."""

from bayescale.parts.base import AbstractResponse


class Loss(AbstractResponse):
    """A run's loss, with noise on its logarithm."""

    name = "loss"
    source = "log loss, so that small models do not dominate the fit and the floor stays sharp"
    observed = "loss"
    kind = "log"
    unit = "nats/token"

    @staticmethod
    def location(log_loss, columns):
        return log_loss
